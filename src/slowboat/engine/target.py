"""The target's side of a migration: what stands there, whose is it, and is it still ours?

Knows how a listing is held against what was confirmed. Must not know what is sent when, nor how an object goes up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from slowboat.core import names
from slowboat.core.errors import NeedsUser, Refused, SourceAbsent
from slowboat.core.plan import Sight, matches, unseen
from slowboat.core.verify import sets_gone
from slowboat.core.words import Event, HandoverState, Phase
from slowboat.engine import facts, guard

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from slowboat.core.words import Item, RemoteObject
    from slowboat.engine.context import Context
    from slowboat.engine.courier import Courier, Standing

MOST_ASKED = 3
"""Files that one look at the target reads from the drive, where the ledger remembers another MD5 than stands there."""
STILL_THERE = 60.0
"""Seconds for which a set's manifest, once seen at the target, is taken to be there still."""


async def look(context: Context) -> None:
    """Reads the target's listing; what it does not show of what was confirmed is asked for by name.

    Raises:
        NeedsUser: another backup stands there (code "other-chain"), or the store needs the user.
        Transient: as the store raises it.
    """
    await looked(context)


@dataclass(frozen=True, slots=True)
class Looked:
    """A look at the target: what stood there, the items as they were remembered before it, and whether all was done."""

    sight: Sight
    items: tuple[Item, ...]
    finished: bool


async def looked(context: Context, *, sparing: bool = False) -> Looked:
    """As `look`; `sparing` leaves a whole backup set that is gone after the end as it is: it may have been removed."""
    async with context.observed.looking:
        ran = await guard.before(context)
        sight, gone = await _survey(context)
        before = Looked(sight, context.memory.items, bool(context.memory.get(facts.FINISHED_AT)))
        alone = sets_gone(before.items, sight.objects) if sparing and before.finished else frozenset()
        spared = {item.name for item in before.items if item.set_id in alone}
        away = _take(context, sight, gone, spared)
        await guard.after(context, sight, [name for name in gone if name not in spared], away, ran=ran)
    return before


async def _survey(context: Context) -> tuple[Sight, tuple[str, ...]]:
    """What stands at the target, and the names of what was confirmed and does not stand there.

    Raises as `look` does.
    """
    store, observed = context.tools.store, context.observed
    began = context.tools.now()
    if observed.limits is None:
        observed.limits = await store.limits()
    prefix = context.order.target.prefix
    found = {stored.name.removeprefix(prefix): stored for stored in await store.listing(prefix)}
    objects = {name: stored for name, stored in found.items() if "/" not in name}
    _refuse_strangers(context, objects)
    items = {item.name: item for item in context.memory.items}
    gone: list[str] = []
    asked: list[str] = []
    for name in unseen(items.values(), Sight(objects, began)):
        stands = await store.head(context.full_name(name))
        if stands is None:
            objects.pop(name, None)
        else:
            objects[name] = stands  # the listing lags
        if not matches(items[name], stands) and not await _is_on_drive(context, items[name], stands, asked):
            gone.append(name)
    return Sight(objects, began), tuple(gone)


async def _is_on_drive(context: Context, item: Item, stands: RemoteObject | None, asked: list[str]) -> bool:
    """Whether the drive's file is what stands there, though another MD5 is remembered: then the ledger was wrong.

    For the first few of a look; the others are asked about one by one, as what is not known to stand there is.
    """
    odd = stands is not None and not stands.slo and stands.size == item.file.size
    if stands is None or not odd or not context.observed.drive_present or len(asked) >= MOST_ASKED:
        return False
    asked.append(item.name)
    try:
        digests = await context.tools.source.digest(item.file)
    except (Refused, SourceAbsent):
        return False
    if digests.md5 != stands.md5 or item.sha1 not in ("", digests.sha1):
        return False
    context.memory.learned(item.name, digests.md5)
    return True


def _take(context: Context, sight: Sight, gone: Collection[str], spared: Collection[str]) -> frozenset[str]:
    """Goes on with what was seen; what is `gone` is no longer done, but for what is `spared`.

    Answers what its owner removed on purpose.
    """
    away = guard.taken_away(context, sight, gone)
    still = {item.name for item in context.memory.items if item.phase is Phase.DONE}
    for name in gone:
        if name in still and name not in away and name not in spared:
            _vanished(context, name, sight.objects.get(name))
    guard.set_aside(context, away)
    context.observed.objects, context.observed.listed_at = dict(sight.objects), sight.taken_at
    return away


def _vanished(context: Context, name: str, stands: RemoteObject | None) -> None:
    context.memory.happened(name, Event.VANISHED)
    context.memory.remember(facts.FINISHED_AT, 0.0)
    if stands is None:
        context.memory.note("vanished", f"{name} was at the target and is not any more; it goes up again")
    else:
        context.memory.note(
            "replaced", f"What stands at the place of {name} at the target is not what is remembered: it is looked into"
        )


def _refuse_strangers(context: Context, objects: Mapping[str, RemoteObject]) -> None:
    """Before the handover nothing of another chain may stand where this one is to go."""
    if context.memory.handover is HandoverState.DONE:
        return
    adopted = {item.name for item in context.memory.items}
    strange = sorted(name for name in objects if name not in adopted and names.parses_for_duplicity(name))
    if strange and not _only_continue(context, strange, objects):
        where = context.order.target
        raise NeedsUser(
            f"{where.container}/{where.prefix} holds another backup already ({strange[0]}, {len(strange)} files)",
            hint="Choose an empty container or prefix for this migration, or remove that backup with duplicity",
            code="other-chain",
        )


def _only_continue(context: Context, strange: Sequence[str], objects: Mapping[str, RemoteObject]) -> bool:
    """Whether duplicity wrote them straight to the target, after a handover that is forgotten."""
    metadata = context.newest_metadata()
    end = max((item.set_id.end for item in metadata), default=0)
    parsed = [names.parse(name) for name in strange]
    return (
        bool(metadata)
        and all(item.name in objects for item in metadata)
        and all(one is not None and one.set_id.start >= end for one in parsed)
    )


async def check(context: Context, courier: Courier, item: Item) -> Standing | None:
    """What stands at one object's name: our bytes, or None where nothing does.

    Raises:
        Refused: something else stands there (code "conflict"), or the file on the drive is damaged.
        SourceAbsent, Transient, NeedsUser: as the drive and the store raise them.
    """
    stands = await context.tools.store.head(context.full_name(item.name))
    if stands is None:
        return None
    found = await courier.same(item, stands)
    if found is None:
        if item.segment:
            await courier.sweep(item)
        raise Refused(
            f"another file stands at {stands.name} in {context.order.target.container}",
            hint="slowboat overwrites nothing: move or remove that object, then say `slowboat retry`",
            code="conflict",
        )
    return found


async def set_still_stands(context: Context, item: Item) -> bool:
    """No volume before its set's metadata, and none after somebody took that away."""
    if item.role.is_metadata:
        return True
    manifest = context.manifest_of(item)
    if manifest is None:
        return False
    now = context.tools.now()
    if 0 <= now - context.observed.manifests_at.get(manifest.name, 0.0) < STILL_THERE:
        return True
    if not matches(manifest, await context.tools.store.head(context.full_name(manifest.name))):
        return False
    context.observed.manifests_at[manifest.name] = now
    return True
