"""Chains: put together as duplicity does; what forbids adoption is named with its cure; the order of sending."""

from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowboat.core import chains, names
from slowboat.core.errors import NeedsUser
from slowboat.core.manifest import Manifest, VolumeInfo
from slowboat.core.names import NameKind
from slowboat.core.words import OutOfReach, Role, SetId, SetType, SourceFile

DAY = 86400
T0 = 1294938577  # 2011-01-13 17:09:37 UTC


def full(day: int = 0) -> SetId:
    return SetId(T0 + day * DAY, T0 + day * DAY)


def inc(start: int, end: int) -> SetId:
    return SetId(T0 + start * DAY, T0 + end * DAY)


def file(
    kind: NameKind, set_id: SetId, volume: int = 0, *, size: int = 100, suffix: str = ".gpg", **more
) -> SourceFile:
    return SourceFile(names.make(kind, set_id, volume=volume, suffix=suffix, **more).name, size, 1)


def whole(set_id: SetId, volumes: int = 2, **more) -> list[SourceFile]:
    """All files of a sound set."""
    metadata = [file(kind, set_id, **more) for kind in (NameKind.SIGNATURES, NameKind.MANIFEST)]
    return metadata + [file(NameKind.VOLUME, set_id, number, **more) for number in range(1, volumes + 1)]


def manifest(volumes: int = 2, *, localdir: bytes = b"/") -> Manifest:
    """Volume n holds the paths from the n-th letter to the next."""
    listed = (
        VolumeInfo(number, (bytes([96 + number]),), (bytes([97 + number]),), f"{number:040x}")
        for number in range(1, volumes + 1)
    )
    return Manifest("vm", localdir, tuple(listed))


def names_of(items) -> list[str]:
    return [item.name for item in items]


CHAIN = (full(), inc(0, 1), inc(1, 2))
FOLDER = [each for set_id in CHAIN for each in whole(set_id)]
MANIFESTS = {set_id: manifest() for set_id in CHAIN}


def codes(folder, manifests=MANIFESTS, file_prefix=None) -> list[str]:
    return [problem.code for problem in chains.problems(chains.take_inventory(folder, file_prefix), manifests)]


# --- linking ------------------------------------------------------------------------------------------


def test_a_chain_is_a_full_and_what_builds_upon_it():
    inventory = chains.take_inventory(reversed(FOLDER))
    (chain,) = inventory.chains
    assert [each.id for each in chain.sets] == list(CHAIN)
    assert chain.full.id == full()
    assert chain.last.id == inc(1, 2)
    assert (chain.start, chain.end) == (T0, T0 + 2 * DAY)
    assert set(chain.files) == set(FOLDER)
    assert str(chain) == "the chain of 2011-01-13 17:09 UTC, a full and 2 incrementals"
    assert inventory.newest is chain
    assert inventory.prefix == ""
    assert inventory.orphans == inventory.strangers == inventory.partial == ()


def test_the_newest_chain_comes_first():
    folder = [each for n in (0, 5, 9) for each in whole(full(n))] + whole(inc(5, 20))
    inventory = chains.take_inventory(folder)
    assert [chain.full.id for chain in inventory.chains] == [full(5), full(9), full(0)]


def test_a_later_incremental_from_the_same_point_takes_the_place_of_the_earlier():
    inventory = chains.take_inventory([*FOLDER, *whole(inc(1, 3))])
    assert [each.id for each in inventory.chains[0].sets] == [full(), inc(0, 1), inc(1, 3)]
    assert set(inventory.orphans) == set(whole(inc(1, 2)))


def test_an_incremental_without_its_predecessor_is_an_orphan():
    inventory = chains.take_inventory([*whole(full()), *whole(inc(1, 2))])
    assert [each.id for each in inventory.chains[0].sets] == [full()]
    assert [each.id for each in inventory.orphan_sets] == [inc(1, 2)]


