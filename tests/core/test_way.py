"""How an object goes up: never a way that the store is not proven to have, and always one where there is one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.test_capabilities import ANY
from slowboat.core.capabilities import Capabilities
from slowboat.core.segmenting import MIB, UplinkEstimate, fits_one_put
from slowboat.core.way import Means, NoWay, UploadWay, limitation, must_ask, way
from slowboat.core.words import Limits

SWIFT = Capabilities(guards=True, segments=True, slo=True, checks_slo=True, joins=True)
RGW = Capabilities(guards=False, segments=True, slo=True, checks_slo=False, joins=False)
NO_SLO = Capabilities(guards=True, segments=True, slo=False, checks_slo=False, joins=False)
CLOSED = Capabilities(guards=False, segments=False, slo=False, checks_slo=False, joins=False, message="403 here")
ARCHIVE = Capabilities(guards=True, segments=True, slo=True, checks_slo=True, joins=None)
NOTHING = Capabilities()
LIMITS = Limits(max_object=1 << 30)
VOLUME, HUGE = 200 * MIB, 2 << 30


def of(can: Capabilities, limits: Limits = LIMITS, *, cramped: bool = False) -> Means:
    return Means(limits=limits, can=can, cramped=cramped)


@pytest.mark.parametrize(
    ("can", "volume", "huge"),
    [
        pytest.param(SWIFT, UploadWay.JOINED, UploadWay.IN_PLACE, id="OpenStack Swift"),
        pytest.param(RGW, UploadWay.IN_PLACE, UploadWay.IN_PLACE, id="Ceph's gateway"),
        pytest.param(NO_SLO, UploadWay.WHOLE, None, id="Swift without slo"),
        pytest.param(CLOSED, UploadWay.WHOLE, None, id="no segments' container"),
        pytest.param(ARCHIVE, UploadWay.WHOLE, UploadWay.IN_PLACE, id="archive"),
        pytest.param(NOTHING, UploadWay.WHOLE, None, id="nothing known"),
    ],
)
def test_each_store_has_its_ways(can, volume, huge):
    assert way(1000, of(can)) is UploadWay.ONE_PUT
    assert way(VOLUME, of(can)) is volume
    found = way(HUGE, of(can))
    assert found is huge if huge else isinstance(found, NoWay)


def test_what_the_info_says_counts():
    assert way(VOLUME, of(SWIFT, Limits(slo=False))) is UploadWay.WHOLE


def test_what_is_not_known_yet_is_no_refusal():
    assert way(HUGE, of(NOTHING)).later
    assert not way(HUGE, of(NO_SLO)).later
    assert not way(HUGE, of(NOTHING, Limits(slo=False, max_object=1 << 30))).later


def test_a_refusal_has_the_cause_and_the_servers_words():
    why = way(HUGE, of(CLOSED)).why
    assert "1073741824" in why
    assert "403 here" in why


def test_where_there_is_no_room_for_both_it_goes_up_whole():
    assert way(VOLUME, of(SWIFT, cramped=True)) is UploadWay.WHOLE
    assert way(HUGE, of(SWIFT, cramped=True)) is UploadWay.IN_PLACE


@given(
    st.integers(0, 1 << 43),
    st.builds(
        Means,
        st.builds(UplinkEstimate, st.floats(0, 1e9), st.floats(0, 1e6)),
        st.builds(Limits, max_object=st.integers(1, 1 << 43), slo=st.booleans()),
        ANY,
        st.booleans(),
    ),
    st.booleans(),
)
def test_there_is_a_way_wherever_there_can_be_one(size, means, begun):
    found = way(size, means, begun=begun)
    limits, can = means.limits, means.can
    if size <= limits.max_object:
        assert isinstance(found, UploadWay)
    if found in (UploadWay.ONE_PUT, UploadWay.WHOLE):
        assert size <= limits.max_object
    if found in (UploadWay.JOINED, UploadWay.IN_PLACE):
        assert limits.slo
        assert can.slo
    if found is UploadWay.JOINED:
        assert can.joins
    if fits_one_put(size, means.line, limits):
        assert (found is UploadWay.ONE_PUT) == (not begun)
        assert not must_ask(size, means)
    if can.complete or not limits.slo:
        assert not must_ask(size, means)
        assert not (isinstance(found, NoWay) and found.later)


@given(ANY, st.booleans())
def test_the_user_is_told_of_every_store_where_an_interruption_costs_a_whole_file(can, slo):
    text = limitation(Limits(slo=slo), can, "c_segments")
    assert bool(text) == (way(VOLUME, of(can, Limits(slo=slo))) is UploadWay.WHOLE or can.segments is False)
    assert not can.message or not text or can.message in text
