"""The drive's side of a migration: is it there, is it still the same, what is to be adopted?

Knows when what is on the drive is to be adopted anew: whenever a backup to it was finished, before the handover and
after it. Must not know what is sent when, nor whether a set fits what stands at the target (core/parting).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from slowboat.core.errors import NeedsUser, SourceAbsent
from slowboat.core.words import HandoverState, Phase
from slowboat.engine import adoption, departures, facts, sameness
from slowboat.engine.context import NotAdopted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slowboat.core.words import SourceFile
    from slowboat.engine.context import Context

OTHER_DRIVE = "other-drive"
"""The code of the error where another drive stands in its place."""
ADOPT_AGAIN, ADOPT_AGAIN_AT_MOST = 60.0, 3600.0
"""Seconds until a list that could not be adopted is tried again, longer each time: duplicity finishes its cache just
after the drive, but a bad set stays bad, and each try breaks off what is on the line."""
ELSEWHERE = "drive-elsewhere"
"""The code of the error where the drive is connected, and mounted at another place."""
PATIENCE = 60.0
"""Seconds that listing the drive may take: a sleeping disk spins up in ten, a dying one never."""


async def observe(context: Context) -> None:
    """Notes whether the drive is there, and whether it still holds what was adopted.

    Raises:
        NeedsUser: it is there and cannot be read.
    """
    observed = context.observed
    observed.observe_drive = False
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
    observed.absent_cure = ""
    if context.memory.items:
        _compare(context, await _fingerprint(context, files))


async def _fingerprint(context: Context, files: Sequence[SourceFile]) -> str:
    """Of what is finished there; in a thread, for a folder may hold a hundred thousand files."""
    items = context.memory.items
    return await asyncio.to_thread(lambda: adoption.fingerprint(adoption.finished(files, items)))


def _compare(context: Context, fingerprint: str) -> None:
    observed, now = context.observed, context.tools.now()
    if observed.not_adopted is not None and observed.not_adopted.fingerprint != fingerprint:
        _is_over(context)
    failed = observed.not_adopted
    waits = failed is not None and failed.again_at - failed.wait <= now < failed.again_at
    observed.drive_changed = fingerprint != context.memory.get(facts.FINGERPRINT) and not waits


def _is_over(context: Context) -> None:
    """What could not be adopted is not there any more, or is adopted: mostly a backup that was not finished."""
    observed = context.observed
    if observed.not_adopted is not None and observed.last_error == observed.not_adopted.why:
        observed.last_error = ""
    observed.not_adopted = None


def observed_again_at(context: Context) -> float | None:
    """When to look at the drive by the clock alone, because what was on it could not be adopted; None: never."""
    failed = context.observed.not_adopted
    return failed.again_at if failed is not None and failed.again_at > context.tools.now() else None


def _holds_nothing_of_it(context: Context) -> SourceAbsent:
    """A mount point that a drive has left, or a drive that nothing tells from the right one."""
    return SourceAbsent(
        f"{context.order.source_dir} holds none of the files of this migration: their drive is not connected",
        hint="Connect it. If that backup is gone for good, give the new backup a migration with another name",
        code=OTHER_DRIVE,
    )


def is_absent(context: Context, error: SourceAbsent) -> None:
    """Notes that the drive is not there, and what is there instead."""
    context.observed.drive_present = False
    context.observed.absent_why = error.what
    context.observed.absent_cure = error.hint if error.code == ELSEWHERE else ""
    context.observed.last_error = str(error)


async def adopt(context: Context) -> None:
    """Freezes the list of files; again, when the drive has other sets.

    Raises:
        NeedsUser: it cannot be adopted as it is; a list that was adopted before stays in force instead.
        SourceAbsent: the drive went away.
    """
    memory, order, observed = context.memory, context.order, context.observed
    there = await _listing(context)
    files = adoption.finished(there, memory.items) if memory.items else there
    observed.drive_changed = False
    shared = order.follows or memory.handover is HandoverState.DONE
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
            set_by_set=shared,
        )
    except NeedsUser as error:
        if not memory.items:
            raise NeedsUser(f"{order.source_dir}: {error.what}", hint=error.hint, code=error.code) from error
        observed.not_adopted = _failed(context, await _fingerprint(context, there), str(error))
        observed.last_error = str(error)
        return
    _is_over(context)
    await _remember(context, found)
    if memory.handover is HandoverState.DONE:
        _goes_where_duplicity_writes(context)


def _failed(context: Context, fingerprint: str, why: str) -> NotAdopted:
    before = context.observed.not_adopted
    again = before is not None and before.fingerprint == fingerprint
    wait = min(ADOPT_AGAIN_AT_MOST, before.wait * 4) if before is not None and again else ADOPT_AGAIN
    return NotAdopted(fingerprint, why, context.tools.now() + wait, wait)


async def _remember(context: Context, found: adoption.Adopted) -> None:
    memory, order = context.memory, context.order
    drive = await context.tools.source.identity()
    rows = (
        facts.FINGERPRINT.row(found.fingerprint),
        facts.STARTED_AT.row(memory.get(facts.STARTED_AT) or context.tools.now()),
        facts.FINISHED_AT.row(0.0),
        facts.DRIVE.row(drive),
        facts.DEPARTED.row(departures.with_those_not_in(context, found.items)),
    )
    known = memory.items
    memory.adopt(found.items, found.manifests, dict(rows))
    if known:
        departures.report(context, known)
    context.tools.source.expected = drive
    size = sum(item.file.size for item in found.items)
    memory.note("adopted", f"{len(found.items)} files, {size / 1e6:,.1f} MB, from {order.source_dir}")
    for text in found.left_out:
        memory.note("left-out", text)


def _goes_where_duplicity_writes(context: Context) -> None:
    """Whether a new set fits is told by what stands at the target now; once it is there, the cache for it needs it."""
    context.observed.objects = None
    if any(item.phase is not Phase.DONE for item in context.newest_metadata()):
        context.memory.remember(facts.MEND_AT, context.tools.now())


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
        "drive", f"Another drive with the same files is now at {context.order.source_dir}; slowboat uses that one"
    )
    return files


async def _listing(context: Context, *, any_drive: bool = False) -> Sequence[SourceFile]:
    try:
        async with asyncio.timeout(PATIENCE):
            return await context.tools.source.listing(any_drive=any_drive)
    except TimeoutError:
        raise SourceAbsent(f"the drive with {context.order.source_dir} does not respond") from None
