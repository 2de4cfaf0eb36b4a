"""A household's line packet by packet, in virtual time: both ways with their queues, real windows, late threads.

A model, and all of it repeatable: TCP with CUBIC or BBR, delayed acknowledgements and losses that are mended; our own
uploads with the bucket and the pace of the program, in threads that a busy machine lets wait, with gaps between bodies;
others' uploads, downloads and calls, and a phone's pings. `contrib/bench spare` and `contrib/bench line` measure the
same with the real kernel; what this is good for is to see the same second again and again.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from slowboat.core.bucket import SMOOTHED, Bucket, smoothing
from slowboat.core.pace import START, Pace
from slowboat.core.uplink import SAMPLE_SECONDS, Sample

if TYPE_CHECKING:
    from collections.abc import Callable

PACKET, ACK, HEADERS = 1448, 52, 52
MBIT = 125_000.0
_DELAYED_ACK = 0.040
_LEAST_RTO = 0.2
_SOCKET_BUFFER = 131_072


class Clock:
    """Virtual time, and what is to happen when."""

    def __init__(self) -> None:
        self.now = 0.0
        self._number = itertools.count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []

    def at(self, moment: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._events, (max(moment, self.now), next(self._number), do))

    def run(self, until: float) -> None:
        while self._events and self._events[0][0] <= until:
            self.now, _, do = heapq.heappop(self._events)
            do()
        self.now = until


@dataclass
class Way:
    """One way of the line: a queue with so many seconds of room before a bottleneck, then a distance."""

    rate: float
    buffer: float
    delay: float
    jitter: float
    chance: random.Random
    free: float = 0.0
    last: float = 0.0

    def queue(self, now: float) -> float:
        return max(0.0, self.free - now)

    def carry(self, size: int, now: float) -> float | None:
        """When it arrives; None where the queue is full."""
        if self.queue(now) + size / self.rate > max(self.buffer, 4 * 1500 / self.rate):
            return None
        self.free = max(self.free, now) + size / self.rate
        late = self.chance.expovariate(1 / self.jitter) if self.jitter else 0.0
        self.last = max(self.last, self.free + self.delay + late)
        return self.last


class Cubic:
    """RFC 9438, with HyStart's delay rule (as Linux has it)."""

    pacing: float | None = None

    def __init__(self) -> None:
        self.window, self.threshold = 10.0, 1e9
        self._most = self._began = 0.0
        self._shortest = 9.0
        self._round: list[float] = []

    def acknowledged(self, count: int, rtt: float, now: float, flying: int) -> None:
        if flying + count < self.window * 0.7:
            return
        self._shortest = min(self._shortest, rtt)
        if self.window < self.threshold:
            self.window += count
            self._round.append(rtt)
            if len(self._round) >= 8:
                if self.window > 16 and min(self._round) > self._shortest + min(0.016, max(0.004, self._shortest / 8)):
                    self.threshold = self.window
                self._round = []
            return
        if not self._began:
            self._began = now
            self._most = max(self._most, self.window)
            self._start = self.window
        curve = ((self._most - self._start) / 0.4) ** (1 / 3) if self._most > self._start else 0.0
        aim = 0.4 * (now + rtt - self._began - curve) ** 3 + self._most
        reno = self._start + 0.53 * (now - self._began) / rtt
        aim = min(1.5 * self.window, max(aim, reno))
        self.window += max(0.01, aim - self.window) / self.window * count

    def lost(self, now: float) -> None:
        self._most = self.window * (0.85 if self.window < self._most else 1.0)
        self.window = self.threshold = max(2.0, 0.7 * self.window)
        self._began = 0.0

    def timed_out(self) -> None:
        self.threshold, self.window, self._began = max(2.0, self.window * 0.7), 1.0, 0.0

    def delivered(self, rate: float, rtt: float, now: float, *, own_limit: bool) -> None:
        pass


