"""What the engine tells, to people and in its own memory, shows no password of the target's URL."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engine.engine_bed import sailing

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("url", ["swift://anna:hunter2@c", "rclone://:swift,user=anna,key=hunter2:c"])
async def test_no_password_of_the_targets_url_is_told(tmp_path: Path, url: str) -> None:
    async with sailing(tmp_path, url=url) as bed:
        await bed.done()
        await bed.until(lambda: bool(bed.notices))
        told = [*map(repr, bed.notices), *map(repr, bed.reports), *map(repr, bed.ledger.history())]
    assert any("://" in one for one in told)
    assert not [one for one in told if "hunter2" in one]
