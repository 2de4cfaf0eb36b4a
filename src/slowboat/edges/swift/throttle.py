"""The brake and the body: one rate over all uploads, spent a few kilobytes at a time as the HTTP library reads.

Knows threads and clocks; must not know HTTP or Swift. The arithmetic is `core.bucket`'s.
"""

from __future__ import annotations

import math
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from slowboat.core.bucket import FINE, SMOOTHED, STEADY, Bucket, smoothing
from slowboat.core.errors import Refused
from slowboat.core.pace import START
from slowboat.edges.swift.pacing import Pacing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from slowboat.core.uplink import Sample

_PATROL = 0.5
"""Seconds after which even a standing body looks up: whether it was broken off, whether the server answered."""

_HARDLY = 0.02
"""The share of a rate by which it may change before the kernel is told: less than what it may send faster anyway."""

BLOCK = 65536
"""Bytes asked of the reader at once, and the most that goes out at once: less where the bucket's quantum is less.

One write of it must go into the kernel within the time that the wire gives it (`wire.SEND_SECONDS`)."""


class Readable(Protocol):
    """What a body is read from."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Reads the next bytes into `buffer`; how many they are, 0 at the end."""


class Carrier(Protocol):
    """The connection that carries a body (`wire.Wire`)."""

    def sample(self) -> Sample | None:
        """What TCP tells of it now."""

    def smooth(self, rate: int | None) -> bool:
        """Has it send evenly, at no more than `rate` bytes per second; whether it does."""


