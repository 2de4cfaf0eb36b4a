"""The store before a server that lies: whatever comes, a value or one of our errors, and in bounds."""

from __future__ import annotations

import asyncio
import gzip
import json
import netrc
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from faults.liar import Asked, Liar, Lie, answer, dribble, flood, row
from slowboat.core.errors import NeedsUser, Refused, SlowboatError, Transient
from slowboat.edges.swift import Credentials, SwiftStore, session, wire
from slowboat.edges.swift import store as store_module

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from realparts.swift_server import SwiftServer

MIB = 1 << 20


@pytest.fixture
def liar() -> Iterator[Liar]:
    with Liar() as made:
        yield made


@pytest.fixture
async def store(liar: Liar) -> AsyncIterator[SwiftStore]:
    made = SwiftStore(Credentials(liar.auth_url, "user", "key"), "c")
    yield made
    await made.close()


ASKING: dict[str, tuple[str, str, Callable[[SwiftStore], Awaitable[object]]]] = {
    "token": ("GET", "/auth/", lambda s: s.head("a")),
    "limits": ("GET", "/info", lambda s: s.limits()),
    "listing": ("GET", "format=json", lambda s: s.listing("")),
    "container": ("PUT", r"/c_segments$", lambda s: s.put("a", b"x", 1, segments=True)),
    "put": ("PUT", "/c/a", lambda s: s.put("a", b"x", 1)),
    "copy": ("PUT", "/c/a", lambda s: s.copy("slo", "a", etag="0" * 32)),
    "renewal": ("POST", "/c_segments/a", lambda s: s.renew("a", 60)),
    "deletion": ("DELETE", "/c_segments/a", lambda s: s.delete(["a"])),
}
"""Each request whose answer has a body that is read: its method, its path, and what makes the store send it."""


@pytest.fixture(params=ASKING)
def asking(request: pytest.FixtureRequest) -> tuple[str, str, Callable[[SwiftStore], Awaitable[object]]]:
    return ASKING[request.param]


def strange(liar: Liar) -> None:
    """The container of the segments has to be made first, so that each request is one that is waited for."""
    liar.lie("HEAD", r"/c_segments$", answer(404), times=None)


async def test_a_liar_that_tells_the_truth_is_a_small_swift(liar: Liar, store: SwiftStore) -> None:
    await store.put("a", b"data", 4)
    found = await store.head("a")
    assert found is not None
    assert found.size == 4
    assert await store.head("b") is None
    assert [each.name for each in await store.listing("")] == ["a"]
    assert liar.stored["c", "a"] == b"data"


async def test_a_liar_before_a_real_swift_passes_on_what_it_says(swift: SwiftServer) -> None:
    with Liar(upstream=swift.port) as liar:
        container = swift.container()
        store = SwiftStore(Credentials(liar.auth_url, swift.user, swift.key), container)
        await store.put("a", b"data", 4)
        assert [each.name for each in await store.listing("")] == ["a"]
        await store.close()
        assert swift.read(container, "a") == b"data"
        assert liar.asked("PUT", f"/{container}/a$")


# -- time ------------------------------------------------------------------------------------------------------


async def begun(liar: Liar, method: str, path: str) -> None:
    while not any(each.lied for each in liar.asked(method, path)):
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)  # the head of the answer is read, and http.client has given its connection up


@pytest.mark.parametrize("status", [200, 201, 500])
async def test_an_answer_that_never_ends_can_be_broken_off(liar: Liar, store: SwiftStore, asking, status: int) -> None:
    method, path, act = asking
    strange(liar)
    liar.lie(method, path, dribble(status), times=None)
    going = asyncio.ensure_future(act(store))
    await begun(liar, method, path)
    going.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(going, 20)


async def test_a_store_closes_while_an_answer_never_ends(liar: Liar, store: SwiftStore) -> None:
    liar.lie("GET", "format=json", dribble(), times=None)
    going = asyncio.ensure_future(store.listing(""))
    await begun(liar, "GET", "format=json")
    await asyncio.wait_for(store.close(), 20)
    with pytest.raises(SlowboatError):
        await going


