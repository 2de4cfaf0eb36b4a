"""A cap of 2 MB/s for a minute: how exactly it is kept, and what keeping it takes of the processor.

slowboat with `send = "2M"` and `rclone copy --bwlimit`, one after the other, to a bare sink on loopback. The rate is
what the sink got of bodies, read four times a second; `swift upload` knows no cap. Processor seconds are those of a
minute of sending, from the first volume on.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import peers
from chain import MANIFEST, SIGNATURES, make_chain
from figures import Counter
from flap import KEY, USER
from outcome import Goal, Outcome, say

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CAP = 2_000_000
SECONDS = 60.0
VOLUME = 25_000_000
EVERY = 0.25
SETTLED = 3.0  # seconds of sending before the measuring begins
MOST_CPU = 1.6  # seconds a minute: rclone's
LEAST_MEAN, MOST_MEAN, MOST_SECOND = 0.97, 1.0, 1.05


def watched(server: peers.Server, pid: int, seconds: float, alive: Callable[[], bool]) -> dict[str, object]:
    """What came to the sink meanwhile, and what the process took, from the first volume on."""
    while bytes_of(server.counts()) < CAP and alive():
        time.sleep(EVERY)
    time.sleep(SETTLED)
    moments, totals = [time.monotonic()], [float(bytes_of(server.counts()))]
    cpu = peers.cpu_of(pid)
    while moments[-1] < moments[0] + seconds and alive():
        time.sleep(EVERY)
        totals.append(float(bytes_of(server.counts())))
        moments.append(time.monotonic())
    cpu = peers.cpu_of(pid) - cpu
    counter, lasted = Counter(moments, totals), moments[-1] - moments[0]
    each = [counter.rate(moments[0] + at, moments[0] + at + 1) / CAP for at in range(int(lasted))]
    return {
        "mean_of_cap": round((totals[-1] - totals[0]) / lasted / CAP, 4),
        "worst_second_of_cap": round(max(each), 3),
        "cpu_s_a_minute": round(cpu / lasted * 60, 2),
        "seconds": round(lasted, 1),
    }


def bytes_of(counts: Mapping[str, int]) -> int:
    return counts.get("bytes", 0)


def slowboat(server: peers.Server, drive: Path, home: Path, seconds: float) -> dict[str, object]:
    boat = peers.Boat(home, server, drive, (SIGNATURES, MANIFEST), '\n[network_type.default]\nsend = "2M"\n')
    with boat.bus(), boat.running() as voyage:
        return watched(server, voyage.daemon.pid, seconds, lambda: voyage.daemon.poll() is None)


def rclone(server: peers.Server, drive: Path, _: Path, seconds: float) -> dict[str, object]:
    settings = {"TYPE": "swift", "USER": USER, "KEY": KEY, "AUTH": server.auth_url}
    process = subprocess.Popen(
        ("rclone", "copy", "--config", "/dev/null", "--bwlimit", f"{CAP}B", ".", f"bench:{peers.CONTAINER}"),
        cwd=drive,
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}
        | {f"RCLONE_CONFIG_BENCH_{key}": value for key, value in settings.items()},
        **peers.QUIET,
    )
    try:
        return watched(server, process.pid, seconds, lambda: process.poll() is None)
    finally:
        process.kill()
        process.wait()


def run(arguments: list[str]) -> Outcome:
    parser = argparse.ArgumentParser(prog="contrib/bench cap", description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    known = parser.parse_args(arguments)
    peers.need_peers()
    outcome = Outcome()
    with tempfile.TemporaryDirectory(prefix="sb-cap-") as name:
        folder, drive = Path(name), Path(name) / "drive"
        make_chain(drive, signatures=100_000, volumes=int(CAP * (known.seconds + 15) / VOLUME) + 1, volume=VOLUME)
        for tool, measure in ((peers.BOAT, slowboat), (peers.RCLONE, rclone)):
            with peers.sink(folder / tool.split()[0] / "server") as server:
                figures = measure(server, drive, folder / tool.split()[0] / "home", known.seconds)
            outcome.rows.append({"tool": tool, **figures})
            say(f"cap: {outcome.rows[-1]}")
    ours = {key: float(str(value)) for key, value in outcome.rows[0].items() if key != "tool"}
    mean, second, cpu = ours["mean_of_cap"], ours["worst_second_of_cap"], ours["cpu_s_a_minute"]
    outcome.goals = [
        Goal("of the cap, used", mean, f"{LEAST_MEAN} to {MOST_MEAN:.2f}", LEAST_MEAN <= mean <= MOST_MEAN + 0.002),
        Goal("of the cap, in the fullest second", second, f"<= {MOST_SECOND}", second <= MOST_SECOND),
        Goal("processor seconds a minute", cpu, f"<= {MOST_CPU}", cpu <= MOST_CPU),
    ]
    return outcome


if __name__ == "__main__":
    sys.exit("run it by contrib/bench cap")
