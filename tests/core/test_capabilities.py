"""What a probe proves: what stands is believed, an answer is not, and what was not observed is no 'no'."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowboat.core.capabilities import NOT_TRIED, PROBE_WAITS, Capabilities, Findings, Trial, judge, parse, probe_wait
from slowboat.core.words import RemoteObject

FIRST, OTHER, WHOLE, SLO, LIST = ("1" * 32, "2" * 32, "3" * 32, "4" * 32, "5" * 32)


def stands(md5: str, size: int = 100, **more) -> Trial:
    return Trial(answered=True, stands=RemoteObject("probe", size, md5, **more))


REFUSED = Trial(answered=True, message="Unprocessable Entity")
THERE = stands(SLO, slo=True)
SWIFT = Findings(
    FIRST,
    WHOLE,
    SLO,
    100,
    guarded=stands(FIRST),
    wrong=Trial(answered=True),
    checked=THERE,
    unchecked=NOT_TRIED,
    joined=stands(WHOLE),
)
RGW = replace(SWIFT, guarded=stands(OTHER), checked=REFUSED, unchecked=THERE, joined=stands(LIST, 0))


def test_openstack_swift_can_all_of_it():
    assert judge(SWIFT) == Capabilities(
        guards=True, checks_md5=True, segments=True, slo=True, checks_slo=True, joins=True
    )
    assert judge(SWIFT).complete


def test_ceph_s_gateway_replaces_what_is_guarded_checks_no_slo_and_joins_nothing():
    assert judge(RGW) == Capabilities(
        guards=False, checks_md5=True, segments=True, slo=True, checks_slo=False, joins=False
    )


def test_a_swift_without_slo_stores_the_list_and_that_is_no_slo():
    found = judge(replace(SWIFT, checked=REFUSED, unchecked=stands(LIST, 260), joined=NOT_TRIED))
    assert (found.slo, found.checks_slo, found.joins, found.complete) == (False, False, False, True)


@pytest.mark.parametrize(
    "copy",
    [
        pytest.param(stands(WHOLE, slo=True), id="an SLO too"),
        pytest.param(stands(WHOLE, expires=1e9), id="it expires as the SLO does"),
        pytest.param(stands(WHOLE, 0), id="empty"),
        pytest.param(stands(OTHER), id="other bytes"),
        pytest.param(Trial(answered=True), id="nothing"),
        pytest.param(REFUSED, id="refused"),
    ],
)
def test_a_copy_joins_only_where_the_right_plain_object_stands_for_ever(copy):
    assert judge(replace(SWIFT, joined=copy)).joins is False


@pytest.mark.parametrize(
    ("lost", "unknown"),
    [("guarded", "guards"), ("wrong", "checks_md5"), ("checked", "checks_slo"), ("joined", "joins")],
)
def test_what_had_no_answer_is_not_known(lost, unknown):
    found = judge(replace(SWIFT, unchecked=THERE, **{lost: NOT_TRIED}))
    assert getattr(found, unknown) is None
    assert found.complete == (lost == "checked")  # without that header it works all the same


def test_an_slo_that_had_no_answer_is_not_known():
    found = judge(replace(SWIFT, checked=REFUSED, unchecked=NOT_TRIED, joined=NOT_TRIED))
    assert (found.slo, found.joins) == (None, None)


def test_a_closed_container_can_nothing_and_says_why():
    found = judge(Findings(closed="the server forbids it"))
    assert found == Capabilities(
        guards=False,
        checks_md5=False,
        segments=False,
        slo=False,
        checks_slo=False,
        joins=False,
        message="the server forbids it",
    )


def test_no_answer_at_all_is_nothing_known():
    assert judge(Findings()) == Capabilities()


ANY = st.builds(
    Capabilities,
    *[st.sampled_from([None, True, False])] * 6,
    message=st.sampled_from(["", "Service Unavailable", "no such=thing message=x"]),
)


@given(ANY)
def test_the_ledger_gives_back_what_it_was_given(can):
    assert parse(can.text()) == can


@given(st.text())
def test_whatever_else_the_ledger_says_is_something(text):
    assert isinstance(parse(text), Capabilities)


@given(ANY, ANY)
def test_an_unanswered_question_leaves_what_was_known(new, before):
    both = new.else_as(before)
    for name in ("guards", "checks_md5", "segments", "slo", "checks_slo", "joins"):
        known = getattr(new, name)
        assert getattr(both, name) == (getattr(before, name) if known is None else known)


def test_the_probe_waits_longer_each_time():
    waits = [probe_wait(tries) for tries in range(8)]
    assert waits == sorted(waits)
    assert (waits[1], waits[7]) == (PROBE_WAITS[0], PROBE_WAITS[-1])
