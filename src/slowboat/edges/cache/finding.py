"""Which of duplicity's caches belongs to a chain: told by the names in it.

duplicity names a cache by the MD5 of the URL as it was typed, or as `--name` says; one folder on a drive may have
been known by several URLs over the years. So the name is only a hint, and what is in the cache decides.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slowboat.core import names
from slowboat.core.errors import NeedsUser
from slowboat.core.manifest import Abridged
from slowboat.edges import xdg

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from slowboat.core.names import ParsedName

BLOCK = 1 << 20
"""Bytes per step of a reading."""

OURS = ".slowboat-"
"""Begins the names of our own hidden folders beside duplicity's caches."""


def usual_archive_dirs(environment: Mapping[str, str]) -> tuple[Path, ...]:
    """Where duplicity and Deja Dup keep their caches: plain, as a Flatpak and as a Snap; existing or not.

    Args:
        environment: such as os.environ; HOME and XDG_CACHE_HOME count.
    """
    home, cache = xdg.home(environment), xdg.folder("XDG_CACHE_HOME", environment)
    return (
        cache / "deja-dup",
        cache / "duplicity",
        # https://docs.flatpak.org/en/latest/conventions.html#xdg-base-directories
        home / ".var/app/org.gnome.DejaDup/cache/deja-dup",
        # https://snapcraft.io/docs/environment-variables (SNAP_USER_COMMON, SNAP_USER_DATA)
        home / "snap/deja-dup/common/.cache/deja-dup",
        home / "snap/deja-dup/current/.cache/deja-dup",
        home / "snap/duplicity/common/.cache/duplicity",
        home / "snap/duplicity/current/.cache/duplicity",
    )


@dataclass(frozen=True, slots=True)
class Contents:
    """The metadata files of one cache: name to what the name says. Unfinished ones (.part) are left out."""

    directory: Path
    files: Mapping[str, ParsedName]

    @property
    def keys(self) -> frozenset[str]:
        """The files' metadata keys, which are the same on the drive."""
        return frozenset(names.metadata_key(name) for name in self.files)


def contents(directory: Path) -> Contents:
    """Reads the names in a cache. Only regular files count.

    Raises:
        OSError: it cannot be listed.
    """
    found = {}
    with os.scandir(directory) as entries:
        for entry in entries:
            parsed = names.parse(entry.name)
            if parsed is None or parsed.partial or parsed.role is None or not parsed.role.is_metadata:
                continue
            if entry.is_file(follow_symlinks=False):
                found[entry.name] = parsed
    return Contents(directory, found)


def find(archive_dirs: Sequence[Path], keys: frozenset[str], url: str, targets: frozenset[str]) -> Path | None:
    """The cache that holds the chain of `keys`, or None.

    It must hold all of the chain and nothing that was backed up since the chain began; older chains do not
    matter. The cache named after `url` comes first, and that of a target, in which duplicity may already have
    gone on, last.

    Args:
        archive_dirs: where to look.
        keys: metadata keys of every metadata file of the drive's newest chain.
        url: the URL duplicity knew the source by, or "".
        targets: names of the caches of URLs that are being moved to.

    Raises:
        NeedsUser: the only cache that holds the chain knows of newer backups than the drive does.
    """
    ahead: list[tuple[Contents, str]] = []
    for directory in _candidates(archive_dirs, names.cache_directory(url) if url else "", targets):
        try:
            cache = contents(directory)
        except OSError:
            continue  # a cache of another user, or gone meanwhile: not ours
        if not keys or not keys <= cache.keys:
            continue
        newer = _newer(cache, keys)
        if newer is None or directory.name in targets:
            return directory
        ahead.append((cache, newer))
    if not ahead:
        return None
    cache, newer = ahead[0]
    raise NeedsUser(
        f"duplicity's cache {cache.directory} contains a backup that is not on the drive ({newer})",
        hint="Connect the drive with the latest backup, or make a new backup to this one",
        code="cache-newer",
    )


def _candidates(archive_dirs: Sequence[Path], first: str, last: frozenset[str]) -> Iterator[Path]:
    """All folders that may be a cache, the likeliest first."""
    found: dict[Path, None] = {}
    for archive_dir in archive_dirs:
        try:
            with os.scandir(archive_dir) as entries:
                inside = sorted(entry.name for entry in entries if entry.is_dir())
        except OSError:
            continue
        found.update(dict.fromkeys(archive_dir / name for name in inside if not name.startswith(OURS)))
        found[archive_dir] = None  # the user may have named the cache itself
    yield from sorted(found, key=lambda path: (path.name != first, path.name in last))


def _newer(cache: Contents, keys: frozenset[str]) -> str | None:
    """A metadata file that is not the drive's though it was made since the drive's chain began, or None."""
    chain = [parsed for name, parsed in cache.files.items() if names.metadata_key(name) in keys]
    begin = min(parsed.set_id.start for parsed in chain)
    prefixes = {parsed.prefix for parsed in chain}
    strange = [
        name
        for name, parsed in cache.files.items()
        if names.metadata_key(name) not in keys and parsed.prefix in prefixes and parsed.set_id.end > begin
    ]
    return max(strange, default=None, key=lambda name: cache.files[name].set_id.end)


def manifests(directory: Path) -> dict[str, bytes]:
    """The plain manifests in a cache, without their lists of changed files: file name to content.

    Raises:
        OSError: one cannot be read.
    """
    return {
        name: _abridged(directory / name)
        for name, parsed in contents(directory).files.items()
        if parsed.kind is names.NameKind.MANIFEST
    }


def _abridged(path: Path) -> bytes:
    """What matters of a manifest; read in pieces, never through a link."""
    abridged = Abridged()
    with os.fdopen(open_to_read(path), "rb") as file:
        while block := file.read(BLOCK):
            abridged.feed(block)
    return abridged.finish()


def open_to_read(path: Path) -> int:
    """A descriptor for a regular file.

    Raises:
        OSError: it cannot be opened, or is no regular file.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(f"{path} is not a regular file")
    return fd
