"""One connection to a server that can be cut from outside: a socket with our options, and the handle to it.

Knows sockets, and what lies between them and swiftclient by name (`session`); must not know what is asked. Importing
this module loads the HTTP libraries, so only worker threads do, at the first request.

The handle lives as long as the socket does. http.client gives its connection object up as soon as it has read that
an answer ends with the connection, while that answer still comes; so nobody but the end of the request, or a new
socket, takes the handle away.
"""

from __future__ import annotations

import itertools
import logging
import queue
import select
import socket
import struct
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import swiftclient.client

from slowboat.core.errors import Stopped
from slowboat.edges.swift import tcp
from slowboat.edges.swift.deadline import Deadline
from slowboat.edges.swift.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from slowboat.core.uplink import Sample

CONNECT_SECONDS = 20.0
"""To connect to one address of the server."""

SEND_SECONDS = 150.0
"""For one write of a few kilobytes to go into the kernel: 128 KiB may stand before it, at 1 KB/s."""

READ_SECONDS = 90.0
"""For an answer. Swift's ratelimit middleware sleeps up to 60 s before it answers (`max_sleep_time_seconds`).
https://docs.openstack.org/swift/latest/middleware.html#module-swift.common.middleware.ratelimit"""

_UNSENT_BYTES = 131072
"""What the kernel may hold unsent; a stop throws it away."""

_NO_LINGERING = struct.pack("ii", 1, 0)
"""`struct linger`: on, for no second."""

_DEAD_PEER_MILLISECONDS = 60_000
"""Unacknowledged for so long, and the connection is dead (tcp(7), TCP_USER_TIMEOUT)."""

_LOW_EFFORT = 0x04
"""The Lower Effort DSCP, 1, in its place in the octet. https://www.rfc-editor.org/rfc/rfc8622.html"""

# tcp(7); numbers where this Python does not name them. Each is refused by some kernel, sandbox, or address family.
_OPTIONS: tuple[tuple[int, int, int | bytes], ...] = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.IPPROTO_TCP, getattr(socket, "TCP_NOTSENT_LOWAT", 25), _UNSENT_BYTES),
    (socket.IPPROTO_TCP, getattr(socket, "TCP_USER_TIMEOUT", 18), _DEAD_PEER_MILLISECONDS),
    (socket.IPPROTO_IP, socket.IP_TOS, _LOW_EFFORT),
    (socket.IPPROTO_IPV6, getattr(socket, "IPV6_TCLASS", 67), _LOW_EFFORT),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, getattr(socket, "TCP_KEEPIDLE", 4), 60),
    (socket.IPPROTO_TCP, getattr(socket, "TCP_KEEPINTVL", 5), 15),
    (socket.IPPROTO_TCP, getattr(socket, "TCP_KEEPCNT", 6), 4),
)

# Loss-based, and understood by the controller of the rate; never BBR, which does not slow down by itself.
_CONGESTION = (b"cubic", b"reno")

_CONNECTIONS = itertools.count(1)
"""A number for each connection, never the same twice."""

for _name in ("swiftclient", "keystoneauth", "urllib3", "requests"):
    # Their logs hold tokens and request lines, warnings too (of headers that cannot be parsed urllib3 shows the rest);
    # what matters of them is in the errors.
    logging.getLogger(_name).setLevel(logging.CRITICAL)