class Bbr(Cubic):
    """The first version: the highest rate of ten rounds, the shortest trip of ten seconds; losses tell nothing."""

    def __init__(self) -> None:
        super().__init__()
        self._rates: deque[tuple[float, float]] = deque()
        self._trip, self._trip_at = 9.0, 0.0
        self._full, self._full_count, self._state = 0.0, 0, "startup"
        self._since = self._round_at = 0.0
        self._phase = 2
        self.pacing = 10 * PACKET / 0.03

    def acknowledged(self, count: int, rtt: float, now: float, flying: int) -> None:
        pass

    def lost(self, now: float) -> None:
        pass

    def timed_out(self) -> None:
        pass

    def delivered(self, rate: float, rtt: float, now: float, *, own_limit: bool) -> None:
        expired = now - self._trip_at > 10
        if rtt <= self._trip or expired:
            self._trip, self._trip_at = rtt, now
        if not own_limit or (self._rates and rate > self._rates[0][1]):
            while self._rates and self._rates[-1][1] <= rate:
                self._rates.pop()
            self._rates.append((now, rate))
        while len(self._rates) > 1 and self._rates[0][0] < now - 10 * max(rtt, self._trip):
            self._rates.popleft()
        best = self._rates[0][1]
        if now - self._round_at > rtt and self._state == "startup":
            self._round_at = now
            if best > 1.25 * self._full:
                self._full, self._full_count = best, 0
            else:
                self._full_count += 1
                if self._full_count >= 3:
                    self._state, self._since = "drain", now
        if self._state == "drain" and now - self._since > 2 * rtt:
            self._state = "cruise"
        if self._state == "cruise" and now - self._since > self._trip:
            self._since, self._phase = now, (self._phase + 1) % 8
        if expired:
            self._state, self._since = "probe", now
        if self._state == "probe" and now - self._since > 0.2 + rtt:
            self._state = "cruise"
        gain = {"startup": 2.89, "drain": 0.35, "probe": 1.0, "cruise": (1.25, 0.75, 1, 1, 1, 1, 1, 1)[self._phase]}
        self.pacing = max(4 * PACKET / max(self._trip, 1e-3) / 10, gain[self._state] * best)
        self.window = (
            4.0
            if self._state == "probe"
            else max(4.0, (2.89 if self._state == "startup" else 2) * best * self._trip / PACKET)
        )


