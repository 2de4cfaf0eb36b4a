"""duplicity's own lock on a cache, so that it cannot run while a cache is copied, installed or removed.

duplicity takes `<cache>/lockfile` with fcntl.lockf (fasteners.InterProcessLock,
https://gitlab.com/duplicity/duplicity/-/blob/main/duplicity/util.py, acquire_lockfile), never waits for it, and
unlinks the file when it ends. So a lock counts only while its file still has its name.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from typing import TYPE_CHECKING

from slowboat.core.errors import Transient

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

LOCKFILE = "lockfile"
"""duplicity's name for it, in every version since 0.8."""

RETRY_AFTER = 30.0
"""Seconds until a lock is tried again: most of duplicity's runs take minutes."""

_CANNOT = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


@contextlib.contextmanager
def held(directory: Path) -> Generator[None]:
    """Holds duplicity's lock on a cache; a lock file that was not there before is gone afterwards.

    Where the lock file cannot be written, duplicity cannot run on that cache either, and nothing is held.

    Raises:
        Transient: duplicity is running on that cache (code "duplicity-running").
    """
    path = directory / LOCKFILE
    made, fd = _take(path)
    try:
        yield
    finally:
        if fd >= 0:
            with contextlib.suppress(OSError):
                if made and _is(path, fd):
                    path.unlink()  # while it is still held: nobody can have taken it in between
            os.close(fd)


def _take(path: Path) -> tuple[bool, int]:
    """Locks the file at `path`, making it where it is missing: (whether it was made, its descriptor or -1)."""
    while True:
        made = not path.exists()
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            if error.errno in _CANNOT:
                return False, -1
            raise
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(fd)
            if error.errno not in {errno.EACCES, errno.EAGAIN}:
                raise
            raise Transient(
                f"duplicity is running on its cache {path.parent}",
                hint="slowboat waits until that backup is over",
                code="duplicity-running",
                retry_after=RETRY_AFTER,
                scope="object",
            ) from None
        if _is(path, fd):
            return made, fd
        os.close(fd)  # duplicity ended and unlinked it between our open and our lock


def _is(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(fd))
    except FileNotFoundError:
        return False
