"""What every benchmark answers: rows of figures, and goals."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass, field


class CannotRun(Exception):  # it says what it is
    """Something that the benchmark needs is not there; the message says what would help."""


@dataclass(frozen=True)
class Goal:
    """What is wanted, and what came of it."""

    name: str
    value: float | int | str
    want: str
    ok: bool

    def as_dict(self) -> dict[str, object]:
        return {"name": self.name, "value": self.value, "want": self.want, "ok": self.ok}


@dataclass
class Outcome:
    """A row per tool (figures with their unit in the key), and the goals."""

    rows: list[dict[str, object]] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)

    def as_dict(self, bench: str) -> dict[str, object]:
        return {"bench": bench, "rows": self.rows, "goals": [goal.as_dict() for goal in self.goals]}


def need(**packages: str) -> None:
    """Programs and the Debian packages that bring them: need(rclone="rclone").

    Raises:
        CannotRun: one is missing; the message has the command that brings it.
    """
    missing = [package for program, package in packages.items() if shutil.which(program) is None]
    if missing:
        raise CannotRun(f"please run: sudo apt-get install -y {' '.join(missing)}")


def say(text: str) -> None:
    """Progress, for people."""
    print(text, file=sys.stderr, flush=True)
