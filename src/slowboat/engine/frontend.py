"""Deja Dup after the handover: at the user's word its settings are switched to the target, and back.

Knows when that is safe and what must be remembered for the way back. Must not know where the settings are kept
(edges/dejadup) nor what they are called (core/dejadup).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slowboat.core import dejadup, manifest, names
from slowboat.core.errors import NeedsUser, SlowboatError
from slowboat.core.words import HandoverState, Role, SetType
from slowboat.engine import facts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slowboat.engine.context import Context
    from slowboat.engine.ports import FrontEnd

BUTTON = "Switch Deja Dup to the cloud"
"""Below the notice of the handover."""


def plan(context: Context, values: Mapping[str, str]) -> dejadup.Switch:
    """What would be changed. Raises NeedsUser where Deja Dup cannot reach the target."""
    target = context.order.target
    place = f"{target.container}/{target.prefix}".rstrip("/")
    return dejadup.switch(values, target.urls, place, context.order.account, _by_hand(context))


def _by_hand(context: Context) -> dejadup.ByHand:
    """What duplicity must be told where Deja Dup cannot go on."""
    encrypted = any(item.name.endswith((".gpg", ".g")) for item in context.newest_metadata())
    installed = context.memory.installed
    if not installed:
        return dejadup.ByHand(encrypted=encrypted)
    return dejadup.ByHand(str(installed[0].directory.parent), encrypted)


async def observe(context: Context) -> None:
    """Notes where Deja Dup backs up to now, and what is to be done with it after the handover."""
    observed = context.observed
    observed.used_url, observed.front_end = "", ""
    if context.tools.front_end is None or not context.memory.items:
        return
    url = dejadup.cloud_url(await context.tools.front_end.read(), "")
    if url in context.order.target.urls:
        observed.used_url = url
    elif context.memory.handover is HandoverState.DONE:
        observed.front_end, _ = await advice(context)


async def must_be_able(context: Context) -> None:
    """Whether `switch` would do it, as far as can be known. Raises as it does."""
    values = await _values(context)
    if dejadup.cloud_url(values, "") not in context.order.target.urls:
        plan(context, values)
        await _must_be_ours(context)


async def switch(context: Context) -> str:
    """Points Deja Dup at the target; the handover is done. Answers the URL that it uses, which has its cache.

    Raises:
        NeedsUser: it would not go on with this chain there, or cannot be switched from here; with the cure.
    """
    values = await _values(context)
    wanted = plan(context, values)
    if all(values.get(name) == text for name, text in wanted.values.items()):
        return wanted.url
    await _must_be_ours(context)
    before = {name: values.get(name, "") for name in wanted.values}
    switched = facts.Switched(wanted.url, before, dict(wanted.values))
    context.memory.remember(facts.FRONT_END, switched)  # first: a crash in between must not lose the way back
    try:
        await _front_end(context).write(wanted.values)
    except SlowboatError:
        context.memory.remember(facts.FRONT_END, None)
        raise
    context.memory.note("front-end", f"Deja Dup now backs up to {wanted.url}")
    return wanted.url


async def switch_back(context: Context) -> bool:
    """Points Deja Dup to where it backed up before; answers whether it was done.

    What the user has set since then stays as it is.

    Raises:
        NeedsUser: its settings cannot be changed; the hint has the commands.
    """
    switched = context.memory.get(facts.FRONT_END)
    if switched is None:
        return False
    values = await _values(context)
    untouched = all(values.get(name) == text for name, text in switched.after.items())
    if untouched:
        await _front_end(context).write(dict(reversed(tuple(switched.before.items()))))
        context.memory.note("front-end", "Deja Dup backs up to the same place as before the handover again")
    else:
        context.memory.note(
            "front-end", "Deja Dup's settings have been changed since the handover, and stay as they are"
        )
    context.memory.remember(facts.FRONT_END, None)
    return untouched


async def advice(context: Context) -> tuple[str, str]:
    """What is to be done with Deja Dup after the handover, a sentence, and a button that does it.

    "" and "" where Deja Dup has no part in this; no button where it cannot be switched.
    """
    front_end = context.tools.front_end
    if front_end is None or not await front_end.sources(context.order.source_dir):
        return "", ""
    try:
        await must_be_able(context)
    except NeedsUser as error:
        return str(error).rstrip("."), ""
    text = "Deja Dup still backs up to the drive. To switch it to the cloud: slowboat handover --switch-deja-dup"
    return text, BUTTON


async def _values(context: Context) -> Mapping[str, str]:
    values = await context.tools.front_end.read() if context.tools.front_end else {}
    if not values:
        raise NeedsUser(
            "there is no Deja Dup on this machine, or its settings cannot be read",
            hint=f"From now on, let whatever runs duplicity back up to {context.url}",
            code="front-end",
        )
    return values


async def _must_be_ours(context: Context) -> None:
    """An incremental of something else, or of a chain that Deja Dup does not know, would fail or begin anew."""
    if not await _front_end(context).sources(context.order.source_dir):
        raise NeedsUser(
            f"Deja Dup's settings do not point to {context.order.source_dir}",
            hint="Set its storage location to that folder first, so that it is clear whose backup is to continue "
            f"in the cloud; or let whatever made that backup use {context.url}",
            code="front-end",
        )
    localdir = _localdir(context)
    if localdir not in {b"", b"/"}:
        raise NeedsUser(
            f"this is a backup of {localdir.decode('utf-8', 'replace')}, and Deja Dup always backs up /",
            hint=f"It was made by another program: let that one back up to {context.url}",
            code="front-end",
        )


def _localdir(context: Context) -> bytes:
    """What the newest full was made of, as its manifest says; b"" where that is not known."""
    for item in context.newest_metadata():
        if item.role is Role.MANIFEST and item.set_id.type is SetType.FULL:
            text = context.tools.ledger.manifest(context.order.name, names.metadata_key(item.name))
            return manifest.parse_bytes(text, item.name).localdir if text else b""
    return b""


def _front_end(context: Context) -> FrontEnd:
    if context.tools.front_end is None:
        raise NeedsUser("there is no Deja Dup on this machine", code="front-end")
    return context.tools.front_end
