"""slowboat, rclone and `swift upload`, each bringing one folder to one server, and what that took of the machine.

The server is the bare sink (sink.py) or a real Swift (contrib/swift), both on loopback; slowboat is the daemon as
anybody has it, on a bus of its own. Figures are a process's own: seconds from its start to its end (slowboat's: until
it says that all is in the cloud), processor seconds of all its threads, and the most memory that it ever had.

It knows how each is called and how the kernel accounts for it; it must not know what is compared, nor the goals.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from flap import KEY, USER
from outcome import CannotRun, need

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PYTHON = ROOT / ".venv/bin/python"
NAME, PATH = "io.github.slowboat.Slowboat1", "/io/github/slowboat/Slowboat1"
CONTAINER = "bench"
QUIET = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
BOAT, SWIFT, RCLONE = "slowboat", "swift upload", "rclone copy"
ALL_THERE = "Everything is in the cloud"


def need_peers() -> None:
    """Raises CannotRun, with the command that brings what is missing."""
    need(rclone="rclone", swift="python3-swiftclient", busctl="systemd", **{"dbus-daemon": "dbus"})


@dataclass(frozen=True)
class Server:
    """Where a backup goes.

    Attributes:
        auth_url: of version 1.
        certificate: its own, where it speaks TLS.
        counting: it is a sink, and tells what it was asked.
    """

    auth_url: str
    certificate: Path | None = None
    counting: bool = False

    def counts(self) -> Mapping[str, int]:
        """How many requests of each kind a sink had until now, and "bytes"; nothing of a real Swift."""
        if not self.counting:
            return {}
        url = self.auth_url.replace("/auth/v1.0", "/counts")
        context = ssl.create_default_context(cafile=str(self.certificate)) if self.certificate else None
        with urllib.request.urlopen(url, context=context, timeout=30) as answer:
            found: dict[str, int] = json.load(answer)
        return found


@contextlib.contextmanager
def sink(folder: Path, *, tls: bool = False, holds: Path | None = None) -> Iterator[Server]:
    """A sink of its own; `holds`: whose files stand in the container already."""
    options: list[str | Path] = []
    certificate = None
    if tls:
        certificate = make_certificate(folder)
        options += ["--tls", certificate, certificate.with_name("key.pem")]
    if holds:
        options += ["--holds", holds, CONTAINER]
    with _serving(sys.executable, HERE / "sink.py", *options) as url:
        yield Server(url, certificate, counting=True)


@contextlib.contextmanager
def real_swift(folder: Path) -> Iterator[Server]:
    """A real Swift of its own."""
    with _serving(ROOT / "contrib/swift", "--dir", folder) as url:
        yield Server(url)


@contextlib.contextmanager
def _serving(*command: str | Path) -> Iterator[str]:
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            told = process.stdout.readline().split()
            if len(told) < 2:
                raise CannotRun(f"{command[0]} did not start")
            yield told[1]
        finally:
            process.terminate()


def make_certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1, and its key beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    certificate = folder / "cert.pem"
    subprocess.run(
        (
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", folder / "key.pem", "-out", certificate, "-days", "2", "-subj", "/CN=bench"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
        ),
        check=True,
        capture_output=True,
    )
    return certificate


def since(before: Mapping[str, int], after: Mapping[str, int]) -> Mapping[str, int]:
    """How many requests there were between two counts; those for the counts are nobody's."""
    return {kind: after[kind] - before.get(kind, 0) for kind in after if kind != "GET /counts"}


# -- what a process took ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Took:
    """What one run took.

    Attributes:
        seconds: from the beginning to the end.
        cpu: processor seconds, all threads and all processes that it waited for.
        peak_mib: the most memory that it had, resident.
        requests: that a sink had meanwhile.
    """

    seconds: float
    cpu: float
    peak_mib: float
    requests: Mapping[str, int] = field(default_factory=dict)


