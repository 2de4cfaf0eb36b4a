"""The source: a folder on a drive, listed and hashed off the event loop.

Knows that drives hang, go away and come back, and that another one may stand in their place. Must not know
duplicity's file names.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import hashlib
import os
import stat
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from slowboat.core.errors import NeedsUser, SourceAbsent
from slowboat.core.words import Digests, OutOfReach, SourceFile
from slowboat.edges.source import drive
from slowboat.edges.source.reader import FileReader, absent, elsewhere, other
from slowboat.edges.source.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

BLOCK = 1 << 18
"""Bytes per read while hashing: large enough for a disk, small enough for the processor's cache, and to stop soon."""

PATIENCE = 90.0
"""Seconds without a single answer from the drive until it counts as absent. A sleeping disk takes up to 30 s
to spin up; Linux gives a disk's command 30 s, then resets it and tries again (drivers/scsi/sd.h, SD_TIMEOUT)."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

T = TypeVar("T")


class Source:
    """Fulfils the engine's `Source` port for the folder `path`; see there for each method's meaning.

    Args:
        path: the folder.
        expected: the drive's `identity()` as remembered at adoption; None or "" where it is not known yet.
            With it, another drive (or the empty mount point) at the same path is SourceAbsent.
        by_uuid: where the file systems' UUIDs are named.
        patience: seconds without an answer until the drive counts as absent.
    """

    def __init__(
        self,
        path: Path,
        *,
        expected: str | None = None,
        by_uuid: Path = drive.BY_UUID,
        patience: float = PATIENCE,
    ) -> None:
        self.path = path
        self.expected = expected or ""
        self._by_uuid = by_uuid
        self._patience = patience
        self._workers = Workers(f"source {path}")
        self._mounts = drive.Mounts()
        self._seen: tuple[str, int] | None = None  # the drive that was found, and the device that it is
        self._seeing = threading.Lock()

    async def identity(self) -> str:
        """What tells this drive from another (`drive.identities`), "" if nothing does. Raises as `listing`."""
        return await self._aside(lambda _: self._identity())

    async def listing(self, *, any_drive: bool = False) -> Sequence[SourceFile]:
        """All regular files of the folder; symlinks, folders, pipes and sockets are passed over."""
        expected = "" if any_drive else self.expected
        return await self._aside(lambda task: self._list(task, expected))

    async def out_of_reach(self) -> OutOfReach:
        """Symbolic links, and regular files that may not be read by us."""
        return await self._aside(self._find_out_of_reach)

    def open(self, file: SourceFile, offset: int = 0) -> FileReader:
        """A reader from `offset`. The drive is first touched, and errors rise, at the first `read`."""
        return FileReader(self._open_expected, str(self.path), file, offset)

    async def digest(
        self,
        file: SourceFile,
        offset: int = 0,
        length: int | None = None,
        feed: Callable[[bytes], None] | None = None,
        *,
        sha1: bool = True,
    ) -> Digests:
        """Hashes `length` bytes from `offset`, in a thread; `feed` is called there too, block by block.

        All blocks are read into one buffer, so that a large file costs no memory; `feed` gets its own bytes. A
        cancelled reading ends at its next block; `feed` may still be called once.
        """
        left = file.size - offset if length is None else length

        def reading(task: _Task) -> Digests:
            hashes = [hashlib.md5(usedforsecurity=False)]
            if sha1:
                hashes.append(hashlib.sha1(usedforsecurity=False))
            done, buffer = 0, memoryview(bytearray(min(BLOCK, left)))
            with self.open(file, offset) as reader:
                while done < left and (count := reader.readinto(buffer[: left - done])):
                    task.sign_of_life()
                    block = buffer[:count]
                    for each in hashes:
                        each.update(block)
                    done += count
                    if feed is not None:
                        feed(bytes(block))
                if done == left == 0:
                    reader.readinto(buffer)  # an empty file must be there, too
            return Digests(hashes[0].hexdigest(), hashes[1].hexdigest() if sha1 else "", done)

        return await self._aside(reading)

    def _open_expected(self) -> int:
        return self._open(self.expected)

    def _open(self, expected: str) -> int:
        """Opens the folder and makes sure that it is on the expected drive ("": on any).

        Raises:
            SourceAbsent: it is not there, or on another drive.
            NeedsUser: it cannot be opened.
        """
        try:
            fd = os.open(self.path, _FOLDER)
        except OSError as error:
            raise self._unopened(error) from error
        try:
            if expected:
                self._expect(expected, fd)
        except OSError as error:
            os.close(fd)
            raise self._absent() from error
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _expect(self, expected: str, fd: int) -> None:
        """Raises SourceAbsent where another drive stands there.

        Who it is takes a dozen files to read. As long as the kernel says that nothing was mounted or unmounted since,
        the same device is the same drive.
        """
        with self._seeing:
            if self._mounts.changed():
                self._seen = None
            now = (expected, os.fstat(fd).st_dev)
            if self._seen == now:
                return
            self._identify(expected, fd)
            self._seen = now

    def _identify(self, expected: str, fd: int) -> None:
        found = drive.identities(fd, self._by_uuid)
        if expected in found:
            return
        with os.scandir(fd) as entries:
            if next(entries, None) is None:
                raise self._absent()  # the mount point alone
        which = f"{found[0] if found else 'something unknown'}, not {expected}"
        raise other(self.path, which, drive.mounted_at(expected, self._by_uuid))

    def _unopened(self, error: OSError) -> NeedsUser | SourceAbsent:
        if error.errno == errno.ENOTDIR and self.path.exists():
            return NeedsUser(
                f"The source {self.path} is not a folder",
                hint="Set the migration's `source` to the folder that holds the duplicity-*.gpg files",
                code="source",
            )
        if error.errno in {errno.EACCES, errno.EPERM}:
            return NeedsUser(
                f"You are not allowed to read the source {self.path}",
                hint=f"Allow yourself to read it: chmod u+rx {self.path}",
                code="source-unreadable",
            )
        return self._absent("" if error.errno == errno.ENOENT else os.strerror(error.errno or 0))

    def _identity(self) -> str:
        fd = self._open(self.expected)
        try:
            return next(iter(drive.identities(fd, self._by_uuid)), "")
        except OSError as error:
            raise absent(str(self.path)) from error
        finally:
            os.close(fd)

    def _list(self, task: _Task, expected: str) -> Sequence[SourceFile]:
        fd = self._open(expected)
        try:
            found = [file for entry in _alive(fd, task) if (file := _regular(entry)) is not None]
            gone = drive.unplugged(fd)
        except OSError as error:
            raise self._absent(os.strerror(error.errno or 0)) from error
        finally:
            os.close(fd)
        if gone:
            raise self._absent()
        return found

    def _find_out_of_reach(self, task: _Task) -> OutOfReach:
        links: list[str] = []
        forbidden: list[str] = []
        fd = self._open(self.expected)
        try:
            for entry in _alive(fd, task):
                if entry.is_symlink():
                    links.append(entry.name)
                elif entry.is_file(follow_symlinks=False) and not _may_read(entry.name, fd):
                    forbidden.append(entry.name)
        except OSError as error:
            raise self._absent(os.strerror(error.errno or 0)) from error
        finally:
            os.close(fd)
        return OutOfReach(tuple(links), tuple(forbidden))

    def _absent(self, why: str = "") -> SourceAbsent:
        """The error for a drive that is not there, with the place where it is instead."""
        places = drive.mounted_at(self.expected, self._by_uuid) if self.expected else ()
        # Where its file system is mounted at its place, or above, the folder is gone and not the drive.
        places = tuple(place for place in places if not self.path.is_relative_to(place))
        return elsewhere(self.path, places[0]) if places else absent(str(self.path), why)

    async def _aside(self, work: Callable[[_Task], T]) -> T:
        """Runs `work` in a thread and waits for it as long as it shows signs of life."""
        task = _Task()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        self._workers.run(functools.partial(_run, work, task, loop, answer))
        watch = _Watch(task, answer, self._patience, functools.partial(absent, str(self.path)))
        try:
            return await answer
        finally:
            watch.stop()
            task.stop()
            answer.cancel()  # where it came, this does nothing


class _Watch:
    """Ends the waiting for an answer where a thread has shown no sign of life for as long as `patience`, in seconds."""

    def __init__(
        self, task: _Task, answer: asyncio.Future[Any], patience: float, error: Callable[[str], SourceAbsent]
    ) -> None:
        self._task = task
        self._answer = answer
        self._patience = patience
        self._error = error
        self._seen = task.signs
        self._timer = asyncio.get_running_loop().call_later(patience, self._again)

    def _again(self) -> None:
        if self._answer.done():
            return
        if self._task.signs == self._seen:
            self._answer.set_exception(self._error(f"it has not answered for {self._patience:.0f} seconds"))
            return
        self._seen = self._task.signs
        self._timer = asyncio.get_running_loop().call_later(self._patience, self._again)

    def stop(self) -> None:
        """There is nothing to wait for any more."""
        self._timer.cancel()


class _Abandoned(BaseException):
    """Ends a thread whose answer nobody waits for; never seen outside it."""


class _Task:
    """What a thread and the one who waits for it share."""

    def __init__(self) -> None:
        self.signs = 0
        self._stopped = threading.Event()

    def sign_of_life(self) -> None:
        """Tells, from the thread, that the drive answered; ends the thread where nobody waits any more."""
        self.signs += 1
        if self._stopped.is_set():
            raise _Abandoned

    def stop(self) -> None:
        self._stopped.set()


def _run(
    work: Callable[[_Task], T], task: _Task, loop: asyncio.AbstractEventLoop, answer: asyncio.Future[T]
) -> Callable[[], None]:
    """In the thread: what hands the result or the error back to the loop, if that still runs."""
    try:
        result = work(task)
    except _Abandoned:
        return lambda: None
    except BaseException as error:  # noqa: BLE001 (it is not swallowed: the one who waits gets it)
        return functools.partial(_tell, loop, answer, functools.partial(answer.set_exception, error))
    return functools.partial(_tell, loop, answer, functools.partial(answer.set_result, result))


def _tell(loop: asyncio.AbstractEventLoop, answer: asyncio.Future[T], tell: Callable[[], None]) -> None:
    def unless_cancelled() -> None:
        if not answer.done():
            tell()

    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
        loop.call_soon_threadsafe(unless_cancelled)


def _alive(fd: int, task: _Task) -> Iterator[os.DirEntry[str]]:
    """The folder's entries, each a sign of life."""
    with os.scandir(fd) as entries:
        for entry in entries:
            task.sign_of_life()
            yield entry


def _regular(entry: os.DirEntry[str]) -> SourceFile | None:
    """The entry as a file, or None for anything else and for what vanished meanwhile."""
    try:
        if not entry.is_file(follow_symlinks=False):
            return None
        found = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    return SourceFile(entry.name, found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None


def _may_read(name: str, folder: int) -> bool:
    return os.access(name, os.R_OK, dir_fd=folder, effective_ids=True)
