"""The verification: one listing of the target against the ledger, the drive and duplicity's manifests.

Knows how the evidence is gathered; must not know how it is judged (core/verify) nor how what is missing goes up again
(the plan). It works while slowboat is paused: it needs the network for a listing, and sends nothing. It changes nothing
but this: what was confirmed and is found missing or replaced is no longer taken for done.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from slowboat.core import manifest, names
from slowboat.core.errors import Refused, SourceAbsent, Stopped, Transient
from slowboat.core.framing import Framing
from slowboat.core.roster import is_removed
from slowboat.core.segmenting import cut
from slowboat.core.verify import Evidence, Reading, Report, damaged, verify
from slowboat.core.words import Phase, Role
from slowboat.engine import departures, drive, guard, target

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from slowboat.core.manifest import VolumeInfo
    from slowboat.core.plan import Sight
    from slowboat.core.words import Item, Permit, RemoteObject, SetId, SourceFile
    from slowboat.engine.context import Context

_Listed = dict[tuple[str, int, int], dict[int, "RemoteObject"]]
"""Segments by the object's name, its size and the segments' size, and by their number."""

NO_NETWORK = frozenset({"offline", "portal"})
"""Reasons with which even one listing is in vain; all others are about sending, or a guess that a try settles."""
LISTING, READING = "listing", "reading"
"""What it is doing, as D-Bus says it; "" while it is not."""


class Verifier:
    """Verifies one migration; one verification at a time."""

    def __init__(self, context: Context, permit: Callable[[], Permit], changed: Callable[[], None]) -> None:
        """`permit` tells why the network cannot be reached, where it cannot; `changed`: there is something to show."""
        self._context = context
        self._permit = permit
        self._changed = changed
        self._task: asyncio.Task[Report] | None = None
        self._state = ""
        self._total = 0
        self._whole = 0
        self._part = 0

    @property
    def state(self) -> str:
        """LISTING, READING, or "" while nothing is verified."""
        return self._state

    @property
    def total(self) -> int:
        """Bytes to be read from the drive by the verification under way; 0 where none are."""
        return self._total if self._state else 0

    @property
    def progress(self) -> float:
        """How much of them has been read, from 0.0 to 1.0."""
        return min(1.0, (self._whole + self._part) / self._total) if self._state and self._total else 0.0

    async def run(self, *, deep: bool, restore: bool = False) -> Report:
        """Verifies; with `deep` the drive is read whole, with `restore` the report says what could be restored.

        Raises:
            Transient: another verification is under way (code "verifying"), or the network or server is not there.
            NeedsUser: the server or the drive needs the user, or another backup stands at the target.
            Stopped: `stop` was called.
        """
        if self._task is not None:
            raise Transient(
                f"{self._context.order.name} is already being verified",
                hint="Wait until it has finished, or stop it: slowboat verify --stop",
                code="verifying",
            )
        self._task = asyncio.create_task(
            self._verify(deep=deep, restore=restore), name=f"{self._context.order.name}: verify"
        )
        try:
            await asyncio.wait([self._task])
            if self._task.cancelled():
                raise Stopped("the verification was stopped", code="stopped")
            return self._task.result()
        finally:
            self._task.cancel()  # whoever asked is gone: so is the wish
            self._task, self._state = None, ""
            self._changed()

    def stop(self) -> None:
        """Breaks off the verification under way, if there is one."""
        if self._task is not None:
            self._task.cancel()

    async def _verify(self, *, deep: bool, restore: bool) -> Report:
        context = self._context
        if not context.memory.items:
            raise Transient(
                f"there is nothing to verify: the backup of {context.order.name} has not been read from the drive yet",
                hint="Connect the drive, then see: slowboat status",
                code="not-adopted",
            )
        self._show(LISTING)
        self._ask_network()
        before = await target.observe(context)
        sight, items = before.sight, before.items
        files = await self._files()
        volumes = await _recorded(context, items)
        recorded = {set_id: {each.number: each.sha1 for each in found} for set_id, found in volumes.items()}
        lost = await self._lost(items, sight)
        read = await self._read_all(items, files or {}, recorded, sight) if deep else None
        seen = Evidence(
            at=sight.taken_at,
            items=items,
            objects=sight.objects,
            drive=files,
            recorded=recorded,
            lost=lost,
            read=read,
            finished=before.finished,
            removed=frozenset(item.name for item in context.memory.items if is_removed(item)),
            volumes=volumes if restore else None,
            under_way=context.observed.backup_under_way,
            departed=frozenset(departures.departed(context)),
            data_in=context.account().data_in,
        )
        report = verify(seen)
        guard.found(context, damaged(seen))
        context.memory.note("verified", "; ".join(one.text for one in report.sentences))
        return report

    def _show(self, state: str) -> None:
        self._state, self._total, self._whole, self._part = state, 0, 0, 0
        self._changed()

    def _ask_network(self) -> None:
        reason = next((one for one in self._permit().reasons if one.code in NO_NETWORK), None)
        if reason is not None:
            raise Transient(
                f"what is in the cloud cannot be checked now: {reason.text[:1].lower()}{reason.text[1:]}",
                hint=reason.cure or "Try again when there is a network",
                code=reason.code,
            )

    # -- the target ------------------------------------------------------------------------------------------

    async def _lost(self, items: Sequence[Item], sight: Sight) -> frozenset[str]:
        """The SLOs at the target of which the segments' container does not hold all the segments as they were sent.

        Not every server looks at its segments before it hands an SLO out (docs/swift.md).
        """
        slos = [item for item in items if (stands := sight.objects.get(item.name)) and stands.slo]
        if not slos:
            return frozenset()
        prefix = f"{names.SEGMENTS}{self._context.order.target.prefix}"
        listed: _Listed = {}
        for stored in await self._context.tools.store.listing(prefix, segments=True):
            one = names.parse_segment(stored.name)
            if one is not None and one.index is not None:
                listed.setdefault((one.object_name, one.size, one.segment), {})[one.index] = stored
        return frozenset([item.name for item in slos if not await self._is_whole(item, listed)])

    async def _is_whole(self, item: Item, listed: _Listed) -> bool:
        """Whether all segments are there in one size, and make up the SLO that was confirmed."""
        full, size = self._context.full_name(item.name), item.file.size
        begun = {segment for name, whole, segment in listed if (name, whole) == (full, size)} | {item.segment}
        for segment in begun - {0}:
            stored = listed.get((full, size, segment), {})
            lengths = [length for _, length in cut(size, segment)]
            parts = [stored.get(index) or await self._by_name(item, segment, index) for index in range(len(lengths))]
            if all(part is not None and part.size == length for part, length in zip(parts, lengths, strict=True)):
                md5s = "".join(part.md5 for part in parts if part is not None).encode()
                if item.slo_md5 in ("", hashlib.md5(md5s, usedforsecurity=False).hexdigest()):
                    return True
        return False

    async def _by_name(self, item: Item, segment: int, index: int) -> RemoteObject | None:
        """A segment that the listing lacks: it may lag."""
        name = names.segment_name(self._context.full_name(item.name), item.file.size, segment, index)
        return await self._context.tools.store.head(name, segments=True)

    # -- the drive -------------------------------------------------------------------------------------------

    async def _files(self) -> Mapping[str, SourceFile] | None:
        try:
            return {file.name: file for file in await drive.listing_or_copy(self._context)}
        except SourceAbsent as error:
            drive.is_absent(self._context, error)
            return None

    async def _read_all(
        self,
        items: Sequence[Item],
        files: Mapping[str, SourceFile],
        recorded: Mapping[SetId, Mapping[int, str]],
        sight: Sight,
    ) -> Mapping[str, Reading]:
        """Reads every file that has the size it was adopted with, until the drive goes away."""
        shown = [(item, files.get(item.name)) for item in items]
        there = [replace(item, file=file) for item, file in shown if file is not None and file.size == item.file.size]
        self._show(READING)
        self._total = sum(item.file.size for item in there)
        read: dict[str, Reading] = {}
        for item in there:
            try:
                read[item.name] = await self._read(item, _sha1(item, recorded), sight.objects.get(item.name))
            except SourceAbsent as error:
                drive.is_absent(self._context, error)
                break
            self._whole += item.file.size
            self._part = 0
        return read

    async def _read(self, item: Item, sha1: str, stands: RemoteObject | None) -> Reading:
        """One file, read once more where the first reading is wrong: it is a drive, and drives and cables err."""
        first = await self._read_once(item, sha1, stands)
        return await self._read_once(item, sha1, stands) if first.wrong else first

    async def _read_once(self, item: Item, sha1: str, stands: RemoteObject | None) -> Reading:
        framing = None if sha1 else Framing(item.name)
        parts = _Parts(item.segment) if stands is not None and stands.slo and item.segment else None
        self._part = 0

        def feed(block: bytes) -> None:  # in the source's thread
            self._part += len(block)
            if framing:
                framing.feed(block)
            if parts:
                parts.feed(block)

        try:
            digests = await self._context.tools.source.digest(item.file, feed=feed)
        except Refused as error:
            return Reading(wrong=f"cannot be read ({error.what})", unreadable=True)
        if sha1 and digests.sha1 != sha1:
            return Reading(wrong="has a different SHA-1 from the one that duplicity recorded")
        if framing and (wrong := framing.finish()):
            return Reading(wrong=wrong, unhashed=True)
        known = (item.md5, stands.md5 if stands is not None else "")
        if item.phase is Phase.DONE and not sha1 and item.md5 and digests.md5 not in known:
            return Reading(wrong="has different contents from those that were sent", unhashed=not sha1)
        return Reading(digests.md5, slo_md5=parts.md5() if parts else "", unhashed=not sha1)


class _Parts:
    """The MD5 that an SLO of a file must have: that of its segments' MD5s, one after the other (docs/swift.md)."""

    def __init__(self, segment: int) -> None:
        self._segment = segment
        self._all = hashlib.md5(usedforsecurity=False)
        self._one = hashlib.md5(usedforsecurity=False)
        self._left = segment

    def feed(self, block: bytes) -> None:
        """The file's next bytes."""
        while block:
            self._one.update(block[: self._left])
            taken = min(self._left, len(block))
            block, self._left = block[taken:], self._left - taken
            if not self._left:
                self._close()

    def md5(self) -> str:
        """At the end of the file."""
        if self._left < self._segment:
            self._close()
        return self._all.hexdigest()

    def _close(self) -> None:
        self._all.update(self._one.hexdigest().encode())
        self._one = hashlib.md5(usedforsecurity=False)
        self._left = self._segment


def _sha1(item: Item, recorded: Mapping[SetId, Mapping[int, str]]) -> str:
    """What duplicity wrote down for a volume: its manifest's word, or the ledger's where no copy of that is kept."""
    parsed = names.parse(item.name)
    volumes = recorded.get(item.set_id, {})
    return volumes.get(parsed.volume, item.sha1) if parsed is not None and item.role is Role.VOLUME else item.sha1


async def _recorded(context: Context, items: Sequence[Item]) -> dict[SetId, Sequence[VolumeInfo]]:
    """What the copies of duplicity's manifests say of the volumes, by set. They may be large: in a thread.

    Where a copy is damaged, what the ledger took from it at the adoption holds.
    """
    found: dict[SetId, Sequence[VolumeInfo]] = {}
    for item in items:
        if item.role is not Role.MANIFEST:
            continue
        text = context.tools.ledger.manifest(context.order.name, names.metadata_key(item.name))
        if text is None:
            continue
        try:
            read = await asyncio.to_thread(manifest.parse_bytes, text, item.name)
        except Refused as error:
            context.memory.note("ledger", f"slowboat's own copy of a manifest is damaged: {error.what}")
            continue
        found[item.set_id] = read.volumes
    return found
