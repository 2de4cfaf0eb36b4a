"""Backups that go to the drive after the handover, to the cloud, or to both: what belongs together comes together."""

from __future__ import annotations

import contextlib
import fcntl
import json
import random
import shutil
import sqlite3
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from evidence import expect_arrived, took_the_cache_as_it_is

from realparts.daemon_process import MANAGER, SERVICE
from realparts.drive import Drive, change_data, make_chain

if TYPE_CHECKING:
    from pathlib import Path

    from realparts.daemon_process import Daemon
    from realparts.duplicity import Duplicity
    from realparts.notification_service import Notifications
    from realparts.swift_server import SwiftServer

THE_MANAGER = (MANAGER, f"{SERVICE}.Manager")
HELD_BACK = 400_000
pytestmark = pytest.mark.needs("busctl", "gpg")


def rescan(daemon: Daemon) -> None:
    daemon.call(*THE_MANAGER, "Rescan", "a{sv}", "0")


def pause(daemon: Daemon) -> None:
    daemon.call(*THE_MANAGER, "Pause", "ta{sv}", "0", "0")
    daemon.wait_until(lambda now: now["State"] == "paused")


def resume(daemon: Daemon) -> None:
    daemon.call(*THE_MANAGER, "Resume", "a{sv}", "0")


def as_fast_as_it_goes(daemon: Daemon) -> None:
    daemon.configure(daemon.config_file.read_text().replace(f"limit = {HELD_BACK}\n", ""))
    daemon.slowboat("reload")


def own_data(drive: Drive, folder: Path) -> Drive:
    """The drive with data of this test's own to change."""
    data = folder / "own-data"
    shutil.copytree(drive.data, data, symlinks=True)
    return replace(drive, data=data)


def to_the_drive(drive: Drive, seed: int, *, full: bool = False) -> set[str]:
    """A new backup on the drive; the names of its files."""
    before = set(drive.names())
    change_data(drive.data, 200_000, random.Random(seed))
    backup = drive.duplicity.full if full else drive.duplicity.inc
    backup(drive.data, drive.url, "--allow-source-mismatch")
    return set(drive.names()) - before


def to_the_cloud(drive: Drive, swift: SwiftServer, url: str, seed: int) -> str:
    """An incremental straight to the cloud; what duplicity said."""
    change_data(drive.data, 100_000, random.Random(seed))
    cloud = replace(drive.duplicity, environment=swift.environment())
    return cloud.inc(drive.data, url, "--allow-source-mismatch").stdout


def cache_is_whole(daemon: Daemon, drive: Drive, url: str) -> None:
    """Waits until duplicity's cache for the cloud has all that the one for the drive has."""

    def names(cache: Path) -> set[str]:
        return {path.name for path in cache.iterdir()} - {"lockfile"}

    daemon.wait_until(lambda _: names(drive.duplicity.cache(url)) == names(drive.cache))


def restores(drive: Drive, swift: SwiftServer, url: str) -> None:
    """The cloud alone gives back what the data is now, on a machine that knows nothing."""
    cloud = replace(drive.duplicity, environment=swift.environment()).without_cache()
    cloud.verify(url, drive.data)


def told(daemon: Daemon) -> str:
    """The history in one line."""
    return " ".join(daemon.slowboat("history").stdout.split())


def test_a_backup_to_the_drive_after_the_handover_goes_up_metadata_first_and_the_cloud_goes_on_from_it(
    daemon: Daemon, swift: SwiftServer, any_duplicity: Duplicity, tmp_path: Path
) -> None:
    drive = make_chain(any_duplicity, tmp_path / "made", incs=1, size=3_000_000)
    container = swift.container()
    url = daemon.configure_migration(drive, swift, container, limit=HELD_BACK)
    daemon.start()
    daemon.wait_until(lambda now: now["Handover"] == "done")
    new = to_the_drive(drive, 11)
    rescan(daemon)
    seen = daemon.wait_until(lambda now: new & set(swift.listing(container)) >= {n for n in new if "difftar" not in n})
    assert seen["VolumesDone"] < seen["VolumesTotal"], "its metadata overtook the volumes"
    assert seen["BytesTotal"] == drive.size()
    cache_is_whole(daemon, drive, url)
    took_the_cache_as_it_is(to_the_cloud(drive, swift, url, 12))  # while volumes are missing
    as_fast_as_it_goes(daemon)
    daemon.wait_until(lambda now: now["State"] == "done" and now["DirectSets"] == 1)
    expect_arrived(drive, swift, container)
    restores(drive, swift, url)


