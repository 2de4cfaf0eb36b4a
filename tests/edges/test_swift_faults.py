"""The store behind a wire that misbehaves: every row of both tables, and what must not happen meanwhile."""

from __future__ import annotations

import asyncio
import datetime as dt
import http.client
import io
import json
import logging
import socket
import ssl
import traceback
from contextlib import suppress
from email.utils import format_datetime

import pytest
import requests
import urllib3

from edges.store_conformance import DATA, md5
from faults import Answer, BlackHole, CutAnswer, Delay, Edit, FaultProxy, Garbage, Reset, portal_page, portal_redirect
from slowboat.core.errors import NeedsUser, Refused, SlowboatError, Stopped, Transient
from slowboat.core.words import RemoteObject
from slowboat.edges.swift import Credentials, SwiftStore, statuses, wire

OURS = {"X-Trans-Id": "tx-of-the-proxy", "Content-Type": "text/html; charset=UTF-8"}


@pytest.fixture
async def proxy(swift):
    async with FaultProxy(swift.port) as made:
        yield made


@pytest.fixture
async def store(swift, proxy):
    made = SwiftStore(Credentials(proxy.auth_url, swift.user, swift.key), swift.container(), patience=(0.0, 0.1))
    yield made
    await made.close()


async def prepared(store) -> SwiftStore:
    """A token, the limits, both containers, one segment and an SLO of it: from here on, each call is one request."""
    await store.limits()
    await store.put("made", b"m", 1)
    part = await store.put("up/0", b"abc", 3, segments=True)
    await store.put_slo("up/slo", [part])
    return store


PART = RemoteObject("up/0", 3, md5(b"abc"))

# Each verb: the request's method, its path, and what makes the store send it.
VERBS = {
    "AUTH": ("GET", r"/auth/v1\.0$", lambda s: s.head("made")),
    "LIST": ("GET", r"\?format=json", lambda s: s.listing("")),
    "HEAD": ("HEAD", r"/made$", lambda s: s.head("made")),
    "CONTAINER": ("HEAD", r"/AUTH_test/[^/]+$", lambda s: s.put("new", b"n", 1)),
    "PUT": ("PUT", r"/new$", lambda s: s.put("new", b"n", 1)),
    "SEGMENT": ("PUT", r"/up/1$", lambda s: s.put("up/1", b"n", 1, segments=True)),
    "SLO": ("PUT", r"/up/slo2\?multipart", lambda s: s.put_slo("up/slo2", [PART])),
    "COPY": ("PUT", r"/copied$", lambda s: s.copy("up/slo", "copied", etag=md5(b"abc"))),
    "POST": ("POST", r"/up/0$", lambda s: s.renew("up/0", 60)),
    "DELETE": ("DELETE", r"/up/0$", lambda s: s.delete(["up/0"])),
}

ABSENT = {("HEAD", 404), ("LIST", 404), ("CONTAINER", 404), ("DELETE", 404)}
"""Answers, not errors."""

STORES = ("PUT", "SEGMENT", "SLO", "COPY")

ROWS = [
    (verb, status)
    for row_verb, status in statuses.STATUSES
    for verb in ([row_verb] if row_verb != "*" else ["AUTH", "LIST", "HEAD", "PUT", "POST"])
    if (verb, status) not in ABSENT and (row_verb != "*" or (verb, status) not in statuses.STATUSES)
]


async def problem_of(store, verb: str) -> SlowboatError:
    if verb in {"AUTH", "CONTAINER"}:
        await store.forget_connections()
        store._standing.clear()
    with pytest.raises(SlowboatError) as raised:
        await VERBS[verb][2](store)
    return raised.value


