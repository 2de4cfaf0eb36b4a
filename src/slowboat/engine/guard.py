"""The guard over a half-uploaded chain, in the world: what is asked for it, and what its judgement changes.

Knows which duplicities there are, whether one is at work, and whether its caches stand; applies what core/guard judged,
in one place; and mends duplicity's cache. Must not know how the target is read (target), nor what follows from what was
seen (core/guard), nor what goes up next. docs/duplicity-versions.md tells all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slowboat.core import backoff, guard, names, versions
from slowboat.core.errors import NeedsUser, SlowboatError, Transient
from slowboat.core.guard import (
    Loss,
    MendCache,
    Note,
    Notify,
    Remembered,
    Reported,
    SetAside,
    Vanished,
    Withdraw,
    is_complete,
)
from slowboat.core.plan import OBSERVE_EVERY, OBSERVE_OFTEN
from slowboat.core.verify import AtTarget
from slowboat.core.versions import Verdict
from slowboat.core.words import Event, HandoverState, Phase, Reason
from slowboat.engine import departures, facts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from slowboat.core.guard import Change
    from slowboat.core.versions import Judgement
    from slowboat.engine.context import Context

OBSERVE_WAITING = 60.0
"""Seconds between listings while a new backup on the drive waits for duplicity's own at the target: a few requests."""
CODE = "duplicity-version"
"""The code of a handover that waits for all volumes, or for another duplicity."""


# -- what is remembered, and what is changed ---------------------------------------------------------------


def remembered(context: Context) -> Remembered:
    """What the judgement needs of what is remembered."""
    memory = context.memory
    return Remembered(
        name=context.order.name,
        url=context.url,
        items=memory.items,
        departed=departures.departed(context),
        handover=memory.handover,
        finished=memory.finished,
        reported=Reported(
            duplicity=memory.get(facts.DUPLICITY),
            dangerous=memory.get(facts.HARMFUL),
            removed=memory.get(facts.REMOVED_SET),
            gone=memory.get(facts.GONE_SET),
            newer_full=memory.get(facts.OVERTAKEN),
            unfinished=memory.get(facts.UNFINISHED),
            damaged=memory.get(facts.DAMAGED),
            empty_caches=memory.get(facts.CACHES_GONE),
        ),
    )


def found(context: Context, damaged: Mapping[str, AtTarget]) -> None:
    """What a verification has found besides a listing is known from now on: it is not done, and goes up again."""
    losses = {AtTarget.PARTS_LOST: Loss.PART}
    changes = [Vanished(name, losses.get(target, Loss.REPLACED)) for name, target in damaged.items()]
    apply(context, changes, remembered(context).reported)


def apply(context: Context, changes: Iterable[Change], reported: Reported) -> None:
    """Does what was judged; objects first, so that nothing is told of what a kill prevented."""
    changes = tuple(changes)
    for change in sorted(changes, key=lambda one: not isinstance(one, Vanished | SetAside | MendCache)):
        match change:
            case Vanished(name, loss):
                _vanished(context, name, loss)
            case SetAside(names_, error):
                for name in names_:
                    _set_aside(context, name, error)
            case Notify(key, title, text, urgent):
                context.notify(key, key, title, text, urgent=urgent)
            case Withdraw(key):
                context.withdraw(key)
            case Note(kind, text):
                context.memory.note(kind, text)
            case MendCache():
                context.memory.remember(facts.MEND_AT, context.tools.now())
    memory = context.memory
    memory.remember(facts.DUPLICITY, reported.duplicity)
    memory.remember(facts.HARMFUL, reported.dangerous)
    memory.remember(facts.REMOVED_SET, reported.removed)
    memory.remember(facts.GONE_SET, reported.gone)
    memory.remember(facts.OVERTAKEN, reported.newer_full)
    memory.remember(facts.UNFINISHED, reported.unfinished)
    memory.remember(facts.DAMAGED, reported.damaged)
    memory.remember(facts.CACHES_GONE, reported.empty_caches)


_LOST = {
    Loss.MISSING: ("vanished", "{} was at the target and is gone; slowboat sends it again"),
    Loss.REPLACED: (
        "replaced",
        "What is at the target in place of {} is not what slowboat sent there: it checks that",
    ),
    Loss.PART: ("vanished", "The cloud has lost parts of {}; slowboat sends them again"),
}


def _vanished(context: Context, name: str, loss: Loss) -> None:
    if context.memory.item(name).phase is not Phase.DONE:
        return  # it was looked at anew meanwhile
    context.memory.happened(name, Event.VANISHED)
    context.memory.remember(facts.FINISHED_AT, 0.0)
    kind, text = _LOST[loss]
    context.memory.note(kind, text.format(name))


def _set_aside(context: Context, name: str, error: str) -> None:
    """What is on the line now follows at the next look."""
    phase = context.memory.item(name).phase
    if phase is Phase.SENDING:
        return
    if phase is Phase.DONE:
        context.memory.happened(name, Event.VANISHED)
    elif phase is Phase.REFUSED:  # for a reason that does not count any more
        context.memory.happened(name, Event.RETRIED)
    context.memory.happened(name, Event.REJECTED, error=error)


