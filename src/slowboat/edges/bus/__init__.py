"""Our own D-Bus interface, offered and used.

`service` offers it, `client` uses it, `report_properties` says what it shows, `objects` serves it. The interfaces
themselves are the XML files in `edges/interfaces`; docs/dbus.md is their reference.
"""

from __future__ import annotations