@pytest.mark.parametrize(("verb", "status"), ROWS)
async def test_every_status_means_what_its_row_says(store, proxy, verb, status):
    await prepared(store)
    method, path, _ = VERBS[verb]
    headers = {**OURS, **({"ETag": md5(b"n")} if status < 300 else {})}
    proxy.rule(method, path, Answer(status, headers, b"<html>no</html>"), times=None)
    problem = await problem_of(store, verb)
    row = statuses.row_of(verb, status)
    if row.code == "token" and method != "PUT":  # a small request has tried a fresh token meanwhile
        row = statuses.STATUSES["AUTH", 401]
    if verb == "AUTH" and status == 401:
        assert isinstance(problem, NeedsUser)
    kinds = {"again": Transient, "again-object": Transient, "set-aside": Refused, "tell": NeedsUser}
    assert (type(problem), problem.code) == (kinds[row.must], row.code)
    if isinstance(problem, Transient):
        assert problem.scope == ("object" if row.must == "again-object" else "server")
        assert problem.retry_after == row.wait


@pytest.mark.parametrize("verb", ["AUTH", "INFO", "LIST", "CONTAINER"])
@pytest.mark.parametrize("page", ["text/html", "text/plain"])
@pytest.mark.parametrize("swift", [True, False])
def test_what_is_asked_of_no_object_sets_no_file_aside(verb, page, swift):
    headers = {"content-type": page} | ({"x-trans-id": "tx"} if swift else {})
    for status in range(100, 700):
        problem = statuses.verdict(statuses.Asked(verb, "it", "host"), status, headers, b"quota limit", 0.0)
        assert isinstance(problem, NeedsUser | Transient), status
        assert isinstance(problem, NeedsUser) or problem.scope == "server", status


# The rows that lives of backups hang on, said once more and by hand.
@pytest.mark.parametrize(
    ("verb", "status", "body", "kind", "code"),
    [
        ("PUT", 202, b"", Transient, "not-stored"),
        ("COPY", 202, b"", Transient, "not-stored"),
        ("PUT", 412, b"", Refused, "exists"),
        ("PUT", 413, b"Upload exceeds quota.", NeedsUser, "quota"),
        ("COPY", 413, b"Upload exceeds quota.", NeedsUser, "quota"),
        ("PUT", 413, b'{"overLimit": {"message": "..."}}', Transient, "slow-down"),
        ("PUT", 413, b"Your request is too large.", Refused, "too-large"),
        ("COPY", 422, b"", Refused, "mismatch"),
        ("PUT", 422, b"", Transient, "mismatch"),
        ("PUT", 404, b"", Transient, "container-gone"),
        ("COPY", 404, b"", Transient, "segments-gone"),
        ("COPY", 409, b"", Transient, "segments-gone"),
        ("PUT", 507, b"", Transient, "server-full"),
        ("PUT", 503, b"", Transient, "server-error"),
        ("CONTAINER", 400, b'{"Code":"InvalidBucketName"}', NeedsUser, "container"),
        ("CONTAINER", 409, b"", Transient, "conflict"),
        ("AUTH", 412, b"", Transient, "bad-request"),
        ("PUT", 499, b"", Transient, "reset"),
        ("LIST", 418, b"", Transient, "bad-request"),
        ("LIST", 599, b"", Transient, "server-error"),
        ("AUTH", 500, b"", Transient, "server-error"),
    ],
)
async def test_what_hangs_on_a_status(store, proxy, verb, status, body, kind, code):
    await prepared(store)
    method, path, _ = VERBS[verb]
    proxy.rule(method, path, Answer(status, OURS, body), times=None)
    problem = await problem_of(store, verb)
    assert (type(problem), problem.code) == (kind, code)


