"""What is played with each Deja Dup, step by step; each step's outcome is a cell of the table."""

from __future__ import annotations

import hashlib
import subprocess
from typing import TYPE_CHECKING, ClassVar

from dejadup.boat import FAST, SLOW
from dejadup.desk import FOLDER, KEPT, Desk
from dejadup.room import HOME
from dejadup.windows import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

    from dejadup.desk import Bench
    from dejadup.systems import System
    from dejadup.windows import Calls

FAILED = "FAILED"
CRAWL = "500k"
"""A limit that lets a backup's metadata through, and leaves volumes missing."""
ORIGINAL = "/media/original"
"""Where a machine that restores sees what was backed up."""


class Story:
    """Some steps, one after another; what fails ends it.

    Attributes:
        steps: the names of its methods, which are the columns of the table.
        cells: what came of them.
        desks: those on which slowboat runs.
    """

    steps: ClassVar[tuple[str, ...]] = ()
    name: ClassVar[str] = ""
    suites: ClassVar[tuple[str, ...]] = ("trixie", "forky")

    def __init__(self, bench: Bench, system: System, stack: ExitStack) -> None:
        self.bench, self.system, self.stack = bench, system, stack
        self.version = system.version("deja-dup")
        self.cells: dict[str, str] = {}
        self.desks: list[Desk] = []
        self.container = f"{self.name}-{system.suite}"

    def play(self, said: Callable[[str], None]) -> dict[str, str]:
        for step in self.steps:
            try:
                if not self.cells:
                    self.prepare()
                self.cells[step] = getattr(self, step)()
            except Exception as error:  # a cell of the table, whatever it is
                self.cells[step] = f"{FAILED}: {str(error)[:600] or repr(error)}"
            said(f"{self.name}, {self.system.title} ({self.version}): {step}: {self.cells[step]}")
            if self.cells[step].startswith(FAILED):
                break
        return self.cells | self.the_log()

    def the_log(self) -> dict[str, str]:
        """Whether slowboat's own log has mistakes of its own in it; {} where it did not run."""
        logs = [desk.session.logs / "slowboat.log" for desk in self.desks]
        texts = [log.read_text(errors="replace") for log in logs if log.exists()]
        bad = any("Traceback" in text for text in texts)
        return {"log": f"{FAILED}: a traceback in {logs}" if bad else "ok"} if texts else {}

    def prepare(self) -> None:
        """What comes before the first step."""

    def desk(self, **keywords: object) -> Desk:
        """One that lasts as long as the story."""
        desk = self.stack.enter_context(Desk(self.bench, self.system, **keywords))  # type: ignore[arg-type]
        self.desks.append(desk)
        return desk


def the_sets(names: set[str]) -> tuple[int, int]:
    """How many full and incremental sets there are, by their manifests."""
    manifests = [name for name in names if "manifest" in name]
    return sum("full" in name for name in manifests), sum("inc" in name for name in manifests)


def expect(holds: object, text: str) -> None:
    """Raises AssertionError with the text."""
    if not holds:
        raise AssertionError(text)


