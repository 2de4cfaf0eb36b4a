"""Asks a person, or answers for him: with --yes each question has the answer that stands in its brackets.

Knows the terminal; must not know what is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from slowboat.cli import password, phrases, screen
from slowboat.core.errors import SlowboatError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slowboat.edges.secrets import Secret


class Questions:
    """Whoever answers.

    Args:
        yes: whether nobody is asked.
    """

    def __init__(self, *, yes: bool) -> None:
        self._yes = yes
        self.asked = 0

    @property
    def silent(self) -> bool:
        """Whether nobody is asked."""
        return self._yes

    def which(self, what: str, choices: Sequence[str]) -> int:
        """One of several, by its number; the first unless another is chosen."""
        if self._yes or len(choices) < 2:
            return 0
        for number, choice in enumerate(choices, start=1):
            screen.say(f"  {number}  {phrases.plain(choice)}")
        self.asked += 1
        return int(click.prompt(what, type=click.IntRange(1, len(choices)), default=1, err=True)) - 1

    def text(self, what: str, default: str = "", *, flag: str = "", may_be_empty: bool = False) -> str:
        """A line of text.

        Raises:
            SlowboatError: nobody is asked, there is no default, and it is needed; `flag` would say it.
        """
        if self._yes:
            if not default and not may_be_empty:
                raise SlowboatError(f"{what}: needed, and --yes asks no questions", hint=f"Give it with {flag}")
            return default
        self.asked += 1
        shown = default if default or may_be_empty else None
        return str(click.prompt(what, default=shown, show_default=bool(default), err=True)).strip()

    def word(self, what: str, choices: Mapping[str, str], default: str) -> str:
        """One of a few words, each with what it means; its first letters do."""
        if self._yes:
            return default
        for word, meaning in choices.items():
            screen.say(f"  {word:<7} {meaning}")
        self.asked += 1
        while True:
            given = str(click.prompt(what, default=default, err=True)).strip().lower()
            fitting = [word for word in choices if given and word.startswith(given)]
            if len(fitting) == 1:
                return fitting[0]
            screen.say(f"Please answer with one of: {', '.join(choices)}")

    def sure(self, what: str) -> bool:
        """Yes or no; yes unless no is said."""
        if self._yes:
            return True
        self.asked += 1
        return click.confirm(what, default=True, err=True)

    def secret(self, cloud: str) -> Secret:
        """A password, without showing it; also with --yes, where a script writes it to standard input."""
        self.asked += 1
        return password.asked(cloud)
