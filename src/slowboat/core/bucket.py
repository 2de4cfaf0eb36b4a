"""How much may go over the line now: a token bucket, as arithmetic.

Knows bytes, rates in bytes per second, and moments in seconds of any clock that does not run backwards. Must
not know threads, sockets, or which clock it is: whoever waits hands the moments in.

The sizes of quantum and burst were measured over a home uplink behind a large buffer; docs/swift.md ("The rate")
says how, and what coarser ones do to the other hosts of the household.
"""

from __future__ import annotations

import math

SEGMENT = 1448
"""Bytes of payload in one full TCP segment over Ethernet with time stamps (1500 - 20 - 32)."""

SMALLEST_QUANTUM = 2 * SEGMENT
"""Two segments: a lone one meets the receiver's delayed acknowledgement (RFC 1122, 4.2.3.2)."""

LARGEST_QUANTUM = 16384
"""What an HTTP library asks its body for at once (urllib3's block size)."""

UNCAPPED_QUANTUM = 65536
"""Where nothing is to be held back: each handing over costs the processor time, whatever its size."""

QUANTUM_SECONDS = 0.010
BURST_SECONDS = 0.020


def quantum(rate: float | None) -> int:
    """Bytes to hand over at once: 10 ms of `rate`, at least two segments, at most 16 KiB; 64 KiB without a cap."""
    if rate is None:
        return UNCAPPED_QUANTUM
    return int(min(LARGEST_QUANTUM, max(SMALLEST_QUANTUM, rate * QUANTUM_SECONDS)))


def burst(rate: float) -> float:
    """The most bytes that may go at once after a silence: 20 ms of `rate`, or one quantum where that is more."""
    return max(rate * BURST_SECONDS, float(quantum(rate)))


class Bucket:
    """Tokens that come at `rate` and are spent a byte each.

    Over any stretch of time no more is spent than the rate times its length, plus one `burst(rate)`.

    Args:
        rate: bytes per second; 0 stands still, None is without a cap.
        now: the moment it begins, full.
    """

    def __init__(self, rate: float | None, now: float) -> None:
        self._rate = _checked(rate)
        self._then = now
        self._tokens = 0.0 if rate is None else burst(rate)

    @property
    def rate(self) -> float | None:
        """Bytes per second; 0 stands still, None is without a cap."""
        return self._rate

    @property
    def quantum(self) -> int:
        """Bytes to hand over at once at today's rate."""
        return quantum(self._rate)

    def set_rate(self, rate: float | None, now: float) -> None:
        """Changes the rate from `now` on; what was saved up before counts for no more than the new burst.

        Raises:
            ValueError: the rate is negative or not a number.
        """
        rate = _checked(rate)
        self._refill(now)
        self._rate = rate
        self._tokens = 0.0 if rate is None else min(self._tokens, burst(rate))

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
            self._tokens = min(burst(self._rate), self._tokens + elapsed * self._rate)


def _checked(rate: float | None) -> float | None:
    if rate is not None and not 0 <= rate < math.inf:
        raise ValueError(f"a rate is a number of bytes per second from 0 up, or None, not {rate!r}")
    return rate