def by_hand(sets: set[SetId]) -> list[list[SetId]]:
    """duplicity's rule, as plainly as it can be said: try each chain in turn."""
    found: list[list[SetId]] = []
    for each in sorted(sets, key=lambda each: (each.end, each.start)):
        if each.type is SetType.FULL:
            found.append([each])
            continue
        for chain in found:
            last = chain[-1]
            if last.end == each.start:
                chain.append(each)
                break
            if last.type is SetType.INC and last.start == each.start and last.end < each.end:
                chain[-1] = each
                break
    return found


@given(st.sets(st.tuples(st.integers(1, 8), st.integers(1, 8)).map(lambda days: inc(*days)), max_size=14))
def test_linking_follows_duplicitys_rule(sets):
    folder = [file(NameKind.MANIFEST, set_id) for set_id in sets]
    inventory = chains.take_inventory(folder)
    linked = {tuple(each.id for each in chain.sets) for chain in inventory.chains}
    assert linked == set(map(tuple, by_hand(sets)))
    placed = [*inventory.orphans, *(each for chain in inventory.chains for each in chain.files)]
    assert sorted(each.name for each in placed) == sorted(each.name for each in folder)
    ends = [chain.end for chain in inventory.chains]
    assert ends == sorted(ends, reverse=True)


any_file = st.one_of(
    st.sampled_from([*FOLDER, *whole(inc(2, 3), prefix="b-"), *whole(full(9), prefix="a-")]),
    st.builds(SourceFile, st.text(max_size=20), st.integers(0, 9), st.just(1)),
    st.builds(lambda each, tail: SourceFile(each.name + tail, 1, 1), st.sampled_from(FOLDER), st.text(max_size=5)),
)


@given(st.lists(any_file, unique_by=lambda each: each.name, max_size=30), st.none() | st.sampled_from(["", "a-", "c-"]))
def test_every_file_has_exactly_one_place_and_the_listings_order_does_not_matter(folder, file_prefix):
    inventory = chains.take_inventory(folder, file_prefix)
    placed = [
        *(each for chain in inventory.chains for each in chain.files),
        *(each for chain in inventory.chains for backup_set in chain.sets for each in backup_set.duplicates),
        *inventory.orphans,
        *inventory.partial,
        *inventory.stats,
        *inventory.dangerous,
        *inventory.others,
        *inventory.strangers,
    ]
    assert sorted(each.name for each in placed) == sorted(each.name for each in folder)
    shuffled = random.Random(1).sample(folder, len(folder))
    assert chains.take_inventory(shuffled, file_prefix) == inventory
    for problem in chains.problems(inventory, MANIFESTS):
        assert problem.what.isprintable()
        assert problem.hint
        assert problem.code


def test_what_is_not_of_the_chain_is_kept_apart():
    stray = SourceFile(file(NameKind.VOLUME, full(), 1).name + ".tmp", 1, 1)
    par2 = SourceFile(file(NameKind.VOLUME, full(), 1).name + ".vol000+10.par2", 1, 1)
    hidden = SourceFile("._" + file(NameKind.VOLUME, full(), 1).name, 1, 1)
    readme = SourceFile("README", 1, 1)
    stats = file(NameKind.STATS, full())
    inventory = chains.take_inventory([*FOLDER, stray, par2, hidden, readme, stats])
    assert inventory.dangerous == (stray,)
    assert set(inventory.strangers) == {par2, readme}
    assert inventory.others == (hidden,)
    assert inventory.stats == (stats,)
    assert chains.problems(inventory, MANIFESTS) == ()
    assert set(names_of(chains.adopt(inventory, MANIFESTS))) == {each.name for each in FOLDER}


def test_statistics_alone_make_no_set():
    assert chains.take_inventory([file(NameKind.STATS, full())]).chains == ()


@pytest.mark.parametrize(
    ("last", "other", "direct"),
    [
        (full(), inc(0, 1), True),
        (inc(0, 1), inc(1, 2), True),
        (inc(0, 1), inc(0, 2), False),
        (full(), full(0), False),
        (full(), inc(1, 2), False),
    ],
)
def test_what_continues_what(last, other, direct):
    assert chains.continues(last, other) is direct


