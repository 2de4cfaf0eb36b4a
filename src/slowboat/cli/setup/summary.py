"""What `setup` says of what it found, and of what would come: sentences and the plan.

Pure. Knows the reports of the modules beside it; must not know a terminal.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from slowboat.cli import listing, phrases
from slowboat.core import proposal, versions
from slowboat.core.chains import describe
from slowboat.core.way import limitation
from slowboat.core.words import HandoverState
from slowboat.engine import report

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

    from slowboat.cli.setup.discovery import FoundBackup
    from slowboat.cli.setup.trial import Found, ProbeResult
    from slowboat.core.proposal import Handover
    from slowboat.core.versions import Installation
    from slowboat.core.words import Item


def backup(one: FoundBackup) -> str:
    """A backup in a line: `/media/anna/FoundBackup/lenny: 104.1 GB in 4,126 files, the newest the full of ...`."""
    whose = f" (file prefix {one.file_prefix})" if one.file_prefix else ""
    if one.newest is None:
        return f"{one.folder}{whose}: {one.problem.what if one.problem else 'no backup'}"
    state = "" if one.problem is None else "; cannot be moved as it is"
    return (
        f"{one.folder}{whose}: {phrases.size(one.size)} in {phrases.count(one.files, 'file', 'files')}, the newest "
        f"{describe(one.newest.last.id)}{state}"
    )


def about_backup(one: FoundBackup) -> Iterator[str]:
    """What is known of the chosen one, line by line."""
    yield backup(one)
    if one.cache is not None:
        yield f"duplicity's cache: {one.cache}" + (f", of {one.url}" if one.url else "")
    if one.front_end is not None:
        yield f"Made by: Deja Dup {one.front_end.value}"


def duplicities(installed: Sequence[Installation]) -> str:
    """Every duplicity and what holds for them together."""
    judged = versions.judge(installed)
    names = f"This machine has {', '.join(judged.names) or 'no duplicity'}"
    if judged.advice.danger and installed:
        return f"{names}. {judged.name}: {judged.advice.danger}. {judged.advice.helps}."
    return names


def cloud(found: Found, container: str, items: Sequence[Item]) -> Iterator[str]:
    """How the cloud stands, line by line; what a quota lacks is said first."""
    size = sum(item.file.size for item in items)
    there = found.bytes_of(items)
    if short := proposal.lacking(found.room.free, size, there):
        free = phrases.size(found.room.free or 0)
        yield f"The quota leaves {free}, and the backup needs {phrases.size(size - there)}: {phrases.size(short)} short"
    elif found.room.free is not None:
        yield f"Free by the quota: {phrases.size(found.room.free)}"
    if not found.room.stands:
        yield f"Container {container}: is not there yet"
    elif there:
        yield f"Container {container}: is there, with {phrases.size(there)} of this backup"
    else:
        yield f"Container {container}: is there"


def abilities(found: Found, probed: ProbeResult, container: str) -> str:
    """What the probe has shown, a sentence."""
    trouble = limitation(found.limits, probed.can, f"{container}_segments")
    return f"{trouble}." if trouble else "The cloud takes large files in pieces: an interruption costs seconds."


def plan(name: str, items: Sequence[Item], found: Found, rate: int, cap: int, handover: Handover) -> RenderableType:
    """The order with its bytes, and how long it takes at what was measured, and at the cap."""
    speed = min(rate, cap) if rate and cap else rate or cap
    how = (
        f"at the measured {phrases.rate(rate)}"
        if rate and not 0 < cap < rate
        else f"at the limit of {phrases.rate(cap)}"
    )
    kept = {one.name for one in items if (at := found.there.get(one.name)) and at.size == one.file.size}
    rows = [{**row, "phase": "done" if row["name"] in kept else row["phase"]} for row in report.listed(items)]
    state = HandoverState.NEVER if handover == "never" else HandoverState.PENDING
    table = listing.plan(name, rows, listing.Estimate(speed, how if speed else ""), state)
    first = proposal.before_handover(items)
    if handover == "never" or not speed:
        return table
    after = f"The handover comes after {phrases.size(first)}: {phrases.about(first / speed)} {how}."
    return Group(table, Text(after))


def difference(before: str, after: str, path: str) -> str:
    """What would be written: the whole of a new file, else what changes in it, as diff shows it."""
    if not before:
        return f"{path}:\n\n" + "".join(f"    {line}\n" if line else "\n" for line in after.splitlines())
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), path, f"{path} (new)", n=2
    )
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)
