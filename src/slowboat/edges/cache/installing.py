"""A copy of duplicity's cache under the target's name: complete or not there, whatever happens.

Knows in which order that is safe. duplicity's lock on the target's cache is taken first, in a folder that is made for
it where there is none, and held to the end: duplicity may begin its first run to the target at any moment, and a copy
takes minutes. The copy is made in a workshop beside the caches, on the same file system, read back and flushed; with
the same lock inside it changes places with that folder in one step (renameat2(2), RENAME_EXCHANGE). Whatever else is
found in what came out goes back: nothing of anybody's is ever overwritten. Must not know when a handover is due.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import os
from typing import TYPE_CHECKING, BinaryIO

from slowboat.core import names, urls
from slowboat.core.errors import NeedsUser, Stopped, Transient
from slowboat.core.words import Installed
from slowboat.edges.cache.finding import contents, open_to_read
from slowboat.edges.cache.locking import LOCKFILE, RETRY_AFTER, locked
from slowboat.edges.cache.workshop import workshop
from slowboat.edges.libc import UNAVAILABLE, call

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from slowboat.edges.cache.locking import Lock
    from slowboat.edges.cache.workshop import Workshop

BLOCK = 1 << 20
"""Bytes per step of a copy."""

SPARE = 4 << 20
"""Bytes that must stay free beside the copy, for the file system's own books."""


def hand_over(source: Path, wanted: Sequence[str], url: str, stop: threading.Event) -> Installed:
    """Installs the files `wanted` of the cache `source` as the cache for `url`, in the same archive dir.

    Args:
        source: a cache; it is only read.
        wanted: file names in it.
        url: the URL that duplicity will use, as it will be typed.
        stop: set to break off; nothing is installed then.

    Raises:
        NeedsUser: another cache stands there ("cache-exists"), the source's is incomplete ("no-cache"), or there
            is no room ("no-space").
        Transient: duplicity is running.
        Stopped: `stop` was set.
        OSError: the disk.
    """
    target = source.parent / names.cache_directory(url)
    if not os.path.lexists(target) or _is_free(target):
        must_have_room(source, target.parent, wanted)
    with workshop(source.parent) as shop, contextlib.ExitStack() as locks:
        kept = [locks.enter_context(locked(source, shop.lock))]
        must_have(source, wanted)
        if not os.path.lexists(target):
            shop.will_make(target)
            target.mkdir(mode=0o700)
            locks.callback(_remove_if_empty, target)
        if target.is_dir() and not target.samefile(source):
            kept.append(locks.enter_context(locked(target, shop.lock)))
        if not _is_free(target):
            _must_be_same(source, wanted, target, url, stop)
            return _installed(target, wanted, url, adopted=True)
        copy_aside(source, wanted, shop, stop, kept)
        _put_in_place(shop.cache, target, kept[-1])
    return _installed(target, wanted, url, adopted=False)


def undo(installed: Installed) -> None:
    """Removes what was installed, where nobody has touched it since.

    Where its folder was moved elsewhere and a symbolic link stands in its place, the link goes, and what it leads to.

    Raises:
        NeedsUser: something in it changed or was added; it stays (code "cache-used").
        Transient: duplicity is running.
        OSError: the disk.
    """
    directory = installed.directory
    if installed.adopted or not directory.is_dir():
        return
    with workshop(directory.parent) as shop, locked(directory.resolve(), shop.lock) as lock:
        found = {name: state(directory / name) for name in _names_in(directory)}
        changed = sorted(name for name in {*found, *installed.files} if found.get(name) != installed.files.get(name))
        if changed:
            raise NeedsUser(
                f"duplicity has used its cache for {urls.without_user(installed.url)} since the handover "
                f"({changed[0]} in {directory})",
                hint="Leave it: backups have gone to the cloud already. To go back anyway, let duplicity or Deja "
                "Dup back up to the drive again",
                code="cache-used",
            )
        lock.keep()
        if directory.is_symlink():
            _remove_behind(directory, installed.files)
        else:
            directory.rename(shop.cache)  # it is gone in one step; the workshop is emptied at leisure
        flush(directory.parent)