@pytest.mark.parametrize("status", [429, 498, 503, 413])
async def test_a_server_that_names_a_time_is_obeyed(store, proxy, status):
    await prepared(store)
    proxy.rule("PUT", "/new", Answer(status, {**OURS, "Retry-After": "7"}))
    assert (await problem_of(store, "PUT")).retry_after == 7
    later = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    proxy.rule("PUT", "/new", Answer(status, {**OURS, "Retry-After": format_datetime(later, usegmt=True)}))
    assert 3500 < (await problem_of(store, "PUT")).retry_after <= 3600
    proxy.rule("GET", "format=json", Answer(status, {**OURS, "Retry-After": "7"}))
    assert (await problem_of(store, "LIST")).retry_after == 7
    assert len(proxy.asked("GET", "format=json")) == 1


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        (" 120 ", 120),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 90),
        ("Thu, 01 Jan 1970 00:00:01 GMT", 0),
        ("soon", None),
        ("-5", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_read_in_both_forms(text, seconds):
    assert statuses.retry_after(text, 10.0) == seconds


# -- somebody else answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("page", [portal_page(), portal_page(404), portal_redirect(), portal_page(511)])
async def test_a_portal_is_never_taken_for_swift(store, proxy, verb, page):
    await prepared(store)
    method, path, _ = VERBS[verb]
    proxy.rule(method, path, page, times=None)
    problem = await problem_of(store, verb)
    if verb == "AUTH" and page.status == 404:  # an identity service's own errors are pages as well
        assert problem.code == "auth-url"
    else:
        assert (type(problem), problem.code) == (Transient, "portal")


async def test_a_redirect_is_not_followed_with_token_or_body(store, proxy, swift):
    await prepared(store)
    async with FaultProxy(swift.port) as elsewhere:
        location = f"http://127.0.0.1:{elsewhere.port}/v1/AUTH_test/c/new"
        proxy.rule("PUT", "/new", Answer(307, {"Location": location}))
        proxy.rule("HEAD", "/made", Answer(301, {"Location": location}), times=None)
        proxy.rule("GET", "/auth", Answer(302, {"Location": location}), times=None)
        for verb in ("PUT", "HEAD", "AUTH"):
            assert (await problem_of(store, verb)).code == "portal"
        assert elsewhere.requests == []


async def test_bytes_that_are_no_http_are_no_answer(store, proxy):
    await prepared(store)
    proxy.rule("PUT", "/new", Garbage())
    assert isinstance(await problem_of(store, "PUT"), Transient)
    assert (await store.put("new", b"n", 1)).size == 1


# -- an answer that does not fit -------------------------------------------------------------------------------


def edited(**changes):
    def change(status, headers, body):
        return status, {k: v for k, v in {**headers, **changes}.items() if v is not None}, body

    return Edit(change)


async def test_a_201_with_another_checksum_is_no_success(store, proxy):
    await prepared(store)
    proxy.rule("PUT", "/new", edited(etag="0" * 32))
    problem = await problem_of(store, "PUT")
    assert (type(problem), problem.code) == (Transient, "mismatch")


@pytest.mark.parametrize("verb", ["PUT", "SEGMENT", "SLO"])
async def test_a_201_without_a_checksum_is_no_success(store, proxy, verb):
    await prepared(store)
    method, path, _ = VERBS[verb]
    proxy.rule(method, path, edited(etag=None))
    assert isinstance(await problem_of(store, verb), Transient)


async def test_a_head_without_checksum_or_length_is_no_object(store, proxy):
    await prepared(store)
    proxy.rule("HEAD", "/made", edited(etag=None), times=None)
    assert isinstance(await problem_of(store, "HEAD"), Transient)


def shortened(rows: int):
    def change(status, headers, body):
        return status, headers, json.dumps(json.loads(body)[:rows]).encode() if body else body

    return Edit(change)


async def test_a_listing_in_short_pages_is_read_to_its_end(store, proxy):
    await prepared(store)
    for number in range(5):
        await store.put(f"n/{number}", b"", 0)
    proxy.rule("GET", "format=json", shortened(2), times=None)
    assert [each.name for each in await store.listing("n/")] == [f"n/{number}" for number in range(5)]


@pytest.mark.parametrize("body", [b"", b"[{", b"{}", b'[{"name": "x"}]', b'[{"name": "x", "bytes": null}]', b"\xff"])
async def test_a_listing_that_cannot_be_read_is_an_error(store, proxy, body):
    await prepared(store)
    proxy.rule("GET", "format=json", Edit(lambda s, h, _: (s, h, body)), times=None)
    problem = await problem_of(store, "LIST")
    assert isinstance(problem, Transient)


async def test_a_listing_that_goes_round_in_circles_ends(store, proxy):
    await prepared(store)
    rows = [{"name": "x", "bytes": 1, "hash": "0" * 32, "last_modified": "2026-01-01T00:00:00.000000"}]
    proxy.rule("GET", "format=json", Edit(lambda s, h, _: (s, h, json.dumps(rows).encode())), times=None)
    assert isinstance(await problem_of(store, "LIST"), Transient)


async def test_a_listing_cut_in_its_middle_is_asked_again(store, proxy):
    await prepared(store)
    proxy.rule("GET", "format=json", CutAnswer(after=400))
    assert [each.name for each in await store.listing("")] == ["made"]


@pytest.mark.parametrize("report", [b"<html>", b"{}", b'{"Response Status": "502 Bad Gateway", "Errors": []}'])
async def test_a_bulk_delete_is_believed_only_by_its_report(store, proxy, report):
    await prepared(store)
    proxy.rule("POST", "bulk-delete", Edit(lambda s, h, _: (s, h, report)), times=None)
    with pytest.raises(Transient):
        await store.delete(["up/0", "up/slo"])


async def test_a_bulk_delete_that_was_refused_in_part_says_so(store, proxy):
    await prepared(store)
    report = {"Response Status": "400 Bad Request", "Errors": [["/c/up/0", "403 Forbidden"]], "Number Deleted": 1}
    proxy.rule("POST", "bulk-delete", Edit(lambda s, h, _: (s, h, json.dumps(report).encode())), times=None)
    with pytest.raises(NeedsUser) as told:
        await store.delete(["up/0", "up/slo"])
    assert told.value.code == "forbidden"


async def test_a_server_that_does_not_tell_its_limits_gets_careful_ones(store, proxy):
    proxy.rule("GET", "^/info", Answer(403, OURS))
    limits = await store.limits()
    assert (limits.max_object, limits.min_segment, limits.bulk_delete) == (5368709122, 1 << 20, False)
    await prepared(store)
    await store.delete(["up/0", "up/slo", "up/gone"])
    assert tuple(await store.listing("", segments=True)) == ()


# -- the line breaks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [0, 1, 50_000, len(DATA) - 1])
async def test_a_connection_reset_in_the_body_stores_nothing_and_hurts_nobody(store, proxy, after):
    await prepared(store)
    proxy.rule("PUT", "/torn", Reset(after=after))
    with pytest.raises(Transient) as failed:
        await store.put("torn", DATA, len(DATA), etag=md5(DATA))
    assert failed.value.code == "reset"
    assert len(proxy.asked("PUT", "/torn")) == 1, "a body is never sent again here"
    assert await store.head("torn") is None
    assert (await store.put("torn", DATA, len(DATA), etag=md5(DATA))).md5 == md5(DATA)


async def test_a_success_nobody_heard_of_is_found_by_asking(store, proxy):
    await prepared(store)
    proxy.rule("PUT", "/lost", CutAnswer())
    with pytest.raises(Transient):
        await store.put("lost", DATA, len(DATA), etag=md5(DATA))
    assert (await store.head("lost")).md5 == md5(DATA)


@pytest.mark.parametrize(
    "fault", [CutAnswer(), CutAnswer(30), Edit(lambda *_: (504, OURS, b"")), Edit(lambda *_: (502, {}, b""))]
)
async def test_a_copy_nobody_heard_of_is_found_by_asking(store, proxy, fault):
    await prepared(store)
    proxy.rule("PUT", "/copied", fault)
    assert (await store.copy("up/slo", "copied", etag=md5(b"abc"))).md5 == md5(b"abc")
    assert len(proxy.asked("PUT", "/copied")) == 1


async def test_a_copy_that_never_came_about_is_an_error(store, proxy):
    await prepared(store)
    proxy.rule("PUT", "/copied", Answer(504, OURS))
    assert (await problem_of(store, "COPY")).code == "timeout"


@pytest.mark.parametrize("verb", ["HEAD", "LIST", "DELETE", "POST"])
async def test_small_requests_are_asked_again_after_a_passing_trouble(store, proxy, verb):
    await prepared(store)
    method, path, act = VERBS[verb]
    proxy.rule(method, path, Reset())
    proxy.rule(method, path, Answer(503, OURS), skip=1)
    await act(store)
    assert len(proxy.asked(method, path)) >= 3


async def test_a_server_that_stays_silent_is_given_up(store, proxy, monkeypatch):
    await prepared(store)
    monkeypatch.setattr(wire, "READ_SECONDS", 0.2)
    proxy.rule("PUT", "/new", BlackHole(after=1))
    problem = await problem_of(store, "PUT")
    assert (type(problem), problem.code) == (Transient, "timeout")
    assert (await store.head("made")).size == 1


@pytest.mark.parametrize("after", [0, 30_000, len(DATA) - 1])
async def test_an_upload_into_a_black_hole_can_be_broken_off(store, proxy, after):
    await prepared(store)
    proxy.rule("PUT", "/hole", BlackHole(after=after))
    going = asyncio.create_task(store.put("hole", DATA, len(DATA)))
    while not proxy.asked("PUT", "/hole"):
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    going.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(going, 20)
    assert await store.head("hole") is None


async def test_a_server_that_is_gone_is_a_passing_trouble(swift):
    async with FaultProxy(swift.port) as gone:
        store = SwiftStore(Credentials(gone.auth_url, swift.user, swift.key), "c")
    with pytest.raises(Transient) as failed:
        await store.head("made")
    assert (failed.value.code, failed.value.scope) == ("refused", "server")
    await store.close()


async def test_a_host_that_does_not_exist_names_itself_and_the_setting():
    store = SwiftStore(Credentials("https://no-such-host.invalid/auth/v1.0", "u", "k"), "c")
    with pytest.raises(Transient) as failed:
        await store.head("made")
    assert failed.value.code in {"no-such-host", "dns"}
    if failed.value.code == "no-such-host":
        assert "no-such-host.invalid" in failed.value.what
        assert "auth_url" in failed.value.hint
    await store.close()


async def test_a_connect_that_hangs_can_be_broken_off():
    with socket.socket() as full, socket.socket() as one, socket.socket() as two:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for waiting in (one, two):  # fill the queue of connections: the kernel answers no more
            waiting.setblocking(False)
            with suppress(BlockingIOError):
                waiting.connect(full.getsockname())
        store = SwiftStore(Credentials(f"http://127.0.0.1:{full.getsockname()[1]}/auth/v1.0", "u", "k"), "c")
        going = asyncio.create_task(store.head("x"))
        await asyncio.sleep(0.3)
        assert not going.done()
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(going, 15)
        await store.close()


async def test_a_handshake_that_hangs_can_be_broken_off():
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen(5)
        store = SwiftStore(Credentials(f"https://127.0.0.1:{mute.getsockname()[1]}/auth/v1.0", "u", "k"), "c")
        going = asyncio.create_task(store.head("x"))
        await asyncio.sleep(0.3)
        assert not going.done()
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(going, 15)
        await store.close()


# -- an answer before its time ---------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 404, 408, 412, 503])
async def test_an_early_answer_stops_the_body(store, proxy, status):
    await prepared(store)
    size = 4_000_000
    store.throttle.set_cap(1_000_000)
    proxy.rule("PUT", "/early", Answer(status, OURS, after=20_000))
    handed: list[int] = []
    with pytest.raises(SlowboatError) as raised:
        await store.put("early", b"x" * size, size, progress=handed.append)
    row = statuses.STATUSES.get(("PUT", status)) or statuses.STATUSES["*", status]
    assert raised.value.code == row.code
    assert sum(handed) < size / 2
    store.throttle.set_cap(None)
    assert (await store.put("early", b"x", 1)).size == 1


async def test_nothing_is_sent_before_the_container_and_the_token_are_known_to_work(store, proxy):
    proxy.rule("HEAD", r"/AUTH_test/[^/]+$", Answer(403, OURS))
    body = io.BytesIO(DATA)
    with pytest.raises(NeedsUser):
        await store.put("new", body, len(DATA))
    assert body.tell() == 0
    assert not proxy.asked("PUT", "/new")


async def test_a_token_refused_at_a_body_is_renewed_for_the_next(store, proxy):
    await prepared(store)
    proxy.rule("PUT", "/new", Answer(401, OURS))
    problem = await problem_of(store, "PUT")
    assert (type(problem), problem.code, problem.retry_after) == (Transient, "token", 0)
    assert (await store.put("new", b"n", 1)).size == 1
    assert len(proxy.asked("GET", "/auth")) == 2


# -- what is sent ----------------------------------------------------------------------------------------------


async def test_what_the_requests_say(store, proxy):
    await prepared(store)
    await store.put("up/1", b"n", 1, segments=True, expires_after=77)
    await store.put("new", io.BytesIO(b"n"), 1, etag=md5(b"n"))
    await store.copy("up/slo", "copied", etag=md5(b"abc"))
    (segment,) = proxy.asked("PUT", "/up/1$")
    assert segment.headers["x-delete-after"] == "77"
    assert "if-none-match" not in segment.headers
    (final,) = proxy.asked("PUT", "/new$")
    assert (final.headers["if-none-match"], final.headers["etag"]) == ("*", md5(b"n"))
    assert (final.headers["content-length"], final.headers.get("transfer-encoding")) == ("1", None)
    (copied,) = proxy.asked("PUT", "/copied$")
    assert copied.headers["x-fresh-metadata"] == "true"
    assert copied.headers["etag"] == md5(b"abc")
    assert "if-none-match" not in copied.headers, "with X-Copy-From it would be about the source"
    (slo,) = proxy.asked("PUT", "multipart-manifest")
    assert not {"x-delete-after", "x-delete-at"} & slo.headers.keys(), "the copy would inherit it"


# -- secrets ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        Answer(401, OURS),
        Answer(403, OURS, b"no"),
        Answer(503, {}, b"oops"),
        Reset(),
        CutAnswer(20),
        Garbage(),
        portal_redirect(),
    ],
)
async def test_no_secret_shows_in_errors_or_logs(swift, proxy, caplog, fault):
    caplog.set_level(logging.DEBUG)
    secret = "testing"
    store = SwiftStore(Credentials(proxy.auth_url, swift.user, secret), swift.container(), patience=())
    await prepared(store)
    token = store._keyring._access.token
    shown = [repr(store), repr(store._credentials), repr(store._keyring), repr(store._keyring._access)]
    failed = 0
    for verb, (method, path, act) in VERBS.items():
        proxy.rule(method, path, fault, times=None)
        if verb in {"AUTH", "CONTAINER"}:
            await store.forget_connections()
        try:
            await act(store)
        except SlowboatError as problem:
            failed += 1
            shown.append("".join(traceback.format_exception(problem)))
            each: BaseException | None = problem
            while each is not None:
                assert isinstance(each, SlowboatError), "what the libraries raise holds the request"
                shown.append(f"{each!r} {each.args} {vars(each)}")
                each = each.__cause__ or each.__context__
        proxy.forget_rules()
    await store.close()
    assert failed >= 7
    for text in [*shown, caplog.text]:
        assert token not in text
        assert f"'{secret}'" not in text
        assert f" {secret}" not in text


