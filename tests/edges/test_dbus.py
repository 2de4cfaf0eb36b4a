"""The connection to a bus, against a real dbus-daemon."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from slowboat.edges.dbus import (
    Answer,
    BusError,
    BusGone,
    Call,
    CallRefused,
    Connection,
    Match,
    NoReply,
    Signal,
    Variant,
    reconnect,
    session_address,
    stay_connected,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from realparts.private_bus import PrivateBus

pytestmark = pytest.mark.needs("dbus-daemon")

NAME = "org.example.Thing"
PATH = "/org/example/Thing"


@pytest.fixture
async def ours(session_bus: str) -> AsyncIterator[Connection]:
    async with await Connection.open(address=session_bus) as connection:
        yield connection


@pytest.fixture
async def theirs(session_bus: str) -> AsyncIterator[Connection]:
    async with await Connection.open(address=session_bus) as connection:
        assert await connection.own(NAME)
        yield connection


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def eventually(queue: asyncio.Queue[object]) -> object:
    return await asyncio.wait_for(queue.get(), 60)


async def test_a_call_is_answered_with_plain_values(ours: Connection, theirs: Connection) -> None:
    calls: list[Call] = []

    def serve(call: Call) -> Answer:
        calls.append(call)
        return Answer("a{sv}as", [{"deep": Variant("a{sv}", {"er": Variant("t", 2**40)})}, ["a"]])

    theirs.serve(serve)
    answer = await ours.call(NAME, PATH, NAME, "Do", "sa{sv}", "x", {"k": Variant("u", 7)})
    assert answer == [{"deep": {"er": 2**40}}, ["a"]]
    assert calls[0].sender == ours.name
    assert calls[0].body == ["x", {"k": 7}]
    assert calls[0].signature == "sa{sv}"


async def test_errors_have_their_names_and_tell_no_secrets(ours: Connection, theirs: Connection) -> None:
    async def later(call: Call) -> Answer:
        raise CallRefused("org.example.Error.Busy", "not now")

    def serve(call: Call) -> object:
        if call.member == "Later":
            return later(call)
        if call.member == "Wrong":
            return Answer("u", ["not a number"])
        raise RuntimeError("the secret is hunter2")

    theirs.serve(serve)
    with pytest.raises(BusError, match="Busy") as refused:
        await ours.call(NAME, PATH, NAME, "Later")
    assert (refused.value.name, refused.value.text) == ("org.example.Error.Busy", "not now")
    for member in ("Wrong", "Crash"):
        with pytest.raises(BusError) as failed:
            await ours.call(NAME, PATH, NAME, member)
        assert failed.value.name == "org.freedesktop.DBus.Error.Failed"
        assert "hunter2" not in failed.value.text
        assert ".py" not in failed.value.text


async def test_who_is_absent_and_who_is_silent(ours: Connection, theirs: Connection) -> None:
    with pytest.raises(BusError) as absent:
        await ours.call("org.example.Nobody", PATH, NAME, "Do")
    assert absent.value.absent

    async def never(call: Call) -> Answer:
        await asyncio.Event().wait()
        raise AssertionError

    theirs.serve(never)
    with pytest.raises(NoReply):
        await ours.call(NAME, PATH, NAME, "Do", timeout=0.05)
    assert not ours._waiting, "a call that was given up leaves nothing behind"
    theirs.serve(lambda call: Answer("s", ["alive"]))
    assert await ours.call(NAME, PATH, NAME, "Do") == ["alive"]


async def test_a_value_that_does_not_fit_fails_where_it_is_said(ours: Connection) -> None:
    with pytest.raises(ValueError, match="int"):
        ours.emit(PATH, NAME, "Changed", "u", "text")
    await ours.flush()


async def test_signals_come_from_the_sender_that_was_meant(ours: Connection, theirs: Connection) -> None:
    heard: asyncio.Queue[object] = asyncio.Queue()
    subscription = await ours.subscribe(Match(sender=NAME, interface=NAME), heard.put_nowait)
    everything: asyncio.Queue[object] = asyncio.Queue()
    await ours.subscribe(Match(path_namespace="/org/example"), lambda s: everything.put_nowait(s.member))
    theirs.emit(PATH, NAME, "Changed", "s", "real")
    assert await eventually(heard) == Signal(theirs.name, PATH, NAME, "Changed", ["real"])
    ours.emit(PATH, NAME, "Forged", "s", "not theirs")
    # The bus keeps the order of one sender's signals alone: the other one waits until this one's has come.
    assert [await eventually(everything) for _ in range(2)] == ["Changed", "Forged"]
    theirs.emit("/org/examplary", NAME, "Elsewhere")
    theirs.emit(PATH, NAME, "Last")
    assert await eventually(everything) == "Last"
    assert [(await eventually(heard)).member for _ in range(2)] == ["Elsewhere", "Last"]
    await subscription.cancel()
    theirs.emit(PATH, NAME, "Unheard")
    assert await eventually(everything) == "Unheard"
    assert heard.empty()


async def test_what_a_handler_raises_does_not_stop_the_others(
    ours: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    heard: asyncio.Queue[object] = asyncio.Queue()

    def broken(_: Signal) -> None:
        raise RuntimeError("broken")

    await ours.subscribe(Match(interface=NAME), broken)
    await ours.subscribe(Match(interface=NAME), heard.put_nowait)
    ours.emit(PATH, NAME, "Changed")
    await eventually(heard)
    assert "Changed" in caplog.text


async def test_owners_come_and_go(ours: Connection, session_bus: str) -> None:
    owners: asyncio.Queue[object] = asyncio.Queue()
    subscription = await ours.watch_name(NAME, owners.put_nowait)
    assert await eventually(owners) == ""
    async with await Connection.open(address=session_bus) as other:
        assert await other.own(NAME)
        assert await other.own(NAME), "asking again is no failure"
        assert not await ours.own(NAME)
        assert await eventually(owners) == other.name == await ours.owner(NAME)
        await other._driver("ReleaseName", "s", NAME)
        assert await eventually(owners) == ""
        assert await ours.own(NAME)
        assert await eventually(owners) == ours.name
    await subscription.cancel()
    await ours._driver("ReleaseName", "s", NAME)
    await ours.flush()
    assert owners.empty()


async def test_file_descriptors_arrive_and_do_not_leak(ours: Connection, theirs: Connection) -> None:
    def serve(call: Call) -> Answer:
        reader, writer = os.pipe()
        os.write(writer, b"through")
        os.close(writer)
        return Answer("h", [0], (reader,))

    theirs.serve(serve)
    fd = (await ours.call(NAME, PATH, NAME, "Open"))[0]
    assert os.read(fd, 100) == b"through"
    assert not os.get_inheritable(fd)
    os.close(fd)
    # A caller that sends descriptors nobody asked for, and one that is answered too late, leave none behind.
    before = open_files()
    reader, writer = os.pipe()
    for _ in range(5):
        os.close((await ours.call(NAME, PATH, NAME, "Open", "h", 0, fds=(reader,)))[0])
        with pytest.raises(NoReply):
            await ours.call(NAME, PATH, NAME, "Open", timeout=0)
    await ours.flush()
    await theirs.flush()
    await ours.flush()
    os.close(reader)
    os.close(writer)
    assert open_files() == before


async def test_a_flood_longer_than_the_socket_is_written_whole(ours: Connection, theirs: Connection) -> None:
    theirs.serve(lambda call: Answer("ay", [b"x" * 3_000_000]))
    answers = await asyncio.gather(*(ours.call(NAME, PATH, NAME, "Big", timeout=30) for _ in range(4)))
    assert [len(answer[0]) for answer in answers] == [3_000_000] * 4
    for _ in range(2000):
        ours.emit(PATH, NAME, "Changed", "s", "y" * 500)
    await ours.flush(timeout=30)
    assert ours.connected


async def test_a_bus_that_dies_ends_every_wait(private_bus: PrivateBus) -> None:
    ours = await Connection.open(address=private_bus.address)
    theirs = await Connection.open(address=private_bus.address)
    await theirs.own(NAME)
    called = asyncio.Event()

    async def never(call: Call) -> Answer:
        called.set()
        await asyncio.Event().wait()
        raise AssertionError

    theirs.serve(never)
    waiting = asyncio.ensure_future(ours.call(NAME, PATH, NAME, "Do", timeout=60))
    await called.wait()
    private_bus.stop()
    with pytest.raises(BusGone):
        await waiting
    await asyncio.wait_for(ours.wait_closed(), 60)
    assert not ours.connected
    with pytest.raises(BusGone):
        await ours.call(NAME, PATH, NAME, "Do")
    ours.emit(PATH, NAME, "Unheard")
    await ours.close()
    await theirs.close()
    private_bus.start()
    async with await Connection.open(address=private_bus.address) as again:
        await again.flush()


async def test_connections_close_their_sockets(session_bus: str) -> None:
    gc.disable()
    try:
        before = open_files()
        for _ in range(10):
            await (await Connection.open(address=session_bus)).close()
        assert open_files() == before
    finally:
        gc.enable()


async def test_a_frozen_bus_is_given_up(private_bus: PrivateBus) -> None:
    ours = await Connection.open(address=private_bus.address)
    pid = private_bus._process.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(NoReply):
            await ours.flush(timeout=0.05)
        with pytest.raises(BusGone):
            await Connection.open(address=private_bus.address, timeout=0.05)
    finally:
        os.kill(pid, signal.SIGCONT)
    await ours.close()


@pytest.mark.parametrize("greeting", [b"", b"REJECTED EXTERNAL\r\n", b"garbage\r\n"])
async def test_a_bus_that_hangs_up_during_authentication(tmp_path: Path, greeting: bytes) -> None:
    where = tmp_path / "odd name, with comma"

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        await writer.drain()
        await reader.read(1)
        writer.close()

    server = await asyncio.start_unix_server(hang_up, where)
    async with server:
        escaped = str(where).replace(" ", "%20").replace(",", "%2c")
        with pytest.raises(BusGone):
            await asyncio.wait_for(Connection.open(address=f"unix:path={escaped}"), 60)


async def test_no_bus_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for address in (f"unix:path={tmp_path}/none", "tcp:host=localhost,port=1", "nonsense"):
        with pytest.raises(BusGone):
            await Connection.open(address=address)
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with pytest.raises(BusGone, match="no session bus"):
        session_address()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{tmp_path}/bus")
        assert session_address() == f"unix:path={tmp_path}/bus"
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:abstract=given")
    assert session_address() == "unix:abstract=given"


async def test_sessions_follow_one_another_with_longer_and_longer_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[object] = []
    script = iter([BusGone("none yet"), BusGone("none yet"), BusGone("none yet"), "up", RuntimeError("odd"), "end"])

    async def session(connected: Callable[[], None]) -> None:
        match next(script):
            case Exception() as error:
                raise error
            case "up":
                connected()
            case _:
                raise asyncio.CancelledError

    async def lost(been_there: bool) -> None:
        happened.append(been_there)

    async def sleep(seconds: float) -> None:
        happened.append(seconds)

    monkeypatch.setattr(reconnect.asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await stay_connected("x", session, lost=lost, first=1.0, most=2.0, never=8.0)
    assert happened == [False, 1.0, False, 2.0, False, 4.0, True, 1.0, True, 2.0]
