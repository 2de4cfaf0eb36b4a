"""Our own D-Bus interface, offered and used.

`service` offers it, `client` uses it, `report_properties` says what it shows, `objects` serves it. The interfaces
themselves are the XML files in `edges/interfaces`; docs/dbus.md is their reference.

Knows our names on D-Bus and what is told under each; must not know why the engine does anything.
"""

from __future__ import annotations
