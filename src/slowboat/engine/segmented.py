"""An upload in segments, as far as this run remembers it: the parts that the server has, and the hashes up to there.

Knows what has been read and confirmed; must not know how anything is asked for or sent.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slowboat.core.words import RemoteObject
    from slowboat.engine.ports import Reader


class Hashes:
    """The two hashes of a file, as far as it has been read."""

    def __init__(self) -> None:
        self.md5 = hashlib.md5(usedforsecurity=False)
        self.sha1 = hashlib.sha1(usedforsecurity=False)

    def feed(self, block: bytes) -> None:
        """The next bytes of the file."""
        self.md5.update(block)
        self.sha1.update(block)

    def copy(self) -> Hashes:
        """The same, to go on from without touching these."""
        other = Hashes()
        other.md5, other.sha1 = self.md5.copy(), self.sha1.copy()
        return other


@dataclass(slots=True)
class SegmentedUpload:
    """What is known in memory of an upload in segments.

    Attributes:
        segment: bytes per segment.
        expected: the MD5 that the whole must have, of an earlier reading; "" where none is known.
        resumed: an earlier run has begun it.
        lagging: the listing may not show the newest segments yet, so one that it lacks is asked for by name.
        doubted: the server could not make the whole of its parts, whatever the listing says: each is asked for by name.
        parts: what the server has confirmed, from the first segment on.
        hashes: of the file up to the end of the last part.
    """

    segment: int
    expected: str = ""
    resumed: bool = False
    lagging: bool = False
    doubted: bool = False
    parts: list[RemoteObject] = field(default_factory=list)
    hashes: Hashes = field(default_factory=Hashes)

    def known(self, part: Part) -> RemoteObject | None:
        """What the server confirmed for that part, None where it has not yet."""
        return self.parts[part.index] if part.index < len(self.parts) else None


@dataclass(frozen=True, slots=True)
class Part:
    """One segment's place in the file (bytes) and its name at the server."""

    index: int
    offset: int
    length: int
    name: str


class Portion:
    """A Reader over one segment's length that hashes what passes: the segment alone, and the file up to its end."""

    def __init__(self, reader: Reader, length: int, before: Hashes) -> None:
        self._reader = reader
        self._left = length
        self.alone = Hashes()
        self.whole = before.copy()

    def read(self, size: int, /) -> bytes:
        """The next bytes, at most `size`; b"" at the segment's end. Raises as the file's own reader."""
        block = self._reader.read(min(size, self._left)) if self._left else b""
        self._left -= len(block)
        self.alone.feed(block)
        self.whole.feed(block)
        return block
