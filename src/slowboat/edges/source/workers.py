"""Threads for what may hang in the kernel: made when there is work, kept while there is more, gone soon after.

Knows threads; must not know what they do. They are daemon threads, and no executor's: one that hangs must not keep the
program from ending. So many of them as pieces of work are under way at once, those that hang included.
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    Work = Callable[[], Callable[[], None]]
    """What is done, and returns how it is told: by then the thread is free again for whoever hears of it."""

IDLE = 2.0
"""Seconds for which a thread waits for more: file follows upon file while a backup is sent, and at rest nothing is
kept. Making one costs a tenth of a millisecond."""


class Workers:
    """Runs work in threads of its own.

    Args:
        name: of the threads.
        idle: seconds for which one waits for more work.
    """

    def __init__(self, name: str, idle: float = IDLE) -> None:
        self._name = name
        self._idle_seconds = idle
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []

    def run(self, work: Work) -> None:
        """Runs it, and what it returns, in a thread that has nothing else to do; returns at once. It must not raise."""
        with self._lock:
            worker = self._idle.pop() if self._idle else None
        if worker is not None:
            worker.work.put(work)
            return
        worker = _Worker()
        worker.work.put(work)
        threading.Thread(target=self._live, args=(worker,), name=self._name, daemon=True).start()

    def _live(self, worker: _Worker) -> None:
        while True:
            try:
                work = worker.work.get(timeout=self._idle_seconds)
            except queue.Empty:
                with self._lock:
                    if worker in self._idle:
                        self._idle.remove(worker)
                        return
                continue  # work was given to it this very moment
            tell = work()
            with self._lock:
                self._idle.append(worker)
            tell()
            del work, tell  # what it was about is not kept while nothing is to be done


class _Worker:
    """One thread, and what it is to do next."""

    def __init__(self) -> None:
        self.work: queue.SimpleQueue[Work] = queue.SimpleQueue()
