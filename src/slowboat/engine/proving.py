"""Reads files of the drive and holds them against what is known of them, before anything of them is promised.

Knows duplicity's SHA-1, the framing of what has none, and that one wrong reading is no verdict. Must not know where a
file goes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slowboat.core.framing import Framing
from slowboat.engine import file_errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from slowboat.core.errors import Refused
    from slowboat.core.words import Digests, Item
    from slowboat.engine.ports import Source


class Prover:
    """Proves files of one drive."""

    def __init__(self, source: Source) -> None:
        self._source = source

    async def prove(self, item: Item) -> Digests:
        """Reads the drive's file whole and holds it against duplicity's own hash or its framing.

        What fails is read once more before it is condemned. The SHA-1 is taken only where there is one to hold it
        against.

        Raises:
            Refused: the file is rotten, changed or unreadable (codes "rotten", "framing", "changed", "read-error").
            SourceAbsent: the drive went away.
        """
        digests, error = await self._read_whole(item)
        if error is not None:
            digests, error = await self._read_whole(item)
        if error is not None:
            raise error
        return digests

    async def in_memory(self, item: Item) -> tuple[bytes, Digests]:
        """The bytes of a small file that has duplicity's own hash, read once. Raises as `prove`."""
        error: Refused | None = None
        for _ in range(2):
            blocks: list[bytes] = []
            digests, error = await self._read_whole(item, blocks.append)
            if error is None:
                return b"".join(blocks), digests
        assert error is not None
        raise error

    async def _read_whole(
        self, item: Item, keep: Callable[[bytes], None] | None = None
    ) -> tuple[Digests, Refused | None]:
        """One reading, and what is wrong with it; `keep` is given each block of a file with a SHA-1."""
        if item.sha1:
            digests = await self._source.digest(item.file, feed=keep)
            return digests, None if digests.sha1 == item.sha1 else file_errors.rotten(item)
        framing = Framing(item.name)
        digests = await self._source.digest(item.file, feed=framing.feed, sha1=False)
        wrong = framing.finish()
        return digests, file_errors.badly_framed(item, wrong) if wrong else None
