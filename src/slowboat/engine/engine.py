"""All migrations together: their permit, the user's commands, the one report.

Knows pauses, limits and holds (and remembers those that shall outlive a restart); must not know how a migration
does its work, nor who asks: the bus calls the same methods as a test.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from slowboat.core import policy
from slowboat.core.conditions import Hold, must_be_ahead, must_be_limit
from slowboat.core.errors import Refused, Unrecorded
from slowboat.core.schedule import local_day, worked_off
from slowboat.core.words import Connectivity
from slowboat.engine import facts, report
from slowboat.engine.memory import Memory
from slowboat.engine.migration import Migration
from slowboat.engine.onset import Onsets
from slowboat.engine.spending import UNSETTLED, Spending

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from slowboat.core.conditions import Conditions, Mode, Rules
    from slowboat.core.verify import Report as Verification
    from slowboat.core.words import ManagerReport, MigrationReport, Permit
    from slowboat.engine.context import Order, Tools
    from slowboat.engine.ports import Ledger, World

_log = logging.getLogger(__name__)

A_DAY = 86400.0
LET_FINISH = 5.0
"""Seconds for which what is on the line goes on after a pause: what is nearly there has been paid for."""
BOOK_EVERY = 10.0
"""Seconds for which bytes may be counted in memory alone, however few they are."""
AFTER_A_SURPRISE = 60.0
"""Seconds until a migration that ended by a mistake of ours begins anew: whatever it was has gone by then, or the
journal does not fill with it."""
TICK = 1.0
"""Seconds between reports while something is under way and only counters move; at rest there are none."""


class Engine:
    """Runs the migrations, and does what the bus asks."""

    def __init__(
        self,
        version: str,
        rules: Rules,
        world: World,
        ledger: Ledger,
        *,
        now: Callable[[], float],
        publish: Callable[[ManagerReport], None],
        set_cap: Callable[[int | None, bool], None],
        crowded: Callable[[], bool],
        added_delay: Callable[[], float] = lambda: 0.0,
        wake_at: Callable[[float | None], None],
        since: Onsets | None = None,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        """Runs nothing yet.

        Args:
            now: seconds since the epoch.
            publish: shows a report.
            set_cap: moves the cap of all uploads, bytes per second, and says whether only the spare below it is
                to be taken.
            crowded: whether somebody else is seen on the line.
            added_delay: seconds that bytes wait at the line's narrowest place now.
            wake_at: has `world_changed` called at that time (seconds since the epoch); None: not at all.
            since: when reasons began, where that is known from before.
            steady: seconds of a clock that is never set, and stands still while the machine sleeps.
        """
        self._version = version
        self._rules = rules
        self._world = world
        self._ledger = ledger
        self._memory = Memory(ledger, "")  # what concerns all migrations
        self._now = now
        self._steady = steady
        self._drift = now() - steady()
        self._publish = publish
        self._set_cap = set_cap
        self._crowded = crowded
        self._added_delay = added_delay
        self._wake_at = wake_at
        self._migrations: dict[str, Migration] = {}
        self._at_home: dict[str, bool] = {}
        self._holds: tuple[Hold, ...] = ()
        self._since = since or Onsets(now)
        self._spending = Spending(ledger)
        self._applied: tuple[int | None, bool] = (-1, False)  # no cap at all: the first one is always set
        self._was_crowded = False
        self._was_online = False
        self._was_on: tuple[str, ...] | None = None  # the networks' names when it was last online
        self._booked_at = steady()
        self._changed = asyncio.Event()
        self._at_once = True
        self._still = asyncio.Event()
        self._pressed: set[asyncio.Task[None]] = set()
        self._unrecorded: Unrecorded | None = None
        self._remember_pause("")

    def add(self, order: Order, tools: Tools, *, at_home: bool = False) -> None:
        """Takes one migration in; `at_home` says that its target is on this very machine."""
        self._at_home[order.name] = at_home
        self._begin(order, tools)

    def _begin(self, order: Order, tools: Tools) -> Migration:
        """A migration as the ledger knows it."""
        name = order.name
        migration = self._migrations[name] = Migration(
            order,
            tools,
            lambda needs: self._permit(name, needs),
            self._changed.set,
            spent=self._spending.count,
            largest_piece=lambda: policy.largest_piece(self.conditions(), self._rules),
            ends=self._ends,
        )
        self._remember_pause(name)
        return migration

    async def run(self) -> None:
        """Runs until cancelled.

        Raises:
            Unrecorded: the ledger cannot be read or written (alone or in a group).
        """
        loop = asyncio.get_running_loop()

        def used_up() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nothing is sent any more
                loop.call_soon_threadsafe(self.world_changed)

        self._spending.used_up = used_up
        self._world_changed()
        try:
            async with asyncio.TaskGroup() as tasks:
                for name, migration in self._migrations.items():
                    tasks.create_task(self._keep_running(migration), name=name)
                tasks.create_task(self._report(), name="report")
        finally:
            for task in self._pressed:
                task.cancel()
            await asyncio.gather(*self._pressed, return_exceptions=True)
            with contextlib.suppress(Unrecorded):  # the run may end of that; what is lost is less than UNSETTLED
                self._spending.settle()
                self._ledger.commit()

    async def _keep_running(self, migration: Migration) -> None:
        """Runs one migration. A surprise in what handles its surprises ends it for a while, and no other one.

        It begins anew from the ledger, as it would after the end of the process.

        Raises:
            Unrecorded: the ledger cannot be read or written (alone or in a group): nothing can go on.
        """
        while True:
            try:
                await migration.run()
            except Exception as surprise:
                error = _innermost(surprise)
                if isinstance(error, Unrecorded):
                    raise
                _log.exception(
                    "begins anew after a mistake of slowboat's own",
                    extra={"kind": "internal", "migration": migration.order.name},
                )
                migration = self._begin(migration.order, migration.tools)
                with contextlib.suppress(Exception):  # as the last resort it is told by the journal alone
                    migration.stumbled(error)
                self._show_at_once()
                await asyncio.sleep(AFTER_A_SURPRISE)

    # -- the permit ------------------------------------------------------------------------------------------

    def conditions(self) -> Conditions:
        """The world as it is, with what people and programs asked for."""
        world, now, memory = self._world.conditions(), self._now(), self._memory
        until = memory.get(facts.LIMIT_UNTIL)
        limited = not until or until > now
        return replace(
            world,
            paused_until=_paused_until(memory, now),
            holds=self._holds,
            limit=memory.get(facts.LIMIT) if limited else 0,
            mode=memory.get(facts.MODE) if limited else "",
            limit_until=until if until and limited else None,
            crowded=self._in_company(),
            usage=self._spending.at(policy.charged(world.network), local_day(now, world.zone)),
        )

    def _permit(self, migration: str, needs: int = 0) -> Permit:
        conditions = self.conditions()
        if conditions.paused_until is None:
            paused_until = _paused_until(self._migrations[migration].memory, self._now())
            conditions = replace(conditions, paused_until=paused_until)
        at_home = self._at_home[migration]
        if at_home:  # no network is needed to reach this machine; what it is still counts
            network = replace(conditions.network, connectivity=Connectivity.FULL, known=True)
            conditions = replace(conditions, network=network, crowded=False)
        permit = policy.permit(conditions, self._rules, self._now(), needs)
        if not permit.open and self._just_paused(migration):  # where nothing else forbids it
            otherwise = policy.permit(replace(conditions, paused_until=None), self._rules, self._now())
            permit = replace(permit, lets_finish=otherwise.open)
        return replace(permit, spare=False) if at_home else permit  # nobody else is on the way there

    def _just_paused(self, migration: str) -> bool:
        """Whether a pause is so young that what is nearly there is let arrive."""
        return any(
            memory.get(facts.PAUSED_UNTIL) is not None and 0.0 <= self._now() - memory.get(facts.PAUSED_AT) < LET_FINISH
            for memory in (self._memory, self._migrations[migration].memory)
        )

    def _under_way(self) -> bool:
        return any(migration.under_way() for migration in self._migrations.values())

    def _in_company(self) -> bool:
        """Whether somebody else uses the line; while nothing is under way there is nobody to make way."""
        return self._under_way() and self._crowded()

    def world_changed(self) -> None:
        """A watch has news: network, power, sleep, holds, the clock (the time has come that the permit waited for)."""
        with self._or_ending():
            self._world_changed()

    @contextlib.contextmanager
    def _or_ending(self) -> Iterator[None]:
        """What a watch tells is heard by nobody where it fails: a ledger that cannot be read ends the run instead."""
        try:
            yield
        except Unrecorded as error:
            self._unrecorded = error
            self._show_at_once()

    def _world_changed(self) -> None:
        permits = [self._permit(name) for name in self._migrations]
        caps = [permit.cap for permit in permits]
        cap = None if None in caps else max((cap for cap in caps if cap is not None), default=0)
        spare = any(permit.open and permit.spare for permit in permits)
        lets_finish = any(permit.lets_finish for permit in permits)
        finishing = cap == 0 and lets_finish and self._under_way()  # at the speed that it has
        if (cap, spare) != self._applied and not finishing:
            self._applied = (cap, spare)
            self._set_cap(cap, spare)
        self._spending.allow(policy.budget_left(self.conditions(), self._rules))
        network = self.conditions().network
        online = network.connectivity >= Connectivity.LIMITED
        returned, self._was_online = online and not self._was_online, online
        another = online and self._was_on not in (None, network.names)
        if online:
            self._was_on = network.names
        for migration in self._migrations.values():
            if returned or another:
                migration.network_returned(another=another)
            migration.wake()
        self._wake_at(self._next_change())
        self._show_at_once()

    def _next_change(self) -> float | None:
        """When the clock alone changes a permit: a pause ends, an hour of the schedule begins."""
        now = self._now()
        pauses = [migration.memory.get(facts.PAUSED_UNTIL) for migration in self._migrations.values()]
        pauses += [memory.get(facts.PAUSED_AT) + LET_FINISH for memory in self._memories()]
        moments = [policy.next_change(self.conditions(), self._rules, now), *pauses]
        return min((moment for moment in moments if moment and moment > now), default=None)

    def drives_changed(self) -> None:
        """Something was mounted, unmounted, or written to a watched folder."""
        for migration in self._migrations.values():
            migration.drive_may_have_changed()

    def keyring_changed(self) -> None:
        """The desktop's keyring was locked or unlocked, or has other entries of ours."""
        for migration in self._migrations.values():
            migration.keyring_changed()
        self._show_at_once()

    def leapt(self) -> None:
        """The clock was set, or the machine has slept: no time that was reckoned before is taken for granted."""
        drift = self._now() - self._steady()
        seconds, self._drift = drift - self._drift, drift
        with self._or_ending():
            if seconds < -A_DAY:
                self._move_pauses(seconds)
            for migration in self._migrations.values():
                migration.leapt(seconds)
            self._world_changed()

    def _move_pauses(self, seconds: float) -> None:
        """A pause or limit until a time of a clock that was wrong by days ends as much later as was meant.

        Less than a day is the user's own doing, or a time zone's: there the clock on the wall is what was meant.
        """
        if until := self._memory.get(facts.LIMIT_UNTIL):
            self._memory.remember(facts.LIMIT_UNTIL, max(1.0, until + seconds))
        for memory in self._memories():
            if paused_until := memory.get(facts.PAUSED_UNTIL):
                memory.remember(facts.PAUSED_UNTIL, max(1.0, paused_until + seconds))

    async def stand_still(self) -> None:
        """Before sleep: returns as soon as nothing is on the line any more."""
        self.world_changed()
        while self._under_way():
            self._still.clear()
            await self._still.wait()

    # -- the report ------------------------------------------------------------------------------------------

    async def _report(self) -> None:
        while True:
            if self._unrecorded is not None:
                raise self._unrecorded
            self._note_others()
            self._at_once = False
            self._ledger.commit()  # what is shown is on the disk
            self._publish(self.report())
            shown, busy = self._states(), self._is_busy()
            self._spending.settle(UNSETTLED if busy else 1)
            self._book(1 if not busy or self._steady() - self._booked_at >= BOOK_EVERY else UNSETTLED)
            try:
                async with asyncio.timeout(TICK if busy else None):
                    await self._news(shown)
            except TimeoutError:
                pass

    async def _news(self, shown: Sequence[object]) -> None:
        """Until there is something that is shown at once: all but counters that move while something is under way."""
        self._still.set()
        self._changed.clear()
        while not self._at_once:
            await self._changed.wait()
            self._still.set()
            self._changed.clear()
            if not self._is_busy() or self._states() != shown:
                return

    def _is_busy(self) -> bool:
        return self._under_way() or any(migration.verifying() for migration in self._migrations.values())

    def _states(self) -> Sequence[object]:
        return [migration.state() for migration in self._migrations.values()]

    def _show_at_once(self) -> None:
        self._at_once = True
        self._changed.set()

    def _book(self, at_least: int) -> None:
        """Writes down what was sent, so that a kill loses little of the count, and what is shown never goes back."""
        if at_least == 1:
            self._booked_at = self._steady()
        for migration in self._migrations.values():
            migration.book(at_least)

    def _note_others(self) -> None:
        """Where somebody else came on the line, or left it, each migration's reasons change, and its plan does not."""
        crowded = self._in_company()
        if crowded != self._was_crowded:
            self._was_crowded = crowded
            for migration in self._migrations.values():
                migration.wake()

    def report(self) -> ManagerReport:
        """Everything that is shown."""
        conditions = self.conditions()
        permit = policy.permit(conditions, self._rules, self._now())
        reasons = self._since.stamped("", permit.reasons)
        shown = {name: self._shown(name) for name in self._migrations}
        return report.of_all(
            self._version,
            shown,
            reasons,
            limit=conditions.limit or self._rules.cap or 0,
            limit_until=conditions.limit_until or 0.0,
            mode="spare" if permit.spare and not all(self._at_home.values()) else "go",
            network=", ".join(conditions.network.names),
            paused_until=conditions.paused_until or 0.0,
            added_delay=self._added_delay() if self._under_way() else 0.0,
        )

    def _ends(self, begins: float, seconds: float, rate: float) -> float:
        """When what takes so many seconds at that rate will have gone, by the hours in which the schedule lets it."""
        return worked_off(self._rules.schedule, begins, seconds, rate, self._world.conditions().zone)

    def _shown(self, name: str) -> MigrationReport:
        shown = self._migrations[name].report()
        return replace(shown, reasons=self._since.stamped(name, shown.reasons))

    # -- commands --------------------------------------------------------------------------------------------

    def pause(self, migration: str, until: float) -> None:
        """Stops sending: of one migration, or ("") of all; `until` seconds since the epoch, 0.0 until told.

        Raises:
            Refused: there is no such migration, or that time has passed.
        """
        memory = self._memory_of(migration)
        must_be_ahead(until, self._now())
        memory.remember(facts.PAUSED_UNTIL, until)
        memory.remember(facts.PAUSED_AT, self._now())
        memory.note("paused", "Paused by you.")
        self._asked()

    def resume(self, migration: str) -> None:
        """Takes a pause back: of one migration, or ("") every pause."""
        for memory in (self._memory_of(migration),) if migration else self._memories():
            memory.remember(facts.PAUSED_UNTIL, None)
        self._memory_of(migration).note("resumed", "Resumed by you.")
        self._asked()

    def retry_now(self) -> None:
        """Forgets waiting times and refusals."""
        for migration in self._migrations.values():
            migration.retry_now()
        self._asked()

    def rescan(self) -> None:
        """Reads drives and targets again."""
        for migration in self._migrations.values():
            migration.rescan()

    def set_limit(self, limit: int, until: float = 0.0, mode: Mode = "") -> None:
        """What the user says for now: a cap in bytes per second (0: none) and "spare", "go", or "" for neither.

        Until a time (seconds since the epoch), 0.0: until told. It replaces what was said before.

        Raises:
            Refused: it is no limit, or that time has passed.
        """
        must_be_limit(limit)
        must_be_ahead(until if limit or mode else 0.0, self._now())
        memory = self._memory
        memory.remember(facts.MODE, "")  # first, for a kill between two facts must leave no "go" without its end
        memory.remember(facts.LIMIT_UNTIL, until if limit or mode else 0.0)
        memory.remember(facts.LIMIT, limit)
        memory.remember(facts.MODE, mode)
        memory.note("limit", policy.wished(limit, until, mode, self._world.conditions().zone))
        self._asked()

    def hold(self, holds: Sequence[tuple[str, str]]) -> None:
        """Who else wants slowboat to keep still now: (who, why)."""
        self._holds = tuple(Hold(who, why) for who, why in holds)
        self._asked()

    async def hand_over(self, migration: str) -> None:
        """Does the handover now, or says why not."""
        with self._shown_at_once():
            await self._one(migration).hand_over()

    async def undo_handover(self, migration: str) -> None:
        """Takes the handover back."""
        with self._shown_at_once():
            await self._one(migration).undo_handover()

    async def switch_front_end(self, migration: str) -> str:
        """Points Deja Dup at the target; answers the URL that it uses then."""
        with self._shown_at_once():
            return await self._one(migration).switch_front_end()

    async def verify(self, migration: str, *, deep: bool = False, restore: bool = False) -> Verification:
        """Compares what is in the cloud with the ledger, the drive and duplicity's manifests; deep: reads the drive."""
        with self._shown_at_once():
            return await self._one(migration).verify(deep=deep, restore=restore)

    def stop_verifying(self, migration: str) -> None:
        """Breaks off the verification under way, if there is one."""
        self._one(migration).stop_verifying()

    def shown(self, key: str, ticket: str) -> None:
        """A desktop shows the notice of that key: nobody has to tell it again, and `ticket` lets it be taken back."""
        with self._or_ending():
            for migration in self._migrations.values():
                migration.shown(key, ticket)

    def pressed(self, key: str) -> None:
        """The user has pressed the button below the notice of that key."""
        meant = [name for name in self._migrations if key.endswith(f"-{name}")]
        if not meant:
            return
        name = max(meant, key=len)  # another's name may end alike
        task = asyncio.create_task(self._migrations[name].pressed(key.removesuffix(f"-{name}")))
        self._pressed.add(task)
        task.add_done_callback(self._pressed.discard)

    async def plan(
        self, migration: str, *, grouped: bool = False, first: int = 0, most: int = 0
    ) -> Sequence[Mapping[str, str | int | bool]]:
        """What goes up, in order: `most` files from `first` on (0: all), or neighbours of a kind together."""
        one = self._one(migration)
        return one.grouped() if grouped else one.listed(first, most)

    def history(self, since: float, limit: int) -> Sequence[tuple[float, str, str, str]]:
        """The newest lines of the history."""
        return self._ledger.history(since, limit)

    def traffic(self, since: float) -> Sequence[tuple[float, int]]:
        """How many bytes went over the line when: (the beginning of a quarter of an hour, bytes), oldest first."""
        self._spending.settle()
        return self._ledger.traffic(since)

    def _remember_pause(self, migration: str) -> None:
        """A pause that outlived a restart began when it was asked for."""
        memory = self._memory_of(migration)
        paused_at = memory.get(facts.PAUSED_AT)
        if paused_at and _paused_until(memory, self._now()) is not None:
            self._since.known(migration, "paused", paused_at)

    @contextlib.contextmanager
    def _shown_at_once(self) -> Iterator[None]:
        """Whoever is answered sees what came of it."""
        try:
            yield
        finally:
            self._publish(self.report())

    def _asked(self) -> None:
        """People do not wait for the next tick: who is answered sees what follows from it."""
        self.world_changed()
        self._publish(self.report())

    def _memory_of(self, migration: str) -> Memory:
        """A migration's memory; "": what concerns all of them."""
        return self._one(migration).memory if migration else self._memory

    def _memories(self) -> Sequence[Memory]:
        return (self._memory, *(migration.memory for migration in self._migrations.values()))

    def _one(self, migration: str) -> Migration:
        found = self._migrations.get(migration)
        if found is None:
            known = ", ".join(self._migrations) or "none"
            raise Refused(f"there is no migration called {migration!r}", hint=f"There are: {known}", code="not-found")
        return found


def _paused_until(memory: Memory, now: float) -> float | None:
    """As in `Conditions`; a pause whose time has come is none."""
    until = memory.get(facts.PAUSED_UNTIL)
    return None if until and until <= now else until


def _innermost(error: BaseException) -> BaseException:
    """What made a task group fail: the ledger, if it did, else whatever was first."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    return _innermost((error.subgroup(Unrecorded) or error).exceptions[0])
