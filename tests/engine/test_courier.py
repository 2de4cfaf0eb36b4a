"""One object to the target: what goes up, what is read, what is left behind, and what is never done."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from engine.crew import (
    GZIPPED,
    LIMITS,
    PREFIX,
    SIGNATURES,
    UNIT,
    VOLUME,
    Crew,
    encrypted,
    md5,
    signatures,
    small_units,
    volume,
)
from engine.model_store import Fault
from slowboat.core import names
from slowboat.core.errors import Refused, SourceAbsent, Transient
from slowboat.core.words import Phase
from slowboat.engine.courier import LIFE

if TYPE_CHECKING:
    from collections.abc import Callable

BIG = volume(5 * UNIT + 7)
SMALL = volume(UNIT)


@pytest.fixture(autouse=True)
def _small_units():
    with small_units():
        yield


def puts(crew: Crew) -> list[str]:
    return [request.split("/")[-1] for request in crew.store.requests if request.startswith("PUT")]


async def interrupted(crew: Crew, verb: str, number: int, fault: Fault | None = None) -> None:
    """A carry that is broken in the request `number` (from 0) of a verb, of all that there are."""
    crew.store.aimed = {(verb, number): fault or Fault("before")}
    with pytest.raises((Transient, asyncio.CancelledError)):
        await crew.carry()
    assert crew.store.aimed == {}


def plain(crew: Crew) -> None:
    """The right object stands alone, plain, forever, and nothing else anywhere."""
    (name, stored), *others = crew.store.alive(segments=False).items()
    assert (name, stored.data, stored.slo, stored.expires, others) == (crew.full, crew.right, False, None, [])
    assert crew.segments == []


async def test_a_small_volume_is_one_put_read_once():
    crew = Crew(SMALL)
    assert await crew.carry() == md5(SMALL)
    plain(crew)
    assert crew.store.requests == [f"PUT {crew.full}"]
    assert crew.source.bytes_read[VOLUME] == len(SMALL)
    assert crew.item.md5 == md5(SMALL)
    assert crew.item.segment == 0


@pytest.mark.parametrize("size", [0, 1, 2 * UNIT, 2 * UNIT + 1, 3 * UNIT, 1000])
async def test_every_size_arrives(size):
    crew = Crew(volume(size))
    assert await crew.carry() == md5(crew.right)
    plain(crew)
    assert bool(crew.item.segment) == (size > 2 * UNIT)


async def test_a_large_volume_goes_in_segments_read_once_and_leaves_nothing():
    crew = Crew(BIG)
    assert await crew.carry() == md5(BIG)
    plain(crew)
    assert crew.source.bytes_read[VOLUME] == len(BIG)
    assert sum(crew.store.sent.values()) == len(BIG) == crew.confirmed
    assert crew.item.segment == UNIT
    assert puts(crew) == [f"{index:08d}" for index in range(6)]


async def test_nothing_is_left_though_the_listing_shows_none_of_it():
    crew = Crew(BIG)
    crew.store.lag = 1000
    await crew.carry()
    plain(crew)


async def test_segments_and_slo_expire_the_object_never():
    seen = []
    crew = Crew(BIG, changed=lambda: seen.extend(crew.store.alive(segments=True).values()))
    await crew.carry()
    assert {stored.expires for stored in seen} == {crew.now + LIFE}
    assert crew.store.target.objects[crew.full].expires is None


@pytest.mark.parametrize("how", ["break", "cancel"])
@pytest.mark.parametrize("when", ["before", "body", "after"])
async def test_it_goes_on_in_the_middle_and_reads_no_confirmed_byte_again(when, how):
    crew = Crew(BIG)
    await interrupted(crew, "PUT", 3, Fault(when, how, after=16))
    read = crew.source.bytes_read[VOLUME]
    crew.store.requests.clear()
    await crew.carry()
    plain(crew)
    assert puts(crew)[:1] == ["00000004" if when == "after" else "00000003"]
    assert crew.source.bytes_read[VOLUME] - read == len(BIG) - 3 * UNIT
    assert crew.store.paid_twice == []


@pytest.mark.parametrize("forget", [False, True])
async def test_after_a_restart_one_listing_finds_what_is_there(forget):
    crew = Crew(BIG)
    await interrupted(crew, "PUT", 4, Fault("body", "cancel", after=20))
    crew.restart(forget=forget)
    crew.store.requests.clear()
    await crew.carry()
    plain(crew)
    assert puts(crew) == ["00000004", "00000005"]
    assert sum(request.startswith("LIST backup/") for request in crew.store.requests) == 0
    before_puts = crew.store.requests[: next(i for i, r in enumerate(crew.store.requests) if r.startswith("PUT"))]
    assert sum(request.startswith("LIST") for request in before_puts) == 1


async def test_what_was_begun_keeps_its_segment_size():
    crew = Crew(volume(20 * UNIT))
    await interrupted(crew, "PUT", 4)
    crew.restart(forget=True)
    crew.line = replace(crew.line, rate=30.0)
    assert crew.item.segment == 0
    await crew.carry()
    assert crew.item.segment == UNIT
    assert crew.store.paid_twice == []
    plain(crew)


async def test_a_listing_that_lags_is_checked_by_head():
    crew = Crew(BIG)
    await interrupted(crew, "PUT", 4)
    crew.store.lag = 1000
    crew.restart()
    await crew.carry()
    assert crew.store.paid_twice == []
    plain(crew)


async def test_a_listing_that_lags_is_checked_by_head_behind_a_segment_that_was_lost():
    crew = Crew(BIG)
    await interrupted(crew, "PUT", 4)
    crew.store.lag = 1000
    crew.store.lose(crew.segments[0])
    crew.restart()
    await crew.carry()
    assert crew.store.paid_twice == []
    plain(crew)


async def test_a_stale_row_is_checked_by_head():
    crew = Crew(BIG)
    await interrupted(crew, "PUT", 4)
    name = crew.segments[1]
    right = crew.store.segments.objects[name]
    crew.store.garble(name)
    crew.store.segments.objects[name] = right  # the listing shows what stood there a moment ago
    crew.restart()
    await crew.carry()
    assert crew.store.paid_twice == []
    plain(crew)


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("harm", ["garble", "lose"])
async def test_a_segment_that_is_wrong_or_lost_at_the_server_is_sent_again(harm, restart):
    crew = Crew(BIG)
    await interrupted(crew, "PUT", 4)
    getattr(crew.store, harm)(crew.segments[1])
    if restart:
        crew.restart()
    await crew.until_settled()
    assert crew.item.phase is Phase.DONE
    plain(crew)
    sent = [name for name, count in crew.store.sent.items() if count > UNIT]
    assert [name.split("/")[-1] for name in sent] == ["00000001"]


async def test_rows_of_expired_segments_that_nobody_reaps_are_no_dead_end():
    crew = Crew(BIG)
    await interrupted(crew, "PUT", 4)
    crew.now += LIFE + 1
    crew.restart()
    await crew.until_settled(6)
    assert crew.item.phase is Phase.DONE
    plain(crew)


async def test_segments_are_renewed_after_half_their_life():
    crew = Crew(BIG)
    await interrupted(crew, "PUT", 4)
    crew.now += LIFE / 2 + 1
    crew.restart()
    await interrupted(crew, "SLO", 0)
    assert {crew.store.segments.objects[name].expires for name in crew.segments} == {crew.now + LIFE}
    crew.now += LIFE / 2 - 1
    crew.store.requests.clear()
    await crew.carry()
    assert not any(request.startswith("POST") for request in crew.store.requests)
    plain(crew)


async def test_a_rotten_small_volume_is_refused_after_two_readings():
    crew = Crew(SMALL)
    crew.source.rotten = {9}
    with pytest.raises(Refused) as refused:
        await crew.carry()
    assert refused.value.code == "rotten"
    assert VOLUME in refused.value.what
    assert crew.store.requests == []
    assert crew.source.bytes_read[VOLUME] == 2 * len(SMALL)


async def test_a_rotten_large_volume_never_stands_and_leaves_nothing():
    crew = Crew(BIG)
    crew.source.rotten = {3 * UNIT}
    with pytest.raises(Refused) as refused:
        await crew.carry()
    assert refused.value.code == "rotten"
    assert not any(request.startswith(("COPY", "SLO")) for request in crew.store.requests)
    assert crew.store.alive(segments=False) == {}
    assert crew.segments == []


async def test_a_rotten_verdict_is_not_lost_over_the_sweeping():
    crew = Crew(BIG)
    crew.source.rotten = {3 * UNIT}
    crew.store.aimed = {("DELETE", 0): Fault("before")}
    with pytest.raises(Refused, match="damaged"):
        await crew.carry()
    assert all(stored.expires for stored in crew.store.alive(segments=True).values())


@pytest.mark.parametrize("data", [SMALL, BIG])
async def test_one_wrong_reading_is_no_verdict(data):
    crew = Crew(data)
    crew.source.misreads = [UNIT - 1]
    await crew.until_settled(3)
    assert crew.item.phase is Phase.DONE
    assert {getattr(error, "code", "") for error in crew.errors} <= {"misread"}
    plain(crew)


async def test_one_wrong_reading_of_a_segment_that_must_go_again_is_no_verdict():
    crew = Crew(BIG)
    await interrupted(crew, "PUT", 4)
    crew.store.lose(crew.segments[1])
    crew.store.segments.journal = [row for row in crew.store.segments.journal if not row[0].endswith("1")]
    crew.source.misreads = [UNIT + 1]
    await crew.until_settled(4)
    assert crew.item.phase is Phase.DONE
    assert [getattr(error, "code", "") for error in crew.errors] == ["misread"]
    plain(crew)


UNHASHED = [SIGNATURES, VOLUME, GZIPPED]
"""Of the volumes, the plain manifest is gone."""


def unhashed(size: int, name: str, damaged: Callable[[bytes], bytes] = bytes) -> Crew:
    """A sound file of a size, then damaged, of which nobody knows the SHA-1."""
    sound = encrypted(size) if name == VOLUME else signatures(size)
    return Crew(damaged(sound), name, hashed=False)


@pytest.mark.parametrize("size", [2 * UNIT, 6 * UNIT])
@pytest.mark.parametrize("name", UNHASHED)
async def test_what_has_no_sha1_is_read_twice_and_sent_once(name, size):
    crew = unhashed(size, name)
    assert await crew.carry() == md5(crew.right)
    assert crew.source.bytes_read[name] == 2 * size
    assert sum(crew.store.sent.values()) == size
    plain(crew)


@pytest.mark.parametrize("size", [2 * UNIT, 6 * UNIT])
@pytest.mark.parametrize("reading", [0, 1])
@pytest.mark.parametrize("name", UNHASHED)
async def test_what_has_no_sha1_arrives_right_though_one_reading_is_wrong(name, reading, size):
    crew = unhashed(size, name)
    await _misread_in(crew, reading)
    await crew.until_settled(4)
    assert crew.item.phase is Phase.DONE, crew.errors
    assert crew.item.md5 == md5(crew.right)
    plain(crew)


async def _misread_in(crew: Crew, reading: int) -> None:
    """A byte of gzip's time stamp or gpg's salt (which no framing covers) comes wrong in the given reading."""
    source, taken = crew.source, 0
    original = source.__class__.digest

    async def digest(file, offset=0, length=None, feed=None):
        nonlocal taken
        if taken == reading:
            source.misreads = [offset + 4]
        taken += 1
        return await original(source, file, offset, length, feed)

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
    crew = unhashed(size, name, damaged)
    with pytest.raises(Refused) as refused:
        await crew.carry()
    assert refused.value.code == "framing"
    assert refused.value.what.startswith(f"{name} is damaged on the drive: it ")
    assert ("volume" in refused.value.hint) == (name != SIGNATURES)
    assert crew.store.sent == {}


@pytest.mark.parametrize("chain", [0, 1])
async def test_what_a_lost_volume_costs_is_said_as_it_is(chain):
    crew = unhashed(2 * UNIT, VOLUME, lambda sound: sound[:-1])
    crew.item = replace(crew.item, chain=chain)
    with pytest.raises(Refused) as refused:
        await crew.carry()
    assert refused.value.what.endswith("ends too early")
    assert ("new full backup of it" in refused.value.hint) == (chain == 0)


async def test_a_volume_with_a_sha1_is_what_that_says_whatever_its_framing():
    crew = Crew(b"no gpg file at all", VOLUME)
    assert await crew.carry() == md5(crew.right)
    plain(crew)


@pytest.mark.parametrize("name", UNHASHED)
async def test_what_stands_at_the_target_is_not_confirmed_by_a_file_that_is_not_whole(name):
    crew = unhashed(2 * UNIT, name, lambda sound: sound[:-1].rstrip(b"\0")[:-5])
    crew.store.place(crew.full, crew.right)
    with pytest.raises(Refused) as refused:
        await crew.courier.same(crew.item, await crew.store.head(crew.full))
    assert refused.value.code == "framing"


@pytest.mark.parametrize("name", UNHASHED)
async def test_what_has_no_sha1_and_differs_from_what_was_confirmed_once_is_refused(name):
    crew = unhashed(6 * UNIT, name)
    crew.item = replace(crew.item, md5="0" * 32)
    with pytest.raises(Refused) as refused:
        await crew.carry()
    assert refused.value.code == "unstable"
    assert crew.store.alive(segments=False) == {}
    assert crew.segments == []


@pytest.mark.parametrize("data", [SMALL, BIG])
async def test_an_object_at_the_final_name_is_left_alone(data):
    crew = Crew(data)
    crew.store.place(crew.full, b"somebody's")
    with pytest.raises(Refused) as refused:
        await crew.carry()
    assert refused.value.code == "exists"
    assert crew.store.data(crew.full) == b"somebody's"
    assert crew.segments == []


async def test_an_object_that_appears_meanwhile_is_left_alone():
    crew = Crew(BIG)
    copied = []

    def changed() -> None:
        if crew.segments and crew.segments[-1].endswith("/slo") and not copied:
            copied.append(True)
            crew.store.place(crew.full, b"somebody's")

    crew.store.changed = changed
    with pytest.raises(Refused) as refused:
        await crew.carry()
    assert refused.value.code == "exists"
    assert crew.store.data(crew.full) == b"somebody's"


IN_PLACE = [
    pytest.param({"limits": replace(LIMITS, max_object=3 * UNIT)}, id="over the largest object"),
    pytest.param({"concatenates": False}, id="COPY does not concatenate"),
]


@pytest.mark.parametrize("how", IN_PLACE)
async def test_an_slo_stays_in_place_and_nothing_of_it_expires(how):
    crew = Crew(BIG, **how)
    assert await crew.carry() == md5(BIG)
    crew.now += 10 * LIFE
    crew.store.reap()
    assert crew.store.data(crew.full) == BIG
    stands = await crew.store.head(crew.full)
    assert stands.slo
    assert len(crew.segments) == 6
    assert not any(name.endswith("/slo") for name in crew.segments)
    await crew.finish()
    await crew.courier.sweep(crew.item)
    assert crew.store.data(crew.full) == BIG


@pytest.mark.parametrize("how", IN_PLACE)
@pytest.mark.parametrize("forget", [False, True])
async def test_an_slo_whose_answer_was_lost_is_recognised_and_kept(how, forget):
    crew = Crew(BIG, **how)
    await interrupted(crew, "SLO", 0, Fault("after"))
    assert (await crew.store.head(crew.full)).slo
    crew.now += LIFE * 0.6
    crew.restart(forget=forget)
    await crew.until_settled(3)
    assert crew.item.phase is Phase.DONE
    crew.now += 10 * LIFE
    assert crew.store.data(crew.full) == BIG


@pytest.mark.parametrize("how", IN_PLACE)
async def test_an_slo_is_recognised_though_the_listing_lags(how):
    crew = Crew(BIG, **how)
    await crew.carry()
    crew.store.lag = 1000
    crew.restart()
    assert await crew.courier.same(crew.item, await crew.store.head(crew.full)) == md5(BIG)


@pytest.mark.parametrize("how", IN_PLACE)
async def test_an_slo_is_recognised_though_ledger_and_listing_know_nothing(how):
    crew = Crew(BIG, **how)
    await crew.carry()
    crew.store.lag = 1000
    crew.restart(forget=True)
    await crew.until_settled(3)
    assert crew.item.phase is Phase.DONE
    assert crew.store.data(crew.full) == BIG


@pytest.mark.parametrize("how", IN_PLACE)
async def test_an_slo_that_has_lost_data_is_told_and_does_not_come_back_for_ever(how):
    crew = Crew(BIG, **how)
    await crew.carry()
    crew.store.lose(crew.segments[2])
    with pytest.raises(Refused) as refused:
        await crew.courier.same(crew.item, await crew.store.head(crew.full))
    assert refused.value.code == "segments-gone"


@pytest.mark.parametrize("forget", [False, True])
@pytest.mark.parametrize("lag", [0, 1000])
@pytest.mark.parametrize("how", IN_PLACE)
async def test_segments_made_permanent_for_an_slo_that_never_came_expire_again(how, lag, forget):
    crew = Crew(BIG, **how)
    crew.store.lag = lag
    await interrupted(crew, "SLO", 0, Fault("before", "cancel"))
    assert {stored.expires for stored in crew.store.alive(segments=True).values()} == {None}
    crew.restart(forget=forget)
    crew.source.absent_at = 0
    with pytest.raises(SourceAbsent):
        await crew.carry()
    assert {stored.expires for stored in crew.store.alive(segments=True).values()} == {crew.now + LIFE}


@pytest.mark.parametrize("request_", [*[("PUT", number) for number in range(6)], ("SLO", 0), ("HEAD", 2)])
async def test_whatever_is_abandoned_expires(request_):
    crew = Crew(BIG)
    await interrupted(crew, *request_, Fault("after", "cancel"))
    assert crew.segments
    assert all(stored.expires for stored in crew.store.alive(segments=True).values())
    crew.now += LIFE + 1
    assert crew.segments == []
    assert crew.store.alive(segments=False) == {}


@pytest.mark.parametrize("cause", ["absent", "unreadable", "changed"])
async def test_the_drives_trouble_is_the_drives(cause):
    crew = Crew(BIG)
    if cause == "absent":
        crew.source.absent_at = 2 * UNIT + 5
    elif cause == "unreadable":
        crew.source.unreadable_at = 2 * UNIT + 5
    else:
        crew.source.touch(VOLUME, volume(len(BIG), seed=2))
    with pytest.raises(SourceAbsent if cause == "absent" else Refused):
        await crew.carry()
    assert crew.store.alive(segments=False) == {}
    assert len(crew.segments) == (0 if cause == "changed" else 2)
    crew.source.absent_at = crew.source.unreadable_at = None
    if cause != "changed":
        await crew.carry()
        plain(crew)
        assert crew.store.paid_twice == []


async def test_a_file_that_was_replaced_owes_nothing_to_the_one_before():
    crew = Crew(BIG)
    await interrupted(crew, "PUT", 4)
    other = volume(len(BIG), seed=3)
    crew.source.touch(VOLUME, other)
    fresh = Crew(other)
    crew.item, crew.right = replace(fresh.item, file=crew.source.file(VOLUME), segment=UNIT), other
    await crew.carry()
    plain(crew)


async def test_a_copy_whose_checksum_is_wrong_is_refused_and_what_made_it_goes():
    crew = Crew(BIG)
    await interrupted(crew, "SLO", 0)
    honest = crew.store.copy

    async def copy(source, name, *, etag):
        return await honest(source, name, etag="0" * 32)

    crew.store.copy = copy
    with pytest.raises(Refused) as refused:
        await crew.carry()
    assert refused.value.code == "mismatch"
    assert crew.segments == []
    assert crew.store.alive(segments=False) == {}


@pytest.mark.parametrize("how", [{}, *[each.values[0] for each in IN_PLACE]], ids=["copy", "large", "no copy"])
@pytest.mark.parametrize("name", [VOLUME, SIGNATURES, GZIPPED])
async def test_cancelled_at_every_await_in_turn_it_ends_right(name, how):
    data = volume(5 * UNIT) if name == VOLUME else signatures(5 * UNIT)
    step = 0
    while True:
        crew = Crew(data, name, hashed=name == VOLUME, **how)
        task = asyncio.create_task(crew.act())
        for _ in range(step):
            await asyncio.sleep(0)
        if task.done():
            break
        task.cancel()
        await asyncio.wait([task])
        if step % 2:
            crew.restart()
        stands = crew.store.alive(segments=False)
        assert not stands or crew.store.data(crew.full) == data
        await crew.until_settled(4)
        assert crew.item.phase is Phase.DONE
        assert crew.store.data(crew.full) == data
        assert crew.store.paid_twice == []
        if not crew.in_place:
            plain(crew)
        step += 1
    assert step > 40


async def test_the_same_bytes_are_recognised_and_others_are_not():
    crew = Crew(BIG)
    await crew.carry()
    stands = await crew.store.head(crew.full)
    crew.restart(forget=True)
    assert await crew.courier.same(crew.item, stands) == md5(BIG)
    assert await crew.courier.same(crew.item, replace(stands, md5="0" * 32)) == ""
    assert await crew.courier.same(crew.item, replace(stands, size=1)) == ""
    assert await crew.courier.same(crew.item, replace(stands, slo=True)) == ""


@pytest.mark.parametrize("how", [{}, *[each.values[0] for each in IN_PLACE]], ids=["copy", "large", "no copy"])
@pytest.mark.parametrize("reading", [0, 1, 2])
@pytest.mark.parametrize("name", [SIGNATURES, GZIPPED])
async def test_one_wrong_reading_does_not_make_it_somebody_elses(name, how, reading):
    crew = Crew(signatures(6 * UNIT), name, hashed=False, **how)
    await crew.carry()
    crew.restart(forget=True)
    await _misread_in(crew, reading)
    assert await crew.courier.same(crew.item, await crew.store.head(crew.full)) == md5(crew.right)


async def test_sweeping_touches_no_other_object():
    crew = Crew(BIG)
    other = names.segment_name(PREFIX + VOLUME + ".x", 10, 5, 0)
    await crew.store.put(other, b"12345", 5, segments=True, expires_after=LIFE)
    await interrupted(crew, "PUT", 3)
    await crew.courier.sweep(crew.item)
    assert crew.segments == [other]
