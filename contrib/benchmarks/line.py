"""How much of a line slowboat uses, at several rates and distances, on a machine at rest and on a busy one.

One tool at a time in a household of its own (household.py), before a bare sink and TLS: slowboat with what is spare and
with "go", started with Nice=10 as its unit has it, and what a user would take instead. A busy machine has one endless
loop for each processor. Figures are shares of the line's bits per second, headers included.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from household import Household, Line, enter
from outcome import Goal, Outcome, need, say
from spare import PATIENCE, in_memory, names_of
from uploaders import BOAT, PLAIN, TOOLS, Bed, copy_slowboat, make_certificate, make_drive

if TYPE_CHECKING:
    from collections.abc import Iterator

LINES = {
    "8": Line(up=8e6),
    "30": Line(up=30e6, down=50e6, round_trip=0.100),
    "50": Line(up=50e6, down=50e6, round_trip=0.100, buffer=0.3),
    "100": Line(up=100e6, down=100e6, round_trip=0.020, buffer=0.3),
}
GO, RCLONE = "slowboat, go", "rclone copy"
COMPARED = [BOAT, GO, PLAIN, RCLONE]
MACHINES = {"at rest": 0, "busy": os.cpu_count() or 1}
SETTLED, MEASURED = 8.0, 15.0
NICE = 10  # of systemd/slowboat.service
LEAST = {(BOAT, "at rest"): 0.95, (GO, "at rest"): 0.95, (BOAT, "busy"): 0.80, (GO, "busy"): 0.95}


@contextlib.contextmanager
def loops(bed: Bed, count: int) -> Iterator[None]:
    """So many programs that do nothing but compute."""
    nice, bed.nice = bed.nice, 0
    running = [bed.start("laptop", "sh", "-c", "while :; do :; done") for _ in range(count)]
    bed.nice = nice
    try:
        yield
    finally:
        for one in running:
            one.kill()


def share(tool: str, line: Line, machine: str, folder: Path) -> float:
    """Of the line, what the tool got through."""
    with Household(line) as home:
        bed = Bed(tool, home, folder / "bed", folder / "drive", folder / "cert.pem", sink=True)
        try:
            bed.serve()
            bed.nice = NICE if tool in (BOAT, GO) else 0
            TOOLS[tool](bed)
            end = time.monotonic() + PATIENCE
            while not bed.sends() and time.monotonic() < end:
                time.sleep(0.2)
            with loops(bed, MACHINES[machine]):
                time.sleep(SETTLED)
                before, began = home.received("laptop"), time.monotonic()
                time.sleep(MEASURED)
                got = (home.received("laptop") - before) / (time.monotonic() - began)
            bed.sends()  # a tool that has run out of files was no load
            return got * 8 / line.up
        finally:
            shutil.rmtree(bed.folder, ignore_errors=True)


def run(arguments: list[str]) -> Outcome:
    parser = argparse.ArgumentParser(prog="contrib/bench line", description=__doc__)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument(
        "--lines", type=names_of(LINES), default=["8", "30"], help=f"of {', '.join(LINES)}; with commas"
    )
    parser.add_argument("--tools", type=names_of(COMPARED, ";"), default=COMPARED, help="some of them; with semicolons")
    parser.add_argument("--machines", type=names_of(MACHINES), default=list(MACHINES), help="at rest, busy")
    known = parser.parse_args(arguments)
    need(rclone="rclone", busctl="systemd", openssl="openssl", **{"dbus-daemon": "dbus"})
    enter()
    outcome = Outcome()
    with tempfile.TemporaryDirectory(dir=in_memory(), prefix="sb-line-") as name:
        folder = Path(name)
        make_certificate(folder)
        copy_slowboat(folder)
        for line in known.lines:
            make_drive(folder / "drive", round(LINES[line].up / 8 * (SETTLED + MEASURED + 30)), 50_000_000)
            for machine in known.machines:
                for tool in known.tools:
                    got = [round(share(tool, LINES[line], machine, folder), 3) for _ in range(known.runs)]
                    outcome.rows.append(row(tool, line, machine, got))
                    say(f"line: {outcome.rows[-1]}")
                    if least := LEAST.get((tool, machine)):
                        what = f"{tool} on {line} Mbit/s, {machine}: of the line, used"
                        outcome.goals.append(Goal(what, min(got), f">= {least:.2f}", min(got) >= least))
            shutil.rmtree(folder / "drive")
    return outcome


def row(tool: str, line: str, machine: str, got: list[float]) -> dict[str, object]:
    about = LINES[line]
    return {
        "tool": tool,
        "mbit_per_s": about.up / 1e6,
        "round_trip_ms": round(about.round_trip * 1000),
        "machine": machine,
        "line_used": [min(got), max(got)],
    }


if __name__ == "__main__":
    sys.exit("run it by contrib/bench line")
