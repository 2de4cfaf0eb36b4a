"""The guard over a half-uploaded chain: what duplicity does at the target meanwhile, and what is done about it.

Knows what duplicity's version may do, tells a chain that its owner removed from one that duplicity damaged, and mends
duplicity's cache. Must not know how the target is read, nor what goes up next: what is damaged is QUEUED again, and
the plan brings it back, metadata first. Nothing is ever deleted at the target. docs/duplicity-versions.md tells all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slowboat.core import backoff, names, versions
from slowboat.core.chains import describe
from slowboat.core.direct import REMOVED, direct_sets, removed
from slowboat.core.errors import NeedsUser, SlowboatError, Transient
from slowboat.core.plan import LOOK_CLOSELY, LOOK_EVERY
from slowboat.core.versions import Verdict
from slowboat.core.words import Event, HandoverState, Phase, Reason
from slowboat.engine import facts

if TYPE_CHECKING:
    from collections.abc import Collection

    from slowboat.core.plan import Sight
    from slowboat.core.versions import Advice
    from slowboat.engine.context import Context

CODE = "duplicity-version"
"""The code of a handover that waits for all volumes, or for another duplicity."""


# -- the version -------------------------------------------------------------------------------------------


async def ask_version(context: Context) -> Advice:
    """What holds for the worst duplicity that the user could run now; noted when it is new."""
    judged = versions.judge(await context.tools.duplicity.installed() if context.tools.duplicity else ())
    advice, name = judged.advice, judged.name
    context.observed.advice, context.observed.duplicity, context.observed.duplicities = advice, name, judged.names
    if context.memory.get(facts.DUPLICITY) != name:
        context.memory.remember(facts.DUPLICITY, name)
        unknown = advice.verdict is Verdict.UNKNOWN
        danger = advice.helps if unknown else advice.danger or "nothing is known against it"
        context.memory.note("duplicity", f"Backups will be made by {name}: {danger}")
    return advice


async def must_not_destroy(context: Context) -> None:
    """Before the handover: a version that would destroy the chain gets it only when every volume is there.

    Raises:
        NeedsUser: the handover waits (code "duplicity-version").
    """
    advice = await ask_version(context)
    if advice.verdict is not Verdict.WAIT or newest_is_complete(context):
        return
    raise NeedsUser(
        f"{context.observed.duplicity} must not see this backup before its last volume is in the cloud: "
        f"{advice.danger}",
        hint=advice.helps,
        code=CODE,
    )


def newest_is_complete(context: Context) -> bool:
    """Whether every file of the newest chain is confirmed."""
    return all(item.phase is Phase.DONE for item in context.memory.items if item.chain == 0)


def waits_for_version(context: Context) -> bool:
    """Whether the version is what the handover waits for."""
    return context.memory.handover is HandoverState.BLOCKED and context.memory.get(facts.HANDOVER_CODE) == CODE


def reasons(context: Context) -> tuple[Reason, ...]:
    """Why the handover waits for another version, while it does; it holds no upload back."""
    if not waits_for_version(context) or context.observed.advice is None:
        return ()
    return (Reason(CODE, f"the handover waits: {context.observed.advice.danger}", cure=context.observed.advice.helps),)


def look_every(context: Context) -> float:
    """Seconds between listings: more of them where the version, or a backup under way, asks for it."""
    if context.memory.handover is not HandoverState.DONE:
        return LOOK_EVERY
    risky = context.observed.advice is not None and context.observed.advice.look_closely
    return LOOK_CLOSELY if risky or context.observed.backup_under_way else LOOK_EVERY


# -- the target --------------------------------------------------------------------------------------------


def taken_away(context: Context, sight: Sight, gone: Collection[str]) -> frozenset[str]:
    """The names of what its owner removed from the target; only what newer backups leave behind counts."""
    if context.memory.handover is HandoverState.PENDING:
        return frozenset()
    if context.observed.advice is not None and context.observed.advice.verdict is Verdict.WAIT:
        return frozenset()  # its `cleanup` removes whole sets by mistake
    return removed(context.memory.items, gone, sight.objects.keys())


def set_aside(context: Context, away: Collection[str]) -> None:
    """What its owner removed is not sent any more; told once. What is on the line now follows at the next look."""
    fresh = [item for item in context.memory.items if item.name in away and item.phase is not Phase.REFUSED]
    for item in fresh:
        if item.phase is Phase.DONE:
            context.memory.happened(item.name, Event.VANISHED)
        if item.phase is not Phase.SENDING:
            context.memory.happened(item.name, Event.REJECTED, error=REMOVED)
    sets = sorted({item.set_id for item in fresh})
    if not sets or context.memory.get(facts.REMOVED_SET) == sets[0].end:
        return
    context.memory.remember(facts.REMOVED_SET, sets[0].end)
    context.tell(
        "removed",
        "removed",
        f"{context.order.name}: an old backup was removed from the cloud",
        f"{describe(sets[0])} and what was made upon it are gone from {context.url}, and a newer full stands there: "
        "its upload has ended. If that is wrong, `slowboat retry` sends it all again from the drive.",
    )


async def before(context: Context) -> bool:
    """Before the target is read: asks for the version, and whether duplicity is at work there now."""
    await ask_version(context)
    return await _duplicity_runs(context)


async def after(context: Context, sight: Sight, gone: Collection[str], away: Collection[str], *, ran: bool) -> None:
    """What the target shows beside ours: told once each. `ran`: duplicity was running when it was read."""
    damaged = [name for name in gone if name not in away and name not in sight.objects]
    if damaged:
        _damaged(context, damaged)
    if context.memory.handover is not HandoverState.DONE:
        return
    _tell_version(context)
    found = direct_sets(context.memory.items, sight.objects.keys())
    context.observed.direct = found.whole
    _tell_overtaken(context, found.newest_full.end if found.newest_full else 0)
    context.observed.backup_under_way = bool(found.unfinished) and (ran or await _duplicity_runs(context))
    if not context.observed.backup_under_way:
        last = found.unfinished[-1] if found.unfinished else None
        _tell_unfinished(context, describe(last) if last else "", last.end if last else 0)
    if not damaged:
        await _look_for_caches(context)


async def _duplicity_runs(context: Context) -> bool:
    return any([await context.tools.cache.in_use(one) for one in context.memory.installed])


def _damaged(context: Context, names_: list[str]) -> None:
    """Files of ours are gone, and nobody meant it: the plan sends them again; the cache is made whole after that."""
    handed_over = context.memory.handover is HandoverState.DONE
    if handed_over and any(context.memory.item(name).role.is_metadata for name in names_):
        context.memory.remember(facts.MEND_AT, context.tools.now())
    danger = _danger(context)
    known = f" {context.observed.duplicity} may do that: {danger}." if danger else ""
    away = "" if context.observed.drive_present else " Connect the drive."
    context.tell(
        "damaged",
        "damaged",
        f"{context.order.name}: files disappeared from the cloud",
        f"{len(names_)} files of the backup are gone from {context.url}, such as {names_[0]}.{known} slowboat sends "
        f"them again from the drive, metadata first. Make no backup until that is done.{away}",
        urgent=True,
    )


def danger_now(context: Context) -> str:
    """What the worst duplicity may do to this chain as long as volumes are missing; "" where nothing is known."""
    return "" if context.account().restorable else _danger(context)


def _danger(context: Context) -> str:
    """What this version may destroy, "" where nothing is known."""
    advice = context.observed.advice
    return advice.danger if advice is not None and advice.verdict in (Verdict.RISKY, Verdict.WAIT) else ""


def _tell_version(context: Context) -> None:
    """The user's duplicity has become one that destroys, after the handover."""
    advice = context.observed.advice
    harmful = advice is not None and advice.verdict is Verdict.WAIT and not newest_is_complete(context)
    known = context.memory.get(facts.HARMFUL)
    if advice is None or not harmful:
        if known:
            context.memory.remember(facts.HARMFUL, "")
            context.memory.remember(facts.HANDOVER_WHY, "")
            context.withdraw("version")
        return
    if known == context.observed.duplicity:
        return
    context.memory.remember(facts.HARMFUL, context.observed.duplicity)
    text = (
        f"{context.observed.duplicity} makes no incremental backup before the last volume is in the cloud, and "
        f"{advice.danger}: until then run no cleanup. Update duplicity to 3.0.6.2 or newer"
    )
    context.memory.remember(facts.HANDOVER_WHY, text)
    context.tell("version", "version", f"{context.order.name}: this duplicity is dangerous", f"{text}.", urgent=True)


