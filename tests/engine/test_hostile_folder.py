"""A folder as nobody would make it: a hundred thousand files, names and kinds of all sorts, manifests without end."""

from __future__ import annotations

import asyncio
import gzip
import os
import random
import threading
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from slowboat.core.errors import NeedsUser
from slowboat.core.words import Role, SourceFile
from slowboat.edges.cache import Cache
from slowboat.edges.source import Source
from slowboat.engine import adoption

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FULL = "duplicity-full.20260101T000000Z"
SIGNATURES = "duplicity-full-signatures.20260101T000000Z.sigtar.gz"


def manifest_of(volumes: int, files: bytes = b"") -> bytes:
    head = b"Hostname box\nLocaldir /\n" + (b"Filelist 1\n" + files if files else b"")
    rows = (
        b"Volume %d:\n    StartingPath   home/%08d  \n    EndingPath     home/%08d 5\n    Hash SHA1 %040d\n"
        % (n, n, n, n)
        for n in range(1, volumes + 1)
    )
    return head + b"".join(rows)


def make_chain(folder: Path, volumes: int = 3, files: bytes = b"") -> set[str]:
    """A chain without content: only its names and its manifest matter to adoption."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(1, volumes + 1):
        (folder / f"{FULL}.vol{number}.difftar.gz").write_bytes(b"x")
    (folder / SIGNATURES).write_bytes(gzip.compress(b""))
    (folder / f"{FULL}.manifest").write_bytes(manifest_of(volumes, files))
    return {path.name for path in folder.iterdir()}


async def adopt(folder: Path) -> adoption.Adopted:
    source = Source(folder)
    cache = Cache([folder / "no such archive dir"])
    return await adoption.adopt(source, cache, await source.listing(), url="", file_prefix=None, canary=())


class Listing(list[SourceFile]):
    """A listing that knows which threads went through it."""

    def __init__(self, files: Iterable[SourceFile]) -> None:
        super().__init__(files)
        self.threads: set[int] = set()

    def __iter__(self) -> Iterator[SourceFile]:
        self.threads.add(threading.get_ident())
        return super().__iter__()


async def test_a_hundred_thousand_files_keep_nobody_waiting(tmp_path: Path) -> None:
    ours = make_chain(tmp_path / "drive", 20_000)
    for number in range(80_000):
        os.mknod(tmp_path / f"drive/photo-{number}.jpg")
    source, cache = Source(tmp_path / "drive"), Cache([tmp_path / "no such archive dir"])
    files = Listing(await source.listing())
    found = await adoption.adopt(source, cache, files, url="", file_prefix=None, canary=())
    assert {item.name for item in found.items} == ours
    assert files.threads
    assert threading.get_ident() not in files.threads, "the event loop answers whoever asks meanwhile"


async def test_what_is_no_file_of_duplicitys_is_passed_over_whatever_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "drive"
    ours = make_chain(folder)
    os.mkfifo(folder / f"{FULL}.vol4.difftar.gz")  # to open it would wait for ever
    os.mkfifo(folder / "fifo")
    (folder / f"{FULL}.vol5.difftar.gz").symlink_to("/etc/passwd")
    (folder / "duplicity-inc.20260101T000000Z.to.20260102T000000Z.manifest").symlink_to(f"{FULL}.manifest")
    (folder / "loop").symlink_to("loop")
    (folder / f"{FULL}.vol6.difftar.gz").mkdir()
    for raw in (b"caf\xe9", b"new\nline", b"...", b"..hidden", b"\x01\x7f", b" ", b"-rf", b"a" * 255, "☀".encode()):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + raw)).write_bytes(b"")
    found = await adopt(folder)
    assert {item.name for item in found.items} == ours
    assert [item.role for item in found.items[:2]] == [Role.SIGNATURES, Role.MANIFEST]


async def test_a_manifest_that_is_a_pipe_or_a_link_is_none(tmp_path: Path) -> None:
    for number, make in enumerate((os.mkfifo, lambda path: Path(path).symlink_to("/etc/hostname"))):
        folder = tmp_path / f"drive-{number}"
        make_chain(folder)
        (folder / f"{FULL}.manifest").unlink()
        make(folder / f"{FULL}.manifest")
        with pytest.raises(NeedsUser, match="has no manifest"):
            await adopt(folder)


async def test_a_list_of_files_of_two_hundred_megabytes_takes_no_memory(tmp_path: Path) -> None:
    folder = tmp_path / "drive"
    make_chain(folder, 3)
    entry = b"    new  " + b"a/long/path/" * 300 + b"\n"
    with (folder / f"{FULL}.manifest").open("wb") as file:
        file.write(b"Hostname box\nLocaldir /\n")
        for _ in range(200):
            file.write(b"Filelist 1\n" + entry * ((1 << 20) // len(entry)))
        file.write(manifest_of(3).split(b"\n", 2)[2])
    tracemalloc.start()
    try:
        found = await adopt(folder)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [item.sha1 for item in found.items if item.role is Role.VOLUME] == [f"{n:040d}" for n in (1, 2, 3)]
    assert sum(map(len, found.manifests.values())) < 10_000
    assert peak < 16 << 20


@pytest.mark.parametrize("seed", range(40))
async def test_a_manifest_cut_or_scrambled_anywhere_ends_in_words_and_a_cure(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    folder = tmp_path / "drive"
    ours = make_chain(folder, 5, b"    new a\n    changed b\n")
    whole = (folder / f"{FULL}.manifest").read_bytes()
    at = chance.randrange(len(whole))
    broken = {
        0: whole[:at],
        1: whole[:at] + chance.randbytes(20) + whole[at + 20 :],
        2: whole[:at] + whole[at // 2 :],
        3: whole[:at] + b"\0" * 100_000 + whole[at:],
    }[seed % 4]
    (folder / f"{FULL}.manifest").write_bytes(broken)
    outcome = await asyncio.gather(adopt(folder), return_exceptions=True)
    match outcome[0]:
        case adoption.Adopted(items=items):  # it can still be read, and says of every volume that it is there
            assert {item.name for item in items} == ours
        case NeedsUser(what=what, hint=hint):
            assert what
            assert hint
        case surprise:
            pytest.fail(f"{surprise!r}")
