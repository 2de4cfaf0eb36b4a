"""Where the buses are.

Knows the environment and the form of an address
(https://dbus.freedesktop.org/doc/dbus-specification.html#addresses); must not connect.
"""

from __future__ import annotations

import os
from urllib.parse import unquote

from slowboat.edges.dbus.errors import BusGone


def session_address() -> str:
    """The session bus's address: the environment's, else `$XDG_RUNTIME_DIR/bus`.

    Raises:
        BusGone: neither is there.
    """
    if address := os.environ.get("DBUS_SESSION_BUS_ADDRESS"):
        return address
    directory = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    path = f"{directory}/bus"
    # One stat of a file in memory (a tmpfs); nothing worth a thread.
    if os.path.exists(path):  # noqa: PTH110  # pathlib would be one more import for the same call
        return f"unix:path={path}"
    raise BusGone("there is no session bus: DBUS_SESSION_BUS_ADDRESS is not set and there is no " + path)


def system_address() -> str:
    """The system bus's address."""
    return os.environ.get("DBUS_SYSTEM_BUS_ADDRESS") or "unix:path=/run/dbus/system_bus_socket"


def socket_name(address: str) -> str | bytes:
    """Where the first unix transport of a bus address listens; an abstract name begins with a null byte."""
    for entry in address.split(";"):
        transport, _, rest = entry.partition(":")
        options = dict(pair.partition("=")[::2] for pair in rest.split(","))
        if transport == "unix" and "path" in options:
            return unquote(options["path"])
        if transport == "unix" and "abstract" in options:
            return b"\0" + unquote(options["abstract"]).encode()
    raise BusGone(f"the bus address {address!r} names no unix socket")
