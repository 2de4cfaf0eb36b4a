"""One migration: observe -> plan -> perform -> record, again whenever something may have changed.

Knows which part does which action of the plan, and what each kind of error means for what comes next. Must not know
why sending is permitted, what other migrations there are, or any foreign thing by itself.
"""

from __future__ import annotations

import asyncio
import logging
import math
from dataclasses import replace
from typing import TYPE_CHECKING

from slowboat.core import backoff, segmenting, urls
from slowboat.core.errors import NeedsUser, Refused, SlowboatError, SourceAbsent, Stopped, Unrecorded
from slowboat.core.plan import (
    ADOPT,
    HAND_OVER,
    MEND,
    OBSERVE,
    TIDY,
    Action,
    Adopt,
    BreakOff,
    Check,
    Decision,
    Finish,
    HandOver,
    Mend,
    Observe,
    Renew,
    Send,
    Sight,
    Snapshot,
    Tidy,
    plan,
)
from slowboat.core.words import Activity, HandoverState
from slowboat.engine import drive, facts, file_errors, frontend, guard, handover, parted, report, target, tidying
from slowboat.engine.context import NO_OBJECT, Context, Order, Tools
from slowboat.engine.memory import Memory
from slowboat.engine.objects import Objects
from slowboat.engine.trouble import Trouble, mistake
from slowboat.engine.verify import Verifier

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from slowboat.core.verify import Report
    from slowboat.core.words import MigrationReport, Permit, SourceFile

_log = logging.getLogger(__name__)

ABSENT_DRIVE = 300.0
"""Seconds between looks for a drive that is away, besides the watches on mounts and folders: those do not see a
drive that hung and answers again, nor what a file system without inotify holds."""
SLEPT = 60.0
"""Seconds by which the clock leaps ahead where the machine has slept: connections that stood still for so long are
dead, and waiting for their timeouts would be longer."""


