"""The clock: waking at a time, leaps, and the local time zone. (Nobody sets the machine's clock here.)"""

from __future__ import annotations

import asyncio
import os
import time
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from slowboat.edges import clock
from slowboat.edges.clock import ClockWatch, Zone


@pytest.fixture(params=["timerfd", "polling"])
def without(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "polling":
        monkeypatch.setattr(clock, "CLOCK_REALTIME", 4711)  # the kernel refuses a clock that it does not have
        monkeypatch.setattr(clock, "POLL", 0.05)
    return request.param


async def test_wakes_at_a_time(without: str) -> None:
    struck = asyncio.Event()
    watch = ClockWatch(struck.set, pytest.fail)
    watch.start()
    moment = time.time() + 0.2
    watch.wake_at(moment)
    async with asyncio.timeout(60):
        await struck.wait()
    assert time.time() >= moment
    struck.clear()
    watch.wake_at(time.time() - 100)
    async with asyncio.timeout(60):
        await struck.wait()
    watch.stop()


async def test_a_time_taken_back_does_not_wake(without: str) -> None:
    watch = ClockWatch(pytest.fail, pytest.fail)
    watch.start()
    watch.wake_at(time.time() + 0.1)
    watch.wake_at(None)
    await asyncio.sleep(0.3)
    watch.wake_at(1e18)
    await asyncio.sleep(0.1)
    watch.stop()


async def test_a_time_given_before_the_start_or_after_the_end(without: str) -> None:
    struck = asyncio.Event()
    watch = ClockWatch(struck.set, pytest.fail)
    watch.wake_at(time.time())
    await asyncio.sleep(0.1)
    assert not struck.is_set()
    watch.start()
    async with asyncio.timeout(60):
        await struck.wait()
    watch.stop()
    struck.clear()
    watch.wake_at(time.time())
    await asyncio.sleep(0.1)
    assert not struck.is_set()


async def test_a_leap_is_noticed_where_there_is_no_timerfd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "CLOCK_REALTIME", 4711)
    monkeypatch.setattr(clock, "POLL", 0.05)
    leapt = asyncio.Event()
    watch = ClockWatch(pytest.fail, leapt.set)
    watch.start()
    watch._drift -= 3600  # as if the machine had slept for an hour
    async with asyncio.timeout(60):
        await leapt.wait()
    leapt.clear()
    await asyncio.sleep(0.2)
    assert not leapt.is_set()
    watch.stop()


async def test_the_timer_is_closed() -> None:
    watch = ClockWatch()
    watch.start()
    fd = watch._fd
    assert fd is not None
    assert "timerfd" in str(Path(f"/proc/self/fd/{fd}").readlink())
    watch.stop()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_the_zone_is_read_anew_when_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TZ", raising=False)
    zone = Zone(tmp_path / "localtime")
    assert offset(zone, 0.0) == time.localtime(0).tm_gmtoff / 3600
    (tmp_path / "localtime").symlink_to("/usr/share/zoneinfo/Europe/Berlin")
    summer = 1_690_000_000.0
    assert offset(zone, summer) == 2
    (tmp_path / "localtime").unlink()
    (tmp_path / "localtime").symlink_to("/usr/share/zoneinfo/America/New_York")
    assert offset(zone, summer) == -4
    monkeypatch.setenv("TZ", ":Asia/Tokyo")
    assert zone.current() == ZoneInfo("Asia/Tokyo")
    monkeypatch.setenv("TZ", ":/usr/share/zoneinfo/Asia/Kathmandu")
    assert offset(zone, summer) == 5.75


@pytest.mark.parametrize("name", ["No/Where", "../../etc/passwd", "/dev/null", "/nonexistent", "CET-1CEST"])
def test_a_zone_that_cannot_be_read_is_the_c_librarys(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("TZ", name)
    time.tzset()
    try:
        now = time.time()
        assert offset(Zone(), now) == time.localtime(now).tm_gmtoff / 3600
    finally:
        monkeypatch.undo()
        time.tzset()


def offset(zone: Zone, moment: float) -> float:
    found = datetime.fromtimestamp(moment, zone.current()).utcoffset()
    assert found is not None
    return found.total_seconds() / 3600
