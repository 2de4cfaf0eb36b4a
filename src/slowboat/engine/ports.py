"""What the engine asks of the world: one Protocol per edge, in the engine's words.

Edges fulfil these without importing them (structural typing); the composition root puts the two together and
mypy holds them against each other there. All of them raise `core.errors` only. Methods that wait are
coroutines and can be cancelled at any await; a cancelled upload has let go of its socket when it returns.

Knows what the engine asks for; must not know who answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager, AbstractContextManager
    from pathlib import Path

    from slowboat.core.capabilities import Findings
    from slowboat.core.conditions import Conditions
    from slowboat.core.schedule import Usage
    from slowboat.core.versions import Installation
    from slowboat.core.words import (
        Digests,
        HookEvent,
        Installed,
        Item,
        Limits,
        Notice,
        OutOfReach,
        Phase,
        RemoteObject,
        SourceFile,
    )


class Reader(Protocol):
    """A file on the drive, opened read-only and read forward, in whatever thread sends it."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Reads the next bytes into `buffer`, which is not empty; how many they are, 0 at the end.

        Raises:
            SourceAbsent: the drive went away.
            Refused: this file cannot be read or changed while it was read (never an OSError: an HTTP library
                would take that for a network error and send the body again).
        """


class Source(Protocol):
    """The folder on the drive. Opened read-only, never written to."""

    expected: str
    """The `identity` that was remembered at adoption, "" where none is known: another drive there is SourceAbsent."""

    async def identity(self) -> str:
        """What tells this drive from another one at the same place, "" where nothing does. Raises as `listing`."""

    async def listing(self, *, any_drive: bool = False) -> Sequence[SourceFile]:
        """All regular files of the folder, in no order.

        Args:
            any_drive: of whatever drive stands there now.

        Raises:
            SourceAbsent: the folder or its drive is not there, or another drive stands in its place (code
                "other-drive").
            NeedsUser: it is there but cannot be read.
        """

    async def out_of_reach(self) -> OutOfReach:
        """The names in the folder behind which there is no file that could be read. Raises as `listing`."""

    def open(self, file: SourceFile, offset: int = 0) -> AbstractContextManager[Reader]:
        """Opens `file` for reading from `offset`; the file must still have its size and mtime.

        Raises:
            SourceAbsent: the drive went away.
            Refused: the file is gone, changed, or cannot be read.
        """

    async def digest(
        self,
        file: SourceFile,
        offset: int = 0,
        length: int | None = None,
        feed: Callable[[bytes], None] | None = None,
        *,
        sha1: bool = True,
    ) -> Digests:
        """Reads `length` bytes from `offset` (to the end where None) and hashes them; each block also goes to `feed`.

        Without `sha1` only the MD5 is taken: each hash costs one to two seconds per GB. Raises as `open` does.
        """


class Cache(Protocol):
    """duplicity's archive dirs on this machine: the source's cache is only read, the target's installed."""

    async def find(self, metadata_keys: frozenset[str], url: str) -> Path | None:
        """The cache whose metadata is that of the drive's newest chain; by content, `url`'s own md5 first.

        Args:
            metadata_keys: `names.metadata_key` of every metadata file of the drive's newest chain.
            url: the URL duplicity knew the source by, or "".
        """

    async def manifests(self, directory: Path) -> Mapping[str, bytes]:
        """The plain manifests in that cache, as `manifest.Abridged` leaves them: file name to content."""

    async def hand_over(self, source: Path, names: Iterable[str], url: str) -> Installed:
        """Installs `names` of `source` as the cache for `url`; atomic, under duplicity's lock, can be undone.

        Raises:
            NeedsUser: a cache stands there that is not the same, or holds something else.
            Transient: duplicity is running (its lock is held).
        """

    async def undo(self, installed: Installed) -> None:
        """Removes what `hand_over` installed.

        Raises:
            NeedsUser: duplicity has written to it since; it stays.
        """

    async def mend(
        self, source: Path, installed: Installed, wanted: Sequence[str] = ()
    ) -> tuple[Installed, Sequence[str]]:
        """Copies from the cache `source` what is missing there of `wanted`, and never over anything.

        Without `wanted` all that was installed is.

        Answers what is installed now, and the names of the files that were missing.

        Raises:
            NeedsUser: the source's cache lacks it too, or there is no room.
            Transient: duplicity is running (its lock is held).
        """

    def kept_off(self) -> AbstractAsyncContextManager[Callable[[], None]]:
        """Keeps duplicity from running on any cache of the target's URLs while the block runs.

        What it gives is called before anything that must not be done beside a duplicity.

        Raises:
            Transient: duplicity is running (its lock is held); also what it gives raises that.
            NeedsUser: there is a lock that nobody holds and we may not take.
        """

    async def in_use(self, installed: Installed) -> bool:
        """Whether duplicity is running on that cache now."""

    async def stands(self, installed: Installed) -> bool:
        """Whether there is a cache at all where that was installed."""


