"""duplicity's file names: every spelling, both ways; what is none of them; what is derived from them."""

from __future__ import annotations

import hashlib
import string
from typing import TYPE_CHECKING

import pytest
from counted_matching import Counting
from hypothesis import example, given
from hypothesis import strategies as st

from slowboat.core import names
from slowboat.core.names import NameKind, ParsedName
from slowboat.core.words import Role, SetId, SetType

if TYPE_CHECKING:
    from collections.abc import Iterator

FULL = SetId(1294938577, 1294938577)
INC = SetId(1294938577, 1295024977)

# What a drive can show: any character but "/" and NUL, and bytes that are no UTF-8 as surrogates.
file_names = st.text(
    st.characters(exclude_characters="/\0")
    | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF, categories=["Cs"]),
    max_size=30,
)
moments = st.integers(1, 4_102_444_799)  # to the end of 2099, as far as duplicity reckons
short_moments = st.integers(36**5, 36**7 - 1)


@st.composite
def set_ids(draw: st.DrawFn, times: st.SearchStrategy[int] = moments) -> SetId:
    start = draw(times)
    return SetId(start, draw(st.just(start) | times))


@st.composite
def written(draw: st.DrawFn) -> ParsedName:
    short = draw(st.booleans())
    kind = draw(st.sampled_from(NameKind))
    return names.make(
        kind,
        draw(set_ids(short_moments if short else moments)),
        volume=draw(st.integers(1, 999_999)) if kind is NameKind.VOLUME else 0,
        prefix=draw(file_names),
        suffix=draw(st.sampled_from(["", ".g", ".z"] if short else ["", ".gpg", ".p7m", ".gz"])),
        partial=draw(st.booleans()),
        short=short,
    )


@given(written())
def test_every_name_that_is_written_can_be_read_and_written_again(parsed):
    again = names.parse(parsed.name)
    assert again is not None
    assert names.render(again) == parsed.name
    # A prefix may itself look like the beginning of a short name; apart from that every part comes back.
    if "d" not in parsed.prefix:
        assert again == parsed


@given(st.one_of(file_names, st.text(), st.text(string.printable)))
@example("duplicity-full.20110113T170937Z.vol" + "9" * 5000 + ".difftar")
@example("duplicity-full.20110113T170937Z.vol١.difftar")
@example("duplicity-full.２０110113T170937Z.manifest")
@example("")
def test_any_text_is_taken_and_never_raises(text):
    parsed = names.parse(text)
    assert parsed is None or names.render(parsed) == text
    names.parses_for_duplicity(text)
    assert names.metadata_key(text) in text


@pytest.mark.parametrize(
    ("name", "kind", "set_id", "volume", "suffix"),
    [
        ("duplicity-full.20110113T170937Z.vol1.difftar.gpg", NameKind.VOLUME, FULL, 1, ".gpg"),
        ("duplicity-full.20110113T170937Z.vol2000.difftar.gz", NameKind.VOLUME, FULL, 2000, ".gz"),
        ("duplicity-full.20110113T170937Z.vol3.difftar", NameKind.VOLUME, FULL, 3, ""),
        ("duplicity-full.20110113T170937Z.manifest", NameKind.MANIFEST, FULL, 0, ""),
        ("duplicity-full.20110113T170937Z.manifest.p7m", NameKind.MANIFEST, FULL, 0, ".p7m"),
        ("duplicity-full-signatures.20110113T170937Z.sigtar.gpg", NameKind.SIGNATURES, FULL, 0, ".gpg"),
        ("duplicity-full.20110113T170937Z.jsonstat.gpg", NameKind.STATS, FULL, 0, ".gpg"),
        ("duplicity-inc.20110113T170937Z.to.20110114T170937Z.vol12.difftar.gpg", NameKind.VOLUME, INC, 12, ".gpg"),
        ("duplicity-inc.20110113T170937Z.to.20110114T170937Z.manifest.gpg", NameKind.MANIFEST, INC, 0, ".gpg"),
        ("duplicity-new-signatures.20110113T170937Z.to.20110114T170937Z.sigtar.gz", NameKind.SIGNATURES, INC, 0, ".gz"),
        ("duplicity-inc.20110113T170937Z.to.20110114T170937Z.jsonstat", NameKind.STATS, INC, 0, ""),
        ("df.lez101.1.dt.g", NameKind.VOLUME, FULL, 1, ".g"),
        ("df.lez101.rs.dt.z", NameKind.VOLUME, FULL, 1000, ".z"),
        ("df.lez101.m", NameKind.MANIFEST, FULL, 0, ""),
        ("dfs.lez101.st.g", NameKind.SIGNATURES, FULL, 0, ".g"),
        ("di.lez101.lf0vo1.a.dt.g", NameKind.VOLUME, INC, 10, ".g"),
        ("di.lez101.lf0vo1.m.g", NameKind.MANIFEST, INC, 0, ".g"),
        ("dns.lez101.lf0vo1.st.z", NameKind.SIGNATURES, INC, 0, ".z"),
        ("dfst.lez101.jst", NameKind.STATS, FULL, 0, ""),
        ("dist.lez101.to.lf0vo1.jst.g", NameKind.STATS, INC, 0, ".g"),
    ],
)
def test_names_as_duplicity_writes_them(name, kind, set_id, volume, suffix):
    parsed = names.parse(name)
    assert parsed is not None
    assert (parsed.kind, parsed.set_id, parsed.volume, parsed.suffix) == (kind, set_id, volume, suffix)
    assert not parsed.partial
    assert parsed.prefix == ""
    assert parsed.encrypted == (suffix in {".gpg", ".p7m", ".g"})
    assert parsed.role == {"volume": Role.VOLUME, "manifest": Role.MANIFEST, "signatures": Role.SIGNATURES}.get(
        kind.value
    )
    assert names.make(kind, set_id, volume=volume, suffix=suffix, short=parsed.short) == parsed
    assert names.parses_for_duplicity(name)
    assert names.parses_for_duplicity(name, "")


