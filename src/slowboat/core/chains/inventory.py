"""Files -> backup sets -> backup chains, as duplicity itself puts them together.

Knows which file belongs where (docs/duplicity.md, "Chains"). Must not know what is wrong with a chain, nor what is
in the files.
"""

from __future__ import annotations

import collections
import posixpath
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from slowboat.core import names
from slowboat.core.names import NameKind, ParsedName
from slowboat.core.words import SetId, SetType, SourceFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


# --- backup sets and chains ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BackupSet:
    """The files of one full or incremental.

    Attributes:
        id: when it starts and ends.
        signatures: its signatures, or None where there are none.
        manifest: its manifest, or None where there is none.
        volumes: its volumes by number, ascending.
        duplicates: files whose place in the set is taken already by another (such as plain beside encrypted).
    """

    id: SetId
    signatures: SourceFile | None = None
    manifest: SourceFile | None = None
    volumes: Mapping[int, SourceFile] = field(default_factory=dict)
    duplicates: tuple[SourceFile, ...] = ()

    @property
    def files(self) -> tuple[SourceFile, ...]:
        """Signatures, manifest, volumes by number; what there is of them."""
        return (*self.metadata, *self.volumes.values())

    @property
    def metadata(self) -> tuple[SourceFile, ...]:
        """Signatures and manifest, what there is of them."""
        return tuple(file for file in (self.signatures, self.manifest) if file is not None)

    def __str__(self) -> str:
        return describe(self.id)


@dataclass(frozen=True, slots=True)
class Chain:
    """A full and the incrementals that build upon it, each on the one before."""

    sets: tuple[BackupSet, ...]

    @property
    def full(self) -> BackupSet:
        """The full that it begins with."""
        return self.sets[0]

    @property
    def last(self) -> BackupSet:
        """The set that the next incremental would build upon."""
        return self.sets[-1]

    @property
    def start(self) -> int:
        """When the full was made, seconds since the epoch."""
        return self.full.id.end

    @property
    def end(self) -> int:
        """When the last set was made, seconds since the epoch."""
        return self.last.id.end

    @property
    def files(self) -> tuple[SourceFile, ...]:
        """All files of all sets, set by set."""
        return tuple(file for backup_set in self.sets for file in backup_set.files)

    @property
    def metadata(self) -> tuple[SourceFile, ...]:
        """Signatures by time, then manifests by time: the order in which they are sent."""
        signatures = (backup_set.signatures for backup_set in self.sets)
        manifests = (backup_set.manifest for backup_set in self.sets)
        return tuple(file for file in (*signatures, *manifests) if file is not None)

    @property
    def metadata_keys(self) -> frozenset[str]:
        """`names.metadata_key` of all its metadata: what duplicity's cache for it must hold."""
        return frozenset(names.metadata_key(file.name) for file in self.metadata)

    def __str__(self) -> str:
        count = len(self.sets) - 1
        return f"the chain of {when(self.start)}, a full and {count} incremental{'s' * (count != 1)}"


@dataclass(frozen=True, slots=True)
class Inventory:
    """Everything in a folder, put in its place.

    Attributes:
        prefix: the file prefix that all kinds of files have in common, "" for none.
        chains: newest first; the newest is the one that duplicity would continue.
        orphan_sets: sets that belong to no chain, by time.
        partial: files that duplicity was still writing (".part").
        stats: duplicity's statistics; its chains do not need them and they are not sent.
        dangerous: no finished files, but duplicity would take them for some (such as "...difftar.gpg.tmp").
        others: duplicity's files with another file prefix than the one asked for.
        strangers: everything else, *.par2 included.
        prefixes: the file prefix of each kind.
        candidates: where the file prefix is ambiguous, those there are; there are no chains then.
    """

    prefix: str = ""
    chains: tuple[Chain, ...] = ()
    orphan_sets: tuple[BackupSet, ...] = ()
    partial: tuple[SourceFile, ...] = ()
    stats: tuple[SourceFile, ...] = ()
    dangerous: tuple[SourceFile, ...] = ()
    others: tuple[SourceFile, ...] = ()
    strangers: tuple[SourceFile, ...] = ()
    prefixes: Mapping[NameKind, str] = field(default_factory=dict)
    candidates: tuple[str, ...] = ()

    @property
    def orphans(self) -> tuple[SourceFile, ...]:
        """The files of all sets that belong to no chain."""
        return tuple(file for orphan in self.orphan_sets for file in (*orphan.files, *orphan.duplicates))

    @property
    def newest(self) -> Chain | None:
        """The chain that duplicity would continue."""
        return self.chains[0] if self.chains else None


