from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowboat.core.bucket import LARGEST_QUANTUM, SMALLEST_QUANTUM, UNCAPPED_QUANTUM, Bucket, burst, quantum

rates = st.floats(min_value=1, max_value=1e9)
pauses = st.floats(min_value=0, max_value=30)


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


@given(rates, st.lists(st.tuples(st.integers(1, 20_000), pauses), max_size=60))
def test_no_window_gets_more_than_the_cap_and_one_burst(rate, wants):
    spent = spend_greedily(Bucket(rate, 0.0), 0.0, wants)
    for first, (begin, _) in enumerate(spent):
        total = 0
        for end, count in spent[first:]:
            total += count
            assert total <= rate * (end - begin) + burst(rate) + 1


@given(rates, rates, st.integers(1, 50))
def test_a_change_of_rate_holds_at_once(before, after, pieces):
    bucket = Bucket(before, 0.0)
    bucket.set_rate(after, 1.0)
    spent = spend_greedily(bucket, 1.0, [(bucket.quantum, 0.0)] * pieces)
    assert sum(count for _, count in spent) <= after * (spent[-1][0] - 1.0) + burst(after) + 1


@given(rates, st.integers(20, 200))
def test_the_cap_is_used_up(rate, pieces):
    bucket = Bucket(rate, 0.0)
    spent = spend_greedily(bucket, 0.0, [(bucket.quantum, 0.0)] * pieces)
    assert sum(count for _, count in spent) >= rate * spent[-1][0] - 1


@given(st.one_of(st.none(), st.floats(min_value=0, max_value=1e12)))
def test_a_quantum_is_neither_a_lone_segment_nor_a_burst(rate):
    assert SMALLEST_QUANTUM <= quantum(rate) <= (UNCAPPED_QUANTUM if rate is None else LARGEST_QUANTUM)
    assert rate is None or quantum(rate) <= burst(rate)


def test_zero_stands_still_and_none_knows_no_cap():
    bucket = Bucket(0, 0.0)
    assert bucket.wait(1, 1e6) == math.inf
    bucket.set_rate(None, 1e6)
    assert bucket.wait(LARGEST_QUANTUM, 1e6) == 0
    bucket.spend(LARGEST_QUANTUM, 1e6)
    assert bucket.wait(LARGEST_QUANTUM, 1e6) == 0


def test_after_standing_still_there_is_no_saved_up_burst():
    bucket = Bucket(0, 0.0)
    bucket.set_rate(1e6, 1000.0)
    assert bucket.wait(quantum(1e6), 1000.0) <= quantum(1e6) / 1e6
    bucket.spend(quantum(1e6), 1001.0)
    assert bucket.wait(quantum(1e6) * 2, 1001.0) > 0


@pytest.mark.parametrize("rate", [-1, math.nan, math.inf])
def test_a_rate_is_a_number_from_zero_up(rate):
    with pytest.raises(ValueError, match="rate"):
        Bucket(rate, 0.0)
