"""The drive's side of a migration: is it there, is it still the same, what is to be adopted?

Knows when a new set on the drive belongs to the chain (before the handover) and when it would fork it (after).
Must not know what is sent when.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from slowboat.core import names
from slowboat.core.errors import NeedsUser, SourceAbsent
from slowboat.core.words import HandoverState
from slowboat.engine import adoption, frontend

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slowboat.core.words import SourceFile
    from slowboat.engine.work import Work

DRIVE = "drive"
"""The ledger's fact that holds the identity of the adopted drive."""
OTHER_DRIVE = "other-drive"
"""The code of the error where another drive stands in its place."""
PATIENCE = 60.0
"""Seconds that listing the drive may take: a sleeping disk spins up in ten, a dying one never."""


async def look(work: Work) -> None:
    """Notes whether the drive is there, and whether it still holds what was adopted.

    Raises:
        NeedsUser: it is there and cannot be read.
    """
    seen = work.seen
    seen.look_at_drive = False
    try:
        files = await listing_or_copy(work)
    except SourceAbsent as error:
        is_absent(work, error)
        return
    if work.memory.items and not adoption.is_here(files, work.memory.items):
        is_absent(work, _holds_nothing_of_it(work))
        return
    if not seen.drive_present and seen.last_error.startswith(seen.absent_why):
        seen.last_error = ""  # a drive that is back was no trouble
    seen.drive_present, seen.absent_why = True, ""
    if not work.memory.items or adoption.fingerprint(files) == work.memory.fact("fingerprint"):
        return
    if work.memory.handover is HandoverState.DONE:
        _tell_fork(work, files)
    else:
        seen.drive_changed = True


def _holds_nothing_of_it(work: Work) -> SourceAbsent:
    """A mount point that a drive has left, or a drive that nothing tells from the right one."""
    return SourceAbsent(
        f"{work.order.source_dir} holds none of the files that are to be moved: the drive with them is not there",
        hint="Connect it; if that backup is gone for good, give the migration of the new one another name",
        code=OTHER_DRIVE,
    )


def is_absent(work: Work, error: SourceAbsent) -> None:
    """Notes that the drive is not there, and what is there instead."""
    work.seen.drive_present = False
    work.seen.absent_why = error.what
    work.seen.last_error = str(error)


async def adopt(work: Work) -> None:
    """Freezes the list of files; before the handover again, when the drive has new sets.

    Raises:
        NeedsUser: it cannot be adopted as it is; a list that was adopted before stays in force instead.
        SourceAbsent: the drive went away.
    """
    memory, order = work.memory, work.order
    files = await _listing(work)
    work.seen.drive_changed = False
    try:
        found = await adoption.adopt(
            work.tools.source,
            work.tools.cache,
            files,
            url=await frontend.source_url(work),
            file_prefix=order.file_prefix,
            canary=order.canary,
        )
    except NeedsUser as error:
        if not memory.items:
            raise NeedsUser(f"{order.source_dir}: {error.what}", hint=error.hint, code=error.code) from error
        memory.remember("fingerprint", adoption.fingerprint(files))  # a backup to the drive may be under way
        work.seen.last_error = str(error)
        return
    facts = {
        "fingerprint": found.fingerprint,
        "started_at": memory.fact("started_at") or repr(work.tools.now()),
        "finished_at": "",
    }
    drive = await work.tools.source.identity()
    memory.adopt(found.items, found.manifests, facts | {DRIVE: drive})
    work.tools.source.expected = drive
    size = sum(item.file.size for item in found.items)
    memory.note("adopted", f"{len(found.items)} files, {size / 1e6:,.1f} MB, from {order.source_dir}")
    for text in found.left_out:
        memory.note("left-out", text)


async def listing_or_copy(work: Work) -> Sequence[SourceFile]:
    """The adopted drive's listing, or that of another drive which holds the very same files: it takes its place.

    Raises:
        SourceAbsent: neither is there.
    """
    try:
        return await _listing(work)
    except SourceAbsent as error:
        if error.code != OTHER_DRIVE or not work.memory.items:
            raise
        files = await _listing(work, any_drive=True)
        if adoption.fingerprint(files) != work.memory.fact("fingerprint"):
            raise
    source = work.tools.source
    source.expected = ""
    source.expected = await source.identity()
    work.memory.remember(DRIVE, source.expected)
    work.memory.note("drive", f"Another drive with the same files stands at {work.order.source_dir}; it is used now")
    return files


async def _listing(work: Work, *, any_drive: bool = False) -> Sequence[SourceFile]:
    try:
        async with asyncio.timeout(PATIENCE):
            return await work.tools.source.listing(any_drive=any_drive)
    except TimeoutError:
        raise SourceAbsent(f"the drive with {work.order.source_dir} does not answer") from None


def _tell_fork(work: Work, files: Sequence[SourceFile]) -> None:
    """Sets that appear on the drive after the handover would fork the chain: named once, never sent."""
    adopted = {item.name for item in work.memory.items}
    new = sorted(file.name for file in files if file.name not in adopted and names.parse(file.name) is not None)
    if not new or work.memory.fact("fork") == new[-1]:
        return
    work.memory.remember("fork", new[-1])
    work.tell(
        "fork",
        "fork",
        f"{work.order.name}: a backup went to the drive",
        f"Since the handover backups go to {work.url}, but duplicity wrote {len(new)} new files to "
        f"{work.order.source_dir} ({new[-1]}). They are not moved: they would not fit the chain in the cloud. "
        f"Point duplicity or Deja Dup at {work.url}.",
        urgent=True,
    )
