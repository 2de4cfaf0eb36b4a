"""What duplicity wrote straight to the target, and what its owner removed there, told apart by names alone."""

from __future__ import annotations

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from slowboat.core.direct import REMOVED, direct_sets, removed, strangers
from slowboat.core.words import Item, Phase, SetId, SourceFile

OLD, FULL, INC1, INC2 = "20200101T000000Z", "20210101T000000Z", "20210102T000000Z", "20210103T000000Z"
NEXT = "20220101T000000Z"


def full(moment: str, volumes: int = 2) -> list[str]:
    names = [f"duplicity-full-signatures.{moment}.sigtar.gpg", f"duplicity-full.{moment}.manifest.gpg"]
    return [*names, *(f"duplicity-full.{moment}.vol{n}.difftar.gpg" for n in range(1, volumes + 1))]


def inc(start: str, end: str) -> list[str]:
    stem = f"{start}.to.{end}"
    return [
        f"duplicity-new-signatures.{stem}.sigtar.gpg",
        f"duplicity-inc.{stem}.manifest.gpg",
        f"duplicity-inc.{stem}.vol1.difftar.gpg",
    ]


def items_of(names: list[str], chain: int, first: int, prefix: str = "") -> list[Item]:
    from slowboat.core import names as grammar

    found = []
    for rank, name in enumerate(names, first):
        parsed = grammar.parse(prefix + name)
        assert parsed is not None
        assert parsed.role is not None
        file = SourceFile(prefix + name, 10, 1)
        found.append(Item(file, parsed.role, chain, parsed.set_id, rank, phase=Phase.DONE, md5="m"))
    return found


NEWEST = full(FULL) + inc(FULL, INC1) + inc(INC1, INC2)
OLDER = full(OLD)
ITEMS = items_of(NEWEST, 0, 0) + items_of(OLDER, 1, 20)
ALL = {item.name for item in ITEMS}


def test_nothing_beside_ours_is_nothing() -> None:
    assert direct_sets(ITEMS, ALL) == direct_sets(ITEMS, set())
    assert direct_sets(ITEMS, ALL).whole == ()


def test_whole_sets_are_told_from_unfinished_ones() -> None:
    direct = inc(INC2, NEXT)
    found = direct_sets(ITEMS, ALL | set(direct))
    assert [one.end - one.start > 0 for one in found.whole] == [True]
    assert found.unfinished == ()
    for missing in direct:
        found = direct_sets(ITEMS, ALL | (set(direct) - {missing}))
        assert found.whole == ()
        assert bool(found.unfinished) == ("manifest" in missing)


def test_a_volume_without_a_manifest_is_unfinished_and_a_gap_makes_no_whole_set() -> None:
    stray = {f"duplicity-full.{NEXT}.vol3.difftar.gpg"}
    assert len(direct_sets(ITEMS, ALL | stray).unfinished) == 1
    gap = {name for name in full(NEXT, 3) if "vol2" not in name}
    assert direct_sets(ITEMS, ALL | gap) == direct_sets(ITEMS, ALL)


def test_other_backups_other_prefixes_and_older_ones_do_not_count() -> None:
    others = {f"other-{name}" for name in full(NEXT)} | {"README", "x/duplicity-full.20220101T000000Z.manifest"}
    older = set(full("20190101T000000Z"))
    partial = {f"duplicity-full.{NEXT}.manifest.part"}
    assert direct_sets(ITEMS, ALL | others | older | partial) == direct_sets(ITEMS, ALL)
    prefixed = items_of(NEWEST, 0, 0, prefix="pre-")
    assert direct_sets(prefixed, {"pre-" + name for name in full(NEXT)}).newest_full is not None
    assert direct_sets(prefixed, set(full(NEXT))).newest_full is None


def test_a_chain_that_gave_way_to_a_newer_full_was_removed() -> None:
    standing = set(OLDER) | set(full(NEXT))
    gone = set(NEWEST)
    assert removed(ITEMS, gone, standing) == set(NEWEST)


