"""Reads files of the drive and holds them against what is known of them, before anything of them is promised.

Knows duplicity's SHA-1, the framing of what has none, and that one wrong reading is no verdict. Must not know where a
file goes.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from slowboat.core.framing import Framing
from slowboat.core.words import Digests
from slowboat.engine import file_errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from slowboat.core.errors import Refused
    from slowboat.core.words import Item
    from slowboat.engine.ports import Source


class Prover:
    """Proves files of one drive."""

    def __init__(self, source: Source) -> None:
        self._source = source

    async def prove(self, item: Item) -> Digests:
        """Reads the drive's file whole and holds it against duplicity's own hash or its framing.

        What fails is read once more before it is condemned.

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
        """The bytes of a small file, proven. Raises as `prove`, and Refused with code "unstable"."""
        return await (self._hashed(item) if item.sha1 else self._unhashed(item))

    async def _read_whole(
        self, item: Item, keep: Callable[[bytes], None] | None = None
    ) -> tuple[Digests, Refused | None]:
        """One reading, and what is wrong with it; `keep` is given each block of a file without a SHA-1."""
        if item.sha1:
            digests = await self._source.digest(item.file)
            return digests, None if digests.sha1 == item.sha1 else file_errors.rotten(item)
        framing = Framing(item.name)

        def feed(block: bytes) -> None:  # in the source's thread
            framing.feed(block)
            if keep:
                keep(block)

        digests = await self._source.digest(item.file, feed=feed)
        wrong = framing.finish()
        return digests, file_errors.badly_framed(item, wrong) if wrong else None

    async def _hashed(self, item: Item) -> tuple[bytes, Digests]:
        """A whole file that has duplicity's own hash, in the first reading or the second."""
        for _ in range(2):
            body = await self._source.read(item.file)
            digests = _digests(body)
            if digests.sha1 == item.sha1:
                return body, digests
        raise file_errors.rotten(item)

    async def _unhashed(self, item: Item) -> tuple[bytes, Digests]:
        """A whole file of which no hash is recorded: two readings must agree, of three at most, and be well framed."""
        seen: list[Digests] = []
        for _ in range(3):
            blocks: list[bytes] = []
            digests, error = await self._read_whole(item, blocks.append)
            if digests in seen:
                if error:
                    raise error
                if item.md5 not in ("", digests.md5):
                    raise file_errors.other_than_adopted(item)
                return b"".join(blocks), digests
            seen.append(digests)
        raise file_errors.unstable(item)


def _digests(body: bytes) -> Digests:
    return Digests(
        hashlib.md5(body, usedforsecurity=False).hexdigest(),
        hashlib.sha1(body, usedforsecurity=False).hexdigest(),
        len(body),
    )
