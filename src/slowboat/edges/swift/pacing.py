"""Watches the connections that carry bodies, and says how fast leaves the line to everybody else.

Knows threads and clocks, and when it is worth looking; must not know HTTP, Swift, or the law: that is `core.pace`'s.
One thread looks, and only while something is being sent.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from slowboat.core.pace import Pace
from slowboat.core.uplink import SAMPLE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from slowboat.core.uplink import Sample

    Probe = Callable[[], Sample | None]

_log = logging.getLogger(__name__)

BLIND = 64_000
"""Bytes per second where nothing can be learnt of the connections: leaves most of a 1 Mbit/s uplink alone."""
_BLIND_AFTER = 40
"""Looks in a row at connections that tell nothing, a second's worth, before that is believed."""
_LINGER = 5.0
"""Seconds that the thread waits for the next body: between two of them it is needed again at once."""


class Pacing:
    """Tells a rate, again and again while bodies are under way.

    Args:
        tell: called with bytes per second, from a thread of its own.
    """

    def __init__(self, tell: Callable[[float], None]) -> None:
        self._tell = tell
        self._changed = threading.Condition()
        self._pace = Pace(time.monotonic(), random.random)
        self._probes: dict[object, Probe] = {}
        self._wanted = False
        self._thread: threading.Thread | None = None
        self._blind = 0
        self._published: float | None = None

    @property
    def crowded(self) -> bool:
        """Whether somebody else was seen on the line in the last seconds."""
        with self._changed:
            return self._wanted and self._pace.crowded(time.monotonic())

    @property
    def added_delay(self) -> float:
        """Seconds that bytes wait at the line's narrowest place, as seen in the last seconds."""
        with self._changed:
            return self._pace.added_delay(time.monotonic()) if self._wanted else 0.0

    def want(self, *, wanted: bool) -> None:
        """Whether anybody wants to know."""
        with self._changed:
            self._wanted = wanted
            self._watch_while_needed()

    def forget(self) -> None:
        """Begins anew, slowly: the network may be another one."""
        with self._changed:
            self._pace.forget(time.monotonic())
            rate = self._published = self._rate()
        self._tell(rate)

    @contextmanager
    def watching(self, probe: Probe) -> Iterator[None]:
        """For the time of one body: `probe` tells of the connection that carries it."""
        key = object()
        with self._changed:
            self._probes[key] = probe
            self._watch_while_needed()
        try:
            yield
        finally:
            with self._changed:
                del self._probes[key]

    def _watch_while_needed(self) -> None:
        """Under the lock: wakes the thread that looks, or begins one."""
        self._changed.notify_all()
        if self._thread is None and self._wanted and self._probes:
            self._thread = threading.Thread(target=self._run, name="slowboat-pacing", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        try:
            while self._needed():
                self._sample()
        except Exception:  # noqa: BLE001  # whatever it is: a pace that nobody moves must not stay a fast one
            _log.exception("watching the line failed; slowboat sends slowly and begins to watch anew")
            with self._changed:
                self._thread = None
            self.forget()

    def _needed(self) -> bool:
        """Waits for the next look; False where the thread has nothing to look at any more, and ends."""
        with self._changed:
            self._changed.wait(SAMPLE_SECONDS)
            if not (self._wanted and self._probes):
                self._changed.wait_for(lambda: self._wanted and self._probes, _LINGER)
            if self._wanted and self._probes:
                return True
            self._thread = None
            return False

    def _sample(self) -> None:
        with self._changed:
            samples = [sample for probe in self._probes.values() if (sample := probe())]
            if self._probes:
                self._blind = 0 if samples else self._blind + 1
            self._pace.feed(samples, time.monotonic())
            rate = self._rate()
        if rate != self._published:
            self._published = rate
            self._tell(rate)

    def _rate(self) -> float:
        return min(self._pace.rate, BLIND) if self._blind >= _BLIND_AFTER else self._pace.rate
