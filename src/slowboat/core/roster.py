"""The objects of a migration by rank, and what is counted of them: kept up by each change, never by walking all.

A migration may have a hundred thousand objects, and something happens to one of them many times a second; whoever
decides or tells what is so asks here. `put` is the one place that changes anything. Knows phases, chains, backup sets
and what sets an object aside; must not know what follows from any of it.
"""

from __future__ import annotations

import enum
from array import array
from bisect import bisect_left, insort
from collections.abc import Sequence
from typing import TYPE_CHECKING, overload

from slowboat.core.direct import GONE, REMOVED
from slowboat.core.parting import PARTED
from slowboat.core.words import Phase, Role

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from slowboat.core.words import Item, SetId

SETTLED = frozenset({Phase.DONE, Phase.REFUSED})


class Whereabouts(enum.Enum):
    """What one file is to the account of what is in the cloud."""

    THERE = 0
    TO_SEND = 1
    SET_ASIDE = 2
    GONE = 3
    REMOVED = 4


def whereabouts(item: Item) -> Whereabouts:
    """What a file is to the account."""
    if item.phase is Phase.DONE:
        return Whereabouts.THERE
    if item.phase is not Phase.REFUSED:
        return Whereabouts.TO_SEND
    if item.error == REMOVED:
        return Whereabouts.REMOVED
    return Whereabouts.GONE if item.error == GONE else Whereabouts.SET_ASIDE


def is_removed(item: Item) -> bool:
    """Whether it is set aside because its owner has removed its backup set from the target."""
    return item.phase is Phase.REFUSED and item.error == REMOVED


def is_gone(item: Item) -> bool:
    """Whether it is set aside because its whole backup set was gone after the end, and nobody knows why."""
    return item.phase is Phase.REFUSED and item.error == GONE


def is_parted(item: Item) -> bool:
    """Whether it is set aside because its set does not fit what duplicity itself wrote to the target."""
    return item.phase is Phase.REFUSED and item.error == PARTED


def is_aside(item: Item) -> bool:
    """Whether its whole backup set is set aside: nothing is wrong with the file, and nothing waits for it."""
    return is_removed(item) or is_parted(item)


class _Queue:
    """Places in the order, the first of them quick to find and to take out.

    They are kept negated, so that the first is the last of the array: what is done is done in about this order, and
    taking it out moves nothing.
    """

    __slots__ = ("_places",)

    def __init__(self) -> None:
        self._places = array("q")

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[int]:
        return (-place for place in reversed(self._places))

    def add(self, place: int) -> None:
        insort(self._places, -place)

    def discard(self, place: int) -> None:
        at = bisect_left(self._places, -place)
        if at < len(self._places) and self._places[at] == -place:
            del self._places[at]


class SetCount:
    """One backup set within one chain.

    Attributes:
        counting: its files but those that were removed by their owner.
        missing: those of them that are not there.
        unwhole: its metadata that is neither there nor set aside with all of the set.
        open_metadata: its metadata that is not settled.
        manifest: the place of its manifest; -1 where it has none.
    """

    __slots__ = ("chain", "counting", "manifest", "missing", "open_metadata", "set_id", "unwhole")

    def __init__(self, chain: ChainCount, set_id: SetId) -> None:
        self.chain = chain
        self.set_id = set_id
        self.counting = self.missing = self.unwhole = self.open_metadata = 0
        self.manifest = -1


class ChainCount:
    """One chain.

    Attributes:
        sets: its backup sets.
        metadata: the places of its metadata, in order.
        canaries: how many of its volumes are canaries.
        open_metadata, open_canaries, open_volumes: the places of what is not settled; canaries are no volumes here.
        unwhole: its metadata that is neither there nor set aside with all of its set.
        refused_metadata: its metadata that cannot go up, or shall not.
        aside, removed: its files whose set is set aside, and those of them whose owner removed it from the target.
        undone: its files that are not DONE.
    """

    __slots__ = (
        "aside",
        "canaries",
        "metadata",
        "open_canaries",
        "open_metadata",
        "open_volumes",
        "refused_metadata",
        "removed",
        "sets",
        "undone",
        "unwhole",
    )

    def __init__(self) -> None:
        self.sets: dict[SetId, SetCount] = {}
        self.metadata: list[int] = []
        self.open_metadata, self.open_canaries, self.open_volumes = _Queue(), _Queue(), _Queue()
        self.canaries = self.unwhole = self.refused_metadata = self.aside = self.removed = self.undone = 0


