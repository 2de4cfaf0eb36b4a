"""What forbids the adoption of a chain, and the cure, in the user's words.

Knows what a whole chain looks like. Must not know how chains are found, nor what stands at a target.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slowboat.core import names
from slowboat.core.chains.inventory import when
from slowboat.core.errors import NeedsUser

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from slowboat.core.chains.inventory import BackupSet, Chain, Inventory
    from slowboat.core.manifest import Manifest
    from slowboat.core.words import OutOfReach, SetId, SourceFile

_FINISH = (
    "Back up to the drive once more and let that finish, or remove what an interrupted backup left behind: "
    "run duplicity cleanup --force with the drive's URL"
)


def problems(inventory: Inventory, manifests: Mapping[SetId, Manifest]) -> tuple[NeedsUser, ...]:
    """Everything that forbids adopting the newest chain, and so the migration; () where nothing does.

    Codes: "empty", "prefixes", "no-chain", "partial", "orphans", and those of `chain_problems`.

    Args:
        inventory: of the source folder.
        manifests: the plain manifests, from duplicity's cache or from the drive itself, by backup set.
    """
    newest = inventory.newest
    if newest is None:
        return (_no_chain(inventory),)
    return (
        *_partial_problems(inventory, newest),
        *_orphan_problems(inventory, newest),
        *chain_problems(newest, manifests),
    )


def links(inventory: Inventory, found: OutOfReach, where: str) -> NeedsUser | None:
    """What may be why the newest chain lacks files (code "links"); None where none of its names is a link.

    Args:
        inventory: of the source folder.
        found: what stands there besides.
        where: the folder, for the command that helps.
    """
    linked = _of_newest(inventory, found.links)
    if not linked:
        return None
    return NeedsUser(
        f"{len(linked)} files of the backup are symbolic links, such as {linked[0]}, and slowboat does not follow "
        "links: the files it reads must be in the folder itself",
        hint="Copy those files into the folder. Where a backup is spread over two disks, mergerfs shows both "
        f"folders as one, which `source` can name then:\nmergerfs -o ro {shlex.quote(where)}:OTHER-FOLDER NEW-FOLDER",
        code="links",
    )


def forbidden(inventory: Inventory, found: OutOfReach, where: str) -> NeedsUser | None:
    """What keeps us from reading files of the newest chain, all in one (code "forbidden-files"); None: nothing does."""
    shut = _of_newest(inventory, found.forbidden)
    if not shut:
        return None
    return NeedsUser(
        f"{len(shut)} files of the backup are not readable for you, such as {shut[0]}",
        hint="Was it made with sudo? Make yourself the owner of the files:\n"
        f'sudo chown -R "$USER" {shlex.quote(where)}',
        code="forbidden-files",
    )


def _of_newest(inventory: Inventory, found: Sequence[str]) -> list[str]:
    """Those names that belong to the newest chain, or to what was backed up after it; all where there is no chain."""
    parsed = [(name, one) for name in found if (one := names.parse(name)) is not None]
    newest = inventory.newest
    if newest is None:
        return sorted(name for name, _ in parsed)
    full = newest.sets[0]
    known = {names.parse(file.name) for file in (full.manifest, full.signatures) if file is not None}
    prefixes = {one.prefix for one in known if one is not None}
    return sorted(
        name for name, one in parsed if one.set_id.end >= full.id.end and (not prefixes or one.prefix in prefixes)
    )


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An older chain that cannot be adopted, and why."""

    chain: Chain
    problems: tuple[NeedsUser, ...]


def left_out(inventory: Inventory, manifests: Mapping[SetId, Manifest]) -> tuple[LeftOut, ...]:
    """The older chains that `adopt` leaves out. They stand in nobody's way, but the user should be told."""
    found = (LeftOut(chain, older_problems(inventory, chain, manifests)) for chain in inventory.chains[1:])
    return tuple(each for each in found if each.problems)