class Move(Story):
    """From a place on this machine to the cloud: the story that slowboat is made for."""

    name = "folder"
    encrypted, small = True, False
    steps = (
        "first_backup",
        "handover",
        "switch",
        "undo",
        "next_backup",
        "its_check",
        "all_arrives",
        "second_backup",
        "undo_refused",
        "restore",
    )

    def prepare(self) -> None:
        self.here = self.desk(encrypted=self.encrypted)
        self.place()

    def place(self) -> None:
        """Where Deja Dup backs up to."""
        self.here.fill(small=self.small)
        self.here.to_the_folder()
        self.source = FOLDER

    def sources(self) -> set[str]:
        """The files there."""
        return set(self.here.room.did(f"ls '{self.source}'").split())

    # -- the steps -------------------------------------------------------------------------------------------

    def first_backup(self) -> str:
        calls = self.here.dejadup.backup("first")
        self._learn(calls)
        found = self.sources()
        expect(the_sets(found) == (1, 0), f"the place has {found}")
        suffix = ".gpg" if self.encrypted else ".gz"
        volumes = {name for name in found if ".difftar" in name}
        expect(all(name.endswith(suffix) for name in volumes), f"not {suffix}: {volumes}")
        return f"ok, {len(volumes)} volumes"

    def _learn(self, calls: Calls) -> None:
        cache = hashlib.md5(calls.url.encode()).hexdigest()  # duplicity's own name for it
        expect((self.here.machine.home / f".cache/deja-dup/{cache}").is_dir(), f"no cache for {calls.url}")
        facts = self.bench.facts.setdefault(self.version, {})
        facts[f"url of {self.name}"] = calls.url
        facts["canary"] = f"~/{calls.checked.removeprefix(HOME.lstrip('/') + '/')}"
        facts["cache"] = "~/.cache/deja-dup"
        facts["duplicity"] = self.system.version("duplicity")
        kinds = self.here.room.did("gsettings range org.gnome.DejaDup backend").split("'")[1::2]
        facts["backends"] = ", ".join(kinds)

    def handover(self) -> str:
        self.boat = self.here.boat(self.container)
        self.boat.know_the_cloud()
        self.boat.configure(self.source, limit=SLOW if self.small else FAST)
        self.boat.start()
        seen = self.boat.hand_over()
        missing = seen["VolumesTotal"] - seen["VolumesDone"]
        expect(missing > 0, "no volume was missing any more")
        return f"ok, {missing} of {seen['VolumesTotal']} volumes early"

    def switch(self) -> str:
        done = self.boat.cli("handover", "--switch-deja-dup")
        if self.name == "folder":
            self.here.picture("after-the-switch")
        if not self.here.old:
            expect(done.returncode == 0, done.stdout)
            expect(self.here.dejadup.get("backend") == "rclone", "Deja Dup is not set to rclone")
            return "ok"
        lines = [line.strip() for line in done.stdout.splitlines()]
        expect(done.returncode == 1 and "cannot back up to" in done.stdout, done.stdout)
        expect("flatpak install flathub org.gnome.DejaDup" in lines, done.stdout)
        self.by_hand = next((line for line in lines if line.startswith("duplicity incremental")), "")
        expect(self.by_hand, f"no command for duplicity: {done.stdout}")
        return "told that it cannot reach Swift, and what helps"

    def undo(self) -> str:
        """Taken back, a backup to where it went before, and handed over again."""
        backend = self.here.dejadup.get("backend")
        self.boat.did("handover", "--undo")
        if not self.here.old:
            expect(self.here.dejadup.get("backend") != backend, "Deja Dup still goes to the cloud")
        self.here.change("undone")
        calls = self.here.dejadup.backup("undone")
        expect("rclone" not in calls.url, f"it went to {calls.url}")
        expect(the_sets(self.sources()) == (1, 1), f"no incremental: {self.sources()}")
        self.boat.did("limit", CRAWL)
        self.boat.did("resume")
        self._again()
        return "ok, and back to the cloud"

    def _again(self) -> None:
        words = ("handover",) if self.here.old else ("handover", "--switch-deja-dup")

        def tried(_: dict[str, object]) -> bool:
            """Refused until the metadata of the backup that has just been made is there, and what its check reads."""
            return self.boat.cli(*words).returncode == 0

        self.boat.wait(tried)
        self.boat.wait(lambda now: now.get("Handover") == "done")
        self.boat.did("pause")

    def next_backup(self) -> str:
        """The next one: to the cloud, while volumes are missing there; where it cannot, to the drive, and followed."""
        before = the_sets(self.boat.listing())
        missing = self.boat.now()
        self.here.change("next")
        self.calls = self.here.dejadup.backup("next")
        if self.here.old:
            expect("rclone" not in self.calls.url, self.calls.url)
            on_drive = the_sets(self.sources())
            expect(on_drive == (before[0], before[1] + 1), f"no incremental: {self.sources()}")
            self.boat.did("resume")
            self.boat.wait(lambda now: the_sets(self.boat.listing()) == on_drive and not now.get("Behind"))
            return "ok, to the drive; the cloud follows"
        expect(self.calls.url == self.boat.urls[1], f"it went to {self.calls.url}")
        expect(not self.calls.restic, "it began with restic")
        after = the_sets(self.boat.listing())
        expect(after == (before[0], before[1] + 1), f"{before} -> {after}: no incremental")
        still = missing["VolumesTotal"] - missing["VolumesDone"]
        expect(still > 0, "no volume was missing any more")
        return f"ok, straight to the cloud, {still} volumes missing there"

    def its_check(self) -> str:
        expect(self.calls.passed, f"{self.calls.actions()}")
        return "ok"

    def all_arrives(self) -> str:
        seen = self.boat.finish()
        expect(seen["RestorableFromCloud"], f"not restorable: {seen}")
        expect(self.sources() <= self.boat.listing(), f"missing: {self.sources() - self.boat.listing()}")
        return "ok"

    def second_backup(self) -> str:
        self.here.change("second")
        calls = self.here.dejadup.backup("second")
        if not self.here.old:
            expect(calls.url == self.boat.urls[1], calls.url)
            expect(the_sets(self.boat.listing()) == (1, 3), f"{self.boat.listing()}")
            return "ok"
        self.boat.wait(lambda now: the_sets(self.boat.listing()) == (1, 3) and now.get("State") == "done")
        swift = self.bench.swift
        secrets = {"SWIFT_AUTHURL": swift.auth_url, "SWIFT_USERNAME": swift.user, "SWIFT_PASSWORD": swift.key}
        self.here.change("by hand")
        self.here.room.did(self.by_hand, PASSPHRASE=PASSWORD, **secrets)
        expect(the_sets(self.boat.listing()) == (1, 4), f"{self.boat.listing()}")
        return "ok, to the drive; then duplicity by hand, to the cloud"

    def undo_refused(self) -> str:
        done = self.boat.cli("handover", "--undo")
        expect(done.returncode and "since the handover" in " ".join(done.stdout.split()), done.stdout)
        return "ok, refused: backups went to the cloud since"

    def restore(self) -> str:
        """Into an empty home, on a machine that never saw slowboat."""
        with Desk(self.bench, self.system, encrypted=self.encrypted) as there:
            there.machine.path(ORIGINAL).mkdir()
            copied = ["cp", "-a", "--parents", *KEPT, str(there.machine.path(ORIGINAL))]
            subprocess.run(copied, cwd=self.here.machine.home, check=True)
            if self.here.old:
                return self._restore_by_duplicity(there)
            there.to_the_cloud(there.boat(self.container))
            calls = there.dejadup.restore(f"{HOME}/Restored")
            expect("rclone" in calls.url, calls.url)
            return self._compared(there) or "ok, by Deja Dup from the cloud"

    def _restore_by_duplicity(self, there: Desk) -> str:
        boat = there.boat(self.container)
        boat.know_the_cloud()
        there.room.did(
            f"duplicity restore --path-to-restore home/ada {boat.urls[1]} ~/Restored", PASSPHRASE=PASSWORD, timeout=600
        )
        return self._compared(there) or "this version cannot reach Swift; ok by duplicity"

    def _compared(self, there: Desk) -> str:
        found = there.differences(f"{HOME}/Restored", ORIGINAL)
        expect(not found, f"it is not the same: {found}")
        return ""


class Plain(Move):
    """The same without a password."""

    name = "folder-plain"
    encrypted, small = False, True
    steps = ("first_backup", "handover", "switch", "next_backup", "its_check", "all_arrives", "restore")
