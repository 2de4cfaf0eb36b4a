"""The delay lock before sleep, before a login1 of the tests' own that hands out real descriptors."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from realparts.fake_service import Login1
from slowboat.edges import sleep as sleep_module
from slowboat.edges.sleep import SleepWatch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from realparts.private_bus import PrivateBus

PATH, MANAGER = "/org/freedesktop/login1", "org.freedesktop.login1.Manager"


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def watching(
    address: str, before: Callable[[], Awaitable[None]], after: Callable[[], None] = lambda: None
) -> AsyncIterator[SleepWatch]:
    watch = SleepWatch(before, after, system=address, patience=0.3)
    await watch.start()
    try:
        yield watch
    finally:
        await watch.stop()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sleep_module, "AGAIN_FIRST", 0.05)


async def nothing() -> None:
    pass


@pytest.mark.parametrize("signal", ["PrepareForSleep", "PrepareForShutdown"])
async def test_breaks_off_lets_go_and_goes_on(system_bus: str, signal: str) -> None:
    async with Login1(system_bus) as login1:
        story: list[str] = []

        async def before() -> None:
            await asyncio.sleep(0.05)
            story.append(f"broken off, {login1.held()} held")

        async with watching(system_bus, before, lambda: story.append("awake")) as watch:
            await until(lambda: login1.held() == 1)
            assert login1.asked == [["sleep:shutdown", "slowboat", "Breaking off an upload", "delay"]]
            await login1.emit(PATH, MANAGER, signal, "b", True)
            await until(lambda: login1.held() == 0)
            assert watch.sleeping
            assert story == ["broken off, 1 held"]
            await login1.emit(PATH, MANAGER, signal, "b", False)
            await until(lambda: not watch.sleeping)
            assert story == ["broken off, 1 held", "awake"]
            assert login1.held() == 1
        await until(lambda: login1.held() == 0)


@pytest.mark.parametrize("kind", ["hangs", "raises"])
async def test_the_lock_is_let_go_whatever_happens(system_bus: str, kind: str) -> None:
    async def before() -> None:
        if kind == "raises":
            raise RuntimeError(kind)
        await asyncio.Event().wait()

    async with Login1(system_bus) as login1, watching(system_bus, before):
        await until(lambda: login1.held() == 1)
        await login1.emit(PATH, MANAGER, "PrepareForSleep", "b", True)
        await until(lambda: login1.held() == 0)


async def test_awake_before_it_was_broken_off(system_bus: str) -> None:
    release = asyncio.Event()
    story: list[str] = []

    async def before() -> None:
        await release.wait()
        story.append("before")

    async with Login1(system_bus) as login1, watching(system_bus, before, lambda: story.append("after")) as watch:
        await until(lambda: login1.held() == 1)
        await login1.emit(PATH, MANAGER, "PrepareForSleep", "b", True)
        await until(lambda: watch.sleeping)
        await login1.emit(PATH, MANAGER, "PrepareForSleep", "b", False)
        release.set()
        await until(lambda: story == ["before", "after"])
        await until(lambda: login1.held() == 1)
        assert not watch.sleeping


async def test_login1_restarts_while_asleep(system_bus: str) -> None:
    login1 = Login1(system_bus)
    await login1.start()
    async with watching(system_bus, nothing) as watch:
        await until(lambda: login1.held() == 1)
        await login1.emit(PATH, MANAGER, "PrepareForSleep", "b", True)
        await until(lambda: watch.sleeping)
        await login1.stop()
        await login1.start()
        await until(lambda: login1.held() == 1)
        await until(lambda: not watch.sleeping)
    await login1.stop()


async def test_the_bus_restarts(private_bus: PrivateBus) -> None:
    login1 = Login1(private_bus.address)
    await login1.start()
    async with watching(private_bus.address, nothing):
        await until(lambda: login1.held() == 1)
        private_bus.stop()
        await login1.stop()
        private_bus.start()
        await login1.start()
        await until(lambda: login1.held() == 1)
    await login1.stop()


async def test_nonsense_is_no_sleep(system_bus: str) -> None:
    async with Login1(system_bus) as login1, watching(system_bus, nothing) as watch:
        await until(lambda: login1.held() == 1)
        await login1.emit(PATH, MANAGER, "PrepareForSleep", "s", "soon")
        await login1.emit(PATH, MANAGER, "PrepareForSleep")
        await login1.bus.flush() if login1.bus else None
        assert not watch.sleeping
        assert login1.held() == 1


async def test_without_login1_or_a_bus_nothing_happens(system_bus: str) -> None:
    for address in (system_bus, "unix:path=/nonexistent/system"):
        async with watching(address, nothing) as watch:
            await asyncio.sleep(0.1)
            assert not watch.sleeping
