"""A cache that duplicity emptied is made whole again: what is missing, and nothing else."""

from __future__ import annotations

import fcntl
import shutil
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from slowboat.core import names
from slowboat.core.errors import NeedsUser, Transient
from slowboat.edges.cache import Cache

if TYPE_CHECKING:
    from pathlib import Path

    from slowboat.core.words import Installed

CHAIN = ["duplicity-full-signatures.20260101T000000Z.sigtar.gz", "duplicity-full.20260101T000000Z.manifest"]
DIRECT = "duplicity-inc.20260101T000000Z.to.20260108T000000Z.manifest"
URL, TARGET = "file:///media/backup", "swift://lenny"


class Scene:
    def __init__(self, archive: Path) -> None:
        self.cache = Cache([archive], [TARGET])
        self.source = archive / names.cache_directory(URL)
        self.target = archive / names.cache_directory(TARGET)
        self.source.mkdir(parents=True)
        for name in CHAIN:
            (self.source / name).write_text(f"the content of {name}")

    async def hand_over(self) -> Installed:
        return await self.cache.hand_over(self.source, CHAIN, TARGET)

    def contents(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in self.target.iterdir()}


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path / "duplicity")


@pytest.mark.parametrize("lost", [CHAIN, CHAIN[:1], CHAIN[1:]])
async def test_what_is_missing_comes_back_as_it_was(scene: Scene, lost: list[str]) -> None:
    installed = await scene.hand_over()
    before = scene.contents()
    for name in lost:
        (scene.target / name).unlink()
    mended, put_back = await scene.cache.mend(scene.source, installed)
    assert sorted(put_back) == sorted(lost)
    assert scene.contents() == before
    assert {stat.S_IMODE((scene.target / name).stat().st_mode) for name in CHAIN} == {0o600}
    assert [each.name for each in scene.target.parent.iterdir() if each.name.startswith(".")] == []
    await scene.cache.undo(mended)  # what is known of it is what is there now
    assert not scene.target.exists()


async def test_a_cache_that_is_gone_altogether_comes_back(scene: Scene) -> None:
    installed = await scene.hand_over()
    shutil.rmtree(scene.target)
    await scene.cache.mend(scene.source, installed)
    assert sorted(scene.contents()) == sorted(CHAIN)
    assert stat.S_IMODE(scene.target.stat().st_mode) == 0o700


async def test_nothing_that_is_there_is_touched(scene: Scene) -> None:
    installed = await scene.hand_over()
    (scene.target / DIRECT).write_text("duplicity's own")
    (scene.target / CHAIN[0]).write_text("changed by somebody")
    (scene.target / CHAIN[1]).unlink()
    (scene.target / CHAIN[1]).symlink_to("/nonexistent")
    mended, put_back = await scene.cache.mend(scene.source, installed)
    assert put_back == ()
    assert mended == installed
    assert (scene.target / CHAIN[0]).read_text() == "changed by somebody"
    assert (scene.target / DIRECT).read_text() == "duplicity's own"
    assert (scene.target / CHAIN[1]).is_symlink()


async def test_what_a_newer_set_on_the_drive_brought_is_added(scene: Scene) -> None:
    installed = await scene.hand_over()
    later = "duplicity-inc.20260101T000000Z.to.20260102T000000Z.manifest"
    (scene.source / later).write_text("a day later")
    (scene.target / DIRECT).write_text("duplicity's own")
    (scene.source / CHAIN[0]).unlink()  # Deja Dup drops what it no longer needs, and nobody asks for it here
    grown, added = await scene.cache.mend(scene.source, installed, [CHAIN[1], later])
    assert added == (later,)
    assert (scene.target / later).read_text() == "a day later"
    assert set(grown.files) == {*CHAIN, later}
    (scene.target / DIRECT).unlink()
    await scene.cache.undo(grown)
    assert not scene.target.exists()


async def test_duplicity_is_kept_off_the_target_and_nothing_of_that_is_left(scene: Scene) -> None:
    await scene.hand_over()
    before = sorted(path.name for path in scene.target.parent.rglob("*"))
    tries = "import fcntl,sys; fcntl.lockf(open(sys.argv[1], 'w'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    argv = [sys.executable, "-c", tries, str(scene.target / "lockfile")]
    async with scene.cache.kept_off() as still:
        assert subprocess.run(argv, capture_output=True, check=False).returncode == 1
        still()
        (scene.target / "lockfile").unlink()  # as a duplicity does that was refused
        still()
        assert subprocess.run(argv, capture_output=True, check=False).returncode == 1
        (scene.target / "lockfile").unlink()
        (scene.target / "lockfile").touch()
        with pytest.raises(Transient):
            still()
        (scene.target / "lockfile").unlink()
    assert sorted(path.name for path in scene.target.parent.rglob("*")) == before


async def test_duplicity_is_not_kept_off_where_it_runs_nor_where_it_never_ran(scene: Scene) -> None:
    async with scene.cache.kept_off() as still:
        still()
        assert not scene.target.exists()
    await scene.hand_over()
    code = "import fcntl,sys;f=open(sys.argv[1],'w');fcntl.lockf(f,fcntl.LOCK_EX);print(flush=True);sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(scene.target / "lockfile")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(Transient):
            async with scene.cache.kept_off():
                pytest.fail("duplicity runs")
        other.communicate()


async def test_it_waits_while_duplicity_runs(scene: Scene) -> None:
    installed = await scene.hand_over()
    (scene.target / CHAIN[0]).unlink()
    assert not await scene.cache.in_use(installed)
    with (scene.target / "lockfile").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)  # another kind of lock is nobody's business
        assert not await scene.cache.in_use(installed)
    code = "import fcntl,sys;f=open(sys.argv[1],'w');fcntl.lockf(f,fcntl.LOCK_EX);print(flush=True);sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(scene.target / "lockfile")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert await scene.cache.in_use(installed)
        with pytest.raises(Transient):
            await scene.cache.mend(scene.source, installed)
        assert not (scene.target / CHAIN[0]).exists()
        other.communicate()
    assert not await scene.cache.in_use(installed)
    await scene.cache.mend(scene.source, installed)
    assert (scene.target / CHAIN[0]).exists()


async def test_a_source_that_lacks_it_too_is_said(scene: Scene) -> None:
    installed = await scene.hand_over()
    for folder in (scene.source, scene.target):
        (folder / CHAIN[0]).unlink()
    with pytest.raises(NeedsUser, match="lacks"):
        await scene.cache.mend(scene.source, installed)


async def test_asking_whether_it_is_used_makes_nothing(scene: Scene) -> None:
    installed = await scene.hand_over()
    shutil.rmtree(scene.target)
    assert not await scene.cache.in_use(installed)
    assert not scene.target.exists()
