"""`status --watch`: the status as it changes, on a terminal in place, elsewhere line by line."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.text import Text

from slowboat.cli import machine, phrases, screen
from slowboat.cli.status import brief, view

if TYPE_CHECKING:
    from slowboat.core.words import ManagerReport
    from slowboat.edges.bus.client import Client

_FOOTER = "Ctrl-C ends the watching; the sending goes on."


async def in_words(daemon: Client) -> None:
    """Shows every change until the daemon has gone.

    Raises:
        NeedsUser: it has gone.
    """
    console = screen.console()
    if not console.is_terminal:
        async for report in daemon.watch():
            now = time.time()
            screen.write(f"{phrases.stamp(now)} {brief(report, now)}")
    else:
        with Live(console=console, auto_refresh=False) as live:
            async for report in daemon.watch():
                live.update(_page(report), refresh=True)


async def in_json(daemon: Client) -> None:
    """Writes every change as one line of JSON until the daemon has gone. Raises as `in_words` does."""
    async for report in daemon.watch():
        screen.write(machine.status(report, indent=None))


def _page(report: ManagerReport) -> Group:
    return Group(view(report, time.time()), Text(""), Text(_FOOTER, style="dim"))
