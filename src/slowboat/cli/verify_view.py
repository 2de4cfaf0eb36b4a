"""What `slowboat verify` says: a line per backup set, what is wrong and what would help, then the files by name.

Pure: a report in, renderables out. Knows the report; must not know the bus.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from slowboat.cli import listing, phrases
from slowboat.cli.reasons import phrased
from slowboat.core.verify import AtTarget, OnDrive, Origin, as_dict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import RenderableType

    from slowboat.core.verify import Report, SetReport

MOST_FILES = 30
"""Files that are listed by name; `--json` has more."""

_TARGET = {
    AtTarget.NOT_SENT: "to be sent",
    AtTarget.UNCONFIRMED: "not compared yet",
    AtTarget.REFUSED: "set aside",
    AtTarget.MISSING: "missing",
    AtTarget.SET_GONE: "gone",
    AtTarget.REMOVED: "removed",
    AtTarget.OTHER_SIZE: "of another size",
    AtTarget.OTHER_MD5: "with other contents",
    AtTarget.PARTS_LOST: "with parts lost",
}
_DRIVE = {
    OnDrive.UNKNOWN: "away",
    OnDrive.MISSING: "missing",
    OnDrive.CHANGED: "changed",
    OnDrive.ROTTEN: "damaged",
    OnDrive.UNREADABLE: "unreadable",
}
_HARMLESS = frozenset({AtTarget.NOT_SENT, AtTarget.UNCONFIRMED, AtTarget.REMOVED})
_ORIGINS = {Origin.DUPLICITY: "straight from duplicity", Origin.OTHER: "not from slowboat"}


def view(name: str, report: Report) -> RenderableType:
    """The whole report of one migration."""
    title = Text(phrases.plain(name), style="bold")
    title.append(f": as of {phrases.stamp(report.at)}", style="not bold dim")
    parts: list[RenderableType] = [title, _sets(report), Text("")]
    for sentence in report.sentences:
        mark, style = ("! ", "bold red") if sentence.wrong else ("- ", "")
        parts.append(Text.assemble((mark, style), phrases.sentence(sentence.text)))
        if sentence.cure:
            parts += [Padding(line, (0, 0, 0, 2)) for line in phrased(sentence.cure)]
    return Group(*parts, *_files(report))


def as_json(reports: Mapping[str, Report]) -> str:
    """`{migration: report}` with the keys of docs/dbus.md; times are seconds since the epoch."""
    return json.dumps({name: as_dict(report) for name, report in reports.items()}, indent=2)


def _sets(report: Report) -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("Backup set", overflow="fold", min_width=16)
    table.add_column("Files", justify="right", no_wrap=True)
    table.add_column("Size", justify="right", no_wrap=True)
    table.add_column("In the cloud", overflow="fold")
    table.add_column("On the drive", overflow="fold")
    for one in report.sets:
        cells = [listing.set_called(one.set_name), f"{one.files:,}", phrases.size(one.size)]
        table.add_row(*(Text(cell) for cell in cells), _in_cloud(one), _on_drive(one))
    return table


def _in_cloud(one: SetReport) -> Text:
    if one.origin is not Origin.SLOWBOAT:
        return Text(_ORIGINS[one.origin], style="dim")
    if one.files_right == one.files:
        return Text("all right", style="green")
    text = Text(f"{one.files_right:,} right")
    for state, words in _TARGET.items():
        if count := one.target.get(state.value, 0):
            text.append(f", {count:,} {words}", style="" if state in _HARMLESS else "red")
    return text


def _on_drive(one: SetReport) -> Text:
    if one.origin is not Origin.SLOWBOAT:
        return Text("")
    wrong = [(state, count) for state in _DRIVE if (count := one.drive.get(state.value, 0))]
    if not wrong:
        return Text("all right" if one.drive.get(OnDrive.RIGHT.value, 0) == one.files else "there", style="green")
    words = ", ".join("away" if state is OnDrive.UNKNOWN else f"{count:,} {_DRIVE[state]}" for state, count in wrong)
    return Text(words, style="red" if any(state is not OnDrive.UNKNOWN for state, _ in wrong) else "dim")


def _files(report: Report) -> list[RenderableType]:
    if not report.findings:
        return []
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    for one in report.findings[:MOST_FILES]:
        table.add_row(Text(phrases.plain(one.name)), Text(phrases.sentence(one.text)))
    left = len(report.findings) - MOST_FILES + report.unnamed
    more = [Text(f"... and {left:,} more (slowboat verify --json)", style="dim")] if left > 0 else []
    return [Text(""), table, *more]
