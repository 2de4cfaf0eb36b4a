"""A home uplink in numbers: a bottleneck with a buffer before it, our paced connections, and somebody else's traffic.

A model, not the real thing: it tells of our losses, but repairs none, and has no congestion window. The real kernel
behind a real bottleneck is measured by `contrib/bench spare`; what this is good for is a thousand lines in a second,
all repeatable.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field

from slowboat.core.pace import Pace
from slowboat.core.uplink import SAMPLE_SECONDS, Sample

STEP = 0.001
PACKET = 1448


@dataclass
class Connection:
    """What TCP would know of one of our connections."""

    number: int
    path: str
    rtt: float = 0.0
    deviation: float = 0.0
    shortest: float = 9.0
    acked: int = 0
    delivered: int = 0
    resent: int = 0
    waiting: int = 0
    last_ack: float = 0.0

    def acknowledged(self, rtt: float, now: float) -> None:
        first = not self.rtt
        self.deviation = rtt / 2 if first else self.deviation + (abs(rtt - self.rtt) - self.deviation) / 4
        self.rtt = rtt if first else self.rtt + (rtt - self.rtt) / 8
        self.shortest = min(self.shortest, rtt)
        self.acked += PACKET
        self.delivered += 1
        self.waiting -= 1
        self.last_ack = now

    def sample(self, now: float) -> Sample:
        return Sample(
            self.number, self.path, self.rtt, self.deviation, self.shortest,
            self.acked, self.delivered, self.resent, self.waiting > 0, now - self.last_ack,
        )  # fmt: skip


@dataclass
class Greedy:
    """Somebody's upload: a window that grows until the buffer overflows, as every TCP by losses does."""

    start: float
    end: float
    window: float = 10.0
    flying: int = 0
    threshold: float = 1e9
    recovering_until: float = 0.0

    def acknowledged(self) -> None:
        self.flying -= 1
        self.window += 1.0 if self.window < self.threshold else 1.0 / self.window

    def lost(self, now: float, rtt: float) -> None:
        self.flying -= 1
        if now >= self.recovering_until:
            self.window = self.threshold = max(2.0, self.window * 0.7)
            self.recovering_until = now + rtt


@dataclass
class Steady:
    """Somebody's call: so many bytes per second, whatever happens."""

    start: float
    end: float
    rate: float
    owed: float = 0.0


@dataclass
class Uplink:
    """The line. `run` moves the time on.

    Attributes:
        rate: bytes per second that it carries.
        rtt: seconds of an empty line.
        buffer: seconds of sending that fit before the bottleneck.
        jitter: seconds, the mean of what each packet is late by chance; the order stays.
        chance_of_loss: of each segment of ours, whatever the queue.
        limit: bytes per second that our own source gives, for a slow drive.
        sent, others, queue: by tenths of a second: our bytes and others' that went through, and the seconds of queue.
    """

    rate: float
    rtt: float = 0.030
    buffer: float = 1.0
    jitter: float = 0.0
    connections: int = 2
    seed: int = 1
    chance_of_loss: float = 0.0
    limit: float = 1e12
    others_on_it: list[Greedy | Steady] = field(default_factory=list)
    now: float = 0.0
    sent: dict[int, float] = field(default_factory=dict)
    others: dict[int, float] = field(default_factory=dict)
    queue: list[tuple[float, float]] = field(default_factory=list)
    rates: list[tuple[float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.ours = [Connection(number, "server") for number in range(self.connections)]
        self.pace = Pace(0.0, self.chance.random)
        self._free = 0.0
        self._last_arrival = 0.0
        self._acks: deque[tuple[float, float, Connection | Greedy | None]] = deque()
        self._missing: deque[tuple[float, Connection]] = deque()
        self._tokens = 0.0
        self._turn = 0
        self._next_sample = 0.0

    def run(self, until: float) -> None:
        while self.now < until:
            self._acknowledge()
            self._send_ours()
            for one in self.others_on_it:
                if one.start <= self.now < one.end:
                    self._send(one)
            if self.now >= self._next_sample:
                self._next_sample = self.now + SAMPLE_SECONDS
                self.pace.feed([one.sample(self.now) for one in self.ours], self.now)
                self.queue.append((self.now, max(0.0, self._free - self.now)))
                self.rates.append((self.now, self.pace.rate))
            self.now += STEP

    def _send_ours(self) -> None:
        rate = min(self.pace.rate, self.limit)
        self._tokens = min(self._tokens + rate * STEP, max(2 * PACKET, rate * 0.02))
        while self._tokens >= 2 * PACKET:
            self._turn += 1
            one = self.ours[self._turn % len(self.ours)]
            for _ in range(2):
                if self.chance.random() < self.chance_of_loss or not self._enqueue(one, self.sent):
                    self._missing.append((self.now + self.rtt + self.buffer, one))
                    continue
                one.waiting += 1
            self._tokens -= 2 * PACKET

    def _send(self, one: Greedy | Steady) -> None:
        if isinstance(one, Steady):
            one.owed += one.rate * STEP
            while one.owed >= PACKET:
                one.owed -= PACKET
                self._enqueue(None, self.others)
            return
        while one.flying < int(one.window):
            one.flying += 1
            if not self._enqueue(one, self.others):
                one.lost(self.now, self.rtt + self.buffer)
                return

    def _enqueue(self, whose: Connection | Greedy | None, count: dict[int, float]) -> bool:
        wait = max(0.0, self._free - self.now)
        if wait > self.buffer:
            return False
        self._free = max(self._free, self.now) + PACKET / self.rate
        late = self.chance.expovariate(1 / self.jitter) if self.jitter else 0.0
        arrival = self._last_arrival = max(self._last_arrival, self._free + self.rtt + late)
        self._acks.append((arrival, self.now, whose))
        tenth = int(self._free * 10)
        count[tenth] = count.get(tenth, 0.0) + PACKET
        return True

    def _acknowledge(self) -> None:
        while self._acks and self._acks[0][0] <= self.now:
            arrival, sent, whose = self._acks.popleft()
            if isinstance(whose, Connection):
                whose.acknowledged(arrival - sent, arrival)
            elif whose is not None:
                whose.acknowledged()
        while self._missing and self._missing[0][0] <= self.now:
            self._missing.popleft()[1].resent += 1

    def use(self, start: float, end: float, *, ours: bool = True) -> float:
        """The share of the line, from second `start` to `end`."""
        counted = self.sent if ours else self.others
        return sum(counted.get(tenth, 0.0) for tenth in range(int(start * 10), int(end * 10))) / (
            self.rate * (end - start)
        )

    def waits(self, start: float, end: float) -> tuple[float, float, float]:
        """Half of the time the queue is shorter than the first, 95 % of it shorter than the second; the longest."""
        seen = sorted(queue for moment, queue in self.queue if start <= moment < end)
        return seen[len(seen) // 2], seen[len(seen) * 95 // 100], seen[-1]
