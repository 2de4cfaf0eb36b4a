"""An engine that obeys and remembers, behind the real service on a real bus. Run as a program it sails a little.

dbus-run-session -- bash -c 'python tests/cli/stand_in.py & sleep 1; slowboat status --watch'
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from typing import TYPE_CHECKING

from slowboat.core.words import Activity, HandoverState, ManagerReport, MigrationReport, Reason
from slowboat.edges.bus.service import Service

if TYPE_CHECKING:
    from slowboat.core.errors import NeedsUser

FULL = "full 2026-11-01 12:00"
PLAN = [
    {"name": "sigs", "role": "signatures", "set": FULL, "bytes": 1_200_000, "phase": "done", "canary": False},
    {"name": "manifest", "role": "manifest", "set": FULL, "bytes": 300_000, "phase": "done", "canary": False},
    *(
        {"name": f"vol{n}", "role": "volume", "set": FULL, "bytes": 25_000_000, "phase": "queued", "canary": False}
        for n in range(1, 5)
    ),
]
LAPTOP = MigrationReport(
    name="laptop",
    source="/media/anna/Backup/laptop",
    target_url="swift://backups/laptop",
    activity=Activity.SENDING,
    handover=HandoverState.PENDING,
    volumes_total=4120,
    volumes_done=964,
    metadata_total=14,
    metadata_done=14,
    bytes_total=103_000_000_000,
    bytes_done=24_100_000_000,
    rate=512_000,
    current_object="duplicity-full.20261101T120000Z.vol965.difftar.gpg",
)


class Engine:
    """Does what it is told, at once, and says no where `refusal` is set.

    Attributes:
        asked: every command with its arguments, in order.
    """

    def __init__(self, *migrations: MigrationReport) -> None:
        self.asked: list[tuple[object, ...]] = []
        self.refusal: NeedsUser | None = None
        self.sent_when: list[tuple[float, int]] = []
        self.report = ManagerReport(
            "0.1.0",
            activity=Activity.SENDING,
            rate=512_000,
            limit=600_000,
            mode="spare",
            network="Home",
            migrations={each.name: each for each in migrations or (LAPTOP,)},
        )
        self.service: Service | None = None

    def show(self, **changes: object) -> None:
        self.report = dataclasses.replace(self.report, **changes)
        assert self.service
        self.service.publish(self.report)

    def change(self, name: str, **changes: object) -> None:
        one = dataclasses.replace(self.report.migrations[name], **changes)
        self.show(migrations={**self.report.migrations, name: one})

    def _note(self, *command: object) -> None:
        self.asked.append(command)
        if self.refusal:
            raise self.refusal

    def pause(self, migration: str, until: float) -> None:
        self._note("pause", migration, until)
        if not migration:
            self.show(activity=Activity.PAUSED, rate=0, paused_until=until)

    def resume(self, migration: str) -> None:
        self._note("resume", migration)
        self.show(activity=Activity.SENDING, rate=512_000, paused_until=0.0)

    def retry_now(self) -> None:
        self._note("retry_now")

    def rescan(self) -> None:
        self._note("rescan")

    async def reload(self) -> None:
        self._note("reload")

    def set_limit(self, limit: int, until: float = 0.0, mode: str = "") -> None:
        self._note("set_limit", limit, until, mode)
        self.show(limit=limit, limit_until=until, mode=mode or "spare")

    async def hand_over(self, migration: str) -> None:
        self._note("hand_over", migration)
        self.change(migration, handover=HandoverState.DONE)

    async def undo_handover(self, migration: str) -> None:
        self._note("undo_handover", migration)
        self.change(migration, handover=HandoverState.PENDING)

    async def switch_front_end(self, migration: str) -> str:
        self._note("switch_front_end", migration)
        self.change(migration, handover=HandoverState.DONE)
        return "rclone://cloud:backups/laptop"

    async def plan(
        self, migration: str, *, grouped: bool = False, first: int = 0, most: int = 0
    ) -> list[dict[str, str | int | bool]]:
        self._note("plan", migration)
        return [{**row, "files": 1} for row in PLAN] if grouped else PLAN[first : first + most if most else None]

    def hold(self, holds: list[tuple[str, str]]) -> None:
        """Nobody does."""

    def history(self, since: float, limit: int) -> list[tuple[float, str, str, str]]:
        self._note("history", since, limit)
        lines = [(1795000000.0, "laptop", "adopted", "The chain on the drive is adopted"), (1795003600.0, "", "x", "Y")]
        return [line for line in lines if line[0] >= since][-limit:]

    def traffic(self, since: float) -> list[tuple[float, int]]:
        self._note("traffic")
        return [(at, number) for at, number in self.sent_when if at >= since]


async def sail(address: str = "") -> None:
    """Plays a migration: sends for a while, waits for a while."""
    engine = Engine()
    engine.service = Service(version="0.1.0", reload=engine.reload, address=address)
    await engine.service.start()
    async with engine.service.obeying(engine):
        await _sailing(engine)


async def _sailing(engine: Engine) -> None:
    metered = Reason("metered", 'The network "Phone" is metered', "Use an unmetered network")
    done = LAPTOP.bytes_done
    while True:
        for second in range(40):
            waits = second % 10 > 6
            done += 0 if waits else 512_000
            activity = Activity.WAITING if waits else Activity.SENDING
            engine.change(
                "laptop",
                activity=activity,
                bytes_done=done,
                reasons=(metered,) if waits else (),
                handover=HandoverState.DONE if second > 4 else HandoverState.PENDING,
                expected_end=0.0 if waits else time.time() + (LAPTOP.bytes_total - done) / 512_000,
            )
            engine.show(activity=activity, rate=0 if waits else 512_000, reasons=(metered,) if waits else ())
            await asyncio.sleep(1)


if __name__ == "__main__":
    asyncio.run(sail())
