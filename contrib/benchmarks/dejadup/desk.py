"""A person's desk: a machine with a system on it, their session, their files, and where they back up to."""

from __future__ import annotations

import itertools
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass, field
from shlex import quote
from typing import TYPE_CHECKING, Self

from dejadup.boat import Boat
from dejadup.room import HOME, UID, USER, Machine, Room
from dejadup.session import Session
from dejadup.windows import DejaDup

if TYPE_CHECKING:
    from pathlib import Path

    from dejadup.systems import System
    from realparts.swift_server import SwiftServer

FOLDER = f"/media/{USER}/Disk A/Backups höst"
"""With a blank and an umlaut: two spellings of its URL."""
KEPT = (".config/browser", "Dokumente/Müller & Söhne", "Videos", "Notes")
"""What is backed up and compared. In the order of the paths: some 200 MB come before Deja Dup's own folder of 50.1 and
some after, so that its check reads neither the first volume alone nor all."""
_numbers = itertools.count(1)

MAKE = f"""
large() {{ mkdir -p "$1"; for i in $(seq $2); do head -c $3 /dev/urandom >"$1/b$i"; done; }}
mkdir -p '{KEPT[1]}' Notes '{FOLDER}'
for i in $(seq 20); do echo "note $i" >"Notes/n $i.txt"; echo "Brief $i" >'{KEPT[1]}'/"Grüße $i.txt"; done
"""
FULL_SIZE = f"large '{KEPT[0]}' 5 46000000; large Videos 9 46000000"
"""For four volumes of 200 MB, as Deja Dup has them."""
SMALL_SIZE = f"large '{KEPT[0]}' 5 4600000; large Videos 10 4600000"
"""For four of 20 MB: one more, as they take a few seconds each and volumes must be missing for a while."""
WRAPPER = ".local/bin/small-volumes"
"""Deja Dup's own setting `custom-tool-wrapper` puts it before duplicity: so that a story takes a minute, not five."""


@dataclass
class Bench:
    """What all stories share.

    Attributes:
        folder: for machines, layers and logs.
        pictures: where pictures of windows are kept.
    """

    folder: Path
    swift: SwiftServer
    wheel: Path
    systems: dict[str, System]
    pictures: Path
    facts: dict[str, dict[str, str]] = field(default_factory=dict)
    """By the version of Deja Dup: what docs/dejadup.md says of it."""


class Desk:
    """A machine while a system runs on it; use it as a context."""

    def __init__(self, bench: Bench, system: System, machine: Machine | None = None, *, encrypted: bool = True) -> None:
        number = next(_numbers)
        self.bench, self.system = bench, system
        self.folder = bench.folder / f"desk-{number:02}-{system.suite}"
        self.machine = machine or Machine.new(self.folder / "machine")
        self._encrypted = encrypted
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.room = stack.enter_context(Room(self.system.tree, self.folder / "layer", self.machine))
            self.session = Session(self.room, self.folder / "logs")
            self.dejadup = DejaDup(self.session, encrypted=self._encrypted)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def version(self) -> str:
        return self.system.version("deja-dup")

    @property
    def old(self) -> bool:
        """Whether this Deja Dup reaches no cloud of ours."""
        return int(self.version.split(".")[0]) < 48

    def fill(self, *, small: bool) -> None:
        """A home with files for some volumes: of Deja Dup's own size, or of a tenth."""
        self.room.did(MAKE + (SMALL_SIZE if small else FULL_SIZE))
        if small:
            text = '#!/bin/bash\nexec "${@/--volsize=200/--volsize=20}"\n'
            self.room.did(f"mkdir -p ~/.local/bin; printf %s {quote(text)} >{WRAPPER}; chmod +x {WRAPPER}")
            self.dejadup.set("custom-tool-wrapper", f"'{HOME}/{WRAPPER}'")

    def to_the_folder(self) -> None:
        """Deja Dup is set to a folder, and to duplicity where it has the choice."""
        self.dejadup.set("folder", f"'{FOLDER}'", ".Local")
        self.dejadup.set("backend", "'local'")
        self.prefers_duplicity()

    def prefers_duplicity(self) -> None:
        if not self.old:
            self.dejadup.set("tool-when-new", "'duplicity'")

    def to_the_cloud(self, boat: Boat) -> None:
        """Deja Dup is set to the cloud as on a machine that never saw slowboat."""
        boat.know_the_cloud()
        self.dejadup.set("remote", "'cloud'", ".Rclone")
        self.dejadup.set("folder", f"'{boat.container}/laptop'", ".Rclone")
        self.dejadup.set("backend", "'rclone'")

    def change(self, day: str) -> None:
        """A day's work."""
        self.room.did(f"echo '{day}' >'Notes/n 3.txt'; head -c 2000000 /dev/urandom >'{KEPT[1]}/{day}'")

    def plug(self, label: str) -> tuple[str, str]:
        """A removable drive, of a loop device: where it is mounted, and its UUID.

        What udev would have found out about it is written down by hand, as no udev runs in a room; udisks and
        GVolumeMonitor take it from there.
        """
        place = f"/media/{USER}/{label}"
        image = self.machine.path("/media/disk.img")
        with image.open("wb") as file:
            file.truncate(1_600_000_000)
        subprocess.run(["mkfs.ext4", "-q", "-L", label, image], check=True)
        done = self.room.root(
            f"""set -e
            mkdir -p '{place}'
            mount -o loop /media/disk.img '{place}'; chown {UID}:{UID} '{place}'
            device=$(findmnt -no SOURCE '{place}'); uuid=$(blkid -p -o value -s UUID /media/disk.img)
            mkdir -p /run/udev/data
            printf '%s\n' I:1 E:ID_FS_USAGE=filesystem E:ID_FS_TYPE=ext4 "E:ID_FS_UUID=$uuid" "E:ID_FS_UUID_ENC=$uuid" \
                "E:ID_FS_LABEL={label}" "E:ID_FS_LABEL_ENC={label}" E:UDISKS_SYSTEM=0 E:UDISKS_AUTO=1 \
                >/run/udev/data/b$(stat -c '%Hr:%Lr' $device)
            echo $uuid"""
        )
        assert done.returncode == 0, done.stdout
        uuid = done.stdout.split()[-1]
        self.room.begin_as_root("/usr/libexec/udisks2/udisksd", self.session.logs / "udisks.log")
        self.session.wait_for(f"gio mount -li | grep -q {uuid}")
        return place, uuid

    def boat(self, container: str) -> Boat:
        return Boat(self.session, self.bench.swift, container, self.bench.wheel)

    def differences(self, restored: str, original: str = HOME) -> str:
        """Between the files and what was restored (both as the room has them); "" for none."""
        pairs = "; ".join(f"diff -rq {quote(f'{original}/{each}')} {quote(f'{restored}/{each}')}" for each in KEPT)
        return self.room.user(f"{{ {pairs}; }} 2>&1 | head -5").stdout.strip()

    def picture(self, name: str) -> None:
        """Deja Dup's window as it is now."""
        self.bench.pictures.mkdir(parents=True, exist_ok=True)
        self.dejadup.show(self.bench.pictures / f"dejadup-{self.version}-{name}.png")
