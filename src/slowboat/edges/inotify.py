"""Tells when something in a folder was added, removed or written, also for a folder that is not there yet.

Knows the kernel's inotify (https://man7.org/linux/man-pages/man7/inotify.7.html). Must not know what a change means:
whoever is told looks for himself. A folder that is absent is watched for by its nearest ancestor that is there. Costs
nothing while nothing changes, and does not keep a drive from being unmounted.

inotify tells of what this machine's kernel does alone: on a share, what comes from elsewhere (and from a desktop's own
programs, which gvfs gives another way to its shares) is seen only by looking, now and then.

The standard library has no inotify, and the packages that bring it poll, keep a thread, or wrap these same three
calls; so they are made here.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import struct
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slowboat.edges.libc import UNAVAILABLE, call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_Listed = dict[Path, frozenset[str] | None]
"""The names in each folder on a share."""

log = logging.getLogger(__name__)

# linux/inotify.h
IN_ATTRIB, IN_CLOSE_WRITE, IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE = 0x4, 0x8, 0x40, 0x80, 0x100, 0x200
IN_DELETE_SELF, IN_MOVE_SELF, IN_UNMOUNT, IN_Q_OVERFLOW, IN_IGNORED = 0x400, 0x800, 0x2000, 0x4000, 0x8000
IN_ONLYDIR, IN_MASK_ADD = 0x01000000, 0x20000000
_COMES = IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR | IN_MASK_ADD
_CHANGES = _COMES | IN_ATTRIB | IN_CLOSE_WRITE | IN_MOVED_FROM | IN_DELETE
_ITSELF = IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT | IN_Q_OVERFLOW | IN_IGNORED
_EVENT = struct.Struct("iIII")

SEARCH_EVERY = 300.0
"""Seconds between looks at the names in a folder on a share: one listing, and a backup waits some minutes at most."""

_SHARES = ("nfs", "cifs", "smb", "9p", "ceph", "afs", "glusterfs", "davfs", "virtiofs", "fuse.")
"""How the types of file systems begin that others change as well: inotify(7), "Limitations and caveats". A drive with
NTFS or exFAT is "fuseblk" or none of these, and only this machine writes to it."""

MOUNTS = Path("/proc/self/mountinfo")

SETTLE, AT_LAST = 2.0, 30.0
"""Seconds of quiet after which a change is told, and the most that it is kept back: a backup writes many files."""


@dataclass(frozen=True, slots=True)
class _Place:
    """What is watched for one folder: itself, or the name that must appear in an ancestor.

    `name` is b"" for the folder itself.
    """

    watch: int
    name: bytes


class FolderWatch:
    """Calls `on_change` in the event loop some moments after something has changed in one of the folders."""

    def __init__(
        self,
        on_change: Callable[[], None] = lambda: None,
        *,
        settle: float = SETTLE,
        at_last: float = AT_LAST,
        search_every: float = SEARCH_EVERY,
    ) -> None:
        """Does nothing until `start`; `on_change` may be set later."""
        self.on_change = on_change
        self._settle = settle
        self._at_last = at_last
        self._search_every = search_every
        self._next_search: asyncio.TimerHandle | None = None
        self._listed: _Listed | None = None
        self._folders: tuple[Path, ...] = ()
        self._fd = -1
        self._places: frozenset[_Place] = frozenset()
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        self._searching = False
        self._again = False

    def start(self, folders: Iterable[Path]) -> None:
        """Begins to watch. Never raises: where there is no inotify, nothing is told."""
        self._folders = tuple(folders)
        try:
            self._fd = call("inotify_init1", os.O_NONBLOCK | os.O_CLOEXEC)
        except UNAVAILABLE as error:
            log.info("folders are not watched: %s", error)
            return
        asyncio.get_running_loop().add_reader(self._fd, self._readable)
        self.search_again()

    def stop(self) -> None:
        """Lets go of everything."""
        for timer in (self._timer, self._next_search):
            if timer is not None:
                timer.cancel()
        self._timer = self._next_search = None
        fd, self._fd = self._fd, -1
        if fd >= 0:
            asyncio.get_running_loop().remove_reader(fd)
            if not self._searching:  # else it is closed when that ends
                os.close(fd)

    def search_again(self) -> bool:
        """Something was mounted or unmounted: the folders may be elsewhere now, and that is then told.

        Returns:
            False where there is no watch, and nothing will be told.
        """
        if self._fd < 0:
            return False
        self._again = self._searching
        if self._searching:
            return True
        self._searching = True
        # In a thread, for a path on a drive or share that hangs is looked up for minutes.
        search = threading.Thread(
            target=self._search, args=(self._fd, asyncio.get_running_loop()), name="folders", daemon=True
        )
        search.start()
        return True

    def _search(self, fd: int, loop: asyncio.AbstractEventLoop) -> None:
        places = frozenset(place for folder in self._folders for place in _placed(fd, folder))
        listed = {folder: _names(folder) for folder in self._folders if _on_a_share(folder)}
        try:
            loop.call_soon_threadsafe(self._found, fd, places, listed)
        except RuntimeError:  # the loop has ended
            os.close(fd)

    def _found(self, fd: int, places: frozenset[_Place], listed: _Listed) -> None:
        self._searching = False
        if fd != self._fd:
            os.close(fd)
            return
        gone = {place.watch for place in self._places} - {place.watch for place in places}
        moved, self._places = self._places not in (places, frozenset()), places
        for watch in gone:
            _forget(fd, watch)
        moved |= self._listed not in (listed, None)
        self._search_later(listed)
        if self._again:
            self._again = False
            self.search_again()
        if moved:
            self._tell_soon()

    def _search_later(self, listed: _Listed) -> None:
        """Keeps what shares have, to be compared with what they have some minutes later."""
        self._listed = listed
        if self._next_search is not None:
            self._next_search.cancel()
            self._next_search = None
        if listed:
            self._next_search = asyncio.get_running_loop().call_later(self._search_every, self.search_again)

    def _readable(self) -> None:
        try:
            events = os.read(self._fd, 65536)
        except BlockingIOError:
            return
        itself = names = False
        for watch, mask, name in _events(events):
            mine = [place.name for place in self._places if place.watch == watch]
            itself |= bool(mask & _ITSELF and (mine or watch == -1))
            names |= any(not wanted or wanted == name for wanted in mine)
        if itself or names:
            self._tell_soon()

    def _tell_soon(self) -> None:
        """After some quiet, so that many changes are told once; but not for ever later."""
        loop = asyncio.get_running_loop()
        if self._timer is None:
            self._deadline = loop.time() + self._at_last
        else:
            self._timer.cancel()
        self._timer = loop.call_at(min(loop.time() + self._settle, self._deadline), self._tell)

    def _tell(self) -> None:
        self._timer = None
        self.search_again()
        self.on_change()


def _placed(fd: int, folder: Path) -> Iterator[_Place]:
    """The watch for one folder: on itself, or else on the nearest ancestor that can be watched."""
    name = b""
    for candidate in (folder, *folder.parents):
        try:
            yield _Place(call("inotify_add_watch", fd, os.fsencode(candidate), _COMES if name else _CHANGES), name)
        except UNAVAILABLE:
            name = os.fsencode(candidate.name)
        else:
            return


def _on_a_share(folder: Path) -> bool:
    """Whether others change the file system on which it is, or would be."""
    path = os.path.realpath(folder)
    found, longest = "", -1
    try:
        lines = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return False
    for line in lines:
        left, _, right = line.partition(" - ")
        place = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), left.split()[4])
        inside = path == place or path.startswith(f"{place.rstrip('/')}/")
        if inside and len(place) >= longest:  # of two at one place the later one is on top
            found, longest = right.split()[0], len(place)
    return found.startswith(_SHARES)


def _names(folder: Path) -> frozenset[str] | None:
    """What is in it; None where it is not there or cannot be read."""
    try:
        return frozenset(os.listdir(folder))  # noqa: PTH208  # the names alone: a share may ask its server for more
    except OSError:
        return None


def _forget(fd: int, watch: int) -> None:
    try:
        call("inotify_rm_watch", fd, watch)
    except UNAVAILABLE:
        return  # what it watched has gone, and the watch with it


def _events(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(watch, mask, name) of each event."""
    at = 0
    while at < len(data):
        watch, mask, _, length = _EVENT.unpack_from(data, at)
        at += _EVENT.size
        yield watch, mask, data[at : at + length].rstrip(b"\0")
        at += length
