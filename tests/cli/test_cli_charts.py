"""Charts for any numbers: what they show, and that nothing makes them fail or tell more than there is."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from slowboat.cli import charts, watch_view
from slowboat.core.words import Activity, ManagerReport, MigrationReport

NOW = 1795000000.0  # 2026-11-18 12:06:40 in Berlin
DAY = 86400
HOME = MigrationReport(
    "home",
    activity=Activity.SENDING,
    bytes_total=1000,
    bytes_done=500,
    bytes_in_flight=100,
    metadata_total=10,
    metadata_done=10,
    volumes_total=40,
    volumes_done=20,
    volumes_refused=2,
)


def printed(renderable, width=100):
    out = io.StringIO()
    Console(file=out, width=width, highlight=False).print(renderable)
    return out.getvalue()


def test_a_sparkline_shows_the_newest_values_and_nothing_as_nothing():
    assert charts.sparkline([9, 0, 1, 4, 8], 4) == " ▂▅█"
    assert charts.sparkline([0, 0], 10) == "  "
    assert charts.sparkline([], 10) == ""
    assert charts.sparkline([5], 10, top=10) == "▅"


def test_a_bar_shows_each_part_that_has_begun_and_is_full_only_at_the_end():
    assert charts.bar([(5, ""), (2, "")], 10, 10).plain == "███████░░░"
    assert charts.bar([(0.01, "")], 10, 10).plain == "█░░░░░░░░░"
    assert charts.bar([(9.99, "")], 10, 10).plain == "█████████░"
    assert charts.bar([(10, "")], 10, 10).plain == "██████████"
    assert charts.bar([(0, "")], 10, 10).plain == "░░░░░░░░░░"


def test_the_days_are_local_and_today_is_the_last():
    midnight = 1794956400  # 2026-11-18 00:00 in Berlin
    days = charts.by_day([(midnight - 900, 3), (midnight, 5), (NOW - 60, 7), (NOW - 30 * DAY, 11)], NOW)
    assert len(days) == charts.DAYS
    assert list(days.values())[-2:] == [3, 12]
    told = printed(charts.traffic([(midnight, 5_000_000), (NOW - 900, 2_500_000)], NOW))
    assert "Wed 18 Nov" in told
    assert "7.5 MB" in told
    assert "at most 1.4 kB/s" in told


def test_where_nothing_was_sent_there_is_no_chart():
    assert charts.traffic([], NOW) is None
    assert charts.traffic([(NOW - 30 * DAY, 5)], NOW) is None


def test_the_hours_are_rates():
    hours = charts.by_hour([(NOW - 60, 3600), (NOW - 3700, 7200), (NOW + 60, 99), (NOW - 25 * 3600, 99)], NOW)
    assert hours[-2:] == [2.0, 1.0]
    assert sum(hours) == 3.0


def test_the_watched_page_has_bars_by_phase_and_the_line_as_it_was():
    seen = watch_view.Seen()
    report = ManagerReport("1", activity=Activity.SENDING, migrations={"home": HOME}, rate=512_000, added_delay=0.025)
    for second in range(5):
        seen.add(report, NOW + second)
    seen.add(report, NOW + 4.5)
    assert len(seen.rates) == 5
    told = printed(watch_view.page(report, seen, NOW))
    assert "10 of 10" in told
    assert "20 of 40" in told
    assert "100 bytes on the way" in told
    assert "25 ms at the line" in told
    assert "█████" in told
    assert watch_view.FOOTER in told


def test_what_is_done_has_no_bars_and_what_nobody_measured_no_chart():
    done = MigrationReport("home", activity=Activity.DONE, bytes_total=5, bytes_done=5)
    report = ManagerReport("1", activity=Activity.DONE, migrations={"home": done})
    seen = watch_view.Seen()
    seen.add(report, NOW)
    told = printed(watch_view.page(report, seen, NOW))
    assert "Metadata" not in told
    assert "Delay" not in told


numbers = st.integers(-(2**64), 2**64)
amounts = st.floats(allow_nan=False) | numbers


@given(st.lists(amounts, max_size=20), st.integers(-3, 50), amounts)
def test_any_sparkline_is_as_long_as_it_may_be(values, width, top):
    assert len(charts.sparkline(values, width, top)) == min(len(values), max(1, width))


@given(st.lists(st.tuples(amounts, st.just("")), max_size=5), amounts, st.integers(-3, 80))
def test_any_bar_is_as_long_as_it_shall_be(parts, total, width):
    assert len(charts.bar(parts, total, width).plain) == max(1, width)


@given(st.lists(st.tuples(st.floats(), numbers), max_size=10), st.floats(), st.integers(40, 120))
def test_any_traffic_renders(slots, now, width):
    chart = charts.traffic(slots, now)
    assert chart is None or printed(chart, width).replace("\n", "").isprintable()


@given(st.builds(MigrationReport, st.just("x"), bytes_total=numbers, bytes_done=numbers, bytes_in_flight=numbers,
                 metadata_done=numbers, metadata_total=numbers, volumes_done=numbers, volumes_total=numbers,
                 volumes_refused=numbers), st.integers(40, 120))  # fmt: skip
def test_any_page_renders(migration, width):
    seen = watch_view.Seen()
    report = ManagerReport("1", activity=Activity.SENDING, migrations={"x": migration}, rate=5)
    seen.add(report, NOW)
    assert printed(watch_view.page(report, seen, NOW), width).replace("\n", "").isprintable()
