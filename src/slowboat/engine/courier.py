"""Carries one object from the drive to the target, and resumes in its middle.

Knows the two ways an object goes up (docs/swift.md): one PUT, or segments, an SLO of them, and a server-side COPY
to the final name. Must not know why it may send, what comes next, or how anything is remembered. Nothing stands at
the final name before its MD5 and SHA-1 are known; nothing is left in the segments' container afterwards.

What an interruption costs: the segment under way. The segments that the server holds are found by one listing, on
this machine or with an empty ledger. Within one run the hashes of what has gone up are kept too, so that the drive
is read once; after a restart the drive (not the line) pays for them again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from slowboat.core import names
from slowboat.core.errors import Refused, SlowboatError, Transient
from slowboat.core.framing import Framing
from slowboat.core.line import Line, cut, fits_one_put, segment_size
from slowboat.core.words import Digests

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from slowboat.core.words import Item, Limits, RemoteObject
    from slowboat.engine.ports import Reader, Source, Store

LIFE = 30 * 86400
"""Seconds until an abandoned segment expires: longer than any holiday, and renewed while somebody cares."""


class Hashes:
    """The two hashes of a file, as far as it has been read."""

    def __init__(self) -> None:
        self.md5 = hashlib.md5(usedforsecurity=False)
        self.sha1 = hashlib.sha1(usedforsecurity=False)

    def feed(self, block: bytes) -> None:
        """The next bytes of the file."""
        self.md5.update(block)
        self.sha1.update(block)

    def copy(self) -> Hashes:
        """The same, to go on from without touching these."""
        other = Hashes()
        other.md5, other.sha1 = self.md5.copy(), self.sha1.copy()
        return other


@dataclass(slots=True)
class Voyage:
    """What is known in memory of an upload in segments: the parts confirmed so far, and the hashes up to there.

    `lagging`: the listing may not show the newest segments yet, so one that it lacks is asked for by name.
    """

    segment: int
    lagging: bool = False
    parts: list[RemoteObject] = field(default_factory=list)
    hashes: Hashes = field(default_factory=Hashes)


class _Portion:
    """A Reader over one segment's length that hashes what passes: the segment alone, and the file up to its end."""

    def __init__(self, reader: Reader, length: int, before: Hashes) -> None:
        self._reader = reader
        self._left = length
        self.alone = Hashes()
        self.whole = before.copy()

    def read(self, size: int, /) -> bytes:
        block = self._reader.read(min(size, self._left)) if self._left else b""
        self._left -= len(block)
        self.alone.feed(block)
        self.whole.feed(block)
        return block


@dataclass(frozen=True, slots=True)
class Freight:
    """What the courier tells while it carries one object.

    Attributes:
        now: seconds since the epoch, when it sets out.
        progress: told bytes handed to the socket, from a worker thread.
        confirmed: told bytes that the server has confirmed as a segment.
        begun: told the size of the segments, before the first one goes up.
        known: told the MD5 of the whole file, before anything stands at the final name.
    """

    now: float
    progress: Callable[[int], None]
    confirmed: Callable[[int], None]
    begun: Callable[[int], None]
    known: Callable[[str], None]


