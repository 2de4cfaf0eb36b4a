"""One object to the target: what goes up, what is read, what is left behind, and what is never done."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from engine.courier_bed import (
    GZIPPED,
    LIMITS,
    PREFIX,
    SIGNATURES,
    UNIT,
    VOLUME,
    CourierBed,
    encrypted,
    md5,
    signatures,
    small_units,
    volume,
)
from engine.model_store import CAN, NO_COPY, RGW, SERVERS, SWIFT, Fault, Stored
from slowboat.core import names
from slowboat.core.errors import NeedsUser, Refused, SourceAbsent, Transient
from slowboat.core.plan import matches
from slowboat.core.words import Phase
from slowboat.engine.courier import LIFE
from slowboat.engine.segmented import Hashes, SegmentedUpload

if TYPE_CHECKING:
    from collections.abc import Callable

BIG = volume(5 * UNIT + 7)
SMALL = volume(UNIT)


@pytest.fixture(autouse=True)
def _small_units():
    with small_units():
        yield


def puts(bed: CourierBed) -> list[str]:
    return [request.split("/")[-1] for request in bed.store.requests if request.startswith("PUT")]


async def interrupted(bed: CourierBed, verb: str, number: int, fault: Fault | None = None) -> None:
    """A carry that is broken in the request `number` (from 0) of a verb, of all that there are."""
    bed.store.aimed = {(verb, number): fault or Fault("before")}
    with pytest.raises((Transient, asyncio.CancelledError)):
        await bed.carry()
    assert bed.store.aimed == {}


def plain(bed: CourierBed) -> None:
    """The right object stands alone, plain, forever, and nothing else anywhere."""
    (name, stored), *others = bed.store.alive(segments=False).items()
    assert (name, stored.data, stored.slo, stored.expires, others) == (bed.full, bed.right, False, None, [])
    assert bed.segments == []


async def test_a_small_volume_is_one_put_read_once():
    bed = CourierBed(SMALL)
    assert await bed.carry() == md5(SMALL)
    plain(bed)
    assert bed.store.requests == [f"PUT {bed.full}"]
    assert bed.source.bytes_read[VOLUME] == len(SMALL)
    assert bed.item.md5 == md5(SMALL)
    assert bed.item.segment == 0


@pytest.mark.parametrize("size", [0, 1, 2 * UNIT, 2 * UNIT + 1, 3 * UNIT, 1000])
async def test_every_size_arrives(size):
    bed = CourierBed(volume(size))
    assert await bed.carry() == md5(bed.right)
    plain(bed)
    assert bool(bed.item.segment) == (size > 2 * UNIT)


async def test_a_large_volume_goes_in_segments_read_once_and_leaves_nothing():
    bed = CourierBed(BIG)
    assert await bed.carry() == md5(BIG)
    plain(bed)
    assert bed.source.bytes_read[VOLUME] == len(BIG)
    assert sum(bed.store.sent.values()) == len(BIG) == bed.confirmed
    assert bed.item.segment == UNIT
    assert puts(bed) == [f"{index:08d}" for index in range(6)]


async def test_nothing_is_left_though_the_listing_shows_none_of_it():
    bed = CourierBed(BIG)
    bed.store.lag = 1000
    await bed.carry()
    plain(bed)


async def test_segments_and_slo_expire_the_object_never():
    seen = []
    bed = CourierBed(BIG, changed=lambda: seen.extend(bed.store.alive(segments=True).values()))
    await bed.carry()
    assert {stored.expires for stored in seen} == {bed.now + LIFE}
    assert bed.store.target.objects[bed.full].expires is None


@pytest.mark.parametrize("how", ["break", "cancel"])
@pytest.mark.parametrize("when", ["before", "body", "after"])
async def test_it_goes_on_in_the_middle_and_reads_no_confirmed_byte_again(when, how):
    bed = CourierBed(BIG)
    await interrupted(bed, "PUT", 3, Fault(when, how, after=16))
    read = bed.source.bytes_read[VOLUME]
    bed.store.requests.clear()
    await bed.carry()
    plain(bed)
    assert puts(bed)[:1] == ["00000004" if when == "after" else "00000003"]
    assert bed.source.bytes_read[VOLUME] - read == len(BIG) - 3 * UNIT
    assert bed.store.paid_twice == []


@pytest.mark.parametrize("forget", [False, True])
async def test_after_a_restart_one_listing_finds_what_is_there(forget):
    bed = CourierBed(BIG)
    await interrupted(bed, "PUT", 4, Fault("body", "cancel", after=20))
    bed.restart(forget=forget)
    bed.store.requests.clear()
    await bed.carry()
    plain(bed)
    assert puts(bed) == ["00000004", "00000005"]
    assert sum(request.startswith("LIST backup/") for request in bed.store.requests) == 0
    before_puts = bed.store.requests[: next(i for i, r in enumerate(bed.store.requests) if r.startswith("PUT"))]
    assert sum(request.startswith("LIST") for request in before_puts) == 1


async def test_what_was_begun_keeps_its_segment_size():
    bed = CourierBed(volume(20 * UNIT))
    await interrupted(bed, "PUT", 4)
    bed.restart(forget=True)
    bed.estimate = replace(bed.estimate, rate=30.0)
    assert bed.item.segment == 0
    await bed.carry()
    assert bed.item.segment == UNIT
    assert bed.store.paid_twice == []
    plain(bed)


async def test_a_listing_that_lags_is_checked_by_head():
    bed = CourierBed(BIG)
    await interrupted(bed, "PUT", 4)
    bed.store.lag = 1000
    bed.restart()
    await bed.carry()
    assert bed.store.paid_twice == []
    plain(bed)


async def test_a_listing_that_lags_is_checked_by_head_behind_a_segment_that_was_lost():
    bed = CourierBed(BIG)
    await interrupted(bed, "PUT", 4)
    bed.store.lag = 1000
    bed.store.lose(bed.segments[0])
    bed.restart()
    await bed.carry()
    assert bed.store.paid_twice == []
    plain(bed)


async def test_a_stale_row_is_checked_by_head():
    bed = CourierBed(BIG)
    await interrupted(bed, "PUT", 4)
    name = bed.segments[1]
    right = bed.store.segments.objects[name]
    bed.store.garble(name)
    bed.store.segments.objects[name] = right  # the listing shows what stood there a moment ago
    bed.restart()
    await bed.carry()
    assert bed.store.paid_twice == []
    plain(bed)


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("harm", ["garble", "lose"])
async def test_a_segment_that_is_wrong_or_lost_at_the_server_is_sent_again(harm, restart):
    bed = CourierBed(BIG)
    await interrupted(bed, "PUT", 4)
    getattr(bed.store, harm)(bed.segments[1])
    if restart:
        bed.restart()
    await bed.until_settled()
    assert bed.item.phase is Phase.DONE
    plain(bed)
    sent = [name for name, count in bed.store.sent.items() if count > UNIT]
    assert [name.split("/")[-1] for name in sent] == ["00000001"]


async def test_rows_of_expired_segments_that_nobody_reaps_are_no_dead_end():
    bed = CourierBed(BIG)
    await interrupted(bed, "PUT", 4)
    bed.now += LIFE + 1
    bed.restart()
    await bed.until_settled(6)
    assert bed.item.phase is Phase.DONE
    plain(bed)


async def test_segments_are_renewed_after_half_their_life():
    bed = CourierBed(BIG)
    await interrupted(bed, "PUT", 4)
    bed.now += LIFE / 2 + 1
    bed.restart()
    await interrupted(bed, "SLO", 0)
    assert {bed.store.segments.objects[name].expires for name in bed.segments} == {bed.now + LIFE}
    bed.now += LIFE / 2 - 1
    bed.store.requests.clear()
    await bed.carry()
    assert not any(request.startswith("POST") for request in bed.store.requests)
    plain(bed)


async def test_a_rotten_small_volume_is_refused_after_two_readings():
    bed = CourierBed(SMALL)
    bed.source.rotten = {9}
    with pytest.raises(Refused) as refused:
        await bed.carry()
    assert refused.value.code == "rotten"
    assert VOLUME in refused.value.what
    assert bed.store.requests == []
    assert bed.source.bytes_read[VOLUME] == 2 * len(SMALL)


async def test_a_rotten_large_volume_never_stands_and_leaves_nothing():
    bed = CourierBed(BIG)
    bed.source.rotten = {3 * UNIT}
    with pytest.raises(Refused) as refused:
        await bed.carry()
    assert refused.value.code == "rotten"
    assert not any(request.startswith(("COPY", "SLO")) for request in bed.store.requests)
    assert bed.store.alive(segments=False) == {}
    assert bed.segments == []


async def test_a_rotten_verdict_is_not_lost_over_the_sweeping():
    bed = CourierBed(BIG)
    bed.source.rotten = {3 * UNIT}
    bed.store.aimed = {("DELETE", 0): Fault("before")}
    with pytest.raises(Refused, match="damaged"):
        await bed.carry()
    assert all(stored.expires for stored in bed.store.alive(segments=True).values())


@pytest.mark.parametrize("data", [SMALL, BIG])
async def test_one_wrong_reading_is_no_verdict(data):
    bed = CourierBed(data)
    bed.source.misreads = [UNIT - 1]
    await bed.until_settled(3)
    assert bed.item.phase is Phase.DONE
    assert {getattr(error, "code", "") for error in bed.errors} <= {"misread"}
    plain(bed)


async def test_one_wrong_reading_of_a_segment_that_must_go_again_is_no_verdict():
    bed = CourierBed(BIG)
    await interrupted(bed, "PUT", 4)
    bed.store.lose(bed.segments[1])
    bed.store.segments.journal = [row for row in bed.store.segments.journal if not row[0].endswith("1")]
    bed.source.misreads = [UNIT + 1]
    await bed.until_settled(4)
    assert bed.item.phase is Phase.DONE
    assert [getattr(error, "code", "") for error in bed.errors] == ["misread"]
    plain(bed)


UNHASHED = [SIGNATURES, VOLUME, GZIPPED]
"""Of the volumes, the plain manifest is gone."""


def unhashed(size: int, name: str, damaged: Callable[[bytes], bytes] = bytes) -> CourierBed:
    """A sound file of a size, then damaged, of which nobody knows the SHA-1."""
    sound = encrypted(size) if name == VOLUME else signatures(size)
    return CourierBed(damaged(sound), name, hashed=False)


@pytest.mark.parametrize("size", [2 * UNIT, 6 * UNIT])
@pytest.mark.parametrize("name", UNHASHED)
async def test_what_has_no_sha1_is_read_twice_and_sent_once(name, size):
    bed = unhashed(size, name)
    assert await bed.carry() == md5(bed.right)
    assert bed.source.bytes_read[name] == 2 * size
    assert sum(bed.store.sent.values()) == size
    plain(bed)


@pytest.mark.parametrize("size", [2 * UNIT, 6 * UNIT])
@pytest.mark.parametrize("reading", [0, 1])
@pytest.mark.parametrize("name", UNHASHED)
async def test_what_has_no_sha1_arrives_right_though_one_reading_is_wrong(name, reading, size):
    bed = unhashed(size, name)
    await _misread_in(bed, reading)
    await bed.until_settled(4)
    assert bed.item.phase is Phase.DONE, bed.errors
    assert bed.item.md5 == md5(bed.right)
    plain(bed)


async def _misread_in(bed: CourierBed, reading: int) -> None:
    """A byte of gzip's time stamp or gpg's salt (which no framing covers) comes wrong in the given reading."""
    source, taken = bed.source, 0
    original = source.__class__.digest

    async def digest(file, offset=0, length=None, feed=None, *, sha1=True):
        nonlocal taken
        if taken == reading:
            source.misreads = [offset + 4]
        taken += 1
        return await original(source, file, offset, length, feed, sha1=sha1)

    source.digest = digest


DAMAGE = [
    pytest.param(lambda sound: sound.rstrip(b"\0")[:-5], id="cut short"),
    pytest.param(lambda sound: bytes(len(sound)), id="zeros"),
    pytest.param(lambda sound: bytes(UNIT) + sound[UNIT:], id="begins with zeros"),
    pytest.param(lambda sound: sound.rstrip(b"\0")[:-1] + b"\1\1\1", id="goes on after its end"),
]


@pytest.mark.parametrize("size", [2 * UNIT, 6 * UNIT])
@pytest.mark.parametrize("name", UNHASHED)
@pytest.mark.parametrize("damaged", DAMAGE)
async def test_what_has_no_sha1_and_is_not_whole_is_refused_and_nothing_goes_up(damaged, name, size):
    bed = unhashed(size, name, damaged)
    with pytest.raises(Refused) as refused:
        await bed.carry()
    assert refused.value.code == "framing"
    assert refused.value.what.startswith(f"{name} is damaged on the drive: it ")
    assert ("volume" in refused.value.hint) == (name != SIGNATURES)
    assert bed.store.sent == {}


@pytest.mark.parametrize("chain", [0, 1])
async def test_what_a_lost_volume_costs_is_said_as_it_is(chain):
    bed = unhashed(2 * UNIT, VOLUME, lambda sound: sound[:-1])
    bed.item = replace(bed.item, chain=chain)
    with pytest.raises(Refused) as refused:
        await bed.carry()
    assert refused.value.what.endswith("ends too early")
    assert ("new full backup" in refused.value.hint) == (chain == 0)


async def test_a_volume_with_a_sha1_is_what_that_says_whatever_its_framing():
    bed = CourierBed(b"no gpg file at all", VOLUME)
    assert await bed.carry() == md5(bed.right)
    plain(bed)


@pytest.mark.parametrize("name", UNHASHED)
async def test_what_stands_at_the_target_is_not_confirmed_by_a_file_that_is_not_whole(name):
    bed = unhashed(2 * UNIT, name, lambda sound: sound[:-1].rstrip(b"\0")[:-5])
    bed.store.place(bed.full, bed.right)
    with pytest.raises(Refused) as refused:
        await bed.same(await bed.store.head(bed.full))
    assert refused.value.code == "framing"


@pytest.mark.parametrize("name", UNHASHED)
async def test_what_has_no_sha1_and_differs_from_what_was_confirmed_once_is_refused(name):
    bed = unhashed(6 * UNIT, name)
    bed.item = replace(bed.item, md5="0" * 32)
    with pytest.raises(Refused) as refused:
        await bed.carry()
    assert refused.value.code == "unstable"
    assert bed.store.alive(segments=False) == {}
    assert bed.segments == []


@pytest.mark.parametrize("data", [SMALL, BIG])
async def test_an_object_at_the_final_name_is_left_alone(data):
    bed = CourierBed(data)
    bed.store.place(bed.full, b"somebody's")
    with pytest.raises(Refused) as refused:
        await bed.carry()
    assert refused.value.code == "exists"
    assert bed.store.data(bed.full) == b"somebody's"
    assert bed.segments == []


async def test_an_object_that_appears_meanwhile_is_left_alone():
    bed = CourierBed(BIG)
    copied = []

    def changed() -> None:
        if bed.segments and bed.segments[-1].endswith("/slo") and not copied:
            copied.append(True)
            bed.store.place(bed.full, b"somebody's")

    bed.store.changed = changed
    with pytest.raises(Refused) as refused:
        await bed.carry()
    assert refused.value.code == "exists"
    assert bed.store.data(bed.full) == b"somebody's"


IN_PLACE = [
    pytest.param({"limits": replace(LIMITS, max_object=3 * UNIT)}, id="over the largest object"),
    pytest.param({"quirks": NO_COPY}, id="COPY does not join"),
    pytest.param({"quirks": RGW}, id="Ceph's gateway"),
]


WAYS = [{}, *[each.values[0] for each in IN_PLACE]]


@pytest.mark.parametrize("how", IN_PLACE)
async def test_an_slo_stays_in_place_and_nothing_of_it_expires(how):
    bed = CourierBed(BIG, **how)
    assert await bed.carry() == md5(BIG)
    bed.now += 10 * LIFE
    bed.store.reap()
    assert bed.store.data(bed.full) == BIG
    stands = await bed.store.head(bed.full)
    assert stands.slo
    assert len(bed.segments) == 6
    assert not any(name.endswith("/slo") for name in bed.segments)
    await bed.finish()
    await bed.courier.sweep(bed.item)
    assert bed.store.data(bed.full) == BIG


@pytest.mark.parametrize("how", IN_PLACE)
@pytest.mark.parametrize("forget", [False, True])
async def test_an_slo_whose_answer_was_lost_is_recognised_and_kept(how, forget):
    bed = CourierBed(BIG, **how)
    await interrupted(bed, "SLO", 0, Fault("after"))
    assert (await bed.store.head(bed.full)).slo
    bed.now += LIFE * 0.6
    bed.restart(forget=forget)
    await bed.until_settled(3)
    assert bed.item.phase is Phase.DONE
    bed.now += 10 * LIFE
    assert bed.store.data(bed.full) == BIG


@pytest.mark.parametrize("how", IN_PLACE)
async def test_an_slo_is_recognised_though_the_listing_lags(how):
    bed = CourierBed(BIG, **how)
    await bed.carry()
    bed.store.lag = 1000
    bed.restart()
    assert await bed.same(await bed.store.head(bed.full)) == md5(BIG)


@pytest.mark.parametrize("how", IN_PLACE)
async def test_an_slo_is_recognised_though_ledger_and_listing_know_nothing(how):
    bed = CourierBed(BIG, **how)
    await bed.carry()
    bed.store.lag = 1000
    bed.restart(forget=True)
    await bed.until_settled(3)
    assert bed.item.phase is Phase.DONE
    assert bed.store.data(bed.full) == BIG


@pytest.mark.parametrize("harm", ["lose", "garble"])
@pytest.mark.parametrize("forget", [False, True])
@pytest.mark.parametrize("how", IN_PLACE)
async def test_an_slo_that_has_lost_data_is_given_it_again_and_stands_as_before(how, forget, harm):
    bed = CourierBed(BIG, **how)
    await bed.carry()
    slo = bed.store.target.objects[bed.full]
    getattr(bed.store, harm)(bed.segments[2])
    bed.restart(forget=forget)
    bed.item = replace(bed.item, phase=Phase.UNCHECKED)
    sent = dict(bed.store.sent)
    await bed.until_settled(3)
    assert bed.item.phase is Phase.DONE
    assert bed.store.data(bed.full) == BIG
    assert bed.store.target.objects[bed.full] is slo, "nothing is overwritten at the final name"
    again = {name for name, count in bed.store.sent.items() if count > sent.get(name, 0)}
    assert [name.split("/")[-1] for name in again] == ["00000002"]


@pytest.mark.parametrize("how", IN_PLACE)
async def test_what_is_to_stay_never_has_an_expiry_that_would_have_to_be_taken_back(how):
    seen = []
    bed = CourierBed(BIG, changed=lambda: seen.extend(bed.store.alive(segments=True).values()), **how)
    await interrupted(bed, "PUT", 3)
    await bed.wait()
    bed.now += LIFE
    await bed.wait()
    await bed.carry()
    assert {stored.expires for stored in seen} == {None}
    assert not any(request.startswith("POST") for request in bed.store.requests)


@pytest.mark.parametrize("how", IN_PLACE)
async def test_a_segment_that_would_expire_is_sent_again_before_an_slo_stands_on_it(how):
    bed = CourierBed(BIG, **how)
    await interrupted(bed, "SLO", 0)
    name = bed.segments[4]
    stored = bed.store.segments.objects[name]
    bed.store.segments.objects[name] = replace(stored, expires=bed.now + LIFE)
    await bed.until_settled(3)
    assert bed.store.segments.objects[name].expires is None
    bed.now += 10 * LIFE
    assert bed.store.data(bed.full) == BIG


@pytest.mark.parametrize("cause", ["rotten", "unreadable", "conflict"])
@pytest.mark.parametrize("how", IN_PLACE)
async def test_what_was_to_stay_and_is_given_up_is_deleted(how, cause):
    bed = CourierBed(BIG, **how)
    await interrupted(bed, "PUT", 4)
    assert bed.segments
    if cause == "rotten":
        bed.source.rotten = {4 * UNIT + 1}
    elif cause == "unreadable":
        bed.source.unreadable_at = 4 * UNIT + 1
    else:
        bed.store.place(bed.full, b"somebody's")
    await bed.until_settled(3)
    assert bed.item.phase is Phase.REFUSED
    assert bed.segments == []


@pytest.mark.parametrize("how", IN_PLACE)
async def test_a_refusal_waits_until_nothing_is_left_that_would_stay(how):
    bed = CourierBed(BIG, **how)
    bed.source.rotten = {3 * UNIT}
    bed.store.aimed = {("DELETE", 0): Fault("before")}
    with pytest.raises(Transient):
        await bed.carry()
    with pytest.raises(Refused, match="damaged"):
        await bed.carry()
    assert bed.segments == []


@pytest.mark.parametrize("data", [SMALL, BIG])
@pytest.mark.parametrize("server", [name for name, quirks in SERVERS.items() if not CAN[quirks].guards])
async def test_where_the_guard_is_not_heeded_nothing_is_replaced_all_the_same(server, data):
    bed = CourierBed(data, quirks=SERVERS[server])
    bed.store.place(bed.full, b"somebody's")
    with pytest.raises(Refused) as refused:
        await bed.carry()
    assert refused.value.code == "exists"
    assert bed.store.data(bed.full) == b"somebody's"


WHOLE = [name for name, quirks in SERVERS.items() if CAN[quirks].joins is None or not CAN[quirks].slo]


@pytest.mark.parametrize("name", [VOLUME, SIGNATURES, GZIPPED])
@pytest.mark.parametrize("server", WHOLE)
async def test_a_large_object_goes_up_in_one_piece_where_nothing_else_is_proven(server, name):
    data = BIG if name == VOLUME else signatures(5 * UNIT)
    bed = CourierBed(data, name, hashed=name == VOLUME, quirks=SERVERS[server])
    await interrupted(bed, "PUT", 0, Fault("body", after=2 * UNIT))
    assert bed.store.alive(segments=False) == {}
    bed.store.requests.clear()
    await bed.until_settled(3)
    assert bed.item.phase is Phase.DONE
    plain(bed)
    assert puts(bed) == [name]


@pytest.mark.parametrize("server", WHOLE)
async def test_over_the_largest_object_it_is_refused_with_the_cause_or_waits(server):
    bed = CourierBed(BIG, quirks=SERVERS[server], limits=replace(LIMITS, max_object=3 * UNIT))
    if bed.can.slo:
        assert await bed.carry() == md5(BIG)
        return
    with pytest.raises(Refused) as refused:
        await bed.carry()
    assert refused.value.code == "no-way"
    assert "192 bytes" in refused.value.what


async def test_a_whole_file_that_has_rotted_since_it_was_proven_is_refused():
    bed = CourierBed(BIG, quirks=SERVERS["no slo"])
    bed.item = replace(bed.item, md5=md5(BIG))
    bed.source.rotten = {3 * UNIT}
    with pytest.raises(Refused) as refused:
        await bed.carry()
    assert refused.value.code == "rotten"
    assert bed.store.alive(segments=False) == {}


async def test_a_quota_that_holds_the_object_but_not_its_copy_gets_it_in_one_piece():
    bed = CourierBed(BIG, quirks=replace(SWIFT, quota=len(BIG) + 10), can=CAN[SWIFT])
    await bed.until_settled(4)
    assert bed.item.phase is Phase.DONE
    assert [error.code for error in bed.errors] == ["cramped"]
    plain(bed)


async def test_a_quota_that_does_not_even_hold_the_object_says_how_much_is_needed():
    bed = CourierBed(BIG, quirks=replace(SWIFT, quota=len(BIG) - 1), can=CAN[SWIFT])
    bed.cramped = True
    with pytest.raises(NeedsUser, match=f"needs {len(BIG)} bytes"):
        await bed.carry()


async def test_segments_that_have_no_room_say_how_much_is_needed_and_stay():
    bed = CourierBed(BIG, quirks=replace(SWIFT, quota=len(BIG) - 1), can=CAN[SWIFT])
    with pytest.raises(NeedsUser, match=f"needs {len(BIG)} bytes"):
        await bed.carry()
    assert bed.segments
    bed.store.quirks = SWIFT
    await bed.carry()
    plain(bed)


async def test_segments_that_others_leave_no_room_go_and_the_file_goes_up_in_one_piece():
    """Another lane's segments stand beside what was just joined from them: that passes, and is no full account."""
    bed = CourierBed(BIG, quirks=replace(SWIFT, quota=len(BIG) + UNIT), can=CAN[SWIFT])
    bed.courier._segments._uploads[replace(bed.item.file, name="another")] = SegmentedUpload(UNIT, Hashes())
    bed.store.segments.objects["slowboat1/other"] = Stored(bytes(2 * UNIT), modified=bed.now)
    with pytest.raises(Transient) as told:
        await bed.carry()
    assert told.value.code == "cramped"
    assert bed.segments == ["slowboat1/other"]
    del bed.store.segments.objects["slowboat1/other"]
    bed.cramped = True
    await bed.carry()
    plain(bed)


