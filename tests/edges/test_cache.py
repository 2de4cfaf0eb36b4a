"""duplicity's caches in real folders: found, handed over, taken back; locked, full, and killed at any moment."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import gzip
import os
import random
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from slowboat.core import names
from slowboat.core.errors import NeedsUser, Stopped, Transient
from slowboat.edges.cache import Cache, edge, installing, locking, mending, usual_archive_dirs, workshop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

URL = "file:///media/backup/host"
TARGET = "swift://lenny"
FULL = ["duplicity-full-signatures.20260101T000000Z.sigtar.gz", "duplicity-full.20260101T000000Z.manifest"]
INC = [
    "duplicity-new-signatures.20260101T000000Z.to.20260108T000000Z.sigtar.gz",
    "duplicity-inc.20260101T000000Z.to.20260108T000000Z.manifest",
]
NEWER = [
    "duplicity-new-signatures.20260108T000000Z.to.20260115T000000Z.sigtar.gz",
    "duplicity-inc.20260108T000000Z.to.20260115T000000Z.manifest",
]
OLDER = ["duplicity-full-signatures.20250101T000000Z.sigtar.gz", "duplicity-full.20250101T000000Z.manifest"]
CHAIN = FULL + INC
KEYS = frozenset(names.metadata_key(name) for name in CHAIN)


def fill(directory: Path, files: list[str], seed: str = "") -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for name in files:
        text = (seed + name).encode() * 100
        (directory / name).write_bytes(gzip.compress(text, mtime=0) if name.endswith("gz") else text)
    return directory


def shown(directory: Path) -> dict[str, tuple[bytes, int, int]]:
    return {p.name: (p.read_bytes(), p.stat().st_mtime_ns, p.stat().st_mode) for p in directory.iterdir()}


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that another user can reach; those of pytest's are shut."""
    with tempfile.TemporaryDirectory(prefix="slowboat-test-") as place:
        Path(place).chmod(0o755)
        before = os.umask(0o022)
        yield Path(place)
        os.umask(before)


@pytest.fixture
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    base: Path = request.getfixturevalue("reachable") if "reachable" in request.fixturenames else tmp_path
    place = base / "cache" / "deja-dup"
    place.mkdir(parents=True)
    return place


@pytest.fixture
def source(archive: Path) -> Path:
    return fill(archive / names.cache_directory(URL), CHAIN + OLDER)


def at_target(archive: Path) -> Path:
    return archive / names.cache_directory(TARGET)


# -- finding ---------------------------------------------------------------------------------------------


async def test_the_cache_named_after_the_url_comes_first(archive: Path, source: Path) -> None:
    fill(archive / "0-the-same", CHAIN)
    assert await Cache([archive]).find(KEYS, URL) == source


@pytest.mark.parametrize("url", ["", "file:///media/backup/host/", "gio+file:///media/backup/host"])
async def test_a_cache_under_another_name_is_found_by_content(archive: Path, source: Path, url: str) -> None:
    fill(archive / names.cache_directory(url), OLDER)  # a stale one of the URL itself
    fill(archive / "0-half", FULL)
    assert await Cache([archive.parent / "missing", archive]).find(KEYS, url) == source


async def test_a_cache_by_name_and_one_given_itself(tmp_path: Path) -> None:
    cache = fill(tmp_path / "any" / "my-backup", CHAIN)
    assert await Cache([tmp_path / "any"]).find(KEYS, URL) == cache
    assert await Cache([cache]).find(KEYS, URL) == cache


@pytest.mark.parametrize("files", [[], FULL, [*CHAIN[:3], CHAIN[3] + ".part"], OLDER])
async def test_an_incomplete_cache_is_none(archive: Path, files: list[str]) -> None:
    fill(archive / names.cache_directory(URL), files)
    assert await Cache([archive]).find(KEYS, URL) is None


async def test_links_folders_and_others_files_do_not_count(archive: Path) -> None:
    cache = fill(archive / "x", CHAIN[:3])
    (cache / CHAIN[3]).symlink_to(CHAIN[0])
    assert await Cache([archive]).find(KEYS, URL) is None
    (cache / CHAIN[3]).unlink()
    (cache / CHAIN[3]).mkdir()
    assert await Cache([archive]).find(KEYS, URL) is None
    assert await Cache([archive]).find(frozenset(), URL) is None


