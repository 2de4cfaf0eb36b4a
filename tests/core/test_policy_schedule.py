"""The schedule: weekdays, midnight, and the nights in which the clock is put forward or back."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowboat.core.schedule import (
    Allowed,
    Period,
    Schedule,
    Window,
    allowed,
    cap_of,
    first_day,
    local_day,
    next_edge,
    next_opening,
    together,
    usage,
    worked_off,
)

BERLIN = ZoneInfo("Europe/Berlin")
CAIRO = ZoneInfo("Africa/Cairo")  # puts its clocks forward at midnight
ANYTHING, NOTHING = Allowed(), Allowed(0)
ZONES = [BERLIN, CAIRO, *map(ZoneInfo, ("UTC", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"))]


def at(zone: ZoneInfo, *when: int, fold: int = 0) -> float:
    return datetime(*when, tzinfo=zone, fold=fold).timestamp()


def test_a_window_over_midnight_belongs_to_the_day_it_begins() -> None:
    saturday_night = Schedule((Window(frozenset({5}), 22 * 60, 6 * 60, send=7),))
    assert allowed(saturday_night, at(BERLIN, 2023, 11, 18, 21, 59), BERLIN) == NOTHING
    assert allowed(saturday_night, at(BERLIN, 2023, 11, 18, 22, 0), BERLIN) == Allowed(7)
    assert allowed(saturday_night, at(BERLIN, 2023, 11, 19, 5, 59), BERLIN) == Allowed(7)
    assert allowed(saturday_night, at(BERLIN, 2023, 11, 19, 6, 0), BERLIN) == NOTHING
    assert allowed(saturday_night, at(BERLIN, 2023, 11, 18, 5, 0), BERLIN) == NOTHING


def test_until_midnight_and_the_whole_day() -> None:
    evening = Schedule((Window(start=20 * 60, end=1440),))
    assert allowed(evening, at(BERLIN, 2023, 11, 18, 23, 59), BERLIN) == ANYTHING
    assert allowed(evening, at(BERLIN, 2023, 11, 19, 0, 0), BERLIN) == NOTHING
    assert next_edge(Schedule((Window(),)), at(BERLIN, 2023, 11, 18), BERLIN) is None
    assert next_edge(Schedule(), at(BERLIN, 2023, 11, 18), BERLIN) is None


def test_the_hour_that_is_left_out() -> None:
    night = Schedule((Window(start=2 * 60, end=3 * 60),))
    leap = at(BERLIN, 2024, 3, 31, 3, 0)
    assert allowed(night, leap - 1, BERLIN) == NOTHING
    assert allowed(night, leap, BERLIN) == NOTHING
    assert next_edge(night, leap - 3600, BERLIN) == at(BERLIN, 2024, 4, 1, 2, 0)


def test_a_window_that_ends_in_the_hour_left_out_ends_with_the_leap() -> None:
    night = Schedule((Window(start=60, end=150),))
    leap = at(BERLIN, 2024, 3, 31, 3, 0)
    assert next_edge(night, leap - 1800, BERLIN) == leap
    assert allowed(night, leap, BERLIN) == NOTHING


def test_the_hour_that_comes_twice() -> None:
    night = Schedule((Window(start=2 * 60, end=3 * 60),))
    first = at(BERLIN, 2023, 10, 29, 2, 0)
    assert next_edge(night, first - 60, BERLIN) == first
    assert next_edge(night, first, BERLIN) == first + 7200
    assert allowed(night, first + 7199, BERLIN) == ANYTHING


def test_a_window_that_ends_in_the_hour_that_comes_twice_ends_twice() -> None:
    night = Schedule((Window(start=60, end=150),))
    edges = [at(BERLIN, 2023, 10, 29, 1, 30)]
    for _ in range(3):
        edge = next_edge(night, edges[-1], BERLIN)
        assert edge is not None
        edges.append(edge)
    first_end = at(BERLIN, 2023, 10, 29, 2, 30)
    assert edges[1:] == [first_end, first_end + 1800, first_end + 3600]


def test_all_hold_together() -> None:
    assert together(()) == ANYTHING
    assert together(("go", "spare")) == Allowed(None, spare=True)
    assert together(("go", 5, "spare", 9)) == Allowed(5, spare=True)
    assert together((5, "never")) == together((5, 0)) == together((-3,)) == NOTHING
    assert [cap_of(send) for send in ("go", "spare", "never", 5, -5)] == [None, None, 0, 5, 0]


def test_overlapping_windows_and_what_is_outside() -> None:
    schedule = Schedule((Window(send=9), Window(start=600, end=660, send=3)), otherwise=1)
    assert allowed(schedule, at(BERLIN, 2023, 11, 18, 10, 30), BERLIN) == Allowed(3)
    assert allowed(schedule, at(BERLIN, 2023, 11, 18, 11, 0), BERLIN) == Allowed(9)
    below = Schedule((Window(send=9), Window(start=600, end=660, send="spare")))
    assert allowed(below, at(BERLIN, 2023, 11, 18, 10, 30), BERLIN) == Allowed(9, spare=True)
    assert next_edge(below, at(BERLIN, 2023, 11, 18, 10, 30), BERLIN) == at(BERLIN, 2023, 11, 18, 11, 0)
    assert allowed(Schedule((Window(frozenset({0})),), otherwise=1), at(BERLIN, 2023, 11, 18), BERLIN) == Allowed(1)


def test_opening_looks_past_edges_that_stay_shut() -> None:
    mondays = Schedule((Window(frozenset({0}), 600, 660), Window(frozenset({6}), 0, 60, send="never")))
    assert next_opening(mondays, at(BERLIN, 2023, 11, 18), BERLIN) == at(BERLIN, 2023, 11, 20, 10, 0)
    assert next_opening(Schedule((Window(send="never"),)), at(BERLIN, 2023, 11, 18), BERLIN) is None


def test_days_and_months_end_by_the_clock_on_the_wall() -> None:
    assert local_day(at(BERLIN, 2023, 12, 31, 23, 59), BERLIN) == "2023-12-31"
    assert Period.MONTH.end(at(BERLIN, 2023, 12, 31, 23, 59), BERLIN) == at(BERLIN, 2024, 1, 1)
    assert Period.DAY.end(at(BERLIN, 2023, 10, 29), BERLIN) - at(BERLIN, 2023, 10, 29) == 25 * 3600
    leap = datetime(2024, 4, 25, 22, 0, tzinfo=UTC).timestamp()  # 2024-04-26 00:00 does not exist in Cairo
    assert Period.DAY.end(leap - 60, CAIRO) == leap
    assert local_day(leap, CAIRO) == "2024-04-26"


@pytest.mark.parametrize("now", [float("nan"), float("inf"), float("-inf"), -1e18, 1e18, 0.0])
def test_no_calendar_reaches_there_and_nothing_breaks(now: float) -> None:
    schedule = Schedule((Window(frozenset({1}), 60, 120),))
    for zone in ZONES:
        allowed(schedule, now, zone)
        next_edge(schedule, now, zone)
        local_day(now, zone)
        for period in Period:
            period.end(now, zone)


windows = st.builds(
    Window,
    st.frozensets(st.integers(0, 6), min_size=1),
    st.integers(0, 1439),
    st.integers(1, 1440),
    st.sampled_from(["go", "spare", "never", 1, 2]),
)
schedules = st.builds(Schedule, st.lists(windows, min_size=1, max_size=3).map(tuple), st.sampled_from(["never", 5]))
leaps = st.sampled_from([1711846800, 1698541200, 1714082400, 1699164000, 1712415600])  # of the zones above
times = st.one_of(st.integers(1_600_000_000, 1_800_000_000), st.builds(int.__add__, leaps, st.integers(-90000, 90000)))


@given(schedules, times, st.sampled_from(ZONES))
def test_the_next_edge_is_neither_late_nor_early(schedule: Schedule, now: int, zone: ZoneInfo) -> None:
    present = allowed(schedule, now, zone)
    edge = next_edge(schedule, now, zone)
    end = now + 8 * 86400 if edge is None else int(edge)
    step = max(60, (end - now) // 400)
    for moment in (*range(now, end, step), end - 1):
        if moment > now:
            assert allowed(schedule, moment, zone) == present
    if edge is not None:
        assert edge > now
        assert allowed(schedule, edge, zone) != present


@given(times, st.sampled_from(ZONES))
def test_a_period_ends_where_the_next_begins(now: int, zone: ZoneInfo) -> None:
    for period in Period:
        end = period.end(now, zone)
        assert end > now

        def first(moment: float, period: Period = period) -> date:
            return period.first(date.fromisoformat(local_day(moment, zone)))

        assert first(end - 1) == first(now)
        assert first(end) != first(now)


@given(
    st.dictionaries(st.dates(date(2026, 1, 1), date(2026, 4, 1)), st.integers(0, 99)),
    st.dates(date(2026, 2, 1), date(2026, 3, 31)),
)
def test_each_period_counts_its_own_days(by_day: dict[date, int], today: date) -> None:
    found = usage(by_day, today)
    assert found[Period.DAY] == by_day.get(today, 0)
    assert found[Period.MONTH] == sum(count for day, count in by_day.items() if day.month == today.month)
    assert all(period.first(today) >= first_day(today) for period in Period)


NIGHTS = Schedule((Window(frozenset(range(7)), 23 * 60, 6 * 60, send=None),), otherwise=0)
HOUR = 3600.0


def test_what_takes_ten_hours_ends_in_the_second_night_where_only_nights_count() -> None:
    evening = at(BERLIN, 2023, 11, 18, 20, 0)
    assert worked_off(NIGHTS, evening, 7 * HOUR, 1e6, BERLIN) == at(BERLIN, 2023, 11, 19, 6, 0)
    assert worked_off(NIGHTS, evening, 10 * HOUR, 1e6, BERLIN) == at(BERLIN, 2023, 11, 20, 2, 0)
    assert worked_off(Schedule(), evening, 10 * HOUR, 1e6, BERLIN) == evening + 10 * HOUR


def test_a_slower_hour_counts_for_as_much_as_goes_in_it() -> None:
    days = Schedule((Window(frozenset(range(7)), 8 * 60, 20 * 60, send=500_000),), otherwise=None)
    morning = at(BERLIN, 2023, 11, 18, 8, 0)
    assert worked_off(days, morning, 7 * HOUR, 1e6, BERLIN) == at(BERLIN, 2023, 11, 18, 21, 0)


def test_beyond_the_days_looked_ahead_each_is_as_long_as_the_others_and_never_is_told_as_such() -> None:
    evening = at(BERLIN, 2023, 11, 18, 20, 0)
    months = worked_off(NIGHTS, evening, 700 * HOUR, 1e6, BERLIN)
    assert months - evening == pytest.approx(100 * 24 * HOUR, rel=0.1)
    never = Schedule((Window(frozenset({2}), 8 * 60, 9 * 60, send=0),), otherwise=0)
    assert worked_off(never, evening, HOUR, 1e6, BERLIN) == 0.0


@given(
    st.sampled_from(ZONES),
    st.integers(0, 24 * 60 - 1),
    st.integers(0, 24 * 60 - 1),
    st.sampled_from([0, 1000, None]),
    st.floats(0, 1e7),
)
def test_it_never_ends_before_it_could_without_a_schedule(zone, start, end, send, seconds) -> None:
    plan = Schedule((Window(frozenset({0, 3}), start, end, send=send),), otherwise=2000)
    begins = at(zone, 2023, 10, 27, 12)
    ends = worked_off(plan, begins, seconds, 2500.0, zone)
    assert ends >= begins + seconds - 1
