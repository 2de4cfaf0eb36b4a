"""What may be removed from the cloud because its owner removed it from the drive; only where that was asked for.

The one place where anything at the target is deleted, so everything speaks against it: a drive whose file system breaks
looks like one that was tidied up. Removed are whole chains alone, that the drive no longer holds anything of, that are
older than its newest chain, once that one is whole in the cloud, and after a time in which the owner was told. Each
object must be the very one that slowboat brought there, by name, size and MD5. What duplicity made itself stays, and so
does the chain that it belongs to. Knows what proves that an object is slowboat's; must not know how it is removed.
"""

from __future__ import annotations

import collections
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from slowboat.core import names
from slowboat.core.words import Phase, Role

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from slowboat.core.names import ParsedName
    from slowboat.core.words import Item, RemoteObject, SetId

GRACE: Final = 7 * 86400.0
"""Seconds between what was told and what is done: somebody who did not mean it has seen a notice by then."""


@dataclass(frozen=True, slots=True)
class Departed:
    """An object that came from the drive and is no longer on it: its size, its MD5, and when that was first seen."""

    size: int
    md5: str
    since: float


def due_at(departed: Mapping[str, Departed]) -> float | None:
    """Before this time nothing of it may be removed; None: there is nothing."""
    return min((one.since for one in departed.values()), default=None)


def removable(
    departed: Mapping[str, Departed], items: Sequence[Item], standing: Mapping[str, RemoteObject], now: float
) -> tuple[str, ...]:
    """The names of what may be removed now, in the order in which that is safe at any moment.

    No volume is ever left without its set's manifest, and no set without the one before it: the newest set first, of
    each its volumes, then its manifest, then its signatures.

    Args:
        departed: by name.
        items: everything adopted.
        standing: what the target's listing shows, prefix taken off.
        now: seconds since the epoch.
    """
    newest = [item for item in items if item.chain == 0]
    if not newest or any(item.phase is not Phase.DONE for item in newest):
        return ()
    begin = min(item.set_id.start for item in newest)
    ours = {item.set_id for item in items}
    there: dict[SetId, list[tuple[str, ParsedName]]] = collections.defaultdict(list)
    for name in standing:
        parsed = names.parse(name)
        if parsed is not None and parsed.role is not None and parsed.set_id.start < begin:
            there[parsed.set_id].append((name, parsed))
    found: list[tuple[str, ParsedName]] = []
    for chain in _chains(there):
        files = [each for one in chain for each in there[one]]
        if not ours & chain and all(_is_provably_ours(name, departed, standing, now) for name, _ in files):
            found += files
    return tuple(name for name, parsed in sorted(found, key=_last_first))


def _chains(sets: Iterable[SetId]) -> list[frozenset[SetId]]:
    """The sets that build upon one another, whatever full they come from; an incremental without one is alone."""
    growing: list[set[SetId]] = []
    for one in sorted(sets, key=lambda each: (each.end, each.start)):
        upon = next(
            (chain for chain in growing if one.start != one.end and any(s.end == one.start for s in chain)), None
        )
        if upon is None:
            growing.append({one})
        else:
            upon.add(one)
    return [frozenset(chain) for chain in growing]


def _is_provably_ours(
    name: str, departed: Mapping[str, Departed], standing: Mapping[str, RemoteObject], now: float
) -> bool:
    known, stands = departed.get(name), standing[name]
    if known is None or stands.slo or not known.md5:
        return False
    return (known.size, known.md5) == (stands.size, stands.md5) and known.since + GRACE <= now


_LAST: Final = {Role.VOLUME: 0, Role.MANIFEST: 1, Role.SIGNATURES: 2}


def _last_first(each: tuple[str, ParsedName]) -> tuple[int, int, int, int]:
    _, parsed = each
    return -parsed.set_id.end, -parsed.set_id.start, _LAST[parsed.role or Role.VOLUME], -parsed.volume
