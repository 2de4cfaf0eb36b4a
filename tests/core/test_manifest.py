"""Manifests: what duplicity writes is read, in constant memory; what is damaged is refused in clear words."""

from __future__ import annotations

import io
import re
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from slowboat.core import manifest
from slowboat.core.errors import Refused
from slowboat.core.manifest import Manifest, VolumeInfo

# A file's name may be any bytes but "/" and NUL; "." alone is the root of a backup, and no name.
parts = st.binary(min_size=1, max_size=12).map(lambda raw: re.sub(rb"[/\0]", b"_", raw)).filter(lambda raw: raw != b".")
indices = st.lists(parts, max_size=4).map(tuple)
hashes = st.one_of(st.just(""), st.from_regex(r"[0-9a-f]{40}", fullmatch=True))


@st.composite
def volumes(draw: st.DrawFn) -> VolumeInfo:
    return VolumeInfo(draw(st.integers(1, 12)), draw(indices), draw(indices), draw(hashes))


def write(
    hostname: str, localdir: bytes, listed: list[VolumeInfo], changed: list[tuple[bytes, bytes]] | None = None
) -> bytes:
    """A manifest as duplicity writes it: while the backup runs, with the changed files at the end."""
    lines = [b"Hostname %s" % hostname.encode(), b"Localdir %s" % manifest.quote(localdir)]
    for volume in listed:
        lines.append(b"Volume %d:" % volume.number)
        for word, index, block in ((b"StartingPath  ", volume.start, b" "), (b"EndingPath    ", volume.end, b"15")):
            lines.append(b"    %s %s %s" % (word, manifest.quote(b"/".join(index)) if index else b".", block))
        if volume.sha1:
            lines.append(b"    Hash SHA1 %s" % volume.sha1.encode())
    if changed is not None:
        lines.append(b"Filelist %d" % len(changed))
        lines += [b"    %-7s  %s" % (what, manifest.quote(path)) for what, path in changed]
    return b"\n".join(lines) + b"\n"


@given(st.binary())
@example(b'"')
@example(b"\\x41")
@example(b"a b\\\n'\"\xff\x0b\x0c\r\t")
def test_quoting_round_trips_and_leaves_one_word(raw):
    quoted = manifest.quote(raw)
    assert manifest.unquote(quoted) == raw
    assert len(quoted.split()) == (1 if raw else 0)
    assert not re.search(rb"[\s]", quoted)


@pytest.mark.parametrize(
    ("raw", "quoted"),
    [
        (b"home/u", b"home/u"),
        (b"a b", b'"a\\x20b"'),
        (b"it's", b'"it\\x27s"'),
        (b"back\\slash", b'"back\\x5cslash"'),
        (b"\xff\xfe", b"\xff\xfe"),
        (b"new\nline", b'"new\\x0aline"'),
    ],
)
def test_quoting_as_duplicity_does(raw, quoted):
    assert manifest.quote(raw) == quoted


@pytest.mark.parametrize("wrong", [b'"', b'"a', b'"\\x4"', b'"\\n"', b'"\\"', b'"\\xzz"'])
def test_wrong_quotes_are_told(wrong):
    with pytest.raises(ValueError, match="not quoted correctly"):
        manifest.unquote(wrong)


@given(
    st.text(st.characters(exclude_categories=["Z", "C"], exclude_characters='"'), min_size=1),
    st.lists(parts).map(lambda some: b"/" + b"/".join(some)),
    st.lists(volumes(), min_size=1, max_size=8),
    st.none() | st.lists(st.tuples(st.sampled_from([b"new", b"changed", b"deleted"]), parts), max_size=5),
)
def test_what_duplicity_writes_is_read(hostname, localdir, listed, changed):
    read = manifest.parse_bytes(write(hostname, localdir, listed, changed))
    assert read.hostname == hostname
    assert read.localdir == localdir
    last = listed[-1].number
    expected = {volume.number: volume for volume in listed if volume.number <= last}
    assert {volume.number: volume for volume in read.volumes} == expected
    assert [volume.number for volume in read.volumes] == sorted(expected)


REAL = b"".join(
    line + b"\n"
    for line in (
        b"Hostname vm",
        b"Localdir /home/u",
        b"Volume 1:",
        b"    StartingPath   .  ",
        b'    EndingPath     "my\\x20file" 15',
        b"    Hash SHA1 E4E9F7E1d1b1e9c1a1b1c1d1e1f1a1b1c1d1e1f1",
        b"Volume 2:",
        b'    StartingPath   "my\\x20file" 16',
        b"    EndingPath     z/\xff  ",
        b"    Hash SHA1 0000000000000000000000000000000000000001",
        b"Filelist 3",
        b'    new      "my\\x20file"',
        b"    changed  volume",
        b"    deleted  hash",
    )
)