def chain_problems(
    chain: Chain, manifests: Mapping[SetId, Manifest], *, manifests_needed: bool = True
) -> tuple[NeedsUser, ...]:
    """What is wrong with the files of one chain; () where it is whole.

    Codes: "no-manifest", "no-signatures", "unread-manifest", "missing-volumes", "extra-volumes",
    "duplicates", "empty-file", "name-not-utf8".

    Args:
        chain: of an inventory.
        manifests: the plain manifests by backup set.
        manifests_needed: whether a set whose plain manifest is not known is a problem. Without it, all that
            can be said of the volumes is that their numbers have no gaps.
    """
    found: list[NeedsUser] = []
    for backup_set in chain.sets:
        found.extend(_metadata_problems(backup_set))
        found.extend(_volume_problems(backup_set, manifests.get(backup_set.id)))
        found.extend(_file_problems(backup_set, manifests.get(backup_set.id)))
    if manifests_needed:
        found.extend(_unread_problems(chain, manifests))
    return tuple(found)


def older_problems(inventory: Inventory, chain: Chain, manifests: Mapping[SetId, Manifest]) -> tuple[NeedsUser, ...]:
    """What keeps an older chain from being adopted; it keeps nothing else back."""
    # Deja Dup drops the cached manifest of an older full when it makes a new one: older chains go without.
    own = {backup_set.id for backup_set in chain.sets}
    partial = [file for file in inventory.partial if _set_id(file) in own]
    return (*map(_partial_problem, partial), *chain_problems(chain, manifests, manifests_needed=False))


def _no_chain(inventory: Inventory) -> NeedsUser:
    if inventory.candidates:
        return _several_prefixes(inventory.candidates)
    if inventory.others:
        return NeedsUser(
            "no backup in the source folder has the file prefix in the configuration",
            hint="Set file_prefix to what duplicity's --file-prefix was, or leave it out if that option was not used",
            code="prefixes",
        )
    if inventory.orphan_sets:
        return NeedsUser(
            "the source folder holds incremental backups, but not the full backup they depend on",
            hint="Without the full backup they cannot be restored: check whether it is in another folder",
            code="no-chain",
        )
    if inventory.partial:
        return _partial_problem(inventory.partial[0])
    if inventory.strangers or inventory.dangerous or inventory.stats:
        return NeedsUser(
            "the source folder holds no duplicity backup",
            hint="Set source to the folder with the files whose names begin with duplicity-full",
            code="no-chain",
        )
    return NeedsUser(
        "the source folder is empty",
        hint="Make the first backup to the drive, or set source to the folder that holds it",
        code="empty",
    )


def _several_prefixes(candidates: Sequence[str]) -> NeedsUser:
    shown = ", ".join(map(_quoted, candidates))
    cure = " or ".join(f"file_prefix = {_quoted(prefix)}" for prefix in candidates[:3])
    return NeedsUser(
        f"the source folder holds backups with several file prefixes: {shown}",
        hint=f"State in the configuration which one this migration moves: {cure}",
        code="prefixes",
    )


def _quoted(text: str) -> str:
    """A name in a message: in double quotes, with everything that is not printable escaped."""
    return f'"{repr(text)[1:-1]}"'


def _set_id(file: SourceFile) -> SetId | None:
    parsed = names.parse(file.name)
    return parsed.set_id if parsed is not None else None


def _partial_problem(file: SourceFile) -> NeedsUser:
    return NeedsUser(f"{_quoted(file.name)} was never finished", hint=_FINISH, code="partial")


def _partial_problems(inventory: Inventory, newest: Chain) -> Iterator[NeedsUser]:
    """Unfinished files, but for those of older chains, which keep only their own chain back."""
    older = {backup_set.id for chain in inventory.chains if chain is not newest for backup_set in chain.sets}
    return (_partial_problem(file) for file in inventory.partial if _set_id(file) not in older)


def _orphan_problems(inventory: Inventory, newest: Chain) -> Iterator[NeedsUser]:
    """Sets newer than the newest chain that do not build upon it: something before them is gone."""
    for orphan in inventory.orphan_sets:
        if orphan.id.end > newest.end:
            yield NeedsUser(
                f"{orphan} depends on a backup of {when(orphan.id.start)} that is not there",
                hint="Check whether its files were moved. If they are lost, it can never be restored: "
                "remove it by running duplicity cleanup --force with the drive's URL",
                code="orphans",
            )