def test_a_folder_of_a_hundred_thousand_files_is_linear():
    """Twice the incrementals are about twice the work: counted in comparisons, not in seconds."""
    count = 0

    class Counted(int):
        def __eq__(self, other):
            nonlocal count
            count += 1
            return int.__eq__(self, other)

        __hash__ = int.__hash__

    def work(sets: int) -> int:
        nonlocal count
        moments = [Counted(T0 + n) for n in range(sets + 1)]
        made = [chains.BackupSet(SetId(moments[0], moments[0]))]
        made += [chains.BackupSet(SetId(moments[n], moments[n + 1])) for n in range(sets)]
        count = 0
        found, orphans = chains.inventory._link(made)
        assert len(found[0].sets) == sets + 1
        assert orphans == ()
        return count

    assert work(4000) < 3 * work(2000)


# --- file prefixes ------------------------------------------------------------------------------------


def test_one_prefix_needs_no_word():
    folder = [each for set_id in CHAIN for each in whole(set_id, prefix="host-")]
    inventory = chains.take_inventory(folder)
    assert inventory.prefix == "host-"
    assert chains.problems(inventory, MANIFESTS) == ()


def test_a_prefix_of_its_own_for_each_kind():
    folder = []
    for set_id in CHAIN:
        folder += [
            file(NameKind.SIGNATURES, set_id, prefix="host-s-"),
            file(NameKind.MANIFEST, set_id, prefix="host-m-"),
        ]
        folder += [file(NameKind.VOLUME, set_id, number, prefix="host-") for number in (1, 2)]
    inventory = chains.take_inventory(folder)
    assert inventory.prefix == "host-"
    assert inventory.prefixes[NameKind.MANIFEST] == "host-m-"
    assert len(chains.adopt(inventory, MANIFESTS)) == len(folder)
    assert chains.take_inventory(folder, "host-").chains == inventory.chains


def test_several_hosts_in_one_folder_ask_for_the_prefix():
    ours = [each for set_id in CHAIN for each in whole(set_id, prefix="ours-")]
    theirs = [each for set_id in CHAIN for each in whole(set_id, prefix="theirs-")]
    inventory = chains.take_inventory([*ours, *theirs])
    assert inventory.chains == ()
    (problem,) = chains.problems(inventory, MANIFESTS)
    assert problem.code == "prefixes"
    assert '"ours-", "theirs-"' in problem.what
    assert 'file_prefix = "ours-"' in problem.hint
    chosen = chains.take_inventory([*ours, *theirs], "ours-")
    assert set(chosen.newest.files) == set(ours)
    assert set(chosen.others) == set(theirs)
    assert codes([*ours, *theirs], file_prefix="nobodys-") == ["prefixes"]


def test_no_prefix_can_be_asked_for_too():
    theirs = [each for set_id in CHAIN for each in whole(set_id, prefix="theirs-")]
    chosen = chains.take_inventory([*FOLDER, *theirs], "")
    assert set(chosen.newest.files) == set(FOLDER)


def test_anothers_unfinished_files_do_not_matter():
    assert codes([*FOLDER, file(NameKind.VOLUME, full(), 1, prefix="x-", partial=True)], file_prefix="") == []


# --- what forbids adoption ----------------------------------------------------------------------------


def test_a_sound_chain_has_no_problems():
    assert codes(FOLDER) == []


MY_DISK = "/media/my disk"


def test_files_that_cannot_be_read_are_one_problem_with_a_count_and_a_command():
    volumes = [each.name for each in FOLDER if "vol" in each.name]
    inventory = chains.take_inventory(FOLDER, None)
    assert chains.forbidden(inventory, OutOfReach(), MY_DISK) is None
    shut = chains.forbidden(inventory, OutOfReach(forbidden=tuple(volumes)), MY_DISK)
    assert (shut.code, f"{len(volumes)} files" in shut.what) == ("forbidden-files", True)
    assert shut.hint.splitlines()[-1] == "sudo chown -R \"$USER\" '/media/my disk'"


