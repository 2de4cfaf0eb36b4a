"""Carries one object from the drive to the target, and resumes in its middle.

Knows the two ways an object goes up (docs/swift.md): one PUT, or segments, an SLO of them, and a server-side COPY
to the final name. Must not know why it may send, what comes next, or how anything is remembered. Nothing stands at
the final name before its MD5 and SHA-1 are known; nothing is left in the segments' container afterwards.

A volume is held against the SHA-1 that duplicity wrote down. Where none is known (metadata, volumes whose plain
manifest is gone), the file is read whole before anything of it goes up: it must be well framed, and two readings must
agree.

What an interruption costs: the segment under way. The segments that the server holds are found by one listing, on
this machine or with an empty ledger. Within one run the hashes of what has gone up are kept too, so that the drive
is read once; after a restart the drive (not the line) pays for them again.

Every segment expires, but for those of an SLO that stands at a final name. They are made permanent just before it
is put there, so a run that is killed between the two leaves permanent segments; the next run lets them expire again
before it does anything else with that object.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slowboat.core import names
from slowboat.core.errors import Refused, Stopped, Transient
from slowboat.core.framing import Framing
from slowboat.core.plan import RENEW_EVERY
from slowboat.core.segmenting import UplinkEstimate, cut, fits_one_put, segment_size, usual_sizes
from slowboat.core.words import Digests
from slowboat.engine import file_errors
from slowboat.engine.segmented import Hashes, Part, Portion, SegmentedUpload

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping, Sequence

    from slowboat.core.words import Item, Limits, RemoteObject, SourceFile
    from slowboat.engine.ports import Source, Store

LIFE = 30 * 86400
"""Seconds until an abandoned segment expires: longer than any holiday, and renewed while somebody cares."""


@dataclass(frozen=True, slots=True)
class Freight:
    """What the courier tells while it carries one object.

    Attributes:
        now: seconds since the epoch, when it sets out.
        progress: told bytes handed to the socket, from a worker thread.
        confirmed: told bytes that the server has confirmed as a segment.
        begun: told the size of the segments, before the first one goes up.
        known: told the MD5 of the whole file, before anything stands at the final name.
        may_begin: whether a request of so many bytes may be begun now.
    """

    now: float
    progress: Callable[[int], None]
    confirmed: Callable[[int], None]
    begun: Callable[[int], None]
    known: Callable[[str], None]
    may_begin: Callable[[int], bool] = lambda _: True


@dataclass(frozen=True, slots=True)
class _Trip:
    """One call of `carry` for an object in segments: the upload, and what the server's listing showed of it."""

    item: Item
    upload: SegmentedUpload
    held: Mapping[tuple[int, int], RemoteObject]
    freight: Freight


