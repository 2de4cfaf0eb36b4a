"""The watch on the keyring: heard from a real Secret Service on a real bus."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from realparts.keyring import running_keyring
from slowboat.edges.keyring import Entries, KeyringWatch
from slowboat.edges.secrets import SERVICE, Secret, attributes_of, store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

OURS = {"application": SERVICE}
pytestmark = pytest.mark.needs("dbus-daemon")


@asynccontextmanager
async def watching(session_bus: str) -> AsyncIterator[KeyringWatch]:
    watch = KeyringWatch(OURS, session=session_bus, settle=0.05)
    await watch.start()
    try:
        yield watch
    finally:
        await watch.stop()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.01)


async def test_a_keyring_that_is_unlocked_is_heard_of(session_bus: str) -> None:
    entries = [("locked", attributes_of("mycloud"), "x"), ("another's", {"application": "another"}, "y")]
    async with watching(session_bus) as watch:
        assert watch.current() == Entries(), "nobody is there"
        with running_keyring(session_bus, entries) as keyring:
            await until(lambda: len(watch.current().locked) == 1)
            assert not watch.current().open
            told = 0

            def count() -> None:
                nonlocal told
                told += 1

            watch.on_change = count
            keyring.unlock()
            await until(lambda: len(watch.current().open) == 1)
            assert not watch.current().locked
            assert told == 1, "many signals are one change"
        await until(lambda: watch.current() == Entries())


async def test_an_entry_that_is_stored_later_is_heard_of(session_bus: str) -> None:
    async with watching(session_bus) as watch:
        with running_keyring(session_bus):
            environment = {"DBUS_SESSION_BUS_ADDRESS": session_bus}
            await asyncio.to_thread(store, "mycloud", Secret("x"), environment)
            await until(lambda: len(watch.current().open) == 1)


async def test_one_that_does_not_answer_holds_nothing(session_bus: str) -> None:
    with running_keyring(session_bus, silent=True):
        watch = KeyringWatch(OURS, session=session_bus, settle=0.05, patience=0.2)
        await watch.start()
        assert watch.current() == Entries()
        await watch.stop()
