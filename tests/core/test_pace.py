"""The pace: on a thousand lines it leaves the line to others, uses what is left, and is never moved by nonsense."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from uplink_model import PACKET, Greedy, Steady, Uplink

from slowboat.core.pace import LEAST, MOST, START, Pace
from slowboat.core.uplink import SAMPLE_SECONDS, Sample

MBIT = 125_000.0

HOME = {"rate": 8 * MBIT, "rtt": 0.030, "buffer": 1.0}
SLOW = {"rate": 1 * MBIT, "rtt": 0.030, "buffer": 1.0}
SHALLOW = {"rate": 20 * MBIT, "rtt": 0.030, "buffer": 0.1}
FAR = {"rate": 8 * MBIT, "rtt": 0.250, "buffer": 1.0}
NOISY = {"rate": 8 * MBIT, "rtt": 0.030, "buffer": 1.0, "jitter": 0.010}
LINES = pytest.mark.parametrize(
    "line", [HOME, SLOW, SHALLOW, FAR, NOISY], ids=["home", "slow", "shallow", "far", "noisy"]
)


def uplink(line: dict[str, float], *others: Greedy | Steady, **more: float) -> Uplink:
    return Uplink(**{**line, **more}, others_on_it=list(others))  # type: ignore[arg-type]


@LINES
def test_alone_it_uses_the_line_and_keeps_the_queue_short(line: dict[str, float]) -> None:
    it = uplink(line)
    it.run(40)
    assert it.use(6, 40) > 0.85
    assert it.waits(6, 40)[1] < 0.120
    assert not it.pace.crowded(it.now)


@LINES
def test_somebodys_upload_gets_the_line_and_it_comes_back_after(line: dict[str, float]) -> None:
    alone = uplink(line, Greedy(15, 30), limit=0)
    alone.run(30)
    it = uplink(line, Greedy(15, 30))
    it.run(30)
    assert it.use(20, 30, ours=False) > 0.75 * alone.use(20, 30, ours=False)
    assert it.pace.crowded(it.now)
    least = min(rate for moment, rate in it.rates if moment > 15)
    assert least > 0.01 * line["rate"]  # a foreground does not miss it, and samples come
    it.run(50)
    assert it.use(38, 50) > 0.85
    assert not it.pace.crowded(it.now)


@LINES
def test_a_call_does_not_wait_and_the_rest_of_the_line_is_used(line: dict[str, float]) -> None:
    call = min(1.5 * MBIT, line["rate"] / 4)
    it = uplink(line, Steady(15, 40, call))
    it.run(40)
    assert it.waits(18, 40)[1] < 0.150
    assert it.use(18, 40) > 0.7 * (1 - call / line["rate"])


@pytest.mark.parametrize("rate", [8 * MBIT, 20 * MBIT])
@pytest.mark.parametrize(("rtt", "jitter"), [(0.030, 0.0), (0.010, 0.0005)])
def test_a_short_buffer_is_learnt_by_its_losses_and_left_to_others(rate: float, rtt: float, jitter: float) -> None:
    line = {"rate": rate, "rtt": rtt, "buffer": 0.020, "jitter": jitter}
    it = uplink(line, Greedy(20, 35))
    it.run(12)
    lost = sum(one.resent for one in it.ours)
    it.run(20)
    assert sum(one.resent for one in it.ours) < lost + 0.001 * it.use(12, 20) * rate * 8 / PACKET
    assert it.use(8, 20) > 0.9
    it.run(55)
    assert it.use(23, 35, ours=False) > 0.9
    assert it.pace.crowded(34.0)
    assert it.use(45, 55) > 0.85


def test_a_loss_by_chance_costs_little() -> None:
    """Wi-Fi loses segments on lines with any buffer: a shorter queue than need be, and hardly a gap."""
    it = uplink(HOME, Greedy(20, 35), chance_of_loss=0.001)
    it.run(60)
    assert it.use(8, 20) > 0.9
    assert it.use(25, 35, ours=False) > 0.9
    assert it.use(43, 60) > 0.85


def test_a_plain_upload_would_not_do_this() -> None:
    """The model can tell: at a fixed rate above the line, the queue is as long as the buffer."""
    it = uplink(HOME)
    it.pace = _Fixed(12 * MBIT)
    it.run(20)
    assert it.waits(6, 20)[0] > 0.9


class _Fixed(Pace):
    def __init__(self, rate: float) -> None:
        super().__init__(0.0, lambda: 0.5)
        self._rate = rate

    def feed(self, *_: object) -> None:
        pass


@settings(max_examples=20)
@given(
    st.floats(math.log(0.7), math.log(12)),
    st.floats(0.004, 0.15),
    st.floats(0.15, 2.0),
    st.sampled_from([0.0, 0.001, 0.003]),
    st.sampled_from([1, 2, 4]),
    st.integers(0, 99),
)
def test_on_any_line(speed: float, rtt: float, buffer: float, jitter: float, connections: int, seed: int) -> None:
    line = {"rate": math.exp(speed) * MBIT, "rtt": rtt, "buffer": buffer, "jitter": jitter}
    it = uplink(line, Greedy(12, 20), connections=connections, seed=seed)
    it.run(20)
    assert it.use(5, 12) > 0.75
    assert it.waits(5, 12)[1] < 0.150
    assert it.use(15, 20) < 0.4
    it.run(32)
    assert it.use(26, 32) > 0.75


def test_a_line_that_gets_slower_and_faster_again() -> None:
    it = uplink(HOME)
    it.run(15)
    it.rate = 3 * MBIT
    it.run(30)
    assert it.waits(22, 30)[1] < 0.120
    it.rate = 8 * MBIT
    it.run(40)
    assert it.use(34, 40) > 0.85


def test_a_source_slower_than_the_line_is_no_reason_to_race() -> None:
    """A slow drive: what is allowed stays near what goes, so that nothing bursts once the drive is fast again."""
    it = uplink(HOME, limit=1 * MBIT)
    it.run(20)
    assert it.use(5, 20) * it.rate == pytest.approx(1 * MBIT, rel=0.05)
    assert max(rate for moment, rate in it.rates if moment > 5) < 3 * MBIT
    it.limit = 1e12
    it.run(40)
    assert it.use(26, 40) > 0.85
    assert it.waits(20, 40)[2] < 0.200


def test_begun_while_somebody_uploads_it_takes_next_to_nothing() -> None:
    """The shortest round trip that it ever saw is then a long one."""
    it = uplink(HOME, Greedy(0, 60), limit=0)
    it.run(10)
    it.limit = 1e12
    it.run(60)
    assert it.use(20, 60) < 0.25


@pytest.mark.parametrize("looks", [0, 2000], ids=["nothing to look at", "nothing told"])
def test_after_a_silence_it_begins_well_below(looks: int) -> None:
    pace, now = Pace(0.0, lambda: 0.5), 0.0
    acked = 0
    while now < 10:  # a line without end
        acked += int(pace.rate * SAMPLE_SECONDS)
        now += SAMPLE_SECONDS
        pace.feed([_sample(acked=acked)], now)
    fast = pace.rate
    for look in range(looks):  # connections that break, or are not made yet
        pace.feed([], now + look * SAMPLE_SECONDS)
    pace.feed([_sample(acked=acked)], now + 60)
    assert pace.rate <= fast / 3
    assert pace.rate >= START


def test_after_a_week_without_a_body_nothing_breaks() -> None:
    it = uplink(HOME)
    it.run(10)
    it.pace.feed([], it.now + 7 * 86400)  # the first look, at a connection that is not made yet
    it.pace.feed([], it.now + 7 * 86400 + SAMPLE_SECONDS)
    assert it.pace.rate >= LEAST


def test_another_network_is_learnt_anew() -> None:
    it = uplink(HOME)
    it.run(15)
    assert it.pace.rate > 20 * START
    it.pace.forget(it.now)
    assert it.pace.rate == START
    assert not it.pace.crowded(it.now)
    it.run(30)
    assert it.use(22, 30) > 0.85


def test_the_nearest_of_several_places_does_not_make_the_others_look_crowded() -> None:
    """Two targets, one of them far away: each has a shortest round trip of its own."""
    pace, now, acked = Pace(0.0, lambda: 0.5), 0.0, 0
    while now < 8:
        acked += int(pace.rate * SAMPLE_SECONDS)
        now += SAMPLE_SECONDS
        near = _sample(acked=100, waiting=False)
        far = _sample(connection=2, path="far", rtt=0.200, shortest=0.200, acked=acked)
        pace.feed([near, far], now)
    assert pace.rate > 50 * START


def test_a_connection_that_hears_nothing_any_more_slows_it_down() -> None:
    it = uplink(HOME)
    it.run(15)
    now, silent = it.now, [one.sample(it.now) for one in it.ours]
    for step in range(1, 200):
        at = now + step * SAMPLE_SECONDS
        it.pace.feed([_late(one, at - now) for one in silent], at)
    assert it.pace.rate < 0.2 * 8 * MBIT


def _late(one: Sample, silent: float) -> Sample:
    return Sample(
        one.connection, one.path, one.rtt, one.deviation, one.shortest, one.acked, one.delivered, one.resent,
        waiting=True, silent=silent,
    )  # fmt: skip


def _sample(
    connection: int = 1,
    path: str = "here",
    rtt: float = 0.030,
    shortest: float = 0.030,
    acked: int = 0,
    *,
    waiting: bool = True,
) -> Sample:
    return Sample(connection, path, rtt, 0.001, shortest, acked, acked // 1448, 0, waiting=waiting, silent=0.0)


numbers = st.floats(0, 1e4)
counts = st.integers(0, 2**40)
samples = st.builds(
    Sample,
    st.integers(0, 3),
    st.sampled_from(["a", "b"]),
    numbers,
    numbers,
    numbers,
    counts,
    counts,
    counts,
    st.booleans(),
    numbers,
)


@given(st.lists(st.tuples(st.lists(samples, max_size=4), st.floats(0, 50)), max_size=60), st.floats(0, 1))
def test_nothing_that_tcp_may_tell_breaks_it(told: list[tuple[list[Sample], float]], chance: float) -> None:
    pace, now = Pace(5.0, lambda: chance), 5.0
    for seen, later in told:
        now += later
        pace.feed(seen, now)
        assert LEAST <= pace.rate <= MOST
        pace.crowded(now)


def test_without_a_sample_nothing_moves() -> None:
    pace = Pace(0.0, lambda: 0.5)
    for step in range(400):
        pace.feed([], step * SAMPLE_SECONDS)
    assert pace.rate == START
