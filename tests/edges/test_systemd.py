"""What we tell a service manager, received by a socket as systemd's."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING

import pytest

from slowboat.edges.systemd import ServiceManager

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["path", "abstract"])
def listening(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as end:
        name = f"slowboat-test-{os.getpid()}"
        end.bind(f"\0{name}" if request.param == "abstract" else str(tmp_path / "notify"))
        yield end, f"@{name}" if request.param == "abstract" else str(tmp_path / "notify")


def received(end: socket.socket) -> list[str]:
    messages = []
    while True:
        try:
            messages.append(end.recv(4096).decode())
        except BlockingIOError:
            return messages


def test_the_manager_hears_what_we_say(listening: tuple[socket.socket, str]) -> None:
    end, address = listening
    manager = ServiceManager({"NOTIFY_SOCKET": address})
    manager.ready()
    manager.status("sending\nREADY=0")
    manager.status("sending\nREADY=0")
    manager.status("waiting: offline")
    manager.stopping()
    assert received(end) == ["READY=1", "STATUS=sending READY=0", "STATUS=waiting: offline", "STOPPING=1"]


def test_last_words_are_one_line_that_is_short_enough_to_be_heard(listening: tuple[socket.socket, str]) -> None:
    end, address = listening
    ServiceManager({"NOTIFY_SOCKET": address}).ended("config.toml, line 1:\n" + "ü" * 5000)
    (told,) = received(end)
    assert told.startswith("STATUS=Ended: config.toml, line 1: üü")
    assert len(told.encode()) < 4096


def test_a_name_that_is_no_utf8_is_told_all_the_same(listening: tuple[socket.socket, str]) -> None:
    end, address = listening
    ServiceManager({"NOTIFY_SOCKET": address}).status("sending duplicity-\udcff.vol1 \ud800")
    assert received(end) == ["STATUS=sending duplicity-?.vol1 ?"]


async def test_the_watchdog_hears_that_the_loop_turns(listening: tuple[socket.socket, str]) -> None:
    end, address = listening
    # WATCHDOG_PID of a wrapper: it must not silence us.
    manager = ServiceManager({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "20000", "WATCHDOG_PID": "1"})
    assert manager.watched
    alive = asyncio.create_task(manager.run())
    heard: list[str] = []
    async with asyncio.timeout(60):
        while len(heard) < 3:
            await asyncio.sleep(0.005)
            heard += received(end)
    assert set(heard) == {"WATCHDOG=1"}
    alive.cancel()


def test_it_tells_twice_in_the_time_the_watchdog_waits() -> None:
    assert ServiceManager({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "120000000"})._alive_every == 60


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"NOTIFY_SOCKET": "/run/nobody-listens", "WATCHDOG_USEC": ""},
        {"NOTIFY_SOCKET": "vsock:2:1234"},
        {"WATCHDOG_USEC": "1000"},
        {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "-5"},
    ],
)
async def test_where_nobody_listens_nothing_happens(environment: dict[str, str]) -> None:
    manager = ServiceManager(environment)
    manager.ready()
    manager.status("alone")
    manager.stopping()
    assert not manager.watched
    await asyncio.wait_for(manager.run(), 60)


def test_programs_that_we_start_do_not_speak_for_us(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1"}
    for key, value in given.items():
        monkeypatch.setenv(key, value)
    ServiceManager()
    assert not given.keys() & os.environ.keys()
