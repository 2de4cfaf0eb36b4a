"""The kernel's routes: its tables, its interfaces, and its own notices in a network namespace."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from realparts.fake_service import Changes
from realparts.networkmanager import may_have_namespaces
from realparts.presence import ROOT, program, with_us
from slowboat.core.words import Connectivity, Network
from slowboat.edges.network import NetworkWatch, kernel

if TYPE_CHECKING:
    from pathlib import Path

HEAD4 = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
NOWHERE = "0" * 32


def route4(
    interface: str, destination: str = "00000000", mask: str = "00000000", metric: int = 0, flags: int = 3
) -> str:
    return f"{interface}\t{destination}\t0101A8C0\t{flags:04X}\t0\t0\t{metric}\t{mask}\t0\t0\t0\n"


def route6(interface: str, destination: str = NOWHERE, length: int = 0, metric: int = 1024, flags: int = 3) -> str:
    return f"{destination} {length:02x} {NOWHERE} 00 {NOWHERE} {metric:08x} 00000001 00000000 {flags:08x} {interface}\n"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    (tmp_path / "net").mkdir()
    (tmp_path / "net/route").write_text(HEAD4)
    for name, kind, files in (
        ("eth0", "1", {"carrier": "1"}),
        ("wlan0", "1", {"uevent": "DEVTYPE=wlan\nINTERFACE=wlan0\n"}),
        ("wlx0", "1", {"wireless/x": ""}),
        ("wwan0", "519", {"uevent": "DEVTYPE=wwan\n"}),
        ("tun0", "65534", {"tun_flags": "0x1001"}),
        ("wg0", "65534", {"uevent": "DEVTYPE=wireguard\n"}),
        ("br0", "1", {"uevent": "DEVTYPE=bridge\n"}),
        ("ppp0", "512", {}),
    ):
        folder = tmp_path / "class/net" / name
        for file, content in {"type": kind, **files}.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(f"{content}\n")
    return tmp_path


def said(machine: Path, *routes4: str, routes6: tuple[str, ...] | None = None) -> Network:
    (machine / "net/route").write_text(HEAD4 + "".join(routes4))
    if routes6 is not None:
        (machine / "net/ipv6_route").write_text("".join(routes6))
    return kernel.read(machine, machine)


def test_no_way_out(machine: Path) -> None:
    nowhere = Network(Connectivity.NONE, witness="kernel")
    assert said(machine) == nowhere
    assert said(machine, route4("eth0", "0000A8C0", "0000FFFF")) == nowhere
    assert said(machine, route4("lo"), route4("eth0", flags=0x203), route4("eth0", flags=0x2)) == nowhere
    assert said(machine, routes6=(route6("lo", flags=0x200200), route6("eth0", "fe80" + "0" * 28, 64))) == nowhere


@pytest.mark.parametrize(
    ("interface", "kind"),
    [
        ("eth0", "ethernet"), ("wlan0", "wifi"), ("wlx0", "wifi"), ("wwan0", "mobile"), ("tun0", "vpn"), ("wg0", "vpn"),
        ("br0", "other"), ("ppp0", "other"), ("vanished", "other"),
    ],
)  # fmt: skip
def test_the_kind_of_network(machine: Path, interface: str, kind: str) -> None:
    expected = Network(Connectivity.FULL, names=(interface,), types=(kind,), witness="kernel")
    assert said(machine, route4(interface)) == expected
    assert said(machine, routes6=(route6(interface),)) == expected


def test_the_route_that_is_taken_comes_first(machine: Path) -> None:
    said_now = said(machine, route4("wlan0", metric=600), route4("eth0", metric=100), routes6=(route6("wlan0"),))
    assert said_now.names == ("eth0", "wlan0")
    halves = (route4("tun0", "00000000", "00000080"), route4("tun0", "00000080", "00000080"))
    assert said(machine, route4("eth0"), *halves).names == ("tun0", "eth0", "wlan0")


def test_a_cable_that_is_out_leads_nowhere(machine: Path) -> None:
    (machine / "class/net/eth0/carrier").write_text("0\n")
    assert said(machine, route4("eth0")).connectivity is Connectivity.NONE


def test_tables_that_cannot_be_read_are_not_known(machine: Path) -> None:
    assert not said(machine, "eth0 another table stands here now instead of it\n").known
    (machine / "net/route").unlink()
    assert not kernel.read(machine, machine).known


async def test_without_notices_it_looks_again_by_itself(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "NETLINK_ROUTE", 4711)  # as the kernel refuses it to a service without AF_NETLINK
    changes = Changes()
    watch = NetworkWatch(changes, system="unix:path=/no", session="unix:path=/no", proc=machine, sys=machine, poll=0.05)
    await watch.start()
    assert watch.current().connectivity is Connectivity.NONE
    (machine / "net/route").write_text(HEAD4 + route4("eth0"))
    await changes.until(lambda: watch.current().names == ("eth0",))
    await watch.stop()


IN_A_NAMESPACE = """
import asyncio, subprocess
from realparts.fake_service import Changes
from slowboat.edges.network import NetworkWatch

def ip(words):
    subprocess.run(["ip", *words.split()], check=True)

async def main():
    changes = Changes()
    watch = NetworkWatch(changes, system="unix:path=/no", session="unix:path=/no", settle=0.05, poll=3600)
    await watch.start()
    said = lambda: (watch.current().connectivity.name, *watch.current().names)
    assert said() == ("NONE",), said()
    ip("link add up0 type veth peer name p0")
    ip("address add 10.77.0.2/24 dev up0")
    ip("link set p0 up")
    ip("link set up0 up")
    ip("route add default via 10.77.0.1")
    await changes.until(lambda: said() == ("FULL", "up0"))
    ip("link set p0 down")
    await changes.until(lambda: said() == ("NONE",))
    ip("link set p0 up")
    await changes.until(lambda: said() == ("FULL", "up0"))
    ip("route del default")
    await changes.until(lambda: said() == ("NONE",))
    ip("-6 address add fd00::2/64 dev up0 nodad")
    ip("-6 route add default via fd00::1 dev up0")
    await changes.until(lambda: said() == ("FULL", "up0"))
    await watch.stop()
    print("all seen")

asyncio.run(main())
"""


@pytest.mark.needs("ip", "unshare")
def test_the_kernels_own_notices() -> None:
    may_have_namespaces()
    shell = 'mount -t sysfs sysfs /sys && exec "$0" -X dev -W error -c "$1"'
    result = subprocess.run(
        with_us(
            program("unshare"),
            "--mount",
            "--net",
            "--propagation",
            "private",
            "bash",
            "-c",
            shell,
            sys.executable,
            IN_A_NAMESPACE,
        ),
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.stdout == "all seen\n", result.stderr
    assert result.stderr == ""