async def test_what_was_begun_in_segments_makes_room_before_it_goes_up_in_one_piece():
    bed = CourierBed(BIG, quirks=replace(SWIFT, quota=len(BIG) + UNIT), can=CAN[SWIFT])
    await interrupted(bed, "PUT", 4, Fault("before", "cancel"))
    assert len(bed.segments) >= 3
    bed.cramped = True
    await bed.carry()
    plain(bed)
    assert bed.segments == []


async def test_a_large_file_asks_once_what_stands_at_its_name_before_anything_is_paid_for():
    bed = CourierBed(BIG, quirks=SERVERS["no slo"])
    await bed.carry()
    first_put = next(at for at, asked in enumerate(bed.store.requests) if asked.startswith("PUT"))
    assert [asked for asked in bed.store.requests[:first_put] if asked.startswith("HEAD")] == [f"HEAD {bed.full}"]


@pytest.mark.parametrize("how", IN_PLACE)
async def test_an_slo_of_the_right_size_with_another_etag_is_not_believed(how):
    bed = CourierBed(BIG, **how)
    await bed.carry()
    stands = await bed.store.head(bed.full)
    assert matches(bed.item, stands)
    assert not matches(bed.item, replace(stands, md5="0" * 32))
    assert not matches(replace(bed.item, slo_md5=""), stands)
    assert await bed.same(replace(stands, md5="0" * 32)) == ""


