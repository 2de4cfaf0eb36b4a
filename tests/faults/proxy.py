"""An HTTP/1.1 proxy on loopback that forwards to a real server, misbehaves by rules, and records every request.

    async with FaultProxy(swift.port) as proxy:
        proxy.rule("PUT", r"/volume1", Reset(after=65536), times=2)
        store = SwiftStore(Credentials(proxy.auth_url, ...), ...)

Swift's v1 authentication makes the storage URL from the Host header, so a client that authenticates through the
proxy stays behind it.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping
    from typing import Self

_BLOCK = 65536
_NO_BODY = {204, 304}


@dataclass(frozen=True)
class Answer:
    """Answers itself after `after` bytes of the body (None: after all of it); the server hears nothing."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    after: int | None = None


@dataclass(frozen=True)
class Reset:
    """Resets the connection after `after` bytes of the body; the server sees the body break off there."""

    after: int = 0


@dataclass(frozen=True)
class CutHead:
    """Passes on `after` bytes of the request's head, then breaks both connections."""

    after: int = 0


@dataclass(frozen=True)
class BlackHole:
    """Goes silent after `after` bytes of the body, and stays so."""

    after: int = 0


@dataclass(frozen=True)
class CutAnswer:
    """Forwards all, then passes on `after` bytes of the answer and closes: the server did it, nobody hears."""

    after: int = 0


@dataclass(frozen=True)
class Delay:
    """Forwards after some seconds."""

    seconds: float


@dataclass(frozen=True)
class Edit:
    """Forwards, and passes on what `change(status, headers, body)` makes of the answer."""

    change: Callable[[int, dict[str, str], bytes], tuple[int, dict[str, str], bytes]]


@dataclass(frozen=True)
class Judged:
    """Does what `judge(request)` says, once its head has come; None: passes it on."""

    judge: Callable[[Request], Action | None]


@dataclass(frozen=True)
class Garbage:
    """Answers with bytes that are no HTTP."""

    text: bytes = b"\x00\x16 220 mail ready\r\n\r\n"


Action = Answer | Reset | CutHead | BlackHole | CutAnswer | Delay | Edit | Garbage | Judged


def portal_page(status: int = 200) -> Answer:
    """The page that a captive portal shows in place of whatever was asked."""
    return Answer(status, {"Content-Type": "text/html"}, b"<html><body>Please log in to Hotel Wi-Fi</body></html>")


def portal_redirect() -> Answer:
    """A captive portal's redirect to its page."""
    return Answer(302, {"Location": "http://login.hotel.example/", "Content-Type": "text/html"})


@dataclass
class Request:
    """A request as it came in; `status` is what the client was answered, 0 for nothing.

    `body` is its beginning, 64 KiB at most.
    """

    method: str
    path: str
    headers: dict[str, str]
    body_bytes: int = 0
    status: int = 0
    body: bytes = b""


@dataclass
class _Rule:
    method: re.Pattern[str]
    path: re.Pattern[str]
    action: Action
    skip: int
    times: int | None
    seen: int = 0

    def applies(self, request: Request) -> bool:
        if not (self.method.fullmatch(request.method) and self.path.search(request.path)):
            return False
        self.seen += 1
        return self.seen > self.skip and (self.times is None or self.seen <= self.skip + self.times)


