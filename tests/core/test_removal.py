"""What may be removed from the cloud: only what slowboat brought there, and nobody could miss."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowboat.core import names
from slowboat.core.removal import GRACE, Departed, removable
from slowboat.core.words import Item, Phase, RemoteObject, Role, SourceFile

OLDER, OLD, INC, FULL, NEXT = (f"202{year}0101T000000Z" for year in range(5))
NOW = 1_900_000_000.0
LONG_AGO = NOW - GRACE


def full(moment: str, volumes: int = 2) -> list[str]:
    metadata = [f"duplicity-full-signatures.{moment}.sigtar.gpg", f"duplicity-full.{moment}.manifest.gpg"]
    return [*metadata, *(f"duplicity-full.{moment}.vol{n}.difftar.gpg" for n in range(1, volumes + 1))]


def inc(start: str, end: str) -> list[str]:
    stem = f"{start}.to.{end}"
    metadata = [f"duplicity-new-signatures.{stem}.sigtar.gpg", f"duplicity-inc.{stem}.manifest.gpg"]
    return [*metadata, f"duplicity-inc.{stem}.vol1.difftar.gpg"]


def items(some: list[str], chain: int = 0, phase: Phase = Phase.DONE) -> list[Item]:
    found = []
    for rank, name in enumerate(some):
        parsed = names.parse(name)
        assert parsed is not None
        assert parsed.role is not None
        found.append(Item(SourceFile(name, 10, 1), parsed.role, chain, parsed.set_id, rank, phase=phase))
    return found


def stands(*some: str) -> dict[str, RemoteObject]:
    return {name: RemoteObject(name, 10, f"md5 of {name}") for name in some}


def left(*some: str, since: float = LONG_AGO) -> dict[str, Departed]:
    return {name: Departed(10, f"md5 of {name}", since) for name in some}


GONE = full(OLD) + inc(OLD, INC)
HERE = full(FULL)
ALL = stands(*GONE, *HERE)


def test_a_chain_that_left_the_drive_goes_from_its_end_and_each_volume_before_its_manifest() -> None:
    order = removable(left(*GONE), items(HERE), ALL, NOW)
    assert sorted(order) == sorted(GONE)
    kinds = [(one.set_id.end, one.role) for name in order if (one := names.parse(name)) is not None]
    ends = sorted({end for end, _ in kinds}, reverse=True)
    roles = [Role.VOLUME, Role.MANIFEST, Role.SIGNATURES]
    assert [each for at, each in enumerate(kinds) if at == 0 or kinds[at - 1] != each] == [
        (end, role) for end in ends for role in roles
    ]


@pytest.mark.parametrize(
    ("departed", "on_the_drive", "standing", "why"),
    [
        (left(*GONE, since=LONG_AGO + 1), items(HERE), ALL, "it was told too short a time ago"),
        (left(*GONE), items(HERE, phase=Phase.QUEUED), ALL, "the newest chain is not in the cloud"),
        (left(*GONE), [], ALL, "nothing is known of the drive"),
        (left(*GONE), items(HERE) + items(full(OLD)[:1], 1), ALL, "a part of it is on the drive"),
        (left(*GONE[1:]), items(HERE), ALL, "one of its files is not ours"),
        (left(*GONE), items(HERE), ALL | stands(*inc(INC, NEXT)), "duplicity built upon it there"),
        (left(*GONE), items(HERE), ALL | {GONE[0]: RemoteObject(GONE[0], 10, "other")}, "it has other bytes"),
        (left(*GONE), items(HERE), ALL | {GONE[0]: RemoteObject(GONE[0], 11, f"md5 of {GONE[0]}")}, "another size"),
        (left(*GONE), items(HERE), ALL | {GONE[0]: RemoteObject(GONE[0], 10, f"md5 of {GONE[0]}", slo=True)}, "an SLO"),
        (left(*HERE), items(HERE), ALL, "it is the newest chain"),
        (left(*full(NEXT)), items(HERE), ALL | stands(*full(NEXT)), "it is newer than what the drive has"),
    ],
)
def test_all_of_it_stays_where_anything_speaks_against_it(
    departed: dict[str, Departed], on_the_drive: list[Item], standing: dict[str, RemoteObject], why: str
) -> None:
    assert removable(departed, on_the_drive, standing, NOW) == (), why


def test_one_chain_that_must_stay_keeps_no_other() -> None:
    other = full(OLDER)
    standing = ALL | stands(*other) | {GONE[2]: RemoteObject(GONE[2], 10, "other")}
    assert sorted(removable(left(*GONE, *other), items(HERE), standing, NOW)) == sorted(other)


@given(st.sets(st.sampled_from(GONE)), st.sets(st.sampled_from(GONE + inc(INC, NEXT))), st.booleans())
def test_only_what_was_proven_is_ever_named_and_what_is_broken_off_can_go_on(
    known: set[str], there: set[str], whole: bool
) -> None:
    newest = items(HERE) if whole else [dataclasses.replace(items(HERE)[0], phase=Phase.REFUSED)]
    order = removable(left(*known), newest, stands(*there), NOW)
    assert set(order) <= known & there
    for number in range(len(order)):  # a kill after so many: the rest is still named, in the same order
        rest = stands(*(there - set(order[:number])))
        assert removable(left(*known), newest, rest, NOW) == order[number:]
