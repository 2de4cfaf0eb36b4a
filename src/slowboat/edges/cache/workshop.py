"""The hidden folder beside duplicity's caches in which a cache is put together and taken apart.

Knows how a later run tells one that was left by a kill from anything of anybody else's: by the exact form of its name,
its owner, its mark, and that nobody holds it; and what such a run may have left outside: lock files, which have a
second name in here, and a folder that was to hold the cache. Must not know what is installed, nor when.

duplicity's caches have no names that begin with a dot, and duplicity looks into no folder but its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slowboat.core import names
from slowboat.core.errors import SlowboatError
from slowboat.edges.cache.finding import OURS
from slowboat.edges.cache.locking import LOCKFILE, locked

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

MARK = "made-by-slowboat"
"""The file in it that says whose it is."""

_TEXT = b"slowboat hands a cache over, or takes one back. Whatever is in here, it has made, and will remove.\n"
_FORM = re.compile(re.escape(OURS) + "[0-9a-f]{16}")
_LOCK, _PLACE = "lock-", "place-"


@dataclass(frozen=True, slots=True)
class Workshop:
    """A hidden folder of ours, in use."""

    folder: Path

    @property
    def cache(self) -> Path:
        """The cache that is put together, or taken apart."""
        return self.folder / "cache"

    def lock(self) -> Path:
        """A name for a lock file that is to get its place from here."""
        return self.folder / f"{_LOCK}{secrets.token_hex(4)}"

    def will_make(self, cache: Path) -> None:
        """Writes down that a folder beside this one is going to be ours, before it is made."""
        (self.folder / f"{_PLACE}{cache.name}").touch(mode=0o600)


@contextlib.contextmanager
def workshop(archive_dir: Path) -> Generator[Workshop]:
    """A folder to work in, and nothing of it afterwards; what killed runs have left there goes first."""
    _remove_leftovers(archive_dir)
    folder = archive_dir / f"{OURS}{secrets.token_hex(8)}"
    folder.mkdir(mode=0o700)
    ours = _opened(folder)
    try:
        fcntl.flock(ours, fcntl.LOCK_EX)  # tells another slowboat that this is no leftover
        (folder / MARK).write_bytes(_TEXT)
        yield Workshop(folder)
    finally:
        _clear(folder)
        os.close(ours)


def _remove_leftovers(archive_dir: Path) -> None:
    """Removes what runs that were killed left; what a run that lives uses is locked, and what has no mark stays."""
    for folder in sorted(archive_dir.glob(f"{OURS}*")):
        if not _FORM.fullmatch(folder.name):
            continue
        try:
            fd = _opened(folder)
        except OSError:
            continue  # no folder, or another user's
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(fd).st_uid == os.geteuid() and _is_marked(folder):
                _clear_outside(folder)
                _clear(folder)
        except BlockingIOError:
            continue
        finally:
            os.close(fd)


def _opened(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


def _is_marked(folder: Path) -> bool:
    """Whether it has our mark, be it half written; one that is empty needs none: a kill came before it, or after it."""
    mark = folder / MARK
    if not any(folder.iterdir()):
        return True
    return mark.is_file() and not mark.is_symlink() and _TEXT.startswith(mark.read_bytes())


def _clear_outside(folder: Path) -> None:
    """Takes away the lock files that a killed run made, and its folder where that holds nothing else."""
    locks = [path.lstat() for path in folder.glob(f"{_LOCK}*")]
    for cache in folder.parent.iterdir():
        with contextlib.suppress(OSError, SlowboatError):  # duplicity runs there: it takes the file away itself
            path = cache / LOCKFILE
            found = path.lstat()
            if any(os.path.samestat(found, lock) for lock in locks):
                with locked(cache) as lock:
                    lock.made = True
    for place in folder.glob(f"{_PLACE}*"):
        with contextlib.suppress(OSError):  # it holds something
            (folder.parent / place.name.removeprefix(_PLACE)).rmdir()


def _clear(folder: Path) -> None:
    """Removes what a workshop holds by the names that we give, the mark last; what somebody else put there stays."""
    with contextlib.suppress(OSError):
        with os.scandir(folder / "cache") as entries:
            ours = [entry.name for entry in entries if entry.is_file(follow_symlinks=False) and _of_a_cache(entry.name)]
        for name in ours:
            (folder / "cache" / name).unlink()
        (folder / "cache").rmdir()
    with contextlib.suppress(OSError):
        for path in [*folder.glob(f"{_LOCK}*"), *folder.glob(f"{_PLACE}*")]:
            path.unlink()
        if {path.name for path in folder.iterdir()} <= {MARK}:
            (folder / MARK).unlink(missing_ok=True)
            folder.rmdir()


def _of_a_cache(name: str) -> bool:
    parsed = names.parse(name)
    return name == LOCKFILE or (parsed is not None and parsed.role is not None and parsed.role.is_metadata)
