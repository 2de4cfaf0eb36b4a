"""The world as the watches see it, read together.

Knows every watch, and whom to tell; must not know what follows from a change.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, NamedTuple

from slowboat.core.conditions import Conditions
from slowboat.edges.clock import ClockWatch, Zone
from slowboat.edges.gamemode import GameWatch
from slowboat.edges.inotify import FolderWatch
from slowboat.edges.keyring import KeyringWatch
from slowboat.edges.mounts import MountWatch
from slowboat.edges.network import NetworkWatch
from slowboat.edges.power import PowerWatch
from slowboat.edges.secrets import SERVICE
from slowboat.edges.sleep import SleepWatch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path

    from slowboat.edges.swift import SwiftStore
    from slowboat.engine.engine import Engine


class _Subscribers(NamedTuple):
    """Who is told of changes: an engine, the stores whose connections may be dead, and the watch on its folders."""

    engine: Engine
    stores: Sequence[SwiftStore]
    folders: FolderWatch


class World:
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
        self.keyring = KeyringWatch({"application": SERVICE}, self._keyring_changed)
        self.clock = ClockWatch(self._changed, self._leapt)
        self.zone = Zone(every=1.0)
        self._subscribers: _Subscribers | None = None
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
            for watch in self._on_a_bus():
                starting.create_task(watch.start())
        try:
            yield
        finally:
            self.clock.stop()
            self.mounts.stop()
            await asyncio.gather(*(watch.stop() for watch in self._on_a_bus()))

    def _on_a_bus(self) -> tuple[NetworkWatch | PowerWatch | GameWatch | SleepWatch | KeyringWatch, ...]:
        return self.network, self.power, self.games, self.sleep, self.keyring

    @contextlib.contextmanager
    def subscribed(self, engine: Engine, stores: Sequence[SwiftStore], folders: Sequence[Path]) -> Iterator[None]:
        """Tells this engine of every change, the folders' included, from here to the end of the block.

        Between two engines nobody is told: each reads the conditions when it begins.
        """
        watch = FolderWatch(engine.drives_changed)
        watch.start(folders)
        self._subscribers = _Subscribers(engine, stores, watch)
        try:
            yield
        finally:
            self._subscribers = None
            watch.stop()

    def _changed(self) -> None:
        if self._subscribers:
            self._subscribers.engine.world_changed()

    def _keyring_changed(self) -> None:
        if self._subscribers:
            self._subscribers.engine.keyring_changed()

    def _mounts_changed(self) -> None:
        """Most mounts are none of our drives: the watch on folders tells where one is, and needs no look at it."""
        if self._subscribers and not self._subscribers.folders.search_again():
            self._subscribers.engine.drives_changed()

    async def _before_sleep(self) -> None:
        if self._subscribers:
            await self._subscribers.engine.stand_still()

    def _leapt(self) -> None:
        """The clock was set, or the machine has slept: no time that was reckoned holds, nor does any connection."""
        if self._subscribers:
            self._subscribers.engine.leapt()
        self._network_changed()

    def _network_changed(self) -> None:
        """Connections made over another network, or before a sleep, are dead: the next request makes new ones."""
        for store in self._subscribers.stores if self._subscribers else ():
            task = asyncio.create_task(store.forget_connections())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._changed()
