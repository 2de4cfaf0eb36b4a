"""Whether a file on the drive is the one that was adopted: by its name, its size and its content; never by its time.

Knows that times change under files that do not: FAT keeps the clock on the wall, so that they are an hour off after a
change of daylight saving time or of the mount's `time_offset`; FAT keeps two seconds, exFAT ten milliseconds, NTFS 100
nanoseconds, so that they are rounded when a drive is plugged again or its files are copied to another. So a time is a
hint that saves a reading: where it alone is another one, it is taken over, and whoever reads the file next holds it
against duplicity's SHA-1, or against what was hashed at the adoption. Must not know when a drive is looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slowboat.core.errors import Refused
from slowboat.core.framing import Framing
from slowboat.core.roster import is_removed
from slowboat.core.words import Event, Phase
from slowboat.engine import facts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from slowboat.core.words import Item, SourceFile
    from slowboat.engine.memory import Memory
    from slowboat.engine.ports import Source


def holds_all(files: Iterable[SourceFile], items: Iterable[Item]) -> bool:
    """Whether a listing shows every adopted file by its name and size."""
    sizes = {file.name: file.size for file in files}
    return all(sizes.get(item.name) == item.file.size for item in items)


def other_times(files: Iterable[SourceFile], items: Iterable[Item]) -> Mapping[str, SourceFile]:
    """The files of a listing that differ from the adopted ones in nothing but their time, by name."""
    adopted = {item.name: item.file for item in items}
    return {
        file.name: file
        for file in files
        if (known := adopted.get(file.name)) is not None and known.size == file.size and known != file
    }


def take_over_times(files: Iterable[SourceFile], memory: Memory) -> None:
    """Remembers the times that a listing shows of files that are else as they were; said once for all of them."""
    other = other_times(files, memory.items)
    if not other:
        return
    memory.retimed(other)
    for item in memory.items:
        if item.name in other and item.phase is Phase.REFUSED and not is_removed(item):
            memory.happened(item.name, Event.RETRIED)  # somebody may have put it right
            memory.remember(facts.FINISHED_AT, 0.0)
    memory.note(
        "times",
        f"{len(other)} files on the drive have a new modification time, such as {min(other)}, and the same size: their "
        "contents are checked when they are read",
    )


async def hashes(source: Source, items: Sequence[Item], known: Mapping[str, Item]) -> Mapping[str, str]:
    """The MD5 of each metadata file as it is now, by name; duplicity itself keeps no hash of them.

    One that cannot be read, or is not well framed, has none: whoever sends it finds out what is wrong with it.

    Args:
        known: what is remembered, by name: a file that has not been touched since is not read again.

    Raises:
        SourceAbsent: the drive went away.
    """
    found: dict[str, str] = {}
    for item in items:
        old = known.get(item.name)
        if not item.role.is_metadata:
            continue
        if old is not None and old.file == item.file and old.md5:
            found[item.name] = old.md5
            continue
        framing = Framing(item.name)
        try:
            digests = await source.digest(item.file, feed=framing.feed)
        except Refused:
            continue
        if not framing.finish():
            found[item.name] = digests.md5
    return found