def when(moment: int) -> str:
    """A time in words: "2011-01-13 17:09 UTC"."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(moment))


def describe(set_id: SetId) -> str:
    """A backup set in words: "the full of 2011-01-13 17:09 UTC"."""
    return f"the {'full' if set_id.type is SetType.FULL else 'incremental'} of {when(set_id.end)}"


def continues(last: SetId, other: SetId) -> bool:
    """Whether `other` is an incremental made directly upon `last`."""
    return other.type is SetType.INC and other.start == last.end


# --- files -> inventory -------------------------------------------------------------------------------

_Found = tuple[ParsedName, SourceFile]


def take_inventory(files: Iterable[SourceFile], file_prefix: str | None = None) -> Inventory:
    """Puts every file of a folder in its place; near linear, for folders of 100,000 files.

    Args:
        files: the folder's listing, in any order.
        file_prefix: duplicity's --file-prefix where a folder holds several ("" for none); None: it holds one.
    """
    found, dangerous, strangers = _sort_out(files)
    chosen, candidates = _choose_prefixes(found, file_prefix)
    # Several hosts share the folder, and nobody said whose backup is meant: nothing is put together by guess.
    if candidates:
        others = tuple(file for _, file in found)
        return Inventory(others=others, dangerous=dangerous, strangers=strangers, candidates=candidates)
    # Files of another prefix are somebody else's; a `.part` is a backup that was broken off; a file without a role in
    # a restore (duplicity's statistics) belongs to no set.
    ours = [(parsed, file) for parsed, file in found if parsed.prefix in chosen[parsed.kind]]
    finished = [(parsed, file) for parsed, file in ours if not parsed.partial and parsed.role is not None]
    chain_list, orphan_sets = _link(_group(finished))
    prefixes = {kind: next(iter(some)) for kind, some in chosen.items() if len(some) == 1}
    return Inventory(
        prefix=posixpath.commonprefix([prefix for kind, prefix in prefixes.items() if kind is not NameKind.STATS]),
        chains=chain_list,
        orphan_sets=orphan_sets,
        partial=tuple(file for parsed, file in ours if parsed.partial),
        stats=tuple(file for parsed, file in ours if parsed.role is None and not parsed.partial),
        dangerous=dangerous,
        others=tuple(file for parsed, file in found if parsed.prefix not in chosen[parsed.kind]),
        strangers=strangers,
        prefixes=prefixes,
    )


def _sort_out(
    files: Iterable[SourceFile],
) -> tuple[list[_Found], tuple[SourceFile, ...], tuple[SourceFile, ...]]:
    """Files of duplicity's; files that it would take for its own; everything else. Each by name."""
    found: list[_Found] = []
    dangerous: list[SourceFile] = []
    strangers: list[SourceFile] = []
    for file in sorted(files, key=lambda file: file.name):
        parsed = names.parse(file.name)
        if parsed is not None:
            found.append((parsed, file))
        # Nothing that duplicity writes, but it would take it for its own.
        elif names.parses_for_duplicity(file.name) and not file.name.endswith(".par2"):
            dangerous.append(file)
        else:
            strangers.append(file)
    return found, tuple(dangerous), tuple(strangers)