def test_the_libraries_do_not_debug_over_our_heads():
    assert wire.Wire
    for name in ("swiftclient", "keystoneauth.session", "urllib3.connectionpool", "requests"):
        assert not logging.getLogger(name).isEnabledFor(logging.INFO)


# -- the socket ------------------------------------------------------------------------------------------------


def test_the_socket_gives_way_and_gives_up(swift):
    line = wire.Wire()
    sock = line.connect("127.0.0.1", swift.port)
    tcp = socket.IPPROTO_TCP
    assert sock.getsockopt(tcp, socket.TCP_CONGESTION, 16).rstrip(b"\0") in {b"cubic", b"reno"}
    assert sock.getsockopt(tcp, 25) == 131072  # TCP_NOTSENT_LOWAT
    assert sock.getsockopt(tcp, socket.TCP_USER_TIMEOUT) == 60_000
    assert sock.getsockopt(tcp, socket.TCP_NODELAY) == 1
    assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) == 0x04
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert wire.READ_SECONDS > 60, "Swift may sleep so long before it answers"
    sock.close()
    line.close()


def test_an_aborted_wire_connects_no_more(swift):
    line = wire.Wire()
    line.abort()
    with pytest.raises(Stopped):
        line.connect("127.0.0.1", swift.port)
    line.close()


