"""The source on real folders, real file systems that are pulled and exchanged, and a disk with unreadable blocks.

The unreadable blocks are an ext4 file system on a loop device whose image is cut short under it: the kernel then
answers EIO for those blocks and goes on serving the others, as a rotting disk does. Only ENODEV and its kin, which
need hardware to leave, are put in at os.readv.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import socket
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slowboat.core.errors import NeedsUser, Refused, SourceAbsent
from slowboat.core.words import SourceFile
from slowboat.edges.source import Source, drive, folder
from slowboat.edges.source.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from slowboat.edges.source.reader import FileReader

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a file system needs root")


def known(path: Path) -> SourceFile:
    found = path.stat()
    return SourceFile(path.name, found.st_size, found.st_mtime_ns)


async def whole(source: Source, file: SourceFile) -> bytes:
    """All that a file holds."""
    blocks: list[bytes] = []
    await source.digest(file, feed=blocks.append)
    return b"".join(blocks)


def taken(reader: FileReader, size: int) -> bytes:
    """The next bytes of a reader, at most `size`."""
    buffer = memoryview(bytearray(size))
    return bytes(buffer[: reader.readinto(buffer)])


def put(path: Path, content: bytes) -> SourceFile:
    path.write_bytes(content)
    return known(path)


async def test_listing_shows_regular_files_and_nothing_else(tmp_path: Path) -> None:
    place = tmp_path / "backup"
    place.mkdir()
    wanted = [
        put(place / "duplicity-full.a", b"1"),
        put(place / os.fsdecode(b"\xff\n x"), b""),
        put(place / ".h", b"2"),
    ]
    (place / "folder").mkdir()
    (place / "link").symlink_to("duplicity-full.a")
    (place / "dangling").symlink_to("nowhere")
    os.mkfifo(place / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(place / "socket"))
        assert sorted(await Source(place).listing(), key=lambda f: f.name) == sorted(wanted, key=lambda f: f.name)


async def test_a_folder_may_be_reached_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    file = put(tmp_path / "real" / "a", b"x")
    (tmp_path / "link").symlink_to("real")
    assert await Source(tmp_path / "link").listing() == [file]


async def test_an_empty_folder_is_an_empty_listing_where_nothing_is_expected(tmp_path: Path) -> None:
    assert await Source(tmp_path).listing() == []


async def test_a_missing_folder_is_an_absent_drive_named(tmp_path: Path) -> None:
    source = Source(tmp_path / "media" / "backup")
    with pytest.raises(SourceAbsent, match="media/backup"):
        await source.listing()
    with pytest.raises(SourceAbsent):
        await source.identity()
    with pytest.raises(SourceAbsent):
        await source.digest(SourceFile("a", 1, 1))


async def test_a_source_that_is_no_folder_needs_the_user(tmp_path: Path) -> None:
    put(tmp_path / "a", b"")
    with pytest.raises(NeedsUser) as refused:
        await Source(tmp_path / "a").listing()
    assert refused.value.code == "source"


async def test_a_folder_that_may_not_be_read_needs_the_user(tmp_path: Path) -> None:
    place = tmp_path / "shut"
    place.mkdir(mode=0)
    me = os.geteuid()
    if me == 0:
        os.seteuid(65534)  # root may read everything; nobody may not
    try:
        with pytest.raises(NeedsUser, match="You are not allowed to read the source"):
            await Source(place).listing()
    finally:
        os.seteuid(me)


async def test_links_and_files_of_others_are_told_apart(reachable: Path) -> None:
    place = reachable / "backup"
    place.mkdir(mode=0o755)
    mine, roots = put(place / "mine", b"1"), put(place / "roots", b"2")
    (place / "link").symlink_to("mine")
    (place / "dangling").symlink_to("nowhere")
    (place / "folder").mkdir()
    found = await Source(place).out_of_reach()
    assert (sorted(found.links), found.forbidden) == (["dangling", "link"], ())
    (place / "roots").chmod(0)
    with as_nobody():
        found = await Source(place).out_of_reach()
        assert found.forbidden == ("roots",)
        assert sorted(file.name for file in await Source(place).listing()) == ["mine", "roots"]
        assert await whole(Source(place), mine) == b"1"
        with pytest.raises(Refused, match="is not readable for you") as refused:
            await whole(Source(place), roots)
    assert refused.value.code == "forbidden-file"
    assert f'\nsudo chown -R "$USER" {place}' in refused.value.hint
    assert "smartctl" not in refused.value.hint


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that another user can reach; those of pytest's are shut."""
    with tempfile.TemporaryDirectory(prefix="slowboat-test-") as place:
        Path(place).chmod(0o755)
        before = os.umask(0o022)
        yield Path(place)
        os.umask(before)


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """As a user who is not root."""
    me = os.geteuid()
    if me == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(me)


