"""Adoption: from a folder on a drive and duplicity's cache to a frozen, ordered list of files.

Knows how the drive's chain and its cache are told to belong together (by content, not by the MD5 of a URL alone);
must not know what is done with the list. Refuses, with the cure, whatever could not be moved whole.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from slowboat.core import chains, manifest, names
from slowboat.core.errors import NeedsUser, Refused
from slowboat.core.names import NameKind
from slowboat.engine import sameness

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slowboat.core.manifest import Manifest
    from slowboat.core.words import Item, SetId, SourceFile
    from slowboat.engine.ports import Cache, Source


@dataclass(frozen=True, slots=True)
class Adopted:
    """What adoption found.

    Attributes:
        items: the frozen list, in sending order.
        manifests: what matters of the plain manifests, by the name they have in duplicity's cache.
        left_out: older chains that are not moved, and why; a sentence each.
        fingerprint: of what is `finished` in the folder; another one means that there are other files.
    """

    items: tuple[Item, ...]
    manifests: Mapping[str, bytes]
    left_out: tuple[str, ...]
    fingerprint: str


def fingerprint(files: Sequence[SourceFile]) -> str:
    """A short text that changes whenever a file of duplicity's is added or removed, or has another size.

    Times do not count: they change under files that do not (`sameness`).
    """
    rows = sorted((file.name, file.size) for file in files if names.parse(file.name) is not None)
    return hashlib.sha256(repr(rows).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def finished(files: Sequence[SourceFile], items: Sequence[Item]) -> list[SourceFile]:
    """The files but for those of sets that are not adopted and have no manifest: duplicity writes that last."""
    adopted = {item.set_id for item in items}
    parsed = {file.name: names.parse(file.name) for file in files}
    whole = {one.set_id for one in parsed.values() if one and one.kind is NameKind.MANIFEST and not one.partial}
    return [file for file in files if (one := parsed[file.name]) is None or one.set_id in whole | adopted]


def is_here(files: Sequence[SourceFile], items: Sequence[Item]) -> bool:
    """Whether a folder's listing shows any of the adopted files."""
    there = {file.name for file in files}
    return any(item.name in there for item in items)


async def adopt(
    source: Source,
    cache: Cache,
    files: Sequence[SourceFile],
    *,
    url: str,
    file_prefix: str | None,
    canary: Sequence[tuple[bytes, ...]],
    known: Mapping[str, Item] = MappingProxyType({}),
    where: str = ".",
    set_by_set: bool = False,
) -> Adopted:
    """Finds the chains in `files`, their cache and their manifests, and puts everything in order.

    Args:
        files: the folder's listing.
        url: the URL duplicity knew the folder by, or "".
        file_prefix: whose files are meant where several hosts share the folder; None: whoever's there is.
        canary: absolute paths (their parts, without the root) whose volumes go before the handover.
        known: what an earlier adoption remembered, by name.
        where: the folder's path, for what helps.
        set_by_set: each set's metadata together, as `chains.adopt` has it.

    Raises:
        NeedsUser: something is missing or ambiguous; all problems of the newest chain in one message.
        SourceAbsent, Refused: reading the drive's own manifests failed.
    """
    adopted = await examine(
        source, cache, files, url=url, file_prefix=file_prefix, canary=canary, where=where, set_by_set=set_by_set
    )
    md5s = await sameness.hashes(source, adopted.items, known)
    return replace(adopted, items=tuple(replace(item, md5=md5s.get(item.name, "")) for item in adopted.items))


async def examine(
    source: Source,
    cache: Cache,
    files: Sequence[SourceFile],
    *,
    url: str,
    file_prefix: str | None,
    canary: Sequence[tuple[bytes, ...]],
    where: str = ".",
    set_by_set: bool = False,
) -> Adopted:
    """What `adopt` would find, without reading the files that have no hash of duplicity's. Raises as it does."""
    # In threads: a folder may hold a hundred thousand files, and who asks meanwhile is to be answered.
    inventory = await asyncio.to_thread(chains.take_inventory, files, file_prefix)
    beyond = await source.out_of_reach()
    if (problem := chains.forbidden(inventory, beyond, where)) is not None:
        raise problem
    keys = newest_keys(inventory)
    directory = await cache.find(keys, url) if keys else None
    texts = await _manifests(source, inventory, await cache.manifests(directory) if directory else {})
    links = chains.links(inventory, beyond, where)
    return await asyncio.to_thread(_put_in_order, inventory, texts, canary, files, links, set_by_set=set_by_set)