# -- the version -------------------------------------------------------------------------------------------


async def ask_versions(context: Context) -> Judgement:
    """What holds for the duplicities on this machine; told where it is new."""
    found = versions.judge(await context.tools.duplicity.installed() if context.tools.duplicity else ())
    context.observed.duplicity = found
    judged = guard.of_versions(found, remembered(context))
    apply(context, judged.changes, judged.reported)
    return found


async def must_not_destroy(context: Context) -> None:
    """Before the handover: a version that would destroy the chain gets it only when every volume is there.

    Raises:
        NeedsUser: the handover waits (code "duplicity-version").
    """
    found = await ask_versions(context)
    if found.advice.verdict is not Verdict.WAIT or is_complete(context.memory.roster):
        return
    raise NeedsUser(
        f"{found.name} must not see this backup until its last volume is in the cloud: {found.advice.danger}",
        hint=found.advice.helps,
        code=CODE,
    )


def waits_for_version(context: Context) -> bool:
    """Whether the version is what the handover waits for."""
    return context.memory.handover is HandoverState.BLOCKED and context.memory.get(facts.HANDOVER_CODE) == CODE


def waits_no_longer(context: Context) -> bool:
    """Whether the last volume is there, for which such a handover has waited."""
    return waits_for_version(context) and is_complete(context.memory.roster)


def reasons(context: Context) -> tuple[Reason, ...]:
    """Why the handover waits for another version, while it does; it holds no upload back."""
    found = context.observed.duplicity
    if not waits_for_version(context) or found is None:
        return ()
    return (Reason(CODE, f"the handover waits: {found.advice.danger}", cure=found.advice.helps),)


def danger_now(context: Context) -> str:
    """What the worst duplicity may do to this chain as long as volumes are missing; "" where nothing is known."""
    found = context.observed.duplicity
    return "" if found is None or is_complete(context.memory.roster) else guard.danger_of(found)


def observe_every(context: Context) -> float:
    """Seconds between listings: more of them where the version, or a backup under way, asks for it."""
    if context.memory.handover is not HandoverState.DONE and not context.order.follows:
        return OBSERVE_EVERY
    if context.observed.postponed:
        return OBSERVE_WAITING
    found = context.observed.duplicity
    risky = found is not None and found.advice.observe_often
    return OBSERVE_OFTEN if risky or context.observed.backup_under_way else OBSERVE_EVERY


# -- what a look needs besides the target ------------------------------------------------------------------


async def duplicity_runs(context: Context) -> bool:
    """Whether duplicity is at work with the target now, as far as its lock tells."""
    return any([await context.tools.cache.in_use(one) for one in context.memory.installed])


async def empty_caches(context: Context) -> tuple[str, ...]:
    """The URLs of the installed caches that are gone."""
    return tuple([one.url for one in context.memory.installed if not await context.tools.cache.stands(one)])


# -- the cache ---------------------------------------------------------------------------------------------


async def mend(context: Context) -> None:
    """Puts into duplicity's cache for the target what it lacks of the chain there; what is there is never touched.

    duplicity emptied it, or a newer set came from the drive. Without that set's metadata the next backup to the target
    would ask for the passphrase, to fetch it.

    Raises:
        Transient: duplicity is running.
        NeedsUser: the cache cannot be made whole.
    """
    newest = context.newest_metadata()
    keys = frozenset(names.metadata_key(item.name) for item in newest)
    wanted = [names.cache_name(item.name) for item in newest if item.phase is Phase.DONE]
    source = await context.tools.cache.find(keys, await context.source_url())
    if source is None:
        raise NeedsUser("duplicity's cache for the drive is no longer on this computer", code="no-cache")
    before = context.memory.installed
    mended = [await context.tools.cache.mend(source, one, wanted) for one in before]
    grown = any(set(added) - one.files.keys() for one, (_, added) in zip(before, mended, strict=True))
    count = sum(len(names_) for _, names_ in mended)
    context.memory.mended([installed for installed, _ in mended])
    context.memory.remember(facts.MEND_AT, 0.0)
    context.memory.remember(facts.CACHES_GONE, ())
    _whole_again(context)
    if count:
        how = "added to" if grown else "put back into"
        context.memory.note("mended", f"All metadata is in the cloud; {count} files were {how} duplicity's cache")


def not_mended(context: Context, error: SlowboatError) -> None:
    """Later, where duplicity was running; else duplicity fetches what it lacks from the target by itself."""
    if isinstance(error, Transient) or error.code == "cache-newer":  # a backup to the drive is not finished yet
        context.memory.remember(facts.MEND_AT, context.tools.now() + backoff.CACHE_IN_USE)
        return
    context.memory.remember(facts.MEND_AT, 0.0)
    _whole_again(context)
    context.memory.note(
        "mended",
        f"All metadata is in the cloud. duplicity's cache could not be made whole here ({error.what}): duplicity "
        "fetches what it lacks at its next run, and asks for the passphrase then",
    )


def _whole_again(context: Context) -> None:
    """Backups may be made again."""
    context.memory.remember(facts.DAMAGED, facts.DAMAGED.default)
    context.withdraw("damaged")
