"""How fast to send so that nobody else on the uplink is slowed: from what TCP tells about our connections to a rate.

Knows what the law is, and moments in seconds of any clock that does not run backwards. Must not know sockets, threads,
or which clock it is: whoever samples hands the samples in, and spends what comes out. What they show is `uplink`'s.

The idea: what queues at the uplink's bottleneck shows as round trips longer than the shortest ones. As long as the
queue is short, the line has room. Once it grows, what is acknowledged per second is our share of a full line, and

    rate = acknowledged * (1 + gain * (target - queueing delay))

holds the queue at `target` when we are alone, and lets our share shrink as long as somebody else makes it longer.
docs/spare.md tells what was measured, and where each constant comes from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slowboat.core.bucket import SEGMENT
from slowboat.core.uplink import NOW, SAMPLE_SECONDS, SUSTAINED, TARGET, Uplink

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from slowboat.core.uplink import Sample, View

START = 32_000.0
"""Bytes per second to begin with on a line that nothing is known of."""
LEAST = 6_000.0
"""Bytes per second that are never gone below: two segments in half a second, so that samples keep coming."""
LEAST_SHARE = 0.012
"""Of the best rate seen, the part that is never gone below: what a foreground does not miss."""
MOST = 125e6
"""Bytes per second: a gigabit, beyond which nobody needs to be spared."""

GAIN = 1.25
"""Share of the rate by which to correct for each second of queue too many or too few, at each decision."""
LONG_TRIP = 0.1
"""Seconds of round trip beyond which to correct more gently, as what comes of it shows that much later."""
YIELDING = 10.0
"""The same as GAIN where somebody else is on the line, on the longest trips, too; more where the buffer is short."""
DEEPEST_CUT = 0.9
"""The largest share of what is delivered that one decision takes away."""
OTHERS_QUEUE = 1.2
"""So many times the queue that we aim at when alone is not of our making."""
BESIDE_OTHERS = 0.005
"""Seconds of queue to aim at beside others: their windows grow by what they find free, and slowly where there is a
queue already."""
BESIDE_SECONDS = 2.0
"""For how long after they were seen."""
CALM = 20
"""Samples over which what goes through is counted on a noisy line."""
CLIMB = 1.05
"""By how much one decision may raise the rate while there is a queue."""
RAMP = 0.3
"""By how much more to send at each decision on a line whose end is not in sight."""
BEYOND = 0.3
"""How much more gently to climb beyond the best rate seen lately; faster with each second that there is no queue."""
RETURN = 2.0
"""By how much one decision may raise the rate up to KNOWN, once a line that was full has no queue any more."""
KNOWN = 0.3
"""The share of the best rate seen lately that fits a line without a queue."""
LEAD = 2.0
"""Never more than so many times what is being delivered: the next round trip has to show that it fits."""

_DECIDE_EVERY = 2  # samples
_WARM = 100  # samples before the best rate seen is taken for the line's
_FORGET_BEST = 0.999  # a decision; half of it in 35 s
_IDLE_SECONDS = 2.0  # without anything on the line, the picture of it is old
_FIRST_DIP, _DIP_EVERY, _DIP_TO = 8.0, 30.0, 0.25
_CROWDED_SECONDS = 5.0
_RETURN_SECONDS = 0.12  # without a queue before the rate returns to what is known: two looks
_GAP_SECONDS = 1.0  # room in a short buffer that is not taken while others are about
_OTHERS_FOR = 8  # decisions that see somebody else, less those that do not, before that is told
_STUCK_SECONDS = 4.0
_DELAYED_ACK = 0.045  # RFC 1122, 4.2.3.2, as Linux does it: 40 ms, and a little


@dataclass(frozen=True, slots=True)
class _Detour:
    """Two rates, each until a moment, that hold whatever the queue says: to look at the line without our own queue."""

    first: float
    until: float
    then: float
    end: float

    def rate(self, now: float) -> float:
        return self.first if now < self.until else self.then


class Pace:
    """The rate that leaves the line to everybody else, moved by samples.

    Args:
        now: the moment it begins.
        chance: gives numbers from 0 to 1, so that two daemons do not dip at the same moment.
    """

    def __init__(self, now: float, chance: Callable[[], float]) -> None:
        self._chance = chance
        self.forget(now)

    @property
    def rate(self) -> float:
        """Bytes per second to send at, from now on."""
        return self._rate

    def crowded(self, now: float) -> bool:
        """Whether somebody else was seen on the line in the last seconds."""
        return now - self._seen_others < _CROWDED_SECONDS

    def added_delay(self, now: float) -> float:
        """Seconds that bytes wait at the line's narrowest place, as seen in the last seconds; 0.0 where nothing was."""
        return self._queue if now - self._queue_seen < _CROWDED_SECONDS else 0.0

    def forget(self, now: float) -> None:
        """Begins anew: this is another network, or the old one after a long sleep."""
        self._rate = START
        self._best = 0.0
        self._ramping = True
        self._uplink = Uplink()
        self._last = self._heard = self._stuck_since = now
        self._queue, self._queue_seen = 0.0, -math.inf
        self._samples = 0
        self._detour: _Detour | None = None
        self._next_dip = now + _FIRST_DIP
        self._others = 0
        self._seen_others = self._met_others = -math.inf
        self._room_since = math.inf
        self._patience = _STUCK_SECONDS

    def feed(self, samples: Sequence[Sample], now: float) -> None:
        """Takes in one sample of each connection that carries a body now; every `SAMPLE_SECONDS`, or nearly."""
        if samples:
            if now - self._heard > _IDLE_SECONDS:
                self._after_silence(now)
            self._heard = now
        self._uplink.hear(samples, now - self._last, now, self._rate)
        self._last = now
        self._samples += 1
        if self._samples % _DECIDE_EVERY == 0 and self._uplink.connections:
            self._decide(now)

    def _after_silence(self, now: float) -> None:
        """Somebody may have come meanwhile: as much as was fine then is climbed to again, from well below."""
        self._rate = min(self._rate, max(START, self._best / 4))
        self._ramping = True
        self._uplink.nothing_delivered_yet()
        self._detour = None
        self._last = self._stuck_since = now
        self._next_dip = max(self._next_dip, now + _FIRST_DIP)

    def _decide(self, now: float) -> None:
        aim = BESIDE_OTHERS if now - self._met_others < BESIDE_SECONDS else TARGET
        view = self._uplink.view(now, SEGMENT / max(self._best, LEAST), aim)
        if view is None:
            return
        self._queue, self._queue_seen = max(0.0, view.queue), now
        got = self._uplink.delivered(NOW)
        if self._detour is not None:
            self._follow(self._detour, now)
        else:
            self._correct(view, got, now)
            self._probe_line(view, got, now)
        self._rate = max(LEAST, LEAST_SHARE * self._best, min(MOST, self._rate))

    def _follow(self, detour: _Detour, now: float) -> None:
        self._rate = detour.rate(now)
        if now > detour.end:
            self._detour = None
            self._stuck_since = now

    def _correct(self, view: View, got: float, now: float) -> None:
        """The law itself: on a full line from what is delivered, on one with room upwards."""
        if view.queue < 2 * view.target:
            self._best = max(self._best * _FORGET_BEST, self._uplink.delivered(SUSTAINED))
        gain = GAIN * min(1.0, LONG_TRIP / view.trip)
        if view.queue > view.room:
            self._room_since = math.inf
            self._ramping = False
            self._share_the_line(view, got, gain, now)
        else:
            self._room_since = min(self._room_since, now)
            if not self._is_a_gap(view, now):
                self._take_the_room(view, got, gain, now)

    def _share_the_line(self, view: View, got: float, gain: float, now: float) -> None:
        """There is a queue: what is delivered is our share, and what we ourselves did not send is added to it."""
        missed = self._uplink.missed(view.trip, now)
        if self._sees_others(view, got + missed, now):
            gain = YIELDING * (TARGET / view.aim if view.short else 1.0)
        elif view.noisy:
            got = self._uplink.delivered(CALM)
        share = (got + missed) * (1 + max(-DEEPEST_CUT, gain * (view.target - view.queue)))
        if view.noisy and view.queue < view.target:
            share = max(self._rate, share)  # the lower of two noisy numbers, again and again, would go down for ever
        self._rate = min(self._rate if missed else self._rate * CLIMB, share)

    def _take_the_room(self, view: View, got: float, gain: float, now: float) -> None:
        """There is no queue: upwards."""
        self._others = 0
        if self._rate < 0.6 * self._best:
            self._ramping = True
        elif self._best and self._rate > 0.85 * self._best and self._samples > _WARM:
            self._ramping = False
        since = now - self._room_since
        if since > _RETURN_SECONDS:
            self._rate = max(self._rate, min(RETURN * self._rate, KNOWN * self._best))
        if self._ramping:
            climb = RAMP * min(1.0, LONG_TRIP / view.trip)
        else:
            climb = gain * (view.target - view.queue) * ((1.0 if self._rate < self._best else BEYOND) + since)
        most = LEAD * got + 2 * SEGMENT / (SAMPLE_SECONDS * _DECIDE_EVERY)
        self._rate = max(self._rate, min(self._rate * (1 + climb), most))

    def _sees_others(self, view: View, got: float, now: float) -> bool:
        """Whether somebody else is on the full line: it is fuller than we make it, and gives us less than it did."""
        others = view.queue > OTHERS_QUEUE * view.alone and got < 0.9 * self._best
        self._others = self._others + 1 if others else max(0, self._others - 1)
        if others:
            self._met_others = now
        if self._others >= _OTHERS_FOR:
            self._seen_others = now
        return others

    def _is_a_gap(self, view: View, now: float) -> bool:
        """Whether this room is others', drawing breath: where the buffer is short, their uploads back off often."""
        return view.short and now - self._met_others < _CROWDED_SECONDS and now - self._room_since < _GAP_SECONDS

    def _probe_line(self, view: View, got: float, now: float) -> None:
        """Sends a moment less, or more, now and then, to see what our own sending hides.

        Less: our own queue drains, and the shortest round trip shows again. More: below a few segments in each
        delayed acknowledgement, those look like a queue, and hold the rate down though the line is free.
        """
        lone = min(4 * SEGMENT / 0.05 * max(1, self._uplink.connections), 0.9 * self._best)
        if not (self._rate < 0.8 * lone and view.room < view.queue < view.target + _DELAYED_ACK):
            self._stuck_since = now
        if now - self._stuck_since > self._patience:
            self._detour = _Detour(lone, now, lone, now + 0.3)
            self._patience = min(2 * self._patience, _DIP_EVERY)
        elif now > self._next_dip and view.queue < 3 * view.target:
            rate, low = min(self._rate, got), now + 0.2 + (view.queue + 0.02) / (1 - _DIP_TO)
            self._detour = _Detour(_DIP_TO * rate, low, 0.9 * rate, low + 0.1)
            self._next_dip = now + _DIP_EVERY * (0.8 + 0.4 * self._chance())
        if self._rate >= lone:
            self._patience = _STUCK_SECONDS
