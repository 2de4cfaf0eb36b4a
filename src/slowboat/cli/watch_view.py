"""What `status --watch` shows beside the status: bars by phase, the rate and the delay at the line as they were.

Pure: reports in, renderables out. Knows reports and what was seen of them so far; must not know how a page is drawn
over and over.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from slowboat.cli import charts, phrases
from slowboat.cli.status import view
from slowboat.core.words import Activity

if TYPE_CHECKING:
    from rich.console import RenderableType

    from slowboat.core.words import ManagerReport, MigrationReport

WIDTH: Final = 40
"""Columns of bars and sparklines, where there is room."""
FOOTER: Final = "Ctrl-C ends this view; sending continues."


class Seen:
    """What was seen of rate and delay, one value for each second in which there was a report."""

    def __init__(self) -> None:
        self.rates: deque[float] = deque(maxlen=WIDTH)
        self.delays: deque[float] = deque(maxlen=WIDTH)
        self._second = 0

    def add(self, report: ManagerReport, now: float) -> None:
        """Takes in what is shown now; a second report within a second takes the place of the first."""
        if int(now) == self._second and self.rates:
            self.rates.pop()
            self.delays.pop()
        self._second = int(now)
        self.rates.append(float(report.rate))
        self.delays.append(report.added_delay)


def page(report: ManagerReport, seen: Seen, now: float) -> RenderableType:
    """The whole page: the status, then the bars of each migration that is under way, then the charts."""
    parts: list[RenderableType] = [view(report, now)]
    bars = [each for each in report.migrations.values() if each.bytes_total > 0 and each.activity is not Activity.DONE]
    for migration in bars:
        parts += [Text(""), _phases(migration, named=len(bars) > 1)]
    if any(seen.rates):
        parts += [Text(""), _charts(report, seen)]
    return Group(*parts, Text(""), Text(FOOTER, style="dim"))


def _phases(migration: MigrationReport, *, named: bool) -> RenderableType:
    table = _grid()
    if named:
        table.add_row("", Text(phrases.plain(migration.name), style="bold"), "")
    there = (migration.bytes_done, "green")
    flying = (migration.bytes_in_flight, "yellow")
    bytes_bar = charts.bar([there, flying], migration.bytes_total, WIDTH)
    table.add_row("Bytes", bytes_bar, f"{phrases.size(migration.bytes_in_flight)} on the way")
    metadata = charts.bar([(migration.metadata_done, "green")], migration.metadata_total, WIDTH)
    table.add_row("Metadata", metadata, f"{max(0, migration.metadata_done):,} of {max(0, migration.metadata_total):,}")
    aside = (migration.volumes_refused, "red")
    volumes = charts.bar([(migration.volumes_done, "green"), aside], migration.volumes_total, WIDTH)
    table.add_row("Volumes", volumes, f"{max(0, migration.volumes_done):,} of {max(0, migration.volumes_total):,}")
    return table


def _charts(report: ManagerReport, seen: Seen) -> RenderableType:
    table = _grid()
    table.add_row("Rate", Text(charts.sparkline([*seen.rates], WIDTH), style="green"), phrases.rate(report.rate))
    if any(seen.delays):
        delays = Text(charts.sparkline([*seen.delays], WIDTH), style="yellow")
        table.add_row("Delay", delays, f"{1000 * max(0.0, report.added_delay):.0f} ms at the line")
    return table


def _grid() -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True, min_width=9)
    table.add_column(no_wrap=True, overflow="crop", max_width=WIDTH)
    table.add_column(overflow="fold")
    return table
