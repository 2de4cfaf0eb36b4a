"""Fuzz: the suite's property tests with thousands of examples and other seeds: parsers, servers' answers, segments."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from realparts.presence import with_us

if TYPE_CHECKING:
    from soak.campaign import Turn
    from soak.place import Place

SHARE = 0.04
"""Of the campaign's time."""

ROOT = Path(__file__).parents[3]
FILES = {
    "parsers": (["tests/fuzz"], 200),
    "servers' answers": (["tests/edges/test_swift_answers.py"], 100),
    "segments' lives": (["tests/engine/test_segments_property.py"], 100),
}
"""What is tried, and with how many examples each in one case."""
_PASSING = re.compile(r"- (\d+) passing")


def case(place: Place, turn: Turn) -> None:
    """One of them, by a seed of its own."""
    what = [*FILES][turn.number % len(FILES)]
    files, examples = FILES[what]
    turn.played(f"examples, {what}", *tried(turn, files, examples))


def tried(turn: Turn, files: list[str], examples: int) -> tuple[list[str], int]:
    """What failed, and how many examples there were."""
    seed = turn.chance.randrange(1 << 31)
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", *files]
    command += [f"--hypothesis-seed={seed}", "--hypothesis-show-statistics"]
    ours = {name: value for name, value in os.environ.items() if name != "CI"}  # with CI it would be the same each time
    done = subprocess.run(
        with_us(*command),
        cwd=ROOT,
        env={**ours, "SLOWBOAT_TEST_EXAMPLES": str(examples)},
        capture_output=True,
        text=True,
        check=False,
    )
    count = sum(int(found) for found in _PASSING.findall(done.stdout))
    return ([f"--hypothesis-seed={seed}: {done.stdout[-4000:]}"] if done.returncode else []), max(1, count)
