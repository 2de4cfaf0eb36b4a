"""The real Deja Dup of Debian 13 and of Debian testing: from its first backup on a drive to a restore from the cloud.

In bare systems of its own (made by debootstrap once, kept under .cache), by its windows, which are pressed through
GTK's accessibility; slowboat from its wheel, a real Swift. Root on Debian is needed. docs/dejadup.md has the table.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from outcome import CannotRun, Goal, Outcome, need, say

ROOT = Path(__file__).parents[3]
PICTURES = ROOT / ".cache/dejadup/pictures"
sys.path[:0] = [str(ROOT / "tests")]

from dejadup.desk import Bench  # noqa: E402  # what it imports is found by the line above
from dejadup.more import STORIES  # noqa: E402
from dejadup.page import Kept, write  # noqa: E402
from dejadup.stories import FAILED  # noqa: E402
from dejadup.systems import made, systems, wheel  # noqa: E402
from realparts.swift_server import running_swift  # noqa: E402


def run(arguments: list[str]) -> Outcome:
    """Plays every story with each Deja Dup; a row each."""
    chosen = options(arguments)
    need(debootstrap="debootstrap", nsenter="util-linux", unshare="util-linux")
    if os.geteuid() != 0:
        raise CannotRun("it makes systems and enters them: please run it as root")
    known = {suite: made(system) for suite, system in systems(ROOT / ".cache/dejadup").items()}
    outcome, kept = Outcome(), Kept(ROOT / ".cache/dejadup/outcomes.json")
    with ExitStack() as stack:
        folder = _folder(chosen.keep, stack)
        swift = stack.enter_context(running_swift(folder / "swift"))
        bench = Bench(folder, swift, wheel(folder), known, PICTURES)
        for name, story in STORIES.items():
            for suite, system in known.items():
                if suite in story.suites and wanted(chosen.only, name, suite, system.version("deja-dup")):
                    begun = time.monotonic()
                    with ExitStack() as desks:
                        cells = story(bench, system, desks).play(lambda text: say(f"dejadup: {text}"))
                    if not any(cell.startswith(FAILED) for cell in cells.values()):
                        kept.add(
                            name, system.version("deja-dup"), cells, bench.facts.get(system.version("deja-dup"), {})
                        )
                    row = {"tool": f"Deja Dup {system.version('deja-dup')}, {name}", **cells}
                    outcome.rows.append(row | {"seconds": round(time.monotonic() - begun)})
    outcome.goals += judged(outcome.rows)
    if chosen.write_docs:
        titles = {name: " ".join((story.__doc__ or "").split()) for name, story in STORIES.items()}
        write(ROOT / "docs/dejadup.md", kept, titles)
        (ROOT / "docs/pictures").mkdir(exist_ok=True)
        for picture in PICTURES.glob("dejadup-*.png"):
            shutil.copy(picture, ROOT / "docs/pictures")
    return outcome


def options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="contrib/bench dejadup", description=__doc__)
    parser.add_argument(
        "--only", metavar="WHAT", action="append", help="a story, a suite or a version; may be repeated"
    )
    parser.add_argument("--keep", metavar="FOLDER", help="leave machines and logs there")
    parser.add_argument(
        "--write-docs",
        action="store_true",
        help="write the newest run of each story in which nothing failed into docs/dejadup.md",
    )
    return parser.parse_args(arguments)


def wanted(only: list[str] | None, name: str, suite: str, version: str) -> bool:
    """Whether a story is to be played with a version: all words of one kind that were given allow one of them."""
    stories = {word for word in only or () if word in STORIES}
    others = set(only or ()) - stories
    return (not stories or name in stories) and (not others or bool(others & {suite, version}))


def _folder(keep: str | None, stack: ExitStack) -> Path:
    if keep is None:
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slowboat-dejadup-")))
    shutil.rmtree(keep, ignore_errors=True)
    Path(keep).mkdir(parents=True)
    return Path(keep).resolve()


def judged(rows: list[dict[str, object]]) -> list[Goal]:
    red = [f"{row['tool']}: {column}" for row in rows for column, cell in row.items() if str(cell).startswith(FAILED)]
    return [Goal("steps that failed", "; ".join(red) or 0, "0", not red)]
