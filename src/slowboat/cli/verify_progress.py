"""`slowboat verify` while it lasts: asks the daemon, shows how far it is, and takes the wish back at Ctrl-C.

Knows the daemon's answers while it verifies; must not know what the report says.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, DownloadColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from slowboat.cli import phrases, screen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from slowboat.core.verify import Report
    from slowboat.core.words import MigrationReport
    from slowboat.edges.bus.client import Client

EVERY = 1.0
"""Seconds between looks at how far it is; the daemon tells no more often."""


async def verify(daemon: Client, name: str, *, deep: bool, restore: bool = False) -> Report:
    """Has one migration verified, with a bar on standard error where that is a terminal.

    Raises:
        SlowboatError: as the daemon says.
    """
    with _bar(name) as show:
        asked = asyncio.ensure_future(daemon.verify(name, deep=deep, restore=restore))
        try:
            while not (await asyncio.wait([asked], timeout=EVERY))[0]:
                show((await daemon.report()).migrations[name])
            return asked.result()
        except asyncio.CancelledError:
            await daemon.stop_verifying(name)  # Ctrl-C: nobody waits for it any more
            raise
        finally:
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)


@contextmanager
def _bar(name: str) -> Iterator[Callable[[MigrationReport], None]]:
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=screen.console(stderr=True), transient=True) as progress:
        label = phrases.plain(name)
        bar = progress.add_task(f"{label}: asking the cloud", total=None)

        def show(shown: MigrationReport) -> None:
            if shown.verify_bytes:
                done = int(shown.verify_progress * shown.verify_bytes)
                progress.update(
                    bar, description=f"{label}: reading the drive", total=shown.verify_bytes, completed=done
                )

        yield show
