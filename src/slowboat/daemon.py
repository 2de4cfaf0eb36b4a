"""The composition root: builds the edges, gives them to the engine, and runs until told to stop.

Knows everybody, and decides nothing: which edge fulfils which port, signals, exit codes. SIGTERM and SIGINT stop in
under two seconds (what is on the line is broken off; the next run asks for it and goes on); SIGHUP and Reload read
the configuration again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from slowboat import __version__
from slowboat.core.conditions import Conditions
from slowboat.core.dejadup import Account
from slowboat.core.errors import NeedsUser, SlowboatError
from slowboat.core.words import Activity
from slowboat.edges.bus.service import Service
from slowboat.edges.cache import Cache, usual_archive_dirs
from slowboat.edges.clock import ClockWatch, Zone
from slowboat.edges.dejadup import DejaDup
from slowboat.edges.duplicity import InstalledDuplicity
from slowboat.edges.gamemode import GameWatch
from slowboat.edges.inotify import FolderWatch
from slowboat.edges.ledger import Ledger
from slowboat.edges.memory import be_sparing, give_back
from slowboat.edges.mounts import MountWatch
from slowboat.edges.network import NetworkWatch
from slowboat.edges.notify import Notifications
from slowboat.edges.power import PowerWatch
from slowboat.edges.secrets import secret_of
from slowboat.edges.settings import load, state_dir
from slowboat.edges.sleep import SleepWatch
from slowboat.edges.source import Source
from slowboat.edges.swift import Credentials, SwiftStore, Throttle
from slowboat.edges.systemd import ServiceManager
from slowboat.engine.drive import DRIVE
from slowboat.engine.engine import Engine
from slowboat.engine.report import in_a_line
from slowboat.engine.since import Since
from slowboat.engine.work import Order, Tools

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from slowboat.core.words import ManagerReport
    from slowboat.edges.settings import Cloud, Migration, Settings

_log = logging.getLogger("slowboat")

EX_OK, EX_FAILED, EX_CONFIG = 0, 1, 78
"""Exit codes; 78 is sysexits.h's EX_CONFIG, after which systemd does not start us again."""
CANARY = "metadata"
"""In Deja Dup's archive dir: what it restores after each backup to see that it can (docs/dejadup.md)."""
AT_REST = frozenset({Activity.WAITING, Activity.PAUSED, Activity.NEEDS_USER, Activity.DONE})
"""Nothing is on the line, and nothing is read."""
CALM = 5.0
"""Seconds of rest before threads, sockets and memory are let go of: between two objects they are needed at once."""
SIDE_THREADS = 4
"""For what would hold the event loop, such as copying a cache: rarely one at a time."""
FINAL_CODES = frozenset({"config", "no-config", "already-running", "clear-text"})
"""What no restart mends."""


def main(config: Path | None = None) -> int:
    """Runs the daemon until it is stopped; answers the exit code."""
    be_sparing()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for noisy in ("swiftclient", "urllib3", "keystoneauth", "requests", "dbus_next"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)  # their debug lines hold tokens and keys
    manager = ServiceManager()
    try:
        return asyncio.run(_Daemon(config, manager).run())
    except SlowboatError as error:
        print(f"slowboat: {error}", file=sys.stderr)  # noqa: T201  # the journal, or a person at a terminal
        manager.ended(error.what if "\n" in error.hint else str(error))
        return EX_CONFIG if isinstance(error, NeedsUser) and error.code in FINAL_CODES else EX_FAILED


