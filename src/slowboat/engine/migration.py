"""One migration: observe -> plan -> perform -> record, again whenever something may have changed.

Knows how each action of the plan is done with the ports, and what each kind of error means for what comes next.
Must not know why sending is permitted, what other migrations there are, or any foreign thing by itself.
"""

from __future__ import annotations

import asyncio
import logging
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from slowboat.core import backoff, names
from slowboat.core.errors import NeedsUser, Refused, SlowboatError, SourceAbsent, Transient
from slowboat.core.plan import (
    ADOPT,
    HAND_OVER,
    LOOK,
    SETTLED,
    Action,
    Adopt,
    BreakOff,
    Check,
    Decision,
    Finish,
    HandOver,
    Look,
    Send,
    Sight,
    Snapshot,
    matches,
    plan,
    ready_for_handover,
    source_absent,
    unseen,
)
from slowboat.core.words import (
    Activity,
    Event,
    HandoverState,
    Limits,
    Notice,
    Permit,
    Phase,
    Reason,
    RemoteObject,
)
from slowboat.engine import adoption, report
from slowboat.engine.courier import Courier, Freight
from slowboat.engine.memory import Memory
from slowboat.engine.meter import Meter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from slowboat.core.words import Item, MigrationReport, Target
    from slowboat.engine.ports import Cache, Ledger, Notifier, Source, Store

_log = logging.getLogger(__name__)

