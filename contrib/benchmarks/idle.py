"""At rest: how often slowboat wakes the machine, and what it keeps, while it waits offline, is paused, and is done.

Three daemons of their own, each on a private bus, watched over as the unit has it (WatchdogSec=120), beside `rclone
rcd` and Syncthing (with one folder, and no network to talk to), all in the same minute. Wake-ups are the context
switches of all threads; nothing else tells as simply how often a process kept the processor from sleeping.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import os
import re
import shutil
import socket
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flap import KEY, USER, make_drive
from outcome import CannotRun, Goal, Outcome, need, say

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).parents[2]
VENV = ROOT / ".venv" / "bin"
NAME, PATH = "io.github.slowboat.Slowboat1", "/io/github/slowboat/Slowboat1"
WATCHDOG_USEC = 120_000_000  # as systemd/slowboat.service has it
MOST_WAKE_UPS, MOST_MIB = 6, 45
SETTLED = 20.0  # seconds at rest before the measuring begins
BLACKHOLE = "https://192.0.2.1/auth/v1.0"  # RFC 5737: an address that is nobody's


@dataclass(frozen=True)
class Sample:
    """A process and its children at one moment."""

    switches: int
    cpu_ms: float
    rss_mib: float
    threads: int


def tree(pid: int) -> list[Path]:
    """The folders in /proc of a process and all its descendants."""
    found, parents = [], {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    for one in parents:
        above = one
        while above and above != pid:
            above = parents.get(above, 0)
        if above == pid:
            found.append(Path(f"/proc/{one}"))
    return found


def sample(pid: int) -> Sample:
    switches, cpu, rss, threads = 0, 0, 0, 0
    for process in tree(pid):
        rss += number("VmRSS", (process / "status").read_text())
        for task in (process / "task").iterdir():
            status = (task / "status").read_text()
            switches += number("voluntary_ctxt_switches", status) + number("nonvoluntary_ctxt_switches", status)
            cpu += int((task / "schedstat").read_text().split()[0])
            threads += 1
    return Sample(switches, cpu / 1e6, rss / 1024, threads)


def number(key: str, status: str) -> int:
    found = re.search(rf"^{key}:\s+(\d+)", status, re.MULTILINE)
    return int(found[1]) if found else 0


# -- what runs ---------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def running(*command: str | Path, **options: object) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program that is ended at the block's end."""
    process = await asyncio.create_subprocess_exec(*command, **options)  # type: ignore[arg-type]
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(10):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


@contextlib.asynccontextmanager
async def bus() -> AsyncIterator[str]:
    """The address of a private bus."""
    command = ("dbus-daemon", "--session", "--nofork", "--print-address=1")
    quiet = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.DEVNULL}
    async with running(*command, **quiet) as process:
        assert process.stdout is not None
        yield (await process.stdout.readline()).decode().strip()


@contextlib.asynccontextmanager
async def disconnected(address: str) -> AsyncIterator[None]:
    """A NetworkManager on that bus which says that there is no network."""
    sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]
    from realparts.fake_service import FakeNetworkManager

    async with FakeNetworkManager(address):
        yield


class IdleDaemon:
    """A slowboat of its own."""

    def __init__(self, home: Path, drive: Path, archive: Path, auth_url: str, session: str, system: str) -> None:
        (home / "config/slowboat").mkdir(parents=True)
        (home / "run").mkdir(mode=0o700)
        key = home / "key"
        key.touch(mode=0o600)
        key.write_text(KEY)
        (home / "config/slowboat/config.toml").write_text(
            f'[cloud.bench]\nauth_url = "{auth_url}"\nuser = "{USER}"\nkey_file = "{key}"\n\n'
            f'[migration.bench]\nsource = "{drive}"\nsource_url = "file://{drive}"\ncloud = "bench"\n'
            f'container = "{home.name}"\narchive_dir = "{archive}"\n'
        )
        self.home = home
        self.environment = {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_STATE_HOME": str(home / "state"),
            "XDG_CACHE_HOME": str(home / "cache"),
            "XDG_RUNTIME_DIR": str(home / "run"),
            "DBUS_SESSION_BUS_ADDRESS": session,
            "DBUS_SYSTEM_BUS_ADDRESS": system,
            "NOTIFY_SOCKET": str(home / "run/notify"),
            "WATCHDOG_USEC": str(WATCHDOG_USEC),
            "PYTHONPATH": str(ROOT / "src"),
        }

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[int]:
        """Its pid."""
        with (self.home / "log").open("w") as log, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(self.environment["NOTIFY_SOCKET"])
            command = (VENV / "python", "-m", "slowboat", "daemon")
            async with running(*command, env=self.environment, stdout=log, stderr=log) as process:
                yield process.pid

    async def ask(self, *words: str) -> str:
        argv = ["busctl", f"--address={self.environment['DBUS_SESSION_BUS_ADDRESS']}", *words]
        pipes = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.DEVNULL}
        process = await asyncio.create_subprocess_exec(*argv, **pipes)
        return (await process.communicate())[0].decode()

    async def until(self, state: str, reason: str = "") -> None:
        """It has come to rest in that state."""
        try:
            async with asyncio.timeout(120):
                while True:
                    told = await self.ask("get-property", NAME, PATH, f"{NAME}.Manager", "State", "Reasons")
                    if f'"{state}"' in told and reason in told:
                        return
                    await asyncio.sleep(0.2)
        except TimeoutError:
            raise CannotRun(f"it is not {state}: {told} {(self.home / 'log').read_text()[-500:]}") from None

    async def pause(self) -> None:
        while "paused" not in await self.ask("get-property", NAME, PATH, f"{NAME}.Manager", "Reasons"):
            await self.ask("call", NAME, PATH, f"{NAME}.Manager", "Pause", "ta{sv}", "0", "0")


