"""The pieces for tray, dock and panel, against the real service on a bus; the hosts of tray and dock are ours."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from cli.stand_in import Engine
from realparts.presence import ROOT
from slowboat.core.words import Activity, Reason
from slowboat.edges.bus.service import Service
from slowboat.edges.dbus import Answer, Call, Connection, Match

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from slowboat.edges.dbus import Signal

PIECES = ROOT / "contrib/desktop"
BOAT = PIECES / "gnome-shell/slowboat@slowboat.github.io/boat.js"
WATCHER = "org.kde.StatusNotifierWatcher"
ITEM = "org.kde.StatusNotifierItem"
LAUNCHER = "com.canonical.Unity.LauncherEntry"
pytestmark = pytest.mark.needs("dbus-daemon")


@contextlib.asynccontextmanager
async def service(address: str) -> AsyncIterator[Engine]:
    engine = Engine()
    engine.service = Service(version="0.1.0", reload=engine.reload, address=address)
    await engine.service.start()
    async with engine.service.obeying(engine):
        engine.show(progress=0.234, bytes_total=1000, bytes_done=234)
        yield engine
    await engine.service.close()


@contextlib.asynccontextmanager
async def started(*argv: object, address: str) -> AsyncIterator[asyncio.subprocess.Process]:
    environment = {
        **os.environ, "SLOWBOAT_BUS": address, "DBUS_SESSION_BUS_ADDRESS": address, "PYTHONPATH": str(ROOT / "src"),
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(*map(str, argv), env=environment, stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def until(look) -> None:
    async with asyncio.timeout(60):
        while not look():
            await asyncio.sleep(0.02)


async def test_the_tray_has_an_item_and_the_dock_its_progress(session_bus: str) -> None:
    registered: list[str] = []
    updates: list[dict[str, object]] = []
    jobs: list[tuple[str, list[object]]] = []

    def hosts(call: Call) -> Answer:
        if call.member == "RegisterStatusNotifierItem":
            registered.append(call.body[0])
        if call.interface.startswith("org.kde.JobView"):
            jobs.append((call.member, call.body))
            return Answer("o", ["/job/1"]) if call.member == "requestView" else Answer()
        return Answer()

    async with await Connection.open(address=session_bus) as desktop, service(session_bus) as engine:
        desktop.serve(hosts)
        assert await desktop.own(WATCHER)
        assert await desktop.own("org.kde.JobViewServer")

        def heard(signal: Signal) -> None:
            assert signal.body[0] == "application://io.github.slowboat.Slowboat1.desktop"
            updates.append(signal.body[1])

        await desktop.subscribe(Match(interface=LAUNCHER, member="Update"), heard)
        async with started(sys.executable, PIECES / "slowboat-tray", address=session_bus):
            await until(lambda: updates and registered and ("setPercent", [23]) in jobs)
            assert updates[-1] == {"progress": 0.234, "progress-visible": True, "urgent": False}
            assert jobs[0][0] == "requestView"
            item = await desktop.get_all(registered[0], "/StatusNotifierItem", ITEM)
            assert (item["Status"], item["IconName"]) == ("Active", "io.github.slowboat.Slowboat1-symbolic")
            assert "sending" in item["ToolTip"][2]

            engine.show(activity=Activity.NEEDS_USER, rate=0, reasons=(Reason("quota", "The cloud is full"),))
            await until(lambda: updates[-1]["urgent"] and ("terminate", [""]) in jobs)
            assert updates[-1]["progress-visible"] is False
            item = await desktop.get_all(registered[0], "/StatusNotifierItem", ITEM)
            assert (item["Status"], item["ToolTip"][3]) == ("NeedsAttention", "The cloud is full.")

            await desktop.call(registered[0], "/StatusNotifierItem", ITEM, "SecondaryActivate", "ii", 0, 0)
            await until(lambda: ("pause", "", 0.0) in engine.asked)
            await until(lambda: engine.report.activity is Activity.PAUSED)


SCRIPT = """
import GLib from 'gi://GLib';
import {Boat, label, lines, rate} from 'file://BOAT';
const loop = new GLib.MainLoop(null, false);
const boat = new Boat(shown => {
    if (shown.state === 'sending')
        boat.turn();
    print(JSON.stringify([label(shown), ...lines(shown)]));
    if (shown.state === 'paused') {
        print(JSON.stringify([rate(1500000), rate(512000), rate(999), label({state: 'done'}), lines({state: ''})[0]]));
        boat.destroy();
        loop.quit();
    }
});
loop.run();
"""


@pytest.mark.needs("gjs")
async def test_the_extension_of_gnomes_shell_reads_and_turns_the_daemon(session_bus: str, tmp_path) -> None:
    """But for the drawing (extension.js), which only the shell itself can run."""
    script = tmp_path / "panel.js"
    script.write_text(SCRIPT.replace("BOAT", str(BOAT)))
    async with service(session_bus) as engine:
        engine.show(reasons=(Reason("crowded", "Somebody else uses the line"),))
        async with started("gjs", "-m", script, address=session_bus) as process:
            async with asyncio.timeout(60):
                said = (await process.stdout.read()).decode().splitlines()
    assert '["↑ 23 % 512 kB/s","slowboat: sending","Somebody else uses the line"]' in said
    assert said[-1] == '["1.5 MB/s","512 kB/s","999 B/s","✓","slowboat is not running"]'
    assert ("pause", "", 0.0) in engine.asked