DRIBBLES = {
    "the body": dribble(),
    "the headers": Lie(b"HTTP/1.1 200 OK\r\n", again=b"X-More: x\r\n", pause=0.05),
    "the status line": Lie(b"HTTP/1.1 200 ", again=b"O", pause=0.05),
    "steps on the way": Lie(again=b"HTTP/1.1 100 Continue\r\n\r\n", pause=0.05),
    "chunks": answer(200, {"Transfer-Encoding": "chunked"}, length=-1, again=b"1\r\nx\r\n", pause=0.05),
    "trailers": answer(200, {"Transfer-Encoding": "chunked"}, b"0\r\n", length=-1, again=b"X: y\r\n", pause=0.05),
}


@pytest.mark.parametrize("lie", DRIBBLES.values(), ids=DRIBBLES)
@pytest.mark.parametrize("what", ["token", "limits", "listing", "put", "deletion"])
async def test_a_request_has_a_deadline_as_a_whole(
    liar: Liar, store: SwiftStore, monkeypatch: pytest.MonkeyPatch, what: str, lie: Lie
) -> None:
    method, path, act = ASKING[what]
    liar.lie(method, path, lie, times=None)
    with monkeypatch.context() as short:
        short.setattr(wire, "READ_SECONDS", 0.4)
        short.setattr(session, "TALK_SECONDS", 0.4)
        with pytest.raises(Transient) as told:
            await asyncio.wait_for(act(store), 60)
    assert told.value.code == "timeout"
    liar.forget()
    assert await store.head("a") is None or liar.stored  # the next request works


async def test_the_body_of_an_upload_has_no_deadline(
    liar: Liar, store: SwiftStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.put("a", b"x", 1)
    monkeypatch.setattr(wire, "READ_SECONDS", 3.0)
    monkeypatch.setattr(session, "TALK_SECONDS", 0.0)
    monkeypatch.setattr(session, "CONNECT_SECONDS", 3.0)
    await store.forget_connections()
    store.throttle.set_cap(20_000)  # five seconds
    assert (await store.put("b", bytes(100_000), 100_000)).size == 100_000


# -- size ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 400, 507])
async def test_an_answer_without_an_end_is_read_up_to_a_bound(
    liar: Liar, store: SwiftStore, asking, status: int
) -> None:
    method, path, act = asking
    strange(liar)
    liar.lie(method, path, flood(status), times=None)
    with pytest.raises(SlowboatError):
        await asyncio.wait_for(act(store), 60)
    bound = session.MOST_BYTES if status < 300 else session.MOST_OF_AN_ERROR
    assert liar.floods <= bound + 16 * MIB, "what stands in both kernels' buffers, and no more"


async def test_nothing_is_asked_for_encoded_nor_decoded(liar: Liar, store: SwiftStore) -> None:
    rows = json.dumps([row("a")]).encode()
    liar.lie("GET", "format=json", answer(200, {"Content-Encoding": "gzip"}, gzip.compress(rows)), times=None)
    with pytest.raises(Transient) as told:
        await store.listing("")
    assert told.value.code == "not-swift"
    await store.put("a", b"x", 1)
    assert {each.headers.get("accept-encoding") for each in liar.requests} == {"identity"}


async def test_an_error_that_is_encoded_is_known_by_its_status(liar: Liar, store: SwiftStore) -> None:
    await store.put("made", b"", 0)
    bomb = gzip.compress(bytes(64 * MIB))
    liar.lie("PUT", "/c/a", answer(507, {"Content-Encoding": "gzip"}, bomb))
    with pytest.raises(Transient) as told:
        await store.put("a", b"x", 1)
    assert told.value.code == "server-full"


async def test_a_listing_without_an_end_is_none(liar: Liar, store: SwiftStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "_LISTED_BYTES", 100_000)
    page = iter(range(10**9))

    def next_page(_: object) -> Lie:
        start = 100 * next(page)
        return answer(200, {}, json.dumps([row(f"{number:012}") for number in range(start, start + 100)]).encode())

    liar.lie("GET", "format=json", next_page, times=None)
    with pytest.raises(Transient):
        await store.listing("")
    assert len(liar.asked("GET", "format=json")) < 10


async def test_a_page_is_asked_for_that_can_be_borne(liar: Liar, store: SwiftStore) -> None:
    info = {"swift": {"container_listing_limit": 999_999}}
    liar.lie("GET", "/info", answer(200, {}, json.dumps(info).encode()), times=None)
    await store.listing("")
    (asked,) = liar.asked("GET", "format=json")
    assert "limit=2000" in asked.path


# -- what is said ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [r"\ud800", r"a\udc80", r"a\uD83D", "", "x" * 1025, "ü" * 513, "elsewhere"],
    ids=["high", "escape", "half", "none", "long", "long as bytes", "not below the prefix"],
)
async def test_a_name_that_cannot_be_there_spoils_the_listing(liar: Liar, store: SwiftStore, name: str) -> None:
    text = json.dumps([row("p/a"), row("NAME")]).replace("NAME", name if name == "elsewhere" else f"p/{name}")
    if not name:
        text = text.replace("p/", "")
    liar.lie("GET", "format=json", answer(200, {}, text.encode()), times=None)
    with pytest.raises(Transient) as told:
        await store.listing("" if not name else "p/")
    assert told.value.code == "portal"