class Courier:
    """Carries the objects of one migration; as many at once as it is called for."""

    def __init__(self, source: Source, store: Store, prefix: str, *, concatenates: bool) -> None:
        """`prefix` stands before the target's names; `concatenates`: whether the store's COPY makes plain objects."""
        self._source = source
        self._store = store
        self._prefix = prefix
        self._concatenates = concatenates
        self._voyages: dict[str, Voyage] = {}

    async def carry(self, item: Item, line: Line, limits: Limits, freight: Freight) -> str:
        """Brings one object to the target; answers its MD5, which the server has confirmed.

        Raises:
            Refused: the file is rotten, changed or unreadable (codes "rotten", "unstable", "framing", "changed",
                "read-error"), or something stands at its name already (code "exists").
            SourceAbsent, Transient, NeedsUser, asyncio.CancelledError: as the drive and the store raise them.
        """
        if not item.segment and fits_one_put(item.file.size, line, limits):
            return await self._in_one_put(item, freight)
        return await self._in_segments(item, line, limits, freight)

    async def prove(self, item: Item) -> Digests:
        """Reads the drive's file whole and holds it against duplicity's own hash or its framing. Raises as `carry`."""
        framing = Framing(item.name) if item.role.is_metadata else None
        digests = await self._source.digest(item.file, feed=framing.feed if framing else None)
        if framing and (wrong := framing.finish()):
            raise _badly_framed(item, wrong)
        if item.sha1 and digests.sha1 != item.sha1:
            digests = await self._source.digest(item.file)
            if digests.sha1 != item.sha1:
                raise _rotten(item)
        return digests

    async def same(self, item: Item, stands: RemoteObject) -> str:
        """The MD5 of the file on the drive where `stands` holds the very same bytes; "" where it does not.

        Raises as `carry`.
        """
        if stands.size != item.file.size:
            return ""
        if not stands.slo:
            md5 = item.md5 or (await self.prove(item)).md5
            return md5 if md5 == stands.md5 else ""
        return await self._same_slo(item, stands)

    async def _same_slo(self, item: Item, stands: RemoteObject) -> str:
        """An SLO's ETag is the MD5 of its segments' MD5s: the drive's, cut alike, must give the same."""
        md5 = (await self.prove(item)).md5
        for segment in {segment for segment, _ in await self._held(item)}:
            parts = [
                (await self._source.digest(item.file, offset, length)).md5
                for offset, length in cut(item.file.size, segment)
            ]
            if hashlib.md5("".join(parts).encode(), usedforsecurity=False).hexdigest() == stands.md5:
                return md5
        return ""

    async def sweep(self, item: Item) -> None:
        """Deletes what is left of an object's segments; where an SLO stands at its name they are its data, and stay."""
        whole = self._full(item)
        stands = await self._store.head(whole)
        if stands is not None and stands.slo:
            return
        left = await self._store.listing(names.segment_prefix(whole), segments=True)
        ours = [stored.name for stored in left if names.parse_segment(stored.name)]
        if ours:
            await self._store.delete(ours)
        self._voyages.pop(item.name, None)

    # -- one PUT ---------------------------------------------------------------------------------------------

    async def _in_one_put(self, item: Item, freight: Freight) -> str:
        body = await self._source.read(item.file)
        digests = _digests(body)
        if item.role.is_metadata:
            _check_metadata(item, body, await self._source.read(item.file))
        elif item.sha1 and digests.sha1 != item.sha1:
            body = await self._source.read(item.file)
            digests = _digests(body)
            if digests.sha1 != item.sha1:
                raise _rotten(item)
        freight.known(digests.md5)
        stored = await self._store.put(self._full(item), body, len(body), etag=digests.md5, progress=freight.progress)
        if stored.md5 != digests.md5:
            raise _mismatch(item)
        return digests.md5

    # -- segments --------------------------------------------------------------------------------------------

    async def _in_segments(self, item: Item, line: Line, limits: Limits, freight: Freight) -> str:
        first = await self.prove(item) if item.role.is_metadata and not item.md5 else None
        expected = item.md5 or (first.md5 if first else "")
        if first:
            freight.known(first.md5)
        held = await self._held(item)
        voyage = self._voyage(item, held, line, limits)
        freight.begun(voyage.segment)
        await self._keep_alive(held, freight.now)
        for index, (offset, length) in enumerate(cut(item.file.size, voyage.segment)):
            await self._segment(item, voyage, index, offset, length, held, freight)
        await self._judge(item, voyage, expected)
        freight.known(voyage.hashes.md5.hexdigest())
        await self._finish(item, voyage, limits)
        return voyage.hashes.md5.hexdigest()

    async def _held(self, item: Item) -> Mapping[tuple[int, int], RemoteObject]:
        """The segments of this very file that the server has: (segment size, index) to object."""
        listing = await self._store.listing(names.segment_prefix(self._full(item)), segments=True)
        found: dict[tuple[int, int], RemoteObject] = {}
        for stored in listing:
            parsed = names.parse_segment(stored.name)
            if parsed and parsed.size == item.file.size and parsed.index is not None:
                found[parsed.segment, parsed.index] = stored
        return found

    def _voyage(self, item: Item, held: Mapping[tuple[int, int], RemoteObject], line: Line, limits: Limits) -> Voyage:
        """The voyage under way, or a new one in the size that was begun, here or by a run that is forgotten."""
        known = self._voyages.get(item.name)
        if known is None:
            begun: dict[int, int] = {}
            for (segment, _), stored in held.items():
                begun[segment] = begun.get(segment, 0) + stored.size
            most = max(begun, key=lambda segment: begun[segment], default=0)
            known = Voyage(item.segment or most or segment_size(item.file.size, line, limits))
            self._voyages[item.name] = known
        known.lagging = bool(item.segment or held)
        return known

    async def _keep_alive(self, held: Mapping[tuple[int, int], RemoteObject], now: float) -> None:
        """Renews segments that have lived for half of their life: an upload may take longer than one life."""
        for stored in held.values():
            if now - stored.modified > LIFE / 2:
                await self._store.renew(stored.name, LIFE)

    async def _segment(
        self,
        item: Item,
        voyage: Voyage,
        index: int,
        offset: int,
        length: int,
        held: Mapping[tuple[int, int], RemoteObject],
        freight: Freight,
    ) -> None:
        stored = held.get((voyage.segment, index)) or await self._unlisted(item, voyage, index)
        if index < len(voyage.parts):
            known = voyage.parts[index]
            if stored and (stored.size, stored.md5) == (known.size, known.md5):
                freight.confirmed(length)
                return
            again, _ = await self._send(item, voyage, index, offset, length, freight)
            if again.md5 != known.md5:
                self._voyages.pop(item.name, None)
                raise _unstable(item)
            return
        if stored and stored.size == length:
            ahead = voyage.hashes.copy()  # a reading that is broken off must not have touched the voyage's own hashes
            read = await self._source.digest(item.file, offset, length, feed=ahead.feed)
            if read.md5 == stored.md5:
                voyage.hashes = ahead
                voyage.parts.append(stored)
                freight.confirmed(length)
                return
        fresh, hashes = await self._send(item, voyage, index, offset, length, freight)
        voyage.parts.append(fresh)
        voyage.hashes = hashes

    async def _unlisted(self, item: Item, voyage: Voyage, index: int) -> RemoteObject | None:
        """A segment that the listing lacks; after the first that the server does not have either, none is asked for."""
        if not voyage.lagging:
            return None
        name = names.segment_name(self._full(item), item.file.size, voyage.segment, index)
        stands = await self._store.head(name, segments=True)
        voyage.lagging = stands is not None or index < len(voyage.parts)
        return stands

    async def _send(
        self, item: Item, voyage: Voyage, index: int, offset: int, length: int, freight: Freight
    ) -> tuple[RemoteObject, Hashes]:
        """Sends one segment; answers what the server stored, and the voyage's hashes after it."""
        name = names.segment_name(self._full(item), item.file.size, voyage.segment, index)
        with self._source.open(item.file, offset) as reader:
            portion = _Portion(reader, length, voyage.hashes)
            stored = await self._store.put(
                name, portion, length, segments=True, expires_after=LIFE, progress=freight.progress
            )
        if stored.md5 != portion.alone.md5.hexdigest():
            raise _mismatch(item)
        freight.confirmed(length)
        return stored, portion.whole

    async def _judge(self, item: Item, voyage: Voyage, expected_md5: str) -> None:
        """Holds the whole against duplicity's hash, or the first reading; a file that fails is read once more."""
        right = voyage.hashes.sha1.hexdigest() == item.sha1 if item.sha1 else True
        right = right and expected_md5 in ("", voyage.hashes.md5.hexdigest())
        if right:
            return
        self._voyages.pop(item.name, None)
        try:
            digests = await self.prove(item)  # raises where the file itself is wrong
        except Refused:
            await self.sweep(item)
            raise
        if expected_md5 and not item.sha1 and digests.md5 != expected_md5:
            raise _unstable(item)
        raise Transient(
            f"{item.name} was read wrongly from the drive once; the second reading is right",
            code="misread",
            scope="object",
        )

    async def _finish(self, item: Item, voyage: Voyage, limits: Limits) -> None:
        whole = self._full(item)
        try:
            if item.file.size > limits.max_object or not self._concatenates:
                await self._stay_an_slo(item, voyage)
            else:
                slo = names.slo_name(whole, item.file.size, voyage.segment)
                await self._store.put_slo(slo, voyage.parts, expires_after=LIFE)
                if await self._store.head(whole) is not None:
                    raise _exists(item)
                await self._store.copy(slo, whole, etag=voyage.hashes.md5.hexdigest())
                await self.sweep(item)
        except SlowboatError:
            # Whatever is wrong, the parts may be among it: the next try asks the server for them again.
            voyage.parts.clear()
            self._voyages.pop(item.name, None)
            raise
        self._voyages.pop(item.name, None)

    async def _stay_an_slo(self, item: Item, voyage: Voyage) -> None:
        """The SLO stands at the final name; its segments must never expire, and that is so before it stands there."""
        whole = self._full(item)
        for part in voyage.parts:
            await self._store.renew(part.name, 0)
        if await self._store.head(whole) is not None:
            raise _exists(item)
        await self._store.put_slo(whole, voyage.parts, segments=False)

    def _full(self, item: Item) -> str:
        return names.object_name(self._prefix, item.name)