class _World:
    """The watches, read together. Fulfils the engine's World.

    They outlive a reload, for the configuration does not say what they look at: a network that was known stays known,
    what called it metered or went away is not forgotten, and the delay lock before sleep is never let go of.
    """

    def __init__(self) -> None:
        self.network = NetworkWatch(self._network_changed)
        self.power = PowerWatch(self._changed)
        self.games = GameWatch(self._changed)
        self.sleep = SleepWatch(self._before_sleep, self._leapt)
        self.mounts = MountWatch(self._mounts_changed)
        self.clock = ClockWatch(self._changed, self._leapt)
        self.zone = Zone()
        self._engine: Engine | None = None
        self._stores: Sequence[SwiftStore] = ()
        self._folders: FolderWatch | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def conditions(self) -> Conditions:
        """The newest settled reading of everything."""
        return Conditions(
            network=self.network.current(),
            power=self.power.current(),
            sleeping=self.sleep.sleeping,
            gaming=self.games.current(),
            zone=self.zone.current(),
        )

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Keeps the readings fresh, from here to the end of the block."""
        self.mounts.start()
        self.clock.start()
        async with asyncio.TaskGroup() as starting:
            for watch in (self.network, self.power, self.games, self.sleep):
                starting.create_task(watch.start())
        try:
            yield
        finally:
            self.clock.stop()
            self.mounts.stop()
            await asyncio.gather(*(watch.stop() for watch in (self.network, self.power, self.games, self.sleep)))

    @contextlib.contextmanager
    def told(self, engine: Engine, stores: Sequence[SwiftStore], folders: Sequence[Path]) -> Iterator[None]:
        """Tells this engine of every change, the folders' included, from here to the end of the block.

        Between two engines nobody is told: each reads the conditions when it begins.
        """
        self._engine, self._stores, self._folders = engine, stores, FolderWatch(engine.drives_changed)
        self._folders.start(folders)
        try:
            yield
        finally:
            self._folders.stop()
            self._engine, self._stores, self._folders = None, (), None

    def _changed(self) -> None:
        if self._engine is not None:
            self._engine.world_changed()

    def _mounts_changed(self) -> None:
        """Most mounts are none of our drives: the watch on folders tells where one is, and needs no look at it."""
        if self._engine is not None and not (self._folders and self._folders.look_again()):
            self._engine.drives_changed()

    async def _before_sleep(self) -> None:
        if self._engine is not None:
            await self._engine.stand_still()

    def _leapt(self) -> None:
        """The clock was set, or the machine has slept: no time that was reckoned holds, nor does any connection."""
        if self._engine is not None:
            self._engine.leapt()
        self._network_changed()

    def _network_changed(self) -> None:
        """Connections made over another network, or before a sleep, are dead: the next request makes new ones."""
        for store in self._stores:
            task = asyncio.create_task(store.forget_connections())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._changed()


class _Rest:
    """Lets go of threads, sockets and memory once nothing has been under way for a moment."""

    def __init__(self) -> None:
        self.stores: Sequence[SwiftStore] = ()
        self._pool: ThreadPoolExecutor | None = None
        self._timer: asyncio.TimerHandle | None = None

    def shown(self, activity: Activity) -> None:
        """What the daemon is doing now."""
        if activity not in AT_REST:
            self.stop()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(CALM, self._let_go)

    def stop(self) -> None:
        """No rest now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _let_go(self) -> None:
        for store in self.stores:
            store.rest()
        self.begin()
        give_back()

    def begin(self) -> None:
        """New threads for asyncio.to_thread, none of which runs yet; the old ones end with what they do."""
        idle, self._pool = self._pool, ThreadPoolExecutor(SIDE_THREADS, thread_name_prefix="slowboat-side")
        asyncio.get_running_loop().set_default_executor(self._pool)
        if idle is not None:
            idle.shutdown(wait=False)


class _Reading(NamedTuple):
    """A configuration that was read again; `in_force` is set once the daemon goes by it."""

    settings: Settings
    in_force: asyncio.Event


