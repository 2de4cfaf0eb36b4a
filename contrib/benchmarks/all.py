"""Every benchmark of speed and cost, one after another; docs/BENCHMARKS.md is written from what they say.

What each said is kept in docs/benchmarks/NAME.json, so that one of them can be repeated alone (--only NAME) and the
page be written anew without measuring (--write). Takes an hour or two, and the machine for itself.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from outcome import Goal, Outcome, say

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
KEPT = ROOT / "docs/benchmarks"
PAGE = ROOT / "docs/BENCHMARKS.md"
NAMES = ("many", "scale", "restart", "cost", "line", "handover", "cap", "spare", "idle", "flap")
"""In the order of the page; those that look for faults and not for seconds (soak, servers, versions) have their own."""
HEAD = """# Benchmarks

Written by `contrib/bench all` from docs/benchmarks/*.json; do not edit it by hand. Each benchmark runs slowboat beside
what a user would take instead, in one run on one machine; each says what it wants, and whether that holds. Figures of
different runs are from different moments of a machine and are not to be compared.

To repeat all of it:

    contrib/bench all

To repeat one and write the page anew:

    contrib/bench all --only many
"""


def kept(folder: Path = KEPT) -> dict[str, Mapping[str, Any]]:
    """What the benchmarks have said last, by name, in the order of the page."""
    files = {file.stem: file for file in folder.glob("*.json")}
    return {name: json.loads(files[name].read_text()) for name in NAMES if name in files}


def measured(name: str) -> Mapping[str, Any]:
    """What one of them says now, with when and where."""
    command = (sys.executable, "-W", "ignore", str(HERE / "run.py"), name, "--json")
    begun, began = time.strftime("%Y-%m-%d %H:%M"), time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    where = {"begun": begun, "seconds": round(time.monotonic() - began), "machine": machine()}
    if done.returncode not in (0, 1):
        last = done.stderr.strip().splitlines()[-1:] or ["it ended without a word"]
        return {"bench": name, "could_not_run": last[0], **where}
    found: dict[str, Any] = json.loads(done.stdout)
    return {**found, **where}


def machine() -> str:
    """What it ran on, in a line."""
    models = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    model = models[0] if models else platform.machine()
    load = os.getloadavg()[0]
    return f"{model}, {os.cpu_count()} cores, Linux {platform.release()}, load {load:.1f}"


def _lines(path: str) -> Iterable[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else ()


def page(results: Mapping[str, Mapping[str, Any]], titles: Mapping[str, str]) -> str:
    """docs/BENCHMARKS.md."""
    parts = [HEAD]
    for name, result in results.items():
        parts.append(f"## {name}\n\n{titles[name]}\n\n    contrib/bench {name}\n")
        parts.append(f"{result['begun']}, {result['seconds']} s, on {result['machine']}.\n")
        if "could_not_run" in result:
            parts.append(f"It could not run: {result['could_not_run']}\n")
            continue
        parts += [_table(result["rows"]), _goals(result["goals"])]
    return "\n".join(parts)


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [columns, ["---"] * len(columns), *([str(row.get(key, "")) for key in columns] for row in rows)]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines)


def _goals(goals: Sequence[Mapping[str, Any]]) -> str:
    rows = [{"goal": goal["name"], "value": goal["value"], "wanted": goal["want"]} for goal in goals]
    held = ["holds" if goal["ok"] else "**falls short**" for goal in goals]
    return _table([row | {"": how} for row, how in zip(rows, held, strict=True)])


def titles(names: Iterable[str]) -> dict[str, str]:
    """The first line of each benchmark's docstring."""
    return {name: (importlib.import_module(name).__doc__ or "").splitlines()[0] for name in names}


def run(arguments: list[str]) -> Outcome:
    parser = argparse.ArgumentParser(prog="contrib/bench all", description=__doc__)
    parser.add_argument("--only", nargs="*", metavar="NAME", help="these alone")
    parser.add_argument("--write", action="store_true", help="write the page from what was measured before")
    known = parser.parse_args(arguments)
    there = {name for name in NAMES if (HERE / f"{name}.py").exists() or (HERE / name / "__init__.py").exists()}
    KEPT.mkdir(exist_ok=True)
    for name in () if known.write else [name for name in known.only or NAMES if name in there]:
        say(f"all: {name}")
        (KEPT / f"{name}.json").write_text(json.dumps(measured(name), indent=1) + "\n")
    results = kept()
    PAGE.write_text(page(results, titles(results)))
    return Outcome(
        [{"bench": name, **_sum(result)} for name, result in results.items()],
        [
            Goal(f"{name}: {goal['name']}", goal["value"], goal["want"], goal["ok"])
            for name, result in results.items()
            for goal in result.get("goals", ())
        ],
    )


def _sum(result: Mapping[str, Any]) -> dict[str, object]:
    goals = result.get("goals", ())
    return {
        "begun": result["begun"],
        "seconds": result["seconds"],
        "goals": len(goals),
        "hold": sum(g["ok"] for g in goals),
    }


if __name__ == "__main__":
    sys.exit("run it by contrib/bench all")
