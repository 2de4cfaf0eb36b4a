"""The engine with real edges in one process: a real duplicity chain to a real Swift, and back."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from contextlib import asynccontextmanager
from datetime import UTC
from typing import TYPE_CHECKING

import swiftclient

from slowboat.core.conditions import MAINS, Conditions, Rules
from slowboat.core.words import Activity, Connectivity, HandoverState, ManagerReport, Network, Notice, Target
from slowboat.edges.cache import Cache
from slowboat.edges.ledger import Ledger
from slowboat.edges.source import Source
from slowboat.edges.swift import Credentials, SwiftStore
from slowboat.engine.context import Order, Tools
from slowboat.engine.engine import Engine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from realparts.drive import Drive
    from realparts.swift_server import SwiftServer


class World:
    """A machine on the mains and online."""

    def __init__(self) -> None:
        self.network = Network(Connectivity.FULL, metered=False, names=("home",), types=("ethernet",), witness="test")

    def conditions(self) -> Conditions:
        return Conditions(network=self.network, power=MAINS, gaming=False, zone=UTC)


class Running:
    """An engine that runs, and what it has shown."""

    def __init__(
        self, drive: Drive, server: SwiftServer, container: str, state: Path, url: str, connections: int = 2
    ) -> None:
        self.reports: list[ManagerReport] = []
        self.notices: list[Notice] = []
        self.world = World()
        self.ledger = Ledger(state / "ledger.sqlite")
        self.store = SwiftStore(
            Credentials(server.auth_url, server.user, server.key), container, connections=connections
        )
        self.engine = Engine(
            "test",
            Rules(),
            self.world,
            self.ledger,
            now=time.time,
            publish=self.reports.append,
            set_cap=lambda rate, _: self.store.throttle.set_cap(rate),
            crowded=lambda: False,
            wake_at=lambda _: None,
        )
        tools = Tools(
            Source(drive.folder),
            self.store,
            Cache([drive.duplicity.archive_dir], [url]),
            self.ledger,
            self,
            time.time,
            time.monotonic,
            random.random,
        )
        order = Order("m", str(drive.folder), drive.url, Target("c", container, "", (url,)), lanes=connections)
        self.engine.add(order, tools)

    def show(self, notice: Notice) -> None:
        self.notices.append(notice)

    def withdraw(self, key: str) -> None:
        """Nothing here needs the user."""

    async def until(self, holds: Callable[[ManagerReport], bool], seconds: float = 120) -> ManagerReport:
        async with asyncio.timeout(seconds):
            while not (self.reports and holds(self.reports[-1])):
                await asyncio.sleep(0.05)
        return self.reports[-1]


@asynccontextmanager
async def running(*arguments: object) -> AsyncIterator[Running]:
    bed = Running(*arguments)  # type: ignore[arg-type]
    task = asyncio.create_task(bed.engine.run())
    try:
        yield bed
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await bed.store.close()
        bed.ledger.close()


def everything_arrived(drive: Drive, server: SwiftServer, container: str) -> None:
    cloud = swiftclient.Connection(server.auth_url, server.user, server.key)
    rows = {row["name"]: row for row in cloud.get_container(container, full_listing=True)[1]}
    for path in drive.folder.iterdir():
        assert rows[path.name]["hash"] == hashlib.md5(path.read_bytes()).hexdigest()
        head = cloud.head_object(container, path.name)
        assert "x-delete-at" not in head
        assert "x-static-large-object" not in head
    assert set(rows) == {path.name for path in drive.folder.iterdir()}
    left = [row["name"] for row in cloud.get_container(f"{container}_segments", full_listing=True)[1]]
    assert left == []


async def test_a_chain_moves_hands_over_and_can_be_used(chain: Drive, swift: SwiftServer, tmp_path: Path) -> None:
    container = swift.container()
    url = f"swift://{container}"
    async with running(chain, swift, container, tmp_path / "state", url) as bed:
        await bed.until(lambda report: report.activity is Activity.DONE)
        final = bed.reports[-1].migrations["m"]
    assert final.handover is HandoverState.DONE, final
    assert final.restorable_from_cloud
    assert final.bytes_done == final.bytes_total == chain.size()
    assert [notice.key for notice in bed.notices] == ["handover-m", "done-m"]
    handed = next(r.migrations["m"] for r in bed.reports if r.migrations["m"].handover is HandoverState.DONE)
    assert handed.volumes_done < handed.volumes_total, "the handover came long before the end"
    everything_arrived(chain, swift, container)


async def test_a_pause_stops_what_is_on_the_line_and_a_resume_goes_on(
    chain: Drive, swift: SwiftServer, tmp_path: Path
) -> None:
    container = swift.container()
    async with running(chain, swift, container, tmp_path / "state", f"swift://{container}") as bed:
        bed.engine.set_limit(300_000)
        await bed.until(lambda report: report.bytes_sent > 500_000)
        bed.engine.pause("", 0.0)
        await bed.until(lambda report: report.activity is Activity.PAUSED, 5)
        await asyncio.sleep(0.5)
        stopped = bed.engine.report().bytes_sent
        await asyncio.sleep(1)
        assert bed.engine.report().bytes_sent == stopped
        bed.engine.set_limit(0)
        bed.engine.resume("")
        await bed.until(lambda report: report.activity is Activity.DONE)
    everything_arrived(chain, swift, container)
