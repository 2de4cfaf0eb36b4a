"""The target's side of a migration: what stands there, whose is it, and is it still ours?

Knows how a listing is read and held against what was confirmed. Must not know what follows from it (core/guard), what
is sent when, nor how an object goes up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from slowboat.core.direct import strangers
from slowboat.core.errors import NeedsUser, Refused, SourceAbsent
from slowboat.core.guard import Observation, judge
from slowboat.core.plan import Sight, matches, unseen
from slowboat.core.words import HandoverState, Phase, RemoteObject
from slowboat.engine import departures, frontend, guard, parted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slowboat.core.guard import Judged
    from slowboat.core.roster import Roster
    from slowboat.core.words import Item
    from slowboat.engine.context import Context
    from slowboat.engine.courier import Courier, Standing

MOST_ASKED = 3
"""Files that one look at the target reads from the drive, where the ledger remembers another MD5 than stands there."""
STILL_THERE = 60.0
"""Seconds for which a set's manifest, once seen at the target, is taken to be there still."""


@dataclass(frozen=True, slots=True)
class Before:
    """A look at the target: what stood there, the items as they were remembered before it, and whether all was done."""

    sight: Sight
    items: tuple[Item, ...]
    finished: bool


async def observe(context: Context, *, kept_off: bool = False) -> Before:
    """Reads the target's listing, and lets the guard judge it; what it does not show is asked for by name.

    Args:
        kept_off: we keep duplicity off the target ourselves meanwhile.

    Raises:
        NeedsUser: another backup stands there (code "other-chain"), or the store needs the user.
        Transient: as the store raises it.
    """
    async with context.observed.observing:
        duplicity = await guard.ask_versions(context)
        await frontend.observe(context)
        ran = not kept_off and await guard.duplicity_runs(context)
        sight, gone = await _survey(context)
        seen = Observation(
            objects=sight.objects,
            gone=frozenset(gone),
            duplicity=duplicity,
            running=ran or (not kept_off and await guard.duplicity_runs(context)),
            empty_caches=await guard.empty_caches(context),
            drive_present=context.observed.drive_present,
        )
        known = guard.remembered(context)
        before = Before(sight, context.memory.items, known.finished)
        _take(context, sight, judge(seen, known))
        parted.take(context, sight, runs=seen.running)
    return before


async def _survey(context: Context) -> tuple[Sight, tuple[str, ...]]:
    """What stands at the target, and the names of what was confirmed and does not stand there.

    Raises as `observe` does.
    """
    store, observed = context.tools.store, context.observed
    began = context.tools.now()
    prefix = context.order.target.prefix
    found = {stored.name.removeprefix(prefix): stored for stored in await store.listing(prefix)}
    objects = dict(_shared(context.memory.roster, name, stored) for name, stored in found.items() if "/" not in name)
    del found
    _refuse_strangers(context, objects)
    items = {item.name: item for item in context.memory.items}
    gone: list[str] = []
    asked: list[str] = []
    unlisted: set[str] = set()
    for name in unseen(items.values(), Sight(objects, began)):
        row = objects.pop(name, None)
        stands = await _behind(context, name, row)
        if stands is not None:
            objects[name] = stands  # the listing lags
            if row is None:
                unlisted.add(name)
        if row is not None and stands is not None and stands.slo and matches(items[name], stands):
            observed.rows[name] = (row, stands)
        elif not matches(items[name], stands) and not await _is_on_drive(context, items[name], stands, asked):
            gone.append(name)
    return Sight(objects, began, frozenset(unlisted)), tuple(gone)


def _shared(roster: Roster, name: str, stored: RemoteObject) -> tuple[str, RemoteObject]:
    """A row of the listing, with the texts that are remembered anyway: of a hundred thousand they are 20 MB."""
    item = roster.get(name)
    if item is None:
        return name, stored
    md5 = item.md5 if item.md5 == stored.md5 else stored.md5
    full = item.name if stored.name == item.name else stored.name
    return item.name, RemoteObject(full, stored.size, md5, stored.slo, stored.modified, stored.expires)


async def _behind(context: Context, name: str, row: RemoteObject | None) -> RemoteObject | None:
    """What stands at a name of which the listing shows another thing than is remembered.

    Ceph's gateway lists an SLO as if it were the list of its segments. A row that was seen to hide the right SLO still
    does as long as it is the same: size, MD5 and time.
    """
    known = context.observed.rows.get(name)
    if row is not None and known is not None and known[0] == row:
        return known[1]
    return await context.tools.store.head(context.full_name(name))


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


def _take(context: Context, sight: Sight, judged: Judged) -> None:
    """Goes on with what was seen, and with what follows from it."""
    observed = context.observed
    observed.direct, observed.backup_under_way = judged.direct.whole, judged.under_way
    guard.apply(context, judged.changes, judged.reported)
    observed.objects, observed.listed_at = dict(sight.objects), sight.taken_at
    observed.unlisted = sight.unlisted


def _refuse_strangers(context: Context, objects: Mapping[str, RemoteObject]) -> None:
    """Before the handover nothing of another chain may stand where this one is to go; duplicity may go on there."""
    if context.memory.handover is HandoverState.DONE:
        return
    if strange := strangers(context.memory.items, objects, departures.departed(context)):
        where = context.order.target
        raise NeedsUser(
            f"{where.container}/{where.prefix} holds another backup already ({strange[0]}, {len(strange)} files)",
            hint="Choose an empty container or prefix for this migration, or remove that backup with duplicity",
            code="other-chain",
        )


async def check(context: Context, courier: Courier, item: Item) -> Standing | None:
    """What stands at one object's name: our bytes, or None where nothing does.

    Raises:
        Refused: something else stands there (code "conflict"), or the file on the drive is damaged.
        SourceAbsent, Transient, NeedsUser: as the drive and the store raise them.
    """
    row = (context.observed.objects or {}).get(item.name)
    if item.phase is Phase.QUEUED and row is not None and not row.slo and (listed := await courier.same(item, row)):
        return listed  # no request for each of a hundred thousand that one listing has shown
    stands = await context.tools.store.head(context.full_name(item.name))
    if stands is None:
        return None
    found = await courier.same(item, stands)
    if found is None:
        if item.segment:
            await courier.sweep(item)
        raise Refused(
            f"there is already another file at {stands.name} in {context.order.target.container}",
            hint="slowboat overwrites nothing. Move or remove that object, then run: slowboat retry",
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
