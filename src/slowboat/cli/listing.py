"""What would be sent, in what order and how long it takes (`plan`); what has happened (`history`).

Pure: rows as the daemon hands them out in, renderables out. A chain has thousands of volumes, so neighbours of
one kind become one line.

Knows rows and how to put them in words; must not know the bus.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from slowboat.cli import phrases
from slowboat.core.words import HandoverState, Phase, Role, SetType

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import Console, ConsoleOptions, RenderableType

PlanRow = Mapping[str, str | int | bool]
"""One object: name, role, set (str: full or inc, and when it ends, seconds since the epoch), bytes (int), phase
(str), canary (bool); error (str), why it was set aside, where the daemon tells. Or neighbours of one kind, backup set
and phase, which have `files` (int), how many they are."""

HistoryLine = tuple[float, str, str, str]
"""When (seconds since the epoch), migration, kind, text."""

MOST_LINES = 20
"""With more groups than this, the backup sets of one kind share a line."""

ROOMY = 72
"""Columns that a table of the plan needs lest a word in it break; with fewer, each of its rows is a few lines."""


class _ByWidth:
    """Shown as one thing where there is room for it, and as another where there is not."""

    def __init__(self, roomy: RenderableType, narrow: RenderableType) -> None:
        self._roomy = roomy
        self._narrow = narrow

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        yield self._roomy if options.max_width >= ROOMY else self._narrow


@dataclass(frozen=True, slots=True)
class Step:
    """Neighbours in the order that are one line of the plan.

    Attributes:
        what: what they are, in words.
        before_handover: whether the handover waits for them.
        files: how many objects.
        done: how many of them are in the cloud.
        refused: how many were set aside.
        size: bytes of all of them.
        left: bytes of those that are still to go.
    """

    what: str
    before_handover: bool
    files: int
    done: int
    refused: int
    size: int
    left: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """How fast the plan is reckoned remaining: bytes per second (0: not known), and where that figure is from."""

    rate: int
    basis: str

    def time_for(self, size: int) -> str:
        """How long that many bytes take; "" where that is not known."""
        return phrases.duration(size / self.rate) if self.rate > 0 else ""


def estimate(rate: int, limit: int) -> Estimate:
    """The pace of now while it sends, else the limit."""
    if rate > 0:
        return Estimate(rate, f"at the current {phrases.rate(rate)}")
    if limit > 0:
        return Estimate(limit, f"at the limit of {phrases.rate(limit)}, without interruption")
    return Estimate(0, "")


def steps(rows: Sequence[PlanRow]) -> list[Step]:
    """The rows in their order, neighbours of one kind and backup set together, at most about MOST_LINES lines."""
    handover = _handover_index(rows)
    numbered = list(enumerate(rows))
    made: list[Step] = []
    for by_set in (True, False):
        groups = groupby(numbered, key=lambda pair: (pair[0] < handover, *_kind(pair[1], by_set=by_set)))
        made = [_step([row for _, row in members], before=bool(key[0])) for key, members in groups]
        if len(made) <= MOST_LINES:
            break
    return made


def plan(
    name: str, rows: Sequence[PlanRow], estimated: Estimate, handover: HandoverState = HandoverState.PENDING
) -> RenderableType:
    """One migration's plan, grouped; with a rate, when each step would be through."""
    if not rows:
        return Text(f"{phrases.plain(name)}: the chain on the drive has not been read yet.")
    made = steps(rows)
    lines = list(_plan_lines(made, estimated, handover))
    left = sum(step.left for step in made)
    listed = _ByWidth(_plan_table(lines), _plan_column(lines))
    return Group(_plan_title(name, made), listed, Text(_plan_end(left, estimated)))


@dataclass(frozen=True, slots=True)
class _Line:
    """One line of the plan; of the handover where `step` is None.

    Attributes:
        what: what the line is about.
        through: how long it takes until that is there, "" where that is not known.
    """

    number: int
    what: str
    step: Step | None = None
    through: str = ""


def _plan_lines(made: Sequence[Step], estimated: Estimate, handover: HandoverState) -> Iterator[_Line]:
    waited = 0
    for number, step in enumerate(made, start=1):
        waited += step.left
        yield _Line(number, step.what, step, estimated.time_for(waited) if step.left else "")
        last_before = step.before_handover and (number == len(made) or not made[number].before_handover)
        if last_before and handover is not HandoverState.NEVER:
            yield _Line(number, f"The handover {'is done' if handover is HandoverState.DONE else 'comes here'}")


def _plan_table(lines: Iterable[_Line]) -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("", justify="right", style="dim", no_wrap=True)
    table.add_column("What", overflow="fold", min_width=16)
    table.add_column("Files", justify="right", no_wrap=True)
    table.add_column("Size", justify="right", no_wrap=True)
    table.add_column("In the cloud")
    table.add_column("Done in")
    for line in lines:
        if line.step is None:
            table.add_row("", Text(line.what, style="green"))
            continue
        cells = [str(line.number), line.what, f"{line.step.files:,}", phrases.size(line.step.size)]
        table.add_row(*(Text(cell) for cell in cells), _state(line.step), Text(line.through))
    return table


