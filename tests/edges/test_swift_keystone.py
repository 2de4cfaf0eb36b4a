"""Keystone's v3 authentication: real keystoneauth1 against canned answers of Keystone, then the real Swift.

The answers have the form of https://docs.openstack.org/api-ref/identity/v3/#authentication-and-token-management;
the token in them is one that the real Swift gave out, so that the store works with what it was told.
"""

from __future__ import annotations

import datetime as dt
import json

import pytest

from faults import Answer, FaultProxy, portal_page
from slowboat.core.errors import NeedsUser, Transient
from slowboat.edges.swift import Credentials, SwiftStore


def keystone_answer(server, *, life: float = 3600, service: str = "object-store") -> Answer:
    with server.connection() as connection:
        storage_url, token = connection.get_auth()
    now = dt.datetime.now(dt.UTC)
    endpoints = [
        {"interface": "public", "region": "north", "region_id": "north", "url": storage_url, "id": "1"},
        {"interface": "internal", "region": "north", "region_id": "north", "url": "http://127.0.0.1:1/v1/a", "id": "2"},
        {"interface": "public", "region": "south", "region_id": "south", "url": "http://127.0.0.1:1/v1/a", "id": "3"},
    ]
    body = {
        "token": {
            "methods": ["password"],
            "user": {"id": "u", "name": "me", "domain": {"id": "default", "name": "Default"}},
            "project": {"id": "p", "name": "mine", "domain": {"id": "default", "name": "Default"}},
            "roles": [{"id": "m", "name": "member"}],
            "issued_at": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "expires_at": (now + dt.timedelta(seconds=life)).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "catalog": [{"type": service, "id": "s", "name": "swift", "endpoints": endpoints}],
        }
    }
    return Answer(201, {"X-Subject-Token": token, "Content-Type": "application/json"}, json.dumps(body).encode())


@pytest.fixture
async def keystone(swift):
    async with FaultProxy(swift.port) as proxy:
        yield proxy


def password(keystone, **more: str) -> Credentials:
    return Credentials(f"{keystone.origin}/v3", "me", "pass-secret", project="mine", region="north", **more)


async def identity_sent(keystone) -> dict:
    (asked,) = keystone.asked("POST", "/v3/auth/tokens$")
    return json.loads(asked.body)["auth"]


async def test_a_password(swift, keystone):
    keystone.rule("POST", "/v3/auth/tokens$", keystone_answer(swift), times=None)
    store = SwiftStore(password(keystone), swift.container())
    await store.put("one", b"1", 1)
    assert (await store.head("one")).size == 1
    await store.close()
    sent = await identity_sent(keystone)
    assert sent["identity"]["password"]["user"] == {
        "name": "me",
        "password": "pass-secret",
        "domain": {"name": "Default"},
    }
    assert sent["scope"]["project"] == {"name": "mine", "domain": {"name": "Default"}}


async def test_an_application_credential(swift, keystone):
    keystone.rule("POST", "/v3/auth/tokens$", keystone_answer(swift), times=None)
    given = Credentials(
        keystone.origin,
        application_credential_id="an-id",
        application_credential_secret="app-secret",
        region="north",
    )
    store = SwiftStore(given, swift.container())
    assert await store.head("one") is None
    await store.close()
    sent = await identity_sent(keystone)
    assert sent["identity"]["application_credential"] == {"id": "an-id", "secret": "app-secret"}
    assert "scope" not in sent


async def test_ids_go_before_names(swift, keystone):
    keystone.rule("POST", "/v3/auth/tokens$", keystone_answer(swift), times=None)
    store = SwiftStore(
        password(keystone, user_domain_id="d1", project_domain_id="d2", user_domain="ignored"), swift.container()
    )
    assert await store.head("one") is None
    await store.close()
    sent = await identity_sent(keystone)
    assert sent["identity"]["password"]["user"]["domain"] == {"id": "d1"}
    assert sent["scope"]["project"]["domain"] == {"id": "d2"}