def small_drive(folder: Path) -> tuple[Path, Path]:
    """A chain of some megabytes, and the folder with its cache."""
    drive, archive = folder / "drive", folder / "archive"
    make_drive(drive, archive / hashlib.md5(f"file://{drive}".encode(), usedforsecurity=False).hexdigest(), 0.02)
    return drive, archive


@contextlib.asynccontextmanager
async def swift(folder: Path) -> AsyncIterator[str]:
    """The auth URL of a real Swift."""
    async with running(ROOT / "contrib/swift", "--dir", folder, stdout=asyncio.subprocess.PIPE) as process:
        assert process.stdout is not None
        yield (await process.stdout.readline()).decode().split()[1]


def syncthing_home(folder: Path, shared: Path) -> tuple[str, ...]:
    """Its command, for one folder and no network but its own: there is nobody to talk to."""
    config = folder / "config.xml"
    text = config.read_text()
    for option in ("globalAnnounceEnabled", "localAnnounceEnabled", "relaysEnabled", "natEnabled"):
        text = re.sub(rf"<{option}>true<", f"<{option}>false<", text)
    text = re.sub(r"<urAccepted>0<", "<urAccepted>-1<", text)
    row = f'<folder id="bench" label="bench" path="{shared}" type="sendonly"></folder>'
    config.write_text(text.replace("<device ", f"{row}\n<device ", 1))
    return ("syncthing", "serve", "--no-browser", "--no-restart", f"--home={folder}", "--gui-address=127.0.0.1:0")


# -- the measuring -----------------------------------------------------------------------------------------------


async def measured(tools: dict[str, int], seconds: float) -> list[dict[str, object]]:
    await asyncio.sleep(SETTLED)
    say(f"idle: everybody is at rest; counting for {seconds:.0f} s")
    before, began = {tool: sample(pid) for tool, pid in tools.items()}, time.monotonic()
    await asyncio.sleep(seconds)
    minutes = (time.monotonic() - began) / 60
    after = {tool: sample(pid) for tool, pid in tools.items()}
    return [
        {
            "tool": tool,
            "wake_ups_per_minute": round((after[tool].switches - before[tool].switches) / minutes, 1),
            "cpu_ms_per_minute": round((after[tool].cpu_ms - before[tool].cpu_ms) / minutes, 2),
            "rss_mib": round(after[tool].rss_mib, 1),
            "threads": after[tool].threads,
        }
        for tool in tools
    ]


async def everything(folder: Path, seconds: float) -> Outcome:
    drive, archive = small_drive(folder)
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        auth_url, system = await enter(swift(folder / "swift")), await enter(bus())
        await enter(disconnected(system))
        urls = {"offline": BLACKHOLE, "paused": auth_url, "done": auth_url}
        daemons = {
            state: IdleDaemon(folder / state, drive, archive, url, await enter(bus()), system)
            for state, url in urls.items()
        }
        tools = {f"slowboat {state}": await enter(daemon.running()) for state, daemon in daemons.items()}
        await daemons["paused"].pause()
        await daemons["paused"].until("paused")
        await daemons["offline"].until("waiting", "offline")
        await daemons["done"].until("done")
        quiet = {"stdout": asyncio.subprocess.DEVNULL, "stderr": asyncio.subprocess.DEVNULL, "cwd": folder}
        rclone = ("rclone", "rcd", "--rc-no-auth", "--rc-addr=127.0.0.1:0", f"--config={os.devnull}")
        tools["rclone rcd"] = (await enter(running(*rclone, **quiet))).pid
        home = folder / "syncthing"
        generate = ("syncthing", "generate", f"--home={home}", "--no-default-folder")
        await (await asyncio.create_subprocess_exec(*generate, **quiet)).wait()
        shared = Path(shutil.copytree(drive, folder / "shared"))
        tools["syncthing"] = (await enter(running(*syncthing_home(home, shared), **quiet))).pid
        return judged(await measured(tools, seconds))


def judged(rows: list[dict[str, object]]) -> Outcome:
    goals = []
    for row in rows[:3]:
        wake_ups, rss = float(str(row["wake_ups_per_minute"])), float(str(row["rss_mib"]))
        goals += [
            Goal(f"{row['tool']}: wake-ups a minute", wake_ups, f"<= {MOST_WAKE_UPS}", wake_ups <= MOST_WAKE_UPS),
            Goal(f"{row['tool']}: RSS in MiB", rss, f"<= {MOST_MIB}", rss <= MOST_MIB),
        ]
    return Outcome(rows, goals)


def run(arguments: list[str]) -> Outcome:
    parser = argparse.ArgumentParser(prog="contrib/bench idle", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="for which everybody is watched")
    known = parser.parse_args(arguments)
    need(rclone="rclone", syncthing="syncthing", busctl="systemd", **{"dbus-daemon": "dbus"})
    with tempfile.TemporaryDirectory(prefix="sb-idle-") as folder:
        return asyncio.run(everything(Path(folder), known.seconds))


if __name__ == "__main__":
    sys.exit("run it by contrib/bench idle")
