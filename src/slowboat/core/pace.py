"""How fast to send so that nobody else on the uplink is slowed: from what TCP tells about our connections to a rate.

Knows round trips, acknowledged bytes, and moments in seconds of any clock that does not run backwards. Must not know
sockets, threads, or which clock it is: whoever samples hands the samples in, and spends what comes out.

The idea: what queues at the uplink's bottleneck shows as round trips longer than the shortest ones. As long as the
queue is short, the line has room. Once it grows, what is acknowledged per second is our share of a full line, and

    rate = acknowledged * (1 + gain * (target - queueing delay))

holds the queue at `target` when we are alone, and lets our share shrink as long as somebody else makes it longer.
docs/spare.md tells what was measured, and where each constant comes from.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slowboat.core.bucket import SEGMENT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SAMPLE_SECONDS = 0.025
"""Between two samples of the same connections."""

START = 32_000.0
"""Bytes per second to begin with on a line that nothing is known of."""
LEAST = 6_000.0
"""Bytes per second that are never gone below: two segments in half a second, so that samples keep coming."""
LEAST_SHARE = 0.03
"""Of the best rate seen, the part that is never gone below: what a foreground does not miss."""
MOST = 125e6
"""Bytes per second: a gigabit, beyond which nobody needs to be spared."""

TARGET = 0.030
"""Seconds of queue to aim at on a line without noise: as long as half a frame of video, and enough to keep it full."""
LARGEST_TARGET = 0.100
"""Seconds of queue to aim at on the noisiest line; a call does not suffer from as much."""
QUIET = 0.002
"""Seconds of deviation in round trips that a line without noise has."""

NOISE = 3.0
"""By how much of the deviation beyond QUIET the target is raised: what noise makes longer is no queue."""
ROOM = 0.25
"""The share of the target up to which a queue is none: the line has room."""
NOISY_ROOM = 0.5
"""The share of what noise added to the target that is added there, too."""
MOST_ROOM = 0.8
"""Of the target; a queue longer than that is one on any line."""

GAIN = 2.5
"""Share of the rate by which to correct for each second of queue too many or too few, at each decision."""
LONG_TRIP = 0.1
"""Seconds of round trip beyond which to correct more gently, as what comes of it shows that much later."""
YIELDING = 7.5
"""The same as GAIN where somebody else is on the line, and on the longest trips, too."""
DEEPEST_CUT = 0.9
"""The largest share of what is delivered that one decision takes away."""
CLIMB = 1.1
"""By how much one decision may raise the rate while there is a queue."""
RAMP = 1.3
"""By how much one decision raises the rate on a line whose end is not in sight."""
LEAD = 1.6
"""Never more than so many times what is being delivered: the next round trip has to show that it fits."""

_DECIDE_EVERY = 4  # samples
_WARM = 100  # samples before the best rate seen is taken for the line's
_NEAREST = 4  # samples of which the shortest counts as the round trip of now
_MEAN = 12  # samples of a mean: one round trip may lie, 0.3 s of them do not
_STEADY = 60  # samples of the mean deviation
_DELIVERED = 8  # samples over which what is delivered is counted
_SUSTAINED = 24  # samples over which a rate counts as the line's: acknowledgements come in bursts
_BASE_SECONDS, _BASE_SLOT = 600.0, 60.0  # how long the shortest round trip counts: routes change
_NOISE_SECONDS, _NOISE_SLOT = 20.0, 5.0
_FORGET_BEST = 0.998  # a decision; half of it in 35 s
_SILENT = 1.0  # seconds without an acknowledgement that count as a round trip at least
_IDLE_SECONDS = 2.0  # without anything on the line, the picture of it is old
_FIRST_DIP, _DIP_EVERY, _DIP_TO = 8.0, 30.0, 0.25
_CROWDED_SECONDS = 5.0
_OTHERS_FOR = 5  # decisions in a row that see somebody else, before that is told
_STUCK_SECONDS = 4.0
_DELAYED_ACK = 0.045  # RFC 1122, 4.2.3.2, as Linux does it: 40 ms, and a little


@dataclass(frozen=True, slots=True)
class Sample:
    """What TCP knows of one connection that carries a body, at one moment.

    Attributes:
        connection: tells connections apart; never used again for another one.
        path: where it leads; connections there have the shortest round trip in common.
        rtt: the smoothed round trip, seconds.
        deviation: of round trips, smoothed, seconds.
        shortest: the shortest round trip on this connection, seconds; 0.0: not known.
        acked: bytes acknowledged since it was opened.
        delivered: segments acknowledged since it was opened.
        waiting: whether it has bytes on the way, or for the way.
        silent: seconds since the last acknowledgement.
    """

    connection: int
    path: str
    rtt: float
    deviation: float
    shortest: float
    acked: int
    delivered: int
    waiting: bool
    silent: float


class _Lowest:
    """The lowest of the values of the last `span` seconds, give or take a slot."""

    def __init__(self, span: float, slot: float) -> None:
        self._span = span
        self._slot = slot
        self._slots: deque[tuple[float, float]] = deque()

    def note(self, value: float, now: float) -> None:
        start = now // self._slot * self._slot
        if self._slots and self._slots[-1][0] == start:
            value = min(value, self._slots.pop()[1])
        self._slots.append((start, value))
        while self._slots[0][0] <= now - self._span:
            self._slots.popleft()

    def at(self, now: float) -> float | None:
        return min((value for start, value in self._slots if start > now - self._span - self._slot), default=None)


class _Path:
    """The round trips to one place: how long they are now, and how short and how steady they can be."""

    def __init__(self) -> None:
        self._near: deque[float] = deque(maxlen=_NEAREST)
        self._mean: deque[float] = deque(maxlen=_MEAN)
        self._deviations: deque[float] = deque(maxlen=_STEADY)
        self._base = _Lowest(_BASE_SECONDS, _BASE_SLOT)
        self._noise = _Lowest(_NOISE_SECONDS, _NOISE_SLOT)

    def note(self, rtt: float, deviation: float, now: float) -> None:
        self._near.append(rtt)
        self._mean.append(rtt)
        self._deviations.append(deviation)
        if len(self._mean) == _MEAN:
            self._base.note(math.fsum(self._mean) / _MEAN, now)
        if len(self._deviations) == _STEADY:
            self._noise.note(math.fsum(self._deviations) / _STEADY, now)

    def view(self, now: float, segment: float) -> _View | None:
        """What it looks like now; None where the shortest round trip is not known yet.

        What the line's own noise hides must not look like somebody else, nor must a segment behind another one.

        Args:
            now: this moment.
            segment: seconds that one takes to go through the bottleneck.
        """
        base = self._base.at(now)
        if base is None:
            return None
        queue = max(0.0, min(self._near) - base)
        noise = NOISE * max(0.0, (self._noise.at(now) or 0.0) - QUIET - segment)
        target = min(LARGEST_TARGET, TARGET + noise)
        room = min(MOST_ROOM * target, ROOM * TARGET + segment + NOISY_ROOM * (target - TARGET))
        return _View(queue, target, room, base + queue)


@dataclass(frozen=True, slots=True, order=True)
class _View:
    """What a path looks like at one moment, all in seconds.

    Attributes:
        queue: how long a segment waits in queues.
        target: how long it should.
        room: up to how long the line has room.
        trip: the round trip.
    """

    queue: float
    target: float
    room: float
    trip: float


@dataclass(slots=True)
class _Ear:
    """One connection, as heard so far.

    Attributes:
        last: the newest sample.
        rtt: the newest single round trip, seconds.
        idle: samples in a row with nothing on the way.
    """

    last: Sample
    rtt: float
    idle: int = 0

    def hear(self, new: Sample) -> int:
        """Takes a sample in; answers the bytes acknowledged since the one before."""
        old, self.last = self.last, new
        self.idle = 0 if new.waiting else self.idle + 1
        segments = new.delivered - old.delivered
        if 0 < segments < _NEAREST:
            # TCP smooths by an eighth for each acknowledgement; of one or two, the single round trip can be had back.
            # Not below the shortest one: a mean that was lowered in between would give nonsense.
            self.rtt = max(new.shortest, old.rtt + 8 * (new.rtt - old.rtt))
        elif segments:
            self.rtt = new.rtt
        elif new.waiting and new.silent > _SILENT:
            self.rtt = max(self.rtt, new.silent)
        return max(0, new.acked - old.acked)

    @property
    def tells(self) -> bool:
        """Whether its round trip is of now."""
        return self.idle < _MEAN and self.rtt > 0


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

    def forget(self, now: float) -> None:
        """Begins anew: this is another network, or the old one after a long sleep."""
        self._rate = START
        self._best = 0.0
        self._ramping = True
        self._paths: dict[str, _Path] = {}
        self._ears: dict[int, _Ear] = {}
        self._delivered: deque[tuple[float, int]] = deque(maxlen=_SUSTAINED)
        self._last = self._stuck_since = now
        self._samples = 0
        self._detour: _Detour | None = None
        self._next_dip = now + _FIRST_DIP
        self._others = 0
        self._seen_others = -math.inf
        self._patience = _STUCK_SECONDS

    def feed(self, samples: Sequence[Sample], now: float) -> None:
        """Takes in one sample of each connection that carries a body now; every `SAMPLE_SECONDS`, or nearly."""
        if now - self._last > _IDLE_SECONDS:
            self._after_silence(now)
        acked = self._hear(samples, now)
        self._delivered.append((max(0.0, now - self._last), acked))
        self._last = now
        self._samples += 1
        if self._samples % _DECIDE_EVERY == 0 and self._ears:
            self._decide(now)

    def _after_silence(self, now: float) -> None:
        """Somebody may have come meanwhile: as much as was fine then is climbed to again, from well below."""
        self._rate = min(self._rate, max(START, self._best / 4))
        self._ramping = True
        self._delivered.clear()
        self._detour = None
        self._last = self._stuck_since = now
        self._next_dip = max(self._next_dip, now + _FIRST_DIP)

    def _hear(self, samples: Sequence[Sample], now: float) -> int:
        """Bytes acknowledged since the last time; each path is told its shortest round trip of this moment."""
        acked, nearest = 0, dict[str, tuple[float, float]]()
        ears, self._ears = self._ears, {}
        for sample in samples:
            ear = self._ears[sample.connection] = ears.get(sample.connection) or _Ear(sample, sample.rtt)
            acked += ear.hear(sample)
            if ear.tells:
                told = (ear.rtt, sample.deviation)
                nearest[sample.path] = min(told, nearest.get(sample.path, told))
        for path, (rtt, deviation) in nearest.items():
            self._paths.setdefault(path, _Path()).note(rtt, deviation, now)
        return acked

    def _decide(self, now: float) -> None:
        """One decision, from the path with the shortest queue: the uplink's is on all of them."""
        segment = SEGMENT / max(self._best, LEAST)
        used = {ear.last.path for ear in self._ears.values()} & self._paths.keys()
        views = [view for name in used if (view := self._paths[name].view(now, segment))]
        if not views:
            return
        view, got = min(views), self._got(_DELIVERED)
        if self._detour is not None:
            self._follow(self._detour, now)
        else:
            self._correct(view, got, now)
            self._look_away(view, got, now)
        self._rate = max(LEAST, LEAST_SHARE * self._best, min(MOST, self._rate))

    def _got(self, samples: int) -> float:
        """Bytes acknowledged per second, over so many samples."""
        newest = list(self._delivered)[-samples:]
        seconds = math.fsum(seconds for seconds, _ in newest)
        return sum(count for _, count in newest) / seconds if seconds else 0.0

    def _follow(self, detour: _Detour, now: float) -> None:
        self._rate = detour.rate(now)
        if now > detour.end:
            self._detour = None
            self._stuck_since = now

    def _correct(self, view: _View, got: float, now: float) -> None:
        """The law itself: on a full line from what is delivered, on one with room upwards."""
        if view.queue < 2 * view.target:
            self._best = max(self._best * _FORGET_BEST, self._got(_SUSTAINED))
        missing = view.target - view.queue
        gain = GAIN * min(1.0, LONG_TRIP / view.trip)
        if view.queue > view.room:
            step = (YIELDING if self._sees_others(view, got, now) else gain) * missing
            self._rate = min(self._rate * CLIMB, got * (1 + max(-DEEPEST_CUT, step)))
            self._ramping = False
            return
        if self._rate < 0.6 * self._best:
            self._ramping = True
        elif self._best and self._rate > 0.85 * self._best and self._samples > _WARM:
            self._ramping = False
        most = LEAD * got + 2 * SEGMENT / (SAMPLE_SECONDS * _DECIDE_EVERY)
        self._rate = max(self._rate, min(self._rate * (RAMP if self._ramping else 1 + gain * missing), most))

    def _sees_others(self, view: _View, got: float, now: float) -> bool:
        """Whether somebody else is on the full line: it is fuller than we make it, and gives us less than it did."""
        others = view.queue > 1.5 * view.target and got < 0.9 * self._best
        self._others = self._others + 1 if others else 0
        if self._others >= _OTHERS_FOR:
            self._seen_others = now
        return others

    def _look_away(self, view: _View, got: float, now: float) -> None:
        """Sends a moment less, or more, now and then, to see what our own sending hides.

        Less: our own queue drains, and the shortest round trip shows again. More: below a few segments in each
        delayed acknowledgement, those look like a queue, and hold the rate down though the line is free.
        """
        lone = min(4 * SEGMENT / 0.05 * max(1, len(self._ears)), 0.9 * self._best)
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