# -- the table of failures, without a wire ---------------------------------------------------------------------


def wrapped(cause: Exception) -> Exception:
    """As urllib3 and requests hand it up."""
    return requests.exceptions.ConnectionError(urllib3.exceptions.ProtocolError("Connection aborted.", cause))


@pytest.mark.parametrize(
    ("cause", "kind", "code"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), Transient, "no-such-host"),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), Transient, "dns"),
        (ConnectionRefusedError(111, "Connection refused"), Transient, "refused"),
        (ConnectionResetError(104, "Connection reset by peer"), Transient, "reset"),
        (BrokenPipeError(32, "Broken pipe"), Transient, "reset"),
        (http.client.RemoteDisconnected("closed"), Transient, "reset"),
        (TimeoutError("timed out"), Transient, "timeout"),
        (TimeoutError(110, "Connection timed out"), Transient, "timeout"),
        (OSError(101, "Network is unreachable"), Transient, "network"),
        (OSError(113, "No route to host"), Transient, "network"),
        (ssl.SSLCertVerificationError("certificate verify failed"), NeedsUser, "certificate"),
        (ssl.SSLEOFError("EOF occurred in violation of protocol"), Transient, "tls"),
        (urllib3.exceptions.IncompleteRead(1, 2), Transient, "cut-short"),
        (http.client.BadStatusLine("220 mail ready"), Transient, "not-swift"),
        (RuntimeError("something new"), Transient, "network"),
    ],
)
def test_every_failure_means_what_its_row_says(cause, kind, code):
    asked = statuses.Asked("PUT", "the thing", "swift.example.org")
    for problem in (cause, wrapped(cause)):
        told = statuses.failure(asked, problem)
        if isinstance(cause, RuntimeError) and problem is not cause:
            continue
        assert (type(told), told.code) == (kind, code)
        assert "swift.example.org" in told.what


def test_every_row_is_made_of_words_for_people():
    asked = statuses.Asked("PUT", "the thing", "swift.example.org")
    rows = [*statuses.STATUSES.values(), *(row for _, row in statuses.FAILURES)]
    for row in [*rows, statuses.QUOTA, statuses.OVER_LIMIT, statuses.PORTAL, statuses.UNKNOWN_FAILURE]:
        problem = statuses.error(row, asked, status=418)
        assert problem.what
        assert not problem.what.endswith(".")
        assert "{" not in problem.what + problem.hint
        if isinstance(problem, NeedsUser):
            assert problem.hint, "whoever must act is told how"


async def test_the_next_body_goes_while_the_answer_to_the_last_is_awaited(swift, proxy):
    store = SwiftStore(Credentials(proxy.auth_url, swift.user, swift.key), swift.container(), connections=1)
    await prepared(store)
    proxy.rule("PUT", "/slow", Delay(2.0))
    over = []

    async def put(name: str) -> None:
        await store.put(name, b"n", 1)
        over.append(name)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(put("slow"))
        tasks.create_task(put("quick"))
    await store.close()
    assert over == ["quick", "slow"]
