"""What went over each network, for the budgets: counted as it goes, kept in the ledger by local day.

Knows which networks the bytes count for and when that changes; must not know what a budget allows. What a request
handed over counts, whether it was confirmed or not. A kill loses at most `UNSETTLED` of the count.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from slowboat.core.schedule import Period

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from slowboat.core.schedule import Usage
    from slowboat.engine.ports import Ledger

UNSETTLED = 1 << 20
"""Bytes that may be counted in memory alone: a write to the disk for each MiB is less than a segment's own."""


class Spending:
    """Bytes by network and local day; `count` is safe from any thread, the rest belongs to the event loop."""

    def __init__(self, ledger: Ledger, used_up: Callable[[], None] = lambda: None) -> None:
        """`used_up` is called, in whatever thread counts, when the bytes given to `allow` have gone."""
        self.used_up = used_up
        self._ledger = ledger
        self._lock = threading.Lock()
        self._fresh = 0
        self._allowed: int | None = None
        self._networks: tuple[str, ...] = ()
        self._day = ""
        self._settled: dict[str, Usage] = {}

    def count(self, number: int) -> None:
        """`number` more bytes are on the line."""
        with self._lock:
            self._fresh += number
            gone = self._allowed is not None and self._fresh >= self._allowed
            if gone:
                self._allowed = None
        if gone:
            self.used_up()

    def allow(self, left: int | None) -> None:
        """So many bytes may still go before somebody must decide again; None: any number."""
        with self._lock:
            self._allowed = None if left is None else self._fresh + left

    def at(self, networks: tuple[str, ...], day: str) -> Mapping[str, Usage]:
        """From now on bytes count for those networks and that local day ("2026-11-22"); what each has had so far."""
        if networks != self._networks or day != self._day:
            self.settle()
            if day != self._day:
                self._settled = dict(self._ledger.usage(day))
            self._networks, self._day = networks, day
        with self._lock:
            fresh = self._fresh
        return self._with(fresh) if fresh else dict(self._settled)

    def settle(self, at_least: int = 1) -> None:
        """Writes down what was counted, where it is so many bytes."""
        with self._lock:
            if self._fresh < at_least:
                return
            fresh, self._fresh = self._fresh, 0
            if self._allowed is not None:
                self._allowed -= fresh
        if self._day:
            self._ledger.spent(self._networks, self._day, fresh)
            self._settled = self._with(fresh)

    def _with(self, more: int) -> dict[str, Usage]:
        """What is settled, and so many bytes more for each of the networks in use."""
        known = self._settled
        each = {name: known.get(name, {}) for name in self._networks}
        return known | {name: {period: used.get(period, 0) + more for period in Period} for name, used in each.items()}