def test_nothing_says_that_the_cloud_is_enough_while_the_newest_backup_is_on_the_drive_alone(
    daemon: Daemon, swift: SwiftServer, chain: Drive, tmp_path: Path
) -> None:
    drive, container = own_data(chain, tmp_path), swift.container()
    url = daemon.configure_migration(drive, swift, container)
    daemon.start()
    seen = daemon.wait_until(lambda now: now["State"] == "done")
    assert seen["RestorableFromCloud"]
    daemon.call(*THE_MANAGER, "Pause", "ta{sv}", "0", "0")
    to_the_drive(drive, 21)
    rescan(daemon)
    seen = daemon.wait_until(lambda now: now["BytesTotal"] == drive.size())
    assert not seen["RestorableFromCloud"]
    daemon.wait_until(lambda now: now["State"] == "paused")
    shown = " ".join(daemon.slowboat("status").stdout.split())
    assert "no longer the only copy" not in shown
    assert "Newer backups need the drive: keep it." in seen["CloudHasText"]
    assert (seen["Behind"], seen["NewestOnDrive"] > seen["NewestInCloud"] > 0) == (1, True)
    assert "Behind 1 backup" in shown
    to_the_drive(drive, 22)
    resume(daemon)
    daemon.wait_until(lambda now: now["State"] == "done" and now["BytesDone"] == drive.size())
    assert daemon.migration()["RestorableFromCloud"]
    expect_arrived(drive, swift, container)
    restores(drive, swift, url)


def test_a_new_full_on_the_drive_after_the_handover_is_continued_in_the_cloud(
    daemon: Daemon, swift: SwiftServer, chain: Drive, tmp_path: Path
) -> None:
    drive, container = own_data(chain, tmp_path), swift.container()
    url = daemon.configure_migration(drive, swift, container, limit=HELD_BACK)
    daemon.start()
    daemon.wait_until(lambda now: now["Handover"] == "done")
    new = to_the_drive(drive, 31, full=True)
    rescan(daemon)
    signatures = next(name for name in new if "full-signatures" in name).removesuffix(".gpg") + ".gz"
    daemon.wait_until(lambda _: (drive.duplicity.cache(url) / signatures).exists())
    took_the_cache_as_it_is(to_the_cloud(drive, swift, url, 32))
    assert sum("duplicity-full.2" in name and "manifest" in name for name in swift.listing(container)) == 2, "no third"
    as_fast_as_it_goes(daemon)
    daemon.wait_until(lambda now: now["State"] == "done")
    expect_arrived(drive, swift, container)
    restores(drive, swift, url)


@pytest.mark.parametrize("first", ["drive", "cloud"])
def test_where_both_went_on_from_the_same_backup_they_have_parted_and_the_cloud_stays_whole(
    first: str,
    daemon: Daemon,
    swift: SwiftServer,
    any_duplicity: Duplicity,
    notifications: Notifications,
    tmp_path: Path,
) -> None:
    drive = make_chain(any_duplicity, tmp_path / "made", incs=1, size=3_000_000)
    container = swift.container()
    url = daemon.configure_migration(drive, swift, container, limit=HELD_BACK)
    daemon.start()
    daemon.wait_until(lambda now: now["Handover"] == "done")
    pause(daemon)
    before = set(drive.names())
    new: set[str] = set()
    for which in sorted(["drive", "cloud"], key=lambda which: which != first):
        if which == "drive":
            new = to_the_drive(drive, 41)
        else:
            to_the_cloud(drive, swift, url, 42)
        time.sleep(1.1)  # two backups of one second would have the same names
    resume(daemon)
    as_fast_as_it_goes(daemon)
    title = "home: the drive and the cloud have diverged"
    daemon.wait_until(lambda now: now["State"] == "done" and title in notifications.titles)
    there = set(swift.listing(container))
    assert before <= there, "what had begun goes on"
    assert not new & there, "it would break the chain in the cloud"
    body = next(each["body"] for each in notifications.all if each["title"] == title)
    assert str(drive.folder) in body
    assert url in body
    shown = " ".join(daemon.slowboat("status").stdout.split())
    assert "no longer the only copy" not in shown
    assert not daemon.migration()["RestorableFromCloud"]
    assert "no longer the only copy" not in told(daemon)
    took_the_cache_as_it_is(to_the_cloud(drive, swift, url, 43))
    restores(drive, swift, url)
    daemon.kill()
    daemon.start()
    daemon.wait_until(lambda now: now["State"] == "done")
    assert not new & set(swift.listing(container))
    assert told(daemon).count("do not fit into one chain") == 1, "told once"


