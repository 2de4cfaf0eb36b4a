"""The pace packet by packet, in virtual time: a machine that wakes us late, our own gaps, and what others then have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from line_model import BUSY, MBIT, Bbr, Cubic, Line, Machine

from slowboat.core.uplink import SAMPLE_SECONDS, TARGET, Sample, Uplink

if TYPE_CHECKING:
    from collections.abc import Callable

BODY = 50e6


@pytest.mark.parametrize(
    ("rate", "round_trip", "least"), [(8 * MBIT, 0.030, 0.93), (30 * MBIT, 0.100, 0.95)], ids=["home", "fast and far"]
)
def test_a_busy_machine_uses_the_line_all_the_same(rate: float, round_trip: float, least: float) -> None:
    """Every second wake-up is late, by 20 ms: what was not sent meanwhile is caught up with, and is no lack of room."""
    line = Line(rate, round_trip, buffer=0.3)
    line.set_out(machine=BUSY, body=BODY)
    line.run(16)
    assert line.use(6, 16) > least
    assert line.waits(6, 16) < 0.100


def test_one_late_wake_up_is_made_good() -> None:
    line = Line(30 * MBIT, 0.100, buffer=0.3)
    boat = line.set_out(body=BODY)

    def stand_still() -> None:
        boat.machine = Machine(1.0, 1.0)
        line.clock.at(10.1, lambda: setattr(boat, "machine", Machine()))

    line.clock.at(10.0, stand_still)
    line.run(16)
    assert line.use(5, 8) > 0.95
    assert line.use(13, 16) > 0.95


@pytest.mark.parametrize(("control", "least"), [(Cubic, 0.95), (Bbr, 0.80)], ids=["cubic", "bbr"])
def test_what_somebodys_upload_keeps(control: type[Cubic], least: float) -> None:
    line, quiet = Line(8 * MBIT), Line(8 * MBIT)
    line.set_out(body=BODY)
    for one in (line, quiet):
        one.upload(12, 22, control)
        one.run(26)
    assert line.got("upload", 12, 22) > least * quiet.got("upload", 12, 22)
    assert line.use(25, 26) > 0.75  # the queue that is left takes a second of the four
    assert line.use(6, 12) > 0.95
    assert line.waits(6, 12) < 0.040


def test_a_call_hardly_waits() -> None:
    line = Line(8 * MBIT)
    line.set_out(body=BODY)
    line.call(12, 20)
    line.run(20)
    delay, lost = line.call_waits(12, 20)
    assert delay < 0.040
    assert lost == 0
    assert line.use(13, 20) > 0.6


# -- what a sample is no measure of ------------------------------------------------------------------------------


def heard(looks: int, sample: Callable[[int], Sample], rate: float = 1e6) -> Uplink:
    uplink = Uplink()
    for look in range(looks):
        uplink.hear([sample(look)], SAMPLE_SECONDS, look * SAMPLE_SECONDS, rate)
    return uplink


def told(look: int, *, queue: float = 0.0, given: int = 0, resent: int = 0, spurious: int = 0) -> Sample:
    acked = look * 25_000
    return Sample(
        1, "there", 0.030 + queue, 0.0, 0.030, acked, acked // 1448, resent,
        waiting=True, silent=0.0, given=given, spurious=spurious,
    )  # fmt: skip


@pytest.mark.parametrize("share", [1.0, 0.5, 0.0])
def test_what_was_allowed_and_not_sent_is_known(share: float) -> None:
    uplink = heard(40, lambda look: told(look, given=1 + int(look * 25_000 * share)))
    assert uplink.missed(0.030, 39 * SAMPLE_SECONDS) == pytest.approx(1e6 * (1 - share), rel=0.01, abs=1)


def test_where_the_kernel_does_not_tell_what_was_sent_nothing_was_missed() -> None:
    assert heard(40, told).missed(0.030, 39 * SAMPLE_SECONDS) == 0


@pytest.mark.parametrize(
    ("resent", "spurious", "short"), [(1, 0, False), (2, 0, True), (3, 2, False)], ids=["a probe", "losses", "needless"]
)
def test_a_single_tail_loss_probe_is_no_short_buffer(resent: int, spurious: int, short: bool) -> None:
    def sample(look: int) -> Sample:
        late = look >= 40
        return told(
            look, queue=0.02 if late else 0.0, resent=resent if look > 44 else 0, spurious=spurious if look > 44 else 0
        )

    view = heard(50, sample).view(49 * SAMPLE_SECONDS, 0.001)
    assert view is not None
    assert view.short is short
    assert (view.aim < TARGET) is short