@pytest.mark.parametrize(
    ("spelled", "seconds"),
    [
        ("2010-01-01T00:00:00-05:00", 1262322000),
        ("2010-01-01T00:00:00+05:30", 1262284200),
        ("2010-01-01T00:00:00Z", 1262304000),
        ("2010-01-01T00_00_00Z", 1262304000),
        ("2010-01-01T00_00_00+01_00", 1262300400),
        # Half past minus three (Newfoundland): duplicity writes -04:30 and reads it as it means it.
        ("2010-01-01T00:00:00-04:30", 1262304000 + 12600),
        ("20100101T000000Z", 1262304000),
        ("20101231T235960Z", 1293840000),  # a leap second
    ],
)
def test_old_spellings_of_times(spelled, seconds):
    name = f"host-duplicity-full.{spelled}.vol1.difftar.gpg"
    parsed = names.parse(name)
    assert parsed is not None
    assert parsed.set_id == SetId(seconds, seconds)
    assert parsed.prefix == "host-"
    assert names.render(parsed) == name


@pytest.mark.parametrize("prefix", ["host1-", "", "a.b_", "duplicity-", "-", "naïve ", "two\nlines ", "\udcff"])
def test_any_file_prefix(prefix):
    parsed = names.parse(f"{prefix}duplicity-full.20110113T170937Z.manifest.gpg")
    assert parsed is not None
    assert parsed.prefix == prefix


@pytest.mark.parametrize("suffix", ["", ".gpg", ".gz"])
@pytest.mark.parametrize(
    "stem",
    [
        "duplicity-full.20110113T170937Z.manifest",
        "duplicity-new-signatures.20110113T170937Z.to.20110114T170937Z.sigtar",
        "duplicity-full.20110113T170937Z.vol7.difftar",
    ],
)
def test_unfinished_files_are_known_for_what_they_are(stem, suffix):
    parsed = names.parse(f"{stem}.part{suffix}")
    assert parsed is not None
    assert parsed.partial
    assert not names.parse(f"{stem}{suffix}").partial


DANGEROUS = [
    "duplicity-full.20110113T170937Z.vol1.difftar.gpg.tmp",
    "duplicity-full.20110113T170937Z.vol1.difftar.gpg.part",
    "duplicity-full.20110113T170937Z.vol1.difftar.gpg.uploading",
    "duplicity-full.20110113T170937Z.vol1.difftar.gpg.par2",
    "duplicity-full.20110113T170937Z.vol1.difftar.gpg.vol000+10.par2",
    "duplicity-full.20110113T170937Z.vol1.difftar.gpg/00000001",
    "duplicity-full.20110113T170937Z.vol1.difftar.gpg\n",
    "duplicity-full.20110113T170937Z.vol01.difftar.gpg",
    "duplicity-full.20110113T170937Z.vol0.difftar.gpg",
    "duplicity-full.20110113t170937z.vol1.difftar.gpg",
    "duplicity-full.20110113T170937Z.manifest.gpg.bak",
    "duplicity-full.1294938577.manifest",
    "duplicity-full.3D.manifest",
    "duplicity-inc.20110113T170937Z.to.20110113T170937Z.manifest",  # as if it built upon itself
    "duplicity-full.yesterday.jsonstat",
    "df.lez101.1.dt.g.tmp",
]


