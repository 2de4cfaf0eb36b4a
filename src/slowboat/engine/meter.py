"""How many bytes go over the line: now, and since they were last written down.

Told from worker threads, asked from the loop. Knows bytes and
moments; must not know whose clock it is: `now` is any steady clock's seconds.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

WINDOW = 15.0
"""Seconds over which the shown rate is taken: calm enough to read, quick enough to believe."""


class Meter:
    """Counts bytes handed to sockets, by object, and their rate."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[str, int] = {}
        self._unbooked: dict[str, int] = {}
        self._total = 0
        self._samples: deque[tuple[float, int]] = deque()

    def add(self, name: str, count: int) -> None:
        """`count` more bytes of the object `name` are on the line. Safe from any thread."""
        with self._lock:
            self._under_way[name] = self._under_way.get(name, 0) + count
            self._unbooked[name] = self._unbooked.get(name, 0) + count
            self._total += count

    def answered(self, name: str) -> int:
        """The bytes of one object since it was last answered, or broken off; they are no longer under way."""
        with self._lock:
            return self._under_way.pop(name, 0)

    def book(self, at_least: int) -> Mapping[str, int]:
        """The bytes since this was last asked, by object, where they are so many: for whoever writes them down."""
        with self._lock:
            if sum(self._unbooked.values()) < at_least:
                return {}
            booked, self._unbooked = self._unbooked, {}
            return booked

    def book_one(self, name: str) -> int:
        """The same of one object alone, however few they are."""
        with self._lock:
            return self._unbooked.pop(name, 0)

    def under_way(self) -> int:
        """Bytes handed over in requests that have no answer yet."""
        with self._lock:
            return sum(self._under_way.values())

    def rate(self, now: float) -> int:
        """Bytes per second over the last seconds; call it about once a second while something is sent."""
        with self._lock:
            total = self._total
        self._samples.append((now, total))
        while len(self._samples) > 2 and now - self._samples[0][0] > WINDOW:
            self._samples.popleft()
        began, before = self._samples[0]
        return int((total - before) / (now - began)) if now - began >= 0.5 else 0

    def stopped(self) -> None:
        """Nothing is being sent: the next rate begins afresh."""
        self._samples.clear()
