from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowboat.core.bucket import (
    FINE,
    SEGMENT,
    SMALLEST_QUANTUM,
    SMOOTHED,
    SMOOTHING,
    STEADY,
    UNCAPPED_QUANTUM,
    Bucket,
    smoothing,
)

rates = st.floats(min_value=1, max_value=1e9)
pauses = st.floats(min_value=0, max_value=30)
ways = st.sampled_from([FINE, SMOOTHED, STEADY])


def spend_greedily(bucket: Bucket, now: float, wants: list[tuple[int, float]]) -> list[tuple[float, int]]:
    """Each want is a count and a pause before it; all is spent as early as the bucket lets it."""
    spent = []
    for want, pause in wants:
        now += pause
        count = min(want, bucket.quantum)
        now += bucket.wait(count, now)
        # the wait is a float: what it rounds off is less than a byte
        assert bucket.wait(count, now) * (bucket.rate or 0) < 1e-3
        bucket.spend(count, now)
        spent.append((now, count))
    return spent


@given(rates, ways, st.lists(st.tuples(st.integers(1, 200_000), pauses), max_size=60))
def test_no_window_gets_more_than_the_cap_and_one_burst(rate, steps, wants):
    spent = spend_greedily(Bucket(rate, 0.0, steps), 0.0, wants)
    for first, (begin, _) in enumerate(spent):
        total = 0
        for end, count in spent[first:]:
            total += count
            assert total <= rate * (end - begin) + steps.burst(rate) + 1


@given(rates, rates, ways, st.integers(1, 50))
def test_a_change_of_rate_holds_at_once(before, after, steps, pieces):
    bucket = Bucket(before, 0.0, steps)
    bucket.set_rate(after, 1.0)
    spent = spend_greedily(bucket, 1.0, [(bucket.quantum, 0.0)] * pieces)
    assert sum(count for _, count in spent) <= after * (spent[-1][0] - 1.0) + steps.burst(after) + 1


@given(rates, rates, st.integers(1, 50))
def test_finer_steps_hold_at_once(rate, other, pieces):
    """What was saved up while the kernel smoothed is no burst on a connection that does not."""
    bucket = Bucket(rate, 0.0, SMOOTHED)
    bucket.set_rate(other, 1.0)
    bucket.set_steps(FINE, 2.0)
    assert bucket.steps == FINE
    spent = spend_greedily(bucket, 2.0, [(bucket.quantum, 0.0)] * pieces)
    assert sum(count for _, count in spent) <= other * (spent[-1][0] - 2.0) + FINE.burst(other) + 1


@given(rates, ways, st.integers(20, 200))
def test_the_cap_is_used_up(rate, steps, pieces):
    bucket = Bucket(rate, 0.0, steps)
    spent = spend_greedily(bucket, 0.0, [(bucket.quantum, 0.0)] * pieces)
    assert sum(count for _, count in spent) >= rate * spent[-1][0] - 1


@given(st.one_of(st.none(), st.floats(min_value=0, max_value=1e12)), ways)
def test_a_quantum_is_neither_a_lone_segment_nor_a_burst(rate, steps):
    assert SMALLEST_QUANTUM <= steps.quantum(rate) <= (UNCAPPED_QUANTUM if rate is None else steps.most)
    assert rate is None or steps.quantum(rate) <= steps.burst(rate)


@pytest.mark.parametrize(
    ("mbit", "fine", "smoothed", "steady"),
    [(8, 100, 100, 33), (16, 122, 100, 33), (50, 381, 100, 95), (100, 763, 191, 191)],
)
def test_how_often_it_wakes(mbit, fine, smoothed, steady):
    """Times a second that somebody has to be awake to spend it all: where the kernel smooths, far less often."""
    rate = mbit * 125_000
    wakes = [rate / steps.quantum(rate) for steps in (FINE, SMOOTHED, STEADY)]
    assert wakes == pytest.approx([fine, smoothed, steady], abs=1)


@given(st.floats(min_value=1, max_value=1e9), st.integers(0, 8))
def test_the_kernel_may_catch_up_and_no_more(rate, connections):
    """All connections together get a little more than the rate, and each its share of that."""
    each = smoothing(rate, connections)
    assert each is not None
    assert each == pytest.approx(max(1, rate * SMOOTHING / max(1, connections)), abs=1)


def test_what_has_no_rate_is_not_smoothed():
    assert smoothing(None, 2) is None
    assert smoothing(0, 2) is None


@given(rates, st.floats(0.0, 0.035))
def test_a_late_wake_up_loses_nothing_where_the_kernel_smooths(rate, late):
    bucket, now, spent = Bucket(rate, 0.0, SMOOTHED), 0.0, 0
    for _ in range(50):
        count = bucket.quantum
        wait = bucket.wait(count, now)
        now += wait + (late if wait and count > 2 * SEGMENT else 0.0)
        bucket.spend(count, now)
        spent += count
    assert spent >= rate * now - bucket.quantum - 1


def test_zero_stands_still_and_none_knows_no_cap():
    bucket = Bucket(0, 0.0)
    assert bucket.wait(1, 1e6) == math.inf
    bucket.set_rate(None, 1e6)
    assert bucket.wait(UNCAPPED_QUANTUM, 1e6) == 0
    bucket.spend(UNCAPPED_QUANTUM, 1e6)
    assert bucket.wait(UNCAPPED_QUANTUM, 1e6) == 0


def test_after_standing_still_there_is_no_saved_up_burst():
    bucket = Bucket(0, 0.0)
    bucket.set_rate(1e6, 1000.0)
    assert bucket.wait(FINE.quantum(1e6), 1000.0) <= FINE.quantum(1e6) / 1e6
    bucket.spend(FINE.quantum(1e6), 1001.0)
    assert bucket.wait(FINE.quantum(1e6) * 2, 1001.0) > 0


@pytest.mark.parametrize("rate", [-1, math.nan, math.inf])
def test_a_rate_is_a_number_from_zero_up(rate):
    with pytest.raises(ValueError, match="rate"):
        Bucket(rate, 0.0)
