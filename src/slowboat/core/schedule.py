"""The schedule: how fast at which hour of which weekday, by the clock on the wall.

Knows windows of local time, midnight, and the change to and from summer time; must not know which clock or
which place it is (both are given), nor what else holds the sending back.

A window belongs to the day on which it begins: Saturday 22:00 to 06:00 ends on Sunday morning. Windows are
compared with what the clock on the wall shows, so that one from 02:00 to 03:00 is skipped in the night in
which that hour is left out, and is open for two hours in the night in which it comes twice.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import tzinfo

Send = int | Literal["go", "spare", "never"]
"""How fast: a cap in bytes per second, "go" for no cap, "spare" for what nobody else uses, or "never"."""

MINUTES_A_DAY = 24 * 60
_LATEST = datetime(9000, 1, 1, tzinfo=UTC).timestamp()
_HORIZON = 9  # days to look ahead: a week, and room for midnight and the time zone


@dataclass(frozen=True, slots=True)
class Window:
    """Hours of some weekdays.

    Attributes:
        days: the weekdays on which it begins, Monday is 0.
        start: its first minute, counted from midnight, 0 to 1439.
        end: the minute at which it is over, 1 to 1440; at or before `start` means on the next day.
        send: how fast within it.
    """

    days: frozenset[int] = frozenset(range(7))
    start: int = 0
    end: int = MINUTES_A_DAY
    send: Send = "go"

    def holds(self, weekday: int, minute: int) -> bool:
        """Whether the clock on the wall, at `minute` of `weekday`, is within this window."""
        if self.start < self.end:
            return weekday in self.days and self.start <= minute < self.end
        begun_today = weekday in self.days and minute >= self.start
        begun_yesterday = (weekday - 1) % 7 in self.days and minute < self.end
        return begun_today or begun_yesterday


@dataclass(frozen=True, slots=True)
class Schedule:
    """Windows, and what holds outside them; without a window there is no schedule and `otherwise` has no say.

    Where windows overlap, each of them holds: the lowest rate, and below it only the spare where one says so.
    """

    windows: tuple[Window, ...] = ()
    otherwise: Send = "never"


ALWAYS = Schedule()
"""No schedule."""


class Allowed(NamedTuple):
    """What a schedule allows: the most bytes per second (None: no cap), and whether only the spare below it."""

    cap: int | None = None
    spare: bool = False


def cap_of(send: Send) -> int | None:
    """The most bytes per second that `send` allows; None: no cap ("spare" sets none, it moves below one)."""
    if isinstance(send, int):
        return max(0, send)
    return 0 if send == "never" else None


def together(sends: Sequence[Send]) -> Allowed:
    """What is left where all of them hold at once."""
    caps = [cap for cap in map(cap_of, sends) if cap is not None]
    return Allowed(min(caps, default=None), "spare" in sends)


def at_wall(now: float, zone: tzinfo) -> datetime:
    """The local time at `now` (seconds since the epoch); beyond the calendar's ends, the nearest it has."""
    tame = min(max(now, 86400.0), _LATEST) if math.isfinite(now) else 86400.0
    return datetime.fromtimestamp(tame, zone)


def allowed(schedule: Schedule, now: float, zone: tzinfo) -> Allowed:
    """What the schedule allows at `now` (seconds since the epoch) in `zone`."""
    if not schedule.windows:
        return Allowed()
    wall = at_wall(now, zone)
    minute = wall.hour * 60 + wall.minute
    within = [window.send for window in schedule.windows if window.holds(wall.weekday(), minute)]
    return together(within or [schedule.otherwise])


def next_edge(schedule: Schedule, now: float, zone: tzinfo) -> float | None:
    """When the schedule will next allow something else, seconds since the epoch; None where never."""
    present = allowed(schedule, now, zone)
    return next((edge for edge in _edges(schedule, now, zone) if allowed(schedule, edge, zone) != present), None)


def next_opening(schedule: Schedule, now: float, zone: tzinfo) -> float | None:
    """When the schedule will next allow anything at all, seconds since the epoch; None where never."""
    return next((edge for edge in _edges(schedule, now, zone) if allowed(schedule, edge, zone).cap != 0), None)


