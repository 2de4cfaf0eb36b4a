"""Each parser of what a server says, and the whole edge over a real socket: anything in, a value or our error out."""

from __future__ import annotations

import io
import json
import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from faults.liar import Liar, Lie, answer, row
from slowboat.core.errors import NeedsUser, SlowboatError, Transient
from slowboat.core.words import Limits, RemoteObject
from slowboat.edges.swift import answers, auth, server_message, statuses
from slowboat.edges.swift.auth import Access
from slowboat.edges.swift.calls import StoreCalls
from slowboat.edges.swift.credentials import Credentials
from slowboat.edges.swift.throttle import Body, Throttle
from slowboat.edges.swift.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# -- what a server may say -------------------------------------------------------------------------------------

ODD: list[Any] = [None, True, -1, 0, 1, 1.5, 1 << 70, -(1 << 70), math.nan, math.inf, "", "²", "\ud800", "\0", "0" * 40]
ODD += [[], {}, [None], {"": None}, "2026-01-02T03:04:05", "9999-12-31T23:59:59-23:59", "0001-01-01", "a" * 2000]
odd = st.one_of(st.sampled_from(ODD), st.text(), st.integers(), st.floats())
anything = st.recursive(odd, lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(), each, max_size=3))


def spoilt(sound: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A sound object of which some fields are odd, some missing, and some new."""
    fields = {name: st.just(value) | anything for name, value in sound.items()}
    return st.builds(lambda known, more: {**more, **known}, st.fixed_dictionaries({}, optional=fields), st.just({})) | (
        st.dictionaries(st.sampled_from([*sound, "more"]), anything)
    )


def in_json(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    return strategy.map(lambda value: json.dumps(value).encode())


SOUND_INFO = {
    "swift": {"max_file_size": 5 << 30, "container_listing_limit": 10000, "max_object_name_length": 1024},
    "slo": {"max_manifest_segments": 1000, "min_segment_size": 1},
    "bulk_delete": {},
}
info = in_json(
    st.fixed_dictionaries(
        {"swift": spoilt(SOUND_INFO["swift"]) | anything, "slo": spoilt(SOUND_INFO["slo"]) | anything},
        optional={"bulk_delete": anything},
    )
)
listing = in_json(st.lists(spoilt(row("name", slo_etag="e" * 32)) | anything, max_size=4) | anything)
report = in_json(
    spoilt({"Response Status": "200 OK", "Errors": [["/c/a", "404 Not Found"]]})
    | st.fixed_dictionaries({"Response Status": st.text(), "Errors": st.lists(st.lists(st.text(), max_size=3))})
)
deep = st.sampled_from(
    [b"[" * 100_000, b'{"swift":' * 50_000, b'[{"name":"a","more":' + b"[" * 90_000, b"\xff", b"\xef\xbb\xbf{}"]
)
body = st.one_of(st.binary(max_size=200), deep, in_json(anything), info, listing, report)

HEADERS = ["content-length", "etag", "x-timestamp", "last-modified", "x-delete-at", "x-static-large-object"]
HEADERS += ["retry-after", "content-type", "content-encoding", "location", "x-trans-id", "date", "x-auth-token"]
HEADERS += ["x-storage-url", "x-auth-token-expires", "x-subject-token", "transfer-encoding", "connection", "set-cookie"]
VALUES = ["", "0", "1", "-1", "²", "1_0", "9" * 5000, "nan", "inf", "1e400", '"e"', "e" * 32, "true", "gzip", "chunked"]
VALUES += [
    "Thu, 01 Jan 1970 00:00:01 GMT",
    "Fri, 31 Dec 9999 23:59:59 -2359",
    "Mon, 01 Jan 0001 00:00:00 +2359",
    "soon",
]
VALUES += [
    "http://127.0.0.1:99999/",
    "http://[",
    "text/html; charset=\ud800",
    "application/json; charset=rot13",
    "close",
]
headers = st.dictionaries(st.sampled_from(HEADERS), st.sampled_from(VALUES) | st.text(), max_size=6)


# -- the parsers -----------------------------------------------------------------------------------------------


@given(info | body)
@example(b'{"swift": {"max_file_size": 0}, "slo": {"max_manifest_segments": 0, "min_segment_size": 1e9}}')
def test_limits_can_be_reckoned_with_or_are_strange(text: bytes) -> None:
    try:
        found = answers.limits(text).limits
    except answers.Strange:
        return
    assert isinstance(found, Limits)
    assert 1 << 16 <= found.max_object <= 1 << 50
    assert found.max_segments >= 2
    assert 0 <= found.min_segment <= 64 << 20
    assert found.listing >= 1
    assert 255 <= found.max_name <= 8192
    assert {type(found.slo), type(found.bulk_delete)} == {bool}


def sound(found: RemoteObject) -> bool:
    """Whether the ledger and the bus can carry it."""
    found.name.encode()
    found.md5.encode("ascii")
    times = [found.modified, *([found.expires] if found.expires is not None else [])]
    return 0 <= found.size <= 1 << 60 and all(0 <= each < 1 << 38 for each in times)


@given(listing | body)
@example(json.dumps([row("a"), row("\ud800")]).encode())
@example(json.dumps([row("a", bytes=1 << 70)]).encode())
@example(json.dumps([row("a", last_modified="9999-12-31T23:59:59-23:59")]).encode())
def test_a_page_holds_objects_or_is_strange(text: bytes) -> None:
    try:
        found = answers.page(text, prefix="", max_name=1024)
    except answers.Strange:
        return
    assert all(sound(each) and 0 < len(each.name.encode()) <= 1024 for each in found)


@given(headers)
@example({"content-length": "²", "etag": "e"})
@example({"content-length": "1", "etag": "e", "x-timestamp": "nan"})
@example({"content-length": "1", "etag": "e", "last-modified": "Fri, 31 Dec 9999 23:59:59 -2359"})
@example({"content-length": "1", "etag": "e", "x-delete-at": "9" * 5000})
def test_a_head_shows_an_object_or_is_strange(given_headers: dict[str, str]) -> None:
    try:
        found = answers.headed("a", given_headers)
    except answers.Strange:
        return
    assert sound(found)


@given(report | body)
@example(b'{"Response Status": "\xc2\xb2\xc2\xb2\xc2\xb2", "Errors": []}')
def test_a_report_names_statuses_or_is_strange(text: bytes) -> None:
    try:
        found = answers.failures(text)
    except answers.Strange:
        return
    assert all(100 <= status <= 599 for status in found)


@given(st.text() | st.sampled_from(VALUES) | st.none() | st.integers())
def test_addresses_and_tokens_are_such_or_strange(text: object) -> None:
    for parse in (answers.address, answers.token):
        try:
            found = parse(text)
        except answers.Strange:
            continue
        assert found.isascii()
        assert found.isprintable()


@given(st.text() | st.sampled_from(VALUES))
def test_times_to_wait_and_to_live_are_numbers_or_none(text: str) -> None:
    for found in (answers.seconds(text), statuses.retry_after(text, 1e9)):
        assert found is None or 0 <= found <= 1e12


@given(body)
@example(b'{"Code": "X", "Message": "' + "\u202e\x1b[2J".encode() + b'"}')
@example(b"<Error><Code>X</Code><Message>Y</Message></Error>")
@example(b"<" * 4096)
def test_what_is_said_is_one_short_line(text: bytes) -> None:
    found = server_message.sentence(text)
    assert len(found) <= server_message.LONGEST
    assert found == "" or found.isprintable()
    found.encode()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (b'{"Code":"InvalidBucketName","BucketName":"c","RequestId":"tx01","HostId":"h"}', "InvalidBucketName"),
        (b'{"error": {"code": 403, "message": "You are not", "title": "Forbidden"}}', "You are not: Forbidden"),
        (b"<?xml?><Error><Code>Slow</Code><Message>Please</Message><RequestId>1</RequestId></Error>", "Slow: Please"),
        (b"<html><head><title>413</title></head>\r\n<body>\r\n<h1>Too large</h1><hr>nginx</body>", "Too large nginx"),
        (b"Upload exceeds quota.", "Upload exceeds quota."),
        (b"x" * 1000, "x" * 197 + "..."),
        (b"", ""),
        (b"[1, 2", "[1, 2"),
    ],
)
def test_the_reason_in_a_body(text: bytes, shown: str) -> None:
    assert server_message.sentence(text) == shown


# -- the whole edge --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def liar() -> Iterator[Liar]:
    with Liar() as made:
        yield made


def an_upload(calls: StoreCalls) -> object:
    body = Body(io.BytesIO(b"data"), 4, "a", Throttle(), calls.wire.stopped)
    return calls.put(calls.asked("PUT", "a"), "c", "a", body, 4)


CALLS: list[Callable[[StoreCalls], object]] = [
    lambda calls: calls.info(),
    lambda calls: calls.page("c", "", "", Limits()),
    lambda calls: calls.head("c", "a"),
    lambda calls: calls.stand("c"),
    an_upload,
    lambda calls: calls.copy(("c_segments", "slo"), ("c", "a"), etag="0" * 32),
    lambda calls: calls.expire("c", "a", 60),
    lambda calls: calls.delete("c", "a"),
    lambda calls: calls.delete_many("c", ["a", "b"]),
]


def raw(status: object, told: dict[str, str], text: bytes, *, length: bool) -> bytes:
    lines = [f"HTTP/1.1 {status} Told", *(f"{name}: {value}" for name, value in told.items())]
    lines += [f"Content-Length: {len(text)}"] if length else []
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogatepass") + text


answered = st.builds(
    raw,
    st.integers(95, 605) | st.sampled_from([200, 201, 202, 204, 300, 404, "²", "", "1e2"]),
    headers,
    body,
    length=st.booleans(),
)
told = st.one_of(st.binary(max_size=300), answered)
edge = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@edge
@given(told)
@example(raw(200, {"Content-Type": "application/json; charset=rot13"}, b"[]", length=True))
@example(raw(200, {}, b"[" * 100_000, length=True))
@example(raw(302, {"Location": "http://["}, b"", length=True))
@example(raw(404, {"X-Trans-Id": "t", "Content-Length": "\u00b2"}, b"", length=False))
def test_any_answer_is_a_value_or_an_error_of_ours(liar: Liar, text: bytes) -> None:
    liar.forget()
    liar.lie(".*", "", Lie(text), times=None)
    for call in CALLS:
        wire = Wire()
        try:
            call(StoreCalls(wire, Access(liar.storage_url, "token")))
        except SlowboatError:
            pass
        finally:
            wire.close()


@edge
@given(told)
def test_any_answer_to_who_asks_for_a_token_is_one_or_an_error_of_ours(liar: Liar, text: bytes) -> None:
    liar.forget()
    liar.lie(".*", "", Lie(text), times=None)
    for who in (
        Credentials(liar.auth_url, "u", "k"),
        Credentials(f"{liar.origin}/v3", "u", "k", project="p"),
        Credentials(f"{liar.origin}/v2.0", "u", "k", version=2),
        Credentials(f"{liar.origin}/v2.0", "u", "k", version="rackspace"),
    ):
        grant_or_error(who)


def grant_or_error(who: Credentials) -> None:
    wire = Wire()
    try:
        access = auth._fetch(who, wire)
    except (Transient, NeedsUser):
        return
    finally:
        wire.close()
    assert access.token.isascii()
    assert access.storage_url.isprintable()
    assert access.renew_at > 0


V3_ENDPOINT = {"url": "http://127.0.0.1:1/v1", "interface": "public", "region": "r", "region_id": "r", "id": "1"}
V3 = {
    "expires_at": "2030-01-01T00:00:00.000000Z",
    "issued_at": "2029-01-01T00:00:00.000000Z",
    "catalog": [{"type": "object-store", "name": "swift", "id": "1", "endpoints": [V3_ENDPOINT]}],
}
V2_ENDPOINT = {"publicURL": "http://127.0.0.1:1/v1", "region": "r", "tenantId": "t"}
V2 = {
    "token": {"id": "token", "expires": "2030-01-01T00:00:00Z"},
    "serviceCatalog": [{"type": "object-store", "name": "swift", "endpoints": [V2_ENDPOINT]}],
    "user": {"id": "u", "RAX-AUTH:defaultRegion": "r"},
}
endpoints = st.lists(spoilt(V3_ENDPOINT | V2_ENDPOINT) | anything, max_size=3)
catalog = st.lists(
    st.fixed_dictionaries({"type": st.just("object-store"), "endpoints": endpoints | anything, "name": anything})
    | anything,
    max_size=3,
)


@edge
@given(
    st.fixed_dictionaries(
        {
            "token": spoilt(V3)
            | st.fixed_dictionaries({**{k: st.just(v) for k, v in V3.items()}, "catalog": catalog})
            | anything
        }
    ),
    st.sampled_from(["token", "\u00b2", "a b", ""]),
)
def test_any_v3_token_is_one_or_an_error_of_ours(liar: Liar, document: object, token: str) -> None:
    liar.forget()
    lie = answer(201, {"X-Subject-Token": token, "Content-Type": "application/json"}, json.dumps(document).encode())
    liar.lie("POST", "/v3", lie, times=None)
    grant_or_error(Credentials(f"{liar.origin}/v3", "u", "k", project="p"))


@edge
@given(
    st.fixed_dictionaries(
        {
            "access": spoilt(V2)
            | st.fixed_dictionaries({**{k: st.just(v) for k, v in V2.items()}, "serviceCatalog": catalog})
            | anything
        }
    ),
)
def test_any_v2_token_is_one_or_an_error_of_ours(liar: Liar, document: object) -> None:
    liar.forget()
    liar.lie("POST", "/v2.0", answer(200, {}, json.dumps(document).encode()), times=None)
    for version in (2, "rackspace"):
        grant_or_error(Credentials(f"{liar.origin}/v2.0", "u", "k", version=version))
