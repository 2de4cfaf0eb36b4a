"""A Swift in memory that fulfils the engine's Store, and misbehaves by script.

What it keeps to is Swift's (docs/swift.md; the real store's tests hold it to the same promises): a PUT at the target
never overwrites, an SLO is checked part by part when it is made and again when it is read, a COPY concatenates and is
checked by its ETag, an expired object answers nothing but stays in the listing until it is reaped, a listing lags.

With other `Quirks` it is another server that speaks Swift, as measured: Ceph's gateway, a Swift without SLOs or COPY,
archive storage. `observe` runs the real probe over it.

What it does on top is what a network does: each request may take a `Fault` from the script. Two hooks let a test look
at every single step: `changed` after each change of what is stored.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypeVar

from slowboat.core.capabilities import Capabilities
from slowboat.core.errors import NeedsUser, Refused, SlowboatError, Transient
from slowboat.core.words import Limits, RemoteObject
from slowboat.edges.swift import probe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from slowboat.core.capabilities import Findings
    from slowboat.engine.ports import Reader

T = TypeVar("T")

BLOCK = 16
"""Bytes that a body is read in when it is small, so that it can be broken off in its middle."""


@dataclass(frozen=True)
class Quirks:
    """How a server differs from OpenStack's Swift as installed.

    Attributes:
        guards: `If-None-Match: *` is heeded.
        checks_md5: a body of another MD5 than its `ETag` says is not stored.
        slo: it makes SLOs; else it stores the list of segments as an object.
        checks_slo: the ETag at an SLO's PUT is that of the SLO; else it is held against the list's own MD5.
        checks_parts: the MD5s in that list are held against the segments.
        joins: what a COPY of an SLO makes: the joined bytes, nothing of them, a refusal, or no answer (429) yet.
        lists_slos: a listing shows an SLO as one; else as an object with the list's length and MD5.
        open: the segments' container can be written.
        quota: bytes that target and segments may have together; None: any number.
    """

    guards: bool = True
    checks_md5: bool = True
    slo: bool = True
    checks_slo: bool = True
    checks_parts: bool = True
    joins: Literal["whole", "empty", "refused", "later"] = "whole"
    lists_slos: bool = True
    open: bool = True
    quota: int | None = None


SWIFT = Quirks()
RGW = Quirks(guards=False, checks_slo=False, checks_parts=False, joins="empty", lists_slos=False)
"""Ceph's gateway, 16.2.15."""
NO_SLO = Quirks(slo=False, joins="refused")
NO_COPY = Quirks(joins="refused")
ARCHIVE = Quirks(joins="later")
CLOSED = Quirks(open=False)
CARELESS = Quirks(checks_md5=False)
SERVERS = {
    "swift": SWIFT, "rgw": RGW, "no slo": NO_SLO, "no copy": NO_COPY, "archive": ARCHIVE, "closed": CLOSED,
    "careless": CARELESS,
}  # fmt: skip
ALL = Capabilities(guards=True, checks_md5=True, segments=True, slo=True, checks_slo=True, joins=True)
NONE = Capabilities(guards=False, checks_md5=False, segments=False, slo=False, checks_slo=False, joins=False)
CAN = {
    SWIFT: ALL,
    RGW: replace(ALL, guards=False, checks_slo=False, joins=False),
    NO_SLO: replace(NONE, guards=True, checks_md5=True, segments=True),
    NO_COPY: replace(ALL, joins=False, message="it does not copy"),
    ARCHIVE: replace(ALL, joins=None, message="it is not readable yet"),
    CARELESS: replace(ALL, checks_md5=False),
    CLOSED: replace(NONE, message="this user may not write there"),
}
"""What a probe must find of each (the conformance suite sees to it)."""

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
    list_md5: str = ""

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
        quirks: Quirks = SWIFT,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._now = now
        self._limits = limits or Limits()
        self.quirks = quirks
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
        guarded: bool | None = None,
        expires_after: int = 0,
        progress: Callable[[int], None] | None = None,
    ) -> RemoteObject:
        _named(name)
        guarded = not segments if guarded is None else guarded
        fault = await self._begin(f"PUT {name}")
        data = await self._received(name, body, size, fault, progress)

        wrong = etag and hashlib.md5(data, usedforsecurity=False).hexdigest() != etag

        def work() -> RemoteObject:
            if len(data) > self._limits.max_object:
                raise Refused("too large", code="too-large")
            self._must_fit(len(data))
            if wrong and self.quirks.checks_md5:
                raise Transient("another checksum", code="mismatch", scope="object")
            self._guard(name, segments=segments, guarded=guarded)
            container = self.segments if segments else self.target
            return self._write(container, name, Stored(data, modified=self._now(), expires=self._until(expires_after)))

        if segments:
            self._count_again(name, data)
        made = await self._end(fault, work)
        if wrong:
            raise Transient("another checksum", code="mismatch", scope="object")
        if segments:
            self.confirmed[name] = made.md5
        return made

    async def put_slo(
        self,
        name: str,
        parts: Sequence[RemoteObject],
        *,
        segments: bool = True,
        checked: bool = True,
        expires_after: int = 0,
    ) -> RemoteObject:
        text = json.dumps([[part.name, part.md5, part.size] for part in parts]).encode()
        list_md5 = hashlib.md5(text, usedforsecurity=False).hexdigest()
        made = Stored(parts=tuple(parts), slo=True, expires=self._until(expires_after), list_md5=list_md5)

        def work() -> RemoteObject:
            self._guard(name, segments=segments, guarded=not segments)
            container = self.segments if segments else self.target
            if checked and not (self.quirks.slo and self.quirks.checks_slo):
                raise Transient("another checksum", code="mismatch", scope="object")
            if not self.quirks.slo:  # the real store takes its own list away again
                if segments:
                    return self._write(container, name, Stored(text, modified=self._now(), expires=made.expires))
                raise Transient("no large object was made", code="not-slo", scope="object")
            if self._lacks(made, checked=self.quirks.checks_parts):
                raise Transient(f"segments of {name} are gone", code="segments-gone", scope="object")
            return self._write(container, name, replace(made, modified=self._now()))

        return await self._request(f"SLO {name}", work)

    async def copy(self, source: str, name: str, *, etag: str) -> RemoteObject:
        await self.copy_once(source, name, etag=etag)
        found = self._head(name, segments=False)
        if found is None or found.slo:
            raise Refused("it is no plain object", code="slo-copied")
        return found

    async def copy_once(self, source: str, name: str, *, etag: str, segments: bool = False) -> None:
        container = self.segments if segments else self.target

        def work() -> RemoteObject:
            slo = self.alive(segments=True).get(source)
            if self.quirks.joins == "refused":
                raise Refused("it does not copy", code="bad-request")
            if self.quirks.joins == "later":
                raise Transient("it is not readable yet", code="slow-down", scope="object", retry_after=3600.0)
            data = self._joined(slo) if slo else None
            if data is None:
                raise Transient(f"segments of {name} are gone", code="segments-gone", scope="object")
            if self.quirks.joins == "empty":
                self._write(container, name, Stored(b"", modified=self._now()))
                raise Refused(f"{name} has another MD5", code="mismatch")
            if hashlib.md5(data, usedforsecurity=False).hexdigest() != etag:
                raise Refused(f"{name} has another MD5", code="mismatch")
            self._must_fit(len(data))
            return self._write(container, name, Stored(data, modified=self._now()))

        await self._request(f"COPY {name}", work)

    async def delete(self, names: Sequence[str]) -> None:
        def work() -> None:
            for name in names:
                self._remove(self.segments, name)

        await self._request(f"DELETE {len(names)}", work)

    async def remove(self, name: str) -> None:
        await self._request(f"DELETE {name}", lambda: self._remove(self.target, name))

    async def renew(self, name: str, expires_after: int) -> None:
        def work() -> None:
            stored = self.alive(segments=True).get(name)
            if stored is None:
                raise Transient(f"{name} is gone", code="segments-gone", scope="object")
            assert expires_after > 0, "an expiry that is taken back deletes the object at some servers"
            until = self._until(expires_after)
            self._write(self.segments, name, replace(stored, modified=self._now(), expires=until))

        await self._request(f"POST {name} {expires_after}", work)

    async def observe(self, stem: str) -> Findings:
        return await probe.observe(self, stem, self._limits)

    async def forget_probe(self, stem: str) -> None:
        await probe.forget(self, stem)

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
            buffer = memoryview(bytearray(min(max(BLOCK, size // 64), size - len(data))))
            count = reader.readinto(buffer)
            if not count:
                raise Refused(f"{name} ended early", code="short")
            data += buffer[:count]
            self.sent[name] = self.sent.get(name, 0) + count
            if progress:
                progress(count)
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
        if self._lacks(slo, checked=self.quirks.checks_parts):
            return None
        return b"".join(self.segments.objects[part.name].data for part in slo.parts)

    def _lacks(self, slo: Stored, *, checked: bool) -> bool:
        """Whether a segment is gone, or (where that is `checked`) another one."""
        found = [(part, self.alive(segments=True).get(part.name)) for part in slo.parts]
        if any(stored is None or stored.size != part.size for part, stored in found):
            return True
        return checked and any(stored and stored.md5 != part.md5 for part, stored in found)

    def _guard(self, name: str, *, segments: bool, guarded: bool) -> None:
        if segments and not self.quirks.open:
            raise NeedsUser("this user may not write there", code="forbidden")
        if guarded and self.quirks.guards and name in self.alive(segments=segments):
            raise Refused(f"{name} is there already", code="exists")

    def _must_fit(self, more: int) -> None:
        if self.quirks.quota is None:
            return
        used = sum(len(stored.data) for one in (self.target, self.segments) for stored in one.objects.values())
        if used + more > self.quirks.quota:
            raise NeedsUser("the account is full", code="quota")

    def _count_again(self, name: str, data: bytes) -> None:
        stands = self.alive(segments=True).get(name)
        if stands and stands.data == data and self.confirmed.get(name) == stands.md5:
            self.paid_twice.append(name)

    def _write(self, container: Container, name: str, stored: Stored) -> RemoteObject:
        container.objects[name] = stored
        row, listed = _row(name, stored), _row(name, stored)
        if stored.slo and not self.quirks.lists_slos:
            listed = RemoteObject(name, 100, stored.list_md5, modified=stored.modified)
        container.journal.append((name, replace(listed, expires=None)))
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