class Tcp:
    """One connection that carries bodies one way, in packets; the acknowledgements go the other way."""

    def __init__(self, clock: Clock, there: Way, back: Way, control: Cubic, *, endless: bool = False) -> None:
        self.clock, self.there, self.back, self.control = clock, there, back, control
        self.endless, self.closed = endless, False
        self.pending = 0  # bytes in the socket, not sent yet
        self.most_rate: float | None = None  # SO_MAX_PACING_RATE
        self.rtt = self.deviation = 0.0
        self.shortest = 9.0
        self.next = self.una = self.delivered = self.resent = self.bytes_sent = self.spurious = 0
        self.last_ack = clock.now
        self.on_room: Callable[[], None] = lambda: None
        self._sizes: dict[int, int] = {}
        self._flying: dict[int, tuple[float, int, float, bool]] = {}  # sent at, delivered then, at, again
        self._order: deque[tuple[float, int]] = deque()
        self._sacked: set[int] = set()
        self._again: deque[int] = deque()
        self._recovering_until = -1
        self._pace_free = 0.0
        self._unit = 0
        self._timer = 0.0
        self._waking = False
        self._app_limited = 0
        # the receiver
        self._expected, self._beyond, self._held = 0, set[int](), list[int]()
        self._ack_at = math.inf
        self.received = 0

    @property
    def flying(self) -> int:
        return len(self._flying)

    @property
    def acked(self) -> int:
        return self._acked

    _acked = 0

    def write(self, count: int) -> None:
        self.pending += count
        self.push()

    def push(self) -> None:
        while not self.closed and self.flying < int(self.control.window):
            if not (self._again or self.pending or self.endless):
                self._app_limited = self.delivered + self.flying
                return
            rate = min((rate for rate in (self.most_rate, self.control.pacing) if rate), default=None)
            if rate is not None and not self._unit and self._pace_free > self.clock.now + 1e-9:
                if not self._waking:
                    self._waking = True
                    self.clock.at(self._pace_free, self._wake)
                return
            if self._again:
                self._transmit(self._again.popleft(), again=True)
            else:
                size = PACKET if self.endless else min(PACKET, self.pending)
                self.pending -= 0 if self.endless else size
                self._sizes[self.next] = size
                self.next += 1
                self.bytes_sent += size
                self._transmit(self.next - 1, again=False)
                if self.pending <= _SOCKET_BUFFER // 2:
                    self.on_room()
            if rate is not None:  # a millisecond's worth goes at once, two segments at least
                self._unit = self._unit or max(2, int(rate * 0.001 / PACKET))
                self._unit -= 1
                if not (self._again or self.pending or self.endless):
                    self._unit = 0
                self._pace_free = max(self._pace_free, self.clock.now) + PACKET / rate

    def _wake(self) -> None:
        self._waking = False
        self.push()

    def _transmit(self, seq: int, *, again: bool) -> None:
        now = self.clock.now
        self._flying[seq] = (now, self.delivered, self.last_ack if self.flying else now, again)
        self._order.append((now, seq))
        if again:
            self.resent += 1
        arrival = self.there.carry(self._sizes[seq] + HEADERS, now)
        if arrival is not None:
            self.clock.at(arrival, lambda: self._arrive(seq))
        self._arm()

    def _arm(self) -> None:
        """The timer: a tail-loss probe after two round trips, then a time-out."""
        self._timer = self.clock.now + (2 * self.rtt + (0.2 if self.flying == 1 else 0.002) if self.rtt else 1.0)
        moment = self._timer
        self.clock.at(moment, lambda: self._probe() if self._timer == moment and self._flying else None)

    def _probe(self) -> None:
        last = max(self._flying)
        self._timer = self.clock.now + max(_LEAST_RTO, self.rtt + 4 * self.deviation)
        moment = self._timer
        self.resent += 1
        arrival = self.there.carry(self._sizes[last] + HEADERS, self.clock.now)
        if arrival is not None:
            self.clock.at(arrival, lambda: self._arrive(last))
        self.clock.at(moment, lambda: self._time_out() if self._timer == moment and self._flying else None)

    def _time_out(self) -> None:
        self.control.timed_out()
        lost = sorted(self._flying)
        self._flying.clear()
        self._order.clear()
        self._again.extend(lost)
        self._recovering_until = self.next
        self.push()

    # the receiver
    def _arrive(self, seq: int) -> None:
        if seq < self._expected or seq in self._beyond:
            self._acknowledge(duplicate=True)
            return
        self.received += self._sizes[seq]
        self._held.append(seq)
        if seq != self._expected:
            self._beyond.add(seq)
            self._acknowledge()
            return
        gap = bool(self._beyond)
        self._expected += 1
        while self._expected in self._beyond:
            self._beyond.remove(self._expected)
            self._expected += 1
        if len(self._held) >= 2 or gap:
            self._acknowledge()
        else:
            at = self._ack_at = self.clock.now + _DELAYED_ACK
            self.clock.at(at, lambda: self._acknowledge() if self._ack_at == at and self._held else None)

    def _acknowledge(self, *, duplicate: bool = False) -> None:
        held, self._held, cum = self._held, [], self._expected
        self._ack_at = math.inf
        arrival = self.back.carry(ACK, self.clock.now)
        if arrival is None:
            self._lost_news = [*getattr(self, "_lost_news", []), *held]
            return
        held = [*getattr(self, "_lost_news", []), *held]
        self._lost_news: list[int] = []
        self.clock.at(arrival, lambda: self._heard(cum, held, duplicate=duplicate))

    # the sender again
    def _heard(self, cum: int, seqs: list[int], *, duplicate: bool) -> None:
        now = self.clock.now
        self.last_ack = now
        if duplicate:
            self.spurious += 1
        newest = None
        oldest = math.inf
        for seq in seqs:
            flight = self._flying.pop(seq, None)
            self.delivered += 1
            if flight is None:
                continue
            if not flight[3]:
                oldest = min(oldest, flight[0])
            newest = flight if newest is None or flight[0] > newest[0] else newest
        while self.una < cum:
            self._acked += self._sizes.pop(self.una)
            self.una += 1
        if oldest < math.inf:
            rtt = now - oldest
            first = not self.rtt
            self.deviation = rtt / 2 if first else self.deviation + (abs(rtt - self.rtt) - self.deviation) / 4
            self.rtt = rtt if first else self.rtt + (rtt - self.rtt) / 8
            self.shortest = min(self.shortest, rtt)
            if cum > self._recovering_until:
                self.control.acknowledged(len(seqs), rtt, now, self.flying)
        if newest is not None:
            span = max(now - newest[2], newest[0] - newest[2], 1e-6)
            self.control.delivered(
                (self.delivered - newest[1]) * PACKET / max(span, self.shortest / 2),
                now - newest[0],
                now,
                own_limit=self._app_limited > newest[1],
            )
            self._mark_lost(newest[0])
        if self._flying:
            self._arm()
        self.push()

    def _mark_lost(self, newest: float) -> None:
        """FIFO all the way: what was sent before something that came, and did not come, is lost."""
        gone = []
        while self._order and self._order[0][0] < newest - 1e-9:
            sent, seq = self._order.popleft()
            flight = self._flying.get(seq)
            if flight and flight[0] == sent:
                gone.append(seq)
        for seq in gone:
            del self._flying[seq]
            self._again.append(seq)
            if seq > self._recovering_until:
                self._recovering_until = self.next
                self.control.lost(self.clock.now)


