"""slowboat in a room, installed from its wheel into the system's own Python; and the cloud that it goes to."""

from __future__ import annotations

import json
import shutil
import time
from typing import TYPE_CHECKING, Any

from dejadup.room import HOME, UID

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from dejadup.session import Session
    from realparts.swift_server import SwiftServer

PYTHON = "/opt/slowboat-bench/venv/bin"
PATIENCE = 300.0
NAME = "io.github.slowboat.Slowboat1"
BUS = f"{NAME} /io/github/slowboat/Slowboat1/migrations/home org.freedesktop.DBus.Properties"
FAST, SLOW = 8_000_000, 2_000_000
"""Bytes per second until the handover: fast enough to wait for it, slow enough that volumes (of 200 MB; of 20) are
missing then."""


class Boat:
    """It, in a session, with one migration called "home".

    Attributes:
        container: at the cloud; the prefix is "laptop".
    """

    def __init__(self, session: Session, swift: SwiftServer, container: str, wheel: Path) -> None:
        self.session, self.swift, self.container = session, swift, container
        room = session.room
        shutil.copy(wheel, f"/proc/{room.pid}/root/tmp/{wheel.name}")
        pip = f"{PYTHON}/pip install --quiet --no-deps --no-index --force-reinstall /tmp/{wheel.name}"
        done = room.root(f"{pip} && ln -sf {PYTHON}/slowboat /usr/local/bin/slowboat")
        assert done.returncode == 0, done.stdout[-500:]
        self._process: subprocess.Popen[str] | None = None

    @property
    def urls(self) -> tuple[str, str]:
        """The target as duplicity's own backend calls it, and as Deja Dup through rclone does."""
        return f"swift://{self.container}/laptop", f"rclone://cloud:{self.container}/laptop"

    def know_the_cloud(self) -> None:
        """The user's rclone remote "cloud", as `rclone config` writes it."""
        swift = self.swift
        lines = ("[cloud]", "type = swift", f"user = {swift.user}", f"key = {swift.key}", f"auth = {swift.auth_url}")
        self._write(".config/rclone/rclone.conf", "\n".join([*lines, "auth_version = 1", ""]))

    def configure(self, source: str, more: str = "", limit: int = FAST) -> None:
        """Its settings for a folder that Deja Dup backs up to, and a limit (bytes per second; 0 for none)."""
        swift, (direct, through_rclone) = self.swift, self.urls
        self._write(".config/slowboat/key", swift.key)
        text = f"""limit = {limit or '"off"'}
[cloud.test]
auth_url = "{swift.auth_url}"
user = "{swift.user}"
auth_version = "1"
key_file = "{HOME}/.config/slowboat/key"
[migration.home]
source = "{source}"
container = "{self.container}"
prefix = "laptop"
target_urls = ["{direct}", "{through_rclone}"]
{more}
"""
        self._write(".config/slowboat/config.toml", text)

    def _write(self, name: str, text: str) -> None:
        room = self.session.room
        place = f"/proc/{room.pid}/root/tmp/written"
        with open(place, "w") as file:  # noqa: PTH123  # below /proc, through a root of another's
            file.write(text)
        command = f"install -D -m 600 /tmp/written ~/{name}"
        room.root(f"chown {UID}:{UID} /tmp/written")
        room.did(command)

    def start(self) -> None:
        self._process = self.session.room.begin("slowboat daemon", self.session.logs / "slowboat.log")
        self.wait(bool, 60)

    def cli(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.session.room.user("slowboat " + " ".join(words))

    def did(self, *words: str) -> str:
        return self.session.room.did("slowboat " + " ".join(words))

    def now(self) -> dict[str, Any]:
        """The migration as D-Bus has it, by its properties' names; {} where it cannot be asked."""
        done = self.session.room.user(f"busctl --user --json=short call {BUS} GetAll s {NAME}.Migration 2>/dev/null")
        if done.returncode:
            return {}
        return {name: value["data"] for name, value in json.loads(done.stdout)["data"][0].items()}

    def wait(self, reached: Callable[[dict[str, Any]], bool], patience: float = PATIENCE) -> dict[str, Any]:
        end = time.monotonic() + patience
        while not reached(now := self.now()):
            assert time.monotonic() < end, f"slowboat is at {now}; {self.cli('why').stdout[-600:]}"
            time.sleep(0.3)
        return now

    def hand_over(self) -> dict[str, Any]:
        """Waits for the handover and pauses right there."""
        self.wait(lambda now: now.get("Handover") == "done")
        self.did("pause")
        return self.now()

    def finish(self) -> dict[str, Any]:
        """All the rest, at full speed."""
        self.did("limit", "off")
        self.did("resume")
        self.cli("retry")
        return self.wait(lambda now: now.get("State") == "done" and not now.get("Behind"))

    def listing(self) -> set[str]:
        return {name.removeprefix("laptop/") for name in self.swift.listing(self.container, "laptop/")}
