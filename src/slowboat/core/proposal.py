"""What `slowboat setup` proposes: names, the source's URL, handover or follow, and whether the cloud has room.

Knows what a person would choose and why; must not know how anything was found out, nor how it is asked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from slowboat.core import names
from slowboat.core.dejadup import Layout, folder_urls

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from slowboat.core.words import Item

Handover = Literal["auto", "ask", "never"]
"""What the configuration says of the handover."""

_NO_NAME: Final = re.compile(r"[^A-Za-z0-9_-]+")
_GENERIC: Final = frozenset(
    {"backup", "backups", "duplicity", "deja-dup", "dejadup", "sicherung", "drive", "data", "mnt"}
)
"""Names of folders that say what lies there, and not whose."""
CONTAINER: Final = "backups"
"""Where nothing else is known."""


def name_of(text: str, taken: Collection[str] = (), otherwise: str = "backup") -> str:
    """A name for a table of the configuration, made of any text, that is not taken yet.

    >>> name_of("Anna's laptop", {"Anna-s-laptop"})
    'Anna-s-laptop-2'
    """
    stem = _NO_NAME.sub("-", text).strip("-")[:60] or otherwise
    number, name = 1, stem
    while name in taken:
        number += 1
        name = f"{stem}-{number}"
    return name


def owner_of(folder: str, hostname: str) -> str:
    """Whose backup lies in a folder: its own name, where that says so, else this machine's.

    >>> owner_of("/media/anna/Backup/lenny", "lemmy")
    'lenny'
    >>> owner_of("/media/anna/Backup", "lemmy.example.com")
    'lemmy'
    """
    last = folder.rstrip("/").rpartition("/")[2]
    plain = last and last.lower() not in _GENERIC and _NO_NAME.search(last) is None
    return last if plain else hostname.partition(".")[0] or "backup"


def source_url(folder: str, cache: str, hints: Iterable[str] = ()) -> str:
    """What duplicity knows a folder by, proven by the name of its cache; "" where that proves nothing.

    Args:
        folder: absolute.
        cache: the name of the cache that holds the folder's chain: the MD5 of the URL, or what `--name` said.
        hints: URLs that were found in somebody's settings.
    """
    plain = (f"file://{folder}", f"file://{folder}/", f"file:{folder}")
    every = (*hints, *plain, *folder_urls(folder, Layout.RCLONE))
    return next((url for url in every if names.cache_directory(url) == cache), "")


@dataclass(frozen=True, slots=True)
class Advised:
    """Hand over or follow the drive, and why, a sentence without a full stop; "" where nothing speaks against it."""

    handover: Handover
    why: str = ""


def handover_for(front_end: Layout | None, remote: str) -> Advised:
    """What to propose.

    Args:
        front_end: the Deja Dup that makes the backup; None: it is duplicity alone.
        remote: the rclone remote that leads to the cloud, "" for none.
    """
    if front_end is Layout.NO_CLOUD:
        return Advised("never", f"Deja Dup {front_end.value} makes this backup and cannot go to the cloud itself")
    if front_end is Layout.RCLONE and not remote:
        return Advised("never", "Deja Dup makes this backup and reaches a cloud through an rclone remote alone")
    return Advised("auto")


def target_urls(container: str, prefix: str, remote: str) -> tuple[str, ...]:
    """The URLs for the target beside the usual one, which the configuration need not name; () where that is all."""
    place = f"{container}/{prefix}".rstrip("/")
    return (f"swift://{place}", f"rclone://{remote}:{place}") if remote else ()


def before_handover(items: Sequence[Item]) -> int:
    """Bytes that go up before the handover: the newest chain's metadata and the canary volumes."""
    return sum(item.file.size for item in items if item.chain == 0 and (item.role.is_metadata or item.canary))


def lacking(free: int | None, size: int, there: int) -> int:
    """Bytes that a quota is short of, 0 where it holds all or none is told.

    Args:
        free: what the quota leaves, bytes.
        size: the backup's, bytes.
        there: bytes of it that are in the cloud already.
    """
    return 0 if free is None else max(0, size - there - free)
