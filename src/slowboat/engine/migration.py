"""One migration: observe -> plan -> perform -> record, again whenever something may have changed.

Knows which part does which action of the plan, and what each kind of error means for what comes next. Must not know
why sending is permitted, what other migrations there are, or any foreign thing by itself.
"""

from __future__ import annotations

import asyncio
import logging
import math
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from slowboat.core import backoff
from slowboat.core import line as line_of
from slowboat.core.errors import NeedsUser, Refused, SlowboatError, SourceAbsent, Stopped, Transient
from slowboat.core.plan import (
    ADOPT,
    HAND_OVER,
    LOOK,
    MEND,
    Action,
    Adopt,
    BreakOff,
    Check,
    Decision,
    Finish,
    HandOver,
    Look,
    Mend,
    Renew,
    Send,
    Sight,
    Snapshot,
    is_removed,
    plan,
)
from slowboat.core.words import Activity, Event, HandoverState, Limits, Phase, Reason, RemoteObject
from slowboat.engine import drive, guard, handover, report, target
from slowboat.engine.courier import Courier, Freight
from slowboat.engine.memory import Memory
from slowboat.engine.meter import Meter
from slowboat.engine.verify import Verifier
from slowboat.engine.work import Order, Tools, Work

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from slowboat.core.verify import Report
    from slowboat.core.words import MigrationReport, Permit

_log = logging.getLogger(__name__)

NO_OBJECT = frozenset({ADOPT, LOOK, HAND_OVER, MEND})
TRY_AGAIN = 3600.0
"""Seconds until what needs the user is tried again unasked: quota may have been freed elsewhere."""
ABSENT_DRIVE = 300.0
"""Seconds between looks for a drive that is away, besides the watches on mounts and folders: those do not see a
drive that hung and answers again, nor what a file system without inotify holds."""
SLEPT = 60.0
"""Seconds by which the clock leaps ahead where the machine has slept: connections that stood still for so long are
dead, and waiting for their timeouts would be longer."""


