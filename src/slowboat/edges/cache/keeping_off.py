"""Keeps duplicity off the target while something goes up that it must see whole or not at all.

Knows that duplicity, wherever it backs up to, first locks the cache that it has for that URL. Must not know what goes
up meanwhile.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from slowboat.edges.cache.locking import locked
from slowboat.edges.cache.workshop import workshop

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from pathlib import Path

    from slowboat.edges.cache.locking import Lock


@contextlib.contextmanager
def kept_off(caches: Iterable[Path]) -> Generator[list[Lock]]:
    """Holds duplicity's lock on each of the caches that there is; whoever holds them for long calls their `keep`.

    Raises:
        Transient: duplicity is running on one of them.
        NeedsUser: a lock file may not be opened by us, and nobody holds it.
        OSError: the disk.
    """
    there = {os.path.realpath(cache): cache.resolve() for cache in caches if cache.is_dir()}
    with contextlib.ExitStack() as stack:
        shops = {parent: stack.enter_context(workshop(parent)) for parent in {one.parent for one in there.values()}}
        yield [stack.enter_context(locked(one, shops[one.parent].lock)) for one in there.values()]
