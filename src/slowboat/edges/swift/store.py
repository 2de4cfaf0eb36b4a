"""The store: one container and its segments' container at a Swift, for an asyncio program.

Knows how the requests of `calls` make up what the engine asks for, which of them are worth a second try here, and
the containers' names. Must not know duplicity's file names, phases or the order of things.

What it relies on of Swift, with links: docs/swift.md.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from slowboat.core.errors import Refused, Transient
from slowboat.core.words import RemoteObject
from slowboat.edges.swift import answers, probe, statuses
from slowboat.edges.swift.auth import Keyring
from slowboat.edges.swift.lanes import Lanes
from slowboat.edges.swift.throttle import Body, Throttle

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from slowboat.core.capabilities import Findings
    from slowboat.core.words import Limits, Room
    from slowboat.edges.swift.calls import StoreCalls
    from slowboat.edges.swift.credentials import Credentials
    from slowboat.edges.swift.throttle import Readable
    from slowboat.edges.swift.wire import Wire

T = TypeVar("T")

_SPARE_LANES = 2
"""Threads beside two for each upload (its body, and the end of the one before it), so that small requests never wait
for a body."""

_ATTEMPTS = 3
_WORTH_ANOTHER = frozenset(
    {"token", "reset", "cut-short", "server-error", "bad-gateway", "network", "dns", "tls", "conflict"}
)
"""Codes after which a small request is asked again here, a moment later; all else is the caller's to time."""

_ROW_BYTES = 400
"""What a row of a listing takes in memory beside its name, about."""
_LISTED_BYTES = 256 << 20
"""Memory that one listing may take: half a million objects, a backup of more than 10 TB. What goes on for longer is
no listing."""

_MAYBE_DONE = frozenset({"timeout", "reset", "cut-short", "bad-gateway"})
"""Codes after which a COPY may have been done, or be under way, all the same."""

COPY_PATIENCE = (0.0, 2.0, 5.0, 10.0, 20.0, 40.0)
"""Seconds between looks at whether a COPY whose answer was lost has been done: a load balancer gives up on the
answer, Swift goes on copying."""


