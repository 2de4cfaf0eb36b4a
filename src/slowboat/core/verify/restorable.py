"""What the cloud alone could restore: backup by backup, and files that a drill can restore to prove it.

Pure. Knows what a restore needs (docs/duplicity.md): all metadata of the chain, and of every set up to the backup's
own the volumes that may hold the path. Must not know how a restore is run.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from typing import TYPE_CHECKING

from slowboat.core import names
from slowboat.core.verify.report import Backup, SampleFile
from slowboat.core.words import Role

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from slowboat.core.manifest import Index, VolumeInfo
    from slowboat.core.words import Item, SetId

    Volumes = Mapping[SetId, Sequence[VolumeInfo]]

MOST_SAMPLES = 5
"""A path in a manifest may be a folder, a link, or a file that was deleted since: then the next one is tried."""

MOST_TRIED = 1000
"""Paths that are looked at: spread over the whole backup they show enough of it, however large it is."""

MOST_VOLUMES = 4
"""Volumes of one set that a sample may need: it is to be small."""


def backups(
    items: Iterable[Item], right: frozenset[str], removed: frozenset[str], volumes: Volumes
) -> tuple[Backup, ...]:
    """Every backup that was adopted, the newest chain first, each chain from its full on.

    Args:
        items: everything adopted.
        right: the names of the objects that are in the cloud and correct.
        removed: the names of those that their owner removed; a backup of them alone is not told.
        volumes: what duplicity's manifests say, by backup set; a volume that only they know is missing.
    """
    chains: dict[int, dict[SetId, list[Item]]] = defaultdict(lambda: defaultdict(list))
    for item in items:
        chains[item.chain][item.set_id].append(item)
    backups: list[Backup] = []
    for chain in sorted(chains):
        files = missing = size = 0
        for set_id in sorted(chains[chain], key=lambda each: (each.end, each.start)):
            members = chains[chain][set_id]
            absent = [item for item in members if item.name not in right]
            unknown = len({volume.number for volume in volumes.get(set_id, ())} - _numbered(members).keys())
            files += len(absent) + unknown
            missing += unknown + sum(item.role is Role.VOLUME for item in absent)
            size += sum(item.file.size for item in absent)
            if not all(item.name in removed for item in members):
                backups.append(Backup(f"{set_id.type.value} {set_id.end}", chain, files, missing, size))
    return tuple(backups)


def samples(items: Iterable[Item], right: frozenset[str], volumes: Volumes) -> tuple[SampleFile, ...]:
    """Paths of the newest backup of which the cloud holds all that a restore reads; those that cost least first.

    Arguments as of `backups`. () while metadata is missing, or nothing lies whole in what has arrived.
    """
    members: dict[SetId, list[Item]] = defaultdict(list)
    for item in items:
        if item.chain == 0:
            members[item.set_id].append(item)
    metadata = [item for each in members.values() for item in each if item.role.is_metadata]
    if not members:  # nothing was adopted
        return ()
    if any(item.name not in right for item in metadata):  # without all of it nothing of the chain can be restored
        return ()
    if members.keys() - volumes.keys():  # a set whose manifest cannot be read: nobody knows where its paths lie
        return ()
    sets = [(volumes[each], _numbered(members[each])) for each in members]
    found = [(cost, path) for path in _spread(_paths(sets, right)) if (cost := _cost(path, sets, right)) is not None]
    return tuple(_sample(path, cost, members, metadata) for cost, path in sorted(found)[:MOST_SAMPLES])


def _sample(path: Index, cost: int, members: Mapping[SetId, Sequence[Item]], metadata: Sequence[Item]) -> SampleFile:
    """One path of the newest backup; `cost` are the bytes of the volumes, to which all metadata comes."""
    newest = max(members, key=lambda each: each.end)
    parsed = next((one for each in members[newest] if (one := names.parse(each.name)) is not None), None)
    return SampleFile(
        "/".join(part.decode() for part in path),
        f"{newest.type.value} {newest.end}",
        sum(item.file.size for item in metadata) + cost,
        parsed.prefix if parsed else "",
        encrypted=any(one.encrypted for each in metadata if (one := names.parse(each.name)) is not None),
    )


def _numbered(items: Iterable[Item]) -> dict[int, Item]:
    """The volumes among a set's objects, by their number."""
    parsed = ((names.parse(item.name), item) for item in items if item.role is Role.VOLUME)
    return {one.volume: item for one, item in parsed if one is not None}


def _paths(sets: Sequence[tuple[Sequence[VolumeInfo], Mapping[int, Item]]], right: frozenset[str]) -> Iterator[Index]:
    """The first and last path of each volume that has arrived, where programs and people can write it down."""
    for infos, numbered in sets:
        for info in infos:
            item = numbered.get(info.number)
            if item is not None and item.name in right:
                yield from (path for path in (info.start, info.end) if _is_plain(path))


def _is_plain(path: Index) -> bool:
    try:
        return bool(path) and all(part and part.decode().isprintable() for part in path)
    except UnicodeDecodeError:
        return False


def _spread(paths: Iterable[Index]) -> Sequence[Index]:
    known = list(dict.fromkeys(paths))
    return known[:: 1 + len(known) // MOST_TRIED]


def _cost(
    path: Index, sets: Sequence[tuple[Sequence[VolumeInfo], Mapping[int, Item]]], right: frozenset[str]
) -> int | None:
    """Bytes of all volumes that may hold `path`; None where one has not arrived, or it is a folder with contents."""
    cost = 0
    for infos, numbered in sets:
        # Volumes stand in the order of their paths: `VolumeInfo.contains` holds from the first to the last of these.
        first = bisect_left(infos, path, key=lambda info: info.end)
        end = bisect_right(infos, path, key=lambda info: info.start[: len(path)])
        if end - first > MOST_VOLUMES:  # a large file: too much for a drill
            return None
        for info in infos[first:end]:
            item = numbered.get(info.number)
            below = any(len(each) > len(path) and each[: len(path)] == path for each in (info.start, info.end))
            if item is None or item.name not in right:  # not adopted, or not in the cloud yet
                return None
            if below:  # a folder with contents: restoring it would fetch them
                return None
            cost += item.file.size
    return cost
