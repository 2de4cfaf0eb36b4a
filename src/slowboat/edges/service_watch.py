"""One reading of some services on a bus, kept fresh without polling.

Knows how to stay with a bus that restarts and services that come, go, freeze, flood or lie; must not know
what the reading means. Signals only say that something may have changed: after a pause in which more of them
gather, the whole is read once, and nothing is concluded from a signal alone. NetworkManager, for one, tells
of one activation with half a dozen signals, and in between its properties contradict one another.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from slowboat.edges.dbus import TIMEOUT, BusError, BusGone, Connection, Match, Waits, stay_connected

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from slowboat.edges.dbus import Which

log = logging.getLogger(__name__)

SETTLE = 0.5
"""Seconds between the first signal and the reading; the signals of one activation come closer together."""

FIRST_READING = 1.0
"""Seconds that `start` waits for the first reading; what comes later is reported by `on_change`."""

AGAIN_FIRST, AGAIN_MOST = 2.0, 60.0
"""Seconds until a reading that failed is tried again; doubles from the first to the second."""

NO_BUS_MOST = 600.0
"""Seconds between looks for a bus that was never there: a machine without one should not be woken for it."""

MOST_RETAKES = 3
"""How often a reading may be thrown away because a signal came while it was taken, before it is believed."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Watched(Generic[T]):
    """What to look at.

    Attributes:
        which: the session bus or the system bus.
        names: services whose coming and going is a reason to look.
        matches: signals that are a reason to look.
        read: takes the reading; may raise BusError, which makes the value `failed` until a later try works.
        no_bus: the value where there never was such a bus.
        failed: the value while the bus has gone, or reading fails.
    """

    which: Which
    names: tuple[str, ...]
    matches: tuple[Match, ...]
    read: Callable[[Connection], Awaitable[T]]
    no_bus: T
    failed: T


class Sensor(Generic[T]):
    """One reading that a single `ServiceWatch` keeps, from `start` to `stop`; `on_change` is called when it changes."""

    def __init__(
        self,
        watched: Watched[T],
        on_change: Callable[[], None],
        *,
        address: str = "",
        settle: float = SETTLE,
        patience: float = TIMEOUT,
    ) -> None:
        """Does nothing until `start`.

        Args:
            watched: what is read, and what counts where it cannot be.
            on_change: called in the event loop; may be set later.
            address: of the bus, "" for the usual one.
            settle: seconds in which signals gather before the whole is read.
            patience: seconds until a service that does not respond counts as `watched.failed`.
        """
        self.on_change = on_change
        self._watch = ServiceWatch(watched, self._changed, address=address, settle=settle, patience=patience)

    def _changed(self) -> None:
        self.on_change()

    def current(self) -> T:
        """The newest reading."""
        return self._watch.value

    async def start(self) -> None:
        """Begins to watch; waits a moment for the first reading. Never raises, nor does anything after it."""
        self._watch.start()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._watch.ready.wait(), FIRST_READING)

    async def stop(self) -> None:
        """Lets go of the bus."""
        await self._watch.stop()


class ServiceWatch(Generic[T]):
    """Keeps `value` fresh from `start` to `stop`; `on_change` is called when it is another. Never raises."""

    def __init__(
        self,
        watched: Watched[T],
        on_change: Callable[[], None],
        *,
        address: str = "",
        settle: float = SETTLE,
        patience: float = TIMEOUT,
    ) -> None:
        self.value = watched.failed
        self.ready = asyncio.Event()  # the first word is there
        self._watched = watched
        self._on_change = on_change
        self._address = address
        self._settle = settle
        self._patience = patience
        self._stir = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to look; `ready` is set when the first word is there."""
        if self._running is None:
            self._running = asyncio.create_task(self._run(), name="service watch")

    async def stop(self) -> None:
        """Ends the connection; `value` stays as it was."""
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running

    def refresh(self) -> None:
        """Takes a new reading soon, as after a signal."""
        self._stir.set()

    async def _run(self) -> None:
        names = ", ".join(self._watched.names)
        await stay_connected(
            names, self._session, lost=self._lost, first=AGAIN_FIRST, most=AGAIN_MOST, never=NO_BUS_MOST
        )

    async def _session(self, connected: Callable[[], None]) -> None:
        async with await Connection.open(self._watched.which, address=self._address) as bus:
            connected()
            await self._stay(bus)

    async def _lost(self, been_there: bool) -> None:  # noqa: FBT001  # as `stay_connected` tells it
        self._say(self._watched.failed if been_there else self._watched.no_bus)

    async def _stay(self, bus: Connection) -> None:
        """Looks over one connection until it ends.

        Raises:
            BusError: the bus has gone, or hangs.
        """
        ended = asyncio.ensure_future(bus.wait_closed())
        ended.add_done_callback(lambda _: self._stir.set())
        try:
            for match in self._watched.matches:
                await bus.subscribe(match, lambda _: self._stir.set())
            for name in self._watched.names:
                await bus.watch_name(name, lambda _: self._stir.set())
            waits = Waits(AGAIN_FIRST, AGAIN_MOST)
            while bus.connected:
                understood = await self._take(bus)
                if understood:
                    waits.reset()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stir.wait(), None if understood else waits.next())
                if bus.connected:
                    await asyncio.sleep(self._settle)
        finally:
            ended.cancel()

    async def _take(self, bus: Connection) -> bool:
        """Reads until a reading was not disturbed, and says it; False where that cannot be done now."""
        for retakes_left in range(MOST_RETAKES, -1, -1):
            self._stir.clear()
            try:
                async with asyncio.timeout(self._patience):
                    value = await self._watched.read(bus)
            except BusGone:
                raise
            except Exception as error:
                # A service may answer anything: what cannot be understood is not known.
                log.debug("reading failed: %s", error, exc_info=not isinstance(error, (BusError, TimeoutError)))
                self._say(self._watched.failed)
                return False
            if not (retakes_left and self._stir.is_set()):
                self._say(value)
                break
            await asyncio.sleep(self._settle)
        return True

    def _say(self, value: T) -> None:
        changed = value != self.value or not self.ready.is_set()
        self.value = value
        self.ready.set()
        if changed:
            try:
                self._on_change()
            except Exception:
                log.exception("telling of a change failed")


def whole(value: object) -> int | None:
    """`value` where it is a whole number, None where a service sent something else."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def truth(value: object) -> bool | None:
    """`value` where it is true or false, None where a service sent something else."""
    return value if isinstance(value, bool) else None


def text(value: object) -> str:
    """`value` where it is text, "" where a service sent something else."""
    return value if isinstance(value, str) else ""


def texts(value: object) -> list[str]:
    """The texts in `value` where that is a list, [] where a service sent something else."""
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


__all__ = ["SETTLE", "TIMEOUT", "ServiceWatch", "Watched", "text", "texts", "truth", "whole"]
