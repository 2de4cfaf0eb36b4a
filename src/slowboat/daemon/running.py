"""One run of the daemon: from the settings to the exit code.

Knows signals, exit codes, and in which order things begin and end; must not know how any of them is done. SIGTERM and
SIGINT stop in under two seconds (what is on the line is broken off; the next run asks for it and goes on); SIGHUP and
Reload read the configuration again.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from slowboat import __version__
from slowboat.core.errors import NeedsUser, SlowboatError, Unrecorded
from slowboat.daemon import outage
from slowboat.daemon.idle import Idle
from slowboat.daemon.migrations import take_in
from slowboat.daemon.world import World
from slowboat.edges import journal
from slowboat.edges.bus.service import Service
from slowboat.edges.hooks import Hooks
from slowboat.edges.ledger import Ledger
from slowboat.edges.notify import Notifications
from slowboat.edges.process import be_sparing
from slowboat.edges.settings import load, state_dir
from slowboat.edges.swift import Throttle
from slowboat.edges.systemd import ServiceManager
from slowboat.engine.engine import Engine
from slowboat.engine.onset import Onsets
from slowboat.engine.report import holding, in_a_line

if TYPE_CHECKING:
    from pathlib import Path

    from slowboat.core.words import ManagerReport
    from slowboat.edges.settings import Settings

_log = logging.getLogger("slowboat")

EX_OK, EX_FAILED, EX_CONFIG = 0, 1, 78
"""Exit codes; 78 is sysexits.h's EX_CONFIG, after which systemd does not start us again."""
FINAL_CODES = frozenset({"config", "no-config", "already-running", "clear-text", "ledger-newer"})
"""What no restart mends."""


def main(config: Path | None = None) -> int:
    """Runs the daemon until it is stopped; answers the exit code."""
    be_sparing()
    logging.basicConfig(level=logging.INFO, handlers=[journal.handler()])
    for noisy in ("swiftclient", "urllib3", "keystoneauth", "requests", "dbus_next"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)  # their debug lines hold tokens and keys
    manager = ServiceManager()
    try:
        return asyncio.run(_Daemon(config, manager).run())
    except SlowboatError as error:
        _log.error("%s", error)  # to the journal, or to a person at a terminal
        manager.ended(error.what if "\n" in error.hint else str(error))
        return EX_CONFIG if isinstance(error, NeedsUser) and error.code in FINAL_CODES else EX_FAILED


class _Reading(NamedTuple):
    """A configuration that was read again; `in_force` is set once the daemon goes by it."""

    settings: Settings
    in_force: asyncio.Event


