"""The clock: the local time zone, and waking when the clock on the wall says so, also after sleep or a leap.

Knows Linux's timerfd and where the time zone is written; must not know what happens at a time.

asyncio sleeps by a clock that stands still while the machine sleeps and that nobody can set; what the user means by
"until 18:00" is the clock on the wall. A timerfd on that clock fires at its time and, with TFD_TIMER_CANCEL_ON_SET, as
soon as the clock is set or the machine wakes (https://man7.org/linux/man-pages/man2/timerfd_create.2.html). Until then
it costs nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import struct
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from slowboat.edges.libc import UNAVAILABLE, call

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import tzinfo

log = logging.getLogger(__name__)

CLOCK_REALTIME = 0
TFD_NONBLOCK, TFD_CLOEXEC = os.O_NONBLOCK, os.O_CLOEXEC
TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET = 1, 2  # linux/timerfd.h
FAR = 2**31 - 1  # seconds since the epoch (2038): later than any real time to wake at, and representable everywhere

POLL = 60.0
"""Seconds between looks for a leap where there is no timerfd."""
LEAP = 5.0
"""Seconds by which the two clocks must have drifted apart to be called a leap."""


class ClockWatch:
    """Wakes at a time of the clock on the wall (`wake_at`), and at every leap, from `start` to `stop`.

    `on_time` is called when the time has come; `on_leap` when the clock was set or the machine has slept, after which
    every time that was worked out before is to be worked out again.
    """

    def __init__(self, on_time: Callable[[], None] = lambda: None, on_leap: Callable[[], None] = lambda: None) -> None:
        """Does nothing until `start`; both may be set later."""
        self.on_time = on_time
        self.on_leap = on_leap
        self._fd: int | None = None
        self._at: float | None = None
        self._handle: asyncio.TimerHandle | None = None
        self._drift = 0.0
        self._running = False

    def start(self) -> None:
        """Begins to watch. Never raises."""
        self._running = True
        self._drift = _drift()
        try:
            self._fd = _timerfd()
        except UNAVAILABLE as error:
            log.info("no timerfd (%s): looking for leaps of the clock every %g s", error, POLL)
        else:
            asyncio.get_running_loop().add_reader(self._fd, self._fired)
        self._arm()

    def stop(self) -> None:
        """Lets go of the timer."""
        self._running = False
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        fd, self._fd = self._fd, None
        if fd is not None:
            asyncio.get_running_loop().remove_reader(fd)
            os.close(fd)

    def wake_at(self, moment: float | None) -> None:
        """Wakes at `moment` (seconds since the epoch) and no longer at an earlier one given; None: not at all."""
        if moment != self._at:
            self._at = moment
            self._arm()

    def _arm(self) -> None:
        if not self._running:
            return
        if self._fd is not None:
            moment = FAR if self._at is None else min(max(self._at, 1.0), FAR)
            _set(self._fd, moment)
            return
        if self._handle is not None:
            self._handle.cancel()
        delay = POLL if self._at is None else min(POLL, max(0.0, self._at - time.time()))
        self._handle = asyncio.get_running_loop().call_later(delay, self._polled)

    def _fired(self) -> None:
        assert self._fd is not None
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return
        except OSError:  # ECANCELED: the clock was set
            self._leapt()
            return
        self._struck()

    def _polled(self) -> None:
        if abs(_drift() - self._drift) > LEAP:
            self._leapt()
        elif self._at is not None and time.time() >= self._at:
            self._struck()
        else:
            self._arm()

    def _struck(self) -> None:
        self._at = None
        self._arm()
        self.on_time()

    def _leapt(self) -> None:
        self._drift = _drift()
        self._arm()
        self.on_leap()


class Zone:
    """The local time zone, read anew when it was changed.

    Args:
        file: where it is written.
        every: seconds for which the file is not looked at again: it is asked for with every request.
    """

    def __init__(self, file: Path = Path("/etc/localtime"), every: float = 0.0) -> None:
        self._file = file
        self._every = every
        self._until = 0.0
        self._read: tuple[object, tzinfo] | None = None

    def current(self) -> tzinfo:
        """The zone that $TZ names, else the one in /etc/localtime, else the C library's offset of now. Never raises."""
        now = time.monotonic()
        if self._read is not None and now < self._until:
            return self._read[1]
        self._until = now + self._every
        name = os.environ.get("TZ", "").lstrip(":")
        try:
            stamp = name or (self._file.stat().st_mtime_ns, self._file.stat().st_ino)
            if self._read is None or self._read[0] != stamp:
                self._read = (stamp, self._zone(name))
        except (OSError, ValueError, KeyError):  # no such file, no such zone, none of ours ("CET-1CEST")
            return datetime.now().astimezone().tzinfo or UTC
        return self._read[1]

    def _zone(self, name: str) -> tzinfo:
        if name and not name.startswith("/"):
            return ZoneInfo(name)
        with (Path(name) if name else self._file).open("rb") as file:
            return ZoneInfo.from_file(file)


def _drift() -> float:
    """How far the clock on the wall is from the one that only ever runs; another value means that one of them leapt."""
    return time.time() - time.monotonic()


def _timerfd() -> int:
    """A timer on the clock on the wall; glibc has had it since 2.8, Python itself has it from 3.13 on."""
    return call("timerfd_create", CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC)


def _set(timer: int, moment: float) -> None:
    """Lets the timer fire once at `moment` (seconds since the epoch), and at a leap of the clock."""
    setting = struct.pack("llll", 0, 0, int(moment), int(moment % 1 * 1e9))  # a struct itimerspec
    call("timerfd_settime", timer, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, setting, None)