def _metadata_problems(backup_set: BackupSet) -> Iterator[NeedsUser]:
    if backup_set.manifest is None:
        yield NeedsUser(f"{backup_set} has no manifest", hint=_FINISH, code="no-manifest")
    if backup_set.signatures is None:
        yield NeedsUser(f"{backup_set} has no signatures", hint=_FINISH, code="no-signatures")


def _unread_problems(chain: Chain, manifests: Mapping[SetId, Manifest]) -> Iterator[NeedsUser]:
    unread = [each for each in chain.sets if each.manifest is not None and each.id not in manifests]
    if unread:
        more = f" and of {len(unread) - 1} more" if len(unread) > 1 else ""
        yield NeedsUser(
            f"the manifest of {unread[0]}{more} is encrypted and not in duplicity's cache",
            hint="Let duplicity fill its cache from the drive: run duplicity list-current-files with the "
            "drive's URL, or open the restore page in Deja Dup",
            code="unread-manifest",
        )


def _volume_problems(backup_set: BackupSet, manifest: Manifest | None) -> Iterator[NeedsUser]:
    present = backup_set.volumes.keys()
    listed = {volume.number for volume in manifest.volumes} if manifest is not None else set(present)
    expected = set(range(1, max(listed, default=1) + 1))
    missing, extra = sorted(expected - present), sorted(present - listed)
    if missing:
        yield NeedsUser(
            f"{_volumes(missing)} of {backup_set} {_is(missing)} missing",
            hint="Check whether they were moved. A backup without them cannot be restored, so make the next "
            "one to the drive a full backup",
            code="missing-volumes",
        )
    if extra:
        yield NeedsUser(
            f"{_volumes(extra)} of {backup_set} {_is(extra)} there, but not in its manifest",
            hint="They are left over from an interrupted backup: move them to another folder",
            code="extra-volumes",
        )


def _is(numbers: Sequence[int]) -> str:
    return "is" if len(numbers) == 1 else "are"


def _volumes(numbers: Sequence[int], most: int = 8) -> str:
    """Volume 3; volumes 3, 7-9; the first `most` runs of many, and how many more."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    shown = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs[:most])
    more = sum(b - a + 1 for a, b in runs[most:])
    return f"volume{'s' * (len(numbers) != 1)} {shown}{f' and {more} more' if more else ''}"


NOTHING_SHA1 = "da39a3ee5e6b4b0d3255bfef95601890afd80709"
"""Of no bytes at all. With --no-encryption --no-compression, the one volume of an incremental that found no change is
empty (tried with 0.8.23 to 3.0.7; 3.2.1 writes an archive without members)."""


def _file_problems(backup_set: BackupSet, manifest: Manifest | None) -> Iterator[NeedsUser]:
    hashes = {volume.number: volume.sha1 for volume in manifest.volumes} if manifest is not None else {}
    meant = {file for number, file in backup_set.volumes.items() if hashes.get(number) == NOTHING_SHA1}
    for file in backup_set.duplicates:
        yield NeedsUser(
            f"{_quoted(file.name)} exists a second time under another name",
            hint="duplicity fails where one volume has two names: move the wrong one to another folder",
            code="duplicates",
        )
    for file in backup_set.files:
        if file.size == 0 and file not in meant:
            yield NeedsUser(f"{_quoted(file.name)} is empty", hint=_FINISH, code="empty-file")
    badly_named = next((file for file in backup_set.files if not _is_utf8(file.name)), None)
    if badly_named is not None:
        yield NeedsUser(
            f"{_quoted(badly_named.name)} is not valid UTF-8, which Swift requires of every name",
            hint="Rename the files of this backup to a plain file prefix, and give duplicity the same prefix",
            code="name-not-utf8",
        )


def _is_utf8(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
