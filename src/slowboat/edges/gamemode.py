"""Whether a game asked for the machine, by Feral's GameMode where it runs.

Knows GameMode's interface (https://github.com/FeralInteractive/gamemode/blob/1.8.2/daemon/gamemode-dbus.c); must not
know what follows.
GameMode is never started for it: where it does not run, no game has asked.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from slowboat.edges.dbus import PROPERTIES, BusError, Connection, Match
from slowboat.edges.service_watch import SETTLE, TIMEOUT, ServiceWatch, Watched, whole

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "com.feralinteractive.GameMode"
PATH = "/com/feralinteractive/GameMode"
MATCHES = (
    Match(sender=NAME, path=PATH, interface=PROPERTIES, member="PropertiesChanged"),
    Match(sender=NAME, path=PATH, interface=NAME),  # GameRegistered, GameUnregistered
)


class GameWatch:
    """Whether a game runs, kept fresh from `start` to `stop`; `on_change` is called when it is another."""

    def __init__(
        self,
        on_change: Callable[[], None] = lambda: None,
        *,
        session: str = "",
        settle: float = SETTLE,
        patience: float = TIMEOUT,
    ) -> None:
        """Does nothing until `start`.

        Args:
            on_change: told of changes, in the event loop; may be set later.
            session: the address of the session bus, "" for the usual one.
            settle: seconds in which signals gather before the whole is read.
            patience: seconds until a service that does not respond counts as not known.
        """
        self.on_change = on_change
        unknown: bool | None = None
        watched = Watched("session", (NAME,), MATCHES, _read, False, unknown)  # noqa: FBT003  # a value, no switch
        self._watch = ServiceWatch(watched, self._changed, address=session, settle=settle, patience=patience)

    def _changed(self) -> None:
        self.on_change()

    def current(self) -> bool | None:
        """Whether a game asked for the machine; None: not known."""
        return self._watch.value

    async def start(self) -> None:
        """Begins to watch; waits a moment for the first reading. Never raises, nor does anything after it."""
        self._watch.start()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._watch.ready.wait(), 1.0)

    async def stop(self) -> None:
        """Lets go of the bus."""
        await self._watch.stop()


async def _read(bus: Connection) -> bool | None:
    if not await bus.owner(NAME):
        return False
    try:
        clients = whole(await bus.get(NAME, PATH, NAME, "ClientCount"))
    except BusError as error:
        if error.absent:
            return False
        raise
    return None if clients is None else clients > 0
