"""The kernel's word on the network: its routes, where nobody else is there to ask.

Knows /proc/net and /sys/class/net and the kernel's route notices; must not know what follows. The kernel
knows nothing of meters, of portals, or of how far a default route reaches: one that leads out is taken for
full connectivity, as NetworkManager does where its own check is turned off.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slowboat.core.words import Connectivity, Network

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

log = logging.getLogger(__name__)

WITNESS = "kernel"

# linux/rtnetlink.h: RTMGRP_LINK, and IFADDR and ROUTE of IPv4 and of IPv6
GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
NETLINK_ROUTE = 0  # linux/netlink.h
RTF_UP, RTF_REJECT = 0x1, 0x200  # linux/route.h
ARPHRD_ETHER = 1  # linux/if_arp.h

POLL = 60.0
"""Seconds between looks where the kernel may not tell (a sandbox without AF_NETLINK)."""


@dataclass(frozen=True, slots=True, order=True)
class Way:
    """A route that leads out; the lowest is taken first.

    `narrowness` is 0 for a default route, -1 for half of the internet (two of these cover a default route, as
    OpenVPN's "def1" does).
    """

    narrowness: int
    metric: int
    interface: str


def read(proc: Path = Path("/proc"), sys: Path = Path("/sys")) -> Network:
    """What the routes say now; one whose cable or radio is known to be unconnected leads nowhere."""
    try:
        ways = sorted(way for way in _ways(proc / "net") if _connected(sys / "class/net" / way.interface))
    except (OSError, ValueError) as error:
        log.debug("the kernel's routes cannot be read: %s", error)
        return Network(Connectivity.UNKNOWN, witness=WITNESS, known=False)
    names = tuple(dict.fromkeys(way.interface for way in ways))
    return Network(
        Connectivity.FULL if names else Connectivity.NONE,
        names=names,
        types=tuple(_type(sys / "class/net" / name) for name in names),
        witness=WITNESS,
    )


def _ways(net: Path) -> Iterator[Way]:
    """All routes to (half of) the internet; without /proc/net/ipv6_route there is no IPv6."""
    yield from _ways4((net / "route").read_text())
    with contextlib.suppress(FileNotFoundError):
        yield from _ways6((net / "ipv6_route").read_text())


def _ways4(table: str) -> Iterator[Way]:
    """/proc/net/route: interface, destination, gateway, flags, ..., metric (decimal), mask, ..."""
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 8:
            continue
        flags, length = int(fields[3], 16), int(fields[7], 16).bit_count()
        if length <= 1 and _leads_out(fields[0], flags):
            yield Way(-length, int(fields[6]), fields[0])


def _ways6(table: str) -> Iterator[Way]:
    """/proc/net/ipv6_route: destination, length, source, length, hop, metric, ..., flags, interface."""
    for line in table.splitlines():
        fields = line.split()
        if len(fields) < 10:
            continue
        length = int(fields[1], 16)
        wide = length == 0 or (length <= 3 and fields[0].startswith(("2", "0", "8")))  # 2000::/3, ::/1, 8000::/1
        if wide and _leads_out(fields[9], int(fields[8], 16)):
            yield Way(-min(length, 1), int(fields[5], 16), fields[9])


def _leads_out(interface: str, flags: int) -> bool:
    return interface != "lo" and bool(flags & RTF_UP) and not flags & RTF_REJECT


def _connected(interface: Path) -> bool:
    """False where the kernel says that nothing is plugged in or associated; a route outlives that."""
    try:
        return (interface / "carrier").read_text().strip() != "0"
    except OSError:
        return True  # no such file, or the interface is down: then it has no routes either


def _type(interface: Path) -> str:
    """Its kind of network, by sysfs-class-net of https://docs.kernel.org/admin-guide/abi-testing.html."""
    event = _content(interface / "uevent")
    if (interface / "tun_flags").exists() or "DEVTYPE=wireguard" in event:
        return "vpn"
    if "DEVTYPE=wwan" in event:
        return "mobile"
    if (interface / "wireless").exists() or "DEVTYPE=wlan" in event:
        return "wifi"
    plain = _content(interface / "type").strip() == str(ARPHRD_ETHER) and "DEVTYPE=" not in event
    return "ethernet" if plain else "other"


def _content(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


class Routes:
    """The kernel's word, kept fresh from `start` to `stop`; has what `Lookout` has."""

    def __init__(
        self,
        on_change: Callable[[], None],
        *,
        settle: float,
        proc: Path = Path("/proc"),
        sys: Path = Path("/sys"),
        poll: float = POLL,
    ) -> None:
        self.value = Network(Connectivity.UNKNOWN, witness=WITNESS, known=False)
        self.ready = asyncio.Event()
        self._on_change = on_change
        self._settle = settle
        self._proc, self._sys, self._poll = proc, sys, poll
        self._socket: socket.socket | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Reads once, and again whenever the kernel tells of a change."""
        if self._timer is not None or self._socket is not None:
            return
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, NETLINK_ROUTE)
            self._socket.bind((0, GROUPS))
        except OSError as error:
            log.info("the kernel may not tell of changes (%s): looking every %g s", error.strerror, self._poll)
            self._close()
        else:
            asyncio.get_running_loop().add_reader(self._socket, self._readable)
        self._read_again()

    def stop(self) -> None:
        """Lets go of the socket; `value` stays as it was."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._close()

    def _readable(self) -> None:
        """Something changed: what, is read from /proc as a whole once it has settled."""
        assert self._socket is not None
        for _ in range(64):
            try:
                self._socket.recv(65536)
            except BlockingIOError:
                break
            except OSError as error:  # ENOBUFS: too many at once; the reading to come sees them all
                log.debug("notices of the kernel were lost: %s", error)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._settle, self._read_again)

    def _read_again(self) -> None:
        polled = self._socket is None
        self._timer = asyncio.get_running_loop().call_later(self._poll, self._read_again) if polled else None
        value = read(self._proc, self._sys)
        changed = value != self.value or not self.ready.is_set()
        self.value = value
        self.ready.set()
        if changed:
            self._on_change()

    def _close(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None
