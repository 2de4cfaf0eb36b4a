"""How to stay on a bus that comes and goes: one session after the other, with longer and longer waits between.

Knows when to try again; must not know what is done over a connection. A connection is never reconnected: each session
opens one of its own.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from slowboat.core.errors import SlowboatError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)


class Waits:
    """Seconds until the next try: the first, then each time twice as many, up to the most."""

    def __init__(self, first: float, most: float) -> None:
        self.most = most
        self._first = first
        self._next = first

    def next(self) -> float:
        """How long to wait now."""
        wait, self._next = self._next, min(2 * self._next, self.most)
        return wait

    def reset(self) -> None:
        """It worked: the next wait is the first again."""
        self._next = self._first


async def _nothing(_: bool) -> None:  # noqa: FBT001  # as `lost` is called
    """Nobody has to hear of it."""


async def stay_connected(
    what: str,
    session: Callable[[Callable[[], None]], Awaitable[None]],
    *,
    lost: Callable[[bool], Awaitable[None]] = _nothing,
    first: float,
    most: float,
    never: float | None = None,
) -> None:
    """Runs one session after the other, until it is cancelled. What a session raises is logged.

    Args:
        what: whom it is about, for the log.
        session: connects, calls what it is given as soon as that is done, and returns when the connection has ended.
        lost: told after each session, and whether there ever was a connection.
        first, most: seconds between two sessions; they double from the first to the most.
        never: the most seconds where there never was a connection; None: as `most`.
    """
    waits = Waits(first, most if never is None else never)
    been_there = False

    def connected() -> None:
        nonlocal been_there
        been_there = True
        waits.most = most
        waits.reset()

    while True:
        try:
            await session(connected)
        except SlowboatError as error:
            log.debug("%s: %s", what, error)
        except Exception:
            log.exception("watching %s failed", what)
        await lost(been_there)
        await asyncio.sleep(waits.next())