class SwiftStore:
    """Fulfils the engine's Store over python-swiftclient.

    Nothing happens, and no HTTP library is loaded, before the first request.

    Args:
        credentials: who asks, and where.
        container: where the finished objects go; made on demand.
        connections: the most bodies on the line at once.
        rate: bytes per second over all uploads; 0 stands still, None is without a cap.
        throttle: shared with other stores, so that one cap holds over all of them; None: one of its own.
        patience: seconds between looks at whether a COPY whose answer was lost has been done.
    """

    def __init__(
        self,
        credentials: Credentials,
        container: str,
        *,
        connections: int = 2,
        rate: int | None = None,
        throttle: Throttle | None = None,
        patience: Sequence[float] = COPY_PATIENCE,
    ) -> None:
        self._credentials = credentials
        self._container = container
        self._patience = tuple(patience)
        self.throttle = throttle or Throttle(rate)
        self._keyring = Keyring(credentials)
        self._lanes = Lanes(2 * connections + _SPARE_LANES, self._make_wire)
        self._bodies = asyncio.Semaphore(connections)
        self._standing: set[str] = set()
        self._limits: Limits | None = None

    def __repr__(self) -> str:
        return f"<SwiftStore {self._container} at {self._credentials.host}>"

    @property
    def segments_container(self) -> str:
        """Where segments and their SLOs stand: what duplicity and python-swiftclient call it, too."""
        return f"{self._container}_segments"

    async def limits(self) -> Limits:
        """What the server allows; asked until it has told so beyond doubt."""
        if self._limits is not None:
            return self._limits
        found = await self._small(lambda calls: calls.info())
        if found.sure:
            self._limits = found.limits
        return found.limits

    async def room(self) -> Room:
        """How the container stands, and what the quotas leave."""
        return await self._small(lambda calls: calls.room(self._container))

    async def make(self) -> None:
        """Makes the container and that of the segments, where they are not there yet."""
        for container in (self._container, self.segments_container):
            await self._small(partial(_made, container=container))

    async def listing(self, prefix: str, *, segments: bool = False) -> Sequence[RemoteObject]:
        """All objects whose names begin with `prefix`; () where no container is.

        Pages until an empty one, as some servers send short pages before the end.
        """
        container, limits = self._where(segments=segments), await self.limits()
        found: list[RemoteObject] = []
        weight = 0
        while True:
            marker = found[-1].name if found else ""
            page = await self._page(container, prefix, marker, limits)
            if not page:
                return tuple(found)
            weight += sum(_ROW_BYTES + len(each.name) for each in page)
            if page[-1].name <= marker or weight > _LISTED_BYTES:
                raise statuses.error(statuses.PORTAL, statuses.Asked("LIST", container, self._credentials.host))
            found += page

    async def head(self, name: str, *, segments: bool = False) -> RemoteObject | None:
        """One object, or None where the server says that it is not there."""
        container = self._where(segments=segments)
        return await self._small(lambda calls: calls.head(container, self._named(name)))

    async def put(
        self,
        name: str,
        body: bytes | Readable,
        size: int,
        *,
        etag: str = "",
        segments: bool = False,
        guarded: bool | None = None,
        expires_after: int = 0,
        progress: Callable[[int], None] | None = None,
    ) -> RemoteObject:
        """Stores `size` bytes.

        `guarded`: never over anything that stands there; None: outside of the segments' container only. Some servers
        replace it all the same (`observe`). A reader's bytes are not hashed: without `etag`, whether the answered MD5
        is right is for the caller to judge.

        Raises:
            Transient, NeedsUser, Refused: by the table of statuses.
            Stopped, asyncio.CancelledError: broken off; the server has stored nothing.
            What `body` raised, untouched.
        """
        return await self._send(
            name,
            io.BytesIO(body) if isinstance(body, bytes) else body,
            size,
            verb="SEGMENT" if segments else "PUT",
            etag=etag,
            expected=etag or (_md5(body) if isinstance(body, bytes) else ""),
            guarded=not segments if guarded is None else guarded,
            expires_after=expires_after,
            progress=progress,
        )

    async def put_slo(
        self,
        name: str,
        parts: Sequence[RemoteObject],
        *,
        segments: bool = True,
        checked: bool = True,
        expires_after: int = 0,
    ) -> RemoteObject:
        """Makes an SLO of segments, which expires after `expires_after` seconds, 0 for never; a COPY of it does not.

        `checked`: the server is told the ETag that the SLO must have. One that makes none then refuses, instead of
        storing the list of segments in its place; some servers take it for the list's own MD5 (`observe`). Where it is
        not told, what stands at a final name afterwards is looked at, and such a list is removed.

        https://docs.openstack.org/swift/latest/overview_large_objects.html#static-large-objects

        Raises:
            Transient: code "not-slo": the server has not made one.
        """
        text, etag = _list_of(self.segments_container, parts), slo_etag(parts)
        size = sum(part.size for part in parts)
        made = await self._send(
            name,
            io.BytesIO(text),
            len(text),
            verb="SLO",
            segments=segments,
            etag=etag if checked else "",
            expected=etag if checked else "",
            guarded=not segments,
            expires_after=expires_after,
            query="multipart-manifest=put",
        )
        if not checked and not segments:
            await self._must_be_slo(name, size, etag, text)
        return RemoteObject(name, size, etag, slo=True, modified=made.modified)

    async def _must_be_slo(self, name: str, size: int, etag: str, text: bytes) -> None:
        found = await self.head(name)
        if found and found.slo and (found.size, found.md5) == (size, etag):
            return
        if found and not found.slo and (found.size, found.md5) == (len(text), _md5(text)):
            await self._delete(self._container, name)  # it is our own list: nothing of anybody's is lost by it
        raise Transient(f"the server did not make a large object of {name}", code="not-slo", scope="object")

    async def copy(self, source: str, name: str, *, etag: str) -> RemoteObject:
        """Server-side: the SLO `source` in the segments' container becomes the plain object `name`.

        Raises:
            Refused: code "mismatch": the server's bytes have another MD5; "slo-copied": the copy is an SLO too.
            Transient: code "segments-gone": a segment is not what the SLO says.
        """
        try:
            await self.copy_once(source, name, etag=etag)
        except Transient as problem:
            if problem.code not in _MAYBE_DONE:
                raise
            lost = problem
        else:
            return await self._checked_copy(name, etag)
        for pause in self._patience:
            await asyncio.sleep(pause)
            with suppress(Transient):
                found = await self.head(name)
                if found and found.md5 == etag and not found.slo:
                    return await self._checked_copy(name, etag)
        raise lost

    async def delete(self, names: Sequence[str]) -> None:
        """Deletes objects of the segments' container; what is gone already is fine."""
        if not names:
            return
        container, checked = self.segments_container, [self._named(name) for name in names]
        if len(names) > 1 and (await self.limits()).bulk_delete:
            await self._small(lambda calls: calls.delete_many(container, checked))
            return
        for name in checked:
            await self._delete(container, name)

    async def remove(self, name: str) -> None:
        """Deletes one object of the container itself; what is gone already is fine."""
        await self._delete(self._container, self._named(name))

    async def renew(self, name: str, expires_after: int) -> None:
        """Lets a segment that expires do so `expires_after` seconds from now, which must be more than 0.

        No expiry is ever taken back: Ceph's gateway then deletes the object (docs/swift.md, "Expiry").
        """
        container = self.segments_container
        await self._small(lambda calls: calls.expire(container, self._named(name), expires_after))

    async def observe(self, stem: str) -> Findings:
        """What this store does with a few bytes in the segments' container, at names that begin with `stem`.

        Raises:
            Transient: not even the first of them could be stored.
            NeedsUser: nothing of what this user asks for is answered.
        """
        return await probe.observe(self, stem, await self.limits())

    async def forget_probe(self, stem: str) -> None:
        """Deletes what `observe` may have left: a copy never expires, which is what it is to show."""
        await probe.forget(self, stem)

    async def forget_connections(self) -> None:
        """Drops idle connections, the token and what the server told of itself (after sleep or a change of network)."""
        self._keyring.forget()
        self._lanes.forget()
        self.throttle.forget()
        self._limits = None

    def release(self) -> None:
        """Nothing is to be sent for a while: lets go of idle threads and sockets."""
        self._lanes.release()

    async def close(self) -> None:
        """Breaks off whatever is under way and lets go of threads and sockets."""
        await self._lanes.close()

    async def _send(
        self,
        name: str,
        source: Readable,
        size: int,
        *,
        verb: statuses.Verb,
        segments: bool | None = None,
        etag: str = "",
        expected: str,
        guarded: bool,
        expires_after: int = 0,
        progress: Callable[[int], None] | None = None,
        query: str = "",
    ) -> RemoteObject:
        """One body, once. `etag` is for the server to check, `expected` for us; "" where the caller does that."""
        container = self._where(segments=verb == "SEGMENT" if segments is None else segments)
        headers = {"If-None-Match": "*"} if guarded else {}
        if expires_after:
            headers["X-Delete-After"] = str(expires_after)
        self._named(name)

        def work(calls: StoreCalls) -> RemoteObject:
            self._stand(calls, container)
            asked = calls.asked(verb, name)
            body = Body(source, size, name, self.throttle, calls.wire.stopped, progress, place.leave)
            with self.throttle.watching(calls.wire):
                made = calls.put(asked, container, name, body, size, etag=etag, headers=headers, query=query)
            if expected and made.md5 != expected:
                raise statuses.error(statuses.STATUSES["*", 422], asked)
            return replace(made, expires=time.time() + expires_after) if expires_after else made

        # The list of an SLO is small: it must not wait until the next object's body is through.
        place = _Place(self._bodies if verb != "SLO" else asyncio.Semaphore())
        async with place:
            try:
                return await self._once(work)
            except Transient as problem:
                if problem.code == "container-gone":
                    self._standing.discard(container)
                raise

    def _stand(self, calls: StoreCalls, container: str) -> None:
        """Before a body: a connection that has answered, with this token, about a container that is there."""
        if container not in self._standing or not calls.wire.warm():
            calls.stand(container)
            self._standing.add(container)

    async def copy_once(self, source: str, name: str, *, etag: str, segments: bool = False) -> None:
        """As `copy`, but asked once, and what stands there is not looked at; with `segments` beside its source."""
        where, target = (
            (self.segments_container, self._named(source)),
            (self._where(segments=segments), self._named(name)),
        )

        def work(calls: StoreCalls) -> str:
            self._stand(calls, target[0])
            return calls.copy(where, target, etag=etag)

        try:
            stored = await self._once(work)
        except Transient:
            self._standing.discard(target[0])
            raise
        if stored != etag:
            raise statuses.error(
                statuses.STATUSES["COPY", 422], statuses.Asked("COPY", target[1], self._credentials.host)
            )

    async def _checked_copy(self, name: str, etag: str) -> RemoteObject:
        """Looks at the copy: a plain object with the right MD5 that stays."""
        found = await self.head(name)
        if found is None or found.md5 != etag:
            raise Transient(f"{name} is not there yet after its copy", code="not-stored", scope="object")
        if found.slo or found.expires is not None:
            raise Refused(
                f"the server copied {name} as a large object or lets it expire",
                hint="Send it without a server-side copy",
                code="slo-copied",
            )
        return found

    async def _page(self, container: str, prefix: str, marker: str, limits: Limits) -> Sequence[RemoteObject] | None:
        return await self._small(lambda calls: calls.page(container, prefix, marker, limits))

    async def _delete(self, container: str, name: str) -> None:
        await self._small(lambda calls: calls.delete(container, name))

    def _named(self, name: str) -> str:
        return _named(name, (self._limits or answers.DEFAULT_LIMITS).max_name)

    def _where(self, *, segments: bool) -> str:
        return self.segments_container if segments else self._container

    async def _small(self, work: Callable[[StoreCalls], T]) -> T:
        """A small request that may be made twice: again after a passing trouble, a moment later."""
        from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

        retrying = AsyncRetrying(
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_random_exponential(multiplier=0.2, max=2.0),
            retry=retry_if_exception(_worth_another),
            reraise=True,
        )
        return await retrying(self._once, work)

    async def _once(self, work: Callable[[StoreCalls], T]) -> T:
        return await self._lanes.run(lambda wire: self._with_token(wire, work))

    def _with_token(self, wire: Wire, work: Callable[[StoreCalls], T]) -> T:
        from slowboat.edges.swift.calls import StoreCalls

        access = self._keyring.access(wire)
        try:
            result = work(StoreCalls(wire, access))
        except Transient as problem:
            if problem.code == "token" and not self._keyring.refused(access):
                asked = statuses.Asked("AUTH", access.host, access.host)
                raise statuses.error(statuses.STATUSES["AUTH", 401], asked) from None
            raise
        self._keyring.accepted()
        return result

    def _make_wire(self) -> Wire:
        from slowboat.edges.swift import lean  # noqa: F401 - before any HTTP library
        from slowboat.edges.swift.wire import Wire

        return Wire(cacert=self._credentials.cacert, on_abort=self.throttle.wake)


