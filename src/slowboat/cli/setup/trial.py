"""Tries a cloud: the login, the container, what stands there, what its quota leaves, what it can do, how fast it is.

Knows what to ask for and in which order; must not know who is told of it. Nothing is written before `make_and_probe`,
and that only into the segments' container, a few bytes and a moment of the line, which are removed again.
"""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from slowboat.core import direct
from slowboat.core.capabilities import Capabilities, judge
from slowboat.core.errors import NeedsUser, SlowboatError
from slowboat.edges.swift import Credentials, SwiftStore
from slowboat.edges.swift.probe import PROBES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from slowboat.core.identity import Identity
    from slowboat.core.words import Item, Limits, RemoteObject, Room

_FIRST: Final = 1 << 16
_MOST: Final = 1 << 22
_LONG_ENOUGH: Final = 1.0
"""Bytes of the first and the largest body by which the line is measured, and seconds after which one says enough: on a
home uplink that is half a megabyte, and under three seconds in all."""


@dataclass(frozen=True, slots=True)
class Found:
    """How the cloud stands before anything is made there.

    Attributes:
        room: the container and the quotas.
        limits: the server's.
        there: what stands below the prefix, by its name after it.
        strange: names of another backup there; nothing may be moved beside it.
    """

    room: Room
    limits: Limits
    there: Mapping[str, RemoteObject]
    strange: Sequence[str]

    def bytes_of(self, items: Sequence[Item]) -> int:
        """How many of the items' bytes are there already."""
        kept = (self.there.get(item.name) for item in items)
        return sum(one.size for one, item in zip(kept, items, strict=True) if one and one.size == item.file.size)


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What the cloud can do, and how many bytes per second it took; 0 where that could not be measured."""

    can: Capabilities
    rate: int


def credentials(identity: Identity, secret: Callable[[], str]) -> Credentials:
    """Those of an identity; the secret is asked for when a token is."""
    return Credentials.of(identity, secret)


async def examine(who: Credentials, container: str, prefix: str, items: Sequence[Item]) -> Found:
    """Logs in and looks; makes nothing.

    Raises:
        NeedsUser: the login, the address, the region or a right is wrong.
        Transient: the server cannot be asked now.
    """
    store = SwiftStore(who, container)
    try:
        room = await store.room()
        limits = await store.limits()
        listed = await store.listing(prefix) if room.stands else ()
    finally:
        await store.close()
    there = {one.name.removeprefix(prefix): one for one in listed if "/" not in one.name.removeprefix(prefix)}
    return Found(room, limits, there, direct.strangers(items, there))


async def make_and_probe(who: Credentials, container: str, prefix: str) -> ProbeResult:
    """Makes the containers where they are not there, and tries what slowboat needs of them.

    Raises:
        NeedsUser: this user may not make or write them.
        Transient: the server cannot be asked now.
    """
    store = SwiftStore(who, container)
    stem = hashlib.sha256(prefix.encode()).hexdigest()[:16]  # that of engine/probing: the daemon's probe meets this one
    try:
        await store.make()
        can = judge(await store.observe(stem))
        return ProbeResult(can, await _rate(store, f"{PROBES}{stem}/line") if can.segments else 0)
    finally:
        await store.close()


async def _rate(store: SwiftStore, name: str) -> int:
    """Bytes per second of the largest body, of a few that double until one takes long enough."""
    size = _FIRST
    try:
        while True:
            begun = time.monotonic()
            await store.put(name, os.urandom(size), size, segments=True, guarded=False, expires_after=3600)
            took = max(time.monotonic() - begun, 1e-6)
            if took >= _LONG_ENOUGH or size >= _MOST:
                return int(size / took)
            size *= 4 if took < _LONG_ENOUGH / 8 else 2
    except SlowboatError:
        return 0
    finally:
        with suppress(SlowboatError):
            await store.delete([name])


def other_backup(found: Found, container: str, prefix: str) -> NeedsUser:
    """The error for a place where another backup stands."""
    place = f"{container}/{prefix}".rstrip("/")
    return NeedsUser(
        f"{place} holds another backup already ({found.strange[0]}, {len(found.strange)} files)",
        hint="Choose another container or prefix: slowboat setup --container NAME --prefix NAME",
        code="other-chain",
    )