@settings(max_examples=50)
@given(st.binary(max_size=5000), st.integers(0, 5000), st.integers(0, 5000), st.integers(1, 700))
def test_reading_and_hashing_any_part(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, offset: int, length: int, block: int
) -> None:
    place = tmp_path_factory.mktemp("d")
    file = put(place / "a", content)
    offset = min(offset, len(content))
    length = min(length, len(content) - offset)
    source = Source(place)
    with source.open(file, offset) as opened:
        blocks = list(iter(lambda: taken(opened, block), b""))
    assert b"".join(blocks) == content[offset:]
    assert all(len(one) <= block for one in blocks)
    fed: list[bytes] = []
    part = content[offset : offset + length]
    digests = asyncio.run(source.digest(file, offset, length, feed=fed.append))
    assert b"".join(fed) == part
    assert (digests.md5, digests.size) == (hashlib.md5(part).hexdigest(), length)
    assert digests.sha1 == hashlib.sha1(part).hexdigest()
    assert asyncio.run(whole(source, file)) == content


async def test_a_large_file_comes_in_blocks_of_a_mebibyte(tmp_path: Path) -> None:
    content = os.urandom(folder.BLOCK * 2 + 17)
    sizes: list[int] = []
    digests = await Source(tmp_path).digest(put(tmp_path / "a", content), feed=lambda b: sizes.append(len(b)))
    assert sizes == [folder.BLOCK, folder.BLOCK, 17]
    assert digests.sha1 == hashlib.sha1(content).hexdigest()


