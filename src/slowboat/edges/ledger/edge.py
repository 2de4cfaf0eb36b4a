"""The engine's `Ledger` on one SQLite file. The engine is its only writer, from one thread.

Must not know what a phase means or what to do next. What happens to objects many times a second (`move`, `sent`, a fact
that is said to have time) is gathered in one transaction, whose end costs the disk a flush; `commit` ends it, and so
does every other call that writes: what is written later is never on the disk before what was written earlier.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
import zlib
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final, Self

from slowboat.core.errors import LedgerBusy, LedgerUnusable
from slowboat.core.schedule import first_day, usage
from slowboat.edges.ledger import opening
from slowboat.edges.ledger.opening import saying
from slowboat.edges.ledger.rows import INSERT_OBJECT, SELECT_OBJECTS, items_of, raw, row_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from slowboat.core.schedule import Usage
    from slowboat.core.words import Item, Phase

GATHERED = 256
"""Changes that are gathered at most: so many objects are asked about once more after a kill."""

USAGE_DAYS = 62
"""Days for which the networks' bytes are kept: this month and the one before, should the clock be set back."""


TRAFFIC_SLOT: Final = 900
"""Seconds for which the bytes that went over the line are counted together; every zone's days begin with a slot."""

TRAFFIC_DAYS: Final = 35
"""Days for which they are kept."""


