"""The segment protocol under everything at once: never a wrong object, never an orphan that does not expire, always
an end.

A state machine interrupts one object's way at every phase, in every request: broken before, in the body, after the
work (the answer is lost), done later than thought, done twice; by the world or by cancellation; with restarts that
remember the ledger or have lost it, jumps of the clock, listings that lag, segments that are lost or garbled at the
server, somebody else's object at the final name, and a drive that misreads, goes away or rots. Then the world comes
to rest, and the object must come to an end: DONE with exactly its bytes, or REFUSED for a reason that there is.

What must hold is looked at after every single change of what is stored, not only between steps.

Where an SLO is to stand at the final name, its segments are made permanent by one request each, and the next request
puts the SLO there: a run that is broken off between the first and the last of these leaves permanent segments without
an SLO, until the object's next `carry`. That is the one window (`_look` states it); it never outlasts the object's end.
For such an object no request is done later than thought, as a renewal that the server does behind everybody's back
could not be told from one of ours.

SLOWBOAT_TEST_EXAMPLES sets how many lives are tried, others in each run; by default it is the same 150.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from engine.courier_bed import GZIPPED, SIGNATURES, UNIT, VOLUME, CourierBed, signatures, small_units, volume
from engine.model_store import SERVERS, Fault
from slowboat.core.plan import SETTLED
from slowboat.core.words import Limits, Phase
from slowboat.engine.courier import LIFE

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

EXAMPLES = int(os.environ.get("SLOWBOAT_TEST_EXAMPLES", "150"))
QUIET = 8
"""Actions within which an object comes to its end once nothing goes wrong any more."""
THEIRS = b"somebody else's"

FAULTS = st.builds(
    Fault,
    st.sampled_from(["before", "body", "after", "late", "twice"]),
    st.sampled_from(["break", "cancel"]),
    st.integers(0, UNIT),
)
SCRIPTS = st.builds(
    lambda spared, faults: [*[None] * spared, *faults],
    st.integers(0, 16),
    st.lists(st.one_of(st.none(), FAULTS), max_size=4),
)
OFFSETS = st.integers(0, 7 * UNIT)


class SegmentsMachine(RuleBasedStateMachine):
    """One object, from its adoption to its end."""

    @initialize(
        size=st.integers(UNIT, 6 * UNIT),
        name=st.sampled_from([VOLUME, SIGNATURES, GZIPPED]),
        largest=st.sampled_from([3 * UNIT, 64 * UNIT, 64 * UNIT]),
        server=st.sampled_from(["swift", "swift", *SERVERS]),
    )
    def adopted(self, size: int, name: str, largest: int, server: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.units = small_units()
        self.units.start()
        self.reasons: set[str] = set()  # for which it may be refused
        self.misreads = 0
        self.forgot = False
        self.bed = CourierBed(
            volume(size) if name == VOLUME else signatures(size + UNIT),
            name,
            hashed=name == VOLUME,  # of the other volume, the plain manifest is gone
            limits=Limits(max_object=largest),
            quirks=SERVERS[server],
            changed=self._look,
        )
        if not self.bed.can.slo and len(self.bed.right) > largest:
            self.reasons.add("no-way")

    # -- what slowboat does ------------------------------------------------------------------------------------

    @rule(script=SCRIPTS)
    def act(self, script: list[Fault | None]) -> None:
        settled = self.bed.item.phase in SETTLED
        self._run(self.bed.or_break(self.bed.finish()) if settled else self.bed.act(), script)

    @rule(script=SCRIPTS, cancel_in=st.integers(0, 6))
    def act_and_be_cancelled_while_reading(self, script: list[Fault | None], cancel_in: int) -> None:
        self.bed.source.cancel_in = cancel_in
        self.act(script)
        self.bed.source.cancel_in = None

    @rule(script=SCRIPTS)
    def wait(self, script: list[Fault | None]) -> None:
        self._run(self.bed.or_break(self.bed.wait()), script)

    @rule(forget=st.sampled_from([False, False, True]))
    def restart(self, forget: bool) -> None:
        self.bed.restart(forget=forget)
        self.forgot |= forget

    # -- what the world does -----------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([60.0, 86400.0, LIFE * 0.3, LIFE * 0.6, LIFE + 1.0]))
    def time_passes(self, seconds: float) -> None:
        self.bed.now += seconds

    @rule(lag=st.integers(0, 30))
    def listings_lag(self, lag: int) -> None:
        self.bed.store.lag = lag

    @rule()
    def the_expirer_comes_by(self) -> None:
        self.bed.store.reap()

    @rule()
    def what_was_late_is_done(self) -> None:
        self.bed.store.settle()

    @precondition(lambda self: self.bed.segments and not self._slo_stands())
    @rule(which=st.integers(0, 10), garbled=st.booleans())
    def a_segment_is_harmed(self, which: int, garbled: bool) -> None:
        name = self.bed.segments[which % len(self.bed.segments)]
        if garbled and not name.endswith("/slo"):
            self.bed.store.garble(name)
        else:
            self.bed.store.lose(name)

    @precondition(lambda self: not self.bed.in_place and not self.bed.store.busy)
    @rule()
    def somebody_takes_the_name(self) -> None:
        if not self.bed.store.alive(segments=False):
            self.reasons.add("conflict")
            self.bed.store.place(self.bed.full, THEIRS)

    # -- what the drive does -----------------------------------------------------------------------------------

    @rule(offset=OFFSETS)
    def a_byte_is_misread(self, offset: int) -> None:
        self.bed.source.misreads.append(offset % len(self.bed.right))
        self.misreads += 1
        if self.misreads > 1:
            self.reasons |= {"rotten", "unstable", "framing"}

    @rule(offset=st.one_of(st.none(), OFFSETS))
    def the_drive_goes_or_comes_back(self, offset: int | None) -> None:
        self.bed.source.absent_at = offset

    @precondition(lambda self: self.bed.item.phase not in SETTLED)
    @rule(offset=OFFSETS, seldom=st.integers(0, 3))
    def the_drive_rots(self, offset: int, seldom: int) -> None:
        if not seldom:
            # What has no SHA-1 rots where gzip's checksum tells: else nobody can know.
            hashed = self.bed.name == VOLUME
            self.bed.source.rotten.add(offset % len(self.bed.right) if hashed else 15 + offset % 60)
            self.reasons |= {"rotten", "unstable", "framing", "conflict"}

    @rule(offset=OFFSETS, seldom=st.integers(0, 3))
    def the_drive_has_a_bad_block(self, offset: int, seldom: int) -> None:
        if not seldom:
            self.bed.source.unreadable_at = offset
            self.reasons.add("read-error")

    # -- what must hold ----------------------------------------------------------------------------------------

    def _slo_stands(self) -> bool:
        return any(stored.slo for stored in self.bed.store.alive(segments=False).values())

    def _look(self) -> None:
        store, bed = self.bed.store, self.bed
        standing = store.alive(segments=False)
        assert standing.keys() <= {bed.full}
        kept: set[str] = set()
        for name, stored in standing.items():
            assert stored.expires is None
            assert store.data(name) in ((bed.right, THEIRS) if "conflict" in self.reasons else (bed.right,))
            kept.update(part.name for part in stored.parts)
        segments = store.alive(segments=True)
        assert all(segments[name].expires is None for name in kept)
        permanent = {name for name, stored in segments.items() if stored.expires is None} - kept
        if not bed.in_place:
            assert not permanent
        if standing and bed.in_place:
            assert not permanent
        self.permanent = permanent

    @invariant()
    def whatever_stands_is_right(self) -> None:
        if hasattr(self, "bed"):
            self._look()
            if self.bed.item.phase is Phase.DONE:
                assert self.bed.store.data(self.bed.full) == self.bed.right
            if self.bed.item.phase in SETTLED:
                assert not self.permanent
            if self.bed.item.phase is Phase.REFUSED:
                assert self.bed.item.error in self.reasons

    @invariant()
    def nothing_confirmed_is_sent_twice(self) -> None:
        if hasattr(self, "bed") and not self.forgot and self.misreads < 2:
            assert self.bed.store.paid_twice == []

    def teardown(self) -> None:
        if not hasattr(self, "bed"):
            return
        try:
            self._comes_to_its_end()
        finally:
            self.units.stop()
            self.loop.close()

    def _comes_to_its_end(self) -> None:
        bed, source = self.bed, self.bed.source
        source.absent_at = source.unreadable_at = None
        source.misreads.clear()
        bed.store.lag = 0
        bed.store.settle()
        self._run(bed.until_settled(QUIET))
        self._run(bed.finish())
        self.whatever_stands_is_right()
        self.nothing_confirmed_is_sent_twice()
        if bed.item.phase is Phase.DONE and bed.item.segment and not bed.in_place:
            assert bed.segments == []
        bed.now += LIFE + 1.0
        self.whatever_stands_is_right()
        assert bool(bed.segments) == self._slo_stands()

    def _run(self, act: Coroutine[None, None, None], script: Sequence[Fault | None] = ()) -> None:
        if self.bed.in_place:
            script = [replace(fault, when="after") if fault and fault.when == "late" else fault for fault in script]
        self.bed.store.faults = list(script)
        self.loop.run_until_complete(act)
        self.bed.store.faults = []


TestLife = SegmentsMachine.TestCase
TestLife.settings = settings(
    max_examples=EXAMPLES,
    derandomize="SLOWBOAT_TEST_EXAMPLES" not in os.environ,
    stateful_step_count=25,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