@pytest.mark.parametrize("more", [NEWER, NEWER[1:], ["duplicity-full.20260110T000000Z.manifest"]])
async def test_a_cache_that_is_ahead_of_the_drive_is_told(archive: Path, source: Path, more: list[str]) -> None:
    fill(source, more)
    with pytest.raises(NeedsUser, match="not on the drive") as told:
        await Cache([archive]).find(KEYS, URL)
    assert told.value.code == "cache-newer"
    exact = fill(archive / "exact", CHAIN)
    assert await Cache([archive]).find(KEYS, URL) == exact


async def test_another_prefix_in_the_same_cache_is_another_backup(archive: Path) -> None:
    cache = fill(archive / "x", CHAIN + ["other-" + name for name in NEWER])
    assert await Cache([archive]).find(KEYS, URL) == cache


async def test_the_targets_own_cache_serves_where_no_other_is_left(archive: Path) -> None:
    grown = fill(at_target(archive), CHAIN + NEWER)
    assert await Cache([archive], [TARGET]).find(KEYS, URL) == grown
    source = fill(archive / "zzz", CHAIN)
    assert await Cache([archive], [TARGET]).find(KEYS, URL) == source


async def test_manifests_are_read_plain(archive: Path, source: Path) -> None:
    fill(source, [])
    (source / (INC[1] + ".part")).write_bytes(b"unfinished")
    found = await Cache([archive]).manifests(source)
    assert set(found) == {FULL[1], INC[1], OLDER[1]}
    assert found[FULL[1]] == (source / FULL[1]).read_bytes()
    with pytest.raises(NeedsUser):
        await Cache([archive]).manifests(archive / "missing")


def test_the_usual_places() -> None:
    found = usual_archive_dirs({"HOME": "/home/u"})
    assert Path("/home/u/.cache/deja-dup") in found
    assert Path("/home/u/.var/app/org.gnome.DejaDup/cache/deja-dup") in found
    assert usual_archive_dirs({"HOME": "/home/u", "XDG_CACHE_HOME": "/c"})[1] == Path("/c/duplicity")


# -- handing over ----------------------------------------------------------------------------------------


async def test_the_chain_is_installed_whole_private_and_alone(archive: Path, source: Path) -> None:
    before = shown(source)
    old = os.umask(0)
    try:
        installed = await Cache([archive]).hand_over(source, CHAIN, TARGET)
    finally:
        os.umask(old)
    target = at_target(archive)
    assert (installed.directory, installed.url, installed.adopted) == (target, TARGET, False)
    assert {name: content for name, (content, _, _) in shown(target).items()} == {
        name: (source / name).read_bytes() for name in CHAIN
    }
    assert dict(installed.files) == {
        name: (p.stat().st_size, p.stat().st_mtime_ns) for name in CHAIN for p in [target / name]
    }
    assert stat.S_IMODE(target.stat().st_mode) == 0o700
    assert {stat.S_IMODE((target / name).stat().st_mode) for name in CHAIN} == {0o600}
    assert shown(source) == before
    assert sorted(p.name for p in archive.iterdir()) == sorted([source.name, target.name])


async def test_a_second_handover_adopts_the_first_and_an_undo_leaves_it(archive: Path, source: Path) -> None:
    cache = Cache([archive])
    await cache.hand_over(source, CHAIN, TARGET)
    before = shown(at_target(archive))
    again = await cache.hand_over(source, CHAIN, TARGET)
    assert again.adopted
    assert shown(at_target(archive)) == before
    await cache.undo(again)
    assert shown(at_target(archive)) == before


async def test_what_duplicity_fetched_itself_is_the_same(archive: Path, source: Path) -> None:
    """It packs the signatures anew: other bytes, the same content."""
    target = fill(at_target(archive), CHAIN)
    for name in (FULL[0], INC[0]):
        text = gzip.decompress((source / name).read_bytes())
        (target / name).write_bytes(gzip.compress(text, 1, mtime=12345))
        assert (target / name).read_bytes() != (source / name).read_bytes()
    assert (await Cache([archive]).hand_over(source, CHAIN, TARGET)).adopted