class Duplicity(Protocol):
    """The duplicities on this machine."""

    async def installed(self) -> Sequence[Installation]:
        """Every one that may make the user's backups, with what it says of its version. Never raises."""


class FrontEnd(Protocol):
    """The settings of Deja Dup, in the words of `core.dejadup`."""

    async def read(self) -> Mapping[str, str]:
        """All of them; {} where there is no Deja Dup. Never raises."""

    async def sources(self, folder: str) -> Sequence[str]:
        """The URLs under which it backs up to that folder, its present one first; () where it does not."""

    async def write(self, change: Mapping[str, str]) -> None:
        """Sets them in turn; all or none.

        Raises:
            NeedsUser: that cannot be done from here; the hint has the commands.
        """


class Store(Protocol):
    """One container's prefix at a server, and the segments' container beside it.

    `name` is always the object's full name in its container. `segments=True` addresses `<container>_segments`.
    """

    async def limits(self) -> Limits:
        """What the server allows (its /info; OpenStack's defaults where it does not say)."""

    async def listing(self, prefix: str, *, segments: bool = False) -> Sequence[RemoteObject]:
        """All objects whose names begin with `prefix`, page by page to an empty page; () where no container is."""

    async def head(self, name: str, *, segments: bool = False) -> RemoteObject | None:
        """One object, or None where the server says that it is not there."""

    async def put(
        self,
        name: str,
        body: bytes | Reader,
        size: int,
        *,
        etag: str = "",
        segments: bool = False,
        expires_after: int = 0,
        progress: Callable[[int], None] | None = None,
    ) -> RemoteObject:
        """Stores `size` bytes; with `etag` the server refuses any other content. Makes the container on demand.

        A reader's bytes are not hashed here: without `etag`, whether the MD5 that the server answers is right is for
        the caller to judge.

        Outside of the segments' container a server that can (`Capabilities.guards`) replaces nothing.

        Success is 201 with an ETag, nothing else. The answer's md5 is the server's. `progress` is told bytes as
        they are handed to the socket, from a worker thread. `expires_after` seconds, 0 for never.

        Raises:
            Transient, NeedsUser, Refused: by the table of statuses (edges/swift/statuses).
            Stopped, asyncio.CancelledError: broken off; the server has stored nothing.
            What `body` raised, untouched.
        """

    async def put_slo(
        self,
        name: str,
        parts: Sequence[RemoteObject],
        *,
        segments: bool = True,
        checked: bool = True,
        expires_after: int = 0,
    ) -> RemoteObject:
        """Makes an SLO of segments (their names in the segments' container, sizes, md5s).

        With `segments` it stands in the segments' container, else in the container itself. It expires after
        `expires_after` seconds, 0 for never; a COPY of it never inherits that. `checked`: the server is told the ETag
        that the SLO must have, which some cannot bear (`Capabilities.checks_slo`).

        Raises:
            Transient: code "not-slo": the server has not made one, and nothing stands there.
        """

    async def copy(self, source: str, name: str, *, etag: str) -> RemoteObject:
        """Server-side: the SLO `source` in the segments' container becomes the plain object `name`.

        The server checks `etag`, the MD5 of the whole, and stores nothing where it is not the same. The object carries
        no expiry. The caller has made sure that nothing stands at `name`.

        Raises:
            Refused: the server's bytes have another MD5 (code "mismatch").
        """

    async def delete(self, names: Sequence[str]) -> None:
        """Deletes objects of the segments' container; what is gone already is fine."""

    async def remove(self, name: str) -> None:
        """Deletes one plain object at the target; what is gone already is fine. The caller has proven whose it is."""

    async def renew(self, name: str, expires_after: int) -> None:
        """Lets a segment that expires do so `expires_after` seconds from now, more than 0; none is ever taken back."""

    async def observe(self, stem: str) -> Findings:
        """What the store does with a few bytes in the segments' container, at names that follow from `stem`.

        Raises:
            Transient: not even the first of them could be stored.
            NeedsUser: nothing of what this user asks for is answered.
        """

    async def forget_probe(self, stem: str) -> None:
        """Deletes what `observe` may have left at the names that follow from `stem`."""

    async def close(self) -> None:
        """Breaks off whatever is under way and lets go of threads and sockets."""


