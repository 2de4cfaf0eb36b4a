"""An upload in segments, as far as this run remembers it: the parts that the server has, and the hashes up to there.

Knows what has been read and confirmed; must not know how anything is asked for or sent.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from slowboat.core.words import RemoteObject
    from slowboat.engine.ports import Reader


class Hashes:
    """The hashes of a file that somebody will ask for, as far as it has been read.

    Each costs the processor one to two seconds per GB, so nobody takes one that nobody needs.
    """

    def __init__(self, *, md5: bool = True, sha1: bool = False) -> None:
        self.md5 = hashlib.md5(usedforsecurity=False) if md5 else None
        self.sha1 = hashlib.sha1(usedforsecurity=False) if sha1 else None

    def feed(self, block: bytes | memoryview) -> None:
        """The next bytes of the file."""
        if self.md5:
            self.md5.update(block)
        if self.sha1:
            self.sha1.update(block)

    def copy(self) -> Hashes:
        """The same, to go on from without touching these."""
        other = Hashes(md5=False)
        other.md5 = self.md5.copy() if self.md5 else None
        other.sha1 = self.sha1.copy() if self.sha1 else None
        return other

    @property
    def md5_so_far(self) -> str:
        """Lower-case hex; "" where it is not taken."""
        return self.md5.hexdigest() if self.md5 else ""

    @property
    def sha1_so_far(self) -> str:
        """Lower-case hex; "" where it is not taken."""
        return self.sha1.hexdigest() if self.sha1 else ""


@dataclass(slots=True)
class SegmentedUpload:
    """What is known in memory of an upload in segments.

    Attributes:
        segment: bytes per segment.
        hashes: of the file up to the end of the last part; none where the whole is proven by other means.
        expected: the MD5 that the whole must have, of an earlier reading; "" where none is known.
        resumed: an earlier run has begun it.
        lagging: the listing may not show the newest segments yet, so one that it lacks is asked for by name.
        doubted: the server could not make the whole of its parts, whatever the listing says: each is asked for by name.
        alone: each segment that is sent is held against an MD5 of its own; else the COPY proves them all together.
        parts: what the server has confirmed, by its place.
    """

    segment: int
    hashes: Hashes
    expected: str = ""
    resumed: bool = False
    lagging: bool = False
    doubted: bool = False
    alone: bool = False
    parts: dict[int, RemoteObject] = field(default_factory=dict)

    def known(self, part: Part) -> RemoteObject | None:
        """What the server confirmed for that part, None where it has not yet."""
        return self.parts.get(part.index)

    @property
    def in_order(self) -> Sequence[RemoteObject]:
        """What the server has confirmed, by place."""
        return [self.parts[index] for index in sorted(self.parts)]


@dataclass(frozen=True, slots=True)
class Part:
    """One segment's place in the file (bytes) and its name at the server."""

    index: int
    offset: int
    length: int
    name: str


class Portion:
    """A Reader over one segment's length that hashes what passes, in the thread that sends it.

    Attributes:
        alone: hashes of the segment.
        whole: hashes of the file up to the segment's end.
    """

    def __init__(self, reader: Reader, length: int, alone: Hashes, whole: Hashes) -> None:
        self._reader = reader
        self._left = length
        self.alone = alone
        self.whole = whole

    def readinto(self, buffer: memoryview, /) -> int:
        """Reads the next bytes into `buffer`; 0 at the segment's end. Raises as the file's own reader."""
        count = self._reader.readinto(buffer[: self._left]) if self._left else 0
        self._left -= count
        self.alone.feed(buffer[:count])
        self.whole.feed(buffer[:count])
        return count


class Warranted:
    """A Reader of a whole file that must have `md5`: of one that has not, its last bytes are kept back.

    So no request of it ever ends, whatever its server does about an `ETag`.
    """

    def __init__(self, reader: Reader, size: int, md5: str, wrong: Callable[[], Exception]) -> None:
        self._reader = reader
        self._left = size
        self._md5 = md5
        self._wrong = wrong
        self._hashes = Hashes()

    def readinto(self, buffer: memoryview, /) -> int:
        """Reads the next bytes into `buffer`. Raises as the file's own reader, and `wrong` at the end."""
        count = self._reader.readinto(buffer)
        self._left -= count
        self._hashes.feed(buffer[:count])
        if not self._left and self._hashes.md5_so_far != self._md5:
            raise self._wrong()
        return count
