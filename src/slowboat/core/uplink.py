"""What TCP tells about our own connections, made into what an uplink looks like: its queue, and what goes through.

Knows round trips, acknowledged bytes, and moments in seconds of any clock that does not run backwards. Must not know
sockets, nor what follows for the rate: that is `pace`. docs/spare.md tells where each constant comes from.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

SAMPLE_SECONDS = 0.025
"""Between two samples of the same connections."""

TARGET = 0.020
"""Seconds of queue to aim at on a line without noise: shorter than a frame of video, and enough to keep it full."""
LEAST_TARGET = 0.005
"""Seconds of queue to aim at where even short queues overflow; shorter ones leave gaps on slow lines."""
OF_THE_BUFFER = 1 / 3
"""The share of a short buffer to aim at: others, who fill it, make a queue much longer than that."""
RELENTING = 60.0
"""Seconds without a loss after which the target is twice as long again: routes and routers change."""
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

NOW = 4
"""Samples over which what goes through now is counted."""
SUSTAINED = 24
"""Samples over which a rate counts as the line's: acknowledgements come in bursts."""

_NEAREST = 4  # samples of which the shortest counts as the round trip of now
_MEAN = 12  # samples of a mean: one round trip may lie, 0.3 s of them do not
_STEADY = 60  # samples of the mean deviation
_BASE_SECONDS, _BASE_SLOT = 600.0, 60.0  # how long the shortest round trip counts: routes change
_NOISE_SECONDS, _NOISE_SLOT = 20.0, 5.0
OUR_OWN = 0.2
"""The share of what was allowed that may be left unsent before that is our own doing: quanta come in steps."""

