"""Have the backups on the drive and those in the cloud parted? Told by the backup sets themselves.

A handover allows whoever makes the backups to go on in the cloud; it does not make them. So what was installed or
agreed decides nothing: as long as the newest set at the target came from the drive, whatever continues the chain on the
drive fits it there, and is sent. Only where duplicity wrote a set to the target itself do the two go separate ways: a
set that the drive got after that begins where another one begins already, or would stand before it
(docs/duplicity.md, "Chains"). Knows the names at the target; must not know who was to make a backup where.
"""

from __future__ import annotations

import collections
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slowboat.core import names
from slowboat.core.direct import prefixes_of
from slowboat.core.names import NameKind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from slowboat.core.words import Item, SetId

PARTED = "the cloud has newer backups of its own since the one that this depends on"
"""The error of an object that is set aside because its set does not fit what duplicity wrote to the target."""


@dataclass(frozen=True, slots=True)
class Parting:
    """What the target has of its own, and what that means for the sets that came from the drive.

    Attributes:
        own: the sets that duplicity wrote to the target itself, manifest and all, by time.
        unfinished: those of them that have no manifest yet: under way, or broken off.
        parted: the drive's sets that do not fit behind, or beside, what is the target's own.
        waiting: the drive's sets of which that is not known before `unfinished` are finished or removed.
    """

    own: tuple[SetId, ...] = ()
    unfinished: tuple[SetId, ...] = ()
    parted: frozenset[SetId] = frozenset()
    waiting: frozenset[SetId] = frozenset()


def parting(items: Sequence[Item], standing: Iterable[str], departed: Collection[str] = ()) -> Parting:
    """Which sets of the drive have parted from what stands at the target.

    Args:
        items: everything adopted.
        standing: the file names at the target, prefix taken off.
        departed: names of objects that slowboat sent and that are no longer on the drive: not the target's own, unless
            they belong to the drive's newest chain, which goes on without them.
    """
    if not items:
        return Parting()
    first = min(item.chain for item in items)
    newest = min(item.set_id.end for item in items if item.chain == first)
    kinds = _strange(items, standing, frozenset(departed), newest)
    own = tuple(sorted((one for one, seen in kinds.items() if NameKind.MANIFEST in seen), key=_by_time))
    unfinished = tuple(sorted((one for one in kinds if one not in own), key=_by_time))
    parted = _after(items, own)
    return Parting(own, unfinished, parted, _after(items, unfinished) - parted)


def _by_time(one: SetId) -> tuple[int, int]:
    return one.end, one.start


def _strange(
    items: Sequence[Item], standing: Iterable[str], departed: frozenset[str], newest: int
) -> dict[SetId, set[NameKind]]:
    """The sets at the target that are not the drive's and not older than all of the drive's, with their kinds."""
    ours = {item.set_id for item in items}
    known = {item.name for item in items}
    prefixes = prefixes_of(items)
    begin = min(one.end for one in ours)
    found: dict[SetId, set[NameKind]] = collections.defaultdict(set)
    for name in standing:
        parsed = None if name in known else names.parse(name)
        if parsed is None or parsed.partial or parsed.role is None or parsed.set_id in ours:
            continue
        if parsed.prefix != prefixes.get(parsed.kind, parsed.prefix) or parsed.set_id.end <= begin:
            continue
        if name in departed and parsed.set_id.start < newest:
            continue  # of a chain that the drive has left behind: nothing on the drive builds upon it
        found[parsed.set_id].add(parsed.kind)
    return found


def _after(items: Iterable[Item], own: Sequence[SetId]) -> frozenset[SetId]:
    """The drive's sets that end after the first of those at the target begins."""
    first = min((one.start for one in own), default=None)
    return frozenset(item.set_id for item in items if first is not None and item.set_id.end > first)
