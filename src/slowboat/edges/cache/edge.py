"""The engine's `Cache`: duplicity's archive dirs, off the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import threading
from typing import TYPE_CHECKING, TypeVar

from slowboat.core import names
from slowboat.core.errors import NeedsUser, SlowboatError
from slowboat.edges.cache import finding, installing, keeping_off, mending

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from slowboat.core.words import Installed

T = TypeVar("T")


class Cache:
    """Fulfils the engine's `Cache` port; see there for each method's meaning.

    Args:
        archive_dirs: where caches are looked for; the cache for a target is installed beside the source's.
        targets: the URLs that the migrations go to. Their caches may have grown since: they still count as
            the source's where no other is left.
    """

    def __init__(self, archive_dirs: Sequence[Path], targets: Iterable[str] = ()) -> None:
        self._archive_dirs = tuple(archive_dirs)
        self._targets = frozenset(names.cache_directory(url) for url in targets)

    async def find(self, metadata_keys: frozenset[str], url: str) -> Path | None:
        """The cache of the drive's newest chain, by content. Raises NeedsUser where it is ahead of the drive."""
        return await self._aside(lambda _: finding.find(self._archive_dirs, metadata_keys, url, self._targets))

    async def manifests(self, directory: Path) -> Mapping[str, bytes]:
        """The plain manifests in that cache, as `manifest.Abridged` leaves them: file name to content."""
        return await self._aside(lambda _: finding.manifests(directory))

    async def hand_over(self, source: Path, names: Iterable[str], url: str) -> Installed:
        """Installs `names` of `source` as the cache for `url`; when cancelled before its end, nothing is there."""
        wanted = tuple(names)
        return await self._aside(lambda stop: installing.hand_over(source, wanted, url, stop))

    async def undo(self, installed: Installed) -> None:
        """Removes what `hand_over` installed, unless it was there before or duplicity has used it."""
        await self._aside(lambda _: installing.undo(installed))

    async def mend(
        self, source: Path, installed: Installed, wanted: Sequence[str] = ()
    ) -> tuple[Installed, Sequence[str]]:
        """Copies from `source` what is missing of `wanted`, or of what was installed; what is there stays."""
        return await self._aside(lambda stop: mending.mend(source, installed, tuple(wanted or installed.files), stop))

    @contextlib.asynccontextmanager
    async def kept_off(self) -> AsyncIterator[Callable[[], None]]:
        """Keeps duplicity off the targets while the block runs; what it gives looks whether that still holds."""
        caches = [archive / name for archive in self._archive_dirs for name in self._targets]
        with contextlib.ExitStack() as stack:
            locks = await self._aside(lambda _: stack.enter_context(keeping_off.kept_off(caches)))

            def still() -> None:
                for lock in locks:
                    lock.keep()

            yield still

    async def in_use(self, installed: Installed) -> bool:
        """Whether duplicity is running on that cache now."""
        return await self._aside(lambda _: mending.in_use(installed.directory))

    async def stands(self, installed: Installed) -> bool:
        """Whether there is a cache at all where that was installed."""
        return await self._aside(lambda _: installed.directory.is_dir())

    async def _aside(self, work: Callable[[threading.Event], T]) -> T:
        """Runs `work` in a thread and waits for its end even when cancelled: it holds duplicity's lock."""
        stop = threading.Event()
        thread = asyncio.ensure_future(asyncio.to_thread(_saying, work, stop))
        try:
            await asyncio.wait([thread])  # a shield's error, once nobody waits for it, Python 3.14 logs by itself
        except asyncio.CancelledError:
            stop.set()
            await asyncio.wait([thread])
            if not thread.cancelled():
                thread.exception()  # seen: whoever cancelled does not care
            raise
        return thread.result()


def _saying(work: Callable[[threading.Event], T], stop: threading.Event) -> T:
    """Turns what the file system raises into an error that says what to do."""
    try:
        return work(stop)
    except SlowboatError:
        raise
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise NeedsUser(
                f"There is no room for a copy of duplicity's cache: {error}",
                hint="Free some space on that disk",
                code="no-space",
            ) from error
        raise NeedsUser(
            f"duplicity's cache cannot be used: {error}",
            hint="Make sure that you can read and write that folder, and that its disk works and has room",
            code="cache",
        ) from error