def test_a_chain_that_vanished_without_a_newer_full_was_damaged() -> None:
    assert removed(ITEMS, ALL, set()) == frozenset()
    unfinished = set(full(NEXT)) - {f"duplicity-full.{NEXT}.manifest.gpg"}
    assert removed(ITEMS, ALL, unfinished) == frozenset()
    assert removed(ITEMS, set(NEWEST), set(OLDER)) == frozenset(), "an older full is no newer one"


def test_an_older_chain_may_be_removed_while_the_newest_stands() -> None:
    assert removed(ITEMS, set(OLDER), set(NEWEST)) == set(OLDER)


def test_what_was_made_upon_a_removed_set_goes_with_it() -> None:
    later = items_of(full(NEXT), 0, 0) + items_of(NEWEST, 1, 20)
    standing = {item.name for item in later} - set(inc(FULL, INC1))
    assert removed(later, set(inc(FULL, INC1)), standing) == set(inc(FULL, INC1) + inc(INC1, INC2))


def test_a_manifest_that_duplicity_forgot_to_remove_changes_nothing() -> None:
    """duplicity 3.2.1 leaves it where the set had no volume yet."""
    standing = set(OLDER) | set(full(NEXT)) | {f"duplicity-full.{FULL}.manifest.gpg"}
    assert removed(ITEMS, ALL - standing, standing) == set(NEWEST)


def test_removed_once_is_removed_for_good_until_asked() -> None:
    kept = [
        dataclasses.replace(item, phase=Phase.REFUSED, error=REMOVED) if item.name in OLDER else item for item in ITEMS
    ]
    assert removed(kept, set(), set(NEWEST)) == set(OLDER)
    again = [dataclasses.replace(item, phase=Phase.QUEUED, error="") for item in kept if item.name in OLDER]
    assert removed(items_of(NEWEST, 0, 0) + again, set(), set(NEWEST)) == frozenset()


@given(st.sets(st.sampled_from(sorted(ALL | set(full(NEXT)) | set(inc(INC2, NEXT))))))
def test_nothing_that_stands_whole_is_ever_called_removed(standing: set[str]) -> None:
    gone = ALL - standing
    found = removed(ITEMS, gone, standing)
    for item in ITEMS:
        if item.name in found:
            first = [one for one in ITEMS if one.chain == item.chain and one.role.is_metadata]
            lost = [one.set_id for one in first if one.name not in standing and one.set_id.end <= item.set_id.end]
            assert lost, "some metadata of the chain, its own or an earlier set's, is gone"
    assert isinstance(direct_sets(ITEMS, standing).whole, tuple)
    assert all(isinstance(one, SetId) for one in direct_sets(ITEMS, standing).unfinished)


def test_what_left_the_drive_is_no_direct_backup_and_no_strangers() -> None:
    left = set(full("20200601T000000Z"))
    assert direct_sets(ITEMS, ALL | left).newest_full is not None
    assert direct_sets(ITEMS, ALL | left, departed=left) == direct_sets(ITEMS, ALL)
    assert set(strangers(ITEMS, ALL | left)) == left
    assert strangers(ITEMS, ALL | left, departed=left) == ()


def test_a_direct_backup_counts_whatever_the_drive_got_since() -> None:
    beside = set(inc(INC1, NEXT))
    later = [*ITEMS, *items_of(inc(INC2, "20230101T000000Z"), 0, 40)]
    assert len(direct_sets(later, ALL | beside).whole) == 1


def test_who_went_on_upon_what_is_there_is_no_stranger_though_the_drive_went_on_too() -> None:
    stands = set(full(FULL) + inc(FULL, INC1))
    beside = set(inc(INC1, NEXT))
    assert strangers(ITEMS, stands | beside) == (), "the two have parted, which is told otherwise"
    assert set(strangers(ITEMS, beside)) == beside, "nothing of ours stands before it"
    assert set(strangers(ITEMS, set(full(INC1)))) == set(full(INC1))
    odd = f"duplicity-inc.{INC2}.to.{NEXT}.vol1.difftar.gpg.tmp"
    assert strangers(ITEMS, ALL | set(inc(INC2, NEXT)) | {odd}) != (), "duplicity would take it for a second volume"
    assert strangers(ITEMS, ALL | set(inc(INC2, NEXT)) | set(inc(NEXT, "20230101T000000Z"))) == ()