class Ledger(Protocol):
    """slowboat's own memory. The engine is its only writer; every call is one transaction.

    It is on the disk when the call returns, but for what is gathered: that is with the next call that is not, or with
    `commit`, or after some hundred of them. What is lost of it by a kill is asked about again: the phase of an object
    whose upload was begun or confirmed, its MD5, the bytes that it cost, how fast the line was.

    Each call may raise `Unrecorded`: nothing was read or written, and the run of the engine ends with it.
    """

    def adopt(
        self, migration: str, items: Sequence[Item], manifests: Mapping[str, bytes], facts: Mapping[str, str]
    ) -> None:
        """Remembers the frozen list of files, the plain manifests, and what identifies the source and target."""

    def items(self, migration: str) -> Sequence[Item]:
        """The adopted objects by rank; () where nothing was adopted."""

    def move(
        self,
        migration: str,
        name: str,
        phase: Phase,
        *,
        md5: str = "",
        error: str = "",
        attempt: bool = False,
        slo_md5: str | None = None,
        sent: int = 0,
    ) -> None:
        """One object's new phase; gathered.

        `md5`, `error` and `slo_md5` replace what was known; `attempt` counts one more, `sent` adds bytes as below.
        """

    def begun_segments(self, migration: str, name: str, segment: int) -> None:
        """Fixes the size of that object's segments (bytes)."""

    def sent(self, migration: str, name: str, count: int) -> None:
        """Adds bytes that went over the line for an object, confirmed or not; gathered."""

    def facts(self, migration: str) -> Mapping[str, str]:
        """The migration's own facts: key to text."""

    def commit(self) -> None:
        """What was gathered is on the disk."""

    def set_fact(self, migration: str, key: str, value: str, *, soon: bool = False) -> None:
        """Remembers one fact; "" forgets it; `soon`: it is gathered. Migration "" is for the whole daemon."""

    def manifest(self, migration: str, name: str) -> bytes | None:
        """The copy of a plain manifest made at adoption."""

    def spent(self, networks: Sequence[str], day: str, count: int) -> None:
        """Adds bytes that went over the line to each of those networks' (by name) of that local day ("2026-11-22")."""

    def usage(self, day: str) -> Mapping[str, Usage]:
        """By network: the bytes of each period that the local day ("2026-11-22") is in."""

    def forget(self, migration: str) -> None:
        """Drops a migration's objects, manifests and facts (not its history)."""

    def traffic(self, since: float = 0.0) -> Sequence[tuple[float, int]]:
        """The bytes of each quarter of an hour in which there were any: (its beginning, bytes), oldest first."""

    def note(self, migration: str, kind: str, text: str) -> None:
        """Adds a line to the history."""

    def history(self, since: float = 0.0, limit: int = 100) -> Sequence[tuple[float, str, str, str]]:
        """The newest lines of the history, oldest first: (when, migration, kind, text)."""


class Hooks(Protocol):
    """The user's own commands at what happens."""

    def happened(self, what: HookEvent, migration: str, title: str, text: str) -> None:
        """Something happened that he may have a command for; returns at once and never raises."""


class Notifier(Protocol):
    """Desktop notifications; waits for a notification service that is not there yet."""

    def show(self, notice: Notice) -> None:
        """Shows a notice now or once somebody can show it; never raises."""

    def withdraw(self, key: str) -> None:
        """Takes back what was told of a key and holds no longer; never raises."""

    def restore(self, key: str, ticket: str) -> None:
        """Takes over what an earlier run has told of a key, by the ticket that it got; never raises."""


class World(Protocol):
    """What the permit depends on besides people: network, power, sleep, games, the time zone."""

    def conditions(self) -> Conditions:
        """The newest settled reading of everything; never waits."""
