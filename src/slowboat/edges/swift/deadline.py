"""How long a request may take as a whole, however busily its server drops a byte now and then.

Knows threads and the monotonic clock; must not know HTTP. A socket's own timeout holds between two bytes alone.
"""

from __future__ import annotations

import math
import threading
import time
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Deadline:
    """Cuts what is late. Its thread lives only while something is due.

    Args:
        cut: a method that breaks off what is under way; called from that thread, which does not keep its object alive.
    """

    def __init__(self, cut: Callable[[], None]) -> None:
        self._cut = weakref.WeakMethod(cut)
        self._changed = threading.Condition()
        self._at = math.inf
        self._watched = False
        self._passed = False

    @property
    def passed(self) -> bool:
        """Whether it has cut, since `begin`."""
        return self._passed

    def begin(self) -> None:
        """A new request: whatever was late before is forgotten."""
        with self._changed:
            self._passed = False

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """What is done inside must be over in so many seconds, or when what surrounds it must, if that is earlier."""
        before = self._move(lambda at: min(at, time.monotonic() + seconds))
        try:
            yield
        finally:
            self._move(lambda _: before)

    def _move(self, to: Callable[[float], float]) -> float:
        with self._changed:
            before, self._at = self._at, to(self._at)
            if self._at < math.inf and not self._watched:
                self._watched = True
                threading.Thread(target=self._watch, name="slowboat-deadline", daemon=True).start()
            self._changed.notify_all()
            return before

    def _watch(self) -> None:
        with self._changed:
            while (left := self._at - time.monotonic()) > 0:
                if math.isinf(left):
                    self._watched = False
                    return
                self._changed.wait(left)
            self._passed, self._watched, self._at = True, False, math.inf
        if (cut := self._cut()) is not None:
            cut()