@pytest.mark.parametrize(
    "info",
    [
        {"swift": {"max_file_size": 0, "container_listing_limit": 0, "max_object_name_length": 0}, "slo": {}},
        {"swift": {}, "slo": {"max_manifest_segments": 0, "min_segment_size": -1}},
        {"swift": {"max_file_size": "5", "container_listing_limit": None}, "slo": {"min_segment_size": 1 << 70}},
        {"swift": {"max_file_size": True, "max_object_name_length": 1.5}},
        {"swift": [], "slo": 1, "bulk_delete": None},
        {},
    ],
)
async def test_limits_that_nobody_could_have_are_put_right_and_asked_again(
    liar: Liar, store: SwiftStore, info: object
) -> None:
    liar.lie("GET", "/info", answer(200, {}, json.dumps(info).encode()))
    found = await store.limits()
    assert found.max_object >= 1 << 16
    assert found.max_segments >= 2
    assert 0 <= found.min_segment <= 64 * MIB
    assert found.listing >= 1
    assert found.max_name >= 255
    assert (await store.limits()).max_object == 5368709122, "the truth, once it is told"
    assert len(liar.asked("GET", "/info")) == 2
    await store.limits()
    assert len(liar.asked("GET", "/info")) == 2, "which is remembered"


async def test_on_another_network_the_limits_are_asked_for_again(liar: Liar, store: SwiftStore) -> None:
    small = {"swift": {"max_file_size": 1 << 20}}
    liar.lie("GET", "/info", answer(200, {}, json.dumps(small).encode()))
    assert (await store.limits()).max_object == 1 << 20
    await store.forget_connections()
    assert (await store.limits()).max_object == 5368709122


@pytest.mark.parametrize("name", ["a" * 301, "ü" * 151, "\ud800", "a\udc80", "a/../b", ""])
async def test_a_name_that_no_object_can_have_is_not_sent(liar: Liar, store: SwiftStore, name: str) -> None:
    info = {"swift": {"max_object_name_length": 300}}
    liar.lie("GET", "/info", answer(200, {}, json.dumps(info).encode()), times=None)
    await store.limits()
    asking = len(liar.requests)
    for sent in (store.put(name, b"x", 1), store.head(name), store.delete([name]), store.renew(name, 60)):
        with pytest.raises(Refused) as told:
            await sent
        assert told.value.code == "bad-name"
    assert len(liar.requests) == asking
    await store.put("a" * 300, b"x", 1)


@pytest.mark.parametrize("swift", [True, False])
@pytest.mark.parametrize("status", [401, 403, 404, 405, 501])
async def test_limits_that_are_not_told_are_asked_again(
    liar: Liar, store: SwiftStore, status: int, swift: bool
) -> None:
    liar.lie("GET", "/info", answer(status, {"Content-Type": "text/plain"}, b"no", swift=swift))
    assert (await store.limits()).min_segment == MIB
    assert (await store.limits()).min_segment == 1


NOWHERE = [
    "http://127.0.0.1:99999/v1",
    "http://127.0.0.1:0/v1",
    "http://[::1/v1",
    "ftp://127.0.0.1/v1",
    "v1",
    "http://",
    "",
    "http://u:p@127.0.0.1/v1",
    "http://127.0.0.1/v1?a=b",
    "http://127.0.0.1/a b",
    "http://127.0.0.1/\x7f",
    "/" * 4000,
]


@pytest.mark.parametrize("url", NOWHERE)
async def test_an_account_that_cannot_be_there_is_no_token(liar: Liar, store: SwiftStore, url: str) -> None:
    liar.lie("GET", "/auth", answer(200, {"X-Auth-Token": "t", "X-Storage-Url": url}), times=None)
    with pytest.raises(Transient) as told:
        await store.head("a")
    assert told.value.code == "portal"


