"""Folders on this machine that hold a backup of duplicity's: on mounted drives, in the home, where Deja Dup says.

Knows where drives are mounted and how to look through folders without getting lost in them; must not know what the
files are worth. Everything is only listed, and a drive that does not answer holds nobody up.
"""

from __future__ import annotations

import os
import queue
import re
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from slowboat.core import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MOUNTS: Final = Path("/proc/self/mountinfo")
DEEPEST: Final = 4
"""Folders below a drive's top, or the home, that are looked into: people put backups near the top."""
MOST_FOLDERS: Final = 20_000
"""Below one top: a photographer's drive has as many."""
MOST_NAMES: Final = 3_000
"""Of one folder that are looked at for a first file of duplicity's: beside thousands of others it is no backup's."""
PATIENCE: Final = 20.0
"""Seconds for all that is looked through: someone waits for the first question."""

_NO_DRIVES: Final = frozenset(
    {"proc", "sysfs", "devtmpfs", "devpts", "cgroup", "cgroup2", "squashfs", "overlay", "autofs", "mqueue", "efivarfs"}
    | {"debugfs", "tracefs", "securityfs", "pstore", "bpf", "hugetlbfs", "configfs", "fusectl", "ramfs", "nsfs"}
    | {"fuse.portal", "fuse.gvfsd-fuse", "binfmt_misc", "rpc_pipefs", "iso9660"}
)
"""File systems on which no backup lies (proc_filesystems(5)); a tmpfs may be somebody's pretend drive."""
_SYSTEM: Final = ("/boot", "/dev", "/efi", "/etc", "/proc", "/run", "/snap", "/sys", "/tmp", "/usr", "/var")  # noqa: S108 (nothing is written there)
"""Where the system mounts its own."""
_DRIVES: Final = ("/run/media", "/media", "/mnt")
"""Where desktops and people mount theirs (udisks(8), Filesystem Hierarchy Standard 3.0), below the system's or not."""


def tops(home: Path, mounts: Path = MOUNTS) -> tuple[Path, ...]:
    """Where to look: each mounted drive, and the home."""
    found: dict[Path, None] = {}
    try:
        lines = mounts.read_bytes().splitlines()
    except OSError:
        lines = []
    for line in lines:
        words = [os.fsdecode(word) for word in line.split(b" ")]
        place = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), words[4])
        kind = words[words.index("-", 6) + 1]
        if kind not in _NO_DRIVES and place != "/" and (_below(place, _DRIVES) or not _below(place, _SYSTEM)):
            found[Path(place)] = None
    found[home] = None
    return tuple(found)


def _below(place: str, folders: Iterable[str]) -> bool:
    return any(place == folder or place.startswith(f"{folder}/") for folder in folders)


def folders(where: Sequence[Path], *, patience: float = PATIENCE) -> tuple[Path, ...]:
    """The folders below `where` that hold a file of duplicity's; each top is looked through in a thread of its own.

    Args:
        where: as `tops` has them; others that are worth a look may come first.
        patience: seconds; what has not answered by then is left out.
    """
    answers: queue.SimpleQueue[Path | None] = queue.SimpleQueue()
    deadline = time.monotonic() + patience
    skip = frozenset(where)
    for top in where:
        # A daemon thread: one that hangs in the kernel, as with a network share, must not keep the program.
        threading.Thread(target=_search, args=(top, skip - {top}, deadline, answers), daemon=True).start()
    found: dict[Path, None] = {}
    at_work = len(where)
    while at_work:
        try:
            answer = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        if answer is None:
            at_work -= 1
        else:
            found[answer] = None
    return tuple(sorted(found))


def _search(top: Path, skip: frozenset[Path], deadline: float, answers: queue.SimpleQueue[Path | None]) -> None:
    try:
        for number, (folder, inside) in enumerate(_walk(top, skip)):
            if number > MOST_FOLDERS or time.monotonic() > deadline:
                break
            if any(names.parse(name) is not None for name in inside):
                answers.put(folder)
    finally:
        answers.put(None)


def _walk(top: Path, skip: frozenset[Path]) -> Iterator[tuple[Path, list[str]]]:
    """Folders, the nearest to the top first, each with its first files; no links, no other mounts, nothing hidden."""
    waiting = [(top, 0)]
    for folder, depth in waiting:  # grows as it goes
        try:
            with os.scandir(folder) as entries:
                here = [entry for entry, _ in zip(entries, range(MOST_NAMES), strict=False)]
            yield folder, [entry.name for entry in here if entry.is_file(follow_symlinks=False)]
            below = [folder / entry.name for entry in here if _is_worth_it(entry)] if depth < DEEPEST else []
        except OSError:
            continue  # somebody else's, or gone meanwhile
        waiting.extend((each, depth + 1) for each in sorted(below) if each not in skip)


def _is_worth_it(entry: os.DirEntry[str]) -> bool:
    return not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
