"""What the ledger gathers before it goes to the disk: a kill at any instant loses nothing but a few questions.

`move` and `sent` are on the disk with the next call that is not gathered, or once a second. Here the process is killed
after each single thing that happens at the server, which leaves on the disk what stands in the ledger's files then; the
next run begins with these.
"""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

import pytest

from engine.engine_bed import EngineBed, volumes
from slowboat.core.words import Phase
from slowboat.edges.ledger import Ledger

if TYPE_CHECKING:
    from pathlib import Path

VOLUMES = 6


def files_of(folder: Path) -> list[Path]:
    return [file for file in folder.glob("ledger.sqlite*") if not file.name.endswith(".lock")]


def standing(bed: EngineBed) -> set[str]:
    return volumes(VOLUMES).keys() & bed.store.target.objects.keys()


class Killed:
    """A bed whose process dies when the server has changed so many times.

    Attributes:
        puts_before: the requests that had been made by then.
    """

    def __init__(self, folder: Path, after: int, lag: int) -> None:
        self.first, self.second = folder / "first", folder / "second"
        for each in (self.first, self.second):
            each.mkdir()
        self.bed = EngineBed(self.first, count=VOLUMES, left=VOLUMES)
        self.bed.store.lag = lag
        self._left = after
        self._dead = asyncio.Event()
        self.bed.store.changed = self._happened

    def _happened(self) -> None:
        self._left -= 1
        if self._left == 0:
            for file in files_of(self.first):  # what the kernel has, whoever dies
                shutil.copy(file, self.second / file.name)
            self._dead.set()

    async def run(self) -> EngineBed:
        """Until its death; what is there for the next run."""
        task = asyncio.create_task(self.bed.engine.run())
        await self._dead.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        self.bed.store.changed = lambda: None
        self.bed.ledger.close()
        self.bed.ledger = Ledger(self.second / "ledger.sqlite")
        assert self.bed.ledger.set_aside is None
        self.bed.begin_engine()
        return self.bed


@pytest.mark.parametrize("lag", [0, 2])
@pytest.mark.parametrize("after", range(1, VOLUMES + 1))
async def test_a_kill_after_any_put_costs_no_second_one_where_the_listing_shows_the_first(
    tmp_path: Path, after: int, lag: int
) -> None:
    bed = await Killed(tmp_path, after, lag).run()
    lost = {item.name for item in bed.ledger.items("m") if item.phase is not Phase.DONE}
    stood = standing(bed)
    assert stood & lost, "the last to arrive was not written down: that is what is tried here"
    task = asyncio.create_task(bed.engine.run())
    await asyncio.sleep(0)
    bed.store.lag = lag
    if lag:
        await bed.as_time_passes(lambda: standing(bed) == volumes(VOLUMES).keys())
        bed.store.lag = 0
    await bed.as_time_passes(lambda: bed.shown.volumes_done == VOLUMES)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    bed.ledger.close()
    for name, body in volumes(VOLUMES).items():
        assert bed.store.data(name) == body
        puts = sum(request.startswith("PUT") and name in request for request in bed.store.requests)
        assert puts == 1 if not lag else puts <= 2, "and what the listing does not show yet once more at the most"


async def test_what_is_shown_is_on_the_disk(tmp_path: Path) -> None:
    """Another look at the file sees each phase that a report has told of."""
    (tmp_path / "first").mkdir()
    (tmp_path / "copies").mkdir()
    bed = EngineBed(tmp_path / "first", count=VOLUMES, left=VOLUMES)
    seen = []

    def published(report) -> None:
        folder = tmp_path / "copies" / str(len(seen))
        folder.mkdir()
        for file in files_of(tmp_path / "first"):
            shutil.copy(file, folder / file.name)
        seen.append((folder, report.migrations["m"].volumes_done))

    bed.engine._publish = published
    task = asyncio.create_task(bed.engine.run())
    await bed.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    bed.ledger.close()
    assert seen[-1][1] == VOLUMES
    for folder, done in seen:
        with Ledger(folder / "ledger.sqlite") as ledger:
            there = [item for item in ledger.items("m") if item.phase is Phase.DONE and not item.role.is_metadata]
        assert len(there) >= done