class _Daemon:
    """One run, from the settings to the exit code.

    A reload ends one engine, with its ledger and its stores, and makes the next; whatever does not come out of the
    configuration goes on meanwhile: the watches, our name on the bus, the holds, what is on the screen.
    """

    def __init__(self, config: Path | None, manager: ServiceManager) -> None:
        self._config = config
        self._turn = asyncio.Event()  # the engine is to end: for the next one, or for good
        self._next: _Reading | None = None
        self._ending = False
        self._manager = manager
        self._service = Service(version=__version__, reload=self._reload)
        self._notifications = Notifications()
        self._since = Since(time.time)
        self._rest = _Rest()
        self._world = _World()
        self._shown = ""

    async def run(self) -> int:
        """Runs until stopped.

        Raises:
            NeedsUser: the configuration is wrong, or another slowboat is running.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        loop.add_signal_handler(signal.SIGHUP, self._hung_up)
        self._rest.begin()
        settings = load(self._config)
        try:
            await self._service.start()
            async with self._world.watched(), asyncio.TaskGroup() as tasks:
                works = (self._service.run(), self._notifications.run(), self._manager.run())
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
            _log.error("the configuration stays as it was: %s", error)

    async def _engines(self, settings: Settings) -> None:
        """One engine after the other, until the last one is stopped."""
        following: _Reading | None = _Reading(settings, asyncio.Event())
        while following is not None and not self._ending:
            self._next = None
            self._turn.clear()
            await self._engine(following)
            following = self._next
        self._manager.stopping()

    async def _engine(self, reading: _Reading) -> None:
        settings, world = reading.settings, self._world
        with Ledger(state_dir() / "ledger.sqlite") as ledger:
            throttle = Throttle(0)
            engine = Engine(
                __version__,
                settings.rules,
                world,
                ledger,
                now=time.time,
                publish=self._show,
                set_rate=lambda rate, spare: throttle.set_rate(rate, spare=spare),
                crowded=lambda: throttle.crowded,
                wake_at=world.clock.wake_at,
                since=self._since,
            )
            stores = [
                _take_in(engine, settings, name, ledger, self._notifications, throttle) for name in settings.migrations
            ]
            folders = [migration.source for migration in settings.migrations.values()]
            self._rest.stores = stores
            self._show(engine.report())  # before anybody can ask for it
            try:
                async with self._service.obeying(engine):
                    hears = self._notifications.heard(engine.pressed, engine.shown)
                    with world.told(engine, stores, folders), hears:
                        reading.in_force.set()
                        self._manager.ready()
                        await self._until_turn(engine)
            finally:
                self._rest.stop()
                await asyncio.gather(*(store.close() for store in stores))

    async def _until_turn(self, engine: Engine) -> None:
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(engine.run())
            await self._turn.wait()
            running.cancel()

    def _show(self, report: ManagerReport) -> None:
        """On the bus, and in a line for `systemctl --user status`."""
        self._service.publish(report)
        self._rest.shown(report.activity)
        line = in_a_line(report, self._world.zone.current())
        if line != self._shown:
            self._shown = line
            self._manager.status(line)


def _plainly(several: BaseExceptionGroup) -> BaseException:
    """The known error that ended a task group, where nothing else did: people read a sentence, and not a tree."""
    known, unknown = several.split(SlowboatError)
    if known is None or unknown is not None:
        return several
    first: BaseException = known
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first


def _take_in(
    engine: Engine,
    settings: Settings,
    name: str,
    ledger: Ledger,
    notifications: Notifications,
    throttle: Throttle,
) -> SwiftStore:
    """Builds one migration's edges and gives it to the engine."""
    migration = settings.migrations[name]
    target = migration.target
    credentials = _credentials(settings.clouds[target.cloud])
    store = SwiftStore(credentials, target.container, connections=settings.connections, throttle=throttle)
    archive_dirs = (migration.archive_dir,) if migration.archive_dir else usual_archive_dirs(os.environ)
    tools = Tools(
        source=Source(migration.source, expected=ledger.facts(name).get(DRIVE)),
        store=store,
        cache=Cache(archive_dirs, target.urls),
        ledger=ledger,
        notifier=notifications,
        now=time.time,
        steady=time.monotonic,
        chance=random.random,
        front_end=DejaDup(os.environ),
        duplicity=InstalledDuplicity(migration.duplicity, os.environ),
    )
    account = Account(credentials.user, credentials.project, credentials.auth_url)
    order = _order(migration, settings.connections, archive_dirs, account)
    engine.add(order, tools, at_home=credentials.on_loopback)
    return store


def _order(migration: Migration, connections: int, archive_dirs: Sequence[Path], account: Account) -> Order:
    return Order(
        name=migration.name,
        source_dir=str(migration.source),
        source_url=migration.source_url,
        target=migration.target,
        file_prefix=migration.file_prefix,
        ask_first=migration.ask_first,
        lanes=connections,
        canary=_canaries((*archive_dirs, Path.home() / ".cache/deja-dup")),
        account=account,
    )


def _canaries(archive_dirs: Sequence[Path]) -> tuple[tuple[bytes, ...], ...]:
    """What Deja Dup reads back, by the path that it backs it up from: links are followed; () where it never ran."""
    found = {os.path.realpath(folder) for folder in archive_dirs if folder.name == "deja-dup" and folder.is_dir()}
    return tuple((*os.fsencode(folder).strip(b"/").split(b"/"), os.fsencode(CANARY)) for folder in sorted(found))


def _credentials(cloud: Cloud) -> Credentials:
    """A cloud's credentials; the secret is asked for when a token is."""
    return Credentials.of(cloud, lambda: secret_of(cloud.name, cloud.key_file).reveal())