class _Daemon:
    """One run, from the settings to the exit code.

    A reload ends one engine, with its ledger and its stores, and makes the next; whatever does not come out of the
    configuration goes on meanwhile: the watches, our name on the bus, the holds, what is on the screen. A ledger that
    cannot be written ends an engine, too, and the next begins when it can.
    """

    def __init__(self, config: Path | None, manager: ServiceManager) -> None:
        self._config = config
        self._turn = asyncio.Event()  # the engine is to end: for the next one, or for good
        self._next: _Reading | None = None
        self._ending = False
        self._manager = manager
        self._service = Service(version=__version__, reload=self._reload)
        self._notifications = Notifications()
        self._hooks = Hooks()
        self._since = Onsets(time.time)
        self._idle = Idle()
        self._world = World()
        self._report: ManagerReport | None = None
        self._settings: Settings | None = None
        self._shown = ""
        self._logged_reasons: tuple[str, ...] = ()

    async def run(self) -> int:
        """Runs until stopped.

        Raises:
            NeedsUser: the configuration is wrong, or another slowboat is running.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        loop.add_signal_handler(signal.SIGHUP, self._hung_up)
        self._idle.begin()
        settings = load(self._config)
        try:
            await self._service.start()
            async with self._world.watched(), asyncio.TaskGroup() as tasks:
                works = (self._service.run(), self._notifications.run(), self._hooks.run(), self._manager.run())
                running = [tasks.create_task(work) for work in works]
                await self._engines(settings)
                for task in running:
                    task.cancel()
        except BaseExceptionGroup as several:
            raise _plainly(several) from several
        finally:
            await self._service.close()
        return EX_OK

    def _end(self) -> None:
        self._manager.stopping()
        self._ending = True
        self._turn.set()

    def _read_again(self) -> asyncio.Event:
        """The configuration is read at once, so that who asked hears what is wrong with it; then the next engine comes.

        Returns:
            What is set when the new configuration is in force.
        """
        settings = load(self._config)
        in_force = self._next.in_force if self._next else asyncio.Event()
        self._next = _Reading(settings, in_force)
        self._turn.set()
        return in_force

    async def _reload(self) -> None:
        await self._read_again().wait()

    def _hung_up(self) -> None:
        try:
            self._read_again()
        except NeedsUser as error:
            _log.error("the configuration stays as it was: %s", error, extra={"kind": "settings"})

    async def _engines(self, settings: Settings) -> None:
        """One engine after the other, until the last one is stopped."""
        following: _Reading | None = _Reading(settings, asyncio.Event())
        while following is not None and not self._ending:
            self._next = None
            self._turn.clear()
            try:
                await self._engine(following)
            except (Unrecorded, BaseExceptionGroup) as error:
                trouble = outage.of_the_ledger(error)
                if trouble is None:
                    raise
                await self._outlast(trouble, following)
                following = self._newest() or following
            else:
                following = self._newest()

    def _newest(self) -> _Reading | None:
        """The configuration that came meanwhile."""
        return self._next

    async def _outlast(self, trouble: Unrecorded, reading: _Reading) -> None:
        """Stays on the bus without an engine until the ledger can be written, or another configuration comes."""
        shown = self._report or outage.unknown_yet(__version__, reading.settings)
        nobody, since = outage.NoEngine(trouble, self._turn.set), time.time()
        async with self._service.obeying(nobody):
            self._show(outage.waiting(shown, trouble, since))  # before anybody who is answered can ask for it
            reading.in_force.set()
            self._manager.ready()
            await outage.outlast(
                _ledger_path(),
                nobody,
                self._turn,
                lambda error: self._show(outage.waiting(shown, error, since)),
                self._notifications,
            )
        self._report = shown

    async def _engine(self, reading: _Reading) -> None:
        settings, world = reading.settings, self._world
        self._settings = settings
        with Ledger(_ledger_path()) as ledger:
            ledger.prove()  # what the next engine shows takes the place of what an outage has shown
            if ledger.set_aside is not None:
                _log.warning(
                    "the ledger was no whole one of ours, and is set aside as %s",
                    ledger.set_aside,
                    extra={"kind": "ledger"},
                )
            throttle = Throttle(0)
            self._hooks.commands = settings.hooks
            engine = Engine(
                __version__,
                settings.rules,
                world,
                ledger,
                now=time.time,
                publish=self._show,
                set_cap=lambda cap, spare: throttle.set_cap(cap, spare=spare),
                crowded=lambda: throttle.crowded,
                added_delay=lambda: throttle.added_delay,
                wake_at=world.clock.wake_at,
                since=self._since,
            )
            stores = [
                take_in(engine, settings, name, ledger, self._notifications, throttle, self._hooks)
                for name in settings.migrations
            ]
            folders = [migration.source for migration in settings.migrations.values()]
            self._idle.stores = stores
            self._show(engine.report())  # before anybody can ask for it
            try:
                async with self._service.obeying(engine):
                    hears = self._notifications.heard(engine.pressed, engine.shown)
                    with world.subscribed(engine, stores, folders), hears:
                        reading.in_force.set()
                        self._manager.ready()
                        await self._until_turn(engine)
            finally:
                self._idle.stop()
                await asyncio.gather(*(store.close() for store in stores))

    async def _until_turn(self, engine: Engine) -> None:
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(engine.run())
            await self._turn.wait()
            running.cancel()

    def _show(self, report: ManagerReport) -> None:
        """On the bus, and in a line for `systemctl --user status`."""
        if self._settings is not None:
            path, digest = str(self._settings.path or ""), self._settings.digest
            report = replace(report, configuration=path, configuration_digest=digest)
        self._report = report
        self._service.publish(report)
        self._idle.shown(report.activity)
        line = in_a_line(report, self._world.zone.current())
        if line != self._shown:
            self._shown = line
            self._manager.status(line)
            self._log_what_holds(report, line)

    def _log_what_holds(self, report: ManagerReport, line: str) -> None:
        """To the journal, where something else holds it back than before, or nothing any more."""
        reasons = holding(report)
        if reasons is not None and reasons != self._logged_reasons:
            self._logged_reasons = reasons
            _log.info("%s", line, extra={"kind": "reasons"})


def _ledger_path() -> Path:
    return state_dir() / "ledger.sqlite"


def _plainly(several: BaseExceptionGroup) -> BaseException:
    """The known error that ended a task group, where nothing else did: people read a sentence, and not a tree."""
    known, unknown = several.split(SlowboatError)
    if known is None or unknown is not None:
        return several
    first: BaseException = known
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first