CHANGES: dict[str, Callable[[Path], object]] = {
    "longer": lambda p: os.truncate(p, p.stat().st_size + 1),
    "shorter": lambda p: os.truncate(p, p.stat().st_size - 1),
    "empty": lambda p: os.truncate(p, 0),
    "touched": lambda p: os.utime(p, ns=(1, 1)),
    "gone": lambda p: p.unlink(),
    "link": lambda p: (p.rename(p.with_name("b")), p.symlink_to("b")),
    "fifo": lambda p: (p.unlink(), os.mkfifo(p), put(p.with_name("c"), b"")),
    "folder": lambda p: (p.unlink(), p.mkdir()),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_file_that_changed_before_the_reading_is_refused(tmp_path: Path, change: str) -> None:
    file = put(tmp_path / "a", b"x" * 100)
    put(tmp_path / "other", b"")
    CHANGES[change](tmp_path / "a")
    with pytest.raises(Refused, match="a in ") as refused:
        await Source(tmp_path).digest(file)
    assert refused.value.code == "changed"


@pytest.mark.parametrize("change", ["longer", "shorter", "empty", "touched"])
def test_a_file_that_changes_during_the_reading_is_refused_before_its_last_byte(tmp_path: Path, change: str) -> None:
    file = put(tmp_path / "a", b"x" * 100)
    with Source(tmp_path).open(file) as opened:
        assert taken(opened, 50) == b"x" * 50
        CHANGES[change](tmp_path / "a")
        with pytest.raises(Refused) as refused:
            taken(opened, 50)
    assert refused.value.code == "changed"


def test_a_name_that_leads_elsewhere_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    put(tmp_path / "secret", b"x")
    for name in ("../secret", "..", "", "in/x"):
        with Source(tmp_path / "in").open(SourceFile(name, 1, 1)) as opened, pytest.raises(Refused):
            taken(opened, 1)


def _open_files() -> int:
    """All but the kernel's own table of mounts, which is no file of any drive."""
    with os.scandir("/proc/self/fd") as entries:
        return sum(not _leads_to(entry.path).endswith("/mountinfo") for entry in entries)


def _leads_to(link: str) -> str:
    try:
        return str(Path(link).readlink())
    except FileNotFoundError:  # that of the scan itself, where it is closed already
        return ""


def test_nothing_is_opened_before_the_first_read_nor_left_open(tmp_path: Path) -> None:
    file = put(tmp_path / "a", b"x")
    before = _open_files()
    with Source(tmp_path, expected=None).open(file) as opened:
        assert _open_files() == before
        taken(opened, 1)
        assert _open_files() == before + 1
    for wrong in (SourceFile("a", 5, 5), SourceFile("b", 5, 5)):
        with Source(tmp_path).open(wrong) as opened, pytest.raises(Refused):
            taken(opened, 1)
    with Source(tmp_path, expected="uuid:other").open(file) as opened, pytest.raises(SourceAbsent):
        taken(opened, 1)
    assert _open_files() == before


def test_the_drive_is_opened_only_for_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every open of the edge, by its flags."""
    file = put(tmp_path / "a", b"x" * 10)
    flags: list[int] = []
    real = os.open

    def watched(path: object, flag: int, *rest: int, **more: int) -> int:
        flags.append(flag)
        return real(path, flag, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", watched)
    asyncio.run(Source(tmp_path).listing())
    asyncio.run(whole(Source(tmp_path), file))
    assert len(flags) >= 3
    for flag in flags:
        assert flag & os.O_ACCMODE == os.O_RDONLY
        assert flag & (os.O_CREAT | os.O_TRUNC) == 0
        assert flag & os.O_CLOEXEC


async def test_reading_leaves_the_access_time(tmp_path: Path) -> None:
    file = put(tmp_path / "a", b"x" * 10)
    os.utime(tmp_path / "a", ns=(5, file.mtime_ns))
    await whole(Source(tmp_path), file)
    assert (tmp_path / "a").stat().st_atime_ns == 5


@pytest.mark.parametrize("number", sorted(drive.GONE))
async def test_what_the_kernel_says_of_a_drive_that_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    file = put(tmp_path / "a", b"x" * 10)
    monkeypatch.setattr(os, "readv", lambda *_: (_ for _ in ()).throw(OSError(number, "gone")))
    with pytest.raises(SourceAbsent):
        await whole(Source(tmp_path), file)


async def test_a_pulled_device_is_known_by_sys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = put(tmp_path / "a", b"x" * 10)
    monkeypatch.setattr(os, "readv", lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "input/output")))
    with pytest.raises(Refused):
        await whole(Source(tmp_path), file)
    monkeypatch.setattr(drive, "unplugged", lambda _: True)
    with pytest.raises(SourceAbsent):
        await whole(Source(tmp_path), file)
    with pytest.raises(SourceAbsent):
        await Source(tmp_path).listing()


async def test_cancelling_ends_the_thread_at_its_next_block(tmp_path: Path) -> None:
    file = put(tmp_path / "a", b"x" * (folder.BLOCK * 3))
    at_first, go_on, fed = threading.Event(), threading.Event(), []

    def feed(block: bytes) -> None:
        fed.append(block)
        at_first.set()
        go_on.wait()

    before = set(threading.enumerate())
    task = asyncio.create_task(Source(tmp_path).digest(file, feed=feed))
    while not at_first.is_set():
        await asyncio.sleep(0.01)
    (thread,) = set(threading.enumerate()) - before
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    thread.join()
    assert len(fed) == 1
    assert thread.daemon  # one that hangs in the kernel does not keep the program from ending


async def test_a_drive_that_does_not_answer_counts_as_absent(tmp_path: Path) -> None:
    file = put(tmp_path / "a", b"x" * (folder.BLOCK * 3))
    answer = threading.Event()
    with pytest.raises(SourceAbsent, match="not answered"):
        await Source(tmp_path, patience=0.05).digest(file, feed=lambda _: answer.wait() and None)
    answer.set()


async def test_a_slow_drive_that_does_answer_is_waited_for(tmp_path: Path) -> None:
    file = put(tmp_path / "a", b"x" * (folder.BLOCK * 4))
    pause = threading.Event()
    source = Source(tmp_path, patience=1.0)
    digests = await source.digest(file, feed=lambda _: pause.wait(0.35) and None)
    assert digests.size == file.size


class Drives:
    """File systems in files, mounted and taken away as a user plugs and pulls drives."""

    def __init__(self, tmp: Path) -> None:
        self.tmp = tmp
        self.place = tmp / "media"
        self.place.mkdir()

    def make(self, name: str) -> Path:
        image = self.tmp / name
        with image.open("wb") as file:
            file.truncate(16 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-E", "lazy_itable_init=0", image], check=True)
        return image

    def plug(self, image: Path) -> None:
        subprocess.run(["mount", "-o", "loop", image, self.place], check=True)

    def pull(self, *, lazily: bool = False) -> None:
        subprocess.run(["umount", *(["-l"] if lazily else []), self.place], check=True)


@pytest.fixture
def drives(tmp_path: Path) -> Iterator[Drives]:
    made = Drives(tmp_path)
    yield made
    while os.path.ismount(made.place):
        made.pull(lazily=True)


@NEEDS_ROOT
async def test_pulled_and_plugged_again_and_another_in_its_place(drives: Drives) -> None:
    mine, other = drives.make("mine"), drives.make("other")
    drives.plug(mine)
    file = put(drives.place / "a", b"x" * 5000)
    identity = await Source(drives.place).identity()
    assert identity.startswith(("uuid:", "fsid:"))
    source = Source(drives.place, expected=identity)
    assert known(drives.place / "a") in await source.listing()

    drives.pull()
    with pytest.raises(SourceAbsent, match="media") as gone:  # the empty mount point is no empty source
        await source.listing()
    assert gone.value.code == "source-absent"
    with pytest.raises(SourceAbsent):
        await whole(source, file)
    with pytest.raises(SourceAbsent):  # nor for a file that was deleted, even where no identity is known
        await whole(Source(drives.place), file)

    drives.plug(other)
    put(drives.place / "a", b"y" * 5000)
    os.utime(drives.place / "a", ns=(1, file.mtime_ns))  # the same name, size and time
    for attempt in (source.listing(), whole(source, file), source.identity()):
        with pytest.raises(SourceAbsent) as absent:
            await attempt
        assert identity in absent.value.what
        assert absent.value.code == "other-drive"
    assert "a" in [file.name for file in await source.listing(any_drive=True)]
    drives.pull()

    drives.plug(mine)
    assert await whole(source, file) == b"x" * 5000
    assert await source.identity() == identity


@NEEDS_ROOT
async def test_a_drive_that_is_mounted_elsewhere_is_told_with_both_places(drives: Drives) -> None:
    """The desktop's `Backup1`: the old folder was still there when the drive came back."""
    mine, other = drives.make("mine"), drives.make("other")
    drives.plug(mine)
    (drives.place / "deep" / "backup").mkdir(parents=True)
    put(drives.place / "deep" / "backup" / "a", b"x")
    source = Source(drives.place / "deep" / "backup", expected=await Source(drives.place).identity())
    assert [file.name for file in await source.listing()] == ["a"]
    drives.pull()
    elsewhere = drives.place.with_name("media1 of mine")
    elsewhere.mkdir()
    subprocess.run(["mount", "-o", "loop", mine, elsewhere], check=True)
    try:
        with pytest.raises(SourceAbsent) as absent:
            await source.listing()
        assert absent.value.code == "drive-elsewhere"
        assert str(source.path) in absent.value.what
        assert str(elsewhere) in absent.value.what
        assert str(elsewhere / "deep" / "backup") in absent.value.hint
        assert absent.value.hint.splitlines()[-1] == f"sudo rmdir {drives.place}"
        drives.plug(other)
        (drives.place / "deep" / "backup").mkdir(parents=True)
        put(drives.place / "deep" / "backup" / "a", b"y")
        with pytest.raises(SourceAbsent, match="media1 of mine") as absent:
            await source.listing()
        assert absent.value.code == "other-drive", "what stands there may be a copy"
    finally:
        subprocess.run(["umount", elsewhere], check=True)
    with pytest.raises(SourceAbsent) as absent:
        await source.listing()
    assert "media1" not in str(absent.value)


@NEEDS_ROOT
async def test_uuids_are_taken_from_udev_where_it_names_them(drives: Drives) -> None:
    drives.plug(drives.make("mine"))
    numbers = drives.tmp / "by-uuid"
    numbers.mkdir()
    (numbers / "0-dangling").symlink_to("nowhere")
    (numbers / "1234-ABCD").symlink_to(f"/dev/block/{_number(drives.place)}")
    if not (numbers / "1234-ABCD").exists():  # /dev/block is udev's, too
        (numbers / "1234-ABCD").unlink()
        os.mknod(numbers / "1234-ABCD", 0o60600, drives.place.stat().st_dev)
    plain = await Source(drives.place, by_uuid=drives.tmp / "none").identity()
    source = Source(drives.place, by_uuid=numbers)
    assert await source.identity() == "uuid:1234-ABCD"
    await Source(drives.place, expected="uuid:1234-ABCD", by_uuid=numbers).listing()
    # Remembered before udev had named it: still the same drive.
    await Source(drives.place, expected=plain, by_uuid=numbers).listing()


def _number(path: Path) -> str:
    device = path.stat().st_dev
    return f"{os.major(device)}:{os.minor(device)}"


@NEEDS_ROOT
async def test_pulled_in_mid_reading_by_a_lazy_unmount(drives: Drives) -> None:
    """The file in hand can still be read to its end, as the kernel promises; the next one is absent."""
    drives.plug(drives.make("mine"))
    file = put(drives.place / "a", b"x" * 5000)
    source = Source(drives.place, expected=await Source(drives.place).identity())
    with source.open(file) as opened:
        taken(opened, 100)
        drives.pull(lazily=True)
        assert len(taken(opened, 10000)) == 4900
    with pytest.raises(SourceAbsent):
        await whole(source, file)


@NEEDS_ROOT
async def test_unreadable_blocks_refuse_the_file_and_not_the_drive(drives: Drives) -> None:
    image = drives.make("rotting")
    drives.plug(image)
    good = put(drives.place / "good", b"g" * 1000)
    bad = put(drives.place / "bad", os.urandom(6 << 20))
    drives.pull()
    os.sync()
    # The image keeps what the first blocks hold; what the large file's end stands on is gone.
    drives.plug(image)
    await whole(Source(drives.place), good)  # the folder and the small file are in memory from here on
    os.truncate(image, 7 << 20)
    source = Source(drives.place, expected=await Source(drives.place).identity())
    with pytest.raises(Refused, match=r"bad in .* cannot be read at byte \d+: Input/output error") as refused:
        await source.digest(bad)
    assert refused.value.code == "read-error"
    assert await whole(source, good) == b"g" * 1000
    assert {"good", "bad"} <= {file.name for file in await source.listing()}


@NEEDS_ROOT
async def test_a_drive_remounted_read_only_is_read_on(drives: Drives) -> None:
    drives.plug(drives.make("mine"))
    file = put(drives.place / "a", b"x" * 50)
    source = Source(drives.place, expected=await Source(drives.place).identity())
    os.sync()
    subprocess.run(["mount", "-o", "remount,ro", drives.place], check=True)
    assert file in await source.listing()
    assert await whole(source, file) == b"x" * 50


async def test_a_thread_stays_while_there_is_work_and_the_drive_is_looked_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fifty files one after another: one thread, and one look at which drive it is, until mounts change."""
    files = [put(tmp_path / f"f{number}", b"x" * 10) for number in range(50)]
    looks: list[int] = []
    real = drive.identities
    monkeypatch.setattr(drive, "identities", lambda fd, by_uuid: looks.append(fd) or real(fd, by_uuid))
    source = Source(tmp_path, expected=await Source(tmp_path).identity())
    looks.clear()
    before, threads = {*threading.enumerate()}, set[threading.Thread]()
    for file in files:
        await source.digest(file)
        threads |= {*threading.enumerate()} - before
    assert (len(threads), len(looks)) == (1, 1)
    source._mounts = drive.Mounts()  # as after a mount: at first, and in doubt, it has changed
    await source.digest(files[0])
    assert len(looks) == 2


async def test_threads_that_have_nothing_to_do_end() -> None:
    workers, done = Workers("test", idle=0.05), threading.Event()
    before = threading.active_count()
    workers.run(lambda: done.set)
    done.wait()
    while threading.active_count() > before:
        await asyncio.sleep(0.01)
    done.clear()
    workers.run(lambda: done.set)  # and one more is made where there is more to do
    done.wait()
