"""All migrations together: their permit, the user's commands, the one report.

Knows pauses, limits and holds (and remembers those that shall outlive a restart); must not know how a migration
does its work, nor who asks: the bus calls the same methods as a test.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from slowboat.core import policy
from slowboat.core.conditions import Hold
from slowboat.core.errors import NeedsUser
from slowboat.core.words import Connectivity
from slowboat.engine import report

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from slowboat.core.conditions import Conditions, Rules
    from slowboat.core.words import ManagerReport, Permit
    from slowboat.engine.migration import Migration
    from slowboat.engine.ports import Bus, Ledger, World

TICK = 1.0
"""Seconds between reports while something is under way; at rest there are none."""


class Engine:
    """Runs the migrations, and does what the bus asks."""

    def __init__(
        self,
        version: str,
        rules: Rules,
        world: World,
        ledger: Ledger,
        bus: Bus,
        now: Callable[[], float],
        set_rate: Callable[[int | None], None],
        reload: Callable[[], None],
    ) -> None:
        """`set_rate` moves the cap of all uploads; `reload` makes the daemon read its configuration again."""
        self._version = version
        self._rules = rules
        self._world = world
        self._ledger = ledger
        self._bus = bus
        self._now = now
        self._set_rate = set_rate
        self._reload = reload
        self._migrations: dict[str, Migration] = {}
        self._holds: tuple[Hold, ...] = ()
        self._rate: int | None = None
        self._was_online = False
        self._changed = asyncio.Event()
        self._clock_moved = asyncio.Event()

    def add(self, make: Callable[[Callable[[], Permit], Callable[[], None]], Migration]) -> None:
        """Takes one migration in; `make` builds it with its permit and with what to call when there is news."""
        name = ""

        def permit() -> Permit:
            return self._permit(name)

        migration = make(permit, self._changed.set)
        name = migration.order.name
        self._migrations[name] = migration

    async def run(self) -> None:
        """Runs until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for migration in self._migrations.values():
                tasks.create_task(migration.run(), name=migration.order.name)
            tasks.create_task(self._report(), name="report")
            tasks.create_task(self._clock(), name="clock")

    # -- the permit ------------------------------------------------------------------------------------------

    def conditions(self) -> Conditions:
        """The world as it is, with what people and programs asked for."""
        facts = self._ledger.facts("")
        until = facts.get("paused_until", "")
        return replace(
            self._world.conditions(),
            paused_until=float(until) if until else None,
            holds=self._holds,
            limit=int(facts.get("limit", "0")),
            limit_until=float(facts["limit_until"]) if facts.get("limit_until") else None,
        )

    def _permit(self, migration: str) -> Permit:
        conditions = self.conditions()
        if conditions.paused_until is None:
            until = self._ledger.facts(migration).get("paused_until", "")
            conditions = replace(conditions, paused_until=float(until) if until else None)
        return policy.permit(conditions, self._rules, self._now())

    def world_changed(self) -> None:
        """A watch has news: network, power, sleep, holds, the clock."""
        permit = policy.permit(self.conditions(), self._rules, self._now())
        if permit.rate != self._rate:
            self._rate = permit.rate
            self._set_rate(permit.rate)
        online = self.conditions().network.connectivity is Connectivity.FULL
        returned, self._was_online = online and not self._was_online, online
        for migration in self._migrations.values():
            if returned:
                migration.network_returned()
            migration.wake()
        self._changed.set()

    def drives_changed(self) -> None:
        """Something was mounted, unmounted, or written to a watched folder."""
        for migration in self._migrations.values():
            migration.drive_may_have_changed()

    async def _clock(self) -> None:
        """Wakes everybody when the clock alone changes the permit: a pause ends, an hour of the schedule begins."""
        self.world_changed()
        while True:
            moment = policy.next_change(self.conditions(), self._rules, self._now())
            self._clock_moved.clear()
            try:
                async with asyncio.timeout(max(0.05, moment - self._now()) if moment else None):
                    await self._clock_moved.wait()
            except TimeoutError:
                self.world_changed()

    # -- the report ------------------------------------------------------------------------------------------

    async def _report(self) -> None:
        while True:
            self._bus.publish(self.report())
            busy = any(migration.under_way() for migration in self._migrations.values())
            self._changed.clear()
            try:
                async with asyncio.timeout(TICK if busy else None):
                    await self._changed.wait()
            except TimeoutError:
                pass

    def report(self) -> ManagerReport:
        """Everything that is shown."""
        conditions = self.conditions()
        permit = policy.permit(conditions, self._rules, self._now())
        shown = {name: migration.report() for name, migration in self._migrations.items()}
        return report.of_all(
            self._version,
            shown,
            permit.reasons,
            limit=permit.rate or 0,
            network=", ".join(conditions.network.names),
            paused_until=conditions.paused_until or 0.0,
        )

    # -- commands --------------------------------------------------------------------------------------------

    def pause(self, migration: str, until: float) -> None:
        """Stops sending: of one migration, or ("") of all; `until` seconds since the epoch, 0.0 until told."""
        self._named(migration)
        self._ledger.set_fact(migration, "paused_until", repr(until))
        self._ledger.note(migration, "paused", "Paused by you.")
        self._asked()

    def resume(self, migration: str) -> None:
        """Takes a pause back."""
        for name in self._named(migration):
            self._ledger.set_fact(name, "paused_until", "")
        self._ledger.set_fact(migration, "paused_until", "")
        self._ledger.note(migration, "resumed", "Resumed by you.")
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

    async def reload(self) -> None:
        """Has the configuration read again."""
        self._reload()

    def set_limit(self, limit: int) -> None:
        """The cap in bytes per second; 0: none."""
        if limit < 0:
            raise NeedsUser(f"{limit} is no limit", hint="Give bytes per second, 0 for none", code="limit")
        self._ledger.set_fact("", "limit", str(limit) if limit else "")
        self._asked()

    def hold(self, holds: Sequence[tuple[str, str]]) -> None:
        """Who else wants slowboat to keep still now: (who, why)."""
        self._holds = tuple(Hold(who, why) for who, why in holds)
        self._asked()

    async def hand_over(self, migration: str) -> None:
        """Does the handover now, or says why not."""
        await self._one(migration).hand_over()

    async def undo_handover(self, migration: str) -> None:
        """Takes the handover back."""
        await self._one(migration).undo_handover()

    async def plan(self, migration: str) -> Sequence[Mapping[str, str | int | bool]]:
        """What goes up, in order."""
        return self._one(migration).listed()

    def history(self, since: float, limit: int) -> Sequence[tuple[float, str, str, str]]:
        """The newest lines of the history."""
        return self._ledger.history(since, limit)

    def _asked(self) -> None:
        """People do not wait for the next tick."""
        self.world_changed()
        self._clock_moved.set()

    def _named(self, migration: str) -> Sequence[str]:
        if not migration:
            return tuple(self._migrations)
        return (self._one(migration).order.name,)

    def _one(self, migration: str) -> Migration:
        found = self._migrations.get(migration)
        if found is None:
            known = ", ".join(self._migrations) or "none"
            raise NeedsUser(f"there is no migration called {migration!r}", hint=f"There are: {known}", code="not-found")
        return found