@pytest.mark.parametrize("request_", [*[("PUT", number) for number in range(6)], ("SLO", 0), ("HEAD", 2)])
async def test_whatever_is_abandoned_expires(request_):
    bed = CourierBed(BIG)
    await interrupted(bed, *request_, Fault("after", "cancel"))
    assert bed.segments
    assert all(stored.expires for stored in bed.store.alive(segments=True).values())
    bed.now += LIFE + 1
    assert bed.segments == []
    assert bed.store.alive(segments=False) == {}


@pytest.mark.parametrize("cause", ["absent", "unreadable", "changed"])
async def test_the_drives_trouble_is_the_drives(cause):
    bed = CourierBed(BIG)
    if cause == "absent":
        bed.source.absent_at = 2 * UNIT + 5
    elif cause == "unreadable":
        bed.source.unreadable_at = 2 * UNIT + 5
    else:
        bed.source.touch(VOLUME, volume(len(BIG), seed=2))
    with pytest.raises(SourceAbsent if cause == "absent" else Refused):
        await bed.carry()
    assert bed.store.alive(segments=False) == {}
    assert len(bed.segments) == (0 if cause == "changed" else 2)
    bed.source.absent_at = bed.source.unreadable_at = None
    if cause != "changed":
        await bed.carry()
        plain(bed)
        assert bed.store.paid_twice == []


