"""Writes what a campaign counted between the marks of a page."""

from __future__ import annotations

import datetime as dt
import platform
from typing import TYPE_CHECKING

from marked import rewrite

if TYPE_CHECKING:
    from pathlib import Path

    from soak.campaign import Tally

BEGIN = "<!-- counts: written by contrib/bench soak --write -->"
END = "<!-- end of counts -->"


def write(page: Path, tally: Tally, seed: int, seconds: float, arguments: str) -> None:
    """Replaces what stands between the marks.

    Raises:
        ValueError: the page lacks them.
    """
    rewrite(page, BEGIN, END, counts(tally, seed, seconds, arguments))


def counts(tally: Tally, seed: int, seconds: float, arguments: str) -> str:
    """What was played and what was violated, and the figures, as two tables."""
    day = dt.datetime.now(dt.UTC).date()
    total = sum(count.times for count in tally.counts.values())
    machine = f"{platform.machine()} with Python {platform.python_version()}"
    lines = [
        f"`contrib/bench soak --seed {seed}{arguments}` on {day}, {seconds / 60:.0f} minutes on {machine}:",
        f"{total} faults, {len(tally.violations)} violations.",
        "",
        "| kind | fault | times | violations |",
        "|---|---|---|---|",
    ]
    for (kind, fault), count in sorted(tally.counts.items()):
        cases = f" (cases {', '.join(count.violated)})" if count.violated else ""
        lines.append(f"| {kind} | {fault} | {count.times} | {len(count.violated)}{cases} |")
    lines += ["", "| kind | figure | least | most |", "|---|---|---|---|"]
    for (kind, figure), values in sorted(tally.figures.items()):
        lines.append(f"| {kind} | {figure} | {min(values):.4g} | {max(values):.4g} |")
    return "\n".join(lines) + "\n"