@pytest.mark.parametrize("name", DANGEROUS)
def test_names_that_only_duplicity_would_take(name):
    assert names.parse(name) is None
    assert names.parses_for_duplicity(name)
    assert names.parses_for_duplicity(name, "")
    assert names.parses_for_duplicity("host-" + name)
    assert names.parses_for_duplicity("host-" + name, "host-")
    assert not names.parses_for_duplicity("host-" + name, "")
    assert not names.parses_for_duplicity(name, "host-")


@pytest.mark.parametrize(
    "name",
    [
        "README",
        "duplicity-full",
        "duplicity-full.20110113T170937Z",
        "duplicity-full.20110113T170937Z.sigtar.gpg",
        "duplicity-full-signatures.20110113T170937Z.manifest",
        "duplicity-inc.20110113T170937Z.manifest.gpg",
        "duplicity-full.20110113T170937Z.to.20110114T170937Z.manifest.gpg",
        "duplicity-full.20111301T170937Z.manifest.gpg",
        "duplicity-full.20110113T250937Z.manifest.gpg",
        "duplicity-full.19000113T170937Z.manifest.gpg",
        "duplicity-full.20110113T170937Z.difftar.gpg",
        "duplicity-full.20110113T170937Z.vol1.difftar.gpgx",
        "sub/duplicity-full.20110113T170937Z.manifest.gpg",
        "../duplicity-full.20110113T170937Z.manifest.gpg",
        "..",
        "paper.pdf.a.m",
        "df.A.m",
    ],
)
def test_strangers(name):
    assert names.parse(name) is None


@pytest.mark.parametrize(
    "name", [".duplicity-full.20110113T170937Z.vol1.difftar.gpg.Xy12", ".goutputstream-ABC", "a/b"]
)
def test_hidden_files_are_no_danger(name):
    assert not names.parses_for_duplicity(name)


@given(written(), st.text(max_size=10))
def test_whatever_is_read_strictly_duplicity_reads_too(parsed, tail):
    if not parsed.prefix.startswith("."):
        assert names.parses_for_duplicity(parsed.name)
        assert names.parses_for_duplicity(f"{parsed.name}.{tail}")
    assert names.parses_for_duplicity(parsed.name, parsed.prefix)
    assert names.parses_for_duplicity(f"{parsed.name}.{tail}", parsed.prefix)


@given(written().filter(lambda parsed: parsed.suffix != ""))
def test_a_known_suffix_ends_the_name(parsed):
    for tail in (".tmp", ".1", "x", "~", "\n", ".par2", "/x"):
        assert names.parse(parsed.name + tail) is None


def test_cache_directories_follow_the_url_as_typed():
    assert names.cache_directory("file:///media/backup") == "4e33cf513fa4772471272dbd07fca5be"
    assert names.cache_directory("file:///media/backup/") != names.cache_directory("file:///media/backup")
    assert names.cache_directory("file:///media/büro") == "df4d6839e269811b8d3444721d6f737a"
    assert names.cache_directory("file:///media/\udcff") == hashlib.md5(b"file:///media/\xff").hexdigest()


@pytest.mark.parametrize(
    ("remote", "cached"),
    [
        ("duplicity-full.20110113T170937Z.manifest.gpg", "duplicity-full.20110113T170937Z.manifest"),
        ("duplicity-full.20110113T170937Z.manifest", "duplicity-full.20110113T170937Z.manifest"),
        ("duplicity-full.20110113T170937Z.manifest.p7m", "duplicity-full.20110113T170937Z.manifest"),
        (
            "x-duplicity-full-signatures.20110113T170937Z.sigtar.gpg",
            "x-duplicity-full-signatures.20110113T170937Z.sigtar.gz",
        ),
        (
            "duplicity-full-signatures.20110113T170937Z.sigtar.gz",
            "duplicity-full-signatures.20110113T170937Z.sigtar.gz",
        ),
    ],
)
def test_the_cache_and_the_target_agree_on_keys(remote, cached):
    assert names.metadata_key(remote) == names.metadata_key(cached)
    assert names.cache_name(remote) == cached