def test_a_backup_to_the_drive_waits_while_duplicity_is_at_work_at_the_target(
    daemon: Daemon, swift: SwiftServer, chain: Drive, tmp_path: Path
) -> None:
    drive, container = own_data(chain, tmp_path), swift.container()
    url = daemon.configure_migration(drive, swift, container, limit=HELD_BACK)
    daemon.start()
    daemon.wait_until(lambda now: now["Handover"] == "done")
    with (drive.duplicity.cache(url) / "lockfile").open("w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        new = to_the_drive(drive, 51)
        as_fast_as_it_goes(daemon)
        rescan(daemon)
        seen = daemon.wait_until(lambda now: "target-in-use" in now["Reasons"])
        assert not new & set(swift.listing(container))
        assert seen["VolumesDone"] == seen["VolumesTotal"] - sum("difftar" in name for name in new), "the rest went on"
    rescan(daemon)
    daemon.wait_until(lambda now: now["State"] == "done")
    expect_arrived(drive, swift, container)
    cache_is_whole(daemon, drive, url)
    took_the_cache_as_it_is(to_the_cloud(drive, swift, url, 52))


def test_killed_while_a_new_set_goes_up_it_is_the_same_in_the_end(
    daemon: Daemon, swift: SwiftServer, chain: Drive, tmp_path: Path
) -> None:
    drive, container = own_data(chain, tmp_path), swift.container()
    url = daemon.configure_migration(drive, swift, container)
    daemon.start()
    daemon.wait_until(lambda now: now["State"] == "done")
    new = to_the_drive(drive, 61)
    rescan(daemon)
    chance = random.Random(61)
    for _ in range(4):
        daemon.kill()
        daemon.start()
        time.sleep(chance.uniform(0.0, 0.6))
    daemon.wait_until(lambda now: now["State"] == "done" and now["BytesTotal"] == drive.size())
    assert new <= set(swift.listing(container))
    expect_arrived(drive, swift, container)
    cache_is_whole(daemon, drive, url)
    took_the_cache_as_it_is(to_the_cloud(drive, swift, url, 62))
    restores(drive, swift, url)


def test_a_cloud_that_follows_the_drive_gets_each_backup_and_a_handover_is_possible_at_any_time(
    daemon: Daemon, swift: SwiftServer, any_duplicity: Duplicity, notifications: Notifications, tmp_path: Path
) -> None:
    drive = make_chain(any_duplicity, tmp_path / "made", incs=0, size=2_000_000)
    container = swift.container()
    url = daemon.configure_migration(drive, swift, container, more='handover = "never"')
    daemon.start()
    daemon.wait_until(lambda now: now["State"] == "done" and now["Handover"] == "never")
    assert not drive.duplicity.cache(url).exists()
    for seed, full in ((71, False), (72, False), (73, True), (74, False)):
        to_the_drive(drive, seed, full=full)  # nobody says anything: the folder is watched
        daemon.wait_until(lambda now: now["State"] == "done" and now["BytesDone"] == drive.size())
        seen = daemon.migration()
        assert (seen["Behind"], seen["NewestInCloud"]) == (0, seen["NewestOnDrive"])
    expect_arrived(drive, swift, container)
    restores(drive, swift, url)
    assert not drive.duplicity.cache(url).exists()
    shown = " ".join(daemon.slowboat("status").stdout.split())
    assert "the cloud follows the drive" in shown
    assert "Backups can go to the cloud now" not in notifications.titles

    daemon.slowboat("handover")
    assert daemon.migration()["Handover"] == "done"
    took_the_cache_as_it_is(to_the_cloud(drive, swift, url, 75))
    restores(drive, swift, url)


def test_what_its_owner_removes_from_the_drive_stays_in_the_cloud_and_is_told(
    daemon: Daemon, swift: SwiftServer, chain: Drive, notifications: Notifications, tmp_path: Path
) -> None:
    drive, container = own_data(chain, tmp_path), swift.container()
    daemon.configure_migration(drive, swift, container, more='handover = "never"')
    daemon.start()
    daemon.wait_until(lambda now: now["State"] == "done")
    old = set(drive.names())
    to_the_drive(drive, 81, full=True)
    daemon.wait_until(lambda now: now["State"] == "done" and now["BytesDone"] == drive.size())
    duplicity = drive.duplicity
    duplicity.run("remove-all-but-n-full", "1", "--force", drive.url)
    assert not old & set(drive.names())
    daemon.wait_until(lambda now: now["State"] == "done" and now["BytesTotal"] == drive.size())
    title = "home: backups were removed from the drive"
    daemon.wait_until(lambda _: title in notifications.titles)
    to_the_drive(drive, 82)
    daemon.wait_until(lambda now: now["State"] == "done" and now["BytesDone"] == drive.size())
    assert old <= set(swift.listing(container))
    assert "slowboat removes nothing there" in told(daemon)
    daemon.kill()
    daemon.start()
    seen = daemon.wait_until(lambda now: now["State"] == "done")
    assert (seen["DirectSets"], seen["Behind"], seen["LastError"]) == (0, 0, ""), "what left the drive is no stranger's"
    expect_arrived(drive, swift, container)
    assert daemon.slowboat("verify").returncode == 0


def test_where_its_owner_asked_for_it_an_old_chain_that_left_the_drive_leaves_the_cloud_a_week_later(
    daemon: Daemon, swift: SwiftServer, chain: Drive, tmp_path: Path
) -> None:
    drive, container = own_data(chain, tmp_path), swift.container()
    follows = 'handover = "never"\nremoved_on_drive = "remove"'
    url = daemon.configure_migration(drive, swift, container, more=follows)
    daemon.start()
    daemon.wait_until(lambda now: now["State"] == "done")
    old = set(drive.names())
    to_the_drive(drive, 91, full=True)
    daemon.wait_until(lambda now: now["State"] == "done" and now["BytesDone"] == drive.size())
    drive.duplicity.run("remove-all-but-n-full", "1", "--force", drive.url)
    daemon.wait_until(lambda now: now["State"] == "done" and now["BytesTotal"] == drive.size())
    assert "It is removed from the cloud in 7 days" in told(daemon)
    assert old <= set(swift.listing(container)), "not before somebody could see the notice"
    stranger = next(name for name in sorted(old) if "inc" in name and "difftar" in name)
    bytes_of_ours = swift.read(container, stranger)

    daemon.terminate()
    with contextlib.closing(sqlite3.connect(daemon.state / "ledger.sqlite")) as ledger, ledger:
        ((text,),) = ledger.execute("SELECT value FROM facts WHERE key = 'departed'")
        rows = {name: [size, md5, since - 8 * 86400] for name, (size, md5, since) in json.loads(text).items()}
        ledger.execute("UPDATE facts SET value = ? WHERE key = 'departed'", [json.dumps(rows)])
    swift.put(container, stranger, b"not ours any more")
    daemon.start()
    daemon.wait_until(lambda now: now["State"] == "done")
    rescan(daemon)
    daemon.wait_until(lambda now: now["State"] == "done")
    assert old <= set(swift.listing(container)), "one of its files is somebody else's: all of it stays"
    daemon.terminate()
    swift.put(container, stranger, bytes_of_ours)
    daemon.start()
    daemon.wait_until(lambda _: not old & set(swift.listing(container)))
    expect_arrived(drive, swift, container)
    restores(drive, swift, url)


def test_who_backs_up_straight_to_a_cloud_that_follows_the_drive_parts_the_two_and_stops_nothing_else(
    daemon: Daemon, swift: SwiftServer, chain: Drive, notifications: Notifications, tmp_path: Path
) -> None:
    drive, container = own_data(chain, tmp_path), swift.container()
    url = daemon.configure_migration(drive, swift, container, limit=HELD_BACK, more='handover = "never"')
    daemon.start()
    daemon.wait_until(lambda now: now["MetadataDone"] == now["MetadataTotal"] > 0)
    before = set(drive.names())
    to_the_cloud(drive, swift, url, 101)  # duplicity fetches the metadata, and goes on
    time.sleep(1.1)  # two backups of one second would have the same names
    new = to_the_drive(drive, 102)
    as_fast_as_it_goes(daemon)
    daemon.wait_until(lambda now: now["State"] in {"done", "needs-user"} and now["DirectSets"] == 1)
    assert "home: the drive and the cloud have diverged" in notifications.titles
    assert before <= set(swift.listing(container))
    assert not new & set(swift.listing(container))
    to_the_cloud(drive, swift, url, 103)
    restores(drive, swift, url)
