"""What is adopted of a folder, and in what order it is sent.

Knows the order that lets duplicity go on early (docs/duplicity.md, "Order"). Must not know what stands at the
target already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slowboat.core.chains.soundness import older_problems, problems
from slowboat.core.words import Item, Role

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from slowboat.core.chains.inventory import Chain, Inventory
    from slowboat.core.manifest import Index, Manifest
    from slowboat.core.words import SetId


def adopt(
    inventory: Inventory,
    manifests: Mapping[SetId, Manifest],
    canary: Sequence[Index] = (),
    *,
    set_by_set: bool = False,
) -> tuple[Item, ...]:
    """The list of objects of a migration, in the order in which they are sent; frozen from then on.

    The newest chain first: the full's signatures, new signatures by time, the full's manifest, incremental
    manifests by time; its canary volumes; its other volumes in restore order. Then the older chains, each
    metadata first. Older chains with problems are left out (`left_out` names them).

    Args:
        inventory: of the source folder.
        manifests: the plain manifests by backup set.
        canary: paths as duplicity records them, relative to what was backed up; the volumes of the newest
            chain that may hold one of them, or anything below it, are its canary volumes.
        set_by_set: each set's signatures and manifest together. Where duplicity may back up to the target meanwhile, a
            chain must be whole there at as many moments as can be: it fails on signatures without their manifest
            (docs/duplicity.md, "Order").

    Raises:
        NeedsUser: the first of the `problems`.
    """
    for problem in problems(inventory, manifests):
        raise problem
    drafts: list[Item] = []
    for number, chain in enumerate(inventory.chains):
        if number and older_problems(inventory, chain, manifests):
            continue
        drafts.extend(_metadata_items(chain, number, set_by_set=set_by_set))
        volumes = list(_volume_items(chain, number, manifests, canary if number == 0 else ()))
        drafts.extend(sorted(volumes, key=lambda item: not item.canary))
    return tuple(
        Item(each.file, each.role, each.chain, each.set_id, rank, canary=each.canary, sha1=each.sha1)
        for rank, each in enumerate(drafts)
    )


def _metadata_items(chain: Chain, number: int, *, set_by_set: bool) -> Iterator[Item]:
    every = [(Role.SIGNATURES, one.signatures, one.id) for one in chain.sets]
    every += [(Role.MANIFEST, one.manifest, one.id) for one in chain.sets]
    if set_by_set:
        every.sort(key=lambda each: (each[2].end, each[0] is Role.MANIFEST))
    for role, file, set_id in every:
        if file is not None:
            yield Item(file, role, number, set_id, 0)


def _volume_items(
    chain: Chain, number: int, manifests: Mapping[SetId, Manifest], canary: Sequence[Index]
) -> Iterator[Item]:
    for backup_set in chain.sets:
        manifest = manifests.get(backup_set.id)
        hashes = {volume.number: volume.sha1 for volume in manifest.volumes} if manifest else {}
        canaries = {n for path in canary for n in manifest.volumes_with(path)} if manifest else set()
        for volume, file in backup_set.volumes.items():
            yield Item(
                file,
                Role.VOLUME,
                number,
                backup_set.id,
                0,
                canary=volume in canaries,
                sha1=hashes.get(volume, ""),
            )
