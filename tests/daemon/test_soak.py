"""contrib/bench soak, small: some lives, lies, cuts, disks and days; and what its page says. All by a seed.

In CI it is the same seed each time, elsewhere another; SLOWBOAT_SEED sets it.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from realparts.presence import ROOT

sys.path.append(str(ROOT / "contrib/benchmarks"))

from soak import disks, growth, lies, lives, told, wire  # found by the line above
from soak.campaign import Tally, Turn
from soak.invariants import Witness, file_of, newest_chain
from soak.page import BEGIN, END, write
from soak.place import PREFIX, Place

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from soak.place import Scene

PAGE = ROOT / "docs/RELIABILITY.md"
LIVES = 6


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One place with its chains for this file."""
    with ExitStack() as stack:
        yield Place(tmp_path_factory.mktemp("soak"), stack)


@pytest.fixture
def turn() -> Callable[..., Turn]:
    """A turn of a kind; over at once or when it says so."""
    seed = int(os.environ.get("SLOWBOAT_SEED") or (1 if "CI" in os.environ else time.time_ns() % 1_000_000))
    print(f"SLOWBOAT_SEED={seed}")
    tally = Tally()
    return lambda kind, number=0, over=lambda: False: Turn(kind, number, seed, tally, over)


def held(turn: Turn) -> None:
    """Nothing was violated."""
    assert turn.tally.violations == []
    assert turn.faults


@pytest.mark.needs("busctl", "gpg", "strace")
def test_some_lives_of_a_migration_and_a_restore(place: Place, turn: Callable[..., Turn]) -> None:
    tally = turn("lives").tally
    played = turn("lives", 2, lambda: lives.ended(tally) >= LIVES)
    lives.case(place, played)
    held(played)
    assert "restored from the cloud" in played.faults


@pytest.mark.needs("busctl", "gpg")
@pytest.mark.parametrize("play", [wire.lied_to, wire.cut], ids=["lies", "cuts"])
def test_some_of_what_a_wire_does(place: Place, turn: Callable[..., Turn], play: Callable[[Place, Turn], None]) -> None:
    played = turn("wire")
    play(place, played)
    held(played)


@pytest.mark.needs("busctl", "gpg", "strace")
@pytest.mark.parametrize(
    "play", [disks.ledger, disks.race, disks.configuration], ids=["ledger", "drive", "configuration"]
)
def test_some_of_what_disks_do(place: Place, turn: Callable[..., Turn], play: Callable[[Place, Turn], None]) -> None:
    played = turn("disks")
    play(place, played)
    held(played)


def test_some_days_leave_nothing_behind(turn: Callable[..., Turn]) -> None:
    assert growth.month(turn("growth"), objects=1000, days=6) == []


# -- the judge: each invariant is seen to fail when it is broken ------------------------------------------------

Break = tuple[str, Callable[["Scene"], object], Callable[["Scene"], object]]
BREAKS: list[Break] = [
    (
        "is not the drive's",
        lambda scene: put(scene, scene.drive.metadata[0], b"x"),
        lambda scene: gone(scene, scene.drive.metadata[0]),
    ),
    (
        "neither on the drive nor duplicity's",
        lambda scene: put(scene, "duplicity-full.20200101T000000Z.manifest", b"x"),
        lambda scene: gone(scene, "duplicity-full.20200101T000000Z.manifest"),
    ),
    (
        "will expire",
        lambda scene: put(scene, scene.drive.metadata[0], headers={"X-Delete-After": "1000"}),
        lambda scene: gone(scene, scene.drive.metadata[0]),
    ),
    (
        "does not",
        lambda scene: put(scene, scene.drive.volumes[0]),
        lambda scene: gone(scene, scene.drive.volumes[0]),
    ),
    (
        "on the drive or in its cache was",
        lambda scene: (scene.drive.folder / "new").write_bytes(b""),
        lambda scene: (scene.drive.folder / "new").unlink(),
    ),
    (
        "on the drive or in its cache was",
        lambda scene: (scene.drive.cache / "new").write_bytes(b""),
        lambda scene: (scene.drive.cache / "new").unlink(),
    ),
    (
        "the cache is installed, and",
        lambda scene: shutil.copytree(scene.drive.cache, scene.drive.duplicity.cache(scene.url)),
        lambda scene: shutil.rmtree(scene.drive.duplicity.cache(scene.url)),
    ),
]
"""What the judge must tell, what breaks it, and what mends it again."""


def put(scene: Scene, name: str, body: bytes | None = None, **keywords: object) -> None:
    read = (scene.drive.folder / name).read_bytes() if body is None else body
    scene.swift.put(scene.container, PREFIX + name, read, **keywords)


def gone(scene: Scene, name: str) -> None:
    scene.swift.delete(scene.container, [PREFIX + name])


@pytest.mark.needs("gpg")
def test_the_judge_sees_what_is_broken(place: Place) -> None:
    with place.scene("encrypted") as scene:
        for told_as, break_it, mend_it in BREAKS:
            witness = Witness(scene)
            assert witness.look() == []
            break_it(scene)
            assert [text for text in witness.look() if told_as in text], told_as
            mend_it(scene)
        witness = Witness(scene)
        for name in scene.drive.names():
            put(scene, name)
        assert witness.look() == []
        gone(scene, scene.drive.volumes[-1])
        assert [text for text in witness.look() if "and is gone" in text]


def test_the_judge_knows_names_and_chains() -> None:
    first, then, last = "20260101T000000Z", "20260102T000000Z", "20260103T000000Z"
    names = [f"duplicity-full.{first}.manifest.gpg", f"duplicity-full.{then}.vol1.difftar.gz"]
    names += [f"duplicity-inc.{then}.to.{last}.vol1.difftar.gz", f"duplicity-new-signatures.{then}.to.{last}.sigtar.gz"]
    files = [found for name in names if (found := file_of(name))]
    assert [file.volume for file in files] == [False, True, True, False]
    assert newest_chain(files) == {(then, then), (then, last)}
    assert file_of("duplicity-full.tmp") is None


def test_every_lie_has_bytes_or_a_way_to_make_them() -> None:
    assert {verb for verb, _ in lies.all_lies()} == set(lies.VERBS)
    assert len(lies.all_lies()) > 1500


def test_a_violation_is_told_with_what_plays_it_again(tmp_path: Path) -> None:
    tally = Tally()
    played = Turn("lives", 7, 42, tally, lambda: False)
    played.played("SIGKILL", ["something is lost"])
    played.played("SIGKILL", [])
    outcome = told(tally, 42)
    assert outcome.rows[0] == {"tool": "lives: SIGKILL", "times": 2, "violations": 1, "cases": "7"}
    assert [goal.ok for goal in outcome.goals] == [False, True]
    assert tally.violations[0].again == "--seed 42 --only lives --case 7"
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write(page, tally, 42, 60, " --seconds 60")
    text = page.read_text()
    assert "old" not in text
    assert "| lives | SIGKILL | 2 | 1 (cases 7) |" in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")


def test_the_page_tells_of_a_run_without_violations() -> None:
    told_there = PAGE.read_text().partition(BEGIN)[2].partition("| kind | figure |")[0]
    rows = re.findall(r"^\| (\w+) \| ([^|]*) \| (\d+) \| ([^|]*) \|$", told_there, re.MULTILINE)
    assert {kind for kind, *_ in rows} == {"lives", "wire", "disks", "growth", "fuzz"}
    assert {violations for *_, violations in rows} == {"0"}
