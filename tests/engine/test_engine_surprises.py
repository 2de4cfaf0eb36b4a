"""A surprise in one migration, even in what handles its failures, stops neither the others nor itself for good."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from engine.courier_bed import VOLUME
from engine.engine_bed import FILES, Drive, EngineBed, rows, sailing
from engine.model_store import CAN, SWIFT, Fault, ModelStore
from slowboat.core.errors import LedgerUnusable
from slowboat.core.words import Activity, MigrationReport, Target
from slowboat.engine import adoption, engine
from slowboat.engine.context import Order

if TYPE_CHECKING:
    from pathlib import Path


class Other:
    """A second migration in the same engine, whose handling of failures fails as often as it is told to."""

    def __init__(self, bed: EngineBed, surprises: int, surprise: Exception) -> None:
        self._bed, self._left, self._surprise = bed, surprises, surprise
        self.source = Drive(**FILES)
        self.store = ModelStore(lambda: bed.clock.wall)
        for name in FILES.keys() - {VOLUME}:
            self.store.place(name, FILES[name])
        files = {name: self.source.file(name) for name in FILES}
        known = {"fingerprint": adoption.fingerprint(list(files.values())), "handover": "done", "started_at": "1.0"}
        bed.ledger.adopt("other", rows(files), {}, known | {"capabilities": CAN[SWIFT].text()})
        tools = replace(bed.tools, source=self.source, store=self.store, chance=self.chance)
        bed.engine.add(Order("other", "/drive", "", Target("c", "other", "", ("swift://other",))), tools)

    def chance(self) -> float:
        if self._left:
            self._left -= 1
            raise self._surprise
        return 0.5

    @property
    def shown(self) -> MigrationReport:
        return self._bed.engine.report().migrations["other"]


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "AFTER_A_SURPRISE", 0.0)


@pytest.mark.parametrize("surprises", [1, 2, 3, 7])
async def test_a_surprise_in_what_handles_failures_stops_nobody(tmp_path: Path, surprises: int) -> None:
    async with sailing(tmp_path) as bed:
        other = Other(bed, surprises, UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"))
        other.store.aimed = {("PUT", number): Fault("before") for number in range(surprises)}
        await bed.done()
        await bed.until(lambda: other.shown.last_error != "")

        def arrived() -> bool:
            bed.clock.run(1000)
            bed.engine.world_changed()
            return other.shown.activity is Activity.DONE

        await bed.until(arrived)
        assert other.store.data(VOLUME) == FILES[VOLUME]


async def test_a_mistake_is_shown_as_one(tmp_path: Path) -> None:
    async with sailing(tmp_path) as bed:
        other = Other(bed, 2, RuntimeError("whatever"))
        other.store.aimed = {("PUT", 0): Fault("before")}
        await bed.until(lambda: "an internal error in slowboat (RuntimeError)" in other.shown.last_error)
        await bed.until(lambda: any("an internal error" in each.text for each in other.shown.reasons))


async def test_without_a_ledger_nothing_goes_on(tmp_path: Path) -> None:
    lost = LedgerUnusable("The ledger cannot be used", code="ledger")
    bed = EngineBed(tmp_path)
    other = Other(bed, 100, lost)
    other.store.aimed = {("PUT", 0): Fault("before")}
    try:
        with pytest.raises(ExceptionGroup) as ended:
            await asyncio.wait_for(bed.engine.run(), 60)
    finally:
        bed.ledger.close()
    assert ended.value.subgroup(lambda error: error is lost)