def _choose_prefixes(
    found: Iterable[_Found], file_prefix: str | None
) -> tuple[Mapping[NameKind, frozenset[str]], tuple[str, ...]]:
    """For each kind the prefix that counts; or, where several could, all those that could.

    duplicity has a prefix for all files, and on top of it one for each kind. So the prefix asked for is the
    whole prefix of a kind's files, or what the only prefix of that kind begins with.
    """
    seen: dict[NameKind, set[str]] = {kind: set() for kind in NameKind}
    for parsed, _ in found:
        seen[parsed.kind].add(parsed.prefix)
    chosen = {kind: _matching(some, file_prefix) for kind, some in seen.items()}
    ambiguous = any(len(some) > 1 for kind, some in chosen.items() if kind is not NameKind.STATS)
    candidates = frozenset[str]().union(*chosen.values()) if ambiguous else ()
    return chosen, tuple(sorted(candidates))


def _matching(seen: set[str], file_prefix: str | None) -> frozenset[str]:
    if file_prefix is None:
        # Hidden files are copies that file managers, rsync and macOS make beside the real ones.
        return frozenset(prefix for prefix in seen if not prefix.startswith("."))
    if file_prefix in seen:
        return frozenset({file_prefix})
    return frozenset(prefix for prefix in seen if prefix.startswith(file_prefix))


def _group(finished: Iterable[_Found]) -> list[BackupSet]:
    """Backup sets, by the times in their files' names."""
    places: dict[SetId, dict[tuple[NameKind, int], list[SourceFile]]] = {}
    for parsed, file in finished:
        place = places.setdefault(parsed.set_id, {})
        place.setdefault((parsed.kind, parsed.volume), []).append(file)
    return [_backup_set(set_id, place) for set_id, place in places.items()]


def _backup_set(set_id: SetId, place: Mapping[tuple[NameKind, int], Sequence[SourceFile]]) -> BackupSet:
    numbers = sorted(number for kind, number in place if kind is NameKind.VOLUME)
    nothing: Sequence[SourceFile | None] = (None,)
    return BackupSet(
        id=set_id,
        signatures=place.get((NameKind.SIGNATURES, 0), nothing)[0],
        manifest=place.get((NameKind.MANIFEST, 0), nothing)[0],
        volumes={number: place[NameKind.VOLUME, number][0] for number in numbers},
        duplicates=tuple(file for some in place.values() for file in some[1:]),
    )


def _link(sets: Iterable[BackupSet]) -> tuple[tuple[Chain, ...], tuple[BackupSet, ...]]:
    """Chains, newest first, and the sets that belong to none; as duplicity's CollectionsStatus does it.

    By the time of their end, each incremental joins the oldest chain that ends where it starts, or takes the
    place of that chain's last incremental where both start at the same time.
    """
    growing: list[list[BackupSet]] = []
    joints: dict[int, set[int]] = collections.defaultdict(set)  # start of a possible next set -> chains
    orphans: list[BackupSet] = []
    for backup_set in sorted(sets, key=lambda each: (each.id.end, each.id.start)):
        if backup_set.id.type is SetType.FULL:
            joints[backup_set.id.end].add(len(growing))
            growing.append([backup_set])
            continue
        fitting = [n for n in joints[backup_set.id.start] if _fits(growing[n], backup_set)]
        if not fitting:
            orphans.append(backup_set)
            continue
        number = min(fitting)
        chain = growing[number]
        if chain[-1].id.end != backup_set.id.start:
            joints[chain[-1].id.end].discard(number)
            orphans.append(chain.pop())
        elif len(chain) > 1:
            joints[chain[-1].id.start].discard(number)
        chain.append(backup_set)
        joints[backup_set.id.start].add(number)
        joints[backup_set.id.end].add(number)
    chain_list = sorted((Chain(tuple(each)) for each in growing), key=lambda chain: (chain.end, chain.start))
    return tuple(reversed(chain_list)), tuple(orphans)


def _fits(chain: Sequence[BackupSet], other: BackupSet) -> bool:
    last = chain[-1].id
    return continues(last, other.id) or (
        last.type is SetType.INC and last.start == other.id.start and last.end < other.id.end
    )
