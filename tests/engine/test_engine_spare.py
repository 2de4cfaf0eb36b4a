"""The engine and spare: what is said for now, what the pacing is told, and what is shown of others on the line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engine.boat import DAY, FILES, HOUR, Boat, sailing
from engine.crew import VOLUME
from slowboat.core.conditions import NetworkRule, Rules
from slowboat.core.words import Target
from slowboat.engine.work import Order

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WHOLE_LINE = Rules(default=NetworkRule(send="go"))


@pytest.fixture
def boat(tmp_path: Path) -> Iterator[Boat]:
    """One that does not sail: what it would be told can be seen at once."""
    moored = Boat(tmp_path)
    yield moored
    moored.ledger.close()


def codes(boat: Boat) -> list[str]:
    return [reason.code for reason in boat.engine.report().reasons]


def test_each_word_for_now_replaces_the_one_before(boat: Boat) -> None:
    said = [(0, ""), (500_000, ""), (0, "go"), (0, "spare"), (300_000, "go"), (0, "")]
    for rate, mode in said:
        boat.engine.set_limit(rate, mode=mode)
    assert boat.paces == [(None, True), (500_000, True), (None, False), (None, True), (300_000, False), (None, True)]
    assert {boat.ledger.facts("").get(fact, "") for fact in ("limit", "mode", "limit_until")} == {""}


def test_what_is_shown_is_what_holds(boat: Boat) -> None:
    assert boat.engine.report().mode == "spare"
    boat.engine.set_limit(0, boat.clock.wall + HOUR, "go")
    shown = boat.engine.report()
    assert (shown.mode, shown.limit, shown.reasons) == ("go", 0, ())
    assert shown.limit_until == pytest.approx(boat.clock.wall + HOUR, abs=1)
    boat.engine.pause("", 0.0)
    boat.engine.set_limit(0)
    assert boat.engine.report().mode == "spare", "what holds when it goes on"


def test_the_settings_may_say_the_whole_line(tmp_path: Path) -> None:
    boat = Boat(tmp_path, rules=WHOLE_LINE)
    boat.engine.world_changed()
    assert (boat.paces, boat.engine.report().mode) == ([(None, False)], "go")
    boat.engine.set_limit(0, mode="spare")
    assert (boat.paces[-1], boat.engine.report().mode) == ((None, True), "spare")
    boat.ledger.close()


def test_a_word_for_now_ends_by_the_clock(boat: Boat) -> None:
    boat.engine.set_limit(0, boat.clock.wall + HOUR, "go")
    boat.clock.run(HOUR - 1)
    boat.engine.world_changed()
    assert boat.paces == [(None, False)]
    boat.clock.run(1)
    boat.engine.world_changed()
    assert boat.paces == [(None, False), (None, True)]
    shown = boat.engine.report()
    assert (shown.mode, shown.limit_until) == ("spare", 0.0)


def test_the_clock_is_asked_for_when_a_word_ends(boat: Boat) -> None:
    asked: list[float | None] = []
    boat.engine._wake_at = asked.append
    boat.engine.set_limit(0, until := boat.clock.wall + HOUR, "go")
    boat.engine.set_limit(0, mode="go")
    assert asked == [until, None]


def test_a_word_by_a_clock_that_was_years_ahead_ends_as_was_meant(boat: Boat) -> None:
    boat.engine.set_limit(0, boat.clock.wall + HOUR, "go")
    boat.clock.set(-4 * 365 * DAY)
    boat.engine.leapt()
    assert boat.engine.report().limit_until == pytest.approx(boat.clock.wall + HOUR, abs=1)


def test_a_kill_in_the_midst_leaves_no_go_without_its_end(boat: Boat) -> None:
    """Each fact is a transaction of its own: whatever was said before, no prefix of them says "go" for longer."""
    for before in ((0, 0.0, "spare"), (5000, 0.0, ""), (0, boat.clock.wall + HOUR, "go"), (0, 0.0, "")):
        for after in ((0, boat.clock.wall + 2 * HOUR, "go"), (0, 0.0, "spare"), (7000, 0.0, ""), (0, 0.0, "")):
            for last in range(4):
                boat.engine.set_limit(*before)
                _set_limit_until_killed(boat, after, last)
                seen = boat.engine.conditions()
                assert seen.mode != "go" or (seen.limit_until or 0.0) in {before[1], after[1]} - {0.0}


def _set_limit_until_killed(boat: Boat, wish: tuple[int, float, str], last: int) -> None:
    class Killed(Exception):
        pass

    ledger, left = boat.ledger, last

    class Dying:
        def set_fact(self, *fact: str) -> None:
            nonlocal left
            if not left:
                raise Killed
            left -= 1
            ledger.set_fact(*fact)

        def __getattr__(self, name: str) -> object:
            return getattr(ledger, name)

    boat.engine._ledger = Dying()
    with pytest.raises(Killed):
        boat.engine.set_limit(*wish)
    boat.engine._ledger = ledger


def test_a_word_of_another_version_is_none(boat: Boat) -> None:
    boat.ledger.set_fact("", "mode", "turbo")
    assert boat.engine.conditions().mode == ""
    assert boat.engine.report().mode == "spare"


def test_at_home_there_is_nobody_to_make_way_for(tmp_path: Path) -> None:
    boat = Boat(tmp_path, at_home=True)
    for mode in ("", "spare", "go"):
        boat.engine.set_limit(0, mode=mode)
        assert boat.engine.report().mode == "go"
    assert boat.paces == [(None, False)]
    boat.ledger.close()


def test_one_that_goes_elsewhere_makes_it_spare_while_it_may_send(boat: Boat) -> None:
    boat.engine.add(Order("n", "/drive", "", Target("c", "d", "", ("swift://d",))), boat.tools, at_home=True)
    boat.engine.world_changed()
    boat.engine.pause("m", 0.0)
    assert boat.paces == [(None, True), (None, False)]
    boat.engine.resume("m")
    boat.engine.pause("n", 0.0)
    assert boat.paces == [(None, True), (None, False), (None, True)]
    boat.engine.pause("", 0.0)
    assert boat.paces[-1] == (0, False)


async def test_others_on_the_line_are_told_for_as_long_as_they_are_there(tmp_path: Path) -> None:
    async with sailing(tmp_path) as boat:
        boat.store.set_rate(0)
        await boat.until(lambda: boat.puts() == 1)
        assert codes(boat) == []
        for there in (True, False, True):
            boat.crowded = there
            told = ["crowded"] if there else []
            await boat.until(lambda told=told: [one.code for one in boat.reports[-1].reasons] == told)
            await boat.until(lambda told=told: [one.code for one in boat.shown.reasons] == told)
        assert boat.puts() == 1, "nothing was broken off for it"
        boat.engine.set_limit(0, mode="go")
        await boat.until(lambda: codes(boat) == [])
        boat.engine.set_limit(0)
        boat.store.set_rate(None)
        await boat.done()
        await boat.until(lambda: boat.reports[-1].reasons == ())
        assert boat.store.data(VOLUME) == FILES[VOLUME]


async def test_nobody_is_in_the_way_of_what_stands_still(tmp_path: Path) -> None:
    async with sailing(tmp_path) as boat:
        boat.store.set_rate(0)
        boat.crowded = True
        await boat.until(lambda: "crowded" in codes(boat))
        boat.engine.pause("", 0.0)
        await boat.until(lambda: [one.code for one in boat.reports[-1].reasons] == ["paused"])


async def test_at_home_no_company_is_told(tmp_path: Path) -> None:
    async with sailing(tmp_path, at_home=True) as boat:
        boat.store.set_rate(0)
        boat.crowded = True
        await boat.until(lambda: boat.puts() == 1)
        assert boat.engine.conditions().crowded
        assert boat.engine._permit("m").reasons == ()
