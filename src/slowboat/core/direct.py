"""What stands at the target beside our chains, and what its owner took away from there on purpose.

After the handover duplicity writes to the target itself: incrementals, now and then a full, and the remains of what was
broken off. Knows how these are told apart by their names alone (docs/duplicity-versions.md, "What slowboat looks
for"); must not know what is done about them.
"""

from __future__ import annotations

import collections
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slowboat.core import names
from slowboat.core.names import NameKind
from slowboat.core.words import Phase, SetId, SetType

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from slowboat.core.words import Item

REMOVED = "removed at the target"
"""The error of an object that is set aside because its owner has removed its backup set from the target."""

GONE = "it had reached the cloud and is gone, together with its whole backup set"
"""The error of an object that is set aside because, after the end, nothing of its backup set was left at the target:
its owner may have removed it, so that it is not sent again unasked."""


@dataclass(frozen=True, slots=True)
class DirectSets:
    """The backup sets that duplicity wrote straight to the target since our first was made, by time.

    Attributes:
        whole: those with manifest, signatures, and volumes without a gap in their numbers.
        unfinished: those with volumes and no manifest: under way, or broken off.
    """

    whole: tuple[SetId, ...] = ()
    unfinished: tuple[SetId, ...] = ()

    @property
    def newest_full(self) -> SetId | None:
        """The newest whole full among them."""
        fulls = [one for one in self.whole if one.type is SetType.FULL]
        return fulls[-1] if fulls else None


def direct_sets(items: Sequence[Item], standing: Iterable[str], departed: Collection[str] = ()) -> DirectSets:
    """What duplicity itself wrote.

    Args:
        items: everything adopted.
        standing: the file names at the target, prefix taken off.
        departed: names of objects that slowboat sent and that are no longer on the drive.
    """
    known = {item.name for item in items}
    ours = frozenset({item.set_id for item in items})
    prefixes = prefixes_of(items)
    begin = min((one.end for one in ours), default=0)
    found: dict[SetId, dict[NameKind, set[int]]] = collections.defaultdict(lambda: collections.defaultdict(set))
    for name in standing:
        parsed = None if name in known or name in departed else names.parse(name)
        if parsed is None or parsed.partial or parsed.role is None or parsed.set_id.end <= begin:
            continue
        if parsed.set_id in ours:
            continue
        if parsed.prefix == prefixes.get(parsed.kind, parsed.prefix):
            found[parsed.set_id][parsed.kind].add(parsed.volume)
    by_time = sorted(found, key=lambda one: (one.end, one.start))
    return DirectSets(
        whole=tuple(one for one in by_time if _is_whole(found[one])),
        unfinished=tuple(one for one in by_time if found[one][NameKind.VOLUME] and not found[one][NameKind.MANIFEST]),
    )


def prefixes_of(items: Iterable[Item]) -> dict[NameKind, str]:
    """The file prefix of each kind, as our files have it; one file of each tells it, and there may be many."""
    each = {item.role: item for item in items}
    parsed = (names.parse(item.name) for item in each.values())
    return {one.kind: one.prefix for one in parsed if one is not None}


def _is_whole(kinds: Mapping[NameKind, set[int]]) -> bool:
    volumes = kinds[NameKind.VOLUME]
    gapless = volumes == set(range(1, len(volumes) + 1))
    return bool(kinds[NameKind.MANIFEST] and kinds[NameKind.SIGNATURES] and volumes and gapless)


def removed(items: Sequence[Item], gone: Collection[str], standing: Collection[str]) -> frozenset[str]:
    """The names of our objects whose backup set its owner has removed: never to be sent again unasked.

    A set whose manifest or signatures are gone was removed where a newer full stands at the target, whole in its
    metadata: nobody makes an incremental upon it any more, and `remove-all-but-n-full` and its kind leave just this
    behind (sometimes without its manifest gone: 3.2.1 forgets it where the set has no volume yet). What was made upon
    a removed set goes with it. Without a newer full nobody would remove a chain: then it was damaged.

    Args:
        items: everything adopted.
        gone: the names of what was confirmed and is not there any more.
        standing: the file names at the target, prefix taken off.
    """
    lost = {
        (item.chain, item.set_id)
        for item in items
        if item.role.is_metadata
        and item.name not in standing
        and (item.name in gone or item.error == REMOVED)
        and _has_newer_full(item, items, standing)
    }
    first = {chain: min(end.end for other, end in lost if other == chain) for chain, _ in lost}
    return frozenset(item.name for item in items if item.chain in first and item.set_id.end >= first[item.chain])


def _has_newer_full(manifest: Item, items: Sequence[Item], standing: Collection[str]) -> bool:
    start = min(item.set_id.start for item in items if item.chain == manifest.chain)
    direct = direct_sets(items, standing).newest_full
    if direct is not None and direct.start > start:
        return True
    metadata: dict[SetId, list[bool]] = collections.defaultdict(list)
    for item in items:
        if item.role.is_metadata and item.set_id.type is SetType.FULL and item.set_id.start > start:
            metadata[item.set_id].append(item.name in standing)
    return any(len(stands) == 2 and all(stands) for stands in metadata.values())


def sets_gone(items: Iterable[Item], standing: Collection[str]) -> frozenset[SetId]:
    """The backup sets of which nothing at all is left at the target, though something had arrived there.

    Arguments as of `removed`.
    """
    items = tuple(items)
    arrived = {item.set_id for item in items if item.phase is Phase.DONE or item.error == GONE}
    return frozenset(arrived - {item.set_id for item in items if item.name in standing})


def strangers(items: Sequence[Item], standing: Iterable[str], departed: Collection[str] = ()) -> tuple[str, ...]:
    """The names of another backup's files where ours is to go.

    () where duplicity went on there with what came from the drive, after a handover that is forgotten or without one.
    Arguments as of `direct_sets`.
    """
    standing = frozenset(standing)
    ours = {item.name for item in items} | {*departed}
    strange = tuple(sorted(name for name in standing if name not in ours and names.parses_for_duplicity(name)))
    parsed = [names.parse(name) for name in strange]
    sets = {one.set_id for one in parsed if one is not None}
    whole = {item.set_id for item in items} - {i.set_id for i in items if i.role.is_metadata and i.name not in standing}
    latest = max((one.end for one in whole), default=0)
    upon = {one.end for one in whole}
    if not whole or None in parsed:
        return strange
    for one in sorted(sets, key=lambda each: (each.end, each.start)):
        if one.start < latest if one.type is SetType.FULL else one.start not in upon:
            return strange
        upon.add(one.end)
    return ()
