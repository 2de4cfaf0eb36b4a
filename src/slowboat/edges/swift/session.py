"""Requests over one wire: no redirect, no cookie, no proxy for plain http, and an answer that is bounded in all ways.

Knows requests' session and adapter and urllib3's connection classes; must not know what is asked. Loads the HTTP
libraries, so only worker threads import it.

An answer is read here, whole, before anybody looks at it: at most so many bytes, never decompressed, in time.
Whoever gets it holds a plain text and its headers, and no connection.

Why urllib3's connection is replaced by one of ours: it tells nobody its socket while it connects, sends and waits,
and a name look-up or a connect in progress could not be broken off. Documented hooks do the rest:
https://requests.readthedocs.io/en/latest/user/advanced/#transport-adapters
"""

from __future__ import annotations

import errno
import io
import math
import os
from typing import TYPE_CHECKING, Any, Final, Protocol

from requests.adapters import HTTPAdapter
from requests.exceptions import ConnectionError as RequestFailed
from requests.exceptions import ReadTimeout, RequestException
from requests.utils import get_environ_proxies
from swiftclient.requests_compat import SwiftClientRequestsSession
from urllib3 import HTTPResponse
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

from slowboat.edges.swift.throttle import BLOCK

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from slowboat.edges.swift.deadline import Deadline

MOST_BYTES: Final = 16 << 20
"""Of an answer: eight times a page of a listing with names of a hundred bytes."""

MOST_OF_AN_ERROR: Final = 64 << 10
"""Of an answer that is no success: a sentence or a page. The rest of it is not read."""

CONNECT_SECONDS = 120.0
"""For a connection as a whole, the handshake of TLS included: several addresses may have to be tried."""

TALK_SECONDS = 210.0
"""For an answer as a whole, beyond the wait for its first byte: a page of a listing at 10 KB/s."""

_BLOCK = 1 << 16


class Unreadable(RequestException, ValueError):
    """An answer that nobody who speaks Swift would give."""


class Socket(Protocol):
    """What a session asks of the wire (`wire.Wire`) that it makes its requests over."""

    deadline: Deadline

    def connect(self, host: str, port: int) -> socket.socket:
        """A connected socket; raises Stopped where the wire was cut meanwhile."""

    def opened(self, *, secure: bool) -> None:
        """The connection stands."""

    def answered(self, *, secure: bool) -> None:
        """The server has answered on it."""

    def let_go(self) -> None:
        """The connection is given up."""

    def asking(self) -> AbstractContextManager[None]:
        """From a request's connection to the last byte of its answer."""

    def check(self) -> None:
        """Raises where the wire was cut."""


class Session(SwiftClientRequestsSession):  # type: ignore[misc] # swiftclient publishes no types
    """A session that follows no redirect: a portal's would get the token, and the body once more.

    Of the environment it takes the proxies, and nothing else: ~/.netrc would put its own password beside the token.
    Nor does plain http ever go through a proxy: it is for this computer alone.
    """

    def __init__(self, wire: Socket) -> None:
        super().__init__()
        self.headers.clear()
        self.trust_env = False
        self.last: tuple[int, dict[str, str]] = (0, {})
        self._wire = wire
        for scheme in ("http://", "https://"):
            self.mount(scheme, _Adapter(wire))

    def request(self, method: str, url: str, **options: Any) -> Any:  # noqa: ANN401 - requests' own signature
        """One request. What it raises when it took too long holds a TimeoutError, whatever broke first."""
        self.last = (0, {})
        options["allow_redirects"] = False
        carries_a_body = hasattr(options.get("data"), "read")
        whole = math.inf if carries_a_body else _answer_seconds(options.get("timeout"))
        deadline = self._wire.deadline
        deadline.begin()
        try:
            with self._wire.asking(), deadline.within(whole):
                answer = super().request(method, url, **options)
        except Exception:
            if not deadline.passed:
                raise
        else:
            self._wire.check()
            self.last = (answer.status_code, {name.lower(): value for name, value in answer.headers.items()})
            return answer
        raise ReadTimeout(TimeoutError("the request took too long as a whole"))

    def prepare_request(self, request: Any) -> Any:  # noqa: ANN401 - requests' own signature
        """The request as it goes out: its answer is to come as it is."""
        prepared = super().prepare_request(request)
        prepared.headers["Accept-Encoding"] = "identity"
        return prepared

    def get_redirect_target(self, resp: Any) -> str | None:  # noqa: ANN401, ARG002 - requests' own signature
        """Nowhere: requests would read and judge the Location even where it does not follow it."""
        return None

    def merge_environment_settings(self, url: str, *options: Any) -> Any:  # noqa: ANN401 - requests' own signature
        """The settings of a request, with the environment's proxies for https."""
        settings = super().merge_environment_settings(url, *options)
        settings["proxies"] = get_environ_proxies(url, no_proxy=None) if url.lower().startswith("https:") else {}
        return settings


