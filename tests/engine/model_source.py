"""A drive in memory that fulfils the engine's Source, and fails as drives do."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

from slowboat.core.errors import Refused, SourceAbsent
from slowboat.core.words import Digests, OutOfReach, SourceFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

BLOCK = 32


class ModelSource:
    """Files by name.

    Attributes:
        files: what the drive holds.
        misreads: in the next readings of a file's first byte on, that byte comes wrong; one reading is used up each.
        rotten: offsets that come wrong in every reading.
        absent_at: from this offset on the drive is not there any more; None: it is there.
        unreadable_at: EIO from this offset on; None: all can be read.
        cancel_in: the reading after so many more is broken off; None: none is.
        bytes_read: by name.
    """

    def __init__(self, **files: bytes) -> None:
        self.files: dict[str, bytes] = dict(files)
        self.mtimes: dict[str, int] = {}
        self.misreads: list[int] = []
        self.rotten: set[int] = set()
        self.absent_at: int | None = None
        self.unreadable_at: int | None = None
        self.cancel_in: int | None = None
        self.bytes_read: dict[str, int] = {}

    def file(self, name: str) -> SourceFile:
        """What a listing says of a file now."""
        return SourceFile(name, len(self.files[name]), self.mtimes.get(name, 1))

    def touch(self, name: str, data: bytes) -> None:
        """Somebody writes to a file."""
        self.files[name] = data
        self.mtimes[name] = self.mtimes.get(name, 1) + 1

    async def listing(self) -> Sequence[SourceFile]:
        if self.absent_at is not None:
            raise _absent()
        return [self.file(name) for name in self.files]

    async def out_of_reach(self) -> OutOfReach:
        return OutOfReach()

    @contextmanager
    def open(self, file: SourceFile, offset: int = 0) -> Iterator[_Reader]:
        yield _Reader(self, file, offset)

    async def digest(
        self,
        file: SourceFile,
        offset: int = 0,
        length: int | None = None,
        feed: Callable[[bytes], None] | None = None,
        *,
        sha1: bool = True,
    ) -> Digests:
        md5, other, done = hashlib.md5(usedforsecurity=False), hashlib.sha1(usedforsecurity=False), 0
        left = file.size - offset if length is None else length
        await asyncio.sleep(0)
        reader = _Reader(self, file, offset)
        buffer = memoryview(bytearray(min(BLOCK, left)))
        while done < left and (count := reader.readinto(buffer[: left - done])):
            block = bytes(buffer[:count])
            md5.update(block)
            other.update(block)
            done += count
            if feed:
                feed(block)
        if self.cancel_in is not None:
            self.cancel_in -= 1
            if self.cancel_in < 0:
                self.cancel_in = None
                raise asyncio.CancelledError
        await asyncio.sleep(0)
        return Digests(md5.hexdigest(), other.hexdigest() if sha1 else "", done)


class _Reader:
    def __init__(self, source: ModelSource, file: SourceFile, offset: int) -> None:
        self._source, self._file, self._at = source, file, offset

    def readinto(self, buffer: memoryview, /) -> int:
        source, file, at, size = self._source, self._file, self._at, len(buffer)
        if source.absent_at is not None and at + size > source.absent_at:
            raise _absent()
        if file.name not in source.files or source.file(file.name) != file:
            raise Refused(f"{file.name} is not the file that was adopted", code="changed")
        if source.unreadable_at is not None and at + size > source.unreadable_at:
            raise Refused(f"{file.name} cannot be read", code="read-error")
        block = bytearray(source.files[file.name][at : at + size])
        for wrong in source.rotten | set(source.misreads):
            if at <= wrong < at + len(block):
                block[wrong - at] ^= 1
        source.misreads = [wrong for wrong in source.misreads if not at <= wrong < at + len(block)]
        self._at += len(block)
        source.bytes_read[file.name] = source.bytes_read.get(file.name, 0) + len(block)
        buffer[: len(block)] = block
        return len(block)


def _absent() -> SourceAbsent:
    return SourceAbsent("the drive is not there", code="source-absent")
