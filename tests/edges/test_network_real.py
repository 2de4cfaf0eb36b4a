"""The watch of the network before the real NetworkManager, in namespaces of its own.

The stage is driven from the event loop's own thread, which waits meanwhile: its processes die with the thread that
started them.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from realparts.fake_service import Changes
from realparts.networkmanager import RealNetworkManager, running_stage
from slowboat.core.words import Connectivity, Network
from slowboat.edges import service_watch
from slowboat.edges.network import NetworkWatch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_watch, "AGAIN_FIRST", 0.2)
    monkeypatch.setattr(service_watch, "AGAIN_MOST", 0.5)


@pytest.fixture(scope="module")
def machine() -> Iterator[RealNetworkManager]:
    with running_stage() as stage:
        yield stage


@pytest.fixture
def stage(machine: RealNetworkManager) -> Iterator[RealNetworkManager]:
    """The stage with nothing connected, and nothing left behind."""
    yield machine
    machine.thaw()
    machine.check(on=True)
    machine.answer("internet")
    for name in machine.nmcli("-t -f NAME connection show").split():
        if name != "lo":
            machine.nmcli(f"connection delete {name}")


@asynccontextmanager
async def watching(stage: RealNetworkManager, tmp_path: Path) -> AsyncIterator[tuple[NetworkWatch, Changes]]:
    changes = Changes()
    watch = NetworkWatch(
        changes,
        system=stage.address,
        session="unix:path=/nonexistent/session",
        patience=1.0,
        proc=tmp_path,
        sys=tmp_path,
    )
    await watch.start()
    try:
        yield watch, changes
    finally:
        await watch.stop()


def full(*names: str, types: tuple[str, ...], metered: bool | None = False) -> Network:
    return Network(Connectivity.FULL, metered=metered, names=names, types=types, witness="NetworkManager")


async def test_up_metered_and_down(stage: RealNetworkManager, tmp_path: Path) -> None:
    async with watching(stage, tmp_path) as (watch, changes):
        assert watch.current().connectivity is Connectivity.NONE
        stage.cable("Home")
        await changes.until(lambda: watch.current() == full("Home", types=("ethernet",)))
        stage.nmcli("connection modify Home connection.metered yes")
        await changes.until(lambda: watch.current() == full("Home", types=("ethernet",), metered=True))
        stage.nmcli("connection modify Home connection.metered no")
        await changes.until(lambda: watch.current().metered is False)
        stage.nmcli("connection down Home")
        await changes.until(lambda: watch.current().connectivity is Connectivity.NONE)
        assert watch.current().known


async def test_a_telephone_is_metered_by_guess(stage: RealNetworkManager, tmp_path: Path) -> None:
    stage.serve_dhcp("--dhcp-option-force=43,ANDROID_METERED")
    async with watching(stage, tmp_path) as (watch, changes):
        add = "connection add type ethernet ifname up0 con-name Phone autoconnect no ipv6.method disabled"
        stage.nmcli(add)
        stage.nmcli("connection up Phone")
        assert "yes (guessed)" in stage.nmcli("-f GENERAL.METERED device show up0")
        await changes.until(lambda: watch.current() == full("Phone", types=("ethernet",), metered=True))


async def test_portal_and_limited(stage: RealNetworkManager, tmp_path: Path) -> None:
    stage.cable("Hotel")
    async with watching(stage, tmp_path) as (watch, changes):
        await changes.until(lambda: watch.current().connectivity is Connectivity.FULL)
        stage.answer("portal")
        await changes.until(lambda: watch.current().connectivity is Connectivity.PORTAL)
        stage.answer("nothing")
        await changes.until(lambda: watch.current().connectivity is Connectivity.LIMITED)
        stage.answer("internet")
        await changes.until(lambda: watch.current().connectivity is Connectivity.FULL)


async def test_a_full_tunnel_does_not_hide_the_meter(stage: RealNetworkManager, tmp_path: Path) -> None:
    stage.cable("Phone", "connection.metered yes ipv4.route-metric 100")
    async with watching(stage, tmp_path) as (watch, changes):
        await changes.until(lambda: watch.current() == full("Phone", types=("ethernet",), metered=True))
        stage.check(on=False)
        stage.tunnel("Office")
        await changes.until(lambda: watch.current().names == ("Office", "Phone"))
        assert stage.get("Metered") == "u 4"  # NetworkManager itself: "guess no"
        assert watch.current() == full("Office", "Phone", types=("vpn", "ethernet"), metered=True)


async def test_frozen_and_thawed(stage: RealNetworkManager, tmp_path: Path) -> None:
    stage.cable("Home")
    async with watching(stage, tmp_path) as (watch, changes):
        await changes.until(lambda: watch.current().known and watch.current().names == ("Home",))
        stage.freeze()
        watch._manager_watch.refresh()  # a frozen NetworkManager gives no sign of it
        await changes.until(lambda: not watch.current().known)
        stage.thaw()
        await changes.until(lambda: watch.current() == full("Home", types=("ethernet",)))


async def test_killed_and_started_again(stage: RealNetworkManager, tmp_path: Path) -> None:
    stage.cable("Home")
    async with watching(stage, tmp_path) as (watch, changes):
        await changes.until(lambda: watch.current() == full("Home", types=("ethernet",)))
        stage.kill()
        await changes.until(lambda: not watch.current().known)
        assert watch.current().witness == "NetworkManager"
        stage.start()
        await changes.until(lambda: watch.current() == full("Home", types=("ethernet",)))
