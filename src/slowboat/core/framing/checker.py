"""What all kinds of framing have in common: blocks in, and what is wrong out. Must not know any kind."""

from __future__ import annotations

from typing import Final, Protocol

EARLY: Final = "ends too early"


class Checker(Protocol):
    """One kind of framing; both methods raise ValueError with what is wrong."""

    def feed(self, block: bytes) -> None:
        """Takes the next block."""

    def finish(self) -> None:
        """Takes note that nothing comes any more."""


class Anything:
    """A file whose framing is not known: nothing can be said."""

    def feed(self, block: bytes) -> None:
        """As `Checker.feed`."""

    def finish(self) -> None:
        """As `Checker.finish`."""
