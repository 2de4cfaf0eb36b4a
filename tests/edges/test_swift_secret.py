"""A secret that does not come: a keyring that hangs holds neither whoever asks for a token nor the event loop."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from slowboat.edges.swift import Credentials, SwiftStore

if TYPE_CHECKING:
    from realparts.swift_server import SwiftServer


class SlowKeyring:
    """Answers when it is let."""

    def __init__(self, key: str) -> None:
        self._key = key
        self.asked, self.may = threading.Semaphore(0), threading.Event()
        self.answered = 0

    def __call__(self) -> str:
        self.asked.release()
        self.may.wait(60)
        self.answered += 1
        return self._key


@pytest.fixture
def keyring(swift: SwiftServer) -> SlowKeyring:
    return SlowKeyring(swift.key)


async def test_who_is_broken_off_does_not_wait_for_it(swift: SwiftServer, keyring: SlowKeyring) -> None:
    store = SwiftStore(Credentials(swift.auth_url, swift.user, secret=keyring), swift.container())
    asking = [asyncio.create_task(store.listing("")) for _ in range(2)]
    await asyncio.to_thread(keyring.asked.acquire)
    await store.forget_connections()  # another network, or a sleep
    for task in asking:
        task.cancel()
    assert [type(each) for each in await asyncio.gather(*asking, return_exceptions=True)] == [
        asyncio.CancelledError
    ] * 2
    await store.close()
    assert keyring.answered == 0
    keyring.may.set()


async def test_what_it_says_in_the_end_is_used(swift: SwiftServer, keyring: SlowKeyring) -> None:
    store = SwiftStore(Credentials(swift.auth_url, swift.user, secret=keyring), swift.container())
    first = asyncio.create_task(store.listing(""))
    await asyncio.to_thread(keyring.asked.acquire)
    await store.forget_connections()
    keyring.may.set()
    assert await first == ()
    assert await store.listing("") == ()
    assert keyring.answered == 2, "a token that was asked for before the change is not kept"
    assert await store.listing("") == ()
    assert keyring.answered == 2
    await store.close()