@pytest.mark.parametrize("life", ["²", "-1", "1e9", "nan", "9" * 5000, "", "1_0", "soon"])
async def test_a_life_that_makes_no_sense_is_none_told(liar: Liar, store: SwiftStore, life: str) -> None:
    given = {"X-Auth-Token": "token-of-the-liar", "X-Storage-Url": liar.storage_url, "X-Auth-Token-Expires": life}
    liar.lie("GET", "/auth", answer(200, given), times=None)
    assert await store.head("a") is None


@pytest.mark.parametrize("value", [b"\xff", "\u00fc".encode(), "\u00fc".encode("latin-1"), b"\x01"])
async def test_a_header_of_somebody_on_the_way_spoils_nothing(liar: Liar, store: SwiftStore, value: bytes) -> None:
    lie = answer(200, {"ETag": "e" * 32, "Content-Length": "7"}).raw.replace(
        b"\r\n\r\n", b"\r\nVia: " + value + b"\r\n\r\n"
    )
    liar.lie("HEAD", "/c/a", Lie(lie, then="keep"))
    found = await store.head("a")
    assert found is not None
    assert found.size == 7


@pytest.mark.parametrize("where", ["ftp://[", "http://[::1", "\xff", "//" * 3000, ""])
@pytest.mark.parametrize("method", ["HEAD", "PUT"])
async def test_a_redirect_is_not_even_read(liar: Liar, store: SwiftStore, method: str, where: str) -> None:
    await store.put("made", b"", 0)
    liar.lie(method, "/c/a", answer(302, {"Location": where, "Set-Cookie": "a=b; Domain=127.0.0.1"}), times=None)
    with pytest.raises(Transient) as told:
        await (store.head("a") if method == "HEAD" else store.put("a", b"x", 1))
    assert told.value.code == "portal"
    assert not any("cookie" in each.headers for each in liar.requests)


# -- whose word it is ------------------------------------------------------------------------------------------

NGINX = (
    b"<html>\r\n<head><title>413 Request Entity Too Large</title></head>\r\n<body>413 Request Entity Too Large</body>"
)


async def test_a_proxys_limit_of_bodies_is_no_portal(liar: Liar, store: SwiftStore) -> None:
    await store.put("made", b"", 0)
    liar.lie("PUT", "/c/a", answer(413, {"Content-Type": "text/html"}, NGINX, swift=False, after=0, then="close"))
    with pytest.raises(NeedsUser) as told:
        await store.put("a", bytes(MIB), MIB)
    assert told.value.code == "body-limit"
    assert "nginx" in told.value.hint


@pytest.mark.parametrize(
    ("status", "code"), [(408, "too-slow"), (411, "proxy"), (414, "bad-request"), (429, "slow-down")]
)
async def test_what_a_proxy_says_of_a_request_is_no_portal(
    liar: Liar, store: SwiftStore, status: int, code: str
) -> None:
    await store.put("made", b"", 0)
    page = {"Content-Type": "text/html", "Retry-After": "7"}
    liar.lie("PUT", "/c/a", answer(status, page, b"<html>no</html>", swift=False))
    with pytest.raises(Transient) as told:
        await store.put("a", b"x", 1)
    assert (told.value.code, told.value.retry_after) == (code, 7)


@pytest.mark.parametrize("status", [403, 405])
@pytest.mark.parametrize("what", ["container", "put", "renewal", "deletion", "copy"])
async def test_what_holds_for_the_whole_target_is_said_of_no_object(
    liar: Liar, store: SwiftStore, what: str, status: int
) -> None:
    strange(liar)
    method, path, act = ASKING[what]
    body = b"<html><h1>Forbidden</h1><p>Writes are\x1b[31m disabled: \r\n quota policy\xe2\x80\xae.</p></html>"
    liar.lie(method, path, answer(status, {"Content-Type": "text/html"}, body), times=None)
    with pytest.raises(NeedsUser) as told:
        await act(store)
    assert told.value.code == "forbidden"
    assert told.value.what.endswith(
        'does not let this user store anything here: "Forbidden Writes are [31m disabled: quota policy ."'
    )


async def test_a_refusal_of_one_object_is_told_in_the_servers_own_words(liar: Liar, store: SwiftStore) -> None:
    await store.put("made", b"", 0)
    liar.lie("PUT", "/c/a", answer(400, {}, b'{"Code":"InvalidBucketName","BucketName":"c","RequestId":"tx0001"}'))
    with pytest.raises(Refused) as told:
        await store.put("a", b"x", 1)
    assert told.value.what.endswith('(status 400): "InvalidBucketName"')