async def test_a_file_that_was_replaced_owes_nothing_to_the_one_before():
    bed = CourierBed(BIG)
    await interrupted(bed, "PUT", 4)
    other = volume(len(BIG), seed=3)
    bed.source.touch(VOLUME, other)
    fresh = CourierBed(other)
    bed.item, bed.right = replace(fresh.item, file=bed.source.file(VOLUME), segment=UNIT), other
    await bed.carry()
    plain(bed)


async def test_a_copy_whose_checksum_is_wrong_is_refused_and_what_made_it_goes():
    bed = CourierBed(BIG)
    await interrupted(bed, "SLO", 0)
    honest = bed.store.copy

    async def copy(source, name, *, etag):
        return await honest(source, name, etag="0" * 32)

    bed.store.copy = copy
    sent = dict(bed.store.sent)
    await bed.until_settled(3)
    assert [(type(error), error.code) for error in bed.errors] == [(Transient, "mismatch"), (Refused, "mismatch")]
    assert bed.store.sent == sent, "each segment was looked at, and none is sent again"
    assert bed.segments == []
    assert bed.store.alive(segments=False) == {}


@pytest.mark.parametrize(
    "how", [{}, *[each.values[0] for each in IN_PLACE]], ids=["copy", "large", "no copy", "gateway"]
)
@pytest.mark.parametrize("name", [VOLUME, SIGNATURES, GZIPPED])
async def test_cancelled_at_every_await_in_turn_it_ends_right(name, how):
    data = volume(5 * UNIT) if name == VOLUME else signatures(5 * UNIT)
    step = 0
    while True:
        bed = CourierBed(data, name, hashed=name == VOLUME, **how)
        task = asyncio.create_task(bed.act())
        for _ in range(step):
            await asyncio.sleep(0)
        if task.done():
            break
        task.cancel()
        await asyncio.wait([task])
        if step % 2:
            bed.restart()
        stands = bed.store.alive(segments=False)
        assert not stands or bed.store.data(bed.full) == data
        await bed.until_settled(4)
        assert bed.item.phase is Phase.DONE
        assert bed.store.data(bed.full) == data
        assert bed.store.paid_twice == []
        if not bed.in_place:
            plain(bed)
        step += 1
    assert step > 40


