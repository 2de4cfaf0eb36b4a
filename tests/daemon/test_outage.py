"""The ledger's disk is full, or another program holds the ledger: the daemon says so, stays, and ends complete."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
from typing import TYPE_CHECKING

import pytest
from evidence import expect_arrived

from realparts.daemon_process import MANAGER, SERVICE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from realparts.daemon_process import Daemon
    from realparts.drive import Drive
    from realparts.swift_server import SwiftServer

THE_MANAGER = (MANAGER, f"{SERVICE}.Manager")
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="a full file system of our own needs root to be mounted")
pytestmark = pytest.mark.needs("busctl", "gpg")


@pytest.fixture
def small_disk(daemon: Daemon) -> Iterator[Path]:
    """The daemon's state lies on a file system of a megabyte."""
    daemon.state.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "slowboat-test", daemon.state], check=True)
    yield daemon.state
    subprocess.run(["umount", "-l", daemon.state], check=True)


def fill_up(place: Path, name: str = "ballast") -> Path:
    """Takes the last byte of room there."""
    with (place / name).open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return place / name


def faster(daemon: Daemon) -> None:
    """The limit is taken out of the configuration; a reload is answered also while the ledger is waited for."""
    daemon.configure(daemon.config_file.read_text().replace("limit = 300000", ""))
    daemon.slowboat("reload")


def asked(daemon: Daemon, *words: str) -> str:
    return " ".join(daemon.slowboat(*words, check=False).stderr.split())


@NEEDS_ROOT
@pytest.mark.usefixtures("notifications")
def test_a_full_disk_in_mid_migration(daemon: Daemon, swift: SwiftServer, chain: Drive, small_disk: Path) -> None:
    container = swift.container()
    daemon.configure_migration(chain, swift, container, limit=300_000)
    daemon.start()
    daemon.wait_until(lambda now: now["VolumesDone"] > 0)
    pid, ballast = daemon.pid, fill_up(small_disk)
    seen = daemon.wait_until(lambda now: "ledger" in now["Reasons"])
    assert seen["State"] == "waiting"
    assert seen["Rate"] == 0
    assert seen["VolumesDone"] > 0, "what was known is shown on"
    assert f"There is no room on the disk for the ledger {small_disk / 'ledger.sqlite'}" in seen["LastError"]
    why = next(each for each in seen["Why"] if each["code"]["data"] == "ledger")
    assert "Free some space there" in why["cure"]["data"]
    assert daemon.manager()["State"] == "waiting"
    assert "There is no room" in asked(daemon, "pause"), "what cannot be remembered is not promised"
    assert "There is no room" in asked(daemon, "limit", "100k")
    assert "no room" in daemon.slowboat("status").stdout
    faster(daemon)
    assert daemon.manager()["Reasons"] == ["ledger"], "as soon as that is answered"
    assert daemon.migration()["Reasons"] == ["ledger"]
    ballast.unlink()
    daemon.slowboat("retry")
    daemon.wait_until(lambda now: now["State"] == "done")
    assert daemon.pid == pid
    assert daemon.running
    assert "Traceback" not in daemon.log
    assert "slowboat has waited" in " ".join(daemon.slowboat("history").stdout.split())
    expect_arrived(chain, swift, container)


@NEEDS_ROOT
def test_a_disk_that_is_full_at_the_first_start(
    daemon: Daemon, swift: SwiftServer, chain: Drive, small_disk: Path
) -> None:
    container = swift.container()
    daemon.configure_migration(chain, swift, container)
    ballast = fill_up(small_disk)
    daemon.start()
    seen = daemon.wait_until(lambda now: "ledger" in now["Reasons"])
    assert seen["Source"] == str(chain.folder)
    assert daemon.terminate() == 0, "it can be stopped meanwhile"
    daemon.start()
    daemon.wait_until(lambda now: "ledger" in now["Reasons"])
    ballast.unlink()
    daemon.wait_until(lambda now: now["State"] == "done")
    assert "Traceback" not in daemon.log
    expect_arrived(chain, swift, container)


def test_another_program_that_holds_the_ledger(daemon: Daemon, swift: SwiftServer, chain: Drive) -> None:
    container = swift.container()
    daemon.configure_migration(chain, swift, container, limit=300_000)
    daemon.start()
    daemon.wait_until(lambda now: now["VolumesDone"] > 0)
    other = sqlite3.connect(daemon.state / "ledger.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    seen = daemon.wait_until(lambda now: "ledger" in now["Reasons"])
    assert "Another program holds the ledger" in seen["LastError"]
    faster(daemon)
    other.execute("ROLLBACK")
    other.close()
    daemon.wait_until(lambda now: now["State"] == "done")
    assert "Traceback" not in daemon.log
    expect_arrived(chain, swift, container)


def test_a_newer_ledger_is_for_no_restart_to_mend(daemon: Daemon, swift: SwiftServer, chain: Drive) -> None:
    daemon.configure_migration(chain, swift, swift.container())
    daemon.start()
    daemon.wait_until(lambda now: now["State"] == "done")
    assert daemon.terminate() == 0
    with contextlib.closing(sqlite3.connect(daemon.state / "ledger.sqlite")) as db:
        db.execute("PRAGMA user_version = 99")
    daemon.start(wait=False)
    assert daemon.wait() == 78
    assert "newer slowboat" in daemon.log


@pytest.mark.parametrize("how", ["DROP TABLE facts", "PRAGMA user_version = 1", "PRAGMA user_version = -1", "empty"])
def test_a_ledger_that_is_none_of_ours_any_more(daemon: Daemon, swift: SwiftServer, chain: Drive, how: str) -> None:
    """What it knew is asked of the server again, and nothing goes up twice."""
    container = swift.container()
    daemon.configure_migration(chain, swift, container)
    daemon.start()
    daemon.wait_until(lambda now: now["State"] == "done")
    assert daemon.terminate() == 0
    path = daemon.state / "ledger.sqlite"
    if how == "empty":
        os.truncate(path, 0)
    else:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute(how)
    daemon.start()
    seen = daemon.wait_until(lambda now: now["State"] == "done")
    assert seen["BytesSent"] == 0
    assert len(list(daemon.state.glob("ledger.sqlite.broken-*"))) >= 1
    assert "The ledger was damaged and has been moved to" in " ".join(daemon.slowboat("history").stdout.split())
    assert "Traceback" not in daemon.log
    expect_arrived(chain, swift, container)
