"""What a service tells its service manager: ready, status, alive, stopping.

Knows the sd_notify protocol (https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html); must not
know what the service does. Where nobody listens (no systemd), all of it does nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import MutableMapping

log = logging.getLogger(__name__)

LAST_WORDS: Final = "Ended: "
"""Begins the status line of a service that has ended because of something that it could name."""

LONGEST: Final = 1000
"""Characters of a status line; systemd takes messages of 4096 bytes (PIPE_BUF) and drops what is longer."""

SHARE: Final = 2
"""The watchdog hears from us so many times in the time it waits, as sd_watchdog_enabled(3) advises."""


class ServiceManager:
    """The service manager that started us, if one did."""

    def __init__(self, environment: MutableMapping[str, str] | None = None) -> None:
        """Takes what the manager said out of the environment, so that no program we start speaks for us.

        WATCHDOG_PID is not looked at: behind a wrapper it is the wrapper's, and a service that then keeps silent
        is killed. https://github.com/samschott/maestral/issues/992

        Args:
            environment: the process's own, unless given.
        """
        given = os.environ if environment is None else environment
        path = given.pop("NOTIFY_SOCKET", "")
        micros = given.pop("WATCHDOG_USEC", "")
        given.pop("WATCHDOG_PID", None)
        self._address = f"\0{path[1:]}" if path.startswith("@") else path
        self._alive_every = int(micros) / 1e6 / SHARE if micros.isdigit() else 0.0
        self._shown_status = ""

    @property
    def watched(self) -> bool:
        """Whether the manager restarts us when it does not hear from us."""
        return bool(self._address and self._alive_every)

    def ready(self) -> None:
        """We can be asked from now on."""
        self._tell("READY=1")

    def status(self, line: str) -> None:
        """What `systemctl --user status` shows; the same line is told once."""
        line = " ".join(line.split())[:LONGEST]  # a line break would begin another message
        if line != self._shown_status:
            self._shown_status = line
            self._tell(f"STATUS={line}")

    def ended(self, why: str) -> None:
        """What we end of; systemd shows it until the next start."""
        self.status(f"{LAST_WORDS}{why}")

    def stopping(self) -> None:
        """We are on our way out."""
        self._tell("STOPPING=1")

    async def run(self) -> None:
        """Tells the watchdog that this event loop turns, until cancelled; returns where nobody wants to know."""
        while self.watched:
            self._tell("WATCHDOG=1")
            await asyncio.sleep(self._alive_every)

    def _tell(self, message: str) -> None:
        if not self._address.startswith(("/", "\0")):
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.setblocking(False)  # noqa: FBT003  # the standard library's signature
            end.connect(self._address)
            end.send(message.encode(errors="replace"))  # a file's name may be no UTF-8