async def test_the_same_bytes_are_recognised_and_others_are_not():
    bed = CourierBed(BIG)
    await bed.carry()
    stands = await bed.store.head(bed.full)
    bed.restart(forget=True)
    assert await bed.same(stands) == md5(BIG)
    assert await bed.same(replace(stands, md5="0" * 32)) == ""
    assert await bed.same(replace(stands, size=1)) == ""
    assert await bed.same(replace(stands, slo=True)) == ""


@pytest.mark.parametrize(
    "how", [{}, *[each.values[0] for each in IN_PLACE]], ids=["copy", "large", "no copy", "gateway"]
)
@pytest.mark.parametrize("reading", [0, 1, 2])
@pytest.mark.parametrize("name", [SIGNATURES, GZIPPED])
async def test_one_wrong_reading_does_not_make_it_somebody_elses(name, how, reading):
    bed = CourierBed(signatures(6 * UNIT), name, hashed=False, **how)
    await bed.carry()
    bed.restart(forget=True)
    await _misread_in(bed, reading)
    assert await bed.same(await bed.store.head(bed.full)) == md5(bed.right)


async def test_sweeping_touches_no_other_object():
    bed = CourierBed(BIG)
    other = names.segment_name(PREFIX + VOLUME + ".x", 10, 5, 0)
    await bed.store.put(other, b"12345", 5, segments=True, expires_after=LIFE)
    await interrupted(bed, "PUT", 3)
    await bed.courier.sweep(bed.item)
    assert bed.segments == [other]


OTHER_WAY = [(SWIFT, NO_COPY), (SWIFT, RGW), (NO_COPY, SWIFT), (SWIFT, SERVERS["no slo"]), (NO_COPY, SERVERS["no slo"])]


@pytest.mark.parametrize("step", [("PUT", 3), ("SLO", 0)])
@pytest.mark.parametrize(("before", "after"), OTHER_WAY)
async def test_a_store_that_has_become_another_one_in_the_middle_of_an_object(before, after, step):
    bed = CourierBed(BIG, quirks=before)
    await interrupted(bed, *step)
    bed.store.quirks, bed.can = after, CAN[after]
    bed.restart()
    await bed.until_settled(3)
    assert bed.item.phase is Phase.DONE
    await bed.finish()
    bed.now += 10 * LIFE
    bed.store.reap()
    assert bed.store.data(bed.full) == BIG
    if bed.in_place:
        assert len(bed.segments) == 6
    else:
        plain(bed)