def test_only_one_suffix_comes_off():
    assert names.metadata_key("a.manifest.part.gpg") == "a.manifest.part"
    assert names.metadata_key("a.manifest.part") == "a.manifest"
    assert names.metadata_key("a.manifest.bak") == "a.manifest.bak"


@given(st.text(min_size=1), st.integers(0, 10**15), st.integers(1, 10**12), st.none() | st.integers(0, 99_999_999))
@example("P/slowboat1/x/1/2/slo", 3, 4, None)
@example("a/1/2/00000003", 1, 2, 3)
@example("two\nlines", 1, 1, 0)
def test_segment_names_round_trip(object_name, size, segment, index):
    name = (
        names.slo_name(object_name, size, segment)
        if index is None
        else names.segment_name(object_name, size, segment, index)
    )
    assert names.parse_segment(name) == names.SegmentName(object_name, size, segment, index)
    assert name.startswith(names.segment_prefix(object_name))
    assert not name.startswith("duplicity-")


def test_segment_names_sort_as_the_segments_stand():
    made = [names.segment_name("P/x", 10**9, 10**6, index) for index in range(1001)]
    assert made == sorted(made)
    assert made[7] == "slowboat1/P/x/1000000000/1000000/00000007"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "slowboat1/",
        "slowboat1//1/1/slo",
        "slowboat1/x/1/1/7",
        "slowboat1/x/1/1/SLO",
        "slowboat1/x/01/1/slo",
        "slowboat1/x/1/0/slo",
        "slowboat1/x/1/1/00000001/",
        "slowboat2/x/1/1/slo",
        "x/slowboat1/x/1/1/slo",
        "duplicity-full.20110113T170937Z.vol1.difftar.gpg/1294938577.0/1000/10/00000000",
    ],
)
def test_other_peoples_segments_are_not_ours(name):
    assert names.parse_segment(name) is None


def test_containers_and_objects():
    assert names.segments_container("backup") == "backup_segments"
    assert names.object_name("host/", "a") == "host/a"
    assert names.object_name("", "a") == "a"


def test_a_set_of_two_times_is_never_a_full():
    assert FULL.type is SetType.FULL
    assert INC.type is SetType.INC


LONG = ["duplicity-full.", "duplicity-inc.1.to.", "dfst.", "dist.x.", "df.", "1D", "duplicity-full.1.vol1.difftarx"]


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counting]:
    """The patterns of names, each step of theirs counted."""
    kept = names._lenient, names._statistics
    counted = Counting()
    monkeypatch.setattr(names, "re", counted)
    for each in kept:
        each.cache_clear()
    yield counted
    for each in kept:
        each.cache_clear()


@pytest.mark.parametrize("prefix", [None, "", "host-"])
@pytest.mark.parametrize("again", LONG)
def test_a_name_takes_no_more_than_its_length(counting: Counting, again: str, prefix: str | None) -> None:
    taken = []
    for size in (300, 2400):
        name, before = (prefix or "") + again * (size // len(again)), counting.steps
        assert not names.parses_for_duplicity(name, prefix)
        assert names.parses_for_duplicity(f"{name}duplicity-full.x.jsonstat")  # in doubt it is one
        taken.append(counting.steps - before)
    few, many = taken
    assert many <= 9 * few


@pytest.mark.parametrize("pattern", ["[^/]*?dup[^/]*x", "(?:[0-9]+)+x", "[^/]*?(?:1D)+x"])
def test_a_pattern_that_takes_more_is_seen(pattern: str) -> None:
    counting = Counting()
    again = "1D" if "1D" in pattern else "dup" if "dup" in pattern else "1"
    few, many = 6, 16
    taken = []
    for times in (few, many):
        before = counting.steps
        counting.compile(pattern).match(again * times)
        taken.append(counting.steps - before)
    assert taken[1] > taken[0] * (many / few) ** 1.5


@pytest.mark.parametrize("name", ["duplicity-full.jsonstat", "x.jsonstat", "dfst.jst", "dfst", "duplicity-full.x.jst"])
def test_statistics_without_a_middle_are_none(name: str) -> None:
    assert not names.parses_for_duplicity(name)
