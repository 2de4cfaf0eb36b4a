"""NetworkManager's word on the network, read as a whole.

Knows NetworkManager's D-Bus interface (https://networkmanager.dev/docs/api/latest/spec.html); must not know
what follows from what it says, nor who speaks where it is not there.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from slowboat.core.words import Connectivity, Network
from slowboat.edges.dbus import PROPERTIES, BusError, BusGone, Connection, Match, NoReply
from slowboat.edges.service_watch import Watched, text, texts, truth, whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NAME = "org.freedesktop.NetworkManager"
PATH = "/org/freedesktop/NetworkManager"
WITNESS = "NetworkManager"

GONE = Network(Connectivity.UNKNOWN, witness=WITNESS, known=False)
"""It was there and has gone, does not respond, or says what cannot be understood."""

# Of the Manager, the devices and the active connections, but not of access points: their signal strength
# alone would wake us every few seconds.
MATCHES = tuple(
    Match(sender=NAME, interface=PROPERTIES, member="PropertiesChanged", arg0=interface)
    for interface in (NAME, f"{NAME}.Device", f"{NAME}.Connection.Active")
)

# https://networkmanager.dev/docs/api/latest/nm-dbus-types.html
STATE_LOCAL = 50  # NM_STATE_CONNECTED_LOCAL; 60 is SITE, 70 is GLOBAL; below, nothing is connected (yet)
STATE_LEAST_OUT = 60
ACTIVATED = 2  # NM_ACTIVE_CONNECTION_STATE_ACTIVATED
METERED_YES = {1: True, 3: True, 2: False, 4: False}  # yes, guess-yes, no, guess-no; 0 is unknown

# Connection types as `nmcli connection` shows them; the rest is "other": bridge, bond, vlan, ...
TYPES = {
    "802-11-wireless": "wifi",
    "802-3-ethernet": "ethernet",
    "pppoe": "ethernet",
    "infiniband": "ethernet",
    "gsm": "mobile",
    "cdma": "mobile",
    "wimax": "mobile",
    "bluetooth": "mobile",  # tethering through a telephone
    "vpn": "vpn",
    "wireguard": "vpn",
    "tun": "vpn",
    "ip-tunnel": "vpn",
}
_Properties = dict[str, Any]


class NetworkManager:
    """Reads NetworkManager, and remembers whether there ever was one: then nobody may speak in its place.

    Attributes:
        seen: it has been on the bus since we look.
    """

    def __init__(self) -> None:
        self.seen = False

    def watched(self) -> Watched[Network | None]:
        """What a ServiceWatch needs; its value is None where there is no NetworkManager."""
        return Watched("system", (NAME,), MATCHES, self.read, None, GONE)

    async def read(self, bus: Connection) -> Network | None:
        """What NetworkManager says now; None where there is none.

        Raises:
            BusError: it is there and does not respond, or the bus has gone.
        """
        if not await bus.owner(NAME):
            return None
        self.seen = True
        try:
            return await _read(bus)
        except BusError as error:
            if error.absent:
                return None
            raise


async def _read(bus: Connection) -> Network:
    manager = await bus.get_all(NAME, PATH, NAME)
    actives = await _all(bus, texts(manager.get("ActiveConnections")), f"{NAME}.Connection.Active")
    active = [each for each in actives.values() if _in_use(each)]
    paths = dict.fromkeys(path for each in active for path in texts(each.get("Devices")))
    devices = await _all(bus, paths, f"{NAME}.Device")
    primary = actives.get(text(manager.get("PrimaryConnection")))
    return understood(manager, _ordered(active, primary), devices.values())


def understood(
    manager: Mapping[str, object], active: list[_Properties], devices: Iterable[Mapping[str, object]]
) -> Network:
    """The Network that these properties describe; a property of a wrong type counts as unknown.

    Args:
        manager: the Manager's properties.
        active: those of the active connections, the one that carries the default route first.
        devices: those of their devices.
    """
    connectivity = _connectivity(manager)
    return Network(
        connectivity,
        metered=_metered(manager, devices),
        names=tuple(text(each.get("Id")) for each in active),
        types=tuple(_type(each) for each in active),
        witness=WITNESS,
        known=connectivity is not Connectivity.UNKNOWN,
    )


def _connectivity(manager: Mapping[str, object]) -> Connectivity:
    state, connectivity = whole(manager.get("State")), whole(manager.get("Connectivity"))
    if state is None or connectivity is None or connectivity not in range(5):
        return Connectivity.UNKNOWN
    if state < STATE_LOCAL:
        return Connectivity.NONE if state else Connectivity.UNKNOWN
    reach = Connectivity(connectivity)
    if reach is Connectivity.UNKNOWN and truth(manager.get("ConnectivityCheckEnabled")) is False:
        reach = (
            Connectivity.FULL
        )  # nobody checks: a default route is then all that is asked, as by NetworkManager itself
    if reach is Connectivity.FULL and state < STATE_LEAST_OUT:
        return Connectivity.LIMITED
    return reach


def _metered(manager: Mapping[str, object], devices: Iterable[Mapping[str, object]]) -> bool | None:
    """Whether any device in use is metered.

    The Manager's own property looks at the device of the primary connection alone, and a tunnel's device is
    "guess no", whatever lies beneath:
    https://gitlab.freedesktop.org/NetworkManager/NetworkManager/-/blob/1.42.4/src/core/nm-manager.c
    (nm_manager_update_metered).
    """
    words = [whole(each.get("Metered")) for each in (manager, *devices)]
    known = [METERED_YES[word] for word in words if word in METERED_YES]
    return any(known) if known else None


def _in_use(active: Mapping[str, object]) -> bool:
    return whole(active.get("State")) == ACTIVATED and text(active.get("Type")) != "loopback"


def _type(active: Mapping[str, object]) -> str:
    kind = text(active.get("Type"))
    enslaved = text(active.get("Master")) not in ("", "/")  # a virtual machine's tap on a bridge is no VPN
    if truth(active.get("Vpn")):
        return "vpn"
    return "other" if kind == "tun" and enslaved else TYPES.get(kind, "other")


def _ordered(active: list[_Properties], primary: _Properties | None) -> list[_Properties]:
    """The one that carries the default route first, else as NetworkManager lists them."""

    def place(each: _Properties) -> tuple[bool, bool, bool]:
        carries, carries6 = truth(each.get("Default")) or False, truth(each.get("Default6")) or False
        return not carries, each is not primary, not carries6

    return sorted(active, key=place)


async def _all(bus: Connection, paths: Iterable[str], interface: str) -> dict[str, _Properties]:
    """The properties of several objects, asked for together; those that are gone meanwhile are left out."""

    async def one(path: str) -> _Properties | None:
        try:
            return await bus.get_all(NAME, path, interface)
        except (BusGone, NoReply):
            raise
        except BusError:
            return None  # gone between the two questions; the signal that says so leads to another reading

    wanted = list(paths)
    answers = await asyncio.gather(*(one(path) for path in wanted))
    return {path: answer for path, answer in zip(wanted, answers, strict=True) if answer is not None}
