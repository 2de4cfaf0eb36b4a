"""The store over TLS: what it trusts, and that a connection can be cut and watched there too."""

from __future__ import annotations

import asyncio
import ssl
import subprocess

import pytest

from edges.store_conformance import DATA, StoreConformance, md5
from faults import Answer, FaultProxy
from faults.liar import Liar, dribble
from realparts.presence import program
from slowboat.core.errors import NeedsUser, SlowboatError, Transient
from slowboat.edges.swift import Credentials, SwiftStore, session, wire


def certificate(folder, name: str):
    key, cert = folder / "key.pem", folder / "cert.pem"
    subject = ["-days", "2", "-subj", "/CN=test", "-addext", f"subjectAltName={name}"]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    argv = [program("openssl"), "req", "-x509", *curve, "-keyout", key, "-out", cert, *subject]
    subprocess.run(argv, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context, str(cert)


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    return certificate(tmp_path_factory.mktemp("tls"), "IP:127.0.0.1")


@pytest.fixture
async def proxy(swift, ours):
    async with FaultProxy(swift.port, ours[0]) as made:
        yield made


def credentials_for(swift, proxy, cacert: str) -> Credentials:
    storage = f"{proxy.origin}/v1/AUTH_test"
    return Credentials(proxy.auth_url, swift.user, swift.key, storage_url=storage, cacert=cacert)


@pytest.fixture
async def store(swift, proxy, ours):
    made = SwiftStore(credentials_for(swift, proxy, ours[1]), swift.container())
    yield made
    await made.close()


class TestOverTls(StoreConformance):
    pass


async def refused(store) -> SlowboatError:
    with pytest.raises(NeedsUser) as told:
        await store.head("x")
    await store.close()
    return told.value


async def test_a_certificate_nobody_vouches_for_is_for_the_user(swift, proxy):
    problem = await refused(SwiftStore(credentials_for(swift, proxy, ""), "c"))
    assert problem.code == "certificate"
    assert "127.0.0.1" in problem.what
    assert proxy.requests == []


async def test_a_certificate_for_another_host_is_for_the_user(swift, tmp_path):
    tls, cert = certificate(tmp_path, "DNS:elsewhere.example")
    async with FaultProxy(swift.port, tls) as proxy:
        assert (await refused(SwiftStore(credentials_for(swift, proxy, cert), "c"))).code == "certificate"
        assert proxy.requests == []


async def test_an_upload_can_be_cut(store, proxy):
    store.throttle.set_cap(50_000)
    going = asyncio.create_task(store.put("cut", DATA, len(DATA)))
    while not proxy.asked("PUT", "/cut"):
        await asyncio.sleep(0.01)
    going.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(going, 20)
    assert await store.head("cut") is None


async def test_an_early_answer_stops_the_body(store, proxy):
    size = 4_000_000
    await store.put("before", b"b", 1)
    store.throttle.set_cap(1_000_000)
    proxy.rule("PUT", "/early", Answer(412, {"X-Trans-Id": "tx"}, after=20_000))
    handed: list[int] = []
    with pytest.raises(SlowboatError) as raised:
        await store.put("early", b"x" * size, size, progress=handed.append)
    assert raised.value.code == "exists"
    assert sum(handed) < size / 2


async def test_session_tickets_are_not_taken_for_an_answer(swift, proxy, ours):
    # TLS 1.3 servers send tickets after the handshake: a fresh connection is readable without an answer.
    for _ in range(5):
        store = SwiftStore(credentials_for(swift, proxy, ours[1]), swift.container())
        assert (await store.put("first", DATA, len(DATA), etag=md5(DATA))).md5 == md5(DATA)
        await store.close()


# -- an answer that never ends --------------------------------------------------------------------------------


@pytest.fixture
def liar(ours):
    with Liar(tls=ours[0]) as made:
        yield made


@pytest.fixture
async def lied_to(liar, ours):
    made = SwiftStore(Credentials(liar.auth_url, "user", "key", cacert=ours[1]), "c")
    yield made
    await made.close()


async def test_an_answer_that_never_ends_can_be_broken_off_too(liar, lied_to):
    liar.lie("GET", "format=json", dribble(), times=None)
    going = asyncio.create_task(lied_to.listing(""))
    while not any(each.lied for each in liar.asked("GET", "format=json")):
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    going.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(going, 60)


async def test_a_request_has_its_deadline_too(liar, lied_to, monkeypatch):
    assert await lied_to.head("a") is None
    liar.lie("GET", "format=json", dribble(), times=None)
    with monkeypatch.context() as short:
        short.setattr(wire, "READ_SECONDS", 0.4)
        short.setattr(session, "TALK_SECONDS", 0.4)
        with pytest.raises(Transient) as told:
            await asyncio.wait_for(lied_to.listing(""), 60)
    assert told.value.code == "timeout"
    liar.forget()
    assert await lied_to.head("a") is None