def echo(asked: Asked) -> Lie:
    """What some servers and proxies say to a request that they refuse: all of it."""
    shown = "\n".join(f"{name}: {value}" for name, value in asked.headers.items()).encode() + asked.body
    return answer(422, {"Content-Type": "text/plain"}, b"x" * 20 + b" " + shown)


@pytest.mark.parametrize("what", ["listing", "container", "put", "renewal", "deletion"])
async def test_a_server_that_shows_the_request_shows_no_token(liar: Liar, store: SwiftStore, what: str) -> None:
    strange(liar)
    method, path, act = ASKING[what]
    liar.lie(method, path, echo, times=None)
    with pytest.raises(SlowboatError) as told:
        await act(store)
    assert "token-of-the-liar" not in f"{told.value} {told.value!r} {vars(told.value)}"


async def test_a_server_that_shows_the_request_shows_no_key(liar: Liar) -> None:
    liar.lie(".*", "", echo, times=None)
    for where in ("/auth/v1.0", "/v3", "/v2.0"):
        store = SwiftStore(Credentials(liar.origin + where, "user", "hunter2"), "c")
        with pytest.raises(SlowboatError) as told:
            await store.head("a")
        await store.close()
        assert "hunter2" not in f"{told.value} {told.value!r} {vars(told.value)}"


# -- what goes out ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["schlüssel", "ключ", "鍵🗝", "key"])
async def test_a_key_goes_out_as_utf8(liar: Liar, key: str) -> None:
    store = SwiftStore(Credentials(liar.auth_url, "jürgen", key), "c")
    assert await store.head("a") is None
    await store.close()
    (asked,) = liar.asked("GET", "/auth")
    assert asked.headers["x-auth-key"].encode("latin-1") == key.encode()
    assert asked.headers["x-auth-user"].encode("latin-1") == "jürgen".encode()


async def test_a_real_swift_takes_a_key_beyond_ascii(swift: SwiftServer) -> None:
    store = SwiftStore(Credentials(swift.auth_url, "test:müller", "schlüssel"), swift.container())
    assert (await store.put("a", b"x", 1)).size == 1
    await store.close()


@pytest.mark.parametrize("key", [" key", "key ", "key\t", "k\ney", "k\r\nX-More: y", "k\0y", "key\n", "k\udc80y"])
async def test_a_key_that_no_header_carries_is_named_and_not_sent(liar: Liar, key: str) -> None:
    store = SwiftStore(Credentials(liar.auth_url, "user", key), "c")
    with pytest.raises(NeedsUser) as told:
        await store.head("a")
    await store.close()
    assert "key" in told.value.what
    assert key not in str(told.value).replace("key for the cloud", "").replace("the key again", "")
    assert not liar.requests


@contextmanager
def at_home(folder, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    rules = folder / ".netrc"
    rules.write_text("machine 127.0.0.1 login somebody password elses\ndefault login somebody password elses\n")
    rules.chmod(0o600)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("NETRC", str(rules))
    assert netrc.netrc().authenticators("127.0.0.1")
    yield


async def test_nothing_of_netrc_goes_out(liar: Liar, store: SwiftStore, tmp_path, monkeypatch) -> None:
    with at_home(tmp_path, monkeypatch):
        await store.put("a", b"x", 1)
        await store.listing("")
        who = Credentials(f"{liar.origin}/v3", "user", "key", project="p")
        other = SwiftStore(who, "c")
        with pytest.raises(SlowboatError):
            await other.head("a")
        await other.close()
    assert len(liar.requests) > 5
    assert not any("authorization" in each.headers for each in liar.requests)


async def test_headers_that_cannot_be_parsed_are_not_logged(liar: Liar, store: SwiftStore, caplog) -> None:
    """urllib3 warns of them, and shows what stands behind: in a token's answer, the token."""
    lines = [
        "HTTP/1.1 200 OK",
        "X-Trans-Id: tx1",
        "no header",
        f"X-Storage-Url: {liar.storage_url}",
        "X-Auth-Token: secret-1",
    ]
    liar.lie("GET", "^/auth/", Lie("\r\n".join([*lines, "Content-Length: 0", "", ""]).encode()))
    with suppress(SlowboatError):
        await store.head("a")
    assert liar.asked("GET", "^/auth/")
    assert caplog.text == ""