@dataclass
class Machine:
    """How late its threads wake: by chance, and the mean of it in seconds; a busy one lets them wait a slice, often."""

    late: float = 0.0
    mean: float = 0.0

    def lateness(self, chance: random.Random) -> float:
        return chance.expovariate(1 / self.mean) if self.mean and chance.random() < self.late else 0.0002


IDLE, BUSY = Machine(), Machine(0.5, 0.020)
"""BUSY: each second wake-up of a program of low priority waits for 20 ms, as measured beside two endless loops."""


class Boat:
    """Our uploads: lanes that share a bucket, which the pace moves."""

    def __init__(self, line: Line, *, lanes: int = 2, body: float = math.inf, gap: float = 0.1, pace: bool = True,
                 machine: Machine = IDLE, limit: float = math.inf, start: float = 0.0) -> None:  # fmt: skip
        self.line, self.clock, self.machine, self.limit = line, line.clock, machine, limit
        self.chance = random.Random(line.seed + 7)
        self.bucket = Bucket(START if pace else None, start, SMOOTHED)
        self.pace: Pace | None = Pace(start, self.chance.random) if pace else None
        self.rates: list[tuple[float, float]] = []
        self.queues: list[tuple[float, float]] = []
        self.connections: list[Tcp] = []
        self.body, self.gap = body, gap
        self._left: list[float] = []
        self.wakes = 0
        for _ in range(lanes):
            self.clock.at(start + 0.001 * len(self.connections), self._lane())
        if pace:
            self.clock.at(start, self._look)

    def _lane(self) -> Callable[[], None]:
        tcp = Tcp(self.clock, self.line.up, self.line.down, Cubic())
        number = len(self.connections)
        self.connections.append(tcp)
        self._left.append(self.body)
        waiting = [False]

        def room() -> None:
            if waiting[0]:
                waiting[0] = False
                self.clock.at(self.clock.now + self.machine.lateness(self.chance), turn)

        tcp.on_room = room

        def turn() -> None:
            now = self.clock.now
            if self._left[number] <= 0:
                if tcp.pending or tcp.flying:
                    self.clock.at(now + 0.005, turn)
                    return
                self._left[number] = self.body
                self.clock.at(now + self.gap + self.line.round_trip, turn)
                return
            if tcp.pending >= _SOCKET_BUFFER:
                waiting[0] = True
                return
            count = int(min(self.bucket.quantum, self._left[number]))
            pause = self.bucket.wait(count, now)
            if pause > 0:
                self.wakes += 1
                self.clock.at(now + min(pause, 0.5) + self.machine.lateness(self.chance), turn)
                return
            self.bucket.spend(count, now)
            self._left[number] -= count
            tcp.write(count)
            self.clock.at(now + (count / self.limit if self.limit < math.inf else 1e-5), turn)

        return turn

    def _look(self) -> None:
        now = self.clock.now
        assert self.pace is not None
        samples = [self._sample(n, tcp) for n, tcp in enumerate(self.connections) if self._left[n] > 0 and tcp.rtt]
        self.pace.feed(samples, now)
        self.bucket.set_rate(self.pace.rate, now)
        for tcp in self.connections:
            tcp.most_rate = smoothing(self.pace.rate, len(self.connections))
        self.rates.append((now, self.pace.rate))
        self.clock.at(now + SAMPLE_SECONDS + self.machine.lateness(self.chance), self._look)

    def _sample(self, number: int, tcp: Tcp) -> Sample:
        return Sample(
            connection=id(self) + number, path="server", rtt=tcp.rtt, deviation=tcp.deviation, shortest=tcp.shortest,
            acked=tcp.acked, delivered=tcp.delivered, resent=tcp.resent,
            waiting=bool(tcp.flying or tcp.pending), silent=self.clock.now - tcp.last_ack,
            given=tcp.bytes_sent + tcp.pending, spurious=tcp.spurious,
        )  # fmt: skip

    @property
    def received(self) -> int:
        return sum(tcp.received for tcp in self.connections)


