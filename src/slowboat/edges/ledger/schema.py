"""The ledger's tables, in the words of docs/ARCHITECTURE.md, and the way from each version of them to the next."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from slowboat.core.errors import NeedsUser
from slowboat.core.words import Phase, Role

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

APPLICATION_ID = 0x536C6F77
"""Marks the file as ours ("Slow"); see https://www.sqlite.org/pragma.html#pragma_application_id"""

_PHASES = ", ".join(f"'{phase.value}'" for phase in Phase)
_ROLES = ", ".join(f"'{role.value}'" for role in Role)

STEPS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE migrations (name TEXT PRIMARY KEY NOT NULL) WITHOUT ROWID",
        f"""CREATE TABLE objects (
            migration TEXT NOT NULL REFERENCES migrations (name) ON DELETE CASCADE,
            name TEXT NOT NULL,
            size INTEGER NOT NULL CHECK (size >= 0),
            mtime_ns INTEGER NOT NULL,
            role TEXT NOT NULL CHECK (role IN ({_ROLES})),
            chain INTEGER NOT NULL CHECK (chain >= 0),
            set_start INTEGER NOT NULL,
            set_end INTEGER NOT NULL,
            rank INTEGER NOT NULL,
            phase TEXT NOT NULL CHECK (phase IN ({_PHASES})),
            canary INTEGER NOT NULL CHECK (canary IN (0, 1)),
            sha1 TEXT NOT NULL,
            md5 TEXT NOT NULL,
            segment INTEGER NOT NULL CHECK (segment >= 0),
            bytes_sent INTEGER NOT NULL CHECK (bytes_sent >= 0),
            attempts INTEGER NOT NULL CHECK (attempts >= 0),
            error TEXT NOT NULL,
            PRIMARY KEY (migration, rank),  -- as they are read: all of them, in order
            UNIQUE (migration, name)
        ) WITHOUT ROWID""",
        """CREATE TABLE manifests (
            migration TEXT NOT NULL REFERENCES migrations (name) ON DELETE CASCADE,
            name TEXT NOT NULL,
            content BLOB NOT NULL,
            PRIMARY KEY (migration, name)
        )""",
        """CREATE TABLE facts (
            migration TEXT NOT NULL REFERENCES migrations (name) ON DELETE CASCADE,
            key TEXT NOT NULL,
            value TEXT NOT NULL,
            PRIMARY KEY (migration, key)
        ) WITHOUT ROWID""",
        """CREATE TABLE history (
            id INTEGER PRIMARY KEY,
            at REAL NOT NULL,
            migration TEXT NOT NULL,
            kind TEXT NOT NULL,
            text TEXT NOT NULL
        )""",
    ),
    (
        """CREATE TABLE usage (
            network TEXT NOT NULL,
            day TEXT NOT NULL CHECK (day GLOB '????-??-??'),  -- the local one
            bytes INTEGER NOT NULL CHECK (bytes >= 0),
            PRIMARY KEY (network, day)
        ) WITHOUT ROWID""",
    ),
    ("ALTER TABLE objects ADD COLUMN slo_md5 TEXT NOT NULL DEFAULT ''",),
    ("CREATE TABLE traffic (at INTEGER PRIMARY KEY, bytes INTEGER NOT NULL CHECK (bytes >= 0))",),
)
"""The way from schema version i to i+1, statement by statement. A published step is never changed."""


def upgrade(db: sqlite3.Connection, steps: Sequence[Sequence[str]] = STEPS, *, path: Path = Path("the ledger")) -> None:
    """Brings a ledger's schema up to `len(steps)`, each step in a transaction of its own.

    Args:
        db: an open connection in autocommit mode.
        steps: statements that lead from version i to i+1.
        path: for the error's sentence.

    Raises:
        NeedsUser: the ledger was written by a newer slowboat (code "ledger-newer"); it is left as it is.
    """
    version = must_not_be_newer(db, path, len(steps))
    for number, step in enumerate(steps[version:], start=version + 1):
        db.execute("BEGIN IMMEDIATE")
        try:
            for statement in step:
                db.execute(statement)
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {number}")
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise


def must_not_be_newer(db: sqlite3.Connection, path: Path, known: int = len(STEPS)) -> int:
    """The version of a ledger's schema.

    Raises:
        NeedsUser: the ledger was written by a newer slowboat (code "ledger-newer"); it is left as it is.
    """
    version = _version(db)
    if version > known:
        raise NeedsUser(
            f"The ledger {path} was written by a newer slowboat (schema {version}; this one knows {known})",
            hint="Install the newer slowboat again, or move that file away: slowboat then asks the server what it has",
            code="ledger-newer",
        )
    return version


def differences(db: sqlite3.Connection) -> str:
    """What tells a file from a ledger of the version that it says it is of, a phrase; "" where nothing does.

    Tables that are none of ours may stand beside ours: SQLite makes some itself, as ANALYZE does.
    """
    version = _version(db)
    if version < 1:
        return f"it is of version {version}, which no ledger is"
    found, wanted = _columns(db), _columns_of(version)
    for table in sorted(_columns_of(len(STEPS))):
        if found.get(table) != wanted.get(table):
            how = "is missing" if table not in found else "has other columns" if table in wanted else "is too new"
            return f"its table {table} {how}"
    return ""


def _version(db: sqlite3.Connection) -> int:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    return int(version)


def _columns(db: sqlite3.Connection) -> Mapping[str, frozenset[tuple[object, ...]]]:
    """Each table's columns: name, type, NOT NULL, place in the primary key."""
    tables = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    return {
        table: frozenset(db.execute('SELECT name, type, "notnull", pk FROM pragma_table_info(?)', (table,)))
        for table in tables
    }


def _columns_of(version: int) -> Mapping[str, frozenset[tuple[object, ...]]]:
    """Those of a ledger of that version."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        upgrade(db, STEPS[:version])
        return _columns(db)
