"""A file is the same by its name, its size and its content; its time, and the ledger's MD5, are hints."""

from __future__ import annotations

import gzip
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from engine.courier_bed import VOLUME, CourierBed, encrypted, md5
from engine.engine_bed import FILES, MANIFEST, SIGNATURES, sailing
from slowboat.core.words import Event, Phase, RemoteObject
from slowboat.engine import sameness

if TYPE_CHECKING:
    from pathlib import Path

    from engine.engine_bed import EngineBed


def told(bed: EngineBed, kind: str) -> list[str]:
    return [text for _, _, each, text in bed.ledger.history() if each == kind]


def an_hour_off(bed: EngineBed) -> None:
    for name in FILES:
        bed.source.mtimes[name] = bed.source.mtimes.get(name, 1) + 3_600_000_000_000


@pytest.mark.parametrize("noticed", ["before it is read", "while it is read"])
async def test_another_time_alone_is_taken_over_and_told_once(tmp_path: Path, noticed: str) -> None:
    async with sailing(tmp_path) as bed:
        an_hour_off(bed)
        if noticed == "before it is read":
            bed.engine.drives_changed()
        await bed.done()
        assert bed.shown.volumes_refused == 0
        assert len(told(bed, "times")) == 1
        assert "3 files" in told(bed, "times")[0]
        assert [item.file.mtime_ns for item in bed.ledger.items("m")] == [3_600_000_000_001] * 3
        await bed.until(lambda: bed.notices)
        assert [notice.title for notice in bed.notices] == ["m: the backup is in the cloud"]
        bed.engine.drives_changed()
        await bed.until(lambda: bed.shown.activity.value == "done")
        assert len(told(bed, "times")) == 1


async def test_a_volume_of_the_same_size_and_another_content_is_no_other_time(tmp_path: Path) -> None:
    async with sailing(tmp_path) as bed:
        bed.source.touch(VOLUME, encrypted(len(FILES[VOLUME]), seed=9))
        await bed.until(lambda: bed.shown.volumes_refused == 1)
        assert "SHA-1" in told(bed, "refused")[0]
        assert VOLUME not in bed.store.alive(segments=False)
        bed.source.touch(VOLUME, FILES[VOLUME])  # somebody has put the right one back
        bed.engine.drives_changed()
        await bed.until(lambda: bed.shown.volumes_done == 1)
        await bed.done()
        assert bed.shown.volumes_refused == 0


async def test_metadata_of_the_same_size_and_another_content_is_held_against_its_adoption(tmp_path: Path) -> None:
    async with sailing(tmp_path) as bed:
        memory = bed.engine._migrations["m"].memory
        bed.store._remove(bed.store.target, SIGNATURES)
        memory.happened(SIGNATURES, Event.VANISHED)
        other = gzip.compress(b"t")
        assert len(other) == len(FILES[SIGNATURES])
        bed.source.touch(SIGNATURES, other)
        bed.engine.drives_changed()
        await bed.until(lambda: memory.item(SIGNATURES).phase is Phase.REFUSED)
        assert "is not the file that slowboat first read" in told(bed, "refused")[0]
        assert SIGNATURES not in bed.store.alive(segments=False)


async def test_a_flipped_bit_in_the_ledger_is_found_out_by_the_drive(tmp_path: Path) -> None:
    """Before anything is said of what stands at the target, the drive is asked."""
    async with sailing(tmp_path) as bed:
        memory = bed.engine._migrations["m"].memory
        memory.learned(MANIFEST, "0" * 32)
        await bed.done()
        assert memory.item(MANIFEST).phase is Phase.DONE
        assert memory.item(MANIFEST).md5 == md5(FILES[MANIFEST])
        assert told(bed, "replaced") == []
        assert told(bed, "refused") == []


@pytest.mark.parametrize("known", ["", "0" * 32])
async def test_what_stands_at_the_target_is_held_against_the_drive_and_not_the_ledger(known: str) -> None:
    bed = CourierBed(encrypted(300))
    bed.item = replace(bed.item, md5=known)
    stands = RemoteObject(bed.full, len(bed.right), md5(bed.right))
    assert await bed.same(stands) == md5(bed.right)
    assert await bed.same(replace(stands, md5="1" * 32)) == ""


def test_a_copy_is_known_by_names_and_sizes(tmp_path: Path) -> None:
    bed = CourierBed(encrypted(300))
    file = bed.item.file
    rounded = replace(file, mtime_ns=file.mtime_ns // 2_000_000_000 * 2_000_000_000 + 5)
    assert sameness.holds_all([rounded], [bed.item])
    assert sameness.other_times([rounded], [bed.item]) == {file.name: rounded}
    assert not sameness.holds_all([replace(file, size=file.size + 1)], [bed.item])
    assert sameness.other_times([replace(rounded, size=file.size + 1)], [bed.item]) == {}
    assert sameness.other_times([file], [bed.item]) == {}