@dataclass
class Line:
    """The line and everybody on it. Rates in bytes per second; `run` moves the time on.

    `counts` holds for each name what it got through so far, by tenths of a second.
    """

    rate: float
    round_trip: float = 0.030
    buffer: float = 1.0
    jitter: float = 0.0
    down_rate: float = 20 * MBIT
    down_buffer: float = 0.5
    seed: int = 1
    boat: Boat | None = None
    pings: list[tuple[float, float | None]] = field(default_factory=list)
    counts: dict[str, list[int]] = field(default_factory=dict)
    calls: list[tuple[float, float | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clock = Clock()
        self.chance = random.Random(self.seed)
        self.up = Way(self.rate, self.buffer, self.round_trip / 2, self.jitter, self.chance)
        self.down = Way(self.down_rate, self.down_buffer, self.round_trip / 2, self.jitter, self.chance)
        self._meters: dict[str, Callable[[], int]] = {}
        self.clock.at(0.0, self._count)
        self.clock.at(0.0, self._ping)

    def meter(self, name: str, of: Callable[[], int]) -> None:
        self._meters[name] = of
        self.counts[name] = [0] * (len(next(iter(self.counts.values()))) if self.counts else 0)

    def set_out(self, **boat: object) -> Boat:
        self.boat = Boat(self, **boat)  # type: ignore[arg-type]
        self.meter("boat", lambda: self.boat.received if self.boat else 0)
        return self.boat

    def _count(self) -> None:
        for name, of in self._meters.items():
            self.counts[name].append(of())
        self.clock.at(self.clock.now + 0.1, self._count)

    def _ping(self) -> None:
        now = self.clock.now
        arrival = self.up.carry(84, now)
        if arrival is None:
            self.pings.append((now, None))
        else:

            def back() -> None:
                home = self.down.carry(84, self.clock.now)
                self.pings.append((now, None if home is None else home - now))

            self.clock.at(arrival, back)
        self.clock.at(now + 0.020, self._ping)

    def upload(self, begin: float, end: float, control: type[Cubic] = Cubic, name: str = "upload") -> None:
        self._transfer(begin, end, self.up, self.down, control, name)

    def download(self, begin: float, end: float, control: type[Cubic] = Cubic, name: str = "download") -> None:
        self._transfer(begin, end, self.down, self.up, control, name)

    def _transfer(self, begin: float, end: float, there: Way, back: Way, control: type[Cubic], name: str) -> None:
        tcp = Tcp(self.clock, there, back, control(), endless=True)
        self.meter(name, lambda: tcp.received)
        self.clock.at(begin, tcp.push)

        def close() -> None:
            tcp.closed = True

        self.clock.at(end, close)

    def call(self, begin: float, end: float, rate: float = 1.5 * MBIT) -> None:
        def packet() -> None:
            now = self.clock.now
            arrival = self.up.carry(1200, now)
            self.calls.append((now, None if arrival is None else arrival - now - self.round_trip / 2))
            if now < end:
                self.clock.at(now + 1200 / rate, packet)

        self.clock.at(begin, packet)

    def run(self, until: float) -> Line:
        self.clock.run(until)
        return self

    def got(self, name: str, begin: float, end: float) -> float:
        """Bytes per second between two moments."""
        count = self.counts[name]
        return (count[min(len(count) - 1, round(end * 10))] - count[round(begin * 10)]) / (end - begin)

    def use(self, begin: float, end: float, name: str = "boat") -> float:
        return self.got(name, begin, end) / (self.rate * PACKET / (PACKET + HEADERS))

    def waits(self, begin: float, end: float, share: float = 0.95) -> float:
        """Seconds that so many of the phone's pings waited longer than on an empty line, at most."""
        trips = sorted(
            trip - self.round_trip for moment, trip in self.pings if begin <= moment < end and trip is not None
        )
        return trips[min(len(trips) - 1, int(len(trips) * share))] if trips else math.nan

    def call_waits(self, begin: float, end: float) -> tuple[float, float]:
        """The 95th percentile of what the call's packets waited, and the share of them that was lost."""
        all_ = [wait for moment, wait in self.calls if begin <= moment < end]
        came = sorted(wait for wait in all_ if wait is not None)
        return came[int(len(came) * 0.95)], 1 - len(came) / len(all_)
