"""How much of a line the first large file gets: 40 MB over 50 Mbit/s, 100 ms away, of which nothing is known yet.

They are signatures, and the handover waits for them. Each tool in a household of its own, one after the other, to a
bare sink behind TLS; the line is counted where it ends, from the first bytes of the file to its last.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from pathlib import Path

from chain import make_chain
from household import Household, Line, enter
from outcome import CannotRun, Goal, Outcome, say
from uploaders import BOAT, PLAIN, TOOLS, Bed, copy_slowboat, make_certificate

MB = 1_000_000
SIZE = 40 * MB
LINE = Line(up=50e6, down=50e6, round_trip=0.1, buffer=0.2, down_buffer=0.2)
GO, RCLONE = "slowboat, go", "rclone copy"
LEAST = 0.9
BEGUN = 60_000  # bytes: more than asking for a token, a listing and a probe's objects take
PATIENCE = 300.0  # seconds


def run(arguments: list[str]) -> Outcome:
    parser = argparse.ArgumentParser(prog="contrib/bench signatures", description=__doc__)
    parser.add_argument(
        "--tool", action="append", choices=(BOAT, GO, RCLONE, PLAIN), help="that one alone; again: more"
    )
    parser.add_argument("--runs", type=int, default=3)
    known = parser.parse_args(arguments)
    enter()
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="sb-signatures-") as name:
        folder = Path(name)
        make_chain(folder / "drive", signatures=SIZE, volumes=1, volume=100_000)
        copy_slowboat(folder)
        make_certificate(folder)
        rows = [one(tool, folder, known.runs) for tool in known.tool or (GO, RCLONE, PLAIN)]
    found = [min(row["line_used"]) for row in rows if row["tool"] == GO]
    goals = [Goal("of the line, the worst run", used, f">= {LEAST}", used >= LEAST) for used in found]
    return Outcome(rows, goals)


def one(tool: str, folder: Path, runs: int) -> dict[str, object]:
    shares, seconds = [], []
    for _ in range(runs):
        took = took_once(tool, folder)
        shares.append(round(SIZE * 8 / took / LINE.up, 3))
        seconds.append(round(took, 2))
        say(f"signatures: {tool}: {shares[-1]} of the line, {took:.1f} s")
    return {"tool": tool, "line_used": sorted(shares), "seconds": sorted(seconds)}


def took_once(tool: str, folder: Path) -> float:
    """Seconds from the file's first bytes on the line to its last."""
    with Household(LINE) as home, tempfile.TemporaryDirectory(dir=folder) as own:
        bed = Bed(tool, home, Path(own) / "bed", folder / "drive", folder / "cert.pem")
        bed.serve(sys.executable, Path(__file__).with_name("sink.py"))
        TOOLS[tool](bed)
        try:
            began = reached(bed, BEGUN)
            return reached(bed, BEGUN + SIZE) - began
        finally:
            with contextlib.suppress(ProcessLookupError):
                assert bed.uploading is not None
                bed.uploading.kill()
                bed.uploading.wait()


def reached(bed: Bed, count: int) -> float:
    """When so many bytes had come from the laptop."""
    end = time.monotonic() + PATIENCE
    while bed.home.received("laptop") < count:
        if time.monotonic() > end or (bed.uploading is not None and bed.uploading.poll()):
            raise CannotRun(f"{bed.tool} sends nothing: {bed.log.read_text(errors='replace')[-500:]}")
        time.sleep(0.01)
    return time.monotonic()


if __name__ == "__main__":
    sys.exit("run it by contrib/bench signatures")