def _plan_column(lines: Iterable[_Line]) -> RenderableType:
    """The same in a narrow place: under each step how much it is and how far, in words, as there are no headings."""
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(justify="right", style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for line in lines:
        if line.step is None:
            table.add_row("", Text(line.what, style="green"))
            continue
        amount = f"{phrases.count(line.step.files, 'file', 'files')}, {phrases.size(line.step.size)}; "
        there = Text.assemble((amount, "dim"), _state(line.step), " in the cloud")
        through = [Text(f"Done in {line.through}")] if line.through else []
        table.add_row(str(line.number), Group(Text(line.what), there, *through))
    return table


def every_file(name: str, rows: Sequence[PlanRow]) -> RenderableType:
    """One migration's plan, file by file."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("File", "What"):
        table.add_column(heading, overflow="fold")
    table.add_column("Size", justify="right", no_wrap=True)
    table.add_column("State", overflow="fold")
    column: list[RenderableType] = []
    for row in rows:
        state = phrases.plain(_text(row, "error")) or _PHASES.get(_text(row, "phase"), "not known")
        cells = [phrases.plain(_text(row, "name")), _one_kind(row), phrases.size(_number(row, "bytes")), state]
        table.add_row(*(Text(cell) for cell in cells))
        column += [Text(cells[0]), Padding(Text("; ".join(cells[1:]), style="dim"), (0, 0, 0, 2))]
    return Group(Text(phrases.plain(name), style="bold"), _ByWidth(table, Group(*column)))


def history(lines: Sequence[HistoryLine]) -> RenderableType:
    """What happened, oldest first; the migration's name only where there are several."""
    if not lines:
        return Text("Nothing has happened yet.")
    several = len({line[1] for line in lines if line[1]}) > 1
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    if several:
        table.add_column(style="bold")
    table.add_column(overflow="fold")
    for when, migration, _, text in lines:
        cells = [phrases.stamp(when), *([phrases.plain(migration)] if several else []), phrases.plain(text)]
        table.add_row(*(Text(cell) for cell in cells))
    return table


_PHASES = {
    Phase.QUEUED.value: "to be sent",
    Phase.SENDING.value: "being sent",
    Phase.UNCHECKED.value: "to be checked",
    Phase.DONE.value: "in the cloud",
    Phase.REFUSED.value: "set aside",
}
_ROLES = {
    Role.SIGNATURES.value: ("Signatures", "signatures"),
    Role.MANIFEST.value: ("Manifest", "manifests"),
    Role.VOLUME.value: ("Volumes", "volumes"),
}


def _handover_index(rows: Sequence[PlanRow]) -> int:
    """How many rows the handover waits for: the metadata at the front and the canary volumes after it."""
    for index, row in enumerate(rows):
        if _text(row, "role") == Role.VOLUME.value and not row.get("canary"):
            return index
    return len(rows)


def _kind(row: PlanRow, *, by_set: bool) -> tuple[str, bool, str]:
    return _text(row, "role"), bool(row.get("canary")), _text(row, "set") if by_set else ""


def _step(members: Sequence[PlanRow], *, before: bool) -> Step:
    files: Counter[str] = Counter()
    size: Counter[str] = Counter()
    for row in members:
        phase = _text(row, "phase")
        files[phase] += _number(row, "files", 1)
        size[phase] += _number(row, "bytes")
    done, refused = files[Phase.DONE.value], files[Phase.REFUSED.value]
    left = size.total() - size[Phase.DONE.value] - size[Phase.REFUSED.value]
    return Step(_what(members), before, files.total(), done, refused, size.total(), left)


def _what(members: Sequence[PlanRow]) -> str:
    first = members[0]
    sets = {_text(row, "set") for row in members}
    if len(sets) > 1:
        role = _text(first, "role")
        plural = _ROLES.get(role, ("", role))[1]
        return f"{plural.capitalize()} of {len(sets):,} backup sets{_canary(first)}"
    return _one_kind(first)


def _one_kind(row: PlanRow) -> str:
    role = _text(row, "role")
    of = set_called(_text(row, "set"))
    word = _ROLES.get(role, (phrases.plain(role), ""))[0]
    return f"{word}, {of}{_canary(row)}" if of else f"{word}{_canary(row)}"


def set_called(named: str) -> str:
    """A backup set as a person dates it: `full of 2026-11-01 13:00` for `full 1793534400`."""
    short, _, when = named.partition(" ")
    kind = "incremental" if short == SetType.INC.value else short
    known = phrases.stamp(int(when)) if re.fullmatch(r"[0-9]{1,12}", when) else ""
    return f"{phrases.plain(kind)} of {known}" if known else phrases.plain(named)


def _canary(row: PlanRow) -> str:
    return " (Deja Dup's check)" if row.get("canary") else ""


def _state(step: Step) -> Text:
    there = "all" if step.done == step.files else f"{step.done:,}" if step.done else "none"
    text = Text(there, style="green" if step.done == step.files else "")
    if step.refused:
        text.append(f", {step.refused:,} set aside", style="red")
    return text


def _plan_title(name: str, made: Iterable[Step]) -> Text:
    listed = list(made)
    files, size = sum(step.files for step in listed), sum(step.size for step in listed)
    title = Text(phrases.plain(name), style="bold")
    title.append(f": {phrases.count(files, 'file', 'files')}, {phrases.size(size)}, in this order", style="not bold")
    return title


def _plan_end(left: int, estimated: Estimate) -> str:
    if left == 0:
        return "Nothing is left to send."
    if estimated.rate <= 0:
        return f"{phrases.size(left)} remaining. How long that will take is unknown until it is sending."
    return f"{phrases.size(left)} remaining: {phrases.about(left / estimated.rate)} {estimated.basis}."


def _text(row: PlanRow, key: str) -> str:
    return str(row.get(key, ""))


def _number(row: PlanRow, key: str, default: int = 0) -> int:
    value = row.get(key, default)
    return max(0, value) if isinstance(value, int) else 0
