"""One object's way to a model store, driven as a migration drives it: what an error means, and what is remembered.

The unit of a line is 64 bytes here instead of a MiB, so that an object of some hundred bytes has several segments.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import random
from dataclasses import replace
from typing import TYPE_CHECKING
from unittest.mock import patch

from engine.model_source import ModelSource
from engine.model_store import CAN, SWIFT, ModelStore, Quirks
from slowboat.core import names, segmenting
from slowboat.core.errors import Refused, SlowboatError, SourceAbsent, Transient
from slowboat.core.plan import SETTLED, advance
from slowboat.core.segmenting import UplinkEstimate
from slowboat.core.way import Means, UploadWay, way
from slowboat.core.words import Event, Item, Limits, Phase, Role, SetId
from slowboat.engine.courier import Courier, Freight

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from slowboat.core.capabilities import Capabilities
    from slowboat.core.words import RemoteObject

UNIT = 64
VOLUME = "duplicity-full.20260101T000000Z.vol1.difftar.gpg"
GZIPPED = "duplicity-full.20260101T000000Z.vol1.difftar.gz"
SIGNATURES = "duplicity-full-signatures.20260101T000000Z.sigtar.gz"
PREFIX = "backup/"
LIMITS = Limits(max_object=64 * UNIT)


def small_units():
    """Lets a segment be as small as 64 bytes; a context manager."""
    return patch.multiple(segmenting, MIB=UNIT, SMALLEST=UNIT, LARGEST=64 * UNIT)


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def volume(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def encrypted(size: int, seed: int = 1) -> bytes:
    """An OpenPGP message of `size` bytes, at least 21: a session key's packet, and one of encrypted data."""
    key = b"\x8c\x0d\x04\x09\x03\x02" + bytes(8) + b"\xff"
    body = volume(size - len(key) - 6, seed)
    return key + b"\xd2\xff" + len(body).to_bytes(4, "big") + body


def signatures(size: int) -> bytes:
    """A gzip file of `size` bytes: zeros after a member are padding."""
    packed = gzip.compress(volume(size - 64), mtime=0)
    assert len(packed) <= size
    return packed.ljust(size, b"\0")


def item_of(source: ModelSource, name: str) -> Item:
    data = source.files[name]
    metadata = name == SIGNATURES
    return Item(
        file=source.file(name),
        role=Role.SIGNATURES if metadata else Role.VOLUME,
        chain=0,
        set_id=SetId(1, 1),
        rank=0,
        sha1="" if metadata else hashlib.sha1(data, usedforsecurity=False).hexdigest(),
    )


