"""Writes what was decided, starts the service, and waits until it sends or says why not.

Knows in which order nothing is left half done: the secret, the configuration, the service. Must not know what was
decided, or why. Ctrl-C is heard before and after the writing, which takes a moment, and not within.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from typing import TYPE_CHECKING, Final

from rich.text import Text

from slowboat.cli import install, password, phrases, reasons, screen
from slowboat.core.errors import NeedsUser, SlowboatError
from slowboat.core.words import Activity, HandoverState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from slowboat.core.words import ManagerReport, MigrationReport
    from slowboat.edges.secrets import Secret

PATIENCE: Final = 60.0
"""Seconds in which a daemon reads the drive's names and asks the cloud; one that takes longer is left to its work."""

_SETTLED: Final = frozenset({Activity.SENDING, Activity.DONE, Activity.NEEDS_USER, Activity.PAUSED})


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Lets a Ctrl-C that comes meanwhile come afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def write(path: Path, text: str | None, cloud: str, secret: Secret | None) -> None:
    """Stores the secret and then writes the configuration; None for what is there already.

    Raises:
        SlowboatError: it cannot be written; then the configuration is as it was.
    """
    from slowboat.edges.settings import writing

    with _undisturbed():
        if secret is not None:
            screen.say(f"The password for {cloud} is stored in {password.keep(cloud, secret)}.")
        if text is not None:
            writing.write(path, text)
            screen.say(f"{phrases.plain(str(path))} is written.")


def begin() -> None:
    """Installs and starts the service; one that runs already reads the configuration again.

    Raises:
        NeedsUser: there is no systemd of the user's here, or the service does not start.
    """
    with _undisturbed():
        install.run(sandbox=True)
    asyncio.run(_reloaded())


async def _reloaded() -> None:
    from slowboat.edges.bus.client import Client

    async with await Client.open() as daemon:
        await daemon.reload()


def wait(name: str, patience: float = PATIENCE) -> tuple[ManagerReport, MigrationReport] | None:
    """Waits until the migration sends, is done, or waits for something that does not pass by itself at once.

    Returns:
        What is so then; None where the daemon says nothing of it.
    """
    return asyncio.run(_waited(name, patience))


async def _waited(name: str, patience: float) -> tuple[ManagerReport, MigrationReport] | None:
    from slowboat.edges.bus.client import Client

    deadline = time.monotonic() + patience
    last = None
    while time.monotonic() < deadline:
        with contextlib.suppress(SlowboatError):
            async with await Client.open() as daemon:
                whole = await daemon.report()
            if (one := whole.migrations.get(name)) is not None:
                last = whole, one
                if one.activity in _SETTLED or (one.activity is Activity.WAITING and one.reasons):
                    return last
        await asyncio.sleep(0.3)
    return last


def show_result(seen: tuple[ManagerReport, MigrationReport] | None, before: int, rate: int) -> None:
    """What it does now, and what comes next.

    Args:
        seen: what `wait` has seen.
        before: bytes that go up before the handover.
        rate: bytes per second that may be expected, 0 where that is not known.
    """
    now = time.time()
    if seen is None:
        raise NeedsUser(
            "slowboat was started, but does not respond yet", hint="See: slowboat status", code="not-running"
        )
    whole, one = seen
    why = reasons.distinct((*one.reasons, *whole.reasons))
    if one.activity is Activity.DONE:
        screen.say(f"Everything is in the cloud already. {one.cloud_has_text}")
    elif one.activity is Activity.SENDING:
        screen.say("slowboat sends.")
    elif why:
        screen.show(Text(f"slowboat runs, and {'needs you' if one.activity is Activity.NEEDS_USER else 'waits'}:"))
        screen.show(reasons.listed(why, now))
    else:
        screen.say("slowboat runs, and compares the drive with the cloud.")
    screen.say("")
    screen.say(_next(one, before, rate, now))


def _next(one: MigrationReport, before: int, rate: int, now: float) -> str:
    target, source = phrases.plain(one.target_url), phrases.plain(one.source)
    match one.handover:
        case HandoverState.DONE:
            return (
                f"The handover is done: back up to {target} from now on, and keep the drive until slowboat tells you."
            )
        case HandoverState.NEVER:
            return (
                f"Keep backing up to {source}: the cloud follows by itself. To see how far it is behind: slowboat "
                "status"
            )
        case _:
            soon = f" ({phrases.moment(now + before / rate, now)}, if nothing holds it up)" if rate else ""
            return (
                f"Until the handover{soon} back up to the drive as before. Then you are notified, and backups go to "
                f"{target}. Keep the drive until you are told that it is no longer the only copy.\n"
                "What it does meanwhile: slowboat status --watch"
            )
