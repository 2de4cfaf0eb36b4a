"""The engine and its clocks: sleep, a clock that is set, and waiting times that were reckoned by another clock."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from engine.boat import DAY, HOME, HOUR, NOON, Boat, sailing
from engine.crew import VOLUME
from engine.model_store import Fault
from slowboat.core.plan import RENEW_EVERY
from slowboat.core.words import Activity

if TYPE_CHECKING:
    from pathlib import Path


async def test_it_sails(tmp_path: Path) -> None:
    async with sailing(tmp_path) as boat:
        await boat.done()
        assert boat.puts() == 1


def waiting_until(boat: Boat) -> float:
    return next((one.until for one in boat.shown.reasons if one.code == "server-wait"), 0.0)


@pytest.mark.parametrize("back", [5 * HOUR, 400 * DAY])
async def test_a_clock_that_is_set_back_prolongs_no_wait(tmp_path: Path, back: float) -> None:
    async with sailing(tmp_path) as boat:
        boat.store.aimed = {("PUT", 0): Fault("before")}
        await boat.until(lambda: waiting_until(boat) > 0)
        left = waiting_until(boat) - boat.clock.wall
        boat.clock.set(-back)
        boat.engine.leapt()
        await asyncio.sleep(0.05)
        assert waiting_until(boat) - boat.clock.wall == pytest.approx(left, abs=1)
        boat.clock.run(left + 1)
        boat.engine.world_changed()
        await boat.done()


async def test_a_clock_that_is_set_ahead_ends_the_wait(tmp_path: Path) -> None:
    async with sailing(tmp_path) as boat:
        boat.store.aimed = {("PUT", 0): Fault("before")}
        await boat.until(lambda: waiting_until(boat) > 0)
        boat.clock.set(HOUR)
        boat.engine.leapt()
        await boat.done()


async def test_a_listing_from_the_future_proves_nothing(tmp_path: Path) -> None:
    """The clock goes back behind the listing just as the last object arrives: it is listed again before the end."""
    async with sailing(tmp_path) as boat:
        boat.store.changed = lambda: boat.clock.set(-2 * HOUR)
        await boat.done()
        verbs = [request.split()[0] for request in boat.store.requests]
        last_put = max(index for index, verb in enumerate(verbs) if verb == "PUT")
        assert "LIST" in verbs[last_put:]


async def test_a_confirmation_from_the_future_lets_nobody_list_for_ever(tmp_path: Path) -> None:
    async with sailing(tmp_path) as boat:
        await boat.done()
        boat.clock.set(-DAY)
        boat.engine.leapt()
        await asyncio.sleep(0.2)
        assert sum(request.startswith("LIST") for request in boat.store.requests) <= 3
        assert boat.shown.activity is Activity.DONE


async def test_a_handover_that_waits_for_another_year_is_tried_again(tmp_path: Path) -> None:
    """The clock was wrong when it was blocked, and right at the next start: an hour is the longest wait."""
    facts = {"handover": "blocked", "handover_at": repr(NOON + 365 * DAY), "handover_why": "somebody"}
    async with sailing(tmp_path, **facts) as boat:
        await boat.until(lambda: "cache" in boat.ledger.facts("m").get("handover_why", ""))
        assert float(boat.ledger.facts("m")["handover_at"]) == pytest.approx(NOON + HOUR, abs=60)


async def test_what_was_on_the_line_before_an_unannounced_sleep_is_broken_off_and_asked_for(tmp_path: Path) -> None:
    async with sailing(tmp_path) as boat:
        boat.store.set_rate(0)
        await boat.until(lambda: boat.puts() == 1)
        boat.clock.sleep(8 * HOUR)
        boat.engine.leapt()
        await boat.until(lambda: f"HEAD {VOLUME}" in boat.store.requests)
        boat.store.set_rate(None)
        await boat.done()
        assert boat.puts() == 2


async def test_a_clock_that_is_corrected_by_seconds_breaks_nothing_off(tmp_path: Path) -> None:
    async with sailing(tmp_path) as boat:
        boat.store.set_rate(0)
        await boat.until(lambda: boat.puts() == 1)
        for seconds in (3.0, -3.0):
            boat.clock.set(seconds)
            boat.engine.leapt()
            await asyncio.sleep(0.05)
        boat.store.set_rate(None)
        await boat.done()
        assert boat.puts() == 1


async def test_before_an_announced_sleep_nothing_is_left_on_the_line(tmp_path: Path) -> None:
    async with sailing(tmp_path) as boat:
        boat.store.set_rate(0)
        await boat.until(lambda: boat.puts() == 1)
        boat.sleeping = True
        async with asyncio.timeout(60):
            await boat.engine.stand_still()
        assert "sleep" in {one.code for one in boat.shown.reasons}
        before = len(boat.store.requests)
        await asyncio.sleep(0.1)
        assert len(boat.store.requests) == before
        boat.clock.sleep(8 * HOUR)
        boat.sleeping = False
        boat.store.set_rate(None)
        boat.engine.leapt()
        await boat.done()


async def test_a_pause_by_a_clock_that_was_years_ahead_ends_as_was_meant(tmp_path: Path) -> None:
    async with sailing(tmp_path) as boat:
        boat.engine.pause("", boat.clock.wall + 2 * HOUR)
        boat.engine.pause("m", boat.clock.wall + 3 * HOUR)
        boat.engine.set_limit(5, boat.clock.wall + 4 * HOUR)
        boat.clock.set(-4 * 365 * DAY)
        boat.engine.leapt()
        assert boat.engine.report().paused_until == pytest.approx(boat.clock.wall + 2 * HOUR, abs=1)
        assert float(boat.ledger.facts("m")["paused_until"]) == pytest.approx(boat.clock.wall + 3 * HOUR, abs=1)
        assert boat.engine.report().limit_until == pytest.approx(boat.clock.wall + 4 * HOUR, abs=1)


async def test_a_pause_until_six_is_until_six_however_the_clock_is_corrected(tmp_path: Path) -> None:
    async with sailing(tmp_path) as boat:
        six = boat.clock.wall + 2 * HOUR
        boat.engine.pause("", six)
        for seconds in (-HOUR, 2 * HOUR):
            boat.clock.set(seconds)
            boat.engine.leapt()
            assert boat.engine.report().paused_until == six
        boat.clock.sleep(2 * HOUR)
        boat.engine.leapt()
        await boat.done()


async def test_segments_are_renewed_through_a_pause_of_a_year(tmp_path: Path) -> None:
    async with sailing(tmp_path) as boat:
        boat.begin()
        boat.engine.pause("", 0.0)
        await boat.until(lambda: boat.looks_after_segments() == 1)
        for look in range(2, 50):
            boat.clock.sleep(RENEW_EVERY)
            boat.engine.leapt()
            await boat.until(lambda look=look: boat.looks_after_segments() == look)
        assert len(boat.store.alive(segments=True)) == 1
        assert boat.shown.activity is Activity.PAUSED
        assert boat.puts() == 0
        boat.network = replace(HOME, metered=True)
        boat.clock.sleep(RENEW_EVERY)
        boat.engine.leapt()
        await asyncio.sleep(0.05)
        assert boat.looks_after_segments() == 49, "not over a network that is not to be used"
