"""The engine and its clocks: sleep, a clock that is set, and waiting times that were reckoned by another clock."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from engine.courier_bed import VOLUME
from engine.engine_bed import DAY, HOME, HOUR, NOON, EngineBed, sailing
from engine.model_store import Fault
from slowboat.core.plan import RENEW_EVERY
from slowboat.core.words import Activity

if TYPE_CHECKING:
    from pathlib import Path


async def test_it_sails(tmp_path: Path) -> None:
    async with sailing(tmp_path) as bed:
        await bed.done()
        assert bed.puts() == 1


def waiting_until(bed: EngineBed) -> float:
    return next((one.until for one in bed.shown.reasons if one.code == "server-wait"), 0.0)


@pytest.mark.parametrize("back", [5 * HOUR, 400 * DAY])
async def test_a_clock_that_is_set_back_prolongs_no_wait(tmp_path: Path, back: float) -> None:
    async with sailing(tmp_path) as bed:
        bed.store.aimed = {("PUT", 0): Fault("before")}
        await bed.until(lambda: waiting_until(bed) > 0)
        left = waiting_until(bed) - bed.clock.wall
        bed.clock.set(-back)
        bed.engine.leapt()
        await asyncio.sleep(0.05)
        assert waiting_until(bed) - bed.clock.wall == pytest.approx(left, abs=1)
        bed.clock.run(left + 1)
        bed.engine.world_changed()
        await bed.done()


async def test_a_clock_that_is_set_ahead_ends_the_wait(tmp_path: Path) -> None:
    async with sailing(tmp_path) as bed:
        bed.store.aimed = {("PUT", 0): Fault("before")}
        await bed.until(lambda: waiting_until(bed) > 0)
        bed.clock.set(HOUR)
        bed.engine.leapt()
        await bed.done()


async def test_a_listing_from_the_future_proves_nothing(tmp_path: Path) -> None:
    """The clock goes back behind the listing just as the last object arrives: it is listed again before the end."""
    async with sailing(tmp_path) as bed:
        bed.store.changed = lambda: bed.clock.set(-2 * HOUR)
        await bed.done()
        verbs = [request.split()[0] for request in bed.store.requests]
        last_put = max(index for index, verb in enumerate(verbs) if verb == "PUT")
        assert "LIST" in verbs[last_put:]


async def test_a_confirmation_from_the_future_lets_nobody_list_for_ever(tmp_path: Path) -> None:
    async with sailing(tmp_path) as bed:
        await bed.done()
        bed.clock.set(-DAY)
        bed.engine.leapt()
        await asyncio.sleep(0.2)
        assert sum(request.startswith("LIST") for request in bed.store.requests) <= 3
        assert bed.shown.activity is Activity.DONE


async def test_a_handover_that_waits_for_another_year_is_tried_again(tmp_path: Path) -> None:
    """The clock was wrong when it was blocked, and right at the next start: an hour is the longest wait."""
    facts = {"handover": "blocked", "handover_at": repr(NOON + 365 * DAY), "handover_why": "somebody"}
    async with sailing(tmp_path, **facts) as bed:
        await bed.until(lambda: "cache" in bed.ledger.facts("m").get("handover_why", ""))
        assert float(bed.ledger.facts("m")["handover_at"]) == pytest.approx(NOON + HOUR, abs=60)


async def test_what_was_on_the_line_before_an_unannounced_sleep_is_broken_off_and_asked_for(tmp_path: Path) -> None:
    async with sailing(tmp_path) as bed:
        bed.store.set_cap(0)
        await bed.until(lambda: bed.puts() == 1)
        bed.clock.sleep(8 * HOUR)
        bed.engine.leapt()
        await bed.until(lambda: f"HEAD {VOLUME}" in bed.store.requests)
        bed.store.set_cap(None)
        await bed.done()
        assert bed.puts() == 2


async def test_a_clock_that_is_corrected_by_seconds_breaks_nothing_off(tmp_path: Path) -> None:
    async with sailing(tmp_path) as bed:
        bed.store.set_cap(0)
        await bed.until(lambda: bed.puts() == 1)
        for seconds in (3.0, -3.0):
            bed.clock.set(seconds)
            bed.engine.leapt()
            await asyncio.sleep(0.05)
        bed.store.set_cap(None)
        await bed.done()
        assert bed.puts() == 1


async def test_before_an_announced_sleep_nothing_is_left_on_the_line(tmp_path: Path) -> None:
    async with sailing(tmp_path) as bed:
        bed.store.set_cap(0)
        await bed.until(lambda: bed.puts() == 1)
        bed.sleeping = True
        async with asyncio.timeout(60):
            await bed.engine.stand_still()
        assert "sleep" in {one.code for one in bed.shown.reasons}
        before = len(bed.store.requests)
        await asyncio.sleep(0.1)
        assert len(bed.store.requests) == before
        bed.clock.sleep(8 * HOUR)
        bed.sleeping = False
        bed.store.set_cap(None)
        bed.engine.leapt()
        await bed.done()


async def test_a_pause_by_a_clock_that_was_years_ahead_ends_as_was_meant(tmp_path: Path) -> None:
    async with sailing(tmp_path) as bed:
        bed.engine.pause("", bed.clock.wall + 2 * HOUR)
        bed.engine.pause("m", bed.clock.wall + 3 * HOUR)
        bed.engine.set_limit(5000, bed.clock.wall + 4 * HOUR)
        bed.clock.set(-4 * 365 * DAY)
        bed.engine.leapt()
        assert bed.engine.report().paused_until == pytest.approx(bed.clock.wall + 2 * HOUR, abs=1)
        assert float(bed.ledger.facts("m")["paused_until"]) == pytest.approx(bed.clock.wall + 3 * HOUR, abs=1)
        assert bed.engine.report().limit_until == pytest.approx(bed.clock.wall + 4 * HOUR, abs=1)


async def test_a_pause_until_six_is_until_six_however_the_clock_is_corrected(tmp_path: Path) -> None:
    async with sailing(tmp_path) as bed:
        six = bed.clock.wall + 2 * HOUR
        bed.engine.pause("", six)
        for seconds in (-HOUR, 2 * HOUR):
            bed.clock.set(seconds)
            bed.engine.leapt()
            assert bed.engine.report().paused_until == six
        bed.clock.sleep(2 * HOUR)
        bed.engine.leapt()
        await bed.done()


async def test_segments_are_renewed_through_a_pause_of_a_year(tmp_path: Path) -> None:
    async with sailing(tmp_path) as bed:
        bed.begin()
        bed.engine.pause("", 0.0)
        await bed.until(lambda: bed.looks_after_segments() == 1)
        for look in range(2, 50):
            bed.clock.sleep(RENEW_EVERY)
            bed.engine.leapt()
            await bed.until(lambda look=look: bed.looks_after_segments() == look)
        assert len(bed.store.alive(segments=True)) == 1
        assert bed.shown.activity is Activity.PAUSED
        assert bed.puts() == 0
        bed.network = replace(HOME, metered=True)
        bed.clock.sleep(RENEW_EVERY)
        bed.engine.leapt()
        await asyncio.sleep(0.05)
        assert bed.looks_after_segments() == 49, "not over a network that is not to be used"