def worked_off(schedule: Schedule, begins: float, seconds: float, rate: float, zone: tzinfo) -> float:
    """When the schedule will have allowed so many seconds of work.

    Beyond the days that it looks ahead, each of them counts like those on average.

    Args:
        begins: when the work begins, seconds since the epoch.
        seconds: how long it takes at `rate`, bytes per second.

    Returns:
        Seconds since the epoch; 0.0 where the schedule never allows any of it.
    """
    moment, left = begins, seconds
    edges = _edges(schedule, begins, zone)
    for edge in edges:
        share = _share(allowed(schedule, moment, zone).cap, rate)
        if left <= (edge - moment) * share:
            return moment + left / share if left else moment
        left -= (edge - moment) * share
        moment = edge
    if not edges:
        return begins + left
    done = seconds - left
    return moment + left * (moment - begins) / done if done > 0 else 0.0


def _share(cap: int | None, rate: float) -> float:
    """How much of a rate a cap leaves, from 0.0 to 1.0."""
    return 1.0 if cap is None or cap >= rate else max(0, cap) / rate


def _edges(schedule: Schedule, now: float, zone: tzinfo) -> list[float]:
    """Every moment of the coming days at which a window may begin or end, in order."""
    if not schedule.windows:
        return []
    minutes = {minute % MINUTES_A_DAY for window in schedule.windows for minute in (window.start, window.end)}
    today = at_wall(now, zone).date()
    found: set[float] = set()
    for day in (today + timedelta(days=count) for count in range(-1, _HORIZON)):
        found.update(_leaps(day, zone))
        for minute in minutes:
            found.update(_moments(day, minute, zone))
    return sorted(moment for moment in found if moment > now)


def _moments(day: date, minute: int, zone: tzinfo) -> Iterator[float]:
    """When the clock shows that minute of that day: once, or twice where an hour comes again."""
    for fold in (0, 1):
        wall = datetime.combine(day, time(minute // 60, minute % 60, fold=fold), tzinfo=zone)
        yield wall.timestamp()


def _leaps(day: date, zone: tzinfo) -> Iterator[float]:
    """The moments of that day (UTC) at which the clock on the wall is put forward or back."""
    start = datetime.combine(day, time(0), tzinfo=UTC).timestamp()
    for hour in range(24):  # zones that change twice within an hour do not exist
        early, late = start + hour * 3600, start + (hour + 1) * 3600
        if _offset(early, zone) == _offset(late, zone):
            continue
        while late - early > 1:
            middle = (early + late) // 2
            early, late = (middle, late) if _offset(middle, zone) == _offset(early, zone) else (early, middle)
        yield late


def _offset(moment: float, zone: tzinfo) -> timedelta | None:
    return datetime.fromtimestamp(moment, zone).utcoffset()


class Period(enum.Enum):
    """What a budget is counted by, in whole local days; the value is its word."""

    DAY = "day"
    MONTH = "month"

    @property
    def every(self) -> str:
        """For the name of a budget: "daily"."""
        return {Period.DAY: "daily", Period.MONTH: "monthly"}[self]

    def first(self, day: date) -> date:
        """The first day of the period that `day` is in."""
        match self:
            case Period.DAY:
                return day
            case Period.MONTH:
                return day.replace(day=1)

    def following(self, day: date) -> date:
        """The first day of the next period."""
        match self:
            case Period.DAY:
                return day + timedelta(days=1)
            case Period.MONTH:
                return (day.replace(day=1) + timedelta(days=32)).replace(day=1)

    def end(self, now: float, zone: tzinfo) -> float:
        """The local midnight at which the next period begins, seconds since the epoch."""
        return _midnight(self.following(at_wall(now, zone).date()), zone)


Usage = Mapping[Period, int]
"""Bytes sent in the present period of each kind, failed attempts included; missing is nothing."""


def usage(bytes_by_day: Mapping[date, int], today: date) -> Usage:
    """What was sent in each period that `today` is in, from the bytes of single days."""
    return {
        period: sum(
            count for day, count in bytes_by_day.items() if period.first(today) <= day < period.following(today)
        )
        for period in Period
    }


def first_day(today: date) -> date:
    """The first day that counts for any of the present periods."""
    return min(period.first(today) for period in Period)


def local_day(now: float, zone: tzinfo) -> str:
    """The local day of `now`, as "2026-11-22"."""
    return at_wall(now, zone).date().isoformat()


def _midnight(day: date, zone: tzinfo) -> float:
    """Where a change to summer time leaves midnight out, this is the moment of that change."""
    return datetime.combine(day, time(0), tzinfo=zone).timestamp()
