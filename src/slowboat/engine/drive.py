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
from slowboat.engine import adoption, facts, sameness

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slowboat.core.words import SourceFile
    from slowboat.engine.context import Context

OTHER_DRIVE = "other-drive"
"""The code of the error where another drive stands in its place."""
PATIENCE = 60.0
"""Seconds that listing the drive may take: a sleeping disk spins up in ten, a dying one never."""


async def look(context: Context) -> None:
    """Notes whether the drive is there, and whether it still holds what was adopted.

    Raises:
        NeedsUser: it is there and cannot be read.
    """
    observed = context.observed
    observed.look_at_drive = False
    try:
        files = await listing_or_copy(context)
    except SourceAbsent as error:
        is_absent(context, error)
        return
    if context.memory.items and not adoption.is_here(files, context.memory.items):
        is_absent(context, _holds_nothing_of_it(context))
        return
    if not observed.drive_present and observed.last_error.startswith(observed.absent_why):
        observed.last_error = ""  # a drive that is back was no trouble
    observed.drive_present, observed.absent_why = True, ""
    if not context.memory.items or adoption.fingerprint(files) == context.memory.get(facts.FINGERPRINT):
        return
    if context.memory.handover is HandoverState.DONE:
        _tell_fork(context, files)
    else:
        observed.drive_changed = True


def _holds_nothing_of_it(context: Context) -> SourceAbsent:
    """A mount point that a drive has left, or a drive that nothing tells from the right one."""
    return SourceAbsent(
        f"{context.order.source_dir} holds none of the files that are to be moved: the drive with them is not there",
        hint="Connect it; if that backup is gone for good, give the migration of the new one another name",
        code=OTHER_DRIVE,
    )


def is_absent(context: Context, error: SourceAbsent) -> None:
    """Notes that the drive is not there, and what is there instead."""
    context.observed.drive_present = False
    context.observed.absent_why = error.what
    context.observed.last_error = str(error)


async def adopt(context: Context) -> None:
    """Freezes the list of files; before the handover again, when the drive has new sets.

    Raises:
        NeedsUser: it cannot be adopted as it is; a list that was adopted before stays in force instead.
        SourceAbsent: the drive went away.
    """
    memory, order = context.memory, context.order
    files = await _listing(context)
    context.observed.drive_changed = False
    try:
        found = await adoption.adopt(
            context.tools.source,
            context.tools.cache,
            files,
            url=await context.source_url(),
            file_prefix=order.file_prefix,
            canary=order.canary,
            known={item.name: item for item in memory.items},
            where=order.source_dir,
        )
    except NeedsUser as error:
        if not memory.items:
            raise NeedsUser(f"{order.source_dir}: {error.what}", hint=error.hint, code=error.code) from error
        memory.remember(facts.FINGERPRINT, adoption.fingerprint(files))  # a backup to the drive may be under way
        context.observed.last_error = str(error)
        return
    drive = await context.tools.source.identity()
    known = (
        facts.FINGERPRINT.row(found.fingerprint),
        facts.STARTED_AT.row(memory.get(facts.STARTED_AT) or context.tools.now()),
        facts.FINISHED_AT.row(0.0),
        facts.DRIVE.row(drive),
    )
    memory.adopt(found.items, found.manifests, dict(known))
    context.tools.source.expected = drive
    size = sum(item.file.size for item in found.items)
    memory.note("adopted", f"{len(found.items)} files, {size / 1e6:,.1f} MB, from {order.source_dir}")
    for text in found.left_out:
        memory.note("left-out", text)


async def listing_or_copy(context: Context) -> Sequence[SourceFile]:
    """The adopted drive's listing, or that of another drive which holds the very same files: it takes its place.

    Where files show other times than before, those are remembered from now on (`sameness`).

    Raises:
        SourceAbsent: neither is there.
    """
    files = await _listing_or_copy(context)
    sameness.take_over_times(files, context.memory)
    return files


async def _listing_or_copy(context: Context) -> Sequence[SourceFile]:
    try:
        return await _listing(context)
    except SourceAbsent as error:
        if error.code != OTHER_DRIVE or not context.memory.items:
            raise
        files = await _listing(context, any_drive=True)
        if not sameness.holds_all(files, context.memory.items):
            raise
    source = context.tools.source
    source.expected = ""
    source.expected = await source.identity()
    context.memory.remember(facts.DRIVE, source.expected)
    context.memory.note(
        "drive", f"Another drive with the same files stands at {context.order.source_dir}; it is used now"
    )
    return files


async def _listing(context: Context, *, any_drive: bool = False) -> Sequence[SourceFile]:
    try:
        async with asyncio.timeout(PATIENCE):
            return await context.tools.source.listing(any_drive=any_drive)
    except TimeoutError:
        raise SourceAbsent(f"the drive with {context.order.source_dir} does not answer") from None


def _tell_fork(context: Context, files: Sequence[SourceFile]) -> None:
    """Sets that appear on the drive after the handover would fork the chain: named once, never sent."""
    adopted = {item.name for item in context.memory.items}
    new = sorted(file.name for file in files if file.name not in adopted and names.parse(file.name) is not None)
    if not new or context.memory.get(facts.FORK) == new[-1]:
        return
    context.memory.remember(facts.FORK, new[-1])
    context.tell(
        "fork",
        "fork",
        f"{context.order.name}: a backup went to the drive",
        f"Since the handover backups go to {context.url}, but duplicity wrote {len(new)} new files to "
        f"{context.order.source_dir} ({new[-1]}). They are not moved: they would not fit the chain in the cloud. "
        f"Point duplicity or Deja Dup at {context.url}.",
        urgent=True,
    )
