"""Deja Dup as its user has it: a backup, a restore, its settings; and what its log says that it did meanwhile."""

from __future__ import annotations

import re
import shlex
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from dejadup.session import Session

PASSWORD = "correct horse"
PATIENCE = 420.0
"""Seconds for one thing that it does: hundreds of megabytes go through gpg on a machine that has other work."""
CALL = re.compile(r"Running the following duplicity \((\d+)\) command: (?:\S+ )?'?duplicity'? (.*)")
END = re.compile(r"duplicity \((\d+)\) exited with value (\d+)")
RESTIC = re.compile(r"Running the following .*?command: restic")
ASKING = ("Require Password?", "Encryption Password Needed", "Restore Encryption Password")
FAILED = ("Failed to back up", "Backup Failed", "Restore Failed", "Failed to restore")


@dataclass
class Calls:
    """What it ran: the actions of duplicity with their arguments, and how each ended.

    Attributes:
        argv: of each call.
        codes: of each call; None while it runs.
    """

    argv: list[list[str]] = field(default_factory=list)
    codes: list[int | None] = field(default_factory=list)
    restic: bool = False

    @classmethod
    def of(cls, log: Path) -> Calls:
        text = log.read_text(errors="replace") if log.exists() else ""
        codes = {int(number): int(code) for number, code in END.findall(text)}
        found = CALL.findall(text)
        return cls(
            [shlex.split(line) for _, line in found],
            [codes.get(int(number)) for number, _ in found],
            bool(RESTIC.search(text)),
        )

    def actions(self) -> list[str]:
        """In their order, without those that only look."""
        return [argv[0] for argv in self.argv if argv[0] != "collection-status" and "--dry-run" not in argv]

    @property
    def url(self) -> str:
        """What it called the place by."""
        return next((word for argv in self.argv for word in argv if "://" in word), "")

    @property
    def checked(self) -> str:
        """What its check restored; "" where there was none."""
        words = (word for argv in self.argv if argv[0] == "restore" for word in argv)
        return next((w.partition("=")[2] for w in words if w.startswith("--path-to-restore=")), "")

    @property
    def passed(self) -> bool:
        """Whether the last thing that it did was its check, and that went well."""
        return bool(self.argv) and self.argv[-1][0] == "restore" and self.codes[-1] == 0