async def test_a_token_is_renewed_before_it_expires(swift, keystone):
    keystone.rule("POST", "/v3/auth/tokens$", keystone_answer(swift, life=0), times=None)
    store = SwiftStore(password(keystone), swift.container())
    await store.head("one")
    await store.head("one")
    assert len(keystone.asked("POST", "/v3/auth/tokens$")) == 2
    await store.close()


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (401, NeedsUser, "credentials"),
        (403, NeedsUser, "credentials"),
        (404, NeedsUser, "auth-url"),
        (429, Transient, "slow-down"),
        (503, Transient, "server-error"),
        (302, Transient, "portal"),
    ],
)
async def test_what_keystone_may_say(swift, keystone, status, kind, code):
    answer = Answer(status, {"Content-Type": "application/json", "Location": "http://127.0.0.1:1/"}, b"{}")
    keystone.rule("POST", "/v3/auth/tokens$", answer, times=None)
    store = SwiftStore(password(keystone), "c")
    with pytest.raises(kind) as raised:
        await store.head("one")
    assert raised.value.code == code
    assert "pass-secret" not in f"{raised.value} {raised.value!r} {store!r} {store._credentials!r}"
    await store.close()


async def test_a_portal_in_keystones_place(swift, keystone):
    keystone.rule("POST", "/v3/auth/tokens$", portal_page(), times=None)
    store = SwiftStore(password(keystone), "c")
    with pytest.raises(Transient) as raised:
        await store.head("one")
    assert raised.value.code == "portal"
    await store.close()


async def test_keystone_that_is_gone(swift):
    async with FaultProxy(swift.port) as keystone:
        pass
    store = SwiftStore(password(keystone), "c")
    with pytest.raises(Transient) as raised:
        await store.head("one")
    assert raised.value.code == "refused"
    await store.close()


@pytest.mark.parametrize("change", [{"service": "volume"}, {}])
async def test_an_account_without_an_object_store_is_for_the_user(swift, keystone, change):
    keystone.rule("POST", "/v3/auth/tokens$", keystone_answer(swift, **change), times=None)
    credentials = password(keystone) if change else Credentials(f"{keystone.origin}/v3", "me", "k", region="west")
    store = SwiftStore(credentials, "c")
    with pytest.raises(NeedsUser) as told:
        await store.head("one")
    assert told.value.code == "no-store"
    await store.close()


@pytest.mark.parametrize(
    ("credentials", "protocol"),
    [
        (Credentials("https://x/auth/v1.0", "a:b", "k"), 1),
        (Credentials("https://x/v3", "u", "k"), 3),
        (Credentials("https://x:5000/v3/", "u", "k"), 3),
        (Credentials("https://x:5000", "u", "k", project="p"), 3),
        (Credentials("https://x", application_credential_id="i", application_credential_secret="s"), 3),
        (Credentials("https://x/v3", "u", "k", version=1), 1),
    ],
)
def test_the_protocol_is_told_by_what_is_given(credentials, protocol):
    assert credentials.protocol == protocol


def test_no_secret_is_in_the_repr():
    shown = repr(Credentials("https://x", "u", "key-secret", application_credential_secret="app-secret"))
    assert "secret=" not in shown
    assert "key-secret" not in shown
    assert "app-secret" not in shown


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"token": {}}', b'{"token": {"catalog": 7}}', b'{"token": null}'])
async def test_json_that_is_no_token(keystone, body):
    headers = {"Content-Type": "application/json", "X-Subject-Token": "t"}
    keystone.rule("POST", "/v3/auth/tokens$", Answer(201, headers, body), times=None)
    store = SwiftStore(password(keystone), "c")
    with pytest.raises((NeedsUser, Transient)) as told:
        await store.head("one")
    assert told.value.code in {"portal", "no-store"}
    await store.close()
