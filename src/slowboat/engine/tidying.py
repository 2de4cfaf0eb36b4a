"""Removes from the cloud what its owner removed from the drive, where the settings ask for that.

Knows when it is tried, and looks at each object once more before it goes. Must not know what may be removed
(core/removal).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slowboat.core import removal
from slowboat.core.words import HandoverState
from slowboat.engine import departures, facts, target

if TYPE_CHECKING:
    from slowboat.engine.context import Context

AGAIN = 86400.0
"""Seconds between tries: what may not be removed today may be some day."""


def due_at(context: Context) -> float | None:
    """When it is tried next; None: never, unless something leaves the drive."""
    if not context.order.follows or not context.order.removes or context.memory.handover is HandoverState.DONE:
        return None
    first = removal.due_at(context.memory.get(facts.DEPARTED))
    if first is None:
        return None
    tried = context.observed.tidied_at
    return max(first + removal.GRACE, tried + AGAIN if tried else 0.0)


async def tidy(context: Context) -> None:
    """Looks at the target and removes what may be removed; a later run goes on where this one was broken off.

    Raises:
        Transient, NeedsUser: as the store raises them.
    """
    context.observed.tidied_at = context.tools.now()
    async with context.tools.cache.kept_off() as still:
        await target.observe(context, kept_off=True)
        known, objects = context.memory.get(facts.DEPARTED), context.observed.objects or {}
        names = removal.removable(known, context.memory.items, objects, context.tools.now())
        removed = 0
        for name in names:
            still()
            removed += await _remove(context, name)
    if removed:
        context.memory.note(
            "removed", f"{removed} files of backups that were removed from the drive have been removed from the cloud"
        )
    if removed == len(names):
        departures.forget(context, known.keys() - (context.observed.objects or {}).keys())


async def _remove(context: Context, name: str) -> bool:
    """Removes one object if it is still the very one that slowboat brought there."""
    known, full_name = context.memory.get(facts.DEPARTED)[name], context.full_name(name)
    stands = await context.tools.store.head(full_name)
    if stands is None or stands.slo or (stands.size, stands.md5) != (known.size, known.md5):
        context.observed.objects = None
        return False
    await context.tools.store.remove(full_name)
    if context.observed.objects is not None:
        context.observed.objects.pop(name, None)
    return True
