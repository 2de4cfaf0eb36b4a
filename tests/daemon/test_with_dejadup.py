"""Deja Dup as its own calls of duplicity are: absolute paths, its cache, its settings, its check after a backup.

Deja Dup backs up "/" with include and exclude lists, keeps its caches in ~/.cache/deja-dup, and after each backup
restores a folder of its own from where it backed up to: of its cache up to 45, of its data in 50.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
from evidence import expect_arrived, fingerprint, took_the_cache_as_it_is

from realparts.dejadup_settings import Settings, dejadup_settings
from realparts.drive import Drive, change_data, make_data
from realparts.presence import program
from slowboat.core import dejadup
from slowboat.daemon.migrations import canaries

if TYPE_CHECKING:
    from pathlib import Path

    from realparts.daemon_process import Daemon
    from realparts.duplicity import Duplicity
    from realparts.notification_service import Notifications
    from realparts.swift_server import SwiftServer

MANAGER = ("/io/github/slowboat/Slowboat1", "io.github.slowboat.Slowboat1.Manager")
MIGRATION = ("/io/github/slowboat/Slowboat1/migrations/home", "io.github.slowboat.Slowboat1.Migration")
CHECKED = {
    "old": ".cache/deja-dup/metadata",
    "debian": ".cache/deja-dup/metadata",
    "new": ".local/share/deja-dup/metadata",
}
"""What its check restores, by the schemas that go with it."""
HELD_BACK = 400_000


@dataclass(frozen=True)
class Desktop:
    """A home with a Deja Dup in it, and the drive that it backed up to."""

    home: Path
    drive: Drive
    settings: Settings
    checked: str

    @property
    def caches(self) -> set[str]:
        """The names of the caches beside `metadata`."""
        return {path.name for path in (self.home / ".cache/deja-dup").iterdir()}

    def change(self, size: int, seed: int) -> None:
        """A day at work; Deja Dup writes its README anew before each backup."""
        change_data(self.home, size, random.Random(seed))
        self.write_readme()

    def write_readme(self) -> None:
        if self.checked != CHECKED["old"]:
            (self.home / self.checked).mkdir(parents=True, exist_ok=True)
            shutil.copy(self.home / CHECKED["old"] / "README", self.home / self.checked)

    def call(self, url: str, action: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        """duplicity as Deja Dup calls it for a backup."""
        return self._duplicity(environment).run(
            *(action, "-v9", "--volsize=1", f"--archive-dir={self.home}/.cache/deja-dup"),
            *(f"--include={self.home}/{self.checked}", f"--exclude={self.home}/.cache"),
            *(f"--exclude={self.home}/.local/share", f"--include={self.home}"),
            *("--exclude=**", "/", url),
        )

    def shell(self, command: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        """A command as a person pastes it, where `duplicity` is the one that made the backups."""
        duplicity = self._duplicity(environment)
        variables = duplicity.variables()
        path = f"{duplicity.path.parent}:{variables['PATH']}"
        return subprocess.run(
            ["bash", "-c", command], env={**variables, "PATH": path}, capture_output=True, text=True, check=True
        )

    def check(self, url: str, into: Path, environment: dict[str, str]) -> str:
        """The check after a backup: what it reads back."""
        path = f"{self.home}/{self.checked}".lstrip("/")
        archive_dir = f"--archive-dir={self.home}/.cache/deja-dup"
        self._duplicity(environment).run("restore", archive_dir, "--force", "--path-to-restore", path, url, str(into))
        return (into / "README").read_text()

    def _duplicity(self, environment: dict[str, str]) -> Duplicity:
        return replace(self.drive.duplicity, home=self.home, environment=environment)


def made(duplicity: Duplicity, which: str, tmp_path: Path) -> Desktop:
    """Deja Dup has made a full and an incremental on the drive, and knows it by what its version calls it."""
    home, folder = tmp_path / "u", tmp_path / "media/Disk A/höst"
    folder.mkdir(parents=True)
    make_data(home, 3_000_000, random.Random(1))
    (home / ".config/browser").mkdir(parents=True)
    (home / ".config/browser/cache").write_bytes(random.Random(4).randbytes(2_500_000))
    settings = dejadup_settings(which, tmp_path / "schemas", home)
    settings.set("", "backend", "'drive'")
    settings.set(".Drive", "folder", "'Disk A/höst'")
    url = f"file://{folder}"
    drive = Drive(folder, url, home, replace(duplicity, home=home))
    desktop = Desktop(home, drive, settings, CHECKED[which])
    desktop.write_readme()
    desktop.call(url, "full", {})
    desktop.change(300_000, 2)
    desktop.call(url, "incremental", {})
    assert desktop.check(url, tmp_path / "first-check", {}).startswith("made by the test on day")
    return desktop


def configured(daemon: Daemon, desktop: Desktop, swift: SwiftServer, container: str, urls: list[str]) -> None:
    """The daemon in that home, told no more than where the drive is and where it goes."""
    own = {
        "HOME": desktop.home,
        "XDG_CACHE_HOME": desktop.home / ".cache",
        "XDG_DATA_HOME": desktop.home / ".local/share",
    }
    daemon.environment |= desktop.settings.variables | {name: str(path) for name, path in own.items()}
    key = daemon.secret("key", swift.key)
    listed = ", ".join(f'"{url}"' for url in urls)
    text = f"""
