"""The plan: every snapshot has an answer, and no answer breaks a safety rule."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowboat.core.direct import REMOVED
from slowboat.core.parting import PARTED
from slowboat.core.plan import (
    ADOPT,
    HAND_OVER,
    LAG_SECONDS,
    MEND,
    OBSERVE,
    OBSERVE_EVERY,
    OBSERVE_OFTEN,
    RENEW_EVERY,
    TRANSITIONS,
    Adopt,
    BreakOff,
    Check,
    Finish,
    HandOver,
    Mend,
    Observe,
    Renew,
    Send,
    Sight,
    Snapshot,
    Tidy,
    advance,
    matches,
    plan,
    ready_for_handover,
)
from slowboat.core.roster import SETTLED, Roster
from slowboat.core.words import (
    Activity,
    Event,
    HandoverState,
    Item,
    Permit,
    Phase,
    Reason,
    RemoteObject,
    Role,
    SetId,
    SourceFile,
)

NOW = 1_000_000.0
FULL = SetId(100, 100)
INC = SetId(100, 200)
OLD = SetId(50, 50)


def item(name: str, role: Role, rank: int, *, chain: int = 0, set_id: SetId = FULL, **more: object) -> Item:
    return Item(SourceFile(name, 10 + rank, 1), role, chain, set_id, rank, md5=f"md5-{name}", **more)  # type: ignore[arg-type]


def a_migration() -> tuple[Item, ...]:
    """One full and one incremental with a canary volume, and an older chain."""
    return (
        item("sig-full", Role.SIGNATURES, 0),
        item("sig-inc", Role.SIGNATURES, 1, set_id=INC),
        item("man-full", Role.MANIFEST, 2),
        item("man-inc", Role.MANIFEST, 3, set_id=INC),
        item("vol-2", Role.VOLUME, 4, canary=True),
        item("vol-1", Role.VOLUME, 5),
        item("inc-1", Role.VOLUME, 6, set_id=INC),
        item("old-sig", Role.SIGNATURES, 7, chain=1, set_id=OLD),
        item("old-man", Role.MANIFEST, 8, chain=1, set_id=OLD),
        item("old-vol", Role.VOLUME, 9, chain=1, set_id=OLD),
    )


ITEMS = a_migration()
phases = st.sampled_from(list(Phase))


def stored(one: Item) -> RemoteObject:
    return RemoteObject(one.name, one.file.size, one.md5)


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    segments = st.sampled_from([0, 0, 4])
    items = (
        tuple(dataclasses.replace(one, phase=draw(phases), segment=draw(segments)) for one in ITEMS)
        if draw(st.booleans())
        else ()
    )
    present = [one for one in items if draw(st.booleans())]
    sight = Sight({one.name: stored(one) for one in present}, NOW - draw(st.sampled_from([0.5, 5.0, 1e6])))
    keys = [ADOPT, OBSERVE, HAND_OVER, MEND, *(one.name for one in items)]
    reason = Reason("x", "y", until=NOW + 5)
    paused = (Reason("paused", "You paused it"),)
    busy = frozenset(draw(st.lists(st.sampled_from(keys), max_size=3)))
    renewing = draw(st.sets(st.sampled_from([one.name for one in items]), max_size=1)) if items else ()
    return Snapshot(
        now=NOW,
        items=items,
        permit=draw(st.sampled_from([Permit(None), Permit(5), Permit(0, paused), Permit(0, paused, asks=False)])),
        drive_present=draw(st.booleans()),
        drive_changed=draw(st.booleans()),
        sight=draw(st.sampled_from([None, sight])),
        confirmed_at=NOW - draw(st.sampled_from([0.1, 10.0, 1e7])),
        handover=draw(st.sampled_from([HandoverState.PENDING, HandoverState.DONE, HandoverState.BLOCKED])),
        handover_at=NOW + draw(st.sampled_from([-10.0, 10.0, float("inf")])),
        blocked=draw(st.sampled_from([None, reason])),
        wait=draw(st.sampled_from([None, reason])),
        object_waits={one.name: NOW + 9 for one in items if draw(st.integers(0, 9)) == 0},
        busy=busy,
        renewing=frozenset(renewing) - busy,
        renewed={one.name: NOW - draw(st.sampled_from([1.0, 1e6, -1e6])) for one in items if draw(st.booleans())},
        lanes=draw(st.integers(1, 4)),
        finished=draw(st.booleans()),
        observe_every=draw(st.sampled_from([OBSERVE_OFTEN, OBSERVE_EVERY])),
        mend_at=draw(st.sampled_from([None, NOW - 1, NOW + 10])),
        follows=draw(st.booleans()),
        tidy_at=draw(st.sampled_from([None, NOW - 1, NOW + 10])),
        postponed=frozenset(draw(st.lists(st.sampled_from([INC, OLD]), max_size=1))),
    )


@given(snapshots())
def test_the_plan_is_total_and_keeps_the_rules(s: Snapshot) -> None:
    decision = plan(s)
    by_name = {one.name: one for one in s.items}
    for action in decision.actions:
        match action:
            case Send(name) | Check(name):
                one = by_name[name]
                assert s.permit.open
                assert s.blocked is None
                assert s.wait is None
                assert s.drive_present
                assert name not in s.busy
                assert name not in s.renewing, "nothing else is done with an object while its segments are renewed"
                assert one.phase not in SETTLED
                assert s.object_waits.get(name, 0.0) <= NOW
                if one.phase is Phase.UNCHECKED:
                    assert isinstance(action, Check), "never paid twice without asking"
                assert one.set_id not in s.postponed
                assert_metadata_first(s, one)
            case HandOver():
                assert not s.follows
                assert ready_for_handover(s.items)
                assert s.sight is not None
                assert s.sight.taken_at > s.confirmed_at
                for one in s.items:
                    if one.chain == 0 and one.role.is_metadata:
                        assert matches(one, s.sight.objects.get(one.name))
            case Mend():
                assert s.handover is HandoverState.DONE
                assert s.mend_at is not None
                assert s.mend_at <= NOW
                assert Roster(not_held(s)).is_whole(0)
                assert MEND not in s.busy
            case Tidy():
                assert s.permit.open
                assert s.finished
                assert s.tidy_at is not None
                assert s.tidy_at <= NOW
                assert not s.busy
            case Finish():
                assert all(one.phase in SETTLED for one in s.items)
            case Adopt():
                assert s.drive_present
                assert not s.busy
            case Observe():
                assert s.permit.open
            case Renew(name):
                assert_may_be_renewed(s, by_name[name], decision.actions)
            case BreakOff():
                assert s.busy or s.renewing


def assert_may_be_renewed(s: Snapshot, one: Item, actions: tuple[object, ...]) -> None:
    assert s.permit.open or s.permit.asks
    assert s.blocked is None
    assert s.wait is None
    assert one.segment > 0
    assert one.phase not in SETTLED
    assert one.name not in s.busy
    assert not s.renewing, "one after the other"
    assert not {Send(one.name), Check(one.name)} & set(actions)
    assert not s.now - RENEW_EVERY < s.renewed.get(one.name, 0.0) <= s.now


def assert_metadata_first(s: Snapshot, one: Item) -> None:
    if one.role is Role.VOLUME:
        assert Roster(not_held(s)).is_whole(one.chain), "no volume before its chain's metadata"
    earlier = [i for i in not_held(s) if i.chain == one.chain and i.role.is_metadata and i.rank < one.rank]
    if one.role.is_metadata:
        assert all(i.phase in SETTLED for i in earlier), "metadata in its order"
    if one.chain > 0:
        newest = [i for i in s.items if i.chain == 0 and i.role.is_metadata]
        assert (
            all(i.phase is Phase.DONE for i in newest)
            or any(i.phase is Phase.REFUSED for i in newest)
            or (s.handover is not HandoverState.PENDING)
            or s.follows
        )


def not_held(s: Snapshot) -> list[Item]:
    return [i for i in s.items if i.set_id not in s.postponed]


@given(snapshots())
def test_what_is_begun_is_not_broken_off_by_the_next_plan(s: Snapshot) -> None:
    """Nor is what was under way before: where nothing else happens, what goes up comes to its end."""
    older = [dataclasses.replace(i, phase=Phase.DONE) if i.chain and i.role.is_metadata else i for i in s.items]
    s = dataclasses.replace(s, items=tuple(older), permit=Permit(None), blocked=None, wait=None, finished=False)
    s = dataclasses.replace(s, drive_present=True, drive_changed=False, confirmed_at=0.0, sight=Sight({}, NOW))
    decision = plan(s)
    begun = {action.name for action in decision.actions if isinstance(action, Send | Check)}
    if begun and BreakOff() not in decision.actions:
        assert BreakOff() not in plan(dataclasses.replace(s, busy=s.busy | begun)).actions


def test_no_volume_of_an_older_chain_goes_beside_the_metadata_of_a_new_one() -> None:
    """The drive got a new full backup after the handover; the chain before it is whole but for its volumes."""
    old = tuple(dataclasses.replace(i, phase=Phase.DONE) if i.chain == 1 and i.role.is_metadata else i for i in ITEMS)
    s = Snapshot(now=NOW, items=old, permit=Permit(None), sight=Sight({}, NOW), handover=HandoverState.DONE, lanes=2)
    assert plan(s).actions == (Send("sig-full"),)
    ending = frozenset({"sig-full"})
    assert plan(dataclasses.replace(s, busy=ending, ending=ending)).actions == ()


@given(snapshots())
def test_a_plan_that_does_nothing_says_why_or_when(s: Snapshot) -> None:
    decision = plan(s)
    stuck = not decision.actions and not s.busy and decision.activity is not Activity.DONE
    if stuck:
        assert decision.reasons or decision.wake_at is not None or s.drive_changed or s.object_waits


def test_a_migration_ends_whatever_order_answers_come_in() -> None:
    """Plays a whole migration: every action succeeds; it must end, in the order that the design names."""
    items = {one.name: dataclasses.replace(one, md5="") for one in ITEMS}
    at_target: dict[str, RemoteObject] = {}
    handover, finished, sight, confirmed_at, now = HandoverState.PENDING, False, None, 0.0, NOW
    order: list[str] = []
    for _ in range(100):
        now += 1
        s = Snapshot(
            now=now,
            items=tuple(items.values()),
            permit=Permit(None),
            sight=sight,
            confirmed_at=confirmed_at,
            handover=handover,
            finished=finished,
        )
        for action in plan(s).actions:
            match action:
                case Observe():
                    sight = Sight(dict(at_target), now)
                case Send(name):
                    order.append(name)
                    at_target[name] = stored(ITEMS[[i.name for i in ITEMS].index(name)])
                    items[name] = dataclasses.replace(items[name], phase=Phase.DONE, md5=f"md5-{name}")
                    confirmed_at = now
                case HandOver():
                    order.append("HANDOVER")
                    handover = HandoverState.DONE
                case Finish():
                    finished = True
                case _:
                    pytest.fail(f"unexpected {action}")
        if finished:
            break
    assert finished
    assert order == [
        *("sig-full", "sig-inc", "man-full", "man-inc", "vol-2", "HANDOVER"),
        *("vol-1", "inc-1", "old-sig", "old-man", "old-vol"),
    ]


def test_every_phase_has_an_exit_or_is_an_end() -> None:
    for phase in Phase:
        exits = {to for (come_from, _), to in TRANSITIONS.items() if come_from is phase and to is not phase}
        assert exits, phase
    assert set(TRANSITIONS.values()) <= set(Phase)


def test_a_missing_pair_is_an_error() -> None:
    with pytest.raises(KeyError):
        advance(Phase.DONE, Event.STARTED)


def test_an_interrupted_upload_is_asked_about_before_it_is_sent_again() -> None:
    assert advance(Phase.SENDING, Event.INTERRUPTED) is Phase.UNCHECKED
    unchecked = tuple(dataclasses.replace(i, phase=Phase.UNCHECKED if i.rank == 0 else Phase.QUEUED) for i in ITEMS)
    s = Snapshot(now=NOW, items=unchecked, permit=Permit(None), sight=Sight({}, NOW))
    assert plan(s).actions == (Check("sig-full"),)


def test_volumes_flow_while_the_handover_is_blocked() -> None:
    done = tuple(
        dataclasses.replace(i, phase=Phase.DONE) if (i.role.is_metadata and i.chain == 0) or i.canary else i
        for i in ITEMS
    )
    seen = Sight({i.name: stored(i) for i in done if i.phase is Phase.DONE}, NOW)
    s = Snapshot(
        now=NOW,
        items=done,
        permit=Permit(None),
        sight=seen,
        handover=HandoverState.BLOCKED,
        handover_at=NOW + 60,
        lanes=2,
    )
    assert plan(s).actions == (Send("vol-1"), Send("inc-1"))
    assert plan(dataclasses.replace(s, handover=HandoverState.PENDING)).actions == (HandOver(),)


def test_neither_handover_nor_end_stands_on_what_no_listing_shows() -> None:
    metadata = tuple(
        dataclasses.replace(i, phase=Phase.DONE) if (i.role.is_metadata and i.chain == 0) or i.canary else i
        for i in ITEMS
    )
    everything = tuple(dataclasses.replace(i, phase=Phase.DONE) for i in ITEMS)
    for items, name, handover, then in (
        (metadata, "man-inc", HandoverState.PENDING, HandOver()),
        (everything, "vol-1", HandoverState.DONE, Finish()),
    ):
        objects = {i.name: stored(i) for i in items if i.phase is Phase.DONE}
        lagging = Sight(objects, NOW, frozenset({name}))
        s = Snapshot(now=NOW, items=items, permit=Permit(None), sight=lagging, handover=handover, lanes=2)
        waits = plan(s)
        assert (waits.actions, waits.activity) == ((), Activity.WAITING)
        assert waits.reasons[0].code == "unlisted"
        assert name in waits.reasons[0].text
        assert waits.wake_at == NOW + LAG_SECONDS
        assert plan(dataclasses.replace(s, now=NOW + LAG_SECONDS)).actions == (Observe(),)
        assert then in plan(dataclasses.replace(s, sight=Sight(objects, NOW))).actions


def test_volumes_do_not_wait_for_a_listing_that_lags() -> None:
    s = handed_over(lanes=2)
    assert s.sight is not None
    lagging = dataclasses.replace(s, sight=dataclasses.replace(s.sight, unlisted=frozenset({"man-inc"})))
    assert plan(lagging).actions == plan(s).actions == (Send("vol-1"), Send("inc-1"))


def handed_over(*vanished: str, busy: frozenset[str] = frozenset(), **more: object) -> Snapshot:
    """All metadata and the canary are there, but for what has vanished; the rest is on its way."""
    done = {i.name for i in ITEMS if (i.role.is_metadata and i.chain == 0) or i.canary} - set(vanished)
    items = tuple(dataclasses.replace(i, phase=Phase.DONE) if i.name in done else i for i in ITEMS)
    items = tuple(dataclasses.replace(i, phase=Phase.SENDING) if i.name in busy else i for i in items)
    seen = Sight({i.name: stored(i) for i in items if i.phase is Phase.DONE}, NOW)
    s = Snapshot(now=NOW, items=items, permit=Permit(None), sight=seen, handover=HandoverState.DONE, busy=busy)
    return dataclasses.replace(s, **more)


def test_volumes_on_the_line_make_way_for_metadata_that_has_vanished() -> None:
    s = handed_over("man-inc", busy=frozenset({"vol-1"}), lanes=2)
    assert plan(s).actions == (BreakOff(),)
    assert plan(handed_over("man-inc")).actions == (Send("man-inc"),)
    assert plan(handed_over(busy=frozenset({"vol-1"}), lanes=2)).actions == (Send("inc-1"),)


def test_beside_an_object_that_comes_to_its_end_the_next_one_gets_ready() -> None:
    busy = frozenset({"vol-1"})
    assert plan(handed_over(busy=busy, lanes=1)).actions == ()
    assert plan(handed_over(busy=busy, lanes=1, ending=busy)).actions == (Send("inc-1"),)
    both = frozenset({"vol-1", "inc-1"})
    assert plan(handed_over(busy=both, lanes=1, ending=busy)).actions == (), "one for each that ends"
    assert plan(handed_over(busy=both, lanes=1, ending=both)).actions == (), "and never more than there are lanes"
    assert plan(handed_over(lanes=1, ending=busy)).actions == (Send("vol-1"),), "what is over ends no more"


def test_the_cache_is_mended_once_all_metadata_is_there_again() -> None:
    assert plan(handed_over(mend_at=NOW)).actions == (Mend(), Send("vol-1"))
    assert plan(handed_over("man-inc", mend_at=NOW)).actions == (Send("man-inc"),)
    later = plan(handed_over(mend_at=NOW + 5))
    assert later.actions == (Send("vol-1"),)
    assert later.wake_at == NOW + 5
    assert plan(handed_over(mend_at=NOW, finished=True)).actions == (Mend(),)
    stale = plan(handed_over(mend_at=NOW, confirmed_at=NOW + 1))
    assert stale.actions == (Observe(),), "what was confirmed must be seen first"


def test_a_risky_duplicity_is_looked_after_more_often_also_while_volumes_go_up() -> None:
    s = handed_over(busy=frozenset({"vol-1"}), observe_every=OBSERVE_OFTEN)
    assert plan(s).wake_at == NOW + OBSERVE_OFTEN
    late = dataclasses.replace(s, now=NOW + OBSERVE_OFTEN)
    assert plan(late).actions == (Observe(),)
    assert plan(dataclasses.replace(late, observe_every=OBSERVE_EVERY)).actions == ()


def test_a_set_that_waits_for_duplicity_keeps_only_itself_back() -> None:
    why = Reason("target-in-use", "a backup straight to the cloud is not finished")
    new = tuple(dataclasses.replace(i, phase=Phase.QUEUED) if i.set_id == INC else i for i in handed_over().items)
    s = handed_over(items=new, postponed=frozenset({INC}), postponed_why=why, lanes=1)
    assert plan(s).actions == (Send("vol-1"),)
    empty = Sight({}, NOW)
    assert plan(handed_over(items=new, sight=empty, lanes=1)).actions == (Send("sig-inc"),), "metadata comes first"
    alone = tuple(i if i.set_id == INC else dataclasses.replace(i, phase=Phase.DONE) for i in new)
    waiting = plan(dataclasses.replace(s, items=alone, observe_every=60.0))
    assert (waiting.actions, waiting.activity, waiting.reasons) == ((), Activity.WAITING, (why,))
    assert waiting.wake_at == NOW + 60.0


def test_what_has_parted_is_left_behind_and_all_else_goes_on() -> None:
    parted = tuple(
        dataclasses.replace(i, phase=Phase.REFUSED, error=PARTED) if i.set_id == INC else i for i in handed_over().items
    )
    assert plan(handed_over(items=parted, lanes=2)).actions == (Send("vol-1"), Send("old-sig"))
    assert plan(handed_over(items=parted, lanes=1, mend_at=NOW)).actions == (Mend(), Send("vol-1"))
    assert not ready_for_handover(parted)
    rest = tuple(i if i.phase is Phase.REFUSED else dataclasses.replace(i, phase=Phase.DONE) for i in parted)
    assert plan(handed_over(items=rest)).actions == (Finish(),)


def test_a_cloud_that_follows_the_drive_waits_for_no_handover_and_makes_none() -> None:
    ready = handed_over(handover=HandoverState.PENDING, lanes=2)
    assert plan(ready).actions == (HandOver(),)
    assert plan(dataclasses.replace(ready, follows=True)).actions == (Send("vol-1"), Send("inc-1"))


def test_a_chain_without_its_removed_sets_goes_on_and_is_never_handed_over() -> None:
    gone = tuple(
        dataclasses.replace(i, phase=Phase.REFUSED, error=REMOVED) if i.set_id == INC else i
        for i in handed_over().items
    )
    s = handed_over(items=gone, lanes=2)
    assert plan(s).actions == (Send("vol-1"), Send("old-sig"))
    assert not ready_for_handover(gone)
    assert plan(s).reasons == (), "what was removed on purpose is nobody's trouble"


def begun(**more: object) -> Snapshot:
    """Paused, with one object of which some segments are there."""
    items = tuple(dataclasses.replace(i, segment=4, phase=Phase.UNCHECKED) if i.rank == 5 else i for i in ITEMS)
    permit = Permit(0, (Reason("paused", "You paused it"),))
    return dataclasses.replace(Snapshot(now=NOW, items=items, permit=permit), **more)  # type: ignore[arg-type]


def test_a_long_pause_renews_segments_by_the_clock() -> None:
    first = plan(begun())
    assert first.actions == (Renew("vol-1"),)
    assert first.activity is Activity.PAUSED
    waiting = plan(begun(renewed={"vol-1": NOW}))
    assert waiting.actions == ()
    assert waiting.wake_at == NOW + RENEW_EVERY
    assert plan(begun(now=NOW + RENEW_EVERY, renewed={"vol-1": NOW})).actions == (Renew("vol-1"),)
    assert plan(begun(renewing=frozenset({"vol-1"}))).actions == ()


def test_no_request_is_made_where_the_network_is_not_to_be_used() -> None:
    closed = Permit(0, (Reason("metered", "It is metered"),), asks=False)
    assert plan(begun(permit=closed)).actions == ()
    assert plan(begun(permit=closed, renewing=frozenset({"vol-1"}))).actions == (BreakOff(),)


def test_a_server_that_asked_to_wait_is_not_asked_for_a_renewal_before() -> None:
    decision = plan(begun(wait=Reason("server-wait", "it asked", until=NOW + 60)))
    assert decision.actions == ()
    assert decision.wake_at == NOW + 60


def test_a_drive_that_is_away_is_named() -> None:
    s = Snapshot(now=NOW, items=ITEMS, permit=Permit(None), sight=Sight({}, NOW), drive_present=False, where="/media/x")
    decision = plan(s)
    assert decision.actions == ()
    assert decision.reasons[0].code == "source-absent"
    assert "/media/x" in decision.reasons[0].text
