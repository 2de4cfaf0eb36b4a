"""What goes over the line before the handover, and how long that takes: bytes and seconds, against the metadata's size.

A household (household.py) with 50 Mbit/s and 100 ms to a bare sink behind TLS; 40 MB of signatures and four
volumes. slowboat hands over once all metadata is in the cloud; `swift upload` and `rclone copy` have no handover: with
them duplicity can go on once everything is there, so theirs are of that. Bytes are those of bodies, counted until
the first volume begins.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from chain import make_chain
from household import Household, Line, enter
from outcome import CannotRun, Goal, Outcome, need, say
from sink import BEFORE
from spare import in_memory, names_of
from uploaders import BOAT, PLAIN, TOOLS, Bed, copy_slowboat, make_certificate

MB = 1_000_000
SIGNATURES, VOLUMES, VOLUME = 40 * MB, 4, 25 * MB
LINE = Line(up=50e6, down=50e6, round_trip=0.100, buffer=0.3)
COMPARED = [BOAT, "slowboat, go", PLAIN, "rclone copy"]
PATIENCE = 300.0
EVERY = 0.05
MOST_BYTES, LEAST_LINE = 1.001, 0.90
METADATA = (".manifest", ".sigtar.gz")


def watch(bed: Bed, *, everything: int) -> dict[str, float]:
    """Until the handover, or until `everything` has come where there is none."""
    ends = bed.tool.startswith(BOAT)
    start, began, first = time.monotonic(), 0.0, 0
    while time.monotonic() < start + PATIENCE:
        now, got = time.monotonic(), bed.home.received("laptop")
        if not began and got > 200_000:
            began, first = now, got
        if began and (bed.ready() if ends else got > everything):
            return {"seconds": now - start, "sending": now - began, "line": (got - first) * 8 / (now - began)}
        time.sleep(EVERY)
    raise CannotRun(f"{bed.tool}: no end after {PATIENCE:.0f} s: {bed.log.read_text(errors='replace')[-500:]}")


def measure(tool: str, line: Line, folder: Path) -> dict[str, object]:
    drive = folder / "drive"
    sizes = {path: path.stat().st_size for path in drive.iterdir()}
    metadata = sum(size for path, size in sizes.items() if path.name.endswith(METADATA))
    with Household(line) as home:
        bed = Bed(tool, home, folder / "bed", drive, folder / "cert.pem", sink=True)
        try:
            bed.serve()
            TOOLS[tool](bed)
            seen = watch(bed, everything=sum(sizes.values()))
            while BEFORE not in (counts := bed.counts()):
                time.sleep(EVERY)
        finally:
            shutil.rmtree(bed.folder, ignore_errors=True)
    return {
        "tool": tool,
        "bytes_of_metadata": round(counts[BEFORE if tool.startswith(BOAT) else "bytes"] / metadata, 4),
        "seconds": round(seen["seconds"], 1),
        "sending_seconds": round(seen["sending"], 1),
        "line_used": round(seen["line"] / line.up, 3),
    }


def run(arguments: list[str]) -> Outcome:
    parser = argparse.ArgumentParser(prog="contrib/bench handover", description=__doc__)
    parser.add_argument("--tools", type=names_of(COMPARED, ";"), default=COMPARED, help="some of them; with semicolons")
    parser.add_argument("--signatures", type=int, default=SIGNATURES, help="bytes")
    known = parser.parse_args(arguments)
    need(rclone="rclone", busctl="systemd", openssl="openssl", **{"dbus-daemon": "dbus"})
    enter()
    outcome = Outcome()
    with tempfile.TemporaryDirectory(dir=in_memory(), prefix="sb-handover-") as name:
        folder = Path(name)
        make_certificate(folder)
        copy_slowboat(folder)
        make_chain(folder / "drive", signatures=known.signatures, volumes=VOLUMES, volume=VOLUME)
        for tool in known.tools:
            outcome.rows.append(measure(tool, LINE, folder))
            say(f"handover: {outcome.rows[-1]}")
    for row in outcome.rows:
        if str(row["tool"]).startswith(BOAT):
            sent, used = float(str(row["bytes_of_metadata"])), float(str(row["line_used"]))
            most = f"<= {MOST_BYTES}"
            outcome.goals += [
                Goal(f"{row['tool']}: bytes before the handover, of the metadata", sent, most, sent <= MOST_BYTES),
                Goal(f"{row['tool']}: of the line, used by them", used, f">= {LEAST_LINE:.2f}", used >= LEAST_LINE),
            ]
    return outcome


if __name__ == "__main__":
    sys.exit("run it by contrib/bench handover")