_REMEMBERED = 100  # samples of what was not sent: a round trip of two seconds
_LOSSES, _LOSING_SECONDS = 2, 10.0  # a short buffer loses many; a single tail-loss probe (RFC 8985, 7) is no loss
_SILENT = 1.0  # seconds without an acknowledgement that count as a round trip at least


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
        resent: segments that were sent again since it was opened, as the first ones were lost.
        waiting: whether it has bytes on the way, or for the way.
        silent: seconds since the last acknowledgement.
        given: bytes given to the kernel to send since it was opened; 0 where it does not tell.
        spurious: segments that were sent again though the first ones had come (RFC 2883).
    """

    connection: int
    path: str
    rtt: float
    deviation: float
    shortest: float
    acked: int
    delivered: int
    resent: int
    waiting: bool
    silent: float
    given: int = 0
    spurious: int = 0

    @property
    def lost(self) -> int:
        """Segments that were lost since it was opened, as far as TCP knows."""
        return self.resent - self.spurious


@dataclass(frozen=True, slots=True, order=True)
class View:
    """What the uplink looks like at one moment, all in seconds.

    Attributes:
        queue: how long a segment waits in queues.
        target: how long it should.
        room: up to how long the line has room.
        trip: the round trip.
        aim: how long it should where there is no noise; less than TARGET where the buffer is short, or beside others.
        short: whether the buffer is short.
    """

    queue: float
    target: float
    room: float
    trip: float
    aim: float
    short: bool

    @property
    def noisy(self) -> bool:
        """Whether the line's own noise makes the target longer, by more than a quiet line's."""
        return self.target - self.aim > QUIET

    @property
    def alone(self) -> float:
        """The target were nobody else about."""
        return self.target if self.short else self.target + TARGET - self.aim


class Uplink:
    """Hears samples, and tells what they show."""

    def __init__(self) -> None:
        self._paths: dict[str, _Path] = {}
        self._ears: dict[int, _Ear] = {}
        self._delivered: deque[tuple[float, int]] = deque(maxlen=SUSTAINED)
        self._given: deque[tuple[float, float, float]] = deque(maxlen=_REMEMBERED)
        self._losses: deque[float] = deque(maxlen=_LOSSES)
        self._aim = TARGET

    @property
    def connections(self) -> int:
        """How many were in the last samples."""
        return len(self._ears)

    def hear(self, samples: Sequence[Sample], seconds: float, now: float, rate: float = 0.0) -> None:
        """Takes in one sample of each connection that carries a body now, `seconds` after the ones before.

        Args:
            samples: one of each.
            seconds: since the ones before.
            now: this moment.
            rate: bytes per second that might have been sent meanwhile.
        """
        acked, given, nearest, losing = 0, 0.0, dict[str, tuple[float, float]](), set[str]()
        ears, self._ears = self._ears, {}
        for sample in samples:
            ear = self._ears[sample.connection] = ears.get(sample.connection) or _Ear(sample, sample.rtt)
            if (lost := sample.lost - ear.last.lost) > 0:
                losing.add(sample.path)
                self._losses.extend([now] * min(lost, _LOSSES))
            given += max(0, sample.given - ear.last.given) if sample.given else math.inf
            acked += ear.hear(sample)
            if ear.tells:
                trip = (ear.rtt, sample.deviation)
                nearest[sample.path] = min(trip, nearest.get(sample.path, trip))
        for path, (rtt, deviation) in nearest.items():
            self._paths.setdefault(path, _Path()).note(rtt, deviation, now)
        self._delivered.append((max(0.0, seconds), acked))
        self._given.append((now, max(0.0, seconds) * rate, given))
        doublings = min(2.0, max(0.0, seconds) / RELENTING)  # enough for any aim; a week's would be no number
        self._aim = min(TARGET, self._aim * 2**doublings)
        if len(self._losses) == _LOSSES and now - self._losses[0] < _LOSING_SECONDS:
            for path in losing & self._paths.keys():
                self._overflowed(self._paths[path].longest(now))

    def _overflowed(self, queue: float) -> None:
        """A segment was lost at that queue: no longer one fits before the bottleneck, unless chance took it."""
        if queue > ROOM * TARGET:
            self._aim = max(LEAST_TARGET, min(self._aim, OF_THE_BUFFER * queue))

    def delivered(self, samples: int) -> float:
        """Bytes acknowledged per second, over so many samples, `SUSTAINED` at most."""
        newest = list(self._delivered)[-samples:]
        seconds = math.fsum(seconds for seconds, _ in newest)
        return sum(count for _, count in newest) / seconds if seconds else 0.0

    def missed(self, trip: float, now: float) -> float:
        """Bytes per second that we might have sent and did not: what is acknowledged now was sent a `trip` ago.

        A body that ends, a drive that is slow and a machine that is busy let the line stand idle for our own reasons;
        what goes through then is no measure of our share.
        """
        end, span = now - trip, SUSTAINED * SAMPLE_SECONDS
        then = [(allowed, given) for moment, allowed, given in self._given if end - span < moment <= end]
        allowed = math.fsum(allowed for allowed, _ in then)
        missed = allowed - math.fsum(given for _, given in then)
        return missed / span if missed > OUR_OWN * allowed else 0.0

    def nothing_delivered_yet(self) -> None:
        """What went through before does not count any more."""
        self._delivered.clear()
        self._given.clear()

    def view(self, now: float, segment: float, aim: float = TARGET) -> View | None:
        """What it looks like; of several paths the one with the shortest queue, as the uplink's is on all of them.

        Args:
            now: this moment.
            segment: seconds that one segment takes to go through the bottleneck.
            aim: seconds of queue to aim at, were there no noise and the buffer long.

        Returns:
            None where no shortest round trip is known yet.
        """
        used = {ear.last.path for ear in self._ears.values()} & self._paths.keys()
        views = (self._paths[name].view(now, segment, min(aim, self._aim), short=self._aim < TARGET) for name in used)
        return min((view for view in views if view), default=None)


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

    def longest(self, now: float) -> float:
        """Seconds of the longest queue of a moment ago, when what is missed now was lost."""
        base = self._base.at(now)
        return 0.0 if base is None else max(self._mean) - base

    def view(self, now: float, segment: float, aim: float, *, short: bool) -> View | None:
        """What it looks like now; None where the shortest round trip is not known yet.

        What the line's own noise hides must not look like somebody else, nor must a segment behind another one.

        Args:
            now: this moment.
            segment: seconds that one takes to go through the bottleneck.
            aim: seconds of queue to aim at, were there no noise.
            short: whether the buffer is short.
        """
        base = self._base.at(now)
        if base is None:
            return None
        queue = max(0.0, min(self._near) - base)
        noise = NOISE * max(0.0, (self._noise.at(now) or 0.0) - QUIET - segment)
        target = min(LARGEST_TARGET, aim + noise)
        room = min(MOST_ROOM * target, ROOM * aim + segment + NOISY_ROOM * (target - aim))
        return View(queue, target, room, base + queue, aim, short)


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
