"""The watch of the network, before a NetworkManager and a portal of the tests' own on private buses."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from realparts.fake_service import NM, NM_PATH, Changes, FakeNetworkManager, FakeService
from slowboat.core.words import Connectivity, Network
from slowboat.edges import service_watch
from slowboat.edges.dbus import Answer, Variant
from slowboat.edges.network import NetworkWatch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from realparts.private_bus import PrivateBus

PORTAL = "org.freedesktop.portal.Desktop"
PORTAL_PATH = "/org/freedesktop/portal/desktop"
MONITOR = "org.freedesktop.portal.NetworkMonitor"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_watch, "AGAIN_FIRST", 0.05)
    monkeypatch.setattr(service_watch, "AGAIN_MOST", 0.2)


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    """A /proc and /sys of a machine whose only way out is wlan0."""
    (tmp_path / "net").mkdir()
    (tmp_path / "net/route").write_text(
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
        "wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n"
        "wlan0\t0001A8C0\t00000000\t0001\t0\t0\t600\t00FFFFFF\t0\t0\t0\n"
    )
    (tmp_path / "class/net/wlan0/wireless").mkdir(parents=True)
    return tmp_path


@asynccontextmanager
async def watching(
    system: str, session: str, kernel: Path, settle: float = 0.05
) -> AsyncIterator[tuple[NetworkWatch, Changes]]:
    changes = Changes()
    watch = NetworkWatch(
        changes, system=system, session=session, settle=settle, patience=0.3, proc=kernel, sys=kernel, poll=0.05
    )
    await watch.start()
    try:
        yield watch, changes
    finally:
        await watch.stop()


def full(*names: str, types: tuple[str, ...], metered: bool | None = False) -> Network:
    return Network(Connectivity.FULL, metered=metered, names=names, types=types, witness="NetworkManager")


async def test_reads_the_whole_at_start(system_bus: str, session_bus: str, kernel: Path) -> None:
    async with FakeNetworkManager(system_bus) as manager:
        await manager.say(manager.connect(1, "Home", "802-11-wireless", default=True))
        async with watching(system_bus, session_bus, kernel) as (watch, _):
            assert watch.current() == full("Home", types=("wifi",))


async def test_steps_of_an_activation_are_no_changes(system_bus: str, session_bus: str, kernel: Path) -> None:
    async with (
        FakeNetworkManager(system_bus) as manager,
        watching(system_bus, session_bus, kernel, settle=1.0) as (watch, changes),
    ):
        assert watch.current().connectivity is Connectivity.NONE
        count = changes.count
        await manager.say(manager.connect(1, "Phone", "802-11-wireless", metered=3, default=True), metered=3)
        await changes.until(lambda: watch.current() == full("Phone", types=("wifi",), metered=True))
        assert changes.count == count + 1


async def test_a_tunnel_does_not_hide_the_meter_beneath(system_bus: str, session_bus: str, kernel: Path) -> None:
    async with FakeNetworkManager(system_bus) as manager:
        phone = manager.connect(1, "Phone", "802-11-wireless", metered=1)
        tunnel = manager.connect(2, "Office", "tun", metered=4, default=True)
        await manager.say(tunnel, phone, metered=4)  # what NetworkManager itself says is "guess no"
        async with watching(system_bus, session_bus, kernel) as (watch, _):
            assert watch.current() == full("Office", "Phone", types=("vpn", "wifi"), metered=True)


async def test_the_carrier_comes_first_and_a_tap_of_a_bridge_is_no_vpn(
    system_bus: str, session_bus: str, kernel: Path
) -> None:
    async with FakeNetworkManager(system_bus) as manager:
        bridge = manager.connect(1, "virbr0", "bridge")
        tap = manager.connect(2, "vnet0", "tun", Master=("o", f"{NM_PATH}/Devices/1"))
        cable = manager.connect(3, "Cable", "802-3-ethernet", default=True)
        loopback = manager.connect(4, "lo", "loopback", metered=1)
        phone = manager.connect(5, "SIM", "gsm", metered=4)
        await manager.say(bridge, tap, cable, loopback, phone)
        async with watching(system_bus, session_bus, kernel) as (watch, _):
            expected = full(
                "Cable", "virbr0", "vnet0", "SIM", types=("ethernet", "other", "other", "mobile"), metered=False
            )
            assert watch.current() == expected


@pytest.mark.parametrize(
    ("state", "connectivity", "expected"),
    [
        (70, 4, Connectivity.FULL),
        (70, 3, Connectivity.LIMITED),
        (60, 2, Connectivity.PORTAL),
        (50, 4, Connectivity.LIMITED),
        (40, 4, Connectivity.NONE),
        (20, 1, Connectivity.NONE),
        (10, 4, Connectivity.NONE),
        (70, 0, Connectivity.UNKNOWN),
        (0, 4, Connectivity.UNKNOWN),
        (70, 99, Connectivity.UNKNOWN),
    ],
)
async def test_connectivity(
    system_bus: str, session_bus: str, kernel: Path, state: int, connectivity: int, expected: Connectivity
) -> None:
    async with FakeNetworkManager(system_bus) as manager:
        manager.objects[NM_PATH][NM] = manager.manager(State=("u", state), Connectivity=("u", connectivity))
        async with watching(system_bus, session_bus, kernel) as (watch, _):
            assert watch.current().connectivity is expected
            assert watch.current().known is (expected is not Connectivity.UNKNOWN)


async def test_without_its_check_a_connection_is_full(system_bus: str, session_bus: str, kernel: Path) -> None:
    async with FakeNetworkManager(system_bus) as manager:
        manager.objects[NM_PATH][NM] = manager.manager(
            State=("u", 70), Connectivity=("u", 0), ConnectivityCheckEnabled=("b", False)
        )
        async with watching(system_bus, session_bus, kernel) as (watch, _):
            assert watch.current().connectivity is Connectivity.FULL


@pytest.mark.parametrize(
    "lie",
    [
        {"State": ("s", "connected")},
        {"State": ("b", True)},
        {"Connectivity": ("s", "full")},
        {"Connectivity": ("d", 4.0)},
    ],
)
async def test_a_lie_about_a_type_is_not_known(
    system_bus: str, session_bus: str, kernel: Path, lie: dict[str, tuple[str, object]]
) -> None:
    async with FakeNetworkManager(system_bus) as manager:
        manager.objects[NM_PATH][NM] = manager.manager(**{"State": ("u", 70), "Connectivity": ("u", 4), **lie})
        async with watching(system_bus, session_bus, kernel) as (watch, _):
            assert not watch.current().known


async def test_lies_of_connections_and_devices_are_survived(system_bus: str, session_bus: str, kernel: Path) -> None:
    async with FakeNetworkManager(system_bus) as manager:
        odd = manager.connect(1, "Odd", "802-3-ethernet", Id=("u", 7), Default=("s", "yes"), Devices=("s", "none"))
        phone = manager.connect(2, "Phone", "gsm", metered=1)
        manager.objects[f"{NM_PATH}/Devices/2"][f"{NM}.Device"]["Metered"] = ("s", "yes")
        await manager.say(odd, phone, f"{NM_PATH}/ActiveConnection/404", metered=0)
        async with watching(system_bus, session_bus, kernel) as (watch, _):
            assert watch.current() == full("", "Phone", types=("ethernet", "mobile"), metered=None)


async def test_gone_is_unknown_and_no_kernel_speaks_for_it(system_bus: str, session_bus: str, kernel: Path) -> None:
    manager = FakeNetworkManager(system_bus)
    await manager.start()
    cable = manager.connect(1, "Cable", "802-3-ethernet", default=True)
    await manager.say(cable)
    async with watching(system_bus, session_bus, kernel) as (watch, changes):
        assert watch.current().known
        await manager.stop()
        await changes.until(lambda: not watch.current().known)
        assert watch.current().witness == "NetworkManager"
        await manager.start()
        await manager.say(cable)
        await changes.until(lambda: watch.current() == full("Cable", types=("ethernet",)))
        await manager.stop()


async def test_frozen_is_unknown_until_it_answers(system_bus: str, session_bus: str, kernel: Path) -> None:
    async with FakeNetworkManager(system_bus) as manager:
        cable = manager.connect(1, "Cable", "802-3-ethernet", default=True)
        await manager.say(cable)
        async with watching(system_bus, session_bus, kernel) as (watch, changes):
            manager.frozen = True
            await manager.change(NM_PATH, NM, Connectivity=("u", 3))
            await changes.until(lambda: not watch.current().known)
            manager.frozen = False  # and no signal says so
            await changes.until(lambda: watch.current().connectivity is Connectivity.LIMITED)


async def test_frozen_from_the_start(system_bus: str, session_bus: str, kernel: Path) -> None:
    async with FakeNetworkManager(system_bus) as manager:
        manager.frozen = True
        async with watching(system_bus, session_bus, kernel) as (watch, changes):
            await changes.until(lambda: watch.current().witness == "NetworkManager")
            assert not watch.current().known


async def test_a_flood_of_signals_is_read_a_few_times(system_bus: str, session_bus: str, kernel: Path) -> None:
    async with FakeNetworkManager(system_bus) as manager:
        await manager.say(manager.connect(1, "Home", "802-11-wireless", default=True))
        async with watching(system_bus, session_bus, kernel, settle=0.3) as (watch, changes):
            manager.calls.clear()
            for _ in range(20):
                await manager.change(NM_PATH, NM, **{f"Noise{number}": ("u", number) for number in range(100)})
            await manager.change(NM_PATH, NM, Connectivity=("u", 2))
            await changes.until(lambda: watch.current().connectivity is Connectivity.PORTAL)
            assert manager.calls.count(f"GetAll {NM}") < 100  # of 2001 signals


async def test_the_bus_restarts(private_bus: PrivateBus, system_bus: str, kernel: Path) -> None:
    manager = FakeNetworkManager(private_bus.address)
    await manager.start()
    cable = manager.connect(1, "Cable", "802-3-ethernet", default=True)
    await manager.say(cable)
    async with watching(private_bus.address, system_bus, kernel) as (watch, changes):
        assert watch.current().known
        private_bus.stop()
        await changes.until(lambda: not watch.current().known)
        await manager.stop()
        private_bus.start()
        await manager.start()
        await manager.say(cable)
        await changes.until(lambda: watch.current() == full("Cable", types=("ethernet",)))
        await manager.stop()


def status(service: FakeService, *, metered: bool, reach: int = 4) -> None:
    values = {"available": Variant("b", True), "metered": Variant("b", metered), "connectivity": Variant("u", reach)}
    service.methods[MONITOR, "GetStatus"] = lambda _: Answer("a{sv}", [values])


async def test_the_portal_speaks_where_there_is_no_networkmanager(
    system_bus: str, session_bus: str, kernel: Path
) -> None:
    async with FakeService(session_bus, PORTAL) as service:
        status(service, metered=False)
        async with watching(system_bus, session_bus, kernel) as (watch, changes):
            assert watch.current() == Network(Connectivity.FULL, metered=False, witness="portal")
            status(service, metered=False, reach=3)
            await service.emit(PORTAL_PATH, MONITOR, "changed")
            await changes.until(lambda: watch.current().connectivity is Connectivity.PORTAL)


async def test_what_was_metered_stays_so_until_somebody_knows_better(
    system_bus: str, session_bus: str, kernel: Path
) -> None:
    service = FakeService(session_bus, PORTAL)
    await service.start()
    status(service, metered=True)
    async with watching(system_bus, session_bus, kernel) as (watch, changes):
        assert watch.current().metered is True
        await service.stop()
        await changes.until(lambda: watch.current().witness == "kernel")
        assert watch.current().metered is True
        table = (kernel / "net/route").read_text()
        (kernel / "net/route").write_text(table.splitlines()[0])
        routes = watch._routes  # the kernel's own notices are of the machine's routes, not of this file
        routes._readable()
        await changes.until(lambda: watch.current().connectivity is Connectivity.NONE)
        (kernel / "net/route").write_text(table)
        routes._readable()
        await changes.until(lambda: watch.current().connectivity is Connectivity.FULL)
        assert watch.current().metered is None


async def test_the_kernel_speaks_where_nobody_else_does(system_bus: str, session_bus: str, kernel: Path) -> None:
    expected = Network(Connectivity.FULL, names=("wlan0",), types=("wifi",), witness="kernel")
    async with watching(system_bus, session_bus, kernel) as (watch, _):
        assert watch.current() == expected
    async with watching("unix:path=/nonexistent/system", "unix:path=/nonexistent/session", kernel) as (watch, _):
        assert watch.current() == expected


async def test_networkmanager_takes_over_when_it_comes(system_bus: str, session_bus: str, kernel: Path) -> None:
    async with watching(system_bus, session_bus, kernel) as (watch, changes):
        assert watch.current().witness == "kernel"
        async with FakeNetworkManager(system_bus) as manager:
            await changes.until(lambda: watch.current().witness == "NetworkManager")
            await manager.say(manager.connect(1, "Home", "802-11-wireless", default=True))
            await changes.until(lambda: watch.current() == full("Home", types=("wifi",)))
        await changes.until(lambda: not watch.current().known)


async def test_an_older_portal_is_passed_over(system_bus: str, session_bus: str, kernel: Path) -> None:
    async with FakeService(session_bus, PORTAL), watching(system_bus, session_bus, kernel) as (watch, changes):
        await changes.until(lambda: watch.current().witness == "kernel")


async def test_stop_leaves_nothing_behind(system_bus: str, session_bus: str, kernel: Path) -> None:
    before = asyncio.all_tasks()
    async with FakeNetworkManager(system_bus) as manager:
        async with watching(system_bus, session_bus, kernel):
            pass
        await manager.stop()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() <= before
