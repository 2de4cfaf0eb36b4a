"""Growth: a simulated month, after which memory, descriptors and threads must be what they were after a third of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from realparts.presence import with_us

if TYPE_CHECKING:
    from soak.campaign import Turn
    from soak.place import Place

SHARE = 0.06
"""Of the campaign's time."""

ROOT = Path(__file__).parents[3]
DAYS = 30
MANY, FEW = 100_000, 3_000
"""Objects: of a campaign that has the time (a few minutes), and of a short one."""
LONG = 500.0
"""Seconds of a campaign that has the time."""

MOST_MIB = 4.0
"""By which the second half may be larger than the first, besides what the models have stored; and in a hundred."""


def case(place: Place, turn: Turn) -> None:
    """One month."""
    objects = turn.objects or (MANY if turn.seconds >= LONG else FEW)
    turn.played(f"a month over {objects} objects", month(turn, objects, DAYS))


def month(turn: Turn, objects: int, days: int) -> list[str]:
    """Plays it in a process of its own; what has grown."""
    command = [sys.executable, "-W", "ignore", "-m", "soak.month"]
    command += [f"--seed={turn.seed}{turn.number}", f"--objects={objects}", f"--days={days}"]
    paths = os.pathsep.join(str(ROOT / each) for each in ("tests", "src", "contrib/benchmarks"))
    done = subprocess.run(
        with_us(*command), capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": paths}
    )
    if done.returncode:
        return [f"the month ended with {done.returncode}: {done.stderr[-3000:]}"]
    *samples, end = [json.loads(line) for line in done.stdout.splitlines()]
    wrong = [f"{end['missing']} objects are missing at the end"] if end["missing"] else []
    for figure in ("mib", "descriptors", "threads", "tasks"):
        values = [sample[figure] for sample in samples]
        turn.measured(f"{figure} in a month over {objects} objects", min(values))
        turn.measured(f"{figure} in a month over {objects} objects", max(values))
        if grown := _grown(figure, values):
            wrong.append(grown)
    return wrong


def _grown(figure: str, values: list[float]) -> str:
    """How the last days differ from those after the first week; "" where they are alike."""
    third = len(values) // 3
    before, after = max(values[third : 2 * third]), max(values[2 * third :])
    room = MOST_MIB + before / 50 if figure == "mib" else 3 if figure == "tasks" else 0
    return f"{figure} grew from {before} to {after}: {values}" if after > before + room else ""
