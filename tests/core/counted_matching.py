"""Regular expressions whose matching is counted, step by step: what `re` itself does in C, and does not tell.

It reads the very patterns that the product compiles, by Python's own parser, and tries them as a backtracking matcher
does: from left to right, greedy or not as written, giving back what was too much. A step is one character, class or
place that is held against the text. Knows what duplicity's names need of the grammar; anything else is a KeyError.
"""

from __future__ import annotations

import re
from re import _constants as told
from re import _parser as reader
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Counting:
    """Stands in for the module `re`.

    Attributes:
        steps: that all its patterns have made so far.
    """

    def __init__(self) -> None:
        self.steps = 0

    def compile(self, pattern: str) -> CountedPattern:
        return CountedPattern(self, pattern)

    def __getattr__(self, name: str) -> Any:
        return getattr(re, name)


class CountedPattern:
    """As re.Pattern, as far as `match` and `search` go."""

    def __init__(self, counting: Counting, pattern: str) -> None:
        self._counting = counting
        self._tree = list(reader.parse(pattern))
        self._real = re.compile(pattern)

    def match(self, text: str, begin: int = 0) -> re.Match[str] | None:
        ended = next(self._all(self._tree, text, begin), None)
        found = self._real.match(text, begin)
        assert ended == (found.end() if found else None), "it counts something else than `re` does"
        return found

    def search(self, text: str, begin: int = 0) -> re.Match[str] | None:
        at = (at for at in range(begin, len(text) + 1) if next(self._all(self._tree, text, at), None) is not None)
        first, found = next(at, None), self._real.search(text, begin)
        assert first == (found.start() if found else None), "it counts something else than `re` does"
        return found

    def _all(self, parts: list[Any], text: str, at: int) -> Iterator[int]:
        """Where one part after the other may end, in the order in which it is tried."""
        if not parts:
            yield at
            return
        for ended in self._one(*parts[0], text, at):
            yield from self._all(parts[1:], text, ended)

    def _one(self, what: Any, of: Any, text: str, at: int) -> Iterator[int]:
        if what in _CHARACTERS:
            self._counting.steps += 1
            if at < len(text) and _CHARACTERS[what](of, text[at]):
                yield at + 1
        elif what in (told.MAX_REPEAT, told.MIN_REPEAT):
            yield from self._again(what, *of, text, at)
        elif what is told.BRANCH:
            for way in of[1]:
                yield from self._all(list(way), text, at)
        elif what is told.SUBPATTERN:
            yield from self._all(list(of[3]), text, at)
        elif what is told.ASSERT_NOT:
            if next(self._all(list(of[1]), text, at), None) is None:
                yield at
        else:
            self._counting.steps += 1
            if {told.AT_END: at == len(text)}[{told.AT: of}[what]]:
                yield at

    def _again(self, what: Any, least: int, most: Any, of: Any, text: str, at: int) -> Iterator[int]:
        """A loop, for a name may be longer than Python's stack is deep: the turns so far, and where each has ended."""
        ends, turns = [at], [self._all(list(of), text, at)]
        greedy = what is told.MAX_REPEAT
        if not greedy and least == 0:
            yield at
        while ends:
            more = next(turns[-1], None) if len(ends) <= most else None
            if more is not None:
                ends.append(more)
                turns.append(self._all(list(of), text, more))
                if not greedy and len(ends) > least:
                    yield more
                continue
            turns.pop()
            end = ends.pop()
            if greedy and len(ends) >= least:
                yield end


def _is_in(of: Any, char: str) -> bool:
    negated = of[0][0] is told.NEGATE
    held: dict[Any, Callable[[Any], bool]] = {
        told.LITERAL: lambda code: ord(char) == code,
        told.RANGE: lambda ends: ends[0] <= ord(char) <= ends[1],
    }
    return any(held[what](value) for what, value in of[negated:]) != negated


_CHARACTERS: dict[Any, Callable[[Any, str], bool]] = {
    told.LITERAL: lambda code, char: ord(char) == code,
    told.NOT_LITERAL: lambda code, char: ord(char) != code,
    told.ANY: lambda _, char: char != "\n",
    told.IN: _is_in,
}
