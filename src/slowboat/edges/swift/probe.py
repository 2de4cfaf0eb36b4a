"""The probe: a few bytes in the segments' container that show what a store does with guards, SLOs and copies.

Knows which requests show it, and that an answer shows nothing: what stands afterwards does. Must not judge what was
seen (core/capabilities), nor know what follows for an object.

Names and bytes are always the same for one stem. So a probe that has no answer today leaves nothing new each time; and
archive storage, which makes an object readable hours after it was asked for, is asked for the same object again.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from slowboat.core.capabilities import NOT_TRIED, Findings, Trial
from slowboat.core.errors import NeedsUser, Refused, SlowboatError, Transient

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from slowboat.core.words import Limits, RemoteObject

PROBES = "slowboat1/probe/"
"""Where a probe's objects stand in the segments' container; not below any target's prefix."""

PROBE_SECONDS = 7 * 86400
"""After which a probe's objects expire, should nobody come back to them."""

_CLOSED = frozenset({"forbidden", "bad-request"})
"""Codes of refusals that are about this container, and not about whoever asks."""

_PASSING = frozenset({"segments-gone", "container-gone", "conflict", "not-stored", "gone"})
"""Codes of refusals that say something about this moment only, such as of a server that lags behind itself."""

_NO_SLO = Trial(answered=True, message="its /info names no SLO")


class Probed(Protocol):
    """The requests of a store that the probe makes; `segments=True` addresses the segments' container."""

    async def head(self, name: str, *, segments: bool = False) -> RemoteObject | None:
        """What stands at a name."""

    async def put(
        self,
        name: str,
        body: bytes,
        size: int,
        *,
        etag: str = "",
        segments: bool = False,
        guarded: bool | None = None,
        expires_after: int = 0,
    ) -> RemoteObject:
        """`guarded`: with `If-None-Match: *`; `etag`: with that one."""

    async def put_slo(
        self, name: str, parts: Sequence[RemoteObject], *, checked: bool = True, expires_after: int = 0
    ) -> RemoteObject:
        """`checked`: with the SLO's ETag in the header of that name."""

    async def copy_once(self, source: str, name: str, *, etag: str, segments: bool = False) -> None:
        """Does not look at what came of it."""

    async def delete(self, names: Sequence[str]) -> None:
        """In the segments' container."""


async def observe(store: Probed, stem: str, limits: Limits) -> Findings:
    """Makes the requests, in turn; see `SwiftStore.observe`."""
    root = f"{PROBES}{stem}"
    first, other = _bytes(f"{root}/first", 16), _bytes(f"{root}/other", 16)
    pieces = [_bytes(f"{root}/1", max(16, limits.min_segment)), _bytes(f"{root}/2", 16)]
    try:
        with suppress(NeedsUser, Refused):
            await store.delete([f"{root}/{name}" for name in ("guard", "wrong", "checked", "copy")])
        await store.put(f"{root}/guard", first, len(first), segments=True, expires_after=PROBE_SECONDS)
    except (NeedsUser, Refused) as problem:
        if problem.code not in _CLOSED:
            raise
        return Findings(closed=problem.what)
    guarded = await _guarded(store, f"{root}/guard", other)
    wrong = await _wrong(store, f"{root}/wrong", first, _md5(other))
    seen = Findings(_md5(first), size=len(first), checked=_NO_SLO, unchecked=_NO_SLO, joined=_NO_SLO)
    if limits.slo:
        seen = await _of_slos(store, root, pieces)
    seen = replace(seen, guarded=guarded, wrong=wrong)
    if all(trial.answered for trial in (guarded, wrong, seen.joined)) or not limits.slo:
        with suppress(SlowboatError):
            await forget(store, stem)
    return seen


async def forget(store: Probed, stem: str) -> None:
    """Deletes all that a probe stores; see `SwiftStore.forget_probe`."""
    await store.delete([f"{PROBES}{stem}/{name}" for name in ("guard", "wrong", "1", "2", "checked", "slo", "copy")])


async def _guarded(store: Probed, name: str, other: bytes) -> Trial:
    """A PUT that must not replace what stands there: whether it did is seen, however it was answered."""
    put = store.put(name, other, len(other), segments=True, guarded=True, expires_after=PROBE_SECONDS)
    try:
        with suppress(Refused):
            await put
        return Trial(answered=True, stands=await store.head(name, segments=True))
    except (Transient, NeedsUser):
        return NOT_TRIED


async def _wrong(store: Probed, name: str, body: bytes, etag: str) -> Trial:
    """A PUT with the ETag of other bytes, which must store nothing."""
    try:
        made = await store.put(name, body, len(body), etag=etag, segments=True, expires_after=PROBE_SECONDS)
        return Trial(answered=True, stands=made)
    except (Transient, NeedsUser, Refused) as problem:
        if problem.code != "mismatch":
            return NOT_TRIED
    try:
        return Trial(answered=True, stands=await store.head(name, segments=True))
    except (Transient, NeedsUser, Refused):
        return NOT_TRIED


async def _of_slos(store: Probed, root: str, pieces: Sequence[bytes]) -> Findings:
    first, whole = _md5(_bytes(f"{root}/first", 16)), b"".join(pieces)
    try:
        parts = [await _segment(store, f"{root}/{number}", piece) for number, piece in enumerate(pieces, 1)]
    except (Transient, NeedsUser, Refused):
        return Findings(first, size=len(whole))
    checked = unchecked = joined = NOT_TRIED
    name = f"{root}/checked"
    checked = await _trial(store, name, store.put_slo(name, parts, checked=True, expires_after=PROBE_SECONDS))
    slo = _md5("".join(part.md5 for part in parts).encode())
    name = f"{root}/slo"
    is_made = checked.stands is not None and checked.stands.slo
    made = await _trial(store, name, store.put_slo(name, parts, checked=is_made, expires_after=PROBE_SECONDS))
    if made.stands is not None and made.stands.slo:
        joined = await _trial(
            store, f"{root}/copy", store.copy_once(name, f"{root}/copy", etag=_md5(whole), segments=True)
        )
    unchecked = made if not is_made else NOT_TRIED
    return Findings(first, _md5(whole), slo, len(whole), checked=checked, unchecked=unchecked, joined=joined)


async def _segment(store: Probed, name: str, piece: bytes) -> RemoteObject:
    stands = await store.head(name, segments=True)
    if stands and (stands.size, stands.md5) == (len(piece), _md5(piece)):
        return stands
    return await store.put(name, piece, len(piece), segments=True, expires_after=PROBE_SECONDS)


async def _trial(store: Probed, name: str, request: Awaitable[object]) -> Trial:
    try:
        await request
        return Trial(answered=True, stands=await store.head(name, segments=True))
    except Refused as problem:
        return Trial(answered=True, message=_words(problem))
    except Transient as problem:
        answered = problem.scope == "object" and problem.code not in _PASSING and problem.retry_after is None
        return Trial(answered=answered, message=_words(problem))
    except NeedsUser as problem:
        return Trial(answered=problem.code in _CLOSED, message=_words(problem))


def _words(problem: SlowboatError) -> str:
    """What is worth telling; that a store's checksums differ is its way, and no sentence of its own."""
    return "" if problem.code == "mismatch" else problem.what


def _bytes(name: str, size: int) -> bytes:
    """The bytes that stand at a name: always the same, and unlike those of any other."""
    return hashlib.shake_128(name.encode()).digest(size)


def _md5(text: bytes) -> str:
    return hashlib.md5(text, usedforsecurity=False).hexdigest()
