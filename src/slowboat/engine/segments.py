"""The segments of objects at the store: sent, found again, proven, kept from expiring, and swept away.

Knows how an upload in segments goes on where it was; must not know what becomes of the segments at the end (the
courier). Segments that are to be joined expire by themselves, and live on as long as somebody cares. Those that are to
stay, as the data of an SLO at a final name, never get an expiry: taking one back is a promise that some servers break
(docs/swift.md, "Expiry").

What an interruption costs: the segment under way. The segments that the server holds are found by one listing, on
this machine or with an empty ledger. Within one run the hashes of what has gone up are kept too, so that the drive
is read once; after a restart the drive (not the line) pays for them again.

What is hashed: the MD5 of the whole proves all segments at once, as the server holds its COPY against it. A segment's
own MD5 is taken only where no COPY does that (the segments stay), where a run finds segments that it has not sent
itself, and after a COPY that was refused: that tells which segment is wrong. A file that was read whole before it goes
up is not hashed again on its way, so several of its segments go up at once.
"""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slowboat.core import names
from slowboat.core.errors import Refused, Stopped, Transient
from slowboat.core.plan import RENEW_EVERY
from slowboat.core.segmenting import cut, segment_size, usual_sizes
from slowboat.engine import file_errors
from slowboat.engine.segmented import Hashes, Part, Portion, SegmentedUpload

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping, Sequence

    from slowboat.core.way import Means
    from slowboat.core.words import Item, RemoteObject, SourceFile
    from slowboat.engine.ports import Source, Store
    from slowboat.engine.proving import Prover

LIFE = 30 * 86400
"""Seconds until an abandoned segment expires: longer than any holiday, and renewed while somebody cares."""


@dataclass(frozen=True, slots=True)
class Freight:
    """What is told while an object is carried.

    Attributes:
        now: seconds since the epoch, when it sets out.
        progress: told bytes handed to the socket, from a worker thread.
        confirmed: told bytes that the server has confirmed as a segment.
        begun: told the size of the segments, before the first one goes up.
        known: told the MD5 of the whole file, before anything stands at the final name.
        may_begin: whether a request of so many bytes may be begun now.
        lanes: how many segments of it may be under way at once, those included whose answers are awaited.
        abreast: told how many do, before the first one.
        last: called before its last body goes up.
    """

    now: float
    progress: Callable[[int], None]
    confirmed: Callable[[int], None]
    begun: Callable[[int], None]
    known: Callable[[str], None]
    may_begin: Callable[[int], bool] = lambda _: True
    lanes: int = 1
    abreast: Callable[[int], None] = lambda _: None
    last: Callable[[], None] = lambda: None

    def ask(self, length: int) -> None:
        """Raises Stopped where a request of that length may not be begun now."""
        if not self.may_begin(length):
            raise Stopped(f"a request of {length} bytes may not be begun now", code="permit")


@dataclass(frozen=True, slots=True)
class Trip:
    """One call for an object in segments: the upload, and what the server's listing showed of it.

    Attributes:
        stay: the segments are to stay, and never expire.
    """

    item: Item
    upload: SegmentedUpload
    earlier: Mapping[tuple[int, int], RemoteObject]
    freight: Freight
    stay: bool


@dataclass(frozen=True, slots=True)
class Cut:
    """A file as it was cut into the segments of an SLO of ours: bytes per segment, the parts, their MD5s, its MD5."""

    segment: int
    parts: tuple[Part, ...]
    md5s: tuple[str, ...]
    md5: str


