"""A migration to each kind of server: it arrives by a way proven there, and the user hears once what it costs."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from engine.courier_bed import UNIT, VOLUME, small_units
from engine.engine_bed import FILES, HOME, EngineBed, sailing, volumes
from engine.model_store import ARCHIVE, CAN, CLOSED, NO_SLO, RGW, SERVERS, SWIFT
from slowboat.core.capabilities import PROBE_WAITS, parse
from slowboat.core.errors import NeedsUser, Refused, Transient
from slowboat.core.words import Activity, Connectivity, Limits, Network, Phase
from slowboat.edges.swift.probe import PROBES
from slowboat.engine.trouble import STUBBORN

if TYPE_CHECKING:
    from pathlib import Path


THREE = volumes(3)


@pytest.fixture(autouse=True)
def _small_units():
    with small_units():
        yield


def told(bed: EngineBed, kind: str) -> list[str]:
    return [text for _, _, what, text in bed.ledger.history() if what == kind]


def probes(bed: EngineBed) -> int:
    return sum(
        request.startswith("PUT slowboat1/probe/") and request.endswith("/guard") for request in bed.store.requests
    )


@pytest.mark.parametrize("server", SERVERS)
async def test_all_arrives_and_what_it_costs_is_said_once(tmp_path: Path, server: str) -> None:
    quirks = SERVERS[server]
    async with sailing(tmp_path, quirks=quirks, count=3, left=3, capabilities="") as bed:
        await bed.done()
        for name, body in THREE.items():
            assert bed.store.data(name) == body
        assert probes(bed) <= 2  # one, and the PUT that must not replace it
        can = parse(bed.ledger.facts("m")["capabilities"])
        assert can == CAN[quirks]
        in_place = can.slo and can.joins is False
        whole = not can.slo or can.joins is None
        assert len(told(bed, "store")) == bool(in_place or whole)
        assert [text for text in told(bed, "store") if "c_segments" in text] or not in_place
        bed.clock.run(400 * 86400)
        bed.store.reap()
        for name, body in THREE.items():
            assert bed.store.data(name) == body
        left = {name for name in bed.store.segments.objects if not name.startswith("slowboat1/probe/")}
        assert bool(left) == in_place


async def test_a_probe_that_is_answered_is_remembered(tmp_path: Path) -> None:
    async with sailing(tmp_path, quirks=RGW, count=2, left=2, capabilities=CAN[RGW].text()) as bed:
        await bed.done()
        assert probes(bed) == 0


async def test_a_server_that_refuses_all_slos_since_today_gets_whole_files(tmp_path: Path) -> None:
    async with sailing(tmp_path, count=3, left=3) as bed:

        async def put_slo(name, parts, **how):
            raise Transient('c does not accept it: "Invalid SLO Manifest File"', code="bad-request", scope="object")

        bed.store.put_slo = put_slo
        await bed.as_time_passes(lambda: bed.shown.activity is Activity.DONE)
        for name, body in THREE.items():
            assert bed.store.data(name) == body
        assert "Invalid SLO Manifest File" in told(bed, "store")[0]


@pytest.mark.parametrize("verb", ["SLO", "COPY", "DELETE 7"])
async def test_a_probe_that_a_kill_has_broken_off_leaves_nothing_in_the_end(tmp_path: Path, verb: str) -> None:
    """Also where nothing is left to send that would have it made again: a copy never expires."""
    bed = EngineBed(tmp_path, capabilities="")
    killed = asyncio.Event()
    honest = bed.store._request

    async def request(what, work):
        found = await honest(what, work)
        if what.startswith(verb) and ("/probe/" in what or what == verb):
            killed.set()
            await asyncio.Event().wait()  # the server has done it, and nobody hears
        return found

    bed.store._request = request
    task = asyncio.create_task(bed.engine.run())
    await asyncio.wait_for(killed.wait(), 20)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    del bed.store._request
    bed.store.place(VOLUME, FILES[VOLUME])
    bed.reload()
    task = asyncio.create_task(bed.engine.run())
    await bed.done()
    await bed.until(lambda: "finished_at" in bed.ledger.facts("m"))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert [name for name in bed.store.segments.objects if "/probe/" in name] == []
    bed.ledger.close()


async def test_the_users_word_asks_again(tmp_path: Path) -> None:
    wrong = CAN[SWIFT]
    async with sailing(tmp_path, quirks=RGW, capabilities=wrong.text()) as bed:
        await bed.until(lambda: any("arrived" in error or "checksum" in error for error in [bed.shown.last_error]))
        bed.engine.retry_now()
        await bed.done()
        assert parse(bed.ledger.facts("m")["capabilities"]) == CAN[RGW]


@pytest.mark.parametrize("in_between", [(), ("nowhere",)], ids=["at once", "by way of none"])
async def test_another_network_asks_again_also_what_was_answered(tmp_path: Path, in_between: tuple[str, ...]) -> None:
    """What answered there may have been a proxy of that network; a line that only comes and goes costs no probe."""
    async with sailing(tmp_path, quirks=RGW, capabilities=CAN[SWIFT].text()) as bed:
        bed.store.set_cap(0)
        await bed.until(lambda: bed.puts() > 0)
        assert probes(bed) == 0
        bed.clock.run(PROBE_WAITS[0])

        async def goes(*networks: Network) -> None:
            for network in networks:
                bed.network = network
                bed.engine.world_changed()
            puts = bed.puts()
            bed.engine._migrations["m"]._break_off()
            await bed.until(lambda: bed.puts() > puts)

        offline = Network(Connectivity.NONE, metered=False, names=(), types=(), witness="test")
        await goes(offline, HOME)
        assert probes(bed) == 0
        await goes(*[offline for _ in in_between], replace(HOME, names=("hotel",)))
        assert probes(bed) == 1
        bed.store.set_cap(None)
        await bed.done()
        assert parse(bed.ledger.facts("m")["capabilities"]) == CAN[RGW]


async def test_a_store_that_is_not_as_it_was_is_asked_again_by_itself(tmp_path: Path) -> None:
    async with sailing(tmp_path, quirks=RGW, capabilities=CAN[SWIFT].text()) as bed:
        await bed.as_time_passes(lambda: bed.shown.activity is Activity.DONE)
        assert bed.store.data(VOLUME) == FILES[VOLUME]
        assert told(bed, "refused") == []


async def test_what_has_no_answer_is_asked_less_and_less_and_then_told_no_more(tmp_path: Path) -> None:
    async with sailing(tmp_path, quirks=ARCHIVE, count=3, left=3, capabilities="") as bed:
        await bed.done()
        assert "not yet known" in told(bed, "store")[0]
        assert "it is not readable yet" in told(bed, "store")[0]


async def test_over_the_largest_object_a_server_without_slos_refuses_all_alike_once(tmp_path: Path) -> None:
    limits = Limits(max_object=2 * UNIT)
    async with sailing(tmp_path, quirks=NO_SLO, limits=limits, count=3, left=3, capabilities="") as bed:
        await bed.until(lambda: bed.shown.activity in (Activity.NEEDS_USER, Activity.DONE))
        items = bed.ledger.items("m")
        assert [item.phase for item in items].count(Phase.REFUSED) == 3
        assert sum("cannot be moved" in notice.title for notice in bed.notices) == 1
        assert len(told(bed, "refused")) == 3
        assert any("128 bytes" in reason.text for reason in bed.shown.reasons)
        assert any("2 more" in reason.text for reason in bed.shown.reasons)


@pytest.mark.parametrize("error", [Refused("a name", code="no-way"), NeedsUser("may not write", code="forbidden")])
async def test_what_holds_for_the_whole_target_is_told_once(tmp_path: Path, error: Exception) -> None:
    async with sailing(tmp_path, count=3, left=3) as bed:
        tried = []

        async def put(name, body, size, **how):
            tried.append(name)
            raise type(error)(f"{error.what}: {name}", code=error.code)

        bed.store.put = put
        urgent = lambda: [notice for notice in bed.notices if notice.urgent and "all but" not in notice.title]  # noqa: E731
        await bed.until(lambda: bool(urgent()))
        looks = bed.looks()
        for hour in range(10):
            bed.clock.run(3700)
            bed.engine.rescan()  # what it sees at the target goes well each time, and is not what was in the way
            await bed.until(lambda hour=hour: bed.looks() > looks + hour)
            bed.engine.world_changed()
            await bed.until(lambda: not bed.engine._under_way())
        assert len(urgent()) == 1
        assert len(tried) > 3 or isinstance(error, Refused), "it was tried again, and told no more"


async def test_the_same_answer_again_and_again_ends_with_the_servers_words(tmp_path: Path) -> None:
    async with sailing(tmp_path, count=3, left=3) as bed:
        asked, honest = [], bed.store.put_slo

        async def put_slo(name, parts, **how):
            if name.startswith(PROBES):
                return await honest(name, parts, **how)
            asked.append(name)
            raise Transient('c does not accept it: "Invalid SLO Manifest File"', code="bad-request", scope="object")

        bed.store.put_slo = put_slo
        await bed.as_time_passes(lambda: bed.shown.activity is Activity.NEEDS_USER)
        assert any('"Invalid SLO Manifest File"' in reason.text for reason in bed.shown.reasons)
        assert max(asked.count(name) for name in asked) <= STUBBORN + 1
        urgent = [notice for notice in bed.notices if notice.urgent]
        assert len(urgent) <= 2
        assert "Invalid SLO Manifest File" in urgent[0].body
        del bed.store.put_slo
        bed.engine.retry_now()
        await bed.as_time_passes(lambda: bed.shown.activity is Activity.DONE)
        for name, body in THREE.items():
            assert bed.store.data(name) == body


async def test_a_quota_without_room_for_the_copy_is_no_full_account(tmp_path: Path) -> None:
    room = sum(map(len, FILES.values())) + UNIT
    async with sailing(tmp_path, quirks=replace(SWIFT, quota=room)) as bed:
        await bed.as_time_passes(lambda: bed.shown.activity is Activity.DONE)
        assert bed.store.data(VOLUME) == FILES[VOLUME]
        assert not [notice for notice in bed.notices if notice.urgent]


async def test_a_line_that_breaks_the_probe_lets_the_small_ones_go(tmp_path: Path) -> None:
    async with sailing(tmp_path, capabilities="") as bed:
        honest, times = bed.store.observe, []

        async def observe(stem):
            times.append(bed.clock.wall)
            if len(times) <= 2:
                raise Transient("the connection broke", code="reset")
            return await honest(stem)

        bed.store.observe = observe
        await bed.as_time_passes(lambda: bed.shown.activity is Activity.DONE)
        assert len(times) == 3
        assert bed.store.data(VOLUME) == FILES[VOLUME]
        assert told(bed, "store") == []


async def test_where_no_segment_may_be_stored_nothing_waits_for_that(tmp_path: Path) -> None:
    async with sailing(tmp_path, quirks=CLOSED, capabilities="") as bed:
        await bed.done()
        assert "this user may not write there" in told(bed, "store")[0]
        assert not [notice for notice in bed.notices if notice.urgent]


async def test_a_listing_that_hides_slos_costs_one_request_for_each_and_not_one_at_each_look(tmp_path: Path) -> None:
    async with sailing(tmp_path, quirks=RGW, count=3, left=3, capabilities=CAN[RGW].text()) as bed:
        await bed.done()

        async def heads_of_a_look() -> int:
            before = len(bed.store.requests)
            await bed.engine.verify("m")
            return sum(request == f"HEAD {name}" for name in THREE for request in bed.store.requests[before:])

        await heads_of_a_look()
        assert await heads_of_a_look() == 0
        stored = bed.store.target.objects[VOLUME]
        bed.store.place(VOLUME, b"somebody else's")
        assert await heads_of_a_look() >= 1
        assert not bed.shown.restorable_from_cloud
        bed.store._write(bed.store.target, VOLUME, stored)
