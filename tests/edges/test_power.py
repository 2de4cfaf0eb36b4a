"""The watches of power and games, before services of the tests' own; the kernel's power supplies in a folder."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from realparts.fake_service import Changes, FakeService
from slowboat.core.conditions import Power
from slowboat.edges import service_watch
from slowboat.edges.gamemode import GameWatch
from slowboat.edges.power import PROFILES, PowerWatch, read_supplies

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

UPOWER, UPOWER_PATH = "org.freedesktop.UPower", "/org/freedesktop/UPower"
DISPLAY = "/org/freedesktop/UPower/devices/DisplayDevice"
GAMES, GAMES_PATH = "com.feralinteractive.GameMode", "/com/feralinteractive/GameMode"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_watch, "AGAIN_FIRST", 0.05)
    monkeypatch.setattr(service_watch, "AGAIN_MOST", 0.2)


@asynccontextmanager
async def watching(system: str, sys: Path) -> AsyncIterator[tuple[PowerWatch, Changes]]:
    changes = Changes()
    watch = PowerWatch(changes, system=system, settle=0.05, patience=0.3, sys=sys, poll=0.05)
    await watch.start()
    try:
        yield watch, changes
    finally:
        await watch.stop()


def upower(address: str, on_battery: Any = ("b", True), percentage: Any = ("d", 41.9)) -> FakeService:
    service = FakeService(address, UPOWER)
    service.objects[UPOWER_PATH] = {UPOWER: {"OnBattery": on_battery}}
    service.objects[DISPLAY] = {f"{UPOWER}.Device": {"Percentage": percentage}}
    return service


def profiles(address: str, which: int = 0, profile: Any = ("s", "power-saver")) -> FakeService:
    name, path = PROFILES[which]
    service = FakeService(address, name)
    service.objects[path] = {name: {"ActiveProfile": profile}}
    return service


async def test_battery_and_mains(system_bus: str, tmp_path: Path) -> None:
    async with upower(system_bus) as service, watching(system_bus, tmp_path) as (watch, changes):
        assert watch.current() == Power(on_battery=True, level=41.0, power_saver=False)
        await service.change(DISPLAY, f"{UPOWER}.Device", Percentage=("d", 40.0))
        await changes.until(lambda: watch.current().level == 40.0)
        await service.change(UPOWER_PATH, UPOWER, OnBattery=("b", False))
        await changes.until(lambda: watch.current() == Power(on_battery=False, level=None, power_saver=False))


@pytest.mark.parametrize("which", [0, 1])
async def test_power_saver_under_both_names(system_bus: str, tmp_path: Path, which: int) -> None:
    name, path = PROFILES[which]
    async with profiles(system_bus, which) as service, watching(system_bus, tmp_path) as (watch, changes):
        assert watch.current().power_saver is True
        await service.change(path, name, ActiveProfile=("s", "balanced"))
        await changes.until(lambda: watch.current().power_saver is False)


async def test_profiles_that_come_and_go(system_bus: str, tmp_path: Path) -> None:
    async with watching(system_bus, tmp_path) as (watch, changes):
        assert watch.current().power_saver is False
        async with profiles(system_bus):
            await changes.until(lambda: watch.current().power_saver is True)
        await changes.until(lambda: watch.current().power_saver is False)


@pytest.mark.parametrize("lie", [("s", "yes"), ("u", 1), ("d", 1.0)])
async def test_a_lie_about_the_battery_is_not_known(system_bus: str, tmp_path: Path, lie: tuple[str, object]) -> None:
    async with upower(system_bus, on_battery=lie), watching(system_bus, tmp_path) as (watch, _):
        assert watch.current().on_battery is None


@pytest.mark.parametrize("lie", [("s", "full"), ("b", True), ("d", -1.0), ("d", 1e300), ("d", float("nan"))])
async def test_a_lie_about_the_level_is_not_known(system_bus: str, tmp_path: Path, lie: tuple[str, object]) -> None:
    async with upower(system_bus, percentage=lie), watching(system_bus, tmp_path) as (watch, _):
        assert watch.current() == Power(on_battery=True, level=None, power_saver=False)


@pytest.mark.parametrize("lie", [("u", 3), ("s", ""), ("as", ["power-saver"])])
async def test_a_lie_about_the_profile_is_not_known(system_bus: str, tmp_path: Path, lie: tuple[str, object]) -> None:
    async with profiles(system_bus, profile=lie), watching(system_bus, tmp_path) as (watch, _):
        assert watch.current().power_saver is None


async def test_frozen_is_not_known_until_it_answers(system_bus: str, tmp_path: Path) -> None:
    async with upower(system_bus) as service, watching(system_bus, tmp_path) as (watch, changes):
        service.frozen = True
        await service.change(UPOWER_PATH, UPOWER, OnBattery=("b", False))
        await changes.until(lambda: watch.current() == Power())
        service.frozen = False
        await changes.until(lambda: watch.current().on_battery is False)


def supply(sys: Path, name: str, **files: str) -> Path:
    folder = sys / "class/power_supply" / name
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        (folder / file).write_text(f"{content}\n")
    return folder


async def test_without_upower_the_kernel_is_looked_at(system_bus: str, tmp_path: Path) -> None:
    battery = supply(tmp_path, "BAT0", type="Battery", status="Discharging", capacity="77")
    for address in (system_bus, "unix:path=/nonexistent/system"):
        (battery / "status").write_text("Discharging\n")
        async with watching(address, tmp_path) as (watch, changes):
            assert watch.current() == Power(on_battery=True, level=77.0, power_saver=False)
            (battery / "status").write_text("Charging\n")
            await changes.until(lambda watch=watch: watch.current().on_battery is False)


@pytest.mark.parametrize(
    ("supplies", "expected"),
    [
        ([], (False, None)),
        ([{"type": "Battery", "scope": "Device", "status": "Discharging", "capacity": "5"}], (False, None)),
        ([{"type": "Mains", "online": "0"}, {"type": "Battery", "status": "Discharging"}], (True, None)),
        (
            [{"type": "Mains", "online": "1"}, {"type": "Battery", "status": "Discharging", "capacity": "9"}],
            (False, 9.0),
        ),
        ([{"type": "Battery", "status": "Full"}, {"type": "Battery", "status": "Discharging"}], (True, None)),
        ([{"type": "Battery", "status": "Unknown", "capacity": "many"}], (None, None)),
        ([{"type": "Battery"}], (None, None)),
        ([{"type": "Battery", "status": "Not charging", "capacity": "60"}], (False, 60.0)),
    ],
)
def test_the_kernels_supplies(tmp_path: Path, supplies: list[dict[str, str]], expected: tuple[object, object]) -> None:
    for number, files in enumerate(supplies):
        supply(tmp_path, f"S{number}", **files)
    assert read_supplies(tmp_path / "class/power_supply") == expected


async def test_games(session_bus: str) -> None:
    changes = Changes()
    watch = GameWatch(changes, session=session_bus, settle=0.05, patience=0.3)
    await watch.start()
    assert watch.current() is False
    service = FakeService(session_bus, GAMES)
    service.objects[GAMES_PATH] = {GAMES: {"ClientCount": ("i", 1)}}
    async with service:
        await changes.until(lambda: watch.current() is True)
        service.objects[GAMES_PATH][GAMES]["ClientCount"] = ("i", 0)
        await service.emit(GAMES_PATH, GAMES, "GameUnregistered", "io", 4711, "/game")
        await changes.until(lambda: watch.current() is False)
        await service.change(GAMES_PATH, GAMES, ClientCount=("s", "two"))
        await changes.until(lambda: watch.current() is None)
    await changes.until(lambda: watch.current() is False)
    await watch.stop()


async def test_without_a_session_bus_no_game_has_asked() -> None:
    watch = GameWatch(session="unix:path=/nonexistent/session")
    await watch.start()
    assert watch.current() is False
    await watch.stop()