limit = {HELD_BACK}
[cloud.test]
auth_url = "{swift.auth_url}"
user = "{swift.user}"
auth_version = "1"
key_file = "{key}"
[migration.home]
source = "{desktop.drive.folder}"
container = "{container}"
prefix = "laptop"
target_urls = [{listed}]
"""
    daemon.configure(text)
    config = desktop.home / ".config/slowboat"
    config.parent.mkdir(exist_ok=True)
    config.symlink_to(daemon.config_file.parent)


def switched(daemon: Daemon) -> str:
    """Points Deja Dup to the cloud as soon as that can be done; what was said."""
    end = time.monotonic() + 60
    while True:
        done = daemon.slowboat("handover", "--switch-deja-dup", check=time.monotonic() > end)
        if done.returncode == 0:
            return done.stdout


def told(daemon: Daemon, notifications: Notifications) -> dict[str, Any]:
    """The notice of the handover, once it is shown."""
    title = "Backups can go to the cloud now"
    daemon.wait_until(lambda _: title in notifications.titles)
    return next(each for each in notifications.all if each["title"] == title)


def rclone_remote(home: Path, swift: SwiftServer) -> dict[str, str]:
    """A user's rclone remote "cloud" that leads to that Swift."""
    file = home / ".config/rclone/rclone.conf"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        f"[cloud]\ntype = swift\nuser = {swift.user}\nkey = {swift.key}\nauth = {swift.auth_url}\nauth_version = 1\n"
    )
    variables = {"RCLONE_CONFIG": str(file)}
    argv = [program("rclone"), "lsf", "cloud:"]
    subprocess.run(argv, env={**os.environ, **variables}, check=True, capture_output=True)
    return variables