class Segments:
    """The segments of one migration's objects."""

    def __init__(self, source: Source, store: Store, prefix: str, prover: Prover) -> None:
        """`prefix` stands before the target's names."""
        self._source = source
        self._store = store
        self._prefix = prefix
        self._prover = prover
        self._uploads: dict[SourceFile, SegmentedUpload] = {}

    # -- an upload -------------------------------------------------------------------------------------------

    async def bring(self, item: Item, means: Means, freight: Freight, *, stay: bool) -> Trip:
        """Brings all segments of a file there, and holds the whole against what is known of it.

        Raises:
            Refused: the file is rotten, changed or unreadable.
            SourceAbsent, Transient, NeedsUser, asyncio.CancelledError: as the drive and the store raise them.
            Stopped: the freight says that the next request may not be begun.
        """
        earlier = await self._earlier(item)
        upload = self._upload(item, earlier, means, stay=stay)
        freight.begun(upload.segment)
        if not item.sha1 and not upload.expected:
            upload.expected = (await self._prover.prove(item)).md5
        trip = Trip(item, upload, earlier, freight, stay)
        await self._all(trip)
        await self._judge(trip)
        return trip

    async def _all(self, trip: Trip) -> None:
        """Every segment: in the file's order where the whole is hashed on its way, else several at once.

        Where one fails no other is begun; what is under way comes to its end.
        """
        lanes = 1 if trip.upload.hashes.md5 else trip.freight.lanes
        trip.freight.abreast(lanes)
        left = (part for part in self.parts(trip.item, trip.upload.segment))
        failed: list[BaseException] = []

        async def lane() -> None:
            try:
                for part in left:
                    await self._segment(trip, part)
            except BaseException as error:  # noqa: BLE001 (it is raised below)
                left.close()
                failed.append(error)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(lanes):
                tasks.create_task(lane())
        if failed:
            raise failed[0]

    async def make_sure_they_stay(self, trip: Trip) -> None:
        """Each segment stands as it was sent and has no expiry; one that has (an earlier run's) is sent again."""
        for part in self.parts(trip.item, trip.upload.segment):
            known = trip.upload.known(part)
            if known is None or await self._stays(part, known.md5):
                continue
            fresh, _ = await self._send(trip, part)
            if fresh.md5 != known.md5:
                self.forget(trip.item)
                raise file_errors.misread(trip.item)

    def forget(self, item: Item) -> None:
        """What this run remembers of an upload is of no more use."""
        self._uploads.pop(item.file, None)

    def others(self, item: Item) -> bool:
        """Whether segments of other objects are under way too."""
        return any(file != item.file for file in self._uploads)

    async def _stays(self, part: Part, md5: str) -> bool:
        stands = await self._store.head(part.name, segments=True)
        return stands is not None and (stands.size, stands.md5, stands.expires) == (part.length, md5, None)

    async def _earlier(self, item: Item) -> Mapping[tuple[int, int], RemoteObject]:
        """The segments of this very file that the server has: (segment size, index) to object."""
        listing = await self._store.listing(names.segment_prefix(self._full(item)), segments=True)
        found: dict[tuple[int, int], RemoteObject] = {}
        for stored in listing:
            parsed = names.parse_segment(stored.name)
            if parsed and parsed.size == item.file.size and parsed.index is not None:
                found[parsed.segment, parsed.index] = stored
        return found

    def _upload(
        self, item: Item, earlier: Mapping[tuple[int, int], RemoteObject], means: Means, *, stay: bool
    ) -> SegmentedUpload:
        """The upload under way, or a new one in the size that was begun, here or by a run that is forgotten."""
        known = self._uploads.get(item.file)
        if known is None or (stay and not known.alone):
            begun: dict[int, int] = {}
            for (segment, _), stored in earlier.items():
                begun[segment] = begun.get(segment, 0) + stored.size
            most = max(begun, key=lambda segment: begun[segment], default=0)
            known = SegmentedUpload(
                item.segment or most or segment_size(item.file.size, means.line, means.limits),
                # Of a file without a SHA-1 the whole was read before; what stays is never read by a COPY.
                Hashes(md5=bool(item.sha1) or stay, sha1=bool(item.sha1)),
                expected=item.md5,
                resumed=bool(item.segment or earlier),
                alone=stay,
            )
            self._uploads[item.file] = known
        known.lagging = True
        return known

    def doubt(self, trip: Trip) -> None:
        """The COPY was refused: the next call holds each segment that the server has against the drive."""
        item, hashed = trip.item, bool(trip.item.sha1)
        self._uploads[item.file] = SegmentedUpload(
            trip.upload.segment, Hashes(md5=hashed, sha1=hashed), expected=item.md5, resumed=True, alone=True
        )

    async def _segment(self, trip: Trip, part: Part) -> None:
        """One segment: confirmed by what the server has already, or sent."""
        item, upload = trip.item, trip.upload
        listed = trip.earlier.get((upload.segment, part.index))
        believed = listed if not upload.doubted else None
        if believed and await self._is_it(trip, part, believed):
            return
        stands = await self._by_name(upload, part) if listed or upload.lagging else None
        differs = stands and not (believed and (stands.size, stands.md5) == (believed.size, believed.md5))
        if stands and differs and await self._is_it(trip, part, stands):
            return
        fresh, hashes = await self._send(trip, part)
        known = upload.known(part)
        if known is None:
            upload.parts[part.index] = fresh
            upload.hashes = hashes
        elif fresh.md5 != known.md5:
            self.forget(item)
            raise file_errors.misread(item)

    async def _by_name(self, upload: SegmentedUpload, part: Part) -> RemoteObject | None:
        """A segment asked for by name.

        After the first that the server does not have, no unlisted one is asked for, unless an earlier run may have
        sent it: a request costs a thousandth of a segment.
        """
        stands = await self._store.head(part.name, segments=True)
        upload.lagging = upload.resumed or stands is not None or upload.known(part) is not None
        return stands

    async def _is_it(self, trip: Trip, part: Part, stored: RemoteObject) -> bool:
        """Whether the server's segment is the file's: by this run's own reading, else by one made now.

        One that has lived for half of its life is renewed: an upload may take longer than one life.
        """
        upload, known = trip.upload, trip.upload.known(part)
        if stored.size != part.length:
            return False
        hashes = upload.hashes if known else await self._hashes_with(trip, part, stored)
        if hashes is None or (known and known.md5 != stored.md5):
            return False
        old = not trip.stay and trip.freight.now - stored.modified > LIFE / 2
        if old and not await self._renewed(stored.name):
            return False
        if known is None:
            upload.parts[part.index] = stored
            upload.hashes = hashes
        trip.freight.confirmed(part.length)
        return True

    async def _hashes_with(self, trip: Trip, part: Part, stored: RemoteObject) -> Hashes | None:
        """The file's hashes up to the end of a part that the drive holds as the server does; None where it does not.

        A reading that differs is made again: the drive is cheaper than the line.
        """
        for _ in range(2):
            hashes = trip.upload.hashes.copy()  # a reading that is broken off must not have touched the upload's own
            feed = hashes.feed if hashes.md5 else None
            read = await self._source.digest(trip.item.file, part.offset, part.length, feed=feed, sha1=False)
            if read.md5 == stored.md5:
                return hashes
        return None

    async def _send(self, trip: Trip, part: Part) -> tuple[RemoteObject, Hashes]:
        """Sends one segment; answers what the server stored, and the upload's hashes after it."""
        trip.freight.ask(part.length)
        if part.offset + part.length == trip.item.file.size:
            trip.freight.last()
        upload = trip.upload
        whole = upload.hashes.copy() if upload.known(part) is None else Hashes(md5=False)
        with self._source.open(trip.item.file, part.offset) as reader:
            portion = Portion(reader, part.length, Hashes(md5=upload.alone), whole)
            stored = await self._store.put(
                part.name,
                portion,
                part.length,
                segments=True,
                expires_after=0 if trip.stay else LIFE,
                progress=trip.freight.progress,
            )
        if upload.alone and stored.md5 != portion.alone.md5_so_far:
            raise file_errors.mismatch(trip.item)
        trip.freight.confirmed(part.length)
        return stored, portion.whole

    async def _judge(self, trip: Trip) -> None:
        """Holds the whole against duplicity's hash, or the first reading; a file that fails is read once more."""
        item, upload = trip.item, trip.upload
        md5 = upload.hashes.md5_so_far
        right = upload.hashes.sha1_so_far == item.sha1 if item.sha1 else md5 in ("", upload.expected)
        if right:
            return
        try:
            digests = await self._prover.prove(item)  # raises where the file itself is wrong
            if not item.sha1 and not item.md5 and digests.md5 == md5:
                upload.expected = md5  # it was the first reading that was wrong
                return
            if not item.sha1 and digests.md5 != upload.expected:
                raise file_errors.other_than_adopted(item) if digests.md5 == md5 else file_errors.unstable(item)
        except Refused:
            if not trip.stay:
                with suppress(Transient):  # what stays expires, and the verdict is not to be lost over it
                    await self.sweep(item)
            raise
        self.forget(item)
        raise file_errors.misread(item)

    # -- what an SLO is made of ------------------------------------------------------------------------------

    async def cut_of(self, item: Item, slo: RemoteObject) -> Cut | None:
        """How the drive's file was cut into the segments of an SLO; None where that is made of something else.

        An SLO's ETag is the MD5 of its segments' MD5s: the drive's, cut alike, must give the same. Raises as the drive
        and the store do.
        """
        begun = {segment for segment, _ in await self._earlier(item)} | {item.segment}
        found = await self._cut_in(item, slo, begun - {0})
        return found or await self._cut_in(item, slo, await self._unlisted_sizes(item, begun))

    async def _cut_in(self, item: Item, slo: RemoteObject, sizes: Iterable[int]) -> Cut | None:
        for segment in sizes:
            parts, whole, md5s = self.parts(item, segment), Hashes(sha1=bool(item.sha1)), []
            for at in parts:
                read = await self._source.digest(item.file, at.offset, at.length, feed=whole.feed, sha1=False)
                md5s.append(read.md5)
            if _slo_md5(md5s) == slo.md5 and item.sha1 == whole.sha1_so_far:
                return Cut(segment, parts, tuple(md5s), whole.md5_so_far)
        return None

    async def _unlisted_sizes(self, item: Item, tried: Container[int]) -> Sequence[int]:
        """The sizes of which the server has a first segment, though neither ledger nor listing knows.

        Some dozen requests, for the rarest of cases: taking our own SLO for somebody else's costs the user more.
        """
        found = []
        for segment in usual_sizes():
            first = names.segment_name(self._full(item), item.file.size, segment, 0)
            if segment not in tried and await self._store.head(first, segments=True) is not None:
                found.append(segment)
        return found

    async def stand_for_ever(self, parts: Sequence[Part], slo_md5: str) -> bool:
        """Whether the segments of an SLO are all there, as its ETag says, and never expire."""
        md5s = []
        for part in parts:
            stands = await self._store.head(part.name, segments=True)
            if stands is None or stands.size != part.length or stands.expires is not None:
                return False
            md5s.append(stands.md5)
        return _slo_md5(md5s) == slo_md5

    async def refill(self, item: Item, cut_: Cut, freight: Freight) -> None:
        """Sends again what an SLO of ours has lost, or what of it would expire; the SLO itself is not touched."""
        for part, md5 in zip(cut_.parts, cut_.md5s, strict=True):
            if await self._stays(part, md5):
                freight.confirmed(part.length)
                continue
            freight.ask(part.length)
            with self._source.open(item.file, part.offset) as reader:
                portion = Portion(reader, part.length, Hashes(md5=False), Hashes(md5=False))
                await self._store.put(
                    part.name, portion, part.length, etag=md5, segments=True, progress=freight.progress
                )
            freight.confirmed(part.length)

    # -- what is left of them --------------------------------------------------------------------------------

    async def sweep(self, item: Item) -> None:
        """Deletes what is left of an object's segments; where an SLO stands at its name they are its data, and stay.

        What this run has sent is deleted by name, as a listing that lags does not show it yet; of an upload that an
        earlier run has begun, or this one anew, any segment may be there.
        """
        whole = self._full(item)
        stands = await self._store.head(whole)
        if stands is not None and stands.slo:
            return
        left = await self._store.listing(names.segment_prefix(whole), segments=True)
        ours = {stored.name for stored in left if names.parse_segment(stored.name)}
        if upload := self._uploads.get(item.file):
            resumed = (part.name for part in self.parts(item, upload.segment) if upload.resumed)
            ours.update(part.name for part in upload.parts.values())
            ours.update(resumed)
            ours.add(names.slo_name(whole, item.file.size, upload.segment))
        if ours:
            await self._store.delete(sorted(ours))
        self.forget(item)

    async def clear(self, trip: Trip) -> None:
        """Deletes what an object was joined from, by name where this run alone has sent it; else as `sweep` does."""
        item, upload = trip.item, trip.upload
        if trip.earlier or upload.resumed:
            await self.sweep(item)
            return
        slo = names.slo_name(self._full(item), item.file.size, upload.segment)
        await self._store.delete([*(part.name for part in upload.in_order), slo])
        self.forget(item)

    async def sweep_others(self, trip: Trip) -> None:
        """Deletes what the listing showed of the object in other sizes than that of the SLO at its name."""
        others = [stored.name for (segment, _), stored in trip.earlier.items() if segment != trip.upload.segment]
        if others:
            await self._store.delete(sorted(others))

    async def renew(self, item: Item, now: float) -> None:
        """Lets the segments of an object that is begun live on; only while nothing else is done with that object.

        Where something stands at its name already, they are left as they are: they may be its data. One that never
        expires is never given an expiry. Raises as the store does.
        """
        whole = self._full(item)
        if await self._store.head(whole) is not None:
            return
        for stored in await self._store.listing(names.segment_prefix(whole), segments=True):
            if names.parse_segment(stored.name) and abs(now - stored.modified) >= RENEW_EVERY:
                stands = await self._store.head(stored.name, segments=True)
                if stands is not None and stands.expires is not None:
                    await self._renewed(stored.name)

    async def _renewed(self, name: str) -> bool:
        """Gives a segment another life; False where it is gone, though a listing may show it still."""
        try:
            await self._store.renew(name, LIFE)
        except Transient as error:
            if error.scope == "server":
                raise
            return False
        return True

    # -- names -----------------------------------------------------------------------------------------------

    def parts(self, item: Item, segment: int) -> tuple[Part, ...]:
        """The segments of a file, by their places and names."""
        whole, size = self._full(item), item.file.size
        return tuple(
            Part(index, offset, length, names.segment_name(whole, size, segment, index))
            for index, (offset, length) in enumerate(cut(size, segment))
        )

    def _full(self, item: Item) -> str:
        return names.object_name(self._prefix, item.name)


def _slo_md5(md5s: Sequence[str]) -> str:
    return hashlib.md5("".join(md5s).encode(), usedforsecurity=False).hexdigest()
