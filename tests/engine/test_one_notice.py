"""What concerns many files for one cause is one notice with a count, never one for each file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engine.engine_bed import sailing
from slowboat.core.words import Activity

if TYPE_CHECKING:
    from pathlib import Path

    from engine.engine_bed import EngineBed

MANY = 23


def told(bed: EngineBed) -> list:
    return [notice for notice in bed.notices if "cannot be moved" in notice.title]


@pytest.mark.parametrize("cause", ["unreadable", "rotten"])
async def test_a_drive_that_fails_is_one_notice_with_a_count(tmp_path: Path, cause: str) -> None:
    async with sailing(tmp_path, count=MANY, left=MANY) as bed:
        if cause == "unreadable":
            bed.source.unreadable_at = 0
        else:
            bed.source.rotten = {50}
        await bed.as_time_passes(lambda: bed.shown.activity is Activity.NEEDS_USER)
        assert bed.shown.volumes_refused == MANY
        assert {notice.key for notice in told(bed)} == {told(bed)[0].key}, "the next replaces the last"
        assert [notice.title for notice in told(bed)] == [
            "m: a file cannot be moved",
            "m: 10 files cannot be moved",
        ]
        assert "and 9 more for the same reason" in told(bed)[-1].body
        lines = [text for _, _, kind, text in bed.ledger.history() if kind == "refused"]
        assert len(lines) == MANY, "the history names each"
        assert any(f"{MANY - 1} more" in reason.text for reason in bed.shown.reasons)


async def test_the_button_below_what_was_set_aside_tries_it_again(tmp_path: Path) -> None:
    async with sailing(tmp_path) as bed:
        bed.source.rotten = {50}
        await bed.as_time_passes(lambda: bed.shown.activity is Activity.NEEDS_USER)
        (notice,) = told(bed)
        assert bed.hooked[0] == ("needs_user", "m", notice.title)
        assert notice.button == "Try again"
        bed.source.rotten = set()
        for nobodys in ("refused-x-another", "m", ""):
            bed.engine.pressed(nobodys)
        bed.engine.pressed(notice.key)
        await bed.done()
    assert bed.hooked[-1][:2] == ("done", "m")
