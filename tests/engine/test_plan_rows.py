"""What `slowboat plan` shows: each file, or neighbours of a kind together, which come to the same."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from slowboat.core.words import Item, Phase, Role, SetId, SourceFile
from slowboat.engine import report

SETS = (SetId(1, 1), SetId(1, 2))
kinds = st.tuples(st.sampled_from(list(Role)), st.sampled_from(SETS), st.booleans(), st.sampled_from(list(Phase)))


@given(st.lists(kinds, max_size=30))
def test_groups_come_to_what_the_files_are(drawn: list[tuple[Role, SetId, bool, Phase]]) -> None:
    items = [
        Item(SourceFile(f"n{rank}", rank * 3, 1), role, 0, set_id, rank, phase=phase, canary=canary)
        for rank, (role, set_id, canary, phase) in enumerate(drawn)
    ]
    files: Counter[tuple[object, ...]] = Counter()
    size: Counter[tuple[object, ...]] = Counter()
    for row in report.listed(items):
        key = row["role"], row["set"], row["canary"], row["phase"]
        files[key] += 1
        size[key] += int(row["bytes"])
    for row in report.grouped(items):
        key = row["role"], row["set"], row["canary"], row["phase"]
        files[key] -= int(row["files"])
        size[key] -= int(row["bytes"])
    assert not any(files.values())
    assert not any(size.values())


def test_a_hundred_thousand_volumes_are_as_many_rows_as_they_have_phases() -> None:
    phases = [Phase.DONE, Phase.SENDING, Phase.QUEUED]
    items = [
        Item(SourceFile("v", 1, 1), Role.VOLUME, 0, SETS[0], rank, phase=phases[min(2, rank // 50_000)])
        for rank in range(100_001)
    ]
    assert [(row["phase"], row["files"]) for row in report.grouped(items)] == [
        ("done", 50_000), ("sending", 50_000), ("queued", 1),
    ]  # fmt: skip
