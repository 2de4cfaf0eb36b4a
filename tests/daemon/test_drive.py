"""A drive that goes and comes back, and backups that go to it at the wrong time."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from evidence import expect_arrived, fingerprint

from faults import BlackHole
from realparts.daemon_process import MANAGER, SERVICE
from realparts.drive import change_data

if TYPE_CHECKING:
    from pathlib import Path

    from on_the_wire import Wire

    from realparts.daemon_process import Daemon
    from realparts.drive import Drive
    from realparts.notification_service import Notifications
    from realparts.swift_server import SwiftServer

THE_MANAGER = (MANAGER, f"{SERVICE}.Manager")
pytestmark = pytest.mark.needs("busctl", "gpg")


def rescan(daemon: Daemon) -> None:
    daemon.call(*THE_MANAGER, "Rescan", "a{sv}", "0")


def another_inc(chain: Drive, folder: Path, seed: int = 5) -> Drive:
    """A new incremental on the drive, of data of this test's own."""
    data = folder / f"data-{seed}"
    if not data.exists():
        shutil.copytree(chain.data, data, symlinks=True)
    change_data(data, 300_000, random.Random(seed))
    chain.duplicity.inc(data, chain.url, "--allow-source-mismatch")
    return replace(chain, data=data)


def test_a_drive_that_goes_in_mid_upload_and_comes_back(
    daemon: Daemon, swift: SwiftServer, wire: Wire, chain: Drive, notifications: Notifications
) -> None:
    container, away = swift.container(), chain.folder.with_name("away")
    daemon.configure_migration(chain, swift, container, auth_url=wire.auth_url, limit=1_000_000)
    before = fingerprint(chain.folder)
    daemon.start()
    daemon.wait_until(lambda now: now["VolumesDone"] > 0 and now["CurrentObject"])
    chain.folder.rename(away)
    seen = daemon.wait_until(lambda now: "source-absent" in now["Reasons"])
    assert seen["State"] == "waiting"
    why = next(each for each in seen["Why"] if each["code"]["data"] == "source-absent")
    assert str(chain.folder) in why["text"]["data"]
    assert "onnect" in why["cure"]["data"]
    assert seen["VolumesRefused"] == 0
    chain.folder.mkdir()  # the mount point that a drive leaves behind
    (chain.folder / "notes.txt").write_text("somebody wrote here while nothing was mounted")
    rescan(daemon)
    seen = daemon.wait_until(lambda now: "holds none of the files" in now["LastError"])
    (chain.folder / "notes.txt").unlink()
    chain.folder.rmdir()
    away.rename(chain.folder)
    daemon.wait_until(lambda now: now["State"] == "done")
    assert fingerprint(chain.folder) == before
    assert notifications.titles == ["Backups can go to the cloud now", "home: the backup is in the cloud"]
    assert seen["VolumesRefused"] == 0
    expect_arrived(chain, swift, container)


@pytest.mark.needs("unshare")
def test_an_empty_mount_point_is_no_empty_backup(daemon: Daemon, swift: SwiftServer, chain: Drive) -> None:
    """Nothing of it is refused, forgotten or adopted anew, whenever it is looked at."""
    container, away = swift.container(), chain.folder.with_name("away")
    daemon.configure_migration(chain, swift, container, limit=200_000)
    daemon.start()
    daemon.wait_until(lambda now: now["MetadataDone"] > 0)
    total = daemon.migration()["BytesTotal"]
    chain.folder.rename(away)
    chain.folder.mkdir()
    rescan(daemon)
    seen = daemon.wait_until(lambda now: "source-absent" in now["Reasons"])
    daemon.kill()
    daemon.start()
    seen = daemon.wait_until(lambda now: "source-absent" in now["Reasons"])
    assert seen["BytesTotal"] == total
    daemon.slowboat("retry")
    rescan(daemon)
    seen = daemon.wait_until(lambda now: "source-absent" in now["Reasons"])
    assert (seen["BytesTotal"], seen["VolumesRefused"]) == (total, 0)
    chain.folder.rmdir()
    away.rename(chain.folder)
    daemon.configure(daemon.config_file.read_text().replace("limit = 200000", ""))
    daemon.slowboat("reload")
    daemon.wait_until(lambda now: now["State"] == "done")
    expect_arrived(chain, swift, container)


def test_a_backup_to_the_drive_before_the_handover_goes_with_it(
    daemon: Daemon, swift: SwiftServer, wire: Wire, chain: Drive, tmp_path: Path
) -> None:
    container = swift.container()
    url = daemon.configure_migration(chain, swift, container, auth_url=wire.auth_url)
    wire.rule("PUT", chain.names("manifest")[0], BlackHole(), times=None)
    daemon.start()
    wire.came("PUT", chain.names("manifest")[0])
    old = chain.metadata
    later = another_inc(chain, tmp_path)
    assert len(chain.metadata) == len(old) + 2
    wire.forget_rules()
    daemon.call(*THE_MANAGER, "Pause", "ta{sv}", "0", "0")
    daemon.wait_until(lambda now: now["State"] == "paused" and not now["CurrentObject"])
    daemon.call(*THE_MANAGER, "Resume", "a{sv}", "0")
    seen = daemon.wait_until(lambda now: now["State"] == "done")
    assert seen["MetadataTotal"] == len(chain.metadata)
    assert seen["BytesTotal"] == chain.size()
    assert len(list(chain.duplicity.cache(url).iterdir())) == len(chain.metadata)
    expect_arrived(chain, swift, container)
    cloud = replace(chain.duplicity, environment=swift.environment()).without_cache()
    cloud.verify(url, later.data)


def test_a_configuration_that_points_elsewhere_begins_anew(
    daemon: Daemon, swift: SwiftServer, chain: Drive, notifications: Notifications
) -> None:
    first, second = swift.container(), swift.container()
    daemon.configure_migration(chain, swift, first)
    daemon.start()
    daemon.wait_until(lambda now: now["State"] == "done")
    url = daemon.configure_migration(chain, swift, second, prefix="p")
    daemon.slowboat("reload")
    seen = daemon.wait_until(lambda now: now["State"] == "done" and now["TargetUrl"] == url)
    assert seen["Handover"] == "done"
    assert chain.duplicity.cache(url).exists(), "handed over for the new target, too"
    expect_arrived(chain, swift, second, "p/")
    expect_arrived(chain, swift, first)
