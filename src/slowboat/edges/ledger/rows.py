"""Objects as rows and back.

File names may be any bytes. They are kept as SQLite text with exactly those bytes (`CAST(? AS TEXT)`, decoded
with surrogateescape), so that `sqlite3 ledger.sqlite` shows them as they are.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from slowboat.core.words import Item, Phase, Role, SetId, SourceFile

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

_COLUMNS = (
    "name, size, mtime_ns, role, chain, set_start, set_end, rank, phase, canary, sha1, md5, segment, "
    "bytes_sent, attempts, error, slo_md5"
)
INSERT_OBJECT = (
    f"INSERT INTO objects (migration, {_COLUMNS}) "  # noqa: S608 (constants of this module)
    "VALUES (?, CAST(? AS TEXT), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, CAST(? AS TEXT), ?)"
)
SELECT_OBJECTS = f"SELECT {_COLUMNS} FROM objects WHERE migration = ? ORDER BY rank"  # noqa: S608 (likewise)


def raw(text: str) -> bytes:
    """A text as it is bound to a parameter: any bytes that it stands for.

    Total: a text that stands for no bytes at all, with a surrogate that no file name yields (a server may have said
    it), is kept by what its surrogates would be in UTF-8.
    """
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


text_of = functools.partial(str, encoding="utf-8", errors="surrogateescape")
"""The text that bytes stand for; for sqlite3's text_factory (in C: it is called for every text of every row)."""


_Row = tuple[str, bytes, int, int, str, int, int, int, int, str, bool, str, str, int, int, int, bytes, str]


def row_of(migration: str, item: Item) -> _Row:
    """The parameters of INSERT_OBJECT."""
    return (
        migration,
        raw(item.file.name),
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
        raw(item.error),
        item.slo_md5,
    )


def items_of(rows: sqlite3.Cursor) -> Iterator[Item]:
    """The objects in the rows of SELECT_OBJECTS."""
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
        slo_md5,
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
            slo_md5,
        )
