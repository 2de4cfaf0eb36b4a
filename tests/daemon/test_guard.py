"""Real duplicity against a half-uploaded chain: what it destroys is put back, what its owner removes stays away."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from evidence import expect_arrived, fingerprint

from realparts.daemon_process import MANAGER, SERVICE
from realparts.drive import change_data, differences, make_chain

if TYPE_CHECKING:
    from pathlib import Path

    from realparts.daemon_process import Daemon
    from realparts.drive import Drive
    from realparts.duplicity import Duplicity
    from realparts.notification_service import Notifications
    from realparts.swift_server import SwiftServer

pytestmark = pytest.mark.needs("busctl", "gpg")
HELD_BACK = 150_000
"""Bytes per second until the handover."""
CRAWL = "3k"
"""And after it, so that nothing moves while duplicity is at work."""


class Scene:
    """A chain that was handed over while most of its volumes are on the drive."""

    def __init__(self, daemon: Daemon, swift: SwiftServer, drive: Drive, shown: Notifications) -> None:
        self.daemon, self.swift, self.drive, self.shown = daemon, swift, drive, shown
        self.container = swift.container()
        self.cloud = replace(drive.duplicity, environment=swift.environment())
        self.url = ""

    def hand_over(self, more: str = "") -> None:
        more = more or f'duplicity = "{self.cloud.path}"'
        self.url = self.daemon.configure_migration(self.drive, self.swift, self.container, limit=HELD_BACK, more=more)
        self.daemon.start()
        seen = self.daemon.wait_until(lambda now: now["Handover"] == "done")
        self.daemon.slowboat("limit", CRAWL)
        assert seen["VolumesDone"] < seen["VolumesTotal"]

    def rescan(self) -> None:
        self.daemon.call(MANAGER, f"{SERVICE}.Manager", "Rescan", "a{sv}", "0")

    def hurry(self) -> None:
        """The cap ends."""
        self.daemon.slowboat("limit", "off")
        self.daemon.configure(self.daemon.config_file.read_text().replace(f"limit = {HELD_BACK}", ""))
        self.daemon.slowboat("reload")

    def told(self, text: str) -> str:
        """What the desktop was told with that in it, once it was."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            for each in self.shown.all:
                if text in f"{each['title']} {each['body']}":
                    return str(each["body"])
            time.sleep(0.1)
        raise AssertionError(f"{text!r} was not told: {self.shown.all}\n{self.daemon.log}")

    def leave_a_stray(self) -> str:
        """A volume of a full that was killed before its manifest, its cache lost."""
        name = f"duplicity-full.{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.vol1.difftar.gpg"
        self.swift.put(self.container, name, (self.drive.folder / self.drive.volumes[0]).read_bytes())
        return name

    def at_target(self) -> set[str]:
        return set(self.swift.listing(self.container))


@pytest.fixture
def scene(
    daemon: Daemon, swift: SwiftServer, duplicity: Duplicity, notifications: Notifications, tmp_path: Path
) -> Scene:
    drive = make_chain(duplicity, tmp_path / "made", size=2_500_000, incs=1)
    return Scene(daemon, swift, drive, notifications)