def _made(calls: StoreCalls, container: str) -> None:
    calls.stand(container)


class _Place:
    """A body's place on the line, from its first byte to its last: its answer is awaited without it.

    So the next body begins while an answer is on its way, and equal bodies that end together leave no empty line.
    """

    def __init__(self, places: asyncio.Semaphore) -> None:
        self._places = places
        self._loop = asyncio.get_running_loop()
        self._taken = False

    async def __aenter__(self) -> None:
        await self._places.acquire()
        self._taken = True

    async def __aexit__(self, *_: object) -> None:
        self._free()

    def leave(self) -> None:
        """From any thread: the last byte is handed over."""
        self._loop.call_soon_threadsafe(self._free)

    def _free(self) -> None:
        if self._taken:
            self._taken = False
            self._places.release()


def _worth_another(problem: BaseException) -> bool:
    return isinstance(problem, Transient) and problem.code in _WORTH_ANOTHER and not problem.retry_after


def _named(name: str, most: int) -> str:
    """A name of at most `most` bytes that Swift can hold and HTTP libraries leave alone.

    It is UTF-8, not empty, and no part of its path is "." or "..": those are resolved away before a request is sent
    (RFC 3986, 5.2.4), and another object would be meant.

    Raises:
        Refused: code "bad-name".
    """
    surrogate = any("\ud800" <= char <= "\udfff" for char in name)
    if not name or surrogate or not {".", ".."}.isdisjoint(name.split("/")):
        raise Refused(f"the name {name!r} cannot be one of an object", hint="Rename the file", code="bad-name")
    if len(name.encode()) > most:
        what = f"the name {name[:80]!r}... of {len(name.encode())} bytes is longer than the server's {most}"
        raise Refused(what, hint="Use a shorter prefix, or rename the file", code="bad-name")
    return name


def slo_etag(parts: Sequence[RemoteObject]) -> str:
    """The ETag that an SLO of these segments has: the MD5 of their MD5s, one after the other."""
    return _md5("".join(part.md5 for part in parts).encode())


def _list_of(container: str, parts: Sequence[RemoteObject]) -> bytes:
    rows = [{"path": f"/{container}/{part.name}", "etag": part.md5, "size_bytes": part.size} for part in parts]
    return json.dumps(rows).encode()


def _md5(text: bytes) -> str:
    return hashlib.md5(text, usedforsecurity=False).hexdigest()
