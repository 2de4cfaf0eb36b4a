"""How much may go over the line now: a token bucket, as arithmetic.

Knows bytes, rates in bytes per second, and moments in seconds of any clock that does not run backwards. Must
not know threads, sockets, or which clock it is: whoever waits hands the moments in.

Who sends may have the kernel smooth what it is handed (SO_MAX_PACING_RATE, `smoothed`): then more may be handed over at
once, and less often, and what a late wake-up missed is caught up with, and there is no burst on the line all the same.

The sizes of quantum and burst were measured over a home uplink behind a large buffer; docs/swift.md ("The rate")
says how, and what coarser ones do to the other hosts of the household.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

SEGMENT = 1448
"""Bytes of payload in one full TCP segment over Ethernet with time stamps (1500 - 20 - 32)."""

TLS_RECORD = 32
"""Bytes that TLS adds to what is written at once, at most (RFC 8446, 5.2: 22; RFC 5288: 29)."""

SMALLEST_QUANTUM = 2 * SEGMENT - TLS_RECORD
"""Two segments, and not a few bytes in a third: a lone one meets the receiver's delayed acknowledgement (RFC 1122,
4.2.3.2), and the round trip then looks longer by 40 ms."""

UNCAPPED_QUANTUM = 65_536
"""Where nothing is to be held back: each handing over costs the processor time, whatever its size."""


@dataclass(frozen=True, slots=True)
class Steps:
    """How finely a rate is spent.

    Attributes:
        seconds: of the rate to hand over at once.
        most: bytes to hand over at once, at most.
        saved: seconds of the rate that may be saved up while nobody spends.
    """

    seconds: float
    most: int
    saved: float

    def quantum(self, rate: float | None) -> int:
        """Bytes to hand over at once: two segments at least."""
        if rate is None:
            return UNCAPPED_QUANTUM
        return int(min(self.most, max(SMALLEST_QUANTUM, rate * self.seconds)))

    def burst(self, rate: float) -> float:
        """The most bytes that may go at once after a silence; one quantum where that is more."""
        return max(rate * self.saved, float(self.quantum(rate)))


FINE = Steps(0.010, 16384, 0.020)
"""Where what is handed over goes out at once."""
SMOOTHED = Steps(0.010, 65_536, 0.050)
"""Where the kernel smooths it: 100 wake-ups a second, 190 at 100 Mbit/s, and one that comes a twentieth of a second
late loses nothing. An HTTP library asks its body for so much at once."""
STEADY = Steps(0.030, 65_536, 0.100)
"""The same where nobody follows the line's queue: 33 wake-ups a second. Steps of 25 ms made that queue 10 ms longer."""

SMOOTHING = 1.04
"""By how much faster than the rate the kernel may send: it catches up, and does not hold back what comes in time. At
1.1 the queue of a busy machine (95 of 100 pings) was half as long again, in a model of a line of 8 Mbit/s."""


def smoothing(rate: float | None, connections: int) -> int | None:
    """Bytes per second at which the kernel is to smooth each of so many connections; None for not at all."""
    return None if not rate else int(max(rate * SMOOTHING / max(1, connections), 1.0))


class Bucket:
    """Tokens that come at `rate` and are spent a byte each.

    Over any stretch of time no more is spent than the rate times its length, plus one `steps.burst(rate)`.

    Args:
        rate: bytes per second; 0 stands still, None is without a cap.
        now: the moment it begins, full.
        steps: how finely it is spent.
    """

    def __init__(self, rate: float | None, now: float, steps: Steps = FINE) -> None:
        self._rate = _checked(rate)
        self._then = now
        self._steps = steps
        self._tokens = 0.0 if rate is None else steps.burst(rate)

    @property
    def rate(self) -> float | None:
        """Bytes per second; 0 stands still, None is without a cap."""
        return self._rate

    @property
    def quantum(self) -> int:
        """Bytes to hand over at once at today's rate."""
        return self._steps.quantum(self._rate)

    @property
    def steps(self) -> Steps:
        """How finely it is spent."""
        return self._steps

    def set_steps(self, steps: Steps, now: float) -> None:
        """Changes how finely it is spent from `now` on."""
        self._refill(now)
        self._steps = steps
        self._tokens = min(self._tokens, steps.burst(self._rate)) if self._rate is not None else 0.0

    def set_rate(self, rate: float | None, now: float) -> None:
        """Changes the rate from `now` on; what was saved up before counts for no more than the new burst.

        Raises:
            ValueError: the rate is negative or not a number.
        """
        rate = _checked(rate)
        self._refill(now)
        self._rate = rate
        self._tokens = 0.0 if rate is None else min(self._tokens, self._steps.burst(rate))

    def wait(self, count: int, now: float) -> float:
        """Seconds from `now` until `count` bytes may be spent; 0.0: now, infinity: never at this rate.

        Args:
            count: bytes, at most one `quantum`.
            now: this moment.
        """
        if self._rate is None:
            return 0.0
        if self._rate == 0:
            return math.inf
        self._refill(now)
        return max(0.0, (count - self._tokens) / self._rate)

    def spend(self, count: int, now: float) -> None:
        """Takes `count` bytes at `now`; `wait` must have answered 0.0."""
        if self._rate is not None:
            self._refill(now)
            self._tokens -= count

    def _refill(self, now: float) -> None:
        elapsed = max(0.0, now - self._then)
        self._then = max(now, self._then)
        if self._rate:
            self._tokens = min(self._steps.burst(self._rate), self._tokens + elapsed * self._rate)


def _checked(rate: float | None) -> float | None:
    if rate is not None and not 0 <= rate < math.inf:
        raise ValueError(f"a rate is a number of bytes per second from 0 up, or None, not {rate!r}")
    return rate
