"""What a campaign counts: cases by kind and fault, violations with what repeats them, and figures. Thread-safe.

Knows seeds and sums; must not know what a case does.
"""

from __future__ import annotations

import random
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from outcome import say

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


Play = TypeVar("Play")


@dataclass(frozen=True)
class Violation:
    """Something that must never be so, and was.

    Attributes:
        again: the arguments that play the same case again.
    """

    kind: str
    fault: str
    again: str
    what: str


@dataclass
class Count:
    """How often a fault was played, and the seeds of the cases in which something was violated."""

    times: int = 0
    violated: list[str] = field(default_factory=list)


class Tally:
    """All that a campaign has seen so far."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.counts: defaultdict[tuple[str, str], Count] = defaultdict(Count)
        self.figures: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
        self.violations: list[Violation] = []

    def times(self, kind: str, *but: str) -> int:
        """How many faults of that kind were played; not counting these."""
        with self._lock:
            return sum(count.times for (of, fault), count in self.counts.items() if of == kind and fault not in but)

    def played(self, turn: Turn, fault: str, violated: list[str], times: int = 1) -> None:
        """A fault was played, and this is what it violated: nothing, or one text each."""
        with self._lock:
            count = self.counts[turn.kind, fault]
            count.times += times
            if violated:
                count.violated.append(str(turn.number))
            self.violations += [Violation(turn.kind, fault, turn.again, text) for text in violated]
        for text in violated:
            say(f"soak: VIOLATION by {turn.kind}, {fault} ({turn.again}): {text}")

    def measured(self, kind: str, figure: str, value: float) -> None:
        """One sample of a figure, whose name has its unit."""
        with self._lock:
            self.figures[kind, figure].append(value)


@dataclass
class Turn:
    """One case's turn: its own chance, so that it can be played again alone, and where it tells what it saw.

    Attributes:
        seconds: how long the campaign is.
        objects: of the month that is simulated; 0: as many as there is time for.
        over: whether the campaign's time is up; a case then comes to its end early.
    """

    kind: str
    number: int
    seed: int
    tally: Tally
    over: Callable[[], bool]
    seconds: float = 600.0
    objects: int = 0

    def __post_init__(self) -> None:
        self.faults: list[str] = []  # that it has played, for whoever looks on
        self.chance = random.Random(f"{self.seed}/{self.kind}/{self.number}")

    def one_of(self, plays: Mapping[Play, int]) -> Play:
        """Each in turn in a kind's first cases, so that no campaign lacks one; then by chance, as often as said."""
        every = [*plays]
        chosen = self.chance.choices(every, [*plays.values()])[0]
        return every[self.number] if self.number < len(every) else chosen

    @property
    def again(self) -> str:
        return f"--seed {self.seed} --only {self.kind} --case {self.number}"

    def played(self, fault: str, violated: list[str], times: int = 1) -> None:
        self.faults.append(fault)
        self.tally.played(self, fault, violated, times)

    def measured(self, figure: str, value: float) -> None:
        self.tally.measured(self.kind, figure, value)
