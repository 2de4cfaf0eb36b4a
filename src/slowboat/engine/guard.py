"""The guard over a half-uploaded chain: what duplicity does at the target meanwhile, and what is done about it.

Knows what duplicity's version may do, tells a chain that its owner removed from one that duplicity damaged, and mends
duplicity's cache. Must not know how the target is read, nor what goes up next: what is damaged is QUEUED again, and
the plan brings it back, metadata first. Nothing is ever deleted at the target. docs/duplicity-versions.md tells all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slowboat.core import names, versions
from slowboat.core.chains import describe
from slowboat.core.errors import NeedsUser, SlowboatError, Transient
from slowboat.core.plan import LOOK_CLOSELY, LOOK_EVERY
from slowboat.core.straight import REMOVED, removed, straight
from slowboat.core.versions import Verdict
from slowboat.core.words import Event, HandoverState, Phase, Reason
from slowboat.engine import frontend

if TYPE_CHECKING:
    from collections.abc import Collection

    from slowboat.core.plan import Sight
    from slowboat.core.versions import Advice
    from slowboat.engine.work import Work

CODE = "duplicity-version"
"""The code of a handover that waits for all volumes, or for another duplicity."""
CACHE_IN_USE = 30.0
"""Seconds until a cache is mended after all where duplicity was running."""


# -- the version -------------------------------------------------------------------------------------------


async def ask_version(work: Work) -> Advice:
    """What holds for the duplicity that the user would run now; noted when it is new."""
    said = await work.tools.duplicity.version() if work.tools.duplicity else ""
    known = versions.parse(said)
    advice = versions.verdict(known)
    name = f"duplicity {known}" if known else "a duplicity whose version is not known"
    work.seen.advice, work.seen.duplicity = advice, name
    if work.memory.fact("duplicity") != name:
        work.memory.remember("duplicity", name)
        unknown = advice.verdict is Verdict.UNKNOWN
        danger = advice.helps if unknown else advice.danger or "nothing is known against it"
        work.memory.note("duplicity", f"Backups will be made by {name}: {danger}")
    return advice


async def must_not_destroy(work: Work) -> None:
    """Before the handover: a version that would destroy the chain gets it only when every volume is there.

    Raises:
        NeedsUser: the handover waits (code "duplicity-version").
    """
    advice = await ask_version(work)
    if advice.verdict is not Verdict.WAIT or newest_is_complete(work):
        return
    raise NeedsUser(
        f"{work.seen.duplicity} must not see this backup before its last volume is in the cloud: {advice.danger}",
        hint=advice.helps,
        code=CODE,
    )


def newest_is_complete(work: Work) -> bool:
    """Whether every file of the newest chain is confirmed."""
    return all(item.phase is Phase.DONE for item in work.memory.items if item.chain == 0)


def waits_for_version(work: Work) -> bool:
    """Whether the version is what the handover waits for."""
    return work.memory.handover is HandoverState.BLOCKED and work.memory.fact("handover_code") == CODE


def reasons(work: Work) -> tuple[Reason, ...]:
    """Why the handover waits for another version, while it does; it holds no upload back."""
    if not waits_for_version(work) or work.seen.advice is None:
        return ()
    return (Reason(CODE, f"the handover waits: {work.seen.advice.danger}", cure=work.seen.advice.helps),)


def look_every(work: Work) -> float:
    """Seconds between listings: more of them where the version, or a backup under way, asks for it."""
    if work.memory.handover is not HandoverState.DONE:
        return LOOK_EVERY
    risky = work.seen.advice is not None and work.seen.advice.look_closely
    return LOOK_CLOSELY if risky or work.seen.backup_under_way else LOOK_EVERY


# -- the target --------------------------------------------------------------------------------------------


def taken_away(work: Work, sight: Sight, gone: Collection[str]) -> frozenset[str]:
    """The names of what its owner removed from the target; only what newer backups leave behind counts."""
    if work.memory.handover is HandoverState.PENDING:
        return frozenset()
    if work.seen.advice is not None and work.seen.advice.verdict is Verdict.WAIT:
        return frozenset()  # its `cleanup` removes whole sets by mistake
    return removed(work.memory.items, gone, sight.objects.keys())


def set_aside(work: Work, away: Collection[str]) -> None:
    """What its owner removed is not sent any more; told once. What is on the line now follows at the next look."""
    fresh = [item for item in work.memory.items if item.name in away and item.phase is not Phase.REFUSED]
    for item in fresh:
        if item.phase is Phase.DONE:
            work.memory.happened(item.name, Event.VANISHED)
        if item.phase is not Phase.SENDING:
            work.memory.happened(item.name, Event.REJECTED, error=REMOVED)
    sets = sorted({item.set_id for item in fresh})
    if not sets or work.memory.fact("removed") == str(sets[0].end):
        return
    work.memory.remember("removed", str(sets[0].end))
    work.tell(
        "removed",
        "removed",
        f"{work.order.name}: an old backup was removed from the cloud",
        f"{describe(sets[0])} and what was made upon it are gone from {work.url}, and a newer full stands there: its "
        "upload has ended. If that is wrong, `slowboat retry` sends it all again from the drive.",
    )


async def before(work: Work) -> bool:
    """Before the target is read: asks for the version, and whether duplicity is at work there now."""
    await ask_version(work)
    return await _duplicity_runs(work)


async def after(work: Work, sight: Sight, gone: Collection[str], away: Collection[str], *, ran: bool) -> None:
    """What the target shows beside ours: told once each. `ran`: duplicity was running when it was read."""
    damaged = [name for name in gone if name not in away and name not in sight.objects]
    if damaged:
        _damaged(work, damaged)
    if work.memory.handover is not HandoverState.DONE:
        return
    _tell_version(work)
    found = straight(work.memory.items, sight.objects.keys())
    work.seen.direct_sets = len(found.whole)
    _tell_overtaken(work, found.newest_full.end if found.newest_full else 0)
    work.seen.backup_under_way = bool(found.unfinished) and (ran or await _duplicity_runs(work))
    if not work.seen.backup_under_way:
        last = found.unfinished[-1] if found.unfinished else None
        _tell_unfinished(work, describe(last) if last else "", str(last.end) if last else "")
    if not damaged:
        await _look_for_caches(work)


async def _duplicity_runs(work: Work) -> bool:
    return any([await work.tools.cache.in_use(one) for one in work.memory.installed])


def _damaged(work: Work, names_: list[str]) -> None:
    """Files of ours are gone, and nobody meant it: the plan sends them again; the cache is made whole after that."""
    handed_over = work.memory.handover is HandoverState.DONE
    if handed_over and any(work.memory.item(name).role.is_metadata for name in names_):
        work.memory.remember("mend_at", work.tools.now())
    danger = _danger(work)
    known = f" {work.seen.duplicity} may do that: {danger}." if danger else ""
    away = "" if work.seen.drive_present else " Connect the drive."
    work.tell(
        "damaged",
        "damaged",
        f"{work.order.name}: files disappeared from the cloud",
        f"{len(names_)} files of the backup are gone from {work.url}, such as {names_[0]}.{known} slowboat sends them "
        f"again from the drive, metadata first. Make no backup until that is done.{away}",
        urgent=True,
    )


def _danger(work: Work) -> str:
    """What this version may destroy, "" where nothing is known."""
    advice = work.seen.advice
    return advice.danger if advice is not None and advice.verdict in (Verdict.RISKY, Verdict.WAIT) else ""


def _tell_version(work: Work) -> None:
    """The user's duplicity has become one that destroys, after the handover."""
    advice = work.seen.advice
    harmful = advice is not None and advice.verdict is Verdict.WAIT and not newest_is_complete(work)
    known = work.memory.fact("harmful")
    if advice is None or not harmful:
        if known:
            work.memory.remember("harmful", "")
            work.memory.remember("handover_why", "")
            work.withdraw("version")
        return
    if known == work.seen.duplicity:
        return
    work.memory.remember("harmful", work.seen.duplicity)
    text = (
        f"{work.seen.duplicity} makes no incremental backup before the last volume is in the cloud, and "
        f"{advice.danger}: until then run no cleanup. Update duplicity to 3.0.6.2 or newer"
    )
    work.memory.remember("handover_why", text)
    work.tell("version", "version", f"{work.order.name}: this duplicity is dangerous", f"{text}.", urgent=True)