def _remove_behind(link: Path, files: Iterable[str]) -> None:
    """Takes away a link to a cache of ours, then the files; the folder too, where it holds nothing else."""
    directory = link.resolve()
    link.unlink()
    for name in files:
        (directory / name).unlink()
    with contextlib.suppress(FileNotFoundError):
        (directory / LOCKFILE).unlink()  # it is held by us
    _remove_if_empty(directory)


def _remove_if_empty(directory: Path) -> None:
    with contextlib.suppress(OSError):
        directory.rmdir()


def must_have(source: Path, wanted: Sequence[str]) -> None:
    """Raises NeedsUser ("no-cache") where the cache `source` lacks one of the files, or none are wanted."""
    known = contents(source).files
    missing = [name for name in wanted if name not in known]
    if missing or not wanted:
        raise NeedsUser(
            f"duplicity's cache {source} lacks {missing[0] if missing else 'everything'}",
            hint="Run `duplicity list-current-files` once for the folder on the drive: that completes the cache",
            code="no-cache",
        )


def _is_free(target: Path) -> bool:
    """Whether nothing but duplicity's lock file stands in that folder."""
    return target.is_dir() and not target.is_symlink() and not _names_in(target)


def _names_in(directory: Path) -> list[str]:
    with os.scandir(directory) as entries:
        return [entry.name for entry in entries if entry.name != LOCKFILE]


def _must_be_same(source: Path, wanted: Sequence[str], target: Path, url: str, stop: threading.Event) -> None:
    """Makes sure that the cache at `target` is what would have been installed, or what duplicity made of it."""
    there = contents(target).files if target.is_dir() else {}
    end = max(parsed.set_id.end for name, parsed in contents(source).files.items() if name in wanted)
    # What begins where the chain ends was added by duplicity's own backups to the target, and belongs there.
    strange = [
        name
        for name in (_names_in(target) if target.is_dir() else [target.name])
        if name not in wanted and (name not in there or there[name].set_id.start < end)
    ]
    missing = [name for name in wanted if name not in there]
    differs = strange or missing
    if not differs and not source.samefile(target):
        differs = [name for name in wanted if not _same(source / name, target / name, stop)]
    if differs:
        why = "is missing" if differs == missing else "does not belong to this backup" if strange else "differs"
        raise NeedsUser(
            f"duplicity already has another cache for {urls.without_user(url)}: {min(differs)} in {target} {why}",
            hint="If nothing was ever backed up to that URL, move the folder away: "
            f"mv {target} {target}.old; otherwise choose another container or prefix",
            code="cache-exists",
        )


def _same(one: Path, other: Path, stop: threading.Event) -> bool:
    """Whether two files of a cache hold the same: byte by byte, or, of signatures, what is packed in them."""
    if _digest(one, stop) == _digest(other, stop):
        return True
    if not one.name.endswith((".gz", ".z")):
        return False
    try:
        return _digest(one, stop, unpack=True) == _digest(other, stop, unpack=True)
    except (gzip.BadGzipFile, EOFError):
        return False


def _digest(path: Path, stop: threading.Event, *, unpack: bool = False) -> bytes:
    found = hashlib.sha256()
    with os.fdopen(open_to_read(path), "rb") as file:
        reader: BinaryIO | gzip.GzipFile = gzip.GzipFile(fileobj=file) if unpack else file
        while block := reader.read(BLOCK):
            _check(stop)
            found.update(block)
    return found.digest()


def _check(stop: threading.Event) -> None:
    if stop.is_set():
        raise Stopped("the handover was interrupted")


