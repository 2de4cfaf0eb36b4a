"""What a server may say that is not so, for each verb: well-formed or not, once or for ever. Nothing is played here.

A lie is never consistent: a later question, to the same server, brings the truth out. A cloud that keeps to its lie
cannot be told from one that is right (docs/RELIABILITY.md).
"""

from __future__ import annotations

import gzip
import json
from functools import cache
from typing import TYPE_CHECKING

from faults.liar import Lie, Told, answer, dribble, flood, row

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from faults.liar import Asked

_JSON = {"Content-Type": "application/json; charset=utf-8"}
_MD5 = "d41d8cd98f00b204e9800998ecf8427e"

VERBS: dict[str, tuple[str, str]] = {
    "token": ("GET", "^/auth/"),
    "info": ("GET", "^/info"),
    "listing": ("GET", "format=json"),
    "HEAD of a container": ("HEAD", r"^/v1/[^/]+/[^/]+$"),
    "HEAD of metadata": ("HEAD", r"duplicity-[^/]*(manifest|sigtar)"),
    "HEAD of a volume": ("HEAD", r"/p/duplicity-[^/]*difftar[^/]*$"),
    "PUT of a container": ("PUT", r"^/v1/[^/]+/[^/]+$"),
    "PUT of metadata": ("PUT", r"duplicity-[^/]*(manifest|sigtar)"),
    "PUT of a volume": ("PUT", r"^/v1/[^/]+/[^/]+/p/duplicity-[^/]*difftar"),  # COPYs are such PUTs too
    "PUT of a segment": ("PUT", r"_segments/slowboat1/p/.*/\d{8}$"),
    "PUT of an SLO": ("PUT", "multipart-manifest=put"),
    "probe": ("PUT|HEAD|POST|GET", "/probe/"),
    "delete": ("POST|DELETE", "."),
}
"""What is asked, as (method, path): regular expressions of the Liar's."""

_STATUSES = (
    *(
        100,
        200,
        201,
        202,
        204,
        206,
        300,
        301,
        302,
        304,
        307,
        400,
        401,
        402,
        403,
        404,
        405,
        406,
        408,
        409,
        410,
        411,
        412,
    ),
    *(
        413,
        414,
        416,
        417,
        422,
        423,
        425,
        429,
        431,
        451,
        497,
        498,
        499,
        500,
        501,
        502,
        503,
        504,
        507,
        520,
        599,
        600,
        999,
    ),
)


@cache
def _bare() -> dict[str, Told]:
    """Each status, with nothing else; and as a page for people, which does not come from Swift."""
    page = b"<html><body><h1>Please log in</h1></body></html>"
    plain = {f"status {status}": answer(status) for status in _STATUSES}
    pages = {
        f"a page with {status}": answer(status, {"Content-Type": "text/html"}, page, swift=False)
        for status in _STATUSES
    }
    return {**plain, **pages}