def _tell_overtaken(work: Work, full: int) -> None:
    known = work.memory.fact("overtaken")
    if not full or known == str(full):
        return
    work.memory.remember("overtaken", str(full))
    if newest_is_complete(work):
        return
    work.tell(
        "overtaken",
        "overtaken",
        f"{work.order.name}: a new full backup went straight to the cloud",
        f"duplicity made a new full backup at {work.url}. The old chain's upload goes on; if you do not want the "
        f"old backups in the cloud, say `slowboat pause {work.order.name}` and take it out of the configuration.",
    )


def _tell_unfinished(work: Work, which: str, key: str) -> None:
    """Volumes without a manifest, and nobody at work there: told with the cure of this version."""
    known = work.memory.fact("unfinished")
    if known == key:
        return
    work.memory.remember("unfinished", key)
    if not key:
        work.withdraw("unfinished")
        return
    advice = work.seen.advice or versions.NOT_KNOWN
    danger = f" With {work.seen.duplicity} this is dangerous: {_danger(work)}." if _danger(work) else ""
    work.tell(
        "unfinished",
        "unfinished",
        f"{work.order.name}: an unfinished backup stands in the cloud",
        f"{which} at {work.url} was broken off: it has volumes and no manifest.{danger} "
        f"{advice.stray.format(url=work.url)}. slowboat removes nothing.",
        urgent=True,
    )


