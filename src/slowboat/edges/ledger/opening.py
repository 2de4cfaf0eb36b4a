"""Getting hold of the ledger's file: alone, private, whole, and of our schema; and saying what stands in the way.

Knows which trouble passes by itself, which needs the user, and when a file is no ledger of ours any more. The ledger
only saves work: what it forgets is found again by asking the server and the drive. So such a file is set aside and an
empty one begun. Must not know what stands in the ledger.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import math
import os
import sqlite3
import time
from typing import TYPE_CHECKING

from slowboat.core.errors import LedgerBusy, LedgerUnusable, NeedsUser
from slowboat.edges.ledger.rows import text_of
from slowboat.edges.ledger.schema import APPLICATION_ID, differences, must_not_be_newer, upgrade

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

HISTORY_LINES = 20_000
"""So many lines of the history are kept; older ones go when the ledger is opened. About 2 MB."""

RETRY_AFTER = 60.0
"""Seconds until a full disk is tried again: long enough not to spin, short enough to follow a clean-up."""

ROOM = 1 << 18
"""Bytes that must be free where a ledger is opened: closing one frees its journal, which the next begins to fill again,
so that with less than this it would be opened and closed in turn on a full disk."""

PATIENCE = 5.0
"""Seconds for which a call waits while another program holds the file: a backup of it, somebody's look at it."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_LOCKED = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})


def lock(path: Path) -> int:
    """Takes `<ledger>.lock` by flock, which no other open and close in this process can drop."""
    lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise NeedsUser(
            f"Another slowboat is running with the ledger {path}",
            hint="Stop that one first, or let it do the work. To see what it is doing: slowboat status",
            code="already-running",
        ) from None
    return lock


def connect(path: Path, patience: float = PATIENCE) -> sqlite3.Connection:
    """Opens and checks the file, makes it where there is none, and brings its schema up to date."""
    if _free(path) < ROOM:
        raise _no_room(path)
    if not os.path.lexists(path):
        _make(path)
    db = _opened(path, patience)
    try:
        _check(db, path)  # before anything is written: a file that is not ours stays as it is
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        upgrade(db, path=path)
        db.execute(
            "DELETE FROM history WHERE id <= (SELECT max(id) FROM history) - ?",
            (HISTORY_LINES,),
        )
    except BaseException:
        db.close()
        raise
    return db


def _opened(path: Path, patience: float) -> sqlite3.Connection:
    # Made here and not by SQLite, so that it is private from its first moment; -wal and -shm get its mode.
    made = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.fchmod(made, 0o600)
    finally:
        os.close(made)
    db = sqlite3.connect(path, timeout=patience, isolation_level=None)
    db.text_factory = text_of
    return db


def _make(path: Path) -> None:
    """Makes an empty ledger, whole when it gets its name: one of no bytes is then the work of no kill of ours."""
    fresh = path.with_name(path.name + ".new")
    for suffix in ("", "-journal", "-wal", "-shm"):
        fresh.with_name(fresh.name + suffix).unlink(missing_ok=True)  # of a run that was killed; we hold the lock
    db = _opened(fresh, PATIENCE)
    try:
        upgrade(db, path=path)
    finally:
        db.close()
    fresh.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _check(db: sqlite3.Connection, path: Path) -> None:
    """Raises sqlite3.DatabaseError where the file is damaged or not a ledger of ours.

    Raises:
        NeedsUser: a newer slowboat wrote it.
    """
    if path.stat().st_size == 0:
        raise _Broken("it is empty")
    found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise _Broken(found)
    (owner,) = db.execute("PRAGMA application_id").fetchone()
    if owner != APPLICATION_ID:
        raise _Broken("not a ledger of slowboat")
    must_not_be_newer(db, path)
    if different := differences(db):
        raise _Broken(different)
    if mistyped := _mistyped(db):
        raise _Broken(mistyped)


def _mistyped(db: sqlite3.Connection) -> str:
    """Which table holds a value of another type than its column's, as a flipped bit makes it; "" where none does.

    quick_check and the columns' own checks pass those over: to SQLite, "7" >= 0 is true.
    """
    tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT GLOB 'sqlite_*'"  # SQLite's own
    for (table,) in db.execute(tables).fetchall():
        columns = db.execute("SELECT name, lower(type) FROM pragma_table_info(?)", (table,)).fetchall()
        odd = " OR ".join(f"typeof({name}) <> '{kind}'" for name, kind in columns)
        if db.execute(f"SELECT 1 FROM {table} WHERE {odd} LIMIT 1").fetchone():  # noqa: S608 (the schema's own names)
            return f"{table} holds a value of another type"
    return ""


class _Broken(sqlite3.DatabaseError):
    """The file can be read but is not a whole ledger."""


def is_broken(error: sqlite3.DatabaseError) -> bool:
    """Whether the file itself is damaged or not ours, and not the disk or our own doing."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte is the primary code
    return isinstance(error, _Broken) or code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def set_aside(path: Path, now: float) -> Path:
    """Moves a broken ledger and its journal to a name that is not taken."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    broken = path.with_name(f"{path.name}.broken-{stamp}")
    count = 1
    while broken.exists():
        count += 1
        broken = path.with_name(f"{path.name}.broken-{stamp}.{count}")
    for suffix in ("-wal", "-shm", ""):  # the file itself last: until then a kill leaves it to be found again
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(broken.with_name(broken.name + suffix))
    return broken


@contextlib.contextmanager
def saying(path: Path) -> Generator[None]:
    """Turns what SQLite and the file system raise into errors that say what to do."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise _trouble(path, error, getattr(error, "sqlite_errorcode", 0) & 0xFF) from error
    except sqlite3.DatabaseError as error:
        if is_broken(error):
            raise LedgerUnusable(
                f"The ledger {path} is damaged: {error}",
                hint="slowboat moves the file aside and asks the server what it has",
                code="ledger",
            ) from error
        raise  # IntegrityError and ProgrammingError are our own mistakes, and are not dressed up
    except OSError as error:
        if error.errno in _FULL:
            raise _no_room(path) from error
        raise _unusable(path, error) from error


def _trouble(path: Path, error: sqlite3.OperationalError, code: int) -> LedgerBusy | LedgerUnusable:
    if code == sqlite3.SQLITE_FULL or _free(path) == 0:
        return _no_room(path)  # where a file beside the ledger has no room, SQLite says no more than "I/O error"
    if code in _LOCKED:
        return LedgerBusy(
            f"Another program holds the ledger {path}",
            hint="Close the program that reads or copies that file",
            code="ledger-busy",
            retry_after=PATIENCE,
        )
    return _unusable(path, error)


def _free(path: Path) -> float:
    """Bytes that are free beside the ledger; infinity where the file system does not say."""
    try:
        room = os.statvfs(path.parent)
    except OSError:
        return math.inf
    return room.f_bavail * room.f_frsize if room.f_blocks else math.inf


def _no_room(path: Path) -> LedgerBusy:
    return LedgerBusy(
        f"There is no room on the disk for the ledger {path}",
        hint="Free some space there",
        code="no-space",
        retry_after=RETRY_AFTER,
    )


def _unusable(path: Path, error: Exception) -> LedgerUnusable:
    return LedgerUnusable(
        f"The ledger {path} cannot be used: {error}",
        hint=f"Make sure that {path.parent} is a folder that you can write to, on a working disk",
        code="ledger",
    )
