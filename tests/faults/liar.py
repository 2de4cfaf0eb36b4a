"""A server that lies: any bytes, at any pace, in answer to any request; everything else it answers as a small Swift.

    with Liar() as liar:
        liar.lie("GET", "/info", Lie(b"HTTP/1.1 200 OK\\r\\n\\r\\n" + b"[" * 100_000))
        liar.lie("PUT", "/duplicity-", answer(201, {"ETag": '"\\xff"'}), times=None)
        store = SwiftStore(Credentials(liar.auth_url, "u", "k"), "c")

Two truths lie beneath the lies: its own, an account in memory that is good for the edge's tests, or a real server's
on another port, `Liar(upstream=swift.port)`, for the daemon's. It runs in threads of its own, so that blocking and
asyncio tests use it alike.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qs, unquote, urlsplit

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping
    from typing import Self

_BLOCK = 65536
_KEPT = 65536
"""Bytes of a request's body that are kept to look at."""

_TOKEN = "token-of-the-liar"


@dataclass(frozen=True)
class Lie:
    """What is sent in place of an answer.

    Attributes:
        raw: the bytes, status line and headers included.
        piece, pause: so many bytes at a time (0: all at once) with so many seconds between two.
        again: sent over and over after `raw`, with the same pause, until the client hangs up.
        then: "keep" the connection for the next request; "close" it; "reset" it; "hold" it open and say no more.
        after: of the request's body, so many bytes are read before; None: all.
    """

    raw: bytes = b""
    piece: int = 0
    pause: float = 0.0
    again: bytes = b""
    then: Literal["keep", "close", "reset", "hold"] = "close"
    after: int | None = None