def test_what_duplicity_destroys_is_put_back_and_completed(scene: Scene, tmp_path: Path) -> None:
    before = fingerprint(scene.drive.folder, scene.drive.cache)
    scene.hand_over()
    cache = scene.cloud.cache(scene.url)
    installed = {path.name: path.read_bytes() for path in cache.iterdir()}
    scene.leave_a_stray()
    scene.rescan()
    warned = scene.told("unfinished backup")
    assert f"duplicity cleanup --force {scene.url}" in warned
    assert "this is dangerous" in warned

    change_data(scene.drive.data, 100_000, random.Random(3))
    destroyed = scene.cloud.inc(scene.drive.data, scene.url, check=False)
    assert destroyed.returncode == 17, destroyed.stdout
    assert not [name for name in scene.at_target() if name in scene.drive.metadata], "this duplicity destroys nothing"
    assert not [name for name in installed if (cache / name).exists()], "it does not empty its cache either"

    scene.rescan()
    assert "metadata first" in scene.told("files disappeared")
    seen = scene.daemon.wait_until(
        lambda now: (
            now["MetadataDone"] == now["MetadataTotal"] and {path.name for path in cache.iterdir()} >= installed.keys()
        )
    )
    assert {name: (cache / name).read_bytes() for name in installed} == installed
    assert seen["VolumesDone"] < seen["VolumesTotal"]
    took = scene.cloud.inc(scene.drive.data, scene.url).stdout
    assert "Local and Remote metadata are synchronized, no sync needed." in took
    scene.rescan()
    scene.daemon.wait_until(lambda now: now["DirectSets"] == 1)
    assert "1 backup went straight to the cloud" in scene.daemon.slowboat("status").stdout

    scene.hurry()
    scene.daemon.wait_until(lambda now: now["State"] == "done")
    expect_arrived(scene.drive, scene.swift, scene.container)
    assert fingerprint(scene.drive.folder, scene.drive.cache) == before, "the drive and its cache were only read"
    elsewhere = scene.cloud.without_cache()
    elsewhere.verify(scene.url, scene.drive.data)
    elsewhere.restore(scene.url, tmp_path / "restored")
    assert differences(scene.drive.data, tmp_path / "restored") == []


def test_the_cure_removes_the_remains_and_nothing_else(scene: Scene) -> None:
    scene.hand_over()
    stray = scene.leave_a_stray()
    scene.rescan()
    scene.told("unfinished backup")
    before = scene.at_target()
    scene.cloud.run("cleanup", "--force", scene.url)
    after = scene.at_target()
    assert stray not in after
    assert before - after == {stray}
    change_data(scene.drive.data, 100_000, random.Random(3))
    scene.cloud.inc(scene.drive.data, scene.url)
    assert before - {stray} <= scene.at_target()
    scene.rescan()
    scene.daemon.wait_until(lambda now: now["DirectSets"] == 1)
    assert len([each for each in scene.shown.all if "unfinished" in each["title"]]) == 1


def test_a_chain_that_its_owner_removed_stays_away(scene: Scene) -> None:
    scene.hand_over()
    scene.cloud.full(scene.drive.data, scene.url)
    scene.rescan()
    assert "The old chain's upload goes on" in scene.told("new full backup went straight")
    scene.cloud.run("remove-all-but-n-full", "1", "--force", scene.url)
    left = scene.at_target()
    assert not left & set(scene.drive.names("signatures"))
    scene.rescan()
    assert "slowboat retry" in scene.told("was removed from the cloud")
    scene.hurry()
    scene.daemon.wait_until(lambda now: now["State"] == "done")
    assert scene.at_target() <= left, "nothing came back"
    assert [name for name in left if name not in scene.at_target()] == []
    assert len([each for each in scene.shown.all if "was removed" in each["title"]]) == 1
    scene.cloud.verify(scene.url, scene.drive.data)


def test_a_wipe_before_a_new_full_is_told_from_a_removal_and_mended(scene: Scene) -> None:
    """An implicit backup beside a full's remains deletes the chain, and makes a new full without a word."""
    scene.hand_over()
    assert "this is dangerous" not in scene.daemon.slowboat("status").stdout
    scene.told("this duplicity is dangerous")
    first = [each["title"] for each in scene.shown.all]
    assert first.index("home: this duplicity is dangerous") < first.index("Backups can go to the cloud now")
    status = " ".join(scene.daemon.slowboat("status").stdout.split())
    assert "duplicity 3.2" in status
    assert "where an interrupted full backup has left volumes" in status
    scene.leave_a_stray()
    change_data(scene.drive.data, 100_000, random.Random(4))
    scene.cloud.run("backup", "--volsize", "1", str(scene.drive.data), scene.url)
    left = scene.at_target()
    assert not left & set(scene.drive.names()), "this duplicity wipes nothing"
    assert len([name for name in left if "full-signatures" in name]) == 1, "nor does it make a new full"

    verified = scene.daemon.slowboat("verify", check=False)
    assert verified.returncode == 1, verified.stdout
    told = scene.told("files disappeared")
    assert "new full backup there since" in told
    seen = scene.daemon.wait_until(lambda now: now["MetadataDone"] == now["MetadataTotal"])
    assert not seen["RestorableFromCloud"]
    assert "keep" in seen["CloudHasText"].lower()
    scene.hurry()
    scene.daemon.wait_until(lambda now: now["State"] == "done" and now["CloudHas"] == "all")
    expect_arrived(scene.drive, scene.swift, scene.container)
    titles = [each["title"] for each in scene.shown.all]
    assert not [title for title in titles if "was removed" in title or "went straight" in title], titles
    assert "home: files disappeared from the cloud" not in scene.shown.open
    scene.cloud.verify(scene.url, scene.drive.data)


