"""Many small files: objects per second and processor time for each, beside rclone and `swift upload`.

2,000 volumes of 15 kB against a bare sink and against a real Swift; and ten times as many against the sink, which
must cost as much each.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import peers
from chain import MANIFEST, SIGNATURES, make_chain
from outcome import Goal, Outcome, say

if TYPE_CHECKING:
    from peers import Server, Took

FILES, SIZE, TIMES = 2_000, 15_000, 10
MOST_MS, MOST_GROWTH = 2.5, 1.10


def moved(tool: str, server: Server, drive: Path, home: Path) -> Took:
    if tool == peers.BOAT:
        return peers.Boat(home, server, drive, (SIGNATURES, MANIFEST)).migrate()
    return (peers.swift_upload if tool == peers.SWIFT else peers.rclone_copy)(server, drive)


def row(tool: str, where: str, files: int, took: Took) -> dict[str, object]:
    return {
        "tool": tool,
        "server": where,
        "files": files,
        "objects_per_s": round(files / took.seconds, 1),
        "cpu_ms_each": round(1000 * took.cpu / files, 2),
        "peak_mib": round(took.peak_mib, 1),
        "seconds": round(took.seconds, 2),
        "puts": took.requests.get("PUT object", ""),
        "heads": took.requests.get("HEAD object", ""),
    }


def run(arguments: list[str]) -> Outcome:
    parser = argparse.ArgumentParser(prog="contrib/bench many", description=__doc__)
    parser.add_argument("--files", type=int, default=FILES)
    parser.add_argument("--times", type=int, default=TIMES, help="so many times as many files; 1: not that")
    parser.add_argument("--only", choices=(peers.BOAT, peers.SWIFT, peers.RCLONE), help="one tool alone")
    parser.add_argument("--no-swift", action="store_true", help="the sink alone")
    known = parser.parse_args(arguments)
    peers.need_peers()
    with tempfile.TemporaryDirectory(prefix="sb-many-") as name:
        return everything(Path(name), known)


def everything(folder: Path, known: argparse.Namespace) -> Outcome:
    tools = [known.only] if known.only else [peers.BOAT, peers.SWIFT, peers.RCLONE]
    rows: list[dict[str, object]] = []
    rounds = [("sink", known.files), *([] if known.no_swift else [("swift", known.files)])]
    rounds += [("sink", known.files * known.times)] if known.times > 1 else []
    for where, files in rounds:
        drive = folder / f"drive-{files}"
        if not drive.exists():
            make_chain(drive, signatures=SIZE, volumes=files, volume=SIZE)
        for tool in tools:
            place = Path(tempfile.mkdtemp(dir=folder))
            with (peers.sink if where == "sink" else peers.real_swift)(place / "server") as server:
                rows.append(row(tool, where, files, moved(tool, server, drive, place / "home")))
            shutil.rmtree(place)
            say(f"many: {rows[-1]}")
    return Outcome(rows, judged(rows))


def judged(rows: list[dict[str, object]]) -> list[Goal]:
    found = {(row["tool"], row["server"], row["files"]): row for row in rows}
    goals = []
    ours = [key for key in found if key[0] == peers.BOAT]
    for key in ours:
        rate, cpu = float(str(found[key]["objects_per_s"])), float(str(found[key]["cpu_ms_each"]))
        where = f"{key[2]:,} files, {key[1]}"
        if theirs := found.get((peers.SWIFT, *key[1:])):
            least = float(str(theirs["objects_per_s"]))
            goals.append(Goal(f"{where}: objects per second", rate, f">= {least} (swift upload)", rate >= least))
        if key[1] == "sink":
            goals.append(Goal(f"{where}: processor ms each", cpu, f"<= {MOST_MS}", cpu <= MOST_MS))
    sunk = [float(str(found[key]["cpu_ms_each"])) for key in ours if key[1] == "sink"]
    if len(sunk) == 2:
        grown = round(sunk[1] / sunk[0], 3)
        goals.append(Goal("ten times the files: processor time each", grown, f"<= {MOST_GROWTH}", grown <= MOST_GROWTH))
    return goals


if __name__ == "__main__":
    sys.exit("run it by contrib/bench many")