class Wire:
    """One worker's connection. Used by one thread at a time; `abort` may come from any other.

    Args:
        cacert: a file of certificates to trust instead of the usual ones, or "".
        on_abort: called after `abort`, to wake who waits elsewhere.
    """

    def __init__(self, *, cacert: str = "", on_abort: Callable[[], None] = lambda: None) -> None:
        self.deadline = Deadline(self._cut)
        self.session = Session(self)
        self._verify: bool | str = cacert or True
        self._on_abort = on_abort
        self._lock = threading.Lock()
        self._aborted = threading.Event()
        self._handle: socket.socket | None = None
        self._readable = select.poll()
        self._smoothed: int | None = None
        self._path = ""
        self._connection = 0
        self._answered = False
        self._secure = False
        self._asking = False
        self._given_up = False
        self._connections: dict[str, Any] = {}

    @property
    def aborted(self) -> bool:
        """Whether it was cut from outside; it is then of no more use."""
        return self._aborted.is_set()

    def http_conn(self, url: str, read_seconds: float | None = None) -> tuple[Any, Any]:
        """What swiftclient's functions take as `http_conn`, for the server of `url`.

        Args:
            url: any URL there.
            read_seconds: how long to wait for the answer; None for as long as usual.
        """
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        if origin not in self._connections:
            connection = swiftclient.client.HTTPConnection(origin, default_user_agent="slowboat")
            connection.request_session = self.session
            self._connections[origin] = connection
        connection = self._connections[origin]
        connection.requests_args.update(verify=self._verify, timeout=(SEND_SECONDS, read_seconds or READ_SECONDS))
        return parts, connection

    def get(self, url: str, headers: Mapping[str, str | bytes]) -> tuple[int, dict[str, str], bytes]:
        """A plain GET: the status, the headers with names in lower case, the body."""
        answer = self.session.get(url, headers=headers, verify=self._verify, timeout=(SEND_SECONDS, READ_SECONDS))
        return answer.status_code, {k.lower(): v for k, v in answer.headers.items()}, answer.content

    @property
    def last(self) -> tuple[int, dict[str, str]]:
        """The last answer's status (0: none came) and headers, their names in lower case."""
        return self.session.last

    def warm(self) -> bool:
        """Whether it stands, idle and open, to a server that has answered on it before."""
        with self._lock:
            return self._handle is not None and self._answered and not self._readable.poll(0)

    def sample(self) -> Sample | None:
        """What TCP tells of its connection now; None where there is none, or the system tells nothing."""
        with self._lock:
            return None if self._handle is None else tcp.sample(self._handle, self._connection, self._path)

    def smooth(self, rate: int | None) -> bool:
        """Has its connection, this one and the next, send evenly; whether it does. See `tcp.smooth`."""
        with self._lock:
            self._smoothed = rate
            return self._handle is not None and tcp.smooth(self._handle, rate)

    def stopped(self) -> bool:
        """Whether a body should end now: cut from outside, or the server answered before all of it was there."""
        if self._aborted.is_set():
            return True
        with self._lock:
            # A fresh TLS 1.3 connection is readable without an answer: the server sends session tickets.
            watched = self._answered or not self._secure
            return watched and self._handle is not None and bool(self._readable.poll(0))

    def abort(self) -> None:
        """Cuts it, at once, whatever its thread is doing; not undone."""
        self._aborted.set()
        self._cut()
        self._on_abort()

    def _cut(self) -> None:
        """Whoever reads or writes on the socket returns at once."""
        with self._lock:
            _shut(self._handle)

    def close(self) -> None:
        """Closes its sockets. It may be used again unless it was aborted."""
        self.session.close()
        self.drop()

    def connect(self, host: str, port: int) -> socket.socket:
        """A connected socket with our options, to the first address that accepts; can be broken off meanwhile.

        Raises:
            Stopped: aborted.
            OSError: no address accepts, or the host has none.
        """
        problem: OSError = OSError(f"no address for {host}")
        for family, address in self._resolve(host, port):
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                self._hold(sock, str(address[0]))
                _set_options(sock)
                sock.settimeout(CONNECT_SECONDS)
                sock.connect(address)
            except OSError as error:
                sock.close()
                self.drop()
                problem = error
                self.check()
            except BaseException:
                sock.close()
                raise
            else:
                sock.settimeout(SEND_SECONDS)
                return sock
        raise problem

    def _hold(self, sock: socket.socket, path: str) -> None:
        """Remembers what to cut, and where it leads: a duplicate, which stays good while TLS takes the socket over.

        Raises:
            Stopped: aborted.
        """
        self.drop()
        with self._lock:
            self._handle, self._path, self._connection = sock.dup(), path, next(_CONNECTIONS)
            self._readable = select.poll()
            self._readable.register(self._handle, select.POLLIN)
            if self._smoothed:
                tcp.smooth(self._handle, self._smoothed)
        self.check()

    @contextmanager
    def asking(self) -> Iterator[None]:
        """A request, from its connection to the last byte of its answer: meanwhile the handle stays."""
        with self._lock:
            self._asking = True
        try:
            yield
        finally:
            with self._lock:
                self._asking = False
                given_up = self._given_up
            if given_up:
                self.drop()

    def let_go(self) -> None:
        """The connection is given up: at once where it is idle, else once the request is over."""
        with self._lock:
            self._given_up = True
            asking = self._asking
        if not asking:
            self.drop()

    def drop(self) -> None:
        """Forgets what to cut; it is closed."""
        with self._lock:
            self._answered = self._given_up = False
            if self._handle is not None:
                self._handle.close()
                self._handle = None

    def answered(self, *, secure: bool) -> None:
        """Notes that the server has answered on this connection."""
        with self._lock:
            self._answered = True
            self._secure = secure

    def opened(self, *, secure: bool) -> None:
        """Notes whether the fresh connection is encrypted."""
        with self._lock:
            self._secure = secure

    def check(self) -> None:
        """Raises where it was cut: Stopped by somebody else, TimeoutError by the deadline."""
        if self._aborted.is_set():
            raise Stopped("the connection was broken off")
        if self.deadline.passed:
            raise TimeoutError("the request took too long as a whole")

    def _resolve(self, host: str, port: int) -> Iterable[tuple[int, Any]]:
        """The host's addresses. The look-up cannot be broken off, so a thread is left alone with it then."""
        answers: queue.SimpleQueue[list[tuple[int, Any]] | OSError] = queue.SimpleQueue()

        def resolve() -> None:
            try:
                found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                answers.put([(family, address) for family, _, _, _, address in found])
            except (OSError, UnicodeError) as error:
                answers.put(error if isinstance(error, OSError) else OSError(f"no host name: {host}"))

        threading.Thread(target=resolve, name="slowboat-look-up", daemon=True).start()
        while True:
            self.check()
            with suppress(queue.Empty):
                answer = answers.get(timeout=0.1)
                break
        if isinstance(answer, OSError):
            raise answer
        return answer


def _set_options(sock: socket.socket) -> None:
    for level, option, value in _OPTIONS:
        with suppress(OSError):
            sock.setsockopt(level, option, value)
    for name in _CONGESTION:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name)
        except OSError:
            continue
        return


def _shut(sock: socket.socket | None) -> None:
    """Ends what goes on there. What the kernel holds unsent is thrown away when the socket is closed (socket(7))."""
    if sock is not None:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGERING)
            sock.shutdown(socket.SHUT_RDWR)
