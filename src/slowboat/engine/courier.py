"""Carries one object from the drive to the target.

Knows the four ways an object goes up (core/way) and what stands at the final name after each. Must not know why it may
send, what comes next, or how anything is remembered. Nothing stands at the final name before its MD5 and SHA-1 are
known, and nothing that stands there is replaced: the store's guard is trusted where its probe has shown that it holds,
else the name is asked about just before.

A volume is held against the SHA-1 that duplicity wrote down. Where none is known (metadata, volumes whose plain
manifest is gone), the file is read whole before anything of it goes up: it must be well framed, and two readings must
agree.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slowboat.core import names, segmenting
from slowboat.core.errors import NeedsUser, Refused, Transient
from slowboat.core.way import NoWay, UploadWay, way
from slowboat.engine import file_errors
from slowboat.engine.proving import Prover
from slowboat.engine.segmented import Warranted
from slowboat.engine.segments import LIFE, Freight, Segments

if TYPE_CHECKING:
    from slowboat.core.way import Means
    from slowboat.core.words import Digests, Item, RemoteObject
    from slowboat.engine.ports import Reader, Source, Store
    from slowboat.engine.segments import Cut, Trip

READ_AGAIN = frozenset({"mismatch", "misread"})
"""Codes after which a body may have been another one than was proven."""

__all__ = ["LIFE", "Courier", "Freight", "Standing"]


@dataclass(frozen=True, slots=True)
class Standing:
    """An object of ours at its final name.

    Attributes:
        md5: of the file.
        stands: as the server shows it.
        segment: bytes per segment of the SLO that stands there, 0 for a plain object.
        whole: whether it can be read: no segment of it is gone or expires.
    """

    md5: str
    stands: RemoteObject
    segment: int = 0
    whole: bool = True

    @property
    def slo_md5(self) -> str:
        """The ETag of the SLO that stands there; "" for a plain object."""
        return self.stands.md5 if self.stands.slo else ""


class Courier:
    """Carries the objects of one migration; as many at once as it is called for."""

    def __init__(self, source: Source, store: Store, prefix: str) -> None:
        """`prefix` stands before the target's names."""
        self._source = source
        self._store = store
        self._prefix = prefix
        self._prover = Prover(source)
        self._segments = Segments(source, store, prefix, self._prover)

    async def carry(self, item: Item, means: Means, freight: Freight) -> Standing:
        """Brings one object to the target; answers what stands there now, which the server has confirmed.

        Raises:
            Refused: the file is rotten, changed or unreadable (codes "rotten", "unstable", "framing", "changed",
                "read-error"), something stands at its name already (code "exists"), or it cannot go up to this store
                (code "no-way").
            SourceAbsent, Transient, NeedsUser, asyncio.CancelledError: as the drive and the store raise them; Transient
                with code "cramped": the quota does not hold segments and what they are joined to.
            Stopped: the freight says that the next request may not be begun.
        """
        found = way(item.file.size, means, begun=bool(item.segment))
        if isinstance(found, NoWay):
            raise file_errors.no_way(item, found)
        if found is UploadWay.ONE_PUT and item.sha1 and item.file.size <= segmenting.SMALLEST:
            return await self._in_memory(item, means, freight)
        if found is UploadWay.ONE_PUT:
            return await self._in_one_put(item, means, freight)
        # before anything is read or paid for, or done to segments that may be data of what stands there
        if mended := await self._mended(item, freight):
            return mended
        if found is UploadWay.WHOLE:
            return await self._in_one_put(item, means, freight)
        if found is UploadWay.JOINED:
            return await self._joined(item, means, freight)
        return await self._in_place(item, means, freight)

    async def prove(self, item: Item) -> Digests:
        """As `Prover.prove`."""
        return await self._prover.prove(item)

    async def sweep(self, item: Item) -> None:
        """As `Segments.sweep`."""
        await self._segments.sweep(item)

    async def renew(self, item: Item, now: float) -> None:
        """As `Segments.renew`."""
        await self._segments.renew(item, now)

    # -- what stands there -----------------------------------------------------------------------------------

    async def same(self, item: Item, stands: RemoteObject) -> Standing | None:
        """What `stands`, where it holds the very bytes of the file on the drive; None where it does not.

        Raises as `carry`.
        """
        for _ in range(2):  # one wrong reading is no verdict
            if stands.size == item.file.size and (found := await self._same_now(item, stands)):
                return found
        return None

    async def _same_now(self, item: Item, stands: RemoteObject) -> Standing | None:
        if not stands.slo:
            if item.md5 == stands.md5:
                return Standing(item.md5, stands)
            md5 = (await self.prove(item)).md5  # before "another file stands there" is said, the drive itself is asked
            return Standing(md5, stands) if md5 == stands.md5 else None
        if item.md5 and item.segment and item.slo_md5 == stands.md5:  # known, and not only by its looks
            parts = self._segments.parts(item, item.segment)
            whole = await self._segments.stand_for_ever(parts, stands.md5)
            return Standing(item.md5, stands, item.segment, whole)
        cut = await self._segments.cut_of(item, stands)
        if cut is None:
            await self.prove(item)  # raises where it is the file on the drive that is wrong
            return None
        whole = await self._segments.stand_for_ever(cut.parts, stands.md5)
        return Standing(cut.md5, stands, cut.segment, whole)

    async def _mended(self, item: Item, freight: Freight) -> Standing | None:
        """An SLO of ours at the final name is given again what it has lost; None where nothing stands there.

        Raises:
            Refused: something else stands there.
        """
        stands = await self._store.head(self._full(item))
        if stands is None:
            return None
        cut: Cut | None = None
        if item.segment and stands.slo and stands.size == item.file.size:
            cut = await self._segments.cut_of(item, stands)
        if cut is None:
            raise file_errors.exists(item)
        await self._segments.refill(item, cut, freight)
        freight.known(cut.md5)
        return Standing(cut.md5, stands, cut.segment)

    async def _must_be_free(self, item: Item) -> None:
        """Raises where anything stands at the final name: the last request before ours."""
        if await self._store.head(self._full(item)) is not None:
            raise file_errors.exists(item)

    # -- one PUT ---------------------------------------------------------------------------------------------

    async def _in_memory(self, item: Item, means: Means, freight: Freight) -> Standing:
        """A small volume: read once, hashed, and sent out of memory."""
        freight.ask(item.file.size)
        body, digests = await self._prover.in_memory(item)
        freight.known(digests.md5)
        if not means.can.guards:
            await self._must_be_free(item)
        stored = await self._store.put(self._full(item), body, len(body), etag=digests.md5, progress=freight.progress)
        return Standing(digests.md5, stored)

    async def _in_one_put(self, item: Item, means: Means, freight: Freight) -> Standing:
        """An object in one PUT: its MD5 is known before, and the server is to hold the body against it.

        So the file is read twice, the second time mostly out of the system's memory, and is never held in ours.
        """
        freight.ask(item.file.size)
        if item.segment and means.cramped:
            await self.sweep(item)  # so that there is room for it in one piece
        md5 = item.md5 or (await self.prove(item)).md5
        try:
            stored = await self._streamed(item, md5, means, freight)
        except NeedsUser as error:
            raise file_errors.no_room(item, error) if error.code == "quota" else error from None
        except Transient as error:
            if error.code not in READ_AGAIN or (again := (await self.prove(item)).md5) == md5:
                raise
            if item.md5:
                raise file_errors.other_than_adopted(item) from None
            md5, stored = again, await self._streamed(item, again, means, freight)
        if item.segment:
            await self.sweep(item)
        return Standing(md5, stored)

    async def _streamed(self, item: Item, md5: str, means: Means, freight: Freight) -> RemoteObject:
        if item.sha1:  # of anything else, this is one reading's word until the server has agreed
            freight.known(md5)
        if not means.can.guards:
            await self._must_be_free(item)
        with self._source.open(item.file) as reader:
            body: Reader = reader
            if not means.can.checks_md5:
                body = Warranted(reader, item.file.size, md5, lambda: file_errors.misread(item))
            freight.last()
            return await self._store.put(self._full(item), body, item.file.size, etag=md5, progress=freight.progress)

    # -- segments --------------------------------------------------------------------------------------------

    async def _joined(self, item: Item, means: Means, freight: Freight) -> Standing:
        trip = await self._brought(item, means, freight, stay=False)
        md5 = trip.upload.hashes.md5_so_far or trip.upload.expected
        if item.sha1:  # of anything else, this is one reading's word until the server has agreed
            freight.known(md5)
        try:
            return await self._join(trip, md5, checked=bool(means.can.checks_slo))
        except Transient as error:
            trip.upload.doubted = error.scope == "object"
            raise
        except NeedsUser as error:
            if error.code != "quota":
                raise
            await self.sweep(item)
            raise file_errors.cramped(item) from None
        except Refused as error:
            problem = await self._find_the_cause(trip, md5, error) if error.code == "mismatch" else error
            if problem.code != "exists":  # what the server has is of no use, and another try is to send it again
                with suppress(Transient):
                    await self.sweep(item)
            raise problem from None

    async def _find_the_cause(self, trip: Trip, md5: str, refusal: Refused) -> Refused:
        """What the server joined has another MD5: is it a segment, a reading, or the server? What is to be raised then.

        Raises:
            Transient: the next call will see to it, and send no segment again that is right.
            Refused: the file on the drive is wrong.
        """
        item = trip.item
        if not trip.upload.alone and not (item.md5 and not item.sha1):
            self._segments.doubt(trip)
            raise file_errors.mismatch(item)
        if (await self.prove(item)).md5 == md5:
            if trip.upload.alone:
                return refusal
            self._segments.doubt(trip)
            raise file_errors.mismatch(item)
        if item.md5:
            return file_errors.other_than_adopted(item)
        self._segments.forget(item)
        raise file_errors.misread(item)

    async def _brought(self, item: Item, means: Means, freight: Freight, *, stay: bool) -> Trip:
        """All segments; where they have no room, it is said how much is needed, or that one piece needs less."""
        try:
            return await self._segments.bring(item, means, freight, stay=stay)
        except NeedsUser as error:
            if error.code != "quota":
                raise
            if stay or not self._segments.others(item):
                raise file_errors.no_room(item, error) from None
            await self.sweep(item)  # others' segments, or what was just joined from them, may take the room
            raise file_errors.cramped(item) from None

    async def _join(self, trip: Trip, md5: str, *, checked: bool) -> Standing:
        """The server makes one plain object of the segments, and they go."""
        item, whole = trip.item, self._full(trip.item)
        slo = names.slo_name(whole, item.file.size, trip.upload.segment)
        await self._store.put_slo(slo, trip.upload.in_order, checked=checked, expires_after=LIFE)
        await self._must_be_free(item)
        made = await self._store.copy(slo, whole, etag=md5)
        await self._segments.clear(trip)
        return Standing(md5, made)

    async def _in_place(self, item: Item, means: Means, freight: Freight) -> Standing:
        """An SLO stands at the final name. Its segments never expire, so whoever gives one up deletes them."""
        try:
            return await self._stay_an_slo(item, means, freight)
        except Refused as error:
            if error.code != "exists":
                await self.sweep(item)
            raise

    async def _stay_an_slo(self, item: Item, means: Means, freight: Freight) -> Standing:
        trip = await self._brought(item, means, freight, stay=True)
        md5 = trip.upload.hashes.md5_so_far
        freight.known(md5)
        try:
            await self._segments.make_sure_they_stay(trip)
            await self._must_be_free(item)
            made = await self._store.put_slo(
                self._full(item), trip.upload.in_order, segments=False, checked=bool(means.can.checks_slo)
            )
        except Transient as error:
            trip.upload.doubted = error.scope == "object"
            raise
        await self._segments.sweep_others(trip)
        self._segments.forget(item)
        return Standing(md5, made, trip.upload.segment)

    def _full(self, item: Item) -> str:
        return names.object_name(self._prefix, item.name)