class FaultProxy:
    """One proxy on a port of its own; with `tls` it is reached by https.

    Attributes:
        requests: all requests in the order of their heads.
        port: of the proxy, once it runs.
    """

    def __init__(self, upstream: int, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.requests: list[Request] = []
        self.port = 0
        self._upstream = upstream
        self._rules: list[_Rule] = []
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def auth_url(self) -> str:
        return f"{self.origin}/auth/v1.0"

    @property
    def origin(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def rule(self, method: str, path: str, action: Action, *, skip: int = 0, times: int | None = 1) -> None:
        """Misbehaves at requests whose method matches wholly and whose path matches somewhere (regular expressions).

        `skip` lets that many pass first; then it happens `times` times, None for ever. Earlier rules come first.
        """
        self._rules.append(_Rule(re.compile(method), re.compile(path), action, skip, times))

    def forget_rules(self) -> None:
        self._rules.clear()

    @property
    def struck(self) -> int:
        """How often it has misbehaved by the rules there are."""
        return sum(max(0, min(rule.seen, rule.skip + (rule.times or rule.seen)) - rule.skip) for rule in self._rules)

    def asked(self, method: str, path: str = "") -> list[Request]:
        """The recorded requests of a method whose path matches."""
        return [each for each in self.requests if each.method == method and re.search(path, each.path)]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Refuses connections from now on and breaks those that are open; `__aenter__` starts it again."""
        assert self._server
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0.01)  # the dropped transports close their sockets in the loop's next rounds
        await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            exchange = _Exchange(reader, writer)
            try:
                while await self._one(exchange):
                    pass
                await exchange.hang_up()
            finally:
                exchange.end()

    async def _one(self, exchange: _Exchange) -> bool:
        """One request and its answer; whether another may follow on the connection."""
        head = await exchange.reader.readuntil(b"\r\n\r\n")
        method, path, headers = _request_head(head)
        request = Request(method, path, headers)
        self.requests.append(request)
        rules = [rule for rule in self._rules if rule.applies(request)]
        action = rules[0].action if rules else None
        if isinstance(action, Judged):
            action = action.judge(request)
        return await exchange.perform(request, head, action, self._upstream)


class _Exchange:
    """One client's connection, and the one to the server behind it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._up: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def hang_up(self) -> None:
        """Closes the client's connection once everything is written."""
        self.writer.close()
        with suppress(TimeoutError, OSError):
            await asyncio.wait_for(self.writer.wait_closed(), 1)

    def end(self) -> None:
        """Drops both connections; over TLS there is no good-bye, so that no transport outlives its test."""
        self.writer.transport.abort()
        if self._up:
            self._up[1].transport.abort()

    async def perform(self, request: Request, head: bytes, action: Action | None, upstream: int) -> bool:
        length = int(request.headers.get("content-length", 0))
        if isinstance(action, Answer):
            return await self._answer(request, action, length)
        if isinstance(action, Garbage):
            await self._take(request, length)
            self.writer.write(action.text)
            await self.writer.drain()
            return False
        if isinstance(action, Delay):
            await asyncio.sleep(action.seconds)
        if self._up is None:
            self._up = await asyncio.open_connection("127.0.0.1", upstream)
        if isinstance(action, CutHead):
            self._up[1].write(head[: action.after])
            await self._up[1].drain()
            _make_reset(self.writer)
            return False
        self._up[1].write(head)
        if isinstance(action, Reset):
            await self._take(request, min(action.after, length), forward=True)
            _make_reset(self.writer)
            return False
        if isinstance(action, BlackHole):
            await self._take(request, min(action.after, length), forward=True)
            await asyncio.Event().wait()
        return await self._relay(request, length, action)

    async def _answer(self, request: Request, action: Answer, length: int) -> bool:
        early = action.after is not None and action.after < length
        await self._take(request, min(action.after, length) if action.after is not None else length)
        request.status = action.status
        await self._write(request, action.status, {**action.headers}, action.body)
        if early:
            # Like a server that has said all it has to say: the rest is read and thrown away for a while.
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._take(request, length - request.body_bytes), 1)
            return False
        return True

    async def _relay(self, request: Request, length: int, action: Action | None) -> bool:
        assert self._up
        body = asyncio.ensure_future(self._take(request, length, forward=True))
        answer = asyncio.ensure_future(self._up[0].readuntil(b"\r\n\r\n"))
        try:
            await asyncio.wait({body, answer}, return_when=asyncio.FIRST_COMPLETED)
            if body.done():
                body.result()
            head = await answer
        finally:
            early = not body.done()
            for task in (body, answer):
                task.cancel()
        status, headers = _answer_head(head)
        request.status = status
        bodyless = request.method == "HEAD" or status in _NO_BODY
        if isinstance(action, CutAnswer | Edit):
            text = b"" if bodyless else b"".join([block async for block in _answer_body(self._up[0], headers)])
            return await self._spoil(request, action, head, status, headers, text)
        self.writer.write(head)
        if not bodyless:
            async for block in _answer_body(self._up[0], headers, raw=True):
                self.writer.write(block)
        await self.writer.drain()
        return not early and headers.get("connection", "").lower() != "close"

    async def _spoil(
        self,
        request: Request,
        action: CutAnswer | Edit,
        head: bytes,
        status: int,
        headers: dict[str, str],
        text: bytes,
    ) -> bool:
        if isinstance(action, CutAnswer):
            self.writer.write((head + text)[: action.after])
            await self.writer.drain()
            return False
        status, headers, text = action.change(status, headers, text)
        request.status = status
        await self._write(request, status, headers, text)
        return True

    async def _write(self, request: Request, status: int, headers: dict[str, str], text: bytes) -> None:
        kept = {k: v for k, v in headers.items() if k.lower() not in {"content-length", "transfer-encoding"}}
        kept["Content-Length"] = headers.get("content-length", "0") if request.method == "HEAD" else str(len(text))
        try:
            reason = HTTPStatus(status).phrase
        except ValueError:
            reason = "Status"
        lines = [f"HTTP/1.1 {status} {reason}", *(f"{k}: {v}" for k, v in kept.items())]
        self.writer.write("\r\n".join([*lines, "", ""]).encode())
        if request.method != "HEAD":
            self.writer.write(text)
        await self.writer.drain()

    async def _take(self, request: Request, count: int, *, forward: bool = False) -> None:
        """Reads `count` bytes of the request's body, passing them on or not."""
        while count > 0:
            block = await self.reader.read(min(_BLOCK, count))
            if not block:
                raise asyncio.IncompleteReadError(b"", count)
            count -= len(block)
            request.body_bytes += len(block)
            request.body += block[: _BLOCK - len(request.body)]
            if forward:
                assert self._up
                self._up[1].write(block)
                await self._up[1].drain()


def _request_head(head: bytes) -> tuple[str, str, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ", 2)
    return method, path, _headers(lines)


def _answer_head(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    return int(first.split(" ")[1]), _headers(lines)


def _headers(lines: list[str]) -> dict[str, str]:
    return {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines if line)}


async def _answer_body(reader: asyncio.StreamReader, headers: Mapping[str, str], *, raw: bool = False):
    """The answer's body in blocks; `raw` keeps the framing of a chunked one."""
    if headers.get("transfer-encoding", "").lower() != "chunked":
        count = int(headers.get("content-length", 0))
        while count > 0:
            block = await reader.read(min(_BLOCK, count))
            if not block:
                return
            count -= len(block)
            yield block
        return
    while True:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        block = await reader.readexactly(size + 2)
        yield line + block if raw else block[:-2]
        if not size:
            return


def _make_reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
