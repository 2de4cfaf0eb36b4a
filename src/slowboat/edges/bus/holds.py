"""Holds: an application keeps a file descriptor open as long as nothing shall be sent.

Knows pipes; must not know D-Bus. As login1's inhibitors, a hold ends with its holder: when the last copy of the
descriptor is closed, on purpose or by the holder's end. https://systemd.io/INHIBITOR_LOCKS/
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from slowboat.core.errors import Transient

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MOST: Final = 64
"""Holds at a time: more than any desktop needs; each costs us a file descriptor."""

LONGEST: Final = 200
"""Letters of a holder's name or reason that are kept: they are shown in one line."""


@dataclass(frozen=True, slots=True)
class ActiveHold:
    """One hold: the application, what for, and since when (seconds since the epoch)."""

    who: str
    why: str
    since: float


class Holds:
    """All holds there are.

    Attributes:
        changed: told whenever that changes.
    """

    def __init__(self, changed: Callable[[Sequence[ActiveHold]], None] = lambda _: None) -> None:
        self.changed = changed
        self._holds: dict[int, ActiveHold] = {}

    def now(self) -> tuple[ActiveHold, ...]:
        """The holds, oldest first."""
        return tuple(self._holds.values())

    def take(self, who: str, why: str) -> int:
        """Begins a hold; gives the descriptor for the holder (the caller sends it and closes its own copy).

        Raises:
            Transient: there are too many already.
        """
        if len(self._holds) >= MOST:
            raise Transient(f"there are {MOST} holds already", hint="Release one first", code="busy")
        ours, theirs = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._holds[ours] = ActiveHold(who[:LONGEST], why[:LONGEST], time.time())
        asyncio.get_running_loop().add_reader(ours, self._readable, ours)
        self.changed(self.now())
        return theirs

    def _readable(self, ours: int) -> None:
        try:
            if os.read(ours, 4096):
                return  # nothing is to be said on it; only its end counts
        except BlockingIOError:
            return
        self._release(ours)
        self.changed(self.now())

    def _release(self, ours: int) -> None:
        asyncio.get_running_loop().remove_reader(ours)
        os.close(ours)
        del self._holds[ours]

    def close(self) -> None:
        """Ends all holds; nobody is told."""
        for ours in tuple(self._holds):
            self._release(ours)
