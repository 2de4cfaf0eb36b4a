"""slowboat's own memory: one SQLite file in the state folder.

Knows SQL and how to keep one file whole; must not know what a phase means or what to do next. The ledger
only saves work: what it forgets is found again by asking the server and the drive, so a broken one is set
aside and an empty one begun. The engine is its only writer, from one thread; every call is one transaction.

File names may be any bytes. They are kept as SQLite text with exactly those bytes (`CAST(? AS TEXT)`, decoded
with surrogateescape), so that `sqlite3 ledger.sqlite` shows them as they are.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import sqlite3
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Self

from slowboat.core.errors import NeedsUser, Transient
from slowboat.core.words import Item, Phase, Role, SetId, SourceFile

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
    from types import TracebackType

APPLICATION_ID = 0x536C6F77
"""Marks the file as ours ("Slow"); see https://www.sqlite.org/pragma.html#pragma_application_id"""

HISTORY_LINES = 20_000
"""So many lines of the history are kept; older ones go when the ledger is opened. About 2 MB."""

RETRY_AFTER = 60.0
"""Seconds until a full disk is tried again: long enough not to spin, short enough to follow a clean-up."""

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
)
"""The way from schema version i to i+1, statement by statement. A published step is never changed."""

_COLUMNS = (
    "name, size, mtime_ns, role, chain, set_start, set_end, rank, phase, canary, sha1, md5, segment, "
    "bytes_sent, attempts, error"
)
_INSERT_OBJECT = (
    f"INSERT INTO objects (migration, {_COLUMNS}) "  # noqa: S608 (constants of this module)
    "VALUES (?, CAST(? AS TEXT), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, CAST(? AS TEXT))"
)
_SELECT_OBJECTS = f"SELECT {_COLUMNS} FROM objects WHERE migration = ? ORDER BY rank"  # noqa: S608 (likewise)


