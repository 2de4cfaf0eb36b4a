"""The handover: duplicity's cache, installed for the target, once all of the newest chain's metadata is there.

Knows its states and what is told of them. Must not know how a cache is copied (edges/cache) nor how it was found
out that the time has come (core/plan).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from slowboat.core import names
from slowboat.core.errors import NeedsUser, SlowboatError, Transient
from slowboat.core.plan import SETTLED, matches, ready_for_handover
from slowboat.core.words import HandoverState
from slowboat.engine import drive, frontend, guard, target

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from slowboat.core.words import Installed
    from slowboat.engine.work import Work

TRY_AGAIN = 3600.0
"""Seconds until a handover that needs the user is tried again unasked."""
CACHE_IN_USE = 30.0
"""Seconds until it is tried again while duplicity is running: most of its runs are minutes."""


def shown(work: Work) -> tuple[HandoverState, str]:
    """Its state and, where it is not done, why."""
    memory = work.memory
    if memory.handover is not HandoverState.PENDING:
        return memory.handover, memory.fact("handover_why")
    if not memory.items:
        return HandoverState.PENDING, "the drive has not been read yet"
    if ready_for_handover(memory.items):
        return HandoverState.READY, ""
    first = [item for item in memory.items if item.chain == 0 and (item.role.is_metadata or item.canary)]
    left = [item for item in first if item.phase not in SETTLED]
    return HandoverState.PENDING, f"{len(left)} of {len(first)} files must reach the cloud first"


async def do(work: Work) -> None:
    """Installs the cache for every URL of the target. The plan has seen all metadata at the target.

    Where the drive has a newer set, which must go first, nothing is done.

    Raises:
        NeedsUser, Transient: what stands in its way.
    """
    async with work.seen.handing_over:  # the user may say the word while the plan does it
        if work.memory.handover is not HandoverState.DONE:
            await _do(work)


async def _do(work: Work) -> None:
    if work.order.ask_first and not work.seen.asked:
        raise NeedsUser("it waits for your word", hint="Say `slowboat handover`", code="ask")
    if work.seen.drive_present:
        await drive.look(work)
        if work.seen.drive_changed:
            return  # a newer set on the drive belongs to the chain: it goes first
    await guard.must_not_destroy(work)
    work.memory.handed_over(await _install(work, work.order.target.urls))
    advice, button = await frontend.advice(work)
    work.tell(
        "handover",
        "handover",
        "Backups can go to the cloud now",
        f"{work.order.name}: from now on let duplicity or Deja Dup back up to {work.url}. The volumes follow in the "
        "background; keep the drive until slowboat says that everything is there." + (f" {advice}." if advice else ""),
        button=button,
    )


async def _install(work: Work, urls: Sequence[str]) -> Sequence[Installed]:
    """Finds duplicity's cache and installs it for each of the URLs."""
    wanted = [item.name for item in work.newest_metadata()]
    keys = frozenset(names.metadata_key(name) for name in wanted)
    known = await frontend.source_url(work)
    directory = await work.tools.cache.find(keys, known)
    if directory is None:
        url = known or f"file://{work.order.source_dir}"
        raise NeedsUser(
            f"duplicity's cache for {work.order.source_dir} was not found on this machine",
            hint=f"Run `duplicity list-current-files {url}` once with the drive connected: it makes the cache anew",
            code="no-cache",
        )
    return await _installed(work, directory, [names.cache_name(name) for name in wanted], urls)


async def _installed(work: Work, directory: Path, cached: Sequence[str], urls: Sequence[str]) -> Sequence[Installed]:
    """Installs the cache for each URL; what a run that was killed had installed already counts as ours."""
    begun = work.memory.fact("installing").splitlines()
    found: list[Installed] = []
    for url in urls:
        work.memory.remember("installing", "\n".join([*begun, url]))
        try:
            one = await work.tools.cache.hand_over(directory, cached, url)
        except SlowboatError:  # nothing was installed: what stands there was there before
            work.memory.remember("installing", "\n".join(begun))
            raise
        found.append(replace(one, adopted=one.adopted and url not in begun))
        if not found[-1].adopted:
            begun.append(url)
    work.memory.remember("installing", "")
    return found


async def asked(work: Work) -> None:
    """At the user's word, now.

    Raises:
        NeedsUser, Transient: what stands in its way.
    """
    if work.memory.handover is HandoverState.DONE:
        return
    state, why = shown(work)
    if not ready_for_handover(work.memory.items) or not work.memory.items:
        raise NeedsUser(
            f"the handover of {work.order.name} cannot be done yet: {why or state.value}",
            hint="slowboat does it by itself as soon as it can",
            code="not-ready",
        )
    await target.look(work)
    objects = work.seen.objects or {}
    if not all(matches(item, objects.get(item.name)) for item in work.newest_metadata()):
        raise NeedsUser(
            "the target does not show all of the metadata",
            hint="slowboat sends what is missing first, and hands over by itself",
            code="not-ready",
        )
    work.seen.asked = True
    await do(work)
    if not work.memory.installed:
        raise NeedsUser(
            f"{work.order.source_dir} holds a newer backup set, which goes up first",
            hint="slowboat hands over by itself after it",
            code="not-ready",
        )


async def switch_front_end(work: Work) -> str:
    """At the user's word: Deja Dup is pointed at the target; answers the URL that it uses.

    Raises:
        NeedsUser, Transient: what stands in its way.
    """
    await frontend.must_be_able(work)  # before anything is done
    await asked(work)
    async with work.seen.handing_over:
        known = {one.url for one in work.memory.installed}
        missing = [url for url in work.order.target.urls if url not in known]  # new in the configuration
        if missing:
            work.memory.handed_over([*work.memory.installed, *await _install(work, missing)])
        return await frontend.switch(work)


async def undo(work: Work) -> None:
    """Takes the handover back, and Deja Dup's switch with it; it then waits for the user's word.

    Raises:
        NeedsUser: nothing was handed over, or duplicity has written to the cache since.
    """
    async with work.seen.handing_over:
        if not work.memory.installed:
            raise NeedsUser(f"nothing was handed over for {work.order.name}", code="not-done")
        switched = await frontend.switch_back(work)
        try:
            for installed in work.memory.installed:
                await work.tools.cache.undo(installed)
        except SlowboatError:
            if switched:
                await frontend.switch(work)  # its backups are in the cloud already: there it goes on
            raise
        work.seen.asked = False
        work.memory.handover_undone()
        work.memory.handover_blocked("you took it back; `slowboat handover` does it again", math.inf)
    work.memory.note("handover", "The handover was taken back")


def refused(work: Work, error: SlowboatError) -> None:
    """Remembers why it could not be done, and tells it where it is new and needs the user."""
    known = work.memory.fact("handover_why")
    wait = CACHE_IN_USE if isinstance(error, Transient) else math.inf if error.code == "ask" else TRY_AGAIN
    work.memory.handover_blocked(str(error), work.tools.now() + wait, error.code)
    if known == str(error):
        return
    if isinstance(error, Transient):
        work.memory.note("handover", f"The handover waits: {error}")
    else:
        title = f"{work.order.name}: the handover waits"
        work.tell("handover", "handover", title, str(error), urgent=True)
