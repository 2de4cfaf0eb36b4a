"""Puts back what duplicity emptied of a cache that was handed over: only where a file is missing, never over one."""

from __future__ import annotations

import contextlib
import errno
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from slowboat.core.errors import NeedsUser, Transient
from slowboat.edges.cache.installing import copy_aside, flush, must_have, must_have_room, state
from slowboat.edges.cache.locking import LOCKFILE, locked
from slowboat.edges.cache.workshop import workshop

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence
    from pathlib import Path

    from slowboat.core.words import Installed

_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS})


def mend(
    source: Path, installed: Installed, wanted: Sequence[str], stop: threading.Event
) -> tuple[Installed, tuple[str, ...]]:
    """Copies from the cache `source` what is missing of `wanted` where that was installed; answers also its names.

    Raises:
        NeedsUser: the source's cache lacks it too, or there is no room.
        Transient: duplicity is running.
        Stopped: `stop` was set; some files may be back then.
        OSError: the disk.
    """
    target = installed.directory
    with workshop(target.parent) as shop, contextlib.ExitStack() as locks:
        kept = [locks.enter_context(locked(source, shop.lock))]
        if not os.path.lexists(target):
            shop.will_make(target)
            target.mkdir(mode=0o700)
        if not target.samefile(source):
            kept.append(locks.enter_context(locked(target, shop.lock)))
        missing = tuple(name for name in wanted if not os.path.lexists(target / name))
        if not missing:
            return installed, ()
        must_have(source, missing)
        must_have_room(source, target.parent, missing)
        copy_aside(source, missing, shop, stop, kept)
        for name in missing:
            _put(shop.cache / name, target / name)
        flush(target)
    return replace(installed, files={**installed.files, **{name: state(target / name) for name in missing}}), missing


def in_use(directory: Path) -> bool:
    """Whether duplicity is running on that cache now. Nothing is made there: an unused lock file tells it too."""
    if not os.path.lexists(directory / LOCKFILE):
        return False
    try:
        with locked(directory):
            return False
    except NeedsUser:
        return False  # nobody holds it, though it may not be opened
    except (Transient, FileNotFoundError):
        return True


def _put(copy: Path, final: Path) -> None:
    """Gives a file its final name, unless something stands there."""
    try:
        os.link(copy, final, follow_symlinks=False)
    except FileExistsError:
        return  # as good: duplicity cannot have put it there under its lock, but the user may have
    except OSError as error:
        if error.errno not in _NO_LINKS or os.path.lexists(final):
            raise
        copy.rename(final)  # a file system without links; duplicity's lock is ours