def _put_in_order(
    inventory: chains.Inventory,
    texts: Mapping[str, bytes],
    canary: Sequence[tuple[bytes, ...]],
    files: Sequence[SourceFile],
    links: NeedsUser | None,
    *,
    set_by_set: bool,
) -> Adopted:
    read, damaged = _parsed(texts)
    if problems := chains.problems(inventory, read):
        if links is not None:  # most likely that is what is missing
            more = _one([problems[0], links, *problems[1:]])
            raise NeedsUser(more.what, hint=links.hint, code=links.code)
        raise _one(problems)
    items = chains.adopt(inventory, read, _recorded(canary, inventory, read), set_by_set=set_by_set)
    left_out = tuple(str(problem) for each in chains.left_out(inventory, read) for problem in each.problems[:1])
    return Adopted(items, texts, (*left_out, *damaged), fingerprint(finished(files, items)))


def _recorded(
    canary: Sequence[tuple[bytes, ...]], inventory: chains.Inventory, read: Mapping[SetId, Manifest]
) -> tuple[tuple[bytes, ...], ...]:
    """The canary paths as duplicity records them: relative to what was backed up; those outside it fall away."""
    newest = inventory.newest
    full = read.get(newest.sets[0].id) if newest else None
    if full is None or not full.localdir.startswith(b"/"):
        return ()
    top = tuple(part for part in full.localdir.split(b"/") if part)
    return tuple(path[len(top) :] for path in canary if path[: len(top)] == top)


def newest_keys(inventory: chains.Inventory) -> frozenset[str]:
    """The metadata keys of the newest chain: what its cache must hold."""
    if not inventory.chains:
        return frozenset()
    return frozenset(
        names.metadata_key(file.name)
        for backup_set in inventory.chains[0].sets
        for file in (backup_set.signatures, backup_set.manifest)
        if file is not None
    )


async def _manifests(source: Source, inventory: chains.Inventory, cached: Mapping[str, bytes]) -> dict[str, bytes]:
    """The plain manifests by cache name: the drive's own where it is not encrypted, else the cache's copy.

    All without their lists of changed files: those may be larger than memory, and nobody here reads them.
    """
    found: dict[str, bytes] = {}
    for chain in inventory.chains:
        for backup_set in chain.sets:
            if backup_set.manifest is None:
                continue
            parsed = names.parse(backup_set.manifest.name)
            key = names.metadata_key(backup_set.manifest.name)
            if parsed is not None and parsed.suffix == "":
                abridged = manifest.Abridged()
                await source.digest(backup_set.manifest, feed=abridged.feed)
                found[key] = abridged.finish()
            elif key in cached:
                found[key] = cached[key]
    return found


def _parsed(texts: Mapping[str, bytes]) -> tuple[dict[SetId, Manifest], tuple[str, ...]]:
    """The manifests that can be read, and what is wrong with the others: an old one must not stop the newest chain."""
    read: dict[SetId, Manifest] = {}
    damaged: list[str] = []
    for name, text in texts.items():
        parsed = names.parse(name)
        if parsed is None or parsed.kind is not NameKind.MANIFEST:
            continue
        try:
            read[parsed.set_id] = manifest.parse_bytes(text, name)
        except Refused as error:
            damaged.append(str(error))
    return read, tuple(damaged)


def _one(problems: Sequence[NeedsUser]) -> NeedsUser:
    """All problems as one error: what is said first is the first problem's, with its cure."""
    first = problems[0]
    others = "; ".join(problem.what for problem in problems[1:4])
    more = f"; and {len(problems) - 4} more" if len(problems) > 4 else ""
    return NeedsUser(f"{first.what}{'; ' + others if others else ''}{more}", hint=first.hint, code=first.code)
