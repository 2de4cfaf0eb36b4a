"""The time in which the ledger cannot be read or written: nothing is sent, and everybody hears why.

Knows how that is shown, what can be asked for meanwhile, and how soon the ledger is tried again. Must not know what
stands in the ledger, nor how an engine begins.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

from slowboat.core.errors import LedgerUnusable, Transient, Unrecorded
from slowboat.core.words import Activity, ManagerReport, MigrationReport, Notice, Reason
from slowboat.edges.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from slowboat.edges.notify import Notifications
    from slowboat.edges.settings import Settings

_log = logging.getLogger("slowboat")

FIRST_TRY, LAST_TRY = 2.0, 60.0
"""Seconds until the ledger is tried again; they double from the first to the second: a look at a file passes in
seconds, and a full disk is cleared by a person."""

NOTIFY_AFTER = 30.0
"""Seconds after which the desktop is told, too: what passes by itself in less is nobody's business."""

PATIENCE = 0.2
"""Seconds that one try waits while another program holds the file: the bus is to be answered meanwhile."""

CODE = "ledger"
"""Of the reason, and the key of the notice."""


class NoEngine:
    """Stands where an engine would: what is asked of it cannot be done now, and why. Fulfils the bus's `Commands`."""

    def __init__(self, error: Unrecorded, try_now: Callable[[], None]) -> None:
        self.error = error
        self._try_now = try_now

    def retry_now(self) -> None:
        """Tries the ledger at once."""
        self._try_now()

    rescan = retry_now

    def hold(self, holds: Sequence[tuple[str, str]]) -> None:
        """Nothing is sent as it is; the next engine is told of the holds when it begins."""

    def _no(self, *_: object, **__: object) -> NoReturn:
        raise Transient(
            f"{self.error.what}: slowboat cannot record anything now", hint=self.error.hint, code=self.error.code
        )

    async def _not_now(self, *_: object, **__: object) -> NoReturn:
        self._no()

    pause = resume = set_limit = history = traffic = stop_verifying = _no
    hand_over = undo_handover = switch_front_end = plan = verify = _not_now


def waiting(shown: ManagerReport, error: Unrecorded, since: float) -> ManagerReport:
    """What is shown meanwhile: what was shown last, but that it waits, and for what."""
    activity = Activity.NEEDS_USER if isinstance(error, LedgerUnusable) else Activity.WAITING
    reasons = (Reason(CODE, error.what, cure=f"{error.hint}; slowboat continues by itself", since=since),)
    of_each = {
        name: replace(
            each,
            activity=activity,
            reasons=reasons,
            rate=0,
            expected_end=0.0,
            current_object="",
            last_error=str(error),
        )
        for name, each in shown.migrations.items()
    }
    return replace(
        shown,
        activity=activity,
        reasons=reasons,
        rate=0,
        expected_end=0.0,
        last_error=str(error),
        migrations=of_each,
    )


def unknown_yet(version: str, settings: Settings) -> ManagerReport:
    """What can be shown before any engine has begun."""
    of_each = {
        name: MigrationReport(name, source=str(each.source), target_url=each.target.urls[0])
        for name, each in settings.migrations.items()
    }
    return ManagerReport(version, migrations=of_each)


async def outlast(
    path: Path,
    no_engine: NoEngine,
    stir: asyncio.Event,
    show: Callable[[Unrecorded], None],
    notifications: Notifications,
) -> None:
    """Waits until the ledger can be written again, or `stir` is set; says so in the journal, and to the desktop.

    Args:
        path: the ledger.
        no_engine: is given each new error.
        stir: somebody wants something else, or that it is tried now.
        show: shows an error.
        notifications: tell the desktop where it takes longer.
    """
    _log.warning("%s", no_engine.error, extra={"kind": "ledger"})
    loop = asyncio.get_running_loop()
    notify_at, wait = loop.time() + NOTIFY_AFTER, FIRST_TRY
    while not stir.is_set():
        show(no_engine.error)
        if loop.time() >= notify_at:
            notifications.show(Notice(CODE, "slowboat waits", str(no_engine.error), urgent=True))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await stir.wait()
        wait = min(2 * wait, LAST_TRY)
        try:
            with Ledger(path, patience=PATIENCE) as ledger:
                ledger.note("", CODE, f"{no_engine.error.what}; slowboat has waited and now continues")
        except Unrecorded as error:
            no_engine.error = error
        else:
            break
    notifications.withdraw(CODE)


def of_the_ledger(error: BaseException) -> Unrecorded | None:
    """The error of the ledger that ended an engine, where nothing else did."""
    if isinstance(error, BaseExceptionGroup):
        known, unknown = error.split(Unrecorded)
        return None if known is None or unknown is not None else of_the_ledger(known.exceptions[0])
    return error if isinstance(error, Unrecorded) else None
