"""Looking at connections while bodies are under way: real sockets, one thread, and a rate that follows."""

from __future__ import annotations

import asyncio
import collections
import socket
import sys
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from realparts.presence import ROOT, in_namespaces
from slowboat.core import pace
from slowboat.core.bucket import FINE, SMOOTHED, STEADY
from slowboat.core.pace import LEAST, START
from slowboat.core.uplink import Sample
from slowboat.edges.swift import Credentials, SwiftStore, pacing, tcp
from slowboat.edges.swift.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from realparts.swift_server import SwiftServer

MIB = 1 << 20

pytestmark = pytest.mark.alone


@contextmanager
def connected() -> Iterator[tuple[socket.socket, socket.socket]]:
    with ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        ours = stack.enter_context(socket.create_connection(listening.getsockname()))
        theirs = stack.enter_context(listening.accept()[0])
        yield ours, theirs


@pytest.fixture(autouse=True)
def _short_lived(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test meets the thread of the one before."""
    monkeypatch.setattr(pacing, "_LINGER", 0.01)
    yield
    until(lambda: not watchers())


def watchers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "slowboat-pacing"]


def until(holds: Callable[[], object]) -> None:
    """Waits for a thread; a minute is never."""
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Line:
    """A connection over a line on which everything that the throttle allows goes through, after `rtt` seconds."""

    def __init__(self, throttle: Throttle) -> None:
        self.throttle = throttle
        self.looks = 0
        self.rtt = 0.01
        self.acked = 0.0
        self.then = time.monotonic()

    def smooth(self, rate: int | None) -> bool:
        return rate is not None

    def sample(self) -> Sample | None:
        now, limit = time.monotonic(), self.throttle._bucket.rate
        self.looks += 1
        self.acked += (now - self.then) * (1e6 if limit is None else limit)
        self.then = now
        acked = int(self.acked)
        return Sample(1, "there", self.rtt, 0.0, 0.01, acked, acked // 1448, 0, waiting=True, silent=0.0)


def unlimited() -> tuple[Throttle, Line]:
    throttle = Throttle(0)
    throttle.set_cap(None, spare=True)
    return throttle, Line(throttle)


def faster_than(rate: float, throttle: Throttle) -> Callable[[], bool]:
    return lambda: throttle._bucket.rate is not None and throttle._bucket.rate > rate


def test_what_linux_tells_of_a_connection() -> None:
    with connected() as (ours, theirs):
        ours.sendall(b"x" * 100_000)
        got = 0
        while got < 100_000:
            got += len(theirs.recv(65536))
        until(lambda: (told := tcp.sample(ours, 7, "there")) and not told.waiting)
        told = tcp.sample(ours, 7, "there")
        assert told is not None
        assert (told.connection, told.path) == (7, "there")
        assert told.acked in (100_000, 100_001)  # some kernels count the SYN
        assert 0 < told.shortest <= told.rtt < 1
        assert told.deviation < 1
        assert 0 < told.delivered < 100
        assert told.silent < 60
        assert told.given in (100_000, 100_001)
        assert told.spurious == told.lost == 0
        filled = _fill(ours)
        full = tcp.sample(ours, 7, "there")
        assert full is not None
        assert full.waiting
        assert full.acked < 100_001 + filled
        assert full.given == told.given + filled


LOSSY = f"""
import socket, sys, threading
from slowboat.edges.swift import tcp
sys.path.append({str(ROOT / "contrib/benchmarks")!r})
from household import command, enter
from outcome import CannotRun
try:
    enter()
    command("ip", "link", "set", "lo", "mtu", "1500")
    command(*"tc qdisc add dev lo root tbf rate 4mbit burst 3200 limit 9000".split())
except CannotRun as error:
    sys.exit(f"forbidden: {{error}}")
with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_connection(listening.getsockname()) as ours:
    theirs, _ = listening.accept()
    reading = threading.Thread(target=lambda: [None for _ in iter(lambda: theirs.recv(65536), b"")])
    reading.start()
    before = tcp.sample(ours, 1, "there").resent
    ours.sendall(bytes(300_000))
    ours.shutdown(socket.SHUT_WR)
    reading.join()
    print(before, tcp.sample(ours, 1, "there").resent)
"""


@pytest.mark.needs("ip", "tc", "nsenter")
def test_what_linux_tells_of_what_it_sends_again(tmp_path: Path) -> None:
    """A namespace of its own, whose loopback has a buffer of six packets."""
    program = tmp_path / "lossy.py"
    program.write_text(LOSSY)
    before, after = map(int, in_namespaces(sys.executable, program, timeout=120).split())
    assert before == 0
    assert 0 < after < 500


def _fill(sock: socket.socket) -> int:
    """Sends until the other side, which does not read, takes no more."""
    sock.setblocking(False)
    sent = 0
    with suppress(BlockingIOError):
        while True:
            sent += sock.send(b"x" * 65536)
    return sent


def test_a_socket_that_tells_nothing() -> None:
    left, right = socket.socketpair()
    with left, right:
        assert tcp.sample(left, 1, "") is None
    assert tcp.sample(left, 1, "") is None  # closed


def test_the_rate_follows_the_line_below_the_cap() -> None:
    throttle, line = unlimited()
    with throttle.watching(line):
        until(faster_than(4 * START, throttle))
        throttle.set_cap(3000, spare=True)
        assert throttle._bucket.rate == 3000
        throttle.set_cap(0, spare=True)
        assert throttle._bucket.rate == 0
        throttle.set_cap(None, spare=True)
        line.rtt = 2.0
        until(lambda: throttle._bucket.rate is not None and throttle._bucket.rate < 2 * START)
        throttle.set_cap(None)
        assert throttle._bucket.rate is None


def test_the_thread_looks_only_while_something_is_sent_and_spare_is_wanted() -> None:
    throttle = Throttle(None)
    line = Line(throttle)
    with throttle.watching(line):
        assert not watchers()
    throttle.set_cap(None, spare=True)
    assert not watchers()
    with throttle.watching(line):
        until(lambda: line.looks > 3)
        assert len(watchers()) == 1
        throttle.set_cap(None)
        until(lambda: not watchers())
        throttle.set_cap(None, spare=True)
        looks = line.looks
        until(lambda: line.looks > looks + 3)
    until(lambda: not watchers())


def test_where_nothing_is_told_it_sends_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "_BLIND_AFTER", 3)
    throttle, line = unlimited()

    class Blind(Line):
        def sample(self) -> None:
            self.looks += 1

    blind = Blind(throttle)
    with throttle.watching(line):
        until(faster_than(4 * pacing.BLIND, throttle))
    with throttle.watching(blind):
        until(lambda: blind.looks > 5)
        assert throttle._bucket.rate is not None
        assert throttle._bucket.rate <= pacing.BLIND
    with throttle.watching(line):
        until(faster_than(2 * pacing.BLIND, throttle))


def test_a_pace_that_fails_leaves_a_slow_rate_and_begins_anew(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    throttle, line = unlimited()
    with throttle.watching(line):
        until(faster_than(4 * START, throttle))
        with monkeypatch.context() as broken:
            broken.setattr(pace.Pace, "feed", lambda *_: 1 / 0)
            until(lambda: not watchers())
        assert throttle._bucket.rate == START
        assert "slowly" in caplog.text
    with throttle.watching(line):
        until(faster_than(4 * START, throttle))


def test_another_network_begins_slowly() -> None:
    throttle, line = unlimited()
    with throttle.watching(line):
        until(faster_than(20 * START, throttle))
        throttle.forget()
        assert throttle._bucket.rate is not None
        assert throttle._bucket.rate < 20 * START


def test_somebody_else_is_told_of_only_where_only_the_spare_is_taken() -> None:
    throttle, line = unlimited()
    with throttle.watching(line):
        until(faster_than(20 * START, throttle))
        assert not throttle.crowded
        line.rtt = 0.5
        until(lambda: throttle.crowded)
        throttle.set_cap(None)
        assert not throttle.crowded


async def test_a_real_upload_is_watched_and_arrives(swift: SwiftServer) -> None:
    throttle = Throttle(0)
    throttle.set_cap(None, spare=True)
    store = SwiftStore(Credentials(swift.auth_url, swift.user, swift.key), swift.container(), throttle=throttle)
    body = bytes(MIB)
    put = asyncio.create_task(store.put("a", body, len(body)))
    while not (put.done() or watchers()):
        await asyncio.sleep(0.005)
    assert watchers()
    stored = await put
    assert stored.size == len(body)
    assert throttle._bucket.rate is not None
    assert throttle._bucket.rate > LEAST
    await store.forget_connections()
    assert throttle._bucket.rate == START
    await store.close()


async def test_system_calls_for_each_mebibyte(swift: SwiftServer) -> None:
    """At 16 Mbit/s, capped: 16 pieces of 60 kB, each asked for, looked out for and sent once; not 64 of 16 KiB."""
    calls: collections.Counter[str] = collections.Counter()

    def profile(_: object, event: str, called: object) -> None:
        if event == "c_call":
            calls[getattr(called, "__name__", "")] += 1

    throttle = Throttle(2_000_000)
    store = SwiftStore(Credentials(swift.auth_url, swift.user, swift.key), swift.container(), throttle=throttle)
    await store.put("a", b"x", 1)  # connections, containers, imports
    store.release()
    threading.setprofile(profile)  # of the threads that begin now
    try:
        await store.put("b", bytes(4 * MIB), 4 * MIB)
    finally:
        threading.setprofile(None)
    await store.close()
    assert 4 * 16 < calls["sendall"] < 4 * 20
    assert calls["poll"] < 2 * 4 * 20 + 20  # before and after a wait
    assert calls["setsockopt"] < 20  # the connection's own options, and how evenly it is to send


def test_the_kernel_smooths_what_is_handed_over() -> None:
    with connected() as (ours, _):
        assert tcp.smooth(ours, 123_456)
        assert ours.getsockopt(socket.SOL_SOCKET, 47) == 123_456
        assert tcp.smooth(ours, None)
        assert ours.getsockopt(socket.SOL_SOCKET, 47) in (-1, 0xFFFFFFFF)
    left, right = socket.socketpair()
    left.close()
    assert not tcp.smooth(left, 1000)
    right.close()


def test_all_connections_together_send_a_little_faster_than_the_rate() -> None:
    """One that cannot be smoothed makes all of them be handed little at once."""
    throttle = Throttle(100_000)
    told: list[tuple[str, int | None]] = []

    class Carrier(Line):
        def __init__(self, name: str, *, even: bool = True) -> None:
            super().__init__(throttle)
            self.name, self.even = name, even

        def smooth(self, rate: int | None) -> bool:
            told.append((self.name, rate))
            return self.even

    with throttle.watching(Carrier("a")):
        assert told == [("a", 104_000)]
        assert throttle._bucket.steps == STEADY
        with throttle.watching(Carrier("b")):
            assert told[1:] == [("a", 52_000), ("b", 52_000)]
            throttle.set_cap(200_000, spare=True)
            assert throttle._bucket.steps == SMOOTHED
            with throttle.watching(Carrier("c", even=False)):
                assert throttle._bucket.steps == FINE
        throttle.set_cap(None)
        assert told[-1] == ("a", None)
