"""What is shown follows from what is so: after a command at once, and no counter ever goes back."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING

import pytest

from engine.courier_bed import VOLUME
from engine.engine_bed import FILES, sailing
from slowboat.core.conditions import Rules
from slowboat.core.errors import Refused
from slowboat.core.words import Activity, Event, Phase
from slowboat.engine import drive, facts
from slowboat.engine.engine import LET_FINISH
from slowboat.engine.probing import Probing

if TYPE_CHECKING:
    from pathlib import Path

    from slowboat.engine.context import Context

NOT_AT_WORK = {Activity.DONE, Activity.NEEDS_USER}


async def test_done_is_not_said_over_a_file_that_is_set_aside_and_retry_is_seen_at_once(tmp_path: Path) -> None:
    async with sailing(tmp_path) as bed:
        bed.store.place(VOLUME, b"another's")
        await bed.until(lambda: bed.shown.activity is Activity.NEEDS_USER)
        assert bed.shown.volumes_refused == 1
        assert [one.code for one in bed.shown.reasons] == ["refused"]
        assert not bed.shown.restorable_from_cloud
        assert bed.shown.cloud_has == "nothing"
        await bed.until(lambda: "finished_at" in bed.ledger.facts("m"))
        assert bed.shown.activity is Activity.NEEDS_USER, "nor after the end"
        del bed.store.target.objects[VOLUME]
        bed.store.target.journal.append((VOLUME, None))
        bed.engine.retry_now()
        assert bed.reports[-1].activity not in NOT_AT_WORK, "the answer to the command comes after what it changed"
        assert bed.shown.activity not in NOT_AT_WORK
        await bed.done()
        assert bed.shown.cloud_has == "all"
        assert "no longer the only copy" in bed.shown.cloud_has_text


async def test_done_is_not_said_while_the_drive_is_asked_before_the_next_decision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sailing(tmp_path) as bed:
        bed.store.place(VOLUME, b"another's")
        await bed.until(lambda: "finished_at" in bed.ledger.facts("m"))
        del bed.store.target.objects[VOLUME]
        bed.store.target.journal.append((VOLUME, None))
        asked, answer, observe = asyncio.Event(), asyncio.Event(), drive.observe

        async def slowly(context: Context) -> None:
            asked.set()
            await answer.wait()
            await observe(context)

        monkeypatch.setattr(drive, "observe", slowly)
        bed.engine.retry_now()
        await asked.wait()
        assert bed.engine.report().migrations["m"].activity not in NOT_AT_WORK
        answer.set()
        await bed.done()


async def test_a_file_that_is_asked_for_again_during_the_end_is_no_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, goes_on, tidy = asyncio.Event(), asyncio.Event(), Probing.tidy

    async def slowly(probing: Probing) -> None:
        began.set()
        await goes_on.wait()
        await tidy(probing)

    monkeypatch.setattr(Probing, "tidy", slowly)
    async with sailing(tmp_path) as bed:
        bed.store.place(VOLUME, b"another's")
        async with asyncio.timeout(60):
            await began.wait()
        told = len(bed.notices)
        del bed.store.target.objects[VOLUME]
        bed.store.target.journal.append((VOLUME, None))
        bed.engine.retry_now()
        goes_on.set()
        await bed.done()
        assert bed.shown.cloud_has == "all"
        assert bed.shown.volumes_done == bed.shown.volumes_total
        assert len([one for one in bed.notices[told:] if one.key.startswith("done")]) == 1, "the end is told once"


async def test_what_is_to_be_sent_is_sent_whatever_end_was_once_seen(tmp_path: Path) -> None:
    """A ledger where both stand, as an earlier release could leave it behind."""
    async with sailing(tmp_path) as bed:
        await bed.done()
        memory = bed.engine._migrations["m"].memory
        memory.happened(VOLUME, Event.VANISHED)
        assert memory.get(facts.FINISHED_AT)
        del bed.store.target.objects[VOLUME]
        bed.store.target.journal.append((VOLUME, None))
        bed.engine.rescan()
        await bed.until(lambda: memory.item(VOLUME).phase is Phase.DONE)
        await bed.done()


async def test_where_nothing_is_left_to_send_nothing_slows_it_down(tmp_path: Path) -> None:
    async with sailing(tmp_path, rules=Rules(cap=50_000)) as bed:
        await bed.until(lambda: "cap" in {one.code for one in bed.engine.report().reasons})
        await bed.done()
        assert bed.engine.report().reasons == ()


async def test_a_trouble_is_told_as_long_as_its_cause_lasts(tmp_path: Path) -> None:
    async with sailing(tmp_path) as bed:
        bed.store.set_cap(0)
        await bed.until(lambda: bed.puts() == 1)
        bed.engine._migrations["m"]._observed.last_error = "the server said 503"
        assert bed.shown.last_error
        bed.store.set_cap(None)
        await bed.done()
        assert bed.shown.last_error == ""


async def test_no_counter_goes_back_at_a_pause(tmp_path: Path) -> None:
    async with sailing(tmp_path) as bed:
        bed.begin()
        bed.store.set_cap(0)
        await bed.until(lambda: bed.puts() == 1)
        assert bed.shown.bytes_done >= 64, "the segment that is there counts"
        for _ in range(3):
            puts = bed.puts()
            bed.engine.pause("", 0.0)
            bed.clock.run(LET_FINISH)
            bed.engine.world_changed()
            await bed.until(lambda: not bed.engine._under_way())
            assert bed.shown.bytes_in_flight == 0
            bed.engine.resume("")
            await bed.until(lambda puts=puts: bed.puts() == puts + 1)
        bed.store.set_cap(None)
        await bed.done()
        for counter in ("bytes_done", "bytes_sent", "progress"):
            shown = [getattr(one.migrations["m"], counter) for one in bed.reports]
            assert shown == sorted(shown), counter
        last = bed.shown
        assert (last.bytes_done, last.progress, last.bytes_in_flight) == (last.bytes_total, 1.0, 0)
        assert last.bytes_total == sum(len(data) for data in FILES.values())


async def test_a_pause_lets_what_is_nearly_there_arrive_and_begins_nothing(tmp_path: Path) -> None:
    async with sailing(tmp_path) as bed:
        bed.begin()
        bed.store.set_cap(0)
        await bed.until(lambda: bed.puts() == 1)
        cap = bed.caps[-1]
        bed.engine.pause("", 0.0)
        assert bed.shown.activity is Activity.PAUSED, "it is told at once"
        await asyncio.sleep(0.05)
        assert bed.engine._under_way()
        assert bed.caps[-1] == cap, "at the speed that it had"
        bed.store.set_cap(None)
        await bed.until(lambda: not bed.engine._under_way())
        assert bed.shown.bytes_done >= 128, "nothing of that segment is sent again"
        assert bed.puts() == 1, "and nothing was begun"
        bed.clock.run(LET_FINISH)
        bed.engine.world_changed()
        assert bed.caps[-1] == (0, False)
        bed.engine.resume("")
        await bed.done()
        assert bed.puts() == 3


async def test_a_sleep_or_a_lost_network_waits_for_nothing_at_a_pause(tmp_path: Path) -> None:
    async with sailing(tmp_path) as bed:
        bed.store.set_cap(0)
        await bed.until(lambda: bed.puts() == 1)
        bed.engine.pause("", 0.0)
        bed.sleeping = True
        async with asyncio.timeout(60):
            await bed.engine.stand_still()


async def test_what_was_sent_and_what_is_there_outlive_a_kill(tmp_path: Path) -> None:
    async with sailing(tmp_path) as bed:
        bed.begin()
        bed.store.set_cap(0)
        await bed.until(lambda: bed.puts() == 1)
        before = bed.shown
        assert before.bytes_done >= 64
        facts, rows = bed.ledger.facts("m"), bed.ledger.items("m")  # what a kill leaves
    assert sum(row.bytes_sent for row in rows) >= before.bytes_sent, "nothing is shown that is not written down"
    assert "64" in facts["partly"]


@pytest.mark.parametrize("limit", [-1, 5, 10**13])
async def test_what_is_no_limit_is_refused_and_changes_nothing(tmp_path: Path, limit: int) -> None:
    async with sailing(tmp_path) as bed:
        with pytest.raises(Refused):
            bed.engine.set_limit(limit)
        for until in (bed.clock.wall - 60, bed.clock.wall + 10**9):
            with pytest.raises(Refused):
                bed.engine.pause("", until)
            with pytest.raises(Refused):
                bed.engine.set_limit(5000, until)
        await asyncio.sleep(0)
        assert (bed.engine.report().limit, bed.engine.report().paused_until) == (0, 0.0)
        await bed.done()


async def test_a_limit_and_a_pause_are_in_the_history_and_in_the_journal_as_no_trouble(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with sailing(tmp_path) as bed:
        bed.engine.set_limit(500_000, bed.clock.wall + 3600, "spare")
        bed.engine.set_limit(0)
        bed.engine.pause("", 0.0)
        bed.engine.resume("")
        told = [text for _, _, kind, text in bed.ledger.history() if kind in {"limit", "paused", "resumed"}]
        await bed.done()
    assert re.fullmatch(
        r"You limited it: at most 500 kB/s, only what nobody else uses, until [0-9-]+ [0-9:]+\.", told[0]
    )
    assert told[1:] == ["You removed the limit.", "Paused by you.", "Resumed by you."]
    ours = {record.getMessage(): record for record in caplog.records}
    assert {ours[text].levelno for text in told} == {logging.INFO}
    assert vars(ours["Paused by you."])["kind"] == "paused"


async def test_what_needs_the_user_is_a_warning_of_its_migration(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with sailing(tmp_path) as bed:
        bed.store.place(VOLUME, b"another's")
        await bed.until(lambda: bed.shown.activity is Activity.NEEDS_USER)
    warned = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [(vars(record)["kind"], vars(record)["migration"]) for record in warned] == [("refused", "m"), ("done", "m")]