async def test_what_duplicity_added_at_the_target_belongs_there(archive: Path, source: Path) -> None:
    target = fill(at_target(archive), CHAIN + NEWER)
    assert (await Cache([archive]).hand_over(source, CHAIN, TARGET)).adopted
    assert (await Cache([archive]).hand_over(target, CHAIN, TARGET)).adopted  # found by its content, it is its own


@pytest.mark.parametrize(
    "other",
    [CHAIN[:3], OLDER, CHAIN + OLDER, ["note.txt"], [*CHAIN, "note.txt"], [*CHAIN, INC[1] + ".part"]],
    ids=str,
)
async def test_another_cache_there_is_refused_and_left(archive: Path, source: Path, other: list[str]) -> None:
    target = fill(at_target(archive), other)
    before = shown(target)
    with pytest.raises(NeedsUser) as refused:
        await Cache([archive]).hand_over(source, CHAIN, TARGET)
    assert refused.value.code == "cache-exists"
    assert str(target) in refused.value.what
    assert shown(target) == before
    assert list(archive.glob(".slowboat-*")) == []


@pytest.mark.parametrize("name", CHAIN)
async def test_one_differing_byte_is_refused(archive: Path, source: Path, name: str) -> None:
    target = fill(at_target(archive), CHAIN)
    content = bytearray((target / name).read_bytes())
    content[-1] ^= 1
    (target / name).write_bytes(content)
    with pytest.raises(NeedsUser, match=name):
        await Cache([archive]).hand_over(source, CHAIN, TARGET)
    assert (target / name).read_bytes() == content


async def test_a_file_or_a_dangling_link_in_the_way(archive: Path, source: Path) -> None:
    at_target(archive).write_text("mine")
    with pytest.raises(NeedsUser):
        await Cache([archive]).hand_over(source, CHAIN, TARGET)
    assert at_target(archive).read_text() == "mine"
    at_target(archive).unlink()
    at_target(archive).symlink_to("nowhere")
    with pytest.raises(NeedsUser):
        await Cache([archive]).hand_over(source, CHAIN, TARGET)
    assert at_target(archive).is_symlink()


@pytest.mark.parametrize("lockfile", [False, True])
async def test_an_empty_cache_left_by_duplicity_gives_way(archive: Path, source: Path, lockfile: bool) -> None:
    at_target(archive).mkdir()
    if lockfile:
        (at_target(archive) / "lockfile").touch()
    installed = await Cache([archive]).hand_over(source, CHAIN, TARGET)
    assert not installed.adopted
    assert set(shown(at_target(archive))) == set(CHAIN)


@pytest.mark.parametrize("wanted", [[], CHAIN + NEWER, ["../x"], [INC[1] + ".part"]], ids=str)
async def test_what_the_source_lacks_is_told(archive: Path, source: Path, wanted: list[str]) -> None:
    (archive / "x").write_text("x")
    (source / (INC[1] + ".part")).write_text("x")
    with pytest.raises(NeedsUser) as refused:
        await Cache([archive]).hand_over(source, wanted, TARGET)
    assert refused.value.code == "no-cache"
    assert not at_target(archive).exists()


async def test_no_secret_of_a_url_is_told(archive: Path, source: Path) -> None:
    url = "swift://user:hunter2@lenny/p"
    fill(archive / names.cache_directory(url), OLDER)
    with pytest.raises(NeedsUser) as refused:
        await Cache([archive]).hand_over(source, CHAIN, url)
    assert "hunter2" not in str(refused.value)
    assert "swift://lenny/p" in str(refused.value)


def test_no_room_is_said_before_anything_is_written(
    archive: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (source / "duplicity-full-signatures.20240101T000000Z.sigtar.gz").open("wb") as sparse:
        sparse.truncate(1 << 42)
    made: list[Path] = []
    monkeypatch.setattr(Path, "mkdir", lambda self, *_, **__: made.append(self))
    with pytest.raises(NeedsUser) as refused:
        installing.hand_over(source, [Path(sparse.name).name], TARGET, threading.Event())
    assert refused.value.code == "no-space"
    assert made == []


@pytest.mark.skipif(os.geteuid() != 0, reason="a full file system of our own needs root to be mounted")
async def test_a_disk_that_fills_up_meanwhile(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "slowboat-test", archive], check=True)
    try:
        source = fill(archive / "x", CHAIN)
        (source / INC[1]).write_bytes(os.urandom(150_000))
        monkeypatch.setattr(installing, "must_have_room", lambda *_: None)
        with pytest.raises(NeedsUser) as refused:
            await Cache([archive]).hand_over(source, CHAIN, TARGET)
        assert refused.value.code == "no-space"
        assert [p.name for p in archive.iterdir()] == ["x"]
    finally:
        subprocess.run(["umount", "-l", archive], check=True)


