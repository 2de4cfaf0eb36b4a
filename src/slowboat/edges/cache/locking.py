"""duplicity's own lock on a cache, so that it cannot run while a cache is copied, installed or removed.

duplicity takes `<cache>/lockfile` with fcntl.lockf (fasteners.InterProcessLock,
https://gitlab.com/duplicity/duplicity/-/blob/main/duplicity/util.py, acquire_lockfile), never waits for it, and
unlinks the file when it ends: also one that it was refused, and that another holds. So a lock counts only while its
file still has its name, and who holds one for long looks after that (`Lock.keep`).

Ours are locks of the open file (F_OFD_SETLK, fcntl(2)): duplicity's conflict with them as with its own, and they do not
end when another part of this process closes the same file.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slowboat.core.errors import NeedsUser, Transient

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

LOCKFILE = "lockfile"
"""duplicity's name for it, in every version since 0.8."""

RETRY_AFTER = 30.0
"""Seconds until a lock is tried again: most of duplicity's runs take minutes."""

LOCKS = Path("/proc/locks")
"""Every lock on this machine (proc_locks(5)); also those on files that we may not open."""

_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM})
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS, errno.EXDEV})


@dataclass(slots=True)
class Lock:
    """duplicity's lock on one cache, held by us.

    Attributes:
        path: the lock file.
        fd: the open file that holds the lock; -1 where none can be held and none needs to be.
        made: whether the file is ours to remove: there was none before, or it stands in a folder that we installed.
        second: another name of a file that we made, in our workshop; None where it has none.
    """

    path: Path
    fd: int = -1
    made: bool = False
    second: Path | None = None

    def keep(self) -> None:
        """Sees to it that the lock still has its name, which a duplicity that it refused takes away.

        Raises:
            Transient: another duplicity has a lock of its own there now.
        """
        if self.fd < 0 or _is(self.path, self.fd):
            return
        if self.second is None:
            raise _running(self.path)
        try:
            os.link(self.second, self.path, follow_symlinks=False)
        except FileExistsError:
            raise _running(self.path) from None

    def let_go(self) -> None:
        """Ends the lock; a file of ours loses its name while it is still held, so that nobody can have taken it."""
        if self.fd < 0:
            return
        with contextlib.suppress(OSError):
            if self.made and _is(self.path, self.fd):
                self.path.unlink()
        os.close(self.fd)
        self.fd = -1


@contextlib.contextmanager
def locked(directory: Path, second_name: Callable[[], Path] | None = None) -> Generator[Lock]:
    """Holds duplicity's lock on a cache; a lock file that was not there before is gone afterwards.

    With a `second_name`, which is a new one in a workshop at each call, it is gone also after a kill, as soon as
    somebody removes leftovers there. Where there is no lock file, and none may be made by us, nothing is held: nobody's
    duplicity is running there, and ours could not.

    Raises:
        Transient: duplicity is running on that cache (code "duplicity-running").
        NeedsUser: there is a lock file that we may not open, and nobody holds it (code "cache-lock").
    """
    lock = _take(directory / LOCKFILE, second_name)
    try:
        yield lock
    finally:
        lock.let_go()


def _take(path: Path, second_name: Callable[[], Path] | None) -> Lock:
    while True:
        lock = _made(path, second_name) or _opened(path)
        if lock is None:
            continue  # duplicity ended and unlinked it between our two looks
        if lock.fd < 0 or _is(path, lock.fd):
            return lock
        os.close(lock.fd)  # likewise, between our open and our lock


def _made(path: Path, second_name: Callable[[], Path] | None) -> Lock | None:
    """A lock file of our own making, locked before it has its name; None where one stands there already."""
    second = None if second_name is None else second_name()
    try:
        fd = _locked(second or path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    except FileExistsError:
        return None
    except OSError as error:
        return _unmade(path, error)
    if second is None:
        return Lock(path, fd, made=True)
    try:
        os.link(second, path, follow_symlinks=False)
    except OSError as error:
        os.close(fd)
        second.unlink()
        return _made(path, None) if error.errno in _NO_LINKS else _unmade(path, error)
    return Lock(path, fd, made=True, second=second)


def _unmade(path: Path, error: OSError) -> Lock | None:
    """What it means that we may make no lock file: one stands there, or ours is not the duplicity that could run."""
    if error.errno == errno.EEXIST:
        return None
    if error.errno != errno.EROFS and error.errno not in _FORBIDDEN:
        raise error
    return None if os.path.lexists(path) else Lock(path)


def _opened(path: Path) -> Lock | None:
    """The lock file that stands there, locked: for writing, or where it may only be read, for reading.

    The one keeps duplicity out as the other does.
    """
    for flags in (os.O_RDWR, os.O_RDONLY):
        try:
            return Lock(path, _locked(path, flags))
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.EROFS:
                continue
            if error.errno not in _FORBIDDEN:
                raise
    # Another user's, most likely root's, whose duplicity runs where ours may not; a lock that is held is seen all the
    # same.
    if is_locked(path):
        raise _running(path)
    if not os.path.lexists(path):
        return None
    raise NeedsUser(
        f"duplicity's lock file {path} cannot be opened by you, so nothing would keep another duplicity out",
        hint=f"Was duplicity run with sudo? If it is not running now, remove that file:\nsudo rm '{path}'",
        code="cache-lock",
    )


def _locked(path: Path, flags: int) -> int:
    """Opens and locks a lock file.

    Raises:
        Transient: somebody else holds it.
        OSError: it cannot be opened so.
    """
    fd = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        _set_lock(fd, fcntl.F_RDLCK if flags == os.O_RDONLY else fcntl.F_WRLCK)
    except OSError as error:
        os.close(fd)
        if error.errno in {errno.EACCES, errno.EAGAIN}:
            raise _running(path) from None
        raise
    return fd


def _set_lock(fd: int, kind: int) -> None:
    whole_file = struct.pack("hhqqi0q", kind, os.SEEK_SET, 0, 0, 0)  # struct flock, fcntl(2)
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, whole_file)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        shared = kind == fcntl.F_RDLCK  # a kernel, or what stands in for one, that has only the old ones
        fcntl.lockf(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


def is_locked(path: Path) -> bool:
    """Whether somebody holds a lock on that file, as the kernel's own list has it; nothing is opened."""
    try:
        found = path.lstat()
        lines = LOCKS.read_text().splitlines()
    except OSError:
        return False
    for line in lines:
        # the sixth field is device and inode; "->" before it stands for one that waits, and holds nothing
        place = line.split()[5:6] if "->" not in line else []
        if place and _is_at(place[0], found):
            return True
    return False


def _is_at(place: str, found: os.stat_result) -> bool:
    major, minor, inode = place.split(":")
    known = os.makedev(int(major, 16), int(minor, 16)) == found.st_dev
    return int(inode) == found.st_ino and (known or os.major(found.st_dev) == 0)  # btrfs shows a made-up device


def _running(path: Path) -> Transient:
    return Transient(
        f"duplicity is running on its cache {path.parent}",
        hint="slowboat waits until that backup has finished",
        code="duplicity-running",
        retry_after=RETRY_AFTER,
        scope="object",
    )


def _is(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(fd))
    except FileNotFoundError:
        return False
