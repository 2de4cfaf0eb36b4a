"""Whether drive and cloud have parted, told by the sets that stand on both sides."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from slowboat.core import names
from slowboat.core.parting import Parting, parting
from slowboat.core.words import Item, Phase, SetId, SourceFile

OLD, FULL, INC1, INC2, INC3, LATER = (f"202{year}0101T000000Z" for year in range(6))


def full(moment: str) -> list[str]:
    return [
        f"duplicity-full-signatures.{moment}.sigtar.gpg",
        f"duplicity-full.{moment}.manifest.gpg",
        f"duplicity-full.{moment}.vol1.difftar.gpg",
    ]


def inc(start: str, end: str) -> list[str]:
    stem = f"{start}.to.{end}"
    return [
        f"duplicity-new-signatures.{stem}.sigtar.gpg",
        f"duplicity-inc.{stem}.manifest.gpg",
        f"duplicity-inc.{stem}.vol1.difftar.gpg",
    ]


def on_the_drive(*chains: list[str], prefix: str = "") -> list[Item]:
    """What was adopted: the newest chain first."""
    found: list[Item] = []
    for number, chain in enumerate(chains):
        for name in chain:
            parsed = names.parse(prefix + name)
            assert parsed is not None
            assert parsed.role is not None
            file = SourceFile(prefix + name, 10, 1)
            found.append(Item(file, parsed.role, number, parsed.set_id, len(found), phase=Phase.DONE))
    return found


def set_of(name: str) -> SetId:
    parsed = names.parse(name)
    assert parsed is not None
    return parsed.set_id


BEFORE = full(FULL) + inc(FULL, INC1)


def test_while_nothing_was_written_there_a_new_set_of_the_drive_fits() -> None:
    items = on_the_drive(BEFORE + inc(INC1, INC2) + inc(INC2, INC3))
    assert parting(items, BEFORE) == Parting()
    assert parting(items, []) == Parting()
    assert parting(on_the_drive(full(LATER), BEFORE), BEFORE) == Parting(), "a new full stands for itself"


def test_a_set_of_the_targets_own_parts_what_the_drive_got_since() -> None:
    own = inc(INC1, INC3)
    found = parting(on_the_drive(BEFORE + inc(INC1, INC2)), BEFORE + own)
    assert found == Parting(own=(set_of(own[0]),), parted=frozenset({set_of(inc(INC1, INC2)[0])}))
    assert parting(on_the_drive(BEFORE), BEFORE + own).parted == frozenset(), "what was there before still fits"
    late = parting(on_the_drive(BEFORE + inc(INC1, LATER)), BEFORE + own)
    assert late.parted == {set_of(inc(INC1, LATER)[0])}, "whichever was made first"


def test_what_the_cloud_built_upon_the_drives_newest_set_parts_nothing() -> None:
    chain = BEFORE + inc(INC1, INC2)
    assert parting(on_the_drive(chain), chain + inc(INC2, INC3)).parted == frozenset()
    assert parting(on_the_drive(chain), chain + full(INC3)).parted == frozenset()


def test_a_new_full_in_the_cloud_parts_later_sets_of_the_drive_whatever_they_are() -> None:
    direct = full(INC2)
    assert parting(on_the_drive(BEFORE + inc(INC1, INC3)), BEFORE + direct).parted == {set_of(inc(INC1, INC3)[0])}
    assert parting(on_the_drive(full(LATER), BEFORE), BEFORE + direct).parted == {set_of(full(LATER)[0])}


def test_what_is_not_finished_there_holds_and_does_not_part() -> None:
    new = set_of(inc(INC1, INC2)[0])
    items = on_the_drive(BEFORE + inc(INC1, INC2))
    signatures, manifest, volume = inc(INC1, INC3)
    for some in ([volume], [signatures], [signatures, volume]):
        found = parting(items, BEFORE + some)
        assert (found.own, found.parted, found.waiting) == ((), frozenset(), {new})
    assert parting(items, [*BEFORE, manifest]).parted == {new}, "a manifest is a set, whatever else is there"


def test_what_has_left_the_drive_is_not_the_targets_own() -> None:
    old = full(OLD) + inc(OLD, FULL)
    items = on_the_drive(full(INC1) + inc(INC1, INC2))
    assert parting(items, old, departed=old) == Parting()
    gone = inc(INC1, INC2)
    again = on_the_drive(full(INC1) + inc(INC1, INC3))
    assert parting(again, full(INC1) + gone, departed=gone).parted == {set_of(inc(INC1, INC3)[0])}


def test_other_prefixes_and_older_backups_and_strangers_say_nothing() -> None:
    items = on_the_drive(BEFORE + inc(INC1, INC2), prefix="pre-")
    others = [f"other-{name}" for name in inc(INC1, INC3)] + ["README", "a/" + inc(INC1, INC3)[0]]
    assert parting(items, others) == Parting()
    assert parting(on_the_drive(BEFORE), BEFORE + full(OLD)) == Parting(), "older than anything of ours"


@given(
    st.lists(st.sampled_from(BEFORE + inc(INC1, INC2) + inc(INC1, INC3) + inc(INC2, INC3) + full(LATER)), unique=True)
)
def test_a_set_never_parts_from_itself_and_never_both_parts_and_waits(standing: list[str]) -> None:
    items = on_the_drive(BEFORE + inc(INC1, INC2))
    found = parting(items, standing)
    ours = {item.set_id for item in items}
    assert not set(found.own + found.unfinished) & ours
    assert found.parted | found.waiting <= ours
    assert not found.parted & found.waiting
    if not found.own:
        assert not found.parted
