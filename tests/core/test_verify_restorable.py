"""What the cloud alone can restore: never more than what is there, and samples that lie in it whole."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowboat.core.manifest import VolumeInfo
from slowboat.core.verify import Evidence, as_dict, from_dict, verify
from slowboat.core.words import Item, Phase, RemoteObject, Role, SetId, SourceFile

FULL, INC = SetId(1_700_000_000, 1_700_000_000), SetId(1_700_000_000, 1_700_086_400)
F, I = "duplicity-full.20231114T221320Z", "duplicity-inc.20231114T221320Z.to.20231115T221320Z"  # noqa: E741  # as F
NAMES = {
    "duplicity-full-signatures.20231114T221320Z.sigtar.gpg": (Role.SIGNATURES, FULL),
    f"{F}.manifest.gpg": (Role.MANIFEST, FULL),
    "duplicity-new-signatures.20231114T221320Z.to.20231115T221320Z.sigtar.gpg": (Role.SIGNATURES, INC),
    f"{I}.manifest.gpg": (Role.MANIFEST, INC),
    f"{F}.vol1.difftar.gpg": (Role.VOLUME, FULL),
    f"{F}.vol2.difftar.gpg": (Role.VOLUME, FULL),
    f"{F}.vol3.difftar.gpg": (Role.VOLUME, FULL),
    f"{I}.vol1.difftar.gpg": (Role.VOLUME, INC),
}
ITEMS = tuple(
    Item(SourceFile(name, 100 + rank, 1), role, 0, set_id, rank, phase=Phase.DONE, md5=f"md5-{rank}")
    for rank, (name, (role, set_id)) in enumerate(NAMES.items())
)
VOLUMES = {
    FULL: (
        VolumeInfo(1, (), (b"a", b"film")),
        VolumeInfo(2, (b"a", b"film"), (b"k",)),
        VolumeInfo(3, (b"k", b"below"), (b"z\xff",)),
    ),
    INC: (VolumeInfo(1, (b"a", b"new"), (b"b",)),),
}


def seen(*missing: str) -> Evidence:
    there = [item for item in ITEMS if item.name not in missing]
    objects = {item.name: RemoteObject(item.name, item.file.size, item.md5) for item in there}
    return Evidence(5.0, ITEMS, objects, volumes=VOLUMES)


def told(evidence: Evidence) -> list[tuple[str, int, int, int]]:
    report = verify(evidence)
    return [(one.set_name, one.files_missing, one.volumes_missing, one.size_missing) for one in report.backups]


def paths(evidence: Evidence) -> set[str]:
    return {one.path for one in verify(evidence).samples}


def test_a_backup_needs_its_own_set_and_all_before_it() -> None:
    assert told(seen()) == [("full 1700000000", 0, 0, 0), ("inc 1700086400", 0, 0, 0)]
    assert told(seen(f"{I}.vol1.difftar.gpg")) == [("full 1700000000", 0, 0, 0), ("inc 1700086400", 1, 1, 107)]
    assert told(seen(f"{F}.vol2.difftar.gpg", f"{I}.manifest.gpg")) == [
        ("full 1700000000", 1, 1, 105),
        ("inc 1700086400", 2, 1, 208),
    ]


def test_a_volume_that_only_the_manifest_knows_is_missing() -> None:
    more = {**VOLUMES, FULL: (*VOLUMES[FULL], VolumeInfo(4, (b"zz",), (b"zz",)))}
    assert told(dataclasses.replace(seen(), volumes=more))[0] == ("full 1700000000", 1, 1, 0)


def test_nobody_is_told_what_he_did_not_ask() -> None:
    report = verify(dataclasses.replace(seen(), volumes=None))
    assert (report.backups, report.samples) == ((), ())


def test_samples_are_files_whose_volumes_are_all_there_in_every_set() -> None:
    # "k" is a folder, for "k/below" begins the next volume; "z\xff" cannot be typed.
    assert paths(seen()) == {"a/film", "a/new", "b", "k/below"}
    assert paths(seen(f"{F}.vol1.difftar.gpg")) == {"a/new", "b", "k/below"}  # the film begins in what is missing
    assert paths(seen(f"{I}.vol1.difftar.gpg")) == {"a/film", "k/below"}
    cheapest = verify(seen()).samples[0]
    assert (cheapest.path, cheapest.size, cheapest.set_name) == (
        "k/below",
        106 + 100 + 101 + 102 + 103,
        "inc 1700086400",
    )
    assert cheapest.encrypted


@pytest.mark.parametrize("name", [name for name, (role, _) in NAMES.items() if role is not Role.VOLUME])
def test_there_is_no_sample_while_metadata_is_missing(name: str) -> None:
    assert paths(seen(name)) == set()


def test_there_is_no_sample_where_a_manifest_is_not_known() -> None:
    assert paths(dataclasses.replace(seen(), volumes={FULL: VOLUMES[FULL]})) == set()


@given(st.sets(st.sampled_from(sorted(NAMES))))
def test_nothing_is_promised_that_is_not_there(missing: set[str]) -> None:
    evidence = seen(*missing)
    report = verify(evidence)
    held = {(item.set_id, int(item.name.partition(".vol")[2][0])) for item in ITEMS
            if item.role is Role.VOLUME and item.name in evidence.objects}  # fmt: skip
    for sample in report.samples:
        path = tuple(sample.path.encode().split(b"/"))
        needed = {(each, one.number) for each, found in VOLUMES.items() for one in found if one.contains(path)}
        assert needed <= held
    assert report.backups[-1].files_missing == len(missing)
    assert report.restorable == (not missing)


def test_the_plain_form_gives_the_report_back() -> None:
    report = verify(seen(f"{F}.vol2.difftar.gpg"))
    assert report.samples
    assert from_dict(json.loads(json.dumps(as_dict(report)))) == report
