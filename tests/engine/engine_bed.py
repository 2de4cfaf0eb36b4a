"""An engine on clocks of its own, with one migration whose volume goes to a model store."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING

from engine.courier_bed import VOLUME, encrypted, md5
from engine.model_source import ModelSource
from engine.model_store import CAN, SWIFT, ModelStore, Quirks, Stored
from slowboat.core import names
from slowboat.core.conditions import MAINS, Conditions, Rules
from slowboat.core.words import Activity, Connectivity, Item, Network, Phase, RemoteObject, Role, SetId, Target
from slowboat.edges.ledger import Ledger
from slowboat.engine import adoption
from slowboat.engine.context import Order, Tools
from slowboat.engine.courier import LIFE
from slowboat.engine.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from slowboat.core.words import Limits

NOON = 1_800_000_000.0
HOUR, DAY = 3600.0, 86400.0
SIGNATURES = "duplicity-full-signatures.20260101T000000Z.sigtar.gz"
MANIFEST = "duplicity-full.20260101T000000Z.manifest.gpg"
HOME = Network(Connectivity.FULL, metered=False, names=("home",), types=("ethernet",), witness="test")
MADE_AT = SetId(1_767_225_600, 1_767_225_600)
"""The backup set that these names are of."""
EVERYWHERE = Rules()
FILES = {SIGNATURES: gzip.compress(b"s"), MANIFEST: b"m" * 50, VOLUME: encrypted(200)}


class Clock:
    """The clock on the wall, and the one that only runs while the machine is awake. Each look takes a moment."""

    def __init__(self) -> None:
        self.wall, self.awake = NOON, 5000.0

    def run(self, seconds: float) -> None:
        self.wall += seconds
        self.awake += seconds

    def now(self) -> float:
        self.run(1e-4)
        return self.wall

    def steady(self) -> float:
        self.run(1e-4)
        return self.awake

    def sleep(self, seconds: float) -> None:
        self.wall += seconds

    set = sleep


class Drive(ModelSource):
    """A drive that is always the same one."""

    expected = ""

    async def listing(self, *, any_drive: bool = False):  # the port's signature
        return await super().listing()

    async def identity(self) -> str:
        return "drive-1"


class Cache:
    """Nobody has one."""

    async def find(self, keys, url):
        return None

    async def in_use(self, installed) -> bool:
        return False


def volumes(count: int) -> dict[str, bytes]:
    """So many volumes; the first is VOLUME."""
    return {VOLUME.replace("vol1", f"vol{number}"): encrypted(200, number) for number in range(1, count + 1)}


def rows(files, bodies=FILES, left=(VOLUME,)) -> list[Item]:
    roles = {SIGNATURES: Role.SIGNATURES, MANIFEST: Role.MANIFEST}
    made = []
    for rank, (name, body) in enumerate(bodies.items()):
        there, role = name not in left, roles.get(name, Role.VOLUME)
        phase = Phase.DONE if there else Phase.QUEUED
        known = md5(body) if there else ""
        sha1 = "" if role.is_metadata else hashlib.sha1(body, usedforsecurity=False).hexdigest()
        made.append(Item(files[name], role, 0, MADE_AT, rank, phase=phase, sha1=sha1, md5=known))
    return made


class EngineBed:
    """An engine with one migration, handed over, of which one volume is still to be sent.

    Attributes:
        paces: each rate the engine has set, with whether it is spare.
    """

    def __init__(
        self,
        folder: Path,
        *,
        rules: Rules = EVERYWHERE,
        at_home: bool = False,
        url: str = "swift://c",
        count: int = 1,
        left: int = 1,
        quirks: Quirks = SWIFT,
        limits: Limits | None = None,
        **facts: str,
    ) -> None:
        """Of `count` volumes, the first `left` are still to be sent."""
        self.notices = []
        self.hooked: list[tuple[str, str, str]] = []
        self.clock = Clock()
        self.sleeping, self.network, self.crowded = False, HOME, False
        self.caps: list[tuple[int | None, bool]] = []
        self.reports = []
        bodies = {SIGNATURES: FILES[SIGNATURES], MANIFEST: FILES[MANIFEST], **volumes(count)}
        missing = tuple(bodies)[2 : 2 + left]
        self.source = Drive(**bodies)
        self.store = ModelStore(lambda: self.clock.wall, quirks=quirks, limits=limits)
        for name, body in bodies.items():
            if name not in missing:
                self.store.place(name, body)
        self._folder, self._rules, self._order = folder, rules, Order("m", "/drive", "", Target("c", "c", "", (url,)))
        self._at_home = at_home
        files = {name: self.source.file(name) for name in bodies}
        known = {"fingerprint": adoption.fingerprint(list(files.values())), "handover": "done", "started_at": "1.0"}
        self.ledger = Ledger(folder / "ledger.sqlite")
        self.ledger.adopt("m", rows(files, bodies, missing), {}, known | {"capabilities": CAN[SWIFT].text()} | facts)
        self.begin_engine()

    def begin_engine(self) -> None:
        """An engine over the ledger that is open; before, and after a reload, the next."""
        self.engine = Engine(
            "test", self._rules, self, self.ledger,
            now=self.clock.now, steady=self.clock.steady,
            publish=self.reports.append, wake_at=lambda _: None,
            set_cap=lambda rate, spare: self.caps.append((rate, spare)), crowded=lambda: self.crowded,
        )  # fmt: skip
        self.tools = Tools(
            self.source, self.store, Cache(), self.ledger, self,
            self.clock.now, self.clock.steady, lambda: 0.5,
        )  # fmt: skip
        self.tools = replace(self.tools, hooks=self)
        self.engine.add(self._order, self.tools, at_home=self._at_home)

    def reload(self) -> None:
        """The ledger is closed and opened again, and the next engine begins over it; the last one has ended."""
        self.ledger.close()
        self.ledger = Ledger(self._folder / "ledger.sqlite")
        self.begin_engine()

    def conditions(self) -> Conditions:
        return Conditions(network=self.network, power=MAINS, gaming=False, zone=UTC, sleeping=self.sleeping)

    def show(self, notice) -> None:
        self.notices.append(notice)

    def withdraw(self, key) -> None: ...

    def happened(self, what, migration, title, text) -> None:
        self.hooked.append((what, migration, title))

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not holds():
                await asyncio.sleep(0.01)

    async def as_time_passes(self, holds: Callable[[], bool]) -> None:
        """Until something holds, with a quarter of an hour at each look: whatever waits is tried again."""
        async with asyncio.timeout(20):
            while not holds():
                self.clock.run(900)
                self.engine.world_changed()
                await asyncio.sleep(0.02)

    def begin(self) -> None:
        """One segment of the volume is there, sent by an earlier run; before the engine runs."""
        name, first = names.segment_name(VOLUME, 200, 64, 0), FILES[VOLUME][:64]
        self.store.segments.objects[name] = Stored(first, modified=self.clock.wall, expires=self.clock.wall + LIFE)
        self.store.segments.journal.append((name, RemoteObject(name, 64, md5(first), modified=self.clock.wall)))
        memory = self.engine._migrations["m"].memory  # what a run before this one has left
        memory.begun_segments(VOLUME, 64)

    def looks_after_segments(self) -> int:
        return sum(request.startswith(f"LIST {names.segment_prefix(VOLUME)}") for request in self.store.requests)

    def looks(self) -> int:
        """How often what stands at the target was listed."""
        return sum(request == "LIST " for request in self.store.requests)

    @property
    def shown(self):
        return self.engine.report().migrations["m"]

    def puts(self) -> int:
        return sum(request.startswith("PUT") for request in self.store.requests)

    async def done(self) -> None:
        await self.until(lambda: self.shown.activity is Activity.DONE)
        assert self.store.data(VOLUME) == FILES[VOLUME]


@asynccontextmanager
async def sailing(
    folder: Path, *, rules: Rules = EVERYWHERE, at_home: bool = False, url: str = "swift://c", **facts: str
):
    bed = EngineBed(folder, rules=rules, at_home=at_home, url=url, **facts)
    task = asyncio.create_task(bed.engine.run())
    try:
        yield bed
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        bed.ledger.close()
