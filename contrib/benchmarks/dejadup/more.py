"""The other stories: drives, upgrades, the cloud that follows, errors, the monitor, and backends that are no folder."""

from __future__ import annotations

import hashlib
import socket
import time
from typing import TYPE_CHECKING

from dejadup.boat import PATIENCE
from dejadup.room import RUNTIME
from dejadup.stories import CRAWL, Move, Plain, Story, expect, the_sets
from dejadup.windows import PASSWORD, Calls
from slowboat.edges.inotify import SEARCH_EVERY

if TYPE_CHECKING:
    from collections.abc import Callable


class Drive(Move):
    """On a removable drive, which Deja Dup knows by its UUID."""

    name = "drive"
    small = True
    steps = ("first_backup", "handover", "switch", "next_backup", "its_check", "all_arrives", "restore")

    def place(self) -> None:
        self.here.fill(small=self.small)
        where, uuid = self.here.plug("DiskB")
        dejadup = self.here.dejadup
        for key, value in {"uuid": uuid, "name": "DiskB", "folder": "Backups höst"}.items():
            dejadup.set(key, f"'{value}'", ".Drive")
        dejadup.set("backend", "'drive'")
        self.here.prefers_duplicity()
        self.source = f"{where}/Backups höst"


class DrivePlain(Drive):
    """On a removable drive, without a password."""

    name = "drive-plain"
    encrypted = False
    steps = ("first_backup", "handover", "switch", "next_backup", "its_check", "all_arrives")


class Follow(Move):
    """The drive stays the first copy; a handover comes later, where there can be one."""

    name = "follow"
    small = True
    steps = ("first_backup", "follows", "next_backup", "status", "told_of_removal", "later_handover")

    def follows(self) -> str:
        self.boat = self.here.boat(self.container)
        self.boat.know_the_cloud()
        self.boat.configure(self.source, more='handover = "never"', limit=0)
        self.boat.start()
        seen = self.boat.wait(lambda now: now.get("State") == "done")
        expect(seen["Handover"] == "never", f"handover: {seen['Handover']}")
        expect(self.sources() <= self.boat.listing(), "not everything has arrived")
        return "ok, all is in the cloud"

    def next_backup(self) -> str:
        self.boat.did("pause")
        self.here.change("next")
        calls = self.here.dejadup.backup("next")
        expect("rclone" not in calls.url, calls.url)
        self.behind = " ".join(self.boat.did("status").split())
        self.boat.wait(lambda now: now.get("Behind") == 1, 60)
        self.behind = " ".join(self.boat.did("status").split())
        self.boat.did("resume")
        self.boat.wait(lambda now: not now.get("Behind") and now.get("State") == "done")
        expect(the_sets(self.boat.listing()) == (1, 1), f"{self.boat.listing()}")
        return "ok, followed by itself"

    def status(self) -> str:
        expect("1 backup" in self.behind and "behind" in self.behind.lower(), self.behind)
        after = " ".join(self.boat.did("status").split())
        expect("no longer the only copy" in after or "follows" in after, after)
        return "ok, says how far the cloud is behind"

    def told_of_removal(self) -> str:
        """A new full, and the old chain removed by duplicity as its owner would do it."""
        url = self.bench.facts[self.version][f"url of {self.name}"]
        options = "--archive-dir ~/.cache/deja-dup"
        self.here.change("new full")
        self.here.room.did(
            f"duplicity full {options} --include=\"$HOME/Notes\" --exclude='**' / '{url}'", PASSPHRASE=PASSWORD
        )
        self.boat.wait(lambda now: the_sets(self.boat.listing()) == (2, 1) and now.get("State") == "done")
        self.here.room.did(f"duplicity remove-all-but-n-full 1 --force {options} '{url}'", PASSPHRASE=PASSWORD)
        self.boat.cli("retry")
        self.boat.wait(lambda now: "no longer whole in" in " ".join(self.boat.cli("history").stdout.split()), 120)
        expect(the_sets(self.boat.listing()) == (2, 1), "something was removed from the cloud")
        return "ok, told; the cloud keeps it"

    def later_handover(self) -> str:
        self.boat.configure(self.source, limit=0)
        self.boat.did("reload")
        self.boat.wait(lambda now: now.get("Handover") == "done", 120)
        done = self.boat.cli("handover", "--switch-deja-dup")
        if self.here.old:
            expect("cannot back up to" in done.stdout, done.stdout)
            return "ok; the switch is refused, with what helps"
        expect(done.returncode == 0, done.stdout)
        return "ok, and switched"