def cpu_of(pid: int) -> float:
    """Processor seconds of all threads of a process until now, those that have ended included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_of(pid: int, key: str = "VmHWM") -> float:
    """MiB: the most that a process ever had (VmHWM), or has now (VmRSS)."""
    found = re.search(rf"^{key}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


def run_to_its_end(*command: str | Path, environment: Mapping[str, str], cwd: Path) -> Took:
    """A program of its own. Raises CannotRun where it fails."""
    began = time.monotonic()
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    words = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if status:
        raise CannotRun(f"{command[0]} failed: {words.decode(errors='replace')[-500:]}")
    return Took(time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


# -- the peers -------------------------------------------------------------------------------------------------------


def swift_upload(server: Server, drive: Path, *options: str) -> Took:
    """Debian's `swift upload` with its own ten threads."""
    verified = ("--os-cacert", str(server.certificate)) if server.certificate else ()
    return run_to_its_end(
        *("/usr/bin/swift", *verified, "upload", CONTAINER, ".", *options),
        environment={**_plain(), "ST_AUTH": server.auth_url, "ST_USER": USER, "ST_KEY": KEY},
        cwd=drive,
    )


def rclone_copy(server: Server, drive: Path, *options: str) -> Took:
    """Debian's `rclone copy` with its own four transfers."""
    return run_to_its_end(*_rclone(server, *options), environment=_rclone_environment(server), cwd=drive)