class Throttle:
    """The rate of all uploads together, changed while they run.

    Args:
        rate: bytes per second; 0 stands still, None is without a cap.
    """

    def __init__(self, rate: int | None = None) -> None:
        self._changed = threading.Condition()
        self._bucket = Bucket(rate, time.monotonic())
        self._cap = rate
        self._spare = False
        self._pacing = Pacing(self._spare_changed)
        self._spare_rate = START
        self._carriers: list[Carrier] = []
        self._smoothed: int | None = None

    @property
    def crowded(self) -> bool:
        """Whether somebody else was seen on the line lately; always False where not only the spare is taken."""
        return self._pacing.crowded

    @property
    def added_delay(self) -> float:
        """Seconds that bytes wait at the line's narrowest place; always 0.0 where not only the spare is taken."""
        return self._pacing.added_delay

    def set_cap(self, cap: int | None, *, spare: bool = False) -> None:
        """Sets the cap of all uploads under way and to come, at once.

        Args:
            cap: the most bytes per second; 0 stands still, None is without a cap.
            spare: take only what nobody else uses, below that cap.
        """
        self._pacing.want(wanted=spare)
        with self._changed:
            self._cap, self._spare = cap, spare
            self._move()
            self._smooth(anew=True)

    @contextmanager
    def watching(self, carrier: Carrier) -> Iterator[None]:
        """For the time of one body: what carries it is watched, and sends evenly."""
        with self._changed:
            self._carriers.append(carrier)
            self._smooth(anew=True)
        try:
            with self._pacing.watching(carrier.sample):
                yield
        finally:
            with self._changed:
                self._carriers.remove(carrier)
                self._smooth(anew=True)

    def forget(self) -> None:
        """The network may be another one: nothing that was learnt of the line holds."""
        self._pacing.forget()

    def _spare_changed(self, rate: float) -> None:
        """The line has more, or less, to spare than before."""
        with self._changed:
            self._spare_rate = rate
            self._move()

    def _move(self) -> None:
        """Under the lock: the rate that follows from what is allowed, and what the line has to spare."""
        rate = min(self._spare_rate, math.inf if self._cap is None else self._cap) if self._spare else self._cap
        self._bucket.set_rate(rate, time.monotonic())
        self._smooth()
        self._changed.notify_all()

    def _smooth(self, *, anew: bool = False) -> None:
        """Under the lock: has the kernel spread what is handed to it, where the rate, or who shares it, changed much.

        Where one connection cannot, all is handed over in small pieces.
        """
        wanted = smoothing(self._bucket.rate, len(self._carriers))
        if not anew and wanted and self._smoothed and abs(wanted - self._smoothed) <= _HARDLY * self._smoothed:
            return
        self._smoothed = wanted
        even = [carrier.smooth(wanted) for carrier in self._carriers]  # each of them: no `all` that ends early
        coarse = SMOOTHED if self._spare else STEADY
        self._bucket.set_steps(coarse if all(even) else FINE, time.monotonic())

    def wake(self) -> None:
        """Lets everyone who waits look at its `stop` again."""
        with self._changed:
            self._changed.notify_all()

    def steps_of(self, most: int) -> int:
        """The largest number of bytes, at most `most`, that is handed over without a rest; one step at least."""
        with self._changed:
            step = self._bucket.quantum
        return max(most // step, 1) * step

    def take(self, want: int, stop: Callable[[], bool]) -> int:
        """Waits until some of `want` bytes may go, and says how many; 0 once `stop` says so."""
        with self._changed:
            while not stop():
                now = time.monotonic()
                count = min(want, self._bucket.quantum)
                pause = self._bucket.wait(count, now)
                if pause <= 0:
                    self._bucket.spend(count, now)
                    return count
                self._changed.wait(min(pause, _PATROL))
            return 0


class _Nothing:
    """What a body is read from that has come to its end."""

    def readinto(self, _: memoryview, /) -> int:
        return 0


class BodyBroken(Exception):
    """Ends a request because its body failed; `cause` is what the reader raised, to be raised on untouched.

    HTTP libraries take an OSError out of a body for a network error. This is none, so it passes through them.
    """

    def __init__(self, cause: Exception) -> None:
        super().__init__(type(cause).__name__)
        self.cause = cause


_END = memoryview(b"")


class Body:
    """Exactly `size` bytes of `source`, handed over at the throttle's rate and counted on the way.

    All of it goes through one buffer: a large body costs no more memory than a small one, and no byte is copied.

    Attributes:
        handed: bytes handed to the HTTP library so far.
        early: whether it ended before its time because `stop` said so.
    """

    def __init__(
        self,
        source: Readable,
        size: int,
        what: str,
        throttle: Throttle,
        stop: Callable[[], bool],
        progress: Callable[[int], None] | None = None,
        handed_over: Callable[[], None] = lambda: None,
    ) -> None:
        """Reads nothing yet; `handed_over` is called with the last of its bytes, from the thread that sends."""
        self.handed = 0
        self.early = False
        self._source = source
        self._size = size
        self._what = what
        self._throttle = throttle
        self._stop = stop
        self._progress = progress
        self._handed_over = handed_over
        self._buffer = memoryview(bytearray(min(BLOCK, size)))
        self._block = self._buffer[:0]

    @property
    def complete(self) -> bool:
        """Whether every byte was handed over."""
        return self.handed == self._size

    def read(self, size: int = -1) -> memoryview:
        """The next bytes, once the throttle allows them; none at the end or where `stop` said so.

        They are good until the next call: whoever reads has sent them by then.

        Raises:
            BodyBroken: the reader raised, or ended before its size.
        """
        left = self._size - self.handed
        want = left if size < 0 else min(size, left)
        if not want:
            return _END
        if not self._block:
            self._fill(left)
        count = self._throttle.take(min(want, len(self._block)), self._stop)
        if not count:
            self.early = True
            return _END
        piece, self._block = self._block[:count], self._block[count:]
        self.handed += count
        if self._progress:
            self._progress(count)
        if self.complete:  # the HTTP libraries keep the request until the next one
            self._source, self._buffer, self._block = _Nothing(), _END, _END
            self._handed_over()
        return piece

    def _fill(self, left: int) -> None:
        try:
            count = self._source.readinto(self._buffer[: min(left, self._throttle.steps_of(BLOCK))])
        except Exception as error:
            raise BodyBroken(error) from error
        if not count:
            raise BodyBroken(Refused(f"{self._what} ended {left} bytes early", code="short"))
        self._block = self._buffer[:count]