class Migration:
    """Moves one chain. `run` ends only by cancellation."""

    def __init__(
        self,
        order: Order,
        tools: Tools,
        permit: Callable[[int], Permit],
        changed: Callable[[], None],
        *,
        spent: Callable[[int], None] = lambda _: None,
        largest_piece: Callable[[], int | None] = lambda: None,
    ) -> None:
        """Runs nothing yet.

        Args:
            permit: answers whether it may send now, for a next request of so many bytes (0: of any size).
            changed: called when there is something new to show.
            spent: told bytes that went over the line, from any thread.
            largest_piece: the most bytes that one request should have now; None: any number.
        """
        self.order = order
        self._tools = tools
        self._permit = permit
        self._changed = changed
        self._spent = spent
        self._largest_piece = largest_piece
        self._memory = Memory(tools.ledger, order.name)
        self._memory.belongs_to(f"{order.target.cloud}: {order.target.container}/{order.target.prefix}")
        self._work = Work(order, tools, self._memory)
        self._seen = self._work.seen
        self._meter = Meter()
        self._marks: dict[str, float] = {}  # when each lane was last confirmed something, by the steady clock
        self._courier: Courier | None = None
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._renewing: set[str] = set()
        self._verifier = Verifier(self._work, lambda: permit(0), changed)
        self._wake = asyncio.Event()
        self._decision = Decision((), Activity.STARTING)

    # -- from outside ----------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Something may have changed: look at everything again."""
        self._wake.set()

    def drive_may_have_changed(self) -> None:
        """A mount, an unplugged cable, a new file."""
        if not self._memory.items:
            self._seen.blocked = None  # what was wrong with the folder may be mended
        self._seen.look_at_drive = True
        self.wake()

    def rescan(self) -> None:
        """Drive and target are read again, and duplicity is asked for its version."""
        self._seen.objects = None
        if guard.waits_for_version(self._work):
            self._memory.remember("handover_at", self._tools.now())
        self.drive_may_have_changed()

    def retry_now(self) -> None:
        """Every waiting time ends; what was refused gets another chance."""
        self._seen.blocked = None
        self._seen.told = ""  # who asks again hears again
        self._seen.object_waits.clear()
        self._calm()
        for item in self._memory.items:
            if item.phase is Phase.REFUSED:
                self._memory.happened(item.name, Event.RETRIED)
                self._memory.remember("finished_at", 0.0)
        if self._memory.handover is HandoverState.BLOCKED and self._memory.number("handover_at") < math.inf:
            self._memory.handover_undone()  # but for one that the user has taken back
        self.rescan()

    def network_returned(self) -> None:
        """A wait for the server ends early: it was most likely the network's fault."""
        self._calm()
        self.wake()

    def leapt(self, seconds: float) -> None:
        """The clock was set, or the machine has slept: it shows so many seconds more (or less) than it should.

        Nothing waits out a time that was reckoned by another clock: what is behind now has passed, and what was so many
        seconds ahead still is. What was on the line before a sleep is broken off, and asked for again.
        """
        seen, memory = self._seen, self._memory
        if seconds < 0:
            seen.object_waits = {name: until + seconds for name, until in seen.object_waits.items()}
            if seen.blocked is not None and seen.blocked.until is not None:
                seen.blocked = replace(seen.blocked, until=seen.blocked.until + seconds)
            for fact in ("retry_at", "handover_at", "mend_at"):
                if 0.0 < memory.number(fact) < math.inf:
                    memory.remember(fact, max(1.0, memory.number(fact) + seconds))
        elif seconds > SLEPT:
            self._break_off()
        self.wake()

    def under_way(self) -> bool:
        """Whether something is being done now."""
        return bool(self._busy)

    def verifying(self) -> bool:
        """Whether a verification is under way; it sends nothing, so nobody has to wait for it."""
        return bool(self._verifier.state)

    async def verify(self, *, deep: bool) -> Report:
        """Compares what is in the cloud with what was sent, and more; raises as `Verifier.run`."""
        try:
            return await self._verifier.run(deep=deep)
        finally:
            self.wake()

    def stop_verifying(self) -> None:
        """Breaks off the verification under way, if there is one."""
        self._verifier.stop()

    async def hand_over(self) -> None:
        """At the user's word, now. Raises NeedsUser or Transient with what stands in its way."""
        try:
            await handover.asked(self._work)
        finally:
            self.wake()  # what it saw at the target may be news

    async def undo_handover(self) -> None:
        """Takes the handover back. Raises NeedsUser where duplicity has used the cache since."""
        await handover.undo(self._work)
        self.wake()

    async def switch_front_end(self) -> str:
        """Points Deja Dup at the target. Raises NeedsUser or Transient with what stands in its way."""
        url = await handover.switch_front_end(self._work)
        self.wake()
        return url

    async def switch_pressed(self) -> None:
        """The button below the notice of the handover: what comes of it is told where the button was."""
        try:
            url = await self.switch_front_end()
        except SlowboatError as error:
            title, text = f"{self.order.name}: Deja Dup was not switched", str(error)
            self._work.tell("front-end", "handover", title, text, urgent=True)
        else:
            text = f"It backs up to {url}. `slowboat handover --undo` takes it back."
            self._work.tell("front-end", "handover", "Deja Dup goes on in the cloud", text)

    def listed(self) -> Sequence[Mapping[str, str | int | bool]]:
        """The objects in sending order."""
        return report.listed(self._memory.items)

    def report(self) -> MigrationReport:
        """What is shown."""
        memory, seen = self._memory, self._seen
        sending = self._busy.keys() - NO_OBJECT - self._renewing
        rate = self._meter.rate(self._tools.steady()) if sending else 0
        state, why = handover.shown(self._work)
        shown = report.of_migration(
            self.order.name,
            memory.items,
            self._decision,
            source=self.order.source_dir,
            target_url=self._work.url,
            handover=state,
            handover_why=why,
            partly=seen.partly,
            in_flight=self._meter.under_way(),
            rate=rate,
            pace=rate or memory.line.rate,
            started_at=memory.number("started_at"),
            current=min(sending, default="", key=lambda name: memory.item(name).rank),
            last_error=seen.last_error,
            now=self._tools.now(),
        )
        verifier = self._verifier
        return replace(
            shown,
            reasons=(*shown.reasons, *guard.reasons(self._work)),
            direct_sets=seen.direct_sets,
            verify_state=verifier.state,
            verify_progress=verifier.progress,
            verify_bytes=verifier.total,
        )

    # -- the loop --------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Decides and acts until it is cancelled; then everything under way is broken off and remembered."""
        try:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    self._wake.clear()
                    await self._observe()
                    self._decision = plan(self._snapshot())
                    for action in self._decision.actions:
                        self._start(tasks, action)
                    self._changed()
                    await self._woken(self._decision.wake_at)
        finally:
            self._verifier.stop()

    async def _observe(self) -> None:
        if self._seen.look_at_drive and ADOPT not in self._busy:
            try:
                await drive.look(self._work)
            except NeedsUser as error:
                self._block(error)

    def _snapshot(self) -> Snapshot:
        seen, memory, now = self._seen, self._memory, self._tools.now()
        self._distrust_the_future(now)
        return Snapshot(
            now=now,
            items=memory.items,
            permit=self._permit_now(),
            where=self.order.source_dir,
            drive_present=seen.drive_present,
            absent_why=seen.absent_why,
            drive_changed=seen.drive_changed,
            sight=Sight(seen.objects, seen.listed_at) if seen.objects is not None else None,
            confirmed_at=seen.confirmed_at,
            handover=memory.handover,
            handover_at=self._handover_at(),
            blocked=self._blocked(now),
            wait=self._waiting(now),
            object_waits=seen.object_waits,
            busy=frozenset(self._busy) - self._renewing,
            renewing=frozenset(self._renewing),
            renewed=seen.renewed,
            lanes=line_of.lanes(memory.line, self.order.lanes),
            finished=bool(memory.number("finished_at")),
            look_every=guard.look_every(self._work),
            mend_at=memory.number("mend_at") or None,
        )

    def _handover_at(self) -> float:
        """When a blocked handover is tried again; where only the last volume was missing, once that is there."""
        at = self._memory.number("handover_at")
        if guard.waits_for_version(self._work) and guard.newest_is_complete(self._work):
            return min(at, self._seen.confirmed_at)
        return at

    def _distrust_the_future(self, now: float) -> None:
        """A listing or a confirmation later than now is the work of a clock set back: neither proves the other."""
        seen = self._seen
        if max(seen.listed_at, seen.confirmed_at) > now:
            seen.objects, seen.listed_at, seen.confirmed_at = None, 0.0, 0.0
        for fact in ("handover_at", "mend_at"):
            if TRY_AGAIN + backoff.CLOCK_SLACK < self._memory.number(fact) - now < math.inf:
                self._memory.remember(fact, now)  # no wait is as long as that

    def _permit_now(self) -> Permit:
        """The permit for what comes next: a piece that was too large for a budget waits for a larger one."""
        permit = self._permit(self._seen.needs)
        if permit.open:
            self._seen.needs = 0
        return permit

    def _may_begin(self, length: int) -> bool:
        """Whether a request of so many bytes may be begun now."""
        if self._permit(length).open:
            return True
        self._seen.needs = length
        return False

    def _blocked(self, now: float) -> Reason | None:
        if self._seen.blocked is not None and (self._seen.blocked.until or 0.0) <= now:
            self._seen.blocked = None
        return self._seen.blocked

    def _waiting(self, now: float) -> Reason | None:
        left = backoff.remaining(self._memory.number("retry_at"), now)
        if left <= 0:
            return None
        why = self._memory.fact("retry_why") or "the server asked to wait"
        cure = self._memory.fact("retry_cure")
        by_itself = "slowboat tries again by itself"
        return Reason("server-wait", why, cure=f"{cure}; {by_itself}" if cure else by_itself, until=now + left)

    async def _woken(self, wake_at: float | None) -> None:
        absent = not self._seen.drive_present
        now = self._tools.now()
        moments = [*([wake_at] if wake_at is not None else []), *([now + ABSENT_DRIVE] if absent else [])]
        try:
            async with asyncio.timeout(max(0.05, min(moments) - now) if moments else None):
                await self._wake.wait()
        except TimeoutError:
            self._seen.look_at_drive |= absent

    # -- acting ----------------------------------------------------------------------------------------------

    def _start(self, tasks: asyncio.TaskGroup, action: Action) -> None:
        match action:
            case Adopt() | Look() | HandOver() | Mend():
                self._spawn(tasks, *self._of_no_object(action))
            case Check(name):
                self._spawn(tasks, name, self._check(name))
            case Send(name):
                self._spawn(tasks, name, self._send(name))
            case Renew(name):
                if name not in self._busy:
                    self._renewing.add(name)
                self._spawn(tasks, name, self._renew(name))
            case Finish():
                self._spawn(tasks, LOOK, self._finish())
            case BreakOff():
                self._break_off()

    def _of_no_object(self, action: Adopt | Look | HandOver | Mend) -> tuple[str, Coroutine[None, None, None]]:
        match action:
            case Adopt():
                return ADOPT, drive.adopt(self._work)
            case Look():
                return LOOK, target.look(self._work)
            case HandOver():
                return HAND_OVER, handover.do(self._work)
            case Mend():
                return MEND, guard.mend(self._work)

    def _spawn(self, tasks: asyncio.TaskGroup, key: str, act: Coroutine[None, None, None]) -> None:
        if key in self._busy:
            act.close()
            return
        task = tasks.create_task(self._perform(key, act), name=f"{self.order.name}: {key}")
        self._busy[key] = task

        def settle(_: asyncio.Task[None]) -> None:
            act.close()  # a task cancelled before its first step has never run it
            self._settle(key)

        task.add_done_callback(settle)

    def _break_off(self) -> None:
        """Aborts what is under way; the handover alone is let finish, it takes no network."""
        for key, task in self._busy.items():
            if key != HAND_OVER:
                task.cancel()

    async def _perform(self, key: str, act: Coroutine[None, None, None]) -> None:
        """One action, and what its failure means."""
        began = self._tools.steady()
        try:
            await act
        except SourceAbsent as error:
            drive.is_absent(self._work, error)
        except Stopped:
            pass  # the next look at the permit says why
        except SlowboatError as error:
            if not (isinstance(error, Refused) and await self._gone_with_its_drive(error)):
                self._failed(key, error, self._tools.steady() - began)
        except Exception as error:  # noqa: BLE001  # one migration's bad surprise must not stop the others
            _log.exception("%s: %s failed", self.order.name, key)
            self._failed(key, _mistake(error, key), 0.0)
        else:
            self._calm()

    async def _gone_with_its_drive(self, error: Refused) -> bool:
        """Whether a file is not what it was because its drive is no longer there: then nothing is wrong with it."""
        if error.code not in {"changed", "read-error"}:
            return False
        with suppress(NeedsUser):
            await drive.look(self._work)
        return not self._seen.drive_present

    def _settle(self, key: str) -> None:
        """Books the bytes of what is no longer under way, and leaves no object SENDING."""
        del self._busy[key]
        if key in self._renewing:
            self._renewing.discard(key)
        elif key not in NO_OBJECT:
            self._memory.sent(key, self._meter.take(key))
            if self._memory.item(key).phase is Phase.SENDING:
                self._memory.happened(key, Event.INTERRUPTED)
        self._marks.pop(key, None)
        if not self._busy.keys() - NO_OBJECT:
            self._meter.rest()
        self._wake.set()

    def _failed(self, key: str, error: SlowboatError, seconds: float) -> None:
        self._seen.last_error = str(error)
        match error:
            case NeedsUser() | Transient() if key == HAND_OVER:
                handover.refused(self._work, error)
            case _ if key == MEND:
                guard.not_mended(self._work, error)
            case Transient():
                self._later(key, error, seconds)
            case Refused() if key in self._renewing:
                self._seen.renewed[key] = self._tools.now()  # what cannot be renewed is sent again where it is needed
            case Refused() if key not in NO_OBJECT:
                self._refuse(key, error)
            case _:
                self._block(error)

    def _later(self, key: str, error: Transient, seconds: float) -> None:
        now, chance = self._tools.now(), self._tools.chance()
        if error.scope == "object" and key not in NO_OBJECT:
            attempts = self._memory.item(key).attempts
            self._seen.object_waits[key] = now + backoff.wait(attempts, chance, error.retry_after)
            return
        already = self._memory.number("retry_at") > now  # the lanes of one line break together: one trouble, not two
        attempt = int(self._memory.number("retry_attempts")) + (0 if already else 1)
        self._memory.remember("retry_attempts", attempt)
        self._memory.remember("retry_at", now + backoff.wait(attempt, chance, error.retry_after))
        self._memory.remember("retry_why", error.what)
        self._memory.remember("retry_cure", error.hint)
        if self._meter.under_way():
            since = self._tools.steady() - self._marks[key] if key in self._marks else seconds
            self._memory.line = self._memory.line.broke(since, len(self._marks))

    def _refuse(self, name: str, error: Refused) -> None:
        if error.code == "exists":
            return  # ours, of a request whose answer was lost, or somebody's: the next pass asks
        self._memory.happened(name, Event.REJECTED, error=error.what)
        title = f"{self.order.name}: a file cannot be moved"
        self._work.tell("refused", f"refused-{name}", title, str(error), urgent=True)

    def _block(self, error: SlowboatError) -> None:
        self._seen.last_error = str(error)
        self._seen.blocked = Reason(error.code, error.what, error.hint, self._tools.now() + TRY_AGAIN)
        if self._seen.told != str(error):  # tried again every hour, told once
            self._seen.told = str(error)
            self._work.tell("needs-user", "needs-you", f"{self.order.name} needs you", str(error), urgent=True)

    def _calm(self) -> None:
        """Something worked: the next trouble starts its waits from the beginning."""
        if self._seen.blocked is None:  # something that was under way may still end well
            self._work.withdraw("needs-you")
            self._seen.told = ""
        if self._memory.fact("retry_at"):
            for key in ("retry_at", "retry_attempts", "retry_why", "retry_cure"):
                self._memory.remember(key, "")

    # -- objects ---------------------------------------------------------------------------------------------

    async def _ready_courier(self) -> Courier:
        if self._courier is None:
            known = self._memory.fact("copies_concatenate")
            concatenates = known == "yes" if known else await self._tools.store.copies_concatenate()
            self._memory.remember("copies_concatenate", "yes" if concatenates else "no")
            self._courier = Courier(
                self._tools.source, self._tools.store, self.order.target.prefix, concatenates=concatenates
            )
        return self._courier

    async def _check(self, name: str) -> None:
        item, courier = self._memory.item(name), await self._ready_courier()
        found = await target.check(self._work, courier, item)
        if found is None:
            (self._seen.objects or {}).pop(name, None)
            self._memory.happened(name, Event.ABSENT)
            return
        stands, md5 = found
        self._confirm(name, stands, md5)
        if item.segment:
            await courier.sweep(item)

    async def _send(self, name: str) -> None:
        item = self._memory.item(name)
        if not await target.set_still_stands(self._work, item):
            self._seen.objects = None  # look first, then decide again
            return
        courier = await self._ready_courier()
        self._memory.happened(name, Event.STARTED)
        most = self._largest_piece()
        line = self._memory.line if most is None else line_of.in_pieces_of(self._memory.line, most)
        md5 = await courier.carry(item, line, self._seen.limits or Limits(), self._freight(name))
        self._confirm(name, RemoteObject(self._work.full_name(name), item.file.size, md5), md5)

    async def _renew(self, name: str) -> None:
        """Keeps the segments of an object that is begun from expiring."""
        courier, now = await self._ready_courier(), self._tools.now()
        await courier.renew(self._memory.item(name), now)
        self._seen.renewed[name] = now

    def _freight(self, name: str) -> Freight:
        """What the courier tells of one object, and where it is written down."""
        self._seen.partly[name] = 0
        self._seen.renewed[name] = self._tools.now()  # whoever sends looks after them as well
        self._marks[name] = self._tools.steady()

        def progress(count: int) -> None:
            self._meter.add(name, count)
            self._spent(count)

        def confirmed(length: int) -> None:
            now, count = self._tools.steady(), self._meter.take(name)
            if count:
                self._memory.sent(name, count)
                self._memory.line = self._memory.line.sent(count, now - self._marks[name], len(self._marks))
            self._marks[name] = now
            self._seen.partly[name] += length

        return Freight(
            now=self._tools.now(),
            progress=progress,
            confirmed=confirmed,
            begun=lambda segment: self._memory.begun_segments(name, segment),
            known=lambda md5: self._memory.learned(name, md5),
            may_begin=self._may_begin,
        )

    def _confirm(self, name: str, stands: RemoteObject, md5: str) -> None:
        self._memory.happened(name, Event.CONFIRMED, md5=md5)
        self._seen.confirmed_at = self._tools.now()
        self._seen.partly.pop(name, None)
        self._seen.object_waits.pop(name, None)
        if self._seen.objects is not None:
            self._seen.objects[name] = stands

    async def _finish(self) -> None:
        """The end, seen in one listing: sweep what is left of our segments, and tell."""
        courier = await self._ready_courier()
        for item in self._memory.items:
            if item.segment and item.phase is Phase.DONE:
                await courier.sweep(item)
        self._memory.remember("finished_at", self._tools.now())
        left = [item for item in self._memory.items if item.phase is Phase.REFUSED]
        refused = [item.name for item in left if not is_removed(item)]
        if left and not refused:
            title = f"{self.order.name}: the backup is in the cloud"
            text = f"Everything is at {self._work.url} but {len(left)} files of backups that were removed from there."
        elif refused:
            title = f"{self.order.name}: all but {len(refused)} files are in the cloud"
            text = f"These could not be moved to {self._work.url}: {', '.join(refused[:3])}. Keep the drive."
        else:
            title = f"{self.order.name}: the backup is in the cloud"
            text = f"Every file is at {self._work.url}, confirmed. The drive is no longer the only copy."
        self._work.tell("done", "done", title, text, urgent=bool(refused))


def _mistake(error: Exception, key: str) -> Transient:
    """A bad surprise is tried again like any trouble: more slowly each time, and visibly."""
    return Transient(
        f"slowboat itself made a mistake ({type(error).__name__})",
        hint="The journal has the details",
        code="internal",
        scope="server" if key in NO_OBJECT else "object",
    )
