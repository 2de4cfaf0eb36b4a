"""Backups on drives as people have them: FAT, exFAT, NTFS; plugged in by another clock, or copied to another drive."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from evidence import expect_arrived

from realparts.daemon_process import MANAGER, SERVICE
from realparts.foreign_drive import ForeignDrive, foreign_drive
from realparts.presence import program

if TYPE_CHECKING:
    from pathlib import Path

    from realparts.daemon_process import Daemon
    from realparts.drive import Drive
    from realparts.notification_service import Notifications
    from realparts.swift_server import SwiftServer

pytestmark = pytest.mark.needs("busctl", "gpg")

AN_HOUR_AHEAD = "Etc/GMT-1"


def put_on(chain: Drive, drive: ForeignDrive) -> Drive:
    """The chain, copied to the drive as people do; duplicity knows it by that place."""
    there = drive.place / "backup"
    there.mkdir(exist_ok=True)
    copy(chain.folder, there)
    moved = replace(chain, folder=there, url=f"file://{there}")
    if not moved.cache.exists():
        shutil.copytree(chain.cache, moved.cache)
    return moved


def copy(one: Path, other: Path) -> None:
    """As `cp -a`, without owners where the file system has none."""
    subprocess.run([program("cp"), "-r", "--preserve=timestamps", f"{one}/.", other], check=True)


def times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def rescan(daemon: Daemon) -> None:
    daemon.call(MANAGER, f"{SERVICE}.Manager", "Rescan", "a{sv}", "0")


def unplug(daemon: Daemon, drive: ForeignDrive) -> None:
    """As a careful person does it: nothing is being read from it."""
    daemon.slowboat("pause")
    daemon.wait_until(lambda now: now["State"] == "paused" and not now["CurrentObject"])
    drive.pull()
    rescan(daemon)
    daemon.wait_until(lambda now: "source-absent" in now["Reasons"])


def plugged_again(daemon: Daemon) -> None:
    faster(daemon)
    daemon.slowboat("resume")
    rescan(daemon)


def faster(daemon: Daemon) -> None:
    daemon.configure(daemon.config_file.read_text().replace("limit = 300000", ""))
    daemon.slowboat("reload")


def told_of_times(daemon: Daemon) -> int:
    return " ".join(daemon.slowboat("history").stdout.split()).count("a new modification time")


@pytest.mark.parametrize("kind", ["vfat", "exfat", "ntfs"])
def test_plugged_in_again_after_a_change_of_the_clock(
    kind: str, daemon: Daemon, swift: SwiftServer, chain: Drive, notifications: Notifications, tmp_path: Path
) -> None:
    container = swift.container()
    with foreign_drive(kind, tmp_path / "usb") as drive:
        drive.plug()
        chain = put_on(chain, drive)
        before = times(chain.folder)
        daemon.configure_migration(chain, swift, container, limit=300_000)
        daemon.start()
        daemon.wait_until(lambda now: now["Handover"] == "done" and now["VolumesDone"] > 0)
        unplug(daemon, drive)
        drive.plug(AN_HOUR_AHEAD)
        if kind == "vfat":
            assert all(abs(when - before[name]) >= 3_000e9 for name, when in times(chain.folder).items())
        plugged_again(daemon)
        seen = daemon.wait_until(lambda now: now["State"] == "done")
        assert seen["VolumesRefused"] == 0
        assert seen["LastError"] == ""
        if times(chain.folder) != before:
            assert told_of_times(daemon) == 1
        assert notifications.titles == ["Backups can go to the cloud now", "home: the backup is in the cloud"]
        assert daemon.slowboat("verify", "--deep").returncode == 0
        expect_arrived(chain, swift, container)


def test_an_hour_off_under_a_running_upload(
    daemon: Daemon, swift: SwiftServer, chain: Drive, notifications: Notifications
) -> None:
    """As a kernel does it whose zone is set while the drive is mounted: no mount and no write tells of it."""
    container = swift.container()
    daemon.configure_migration(chain, swift, container, limit=300_000)
    daemon.start()
    daemon.wait_until(lambda now: now["Handover"] == "done" and now["CurrentObject"])
    for path in chain.folder.iterdir():
        found = path.stat()
        os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns + 3_600_000_000_000))
    faster(daemon)
    seen = daemon.wait_until(lambda now: now["State"] == "done")
    assert seen["VolumesRefused"] == 0
    assert told_of_times(daemon) >= 1
    assert notifications.titles == ["Backups can go to the cloud now", "home: the backup is in the cloud"]
    expect_arrived(chain, swift, container)


def test_a_drive_that_the_desktop_mounts_elsewhere(
    daemon: Daemon, swift: SwiftServer, chain: Drive, tmp_path: Path
) -> None:
    """The path that was looked for, where the drive is now, and what helps; back in its place it goes on."""
    container = swift.container()
    with foreign_drive("ext4", tmp_path / "usb") as drive:
        drive.plug()
        chain = put_on(chain, drive)
        daemon.configure_migration(chain, swift, container, limit=300_000)
        daemon.start()
        daemon.wait_until(lambda now: now["Handover"] == "done" and now["VolumesDone"] > 0)
        unplug(daemon, drive)
        old, drive.place = drive.place, drive.place.with_name("media1")
        drive.place.mkdir()
        drive.plug()
        rescan(daemon)
        seen = daemon.wait_until(lambda now: str(drive.place) in now["LastError"])
        why = next(each for each in seen["Why"] if each["code"]["data"] == "source-absent")
        assert str(chain.folder) in why["text"]["data"]
        assert str(drive.place) in why["text"]["data"]
        assert str(drive.place / "backup") in why["cure"]["data"]
        assert f"\nsudo rmdir {old}" in why["cure"]["data"]
        drive.pull()
        drive.place.rmdir()
        drive.place = old
        drive.plug()
        plugged_again(daemon)
        daemon.wait_until(lambda now: now["State"] == "done")
        expect_arrived(chain, swift, container)


@pytest.mark.parametrize("kind", ["exfat", "vfat", "ntfs"])
def test_the_files_copied_to_another_drive_at_the_same_place(
    kind: str, daemon: Daemon, swift: SwiftServer, chain: Drive, notifications: Notifications, tmp_path: Path
) -> None:
    """The old drive has times to the nanosecond; the copies have lost their fractions."""
    container = swift.container()
    with (
        foreign_drive("ext4", tmp_path / "usb") as old,
        foreign_drive(kind, tmp_path / "usb", name="new.img") as new,
    ):
        old.plug()
        away, chain = chain, put_on(chain, old)
        before = times(chain.folder)
        daemon.configure_migration(chain, swift, container, limit=300_000)
        daemon.start()
        daemon.wait_until(lambda now: now["Handover"] == "done" and now["VolumesDone"] > 0)
        unplug(daemon, old)
        new.plug()
        put_on(away, new)
        assert times(chain.folder) != before
        plugged_again(daemon)
        seen = daemon.wait_until(lambda now: now["State"] == "done")
        assert seen["VolumesRefused"] == 0
        assert "Another drive with the same files" in " ".join(daemon.slowboat("history").stdout.split())
        assert told_of_times(daemon) == 1
        assert "home: the backup is in the cloud" in notifications.titles
        expect_arrived(chain, swift, container)
