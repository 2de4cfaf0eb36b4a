"""Whether a game asked for the machine, by Feral's GameMode where it runs.

Knows GameMode's interface (https://github.com/FeralInteractive/gamemode/blob/1.8.2/daemon/gamemode-dbus.c); must not
know what follows.
GameMode is never started for it: where it does not run, no game has asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slowboat.edges.dbus import PROPERTIES, BusError, Connection, Match
from slowboat.edges.service_watch import SETTLE, TIMEOUT, Sensor, Watched, whole

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "com.feralinteractive.GameMode"
PATH = "/com/feralinteractive/GameMode"
MATCHES = (
    Match(sender=NAME, path=PATH, interface=PROPERTIES, member="PropertiesChanged"),
    Match(sender=NAME, path=PATH, interface=NAME),  # GameRegistered, GameUnregistered
)


class GameWatch(Sensor[bool | None]):
    """Whether a game asked for the machine; None: not known."""

    def __init__(
        self,
        on_change: Callable[[], None] = lambda: None,
        *,
        session: str = "",
        settle: float = SETTLE,
        patience: float = TIMEOUT,
    ) -> None:
        """Does nothing until `start`; `session` is the address of the session bus, the rest is `Sensor`'s."""
        unknown: bool | None = None
        watched = Watched("session", (NAME,), MATCHES, _read, False, unknown)  # noqa: FBT003  # a value, no switch
        super().__init__(watched, on_change, address=session, settle=settle, patience=patience)


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
