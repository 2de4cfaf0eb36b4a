"""The user's own commands, at what happens: a ping to healthchecks, a message by ntfy.

Knows how a program is started so that it learns no secret and holds nothing up; must not know when something has
happened. It gets a few variables and no other part of our environment (OS_PASSWORD and the like may be there), no
input, a minute, and, as our child, the sandbox that we are in.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slowboat.core.words import HookEvent

log = logging.getLogger(__name__)

PATIENCE: Final = 60.0
"""Seconds for one command; then it is killed, with whatever it has started."""
MOST_WAITING: Final = 20
"""Events that wait for the command before them; further ones are dropped."""
HANDED_ON: Final = (
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LC_ALL",
    "TZ",
    "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
)
"""What a command gets of our environment: enough to find programs, files and the desktop."""
LONGEST: Final = 500
"""Characters of what a command that failed has said, for the journal."""


class _Event(NamedTuple):
    what: HookEvent
    migration: str
    title: str
    text: str


class Hooks:
    """Runs the commands, one after the other. Fulfils `engine.ports.Hooks`; `run` must be running.

    Attributes:
        commands: of each event the program and its arguments; an event without any has none.
    """

    def __init__(self, environment: Mapping[str, str] | None = None, *, patience: float = PATIENCE) -> None:
        """Starts nothing yet.

        Args:
            environment: the process's own, unless given.
            patience: seconds for one command.
        """
        self.commands: Mapping[str, Sequence[str]] = {}
        given = os.environ if environment is None else environment
        self._environment = {name: given[name] for name in HANDED_ON if name in given}
        self._patience = patience
        self._waiting: asyncio.Queue[_Event] = asyncio.Queue(MOST_WAITING)

    def happened(self, what: HookEvent, migration: str, title: str, text: str) -> None:
        """Something happened; returns at once and never raises."""
        if what in self.commands:
            with contextlib.suppress(asyncio.QueueFull):
                self._waiting.put_nowait(_Event(what, migration, title, text))

    async def run(self) -> None:
        """Runs what there is to run until cancelled."""
        while True:
            event = await self._waiting.get()
            command = self.commands.get(event.what)
            if command:
                await self._run(command, event)

    async def _run(self, command: Sequence[str], event: _Event) -> None:
        about = {
            "SLOWBOAT_EVENT": event.what,
            "SLOWBOAT_MIGRATION": event.migration,
            "SLOWBOAT_TITLE": event.title,
            "SLOWBOAT_TEXT": event.text,
        }
        named = {name: value.replace("\0", "") for name, value in about.items()}
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env=self._environment | named,
                cwd="/",
                start_new_session=True,  # so that it can be killed with all that it has started
            )
        except (OSError, ValueError) as error:
            self._failed(event, f"cannot be started: {getattr(error, 'strerror', None) or error}")
            return
        await self._ended(process, event)

    async def _ended(self, process: asyncio.subprocess.Process, event: _Event) -> None:
        output = b""
        try:
            async with asyncio.timeout(self._patience):
                assert process.stdout is not None  # it is a pipe
                output = await _beginning(process.stdout)
                await process.wait()
        except TimeoutError:
            self._failed(event, f"did not end in {self._patience:.0f} seconds, and was killed")
            return
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        if process.returncode:
            line = " ".join(output.decode(errors="replace").split())
            self._failed(event, f"ended with {process.returncode}{': ' + line if line else ''}")

    def _failed(self, event: _Event, how: str) -> None:
        log.warning(
            "the command of [hooks] %s %s", event.what, how, extra={"kind": "hook", "migration": event.migration}
        )


async def _beginning(stream: asyncio.StreamReader) -> bytes:
    """The first of what it says; all of it is read, so that nothing waits to be."""
    kept = b""
    while chunk := await stream.read(4096):
        kept = (kept + chunk)[:LONGEST]
    return kept
