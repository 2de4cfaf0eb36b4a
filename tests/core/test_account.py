"""The one account of what is in the cloud: whatever is asked, the answers never contradict one another."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowboat.core.account import AccountBasis, promise, take
from slowboat.core.direct import GONE, REMOVED
from slowboat.core.words import Item, Phase, Role, SetId, SourceFile
from slowboat.core.worth import Worth

OLD, FULL, INC = SetId(1, 1), SetId(100, 100), SetId(100, 200)
NEXT, LATER = SetId(200, 300), SetId(400, 400)


def items_of(set_id: SetId, chain: int, first: int, phase: Phase = Phase.DONE) -> tuple[Item, ...]:
    roles = (Role.SIGNATURES, Role.MANIFEST, Role.VOLUME, Role.VOLUME)
    return tuple(
        Item(SourceFile(f"{set_id.end}-{n}", 10, 1), role, chain, set_id, first + n, phase=phase)
        for n, role in enumerate(roles)
    )


ALL = (*items_of(FULL, 0, 0), *items_of(INC, 0, 10), *items_of(OLD, 1, 20))


def with_phase(items: tuple[Item, ...], name: str, phase: Phase, error: str = "") -> tuple[Item, ...]:
    return tuple(replace(one, phase=phase, error=error) if one.name == name else one for one in items)


def test_nothing_adopted_promises_nothing() -> None:
    nothing = take(AccountBasis(()))
    assert (nothing.worth, nothing.restorable, nothing.complete, nothing.newest) == (Worth.NOTHING, False, False, None)


def test_the_drive_is_no_longer_the_only_copy_when_all_is_there_and_was_seen() -> None:
    seen = take(AccountBasis(ALL, finished=True))
    assert (seen.worth, seen.restorable, seen.complete, seen.files_there) == (Worth.ALL, True, True, 12)
    assert promise(seen) == "The cloud alone is enough: the drive is no longer the only copy."
    unseen = take(AccountBasis(ALL))
    assert unseen.worth is Worth.NEWEST, "one listing must have shown it"
    assert "Older chains" not in promise(unseen)


def test_a_set_on_the_drive_that_is_not_moved_limits_the_promise() -> None:
    seen = take(AccountBasis(ALL, finished=True, unadopted=(NEXT,)))
    assert seen.lacking == (NEXT,)
    assert "up to the incremental of 1970-01-01 00:03 UTC" in promise(seen)


@pytest.mark.parametrize(
    ("lost", "worth", "newest", "lacking"),
    [
        ("1-3", Worth.NEWEST, INC, ()),  # of the old chain
        ("200-3", Worth.SOME, FULL, (INC,)),
        ("100-3", Worth.SOME, OLD, (FULL, INC)),
    ],
)
@pytest.mark.parametrize(
    ("phase", "error"), [(Phase.QUEUED, ""), (Phase.SENDING, ""), (Phase.REFUSED, "rotten"), (Phase.REFUSED, GONE)]
)
def test_one_missing_file_is_missed_by_every_answer(
    lost: str, worth: Worth, newest: SetId, lacking: tuple[SetId, ...], phase: Phase, error: str
) -> None:
    seen = take(AccountBasis(with_phase(ALL, lost, phase, error), finished=True))
    assert (seen.worth, seen.newest, seen.lacking) == (worth, newest, lacking)
    assert not seen.complete
    assert seen.restorable == (worth is Worth.NEWEST)
    assert "eep the drive" in promise(seen) or "keep it" in promise(seen)
    assert (seen.to_send, seen.set_aside, seen.gone) == (error == "", error == "rotten", error == GONE)


def test_what_its_owner_removed_is_neither_missing_nor_promised() -> None:
    without_old = tuple(replace(one, phase=Phase.REFUSED, error=REMOVED) if one.chain else one for one in ALL)
    seen = take(AccountBasis(without_old, finished=True))
    assert (seen.worth, seen.removed, seen.files) == (Worth.ALL, 4, 8)
    everything = tuple(replace(one, phase=Phase.REFUSED, error=REMOVED) for one in ALL)
    seen = take(AccountBasis(everything, finished=True, direct=(LATER,)))
    assert (seen.worth, seen.restorable, seen.complete, seen.newest) == (Worth.REPLACED, False, False, LATER)
    part = tuple(replace(one, phase=Phase.REFUSED, error=REMOVED) if one.set_id == INC else one for one in ALL)
    assert not take(AccountBasis(part, finished=True)).restorable, "what is left of a chain is not the newest"


def test_what_duplicity_wrote_itself_counts_where_it_goes_on() -> None:
    assert take(AccountBasis(ALL, finished=True, direct=(NEXT, LATER))).newest == LATER
    assert take(AccountBasis(ALL, finished=True, direct=(NEXT,))).newest == NEXT
    broken = take(AccountBasis(with_phase(ALL, "200-3", Phase.QUEUED), direct=(NEXT,)))
    assert (broken.newest, broken.lacking) == (FULL, (INC, NEXT)), "an incremental needs all before it"


ITEMS = st.lists(
    st.tuples(st.sampled_from(ALL), st.sampled_from(list(Phase)), st.sampled_from(["", "rotten", REMOVED, GONE])),
    unique_by=lambda drawn: drawn[0].name,
).map(lambda drawn: tuple(replace(one, phase=phase, error=error) for one, phase, error in drawn))


@given(ITEMS, st.booleans(), st.lists(st.sampled_from([NEXT, LATER]), unique=True))
def test_no_two_answers_contradict(items: tuple[Item, ...], finished: bool, direct: list[SetId]) -> None:
    seen = take(AccountBasis(items, finished=finished, direct=tuple(direct)))
    assert seen.files == seen.files_there + seen.to_send + seen.set_aside + seen.gone
    assert seen.files + seen.removed == len(items)
    assert seen.complete == (seen.files > 0 and seen.files_there == seen.files)
    if seen.worth is Worth.ALL:
        assert seen.complete
        assert finished
        assert not seen.to_send + seen.set_aside + seen.gone
    if seen.restorable:
        assert seen.newest is not None
        assert all(one.phase is Phase.DONE for one in items if one.chain == 0)
    assert ("only copy" in promise(seen)) == (seen.worth is Worth.ALL)
    assert all(seen.newest is None or one.end > seen.newest.end for one in seen.lacking)


def test_where_the_data_of_large_files_is_belongs_to_every_promise() -> None:
    large = (replace(ALL[0], slo_md5="of an SLO"), *ALL[1:])
    for items in (large, with_phase(large, ALL[1].name, Phase.QUEUED)):
        seen = take(AccountBasis(items, finished=True, segments="c_segments"))
        assert seen.data_in == "c_segments"
        assert "c_segments: keep that container" in promise(seen)
    assert "segments" not in promise(take(AccountBasis(ALL, finished=True, segments="c_segments")))