@contextlib.contextmanager
def rclone_running(server: Server, drive: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """The same, for the time of a block."""
    with subprocess.Popen(
        _rclone(server, *options),
        env=_rclone_environment(server),
        cwd=drive,
        **QUIET,  # type: ignore[call-overload]
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def _rclone(server: Server, *options: str) -> Sequence[str]:
    verified = ("--ca-cert", str(server.certificate)) if server.certificate else ()
    return ("rclone", "copy", "--config", os.devnull, *verified, *options, ".", f"bench:{CONTAINER}")


def _rclone_environment(server: Server) -> Mapping[str, str]:
    return {
        **_plain(),
        "RCLONE_CONFIG_BENCH_TYPE": "swift",
        "RCLONE_CONFIG_BENCH_USER": USER,
        "RCLONE_CONFIG_BENCH_KEY": KEY,
        "RCLONE_CONFIG_BENCH_AUTH": server.auth_url,
    }


def _plain() -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": "/nonexistent"}


# -- slowboat --------------------------------------------------------------------------------------------------------


class Boat:
    """A daemon with a home of its own; it may be started again and again.

    Args:
        home: its own folder.
        drive: what it moves.
        metadata: the names of the files in duplicity's cache of it.
        more: tables for its configuration.
        top: lines for its beginning.
    """

    def __init__(
        self, home: Path, server: Server, drive: Path, metadata: Sequence[str], more: str = "", top: str = ""
    ) -> None:
        self.home = home
        self.server = server
        self.process: subprocess.Popen[bytes] | None = None
        archive = home / "archive"
        cache = archive / hashlib.md5(f"file://{drive}".encode(), usedforsecurity=False).hexdigest()
        for folder in (home / "config/slowboat", cache, home / "run"):
            folder.mkdir(parents=True, mode=0o700)
        for name in metadata:
            shutil.copy(drive / name, cache / name)
        key = home / "key"
        key.touch(mode=0o600)
        key.write_text(KEY)
        certificate = f'cacert = "{server.certificate}"\n' if server.certificate else ""
        (home / "config/slowboat/config.toml").write_text(
            f'{top}[cloud.bench]\nauth_url = "{server.auth_url}"\nuser = "{USER}"\nkey_file = "{key}"\n{certificate}\n'
            f'[migration.bench]\nsource = "{drive}"\nsource_url = "file://{drive}"\ncloud = "bench"\n'
            f'container = "{CONTAINER}"\narchive_dir = "{archive}"\n{more}'
        )
        self.environment = {
            **_plain(),
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_STATE_HOME": str(home / "state"),
            "XDG_CACHE_HOME": str(home / "cache"),
            "XDG_RUNTIME_DIR": str(home / "run"),
            "DBUS_SESSION_BUS_ADDRESS": f"unix:path={home}/run/bus",
            "DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nonexistent/bus",
            "NOTIFY_SOCKET": str(home / "run/notify"),
            "PYTHONPATH": str(ROOT / "src"),
        }

    @contextlib.contextmanager
    def bus(self) -> Iterator[None]:
        """The bus that it needs."""
        address = f"--address={self.environment['DBUS_SESSION_BUS_ADDRESS']}"
        with subprocess.Popen(("dbus-daemon", "--session", "--nofork", address), **QUIET) as bus:  # type: ignore[call-overload]
            while not (self.home / "run/bus").exists():
                time.sleep(0.02)
            try:
                yield
            finally:
                bus.terminate()
        with contextlib.suppress(FileNotFoundError):
            (self.home / "run/bus").unlink()

    @contextlib.contextmanager
    def running(self) -> Iterator[Voyage]:
        """The daemon, from its start to the block's end."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, (self.home / "log").open("ab") as log:
            manager.bind(self.environment["NOTIFY_SOCKET"])
            began, command = time.monotonic(), (PYTHON, "-m", "slowboat", "daemon")
            with subprocess.Popen(
                command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            ) as daemon:
                try:
                    yield Voyage(daemon, manager, began, self)
                finally:
                    daemon.send_signal(signal.SIGTERM)
            (self.home / "run/notify").unlink()

    def migrate(self, patience: float = 3600.0) -> Took:
        """From its start until all is in the cloud."""
        before = self.server.counts()
        with self.bus(), self.running() as voyage:
            took = voyage.until(ALL_THERE, patience)
        return Took(took.seconds, took.cpu, took.peak_mib, since(before, self.server.counts()))


@dataclass
class Voyage:
    """A daemon that runs."""

    daemon: subprocess.Popen[bytes]
    manager: socket.socket
    began: float
    boat: Boat

    def until(self, status: str, patience: float = 3600.0) -> Took:
        """Until it tells its service manager so (the beginning of its status). Raises CannotRun."""
        end, told = time.monotonic() + patience, ""
        while not told.startswith(status):
            self.manager.settimeout(1.0)
            with contextlib.suppress(TimeoutError):
                words = self.manager.recv(65536).decode()
                told = next((line[7:] for line in words.splitlines() if line.startswith("STATUS=")), told)
            if self.daemon.poll() is not None or time.monotonic() > end or told.startswith("Needs you"):
                tail = (self.boat.home / "log").read_text(errors="replace")[-800:]
                raise CannotRun(f"slowboat is not where it should be ({told or 'it has ended'}): {tail}")
        pid = self.daemon.pid
        return Took(time.monotonic() - self.began, cpu_of(pid), memory_of(pid))

    def looked(self, before: Mapping[str, int], patience: float = 600.0) -> None:
        """Until it has read the whole listing: a page with rows, and the empty one after it, ask for two at least.

        What it says before that is what the ledger remembers. Raises CannotRun.
        """
        end, pages, seen = time.monotonic() + patience, 0, -1
        while pages < 2 or pages != seen:
            if time.monotonic() > end or self.daemon.poll() is not None:
                raise CannotRun("slowboat does not read the listing")
            seen = pages
            time.sleep(1.0)
            pages = since(before, self.boat.server.counts()).get("GET container", 0)

    def settled(self, seconds: float) -> float:
        """MiB that are resident so long after."""
        time.sleep(seconds)
        return memory_of(self.daemon.pid, "VmRSS")

    def ask(self, *words: str) -> str:
        """busctl's answer on its bus."""
        address = self.boat.environment["DBUS_SESSION_BUS_ADDRESS"]
        done = subprocess.run(("busctl", f"--address={address}", *words), capture_output=True, check=True, text=True)
        return done.stdout
