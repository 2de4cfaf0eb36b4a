"""One file on the drive, read forward, and told apart from anything that is not the file as adopted.

Knows how to read without changing anything and how to say what went wrong: the drive is gone (SourceAbsent),
or this file is not what it was or cannot be read (Refused). Never lets an OSError out: an HTTP library would
take it for trouble with the network and send the body again.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Self

from slowboat.core.errors import Refused, SourceAbsent
from slowboat.edges.source import drive

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from slowboat.core.words import SourceFile

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # NONBLOCK: a FIFO in its place must not hang us


class FileReader:
    """Fulfils the engine's `Reader` and is the context manager that `Source.open` gives.

    Nothing is opened before the first `read`, which runs in the thread that sends: a drive that has to spin
    up never holds the event loop. A block is handed out only after the file was seen unchanged behind it.

    Args:
        folder: opens the folder and makes sure that it is on the right drive; its descriptor is ours to close.
        path: the folder's name, for sentences.
        file: the file as adopted.
        offset: where to begin, bytes.
    """

    def __init__(self, folder: Callable[[], int], path: str, file: SourceFile, offset: int) -> None:
        self._open_folder = folder
        self._path = path
        self._file = file
        self._at = offset
        self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if self._fd >= 0:
            with contextlib.suppress(OSError):  # nothing was written, so nothing can be lost by closing
                os.close(self._fd)
            self._fd = -1

    def readinto(self, buffer: memoryview, /) -> int:
        """Reads the next bytes into `buffer`; how many, 0 at the end. Raises SourceAbsent or Refused."""
        try:
            if self._fd < 0:
                self._fd = self._open()
            count = os.readv(self._fd, [buffer[: self._file.size - self._at]])
            self._check(os.fstat(self._fd))
        except OSError as error:
            raise self._trouble(error) from error
        self._at += count
        if not count and len(buffer) and self._at < self._file.size:
            raise self._changed("it ended early")
        return count

    def _open(self) -> int:
        if "/" in self._file.name or self._file.name in {"", ".", ".."}:
            raise Refused(f"{self._file.name!r} is not a file name", code="read-error")
        folder = self._open_folder()
        try:
            fd = _open_quietly(self._file.name, folder)
        finally:
            os.close(folder)
        try:
            self._check(os.fstat(fd))
            os.lseek(fd, self._at, os.SEEK_SET)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _check(self, found: os.stat_result) -> None:
        if not stat.S_ISREG(found.st_mode):
            raise self._changed("it is no longer a regular file")
        if found.st_size != self._file.size:
            raise self._changed(f"it has {found.st_size} bytes instead of {self._file.size}")
        if found.st_mtime_ns != self._file.mtime_ns:
            raise self._changed("it has been written to")

    def _changed(self, how: str) -> Refused:
        return Refused(
            f"{self._file.name} in {self._path} is not the file that slowboat first read: {how}",
            hint="Restore that file as it was; slowboat notices the next time it checks the drive",
            code="changed",
        )

    def _trouble(self, error: OSError) -> Refused | SourceAbsent:
        """Tells the drive's troubles from the file's."""
        if error.errno in drive.GONE or (self._fd >= 0 and drive.unplugged(self._fd)):
            return absent(self._path)
        if error.errno in {errno.ELOOP, errno.EISDIR}:
            link = error.errno == errno.ELOOP
            return self._changed("it is a symbolic link now" if link else "it is no longer a regular file")
        if error.errno in {errno.EACCES, errno.EPERM}:
            return Refused(
                f"{self._file.name} in {self._path} is not readable for you",
                hint=f"Was the backup made with sudo? Make yourself the owner of its files:\n{make_own(self._path)}",
                code="forbidden-file",
            )
        if self._is_empty():
            return absent(self._path)
        if error.errno == errno.ENOENT:
            return self._changed("it is gone")
        why = os.strerror(error.errno or 0)
        return Refused(
            f"{self._file.name} in {self._path} cannot be read at byte {self._at}: {why}",
            hint="Check the drive (smartctl, fsck) and copy what can still be read; slowboat carries on with the "
            "other files",
            code="read-error",
        )

    def _is_empty(self) -> bool:
        """Whether the folder, which held this file, holds nothing: a mount point whose drive has gone.

        Raises:
            SourceAbsent: the folder is gone, or on another drive.
        """
        folder = self._open_folder()
        try:
            with os.scandir(folder) as entries:
                return next(entries, None) is None
        except OSError:
            return True
        finally:
            os.close(folder)


def _open_quietly(name: str, folder: int) -> int:
    """Opens for reading without noting the access time, which only the file's owner may ask for (open(2))."""
    try:
        return os.open(name, _FLAGS | os.O_NOATIME, dir_fd=folder)
    except PermissionError:
        return os.open(name, _FLAGS, dir_fd=folder)


def make_own(path: str) -> str:
    """The command that lets the user read the files of a folder."""
    return f'sudo chown -R "$USER" {shlex.quote(path)}'


def absent(path: str, why: str = "") -> SourceAbsent:
    """The error for a drive that is not there."""
    return SourceAbsent(
        f"The drive of {path} is not there" + (f": {why}" if why else ""),
        hint="Connect it; slowboat continues by itself",
        code="source-absent",
    )


def elsewhere(path: Path, mounted: Path) -> SourceAbsent:
    """The error for a drive that is there, but not at its place: a desktop makes a new one where the old is taken."""
    folder = _moved(path, mounted)
    end = len(folder.parts) - len(mounted.parts)
    old = path.parents[end - 1] if end else path
    return SourceAbsent(
        f"{path} is not there: its drive is now mounted at {mounted}"
        + (f", which makes it {folder}" if folder != mounted else ""),
        hint=f"Set the migration's `source` to {folder}; or unplug the drive, remove the empty folder that took its "
        f"place, and plug it in again:\nsudo rmdir {shlex.quote(str(old))}",
        code="drive-elsewhere",
    )


def _moved(path: Path, mounted: Path) -> Path:
    """The folder on the drive by what is mounted where now: the longest end of its path that is there."""
    parts = path.parts[1:]
    for at in range(1, len(parts)):
        if (mounted / Path(*parts[at:])).is_dir():
            return mounted / Path(*parts[at:])
    return mounted


def other(path: Path, which: str, mounted: Sequence[Path] = ()) -> SourceAbsent:
    """The error for another drive in the place of the one that was adopted; `mounted`: where that one is instead."""
    instead = f"; the one with the backup is mounted at {mounted[0]}" if mounted else ""
    return SourceAbsent(
        f"The drive of {path} is not there: another one is in its place ({which}){instead}",
        hint="Connect the one with the backup; slowboat continues by itself",
        code="other-drive",
    )