class Roster(Sequence["Item"]):
    """The objects by rank. As long as nothing is put, it is as good as the tuple of them.

    Args:
        items: in any order; no two have one name or one rank.
    """

    def __init__(self, items: Iterable[Item] = ()) -> None:
        self._items = sorted(items, key=_rank)
        self._places = {item.name: place for place, item in enumerate(self._items)}
        self._sets: list[SetCount] = []
        self.chains: dict[int, ChainCount] = {}
        self.files = [0] * len(Whereabouts)
        self.bytes = [0] * len(Whereabouts)
        self.bytes_sent = 0
        self.in_segments = 0
        self.open = 0
        self._done = [0, 0]
        self._refused = [0, 0]
        self._metadata = 0
        self._stuck, self._gone, self._begun = _Queue(), _Queue(), _Queue()
        self._find_places()
        for place in range(len(self._items) - 1, -1, -1):  # from the last on: a queue is quickest filled so
            self._count(place, self._items[place], 1)

    @classmethod
    def of(cls, items: Iterable[Item]) -> Roster:
        """The roster of these; what is one already is taken as it is."""
        return items if isinstance(items, Roster) else cls(items)

    def _find_places(self) -> None:
        last: SetCount | None = None
        for place, item in enumerate(self._items):
            if last is None or last.set_id is not item.set_id or last.chain is not self.chains.get(item.chain):
                chain = self.chains.setdefault(item.chain, ChainCount())
                last = chain.sets.setdefault(item.set_id, SetCount(chain, item.set_id))
            self._sets.append(last)
            last.chain.canaries += item.canary
            if item.role is not Role.VOLUME:
                self._metadata += 1
                last.chain.metadata.append(place)
                if item.role is Role.MANIFEST and last.manifest < 0:
                    last.manifest = place

    # -- the list --------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, place: int) -> Item: ...

    @overload
    def __getitem__(self, place: slice) -> list[Item]: ...

    def __getitem__(self, place: int | slice) -> Item | list[Item]:
        return self._items[place]

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    def __contains__(self, item: object) -> bool:
        return item in self._items

    def get(self, name: str) -> Item | None:
        """One object by its name; None where there is none."""
        place = self._places.get(name)
        return None if place is None else self._items[place]

    def named(self, name: str) -> Item:
        """One object by its name. Raises KeyError where there is none."""
        return self._items[self._places[name]]

    def put(self, item: Item) -> Item:
        """Takes an object as it is now; answers what it was. Its name, role, chain, set and rank never change."""
        place = self._places[item.name]
        old = self._items[place]
        self._count(place, old, -1)
        self._items[place] = item
        self._count(place, item, 1)
        return old

    # -- what is counted -------------------------------------------------------------------------------------

    def _count(self, place: int, item: Item, by: int) -> None:
        kind, one = whereabouts(item), self._sets[place]
        self.files[kind.value] += by
        self.bytes[kind.value] += by * item.file.size
        self.bytes_sent += by * item.bytes_sent
        if item.slo_md5:
            self.in_segments += by
        metadata = item.role is not Role.VOLUME
        if kind is Whereabouts.THERE:
            self._done[metadata] += by
            one.counting += by
            return
        one.chain.undone += by
        if kind is Whereabouts.REMOVED:
            one.chain.removed += by
        else:
            one.counting += by
            one.missing += by
        if kind is Whereabouts.TO_SEND:
            self._count_open(place, item, one, by)
        else:
            self._count_refused(place, item, one, by)

    def _count_open(self, place: int, item: Item, one: SetCount, by: int) -> None:
        self.open += by
        chain = one.chain
        if item.role is not Role.VOLUME:
            one.unwhole += by
            chain.unwhole += by
            one.open_metadata += by
            _change(chain.open_metadata, place, by)
        else:
            _change(chain.open_canaries if item.canary else chain.open_volumes, place, by)
        if item.segment:
            _change(self._begun, place, by)

    def _count_refused(self, place: int, item: Item, one: SetCount, by: int) -> None:
        metadata, aside = item.role is not Role.VOLUME, is_aside(item)
        self._refused[metadata] += by
        if metadata:
            one.chain.refused_metadata += by
        if aside:
            one.chain.aside += by
            return
        if metadata:
            one.unwhole += by
            one.chain.unwhole += by
        _change(self._gone if item.error == GONE else self._stuck, place, by)

    # -- what is asked ---------------------------------------------------------------------------------------

    def count(self, kind: Whereabouts) -> int:
        """How many files are of that kind."""
        return self.files[kind.value]

    def size(self, kind: Whereabouts) -> int:
        """The bytes of all files of that kind."""
        return self.bytes[kind.value]

    def total(self, *, metadata: bool) -> int:
        """How many files are metadata, or volumes."""
        return self._metadata if metadata else len(self._items) - self._metadata

    def done(self, *, metadata: bool) -> int:
        """How many of them are DONE."""
        return self._done[metadata]

    def refused(self, *, metadata: bool) -> int:
        """How many of them are REFUSED."""
        return self._refused[metadata]

    def stuck(self) -> tuple[Item | None, int]:
        """The first of what cannot go up as it is, and how many are like it."""
        return self._first(self._stuck)

    def gone(self) -> tuple[Item | None, int]:
        """The first of what had arrived and is gone with all of its set, and how many are like it."""
        return self._first(self._gone)

    def _first(self, queue: _Queue) -> tuple[Item | None, int]:
        return next((self._items[place] for place in queue), None), len(queue)

    def begun(self) -> Iterator[Item]:
        """What has segments at the target and is not settled, by rank."""
        return (self._items[place] for place in self._begun)

    def sets(self) -> frozenset[SetId]:
        """All backup sets."""
        return frozenset(set_id for chain in self.chains.values() for set_id in chain.sets)

    def metadata(self, chain: int) -> Iterator[Item]:
        """A chain's metadata, by rank."""
        found = self.chains.get(chain)
        return iter(()) if found is None else (self._items[place] for place in found.metadata)

    def manifest_of(self, set_id: SetId) -> Item | None:
        """A backup set's manifest."""
        places = [one.manifest for chain in self.chains.values() if (one := chain.sets.get(set_id))]
        place = min((place for place in places if place >= 0), default=-1)
        return None if place < 0 else self._items[place]

    def is_whole(self, chain: int, without: Collection[SetId] = ()) -> bool:
        """Whether a chain's metadata is at the target, but for sets that are set aside, or that are left out here."""
        found = self.chains.get(chain)
        return found is None or found.unwhole == sum(one.unwhole for one in _of(found, without))

    def is_done(self, chain: int) -> bool:
        """Whether every file of a chain is DONE."""
        found = self.chains.get(chain)
        return found is None or not found.undone

    def open_metadata(self, chain: int, without: Collection[SetId] = ()) -> int:
        """How much of a chain's metadata is not settled, but for the sets that are left out."""
        found = self.chains.get(chain)
        return 0 if found is None else len(found.open_metadata) - sum(one.open_metadata for one in _of(found, without))

    def first_metadata(self, chain: int, without: Collection[SetId] = ()) -> Item | None:
        """The next of a chain's metadata that is not settled, but for the sets that are left out."""
        found = self.chains.get(chain)
        return None if found is None else next(self._open(found.open_metadata, without), None)

    def open_volumes(self, chain: int, without: Collection[SetId] = (), *, canaries: bool = False) -> Iterator[Item]:
        """A chain's volumes that are not settled, by rank: the `canaries`, or all others."""
        found = self.chains.get(chain)
        if found is None:
            return iter(())
        return self._open(found.open_canaries if canaries else found.open_volumes, without)

    def _open(self, queue: _Queue, without: Collection[SetId]) -> Iterator[Item]:
        items = (self._items[place] for place in queue)
        return (item for item in items if item.set_id not in without) if without else items


def _of(chain: ChainCount, sets: Collection[SetId]) -> Iterator[SetCount]:
    return (chain.sets[one] for one in sets if one in chain.sets)


def _change(queue: _Queue, place: int, by: int) -> None:
    if by > 0:
        queue.add(place)
    else:
        queue.discard(place)


def _rank(item: Item) -> int:
    return item.rank
