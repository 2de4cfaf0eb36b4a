"""Numbers and times in words."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowboat.cli import phrases

NOW = 1795000000.0  # 2026-11-18 12:06:40 in Berlin, a Wednesday
anything = st.one_of(st.integers(), st.floats(), st.integers(-(2**70), 2**70))


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (512_000, "512 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (24_100_000_000, "24.1 GB"),
        (103_000_000_000, "103.0 GB"),
        (999_950_000_000, "1.0 TB"),
        (-5, "0 bytes"),
    ],
)
def test_sizes_are_decimal(count, told):
    assert phrases.size(count) == told


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "less than a minute"),
        (29, "less than a minute"),
        (60, "1 min"),
        (3599, "1 h"),
        (3600 * 3 + 720, "3 h 12 min"),
        (86400, "1 day"),
        (86399, "1 day"),
        (2 * 86400 + 3 * 3600, "2 days 3 h"),
        (30 * 86400, "30 days"),
        (1e12, "more than 2 years"),
        (-7, "less than a minute"),
    ],
)
def test_durations_have_two_units_at_most(seconds, told):
    assert phrases.duration(seconds) == told


@pytest.mark.parametrize(
    ("ahead", "told"),
    [
        (0, "today at 12:06"),
        (-86400, "yesterday at 12:06"),
        (86400, "tomorrow at 12:06"),
        (4 * 86400, "Sunday at 12:06"),
        (7 * 86400, "25 November at 12:06"),
        (60 * 86400, "17 January 2027 at 12:06"),
        (1e18, ""),
    ],
)
def test_moments_name_their_day(ahead, told):
    assert phrases.moment(NOW + ahead, NOW) == told


def test_a_hundred_percent_means_all_of_it():
    assert phrases.percent(999_999, 1_000_000) == "99.9 %"
    assert phrases.percent(1_000_000, 1_000_000) == "100 %"
    assert phrases.percent(7, 0) == "100 %"


@given(anything, anything)
def test_no_number_fails_or_comes_out_negative(one, other):
    told = [phrases.size(one), phrases.rate(one), phrases.duration(one), phrases.percent(one, other)]
    assert not [text for text in told if re.search(r"-\d|nan|inf", text)]
    assert 0.0 <= phrases.fraction(one, other) <= 1.0


@given(st.one_of(st.floats(), st.integers()), st.floats(0, 4e9))
def test_no_moment_fails(when, now):
    assert isinstance(phrases.moment(when, now), str)
    assert isinstance(phrases.stamp(when), str)


@given(st.integers(0, 10**15), st.integers(0, 10**15))
def test_more_bytes_never_read_as_less(one, other):
    def value(text):
        number, unit = text.split()
        return float(number) * 1000 ** ["byte", "kB", "MB", "GB", "TB", "PB"].index(unit.replace("bytes", "byte"))

    small, large = sorted((one, other))
    assert value(phrases.size(small)) <= value(phrases.size(large))


@given(st.text() | st.text(st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp"])))
def test_foreign_text_cannot_command_a_terminal(text):
    told = phrases.plain(text)
    assert told.isprintable()
    told.encode("utf-8")


def test_a_sentence_gets_its_full_stop_and_keeps_its_first_letter():
    assert phrases.sentence("duplicity 3.0.6 destroys chains") == "duplicity 3.0.6 destroys chains."
    assert phrases.sentence("Is it there?") == "Is it there?"
    assert phrases.sentence("  ") == ""


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("slowboat resume", ("slowboat resume",)),
        ("Plug it in", ("Plug it in.",)),
        ("Run `slowboat handover`", ("Run:", "slowboat handover")),
        ("Start it with: systemctl --user start slowboat", ("Start it with:", "systemctl --user start slowboat")),
        (
            "Start it with:\nslowboat daemon\nor:\nslowboat install",
            ("Start it with:", "slowboat daemon", "or:", "slowboat install"),
        ),
        ('Write it like this:\n\n[cloud.x]\nuser = "u"\n', ("Write it like this:", "", "[cloud.x]", 'user = "u"')),
        (
            "Wait until it has finished, or stop it: slowboat verify --stop",
            ("Wait until it has finished, or stop it:", "slowboat verify --stop"),
        ),
        ("The names are: laptop, desktop", ("The names are: laptop, desktop.",)),
        ("See `slowboat plan` for the list; fix it", ("See `slowboat plan` for the list; fix it.",)),
        ("Wipe it\x1b[2J with: chmod u+r /a", ("Wipe it\\x1b[2J with:", "chmod u+r /a")),
    ],
)
def test_a_command_to_copy_stands_alone_on_its_line(text: str, lines: tuple[str, ...]) -> None:
    assert phrases.cure(text) == lines


@given(st.text())
def test_any_cure_is_said_in_lines_that_cannot_command_a_terminal(text: str) -> None:
    assert all(line.isprintable() for line in phrases.cure(text))
