"""The store against a real Swift."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from edges.store_conformance import DATA, StoreConformance, md5
from slowboat.core.errors import NeedsUser, Stopped, Transient
from slowboat.edges.swift import Credentials, SwiftStore


def credentials_for(server) -> Credentials:
    return Credentials(server.auth_url, server.user, server.key)


@pytest.fixture
async def store(swift):
    made = SwiftStore(credentials_for(swift), swift.container())
    yield made
    await made.close()


class TestAgainstRealSwift(StoreConformance):
    pass


async def test_the_bytes_at_the_server_are_the_bytes_that_were_sent(swift):
    container = swift.container()
    store = SwiftStore(credentials_for(swift), container)
    await store.put("plain", DATA, len(DATA))
    parts = [
        await store.put(f"up/{start}", DATA[start : start + 30_000], len(DATA[start : start + 30_000]), segments=True)
        for start in range(0, len(DATA), 30_000)
    ]
    await store.put_slo("up/slo", parts)
    await store.copy("up/slo", "joined", etag=md5(DATA))
    await store.close()
    assert swift.read(container, "plain") == DATA
    assert swift.read(container, "joined") == DATA


async def test_a_copy_does_not_inherit_the_expiry_of_its_source(swift):
    container = swift.container()
    store = SwiftStore(credentials_for(swift), container)
    parts = [await store.put("up/0", b"abc", 3, segments=True)]
    await store.put_slo("up/slo", parts)
    await store.renew("up/slo", 3600)
    made = await store.copy("up/slo", "kept", etag=md5(b"abc"))
    await store.close()
    assert made.expires is None
    assert "x-delete-at" not in swift.head(container, "kept")


async def test_a_long_listing_is_paged(start_swift):
    server = start_swift()
    container = server.container()
    store = SwiftStore(credentials_for(server), container)
    store._limits = type(await store.limits())(listing=3)
    for number in range(7):
        await store.put(f"n/{number}", b"", 0)
    assert [each.name for each in await store.listing("n/")] == [f"n/{number}" for number in range(7)]
    await store.close()


async def test_several_uploads_at_once_share_one_rate(store):
    # Not on the clock: what is counted is what all of them handed over.
    handed: list[int] = []
    await asyncio.gather(*(store.put(f"p/{n}", DATA, len(DATA), progress=handed.append) for n in range(5)))
    assert sum(handed) == 5 * len(DATA)
    assert len(await store.listing("p/")) == 5


async def test_small_requests_do_not_wait_for_uploads(swift):
    store = SwiftStore(credentials_for(swift), swift.container(), connections=1, rate=0)
    going = [asyncio.create_task(store.put(f"p/{n}", DATA, len(DATA))) for n in range(3)]
    await asyncio.sleep(0.1)
    assert await store.head("p/0") is None
    await store.close()
    for each in going:
        with pytest.raises(Stopped):
            await each


async def test_closing_lets_go_of_the_threads(swift):
    before = set(threading.enumerate())
    store = SwiftStore(credentials_for(swift), swift.container(), rate=0)
    going = asyncio.create_task(store.put("p", DATA, len(DATA)))
    await asyncio.sleep(0.2)
    await store.close()
    with pytest.raises(Stopped):
        await going
    left = [each for each in threading.enumerate() if each not in before and "swift" in each.name]
    for each in left:
        each.join(timeout=10)
    assert not any(each.is_alive() for each in left)
    with pytest.raises(Stopped):
        await store.head("p")


async def test_a_wrong_key_is_for_the_user(swift):
    store = SwiftStore(Credentials(swift.auth_url, swift.user, "wrong-secret"), "c")
    with pytest.raises(NeedsUser) as told:
        await store.listing("")
    assert told.value.code == "credentials"
    assert "wrong-secret" not in f"{told.value!r} {told.value} {told.value.hint} {store!r}"
    await store.close()


async def test_an_account_that_may_do_nothing_is_for_the_user(swift):
    store = SwiftStore(Credentials(swift.auth_url, "test:tester3", "testing3"), "c")
    with pytest.raises(NeedsUser) as told:
        await store.listing("")
    assert told.value.code == "forbidden"
    await store.close()


async def test_a_full_container_is_for_the_user(swift):
    container = swift.container()
    with swift.connection() as connection:
        connection.put_container(container, headers={"X-Container-Meta-Quota-Bytes": "1000"})
    store = SwiftStore(credentials_for(swift), container)
    with pytest.raises(NeedsUser) as told:
        await store.put("big", DATA, len(DATA))
    assert told.value.code == "quota"
    await store.close()


async def test_a_container_that_vanished_is_made_again(swift):
    container = swift.container()
    store = SwiftStore(credentials_for(swift), container)
    await store.put("one", b"1", 1)
    swift.delete(container, ["one"])
    with swift.connection() as connection:
        connection.delete_container(container)
    with pytest.raises(Transient) as failed:
        await store.put("two", b"2", 1)
    assert (failed.value.code, failed.value.retry_after) == ("container-gone", 0)
    await store.put("two", b"2", 1)
    assert (await store.head("two")).size == 1
    await store.close()


async def test_a_token_that_was_revoked_is_renewed(swift):
    store = SwiftStore(credentials_for(swift), swift.container())
    await store.put("one", b"1", 1)
    access = store._keyring._access
    store._keyring._access = type(access)(access.storage_url, "AUTH_tk" + "0" * 32)
    assert (await store.head("one")).size == 1
    await store.close()


async def test_a_token_is_renewed_before_it_expires(start_swift):
    server = start_swift(token_life=1)
    store = SwiftStore(credentials_for(server), server.container())
    await store.put("one", b"1", 1)
    first = store._keyring._access.token
    await asyncio.sleep(1.1)
    await store.put("two", b"2", 1)
    assert store._keyring._access.token != first
    await store.close()


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://swift.example.org/auth/v1.0", "clear-text"),
        ("http://10.0.0.1/auth/v1.0", "clear-text"),
        ("ftp://127.0.0.1/", "auth-url"),
        ("swift.example.org", "auth-url"),
    ],
)
async def test_credentials_never_leave_in_clear_text(url, code):
    store = SwiftStore(Credentials(url, "me", "secret"), "c")
    with pytest.raises(NeedsUser) as told:
        await store.listing("")
    assert told.value.code == code
    assert "secret" not in str(told.value)
    await store.close()


async def test_a_token_never_leaves_in_clear_text(swift):
    store = SwiftStore(
        Credentials(swift.auth_url, swift.user, swift.key, storage_url="http://swift.example.org/v1/a"), "c"
    )
    with pytest.raises(NeedsUser) as told:
        await store.listing("")
    assert told.value.code == "clear-text"
    await store.close()


async def test_plain_http_to_this_computer_goes_through_no_proxy(swift, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    store = SwiftStore(credentials_for(swift), swift.container())
    assert await store.head("one") is None
    await store.close()


async def test_a_cancelled_request_that_waits_for_a_thread_goes_at_once(swift):
    store = SwiftStore(credentials_for(swift), swift.container(), connections=1, rate=0)
    going = [
        asyncio.create_task(store._lanes.run(lambda wire: store.throttle.take(1, lambda: wire.aborted)))
        for _ in range(4)
    ]
    queued = asyncio.create_task(store.head("one"))
    await asyncio.sleep(0.1)
    queued.cancel()
    with pytest.raises(asyncio.CancelledError):
        await queued
    assert not any(each.done() for each in going)
    await store.close()
    await asyncio.gather(*going, return_exceptions=True)


def test_nothing_heavy_is_loaded_before_the_first_request():
    code = (
        "import sys; from slowboat.edges.swift import Credentials, SwiftStore;"
        "SwiftStore(Credentials('https://x/'), 'c');"
        "sys.exit(repr({'requests', 'swiftclient', 'keystoneauth1', 'urllib3', 'tenacity'} & set(sys.modules) or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "''"
