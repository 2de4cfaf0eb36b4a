"""The machine's sleep: what is under way is broken off in time, and goes on after waking.

Knows login1's delay lock (https://systemd.io/INHIBITOR_LOCKS/); must not know what there is to break off.
login1 waits for the lock's holder, but only InhibitDelayMaxSec (5 s unless the administrator set it), so that
`before` gets less.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from typing import TYPE_CHECKING

from slowboat.edges.dbus import BusError, Connection, Match, stay_connected
from slowboat.edges.service_watch import truth

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from slowboat.edges.dbus import Signal

log = logging.getLogger(__name__)

NAME = "org.freedesktop.login1"
PATH = "/org/freedesktop/login1"
MANAGER = "org.freedesktop.login1.Manager"
WHAT = "sleep:shutdown"
WHO = "slowboat"
WHY = "Breaking off an upload"

BEFORE_MOST = 4.0
"""Seconds that `before` may take: within login1's five, with room for a slow machine."""

AGAIN_FIRST, AGAIN_MOST = 2.0, 600.0
"""Seconds between looks for a system bus that has gone, or never was."""


async def _at_once() -> None:
    """Nothing is under way."""


class SleepWatch:
    """Holds login1's delay lock from `start` to `stop`.

    Before the machine sleeps or shuts down, `sleeping` becomes True and `before` is awaited (at most `BEFORE_MOST`
    seconds); then the lock is let go. After waking, `sleeping` becomes False, the lock is taken again, and `after`
    is called. Without login1 nothing happens at all (`edges/clock` then notices the gap).
    """

    def __init__(
        self,
        before: Callable[[], Awaitable[None]] = _at_once,
        after: Callable[[], None] = lambda: None,
        *,
        system: str = "",
        patience: float = BEFORE_MOST,
    ) -> None:
        """Does nothing until `start`.

        Args:
            before: breaks off what is under way; awaited in the event loop.
            after: told after waking, in the event loop.
            system: the address of the system bus, "" for the usual one.
            patience: the most seconds `before` may take.
        """
        self.before = before
        self.after = after
        self.sleeping = False
        self._address = system
        self._patience = patience
        self._lock: int | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._order = asyncio.Lock()  # one change after the other, in the order they came

    async def start(self) -> None:
        """Begins to watch. Never raises, nor does anything after it."""
        self._begin(self._run())

    async def stop(self) -> None:
        """Lets go of the lock and the bus."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._release()

    def _begin(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self) -> None:
        await stay_connected("login1", self._session, lost=self._lost, first=AGAIN_FIRST, most=AGAIN_MOST)

    async def _session(self, connected: Callable[[], None]) -> None:
        async with await Connection.open("system", address=self._address) as bus:
            connected()
            await self._stay(bus)

    async def _lost(self, _: bool) -> None:  # noqa: FBT001  # as `stay_connected` tells it
        await self._woken(None)

    async def _stay(self, bus: Connection) -> None:
        def received(signal: Signal) -> None:
            going = truth(signal.body[0]) if signal.body else None
            if going is not None:
                self._begin(self._prepare(bus, going))

        for member in ("PrepareForSleep", "PrepareForShutdown"):
            match = Match(sender=NAME, path=PATH, interface=MANAGER, member=member)
            await bus.subscribe(match, received)
        await bus.watch_name(NAME, lambda owner: self._begin(self._owned(bus, owner)))
        await bus.wait_closed()

    async def _owned(self, bus: Connection, owner: str) -> None:
        """login1 came (also: came back, with all locks forgotten), or went."""
        async with self._order:
            await self._woken(bus if owner else None)

    async def _prepare(self, bus: Connection, going: bool) -> None:  # noqa: FBT001  # as the signal says it
        async with self._order:
            if not going:
                await self._woken(bus)
            elif not self.sleeping:
                self.sleeping = True
                try:
                    async with asyncio.timeout(self._patience):
                        await self.before()
                except TimeoutError:
                    log.warning("breaking off took longer than the %g s there are before sleep", self._patience)
                except Exception:
                    log.exception("breaking off before sleep failed")
                finally:
                    self._release()

    async def _woken(self, bus: Connection | None) -> None:
        """Awake, as far as is known: takes a new lock where that can be done."""
        self._release()
        if bus is not None:
            await self._take(bus)
        if self.sleeping:
            self.sleeping = False
            try:
                self.after()
            except Exception:
                log.exception("going on after sleep failed")

    async def _take(self, bus: Connection) -> None:
        try:
            answer = await bus.call(NAME, PATH, MANAGER, "Inhibit", "ssss", WHAT, WHO, WHY, "delay", start=False)
        except BusError as error:
            log.info("no delay before sleep: %s", error)
            return
        if answer and isinstance(answer[0], int):
            self._lock = answer[0]

    def _release(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            with contextlib.suppress(OSError):
                os.close(lock)
