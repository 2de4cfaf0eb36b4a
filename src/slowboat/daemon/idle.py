"""The daemon at rest: small, and without a thread of its own.

Knows threads, sockets and memory, and when they are of no use; must not know what the daemon does.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from slowboat.core.words import Activity
from slowboat.edges.process import give_back

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slowboat.edges.swift import SwiftStore

IDLE = frozenset({Activity.WAITING, Activity.PAUSED, Activity.NEEDS_USER, Activity.DONE})
"""Nothing is on the line, and nothing is read."""
CALM = 5.0
"""Seconds of rest before threads, sockets and memory are let go of: between two objects they are needed at once."""
SIDE_THREADS = 4
"""For what would hold the event loop, such as copying a cache: rarely one at a time."""


class Idle:
    """Lets go of threads, sockets and memory once nothing has been under way for a moment."""

    def __init__(self) -> None:
        self.stores: Sequence[SwiftStore] = ()
        self._pool: ThreadPoolExecutor | None = None
        self._timer: asyncio.TimerHandle | None = None

    def shown(self, activity: Activity) -> None:
        """What the daemon is doing now."""
        if activity not in IDLE:
            self.stop()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(CALM, self._let_go)

    def stop(self) -> None:
        """No rest now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _let_go(self) -> None:
        for store in self.stores:
            store.release()
        self.begin()
        give_back()

    def begin(self) -> None:
        """New threads for asyncio.to_thread, none of which runs yet; the old ones end with what they do."""
        idle, self._pool = self._pool, ThreadPoolExecutor(SIDE_THREADS, thread_name_prefix="slowboat-side")
        asyncio.get_running_loop().set_default_executor(self._pool)
        if idle is not None:
            idle.shutdown(wait=False)
