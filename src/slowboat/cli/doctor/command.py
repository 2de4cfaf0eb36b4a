"""The command, and what `install` asks of it.

Knows how findings are shown and what the exit code says; must not know where they come from.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click
from rich.console import Group
from rich.table import Table
from rich.text import Text

from slowboat.cli import phrases, reasons, screen
from slowboat.core.checkup import Health, is_well

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from slowboat.core.checkup import CheckResult

_MARKS = {
    Health.GOOD: ("ok", "green"),
    Health.NOTE: ("note", "yellow"),
    Health.BAD: ("BAD", "bold red"),
    Health.UNKNOWN: ("?", "dim"),
}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@click.option("--offline", is_flag=True, help="Ask no cloud.")
def doctor(*, as_json: bool, offline: bool) -> int:
    """Check everything that slowboat needs, and say how to fix it.

    It changes nothing. The exit code is 0 where nothing is bad.
    """
    from slowboat.cli.doctor import checks

    findings = asyncio.run(checks.everything(clouds=not offline))
    if as_json:
        rows = [{**asdict(one), "health": one.health.value} for one in findings]
        screen.write(json.dumps({"ok": is_well(findings), "findings": rows}, indent=2))
    else:
        screen.show(view(findings))
    return 0 if is_well(findings) else 1


def view(findings: Sequence[CheckResult]) -> RenderableType:
    """One row each, with its cure where it is not well, and a sentence at the end."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for one in findings:
        mark, style = _MARKS[one.health]
        lines = [Text(phrases.sentence(one.how))]
        if one.cure and one.health is not Health.GOOD:
            lines += reasons.phrased(one.cure)
        table.add_row(Text(mark, style=style), Text(phrases.plain(one.what)), Group(*lines))
    bad = sum(one.health is Health.BAD for one in findings)
    end = f"{phrases.count(bad, 'thing needs', 'things need')} you." if bad else "Nothing is wrong."
    return Group(table, Text(""), Text(end))


def missing() -> RenderableType | None:
    """What of this machine is not well, for who has just installed; None where nothing is bad. Asks no cloud."""
    from slowboat.cli.doctor import checks

    findings = [one for one in asyncio.run(checks.here()) if one.health is Health.BAD]
    return view(findings) if findings else None