def test_links_are_one_problem_with_a_count_and_what_helps():
    volumes = [each.name for each in FOLDER if "vol" in each.name]
    rest = chains.take_inventory([each for each in FOLDER if each.name not in volumes], None)
    assert chains.links(rest, OutOfReach(), MY_DISK) is None
    links = chains.links(rest, OutOfReach(links=tuple(volumes)), MY_DISK)
    assert (links.code, f"{len(volumes)} files" in links.what, min(volumes) in links.what) == ("links", True, True)
    assert links.hint.splitlines()[-1].startswith("mergerfs -o ro '/media/my disk':")
    nothing = chains.take_inventory([], None)
    everything = OutOfReach(links=tuple(each.name for each in FOLDER))
    assert chains.links(nothing, everything, MY_DISK), "where nothing else is there, these are the backup"


def test_what_is_none_of_the_newest_chain_stands_in_nobodys_way():
    inventory = chains.take_inventory(FOLDER, None)
    older = [each.name for each in whole(full(-30))]
    other = [f"other-{each.name}" for each in FOLDER]
    for name in ("notes.txt", "duplicity-backup.log", older[0], older[-1], other[0]):
        found = OutOfReach(links=(name,), forbidden=(name,))
        assert chains.links(inventory, found, MY_DISK) is None, name
        assert chains.forbidden(inventory, found, MY_DISK) is None, name


def without(*gone: SourceFile) -> list[SourceFile]:
    assert set(gone) <= set(FOLDER)
    return [each for each in FOLDER if each not in gone]


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ([], ["empty"]),
        ([SourceFile("README", 1, 1)], ["no-chain"]),
        (whole(inc(0, 1)), ["no-chain"]),
        ([file(NameKind.VOLUME, full(), 1, partial=True)], ["partial"]),
        ([*FOLDER, file(NameKind.VOLUME, inc(2, 3), 1, partial=True)], ["partial"]),
        ([*FOLDER, *whole(inc(5, 6))], ["orphans"]),
        (without(file(NameKind.MANIFEST, full())), ["no-manifest"]),
        (without(file(NameKind.SIGNATURES, inc(0, 1))), ["no-signatures"]),
        (without(file(NameKind.VOLUME, full(), 1)), ["missing-volumes"]),
        (without(file(NameKind.VOLUME, inc(1, 2), 2)), ["missing-volumes"]),
        ([*FOLDER, file(NameKind.VOLUME, full(), 3)], ["extra-volumes"]),
        ([*FOLDER, file(NameKind.VOLUME, full(), 1, suffix=".gz")], ["duplicates"]),
        ([*FOLDER, file(NameKind.MANIFEST, full(), suffix="")], ["duplicates"]),
        ([*FOLDER, file(NameKind.VOLUME, full(), 1, suffix=".g", short=True)], ["duplicates"]),
        ([*without(file(NameKind.VOLUME, full(), 1)), file(NameKind.VOLUME, full(), 1, size=0)], ["empty-file"]),
        ([*FOLDER, file(NameKind.VOLUME, inc(2, 3), 1)], ["no-manifest", "no-signatures"]),
    ],
)
def test_each_problem_is_found_and_nothing_else(folder, expected):
    assert codes(folder) == expected
    with pytest.raises(NeedsUser) as caught:
        chains.adopt(chains.take_inventory(folder), MANIFESTS)
    assert caught.value.code == expected[0]


def test_a_volume_that_duplicity_left_empty_is_no_problem():
    """What an incremental without changes is with --no-encryption --no-compression, up to 3.0.7."""
    empty = hashlib.sha1(b"", usedforsecurity=False).hexdigest()
    found = Manifest("vm", b"/", (VolumeInfo(1, (), (), empty),))
    folder = [*without(*whole(inc(1, 2))), *whole(inc(1, 2), 0, suffix="")]
    folder.append(file(NameKind.VOLUME, inc(1, 2), 1, suffix="", size=0))
    adopted = chains.adopt(chains.take_inventory(folder), MANIFESTS | {inc(1, 2): found})
    assert (adopted[-1].file.size, adopted[-1].sha1) == (0, empty)
    assert codes(folder, MANIFESTS | {inc(1, 2): manifest(1)}) == ["empty-file"]


