"""How long to wait: bounds, jitter, what the server asks for, and clocks that are set."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowboat.core.backoff import FIRST, FROM_SERVER, LONGEST, remaining, wait

ATTEMPTS = st.integers(-5, 10**6)
CHANCES = st.floats(0, 1, exclude_max=True)
ASKED = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True))


@given(ATTEMPTS, CHANCES)
def test_a_wait_of_our_own_is_bounded_and_never_none_at_all(attempt, chance):
    assert FIRST * 0.1 <= wait(attempt, chance) <= LONGEST


@given(ATTEMPTS, CHANCES, ASKED)
def test_no_wait_is_longer_than_the_longest_that_a_server_may_ask_for(attempt, chance, asked):
    assert wait(attempt, chance) <= wait(attempt, chance, asked) <= max(LONGEST, FROM_SERVER)


@given(ATTEMPTS, CHANCES, st.floats(0, FROM_SERVER))
def test_what_the_server_asks_for_is_waited_out(attempt, chance, asked):
    assert wait(attempt, chance, asked) >= asked


def test_a_header_gone_mad_does_not_stop_a_backup():
    assert wait(1, 0.5, 365 * 86400.0) == FROM_SERVER


@pytest.mark.parametrize(("attempt", "ceiling"), [(1, 2), (2, 4), (3, 8), (9, 512), (10, 900), (1000, 900)])
def test_it_doubles_and_the_jitter_is_nearly_all_of_it(attempt, ceiling):
    assert wait(attempt, 0.0) == pytest.approx(ceiling * 0.1)
    assert wait(attempt, 0.999999) == pytest.approx(ceiling, rel=1e-3)
    assert wait(attempt, 0.5) == pytest.approx(ceiling * 0.55)


@given(st.integers(1, 100), CHANCES)
def test_more_failures_never_shorten_a_wait(attempt, chance):
    assert wait(attempt + 1, chance) >= wait(attempt, chance)


@given(st.floats(0, 2e9), ATTEMPTS, CHANCES, st.one_of(st.none(), st.floats(0, 1e9)))
def test_what_has_just_been_set_is_waited_in_full(now, attempt, chance, asked):
    seconds = wait(attempt, chance, asked)
    assert remaining(now + seconds, now) == pytest.approx(seconds, abs=1e-3)


@given(st.floats(-1e12, 1e12), st.floats(-1e12, 1e12))
def test_what_remains_is_bounded_whatever_the_clock_does(until, now):
    assert 0.0 <= remaining(until, now) <= FROM_SERVER + 60.0


def test_a_clock_that_was_set_back_ends_the_wait_once_and_for_all():
    year = 365 * 86400.0
    until = 2e9 + wait(3, 0.5)
    assert remaining(until, 2e9 - year) == 0.0
    assert remaining(until, 2e9 - 3600.0) == pytest.approx(3600.0 + wait(3, 0.5))


def test_a_clock_that_was_set_forward_ends_it_too():
    assert remaining(2e9 + 900.0, 2e9 + 86400.0) == 0.0