def test_a_manifest_of_duplicity_3():
    first = VolumeInfo(1, (), (b"my file",), "e4e9f7e1d1b1e9c1a1b1c1d1e1f1a1b1c1d1e1f1")
    second = VolumeInfo(2, (b"my file",), (b"z", b"\xff"), "0" * 39 + "1")
    assert manifest.parse_bytes(REAL) == Manifest("vm", b"/home/u", (first, second))


def test_lines_with_and_without_their_ends_are_the_same():
    assert manifest.parse(REAL.splitlines()) == manifest.parse(io.BytesIO(REAL)) == manifest.parse_bytes(REAL)


def test_case_and_indentation_are_free_and_unknown_lines_are_passed_over():
    text = b"HOSTNAME vm\nColour blue\nlocaldir /\nvolume 1:\nstartingpath a\n\tENDINGPATH b\nhash MD5 aa\nMood good\n"
    assert manifest.parse_bytes(text) == Manifest("vm", b"/", (VolumeInfo(1, (b"a",), (b"b",)),))


def test_the_file_list_may_come_first():
    listed = b"Filelist 2\n    new      a\n    new      b\n"
    head, _, rest = REAL.partition(b"Volume 1")
    assert manifest.parse_bytes(head + listed + b"Volume 1" + rest) == manifest.parse_bytes(REAL)


def test_a_restarted_backup_forgets_the_volumes_it_lost():
    listed = [VolumeInfo(n, (b"a",), (b"b",), f"{n:040x}") for n in (1, 2, 3, 4)]
    again = VolumeInfo(2, (b"a",), (b"c",), "f" * 40)
    assert manifest.parse_bytes(write("vm", b"/", [*listed, again])).volumes == (listed[0], again)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "it lists no volumes"),
        (b"\n\n", "it lists no volumes"),
        (b"Hostname vm\nLocaldir /\n", "it lists no volumes"),
        (b"<html>captive portal</html>\n", "it lists no volumes"),
        (b"\x8c\x0d\x04\x09\x03\x02 an encrypted one \xd2\xed", "it lists no volumes"),
        (b"Volume 1:\n", "volume 1 has no StartingPath"),
        (b"Volume 1:\n    StartingPath   .  \n", "volume 1 has no EndingPath"),
        (b"Volume 1:\n    StartingPath   .  \n    EndingPa", "volume 1 has no EndingPath"),
        (b"Volume 1:\n  EndingPath a\nVolume 2:\n", "line 3: volume 1 has no StartingPath"),
        (b"Volume one:\n", "line 1: a volume without a number"),
        (b"Volume 0:\n", "line 1: volumes are numbered from 1"),
        (b"Volume 99999999999:\n", "line 1: a volume without a number"),
        (b"Volume 1:\n    StartingPath\n", "line 2: volume 1 has an empty"),
        (b"Volume 1:\n    Hash SHA1 12ab\n", "line 2: volume 1 has an invalid SHA-1: '12ab'"),
        (b"Volume 1:\n    Hash SHA1\n", "line 2: volume 1 has an empty"),
        (b'Volume 1:\n    StartingPath "a\n', "line 2: a path is not quoted correctly"),
        (b'Localdir "\xff\n', "line 1: a path is not quoted correctly"),
    ],
)
def test_damage_is_named(text, why):
    with pytest.raises(Refused) as caught:
        manifest.parse_bytes(text, "duplicity-full.20110113T170937Z.manifest")
    assert why in caught.value.what
    assert caught.value.what.startswith("duplicity-full.20110113T170937Z.manifest is damaged")
    assert caught.value.code == "manifest"
    assert caught.value.hint
    assert caught.value.what.isprintable()


def test_a_hostile_name_does_not_spoil_the_message():
    with pytest.raises(Refused, match=r"^two\\nlines\\udcff is damaged"):
        manifest.parse_bytes(b"", "two\nlines\udcff")


@given(st.binary() | st.lists(st.sampled_from(REAL.splitlines(keepends=True))).map(b"".join))
def test_any_bytes_are_read_or_refused(content):
    try:
        read = manifest.parse_bytes(content)
    except Refused:
        with pytest.raises(Refused, match=r"^[ -~]+$"):
            manifest.parse_bytes(content)
    else:
        assert read.volumes


@given(st.integers(0, len(REAL) - 1))
def test_a_cut_manifest_never_invents_a_volume(cut):
    whole = manifest.parse_bytes(REAL)
    try:
        read = manifest.parse_bytes(REAL[:cut])
    except Refused:
        return
    for volume, true in zip(read.volumes, whole.volumes, strict=False):
        assert volume.number == true.number
        assert volume.sha1 in {"", true.sha1}