class Ledger:
    """Fulfils the engine's `Ledger` port on one SQLite file; see there for each method's meaning.

    Opening takes the file for this process alone and brings its schema up to date.

    Attributes:
        set_aside: where a broken ledger was moved when this one was opened, or None. Nothing but the history
            is lost by it: the server is asked again what it has.

    Raises:
        NeedsUser: another slowboat holds it (code "already-running"), a newer slowboat wrote it
            ("ledger-newer"), or it cannot be opened ("ledger").
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self.set_aside: Path | None = None
        with _saying(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = _lock(path)
            try:
                self._db = self._open_or_begin_again()
            except BaseException:
                os.close(self._lock)
                raise

    def _open_or_begin_again(self) -> sqlite3.Connection:
        try:
            return _connect(self._path)
        except sqlite3.DatabaseError as error:
            if not _is_broken(error):
                raise
        self.set_aside = _set_aside(self._path, self._clock())
        db = _connect(self._path)
        text = f"The ledger was damaged and set aside as {self.set_aside}; the server is asked again what it has"
        db.execute(
            "INSERT INTO history (at, migration, kind, text) VALUES (?, '', 'ledger', CAST(? AS TEXT))",
            (self._clock(), _bytes(text)),
        )
        return db

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file and lets others have it. May be called twice."""
        self._db.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with _saying(self._path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def adopt(
        self, migration: str, items: Sequence[Item], manifests: Mapping[str, bytes], facts: Mapping[str, str]
    ) -> None:
        """Makes `items` the whole list, as they stand; adds `manifests` and `facts` to those it has."""
        with self._transaction() as db:
            _know(db, migration)
            db.execute("DELETE FROM objects WHERE migration = ?", (migration,))
            db.executemany(_INSERT_OBJECT, (_row(migration, item) for item in items))
            db.executemany(
                "INSERT OR REPLACE INTO manifests (migration, name, content) VALUES (?, CAST(? AS TEXT), ?)",
                # Level 1: a manifest of 100 MB, which is mostly repetition, must not hold the event loop.
                ((migration, _bytes(name), zlib.compress(text, 1)) for name, text in manifests.items()),
            )
            for key, value in facts.items():
                _set_fact(db, migration, key, value)

    def items(self, migration: str) -> Sequence[Item]:
        """The adopted objects by rank; () where nothing was adopted."""
        with _saying(self._path):
            return tuple(_items(self._db.execute(_SELECT_OBJECTS, (migration,))))

    def move(
        self,
        migration: str,
        name: str,
        phase: Phase,
        *,
        md5: str = "",
        error: str = "",
        attempt: bool = False,
    ) -> None:
        """One object's new phase. An `md5` replaces what was known, "" leaves it; `error` always replaces.

        Raises:
            KeyError: no such object was adopted: the caller's mistake.
        """
        with self._transaction() as db:
            done = db.execute(
                "UPDATE objects SET phase = ?, md5 = coalesce(nullif(?, ''), md5), error = CAST(? AS TEXT),"
                " attempts = attempts + ? WHERE migration = ? AND name = CAST(? AS TEXT)",
                (phase.value, md5, _bytes(error), attempt, migration, _bytes(name)),
            )
            if done.rowcount != 1:
                raise KeyError((migration, name))

    def begun_segments(self, migration: str, name: str, segment: int) -> None:
        """Fixes the size of that object's segments (bytes); 0 takes it back."""
        self._update("UPDATE objects SET segment = ?", segment, migration, name)

    def sent(self, migration: str, name: str, count: int) -> None:
        """Adds bytes that went over the line for an object, confirmed or not."""
        self._update("UPDATE objects SET bytes_sent = bytes_sent + ?", count, migration, name)

    def _update(self, change: str, value: int, migration: str, name: str) -> None:
        with self._transaction() as db:
            db.execute(f"{change} WHERE migration = ? AND name = CAST(? AS TEXT)", (value, migration, _bytes(name)))

    def facts(self, migration: str) -> Mapping[str, str]:
        """The migration's own facts: key to text."""
        with _saying(self._path):
            return dict(self._db.execute("SELECT key, value FROM facts WHERE migration = ? ORDER BY key", (migration,)))

    def set_fact(self, migration: str, key: str, value: str) -> None:
        """Remembers one fact; "" forgets it. Migration "" is for the whole daemon."""
        with self._transaction() as db:
            _know(db, migration)
            _set_fact(db, migration, key, value)

    def manifest(self, migration: str, name: str) -> bytes | None:
        """The copy of a plain manifest made at adoption."""
        with _saying(self._path):
            found = self._db.execute(
                "SELECT content FROM manifests WHERE migration = ? AND name = CAST(? AS TEXT)",
                (migration, _bytes(name)),
            ).fetchone()
        return None if found is None else zlib.decompress(found[0])

    def forget(self, migration: str) -> None:
        """Drops a migration's objects, manifests and facts (not its history)."""
        with self._transaction() as db:
            db.execute("DELETE FROM migrations WHERE name = ?", (migration,))

    def note(self, migration: str, kind: str, text: str) -> None:
        """Adds a line to the history."""
        with self._transaction() as db:
            db.execute(
                "INSERT INTO history (at, migration, kind, text) VALUES (?, ?, ?, CAST(? AS TEXT))",
                (self._clock(), migration, kind, _bytes(text)),
            )

    def history(self, since: float = 0.0, limit: int = 100) -> Sequence[tuple[float, str, str, str]]:
        """The newest `limit` lines from `since` on, oldest first: (when, migration, kind, text)."""
        with _saying(self._path):
            newest = self._db.execute(
                "SELECT at, migration, kind, text FROM history WHERE at >= ? ORDER BY id DESC LIMIT ?",
                (since, max(0, limit)),
            ).fetchall()
        return tuple(reversed(newest))


def _lock(path: Path) -> int:
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


def _connect(path: Path) -> sqlite3.Connection:
    """Opens and checks the file and brings its schema up to date."""
    # Made here and not by SQLite, so that it is private from its first moment; -wal and -shm get its mode.
    made = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.fchmod(made, 0o600)
    finally:
        os.close(made)
    db = sqlite3.connect(path, isolation_level=None)
    try:
        db.text_factory = _text
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


def _is_broken(error: sqlite3.DatabaseError) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte is the primary code
    return isinstance(error, _Broken) or code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def upgrade(db: sqlite3.Connection, steps: Sequence[Sequence[str]] = STEPS, *, path: Path = Path("the ledger")) -> None:
    """Brings a ledger's schema up to `len(steps)`, each step in a transaction of its own.

    Args:
        db: an open connection in autocommit mode.
        steps: statements that lead from version i to i+1.
        path: for the error's sentence.

    Raises:
        NeedsUser: the ledger was written by a newer slowboat (code "ledger-newer"); it is left as it is.
    """
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > len(steps):
        raise NeedsUser(
            f"The ledger {path} is of a newer slowboat (schema {version}; this one knows {len(steps)})",
            hint="Install the newer slowboat again, or move that file away: the server is asked what it has",
            code="ledger-newer",
        )
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


def _set_aside(path: Path, now: float) -> Path:
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
def _saying(path: Path) -> Generator[None]:
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
        if _is_broken(error):
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


def _know(db: sqlite3.Connection, migration: str) -> None:
    db.execute("INSERT OR IGNORE INTO migrations (name) VALUES (?)", (migration,))


def _set_fact(db: sqlite3.Connection, migration: str, key: str, value: str) -> None:
    if value:
        db.execute(
            "INSERT OR REPLACE INTO facts (migration, key, value) VALUES (?, ?, CAST(? AS TEXT))",
            (migration, key, _bytes(value)),
        )
    else:
        db.execute("DELETE FROM facts WHERE migration = ? AND key = ?", (migration, key))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


_text = functools.partial(str, encoding="utf-8", errors="surrogateescape")


_Row = tuple[str, bytes, int, int, str, int, int, int, int, str, bool, str, str, int, int, int, bytes]


def _row(migration: str, item: Item) -> _Row:
    return (
        migration,
        _bytes(item.file.name),
        item.file.size,
        item.file.mtime_ns,
        item.role.value,
        item.chain,
        item.set_id.start,
        item.set_id.end,
        item.rank,
        item.phase.value,
        item.canary,
        item.sha1,
        item.md5,
        item.segment,
        item.bytes_sent,
        item.attempts,
        _bytes(item.error),
    )


def _items(rows: sqlite3.Cursor) -> Iterator[Item]:
    phases = {phase.value: phase for phase in Phase}
    roles = {role.value: role for role in Role}
    sets: dict[tuple[int, int], SetId] = {}  # a chain has few sets and many volumes: one SetId each
    for (
        name,
        size,
        mtime,
        role,
        chain,
        start,
        end,
        rank,
        phase,
        canary,
        sha1,
        md5,
        segment,
        sent,
        tries,
        why,
    ) in rows:
        yield Item(
            SourceFile(name, size, mtime),
            roles[role],
            chain,
            sets.get((start, end)) or sets.setdefault((start, end), SetId(start, end)),
            rank,
            phases[phase],
            bool(canary),
            sha1,
            md5,
            segment,
            sent,
            tries,
            why,
        )
