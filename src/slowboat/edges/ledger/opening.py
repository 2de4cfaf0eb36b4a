"""Getting hold of the ledger's file: alone, private, whole, and of our schema; and saying what stands in the way.

The ledger only saves work: what it forgets is found again by asking the server and the drive. So a broken one is set
aside and an empty one begun.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import time
from typing import TYPE_CHECKING

from slowboat.core.errors import NeedsUser, Transient
from slowboat.edges.ledger.rows import text_of
from slowboat.edges.ledger.schema import APPLICATION_ID, upgrade

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

HISTORY_LINES = 20_000
"""So many lines of the history are kept; older ones go when the ledger is opened. About 2 MB."""

RETRY_AFTER = 60.0
"""Seconds until a full disk is tried again: long enough not to spin, short enough to follow a clean-up."""


def lock(path: Path) -> int:
    """Takes `<ledger>.lock` by flock, which no other open and close in this process can drop."""
    lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise NeedsUser(
            f"Another slowboat is running with the ledger {path}",
            hint="Stop that one first, or leave the work to it: `slowboat status` asks it",
            code="already-running",
        ) from None
    return lock


def connect(path: Path) -> sqlite3.Connection:
    """Opens and checks the file and brings its schema up to date."""
    # Made here and not by SQLite, so that it is private from its first moment; -wal and -shm get its mode.
    made = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.fchmod(made, 0o600)
    finally:
        os.close(made)
    db = sqlite3.connect(path, isolation_level=None)
    try:
        db.text_factory = text_of
        _check(db)  # before anything is written: a file that is not ours stays as it is
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


def _check(db: sqlite3.Connection) -> None:
    """Raises sqlite3.DatabaseError where the file is damaged or not a ledger."""
    found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise _Broken(found)
    (owner,) = db.execute("PRAGMA application_id").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if tables and owner != APPLICATION_ID:
        raise _Broken("not a ledger of slowboat")


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
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
            raise Transient(
                f"There is no room on the disk for the ledger {path}",
                hint="Make some room there",
                code="no-space",
                retry_after=RETRY_AFTER,
            ) from error
        raise _unusable(path, error) from error
    except sqlite3.DatabaseError as error:
        if is_broken(error):
            raise NeedsUser(
                f"The ledger {path} is damaged: {error}",
                hint="Restart slowboat: it sets the file aside and asks the server what it has",
                code="ledger",
            ) from error
        raise  # IntegrityError and ProgrammingError are our own mistakes, and are not dressed up
    except OSError as error:
        raise _unusable(path, error) from error


def _unusable(path: Path, error: Exception) -> NeedsUser:
    return NeedsUser(
        f"The ledger {path} cannot be used: {error}",
        hint=f"Make {path.parent} a folder on a working disk where you may write, then restart slowboat",
        code="ledger",
    )
