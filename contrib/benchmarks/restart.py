"""A hundred thousand files that are done, and the daemon starts anew: what it takes until it knows that all is there.

The ledger has them all; one listing shows that they stand at the target. Beside it `rclone copy --size-only` and
`swift upload --changed` over the same files.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import peers
from chain import MANIFEST, SIGNATURES
from outcome import Goal, Outcome, say
from scale import made, row

if TYPE_CHECKING:
    from peers import Took

FILES = 100_000
MOST_CPU, MOST_MIB = 2.8, 100.0
SETTLED = 3.0  # seconds after it says so, in which it lets go of what it needs no longer


def run(arguments: list[str]) -> Outcome:
    parser = argparse.ArgumentParser(prog="contrib/bench restart", description=__doc__)
    parser.add_argument("--files", type=int, default=FILES)
    parser.add_argument("--alone", action="store_true", help="slowboat without its peers")
    known = parser.parse_args(arguments)
    peers.need_peers()
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory(prefix="sb-restart-") as name:
        folder = Path(name)
        drive = made(folder, known.files)
        with peers.sink(folder, holds=drive) as server:
            boat = peers.Boat(folder / "home", server, drive, (SIGNATURES, MANIFEST))
            say("restart: the ledger learns of them all")
            boat.migrate()
            took, rss = _again(boat)
            rows.append(row(peers.BOAT, known.files, took) | {"rss_mib": round(rss, 1)})
            say(f"restart: {rows[-1]}")
            if not known.alone:
                rows.append(
                    row("rclone copy --size-only", known.files, peers.rclone_copy(server, drive, "--size-only"))
                )
                say(f"restart: {rows[-1]}")
                rows.append(row("swift upload --changed", known.files, peers.swift_upload(server, drive, "--changed")))
    goals = [
        Goal("CPU seconds", round(took.cpu, 2), f"<= {MOST_CPU}", took.cpu <= MOST_CPU),
        Goal("RSS in MiB", round(rss, 1), f"<= {MOST_MIB}", rss <= MOST_MIB),
    ]
    return Outcome(rows, goals)


def _again(boat: peers.Boat) -> tuple[Took, float]:
    """What the second start took until it has looked and says that all is there, and what is resident then."""
    before = boat.server.counts()
    with boat.bus(), boat.running() as voyage:
        voyage.looked(before)
        took = voyage.until(peers.ALL_THERE)
        took = peers.Took(took.seconds, took.cpu, took.peak_mib, peers.since(before, boat.server.counts()))
        return took, voyage.settled(SETTLED)


if __name__ == "__main__":
    sys.exit("run it by contrib/bench restart")
