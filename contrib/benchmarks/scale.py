"""A hundred thousand files: what it costs to find them all there, to show the plan, and to say how things stand.

Every file stands at the target already and the ledger is empty, as after a disk that broke: each is read and held
against what the listing shows. Beside it rclone (--size-only: it reads no file) and `swift upload --changed`, which
asks about each. The same processor time is told without what merely reading and hashing the files takes.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import peers
from chain import MANIFEST, SIGNATURES, make_chain
from outcome import Goal, Outcome, say

if TYPE_CHECKING:
    from peers import Took, Voyage

FILES, SIZE = (10_000, 100_000), 1_000
MOST_MS = 2.0  # each, beside the reading
MOST_PLAN, MOST_STATUS = 1.0, 0.12  # seconds until the plan is shown; processor seconds of `slowboat status`


def made(folder: Path, files: int) -> Path:
    """A chain of so many small volumes."""
    drive = folder / f"drive-{files}"
    if not drive.exists():
        say(f"a chain of {files:,} volumes is made")
        make_chain(drive, signatures=SIZE, volumes=files, volume=SIZE)
    return drive


def reading(drive: Path) -> float:
    """Processor seconds that it takes to open, read and hash all files."""
    began = time.process_time()
    for entry in sorted(os.listdir(drive)):  # noqa: PTH208  # as quick as can be
        fd = os.open(drive / entry, os.O_RDONLY)
        body = os.read(fd, 1 << 20)
        hashlib.md5(body, usedforsecurity=False).hexdigest()
        hashlib.sha1(body, usedforsecurity=False).hexdigest()
        os.close(fd)
    return time.process_time() - began


@dataclass(frozen=True)
class Asked:
    """A command of the command line: seconds until it has ended, its own processor seconds, lines that it wrote."""

    seconds: float
    cpu: float
    lines: int


def ask(voyage: Voyage, *words: str) -> Asked:
    """Runs `slowboat` as a person would, beside that daemon."""
    began = time.monotonic()
    command = (peers.PYTHON, "-m", "slowboat", *words)
    process = subprocess.Popen(command, env=voyage.boat.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    lines = process.stdout.read().count(b"\n")
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0
    return Asked(time.monotonic() - began, usage.ru_utime + usage.ru_stime, lines)


def row(tool: str, files: int, took: Took, read: float = 0.0) -> dict[str, object]:
    return {
        "tool": tool,
        "files": files,
        "seconds": round(took.seconds, 2),
        "cpu_s": round(took.cpu, 2),
        "cpu_ms_each": round(1000 * took.cpu / files, 3),
        "cpu_ms_each_beside_reading": round(1000 * (took.cpu - read) / files, 3),
        "peak_mib": round(took.peak_mib, 1),
        "requests": sum(count for kind, count in took.requests.items() if kind != "bytes") or "",
    }


def run(arguments: list[str]) -> Outcome:
    parser = argparse.ArgumentParser(prog="contrib/bench scale", description=__doc__)
    parser.add_argument("--files", type=int, nargs="*", default=FILES)
    parser.add_argument("--alone", action="store_true", help="slowboat without its peers")
    known = parser.parse_args(arguments)
    peers.need_peers()
    rows: list[dict[str, object]] = []
    goals: list[Goal] = []
    with tempfile.TemporaryDirectory(prefix="sb-scale-") as name:
        for files in known.files:
            _one(Path(name), files, rows, goals, alone=known.alone)
    return Outcome(rows, goals)


def _one(folder: Path, files: int, rows: list[dict[str, object]], goals: list[Goal], *, alone: bool) -> None:
    drive = made(folder, files)
    read = reading(drive)
    with peers.sink(folder, holds=drive) as server:
        boat = peers.Boat(folder / f"home-{files}", server, drive, (SIGNATURES, MANIFEST))
        before = server.counts()
        with boat.bus(), boat.running() as voyage:
            took = voyage.until(peers.ALL_THERE)
            after = server.counts()
            took = peers.Took(took.seconds, took.cpu, took.peak_mib, peers.since(before, after))
            rows.append(row(peers.BOAT, files, took, read))
            say(f"scale: {rows[-1]}")
            asked = {
                words: min((ask(voyage, *words.split()) for _ in range(3)), key=lambda one: one.cpu) for words in SAID
            }
    each = float(str(rows[-1]["cpu_ms_each_beside_reading"]))
    goals.append(Goal(f"{files:,} files there, empty ledger: ms each", each, f"<= {MOST_MS}", each <= MOST_MS))
    for words, one in asked.items():
        rows.append(
            {"tool": f"slowboat {words}", "files": files, "seconds": round(one.seconds, 2), "cpu_s": round(one.cpu, 3)}
        )
        say(f"scale: {rows[-1]} ({one.lines} lines)")
    plan, status = asked["plan"], asked["status"]
    goals += [
        Goal(
            f"{files:,} files: seconds of `slowboat plan`",
            round(plan.seconds, 2),
            f"<= {MOST_PLAN}",
            plan.seconds <= MOST_PLAN,
        ),
        Goal(
            f"{files:,} files: CPU seconds of `slowboat status`",
            round(status.cpu, 3),
            f"<= {MOST_STATUS}",
            status.cpu <= MOST_STATUS,
        ),
    ]
    if not alone:
        with peers.sink(folder / "for-peers", holds=drive) as server:
            for tool, bring in (
                ("rclone copy --size-only", lambda: peers.rclone_copy(server, drive, "--size-only")),
                ("swift upload --changed", lambda: peers.swift_upload(server, drive, "--changed")),
            ):
                rows.append(row(tool, files, bring()))
                say(f"scale: {rows[-1]}")


SAID = ("plan", "status", "--version")

if __name__ == "__main__":
    sys.exit("run it by contrib/bench scale")
