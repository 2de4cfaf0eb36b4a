"""A long pause: the segments of what is begun live on, and what is somebody's data is never given an end."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from engine.courier_bed import UNIT, CourierBed, small_units, volume
from engine.model_store import Fault
from slowboat.core import names
from slowboat.core.errors import Transient
from slowboat.core.plan import RENEW_EVERY
from slowboat.edges.swift import Credentials, SwiftStore
from slowboat.engine.courier import LIFE, Courier

if TYPE_CHECKING:
    from realparts.swift_server import SwiftServer

BIG = volume(5 * UNIT + 7)


@pytest.fixture(autouse=True)
def _small_units():
    with small_units():
        yield


async def half_way() -> CourierBed:
    """Three segments are there, and the fourth broke off."""
    bed = CourierBed(BIG)
    bed.store.aimed = {("PUT", 3): Fault("before")}
    with pytest.raises(Transient):
        await bed.carry()
    assert len(bed.segments) == 3
    return bed


def test_four_looks_fit_into_one_life():
    assert 4 * RENEW_EVERY <= LIFE


async def test_a_pause_of_a_year_loses_no_segment():
    bed = await half_way()
    began = bed.segments
    for _ in range(int(365 * 86400 / RENEW_EVERY)):
        bed.now += RENEW_EVERY
        await bed.courier.renew(bed.item, bed.now)
        assert bed.segments == began
    sent = dict(bed.store.sent)
    await bed.carry()
    again = {name for name, count in bed.store.sent.items() if count > sent.get(name, 0)}
    assert not again & set(began), "nothing was sent twice"
    assert bed.segments == []
    assert bed.store.alive(segments=False)[bed.full].expires is None


async def test_without_it_they_expire():
    bed = await half_way()
    bed.now += LIFE + 1
    assert bed.segments == []


async def test_a_look_too_early_costs_two_requests():
    bed = await half_way()
    before = len(bed.store.requests)
    await bed.courier.renew(bed.item, bed.now + 60)
    assert [request.split()[0] for request in bed.store.requests[before:]] == ["HEAD", "LIST"]


async def test_the_segments_of_an_slo_at_its_name_are_left_alone():
    """Its answer was lost, so it is not known to be done: a life given to its segments would be its end."""
    bed = CourierBed(volume(70 * UNIT))  # larger than the largest object: it stays an SLO
    await bed.carry()
    assert bed.store.alive(segments=False)[bed.full].slo
    bed.now += 2 * RENEW_EVERY
    await bed.courier.renew(bed.item, bed.now)
    assert {stored.expires for stored in bed.store.alive(segments=True).values()} == {None}


async def test_an_expired_segment_that_is_still_listed_stops_nobody():
    bed = await half_way()
    bed.store.lose(bed.segments[0])
    bed.now += RENEW_EVERY
    await bed.courier.renew(bed.item, bed.now)
    assert len(bed.segments) == 2


async def test_a_real_swift_gives_a_renewed_segment_another_life(swift: SwiftServer):
    store = SwiftStore(Credentials(swift.auth_url, swift.user, swift.key), swift.container())
    bed = CourierBed(BIG)
    courier = Courier(bed.source, store, "")
    item = replace(bed.item, segment=64)
    name = names.segment_name(item.name, len(BIG), 64, 0)
    try:
        await store.put(name, BIG[:64], 64, segments=True, expires_after=1000)
        before = await store.head(name, segments=True)
        await courier.renew(item, time.time())
        same = await store.head(name, segments=True)
        assert before is not None
        assert same is not None
        assert same.expires == before.expires, "it is young"
        await courier.renew(item, time.time() + RENEW_EVERY + 60)
        after = await store.head(name, segments=True)
        assert after is not None
        assert after.expires is not None
        assert after.expires > time.time() + LIFE - 600
        assert after.md5 == before.md5
        (listed,) = await store.listing(names.segment_prefix(item.name), segments=True)
        assert listed.modified >= before.modified
    finally:
        await store.close()
