"""The desktop portal's word on the network, for machines without a NetworkManager that we can reach.

Knows https://flatpak.github.io/xdg-desktop-portal/docs/doc-org.freedesktop.portal.NetworkMonitor.html and
nothing else. The portal is asked only where a desktop has started it already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slowboat.core.words import Connectivity, Network
from slowboat.edges.dbus import BusError, BusGone, Connection, Match, NoReply
from slowboat.edges.service_watch import Watched, truth, whole

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = "org.freedesktop.portal.Desktop"
PATH = "/org/freedesktop/portal/desktop"
INTERFACE = "org.freedesktop.portal.NetworkMonitor"
WITNESS = "portal"

GONE = Network(Connectivity.UNKNOWN, witness=WITNESS, known=False)
MATCHES = (Match(sender=NAME, path=PATH, interface=INTERFACE, member="changed"),)

# Its numbers are GNetworkConnectivity's: https://docs.gtk.org/gio/enum.NetworkConnectivity.html
REACH = {1: Connectivity.NONE, 2: Connectivity.LIMITED, 3: Connectivity.PORTAL, 4: Connectivity.FULL}


async def read(bus: Connection) -> Network | None:
    """What the portal says now; None where there is none, or one before version 3, which cannot say it all.

    Raises:
        BusError: it is there and does not respond, or the bus has gone.
    """
    if not await bus.owner(NAME):
        return None
    try:
        answer = await bus.call(NAME, PATH, INTERFACE, "GetStatus", start=False)
    except (BusGone, NoReply):
        raise
    except BusError:
        return None  # an older portal, or one that may not tell
    return understood(answer[0] if answer and isinstance(answer[0], dict) else {})


def understood(status: Mapping[str, object]) -> Network:
    """The Network that GetStatus describes; a value of a wrong type counts as unknown."""
    available, reach = truth(status.get("available")), REACH.get(whole(status.get("connectivity")) or 0)
    if available is False:
        return Network(Connectivity.NONE, witness=WITNESS)
    if available is None or reach is None:
        return GONE
    return Network(reach, metered=truth(status.get("metered")), witness=WITNESS)


WATCHED: Watched[Network | None] = Watched("session", (NAME,), MATCHES, read, None, None)
