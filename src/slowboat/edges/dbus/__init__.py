"""A connection to a D-Bus message bus, for every edge that speaks to one.

`connection` is what the others use; `library` alone knows the library behind it. Nothing here knows any service.
Everything that leaves is `BusError`, a `core.errors.Transient`.

Knows the message bus; must not know any service on it.
"""

from __future__ import annotations

from slowboat.edges.dbus.addresses import session_address, system_address
from slowboat.edges.dbus.connection import (
    DRIVER,
    DRIVER_PATH,
    OBJECT_MANAGER,
    PROPERTIES,
    TIMEOUT,
    Connection,
    Subscription,
    Which,
)
from slowboat.edges.dbus.errors import BusError, BusGone, CallRefused, NoReply
from slowboat.edges.dbus.library import Variant, plain
from slowboat.edges.dbus.messages import Answer, Call, Match, Signal
from slowboat.edges.dbus.reconnect import Waits, stay_connected

__all__ = [
    "DRIVER",
    "DRIVER_PATH",
    "OBJECT_MANAGER",
    "PROPERTIES",
    "TIMEOUT",
    "Answer",
    "BusError",
    "BusGone",
    "Call",
    "CallRefused",
    "Connection",
    "Match",
    "NoReply",
    "Signal",
    "Subscription",
    "Variant",
    "Waits",
    "Which",
    "plain",
    "session_address",
    "stay_connected",
    "system_address",
]
