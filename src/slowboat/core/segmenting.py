"""What is known of the line, and how large a segment should therefore be.

Knows rates and interruptions as numbers; must not know sockets or clocks. A segment is what is lost at most when
the line breaks, so it follows two things: how much goes through in a quarter of a minute, and how long the line
usually holds. docs/swift.md tells why segments exist at all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slowboat.core.words import Limits

MIB = 1 << 20
SMALLEST = MIB
"""Swift serves an SLO of smaller segments at one segment a second (rate_limit_under_size), so a COPY would crawl.

https://docs.openstack.org/swift/latest/middleware.html#static-large-objects
"""
LARGEST = 64 * MIB
"""Beyond this a request's fixed cost is already below one in a thousand; a larger one only loses more."""
SECONDS = 15.0
"""A segment's time on the line: long beside a round trip, short beside a person's patience."""
SHARE = 25.0
"""A segment takes at most this part of the time that the line holds: then a break loses 2 % on average."""
TELLING = MIB // 16
"""Bytes from which a body tells anything of the line: less is gone before the first answer."""
WEIGHT = 0.3
"""Of the newest sample in a running mean."""
MOST_SEGMENTS = 1000
"""Ours, and OpenStack's default max_manifest_segments."""


@dataclass(frozen=True, slots=True)
class UplinkEstimate:
    """A running picture of the uplink.

    Attributes:
        rate: bytes per second of one lane (one upload) while sending; 0.0: not known yet.
        holds: seconds of sending between two interruptions by the world; 0.0: none has been seen.
        since: seconds of sending since the last interruption.
    """

    rate: float = 0.0
    holds: float = 0.0
    since: float = 0.0

    def sent(self, count: int, seconds: float, lanes: int = 1) -> UplinkEstimate:
        """After `count` bytes went through one of `lanes` in `seconds`; samples too short to tell are only counted."""
        since = self.since + max(0.0, seconds) / max(1, lanes)
        holds = since if self.holds and since > 2 * self.holds else self.holds
        if seconds < 0.05 or count < TELLING:
            return replace(self, since=since, holds=holds)
        sample = count / seconds
        rate = sample if not self.rate else self.rate + WEIGHT * (sample - self.rate)
        return replace(self, rate=rate, since=since, holds=holds)

    def broke(self, seconds: float, lanes: int = 1) -> UplinkEstimate:
        """After the world interrupted us, `seconds` after the lane's last confirmation.

        The lanes of one line break together: what the others tell in the moments after is the same interruption.
        """
        lasted = self.since + max(0.0, seconds) / max(1, lanes)
        if not self.since and lasted < self.holds / 2:
            return self
        holds = lasted if not self.holds else self.holds + WEIGHT * (lasted - self.holds)
        return replace(self, holds=max(holds, 0.1), since=0.0)

    def text(self) -> str:
        """For the ledger; `parse` reads it back."""
        return f"{self.rate:.0f} {self.holds:.1f} {self.since:.1f}"


def parse(text: str) -> UplinkEstimate:
    """The line as remembered; an unknown one where the text is empty or not ours."""
    try:
        rate, holds, since = (max(0.0, float(word)) for word in text.split())
    except ValueError:
        return UplinkEstimate()
    return UplinkEstimate(rate, holds, since)


def in_pieces_of(estimate: UplinkEstimate, most: int) -> UplinkEstimate:
    """The line as it is to be cut for where no piece should have more than about `most` bytes (but see SMALLEST)."""
    return replace(estimate, rate=min(estimate.rate, most / SECONDS))


def segment_size(size: int, estimate: UplinkEstimate, limits: Limits) -> int:
    """Bytes per segment for an object of `size` bytes: a whole number of MiB, so that few sizes are in use.

    On a line nothing is known of, the smallest: the first interruption then costs a second. Never more than the
    server's largest object; only where that is less than a MiB is it no whole number of them.
    """
    wish = estimate.rate * SECONDS
    if estimate.holds:
        wish = min(wish, estimate.rate * estimate.holds / SHARE)
    least = -(-size // min(MOST_SEGMENTS, limits.max_segments))
    wish = max(min(max(wish, SMALLEST), LARGEST), least, limits.min_segment)
    return min(-(-int(wish) // MIB) * MIB, limits.max_object // MIB * MIB or limits.max_object)


def usual_sizes() -> range:
    """The sizes of segments that any object of up to a thousand of the largest may have got."""
    return range(SMALLEST, LARGEST + 1, MIB)


def lanes(estimate: UplinkEstimate, most: int) -> int:
    """How many objects may be under way at once: one where the line breaks so often that each costs too much.

    Every break loses half a segment in each lane, and a segment cannot be smaller than `SMALLEST`.
    """
    fragile = estimate.holds > 0.0 and estimate.rate * estimate.holds / SHARE < SMALLEST
    return 1 if fragile else most


def fits_one_put(size: int, estimate: UplinkEstimate, limits: Limits) -> bool:
    """Whether the object goes up as one PUT: two segments' worth, half a minute, small enough to hold in memory."""
    return size <= min(2 * segment_size(0, estimate, limits), LARGEST // 2, limits.max_object)


def cut(size: int, segment: int) -> tuple[tuple[int, int], ...]:
    """The segments of an object as (offset, length) in bytes; at least one, none empty but for an empty object."""
    return tuple((at, min(segment, size - at)) for at in range(0, size, segment)) or ((0, 0),)