class Ledger:
    """Fulfils the engine's `Ledger` port on one SQLite file; see there for each method's meaning.

    Opening takes the file for this process alone and brings its schema up to date.

    Args:
        clock: seconds since the epoch.
        patience: seconds for which a call waits while another program holds the file.

    Attributes:
        set_aside: where a file that was no whole ledger was moved when this one was opened, or None. Nothing but the
            history is lost by it: the server is asked again what it has.

    Raises:
        NeedsUser: another slowboat holds it (code "already-running"), or a newer slowboat wrote it ("ledger-newer").
        LedgerUnusable: it cannot be opened, read or written ("ledger").
        LedgerBusy: there is no room for it ("no-space"), or another program holds it ("ledger-busy").
    """

    def __init__(
        self, path: Path, *, clock: Callable[[], float] = time.time, patience: float = opening.PATIENCE
    ) -> None:
        self._path = path
        self._clock = clock
        self._patience = patience
        self.set_aside: Path | None = None
        self._gathered = 0
        with saying(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = opening.lock(path)
            try:
                self._db = self._open_or_begin_again()
            except BaseException:
                os.close(self._lock)
                raise

    def _open_or_begin_again(self) -> sqlite3.Connection:
        try:
            return opening.connect(self._path, self._patience)
        except sqlite3.DatabaseError as error:
            if not opening.is_broken(error):
                raise
        self.set_aside = opening.set_aside(self._path, self._clock())
        db = opening.connect(self._path, self._patience)
        text = (
            f"The ledger was damaged and has been moved to {self.set_aside}; slowboat asks the server again what it has"
        )
        db.execute(
            "INSERT INTO history (at, migration, kind, text) VALUES (?, '', 'ledger', CAST(? AS TEXT))",
            (self._clock(), raw(text)),
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
        if self._lock < 0:
            return
        try:
            with contextlib.suppress(LedgerBusy, LedgerUnusable):  # what is lost so is asked about again
                self.commit()
        finally:
            self._db.close()
            os.close(self._lock)
            self._lock = -1

    def prove(self) -> None:
        """Shows that it can be written, by a write that changes nothing.

        Raises:
            LedgerUnusable, LedgerBusy: it cannot.
        """
        with self._transaction() as db:
            [(version,)] = db.execute("PRAGMA user_version")
            db.execute(f"PRAGMA user_version = {version:d}")

    def commit(self) -> None:
        """What was gathered is on the disk when it returns."""
        if self._db.in_transaction:
            with self._transaction():
                pass

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """What is done in the block is on the disk at its end, with all that was gathered before; or nothing of it."""
        with self._gathering() as db:
            yield db
            db.execute("COMMIT")

    @contextlib.contextmanager
    def _gathering(self) -> Iterator[sqlite3.Connection]:
        """What is done in the block is on the disk with the next `commit`, or after `GATHERED` of them."""
        with saying(self._path):
            try:
                if not self._db.in_transaction:
                    self._db.execute("BEGIN IMMEDIATE")
                yield self._db
                self._gathered = self._gathered + 1 if self._db.in_transaction else 0
                if self._gathered >= GATHERED:
                    self._db.execute("COMMIT")
                    self._gathered = 0
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                self._gathered = 0
                raise

    def adopt(
        self, migration: str, items: Sequence[Item], manifests: Mapping[str, bytes], facts: Mapping[str, str]
    ) -> None:
        """Makes `items` the whole list, as they stand; adds `manifests` and `facts` to those it has."""
        with self._transaction() as db:
            _know(db, migration)
            db.execute("DELETE FROM objects WHERE migration = ?", (migration,))
            db.executemany(INSERT_OBJECT, (row_of(migration, item) for item in items))
            db.executemany(
                "INSERT OR REPLACE INTO manifests (migration, name, content) VALUES (?, CAST(? AS TEXT), ?)",
                # Level 1: a manifest of 100 MB, which is mostly repetition, must not hold the event loop.
                ((migration, raw(name), zlib.compress(text, 1)) for name, text in manifests.items()),
            )
            for key, value in facts.items():
                _set_fact(db, migration, key, value)

    def items(self, migration: str) -> Sequence[Item]:
        """The adopted objects by rank; () where nothing was adopted."""
        with saying(self._path):
            return tuple(items_of(self._db.execute(SELECT_OBJECTS, (migration,))))

    def move(
        self,
        migration: str,
        name: str,
        phase: Phase,
        *,
        md5: str = "",
        error: str = "",
        attempt: bool = False,
        slo_md5: str | None = None,
        sent: int = 0,
    ) -> None:
        """One object's new phase; gathered. An `md5` replaces what was known, "" leaves it; `error` always replaces.

        `slo_md5` replaces what was known, None leaves it.

        Raises:
            KeyError: no such object was adopted: the caller's mistake.
        """
        with self._gathering() as db:
            done = db.execute(
                "UPDATE objects SET phase = ?, md5 = coalesce(nullif(?, ''), md5), error = CAST(? AS TEXT),"
                " attempts = attempts + ?, slo_md5 = coalesce(?, slo_md5), bytes_sent = bytes_sent + ?"
                " WHERE migration = ? AND name = CAST(? AS TEXT)",
                (phase.value, md5, raw(error), attempt, slo_md5, sent, migration, raw(name)),
            )
            if done.rowcount != 1:
                raise KeyError((migration, name))

    def begun_segments(self, migration: str, name: str, segment: int) -> None:
        """Fixes the size of that object's segments (bytes); 0 takes it back."""
        with self._transaction() as db:
            db.execute(
                "UPDATE objects SET segment = ? WHERE migration = ? AND name = CAST(? AS TEXT)",
                (segment, migration, raw(name)),
            )

    def sent(self, migration: str, name: str, count: int) -> None:
        """Adds bytes that went over the line for an object, confirmed or not; gathered."""
        with self._gathering() as db:
            db.execute(
                "UPDATE objects SET bytes_sent = bytes_sent + ? WHERE migration = ? AND name = CAST(? AS TEXT)",
                (count, migration, raw(name)),
            )

    def facts(self, migration: str) -> Mapping[str, str]:
        """The migration's own facts: key to text."""
        with saying(self._path):
            return dict(self._db.execute("SELECT key, value FROM facts WHERE migration = ? ORDER BY key", (migration,)))

    def set_fact(self, migration: str, key: str, value: str, *, soon: bool = False) -> None:
        """Remembers one fact; "" forgets it; `soon`: it is gathered. Migration "" is for the whole daemon."""
        with self._gathering() if soon else self._transaction() as db:
            _know(db, migration)
            _set_fact(db, migration, key, value)

    def manifest(self, migration: str, name: str) -> bytes | None:
        """The copy of a plain manifest made at adoption."""
        with saying(self._path):
            found = self._db.execute(
                "SELECT content FROM manifests WHERE migration = ? AND name = CAST(? AS TEXT)",
                (migration, raw(name)),
            ).fetchone()
        return None if found is None else zlib.decompress(found[0])

    def spent(self, networks: Sequence[str], day: str, count: int) -> None:
        """Adds bytes to each network's of that local day and to this quarter of an hour's; old ones are dropped.

        Args:
            networks: their names, "" for one without a name.
            day: as in "2026-11-22".
            count: bytes that went over the line.
        """
        long_ago = (date.fromisoformat(day) - timedelta(days=USAGE_DAYS)).isoformat()
        slot = int(self._clock()) // TRAFFIC_SLOT * TRAFFIC_SLOT
        with self._transaction() as db:
            db.execute("DELETE FROM usage WHERE day < ?", (long_ago,))
            db.executemany(
                "INSERT INTO usage (network, day, bytes) VALUES (CAST(? AS TEXT), ?, ?)"
                " ON CONFLICT (network, day) DO UPDATE SET bytes = bytes + excluded.bytes",
                ((raw(network), day, count) for network in networks),
            )
            db.execute("DELETE FROM traffic WHERE at < ?", (slot - TRAFFIC_DAYS * 86400,))
            db.execute(
                "INSERT INTO traffic (at, bytes) VALUES (?, ?)"
                " ON CONFLICT (at) DO UPDATE SET bytes = bytes + excluded.bytes",
                (slot, count),
            )

    def traffic(self, since: float = 0.0) -> Sequence[tuple[float, int]]:
        """The bytes of each quarter of an hour in which there were any: (its beginning, bytes), oldest first."""
        with saying(self._path):
            return self._db.execute("SELECT at, bytes FROM traffic WHERE at >= ? ORDER BY at", (since,)).fetchall()

    def usage(self, day: str) -> Mapping[str, Usage]:
        """By network: the bytes of each period that the local day ("2026-11-22") is in."""
        today = date.fromisoformat(day)
        since, networks = first_day(today), dict[str, dict[date, int]]()
        with saying(self._path):
            rows = self._db.execute(
                "SELECT network, day, bytes FROM usage WHERE day >= ?", (since.isoformat(),)
            ).fetchall()
        for network, then, count in rows:
            networks.setdefault(network, {})[date.fromisoformat(then)] = count
        found = {network: usage(by_day, today) for network, by_day in networks.items()}
        return {network: used for network, used in found.items() if any(used.values())}

    def forget(self, migration: str) -> None:
        """Drops a migration's objects, manifests and facts (not its history)."""
        with self._transaction() as db:
            db.execute("DELETE FROM migrations WHERE name = ?", (migration,))

    def note(self, migration: str, kind: str, text: str) -> None:
        """Adds a line to the history."""
        with self._transaction() as db:
            db.execute(
                "INSERT INTO history (at, migration, kind, text) VALUES (?, ?, ?, CAST(? AS TEXT))",
                (self._clock(), migration, kind, raw(text)),
            )

    def history(self, since: float = 0.0, limit: int = 100) -> Sequence[tuple[float, str, str, str]]:
        """The newest `limit` lines from `since` on, oldest first: (when, migration, kind, text)."""
        with saying(self._path):
            newest = self._db.execute(
                "SELECT at, migration, kind, text FROM history WHERE at >= ? ORDER BY id DESC LIMIT ?",
                (since, max(0, limit)),
            ).fetchall()
        return tuple(reversed(newest))


def _know(db: sqlite3.Connection, migration: str) -> None:
    db.execute("INSERT OR IGNORE INTO migrations (name) VALUES (?)", (migration,))


def _set_fact(db: sqlite3.Connection, migration: str, key: str, value: str) -> None:
    if value:
        db.execute(
            "INSERT OR REPLACE INTO facts (migration, key, value) VALUES (?, ?, CAST(? AS TEXT))",
            (migration, key, raw(value)),
        )
    else:
        db.execute("DELETE FROM facts WHERE migration = ? AND key = ?", (migration, key))
