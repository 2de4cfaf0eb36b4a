"""What to do where the drive and the cloud may have parted: which sets wait, which stay behind, and what is told.

Knows what the user must be told of it. Must not know how a parting is recognised (core/parting), nor how the target is
read. Nothing is removed on either side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slowboat.core import names
from slowboat.core.chains import describe
from slowboat.core.parting import PARTED, parting
from slowboat.core.roster import is_parted
from slowboat.core.words import Event, HandoverState, Phase, Reason, Role
from slowboat.engine import departures, facts

if TYPE_CHECKING:
    from collections.abc import Collection

    from slowboat.core.parting import Parting
    from slowboat.core.plan import Sight
    from slowboat.core.words import SetId
    from slowboat.engine.context import Context


def take(context: Context, sight: Sight, *, runs: bool) -> None:
    """Notes what the target's own sets mean for those of the drive.

    Args:
        runs: duplicity is at work on its cache for the target now: what it writes may not show there yet.
    """
    found = parting(context.memory.items, sight.objects.keys(), departures.departed(context))
    _set_aside(context, found.parted)
    _send_after_all(context, found.parted)
    context.observed.postponed = found.waiting | (new_there(context) - found.parted if runs else frozenset())
    _tell(context, found)


def postponed_why(context: Context) -> Reason | None:
    """What the drive's newest sets wait for; None while none waits."""
    if not context.observed.postponed:
        return None
    first = min(context.observed.postponed, key=lambda one: (one.end, one.start))
    known = context.observed.duplicity
    broken_off = f"; if it was interrupted: {known.advice.stray.format(url=context.url)}" if known is not None else ""
    return Reason(
        "target-in-use",
        f"{describe(first)} on the drive has to wait: a backup straight to {context.url} is not finished",
        cure=f"let that backup finish{broken_off}",
    )


def _set_aside(context: Context, sets: Collection[SetId]) -> None:
    """What has not arrived of sets that do not fit is not sent. What is on the line now follows at the next look."""
    for item in context.memory.items:
        if item.set_id in sets and item.phase in {Phase.QUEUED, Phase.UNCHECKED}:
            context.memory.happened(item.name, Event.REJECTED, error=PARTED)


def _send_after_all(context: Context, sets: Collection[SetId]) -> None:
    """Somebody has removed from the target what they did not fit with."""
    for item in context.memory.items:
        if is_parted(item) and item.set_id not in sets:
            context.memory.happened(item.name, Event.RETRIED)
            context.memory.remember(facts.FINISHED_AT, 0.0)


def new_there(context: Context) -> frozenset[SetId]:
    """The sets of the newest chain of which the target has no metadata, though it has that of older sets of ours.

    What is lost and goes up again is not new: it has its place in duplicity's cache.
    """
    if context.memory.handover is not HandoverState.DONE and not context.order.follows:
        return frozenset()
    known = {name for one in context.memory.installed for name in one.files}
    metadata = [item for item in context.newest_metadata() if names.cache_name(item.name) not in known]
    begun = {item.set_id for item in metadata if item.phase is Phase.DONE and item.role is Role.MANIFEST}
    return frozenset(item.set_id for item in metadata) - begun


def _tell(context: Context, found: Parting) -> None:
    """Once for each new backup on the drive that the cloud cannot have."""
    newest = max(found.parted, default=None, key=lambda one: one.end)
    end = newest.end if newest else 0
    if context.memory.get(facts.PARTED_SET) == end:
        return
    context.memory.remember(facts.PARTED_SET, end)
    if newest is None:
        context.withdraw("parted")
        return
    ours, theirs = describe(newest), describe(found.own[-1])
    context.notify(
        "parted",
        "parted",
        f"{context.order.name}: the drive and the cloud have diverged",
        f"{ours[:1].upper()}{ours[1:]} was made on the drive ({context.order.source_dir}), and {theirs} straight to "
        f"{context.url}: they do not fit into one chain. The one on the drive stays only there, so keep the drive, "
        "and make all backups to the same place from now on.",
        urgent=True,
    )
