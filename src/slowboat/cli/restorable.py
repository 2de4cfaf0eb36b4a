"""What `slowboat verify --restore` says of what the cloud alone can restore. Pure: a report in, text out.

Knows the report of a verification; must not know the bus.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from slowboat.cli import listing, phrases

if TYPE_CHECKING:
    from rich.console import RenderableType

    from slowboat.core.verify import Backup, Report


def newest(report: Report) -> Backup | None:
    """The newest backup that was adopted; None where nothing was told of any."""
    return next((one for one in reversed(report.backups) if one.chain == 0), None)


def view(name: str, report: Report) -> RenderableType:
    """A line per backup: whether the cloud alone can restore it now, and what is missing where it cannot."""
    title = Text(phrases.plain(name), style="bold")
    title.append(f": what the cloud alone can restore, as of {phrases.stamp(report.at)}", style="not bold")
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("Backup", overflow="fold", min_width=16)
    table.add_column("From the cloud alone", overflow="fold")
    for one in report.backups:
        table.add_row(Text(listing.set_called(one.set_name)), _verdict(one))
    return Group(title, table)


def _verdict(one: Backup) -> Text:
    if not one.files_missing:
        return Text("yes", style="green")
    others = one.files_missing - one.volumes_missing
    missing = [phrases.count(one.volumes_missing, "volume", "volumes")] if one.volumes_missing else []
    missing += [f"{others:,} of the metadata"] if others else []
    size = f", {phrases.size(one.size_missing)}" if one.size_missing else ""
    return Text(f"not yet ({' and '.join(missing)} missing{size})")