class Migration:
    """Moves one chain. `run` ends only by cancellation.

    Attributes:
        memory: what is remembered of it.
    """

    def __init__(
        self,
        order: Order,
        tools: Tools,
        permit: Callable[[int], Permit],
        changed: Callable[[], None],
        *,
        spent: Callable[[int], None] = lambda _: None,
        largest_piece: Callable[[], int | None] = lambda: None,
        ends: Callable[[float, float, float], float] = lambda begins, seconds, _: begins + seconds,
    ) -> None:
        """Runs nothing yet.

        Args:
            permit: answers whether it may send now, for a next request of so many bytes (0: of any size).
            changed: called when there is something new to show.
            spent: told bytes that went over the line, from any thread.
            largest_piece: the most bytes that one request should have now; None: any number.
            ends: when what begins then and takes so many seconds at that rate ends, by the hours of the permit.
        """
        self._ends = ends
        self.order = order
        self.tools = tools
        self._permit = permit
        self._changed = changed
        self.memory = Memory(tools.ledger, order.name)
        self.memory.belongs_to(f"{order.target.cloud}: {order.target.container}/{order.target.prefix}")
        self._context = Context(order, tools, self.memory)
        self._observed = self._context.observed
        self._context.take_over_notices()
        partly = self.memory.get(facts.PARTLY)
        self._observed.partly.update(partly)
        self._objects = Objects(
            self._context, may_begin=self._may_begin, spent=spent, largest_piece=largest_piece, wake=self.wake
        )
        self._trouble = Trouble(self._context, self._objects)
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._renewing: set[str] = set()
        self._verifier = Verifier(self._context, lambda: permit(0), changed)
        self._wake = asyncio.Event()
        self._running = False
        self._deciding = False  # between a wake-up and what is decided then: the drive is being asked
        self._decision = Decision((), Activity.STARTING)
        self._unsettled: Exception | None = None  # what kept the end of an action from being remembered

    # -- from outside ----------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Something may have changed: look at everything again."""
        self._wake.set()

    def drive_may_have_changed(self) -> None:
        """A mount, an unplugged cable, a new file."""
        if not self.memory.roster:
            self._observed.blocked = None  # what was wrong with the folder may be mended
        self._observed.observe_drive = True
        self.wake()

    def rescan(self) -> None:
        """Drive and target are read again, and duplicity is asked for its version."""
        self._observed.not_adopted = None
        self._observed.objects = None
        if guard.waits_for_version(self._context):
            self.memory.remember(facts.HANDOVER_AT, self.tools.now())
        self.drive_may_have_changed()

    def retry_now(self) -> None:
        """Every waiting time ends; what was refused gets another chance."""
        self._trouble.retry_now()
        self.rescan()

    def network_returned(self, *, another: bool) -> None:
        """A wait for the server ends early: it was most likely the network's fault, or another network's answer."""
        self._trouble.calm()
        self._objects.probing.elsewhere(another=another)
        self.wake()

    def keyring_changed(self) -> None:
        """What waits for a secret is tried again."""
        self._trouble.keyring_changed()
        self.wake()

    def leapt(self, seconds: float) -> None:
        """The clock was set, or the machine has slept: it shows so many seconds more (or less) than it should.

        Nothing waits out a time that was reckoned by another clock. What was on the line before a sleep is broken off,
        and asked for again.
        """
        if seconds < 0:
            self._trouble.reckon_anew(seconds)
        elif seconds > SLEPT:
            self._break_off()
        self.wake()

    def book(self, at_least: int) -> None:
        """Writes down what went over the line, where it is so many bytes."""
        self._objects.book(at_least)

    def stumbled(self, error: BaseException) -> None:
        """Notes, before it runs, what ended the one that ran before it."""
        known = error if isinstance(error, SlowboatError) else mistake(error, OBSERVE)
        self._trouble.failed(OBSERVE, known, 0.0, renewing=False)

    def under_way(self) -> bool:
        """Whether something is being done now."""
        return bool(self._busy)

    def verifying(self) -> bool:
        """Whether a verification is under way; it sends nothing, so nobody has to wait for it."""
        return bool(self._verifier.state)

    async def verify(self, *, deep: bool, restore: bool = False) -> Report:
        """Compares what is in the cloud with what was sent, and more; raises as `Verifier.run`."""
        try:
            return await self._verifier.run(deep=deep, restore=restore)
        finally:
            self.wake()

    def stop_verifying(self) -> None:
        """Breaks off the verification under way, if there is one."""
        self._verifier.stop()

    async def hand_over(self) -> None:
        """At the user's word, now. Raises NeedsUser or Transient with what stands in its way."""
        try:
            await handover.asked(self._context)
            await frontend.observe(self._context)
        finally:
            self.wake()  # what it saw at the target may be news

    async def undo_handover(self) -> None:
        """Takes the handover back. Raises NeedsUser where duplicity has used the cache since."""
        await handover.undo(self._context)
        await frontend.observe(self._context)
        self.wake()

    async def switch_front_end(self) -> str:
        """Points Deja Dup at the target. Raises NeedsUser or Transient with what stands in its way."""
        url = await handover.switch_front_end(self._context)
        await frontend.observe(self._context)
        self.wake()
        return url

    async def pressed(self, key: str) -> None:
        """The button below the notice of that key: what comes of it is told where the button was."""
        if key != "handover":
            self.retry_now()
        elif self.memory.handover is HandoverState.DONE:
            await self._switch_pressed()
        else:
            await self._hand_over_pressed()

    async def _hand_over_pressed(self) -> None:
        try:
            await self.hand_over()  # which tells of it
        except SlowboatError as error:
            title = f"{self.order.name}: the handover waits"
            self._context.notify("handover", "handover", title, str(error), urgent=True)

    async def _switch_pressed(self) -> None:
        try:
            url = await self.switch_front_end()
        except SlowboatError as error:
            title, text = f"{self.order.name}: Deja Dup was not switched", str(error)
            self._context.notify("front-end", "handover", title, text, urgent=True)
        else:
            text = f"It backs up to {url}. To undo that:\nslowboat handover --undo"
            self._context.notify("front-end", "handover", "Deja Dup continues in the cloud", text)

    def shown(self, key: str, ticket: str) -> None:
        """A desktop shows the notice of that key, of this migration or another."""
        if key.endswith(f"-{self.order.name}"):
            self._context.shown(key, ticket)

    def listed(self, first: int = 0, most: int = 0) -> Sequence[Mapping[str, str | int | bool]]:
        """The objects in sending order: from the one at `first` on, `most` of them at most (0: all)."""
        return report.listed(self.memory.roster[first : first + most if most else None])

    def grouped(self) -> Sequence[Mapping[str, str | int | bool]]:
        """The same, neighbours of a kind together."""
        return report.grouped(self.memory.roster)

    def _decided(self) -> Decision:
        """What was decided last; where something has happened since, what will be: nobody is shown what is over."""
        over = self._running and (self._deciding or self._wake.is_set())
        return plan(self._snapshot()) if over else self._decision

    def state(self) -> tuple[object, ...]:
        """What of it is shown at once when it changes; all else that is shown are counters."""
        memory, decided = self.memory, self._decision
        last = memory.finished, self._observed.last_error, self._verifier.state, self._running
        return (decided.activity, decided.reasons, memory.handover, *last)

    def report(self) -> MigrationReport:
        """What is shown."""
        memory, observed = self.memory, self._observed
        sending = self._busy.keys() - NO_OBJECT - self._renewing
        rate = self._objects.rate() if sending else 0
        state, why = handover.shown(self._context)
        shown = report.of_migration(
            self.order.name,
            memory.roster,
            self._context.account(),
            self._decided(),
            source=self.order.source_dir,
            target_url=self._context.url,
            handover=state,
            handover_why=why,
            partly=observed.partly,
            in_flight=self._objects.in_flight(),
            rate=rate,
            estimated_rate=rate or memory.estimate.rate,
            started_at=memory.get(facts.STARTED_AT),
            current=min(sending, default="", key=lambda name: memory.item(name).rank),
            last_error=observed.last_error,
            now=self.tools.now(),
            ends=self._ends,
        )
        verifier = self._verifier
        return replace(
            shown,
            duplicities=observed.duplicity.names if observed.duplicity else (),
            duplicity_danger=guard.danger_now(self._context),
            reasons=(*shown.reasons, *guard.reasons(self._context)),
            direct_sets=len(observed.direct),
            backup_url=urls.without_user(observed.used_url) or self._context.url,
            front_end=observed.front_end,
            verify_state=verifier.state,
            verify_progress=verifier.progress,
            verify_bytes=verifier.total,
        )

    # -- the loop --------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Decides and acts until it is cancelled; then everything under way is broken off and remembered.

        Raises:
            Unrecorded: the ledger cannot be read or written (alone or in a group).
        """
        self._context.notify_again()
        self._running = True
        try:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    self._wake.clear()
                    self._deciding = True
                    if self._unsettled is not None:
                        raise self._unsettled
                    await self._observe()
                    self._decision = plan(self._snapshot())
                    self._deciding = False
                    self._context.take_back_what_is_over()
                    for action in self._decision.actions:
                        self._start(tasks, action)
                    self._changed()
                    await self._woken(self._decision.wake_at)
        finally:
            self._running = False
            self._verifier.stop()
            self._objects.book()

    async def _observe(self) -> None:
        if self._observed.observe_drive and ADOPT not in self._busy:
            try:
                await drive.observe(self._context)
            except Unrecorded:
                raise
            except NeedsUser as error:
                self._trouble.block(error)

    def _sight(self) -> Sight | None:
        observed = self._observed
        return None if observed.objects is None else Sight(observed.objects, observed.listed_at, observed.unlisted)

    def _snapshot(self) -> Snapshot:
        observed, memory, now = self._observed, self.memory, self.tools.now()
        self._distrust_the_future(now)
        return Snapshot(
            now=now,
            items=memory.roster,
            permit=self._permit_now(),
            where=self.order.source_dir,
            drive_present=observed.drive_present,
            absent_why=observed.absent_why,
            absent_cure=observed.absent_cure,
            drive_changed=observed.drive_changed,
            sight=self._sight(),
            confirmed_at=observed.confirmed_at,
            handover=memory.handover,
            handover_at=self._handover_at(),
            blocked=self._trouble.blocked(now),
            wait=self._trouble.waiting(now),
            object_waits=observed.object_waits,
            busy=frozenset(self._busy) - self._renewing | self._objects.accompanied,
            renewing=frozenset(self._renewing),
            renewed=observed.renewed,
            lanes=segmenting.lanes(memory.estimate, self.order.lanes),
            ending=frozenset(self._objects.ending),
            finished=memory.finished,
            observe_every=guard.observe_every(self._context),
            mend_at=memory.get(facts.MEND_AT) or None,
            tidy_at=tidying.due_at(self._context),
            follows=self.order.follows and memory.handover is not HandoverState.DONE,
            postponed=observed.postponed,
            postponed_why=parted.postponed_why(self._context),
        )

    def _handover_at(self) -> float:
        """When a blocked handover is tried again; where only the last volume was missing, once that is there."""
        at = self.memory.get(facts.HANDOVER_AT)
        if guard.waits_no_longer(self._context):
            return min(at, self._observed.confirmed_at)
        return at

    def _distrust_the_future(self, now: float) -> None:
        """A listing or a confirmation later than now is the work of a clock set back: neither proves the other."""
        observed = self._observed
        if max(observed.listed_at, observed.confirmed_at) > now:
            observed.objects, observed.listed_at, observed.confirmed_at = None, 0.0, 0.0
        for fact in (facts.HANDOVER_AT, facts.MEND_AT):
            if backoff.TRY_AGAIN + backoff.CLOCK_SLACK < self.memory.get(fact) - now < math.inf:
                self.memory.remember(fact, now)  # no wait is as long as that

    def _permit_now(self) -> Permit:
        """The permit for what comes next: a piece that was too large for a budget waits for a larger one."""
        permit = self._permit(self._observed.needs)
        if permit.open:
            self._observed.needs = 0
        return permit

    def _may_begin(self, length: int) -> bool:
        """Whether a request of so many bytes may be begun now."""
        if self._permit(length).open:
            return True
        self._observed.needs = length
        return False

    async def _woken(self, wake_at: float | None) -> None:
        absent = not self._observed.drive_present
        now = self.tools.now()
        moments = [] if wake_at is None else [wake_at]
        if absent:
            moments.append(now + ABSENT_DRIVE)
        elif (again := drive.observed_again_at(self._context)) is not None:
            moments.append(again)
        try:
            async with asyncio.timeout(max(0.05, min(moments) - now) if moments else None):
                await self._wake.wait()
        except TimeoutError:
            self._observed.observe_drive |= absent or self._observed.not_adopted is not None

    # -- acting ----------------------------------------------------------------------------------------------

    def _start(self, tasks: asyncio.TaskGroup, action: Action) -> None:
        match action:
            case Adopt() | Observe() | HandOver() | Mend() | Tidy():
                self._spawn(tasks, *self._of_no_object(action))
            case Check(name):
                self._spawn(tasks, name, self._objects.check(name))
            case Send(name):
                self._spawn(tasks, name, self._objects.send(name))
            case Renew(name):
                if name not in self._busy:
                    self._renewing.add(name)
                self._spawn(tasks, name, self._objects.renew(name))
            case Finish():
                self._spawn(tasks, OBSERVE, self._objects.finish())
            case BreakOff():
                self._break_off()

    def _of_no_object(
        self, action: Adopt | Observe | HandOver | Mend | Tidy
    ) -> tuple[str, Coroutine[None, None, None]]:
        match action:
            case Adopt():
                return ADOPT, drive.adopt(self._context)
            case Observe():
                return OBSERVE, self._observe_target()
            case HandOver():
                return HAND_OVER, handover.do(self._context)
            case Tidy():
                return TIDY, tidying.tidy(self._context)
            case Mend():
                return MEND, guard.mend(self._context)

    async def _observe_target(self) -> None:
        await target.observe(self._context)

    def _spawn(self, tasks: asyncio.TaskGroup, key: str, act: Coroutine[None, None, None]) -> None:
        if key in self._busy:
            act.close()
            return
        task = tasks.create_task(self._perform(key, act), name=f"{self.order.name}: {key}")
        self._busy[key] = task

        def settle(_: asyncio.Task[None]) -> None:
            act.close()  # a task cancelled before its first step has never run it
            try:
                self._settle(key)
            except Exception as error:  # noqa: BLE001  # nobody hears what a callback raises
                self._unsettled = error
                self._wake.set()

        task.add_done_callback(settle)

    def _break_off(self) -> None:
        """Aborts what is under way; the handover alone is let finish, it takes no network."""
        for key, task in self._busy.items():
            if key != HAND_OVER:
                task.cancel()

    async def _perform(self, key: str, act: Coroutine[None, None, None]) -> None:
        """One action, and what its failure means. A surprise in either is one and the same mistake."""
        try:
            await self._do(key, act)
        except Unrecorded:
            raise  # nothing of it can be remembered: the engine ends, and begins again when it can
        except Exception as error:  # noqa: BLE001  # one migration's bad surprise must not stop the others
            _log.exception("%s failed", key, extra={"kind": "internal", "migration": self.order.name})
            self._trouble.failed(key, mistake(error, key), 0.0, renewing=key in self._renewing)

    async def _do(self, key: str, act: Coroutine[None, None, None]) -> None:
        began = self.tools.steady()
        file = self.memory.item(key).file if key not in NO_OBJECT else None
        try:
            await act
        except Unrecorded:
            raise
        except SourceAbsent as error:
            drive.is_absent(self._context, error)
        except Stopped:
            pass  # the next look at the permit says why
        except SlowboatError as error:
            meant = await self._meant(error, file) if isinstance(error, Refused) else error
            if meant is not None:
                self._trouble.failed(key, meant, self.tools.steady() - began, renewing=key in self._renewing)
        else:
            self._trouble.calm(key)

    async def _meant(self, error: Refused, file: SourceFile | None) -> SlowboatError | None:
        """What it means that a file is not what it was, once the drive is looked at.

        None where the drive is no longer there: then nothing is wrong with the file. Where nothing but its time is
        another one, that of the file is remembered now, and it is read again.
        """
        if error.code not in {"changed", "read-error"}:
            return error
        try:
            await drive.observe(self._context)
        except Unrecorded:
            raise
        except SlowboatError:
            pass
        if not self._observed.drive_present:
            return None
        if file is None or (now := self.memory.item(file.name)).file == file:
            return error
        return file_errors.other_time(now)

    def _settle(self, key: str) -> None:
        """Books the bytes of what is no longer under way, and leaves no object SENDING."""
        del self._busy[key]
        if key in self._renewing:
            self._renewing.discard(key)
        elif key not in NO_OBJECT:
            self._objects.settle(key)
        if not self._busy.keys() - NO_OBJECT:
            self._objects.stopped()
        self._wake.set()