@dataclass
class Asked:
    """A request as it came in; `body` is its beginning.

    `lied` says that it was lied to, and `left` that the client hung up while it was told.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""
    body_bytes: int = 0
    lied: bool = False
    left: bool = False


Told = Lie | bytes | Callable[[Asked], Lie | bytes]


def answer(
    status: int,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    *,
    swift: bool = True,
    length: int | None = None,
    **how: object,
) -> Lie:
    """An answer that is well-formed as HTTP, so that only what it says is a lie.

    Args:
        headers: any texts; what is beyond Latin-1 goes out as UTF-8. Surrogates of os.fsdecode are their bytes.
        swift: with the X-Trans-Id that Swift puts on each answer.
        length: what Content-Length says; None: the truth; -1: it is left out, and the end is the connection's.
        how: as in `Lie`.
    """
    given = {"X-Trans-Id": "tx-of-the-liar"} if swift else {}
    given |= headers or {}
    if length != -1:
        given.setdefault("Content-Length", str(len(body) if length is None else length))
    lines = [f"HTTP/1.1 {status} Told", *(f"{name}: {value}" for name, value in given.items()), "", ""]
    head = b"\r\n".join(_bytes(line) for line in lines)
    how.setdefault("then", "close" if length is not None else "keep")
    return Lie(head + body, **how)  # type: ignore[arg-type]


def dribble(status: int = 200, headers: Mapping[str, str] | None = None, *, pause: float = 0.2) -> Lie:
    """An answer without a Content-Length whose body never ends, a byte now and then."""
    return answer(status, {"Connection": "close", **(headers or {})}, length=-1, again=b" ", pause=pause)


def flood(status: int = 200, headers: Mapping[str, str] | None = None) -> Lie:
    """An answer without a Content-Length whose body never ends, as fast as it goes."""
    return answer(status, {"Connection": "close", **(headers or {})}, length=-1, again=b" " * _BLOCK)


def _bytes(text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape")


@dataclass
class _Rule:
    method: re.Pattern[str]
    path: re.Pattern[str]
    told: Told
    skip: int
    times: int | None
    every: int
    seen: int = 0

    def applies(self, asked: Asked) -> bool:
        if not (self.method.fullmatch(asked.method) and self.path.search(asked.path)):
            return False
        self.seen += 1
        lies, not_yet = divmod(self.seen - self.skip - 1, self.every)
        return lies >= 0 and not not_yet and (self.times is None or lies < self.times)


class Liar:
    """One such server on a port of its own.

    Attributes:
        requests: all requests in the order of their heads.
        stored: the objects of its own truth: (container, name) -> data.
        floods: bytes that went out as `again`.
    """

    def __init__(self, *, upstream: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Asked] = []
        self.stored: dict[tuple[str, str], bytes] = {}
        self.floods = 0
        self._upstream = upstream
        self._tls = tls
        self._rules: list[_Rule] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]

    @property
    def origin(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def auth_url(self) -> str:
        return f"{self.origin}/auth/v1.0"

    @property
    def storage_url(self) -> str:
        return f"{self.origin}/v1/AUTH_liar"

    def lie(self, method: str, path: str, told: Told, *, skip: int = 0, times: int | None = 1, every: int = 1) -> None:
        """Lies to requests whose method matches wholly and whose path matches somewhere (regular expressions).

        `skip` lets that many pass first; then it lies to one in `every`, `times` times, None for ever. Earlier rules
        come first. What is told may be made of the request by a function.
        """
        with self._lock:
            self._rules.append(_Rule(re.compile(method), re.compile(path), told, skip, times, every))

    def forget(self) -> None:
        """Tells the truth from now on."""
        with self._lock:
            self._rules.clear()

    def asked(self, method: str, path: str = "") -> list[Asked]:
        """The recorded requests of a method whose path matches."""
        with self._lock:
            return [each for each in self.requests if each.method == method and re.search(path, each.path)]

    def __enter__(self) -> Self:
        self._begin(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        """Hangs up on everybody and waits until its threads have ended."""
        self._over.set()
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        with self._lock:
            for sock in self._open:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(20)

    # -- connections -----------------------------------------------------------------------------------------

    def _begin(self, work: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=work, args=args, name="liar", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                sock, _ = self._listening.accept()
            except OSError:
                return
            self._begin(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        with self._lock:
            self._open.add(sock)
        plain = sock
        try:
            if self._tls:
                sock = self._tls.wrap_socket(sock, server_side=True)
                with self._lock:
                    self._open.add(sock)
            with sock.makefile("rb") as reader:
                while not self._over.is_set() and self._one(sock, reader):
                    pass
        except (OSError, ValueError, http.client.HTTPException):
            pass  # the client has gone, or an upstream has
        finally:
            with self._lock:
                self._open -= {sock, plain}
            sock.close()

    def _one(self, sock: socket.socket, reader: socket.SocketIO) -> bool:
        """One request and its answer; whether another may follow on the connection."""
        first = reader.readline(_BLOCK)
        if not first.strip():
            return False
        method, path, _ = first.decode("latin-1").split(" ", 2)
        headers = http.client.parse_headers(reader)
        asked = Asked(method, path, {name.lower(): value for name, value in headers.items()})
        with self._lock:
            self.requests.append(asked)
            rules = [rule for rule in self._rules if rule.applies(asked)]
        length = int(asked.headers.get("content-length", 0))
        if not rules:
            body = self._read(asked, reader, length)
            sock.sendall(self._relayed(asked, body) if self._upstream else self._truth(asked, body))
            return True
        asked.lied = True
        told = rules[0].told
        if not isinstance(told, Lie | bytes):
            told = told(asked)
        lie = told if isinstance(told, Lie) else Lie(told)
        self._read(asked, reader, length if lie.after is None else min(lie.after, length))
        try:
            return self._tell(sock, lie)
        except OSError:
            asked.left = True
            raise

    def _read(self, asked: Asked, reader: socket.SocketIO, count: int) -> bytes:
        blocks = []
        while count > 0:
            block = reader.read(min(_BLOCK, count))
            if not block:
                raise ConnectionResetError
            count -= len(block)
            asked.body_bytes += len(block)
            asked.body += block[: _KEPT - len(asked.body)]
            blocks.append(block)
        return b"".join(blocks)

    def _tell(self, sock: socket.socket, lie: Lie) -> bool:
        step = lie.piece or max(1, len(lie.raw))
        for place in range(0, len(lie.raw), step):
            sock.sendall(lie.raw[place : place + step])
            if lie.piece:
                self._over.wait(lie.pause)
        while lie.again and not self._over.is_set():
            sock.sendall(lie.again)
            self.floods += len(lie.again)
            self._over.wait(lie.pause)
        if lie.then == "hold":
            self._over.wait()
        if lie.then == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return lie.then == "keep"

    # -- the truth -------------------------------------------------------------------------------------------

    def _relayed(self, asked: Asked, body: bytes) -> bytes:
        """What the real server says to the same request."""
        up = http.client.HTTPConnection("127.0.0.1", self._upstream, timeout=120)
        try:
            passed = {name: value for name, value in asked.headers.items() if name != "connection"}
            up.request(asked.method, asked.path, body, passed)
            reply = up.getresponse()
            text = reply.read()
        finally:
            up.close()
        kept = {k: v for k, v in reply.getheaders() if k.lower() not in {"transfer-encoding", "connection"}}
        if asked.method != "HEAD":
            kept["Content-Length"] = str(len(text))
        lines = [f"HTTP/1.1 {reply.status} {reply.reason}", *(f"{k}: {v}" for k, v in kept.items()), "", ""]
        return "\r\n".join(lines).encode("latin-1") + text

    def _truth(self, asked: Asked, body: bytes) -> bytes:
        """What a small Swift would say."""
        parts = urlsplit(asked.path)
        if parts.path == "/auth/v1.0":
            given = {"X-Storage-Url": self.storage_url, "X-Auth-Token": _TOKEN, "X-Auth-Token-Expires": "86400"}
            return answer(200, given).raw
        if parts.path == "/info":
            return answer(200, {"Content-Type": "application/json"}, json.dumps(INFO).encode()).raw
        _, _, _, container, *rest = [*parts.path.split("/", 4), "", ""]
        name = unquote(rest[0])
        if asked.headers.get("x-auth-token") != _TOKEN:
            return answer(401).raw
        with self._lock:
            if not name:
                return self._container(asked, unquote(container), parse_qs(parts.query))
            return self._object(asked, (unquote(container), name), body)

    def _container(self, asked: Asked, container: str, query: Mapping[str, list[str]]) -> bytes:
        if asked.method != "GET":
            return answer(201 if asked.method == "PUT" else 204).raw
        marker, prefix = query.get("marker", [""])[0], query.get("prefix", [""])[0]
        names = sorted(name for held, name in self.stored if held == container)
        wanted = [name for name in names if name > marker and name.startswith(prefix)]
        rows = [self._row(name, self.stored[container, name]) for name in wanted]
        return answer(200, {"Content-Type": "application/json"}, json.dumps(rows).encode()).raw

    def _row(self, name: str, data: bytes) -> dict[str, object]:
        return row(name, bytes=len(data), hash=_md5(data))

    def _object(self, asked: Asked, key: tuple[str, str], body: bytes) -> bytes:
        if asked.method == "PUT":
            self.stored[key] = body
            return answer(201, {"ETag": _md5(body)}).raw
        data = self.stored.get(key)
        if data is None:
            return answer(404).raw
        if asked.method == "DELETE":
            del self.stored[key]
            return answer(204).raw
        if asked.method == "POST":
            return answer(202).raw
        told = {"ETag": _md5(data), "X-Timestamp": f"{time.time():.5f}", "Content-Length": str(len(data))}
        return answer(200, told, data if asked.method == "GET" else b"").raw


INFO = {"swift": {"max_file_size": 5368709122, "container_listing_limit": 10000, "max_object_name_length": 1024}}
"""What the small Swift tells of itself: it has neither SLOs nor bulk deletes."""


def row(name: str, **more: object) -> dict[str, object]:
    """A row of a listing, for `json.dumps`; any field may be given otherwise."""
    usual = {"bytes": 1, "hash": _md5(b""), "content_type": "application/octet-stream"}
    return {"name": name, "last_modified": "2026-01-02T03:04:05.678900", **usual, **more}


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