class CourierBed:
    """A source, a store, a courier between them, and the ledger's row of one object.

    Attributes:
        right: the bytes that are to arrive.
        errors: what went wrong, oldest first.
    """

    def __init__(
        self,
        data: bytes,
        name: str = VOLUME,
        *,
        limits: Limits = LIMITS,
        quirks: Quirks = SWIFT,
        can: Capabilities | None = None,
        changed: Callable[[], None] = lambda: None,
        hashed: bool = True,
    ) -> None:
        """With `hashed`, duplicity has written down the SHA-1 of a volume; of signatures it never does."""
        self.now = 1e9
        self.right, self.name, self.full = data, name, names.object_name(PREFIX, name)
        self.limits, self.estimate = limits, UplinkEstimate()
        self.can, self.cramped = can or CAN[quirks], False
        self.source = ModelSource(**{name: data})
        self.store = ModelStore(lambda: self.now, limits=limits, quirks=quirks, changed=changed)
        self.item = item_of(self.source, name)
        if not hashed:
            self.item = replace(self.item, sha1="")
        self.errors: list[BaseException] = []
        self.confirmed = 0
        self.lost = False  # it stands, and was seen to have lost parts
        self.courier = self.new_courier()

    def new_courier(self) -> Courier:
        return Courier(self.source, self.store, PREFIX)

    def restart(self, *, forget: bool = False) -> None:
        """slowboat starts again; with `forget` its ledger is gone too."""
        self.courier = self.new_courier()
        if forget:
            self.item = replace(self.item, phase=Phase.QUEUED, md5="", segment=0, attempts=0, error="", slo_md5="")

    @property
    def in_place(self) -> bool:
        """Whether it stands at its name as an SLO, should it go up in segments."""
        return way(len(self.right), self.means, begun=True) is UploadWay.IN_PLACE

    @property
    def means(self) -> Means:
        """What there is to send with."""
        return Means(self.estimate, self.limits, self.can, self.cramped)

    @property
    def segments(self) -> list[str]:
        """What lives in the segments' container."""
        return sorted(self.store.alive(segments=True))

    def freight(self) -> Freight:
        def confirmed(length: int) -> None:
            self.confirmed += length

        return Freight(
            now=self.now,
            progress=lambda count: None,
            confirmed=confirmed,
            begun=lambda segment: self._remember(segment=segment),
            known=lambda md5: self._remember(md5=md5),
        )

    async def carry(self) -> str:
        found = await self.courier.carry(self.item, self.means, self.freight())
        self._remember(slo_md5=found.slo_md5)
        return found.md5

    async def same(self, stands: RemoteObject) -> str:
        """The MD5 of the file where `stands` is the same and can be read; "" where it does not hold its bytes."""
        found = await self.courier.same(self.item, stands)
        return found.md5 if found and found.whole else ""

    # -- as engine/migration does it ---------------------------------------------------------------------------

    async def act(self) -> None:
        """The next action for this object, as core/plan would choose it, with all that can go wrong in it."""
        try:
            if not self.lost and (self.item.phase is Phase.UNCHECKED or await self._is_listed()):
                await self._check()
            else:
                await self._send()
        except Refused as error:
            self.errors.append(error)
            if error.code != "exists":
                self._happened(Event.REJECTED, error=error.code)
        except (Transient, SourceAbsent, asyncio.CancelledError) as error:
            self.errors.append(error)
            self.cramped |= getattr(error, "code", "") == "cramped"
        if self.item.phase is Phase.SENDING:
            self._happened(Event.INTERRUPTED)

    async def until_settled(self, most: int = 30) -> None:
        """Goes on until the object is DONE or REFUSED, which takes so many actions at most."""
        for _ in range(most):
            if self.item.phase not in SETTLED:
                await self.act()
        assert self.item.phase in SETTLED, f"no end: {self.item.phase}, {self.errors[-3:]}"

    async def finish(self) -> None:
        """What a migration does at its very end."""
        if self.item.segment and self.item.phase in SETTLED and not self.item.slo_md5:
            await self.courier.sweep(self.item)

    async def wait(self) -> None:
        """What a migration does for an object that is begun and has to wait for long."""
        if self.item.segment and self.item.phase not in SETTLED:
            await self.courier.renew(self.item, self.now)

    async def or_break(self, act: Coroutine[None, None, None]) -> None:
        """The same, with all that can go wrong in it."""
        try:
            await act
        except (SlowboatError, asyncio.CancelledError) as error:
            self.errors.append(error)

    async def _is_listed(self) -> bool:
        return any(row.name == self.full for row in await self.store.listing(PREFIX))

    async def _check(self) -> None:
        stands = await self.store.head(self.full)
        if stands is None:
            self._happened(Event.ABSENT)
            if self.item.phase is Phase.QUEUED:
                return
        found = await self.courier.same(self.item, stands)
        if found is None:
            if self.item.segment:
                await self.courier.sweep(self.item)
            raise Refused("another file stands there", code="conflict")
        if not found.whole:
            self._remember(segment=found.segment)
            self._happened(Event.ABSENT)
            self.lost = True
            return
        self._happened(Event.CONFIRMED)
        self._remember(md5=found.md5, slo_md5=found.slo_md5)
        if self.item.segment and not found.slo_md5:
            await self.courier.sweep(self.item)

    async def _send(self) -> None:
        self.lost = False
        self._happened(Event.STARTED)
        md5 = await self.carry()
        self._happened(Event.CONFIRMED)
        self._remember(md5=md5)

    def _happened(self, event: Event, error: str = "") -> None:
        self.item = replace(self.item, phase=advance(self.item.phase, event), error=error)

    def _remember(self, **known: str | int) -> None:
        self.item = replace(self.item, **known)
