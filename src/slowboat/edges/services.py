"""Which services there are on a bus: that run, that the bus would start, and whose process they are.

Knows the message bus's own methods (https://dbus.freedesktop.org/doc/dbus-specification.html#message-bus-messages);
must not know what a service is good for. Starts nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from slowboat.edges.dbus import DRIVER, DRIVER_PATH, BusError, Connection

if TYPE_CHECKING:
    from slowboat.edges.dbus import Which

Presence = Literal["running", "startable", "absent", "no-bus"]


async def presence(name: str, which: Which = "session") -> Presence:
    """Whether a service is there; "startable" where the bus would start it for whoever calls."""
    try:
        async with await Connection.open(which) as bus:
            if await bus.owner(name):
                return "running"
            known = (await bus.call(DRIVER, DRIVER_PATH, DRIVER, "ListActivatableNames"))[0]
    except BusError:
        return "no-bus"
    return "startable" if name in known else "absent"


async def process_of(name: str) -> int:
    """The process that offers a service on the session bus; 0 where nobody does."""
    try:
        async with await Connection.open() as bus:
            if not await bus.owner(name):
                return 0
            return int((await bus.call(DRIVER, DRIVER_PATH, DRIVER, "GetConnectionUnixProcessID", "s", name))[0])
    except BusError:
        return 0
