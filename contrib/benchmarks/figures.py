"""What the samples of a line say: delays, shares, and how soon one sender makes room for another. Pure."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SMOOTH = 0.5  # seconds over which a rate is told: five samples
YIELDED, BACK = 0.25, 0.75  # of the rate that it had alone
LASTING = 1.0  # seconds: the least that is left of a part when it has yielded; and that it must be back for


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of all do not exceed; nan where there is none."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)] if ranked else math.nan


def added(delays: Iterable[float | None], base: float) -> list[float]:
    """Milliseconds above `base` (seconds) of what came through; what did not is told by `lost`."""
    return [max(0.0, (delay - base) * 1000) for delay in delays if delay is not None]


def span(values: Iterable[float | None], digits: int | None = None) -> list[float | str]:
    """[the least, the greatest] over all runs; None is "never" and the greatest of all; [] where there is none."""
    ranked = sorted(math.inf if value is None else value for value in values)
    return ["never" if value == math.inf else round(value, digits) for value in (ranked[:1] + ranked[-1:])]


def worst(values: Iterable[float | None]) -> float:
    """The greatest, None counting as infinite; nan where there is none."""
    return max((math.inf if value is None else value for value in values), default=math.nan)


@dataclass(frozen=True)
class Counter:
    """A counter of bytes that was read again and again.

    Attributes:
        moments: seconds, ascending.
        totals: bytes until then.
    """

    moments: Sequence[float]
    totals: Sequence[float]

    def total(self, moment: float) -> float:
        """Bytes until a moment, between two readings as if they had come evenly."""
        right = bisect_left(self.moments, moment)
        if right == 0:
            return self.totals[0]
        if right == len(self.moments):
            return self.totals[-1]
        (before, after), (low, high) = self.moments[right - 1 : right + 1], self.totals[right - 1 : right + 1]
        return low + (high - low) * (moment - before) / (after - before)

    def rate(self, begin: float, end: float) -> float:
        """Bytes per second between two moments."""
        return (self.total(end) - self.total(begin)) / (end - begin)

    def _steps(self, begin: float, end: float) -> list[float]:
        count = max(0, math.floor((end - begin) / 0.1 + 1e-6))
        return [begin + step * 0.1 for step in range(count + 1)]

    def yields(self, begin: float, end: float, alone: float) -> float | None:
        """Seconds after `begin` from which on its rate was YIELDED of `alone` or less; None: not until `end`.

        It must have fallen so far, and be so low over all the rest: losing a round now and then is no yielding.
        """
        for moment in self._steps(begin, end - LASTING):
            if max(self.rate(moment, moment + SMOOTH), self.rate(moment, end)) <= YIELDED * alone:
                return moment - begin
        return None

    def returns(self, begin: float, end: float, alone: float) -> float | None:
        """Seconds after `begin` at which its rate was up to BACK of `alone`; None: not until `end`."""
        for moment in self._steps(begin, end - LASTING):
            if self.rate(moment, moment + LASTING) >= BACK * alone:
                return moment - begin
        return None
