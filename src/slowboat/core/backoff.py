"""How long to wait after a trouble that may pass.

Full jitter (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/): many laptops that lost the
same server do not come back in step. Knows attempts and seconds; must not know why, nor any clock or dice: both are
passed in.
"""

from __future__ import annotations

FIRST = 2.0
"""Seconds, the upper end of the first wait: a lost Wi-Fi association is back in about that."""
LONGEST = 900.0
"""Seconds: a server that was down for a day is found again within a quarter of an hour."""
FROM_SERVER = 6 * 3600.0
"""Seconds: what a server may ask for at most. One misconfigured header must not stop a backup for a year."""

TRY_AGAIN = 3600.0
"""Seconds until what needs the user is tried again unasked: quota may have been freed elsewhere."""
CACHE_IN_USE = 30.0
"""Seconds until duplicity's cache is tried again while duplicity is running: most of its runs are minutes."""

CLOCK_SLACK = 60.0
"""Seconds by which a clock is corrected without anybody having set it."""


def wait(attempt: int, chance: float, retry_after: float | None = None) -> float:
    """Seconds to wait before try number `attempt` + 1.

    Args:
        attempt: how many tries in a row have failed, from 1.
        chance: a random number in [0, 1).
        retry_after: what the server asked for, in seconds; the wait is never shorter.
    """
    ceiling = min(LONGEST, FIRST * 2.0 ** min(max(attempt, 1) - 1, 20))
    own = ceiling * (0.1 + 0.9 * chance)
    return max(own, min(retry_after or 0.0, FROM_SERVER))


def remaining(until: float, now: float) -> float:
    """Seconds left to a remembered time; none where it is so far off that only a clock set back can explain it.

    A wait that is merely cut to the longest would begin anew at each look, until the clock has caught up.
    """
    left = until - now
    return left if 0.0 < left <= FROM_SERVER + CLOCK_SLACK else 0.0