async def _look_for_caches(work: Work) -> None:
    """Deja Dup empties its archive dir when something goes wrong: what can be put back, is; told once."""
    gone = [one.url for one in work.memory.installed if not await work.tools.cache.stands(one)]
    known = work.memory.fact("caches_gone")
    work.memory.remember("caches_gone", "\n".join(gone))
    if not gone or known == "\n".join(gone):
        return
    work.memory.note("cache-gone", f"duplicity's cache for {gone[0]} is gone; Deja Dup does that when a backup fails")
    work.memory.remember("mend_at", work.tools.now())


# -- the cache ---------------------------------------------------------------------------------------------


async def mend(work: Work) -> None:
    """Puts back what duplicity emptied of its cache for the target; what is there is never touched.

    Raises:
        Transient: duplicity is running.
        NeedsUser: the cache cannot be made whole.
    """
    wanted = [item.name for item in work.newest_metadata()]
    keys = frozenset(names.metadata_key(name) for name in wanted)
    source = await work.tools.cache.find(keys, await frontend.source_url(work))
    if source is None:
        raise NeedsUser("the drive's cache is no longer on this machine", code="no-cache")
    mended = [await work.tools.cache.mend(source, one) for one in work.memory.installed]
    count = sum(len(names_) for _, names_ in mended)
    work.memory.mended([installed for installed, _ in mended])
    work.memory.remember("mend_at", 0.0)
    work.memory.remember("caches_gone", "")
    work.withdraw("damaged")
    work.memory.note("mended", f"All metadata is in the cloud; {count} files were put back into duplicity's cache")


def not_mended(work: Work, error: SlowboatError) -> None:
    """Later, where duplicity was running; else duplicity fetches what it lacks from the target by itself."""
    if isinstance(error, Transient):
        work.memory.remember("mend_at", work.tools.now() + CACHE_IN_USE)
        return
    work.memory.remember("mend_at", 0.0)
    work.memory.note(
        "mended",
        f"All metadata is in the cloud. duplicity's cache could not be made whole here ({error.what}): duplicity "
        "fetches what it lacks at its next run, and asks for the passphrase then",
    )