@cache
def _broken() -> dict[str, Told]:
    """What is no answer at all, or has no end."""
    many = {f"X-Header-{number}": "x" * 50 for number in range(20_000)}
    bomb = gzip.compress(bytes(20_000_000))
    return {
        "nothing": Lie(),
        "nothing, by a reset": Lie(then="reset"),
        "silence": Lie(then="hold"),
        "mail": Lie(b"220 mail ready\r\n\r\n"),
        "TLS": Lie(b"\x15\x03\x01\x00\x02\x02\x28"),
        "HTTP/0.9": Lie(b"<html>hello</html>"),
        "a version that is none": Lie(b"HTTP/9.9 200 OK\r\n\r\n"),
        "a status that is none": Lie(b"HTTP/1.1 \xc2\xb2 OK\r\nContent-Length: 0\r\n\r\n"),
        "a status of minus one": Lie(b"HTTP/1.1 -1 OK\r\nContent-Length: 0\r\n\r\n"),
        "half a head": Lie(b"HTTP/1.1 200 OK\r\nContent-Le", then="hold"),
        "a head without end": Lie(b"HTTP/1.1 200 OK\r\n", again=b"X-More: and more\r\n"),
        "a head of a byte now and then": Lie(b"HTTP/1.1 200 OK\r\nX-Trans-Id: tx1\r\n\r\n", piece=1, pause=0.1),
        "one header of a megabyte": answer(200, {"X-Large": "x" * 1_000_000}),
        "20000 headers": answer(200, many),
        "continue for ever": Lie(again=b"HTTP/1.1 100 Continue\r\n\r\n", pause=0.01),
        "a length of minus one": answer(200, _JSON, b"[]", length=-2),
        "a length that is no number": answer(200, {**_JSON, "Content-Length": "two"}, b"[]"),
        "a length of 10^30": answer(200, {**_JSON, "Content-Length": "1" + "0" * 30}, b"[]", then="close"),
        "a body cut short": answer(200, _JSON, b"[{", length=1000),
        "a body of a byte now and then": dribble(200, _JSON, pause=0.05),
        "a body without end": flood(200, _JSON),
        "an error without end": flood(503),
        "chunks that are none": Lie(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Trans-Id: tx1\r\n\r\nzz\r\n"),
        "a chunk of 10^15 bytes": Lie(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Trans-Id: tx1\r\n\r\n38D7EA4C68000\r\nx", then="close"
        ),
        "a bomb of gzip": answer(200, {**_JSON, "Content-Encoding": "gzip"}, bomb),
        "gzip that is none": answer(200, {**_JSON, "Content-Encoding": "gzip"}, b"[]"),
        "bytes that are no text": answer(200, _JSON, bytes(range(128, 256))),
        "brackets 200000 deep": answer(200, _JSON, b"[" * 200_000),
        "null": answer(200, _JSON, b"null"),
        "a number": answer(200, _JSON, b"1e999"),
        "an answer twice": Lie(answer(204).raw * 2, then="keep"),
        "wait until the year 9999": answer(503, {"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"}),
        "wait minus five": answer(503, {"Retry-After": "-5"}),
        "wait for nobody knows": answer(429, {"Retry-After": "soon"}),
        "wait 10^30 seconds": answer(429, {"Retry-After": "1" + "0" * 30}),
    }


def _token() -> dict[str, Told]:
    def with_(**more: str) -> Lie:
        given = {"X-Storage-Url": "http://127.0.0.1:9/v1/AUTH_x", "X-Auth-Token": "t", "X-Auth-Token-Expires": "3600"}
        return answer(200, {**given, **{name.replace("_", "-"): value for name, value in more.items()}})

    return {
        "somebody else's store": with_(),
        "a store in the clear": with_(X_Storage_Url="http://192.0.2.1/v1/AUTH_test"),
        "a store that is a file": with_(X_Storage_Url="file:///etc/passwd"),
        "a store at port 99999": with_(X_Storage_Url="http://127.0.0.1:99999/v1/AUTH_test"),
        "a store that is no address": with_(X_Storage_Url="http://[::1"),
        "a store beyond ASCII": with_(X_Storage_Url="http://\u2603/v1"),
        "no store": with_(X_Storage_Url=""),
        "no token": with_(X_Auth_Token=""),
        "a token beyond Latin-1": with_(X_Auth_Token="\u2603"),
        "a token with a blank at its end": with_(X_Auth_Token="t "),
        "a token of a megabyte": with_(X_Auth_Token="t" * 1_000_000),
        "a token that has expired": with_(X_Auth_Token_Expires="0"),
        "a token that expired before": with_(X_Auth_Token_Expires="-1"),
        "a token for NaN seconds": with_(X_Auth_Token_Expires="nan"),
        "a token for ever": with_(X_Auth_Token_Expires="1e999"),
    }


def _info() -> dict[str, Told]:
    def told(**parts: object) -> Lie:
        return answer(200, _JSON, json.dumps({"swift": {}, "slo": {}, **parts}).encode())

    return {
        "no limits": told(),
        "limits of zero": told(
            swift={"max_file_size": 0, "container_listing_limit": 0}, slo={"max_manifest_segments": 0}
        ),
        "limits below zero": told(swift={"max_file_size": -1}, slo={"min_segment_size": -5}),
        "limits of 10^30": told(swift={"max_file_size": 10**30}, slo={"min_segment_size": 10**30}),
        "limits as text": told(swift={"max_file_size": "5 GB"}),
        "limits that are null": told(swift={"max_file_size": None}),
        "limits in a list": told(swift=[1, 2]),
        "slo that is a number": told(slo=7),
        "infinity": answer(200, _JSON, b'{"swift": {"max_file_size": Infinity}}'),
        "a list": answer(200, _JSON, b"[]"),
        "slo is not there": answer(200, _JSON, b'{"swift": {"max_file_size": 5368709122}}'),
    }


def _rows(*rows: object) -> Lie:
    return answer(200, _JSON, json.dumps(rows).encode())


def _listing() -> dict[str, Told]:
    name = "p/duplicity-full.20200101T000000Z.vol1.difftar.gz"

    def endless(asked: Asked) -> Lie:
        """Each page has a name that comes after the last one's."""
        return _rows(row(f"p/{len(asked.path):09}{asked.path[-40:]}zzz"))

    return {
        "there is nothing": _rows(),
        "there is no container": answer(404),
        "an older backup is there": _rows(row(name)),
        "the same page for ever": _rows(row("p/a")),
        "pages without end": endless,
        "names of others": _rows(row("q/else"), row("\x00"), row("p/../../x")),
        "a lone surrogate": answer(
            200, _JSON, b'[{"name": "p/\\ud800", "bytes": 1, "hash": "x", "last_modified": "2026-01-01T00:00:00"}]'
        ),
        "a name of a megabyte": _rows(row("p/" + "n" * 1_000_000)),
        "a row without a name": _rows({"bytes": 1}),
        "a row without a hash": _rows({"name": "p/a", "bytes": 1}),
        "rows that are numbers": _rows(1, 2, 3),
        "bytes below zero": _rows(row("p/a", bytes=-1)),
        "bytes as text": _rows(row("p/a", bytes="many")),
        "bytes beyond 64 bits": _rows(row("p/a", bytes=10**30)),
        "a time that is none": _rows(row("p/a", last_modified="yesterday")),
        "a time in the year 9999": _rows(row("p/a", last_modified="9999-12-31T23:59:59.999999")),
        "a folder": _rows({"subdir": "p/"}),
    }


def _head() -> dict[str, Told]:
    return {
        "it is not there": answer(404),
        "it is there, and another": answer(200, {"ETag": _MD5, "X-Timestamp": "1700000000.0"}),
        "it is there, empty": answer(200, {"ETag": _MD5, "Content-Length": "0"}),
        "no ETag": answer(200, {"X-Timestamp": "1700000000.0"}),
        "an ETag beyond ASCII": answer(200, {"ETag": "\u2603"}),
        "an ETag of a megabyte": answer(200, {"ETag": "e" * 1_000_000}),
        "a time that is none": answer(200, {"ETag": _MD5, "X-Timestamp": "now"}),
        "a time of NaN": answer(200, {"ETag": _MD5, "X-Timestamp": "nan"}),
        "a date that is none": answer(200, {"ETag": _MD5, "Last-Modified": "yesterday"}),
        "it is a large object": answer(200, {"ETag": f'"{_MD5}"', "X-Static-Large-Object": "True"}),
        "it will expire": answer(200, {"ETag": _MD5, "X-Delete-At": "1700000000"}),
        "it will expire at no time": answer(200, {"ETag": _MD5, "X-Delete-At": "never"}),
        "a length of text": Lie(b"HTTP/1.1 200 OK\r\nX-Trans-Id: tx1\r\nETag: x\r\nContent-Length: many\r\n\r\n"),
    }


def _agreed(asked: Asked) -> Lie:
    """As if it were stored, with the very MD5 that was announced."""
    return answer(201, {"ETag": asked.headers.get("etag", _MD5)})


def _put() -> dict[str, Told]:
    return {
        "stored, and it is not": _agreed,
        "stored, before the body has come": lambda asked: answer(
            201, {"ETag": asked.headers.get("etag", _MD5)}, after=10
        ),
        "stored, with another MD5": answer(201, {"ETag": _MD5}),
        "stored, with no MD5": answer(201),
        "stored, with an MD5 beyond ASCII": answer(201, {"ETag": "\u00b2\u2603"}),
        "accepted, and not stored": answer(202, {"ETag": _MD5}),
        "there is one already": answer(412),
        "another checksum": answer(422),
        "too large": answer(413),
        "too large, says a proxy": answer(413, {"Content-Type": "text/html"}, b"<h1>413</h1>", swift=False, after=100),
        "full, in the middle": answer(507, after=5000),
        "too slow, in the middle": answer(408, after=5000),
        "who are you, in the middle": answer(401, after=5000),
        "a reset in the middle": Lie(then="reset", after=5000),
        "silence in the middle": Lie(then="hold", after=5000),
    }


def _delete() -> dict[str, Told]:
    def report(status: str, *errors: object) -> Lie:
        told = {"Response Status": status, "Errors": list(errors), "Number Deleted": 0, "Number Not Found": 0}
        return answer(200, _JSON, json.dumps(told).encode())

    return {
        "done, and it is not": report("200 OK"),
        "failed": report("400 Bad Request", ["/c/x", "409 Conflict"]),
        "a status that is none": report("\u00b2"),
        "errors that are none": report("400 Bad Request", 1, None, []),
        "an empty report": answer(200, _JSON, b"{}"),
    }


_OF_ITS_OWN: Mapping[str, Callable[[], dict[str, Told]]] = {
    "token": _token,
    "info": _info,
    "listing": _listing,
    "HEAD of metadata": _head,
    "HEAD of a volume": _head,
    "PUT of metadata": _put,
    "PUT of a volume": _put,
    "PUT of a segment": _put,
    "PUT of an SLO": _put,
    "delete": _delete,
}


def lies(verb: str) -> dict[str, Told]:
    """All that may be told to a request of that kind, by name."""
    own = _OF_ITS_OWN[verb]() if verb in _OF_ITS_OWN else {}
    return {**own, **_bare(), **_broken()}


def all_lies() -> list[tuple[str, str]]:
    """(verb, lie); those of a verb's own thrice, for they are few, and the ones that could be believed."""
    found = []
    for verb in VERBS:
        own = _OF_ITS_OWN[verb]() if verb in _OF_ITS_OWN else {}
        found += [(verb, lie) for lie in lies(verb)] + 2 * [(verb, lie) for lie in own]
    return found
