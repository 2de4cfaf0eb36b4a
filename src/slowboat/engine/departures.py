"""What slowboat brought to the target and its owner has since removed from the drive.

Knows which objects these are, so that nobody takes them for a stranger's, and what is told of them. They stay in the
cloud. Must not know why a file is gone, nor what else stands at the target.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slowboat.core.chains import describe
from slowboat.core.removal import GRACE, Departed
from slowboat.core.words import Phase
from slowboat.engine import facts

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence, Set

    from slowboat.core.words import Item, SetId
    from slowboat.engine.context import Context


def departed(context: Context) -> Set[str]:
    """The names of the objects at the target that came from the drive and are no longer on it."""
    return context.memory.get(facts.DEPARTED).keys()


def with_those_not_in(context: Context, items: Iterable[Item]) -> dict[str, Departed]:
    """These objects as they are with a new list of the drive's files: what is confirmed and not in it is added."""
    there, now = {item.name for item in items}, context.tools.now()
    known = {name: one for name, one in context.memory.get(facts.DEPARTED).items() if name not in there}
    gone = [item for item in context.memory.items if item.phase is Phase.DONE and item.name not in there]
    return {item.name: Departed(item.file.size, item.md5, now) for item in gone} | known


def forget(context: Context, gone: Collection[str]) -> None:
    """What stands at the target no more is nobody's concern."""
    known = context.memory.get(facts.DEPARTED)
    context.memory.remember(facts.DEPARTED, {name: one for name, one in known.items() if name not in gone})


def report(context: Context, known: Sequence[Item]) -> None:
    """Names the backups that were on the drive when `known` was adopted, and are not any more; once."""
    still = {item.set_id for item in context.memory.items}
    gone = [item for item in known if item.set_id not in still]
    sets = sorted({item.set_id for item in gone}, key=lambda one: (one.end, one.start))
    if not sets:
        return
    more = f" and {len(sets) - 1} more" if len(sets) > 1 else ""
    context.notify(
        "left-drive",
        "left-drive",
        f"{context.order.name}: backups were removed from the drive",
        f"{describe(sets[0])}{more} {'are' if more else 'is'} no longer whole in {context.order.source_dir}. "
        f"{_what_stays(context, gone, sets)}",
    )


def _what_stays(context: Context, gone: Sequence[Item], sets: Sequence[SetId]) -> str:
    arrived = sum(item.phase is Phase.DONE for item in gone)
    if not arrived:
        return "None of it had reached the cloud."
    if context.order.removes:
        return f"It is removed from the cloud in {GRACE / 86400:.0f} days, as `removed_on_drive` in the settings says."
    if arrived == len(gone):
        return "The cloud keeps what it has: slowboat removes nothing there."
    which = "them" if len(sets) > 1 else "it"
    return (
        f"Only {arrived} of {len(gone)} files had reached the cloud, and the others are lost: nothing can be restored "
        f"from {which} there. To remove {which}, run duplicity remove-older-than or remove-all-but-n-full "
        f"with {context.url}"
    )
