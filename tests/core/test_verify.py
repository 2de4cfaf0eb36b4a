"""The verification's rules: every state follows from what was seen, and nothing wrong is ever called right."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowboat.core.verify import (
    MOST_FINDINGS,
    WRONG_AT_TARGET,
    AtTarget,
    Evidence,
    OnDrive,
    Origin,
    Reading,
    as_dict,
    damaged,
    from_dict,
    verify,
)
from slowboat.core.words import Item, Phase, RemoteObject, Role, SetId, SourceFile

FULL = SetId(1_700_000_000, 1_700_000_000)
INC = SetId(1_700_000_000, 1_700_086_400)
SIG, MAN = "duplicity-full-signatures.20231114T221320Z.sigtar.gz", "duplicity-full.20231114T221320Z.manifest"
VOLS = [f"duplicity-full.20231114T221320Z.vol{n}.difftar.gz" for n in (1, 2)]
INC_MAN = "duplicity-inc.20231114T221320Z.to.20231115T221320Z.manifest"


def item(name: str, rank: int, role: Role, set_id: SetId = FULL, phase: Phase = Phase.DONE) -> Item:
    known = "" if phase is Phase.QUEUED else f"md5-{rank}"
    return Item(SourceFile(name, 100 + rank, 1), role, 0, set_id, rank, phase=phase, md5=known)


ITEMS = (
    item(SIG, 0, Role.SIGNATURES),
    item(MAN, 1, Role.MANIFEST),
    item(INC_MAN, 2, Role.MANIFEST, INC),
    item(VOLS[0], 3, Role.VOLUME),
    item(VOLS[1], 4, Role.VOLUME),
)
DRIVE = {one.name: one.file for one in ITEMS}


def standing(items: tuple[Item, ...] = ITEMS) -> dict[str, RemoteObject]:
    return {one.name: RemoteObject(one.name, one.file.size, f"md5-{one.rank}") for one in items}


def changed(name: str, items: tuple[Item, ...] = ITEMS, **changes: object) -> tuple[Item, ...]:
    return tuple(dataclasses.replace(one, **changes) if one.name == name else one for one in items)  # type: ignore[arg-type]


def state_of(seen: Evidence, name: str) -> tuple[AtTarget, OnDrive]:
    found = next(one for one in verify(seen).findings if one.name == name)
    return found.target, found.drive


def said(seen: Evidence) -> str:
    return " ".join(f"{one.text}. {one.cure}." for one in verify(seen).sentences)


def test_everything_there_and_right() -> None:
    report = verify(Evidence(5.0, ITEMS, standing(), DRIVE))
    assert report.ok
    assert report.complete
    assert report.restorable
    assert report.findings == ()
    assert [(one.set_name, one.files, one.files_right) for one in report.sets] == [
        ("full 1700000000", 4, 4),
        ("inc 1700086400", 1, 1),
    ]
    assert report.sentences[0].text == "All 5 files are in the cloud and correct"


@pytest.mark.parametrize(
    ("stands", "state"),
    [
        (None, AtTarget.MISSING),
        (RemoteObject("x", 99, "md5-3"), AtTarget.OTHER_SIZE),
        (RemoteObject("x", 103, "another"), AtTarget.OTHER_MD5),
    ],
)
def test_what_is_wrong_in_the_cloud_is_named_with_its_cure(stands: RemoteObject | None, state: AtTarget) -> None:
    objects = standing()
    del objects[VOLS[0]]
    if stands:
        objects[VOLS[0]] = stands
    seen = Evidence(5.0, ITEMS, objects, DRIVE)
    report = verify(seen)
    assert not report.ok
    assert not report.complete
    assert not report.restorable
    assert state_of(seen, VOLS[0]) == (state, OnDrive.THERE)
    assert all(one.cure for one in report.sentences if one.wrong)
    assert report.sets[0].files_right == 3


def test_what_is_still_to_come_is_not_wrong_but_not_complete_either() -> None:
    objects = standing()
    del objects[VOLS[1]]
    report = verify(Evidence(5.0, changed(VOLS[1], phase=Phase.QUEUED, md5=""), objects, DRIVE))
    assert report.ok
    assert not report.complete
    assert "1 file is still to be sent" in {one.text for one in report.sentences}


def test_what_stands_there_unasked_is_compared_where_its_md5_is_known() -> None:
    items = changed(VOLS[1], phase=Phase.UNCHECKED, md5="")
    seen = Evidence(5.0, items, standing(), DRIVE)
    assert state_of(seen, VOLS[1])[0] is AtTarget.UNCONFIRMED
    assert not verify(seen).complete
    read = {one.name: Reading(f"md5-{one.rank}") for one in items}
    assert verify(dataclasses.replace(seen, read=read)).complete


def test_a_set_that_is_gone_after_the_end_was_removed_and_a_part_of_one_was_lost() -> None:
    objects = standing()
    del objects[INC_MAN]
    before = Evidence(5.0, ITEMS, objects, DRIVE)
    assert state_of(before, INC_MAN)[0] is AtTarget.MISSING
    assert state_of(dataclasses.replace(before, finished=True), INC_MAN)[0] is AtTarget.SET_GONE
    del objects[VOLS[0]]
    assert state_of(dataclasses.replace(before, finished=True), VOLS[0])[0] is AtTarget.MISSING


def test_what_its_owner_removed_is_nobodys_loss() -> None:
    objects = standing()
    del objects[INC_MAN]
    items = changed(INC_MAN, phase=Phase.REFUSED, error="removed")
    report = verify(Evidence(5.0, items, objects, DRIVE, removed=frozenset({INC_MAN})))
    assert report.ok
    assert report.complete
    assert not report.restorable
    assert report.sets[1].target == {"removed": 1}


def test_a_damaged_drive_is_a_loss_only_where_the_cloud_has_no_copy() -> None:
    read = {one.name: Reading(f"md5-{one.rank}") for one in ITEMS}
    read[VOLS[0]] = Reading(wrong="has a different SHA-1 from the one that duplicity recorded")
    seen = Evidence(5.0, ITEMS, standing(), DRIVE, read=read)
    report = verify(seen)
    assert state_of(seen, VOLS[0]) == (AtTarget.RIGHT, OnDrive.ROTTEN)
    assert report.complete
    assert not report.ok
    assert "1 file is damaged on the drive; in the cloud it is intact" in said(seen)
    objects = standing()
    del objects[VOLS[0]]
    lost = Evidence(5.0, changed(VOLS[0], phase=Phase.QUEUED, md5=""), objects, DRIVE, read=read)
    assert "and not in the cloud either" in said(lost)


def test_a_drive_that_was_read_whole_is_praised_for_what_is_known_of_it() -> None:
    def told(unhashed: set[str]) -> str:
        read = {one.name: Reading(f"md5-{one.rank}", unhashed=one.name in unhashed) for one in ITEMS}
        return verify(Evidence(5.0, ITEMS, standing(), DRIVE, read=read)).sentences[1].text

    assert told(set()) == "Everything on the drive was read, and is what duplicity wrote"
    assert told({SIG, MAN, INC_MAN, VOLS[1]}) == (
        "Everything on the drive was read: 1 volume is what duplicity wrote; "
        "4 files without a checksum of duplicity's are intact as far as the format tells"
    )
    assert told({one.name for one in ITEMS}) == (
        "Everything on the drive was read: "
        "5 files without a checksum of duplicity's are intact as far as the format tells"
    )


def test_a_drive_that_is_pruned_after_the_end_is_no_fault() -> None:
    report = verify(Evidence(5.0, ITEMS, standing(), {}))
    assert report.ok
    assert report.complete
    assert {one.drive for one in report.findings} == {OnDrive.MISSING}


def test_the_drive_away_is_said_and_is_wrong_only_where_it_was_to_be_read() -> None:
    assert verify(Evidence(5.0, ITEMS, standing())).ok
    deep = verify(Evidence(5.0, ITEMS, standing(), read={}))
    assert not deep.ok
    assert not deep.drive_seen
    assert "Connect it" in deep.sentences[1].cure
    half = verify(Evidence(5.0, ITEMS, standing(), DRIVE, read={SIG: Reading("md5-0")}))
    assert not half.ok
    assert not half.drive_seen


def test_an_slo_is_held_against_the_reading_and_its_segments() -> None:
    objects = standing() | {VOLS[0]: RemoteObject(VOLS[0], 103, "slo-md5", slo=True)}
    unknown = Evidence(5.0, ITEMS, objects, DRIVE)
    assert state_of(unknown, VOLS[0])[0] is AtTarget.UNCONFIRMED, "its size alone says nothing"
    seen = dataclasses.replace(unknown, items=changed(VOLS[0], slo_md5="slo-md5"))
    assert verify(seen).complete
    told = dataclasses.replace(seen, data_in="c_segments")
    assert verify(told).ok
    assert "c_segments: keep that container" in said(told)
    another = dataclasses.replace(unknown, items=changed(VOLS[0], slo_md5="another"))
    assert state_of(another, VOLS[0])[0] is AtTarget.OTHER_MD5
    assert state_of(dataclasses.replace(seen, lost=frozenset({VOLS[0]})), VOLS[0])[0] is AtTarget.PARTS_LOST
    read = {one.name: Reading(f"md5-{one.rank}") for one in ITEMS} | {VOLS[0]: Reading("md5-3", slo_md5="other")}
    assert state_of(dataclasses.replace(seen, read=read), VOLS[0])[0] is AtTarget.OTHER_MD5


STEM = "20231115T221320Z.to.20231116T221320Z"
DIRECT = [
    f"duplicity-inc.{STEM}.vol1.difftar.gz",
    f"duplicity-inc.{STEM}.manifest",
    f"duplicity-new-signatures.{STEM}.sigtar.gz",
]


def test_what_duplicity_wrote_itself_is_told_apart_from_strangers() -> None:
    older = "duplicity-full.20221114T221320Z.vol1.difftar.gz"
    other_host = "host2-duplicity-full.20221114T221320Z.vol1.difftar.gz"
    extra = {name: RemoteObject(name, 7, "x") for name in (*DIRECT, older, other_host, "notes.txt")}
    report = verify(Evidence(5.0, ITEMS, standing() | extra, DRIVE))
    assert report.ok
    assert report.complete
    assert [one.origin for one in report.sets[2:]] == [Origin.OTHER, Origin.DUPLICITY]
    assert report.foreign == 2


def test_what_is_no_longer_on_the_drive_and_was_sent_is_no_strangers() -> None:
    older = "duplicity-full.20221114T221320Z.vol1.difftar.gz"
    extra = {name: RemoteObject(name, 7, "x") for name in (*DIRECT, older)}
    report = verify(Evidence(5.0, ITEMS, standing() | extra, DRIVE, departed=frozenset({older, *DIRECT})))
    assert (len(report.sets), report.foreign, report.complete) == (2, 0, True)


@pytest.mark.parametrize("lacks", DIRECT)
@pytest.mark.parametrize("under_way", [True, False])
def test_what_duplicity_has_begun_and_not_ended_is_no_backup(lacks: str, under_way: bool) -> None:
    extra = {name: RemoteObject(name, 7, "x") for name in DIRECT if name != lacks}
    seen = Evidence(5.0, ITEMS, standing() | extra, DRIVE, under_way=under_way)
    assert [one.origin for one in verify(seen).sets[2:]] == [Origin.UNFINISHED]
    assert "came straight from duplicity" not in said(seen)
    assert ("is writing 1 backup" in said(seen)) == under_way
    assert ("was interrupted, and nothing can be restored from there" in said(seen)) == (not under_way)


def test_what_a_verification_finds_besides_a_listing_is_no_longer_done() -> None:
    slo = {SIG: RemoteObject(SIG, 100, "etag", slo=True)}
    seen = Evidence(5.0, ITEMS, standing() | slo, DRIVE)
    assert damaged(seen) == {}
    assert damaged(dataclasses.replace(seen, lost=frozenset({SIG}))) == {SIG: AtTarget.PARTS_LOST}
    read = {SIG: Reading("m", slo_md5="another")}
    assert damaged(dataclasses.replace(seen, read=read)) == {SIG: AtTarget.OTHER_MD5}
    queued = dataclasses.replace(seen, items=changed(SIG, phase=Phase.QUEUED), lost=frozenset({SIG}))
    assert damaged(queued) == {}, "it is not done anyway"


def test_a_volume_of_the_manifest_that_is_not_adopted_is_missed() -> None:
    recorded = {FULL: {1: "a", 2: "b", 3: "c"}}
    report = verify(Evidence(5.0, ITEMS, standing(), DRIVE, recorded=recorded))
    assert report.sets[0].unlisted == 1
    assert not report.ok


def test_a_lost_container_makes_a_report_that_can_still_be_carried() -> None:
    many = tuple(item(f"duplicity-full.20231114T221320Z.vol{n}.difftar.gz", n, Role.VOLUME) for n in range(1, 3001))
    report = verify(Evidence(5.0, many, {}, None))
    assert len(report.findings) == MOST_FINDINGS
    assert report.unnamed == 2000
    assert report.sets[0].target == {"missing": 3000}


phases = st.sampled_from(list(Phase))


@st.composite
def evidence(draw: st.DrawFn) -> Evidence:
    items = tuple(
        dataclasses.replace(one, phase=draw(phases), md5=draw(st.sampled_from([one.md5, ""]))) for one in ITEMS
    )
    sizes, md5s = st.sampled_from([0, 1]), st.sampled_from(["md5-0", "md5-3", "x"])
    objects = {
        one.name: RemoteObject(one.name, one.file.size + draw(sizes), draw(md5s), slo=draw(st.booleans()))
        for one in items
        if draw(st.booleans())
    }
    files = {one.name: SourceFile(one.name, one.file.size, draw(st.sampled_from([1, 2]))) for one in items}
    readings = st.builds(Reading, md5s, st.sampled_from(["", "x"]), st.sampled_from(["", "is rotten"]), st.booleans())
    return Evidence(
        5.0,
        items,
        objects,
        draw(st.sampled_from([None, files, {}])),
        lost=frozenset({SIG}) if draw(st.booleans()) else frozenset(),
        read=draw(st.none() | st.dictionaries(st.sampled_from([one.name for one in items]), readings)),
        finished=draw(st.booleans()),
    )


@given(evidence())
def test_whatever_was_seen_has_a_report_and_nothing_wrong_is_called_right(seen: Evidence) -> None:
    report = verify(seen)
    for one in report.sets:
        assert sum(one.target.values()) == sum(one.drive.values()) == one.files
        assert one.files_right == one.target.get("right", 0)
    wrong = [one for one in report.findings if one.target in WRONG_AT_TARGET]
    assert not (wrong and report.ok)
    assert not (wrong and report.complete)
    if report.complete:
        for one in seen.items:
            assert seen.objects[one.name].size == one.file.size
            assert seen.objects[one.name].slo or seen.objects[one.name].md5
    assert from_dict(json.loads(json.dumps(as_dict(report)))) == report