TRY_AGAIN = 3600.0
"""Seconds until what needs the user is tried again unasked: quota may have been freed elsewhere."""
BUSY_CACHE = 60.0
"""Seconds until a cache that duplicity is using is tried again."""
STILL_THERE = 60.0
"""Seconds for which a set's manifest, once seen at the target, is taken to be there still."""
DRIVE_PATIENCE = 60.0
"""Seconds that listing the drive may take: a sleeping disk spins up in ten, a dying one never."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be moved where.

    Attributes:
        name: the migration's name, the user's choice.
        source_dir: the folder on the drive, for people to read.
        source_url: what duplicity called it, or "".
        target: where it goes.
        file_prefix: whose files are meant where several hosts share the folder; None: whoever's there is.
        ask_first: the handover waits for the user's word.
        lanes: how many objects go up at once.
        canary: paths whose volumes go first, in duplicity's terms.
    """

    name: str
    source_dir: str
    source_url: str
    target: Target
    file_prefix: str | None = None
    ask_first: bool = False
    lanes: int = 2
    canary: tuple[tuple[bytes, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Tools:
    """The edges that a migration works with, and its clocks.

    Attributes:
        now: seconds since the epoch.
        steady: seconds of a clock that is never set.
        chance: a random number in [0, 1).
    """

    source: Source
    store: Store
    cache: Cache
    ledger: Ledger
    notifier: Notifier
    now: Callable[[], float]
    steady: Callable[[], float]
    chance: Callable[[], float]


@dataclass(slots=True)
class _Seen:
    """What is known of the world in this run alone; the next run asks again."""

    objects: dict[str, RemoteObject] | None = None
    listed_at: float = 0.0
    confirmed_at: float = 0.0
    manifests_at: dict[str, float] = field(default_factory=dict)
    drive_present: bool = True
    drive_changed: bool = False
    look_at_drive: bool = True
    limits: Limits | None = None
    courier: Courier | None = None
    partly: dict[str, int] = field(default_factory=dict)
    object_waits: dict[str, float] = field(default_factory=dict)
    blocked: Reason | None = None
    fork: Reason | None = None
    asked: bool = False
    last_error: str = ""


class Migration:
    """Moves one chain. `run` ends only by cancellation."""

    def __init__(self, order: Order, tools: Tools, permit: Callable[[], Permit], publish: Callable[[], None]) -> None:
        self.order = order
        self._tools = tools
        self._permit = permit
        self._publish = publish
        self._memory = Memory(tools.ledger, order.name)
        self._meter = Meter()
        self._seen = _Seen()
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._decision = Decision((), Activity.STARTING)

    # -- from outside ----------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Something may have changed: look at everything again."""
        self._wake.set()

    def rescan(self) -> None:
        """Drive and target are read again."""
        self._seen.look_at_drive = True
        self._seen.objects = None if not self._busy else self._seen.objects
        self._seen.listed_at = 0.0
        self.wake()

    def drive_may_have_changed(self) -> None:
        """A mount, an unplugged cable, a new file."""
        if not self._memory.items:
            self._seen.blocked = None  # what was wrong with the folder may be mended
        self._seen.look_at_drive = True
        self.wake()

    def retry_now(self) -> None:
        """Every waiting time ends; what was refused gets another chance."""
        self._seen.blocked = None
        self._seen.object_waits.clear()
        self._calm()
        for item in self._memory.items:
            if item.phase is Phase.REFUSED:
                self._memory.happened(item.name, Event.RETRIED)
                self._memory.remember("finished_at", 0.0)
        if self._memory.handover is HandoverState.BLOCKED:
            self._memory.handover_undone()
        self.rescan()

    def network_returned(self) -> None:
        """A wait for the server ends early: it was most likely the network's fault."""
        self._calm()
        self.wake()

    def under_way(self) -> bool:
        """Whether something is being done now."""
        return bool(self._busy)

    def report(self) -> MigrationReport:
        """What is shown."""
        memory, seen = self._memory, self._seen
        sending = [name for name in self._busy if name not in (ADOPT, LOOK, HAND_OVER)]
        rate = self._meter.rate(self._tools.steady()) if sending else 0
        handover, why = self._handover_shown()
        return report.of_migration(
            self.order.name,
            memory.items,
            self._decision,
            source=self.order.source_dir,
            target_url=self.order.target.urls[0],
            handover=handover,
            handover_why=why,
            partly=seen.partly,
            in_flight=self._meter.under_way(),
            rate=rate,
            pace=rate or memory.line.rate,
            started_at=memory.number("started_at"),
            finished=bool(memory.number("finished_at")),
            current=min(sending, default="", key=lambda name: memory.item(name).rank),
            last_error=seen.last_error,
            now=self._tools.now(),
        )

    def listed(self) -> Sequence[Mapping[str, str | int | bool]]:
        """The objects in sending order, for `slowboat plan`."""
        return [
            {
                "name": item.name,
                "role": item.role.value,
                "set": f"{item.set_id.type.value} {item.set_id.end}",
                "bytes": item.file.size,
                "phase": item.phase.value,
                "canary": item.canary,
                "error": item.error,
            }
            for item in self._memory.items
        ]

    def _handover_shown(self) -> tuple[HandoverState, str]:
        memory = self._memory
        state, why = memory.handover, memory.fact("handover_why")
        if state is HandoverState.PENDING:
            if memory.items and ready_for_handover(memory.items):
                return HandoverState.READY, ""
            left = sum(
                item.chain == 0 and (item.role.is_metadata or item.canary) and item.phase not in SETTLED
                for item in memory.items
            )
            why = f"{left} files must reach the cloud first" if memory.items else "the drive has not been read yet"
        return state, why

    async def hand_over(self) -> None:
        """At the user's word, now.

        Raises:
            NeedsUser, Transient: what stands in its way.
        """
        if self._memory.handover is HandoverState.DONE:
            return
        if not self._memory.items or not ready_for_handover(self._memory.items):
            _, why = self._handover_shown()
            raise NeedsUser(
                f"the handover of {self.order.name} cannot be done yet: {why or 'its metadata is not confirmed'}",
                hint="slowboat does it by itself as soon as it can",
                code="not-ready",
            )
        self._seen.asked = True
        await self._look()
        if not matches_all(self._memory.items, self._seen.objects or {}):
            raise NeedsUser(
                "the target does not show all of the metadata",
                hint="slowboat sends it again first",
                code="not-ready",
            )
        await self._hand_over()
        self.wake()

    async def undo_handover(self) -> None:
        """Takes the handover back; it then waits for the user's word.

        Raises:
            NeedsUser: nothing was handed over, or duplicity has written to the cache since.
        """
        if not self._memory.installed:
            raise NeedsUser(f"nothing was handed over for {self.order.name}", code="not-done")
        for installed in self._memory.installed:
            await self._tools.cache.undo(installed)
        self._seen.asked = False
        self._memory.handover_undone("you took it back; `slowboat handover` does it again", math.inf)
        self._memory.note("handover", "The handover was taken back.")
        self.wake()

    # -- the loop --------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Decides and acts until it is cancelled; then everything under way is broken off and remembered."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._wake.clear()
                if self._seen.look_at_drive and ADOPT not in self._busy:
                    await self._look_at_drive()
                self._decision = plan(self._snapshot())
                for action in self._decision.actions:
                    self._start(tasks, action)
                self._publish()
                await self._woken(self._decision.wake_at)

    async def _woken(self, wake_at: float | None) -> None:
        moments = [moment for moment in (wake_at, self._recheck_drive_at()) if moment is not None]
        timeout = max(0.05, min(moments) - self._tools.now()) if moments else None
        try:
            async with asyncio.timeout(timeout):
                await self._wake.wait()
        except TimeoutError:
            self._seen.look_at_drive |= not self._seen.drive_present

    def _recheck_drive_at(self) -> float | None:
        """A drive that is away is looked for once a minute, besides the watch on mounts."""
        return None if self._seen.drive_present else self._tools.now() + 60.0

    def _snapshot(self) -> Snapshot:
        seen, memory, now = self._seen, self._memory, self._tools.now()
        finished = bool(memory.number("finished_at"))
        return Snapshot(
            now=now,
            items=memory.items,
            permit=self._permit(),
            drive_present=seen.drive_present,
            drive_changed=seen.drive_changed,
            sight=Sight(seen.objects, seen.listed_at) if seen.objects is not None else None,
            confirmed_at=seen.confirmed_at,
            handover=memory.handover,
            handover_at=memory.number("handover_at"),
            blocked=self._blocked(now),
            wait=self._waiting(now),
            object_waits=seen.object_waits,
            busy=frozenset(self._busy),
            lanes=self.order.lanes,
            finished=finished,
        )

    def _blocked(self, now: float) -> Reason | None:
        if self._seen.blocked is not None and (self._seen.blocked.until or 0.0) <= now:
            self._seen.blocked = None
        return self._seen.blocked

    def _waiting(self, now: float) -> Reason | None:
        left = backoff.remaining(self._memory.number("retry_at"), now)
        if left > 0:
            why = self._memory.fact("retry_why") or "the server asked to wait"
            return Reason("server-wait", why, cure="slowboat tries again by itself", until=now + left)
        return None

    # -- acting ----------------------------------------------------------------------------------------------

    def _start(self, tasks: asyncio.TaskGroup, action: Action) -> None:
        match action:
            case Adopt():
                self._spawn(tasks, ADOPT, self._adopt)
            case Look():
                self._spawn(tasks, LOOK, self._look)
            case HandOver():
                self._spawn(tasks, HAND_OVER, self._hand_over)
            case Check(name):
                self._spawn(tasks, name, lambda: self._check(name))
            case Send(name):
                self._spawn(tasks, name, lambda: self._send(name))
            case Finish():
                self._spawn(tasks, LOOK, self._finish)
            case BreakOff():
                self.break_off()

    def break_off(self) -> None:
        """Aborts what is under way; the handover alone is let finish, it takes no network."""
        for key, task in self._busy.items():
            if key != HAND_OVER:
                task.cancel()

    def _spawn(self, tasks: asyncio.TaskGroup, key: str, act: Callable[[], object]) -> None:
        if key not in self._busy:
            self._busy[key] = tasks.create_task(self._perform(key, act), name=f"{self.order.name}: {key}")

    async def _perform(self, key: str, act: Callable[[], object]) -> None:
        """One action, and what its failure means."""
        began = self._tools.steady()
        try:
            await act()  # type: ignore[misc]  # every act is a coroutine function
        except Transient as error:
            self._later(key, error, began)
        except SourceAbsent as error:
            self._seen.drive_present = False
            self._seen.last_error = str(error)
        except Refused as error:
            self._refuse(key, error)
        except NeedsUser as error:
            self._needs_user(key, error)
        except Exception as error:  # noqa: BLE001  # one migration's bad surprise must not stop the others
            _log.exception("%s: %s failed", self.order.name, key)
            self._needs_user(key, _mistake(error))
        else:
            self._calm()
        finally:
            self._settle(key)
            self._busy.pop(key, None)
            if not any(name not in (ADOPT, LOOK, HAND_OVER) for name in self._busy):
                self._meter.rest()
            self._wake.set()

    def _settle(self, key: str) -> None:
        """Books the bytes of an object that is no longer under way, and leaves none of them SENDING."""
        if key in (ADOPT, LOOK, HAND_OVER):
            return
        self._memory.sent(key, self._meter.take(key))
        if self._memory.item(key).phase is Phase.SENDING:
            self._memory.happened(key, Event.INTERRUPTED)

    def _later(self, key: str, error: Transient, began: float) -> None:
        self._seen.last_error = str(error)
        now = self._tools.now()
        if error.scope == "object" and key in {item.name for item in self._memory.items}:
            attempts = self._memory.item(key).attempts
            self._seen.object_waits[key] = now + backoff.wait(attempts, self._tools.chance(), error.retry_after)
            return
        attempt = int(self._memory.number("retry_attempts")) + 1
        wait = backoff.wait(attempt, self._tools.chance(), error.retry_after)
        self._memory.remember("retry_attempts", attempt)
        self._memory.remember("retry_at", now + wait)
        self._memory.remember("retry_why", str(error))
        if self._meter.under_way():
            self._memory.line = self._memory.line.broke(self._tools.steady() - began)

    def _refuse(self, key: str, error: Refused) -> None:
        self._seen.last_error = str(error)
        if key in (ADOPT, LOOK, HAND_OVER):
            self._block(error)
            return
        if error.code == "exists":  # ours, of a request whose answer was lost; or somebody's: ask
            return
        self._memory.happened(key, Event.REJECTED, error=error.what)
        self._memory.note("refused", str(error))
        self._tools.notifier.tell(
            Notice(f"refused-{key}", f"{self.order.name}: a file cannot be moved", str(error), urgent=True)
        )

    def _needs_user(self, key: str, error: NeedsUser) -> None:
        self._seen.last_error = str(error)
        if key == HAND_OVER:
            self._handover_refused(error)
        else:
            self._block(error)

    def _block(self, error: SlowboatError) -> None:
        reason = Reason(error.code, error.what, error.hint, self._tools.now() + TRY_AGAIN)
        self._seen.blocked = reason
        self._memory.note("needs-user", str(error))
        self._tools.notifier.tell(
            Notice(f"needs-you-{self.order.name}", f"{self.order.name} needs you", str(error), urgent=True)
        )

    def _calm(self) -> None:
        """Something worked: the next trouble starts its waits from the beginning."""
        if self._memory.fact("retry_at"):
            self._memory.remember("retry_at", 0.0)
            self._memory.remember("retry_attempts", 0.0)
            self._memory.remember("retry_why", "")

    # -- the drive -------------------------------------------------------------------------------------------

    async def _look_at_drive(self) -> None:
        """Is it there, and does it still hold what was adopted?"""
        seen, memory = self._seen, self._memory
        seen.look_at_drive = False
        try:
            async with asyncio.timeout(DRIVE_PATIENCE):
                files = await self._tools.source.listing()
        except TimeoutError:
            seen.drive_present = False
            seen.last_error = f"{self.order.source_dir} does not answer"
            return
        except SourceAbsent as error:
            seen.drive_present = False
            seen.last_error = str(error)
            return
        except NeedsUser as error:
            self._block(error)
            return
        seen.drive_present = True
        if not memory.items or adoption.fingerprint(files) == memory.fact("fingerprint"):
            return
        if memory.handover is HandoverState.DONE:
            self._tell_fork([file.name for file in files])
        else:
            seen.drive_changed = True

    def _tell_fork(self, present: Sequence[str]) -> None:
        """Sets that appear on the drive after the handover would fork the chain: named once, never sent."""
        adopted = {item.name for item in self._memory.items}
        new = sorted(name for name in present if name not in adopted and names.parse(name) is not None)
        if new and self._memory.fact("fork") != new[-1]:
            self._memory.remember("fork", new[-1])
            text = (
                f"{len(new)} new files of duplicity's are on the drive ({new[-1]}). Since the handover backups go to "
                f"{self.order.target.urls[0]}; these are not moved, they would not fit the chain there. "
                "Let duplicity back up to the cloud"
            )
            self._memory.note("fork", text)
            self._tools.notifier.tell(
                Notice(
                    f"fork-{self.order.name}",
                    f"{self.order.name}: a backup went to the drive",
                    text,
                    urgent=True,
                )
            )

    async def _adopt(self) -> None:
        tools, memory = self._tools, self._memory
        files = await tools.source.listing()
        self._seen.drive_changed = False
        try:
            found = await adoption.adopt(
                tools.source,
                tools.cache,
                files,
                url=self.order.source_url,
                file_prefix=self.order.file_prefix,
                canary=self.order.canary,
            )
        except NeedsUser:
            memory.remember("fingerprint", adoption.fingerprint(files) if memory.items else "")
            if memory.items:  # what was adopted is still good; a backup to the drive may be under way
                return
            raise
        started = memory.number("started_at") or tools.now()
        facts = {
            "fingerprint": found.fingerprint,
            "cache": str(found.cache or ""),
            "started_at": repr(started),
            "finished_at": "",
        }
        memory.adopt(found.items, found.manifests, facts)
        size = sum(item.file.size for item in found.items)
        memory.note("adopted", f"{len(found.items)} files, {size} bytes, from {self.order.source_dir}")

    # -- the target ------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        """Reads the target's listing; what it does not show of what was confirmed is asked for by name."""
        store, seen = self._tools.store, self._seen
        began = self._tools.now()
        prefix = self.order.target.prefix
        if seen.limits is None:
            seen.limits = await store.limits()
        listing = await store.listing(prefix)
        objects = {
            stored.name.removeprefix(prefix): stored
            for stored in listing
            if "/" not in stored.name.removeprefix(prefix)
        }
        self._refuse_strangers(objects)
        for name in unseen(self._memory.items, Sight(objects, began)):
            stands = await store.head(names.object_name(prefix, name))
            if stands is not None and matches(self._memory.item(name), stands):
                objects[name] = stands
            else:
                self._memory.happened(name, Event.VANISHED)
                self._memory.remember("finished_at", 0.0)
                self._memory.note("vanished", f"{name} was at the target and is not any more; it goes up again")
        seen.objects, seen.listed_at = objects, began

    def _refuse_strangers(self, objects: Mapping[str, RemoteObject]) -> None:
        """Before the handover nothing of another chain may stand where this one is to go.

        Raises:
            NeedsUser: something does.
        """
        if self._memory.handover is HandoverState.DONE:
            return
        adopted = {item.name for item in self._memory.items}
        strange = sorted(name for name in objects if name not in adopted and names.parses_for_duplicity(name))
        if strange and not self._only_continues(strange, objects):
            where = self.order.target
            raise NeedsUser(
                f"{where.container}/{where.prefix} holds another backup already ({strange[0]}, {len(strange)} files)",
                hint="Choose an empty container or prefix for this migration, or remove that backup with duplicity",
                code="other-chain",
            )

    def _only_continues(self, strange: Sequence[str], objects: Mapping[str, RemoteObject]) -> bool:
        """Whether duplicity wrote them straight to the target, after a handover that is forgotten."""
        newest = [item for item in self._memory.items if item.chain == 0]
        metadata_stands = all(item.name in objects for item in newest if item.role.is_metadata)
        end = max((item.set_id.end for item in newest), default=0)
        parsed = [names.parse(name) for name in strange]
        return bool(newest) and metadata_stands and all(p is not None and p.set_id.start >= end for p in parsed)

    async def _ready_courier(self) -> Courier:
        if self._seen.courier is None:
            known = self._memory.fact("copies_concatenate")
            concatenates = known == "yes" if known else await self._tools.store.copies_concatenate()
            self._memory.remember("copies_concatenate", "yes" if concatenates else "no")
            self._seen.courier = Courier(
                self._tools.source, self._tools.store, self.order.target.prefix, concatenates=concatenates
            )
        return self._seen.courier

    async def _check(self, name: str) -> None:
        """What stands at one object's name: ours, nothing, or something else?"""
        item = self._memory.item(name)
        full = names.object_name(self.order.target.prefix, name)
        stands = await self._tools.store.head(full)
        if stands is None:
            if self._seen.objects is not None:
                self._seen.objects.pop(name, None)
            self._memory.happened(name, Event.ABSENT)
            return
        courier = await self._ready_courier()
        md5 = await courier.same(item, stands)
        if md5:
            self._confirm(name, stands, md5)
            if item.segment:
                await courier.sweep(item)
        else:
            raise Refused(
                f"another file stands at {full} in {self.order.target.container}",
                hint="slowboat overwrites nothing: move or remove that object, then `slowboat resume`",
                code="conflict",
            )

    async def _send(self, name: str) -> None:
        item = self._memory.item(name)
        if not await self._set_still_stands(item):
            self._seen.objects = None  # look, tell apart, decide again
            return
        courier = await self._ready_courier()
        self._memory.happened(name, Event.STARTED)
        self._seen.partly[name] = 0
        mark = self._tools.steady()

        def confirmed(length: int) -> None:
            nonlocal mark
            now, count = self._tools.steady(), self._meter.take(name)
            if count:
                self._memory.sent(name, count)
                self._memory.line = self._memory.line.sent(count, now - mark)
            mark = now
            self._seen.partly[name] += length

        md5 = await courier.carry(
            item,
            self._memory.line,
            self._seen.limits or Limits(),
            Freight(
                now=self._tools.now(),
                progress=lambda count: self._meter.add(name, count),
                confirmed=confirmed,
                begun=lambda segment: self._memory.begun_segments(name, segment),
                known=lambda digest: self._known(name, digest),
            ),
        )
        confirmed(0)
        full = names.object_name(self.order.target.prefix, name)
        self._confirm(name, RemoteObject(full, item.file.size, md5), md5)

    def _known(self, name: str, md5: str) -> None:
        """Remembered before anything stands at the final name: a later check then needs no reading of the drive."""
        self._memory.learned(name, md5)

    def _confirm(self, name: str, stands: RemoteObject, md5: str) -> None:
        self._memory.happened(name, Event.CONFIRMED, md5=md5)
        self._seen.confirmed_at = self._tools.now()
        self._seen.partly.pop(name, None)
        self._seen.object_waits.pop(name, None)
        if self._seen.objects is not None:
            self._seen.objects[name] = stands

    async def _set_still_stands(self, item: Item) -> bool:
        """No volume before its set's metadata, and none after somebody took that away."""
        if item.role.is_metadata:
            return True
        manifest = next(
            (one for one in self._memory.items if one.set_id == item.set_id and one.role.value == "manifest"),
            None,
        )
        if manifest is None:
            return False
        now = self._tools.now()
        if now - self._seen.manifests_at.get(manifest.name, 0.0) < STILL_THERE:
            return True
        stands = await self._tools.store.head(names.object_name(self.order.target.prefix, manifest.name))
        if not matches(manifest, stands):
            return False
        self._seen.manifests_at[manifest.name] = now
        return True

    # -- the handover and the end ----------------------------------------------------------------------------

    async def _hand_over(self) -> None:
        """Installs duplicity's cache for every URL of the target.

        Raises:
            NeedsUser, Transient: what stands in its way.
        """
        memory, tools = self._memory, self._tools
        if self.order.ask_first and not self._seen.asked:
            raise NeedsUser("it waits for your word", hint="Say `slowboat handover`", code="ask")
        if self._seen.drive_present:
            await self._look_at_drive()
            if self._seen.drive_changed:
                return  # a newer set on the drive belongs to the chain: it goes first
        wanted = [item.name for item in memory.items if item.chain == 0 and item.role.is_metadata]
        keys = frozenset(names.metadata_key(name) for name in wanted)
        directory = await tools.cache.find(keys, self.order.source_url)
        if directory is None:
            raise NeedsUser(
                f"duplicity's cache for {self.order.source_dir} was not found on this machine",
                hint=f"Run `duplicity collection-status {self.order.source_url or 'file://' + self.order.source_dir}` "
                "once with the drive connected: it makes the cache anew",
                code="no-cache",
            )
        installed = [
            await tools.cache.hand_over(directory, [names.cache_name(name) for name in wanted], url)
            for url in self.order.target.urls
        ]
        memory.handed_over(installed)
        url = self.order.target.urls[0]
        memory.note("handover", f"duplicity's cache now stands for {url}")
        tools.notifier.tell(
            Notice(
                f"handover-{self.order.name}",
                "Backups can go to the cloud now",
                f"{self.order.name}: let duplicity or Deja Dup back up to {url} from now on. The older volumes follow "
                "in the background; keep the drive until slowboat says that it is done.",
            )
        )

    def _handover_refused(self, error: SlowboatError) -> None:
        until = self._tools.now() + TRY_AGAIN
        was = self._memory.fact("handover_why")
        self._memory.handover_blocked(str(error), until)
        if was != str(error):
            self._memory.note("handover", f"The handover waits: {error}")
            if error.code != "busy":
                self._tools.notifier.tell(
                    Notice(
                        f"handover-{self.order.name}",
                        f"{self.order.name}: the handover waits",
                        str(error),
                        urgent=True,
                    )
                )

    async def _finish(self) -> None:
        """The end, seen in one listing: sweep what is left of our segments, and tell."""
        memory = self._memory
        courier = await self._ready_courier()
        for item in memory.items:
            if item.segment and item.phase is Phase.DONE:
                await courier.sweep(item)
        memory.remember("finished_at", self._tools.now())
        refused = [item for item in memory.items if item.phase is Phase.REFUSED]
        url = self.order.target.urls[0]
        if refused:
            text = f"{len(refused)} files could not be moved to {url}; keep the drive. `slowboat plan` names them."
            title = f"{self.order.name}: all but {len(refused)} files are in the cloud"
        else:
            text = f"Every file of the backup is at {url} and confirmed. The drive is no longer the only copy."
            title = f"{self.order.name}: the backup is in the cloud"
        memory.note("done", text)
        self._tools.notifier.tell(Notice(f"done-{self.order.name}", title, text, urgent=bool(refused)))

    # -- sleep -----------------------------------------------------------------------------------------------

    def absent_reason(self) -> Reason:
        """The reason while the drive is away, with the folder's name."""
        return source_absent(self.order.source_dir)


def _mistake(error: Exception) -> NeedsUser:
    return NeedsUser(
        f"slowboat itself made a mistake ({type(error).__name__})",
        hint="The journal has the details; it tries again in an hour, or at `slowboat resume`",
        code="internal",
    )


def matches_all(items: Sequence[Item], objects: Mapping[str, RemoteObject]) -> bool:
    """Whether every metadata file of the newest chain stands at the target as we know it."""
    return all(matches(item, objects.get(item.name)) for item in items if item.chain == 0 and item.role.is_metadata)
