"""A Swift in memory that fulfils the engine's Store, and misbehaves by script.

What it keeps to is Swift's (docs/swift.md; the real store's tests hold it to the same promises): a PUT at the target
never overwrites, an SLO is checked part by part when it is made and again when it is read, a COPY concatenates and is
checked by its ETag, an expired object answers nothing but stays in the listing until it is reaped, a listing lags.

What it does on top is what a network does: each request may take a `Fault` from the script. Two hooks let a test look
at every single step: `changed` after each change of what is stored.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypeVar

from slowboat.core.errors import Refused, SlowboatError, Transient
from slowboat.core.words import Limits, RemoteObject

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from slowboat.engine.ports import Reader

T = TypeVar("T")

BLOCK = 16
"""Bytes that a body is read in when it is small, so that it can be broken off in its middle."""

When = Literal["before", "body", "after", "late", "twice"]
"""Where a fault strikes: before the server hears of it, in the body, after the work but before the answer; `late`: as
`after`, but the work is done only some requests later; `twice`: the work is done, and asked for and done again."""


@dataclass(frozen=True)
class Fault:
    """One request's misfortune.

    Attributes:
        when: where it strikes.
        how: "break" (the caller sees a Transient) or "cancel" (somebody broke it off). Without meaning for "twice".
        after: for "body", bytes that get through; for "late", requests until the work is done.
    """

    when: When
    how: Literal["break", "cancel"] = "break"
    after: int = 0


@dataclass
class Stored:
    """What stands at one name. An SLO has `parts` and no data of its own."""

    data: bytes = b""
    parts: tuple[RemoteObject, ...] = ()
    slo: bool = False
    modified: float = 0.0
    expires: float | None = None

    @property
    def md5(self) -> str:
        text = "".join(part.md5 for part in self.parts).encode() if self.slo else self.data
        return hashlib.md5(text, usedforsecurity=False).hexdigest()

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts) if self.slo else len(self.data)


@dataclass
class Container:
    """One container, and what its listing shows of it."""

    objects: dict[str, Stored] = field(default_factory=dict)
    journal: list[tuple[str, RemoteObject | None]] = field(default_factory=list)

    def listed(self, lag: int) -> dict[str, RemoteObject]:
        """The listing without the newest `lag` changes."""
        shown: dict[str, RemoteObject] = {}
        for name, row in self.journal[: len(self.journal) - lag if lag else None]:
            if row is None:
                shown.pop(name, None)
            else:
                shown[name] = row
        return shown


class ModelStore:
    """A container's prefix and its segments' container.

    Attributes:
        faults: what befalls the next requests, one after the other; None: nothing.
        aimed: what befalls one request, by its verb and its number among those of that verb, from 0.
        lag: how many of the newest changes no listing shows.
        sent: bytes of bodies that went over the line, by name.
        confirmed: segments whose PUT was answered with a 201, by name: the MD5 that was answered.
        paid_twice: segments that were sent again although their 201 had arrived and they still stood, in that content.
        requests: every request, as "VERB name".
    """

    def __init__(
        self,
        now: Callable[[], float],
        *,
        limits: Limits | None = None,
        concatenates: bool = True,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._now = now
        self._limits = limits or Limits()
        self._concatenates = concatenates
        self.changed = changed
        self.target, self.segments = Container(), Container()
        self.faults: list[Fault | None] = []
        self.aimed: dict[tuple[str, int], Fault] = {}
        self.lag = 0
        self.sent: dict[str, int] = {}
        self.confirmed: dict[str, str] = {}
        self.paid_twice: list[str] = []
        self.requests: list[str] = []
        self._late: list[tuple[int, Callable[[], object]]] = []
        self._rate: int | None = None
        self._rate_changed = asyncio.Event()

    @property
    def busy(self) -> bool:
        """Whether something is done later than thought."""
        return bool(self._late)

    # -- what a test does to it ------------------------------------------------------------------------------

    def lose(self, name: str) -> None:
        """A segment is gone by itself; listings show it all the same."""
        self.segments.objects.pop(name, None)
        self.changed()

    def garble(self, name: str) -> None:
        """A segment's content is something else, and its listing and HEAD say so."""
        self._write(self.segments, name, replace(self.segments.objects[name], data=b"\0" * 3))

    def place(self, name: str, data: bytes) -> None:
        """Somebody else's object at the target."""
        self._write(self.target, name, Stored(data, modified=self._now()))

    def reap(self) -> None:
        """The expirer comes by: what has expired leaves the listings too."""
        for container in (self.target, self.segments):
            for name in [name for name, stored in container.objects.items() if self._gone(stored)]:
                self._remove(container, name)

    def settle(self) -> None:
        """Whatever was late has been done."""
        for _, work in self._late:
            self._try(work)
        self._late.clear()

    def alive(self, *, segments: bool) -> dict[str, Stored]:
        """What has not expired, by name."""
        objects = (self.segments if segments else self.target).objects
        return {name: stored for name, stored in objects.items() if not self._gone(stored)}

    def data(self, name: str) -> bytes | None:
        """What a GET of the target's object gives; None where it would fail."""
        stored = self.alive(segments=False)[name]
        return self._joined(stored) if stored.slo else stored.data

    # -- the Store -------------------------------------------------------------------------------------------

    async def limits(self) -> Limits:
        return self._limits

    async def listing(self, prefix: str, *, segments: bool = False) -> Sequence[RemoteObject]:
        def work() -> Sequence[RemoteObject]:
            rows = (self.segments if segments else self.target).listed(self.lag)
            return tuple(rows[name] for name in sorted(rows) if name.startswith(prefix))

        return await self._request(f"LIST {prefix}", work)

    async def head(self, name: str, *, segments: bool = False) -> RemoteObject | None:
        return await self._request(f"HEAD {name}", lambda: self._head(name, segments=segments))

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
        _named(name)
        fault = await self._begin(f"PUT {name}")
        data = await self._received(name, body, size, fault, progress)

        def work() -> RemoteObject:
            if len(data) > self._limits.max_object:
                raise Refused("too large", code="too-large")
            if etag and hashlib.md5(data, usedforsecurity=False).hexdigest() != etag:
                raise Transient("another checksum", code="mismatch", scope="object")
            self._guard(name, segments=segments)
            container = self.segments if segments else self.target
            return self._write(container, name, Stored(data, modified=self._now(), expires=self._until(expires_after)))

        if segments:
            self._count_again(name, data)
        made = await self._end(fault, work)
        if segments:
            self.confirmed[name] = made.md5
        return made

    async def put_slo(
        self, name: str, parts: Sequence[RemoteObject], *, segments: bool = True, expires_after: int = 0
    ) -> RemoteObject:
        made = Stored(parts=tuple(parts), slo=True, expires=self._until(expires_after))

        def work() -> RemoteObject:
            self._guard(name, segments=segments)
            if self._joined(made) is None:
                raise Transient(f"segments of {name} are gone", code="segments-gone", scope="object")
            container = self.segments if segments else self.target
            return self._write(container, name, replace(made, modified=self._now()))

        return await self._request(f"SLO {name}", work)

    async def copy(self, source: str, name: str, *, etag: str) -> RemoteObject:
        def work() -> RemoteObject:
            slo = self.alive(segments=True).get(source)
            data = self._joined(slo) if slo else None
            if data is None:
                raise Transient(f"segments of {name} are gone", code="segments-gone", scope="object")
            if hashlib.md5(data, usedforsecurity=False).hexdigest() != etag:
                raise Refused(f"{name} has another MD5", code="mismatch")
            return self._write(self.target, name, Stored(data, modified=self._now()))

        if not self._concatenates:
            raise Refused("the copy is an SLO too", code="slo-copied")
        return await self._request(f"COPY {name}", work)

    async def delete(self, names: Sequence[str]) -> None:
        def work() -> None:
            for name in names:
                self._remove(self.segments, name)

        await self._request(f"DELETE {len(names)}", work)

    async def renew(self, name: str, expires_after: int) -> None:
        def work() -> None:
            stored = self.alive(segments=True).get(name)
            if stored is None:
                raise Transient(f"{name} is gone", code="segments-gone", scope="object")
            until = self._until(expires_after)
            self._write(self.segments, name, replace(stored, modified=self._now(), expires=until))

        await self._request(f"POST {name} {expires_after}", work)

    async def copies_concatenate(self) -> bool:
        return self._concatenates

    @property
    def throttle(self) -> ModelStore:
        """Where a real store has its throttle."""
        return self

    def set_cap(self, rate: int | None) -> None:
        self._rate = rate
        self._rate_changed.set()
        self._rate_changed = asyncio.Event()

    async def forget_connections(self) -> None:
        pass

    async def close(self) -> None:
        pass

    # -- how a request goes ----------------------------------------------------------------------------------

    async def _request(self, what: str, work: Callable[[], T]) -> T:
        return await self._end(await self._begin(what), work)

    async def _begin(self, what: str) -> Fault | None:
        self.requests.append(what)
        fault = self.faults.pop(0) if self.faults else self.aimed.pop(self._number(what), None)
        due = [work for left, work in self._late if left <= 0]
        self._late = [(left - 1, work) for left, work in self._late if left > 0]
        for work in due:
            self._try(work)
        await asyncio.sleep(0)
        if fault and (fault.when == "before" or (fault.when == "body" and not what.startswith("PUT"))):
            raise _misfortune(fault)
        return fault

    async def _end(self, fault: Fault | None, work: Callable[[], T]) -> T:
        match fault.when if fault else "":
            case "after":
                self._try(work)
                raise _misfortune(fault)
            case "late":
                self._late.append((fault.after, work))
                raise _misfortune(fault)
            case "twice":
                self._try(work)
        answer = work()
        await asyncio.sleep(0)
        return answer

    def _number(self, what: str) -> tuple[str, int]:
        """A request's verb, and how many of it there were before."""
        verb = what.partition(" ")[0]
        return verb, sum(request.startswith(f"{verb} ") for request in self.requests) - 1

    def _try(self, work: Callable[[], object]) -> None:
        with suppress(SlowboatError):
            work()

    async def _received(
        self, name: str, body: bytes | Reader, size: int, fault: Fault | None, progress: Callable[[int], None] | None
    ) -> bytes:
        reader = io.BytesIO(body) if isinstance(body, bytes) else body
        ends = fault.after if fault and fault.when == "body" else None
        data = b""
        while len(data) < size:
            if ends is not None and len(data) >= ends:
                break
            await self._paced(len(data))
            block = reader.read(min(max(BLOCK, size // 64), size - len(data)))
            if not block:
                raise Refused(f"{name} ended early", code="short")
            data += block
            self.sent[name] = self.sent.get(name, 0) + len(block)
            if progress:
                progress(len(block))
            await asyncio.sleep(0)
        if ends is not None:
            raise _misfortune(fault)
        return data

    async def _paced(self, done: int) -> None:
        while self._rate == 0:
            await self._rate_changed.wait()
        if self._rate and done:
            await asyncio.sleep(0.01)

    # -- what stands -----------------------------------------------------------------------------------------

    def _head(self, name: str, *, segments: bool) -> RemoteObject | None:
        stored = self.alive(segments=segments).get(name)
        return _row(name, stored) if stored else None

    def _joined(self, slo: Stored) -> bytes | None:
        """What a GET of an SLO gives; None where a segment is gone or another one."""
        found = [(part, self.alive(segments=True).get(part.name)) for part in slo.parts]
        if any(stored is None or (stored.size, stored.md5) != (part.size, part.md5) for part, stored in found):
            return None
        return b"".join(stored.data for _, stored in found if stored)

    def _guard(self, name: str, *, segments: bool) -> None:
        if not segments and name in self.alive(segments=False):
            raise Refused(f"{name} is there already", code="exists")

    def _count_again(self, name: str, data: bytes) -> None:
        stands = self.alive(segments=True).get(name)
        if stands and stands.data == data and self.confirmed.get(name) == stands.md5:
            self.paid_twice.append(name)

    def _write(self, container: Container, name: str, stored: Stored) -> RemoteObject:
        container.objects[name] = stored
        row = _row(name, stored)
        container.journal.append((name, replace(row, expires=None)))
        self.changed()
        return row

    def _remove(self, container: Container, name: str) -> None:
        container.objects.pop(name, None)
        container.journal.append((name, None))
        self.changed()

    def _until(self, seconds: int) -> float | None:
        return self._now() + seconds if seconds else None

    def _gone(self, stored: Stored) -> bool:
        return stored.expires is not None and stored.expires <= self._now()


def _row(name: str, stored: Stored) -> RemoteObject:
    return RemoteObject(name, stored.size, stored.md5, slo=stored.slo, modified=stored.modified, expires=stored.expires)


def _named(name: str) -> None:
    bad = not name or {".", ".."} & set(name.split("/")) or any("\ud800" <= char <= "\udfff" for char in name)
    if bad:
        raise Refused(f"the name {name!r} cannot be one of an object", code="bad-name")


def _misfortune(fault: Fault) -> BaseException:
    return asyncio.CancelledError() if fault.how == "cancel" else Transient("the connection broke", code="reset")
