"""The watch on mounts, against the kernel's own table."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from realparts.presence import own_mounts

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import asyncio, subprocess, sys
from slowboat.edges.mounts import MountWatch

async def main():
    told = asyncio.Queue()
    watch = MountWatch(lambda: told.put_nowait(1), settle=0.05)
    watch.start()
    folder = sys.argv[1]
    for command in (["mount", "-t", "tmpfs", "none", folder], ["umount", folder]):
        subprocess.run(command, check=True)
        await asyncio.wait_for(told.get(), 20)
        print(command[0], flush=True)
    watch.stop()
    assert told.empty()

asyncio.run(main())
"""


def test_a_mount_and_an_unmount_are_told_once_each(tmp_path: Path) -> None:
    folder = tmp_path / "drive"
    folder.mkdir()
    run = subprocess.run(
        [*own_mounts(), sys.executable, "-c", PROGRAM, str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.stdout.split() == ["mount", "umount"], run.stderr


@pytest.mark.alone
async def test_without_a_change_nothing_is_told() -> None:
    from slowboat.edges.mounts import MountWatch

    told: list[int] = []
    watch = MountWatch(lambda: told.append(1), settle=0.01)
    watch.start()
    await asyncio.sleep(0.2)
    watch.stop()
    watch.stop()
    assert told == []