def copy_aside(
    source: Path, wanted: Sequence[str], shop: Workshop, stop: threading.Event, locks: Sequence[Lock]
) -> None:
    """Makes a complete, flushed and checked copy in the workshop, and keeps the locks meanwhile."""
    shop.cache.mkdir(mode=0o700)
    for name in wanted:
        for lock in locks:
            lock.keep()
        _copy(source / name, shop.cache / name, stop)
    flush(shop.cache)


def must_have_room(source: Path, where: Path, wanted: Iterable[str]) -> None:
    """Raises NeedsUser ("no-space") where a copy of those of the files that are there has no room in `where`."""
    room = os.statvfs(where)
    free = room.f_bavail * room.f_frsize
    needed = sum((source / name).lstat().st_size for name in wanted if os.path.lexists(source / name)) + SPARE
    if free < needed:
        raise NeedsUser(
            f"There is no room in {where} for a copy of duplicity's cache: it needs {needed} bytes, and {free} are "
            "free",
            hint=f"Free {needed - free} bytes there",
            code="no-space",
        )


def _copy(source: Path, target: Path, stop: threading.Event) -> None:
    """Copies one file, flushes it, and reads it back."""
    read = hashlib.sha256()
    with os.fdopen(open_to_read(source), "rb") as file:
        before = os.fstat(file.fileno())
        to = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(to, "wb") as copy:
            while block := file.read(BLOCK):
                _check(stop)
                read.update(block)
                copy.write(block)
            copy.flush()
            os.fsync(copy.fileno())
        after = os.fstat(file.fileno())
    same = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    if not same or _digest(target, stop) != read.digest():
        raise Transient(
            f"{source} changed while it was copied"
            if not same
            else f"{target.parent} does not keep what is written there",
            hint="slowboat tries again",
            code="cache-changed",
            retry_after=RETRY_AFTER,
            scope="object",
        )


def _put_in_place(copy: Path, target: Path, lock: Lock) -> None:
    """Lets the copy take the place of the folder that holds nothing but our lock, and makes that last.

    The copy carries the same lock file under the same name: to duplicity the cache is locked before, in between, and
    after.
    """
    lock.keep()
    with contextlib.suppress(OSError):  # a file system without links: the folder is seen without its lock for a moment
        os.link(lock.path, copy / LOCKFILE, follow_symlinks=False)
    try:
        _exchange(copy, target)
    except UNAVAILABLE:
        _replace(copy, target, lock)
    else:
        if _names_in(copy):  # a duplicity that runs without our lock, which only a moment's race can bring about
            _exchange(copy, target)
            raise _appeared(target)
    lock.made = True
    flush(target.parent)


def _exchange(one: Path, other: Path) -> None:
    """Lets two folders change places in one step (renameat2(2)); not every file system can. Raises UNAVAILABLE."""
    here, exchange = -100, 2  # AT_FDCWD of fcntl.h, RENAME_EXCHANGE of linux/fs.h
    call("renameat2", here, os.fsencode(one), here, os.fsencode(other), exchange)


def _replace(copy: Path, target: Path, lock: Lock) -> None:
    """The same in two steps: rename(2) wants the place empty, and fails where it is not."""
    if lock.fd >= 0:
        lock.keep()
        lock.path.unlink()
    try:
        copy.rename(target)
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
            raise
        raise _appeared(target) from error


def _appeared(target: Path) -> Transient:
    return Transient(
        f"{target} appeared while the cache was copied: duplicity is running",
        hint="slowboat waits until that run has finished",
        code="duplicity-running",
        retry_after=RETRY_AFTER,
        scope="object",
    )


def flush(directory: Path) -> None:
    """Makes the names in a folder last."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _installed(target: Path, wanted: Iterable[str], url: str, *, adopted: bool) -> Installed:
    return Installed(target, url, {name: state(target / name) for name in wanted}, adopted=adopted)


def state(path: Path) -> tuple[int, int]:
    """What tells whether a file was changed: its size, and its mtime in nanoseconds."""
    found = path.lstat()
    return found.st_size, found.st_mtime_ns
