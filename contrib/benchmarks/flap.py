"""A line that dies every 20 seconds: how much of what goes over it counts, and does each file arrive?

One Swift; for each tool a line of its own (8 Mbit/s up, all connections reset every 20 s, dead for 1 s) to a
container of its own, all at the same time: slowboat, `swift upload` (whole files, and -S 10M) and `rclone copy`.
Acknowledged is what the server holds of the files at the end; sent is what came out of the tool into the line,
headers included.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import os
import socket
import struct
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from chain import MB, VOLUME_SIZE, copy_metadata, make_chain
from outcome import CannotRun, Goal, Outcome, need, say

ROOT = Path(__file__).parents[2]
VENV = ROOT / ".venv" / "bin"
RATE = MB  # bytes per second: 8 Mbit/s
ALIVE, DEAD = 20.0, 1.0  # seconds
SIGNATURES_SIZE = 750 * MB  # the story's signatures were 751 MB
VOLUMES = 2
USER, KEY = "test:tester", "testing"


# -- the line ------------------------------------------------------------------------------------------------


@dataclass
class Line:
    """A TCP line to the server that carries `RATE` upwards and dies again and again."""

    server_port: int
    port: int = 0
    sent: int = 0
    alive: bool = True
    open_sockets: set[asyncio.StreamWriter] = field(default_factory=set)
    free_at: float = 0.0

    async def run(self) -> None:
        async with await asyncio.start_server(self.carry, "127.0.0.1", 0, limit=1 << 16) as server:
            self.port = server.sockets[0].getsockname()[1]
            while True:
                await asyncio.sleep(ALIVE)
                self.alive = False
                for writer in list(self.open_sockets):
                    reset(writer)
                await asyncio.sleep(DEAD)
                self.alive = True

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.alive:
            reset(writer)
            return
        # a real line holds little in flight; a large receive buffer would count what never got through
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        with contextlib.suppress(OSError):
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.server_port)
            self.open_sockets |= {writer, up_writer}
            ways = [asyncio.ensure_future(self.up(reader, up_writer)), asyncio.ensure_future(down(up_reader, writer))]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for one in (writer, up_writer):
                self.open_sockets.discard(one)
                one.close()

    async def up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while block := await reader.read(8192):
            self.sent += len(block)
            now = time.monotonic()
            self.free_at = max(self.free_at, now) + len(block) / RATE
            await asyncio.sleep(self.free_at - now)
            writer.write(block)
            await writer.drain()


async def down(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while block := await reader.read(65536):
        writer.write(block)
        await writer.drain()


def reset(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


# -- the files -----------------------------------------------------------------------------------------------


def make_drive(folder: Path, cache: Path, scale: float) -> list[Path]:
    """The chain, and what duplicity has of it in its cache."""
    make_chain(folder, signatures=int(SIGNATURES_SIZE * scale), volumes=VOLUMES, volume=int(VOLUME_SIZE * scale))
    cache.mkdir(parents=True)
    copy_metadata(folder, cache)
    return sorted(folder.iterdir())


# -- the tools -----------------------------------------------------------------------------------------------


@dataclass
class Tool:
    name: str
    container: str
    line: Line
    seconds: float = 0.0
    ended: str = ""


def slowboat_files(tool: Tool, drive: Path, home: Path) -> dict[str, str]:
    """Configuration and environment for a slowboat of its own."""
    (home / "config/slowboat").mkdir(parents=True)
    key = home / "key"
    key.write_text(KEY)
    key.chmod(0o600)
    (home / "config/slowboat/config.toml").write_text(
        f'[cloud.bench]\nauth_url = "http://127.0.0.1:{tool.line.port}/auth/v1.0"\nuser = "{USER}"\n'
        f'key_file = "{key}"\n\n[migration.bench]\nsource = "{drive}"\nsource_url = "file://{drive}"\n'
        f'cloud = "bench"\ncontainer = "{tool.container}"\narchive_dir = "{home / "archive"}"\n'
    )
    (home / "run").mkdir(mode=0o700)
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_STATE_HOME": str(home / "state"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_RUNTIME_DIR": str(home / "run"),
        "DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nonexistent/bus",
    }


async def run_slowboat(tool: Tool, drive: Path, home: Path) -> None:
    environment = slowboat_files(tool, drive, home)
    bus = await asyncio.create_subprocess_exec(
        *("dbus-daemon", "--session", "--nofork", "--print-address=1"),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert bus.stdout is not None
    environment["DBUS_SESSION_BUS_ADDRESS"] = (await bus.stdout.readline()).decode().strip()
    with (home / "log").open("w") as log:
        daemon = await asyncio.create_subprocess_exec(
            *(VENV / "python", "-m", "slowboat", "daemon"), env=environment, stdout=log, stderr=log
        )
    try:
        while tool.ended == "" and daemon.returncode is None:
            await asyncio.sleep(1)
            status = await asyncio.create_subprocess_exec(
                *("busctl", "--user", "get-property", "io.github.slowboat.Slowboat1", "/io/github/slowboat/Slowboat1"),
                *("io.github.slowboat.Slowboat1.Manager", "State"),
                env=environment,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
            answer, _ = await status.communicate()
            if b'"done"' in answer:
                return
        raise CannotRun(f"the daemon ended: {(home / 'log').read_text()[-500:]}")
    finally:
        for process in (daemon, bus):
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()


async def run_swift(tool: Tool, drive: Path, *options: str) -> None:
    await run_command(
        tool,
        [str(VENV / "swift"), "upload", *options, tool.container, "."],
        cwd=drive,
        ST_AUTH=f"http://127.0.0.1:{tool.line.port}/auth/v1.0",
        ST_USER=USER,
        ST_KEY=KEY,
    )


async def run_rclone(tool: Tool, drive: Path) -> None:
    await run_command(
        tool,
        ["rclone", "copy", "--config", os.devnull, str(drive), f"bench:{tool.container}"],
        cwd=drive,
        RCLONE_CONFIG_BENCH_TYPE="swift",
        RCLONE_CONFIG_BENCH_USER=USER,
        RCLONE_CONFIG_BENCH_KEY=KEY,
        RCLONE_CONFIG_BENCH_AUTH=f"http://127.0.0.1:{tool.line.port}/auth/v1.0",
    )


async def run_command(tool: Tool, command: list[str], cwd: Path, **environment: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "HOME": str(cwd.parent), **environment},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        status = await process.wait()
        tool.ended = "finished" if status == 0 else f"gave up (exit {status})"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def timed(tool: Tool, work: object, limit: float) -> None:
    began = time.monotonic()
    try:
        async with asyncio.timeout(limit):
            await work  # type: ignore[misc]
        tool.ended = tool.ended or "finished"
    except TimeoutError:
        tool.ended = f"still at it after {limit:.0f} s"
    tool.seconds = time.monotonic() - began
    say(f"flap: {tool.name}: {tool.ended} after {tool.seconds:.0f} s, {tool.line.sent / MB:.0f} MB sent")


# -- what arrived --------------------------------------------------------------------------------------------


def held(auth_url: str, container: str, files: list[Path]) -> tuple[int, int]:
    """(bytes that the server holds of the files, files that are there whole)."""
    import swiftclient

    cloud = swiftclient.Connection(auth_url, USER, KEY)
    sizes: dict[str, int] = {}
    with contextlib.suppress(swiftclient.ClientException):
        for row in cloud.get_container(container, full_listing=True)[1]:
            sizes[row["name"]] = int(cloud.head_object(container, row["name"])["content-length"])
    whole = [file for file in files if sizes.get(file.name) == file.stat().st_size]
    names = {file.name for file in whole}
    parts = 0
    with contextlib.suppress(swiftclient.ClientException):
        for row in cloud.get_container(f"{container}_segments", full_listing=True)[1]:
            if not any(name in row["name"] for name in names):
                parts += row["bytes"]
    return sum(file.stat().st_size for file in whole) + parts, len(whole)


async def everything(arguments: argparse.Namespace, folder: Path) -> Outcome:
    drive, home = folder / "drive", folder / "home"
    archive = home / "archive" / hashlib.md5(f"file://{drive}".encode(), usedforsecurity=False).hexdigest()
    files = make_drive(drive, archive, arguments.scale)
    total = sum(file.stat().st_size for file in files)
    say(f"flap: {len(files)} files, {total / MB:.0f} MB; at best {total / RATE * (1 + DEAD / ALIVE):.0f} s")
    server = await asyncio.create_subprocess_exec(
        ROOT / "contrib/swift", "--dir", folder / "swift", stdout=asyncio.subprocess.PIPE
    )
    assert server.stdout is not None
    auth_url = (await server.stdout.readline()).decode().split()[1]
    port = int(auth_url.split(":")[2].split("/")[0])
    names = {"slowboat": "boat", "swift upload": "whole", "swift upload -S 10M": "parts", "rclone copy": "rclone"}
    tools = [Tool(name, container, Line(port)) for name, container in names.items()]
    lines = [asyncio.ensure_future(tool.line.run()) for tool in tools]
    try:
        while not all(tool.line.port for tool in tools):
            await asyncio.sleep(0.01)
        boat, whole, parts, rclone = tools
        await asyncio.gather(
            timed(boat, run_slowboat(boat, drive, home), arguments.limit),
            timed(whole, run_swift(whole, drive), arguments.limit),
            timed(parts, run_swift(parts, drive, "-S", str(10 * MB)), arguments.limit),
            timed(rclone, run_rclone(rclone, drive), arguments.limit),
        )
        return judged(
            [row(tool, await asyncio.to_thread(held, auth_url, tool.container, files), len(files)) for tool in tools]
        )
    finally:
        for line in lines:
            line.cancel()
        server.terminate()
        await server.wait()


def row(tool: Tool, arrived: tuple[int, int], files: int) -> dict[str, object]:
    acknowledged, whole = arrived
    return {
        "tool": tool.name,
        "acknowledged_bytes": acknowledged,
        "sent_bytes": tool.line.sent,
        "acknowledged_per_sent": round(acknowledged / max(1, tool.line.sent), 4),
        "files_arrived": f"{whole}/{files}",
        "seconds": round(tool.seconds),
        "ended": tool.ended,
    }


def judged(rows: list[dict[str, object]]) -> Outcome:
    ours = rows[0]
    ratio, arrived = float(str(ours["acknowledged_per_sent"])), str(ours["files_arrived"])
    whole, files = arrived.split("/")
    return Outcome(
        rows,
        [
            Goal("slowboat: bytes acknowledged / bytes sent", ratio, ">= 0.95", ratio >= 0.95),
            Goal("slowboat: every file arrived", arrived, f"{files}/{files}", whole == files),
        ],
    )


def run(arguments: list[str]) -> Outcome:
    parser = argparse.ArgumentParser(prog="contrib/bench flap", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="of the files' sizes, for a quick look")
    parser.add_argument("--limit", type=float, default=2400.0, help="seconds that each tool gets")
    parser.add_argument("--dir", type=Path, default=None, help="where to work (needs 3 GB)")
    known = parser.parse_args(arguments)
    need(rclone="rclone", busctl="systemd", **{"dbus-daemon": "dbus"})
    with tempfile.TemporaryDirectory(dir=known.dir, prefix="slowboat-flap-") as folder:
        return asyncio.run(everything(known, Path(folder)))


if __name__ == "__main__":
    sys.exit("run it by contrib/bench flap")