def _answer_seconds(timeout: Any) -> float:  # noqa: ANN401 - a number, or two
    wait = timeout[-1] if isinstance(timeout, tuple) else timeout
    return float(wait or 0.0) + TALK_SECONDS


class _Adapter(HTTPAdapter):
    """Pools of one connection each, of our classes; answers that are read whole and within bounds."""

    def __init__(self, wire: Socket) -> None:
        self._wire = wire
        self._classes = _pool_classes(wire)
        super().__init__(pool_connections=2, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:  # noqa: ANN401, FBT001, FBT002 - requests' own signature
        super().init_poolmanager(connections, maxsize, block, **options)
        self.poolmanager.pool_classes_by_scheme = self._classes

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:  # noqa: ANN401 - requests' own signature
        manager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = self._classes
        return manager

    def build_response(self, req: Any, resp: Any) -> Any:  # noqa: ANN401 - requests' own signature
        """The answer, read to its end or to its bound, as one that comes out of memory."""
        try:
            with self._wire.deadline.within(TALK_SECONDS):
                text = _text(resp)
        except HTTPError as problem:  # urllib3's; requests and keystoneauth1 expect requests' own
            raise RequestFailed(problem) from problem
        plain = HTTPResponse(
            body=io.BytesIO(text),
            headers=_sound(resp.headers),
            status=resp.status,
            reason=resp.reason,
            preload_content=False,
            decode_content=False,
            enforce_content_length=False,
        )
        return super().build_response(req, plain)

    def close(self) -> None:
        """Closes every connection.

        urllib3 leaves that to the garbage collector, which never gets there: the note that a pool is to be closed
        holds its connections, and ours hold the wire, and so the pool.
        """
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for key in manager.pools.keys():  # noqa: SIM118  # it is no dict: only keys() may be gone through
                if pool := manager.pools.get(key):
                    pool.close()
        super().close()


def _text(answer: Any) -> bytes:  # noqa: ANN401 - urllib3's HTTPResponse
    """The body of an answer; of one that is no success, its beginning. What is not read goes with its connection.

    Raises:
        Unreadable: a success that is longer than any of Swift's, or encoded though nobody asked for that.
        urllib3.exceptions.HTTPError, OSError: it broke off.
    """
    success = 200 <= answer.status < 300
    most = MOST_BYTES if success else MOST_OF_AN_ERROR
    found = bytearray()
    while len(found) <= most:
        piece = answer.read(_BLOCK, decode_content=False)
        if not piece:
            break
        found += piece
    else:
        answer.close()
        if success:
            raise Unreadable("the answer is too long")
    if found and answer.headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
        if success:
            raise Unreadable("the answer is encoded")
        return b""
    return bytes(found[:most])


def _sound(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers whose values are UTF-8, which swiftclient takes for granted; and without what is true no more.

    http.client reads them as Latin-1. What is no UTF-8 loses the characters that make it so.
    """
    dropped = {"content-encoding", "transfer-encoding", "set-cookie"}
    return {_utf8(name): _utf8(value) for name, value in headers.items() if name.lower() not in dropped}


def _utf8(text: str) -> str:
    try:
        text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text.encode("ascii", "replace").decode()
    return text


def _pool_classes(wire: Socket) -> dict[str, type[HTTPConnectionPool]]:
    """urllib3's pools, over connections that report to `wire`."""

    class Plain(HTTPConnection):
        over_tls = False

        def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - urllib3's own signature
            super().__init__(*arguments, **options)
            self.blocksize = BLOCK  # what http.client asks a body for at once; 16 KiB else

        def _new_conn(self) -> socket.socket:
            sock = wire.connect(self._dns_host, self.port)
            wire.opened(secure=self.over_tls)
            return sock

        def connect(self) -> None:
            with wire.deadline.within(CONNECT_SECONDS):
                super().connect()

        def getresponse(self) -> Any:  # noqa: ANN401 - urllib3's own signature
            _still_open(self.sock)
            with wire.deadline.within(_answer_seconds(self.timeout)):
                answer = super().getresponse()
            wire.answered(secure=self.over_tls)
            return answer

        def close(self) -> None:
            if self.sock is not None:
                wire.let_go()
            super().close()

    class Secure(Plain, HTTPSConnection):
        over_tls = True

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


def _still_open(sock: socket.socket | None) -> None:
    """Raises where the connection broke under the request: urllib3 passes over that, and asks for the answer."""
    if sock is None:
        raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