@pytest.mark.needs("busctl", "gpg", "gsettings", "glib-compile-schemas", "rclone")
def test_deja_dup_48_goes_on_through_rclone_passes_its_check_and_comes_back(
    daemon: Daemon, duplicity: Duplicity, swift: SwiftServer, notifications: Notifications, tmp_path: Path
) -> None:
    desktop = made(duplicity, "new", tmp_path)
    container = swift.container()
    url = f"rclone://cloud:{container}/laptop"
    configured(daemon, desktop, swift, container, [f"swift://{container}/laptop", url])
    before = desktop.caches
    daemon.start()
    daemon.wait_until(lambda now: now["Handover"] == "done")
    daemon.call(*MANAGER, "Pause", "ta{sv}", "0", "0")
    assert len(desktop.caches - before) == 2, "both URLs have their cache, beside Deja Dup's own"

    notice = told(daemon, notifications)
    assert notice["actions"][1] == "Switch Deja Dup to the cloud"
    daemon.slowboat("reload")
    notifications.press(notice)
    daemon.wait_until(lambda _: "Deja Dup continues in the cloud" in notifications.titles)
    assert desktop.settings.get("", "backend") == "'rclone'"
    assert desktop.settings.get(".Rclone", "remote") == "'cloud'"
    assert desktop.settings.get(".Rclone", "folder") == f"'{container}/laptop'"
    daemon.slowboat("handover", "--undo")
    assert desktop.settings.get("", "backend") == "'drive'"
    assert desktop.settings.get(".Rclone", "folder") == "'$HOSTNAME'"
    assert desktop.caches == before
    daemon.slowboat("handover")
    desktop.change(100_000, 8)
    desktop.call(desktop.drive.url, "incremental", {})  # it goes to the drive once more
    daemon.call(*MANAGER, "Rescan", "a{sv}", "0")
    refused = daemon.slowboat("handover", "--switch-deja-dup", check=False)
    assert "holds a newer backup, whose metadata goes up first" in " ".join(refused.stderr.split())
    assert desktop.settings.get("", "backend") == "'drive'"
    daemon.slowboat("limit", "100k")
    daemon.slowboat("resume")
    said = switched(daemon)
    assert f"Deja Dup now backs up to {url}" in said
    caches = [desktop.home / ".cache/deja-dup" / name for name in desktop.caches - {"metadata"}]
    daemon.wait_until(lambda _: {len(list(cache.glob("duplicity-*"))) for cache in caches} == {6})
    daemon.call(*MANAGER, "Pause", "ta{sv}", "0", "0")
    assert f"Done. From now on, back up to {url}, no longer to the drive." in daemon.slowboat("status").stdout
    assert desktop.settings.get("", "backend") == "'rclone'"

    remote = rclone_remote(desktop.home, swift)
    desktop.change(100_000, 3)
    took_the_cache_as_it_is(desktop.call(url, "incremental", remote).stdout)
    seen = daemon.migration()
    assert seen["VolumesDone"] < seen["VolumesTotal"]
    assert desktop.check(url, tmp_path / "check", remote) == "made by the test on day 2\n"

    refused = daemon.slowboat("handover", "--undo", check=False)
    assert "since the handover" in refused.stderr
    assert desktop.settings.get("", "backend") == "'rclone'", "backups went to the cloud: there it goes on"
    daemon.slowboat("limit", "off")
    daemon.configure(daemon.config_file.read_text().replace(f"limit = {HELD_BACK}", ""))
    daemon.slowboat("reload")
    daemon.slowboat("resume")
    daemon.wait_until(lambda now: now["State"] == "done")
    expect_arrived(desktop.drive, swift, container, "laptop/")
    history = daemon.slowboat("history").stdout
    assert f"Deja Dup now backs up to {url}" in " ".join(history.split())


@pytest.mark.needs("busctl", "gpg", "gsettings", "glib-compile-schemas")
def test_deja_dup_40_goes_on_by_its_openstack_backend_and_44_is_told_what_helps(
    daemon: Daemon, duplicity: Duplicity, swift: SwiftServer, notifications: Notifications, tmp_path: Path
) -> None:
    desktop = made(duplicity, "debian", tmp_path)
    container = swift.container()
    url = f"swift://{container}/laptop"
    configured(daemon, desktop, swift, container, [url])
    daemon.start()
    daemon.wait_until(lambda now: now["Handover"] == "done")
    daemon.call(*MANAGER, "Pause", "ta{sv}", "0", "0")
    before = set(swift.listing(container))
    notice = told(daemon, notifications)
    assert "this Deja Dup (41 to 47) cannot back up to Swift" in notice["body"]
    assert notice["actions"] == []
    refused = daemon.slowboat("handover", "--switch-deja-dup", check=False)
    assert refused.returncode == 1
    assert "cannot back up to Swift" in refused.stderr
    lines = refused.stderr.splitlines()
    assert "flatpak install flathub org.gnome.DejaDup" in lines
    by_hand = next(line for line in lines if line.startswith("duplicity incremental"))
    shown = daemon.slowboat("status").stdout
    assert f"Done: backups can go to {url}." in shown
    assert "no longer to the drive" not in shown, "nothing goes to the cloud yet"
    assert "flatpak install flathub org.gnome.DejaDup" in shown
    said = daemon.slowboat("handover").stdout
    assert f"The handover is done: backups can go to {url}." in said
    assert by_hand in said.splitlines()
    assert "no longer to the drive" not in said, "this Deja Dup goes on there"
    assert desktop.settings.get("", "backend") == "'drive'"

    dejadup_settings("new", tmp_path / "schemas", desktop.home)  # an upgrade, where nothing leads to rclone yet
    refused = daemon.slowboat("handover", "--switch-deja-dup", check=False)
    assert f'target_urls = ["{url}", "rclone://REMOTE:{container}/laptop"]' in " ".join(refused.stderr.split())

    desktop.change(100_000, 7)
    took_the_cache_as_it_is(desktop.shell(by_hand, swift.environment()).stdout)
    daemon.wait_until(lambda _: any(".to." in name and name not in before for name in swift.listing(container)))

    dejadup_settings("old", tmp_path / "schemas", desktop.home)
    daemon.slowboat("handover", "--switch-deja-dup")
    assert desktop.settings.get("", "backend") == "'openstack'"
    assert desktop.settings.get(".OpenStack", "container") == f"'{container}/laptop'"
    assert desktop.settings.get(".OpenStack", "username") == f"'{swift.user}'"
    assert desktop.settings.get(".OpenStack", "authurl") == f"'{swift.auth_url}'"
    desktop.change(100_000, 3)
    took_the_cache_as_it_is(desktop.call(url, "incremental", swift.environment()).stdout)
    assert desktop.check(url, tmp_path / "check", swift.environment()) == "made by the test on day 2\n"