class UpgradeBefore(Move):
    """45.2 makes the first backup, 50.1 comes over it, then slowboat."""

    name = "upgrade-before"
    small = True
    suites, ends = ("trixie",), "forky"
    steps = ("first_backup", "upgrade", "handover", "switch", "next_backup", "its_check", "all_arrives", "restore")

    def upgrade(self) -> str:
        machine = self.here.machine
        before = self.here.version
        self.here.__exit__()
        self.system = self.bench.systems[self.ends]
        self.here = self.desk(machine=machine)
        return f"{before} -> {self.here.version}"


class UpgradeAfter(UpgradeBefore):
    """45.2 makes the first backup and slowboat hands over, then 50.1 comes over it."""

    name = "upgrade-after"
    steps = (
        "first_backup",
        "handover",
        "switch_refused",
        "upgrade",
        "switch",
        "next_backup",
        "its_check",
        "all_arrives",
        "restore",
    )

    def switch_refused(self) -> str:
        return super().switch()

    def upgrade(self) -> str:
        said = super().upgrade()
        self.boat = self.here.boat(self.container)
        self.boat.start()
        return said


class Monitor(Move):
    """deja-dup-monitor begins a scheduled backup while slowboat is sending."""

    name = "monitor"
    small = True
    steps = ("first_backup", "handover", "switch", "scheduled_backup", "its_check", "all_arrives")

    def scheduled_backup(self) -> str:
        dejadup, room = self.here.dejadup, self.here.room
        long_ago = "'2026-01-01T12:00:00.000000Z'"
        settings = {"last-run": long_ago, "last-backup": long_ago, "periodic-period": "1", "periodic": "true"}
        for key, value in settings.items():
            dejadup.set(key, value)
        self.boat.did("limit", "20k")
        self.boat.did("resume")
        self.here.change("scheduled")
        log = dejadup.log("monitor")
        debug = {"DEJA_DUP_DEBUG": "1", "G_MESSAGES_DEBUG": "all"}
        room.did("dbus-update-activation-environment DISPLAY")
        monitor = room.begin("/usr/libexec/deja-dup/deja-dup-monitor", log, **debug)
        wait_for(lambda: Calls.of(log).passed and dejadup.get("last-backup") != long_ago.strip("'"), 420)
        monitor.terminate()
        dejadup.quit()
        dejadup.set("periodic", "false")
        self.calls = Calls.of(log)
        seen = self.boat.now()
        missing = seen["VolumesTotal"] - seen["VolumesDone"]
        expect(missing > 0, "everything had arrived")
        if self.here.old:
            expect(the_sets(self.sources()) == (1, 1), f"{self.sources()}")
            return "ok, to the drive; the cloud follows"
        expect(self.calls.url == self.boat.urls[1], self.calls.url)
        expect(the_sets(self.boat.listing()) == (1, 1), f"{self.boat.listing()}")
        return f"ok, straight to the cloud, {missing} volumes missing there"


class Errors(Move):
    """What Deja Dup does when something goes wrong: its cache, its place, the age of its full."""

    name = "errors"
    small = True
    steps = ("first_backup", "handover", "switch", "broken_cache", "remains", "forced_full", "all_arrives")

    def place_url(self) -> str:
        return self.bench.facts[self.version][f"url of {self.name}"] if self.here.old else self.boat.urls[1]

    def cache(self) -> str:
        """Of what it backs up to now."""
        return f".cache/deja-dup/{hashlib.md5(self.place_url().encode()).hexdigest()}"

    def broken_cache(self) -> str:
        """A manifest in the cache that is none: every backup fails until that cache is removed, as Deja Dup does it."""
        kept = self.boat.listing()
        self.here.room.did(f"for each in {self.cache()}/*.manifest; do echo broken >$each; done")
        self.here.change("broken cache")
        self.boat.did("limit", CRAWL)
        self.boat.did("resume")
        try:
            self.here.dejadup.backup("broken-cache")
        except AssertionError as error:
            expect("manifest does not match" in str(error), str(error))
        else:
            raise AssertionError("a broken cache was no trouble")
        self.here.room.did(f"rm -rf {self.cache()}")
        self.boat.cli("retry")
        if not self.here.old:  # the target's is slowboat's to put back, the drive's is not
            wait_for(lambda: self.here.room.user(f"ls {self.cache()}/*.manifest").returncode == 0, PATIENCE)
        self.here.dejadup.backup("without-it")
        expect(kept <= self.boat.listing(), f"lost: {kept - self.boat.listing()}")
        back = "duplicity fetches it" if self.here.old else "slowboat puts it back"
        return f"fails (the manifest there does not match) until that cache is removed; {back}, and it goes on"

    def _tried(self, name: str) -> str:
        try:
            calls = self.here.dejadup.backup(name)
        except AssertionError:
            calls = Calls.of(self.here.dejadup.last)
            actions = ", ".join(calls.actions())
            self.here.change(f"{name} again")
            again = self.here.dejadup.backup(f"{name}-again")
            return f"failed ({actions}); the next one is ok ({', '.join(again.actions())})"
        return f"ok ({', '.join(calls.actions())})"

    def remains(self) -> str:
        """Of a backup that was broken off, beside the chain: Deja Dup has duplicity clean up."""
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        suffix = "gpg" if self.encrypted else "gz"
        stray = f"duplicity-full.{moment}.vol1.difftar.{suffix}"
        volume = next(name for name in sorted(self.sources()) if ".vol1." in name)
        if self.here.old:
            self.here.room.did(f"cp '{self.source}/{volume}' '{self.source}/{stray}'")
        else:
            content = self.here.machine.path(f"{self.source}/{volume}").read_bytes()
            self.bench.swift.put(self.container, f"laptop/{stray}", content)
        time.sleep(1)
        kept = self.boat.listing()
        self.here.change("remains")
        said = self._tried("remains")
        self.boat.cli("retry")
        self.boat.wait(lambda now: kept - {stray} <= self.boat.listing())
        left = stray in (self.sources() if self.here.old else self.boat.listing())
        return f"{said}; the remains {'stay' if left else 'are gone'}, all of the chain is there"

    def forced_full(self) -> str:
        """Where the newest full is too old, it makes another one."""
        self.here.dejadup.set("full-backup-period", "0")
        before = the_sets(self.sources() if self.here.old else self.boat.listing())
        self.here.change("a new full")
        said = self._tried("forced-full")
        after = the_sets(self.sources() if self.here.old else self.boat.listing())
        self.here.dejadup.set("full-backup-period", "90")
        return f"{said}; {after[0] - before[0]} more full"