@given(volumes(), indices)
def test_a_volume_may_hold_what_lies_in_its_range(volume, path):
    assert volume.contains(path) == (volume.start[: len(path)] <= path <= volume.end)


@given(indices, indices, indices)
def test_a_path_is_found_in_the_volume_that_holds_it(a, b, c):
    start, path, end = sorted((a, b, c))
    volume = VolumeInfo(1, start, end)
    for length in range(len(path) + 1):  # the path itself and every directory it is in
        if path[:length] <= end:
            assert volume.contains(path[:length])


def test_volumes_of_a_path():
    canary = (b"home", b"u", b".cache", b"deja-dup", b"metadata")
    ranges = [
        ((), (b"etc",)),
        ((b"etc", b"x"), (b"home", b"u", b".cache")),
        ((b"home", b"u", b".cache", b"a"), (b"var",)),
        ((b"var",), (b"z",)),
    ]
    read = Manifest("vm", b"/", tuple(VolumeInfo(n, *ends) for n, ends in enumerate(ranges, start=1)))
    assert read.volumes_with(canary) == (3,)
    assert read.volumes_with((b"zz",)) == ()
    assert read.volumes_with(()) == (1, 2, 3, 4)


def test_memory_does_not_grow_with_the_file_list():
    def endless(lines: int):
        yield from REAL.splitlines(keepends=True)
        for number in range(lines):
            yield b"    changed  home/u/some/rather/long/path/to/a/file/number/%d\n" % number

    def peak(lines: int) -> int:
        tracemalloc.start()
        try:
            assert len(manifest.parse(endless(lines)).volumes) == 2
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(10)
    assert peak(50_000) < peak(100) + 20_000


# --- without the list of files ----------------------------------------------------------------------

_lines = st.lists(
    st.sampled_from(
        [
            b"Hostname box",
            b"Localdir /",
            b"Filelist 3",
            b"filelist 0",
            b"    new      a/b",
            b"new unindented",
            b"",
            b"Volume 1:",
            b"volume 2:",
            b"    StartingPath   .",
            b"    EndingPath   z",
            b"StartingPath b",
            b"EndingPath c 12",
            b"    Hash SHA1 " + b"a" * 40,
            b"    Volume 9:",
            b"\xff\xfe",
        ]
    )
)


def _outcome(text: bytes) -> object:
    try:
        return manifest.parse_bytes(text)
    except Refused as error:
        return error.what.rpartition(": ")[2]  # the number of the line is another one


@given(_lines, st.sampled_from([b"\n", b"\r\n"]), st.integers(1, 50))
def test_a_manifest_without_its_list_of_files_says_the_same(lines: list[bytes], end: bytes, size: int) -> None:
    text = end.join(lines)
    abridged = manifest.Abridged()
    for at in range(0, len(text), size):
        abridged.feed(text[at : at + size])
    kept = abridged.finish()
    assert _outcome(kept) == _outcome(text)
    assert len(kept) <= len(text)


def test_the_list_of_files_takes_no_memory() -> None:
    head = b"Hostname box\nLocaldir /\nFilelist 1\n"
    entry = b"    changed  " + b"some/long/path/" * 250 + b"\n"
    tail = b"Volume 1:\n    StartingPath   .\n    EndingPath   z\n    Hash SHA1 " + b"0" * 40 + b"\n"
    block = entry * 280  # a MiB
    tracemalloc.start()
    try:
        abridged = manifest.Abridged()
        abridged.feed(head)
        for _ in range(300):
            abridged.feed(block)
        abridged.feed(tail)
        kept = abridged.finish()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20, "300 MiB went through"
    assert len(manifest.parse_bytes(kept).volumes) == 1


@pytest.mark.parametrize("where", [b"", b"Volume 1:\n    StartingPath   ", b"Volume 1:\nFilelist 1\n    new "])
def test_a_line_without_an_end_is_no_manifest_and_fills_no_memory(where: bytes) -> None:
    abridged = manifest.Abridged()
    abridged.feed(where)
    for _ in range(20):
        abridged.feed(b"x" * (1 << 20))
    kept = abridged.finish()
    assert len(kept) < 3 << 20
    with pytest.raises(Refused):
        manifest.parse_bytes(kept)


def test_more_volumes_than_any_backup_has_are_refused() -> None:
    abridged = manifest.Abridged()
    volume = b"Volume 1:\n    StartingPath   " + b"x" * 10_000 + b"\n    EndingPath   " + b"y" * 10_000 + b"\n"
    block = volume * 50
    for _ in range(manifest.MOST_KEPT // len(block) + 2):
        abridged.feed(block)
    kept = abridged.finish()
    assert len(kept) <= manifest.MOST_KEPT + 100
    with pytest.raises(Refused):
        manifest.parse_bytes(kept)
