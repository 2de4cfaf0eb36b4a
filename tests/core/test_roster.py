"""The roster: what it counts by each change is what walking over all objects finds, after any history of events."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slowboat.core.account import AccountBasis, take
from slowboat.core.direct import GONE, REMOVED
from slowboat.core.guard import is_complete
from slowboat.core.parting import PARTED
from slowboat.core.plan import (
    SETTLED,
    TRANSITIONS,
    Check,
    Send,
    Sight,
    Snapshot,
    advance,
    plan,
    ready_for_handover,
)
from slowboat.core.roster import Roster, Whereabouts, is_aside, whereabouts
from slowboat.core.words import Event, HandoverState, Item, Permit, Phase, Role, SetId, SourceFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NOW = 1_000_000.0
SETS = {0: (SetId(100, 100), SetId(100, 200), SetId(200, 300)), 1: (SetId(50, 50),), 2: (SetId(10, 10), SetId(10, 20))}
ERRORS = ("", "it is rotten", REMOVED, GONE, PARTED)


@st.composite
def lists_of_items(draw: st.DrawFn) -> tuple[Item, ...]:
    """Any objects in any order of rank."""
    count = draw(st.integers(1, 14))
    ranks = draw(st.permutations(range(count)))
    items = []
    for number, rank in enumerate(ranks):
        chain = draw(st.sampled_from([0, 0, 1, 2]))
        role = draw(st.sampled_from([Role.SIGNATURES, Role.MANIFEST, Role.VOLUME, Role.VOLUME]))
        items.append(
            Item(
                SourceFile(f"file-{number}", draw(st.integers(0, 50)), 1),
                role,
                chain,
                draw(st.sampled_from(SETS[chain])),
                rank,
                canary=role is Role.VOLUME and draw(st.booleans()),
                segment=draw(st.sampled_from([0, 4])),
            )
        )
    return tuple(items)


@st.composite
def histories(draw: st.DrawFn) -> tuple[tuple[Item, ...], list[Item]]:
    """Objects, and what becomes of them one by one: phases by the table, errors, segments, bytes."""
    items = draw(lists_of_items())
    now = {item.name: item for item in items}
    changes = []
    for _ in range(draw(st.integers(0, 25))):
        old = now[draw(st.sampled_from(sorted(now)))]
        event = draw(st.sampled_from([event for phase, event in TRANSITIONS if phase is old.phase]))
        phase = advance(old.phase, event)
        new = dataclasses.replace(
            old,
            phase=phase,
            error=draw(st.sampled_from(ERRORS)) if phase is Phase.REFUSED else "",
            segment=draw(st.sampled_from([0, 4])),
            bytes_sent=old.bytes_sent + draw(st.integers(0, 9)),
            slo_md5=draw(st.sampled_from(["", "slo"])) if phase is Phase.DONE else "",
        )
        assert event in Event
        now[new.name] = new
        changes.append(new)
    return items, changes


def by_rank(items: Iterator[Item] | Sequence[Item]) -> list[Item]:
    return sorted(items, key=lambda item: item.rank)


# -- what walking over all of them finds -------------------------------------------------------------------------


def walked_whole(items: Sequence[Item], chain: int) -> bool:
    metadata = [item for item in items if item.chain == chain and item.role.is_metadata]
    return all(item.phase is Phase.DONE or is_aside(item) for item in metadata)


def walked_settled(s: Snapshot) -> bool:
    if s.follows or s.handover in (HandoverState.DONE, HandoverState.BLOCKED):
        return True
    return any(i.phase is Phase.REFUSED and i.chain == 0 and i.role.is_metadata for i in s.items)


def walked_wanted(s: Snapshot) -> Iterator[Item]:
    """The gates of rules 5 to 7, as `core.plan` words them, one object after another."""
    items = by_rank([item for item in s.items if item.set_id not in s.postponed])
    newest_first = any(i.chain == 0 and i.role.is_metadata and i.phase not in SETTLED for i in items)
    led: set[int] = set()
    for item in items:
        if item.role.is_metadata:
            if item.phase in SETTLED or item.chain in led:
                continue
            led.add(item.chain)
            may = walked_settled(s) or item.chain == 0
        else:
            may = walked_settled(s) or (item.canary and item.chain == 0)
            may = may and not newest_first and walked_whole(items, item.chain)
        if may and item.phase not in SETTLED and item.name not in s.busy | s.renewing:
            yield item


def assert_it_is_as_walked(roster: Roster, items: Sequence[Item]) -> None:
    items = by_rank(items)
    assert list(roster) == items
    kinds = Counter(whereabouts(item) for item in items)
    for kind in Whereabouts:
        assert roster.count(kind) == kinds[kind]
        assert roster.size(kind) == sum(item.file.size for item in items if whereabouts(item) is kind)
    for metadata in (False, True):
        of_these = [item for item in items if item.role.is_metadata is metadata]
        assert roster.total(metadata=metadata) == len(of_these)
        assert roster.done(metadata=metadata) == sum(item.phase is Phase.DONE for item in of_these)
        assert roster.refused(metadata=metadata) == sum(item.phase is Phase.REFUSED for item in of_these)
    assert roster.bytes_sent == sum(item.bytes_sent for item in items)
    assert roster.in_segments == sum(bool(item.slo_md5) for item in items)
    assert roster.open == sum(item.phase not in SETTLED for item in items)
    assert list(roster.begun()) == [item for item in items if item.segment and item.phase not in SETTLED]
    for kind, found in ((Whereabouts.SET_ASIDE, roster.stuck()), (Whereabouts.GONE, roster.gone())):
        them = [item for item in items if whereabouts(item) is kind and not is_aside(item)]
        assert found == (next(iter(them), None), len(them))
    assert roster.sets() == {item.set_id for item in items}
    for set_id in roster.sets():
        manifests = [item for item in items if item.set_id == set_id and item.role is Role.MANIFEST]
        assert roster.manifest_of(set_id) == next(iter(manifests), None)


def assert_chains_are_as_walked(roster: Roster, items: Sequence[Item]) -> None:
    items = by_rank(items)
    for chain in (0, 1, 2):
        of_it = [item for item in items if item.chain == chain]
        assert list(roster.metadata(chain)) == [item for item in of_it if item.role.is_metadata]
        assert roster.is_done(chain) == all(item.phase is Phase.DONE for item in of_it)
        assert roster.is_whole(chain) == walked_whole(items, chain)
    newest = [item for item in items if item.chain == 0]
    ready = (
        not any(is_aside(item) for item in newest)
        and walked_whole(items, 0)
        and all(item.phase in SETTLED for item in newest if item.canary)
    )
    assert ready_for_handover(roster) == ready
    assert is_complete(roster) == all(item.phase is Phase.DONE for item in newest)


def walked_account(items: Sequence[Item]) -> dict[str, object]:
    """What the account says of files and bytes, and which sets the cloud can restore."""
    count, size = Counter(whereabouts(item) for item in items), Counter[Whereabouts]()
    missing: dict[int, dict[SetId, int]] = {}
    for item in by_rank(items):
        kind = whereabouts(item)
        size[kind] += item.file.size
        if kind is not Whereabouts.REMOVED:
            chain = missing.setdefault(item.chain, {})
            chain[item.set_id] = chain.get(item.set_id, 0) + (kind is not Whereabouts.THERE)
    files = len(items) - count[Whereabouts.REMOVED]
    lost_any = any(item.chain == 0 and whereabouts(item) is Whereabouts.REMOVED for item in items)
    return {
        "files": files,
        "files_there": count[Whereabouts.THERE],
        "size": sum(size.values()) - size[Whereabouts.REMOVED],
        "size_there": size[Whereabouts.THERE],
        "to_send": count[Whereabouts.TO_SEND],
        "size_to_send": size[Whereabouts.TO_SEND],
        "set_aside": count[Whereabouts.SET_ASIDE],
        "gone": count[Whereabouts.GONE],
        "removed": count[Whereabouts.REMOVED],
        "complete": files > 0 and count[Whereabouts.THERE] == files,
        "restorable": 0 in missing and not any(missing[0].values()) and not lost_any,
        "data_in": "segments" if any(item.slo_md5 for item in items) else "",
    }


# -- the properties ----------------------------------------------------------------------------------------------


@given(histories())
def test_what_is_counted_is_what_walking_finds_after_any_history(history: tuple[tuple[Item, ...], list[Item]]) -> None:
    items, changes = history
    roster, now = Roster(items), {item.name: item for item in items}
    for change in (None, *changes):
        if change is not None:
            assert roster.put(change) == now[change.name]
            now[change.name] = change
        assert_it_is_as_walked(roster, list(now.values()))
        assert_chains_are_as_walked(roster, list(now.values()))
        told = dataclasses.asdict(take(AccountBasis(roster, segments="segments")))
        walked = walked_account(list(now.values()))
        assert {key: told[key] for key in walked} == walked
        assert take(AccountBasis(roster)) == take(AccountBasis(tuple(now.values())))


@given(histories(), st.data())
@settings(max_examples=300)
def test_the_plan_takes_what_walking_over_all_would(
    history: tuple[tuple[Item, ...], list[Item]], data: st.DataObject
) -> None:
    items, changes = history
    roster = Roster(items)
    for change in changes:
        roster.put(change)
    names = st.sampled_from(sorted(item.name for item in items))
    busy = data.draw(st.sets(names, max_size=3))
    s = Snapshot(
        now=NOW,
        items=roster,
        permit=Permit(None),
        sight=Sight({}, NOW, frozenset()),
        handover=data.draw(st.sampled_from([HandoverState.PENDING, HandoverState.DONE, HandoverState.BLOCKED])),
        handover_at=NOW + 99,
        object_waits={name: NOW + data.draw(st.sampled_from([-1.0, 5.0, 9.0])) for name in data.draw(st.sets(names))},
        busy=frozenset(busy),
        renewing=frozenset(data.draw(st.sets(names, max_size=1))) - busy,
        lanes=data.draw(st.integers(1, 4)),
        follows=data.draw(st.booleans()),
        postponed=frozenset(data.draw(st.sets(st.sampled_from(SETS[0][1:]), max_size=2))),
    )
    decision = plan(s)
    assert decision == plan(dataclasses.replace(s, items=tuple(roster))), "as if it had been counted from nothing"
    ours = [action.name for action in decision.actions if isinstance(action, Send | Check)]
    ready = [item.name for item in walked_wanted(s) if s.object_waits.get(item.name, 0.0) <= NOW]
    if ours:
        assert ours == ready[: s.lanes - len(s.busy)]
    waiting = [until for item in walked_wanted(s) if (until := s.object_waits.get(item.name, 0.0)) > NOW]
    if waiting and decision.wake_at is not None and (ours or not decision.actions) and roster.open:
        assert decision.wake_at <= min(waiting), "it looks again when the first of them may be tried"


def test_an_object_keeps_its_place() -> None:
    one = Item(SourceFile("a", 1, 1), Role.VOLUME, 0, SETS[0][0], 0)
    with pytest.raises(KeyError):
        Roster([one]).put(dataclasses.replace(one, file=SourceFile("b", 1, 1)))


# -- and what it costs: objects looked at, not seconds ----------------------------------------------------------------


class Watched(list[Item]):
    """A list that counts how many of its objects anybody looks at."""

    looked_at = 0

    def __getitem__(self, place: int) -> Item:  # type: ignore[override]
        self.looked_at += 1
        return super().__getitem__(place)

    def __iter__(self) -> Iterator[Item]:
        for item in super().__iter__():
            self.looked_at += 1
            yield item


def looked_at(volumes: int, done: int) -> tuple[int, int]:
    """Objects that are looked at for one change, and for one decision with two lanes."""
    metadata = [Item(SourceFile(name, 1, 1), Role.MANIFEST, 0, SETS[0][0], 0, Phase.DONE) for name in ("m",)]
    rest = [Item(SourceFile(f"v{n}", 1, 1), Role.VOLUME, 0, SETS[0][0], n + 1) for n in range(volumes)]
    roster = Roster([*metadata, *rest])
    for one in rest[:done]:
        roster.put(dataclasses.replace(one, phase=Phase.DONE))
    watched = roster._items = Watched(roster._items)
    roster.put(dataclasses.replace(rest[done], phase=Phase.SENDING))
    for_a_change, watched.looked_at = watched.looked_at, 0
    s = Snapshot(
        now=NOW,
        items=roster,
        permit=Permit(None),
        sight=Sight({}, NOW),
        handover=HandoverState.DONE,
        busy=frozenset({rest[done].name}),
        lanes=2,
    )
    assert plan(s).actions == (Send(rest[done + 1].name),)
    take(AccountBasis(roster))
    return for_a_change, watched.looked_at


@pytest.mark.parametrize(("volumes", "done"), [(10, 0), (10, 5), (10_000, 0), (10_000, 5_000), (10_000, 9_990)])
def test_a_change_and_a_decision_look_at_as_many_objects_however_many_there_are(volumes: int, done: int) -> None:
    assert looked_at(volumes, done) == (1, 2), "the one that changes; the one that is busy, and the next"
