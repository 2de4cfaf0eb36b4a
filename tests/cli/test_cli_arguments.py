"""What people type, and what is refused because it could mean two things."""

from __future__ import annotations

import contextlib
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowboat.cli import arguments

NOW = 1795000000.0  # 2026-11-18 12:06:40 in Berlin


def at(text, zone="+01:00"):
    return datetime.fromisoformat(text + zone).timestamp()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30min", 1800), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("1.5h", 5400), ("2D", 172800)],
)
def test_spans(text, seconds):
    assert arguments.span(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "h", "0h", "0.0s", "-2h", "2 hours", "2hx", "400d", "1e3s", "two"])
def test_what_is_no_span(text):
    with pytest.raises(arguments.NotUnderstood):
        arguments.span(text)


@pytest.mark.parametrize(
    ("words", "until", "name"),
    [
        ([], 0.0, ""),
        (["laptop"], 0.0, "laptop"),
        (["2h"], NOW + 7200, ""),
        (["2h", "laptop"], NOW + 7200, "laptop"),
        (["until", "18:00"], at("2026-11-18 18:00"), ""),
        (["until", "07:30"], at("2026-11-19 07:30"), ""),
        (["until", "12:06"], at("2026-11-19 12:06"), ""),
        (["until", "18:00", "laptop"], at("2026-11-18 18:00"), "laptop"),
        (["until", "2026-11-24"], at("2026-11-24 00:00"), ""),
        (["until", "2026-11-24", "18:00", "laptop"], at("2026-11-24 18:00"), "laptop"),
        (["until", "2026-11-24 18:00"], at("2026-11-24 18:00"), ""),
        (["2hdd"], 0.0, "2hdd"),
    ],
)
def test_pauses(words, until, name):
    assert arguments.pause(words, NOW) == (until, name)


@pytest.mark.parametrize(
    "words",
    [
        ["until"],
        ["until", "soon"],
        ["until", "25:00"],
        ["until", "12:60"],
        ["until", "2026-11-17"],
        ["until", "2031-01-01"],
        ["until", "0001-01-01"],
        ["400d"],
        ["2h", "laptop", "desktop"],
        ["2", "h"],
    ],
)
def test_what_is_no_pause(words):
    with pytest.raises(arguments.NotUnderstood):
        arguments.pause(words, NOW)


def test_a_clock_time_is_kept_across_the_change_to_winter_time():
    evening_before = at("2026-10-24 20:00", "+02:00")
    assert arguments.pause(["until", "08:00"], evening_before)[0] == at("2026-10-25 08:00")
    assert at("2026-10-25 08:00") - evening_before == 13 * 3600


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("500k", 500_000),
        ("500kB", 500_000),
        ("500 kB/s", 500_000),
        ("1.5M", 1_500_000),
        ("4Mbit", 500_000),
        ("4mbit/s", 500_000),
        ("4Mbps", 500_000),
        ("64KiB/s", 65536),
        ("off", 0),
        ("OFF", 0),
    ],
)
def test_limits(text, rate):
    assert arguments.limit(text) == (rate, "")


@pytest.mark.parametrize(("text", "mode"), [("spare", "spare"), ("go", "go"), (" Spare", "spare"), ("GO", "go")])
def test_modes(text, mode):
    assert arguments.limit(text) == (0, mode)


@pytest.mark.parametrize("text", ["500kb", "4mb/s"])
def test_bits_and_bytes_are_not_guessed(text):
    with pytest.raises(arguments.NotUnderstood, match="mean bits or bytes"):
        arguments.limit(text)


@pytest.mark.parametrize(
    "text",
    ["0", "0.0", "500", "-5k", "k", "", "500x", "0k", "0.1k", "900000000G", "spare 500k", "gone", ".", "off please"],
)
def test_what_is_no_limit(text):
    with pytest.raises(arguments.NotUnderstood):
        arguments.limit(text)


@given(st.text())
def test_any_text_is_understood_or_refused(text):
    for parse in (
        arguments.span,
        arguments.limit,
        lambda one: arguments.pause([one], NOW),
        lambda one: arguments.point(one, NOW),
        lambda one: arguments.since(one, NOW),
    ):
        with contextlib.suppress(arguments.NotUnderstood):
            parse(text)


@given(st.text())
def test_a_limit_that_is_understood_is_a_sensible_one(text):
    try:
        rate, mode = arguments.limit(text)
    except arguments.NotUnderstood:
        return
    assert rate == 0 or (1000 <= rate <= 10**12 and not mode)


@given(st.lists(st.sampled_from(["until", "2h", "18:00", "laptop", "2026-11-24", "x"]), max_size=4))
def test_a_pause_that_is_understood_ends_later_or_when_told(words):
    try:
        until, _ = arguments.pause(words, NOW)
    except arguments.NotUnderstood:
        return
    assert until == 0.0 or NOW < until <= NOW + arguments.LONGEST


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("3h", NOW - 3 * 3600),
        ("2d", NOW - 2 * 86400),
        ("today", at("2026-11-18T00:00")),
        ("Yesterday", at("2026-11-17T00:00")),
        ("2026-11-10", at("2026-11-10T00:00")),
        ("2026-11-10 18:00", at("2026-11-10T18:00")),
    ],
)
def test_since_when(text, moment):
    assert arguments.since(text, NOW) == moment


def test_since_a_time_of_day_is_the_last_one():
    for hour in range(24):
        assert NOW - 86400 <= arguments.since(f"{hour:02}:00", NOW) <= NOW


@pytest.mark.parametrize("text", ["the flood", "tomorrow", "2030-01-01", "25:00", ""])
def test_since_what_is_no_time_past(text):
    with pytest.raises(arguments.NotUnderstood):
        arguments.since(text, NOW)


@given(st.text())
def test_a_time_since_is_never_to_come(text):
    with contextlib.suppress(arguments.NotUnderstood):
        assert 0.0 <= arguments.since(text, NOW) <= NOW
