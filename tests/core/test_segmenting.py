"""The line and the size of a segment: what follows from a rate, from breaks, and from a server's limits."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from slowboat.core import segmenting
from slowboat.core.segmenting import (
    LARGEST,
    MIB,
    MOST_SEGMENTS,
    SECONDS,
    UplinkEstimate,
    cut,
    fits_one_put,
    in_pieces_of,
    parse,
    segment_size,
)
from slowboat.core.words import Limits

RATES = st.floats(0, 1e10)
ESTIMATES = st.builds(UplinkEstimate, RATES, st.one_of(st.just(0.0), st.floats(0.1, 1e7)), st.floats(0, 1e7))
SIZES = st.integers(0, MOST_SEGMENTS * LARGEST)
STEADY = UplinkEstimate(rate=MIB, holds=0.0)


@given(SIZES, ESTIMATES)
@example(MOST_SEGMENTS * LARGEST, UplinkEstimate())
@example(MOST_SEGMENTS * MIB + 1, UplinkEstimate())
@example(0, UplinkEstimate())
def test_a_segment_is_some_whole_mib_and_never_are_there_too_many(size, line):
    segment = segment_size(size, line, Limits())
    assert MIB <= segment <= LARGEST
    assert segment % MIB == 0
    assert len(cut(size, segment)) <= MOST_SEGMENTS


@given(st.integers(0, MOST_SEGMENTS * 5 * 1024**3), ESTIMATES)
def test_even_the_largest_files_have_no_more_segments_than_the_server_takes(size, line):
    assert len(cut(size, segment_size(size, line, Limits()))) <= MOST_SEGMENTS


@given(SIZES, ESTIMATES, st.integers(1, 10 * MIB), st.integers(1, 1000))
def test_a_segment_is_never_larger_than_the_servers_largest_object(size, line, largest, most):
    limits = Limits(max_object=largest, max_segments=most)
    segment = segment_size(size, line, limits)
    assert 0 < segment <= largest
    assert segment % MIB == 0 or largest < MIB
    assert not fits_one_put(largest + 1, line, limits)


@given(SIZES, ESTIMATES, st.integers(1, 64 * MIB))
def test_a_segment_is_never_smaller_than_the_server_takes(size, line, least):
    assert segment_size(size, line, Limits(min_segment=least)) >= least


@given(st.floats(2 * MIB / SECONDS, (LARGEST - MIB) / SECONDS))
def test_a_segment_takes_a_quarter_of_a_minute(rate):
    seconds = segment_size(0, UplinkEstimate(rate), Limits()) / rate
    assert SECONDS * 0.999 <= seconds <= SECONDS + MIB / rate


@given(SIZES, RATES, st.floats(0.1, 1e6), st.floats(0.1, 1e6))
def test_a_line_that_breaks_more_often_never_gets_larger_segments(size, rate, one, other):
    often, seldom = sorted((one, other))
    limits = Limits()
    assert segment_size(size, UplinkEstimate(rate, often), limits) <= segment_size(
        size, UplinkEstimate(rate, seldom), limits
    )
    assert segment_size(size, UplinkEstimate(rate, seldom), limits) <= segment_size(size, UplinkEstimate(rate), limits)


def test_a_line_that_dies_every_twenty_seconds_gets_the_smallest():
    assert segment_size(750 * 10**6, UplinkEstimate(rate=10**6), Limits()) == 15 * MIB
    assert segment_size(750 * 10**6, UplinkEstimate(rate=10**6, holds=20.0), Limits()) == MIB


@given(SIZES, RATES, RATES)
def test_a_faster_line_never_gets_smaller_segments(size, one, other):
    slow, fast = sorted((one, other))
    assert segment_size(size, UplinkEstimate(slow), Limits()) <= segment_size(size, UplinkEstimate(fast), Limits())


@pytest.mark.parametrize(("rate", "largest_put"), [(0.0, 2 * MIB), (MIB / 2, 16 * MIB), (1e9, 32 * MIB)])
def test_one_put_is_for_what_half_a_minute_takes(rate, largest_put):
    assert fits_one_put(largest_put, UplinkEstimate(rate), Limits())
    assert not fits_one_put(largest_put + 1, UplinkEstimate(rate), Limits())


@given(st.integers(0, 10**6), st.integers(1, 10**4))
def test_the_cut_covers_every_byte_once(size, segment):
    segment = max(segment, size // 2000 + 1)
    parts = cut(size, segment)
    assert parts[0][0] == 0
    assert [at + length for at, length in parts] == [*[at for at, _ in parts[1:]], size]
    assert all(length == segment for _, length in parts[:-1])
    assert all(0 < length <= segment for _, length in parts) or (size == 0 and parts == ((0, 0),))


@given(ESTIMATES)
def test_what_is_remembered_is_what_was_known(line):
    again = parse(line.text())
    assert again == parse(again.text())
    assert math.isclose(again.rate, line.rate, abs_tol=0.51)
    assert math.isclose(again.holds, line.holds, abs_tol=0.051)
    assert math.isclose(again.since, line.since, abs_tol=0.051)
    assert bool(again.holds) == bool(line.holds)


@pytest.mark.parametrize("text", ["", "fast", "1 2", "1 2 3 4", "1 2 x"])
def test_what_is_not_ours_is_an_unknown_line(text):
    assert parse(text) == UplinkEstimate()


@given(
    st.text(max_size=20), st.one_of(st.just(""), st.sampled_from(["inf inf inf", "nan nan nan", "-1 -1 -1", "0 inf 0"]))
)
def test_whatever_is_remembered_a_segment_has_a_size(text, odd):
    assert MIB <= segment_size(10 * MIB, parse(odd or text), Limits()) <= LARGEST


@given(ESTIMATES, st.integers(MIB, 100 * MIB), st.floats(0.1, 1000))
def test_the_rate_moves_towards_what_is_seen(line, count, seconds):
    sample, after = count / seconds, line.sent(count, seconds)
    assert min(line.rate or sample, sample) * 0.999 <= after.rate <= max(line.rate or sample, sample) * 1.001
    assert after.since == pytest.approx(line.since + seconds)


@given(ESTIMATES, st.floats(0, 0.049))
def test_a_sample_that_tells_nothing_changes_no_rate(line, seconds):
    assert line.sent(10 * MIB, seconds).rate == line.rate
    assert line.sent(10, 5.0).rate == line.rate


@given(ESTIMATES, st.floats(0, 1000))
def test_after_a_break_it_holds_anew(line, seconds):
    after = line.broke(seconds)
    assert after.since == 0.0
    assert after.holds >= 0.1
    held = line.since + seconds
    assert min(line.holds or held, held) * 0.999 <= after.holds <= max(line.holds or held, held, 0.1) * 1.001


def test_breaks_shrink_segments_and_a_line_that_holds_again_lets_them_grow():
    line = STEADY
    before = segment_size(0, line, Limits())
    for _ in range(10):
        line = line.sent(10 * MIB, 10.0).broke(1.0)
    flapping = segment_size(0, line, Limits())
    assert flapping == MIB < before
    for _ in range(100):
        line = line.sent(10 * MIB, 10.0)
    assert segment_size(0, line, Limits()) == before


def test_nothing_is_known_of_time_that_runs_backwards():
    assert STEADY.sent(MIB, -5.0) == replace(STEADY, since=0.0)
    assert STEADY.broke(-5.0).holds == 0.1


def test_the_lanes_of_one_line_break_together_and_count_once() -> None:
    steady = segmenting.UplinkEstimate(rate=500_000.0, holds=20.0, since=18.0)
    once = steady.broke(4.0, lanes=2)
    assert once.holds == pytest.approx(20.0)
    assert once.broke(4.0, lanes=2) == once


@given(st.floats(0, 1e9), st.floats(0, 1e5), st.integers(1, 8))
def test_a_line_that_breaks_often_gets_one_lane(rate: float, holds: float, most: int) -> None:
    found = segmenting.lanes(segmenting.UplinkEstimate(rate, holds), most)
    assert 1 <= found <= most
    if holds == 0.0:
        assert found == most
    elif rate * holds / segmenting.SHARE < segmenting.SMALLEST:
        assert found == 1


def test_pieces_for_a_budget_are_as_small_as_the_server_likes_them_and_no_smaller() -> None:
    fast = UplinkEstimate(rate=50 * MIB)
    assert segment_size(10**9, fast, Limits()) == 64 * MIB
    assert segment_size(10**9, in_pieces_of(fast, 5 * MIB), Limits()) == 5 * MIB
    assert segment_size(10**9, in_pieces_of(fast, 1000), Limits()) == MIB
    assert not fits_one_put(20 * MIB, in_pieces_of(fast, 5 * MIB), Limits())
    assert in_pieces_of(UplinkEstimate(rate=10), 5 * MIB) == UplinkEstimate(rate=10)
