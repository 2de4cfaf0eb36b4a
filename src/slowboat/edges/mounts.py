"""Tells when something was mounted or unmounted.

Knows that the kernel marks /proc/self/mountinfo with POLLPRI at every change
(https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html). Must not know which drive is meant: whoever is
woken looks for himself. Costs nothing while nothing changes.
"""

from __future__ import annotations

import asyncio
import logging
import os
import select
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

MOUNTS = Path("/proc/self/mountinfo")
SETTLE = 0.5
"""Seconds in which changes gather: a desktop mounts a drive in several steps."""


class MountWatch:
    """Calls `on_change` in the event loop some moments after the table of mounts has changed."""

    def __init__(self, on_change: Callable[[], None] = lambda: None, *, settle: float = SETTLE) -> None:
        """Does nothing until `start`; `on_change` may be set later."""
        self.on_change = on_change
        self._settle = settle
        self._table = -1
        self._poll: select.epoll | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begins to watch. Never raises: where there is no table of mounts, nothing is told."""
        try:
            self._table = os.open(MOUNTS, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            log.info("mounts are not watched: %s", error)
            return
        # The table is always readable, so the loop cannot wait for that; an epoll of its own asks for the mark alone.
        self._poll = select.epoll()
        self._poll.register(self._table, select.EPOLLPRI)
        asyncio.get_running_loop().add_reader(self._poll.fileno(), self._changed)

    def stop(self) -> None:
        """Lets go of everything."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._poll is not None:
            asyncio.get_running_loop().remove_reader(self._poll.fileno())
            self._poll.close()
            self._poll = None
            os.close(self._table)

    def _changed(self) -> None:
        if self._poll is not None:
            self._poll.poll(0)  # takes the mark away
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._settle, self._tell)

    def _tell(self) -> None:
        self._timer = None
        self.on_change()