def _tell_overtaken(context: Context, full: int) -> None:
    if not full or context.memory.get(facts.OVERTAKEN) == full:
        return
    context.memory.remember(facts.OVERTAKEN, full)
    if newest_is_complete(context):
        return
    context.tell(
        "overtaken",
        "overtaken",
        f"{context.order.name}: a new full backup went straight to the cloud",
        f"duplicity made a new full backup at {context.url}. The old chain's upload goes on; if you do not want the "
        f"old backups in the cloud, say `slowboat pause {context.order.name}` and take it out of the configuration.",
    )


def _tell_unfinished(context: Context, which: str, end: int) -> None:
    """Volumes without a manifest, and nobody at work there: told with the cure of this version."""
    if context.memory.get(facts.UNFINISHED) == end:
        return
    context.memory.remember(facts.UNFINISHED, end)
    if not end:
        context.withdraw("unfinished")
        return
    advice = context.observed.advice or versions.NOT_KNOWN
    danger = f" With {context.observed.duplicity} this is dangerous: {_danger(context)}." if _danger(context) else ""
    context.tell(
        "unfinished",
        "unfinished",
        f"{context.order.name}: an unfinished backup stands in the cloud",
        f"{which} at {context.url} was broken off: it has volumes and no manifest.{danger} "
        f"{advice.stray.format(url=context.url)}. slowboat removes nothing.",
        urgent=True,
    )