def says(program: Path, version: str) -> Path:
    program.write_text(f"#!/bin/sh\necho 'duplicity {version} November 02, 2025'\n")
    program.chmod(0o755)
    return program


def test_the_handover_waits_for_a_duplicity_that_does_not_destroy(scene: Scene, tmp_path: Path) -> None:
    program = says(tmp_path / "duplicity", "3.0.6")
    scene.url = scene.daemon.configure_migration(
        scene.drive, scene.swift, scene.container, limit=HELD_BACK, more=f'duplicity = "{program}"'
    )
    scene.daemon.start()
    seen = scene.daemon.wait_until(lambda now: now["Handover"] == "blocked" and now["VolumesDone"] > 0)
    assert "duplicity 3.0.6 must not see this backup" in seen["HandoverWhy"]
    assert "3.0.6.2 or newer" in seen["HandoverWhy"]
    assert "duplicity-version" in seen["Reasons"]
    assert seen["State"] == "sending", "the volumes flow"
    assert "could, because" not in scene.daemon.slowboat("status").stdout
    assert "3.0.6.2 or newer" in scene.told("the handover waits")
    refused = scene.daemon.slowboat("handover", check=False)
    assert refused.returncode
    assert "must not see this backup" in refused.stderr
    assert not scene.cloud.cache(scene.url).exists()
    says(program, "3.0.6.2")
    scene.rescan()
    seen = scene.daemon.wait_until(lambda now: now["Handover"] == "done")
    assert seen["VolumesDone"] < seen["VolumesTotal"]
    assert "duplicity-version" not in seen["Reasons"]
    says(program, "3.0.6.1")
    scene.rescan()
    assert "Do not run a cleanup" in scene.told("this duplicity is dangerous")


def test_the_handover_comes_with_the_last_volume_where_it_had_to_wait(scene: Scene, tmp_path: Path) -> None:
    program = says(tmp_path / "duplicity", "3.0.6.1")
    scene.daemon.configure_migration(scene.drive, scene.swift, scene.container, more=f'duplicity = "{program}"')
    scene.daemon.start()
    seen = scene.daemon.wait_until(lambda now: now["Handover"] == "done")
    assert seen["VolumesDone"] == seen["VolumesTotal"]
    scene.daemon.wait_until(lambda now: now["State"] == "done" and not now["Reasons"])


def test_the_worst_duplicity_on_the_machine_is_watched_and_all_are_named(scene: Scene) -> None:
    """The service's PATH leads to Debian's, the user's shell to one that pipx has installed."""
    local = scene.daemon.home / ".local/bin"
    local.mkdir(parents=True)
    says(local / "duplicity", "3.2.1")
    scene.hand_over(more="\n")
    seen = scene.daemon.migration()
    assert f"duplicity 3.2.1 ({local}/duplicity)" in seen["Duplicities"]
    assert len(seen["Duplicities"]) > 1, "Debian's is there as well"
    assert "an interrupted full backup" in seen["DuplicityDanger"]
    titles = [each["title"] for each in scene.shown.all]
    assert titles.index("home: this duplicity is dangerous") < titles.index("Backups can go to the cloud now")
    status = " ".join(scene.daemon.slowboat("status").stdout.split())
    for name in seen["Duplicities"]:
        assert name in status
    (local / "duplicity").unlink()
    scene.rescan()
    scene.daemon.wait_until(lambda now: not now["DuplicityDanger"])
    scene.daemon.wait_until(lambda _: "home: this duplicity is dangerous" not in scene.shown.open)
