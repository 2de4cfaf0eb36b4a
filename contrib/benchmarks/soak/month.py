"""A month in a minute: the engine with model edges and many objects, over sleeps, networks, and reloads.

Run as a process of its own, whose memory is the engine's and the models' alone; it prints a sample per day, as JSON:

    python -m soak.month --seed 1 --objects 100000 --days 30
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import random
import tempfile
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from engine.engine_bed import DAY, HOME, HOUR, EngineBed
from slowboat.core.words import Activity, Connectivity, Network

NOWHERE = replace(HOME, connectivity=Connectivity.NONE, names=(), types=())
METERED = Network(Connectivity.FULL, metered=True, names=("phone",), types=("mobile",), witness="test")
NETWORKS = [HOME, HOME, HOME, METERED, NOWHERE]

A_DAY = ("sleep", "network", "network")
"""What befalls it each day, in any order."""
A_WEEK = ("reload", "drive", "reload", "rescan", "reload", "retry", "drive")
"""And one of these, day by day: the drive goes or comes, the user asks for this or that, the settings change."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--objects", type=int, default=100_000)
    parser.add_argument("--days", type=int, default=30)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-month-") as folder:
        asyncio.run(_Month(Path(folder), chosen).live())


class _Month:
    def __init__(self, folder: Path, chosen: argparse.Namespace) -> None:
        self._chance = random.Random(f"{chosen.seed}/month")
        self._days = chosen.days
        self._bed = EngineBed(folder, count=chosen.objects, left=2 * chosen.days)
        self._bed.reports = deque(maxlen=1)  # type: ignore[assignment]  # a desktop keeps no more either
        self._bed.begin_engine()
        self._task: asyncio.Task[None] | None = None

    async def live(self) -> None:
        # One worker, so that a second one of a busy moment is not taken for a thread that was left behind.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        self._begin()
        for day in range(self._days):
            for event in self._chance.sample(A_DAY, len(A_DAY)):
                await getattr(self, f"_{event}")()
            await getattr(self, f"_{A_WEEK[day % len(A_WEEK)]}")()
            print(json.dumps({"day": day, **self._sample()}), flush=True)
        await self._to_the_end()

    def _begin(self) -> None:
        self._task = asyncio.create_task(self._bed.engine.run())

    async def _stop(self) -> None:
        assert self._task
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _some_work(self) -> None:
        """A moment of the machine's time, and an hour or two of the world's."""
        await asyncio.sleep(0.02)
        self._bed.clock.run(self._chance.uniform(HOUR, 2 * HOUR))
        self._bed.engine.world_changed()
        await asyncio.sleep(0.02)

    async def _sleep(self) -> None:
        bed = self._bed
        bed.sleeping = True
        await bed.engine.stand_still()
        bed.clock.sleep(8 * HOUR)
        bed.sleeping = False
        bed.engine.leapt()
        await self._some_work()

    async def _network(self) -> None:
        self._bed.network = self._chance.choice(NETWORKS)
        self._bed.engine.world_changed()
        await self._some_work()

    async def _drive(self) -> None:
        self._bed.source.absent_at = self._chance.choice([None, None, 0])
        self._bed.engine.drives_changed()
        await self._some_work()

    async def _rescan(self) -> None:
        self._bed.engine.rescan()
        await self._some_work()

    async def _retry(self) -> None:
        self._bed.engine.retry_now()
        await self._some_work()

    async def _reload(self) -> None:
        await self._stop()
        self._bed.reload()
        self._begin()
        await self._some_work()

    async def _to_the_end(self) -> None:
        bed = self._bed
        bed.network, bed.source.absent_at = HOME, None
        bed.clock.run(DAY)
        bed.engine.drives_changed()
        bed.engine.retry_now()
        async with asyncio.timeout(300):
            while bed.shown.activity is not Activity.DONE:
                await asyncio.sleep(0.05)
        await self._stop()
        bed.ledger.close()
        missing = len(bed.source.files) - len(bed.store.alive(segments=False))
        print(json.dumps({"missing": missing}), flush=True)

    def _sample(self) -> dict[str, float]:
        # What the models write down for tests to look at is theirs, and not the engine's.
        for kept in (
            self._bed.store.requests,
            self._bed.caps,
            self._bed.notices,
            self._bed.store.sent,
            self._bed.source.bytes_read,
        ):
            kept.clear()
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return {
            "mib": round(pages * os.sysconf("SC_PAGE_SIZE") / 1048576, 1),
            "descriptors": len([*Path("/proc/self/fd").iterdir()]),
            "threads": threading.active_count(),
            "tasks": len(asyncio.all_tasks()),
        }


if __name__ == "__main__":
    main()
