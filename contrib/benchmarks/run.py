"""Runs one benchmark by name, prints its table (or, with --json, one object), and answers whether its goals hold.

A benchmark is a module or a package beside this one with a docstring whose first line says what it shows, and a
function `run(arguments) -> Outcome`. Progress goes to standard error.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path

from outcome import CannotRun, Outcome

HERE = Path(__file__).parent
NOT_BENCHMARKS = {"run", "outcome"}


def names() -> list[str]:
    """All benchmarks there are."""
    files = {file.stem: file for file in HERE.glob("*.py")} | {
        file.parent.name: file for file in HERE.glob("*/__init__.py")
    }
    return sorted(
        name for name, file in files.items() if name not in NOT_BENCHMARKS and "\ndef run(" in file.read_text()
    )


def show_list() -> None:
    for name in names():
        summary = (importlib.import_module(name).__doc__ or "").splitlines()[0]
        print(f"{name:<12} {summary}")


def show(outcome: Outcome) -> None:
    """A table for people: a column per figure, a row per tool; then the goals."""
    columns = list(dict.fromkeys(key for row in outcome.rows for key in row))
    cells = [[str(row.get(column, "")) for column in columns] for row in outcome.rows]
    widths = [max(len(column), *(len(row[i]) for row in cells)) for i, column in enumerate(columns)]
    for line in (columns, *cells):
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
    for goal in outcome.goals:
        print(f"{'holds' if goal.ok else 'FALLS SHORT'}: {goal.name}: {goal.value} (want {goal.want})")


def main() -> int:
    parser = argparse.ArgumentParser(prog="contrib/bench", description="Benchmarks, side by side in one run.")
    parser.add_argument("name", nargs="?", help="which one; see --list")
    parser.add_argument("--list", action="store_true", help="name all benchmarks")
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output")
    known, rest = parser.parse_known_args()
    if known.list or not known.name:
        show_list()
        return 0 if known.list else 2
    if known.name not in names():
        print(f"contrib/bench: there is no benchmark called {known.name}; see contrib/bench --list", file=sys.stderr)
        return 2
    try:
        outcome = importlib.import_module(known.name).run(rest)
    except CannotRun as error:
        print(f"contrib/bench {known.name}: {error}", file=sys.stderr)
        return 2
    if known.json:
        print(json.dumps(outcome.as_dict(known.name)))
    else:
        show(outcome)
    return 0 if all(goal.ok for goal in outcome.goals) else 1


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    sys.exit(main())
