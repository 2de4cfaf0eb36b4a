"""The guard's judgement: one look at the target in, what follows from it out, and one story each time."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowboat.core import names as grammar
from slowboat.core.direct import GONE, REMOVED
from slowboat.core.guard import (
    Loss,
    MendCache,
    Note,
    Notify,
    Observation,
    Remembered,
    Reported,
    SetAside,
    Vanished,
    Withdraw,
    judge,
    of_versions,
)
from slowboat.core.versions import Installation, Judgement
from slowboat.core.versions import judge as judge_versions
from slowboat.core.words import HandoverState, Item, Phase, RemoteObject, SourceFile

FULL, INC, NEXT = "20210101T000000Z", "20210102T000000Z", "20220101T000000Z"


def full(moment: str, volumes: int = 3) -> list[str]:
    names = [f"duplicity-full-signatures.{moment}.sigtar.gpg", f"duplicity-full.{moment}.manifest.gpg"]
    return [*names, *(f"duplicity-full.{moment}.vol{n}.difftar.gpg" for n in range(1, volumes + 1))]


def inc(start: str, end: str) -> list[str]:
    stem = f"{start}.to.{end}"
    names = [f"duplicity-new-signatures.{stem}.sigtar.gpg", f"duplicity-inc.{stem}.manifest.gpg"]
    return [*names, f"duplicity-inc.{stem}.vol1.difftar.gpg"]


CHAIN = full(FULL) + inc(FULL, INC)
LATER = full(NEXT)
STRAY_FULL = LATER[2]
STRAY_INC = inc(INC, NEXT)[2]
MISSING = {CHAIN[3], CHAIN[4]}
"""Volumes that have not gone up yet."""


def item(name: str, rank: int, phase: Phase) -> Item:
    parsed = grammar.parse(name)
    assert parsed is not None
    assert parsed.role is not None
    return Item(SourceFile(name, 10, 1), parsed.role, 0, parsed.set_id, rank, phase=phase, md5="m")


def items(missing: set[str] = MISSING) -> tuple[Item, ...]:
    return tuple(item(n, r, Phase.QUEUED if n in missing else Phase.DONE) for r, n in enumerate(CHAIN))


def duplicity(*versions: str) -> Judgement:
    return judge_versions([Installation(f"/{n}/duplicity", f"duplicity {one}") for n, one in enumerate(versions)])


def look(standing: set[str], known: Remembered, version: str = "3.2.1", **more: object) -> Observation:
    done = {one.name for one in known.items if one.phase is Phase.DONE}
    objects = {name: RemoteObject(name, 10, "m") for name in standing}
    return Observation(objects, frozenset(done - standing), duplicity(version), **more)  # type: ignore[arg-type]


def remembered(**changes: object) -> Remembered:
    return replace(Remembered("home", "swift://c", items(), HandoverState.DONE), **changes)  # type: ignore[arg-type]


def keys(changes: tuple[object, ...]) -> list[str]:
    return [one.key for one in changes if isinstance(one, Notify)]


def vanished(changes: tuple[object, ...]) -> set[str]:
    return {one.name for one in changes if isinstance(one, Vanished)}


STANDING = set(CHAIN) - MISSING


def test_where_all_is_as_it_was_nothing_follows() -> None:
    known = remembered()
    judged = judge(look(STANDING, known), known)
    assert judged.changes == ()
    assert judged.reported == known.reported


def test_a_wiped_chain_under_a_new_full_is_damage_and_one_story_is_told() -> None:
    """duplicity 3.2.1: an implicit backup deletes the chain, and then makes a new full without a word."""
    known = remembered()
    judged = judge(look(set(LATER), known), known)
    assert vanished(judged.changes) == STANDING
    assert MendCache() in judged.changes
    assert keys(judged.changes) == ["damaged"], "neither that its upload has ended nor that it goes on"
    (told,) = [one for one in judged.changes if isinstance(one, Notify)]
    assert "new full backup there since" in told.text
    assert "duplicity 3.2.1 may do that" in told.text
    again = replace(known, items=items(set(CHAIN)), reported=judged.reported)
    assert judge(look(set(LATER), again), again).changes == ()


@pytest.mark.parametrize(
    "change",
    [
        {"reported": Reported(newer_full=1640995200)},  # it stood beside the chain at the last look
        {"items": items(set())},  # a complete chain is wiped by no version
    ],
)
def test_a_chain_that_its_owner_removed_is_set_aside(change: dict[str, object]) -> None:
    known = remembered(**change)
    judged = judge(look(set(LATER), known), known)
    assert [(one.names, one.error) for one in judged.changes if isinstance(one, SetAside)] == [(tuple(CHAIN), REMOVED)]
    assert keys(judged.changes) == ["removed"]
    assert not vanished(judged.changes)


@pytest.mark.parametrize("version", ["0.8.22", "3.1.0", "3.0.7"])
def test_no_other_version_wipes_a_chain(version: str) -> None:
    known = remembered()
    judged = judge(look(set(LATER), known, version), known)
    assert keys(judged.changes) == ["removed"]


def test_what_a_removal_leaves_behind_tells_it_from_a_wipe() -> None:
    """`remove-all-but-n-full` of 3.2.1 leaves the manifest of a set that has no volume yet."""
    known = remembered(items=items(set(CHAIN) - {CHAIN[0], CHAIN[1]}))
    judged = judge(look({*LATER, CHAIN[1]}, known), known)
    assert keys(judged.changes) == ["removed"]


def test_a_version_whose_cleanup_errs_proves_no_removal() -> None:
    known = remembered(reported=Reported(newer_full=1640995200))
    judged = judge(look(set(LATER), known, "3.0.6"), known)
    assert keys(judged.changes) == ["damaged"]


def test_a_set_of_which_nothing_is_left_after_the_end_is_not_sent_again_unasked() -> None:
    known = remembered(items=items(set()), finished=True)
    gone = set(inc(FULL, INC))
    judged = judge(look(set(CHAIN) - gone, known), known)
    assert [(set(one.names), one.error) for one in judged.changes if isinstance(one, SetAside)] == [(gone, GONE)]
    assert keys(judged.changes) == ["gone"]
    part = judge(look(set(CHAIN) - {CHAIN[-1]}, known), known)
    assert vanished(part.changes) == {CHAIN[-1]}, "one file of a set is mended"


def test_something_else_at_a_name_is_no_damage() -> None:
    known = remembered()
    seen = replace(look(STANDING, known), gone=frozenset({CHAIN[2]}))
    judged = judge(seen, known)
    assert judged.changes == (Vanished(CHAIN[2], Loss.REPLACED),)


def test_damage_is_over_when_all_is_settled() -> None:
    known = remembered(items=items(set()), reported=Reported(damaged=True))
    judged = judge(look(set(CHAIN), known), known)
    assert judged.changes == (Withdraw("damaged"),)
    assert not judged.reported.damaged
    assert judge(look(set(CHAIN), known), replace(known, reported=judged.reported)).changes == ()


@pytest.mark.parametrize(("stray", "dangerous"), [(STRAY_FULL, True), (STRAY_INC, False)])
def test_only_the_remains_of_a_full_are_dangerous(stray: str, dangerous: bool) -> None:
    known = remembered()
    judged = judge(look({*STANDING, stray}, known), known)
    (told,) = [one for one in judged.changes if isinstance(one, Notify)]
    assert told.key == "unfinished"
    assert ("this is dangerous" in told.text) == dangerous
    assert "duplicity cleanup --force swift://c" in told.text
    running = judge(look({*STANDING, stray}, known, running=True), known)
    assert (running.changes, running.under_way) == ((), True)
    over = replace(known, reported=judged.reported)
    assert judge(look(STANDING, over), over).changes == (Withdraw("unfinished"),)


def test_a_new_full_beside_the_chain_is_told_once() -> None:
    known = remembered()
    judged = judge(look(STANDING | set(LATER), known), known)
    assert keys(judged.changes) == ["overtaken"]
    assert len(judged.direct.whole) == 1
    again = replace(known, reported=judged.reported)
    assert judge(look(STANDING | set(LATER), again), again).changes == ()
    whole = remembered(items=items(set()))
    assert not judge(look(set(CHAIN) | set(LATER), whole), whole).changes, "nothing is overtaken any more"


def test_a_cache_that_is_gone_is_mended_and_told_once() -> None:
    known = remembered()
    judged = judge(look(STANDING, known, empty_caches=("swift://c",)), known)
    assert MendCache() in judged.changes
    assert [one.kind for one in judged.changes if isinstance(one, Note)] == ["cache-gone"]
    again = replace(known, reported=judged.reported)
    assert judge(look(STANDING, again, empty_caches=("swift://c",)), again).changes == ()


@pytest.mark.parametrize("handover", [HandoverState.PENDING, HandoverState.BLOCKED, HandoverState.DONE])
def test_a_risky_version_is_told_before_anything_is_handed_over_to_it(handover: HandoverState) -> None:
    known = remembered(handover=handover)
    told = of_versions(duplicity("0.8.22", "3.2.1"), known)
    note, warning = told.changes
    assert isinstance(note, Note)
    assert "duplicity 0.8.22 (/0/duplicity) or duplicity 3.2.1 (/1/duplicity)" in note.text
    assert isinstance(warning, Notify)
    assert "With duplicity 3.2.1 (/1/duplicity), where an interrupted full backup" in warning.text
    assert of_versions(duplicity("0.8.22", "3.2.1"), replace(known, reported=told.reported)).changes == ()
    mended = of_versions(duplicity("0.8.22"), replace(known, reported=told.reported))
    assert Withdraw("version") in mended.changes
    whole = replace(known, items=items(set()), reported=told.reported)
    assert of_versions(duplicity("0.8.22", "3.2.1"), whole).changes == (Withdraw("version"),), "all volumes are there"


def test_one_that_the_handover_waits_for_is_told_with_the_handover() -> None:
    before = of_versions(duplicity("3.0.6"), remembered(handover=HandoverState.BLOCKED))
    assert keys(before.changes) == []
    after = of_versions(duplicity("3.0.6"), remembered())
    (warning,) = [one for one in after.changes if isinstance(one, Notify)]
    assert "Do not run a cleanup" in warning.text


PHASES = st.sampled_from([Phase.QUEUED, Phase.SENDING, Phase.UNCHECKED, Phase.DONE, Phase.REFUSED])


@given(
    st.lists(PHASES, min_size=len(CHAIN), max_size=len(CHAIN)),
    st.sets(st.sampled_from([*CHAIN, *LATER, STRAY_INC])),
    st.sampled_from(["0.8.22", "3.0.6", "3.2.1", "9.9"]),
    st.sampled_from(list(HandoverState)),
    st.booleans(),
    st.booleans(),
)
def test_each_look_has_one_story_and_it_is_told_once(
    phases: list[Phase], standing: set[str], version: str, handover: HandoverState, finished: bool, running: bool
) -> None:
    adopted = tuple(item(name, rank, phase) for rank, (name, phase) in enumerate(zip(CHAIN, phases, strict=True)))
    known = remembered(items=adopted, handover=handover, finished=finished)
    judged = judge(look(standing, known, version, running=running), known)
    aside = {name for one in judged.changes if isinstance(one, SetAside) for name in one.names}
    lost = {one.name for one in known.items if one.phase is Phase.DONE and one.name not in standing}
    assert not aside & vanished(judged.changes), "nothing is both"
    assert lost <= aside | vanished(judged.changes), "whatever is gone has a story"
    told = keys(judged.changes)
    assert len(told) == len(set(told))
    assert not {"damaged", "overtaken"} <= set(told)
    assert not {"removed", "overtaken"} <= set(told)
