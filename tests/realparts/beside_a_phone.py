"""Runs the real daemon on a laptop whose uplink a phone uses too, and prints what each got, as JSON.

    beside_a_phone.py FOLDER

The kernel is real, and so is the queue before the uplink (contrib/benchmarks/household.py): a namespace for each host.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "contrib/benchmarks"))

from household import Household, Line, enter  # found by the line above
from outcome import CannotRun
from uploaders import BOAT, NAME, PATH, Bed, make_certificate, make_drive, run_slowboat

UP = 4e6  # bits per second: little work for a busy machine
ALONE, TOGETHER, LATER = 3.0, 9.0, 5.0  # seconds; of those together the last ones count
FULL = UP / 8


def rates(home: Household, seconds: float) -> dict[str, float]:
    """What came from each host meanwhile, as a share of the line."""
    before, then = {host: home.received(host) for host in ("laptop", "phone")}, time.monotonic()
    time.sleep(seconds)
    return {host: (home.received(host) - count) / (time.monotonic() - then) / FULL for host, count in before.items()}


def on_the_bus(bed: Bed, *words: str) -> str:
    address = f"--address=unix:path={bed.folder / 'run/bus'}"
    return subprocess.run(["busctl", address, *words], capture_output=True, text=True, check=True).stdout


def shown(bed: Bed, name: str) -> str:
    return on_the_bus(bed, "get-property", NAME, PATH, f"{NAME}.Manager", name)


def phone_uploads(bed: Bed) -> dict[str, object]:
    bed.home.traffic("phone", "upload", Household.SERVER_TO_PHONE, seconds=TOGETHER)
    time.sleep(TOGETHER - LATER)
    got = rates(bed.home, LATER - 0.5)
    return {**got, "mode": shown(bed, "Mode"), "reasons": shown(bed, "Reasons")}


def main(folder: Path) -> dict[str, object]:
    certificate, drive = make_certificate(folder), folder / "drive"
    make_drive(drive, round(FULL * 60), volume=round(FULL * 20))
    with Household(Line(up=UP, round_trip=0.0)) as home:
        bed = Bed(BOAT, home, folder / "bed", drive, certificate)
        bed.serve()
        home.traffic("server", "answer")
        run_slowboat(bed)
        while not bed.sends():
            time.sleep(0.2)
        time.sleep(ALONE)
        told: dict[str, object] = {"alone": rates(home, ALONE), "spare": phone_uploads(bed)}
        time.sleep(1)
        on_the_bus(bed, "call", NAME, PATH, f"{NAME}.Manager", "SetLimit", "tta{sv}", "0", "0", "1", "mode", "s", "go")
        time.sleep(1)
        return {**told, "go": phone_uploads(bed), "log": bed.log.read_text()}


if __name__ == "__main__":
    try:
        enter()
    except CannotRun as error:
        sys.exit(f"forbidden: {error}")
    print(json.dumps(main(Path(sys.argv[1]))))