class Remote(Move):
    """A server's share, which gvfs mounts: slowboat reads it from where gvfs shows it."""

    name = "remote"
    small = True
    steps = ("first_backup", "handover", "switch", "next_backup", "its_check", "all_arrives")

    def place(self) -> None:
        self.here.fill(small=self.small)
        port = free_port()
        uri = f"dav://127.0.0.1:{port}/"
        self.here.room.did("mkdir -p '/tmp/nas/Backups höst'")
        self.here.room.begin(
            f"rclone serve webdav --addr 127.0.0.1:{port} /tmp/nas", self.here.session.logs / "dav.log"
        )
        self.here.dejadup.set("uri", f"'{uri}'", ".Remote")
        self.here.dejadup.set("folder", "'Backups höst'", ".Remote")
        self.here.dejadup.set("backend", "'remote'")
        self.here.prefers_duplicity()
        self.source = f"{RUNTIME}/gvfs/dav:host=127.0.0.1,port={port},ssl=false/Backups höst"
        self._mount = f"gio mount {uri}"

    def sources(self) -> set[str]:
        return set(self.here.room.did("ls '/tmp/nas/Backups höst'").split())

    def handover(self) -> str:
        self._mounted()
        return super().handover()

    def _mounted(self) -> None:
        """Deja Dup unmounts what it has mounted."""
        self.here.session.wait_for(f"ls '{self.source}' || {{ {self._mount}; false; }}")

    def next_backup(self) -> str:
        if not self.here.old:
            return super().next_backup()
        self.here.change("next")
        self.calls = self.here.dejadup.backup("next")
        self._mounted()
        self.boat.did("resume")
        followed = SEARCH_EVERY + PATIENCE  # inotify tells nothing of a share
        self.boat.wait(lambda now: the_sets(self.boat.listing()) == (1, 1) and not now.get("Behind"), followed)
        return "ok, to the share; the cloud follows"


class Auto(Move):
    """As it comes, with no place chosen."""

    name = "auto"
    small = True
    steps = ("first_backup",)

    def place(self) -> None:
        self.here.fill(small=True)

    def first_backup(self) -> str:
        expect(self.here.dejadup.get("backend") == "auto", self.here.dejadup.get("backend"))
        log = self.here.dejadup.begin("--backup", "auto")
        try:
            wait_for(self._asked, 60)
        finally:
            self.here.dejadup.quit()
        expect(not Calls.of(log).actions(), "it made a backup")
        backend = self.here.dejadup.get("backend")
        return f"no backup before a place is chosen: `auto` becomes `{backend}`, for which it asks"

    def _asked(self) -> bool:
        session = self.here.session
        names = session.names()
        if any(name.startswith("Grant Access") for name in names):
            return True
        session.press("Forward", "button")
        return False


def wait_for(reached: Callable[[], bool], patience: float) -> None:
    """Raises AssertionError where it is not so in time (seconds)."""
    end = time.monotonic() + patience
    while not reached():
        expect(time.monotonic() < end, f"not within {patience:.0f} s")
        time.sleep(1)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


STORIES: dict[str, type[Story]] = {
    each.name: each
    for each in (Move, Plain, Drive, DrivePlain, Follow, UpgradeBefore, UpgradeAfter, Remote, Auto, Errors, Monitor)
}
