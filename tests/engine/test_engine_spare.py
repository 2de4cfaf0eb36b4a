"""The engine and spare: what is said for now, what the pacing is told, and what is shown of others on the line."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from engine.courier_bed import VOLUME
from engine.engine_bed import DAY, FILES, HOUR, EngineBed, sailing
from slowboat.core.conditions import NetworkRule, Rules
from slowboat.core.words import Target
from slowboat.engine.context import Order
from slowboat.engine.engine import LET_FINISH
from slowboat.engine.memory import Memory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WHOLE_LINE = Rules(default=NetworkRule(send="go"))


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[EngineBed]:
    """One that does not sail: what it would be told can be seen at once."""
    moored = EngineBed(tmp_path)
    yield moored
    moored.ledger.close()


def codes(bed: EngineBed) -> list[str]:
    return [reason.code for reason in bed.engine.report().reasons]


def test_each_word_for_now_replaces_the_one_before(bed: EngineBed) -> None:
    said = [(0, ""), (500_000, ""), (0, "go"), (0, "spare"), (300_000, "go"), (0, "")]
    for rate, mode in said:
        bed.engine.set_limit(rate, mode=mode)
    assert bed.caps == [(None, True), (500_000, True), (None, False), (None, True), (300_000, False), (None, True)]
    assert {bed.ledger.facts("").get(fact, "") for fact in ("limit", "mode", "limit_until")} == {""}


def test_what_is_shown_is_what_holds(bed: EngineBed) -> None:
    assert bed.engine.report().mode == "spare"
    bed.engine.set_limit(0, bed.clock.wall + HOUR, "go")
    shown = bed.engine.report()
    assert (shown.mode, shown.limit, shown.reasons) == ("go", 0, ())
    assert shown.limit_until == pytest.approx(bed.clock.wall + HOUR, abs=1)
    bed.engine.pause("", 0.0)
    bed.engine.set_limit(0)
    assert bed.engine.report().mode == "spare", "what holds when it goes on"


def test_the_settings_may_say_the_whole_line(tmp_path: Path) -> None:
    bed = EngineBed(tmp_path, rules=WHOLE_LINE)
    bed.engine.world_changed()
    assert (bed.caps, bed.engine.report().mode) == ([(None, False)], "go")
    bed.engine.set_limit(0, mode="spare")
    assert (bed.caps[-1], bed.engine.report().mode) == ((None, True), "spare")
    bed.ledger.close()


def test_a_word_for_now_ends_by_the_clock(bed: EngineBed) -> None:
    bed.engine.set_limit(0, bed.clock.wall + HOUR, "go")
    bed.clock.run(HOUR - 1)
    bed.engine.world_changed()
    assert bed.caps == [(None, False)]
    bed.clock.run(1)
    bed.engine.world_changed()
    assert bed.caps == [(None, False), (None, True)]
    shown = bed.engine.report()
    assert (shown.mode, shown.limit_until) == ("spare", 0.0)


def test_the_clock_is_asked_for_when_a_word_ends(bed: EngineBed) -> None:
    asked: list[float | None] = []
    bed.engine._wake_at = asked.append
    bed.engine.set_limit(0, until := bed.clock.wall + HOUR, "go")
    bed.engine.set_limit(0, mode="go")
    assert asked == [until, None]


def test_a_word_by_a_clock_that_was_years_ahead_ends_as_was_meant(bed: EngineBed) -> None:
    bed.engine.set_limit(0, bed.clock.wall + HOUR, "go")
    bed.clock.set(-4 * 365 * DAY)
    bed.engine.leapt()
    assert bed.engine.report().limit_until == pytest.approx(bed.clock.wall + HOUR, abs=1)


def test_a_kill_in_the_midst_leaves_no_go_without_its_end(bed: EngineBed) -> None:
    """Each fact is a transaction of its own: whatever was said before, no prefix of them says "go" for longer."""
    for before in ((0, 0.0, "spare"), (5000, 0.0, ""), (0, bed.clock.wall + HOUR, "go"), (0, 0.0, "")):
        for after in ((0, bed.clock.wall + 2 * HOUR, "go"), (0, 0.0, "spare"), (7000, 0.0, ""), (0, 0.0, "")):
            for last in range(4):
                bed.engine.set_limit(*before)
                _set_limit_until_killed(bed, after, last)
                seen = bed.engine.conditions()
                assert seen.mode != "go" or (seen.limit_until or 0.0) in {before[1], after[1]} - {0.0}


def _set_limit_until_killed(bed: EngineBed, wish: tuple[int, float, str], last: int) -> None:
    class Killed(Exception):
        pass

    ledger, left = bed.ledger, last

    class Dying:
        def set_fact(self, *fact: str, **when: bool) -> None:
            nonlocal left
            if not left:
                raise Killed
            left -= 1
            ledger.set_fact(*fact, **when)

        def __getattr__(self, name: str) -> object:
            return getattr(ledger, name)

    bed.engine._memory.ledger = Dying()
    with suppress(Killed):  # where fewer facts than that change, it ends well
        bed.engine.set_limit(*wish)
    bed.engine._memory = Memory(ledger, "")  # as the next run reads it


def test_a_word_of_another_version_is_none(bed: EngineBed) -> None:
    bed.ledger.set_fact("", "mode", "turbo")
    bed.engine._memory = Memory(bed.ledger, "")
    assert bed.engine.conditions().mode == ""
    assert bed.engine.report().mode == "spare"


def test_at_home_there_is_nobody_to_make_way_for(tmp_path: Path) -> None:
    bed = EngineBed(tmp_path, at_home=True)
    for mode in ("", "spare", "go"):
        bed.engine.set_limit(0, mode=mode)
        assert bed.engine.report().mode == "go"
    assert bed.caps == [(None, False)]
    bed.ledger.close()


def test_one_that_goes_elsewhere_makes_it_spare_while_it_may_send(bed: EngineBed) -> None:
    bed.engine.add(Order("n", "/drive", "", Target("c", "d", "", ("swift://d",))), bed.tools, at_home=True)
    bed.engine.world_changed()
    bed.engine.pause("m", 0.0)
    assert bed.caps == [(None, True), (None, False)]
    bed.engine.resume("m")
    bed.engine.pause("n", 0.0)
    assert bed.caps == [(None, True), (None, False), (None, True)]
    bed.engine.pause("", 0.0)
    assert bed.caps[-1] == (0, False)


async def test_others_on_the_line_are_told_for_as_long_as_they_are_there(tmp_path: Path) -> None:
    async with sailing(tmp_path) as bed:
        bed.store.set_cap(0)
        await bed.until(lambda: bed.puts() == 1)
        assert codes(bed) == []
        for there in (True, False, True):
            bed.crowded = there
            told = ["crowded"] if there else []
            await bed.until(lambda told=told: [one.code for one in bed.reports[-1].reasons] == told)
            await bed.until(lambda told=told: [one.code for one in bed.shown.reasons] == told)
        assert bed.puts() == 1, "nothing was broken off for it"
        bed.engine.set_limit(0, mode="go")
        await bed.until(lambda: codes(bed) == [])
        bed.engine.set_limit(0)
        bed.store.set_cap(None)
        await bed.done()
        await bed.until(lambda: bed.reports[-1].reasons == ())
        assert bed.store.data(VOLUME) == FILES[VOLUME]


async def test_nobody_is_in_the_way_of_what_stands_still(tmp_path: Path) -> None:
    async with sailing(tmp_path) as bed:
        bed.store.set_cap(0)
        bed.crowded = True
        await bed.until(lambda: "crowded" in codes(bed))
        bed.engine.pause("", 0.0)
        bed.clock.run(LET_FINISH)
        bed.engine.world_changed()
        await bed.until(lambda: [one.code for one in bed.reports[-1].reasons] == ["paused"])


async def test_at_home_no_company_is_told(tmp_path: Path) -> None:
    async with sailing(tmp_path, at_home=True) as bed:
        bed.store.set_cap(0)
        bed.crowded = True
        await bed.until(lambda: bed.puts() == 1)
        assert bed.engine.conditions().crowded
        assert bed.engine._permit("m").reasons == ()
