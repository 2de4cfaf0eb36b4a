"""What sending takes: processor seconds per GB, MB per second, and the most memory, beside rclone and `swift upload`.

1 GB in volumes of 25 MB and of 200 MB, to a bare sink (in clear and by TLS) and to a real Swift, as fast as each tool
can; slowboat with one, two and four uploads at once; then a minute at 2 MB/s. The sink hashes what it gets, so that an
`ETag` is checked as Swift does.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
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
    from peers import Server, Took

MB = 1_000_000
SIZE, SMALL, LARGE = 1000, 25, 200  # MB: all of it, and a volume
MOST_CPU, MOST_MIB, MOST_CAPPED = 3.3, 64.0, 1.6
CAP, MINUTE, SETTLED = 2, 60.0, 5.0  # MB/s; seconds
CAPPED = f'limit = "{CAP}M"\n'


@dataclass(frozen=True)
class Course:
    """One comparison: which server, how large the volumes are (MB), and slowboat's uploads at once."""

    server: str
    volume: int
    lanes: int = 2


COURSES = (
    *(Course("sink", SMALL, lanes) for lanes in (2, 1, 4)),
    *(Course("sink", LARGE, lanes) for lanes in (2, 1, 4)),
    Course("sink, TLS", SMALL),
    Course("swift", SMALL),
    Course("swift", LARGE),
)


@contextlib.contextmanager
def served(course: Course, folder: Path):  # type: ignore[no-untyped-def]
    """The server of a course, of its own."""
    if course.server == "swift":
        with peers.real_swift(folder) as server:
            yield server
    else:
        with peers.sink(folder, tls="TLS" in course.server) as server:
            yield server


def moved(tool: str, course: Course, server: Server, drive: Path, home: Path) -> Took:
    if tool == peers.BOAT:
        top = f"connections = {course.lanes}\n"
        return peers.Boat(home, server, drive, (SIGNATURES, MANIFEST), top=top).migrate()
    return (peers.swift_upload if tool == peers.SWIFT else peers.rclone_copy)(server, drive)


def row(tool: str, course: Course, size: int, took: Took) -> dict[str, object]:
    return {
        "tool": tool,
        "server": course.server,
        "volume_mb": course.volume,
        "lanes": course.lanes if tool == peers.BOAT else "",
        "cpu_s_per_gb": round(took.cpu / size * 1000, 2),
        "mb_per_s": round(size / took.seconds, 1),
        "peak_mib": round(took.peak_mib, 1),
        "seconds": round(took.seconds, 2),
        "requests": sum(count for kind, count in took.requests.items() if kind != "bytes") or "",
    }


def run(arguments: list[str]) -> Outcome:
    parser = argparse.ArgumentParser(prog="contrib/bench cost", description=__doc__)
    parser.add_argument("--size", type=int, default=SIZE, help="MB in all")
    parser.add_argument("--only", choices=(peers.BOAT, peers.SWIFT, peers.RCLONE), help="one tool alone")
    parser.add_argument("--course", type=int, action="append", help="by number, from 0; again for more")
    parser.add_argument("--no-cap", action="store_true", help="without the minute at a cap")
    known = parser.parse_args(arguments)
    peers.need_peers()
    with tempfile.TemporaryDirectory(prefix="sb-cost-") as name:
        return everything(Path(name), known)


def everything(folder: Path, known: argparse.Namespace) -> Outcome:
    tools = [known.only] if known.only else [peers.BOAT, peers.SWIFT, peers.RCLONE]
    courses = COURSES if known.course is None else [COURSES[number] for number in known.course]
    rows: list[dict[str, object]] = []
    for course in courses:
        drive = folder / f"drive-{course.volume}"
        if not drive.exists():
            make_chain(drive, signatures=100_000, volumes=known.size // course.volume, volume=course.volume * MB)
        for tool in tools if course.lanes == 2 else [tool for tool in tools if tool == peers.BOAT]:
            place = Path(tempfile.mkdtemp(dir=folder))
            with served(course, place / "server") as server:
                rows.append(row(tool, course, known.size, moved(tool, course, server, drive, place / "home")))
            shutil.rmtree(place)
            say(f"cost: {rows[-1]}")
    capped = [] if known.no_cap else [at_a_cap(folder, tool) for tool in tools if tool != peers.SWIFT]
    return Outcome(rows + capped, judged(rows, capped))


def at_a_cap(folder: Path, tool: str) -> dict[str, object]:
    """A minute of sending at a cap, once it is under way."""
    drive = folder / f"drive-{SMALL}"
    if not drive.exists():
        make_chain(drive, signatures=100_000, volumes=8, volume=SMALL * MB)
    place = Path(tempfile.mkdtemp(dir=folder))
    with peers.sink(place / "server") as server, contextlib.ExitStack() as stack:
        if tool == peers.BOAT:
            boat = peers.Boat(place / "home", server, drive, (SIGNATURES, MANIFEST), top=CAPPED)
            stack.enter_context(boat.bus())
            pid = stack.enter_context(boat.running()).daemon.pid
        else:
            pid = stack.enter_context(peers.rclone_running(server, drive, f"--bwlimit={CAP * MB}B")).pid
        while server.counts().get("bytes", 0) < CAP * MB:
            time.sleep(0.2)
        time.sleep(SETTLED)
        cpu, sent = peers.cpu_of(pid), server.counts()["bytes"]
        time.sleep(MINUTE)
        cpu, sent = peers.cpu_of(pid) - cpu, server.counts()["bytes"] - sent
    shutil.rmtree(place)
    found = {"tool": tool, "server": "sink", "cap_mb_per_s": CAP, "cpu_s_a_minute": round(cpu * 60 / MINUTE, 2)}
    found["mb_per_s"] = round(sent / MB / MINUTE, 2)
    say(f"cost: {found}")
    return found


def judged(rows: list[dict[str, object]], capped: list[dict[str, object]]) -> list[Goal]:
    goals = []
    figure = {(row["tool"], row["server"], row["volume_mb"], row["lanes"]): row for row in rows}
    for key, ours in figure.items():
        if key[0] != peers.BOAT:
            continue
        what = f"{key[2]} MB, {key[1]}, {key[3]} at once"
        cpu, peak, rate = (float(str(ours[name])) for name in ("cpu_s_per_gb", "peak_mib", "mb_per_s"))
        if "sink" in str(key[1]):
            goals.append(Goal(f"{what}: CPU s per GB", cpu, f"<= {MOST_CPU}", cpu <= MOST_CPU))
        goals.append(Goal(f"{what}: peak MiB", peak, f"< {MOST_MIB}", peak < MOST_MIB))
        if theirs := figure.get((peers.SWIFT, key[1], key[2], "")):
            least = float(str(theirs["mb_per_s"]))
            goals.append(Goal(f"{what}: MB/s", rate, f">= {least} (swift upload)", rate >= least))
    for row in capped:
        if row["tool"] == peers.BOAT:
            cpu = float(str(row["cpu_s_a_minute"]))
            goals.append(Goal(f"at {CAP} MB/s: CPU s a minute", cpu, f"<= {MOST_CAPPED}", cpu <= MOST_CAPPED))
    return goals


if __name__ == "__main__":
    sys.exit("run it by contrib/bench cost")
