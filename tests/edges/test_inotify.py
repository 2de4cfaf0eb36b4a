"""The watch on folders, against the real kernel: what is told, what is not, and folders that come and go."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from realparts.presence import own_mounts
from slowboat.edges import inotify
from slowboat.edges.inotify import FolderWatch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Told:
    """What a watch has told, to be waited for."""

    def __init__(self) -> None:
        self.count = 0
        self._news = asyncio.Event()

    def __call__(self) -> None:
        self.count += 1
        self._news.set()

    async def once_more(self) -> None:
        async with asyncio.timeout(20):
            await self._news.wait()
        self._news.clear()


@pytest.fixture
async def watch() -> AsyncIterator[FolderWatch]:
    made = FolderWatch(Told(), settle=0.02)
    yield made
    made.stop()


async def settled(watch: FolderWatch) -> None:
    """The search for the folders is over."""
    async with asyncio.timeout(20):
        while watch._searching:
            await asyncio.sleep(0.005)


async def begun(watch: FolderWatch, *folders: Path) -> Told:
    watch.start(folders)
    await settled(watch)
    assert isinstance(watch.on_change, Told)
    return watch.on_change


async def test_what_is_added_written_renamed_and_removed_is_told(watch: FolderWatch, tmp_path: Path) -> None:
    told = await begun(watch, tmp_path)
    (tmp_path / "a").write_bytes(b"x")
    await told.once_more()
    with (tmp_path / "a").open("ab") as file:
        file.write(b"y")
    await told.once_more()
    (tmp_path / "a").rename(tmp_path / "b")
    await told.once_more()
    (tmp_path / "b").unlink()
    await told.once_more()


async def test_many_changes_are_told_once_and_reading_never(watch: FolderWatch, tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(b"x")
    told = await begun(watch, tmp_path)
    for _ in range(5):
        (tmp_path / "there").read_bytes()
        list(tmp_path.iterdir())
        await asyncio.sleep(0.02)
    assert told.count == 0
    for number in range(100):
        (tmp_path / f"{number}").write_bytes(b"x")
    await told.once_more()
    await asyncio.sleep(0.2)
    assert told.count == 1


async def test_a_folder_that_is_not_there_yet_is_seen_when_it_comes(watch: FolderWatch, tmp_path: Path) -> None:
    folder = tmp_path / "media/anna/Backup/duplicity"
    told = await begun(watch, folder)
    (tmp_path / "other").mkdir()
    await asyncio.sleep(0.2)
    assert told.count == 0, "what else happens in an ancestor is nobody's business"
    for step in list(folder.parents)[2::-1]:
        step.mkdir()
        await told.once_more()
        await settled(watch)
    folder.mkdir()
    await told.once_more()
    await settled(watch)
    before = told.count
    (folder / "duplicity-full.manifest").write_bytes(b"x")
    async with asyncio.timeout(20):
        while told.count == before:
            await told.once_more()


async def test_a_folder_that_goes_and_comes_back(watch: FolderWatch, tmp_path: Path) -> None:
    folder = tmp_path / "drive"
    folder.mkdir()
    told = await begun(watch, folder)
    folder.rename(tmp_path / "elsewhere")
    await told.once_more()
    await settled(watch)
    (tmp_path / "elsewhere").rename(folder)
    await told.once_more()
    await settled(watch)
    await asyncio.sleep(0.2)
    before = told.count
    (folder / "a").write_bytes(b"x")
    async with asyncio.timeout(20):
        while told.count == before:
            await told.once_more()


PROGRAM = """
import asyncio, pathlib, subprocess, sys
from slowboat.edges.inotify import FolderWatch

async def main():
    told = asyncio.Queue()
    place = pathlib.Path(sys.argv[1])
    watch = FolderWatch(lambda: told.put_nowait(1), settle=0.02)
    watch.start([place / "backups"])
    while watch._searching:
        await asyncio.sleep(0.01)
    subprocess.run(["mount", "-t", "tmpfs", "none", place], check=True)
    (place / "backups").mkdir()  # on what nobody watches yet
    watch.search_again()           # as the watch on mounts has it
    await asyncio.wait_for(told.get(), 20)
    print("mounted", flush=True)
    while watch._searching:
        await asyncio.sleep(0.01)
    while not told.empty():
        told.get_nowait()
    (place / "backups/a").touch()
    await asyncio.wait_for(told.get(), 20)
    print("written", flush=True)
    subprocess.run(["umount", place], check=True)  # the watch does not keep it busy
    await asyncio.wait_for(told.get(), 20)
    print("unmounted", flush=True)
    watch.stop()

asyncio.run(main())
"""


def test_a_drive_that_is_mounted_written_and_unmounted(tmp_path: Path) -> None:
    place = tmp_path / "drive"
    place.mkdir()
    argv = [*own_mounts(), sys.executable, "-c", PROGRAM, str(place)]
    run = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert run.stdout.split() == ["mounted", "written", "unmounted"], run.stderr


SHARE = """
import asyncio, pathlib, subprocess, sys
from slowboat.edges.inotify import FolderWatch

async def main():
    told = asyncio.Queue()
    server, place = map(pathlib.Path, sys.argv[1:])
    mount = ["rclone", "mount", f":local:{server}", place, "--dir-cache-time", "50ms", "--config", "/dev/null"]
    share = subprocess.Popen(mount)
    while not (place / "backups").is_dir():
        await asyncio.sleep(0.05)
    watch = FolderWatch(lambda: told.put_nowait(1), settle=0.02, search_every=0.2)
    watch.start([place / "backups"])
    await asyncio.sleep(1)
    print("quiet" if told.empty() else "told of nothing", flush=True)
    (server / "backups/a").touch()  # at the server: this machine's kernel has no part in it
    await asyncio.wait_for(told.get(), 20)
    print("written", flush=True)
    watch.stop()
    share.terminate()
    share.wait()

asyncio.run(main())
"""


@pytest.mark.needs("rclone", "fusermount3")
def test_what_comes_to_a_share_from_elsewhere_is_seen_by_looking(tmp_path: Path) -> None:
    server, place = tmp_path / "server", tmp_path / "a share"
    (server / "backups").mkdir(parents=True)
    place.mkdir()
    argv = [*own_mounts(), sys.executable, "-c", SHARE, str(server), str(place)]
    run = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert run.stdout.split("\n")[:2] == ["quiet", "written"], run.stderr


async def test_without_inotify_nothing_is_told_and_nothing_breaks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refused(*_: object) -> int:
        raise MemoryError

    monkeypatch.setattr(inotify, "call", refused)
    told = Told()
    watch = FolderWatch(told, settle=0.01)
    watch.start([tmp_path])
    assert not watch.search_again()
    (tmp_path / "a").touch()
    await asyncio.sleep(0.1)
    watch.stop()
    watch.stop()
    assert told.count == 0


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_it_can_be_stopped_at_any_time(tmp_path: Path) -> None:
    open_before = descriptors()
    for _ in range(20):
        watch = FolderWatch(settle=0.01)
        watch.start([tmp_path])
        (tmp_path / "a").touch()
        watch.stop()
    async with asyncio.timeout(20):
        while descriptors() > open_before:
            await asyncio.sleep(0.01)