def test_missing_volumes_are_named():
    folder = [each for each in whole(full(), 9) if names.parse(each.name).volume not in {3, 7, 8, 9}]
    (problem,) = chains.problems(chains.take_inventory(folder), {full(): manifest(9)})
    assert problem.what == "volumes 3, 7-9 of the full of 2011-01-13 17:09 UTC are missing"
    (one,) = chains.problems(chains.take_inventory(whole(full(), 1)), MANIFESTS)
    assert one.what == "volume 2 of the full of 2011-01-13 17:09 UTC is missing"


def test_many_missing_volumes_are_summed_up():
    folder = [each for each in whole(full(), 100) if names.parse(each.name).volume % 2 == 0]
    (problem,) = chains.problems(
        chains.take_inventory(folder), {full(): Manifest("", b"", tuple(VolumeInfo(n, (), ()) for n in range(1, 101)))}
    )
    assert problem.what == (
        "volumes 1, 3, 5, 7, 9, 11, 13, 15 and 42 more of the full of 2011-01-13 17:09 UTC are missing"
    )


def test_a_volume_that_the_manifest_skips_is_missing():
    skipping = Manifest("", b"", (VolumeInfo(1, (), ()), VolumeInfo(3, (), ())))
    folder = [each for each in whole(full(), 3) if names.parse(each.name).volume != 2]
    assert codes(folder, {full(): skipping}) == ["missing-volumes"]


def test_the_newest_chain_needs_its_manifests_in_plain():
    inventory = chains.take_inventory(FOLDER)
    (problem,) = chains.problems(inventory, {full(): manifest()})
    assert problem.code == "unread-manifest"
    assert problem.what.startswith("the manifest of the incremental of 2011-01-14 17:09 UTC and of 1 more is")


def test_names_that_swift_could_not_take():
    folder = [each for set_id in CHAIN for each in whole(set_id, prefix="b\udcfcro-")]
    problems = chains.problems(chains.take_inventory(folder), MANIFESTS)
    assert {problem.code for problem in problems} == {"name-not-utf8"}
    assert all(str(problem).encode() for problem in problems)


# --- older chains -------------------------------------------------------------------------------------

OLD = [*whole(full(-9)), *whole(inc(-9, -8))]


def test_an_older_chain_that_is_not_whole_keeps_nobody_back():
    broken = [each for each in OLD if each != file(NameKind.VOLUME, full(-9), 1)]
    inventory = chains.take_inventory([*FOLDER, *broken])
    assert chains.problems(inventory, MANIFESTS) == ()
    assert set(names_of(chains.adopt(inventory, MANIFESTS))) == {each.name for each in FOLDER}
    (left,) = chains.left_out(inventory, MANIFESTS)
    assert left.chain.full.id == full(-9)
    assert [problem.code for problem in left.problems] == ["missing-volumes"]


def test_an_older_chains_unfinished_files_keep_only_it_back():
    inventory = chains.take_inventory([*FOLDER, *OLD, file(NameKind.VOLUME, full(-9), 3, partial=True)])
    assert chains.problems(inventory, MANIFESTS) == ()
    assert [problem.code for left in chains.left_out(inventory, MANIFESTS) for problem in left.problems] == ["partial"]


def test_an_older_chain_goes_without_its_plain_manifests():
    inventory = chains.take_inventory([*FOLDER, *OLD])
    items = chains.adopt(inventory, MANIFESTS)
    assert set(names_of(items)) == {each.name for each in [*FOLDER, *OLD]}
    assert chains.left_out(inventory, MANIFESTS) == ()
    assert all(item.sha1 == "" for item in items if item.chain == 1)


def test_older_orphans_keep_nobody_back():
    assert codes([*FOLDER, *whole(inc(-5, -4))]) == []


# --- the order of sending -----------------------------------------------------------------------------


