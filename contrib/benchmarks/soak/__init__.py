"""Everything is killed, lied to, filled up and swapped, by a seed, and what must hold is looked at each time.

Kinds of cases: lives (kills), wire (lies and cuts), disks (full, broken, and drives that change under the reader's
hands), growth (a simulated month), fuzz (each parser). Two are played at once, in turns that keep to the kinds' shares
of the time. A case is its kind's, its seed's and its number's alone, and can be played again alone; but for what the
machine does at the same time, it then goes the same way. docs/RELIABILITY.md tells of one long run.
"""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from outcome import CannotRun, Goal, Outcome, need, say

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests/daemon")]

from soak.campaign import Tally, Turn  # noqa: E402  # what it imports is found by the line above
from soak.place import Place  # noqa: E402

KINDS = ("lives", "wire", "disks", "growth", "fuzz")
MINUTES = 10
AT_ONCE = 2


def run(arguments: list[str]) -> Outcome:
    """Plays until the time is up, or each kind has had as many cases as were wanted."""
    chosen = options(arguments)
    need(
        strace="strace",
        gpg="gnupg",
        busctl="systemd",
        setpriv="util-linux",
        openssl="openssl",
        **{"dbus-daemon": "dbus"},
    )
    os.environ["CI"] = "true"  # a real part that is missing is a failure, and skips nothing
    say(f"soak: seed {chosen.seed}")
    campaign = Campaign(chosen.only or list(KINDS), chosen.seed, chosen.seconds, lives=chosen.lives, case=chosen.case)
    campaign.at_once, campaign.objects = chosen.at_once, chosen.objects
    begun = time.monotonic()
    tally = campaign.play(Path(chosen.keep) if chosen.keep else None)
    outcome = told(tally, chosen.seed)
    if chosen.write:
        from soak.page import write

        write(Path(chosen.write), tally, chosen.seed, time.monotonic() - begun, _told_arguments(chosen))
    return outcome


def options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="contrib/bench soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60 * MINUTES, help="begin no case after so many; 600")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000, help="of all that is left to chance")
    parser.add_argument("--only", metavar="KIND", action="append", choices=KINDS, help="this kind; may be repeated")
    parser.add_argument("--lives", type=int, default=0, help="go on until so many lives are over, whatever the time")
    parser.add_argument("--case", type=int, help="play the case of this number alone (with --only)")
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help=f"cases that are played side by side; {AT_ONCE}")
    parser.add_argument("--objects", type=int, default=0, help="of the simulated month; 100000 where there is time")
    parser.add_argument("--keep", metavar="FOLDER", help="leave everything that was made there")
    parser.add_argument("--write", metavar="PAGE", help="put the counts between the marks of that page")
    return parser.parse_args(arguments)


def _told_arguments(chosen: argparse.Namespace) -> str:
    """What else was asked for, as it is typed."""
    only = "".join(f" --only {kind}" for kind in chosen.only or [])
    return f" --seconds {chosen.seconds:.0f}{f' --lives {chosen.lives}' if chosen.lives else ''}{only}"


class Campaign:
    """Cases of several kinds, played by a few threads."""

    def __init__(self, kinds: list[str], seed: int, seconds: float, *, lives: int = 0, case: int | None = None) -> None:
        self._kinds: dict[str, Any] = {kind: _module(kind) for kind in kinds}
        self._seed = seed
        self._seconds = seconds
        self._lives = lives
        self._case = case
        self._lock = threading.Lock()
        self._spent: defaultdict[str, float] = defaultdict(float)
        self._running: list[tuple[str, float]] = []
        self._begun: defaultdict[str, int] = defaultdict(int)
        self.at_once = AT_ONCE
        self.objects = 0
        self.tally = Tally()

    def play(self, keep: Path | None = None) -> Tally:
        """Plays them all; what was violated is in the tally."""
        self._end = time.monotonic() + self._seconds
        folder = keep or Path(tempfile.mkdtemp(prefix="slowboat-soak-"))
        try:
            crew = [threading.Thread(target=self._work, args=(folder / str(n),)) for n in range(self.at_once)]
            for thread in crew:
                thread.start()
            for thread in crew:
                thread.join()
        finally:
            if not keep:
                shutil.rmtree(folder, ignore_errors=True)
        return self.tally

    def _work(self, folder: Path) -> None:
        with ExitStack() as stack:
            place = Place(folder, stack)
            while turn := self._next():
                begun = time.monotonic()
                self._play(place, turn)
                seconds = time.monotonic() - begun
                say(f"soak: {turn.kind} {turn.number}: {', '.join(turn.faults)} ({seconds:.0f} s)")
                with self._lock:
                    self._spent[turn.kind] += seconds
                    self._running.remove(min(each for each in self._running if each[0] == turn.kind))

    def _over(self, kind: str) -> bool:
        if kind == "lives" and self._lives:
            return int(self._kinds[kind].ended(self.tally)) >= self._lives
        return time.monotonic() > self._end

    def _next(self) -> Turn | None:
        """The kind that has had least of its share."""
        with self._lock:
            kinds = [kind for kind in self._kinds if not self._over(kind)]
            if self._case is not None:
                kinds = [kind for kind in kinds if not self._begun[kind]]
            if not kinds:
                return None
            kind = min(kinds, key=self._owed)
            number = self._begun[kind] if self._case is None else self._case
            self._begun[kind] += 1
            self._running.append((kind, time.monotonic()))
        return Turn(kind, number, self._seed, self.tally, lambda: self._over(kind), self._seconds, self.objects)

    def _owed(self, kind: str) -> float:
        """What it has had beside its share; a case under way counts from its start, and a second more."""
        under_way = sum(time.monotonic() - begun + 1.0 for running, begun in self._running if running == kind)
        return float((self._spent[kind] + under_way) / self._kinds[kind].SHARE)

    def _play(self, place: Place, turn: Turn) -> None:
        try:
            self._kinds[turn.kind].case(place, turn)
        except BaseException as error:  # whatever stops a case is told with its seed, and is a violation
            text = traceback.format_exc() if not isinstance(error, AssertionError) else _with_place(error)
            turn.played("a case that came to no end", [text])


def _module(kind: str) -> ModuleType:
    return importlib.import_module(f"soak.{kind}")


def _with_place(error: AssertionError) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(last.filename).name}:{last.lineno}: {error}"


def told(tally: Tally, seed: int) -> Outcome:
    """Counts by fault, then figures; the goal is that nothing was violated."""
    rows: list[dict[str, object]] = [
        {
            "tool": f"{kind}: {fault}",
            "times": count.times,
            "violations": len(count.violated),
            "cases": " ".join(count.violated),
        }
        for (kind, fault), count in sorted(tally.counts.items())
    ]
    rows += [
        {"tool": f"{kind}: {figure}", "least": round(min(values), 3), "most": round(max(values), 3)}
        for (kind, figure), values in sorted(tally.figures.items())
    ]
    if not tally.counts:
        raise CannotRun("nothing was played: give it more --seconds")
    goals = [Goal(f"violations (seed {seed})", len(tally.violations), "0", not tally.violations)]
    for kind in sorted({kind for kind, _ in tally.counts}):
        times = tally.times(kind)
        goals.append(Goal(f"faults played, {kind}", times, "> 0", times > 0))
    return Outcome(rows, goals)