class DejaDup:
    """It, in a session.

    Attributes:
        said: what the last window that told of a failure said.
        last: the newest log.
    """

    def __init__(self, session: Session, *, encrypted: bool = True) -> None:
        self.session, self.encrypted = session, encrypted
        self.said: list[str] = []
        self._number = 0
        self.last = Path()
        self.set("window-maximized", "true")  # where a button stands is told by its window's corner
        self.set("prompt-check", "'disabled'")
        self.set("nag-check", "'disabled'")

    def set(self, key: str, value: str, child: str = "") -> None:
        """A setting, as GVariant's text."""
        self.session.room.did(f"gsettings set org.gnome.DejaDup{child} {key} {shlex.quote(value)}")

    def get(self, key: str, child: str = "") -> str:
        return self.session.room.did(f"gsettings get org.gnome.DejaDup{child} {key}").strip().strip("'")

    def log(self, name: str) -> Path:
        self._number += 1
        self.last = self.session.logs / f"{self._number:02}-{name}.log"
        return self.last

    def begin(self, options: str, name: str) -> Path:
        """Its program, for whoever looks at the windows; its log."""
        log = self.log(name)
        self._begin(options, log)
        return log

    def backup(self, name: str) -> Calls:
        """One backup by its window, its check and all; what it ran.

        Raises:
            AssertionError: it failed; `said` has what the window said.
        """
        log = self.log(name)
        program = self._begin("--backup", log)
        try:
            self._attend(("Backup completed",), program.poll)
            calls = Calls.of(log)
            assert calls.passed, f"its own check did not pass: {calls.actions()} {calls.codes}"
            return calls
        finally:
            self.quit()

    def restore(self, into: str, name: str = "restore") -> Calls:
        """All of the newest backup into a folder, by its window.

        Raises:
            AssertionError: it failed.
        """
        log = self.log(name)
        self._begin("", log)
        try:
            self._to_the_files()
            self.session.room.did("sleep 1; xdotool key ctrl+a; sleep 1")
            self._press("Restore…", "Restore")
            into_a_folder = ("Restore files to a specific folder", "Restore to specific folder")
            self._press(*into_a_folder, roles=("radio button",))
            self._until(lambda names: self.session.write("Folder", into))
            time.sleep(1)
            self._press("Restore")
            self._attend(("Restore completed", "Restore Finished"), lambda: None)
            return Calls.of(log)
        finally:
            self.quit()

    def show(self, picture: Path) -> None:
        """Its window as it stands, kept as a picture."""
        self._begin("", self.log("show"))
        try:
            self._until(
                lambda names: bool(names & {"Back Up Now", "Create Your First Backup", "Create Your First Backup…"})
            )
            time.sleep(1)
            self.session.picture(picture)
        finally:
            self.quit()

    def quit(self) -> None:
        self.session.room.user(
            "kill $(pidof deja-dup) 2>/dev/null; for i in $(seq 50); do pidof deja-dup || exit 0; sleep 0.1; done"
        )

    # -- how -------------------------------------------------------------------------------------------------

    def _begin(self, options: str, log: Path):  # a process
        return self.session.room.begin(f"deja-dup {options}", log, DEJA_DUP_DEBUG="1", G_MESSAGES_DEBUG="all")

    def _to_the_files(self) -> None:
        """From the main window to the list of what the newest backup has."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            time.sleep(1)
            shown = self.session.showing()
            cells = [name for role, name, _, _ in shown if role == "table cell"]
            if cells:
                time.sleep(1)
                assert self.session.press(cells[0], "table cell")
                return
            names = {name for _, name, _, _ in shown}
            dates = [name for role, name, _, _ in shown if role == "list item" and re.search(r"\d\d:\d\d", name)]
            if names & set(ASKING):
                self._answer(names)
            elif "Restore From Where?" in names:
                self.session.press("Search", "button") or self.session.press("Forward", "button")
            elif dates:
                self.session.press(dates[0], "list item")
            else:
                ways = (f"Restore From a Previous Backup{dots}" for dots in ("…", ""))
                any(self.session.press(word, "button", "page tab") for word in (*ways, "Browse Backups", "Restore"))
        raise AssertionError(f"it does not come to the files: {sorted(self.session.names())}")

    def _press(self, *names: str, roles: tuple[str, ...] = ("button",)) -> None:
        self._until(lambda _: any(self.session.press(name, *roles) for name in names), wanted=names)
        time.sleep(1)

    def _until(self, reached: Callable[[set[str]], bool], patience: float = 60, wanted: object = "") -> None:
        end = time.monotonic() + patience
        while not reached(names := self.session.names()):
            assert time.monotonic() < end, f"it shows {sorted(names)}, wanted {wanted}"
            time.sleep(0.5)

    def _attend(self, done: tuple[str, ...], ended: Callable[[], int | None]) -> None:
        """Answers what it asks until one of the texts is shown, or it ends by itself."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            time.sleep(1)
            names = self.session.names()
            if any(name.startswith(done) for name in names) or ended() is not None:
                return
            if names & set(FAILED):
                self.session.press("Details", "button")
                time.sleep(1)
                self.said = sorted(self.session.names(), key=len)
                raise AssertionError(f"it failed: {self.said[-3:]}")
            self._answer(names)
        raise AssertionError(f"not done: {sorted(self.session.names())}")

    def _answer(self, names: set[str]) -> None:
        """Whatever it asks that stands in the way."""
        press, write = self.session.press, self.session.write
        if "Require Password?" in names and not self.encrypted:
            press("Password-protect your backup", "switch", "check box")
        elif names & set(ASKING):
            if not write("Encryption password", PASSWORD):
                return
            write("Confirm password", PASSWORD)
            press("Remember password", "switch", "check box")
        elif not names & {"Folders to Back Up", "Storage", "Storage Location"}:
            return
        time.sleep(1)
        press("Continue", "button") or press("Forward", "button")
