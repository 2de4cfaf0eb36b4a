"""`status --watch`: the status as it changes, on a terminal in place, elsewhere line by line.

Knows how a page is drawn over and over; must not know what is on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, NoReturn

from rich.live import Live

from slowboat.cli import json_output, panel, phrases, screen
from slowboat.cli.status import brief
from slowboat.cli.watch_view import Seen, page
from slowboat.core.errors import NeedsUser, SlowboatError
from slowboat.edges.bus.client import Client

if TYPE_CHECKING:
    from collections.abc import Callable

    from slowboat.cli.panel import Form
    from slowboat.core.words import ManagerReport

GRACE = 2.0
"""Seconds that a daemon may be away: one that is restarted leaves the bus for a moment."""


REFRESH_EVERY = 10.0
"""Seconds until a panel looks again for a daemon that is not there."""


async def in_words() -> None:
    """Shows every change until the daemon has gone.

    Raises:
        NeedsUser: it has gone.
    """
    console = screen.console()
    if not console.is_terminal:
        await _follow(_show_line)
        return
    with Live(console=console, auto_refresh=False) as live:
        seen = Seen()

        def show(report: ManagerReport) -> None:
            now = time.time()
            seen.add(report, now)
            live.update(page(report, seen, now), refresh=True)

        await _follow(show)


async def in_json() -> None:
    """Writes every change as one line of JSON until the daemon has gone. Raises as `in_words` does."""
    await _follow(lambda report: screen.write(json_output.status(report, indent=None)))


async def in_form(form: Form) -> NoReturn:
    """Writes every change in the form of a panel, for ever: a daemon that has gone is waited for."""
    while True:
        with contextlib.suppress(SlowboatError):
            await _follow(lambda report: screen.write(panel.shown(form, report, time.time())))
        screen.write(panel.shown(form, None, time.time()))
        await asyncio.sleep(REFRESH_EVERY)


async def _follow(show: Callable[[ManagerReport], None]) -> None:
    was_there = False
    while True:
        try:
            async with await Client.open() as daemon:
                async for report in daemon.watch():
                    was_there = True
                    show(report)
        except NeedsUser as error:
            if error.code != "not-running" or not was_there:
                raise
        was_there = False
        await asyncio.sleep(GRACE)


def _show_line(report: ManagerReport) -> None:
    now = time.time()
    screen.write(f"{phrases.stamp(now)} {brief(report, now)}")