@pytest.mark.needs("busctl", "gpg")
def test_a_cache_that_was_wiped_is_put_back_and_where_that_cannot_be_duplicity_fetches_it(
    daemon: Daemon, swift: SwiftServer, chain: Drive, tmp_path: Path
) -> None:
    url = daemon.configure_migration(chain, swift, swift.container(), limit=HELD_BACK)
    daemon.start()
    daemon.wait_until(lambda now: now["Handover"] == "done")
    cloud = replace(chain.duplicity, environment=swift.environment())
    installed = fingerprint(cloud.cache(url))
    shutil.rmtree(cloud.cache(url))
    daemon.call(*MANAGER, "Rescan", "a{sv}", "0")
    daemon.wait_until(lambda _: fingerprint(cloud.cache(url)).keys() == installed.keys())
    daemon.wait_until(lambda _: "put back into duplicity's cache" in told_so_far(daemon))

    shutil.rmtree(chain.duplicity.archive_dir)  # as Deja Dup does it: with the source's
    daemon.call(*MANAGER, "Rescan", "a{sv}", "0")
    daemon.wait_until(lambda _: "duplicity fetches what it lacks at its next run" in told_so_far(daemon))
    assert told_so_far(daemon).count("is gone; Deja Dup removes it") == 2
    assert not cloud.cache(url).exists()
    cloud.inc(chain.data, url, "--allow-source-mismatch")
    assert installed.keys() <= fingerprint(cloud.cache(url)).keys()


def told_so_far(daemon: Daemon) -> str:
    """The history in one line."""
    return " ".join(daemon.slowboat("history").stdout.split())


@pytest.mark.parametrize(
    "there", [".cache/deja-dup", ".local/share/deja-dup", ".var/app/org.gnome.DejaDup/data/deja-dup"]
)
def test_wherever_a_deja_dup_was_all_its_places_count_also_those_that_are_not_there_yet(
    there: str, tmp_path: Path
) -> None:
    environment = {"HOME": str(tmp_path)}
    assert canaries(environment) == (), "nobody's check waits for anything"
    (tmp_path / there).mkdir(parents=True)
    found = {b"/" + b"/".join(path) for path in canaries(environment)}
    folders = dejadup.own_folders(str(tmp_path), f"{tmp_path}/.cache", f"{tmp_path}/.local/share")
    assert found == {f"{folder}/metadata".encode() for folder in folders}


def test_a_link_leads_to_where_it_is_backed_up(tmp_path: Path) -> None:
    (tmp_path / "big/deja-dup").mkdir(parents=True)
    (tmp_path / ".local/share").mkdir(parents=True)
    (tmp_path / ".local/share/deja-dup").symlink_to(tmp_path / "big/deja-dup")
    found = [b"/" + b"/".join(path) for path in canaries({"HOME": str(tmp_path)})]
    assert f"{tmp_path}/big/deja-dup/metadata".encode() in found
