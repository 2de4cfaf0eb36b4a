"""Identity v2.0, Rackspace's with an API key and Keystone's of old with a password: canned answers, then a real Swift.

The refusal has the form of https://docs.rackspace.com/reference/authentication-tokens; the others are in
faults/identity.py.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from faults import Answer, FaultProxy
from faults.identity import HOME, keystone_answer, rackspace_answer
from slowboat.core.errors import NeedsUser, SlowboatError, Transient
from slowboat.edges.swift import Credentials, SwiftStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from realparts.swift_server import SwiftServer

UNAUTHORIZED = Answer(
    401,
    {"Content-Type": "application/json"},
    b'{"unauthorized": {"code": 401, "message": "Unable to authenticate user with credentials provided."}}',
)


@pytest.fixture
async def identity(swift: SwiftServer) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(swift.port) as proxy:
        yield proxy


def api_key(identity: FaultProxy, **more: Any) -> Credentials:
    return Credentials(f"{identity.origin}/v2.0", "yourUserName", "api-secret", version="rackspace", **more)


def sent(identity: FaultProxy) -> dict[str, Any]:
    asked = identity.asked("POST", "/v2.0/tokens$")[-1]
    return dict(json.loads(asked.body)["auth"])


async def refused(credentials: Credentials) -> SlowboatError:
    store = SwiftStore(credentials, "c")
    with pytest.raises(SlowboatError) as told:
        await store.head("one")
    await store.close()
    assert "api-secret" not in f"{told.value!r} {told.value.hint} {store!r} {credentials!r}"
    return told.value


@pytest.mark.parametrize("region", ["", HOME])
async def test_an_api_key(swift: SwiftServer, identity: FaultProxy, region: str) -> None:
    identity.rule("POST", "/v2.0/tokens$", rackspace_answer(swift), times=None)
    container = swift.container()
    store = SwiftStore(api_key(identity, region=region), container)
    await store.put("one", b"1", 1)
    await store.close()
    assert swift.read(container, "one") == b"1"
    assert sent(identity) == {"RAX-KSKEY:apiKeyCredentials": {"username": "yourUserName", "apiKey": "api-secret"}}


async def test_an_api_key_for_one_of_several_tenants(swift: SwiftServer, identity: FaultProxy) -> None:
    identity.rule("POST", "/v2.0/tokens$", rackspace_answer(swift), times=None)
    store = SwiftStore(api_key(identity, project_id="123456"), "none-such")
    assert await store.head("one") is None
    await store.close()
    assert sent(identity)["tenantId"] == "123456"


@pytest.mark.parametrize(
    ("home", "more", "code", "words"),
    [
        (HOME, {"region": "LON"}, "no-store", "no object store in region LON"),
        (HOME, {"region": "ORD"}, "refused", "127.0.0.1:1"),
        (HOME, {"interface": "internal"}, "refused", "127.0.0.1:1"),
        (HOME, {"interface": "admin"}, "no-store", "no admin address"),
        ("", {}, "region", "several regions: DFW, ORD"),
        ("SYD", {}, "region", "several regions: DFW, ORD"),
    ],
)
async def test_the_region(
    swift: SwiftServer, identity: FaultProxy, home: str, more: dict[str, str], code: str, words: str
) -> None:
    identity.rule("POST", "/v2.0/tokens$", rackspace_answer(swift, home=home), times=None)
    told = await refused(api_key(identity, **more))
    assert told.code == code
    assert words in str(told)


@pytest.mark.parametrize(("hours", "clock", "requests"), [(24, 3, 1), (24, -30, 1), (0, 3, 2)])
async def test_a_tokens_life_is_counted_by_the_servers_clock(
    swift: SwiftServer, identity: FaultProxy, hours: float, clock: float, requests: int
) -> None:
    identity.rule("POST", "/v2.0/tokens$", rackspace_answer(swift, hours=hours, clock=clock), times=None)
    store = SwiftStore(api_key(identity), "none-such")
    await store.head("one")
    await store.head("one")
    await store.close()
    assert len(identity.asked("POST", "/v2.0/tokens$")) == requests


async def test_a_refused_api_key(identity: FaultProxy) -> None:
    identity.rule("POST", "/v2.0/tokens$", UNAUTHORIZED, times=None)
    told = await refused(api_key(identity))
    assert isinstance(told, NeedsUser)
    assert told.code == "credentials"
    assert "does not accept the user or the API key" in str(told)
    assert "no password" in told.hint


@pytest.mark.parametrize(
    ("given", "tenant"),
    [
        ({"project": "customer-x"}, {"tenantName": "customer-x"}),
        ({"project": "customer-x", "project_id": "fc394f2a"}, {"tenantId": "fc394f2a"}),
    ],
)
async def test_a_password_of_old(
    swift: SwiftServer, identity: FaultProxy, given: dict[str, str], tenant: dict[str, str]
) -> None:
    identity.rule("POST", "/v2.0/tokens$", keystone_answer(swift), times=None)
    container = swift.container()
    store = SwiftStore(Credentials(f"{identity.origin}/v2.0/", "joe", "pass-secret", **given), container)
    await store.put("one", b"1", 1)
    await store.close()
    assert swift.read(container, "one") == b"1"
    assert sent(identity) == {"passwordCredentials": {"username": "joe", "password": "pass-secret"}, **tenant}


async def test_without_a_tenant_there_is_no_store(swift: SwiftServer, identity: FaultProxy) -> None:
    identity.rule("POST", "/v2.0/tokens$", keystone_answer(swift, stores=False), times=None)
    told = await refused(Credentials(identity.origin, "joe", "api-secret", version=2))
    assert told.code == "no-store"
    assert "project" in told.hint


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"),
    [
        (413, b'{"overLimit": {"code": 413, "message": "..."}}', Transient, "slow-down"),
        (400, b'{"badRequest": {"code": 400}}', NeedsUser, "credentials"),
        (403, b'{"userDisabled": {"code": 403}}', NeedsUser, "credentials"),
        (404, b'{"itemNotFound": {"code": 404}}', NeedsUser, "auth-url"),
        (503, b'{"serviceUnavailable": {"code": 503}}', Transient, "server-error"),
        (200, b"<html>Log in</html>", Transient, "portal"),
        (200, b"{}", Transient, "portal"),
        (200, b"[]", Transient, "portal"),
        (200, b'{"access": {"token": {}}}', Transient, "portal"),
        (200, b'{"access": {"token": {"id": 7}, "serviceCatalog": 7}}', Transient, "portal"),
        (200, b'{"access": null}', Transient, "portal"),
    ],
)
async def test_what_an_identity_service_may_say(
    identity: FaultProxy, status: int, body: bytes, kind: type[SlowboatError], code: str
) -> None:
    answer = Answer(status, {"Content-Type": "application/json"}, body)
    identity.rule("POST", "/v2.0/tokens$", answer, times=None)
    told = await refused(api_key(identity))
    assert (type(told), told.code) == (kind, code)


@pytest.mark.parametrize(
    ("url", "more", "protocol"),
    [
        ("https://identity.api.rackspacecloud.com/v2.0", {}, "rackspace"),
        ("https://lon.identity.api.rackspacecloud.com/v2.0/", {}, "rackspace"),
        ("https://identity.api.rackspacecloud.com/v2.0", {"version": 2}, 2),
        ("https://auth.api.rackspacecloud.com/v1.0", {}, 1),
        ("https://keystone.api.dfw3.rackspacecloud.com/v3", {}, 3),
        ("https://keystone.example.org:5000/v2.0", {"project": "p"}, 2),
        ("https://keystone.example.org/identity/v2.0", {"project": "p"}, 2),
        ("https://api.rackspacecloud.com.example.org/v2.0", {}, 2),
        ("https://keystone.example.org", {"user_domain_id": "d"}, 3),
    ],
)
def test_what_the_address_tells(url: str, more: dict[str, Any], protocol: object) -> None:
    assert Credentials(url, "u", "k", **more).protocol == protocol
