"""Drives with the file systems of other systems: FAT, exFAT and NTFS in image files, plugged and pulled.

Where the kernel knows one of them it mounts it, with its `time_offset`; else the FUSE program of that name does, which
takes the clock on the wall from TZ. FAT keeps the clock on the wall and two seconds; exFAT keeps no more than ten
milliseconds of a time, and NTFS 100 nanoseconds. None keeps an owner or a mode.
"""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from realparts.presence import not_permitted, program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MAKE = {"vfat": "mkfs.vfat", "exfat": "mkfs.exfat", "ntfs": "mkntfs", "ext4": "mkfs.ext4"}
_QUICKLY = {"ntfs": ["-F", "-Q", "-q"], "ext4": ["-q"]}
_PATIENCE = 60.0
"""Seconds that a FUSE program may take to end, on a busy machine."""
_FUSE = {"vfat": "fusefat", "exfat": "mount.exfat-fuse", "ntfs": "ntfs-3g"}


@dataclass
class ForeignDrive:
    """One such drive.

    Attributes:
        kind: "vfat", "exfat", "ntfs"; "ext4" for comparison.
        image: the file that holds it.
        place: where it is plugged in.
    """

    kind: str
    image: Path
    place: Path
    _loop: str = field(default="", init=False)

    def plug(self, zone: str = "UTC") -> None:
        """Mounts it by a machine whose clock on the wall is that of a zone ("Etc/GMT-1" is an hour ahead of UTC)."""
        self._loop = _run("losetup", "-f", "--show", str(self.image)).strip()
        if not self._by_the_kernel(zone):
            fuse = [program(_FUSE[self.kind]), *(["-o", "rw+,allow_other"] if self.kind == "vfat" else [])]
            _run(*fuse, self._loop, str(self.place), environment={"TZ": zone})
        assert os.path.ismount(self.place)

    def _by_the_kernel(self, zone: str) -> bool:
        minutes = -60 * int(zone.removeprefix("Etc/GMT") or 0) if zone.startswith("Etc/GMT") else 0
        options = [] if self.kind in {"ext4", "ntfs"} else ["-o", f"time_offset={minutes}"]
        kind = "ntfs3" if self.kind == "ntfs" else self.kind
        argv = [program("mount"), "-i", "-t", kind, *options, self._loop, str(self.place)]
        return subprocess.run(argv, capture_output=True, check=False).returncode == 0

    def pull(self) -> None:
        """Unmounts it, where it is mounted, and waits until everything is on it.

        A FUSE program writes what it still holds after `umount` has returned; the loop device goes when it ends.
        """
        if os.path.ismount(self.place):
            _run("umount", str(self.place))
        if self._loop:
            subprocess.run([program("losetup"), "-d", self._loop], capture_output=True, check=False)
            self._loop = ""
        deadline = time.monotonic() + _PATIENCE
        while _run("losetup", "--associated", str(self.image)):
            assert time.monotonic() < deadline, f"{self.image} is still in use"
            time.sleep(0.05)


@contextmanager
def foreign_drive(kind: str, folder: Path, *, size: int = 48 << 20, name: str = "") -> Iterator[ForeignDrive]:
    """A fresh one, not plugged in; its place is `folder`/media. Without root the test is skipped loudly."""
    if os.geteuid() != 0:
        not_permitted("mounting an image", "run the suite as root")
    folder.mkdir(parents=True, exist_ok=True)
    image, place = folder / (name or f"{kind}.img"), folder / "media"
    place.mkdir(exist_ok=True)
    with image.open("wb") as file:
        file.truncate(size)
    subprocess.run([program(_MAKE[kind]), *_QUICKLY.get(kind, []), image], check=True, capture_output=True)
    drive = ForeignDrive(kind, image, place)
    try:
        yield drive
    finally:
        drive.pull()


def _run(name: str, *arguments: str, environment: dict[str, str] | None = None) -> str:
    argv = [name if name.startswith("/") else program(name), *arguments]
    done = subprocess.run(
        argv, capture_output=True, text=True, check=False, env=os.environ | (environment or {}), timeout=60
    )
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout
