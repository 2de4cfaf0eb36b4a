"""The handover: duplicity's cache, installed for the target, once all of the newest chain's metadata is there.

Knows its states and what is told of them. Must not know how a cache is copied (edges/cache) nor how it was found
out that the time has come (core/plan).
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from typing import TYPE_CHECKING

from slowboat.core import backoff, names
from slowboat.core.errors import NeedsUser, SlowboatError, Transient
from slowboat.core.plan import matches, ready_for_handover
from slowboat.core.roster import SETTLED
from slowboat.core.words import HandoverState
from slowboat.engine import drive, facts, frontend, guard, target

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from slowboat.core.words import Installed
    from slowboat.engine.context import Context


ASK = "ask"
"""Why a handover waits that only the user's word is missing for."""

HAND_OVER_NOW = "Hand over now"
"""The button below the notice of a handover that waits for the user's word."""


def shown(context: Context) -> tuple[HandoverState, str]:
    """Its state and, where it is not done, why."""
    memory = context.memory
    if context.order.follows and memory.handover is not HandoverState.DONE:
        return HandoverState.NEVER, "the cloud follows the drive"
    if memory.handover is HandoverState.BLOCKED and memory.get(facts.HANDOVER_CODE) == ASK:
        return HandoverState.READY, memory.get(facts.HANDOVER_WHY)  # as wished: nothing is in its way
    if memory.handover is not HandoverState.PENDING:
        return memory.handover, memory.get(facts.HANDOVER_WHY)
    return _not_yet(context)


def _not_yet(context: Context) -> tuple[HandoverState, str]:
    memory = context.memory
    newest = memory.roster.chains.get(0)
    if newest is None:
        return HandoverState.PENDING, "the drive has not been read yet"
    if ready_for_handover(memory.roster):
        return HandoverState.READY, ""
    left = len(newest.open_metadata) + len(newest.open_canaries)
    first = len(newest.metadata) + newest.canaries
    return HandoverState.PENDING, f"{left} of {first} files must reach the cloud first"


async def do(context: Context) -> None:
    """Installs the cache for every URL of the target. The plan has seen all metadata at the target.

    Where the drive has a newer set, which must go first, nothing is done.

    Raises:
        NeedsUser, Transient: what stands in its way.
    """
    async with context.observed.handing_over:  # the user may say the word while the plan does it
        if context.memory.handover is not HandoverState.DONE:
            await _do(context)


async def _do(context: Context) -> None:
    if context.order.ask_first and not context.observed.asked:
        raise NeedsUser("it waits for your confirmation", hint="Run: slowboat handover", code=ASK)
    if context.observed.drive_present:
        await drive.observe(context)
        if context.observed.drive_changed:
            return  # a newer set on the drive belongs to the chain: it goes first
    await guard.must_not_destroy(context)
    _remember(context, await _install(context, context.order.target.urls))
    advice, button = await frontend.advice(context)
    context.notify(
        "handover",
        "handover",
        "Backups can go to the cloud now",
        f"{context.order.name}: from now on, let duplicity or Deja Dup back up to {context.url}. The volumes follow in "
        "the background. Keep the drive until slowboat says that everything is in the cloud."
        + (f"\n{advice}{'' if button else '.'}" if advice else ""),
        button=button,
    )
    await frontend.observe(context)


async def _install(context: Context, urls: Sequence[str]) -> Sequence[Installed]:
    """Finds duplicity's cache and installs it for each of the URLs."""
    wanted = [item.name for item in context.newest_metadata()]
    keys = frozenset(names.metadata_key(name) for name in wanted)
    known = await context.source_url()
    directory = await context.tools.cache.find(keys, known)
    if directory is None:
        url = known or f"file://{context.order.source_dir}"
        raise NeedsUser(
            f"duplicity's cache for {context.order.source_dir} was not found on this computer",
            hint=f"Run `duplicity list-current-files {url}` once with the drive connected: that makes the cache again",
            code="no-cache",
        )
    return await _installed(context, directory, [names.cache_name(name) for name in wanted], urls)


async def _installed(
    context: Context, directory: Path, cached: Sequence[str], urls: Sequence[str]
) -> Sequence[Installed]:
    """Installs the cache for each URL; what a run that was killed had installed already counts as ours."""
    already = context.memory.get(facts.INSTALLING)
    begun = list(already)
    found: list[Installed] = []
    for url in urls:
        context.memory.remember(facts.INSTALLING, (*begun, url))
        try:
            one = await context.tools.cache.hand_over(directory, cached, url)
        except (SlowboatError, asyncio.CancelledError):  # nothing was installed: what stands there was there before
            context.memory.remember(facts.INSTALLING, tuple(begun))
            raise
        found.append(replace(one, adopted=one.adopted and url not in begun))
        if not found[-1].adopted:
            begun.append(url)
    return found


def _remember(context: Context, installed: Sequence[Installed]) -> None:
    """What is installed, for its undoing; until that is written down it counts as being installed."""
    context.memory.handed_over(installed)
    context.memory.remember(facts.INSTALLING, ())


async def asked(context: Context) -> None:
    """At the user's word, now.

    Raises:
        NeedsUser, Transient: what stands in its way.
    """
    if context.memory.handover is HandoverState.DONE:
        return
    state, why = _not_yet(context)
    if not ready_for_handover(context.memory.items) or not context.memory.items:
        raise NeedsUser(
            f"the handover of {context.order.name} is not possible yet: {why or state.value}",
            hint="slowboat does it by itself as soon as possible",
            code="not-ready",
        )
    await target.observe(context)
    objects = context.observed.objects or {}
    if not all(matches(item, objects.get(item.name)) for item in context.newest_metadata()):
        raise NeedsUser(
            "the target does not have all of the metadata",
            hint="slowboat first sends what is missing, then hands over by itself",
            code="not-ready",
        )
    context.observed.asked = True
    await do(context)
    if not context.memory.installed:
        raise NeedsUser(
            f"{context.order.source_dir} holds a newer backup set, which goes up first",
            hint="slowboat hands over by itself once that is done",
            code="not-ready",
        )


async def switch_front_end(context: Context) -> str:
    """At the user's word: Deja Dup is pointed at the target; answers the URL that it uses.

    Raises:
        NeedsUser, Transient: what stands in its way.
    """
    await frontend.must_be_able(context)  # before anything is done
    await asked(context)
    await _nothing_newer_on_the_drive(context)
    async with context.observed.handing_over:
        known = {one.url for one in context.memory.installed}
        missing = [url for url in context.order.target.urls if url not in known]  # new in the configuration
        if missing:
            _remember(context, [*context.memory.installed, *await _install(context, missing)])
        return await frontend.switch(context)


async def _nothing_newer_on_the_drive(context: Context) -> None:
    """A backup that went to the drive since the handover goes up first: the next one in the cloud builds upon it.

    Raises:
        NeedsUser: there is one (code "not-ready").
    """
    if context.observed.drive_present:
        await drive.observe(context)
    first = [item for item in context.memory.items if item.chain == 0 and (item.role.is_metadata or item.canary)]
    if context.observed.drive_changed or any(item.phase not in SETTLED for item in first):
        raise NeedsUser(
            f"{context.order.source_dir} holds a newer backup, whose metadata goes up first",
            hint="Let slowboat send it, then try again",
            code="not-ready",
        )


async def undo(context: Context) -> None:
    """Takes the handover back, and Deja Dup's switch with it; it then waits for the user's word.

    Raises:
        NeedsUser: nothing was handed over, or duplicity has written to the cache since.
    """
    async with context.observed.handing_over:
        if not context.memory.installed:
            raise NeedsUser(f"nothing was handed over for {context.order.name}", code="not-done")
        switched = await frontend.switch_back(context)
        try:
            for installed in context.memory.installed:
                await context.tools.cache.undo(installed)
        except SlowboatError:
            if switched:
                await frontend.switch(context)  # its backups are in the cloud already: there it goes on
            raise
        context.observed.asked = False
        context.memory.handover_undone()
        context.memory.handover_blocked("you undid it. To do it again: slowboat handover", math.inf)
    context.memory.note("handover", "The handover was undone")
    context.withdraw("handover")


def refused(context: Context, error: SlowboatError) -> None:
    """Remembers why it could not be done, and tells it where it is new and needs the user."""
    known = context.memory.get(facts.HANDOVER_WHY)
    wait = (
        backoff.CACHE_IN_USE if isinstance(error, Transient) else math.inf if error.code == ASK else backoff.TRY_AGAIN
    )
    context.memory.handover_blocked(str(error), context.tools.now() + wait, error.code)
    if known == str(error):
        return
    if isinstance(error, Transient):
        context.memory.note("handover", f"The handover waits: {error}")
    else:
        title = f"{context.order.name}: the handover waits"
        button = HAND_OVER_NOW if error.code == ASK else ""
        context.notify("handover", "handover", title, str(error), urgent=True, button=button)