class Courier:
    """Carries the objects of one migration; as many at once as it is called for."""

    def __init__(self, source: Source, store: Store, prefix: str, *, concatenates: bool) -> None:
        """`prefix` stands before the target's names; `concatenates`: whether the store's COPY makes plain objects."""
        self._source = source
        self._store = store
        self._prefix = prefix
        self._concatenates = concatenates
        self._uploads: dict[SourceFile, SegmentedUpload] = {}

    async def carry(self, item: Item, estimate: UplinkEstimate, limits: Limits, freight: Freight) -> str:
        """Brings one object to the target; answers its MD5, which the server has confirmed.

        Raises:
            Refused: the file is rotten, changed or unreadable (codes "rotten", "unstable", "framing", "changed",
                "read-error"), or something stands at its name already (code "exists").
            SourceAbsent, Transient, NeedsUser, asyncio.CancelledError: as the drive and the store raise them.
            Stopped: the freight says that the next request may not be begun.
        """
        if not item.segment and fits_one_put(item.file.size, estimate, limits):
            return await self._in_one_put(item, freight)
        return await self._in_segments(item, estimate, limits, freight)

    async def prove(self, item: Item) -> Digests:
        """Reads the drive's file whole and holds it against duplicity's own hash or its framing. Raises as `carry`.

        What fails is read once more before it is condemned.
        """
        digests, error = await self._read_whole(item)
        if error is not None:
            digests, error = await self._read_whole(item)
        if error is not None:
            raise error
        return digests

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

    async def same(self, item: Item, stands: RemoteObject) -> str:
        """The MD5 of the file on the drive where `stands` holds the very same bytes; "" where it does not.

        Raises as `carry`.
        """
        for _ in range(2):  # one wrong reading is no verdict
            if stands.size == item.file.size and (md5 := await self._same_now(item, stands)):
                return md5
        return ""

    async def _same_now(self, item: Item, stands: RemoteObject) -> str:
        if stands.slo:
            return await self._same_slo(item, stands)
        if item.md5 == stands.md5:
            return item.md5
        md5 = (await self.prove(item)).md5  # before "another file stands there" is said, the drive itself is asked
        return md5 if md5 == stands.md5 else ""

    async def _same_slo(self, item: Item, stands: RemoteObject) -> str:
        """An SLO's ETag is the MD5 of its segments' MD5s: the drive's, cut alike, must give the same.

        Raises:
            Refused: code "segments-gone": it is ours, but the server has lost data of it.
        """
        begun = {segment for segment, _ in await self._held(item)} | {item.segment}
        md5 = await self._made_of(item, stands, begun - {0})
        md5 = md5 or await self._made_of(item, stands, await self._unlisted_sizes(item, begun))
        if not md5:
            await self.prove(item)  # raises where it is the file on the drive that is wrong
        return md5

    async def _made_of(self, item: Item, stands: RemoteObject, sizes: Iterable[int]) -> str:
        """The file's MD5 where an SLO is made of its segments in one of these sizes, which then never expire."""
        for segment in sizes:
            parts, whole = self._parts(item, segment), Hashes()
            md5s = [(await self._source.digest(item.file, at.offset, at.length, feed=whole.feed)).md5 for at in parts]
            alike = hashlib.md5("".join(md5s).encode(), usedforsecurity=False).hexdigest() == stands.md5
            if alike and item.sha1 in ("", whole.sha1.hexdigest()):
                await self._make_permanent(item, parts)
                return whole.md5.hexdigest()
        return ""

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

    async def _make_permanent(self, item: Item, parts: Sequence[Part]) -> None:
        """What an SLO at a final name is made of must never expire: whoever finds one sees to it once more."""
        for part in parts:
            if not await self._renewed(part.name, 0):
                raise file_errors.lost_data(item)

    async def sweep(self, item: Item) -> None:
        """Deletes what is left of an object's segments; where an SLO stands at its name they are its data, and stay.

        What this run has sent is deleted by name, as a listing that lags does not show it yet.
        """
        whole = self._full(item)
        stands = await self._store.head(whole)
        if stands is not None and stands.slo:
            return
        left = await self._store.listing(names.segment_prefix(whole), segments=True)
        ours = {stored.name for stored in left if names.parse_segment(stored.name)}
        if upload := self._uploads.get(item.file):
            ours.update(part.name for part in upload.parts)
            ours.add(names.slo_name(whole, item.file.size, upload.segment))
        if ours:
            await self._store.delete(sorted(ours))
        self._uploads.pop(item.file, None)

    async def renew(self, item: Item, now: float) -> None:
        """Lets the segments of an object that is begun live on; only while nothing else is done with that object.

        Where something stands at its name already, they are left as they are: they may be its data, which must not
        expire, and the next look at the object settles it. Raises as the store does.
        """
        whole = self._full(item)
        if await self._store.head(whole) is not None:
            return
        for stored in await self._store.listing(names.segment_prefix(whole), segments=True):
            if names.parse_segment(stored.name) and abs(now - stored.modified) >= RENEW_EVERY:
                await self._renewed(stored.name, LIFE)

    # -- one PUT ---------------------------------------------------------------------------------------------

    async def _in_one_put(self, item: Item, freight: Freight) -> str:
        _ask(freight, item.file.size)
        body, digests = await (self._hashed(item) if item.sha1 else self._unhashed(item))
        freight.known(digests.md5)
        stored = await self._store.put(self._full(item), body, len(body), etag=digests.md5, progress=freight.progress)
        if stored.md5 != digests.md5:
            raise file_errors.mismatch(item)
        return digests.md5

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

    # -- segments --------------------------------------------------------------------------------------------

    async def _in_segments(self, item: Item, estimate: UplinkEstimate, limits: Limits, freight: Freight) -> str:
        if await self._store.head(self._full(item)) is not None:
            raise file_errors.exists(item)  # before anything is paid for, or done to segments that may be its data
        held = await self._held(item)
        upload = self._segmented(item, held, estimate, limits)
        freight.begun(upload.segment)
        in_place = item.file.size > limits.max_object or not self._concatenates
        if in_place and upload.permanent:
            await self._let_expire(item, upload, begun=bool(item.segment or held))
        if not item.sha1 and not upload.expected:
            upload.expected = (await self.prove(item)).md5
        trip = _Trip(item, upload, held, freight)
        for part in self._parts(item, upload.segment):
            await self._segment(trip, part)
        await self._judge(item, upload)
        freight.known(upload.hashes.md5.hexdigest())
        await self._finish(item, upload, in_place=in_place)
        return upload.hashes.md5.hexdigest()

    async def _held(self, item: Item) -> Mapping[tuple[int, int], RemoteObject]:
        """The segments of this very file that the server has: (segment size, index) to object."""
        listing = await self._store.listing(names.segment_prefix(self._full(item)), segments=True)
        found: dict[tuple[int, int], RemoteObject] = {}
        for stored in listing:
            parsed = names.parse_segment(stored.name)
            if parsed and parsed.size == item.file.size and parsed.index is not None:
                found[parsed.segment, parsed.index] = stored
        return found

    def _segmented(
        self, item: Item, held: Mapping[tuple[int, int], RemoteObject], estimate: UplinkEstimate, limits: Limits
    ) -> SegmentedUpload:
        """The upload under way, or a new one in the size that was begun, here or by a run that is forgotten."""
        known = self._uploads.get(item.file)
        if known is None:
            begun: dict[int, int] = {}
            for (segment, _), stored in held.items():
                begun[segment] = begun.get(segment, 0) + stored.size
            most = max(begun, key=lambda segment: begun[segment], default=0)
            known = SegmentedUpload(
                item.segment or most or segment_size(item.file.size, estimate, limits),
                expected=item.md5,
                resumed=bool(item.segment or held),
                permanent=True,  # by a run that was killed at the very end, for all that is known
            )
            self._uploads[item.file] = known
        known.lagging = True
        return known

    async def _let_expire(self, item: Item, upload: SegmentedUpload, *, begun: bool) -> None:
        """Takes back what `_stay_an_slo` did for an SLO that has not come to stand at its name.

        Where nothing tells of an earlier run (`begun`), the first segment's absence is enough.
        """
        for part in self._parts(item, upload.segment):
            if not await self._renewed(part.name, LIFE) and not begun:
                break
        upload.permanent = False

    async def _renewed(self, name: str, life: int) -> bool:
        """Gives a segment another life; False where it is gone, though a listing may show it still."""
        try:
            await self._store.renew(name, life)
        except Transient as error:
            if error.scope == "server":
                raise
            return False
        return True

    async def _segment(self, trip: _Trip, part: Part) -> None:
        """One segment: confirmed by what the server has already, or sent."""
        item, upload = trip.item, trip.upload
        listed = trip.held.get((upload.segment, part.index))
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
            upload.parts.append(fresh)
            upload.hashes = hashes
        elif fresh.md5 != known.md5:
            self._uploads.pop(item.file, None)
            raise file_errors.misread(item)

    async def _by_name(self, upload: SegmentedUpload, part: Part) -> RemoteObject | None:
        """A segment asked for by name.

        After the first that the server does not have, no unlisted one is asked for, unless an earlier run may have
        sent it: a request costs a thousandth of a segment.
        """
        stands = await self._store.head(part.name, segments=True)
        upload.lagging = upload.resumed or stands is not None or upload.known(part) is not None
        return stands

    async def _is_it(self, trip: _Trip, part: Part, stored: RemoteObject) -> bool:
        """Whether the server's segment is the file's: by this run's own reading, else by one made now.

        One that has lived for half of its life is renewed: an upload may take longer than one life.
        """
        upload, known = trip.upload, trip.upload.known(part)
        if stored.size != part.length:
            return False
        hashes = upload.hashes if known else await self._hashes_with(trip, part, stored)
        if hashes is None or (known and known.md5 != stored.md5):
            return False
        if trip.freight.now - stored.modified > LIFE / 2 and not await self._renewed(stored.name, LIFE):
            return False
        if known is None:
            upload.parts.append(stored)
            upload.hashes = hashes
        trip.freight.confirmed(part.length)
        return True

    async def _hashes_with(self, trip: _Trip, part: Part, stored: RemoteObject) -> Hashes | None:
        """The file's hashes up to the end of a part that the drive holds as the server does; None where it does not.

        A reading that differs is made again: the drive is cheaper than the line.
        """
        for _ in range(2):
            hashes = trip.upload.hashes.copy()  # a reading that is broken off must not have touched the upload's own
            read = await self._source.digest(trip.item.file, part.offset, part.length, feed=hashes.feed)
            if read.md5 == stored.md5:
                return hashes
        return None

    async def _send(self, trip: _Trip, part: Part) -> tuple[RemoteObject, Hashes]:
        """Sends one segment; answers what the server stored, and the upload's hashes after it."""
        _ask(trip.freight, part.length)
        with self._source.open(trip.item.file, part.offset) as reader:
            portion = Portion(reader, part.length, trip.upload.hashes)
            stored = await self._store.put(
                part.name, portion, part.length, segments=True, expires_after=LIFE, progress=trip.freight.progress
            )
        if stored.md5 != portion.alone.md5.hexdigest():
            raise file_errors.mismatch(trip.item)
        trip.freight.confirmed(part.length)
        return stored, portion.whole

    async def _judge(self, item: Item, upload: SegmentedUpload) -> None:
        """Holds the whole against duplicity's hash, or the first reading; a file that fails is read once more."""
        md5 = upload.hashes.md5.hexdigest()
        right = upload.hashes.sha1.hexdigest() == item.sha1 if item.sha1 else upload.expected in ("", md5)
        if right:
            return
        try:
            digests = await self.prove(item)  # raises where the file itself is wrong
            if not item.sha1 and not item.md5 and digests.md5 == md5:
                upload.expected = md5  # it was the first reading that was wrong
                return
            if not item.sha1 and digests.md5 != upload.expected:
                raise file_errors.other_than_adopted(item) if digests.md5 == md5 else file_errors.unstable(item)
        except Refused:
            with suppress(Transient):  # what stays expires, and the verdict is not to be lost over it
                await self.sweep(item)
            raise
        self._uploads.pop(item.file, None)
        raise file_errors.misread(item)

    async def _finish(self, item: Item, upload: SegmentedUpload, *, in_place: bool) -> None:
        try:
            if in_place:
                await self._stay_an_slo(item, upload)
            else:
                await self._become_plain(item, upload)
        except Transient as error:
            upload.doubted = error.scope == "object"
            raise
        except Refused as error:
            if error.code != "exists":  # what the server has is of no use, and another try is to send it again
                with suppress(Transient):
                    await self.sweep(item)
            raise

    async def _become_plain(self, item: Item, upload: SegmentedUpload) -> None:
        """The server makes one plain object of the segments, and they go."""
        whole = self._full(item)
        slo = names.slo_name(whole, item.file.size, upload.segment)
        await self._store.put_slo(slo, upload.parts, expires_after=LIFE)
        if await self._store.head(whole) is not None:
            raise file_errors.exists(item)
        await self._store.copy(slo, whole, etag=upload.hashes.md5.hexdigest())
        await self.sweep(item)

    async def _stay_an_slo(self, item: Item, upload: SegmentedUpload) -> None:
        """The SLO stands at the final name; its segments must never expire, and that is so before it stands there."""
        whole = self._full(item)
        if await self._store.head(whole) is not None:
            raise file_errors.exists(item)
        upload.permanent = True
        for part in upload.parts:
            await self._store.renew(part.name, 0)
        await self._store.put_slo(whole, upload.parts, segments=False)
        self._uploads.pop(item.file, None)

    def _parts(self, item: Item, segment: int) -> tuple[Part, ...]:
        whole, size = self._full(item), item.file.size
        return tuple(
            Part(index, offset, length, names.segment_name(whole, size, segment, index))
            for index, (offset, length) in enumerate(cut(size, segment))
        )

    def _full(self, item: Item) -> str:
        return names.object_name(self._prefix, item.name)


def _ask(freight: Freight, length: int) -> None:
    """Raises Stopped where a request of that length may not be begun now."""
    if not freight.may_begin(length):
        raise Stopped(f"a request of {length} bytes may not be begun now", code="permit")


def _digests(body: bytes) -> Digests:
    return Digests(
        hashlib.md5(body, usedforsecurity=False).hexdigest(),
        hashlib.sha1(body, usedforsecurity=False).hexdigest(),
        len(body),
    )