def test_the_order_of_a_whole_folder():
    inventory = chains.take_inventory([*FOLDER, *whole(full(-9))])
    items = chains.adopt(inventory, {**MANIFESTS, full(-9): manifest()}, canary=[(b"b", b"x")])
    assert names_of(items) == [
        "duplicity-full-signatures.20110113T170937Z.sigtar.gpg",
        "duplicity-new-signatures.20110113T170937Z.to.20110114T170937Z.sigtar.gpg",
        "duplicity-new-signatures.20110114T170937Z.to.20110115T170937Z.sigtar.gpg",
        "duplicity-full.20110113T170937Z.manifest.gpg",
        "duplicity-inc.20110113T170937Z.to.20110114T170937Z.manifest.gpg",
        "duplicity-inc.20110114T170937Z.to.20110115T170937Z.manifest.gpg",
        # the canaries: volume 1 ends with b, volume 2 begins with b, so only volume 2 may hold b/x
        "duplicity-full.20110113T170937Z.vol2.difftar.gpg",
        "duplicity-inc.20110113T170937Z.to.20110114T170937Z.vol2.difftar.gpg",
        "duplicity-inc.20110114T170937Z.to.20110115T170937Z.vol2.difftar.gpg",
        "duplicity-full.20110113T170937Z.vol1.difftar.gpg",
        "duplicity-inc.20110113T170937Z.to.20110114T170937Z.vol1.difftar.gpg",
        "duplicity-inc.20110114T170937Z.to.20110115T170937Z.vol1.difftar.gpg",
        "duplicity-full-signatures.20110104T170937Z.sigtar.gpg",
        "duplicity-full.20110104T170937Z.manifest.gpg",
        "duplicity-full.20110104T170937Z.vol1.difftar.gpg",
        "duplicity-full.20110104T170937Z.vol2.difftar.gpg",
    ]
    assert [item.rank for item in items] == list(range(len(items)))
    assert [item.canary for item in items] == [False] * 6 + [True] * 3 + [False] * 7
    assert {item.sha1 for item in items if item.role is not Role.VOLUME} == {""}
    assert items[6].sha1 == f"{2:040x}"


def test_where_duplicity_may_look_meanwhile_each_set_is_made_whole_before_the_next():
    items = chains.adopt(chains.take_inventory([*FOLDER, *whole(full(-9))]), MANIFESTS, set_by_set=True)
    metadata = [item for item in items if item.role.is_metadata]
    assert [(item.set_id, item.role) for item in metadata] == [
        (set_id, role) for set_id in (*CHAIN, full(-9)) for role in (Role.SIGNATURES, Role.MANIFEST)
    ]
    assert [item.rank for item in items] == list(range(len(items)))


def test_volumes_are_ordered_by_number_not_by_name():
    items = chains.adopt(chains.take_inventory(whole(full(), 11)), {full(): manifest(11)})
    assert [names.parse(item.name).volume for item in items[2:]] == list(range(1, 12))


@given(
    st.integers(1, 5),
    st.integers(0, 3),
    st.lists(st.binary(min_size=1, max_size=1), max_size=2),
    st.randoms(use_true_random=False),
)
def test_metadata_always_goes_before_volumes(volumes, incrementals, canary, rng):
    sets = [full(), *(inc(n, n + 1) for n in range(incrementals))]
    folder = [each for set_id in [*sets, full(-5)] for each in whole(set_id, volumes)]
    rng.shuffle(folder)
    items = chains.adopt(
        chains.take_inventory(folder), {set_id: manifest(volumes) for set_id in sets}, [(each,) for each in canary]
    )
    assert sorted(names_of(items)) == sorted(each.name for each in folder)
    kinds = [(item.chain, not item.role.is_metadata, item.role is Role.VOLUME and not item.canary) for item in items]
    assert kinds == sorted(kinds)
    for role in Role:
        ends = [item.set_id.end for item in items if item.role is role and item.chain == 0 and not item.canary]
        assert ends == sorted(ends)


def test_the_cache_is_known_by_its_keys():
    newest = chains.take_inventory(FOLDER).newest
    assert newest.metadata_keys == {
        names.metadata_key(each.name) for each in FOLDER if names.parse(each.name).role.is_metadata
    }
    assert "duplicity-full.20110113T170937Z.manifest" in newest.metadata_keys
    assert len(newest.metadata) == 6