async def _look_for_caches(context: Context) -> None:
    """Deja Dup empties its archive dir when something goes wrong: what can be put back, is; told once."""
    installed = context.memory.installed
    gone = tuple([one.url for one in installed if not await context.tools.cache.stands(one)])
    known = context.memory.get(facts.CACHES_GONE)
    context.memory.remember(facts.CACHES_GONE, gone)
    if not gone or known == gone:
        return
    context.memory.note(
        "cache-gone", f"duplicity's cache for {gone[0]} is gone; Deja Dup does that when a backup fails"
    )
    context.memory.remember(facts.MEND_AT, context.tools.now())


# -- the cache ---------------------------------------------------------------------------------------------


async def mend(context: Context) -> None:
    """Puts back what duplicity emptied of its cache for the target; what is there is never touched.

    Raises:
        Transient: duplicity is running.
        NeedsUser: the cache cannot be made whole.
    """
    wanted = [item.name for item in context.newest_metadata()]
    keys = frozenset(names.metadata_key(name) for name in wanted)
    source = await context.tools.cache.find(keys, await context.source_url())
    if source is None:
        raise NeedsUser("the drive's cache is no longer on this machine", code="no-cache")
    mended = [await context.tools.cache.mend(source, one) for one in context.memory.installed]
    count = sum(len(names_) for _, names_ in mended)
    context.memory.mended([installed for installed, _ in mended])
    context.memory.remember(facts.MEND_AT, 0.0)
    context.memory.remember(facts.CACHES_GONE, ())
    context.withdraw("damaged")
    context.memory.note("mended", f"All metadata is in the cloud; {count} files were put back into duplicity's cache")


def not_mended(context: Context, error: SlowboatError) -> None:
    """Later, where duplicity was running; else duplicity fetches what it lacks from the target by itself."""
    if isinstance(error, Transient):
        context.memory.remember(facts.MEND_AT, context.tools.now() + backoff.CACHE_IN_USE)
        return
    context.memory.remember(facts.MEND_AT, 0.0)
    context.memory.note(
        "mended",
        f"All metadata is in the cloud. duplicity's cache could not be made whole here ({error.what}): duplicity "
        "fetches what it lacks at its next run, and asks for the passphrase then",
    )