def _digests(body: bytes) -> Digests:
    return Digests(
        hashlib.md5(body, usedforsecurity=False).hexdigest(),
        hashlib.sha1(body, usedforsecurity=False).hexdigest(),
        len(body),
    )


def _check_metadata(item: Item, first: bytes, second: bytes) -> None:
    """No hash of metadata is recorded anywhere: two readings must agree, and the file must be whole."""
    if first != second:
        raise _unstable(item)
    framing = Framing(item.name)
    framing.feed(first)
    if wrong := framing.finish():
        raise _badly_framed(item, wrong)


def _rotten(item: Item) -> Refused:
    kind = item.set_id.type.value
    return Refused(
        f"{item.name} is damaged on the drive: its SHA-1 is not the one that duplicity wrote down, in two readings",
        hint=f"The rest of the {kind} backup set goes on; what this volume holds cannot be restored from this "
        "backup. Make a new full backup of it while the original files are still there",
        code="rotten",
    )


def _badly_framed(item: Item, wrong: str) -> Refused:
    return Refused(
        f"{item.name} is damaged on the drive: {wrong}",
        hint="Without it the backup set cannot be used; run duplicity once with the drive connected, "
        "or make a new full backup",
        code="framing",
    )


def _unstable(item: Item) -> Refused:
    return Refused(
        f"{item.name} reads differently each time",
        hint="The drive or its cable is failing: copy the backup to another drive first",
        code="unstable",
    )


def _mismatch(item: Item) -> Transient:
    return Transient(
        f"the server received something else than was sent for {item.name}", code="mismatch", scope="object"
    )


def _exists(item: Item) -> Refused:
    return Refused(f"an object stands at {item.name} at the target already", code="exists")