# -- duplicity's lock ------------------------------------------------------------------------------------

HOLDS = """
import fcntl, os, sys, time
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
print("held", flush=True)
sys.stdin.read()
os.unlink(sys.argv[1])
"""


@pytest.mark.parametrize("which", ["source", "target"])
async def test_nothing_is_done_while_duplicity_runs(archive: Path, source: Path, which: str) -> None:
    at_target(archive).mkdir()
    held = (source if which == "source" else at_target(archive)) / "lockfile"
    duplicity = subprocess.Popen([sys.executable, "-c", HOLDS, held], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert duplicity.stdout is not None
    assert duplicity.stdout.readline() == b"held\n"
    cache = Cache([archive])
    with pytest.raises(Transient) as busy:
        await cache.hand_over(source, CHAIN, TARGET)
    assert busy.value.code == "duplicity-running"
    assert list(at_target(archive).glob("dup*")) == []
    duplicity.communicate()
    installed = await cache.hand_over(source, CHAIN, TARGET)
    assert not installed.adopted
    assert list(archive.glob("*/lockfile")) == []


async def test_an_undo_waits_for_duplicity_too(archive: Path, source: Path) -> None:
    cache = Cache([archive])
    installed = await cache.hand_over(source, CHAIN, TARGET)
    duplicity = subprocess.Popen(
        [sys.executable, "-c", HOLDS, installed.directory / "lockfile"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert duplicity.stdout is not None
    duplicity.stdout.readline()
    with pytest.raises(Transient):
        await cache.undo(installed)
    duplicity.communicate()
    await cache.undo(installed)
    assert not installed.directory.exists()


def test_duplicity_cannot_start_while_we_hold_its_lock(archive: Path, source: Path) -> None:
    """And a lock file that was there before stays."""
    (source / "lockfile").touch()
    told: list[str] = []
    real = installing._copy

    def copying(one: Path, other: Path, stop: threading.Event) -> None:
        tried = subprocess.run(
            [sys.executable, "-c", HOLDS, source / "lockfile"], input="", capture_output=True, text=True, check=False
        )
        told.append(tried.stderr)
        real(one, other, stop)

    installing._copy = copying
    try:
        installing.hand_over(source, FULL, TARGET, threading.Event())
    finally:
        installing._copy = real
    assert len(told) == 2
    assert all("BlockingIOError" in text for text in told)
    assert (source / "lockfile").exists()


REFUSED = """
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
try:
    fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    print("got it")
except BlockingIOError:
    print("refused")
os.unlink(sys.argv[1])
"""


def a_duplicity_comes(cache: Path) -> str:
    """Tries for the lock as duplicity does, which also unlinks the file of one that it was refused."""
    (cache / "lockfile").parent.mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-c", REFUSED, cache / "lockfile"], capture_output=True, text=True, check=False
    ).stdout


def during_the_copy(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    real = installing._copy

    def copying(one: Path, other: Path, stop: threading.Event) -> None:
        happens()
        real(one, other, stop)

    monkeypatch.setattr(installing, "_copy", copying)


@pytest.mark.parametrize("which", ["source", "target"])
def test_a_duplicity_that_was_refused_does_not_open_the_door_for_the_next(
    archive: Path, source: Path, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    before, tried = shown(source), []
    cache = source if which == "source" else at_target(archive)
    during_the_copy(monkeypatch, lambda: tried.append(a_duplicity_comes(cache)))
    installed = installing.hand_over(source, CHAIN, TARGET, threading.Event())
    assert tried == ["refused\n"] * len(CHAIN)
    assert not installed.adopted
    assert set(shown(at_target(archive))) == set(CHAIN)
    assert shown(source) == before


def test_one_that_came_in_between_all_the_same_is_left_alone(
    archive: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two duplicities in one moment: the second finds the door that the first has opened, and works on."""

    def runs_on() -> None:
        (at_target(archive) / "lockfile").unlink(missing_ok=True)
        fill(at_target(archive), [*NEWER, "lockfile"], "duplicity's own")

    real = installing._exchange
    monkeypatch.setattr(installing, "_exchange", lambda one, other: (runs_on(), real(one, other)))
    with pytest.raises(Transient) as busy:
        installing.hand_over(source, CHAIN, TARGET, threading.Event())
    assert busy.value.code == "duplicity-running"
    assert {p.name for p in at_target(archive).iterdir()} == {*NEWER, "lockfile"}
    assert list(archive.glob(".slowboat-*")) == []


def test_a_file_system_that_exchanges_nothing_and_knows_no_links(
    archive: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot(*_: object, **__: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    def no_links(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    before = shown(source)
    monkeypatch.setattr(installing, "_exchange", cannot)
    tried: list[str] = []
    during_the_copy(monkeypatch, lambda: tried or tried.append(a_duplicity_comes(at_target(archive))))
    installed = installing.hand_over(source, CHAIN, TARGET, threading.Event())
    assert set(shown(at_target(archive))) == set(CHAIN)
    installing.undo(installed)
    monkeypatch.setattr(os, "link", no_links)
    tried = ["not tried"]
    installing.hand_over(source, CHAIN, TARGET, threading.Event())
    assert set(shown(at_target(archive))) == set(CHAIN)
    assert shown(source) == before
    assert sorted(p.name for p in archive.iterdir()) == sorted([source.name, at_target(archive).name])


@contextlib.contextmanager
def as_nobody(*owned: Path) -> Iterator[None]:
    """As a user who is not root, and to whom these folders belong."""
    for folder in owned:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, 65534, 65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="files of another user need root")


@NEEDS_ROOT
@pytest.mark.usefixtures("reachable")
@pytest.mark.parametrize("mode", [0o600, 0o644])
@pytest.mark.parametrize("which", ["source", "target"])
def test_a_lock_of_roots_duplicity_counts(archive: Path, source: Path, which: str, mode: int) -> None:
    at_target(archive).mkdir()
    lockfile = (source if which == "source" else at_target(archive)) / "lockfile"
    with as_nobody(archive):
        os.seteuid(0)
        duplicity = subprocess.Popen(
            [sys.executable, "-c", HOLDS, lockfile], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert duplicity.stdout is not None
        assert duplicity.stdout.readline() == b"held\n"
        lockfile.chmod(mode)
        os.seteuid(65534)
        with pytest.raises(Transient) as busy:
            installing.hand_over(source, CHAIN, TARGET, threading.Event())
        assert busy.value.code == "duplicity-running"
        assert mending.in_use(lockfile.parent)
        os.seteuid(0)
        duplicity.kill()
        duplicity.communicate()
        os.seteuid(65534)
        assert lockfile.exists()
        assert not mending.in_use(lockfile.parent)
        if mode == 0o600:  # nobody holds it, and nobody but root could
            with pytest.raises(NeedsUser) as refused:
                installing.hand_over(source, CHAIN, TARGET, threading.Event())
            assert refused.value.code == "cache-lock"
            assert f"\nsudo rm '{lockfile}'" in refused.value.hint
            os.seteuid(0)
            lockfile.unlink()
            os.seteuid(65534)
        installed = installing.hand_over(source, CHAIN, TARGET, threading.Event())
        assert not installed.adopted


@NEEDS_ROOT
@pytest.mark.usefixtures("reachable")
def test_a_lock_that_may_only_be_read_keeps_roots_duplicity_out(
    archive: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source / "lockfile").touch(mode=0o644)
    tried: list[str] = []

    def as_root() -> None:
        os.seteuid(0)
        tried.append(a_duplicity_comes(source))
        (source / "lockfile").touch(mode=0o644)
        os.seteuid(65534)

    during_the_copy(monkeypatch, lambda: tried or as_root())
    with as_nobody(archive):
        os.seteuid(0)
        os.chown(source / "lockfile", 0, 0)
        os.seteuid(65534)
        with pytest.raises(Transient):  # what root's duplicity unlinked, nobody here can put back
            installing.hand_over(source, CHAIN, TARGET, threading.Event())
    assert tried == ["refused\n"]


@NEEDS_ROOT
@pytest.mark.usefixtures("reachable")
def test_a_cache_that_may_only_be_read_is_handed_over(archive: Path, source: Path) -> None:
    with as_nobody(archive):
        os.seteuid(0)
        os.chown(source, 0, 0)
        os.seteuid(65534)
        installed = installing.hand_over(source, CHAIN, TARGET, threading.Event())
    assert not installed.adopted
    assert list(source.glob("lockfile")) == []


def test_one_part_of_us_does_not_end_the_lock_of_another(archive: Path, source: Path) -> None:
    """Closing a file ends the old kind of lock that this process has on it, whoever took it."""
    with locking.locked(source):
        assert mending.in_use(source)
        with pytest.raises(Transient), locking.locked(source):
            pass
        assert a_duplicity_comes(source) == "refused\n"


# -- undo ------------------------------------------------------------------------------------------------


async def test_an_undo_removes_what_was_installed(archive: Path, source: Path) -> None:
    before = shown(source)
    cache = Cache([archive])
    installed = await cache.hand_over(source, CHAIN, TARGET)
    (installed.directory / "lockfile").touch()  # of a duplicity that was killed
    await cache.undo(installed)
    assert [p.name for p in archive.iterdir()] == [source.name]
    assert shown(source) == before
    await cache.undo(installed)  # twice is once
    assert not (await cache.hand_over(source, CHAIN, TARGET)).adopted


@pytest.mark.parametrize("killed", [False, True])
async def test_an_undo_through_a_link(archive: Path, source: Path, tmp_path: Path, killed: bool) -> None:
    """The user has moved the cache to a disk with more room, and a link stands in its place."""
    cache = Cache([archive])
    installed = await cache.hand_over(source, CHAIN, TARGET)
    elsewhere = tmp_path / "large disk"
    elsewhere.mkdir()
    installed.directory.rename(elsewhere / "moved")
    installed.directory.symlink_to(elsewhere / "moved")
    if killed:
        (elsewhere / "moved" / "lockfile").touch()
    await cache.undo(installed)
    assert [p.name for p in archive.iterdir()] == [source.name]
    assert list(elsewhere.iterdir()) == []
    assert not (await cache.hand_over(source, CHAIN, TARGET)).adopted


async def test_what_was_used_behind_a_link_stays(archive: Path, source: Path, tmp_path: Path) -> None:
    cache = Cache([archive])
    installed = await cache.hand_over(source, CHAIN, TARGET)
    installed.directory.rename(tmp_path / "moved")
    installed.directory.symlink_to(tmp_path / "moved")
    fill(tmp_path / "moved", NEWER[:1])
    before = shown(tmp_path / "moved")
    with pytest.raises(NeedsUser):
        await cache.undo(installed)
    assert shown(tmp_path / "moved") == before
    assert installed.directory.is_symlink()


@pytest.mark.parametrize("change", ["added", "removed", "touched", "grown"])
async def test_what_duplicity_has_used_stays(archive: Path, source: Path, change: str) -> None:
    cache = Cache([archive])
    installed = await cache.hand_over(source, CHAIN, TARGET)
    victim = installed.directory / CHAIN[0]
    if change == "added":
        fill(installed.directory, NEWER[:1])
    elif change == "removed":
        victim.unlink()
    elif change == "touched":
        os.utime(victim, ns=(1, 1))
    else:
        victim.write_bytes(victim.read_bytes() + b"x")
    before = shown(installed.directory)
    with pytest.raises(NeedsUser) as refused:
        await cache.undo(installed)
    assert refused.value.code == "cache-used"
    assert shown(installed.directory) == before


# -- broken off ------------------------------------------------------------------------------------------


async def test_a_cancelled_handover_leaves_nothing(archive: Path, source: Path) -> None:
    os.truncate(source / CHAIN[0], 600 << 20)  # sparse; long enough to be caught
    task = asyncio.create_task(Cache([archive]).hand_over(source, CHAIN, TARGET))
    while not list(archive.glob(".slowboat-*/cache/dup*")):
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [p.name for p in archive.iterdir()] == [source.name]
    assert list(source.glob("lockfile")) == []


def test_stopping_is_said(archive: Path, source: Path) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        installing.hand_over(source, CHAIN, TARGET, stop)


def left(archive: Path, name: str = ".slowboat-0123456789abcdef") -> Path:
    """What a killed run leaves."""
    fill(archive / name / "cache", CHAIN)
    (archive / name / workshop.MARK).write_bytes(workshop._TEXT)
    return archive / name


async def test_leftovers_go_but_not_of_one_that_lives(archive: Path, source: Path) -> None:
    left(archive)
    (archive / ".slowboat-00112233445566ff").mkdir()  # killed before it had its mark
    (archive / ".slowboat-0011223344556600").mkdir()  # and while it got it
    (archive / ".slowboat-0011223344556600" / workshop.MARK).touch()
    alive = left(archive, ".slowboat-00000000000000aa")
    (archive / ".slowboat-file").write_text("someone's")
    fd = os.open(alive, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    await Cache([archive]).hand_over(source, CHAIN, TARGET)
    assert {p.name for p in archive.glob(".slow*")} == {alive.name, ".slowboat-file"}
    os.close(fd)


@pytest.mark.parametrize("how", ["no mark", "another mark", "a link", "another form"])
async def test_what_cannot_be_proven_to_be_ours_stays(archive: Path, source: Path, how: str, tmp_path: Path) -> None:
    folder = left(archive if how != "a link" else tmp_path)
    if how == "no mark":
        (folder / workshop.MARK).unlink()
    elif how == "another mark":
        (folder / workshop.MARK).write_text("my own notes")
    elif how == "a link":
        (archive / folder.name).symlink_to(folder)
    else:
        folder = folder.rename(archive / ".slowboat-backup-of-mine")
    before = shown(folder / "cache")
    await Cache([archive]).hand_over(source, CHAIN, TARGET)
    assert shown(folder / "cache") == before
    assert (how == "no mark") != (folder / workshop.MARK).exists()


async def test_what_somebody_put_into_a_leftover_stays(archive: Path, source: Path) -> None:
    folder = left(archive)
    (folder / "cache" / "thesis.odt").write_text("five years")
    (folder / "cache" / "deeper").mkdir()
    await Cache([archive]).hand_over(source, CHAIN, TARGET)
    assert sorted(p.name for p in (folder / "cache").iterdir()) == ["deeper", "thesis.odt"]


KILLED = """
import asyncio, sys
from pathlib import Path
from slowboat.edges.cache import Cache
archive, source, url, *wanted = sys.argv[1:]
async def main():
    cache = Cache([Path(archive)])
    print("go", flush=True)
    while True:
        installed = await cache.hand_over(Path(source), wanted, url)
        assert not installed.adopted
        await cache.undo(installed)
asyncio.run(main())
"""


def test_killed_at_any_moment_the_cache_is_whole_or_not_there(archive: Path, source: Path) -> None:
    (source / FULL[1]).write_bytes(os.urandom(3_000_000))
    before = shown(source)
    target = at_target(archive)
    chance = random.Random(7)
    seen = set()
    for _ in range(25):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, archive, source, TARGET, *CHAIN], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(chance.uniform(0, 0.08))
        process.kill()
        process.wait()
        process.stdout.close()
        assert {n: s for n, s in shown(source).items() if n != "lockfile"} == before
        # Here the process also undoes; while it removes, the cache is hidden first. So: whole, or nothing of it there.
        there = {p.name for p in target.iterdir()} - {"lockfile"} if target.exists() else set()
        assert there in (set(), set(CHAIN))
        assert {n: (target / n).read_bytes() for n in there} == {n: before[n][0] for n in there}
        seen.add((bool(there), any(archive.glob(".slowboat-*"))))
        installed = asyncio.run(Cache([archive]).hand_over(source, CHAIN, TARGET))
        assert {n: (target / n).read_bytes() for n in CHAIN} == {n: before[n][0] for n in CHAIN}
        assert list(archive.glob(".slowboat-*")) == []
        assert shown(source) == before, "nothing is left in the source's cache either"
        assert set(shown(target)) == set(CHAIN)
        if not installed.adopted:
            asyncio.run(Cache([archive]).undo(installed))
        else:
            for path in target.iterdir():
                path.unlink()
            target.rmdir()
    assert (False, True) in seen, "no kill fell into a copy: this test saw nothing"


def test_the_edge_speaks_of_the_disk_in_words() -> None:
    def broken(_: threading.Event) -> None:
        raise PermissionError(13, "Permission denied", "/x")

    with pytest.raises(NeedsUser, match="/x") as refused:
        edge._saying(broken, threading.Event())
    assert refused.value.code == "cache"
