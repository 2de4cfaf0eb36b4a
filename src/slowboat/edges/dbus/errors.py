"""How calls on D-Bus fail.

Knows what the bus itself calls its errors; must not know any service's.
"""

from __future__ import annotations

from typing import Final

from slowboat.core.errors import SlowboatError, Transient

ABSENT: Final = frozenset(
    {
        "org.freedesktop.DBus.Error.ServiceUnknown",
        "org.freedesktop.DBus.Error.NameHasNoOwner",
        "org.freedesktop.systemd1.NoSuchUnit",
    }
)
"""Answers that say "nobody has that name"; with `SPAWN` they begin that say "and it could not be started"."""
SPAWN: Final = "org.freedesktop.DBus.Error.Spawn."


class BusError(Transient):
    """A call on D-Bus did not work.

    Attributes:
        name: the D-Bus error's name, "org.freedesktop.DBus.Error.ServiceUnknown" for instance.
        text: what the service said about it; not ours, and not always meant for people.
    """

    def __init__(self, what: str, *, name: str, text: str = "") -> None:
        super().__init__(what, code="dbus")
        self.name = name
        self.text = text

    @property
    def absent(self) -> bool:
        """Whether the service is not there at all (and could not be started)."""
        return self.name in ABSENT or self.name.startswith(SPAWN)


class BusGone(BusError):
    """There is no bus, or no longer: a new connection is needed."""

    def __init__(self, what: str) -> None:
        super().__init__(what, name="org.freedesktop.DBus.Error.Disconnected")


class NoReply(BusError):
    """The service did not answer in time: it may be frozen, and it may still act on the call."""

    def __init__(self, what: str) -> None:
        super().__init__(what, name="org.freedesktop.DBus.Error.NoReply")


class CallRefused(SlowboatError):
    """Raised by whoever serves calls, to answer with a named D-Bus error."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name
