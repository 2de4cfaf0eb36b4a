"""The real daemon as a process of its own, in a private home, on private buses, seen through busctl."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realparts.presence import ROOT, program, with_us

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from realparts.drive import Drive
    from realparts.swift_server import SwiftServer

SERVICE = "io.github.slowboat.Slowboat1"
MANAGER = "/io/github/slowboat/Slowboat1"

Properties = dict[str, Any]


@dataclass
class Daemon:
    """A daemon that can be started, killed and started again over the same files.

    Attributes:
        home: its HOME; configuration, state and cache lie under it as XDG has it.
        runtime: its XDG_RUNTIME_DIR, with a name short enough for sockets.
        session_bus, system_bus: addresses.
        environment: more variables for it.
        before: a command in whose care it runs, such as strace's, and which becomes it: `pid` is then its own.
    """

    home: Path
    runtime: Path
    session_bus: str
    system_bus: str = "unix:path=/nonexistent/system-bus"
    environment: dict[str, str] = field(default_factory=dict)
    before: tuple[str, ...] = ()
    _process: subprocess.Popen[bytes] | None = None
    _notify: socket.socket | None = None
    _notified: list[str] = field(default_factory=list)

    @property
    def config_file(self) -> Path:
        return self.home / ".config/slowboat/config.toml"

    @property
    def state(self) -> Path:
        return self.home / ".local/state/slowboat"

    @property
    def log(self) -> str:
        """All it has said on standard error and output, over all starts."""
        path = self.home / "daemon.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def configure(self, text: str) -> None:
        self.config_file.parent.mkdir(parents=True, exist_ok=True)
        self.config_file.write_text(text)

    def secret(self, name: str, value: str) -> Path:
        """A key file that only its owner can read, for `key_file`."""
        path = self.config_file.parent / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(value + "\n")
        return path

    def configure_migration(
        self,
        drive: Drive,
        swift: SwiftServer,
        container: str,
        *,
        prefix: str = "",
        limit: int = 0,
        auth_url: str = "",
        more: str = "",
    ) -> str:
        """Configures one migration "home" of a drive to a container.

        Args:
            limit: bytes per second, 0 for none.
            auth_url: instead of the server's own, for what stands between.
            more: lines for the migration's table.

        Returns:
            The URL that duplicity will know the target by.
        """
        key = self.secret("key", swift.key)
        target = f"swift://{container}/{prefix}".rstrip("/")
        cloud = {"auth_url": auth_url or swift.auth_url, "user": swift.user, "auth_version": "1", "key_file": key}
        migration = {
            "source": drive.folder,
            "source_url": drive.url,
            "cloud": "test",
            "container": container,
            "prefix": prefix,
            "target_url": target,
            "archive_dir": drive.duplicity.archive_dir,
            "file_prefix": drive.duplicity.file_prefix,
        }
        head = f"limit = {limit}\n" if limit else ""
        self.configure(f"{head}\n[cloud.test]\n{_toml(cloud)}\n[migration.home]\n{_toml(migration)}{more}\n")
        return target

    def start(self, *, wait: bool = True, timeout: float = 60) -> None:
        """Starts it; with `wait`, until it has said READY."""
        assert self._process is None or self._process.poll() is not None, "it runs already"
        self._listen()
        with (self.home / "daemon.log").open("ab") as log:
            self._process = subprocess.Popen(
                with_us(*self.before, sys.executable, "-m", "slowboat", "daemon"),
                env=self.variables(),
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        if wait:
            self._wait(lambda: "READY=1" in self.notified, timeout, "READY=1")

    def variables(self) -> dict[str, str]:
        """Its whole environment; the command line takes the same to find it."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home / ".config"),
            "XDG_STATE_HOME": str(self.home / ".local/state"),
            "XDG_CACHE_HOME": str(self.home / ".cache"),
            "XDG_DATA_HOME": str(self.home / ".local/share"),
            "XDG_RUNTIME_DIR": str(self.runtime),
            "DBUS_SESSION_BUS_ADDRESS": self.session_bus,
            "DBUS_SYSTEM_BUS_ADDRESS": self.system_bus,
            "NOTIFY_SOCKET": str(self.runtime / "notify"),
            "PYTHONPATH": str(ROOT / "src"),
            **self.environment,
        }

    @property
    def pid(self) -> int:
        assert self._process, "it was never started"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def notified(self) -> list[str]:
        """What it told systemd since the last start, line by line: "READY=1", "STATUS=..."."""
        if self._notify:
            while True:
                try:
                    self._notified += self._notify.recv(65536).decode().splitlines()
                except BlockingIOError:
                    break
        return self._notified

    def kill(self) -> None:
        """kill -9, as a power cut does it."""
        assert self._process
        self._process.kill()
        self._process.wait(timeout=30)

    def terminate(self, timeout: float = 30) -> int:
        """SIGTERM, as systemd ends it; its exit code."""
        assert self._process
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout=timeout)

    def wait(self, timeout: float = 60) -> int:
        """Waits for it to end by itself; its exit code."""
        assert self._process
        return self._process.wait(timeout=timeout)

    def manager(self) -> Properties:
        """The Manager's properties as busctl reads them."""
        return self._get_all(MANAGER, f"{SERVICE}.Manager")

    def migration(self, name: str = "home") -> Properties:
        """A migration's properties as busctl reads them."""
        return self._get_all(f"{MANAGER}/migrations/{name}", f"{SERVICE}.Migration")

    def wait_until(
        self, predicate: Callable[[Properties], object], *, name: str = "home", timeout: float = 60
    ) -> Properties:
        """Waits until the migration's properties satisfy `predicate` and gives them.

        Raises:
            AssertionError: that did not come in time, or the daemon ended; its log and properties are in it.
        """
        seen: Properties = {}

        def holds() -> bool:
            nonlocal seen
            seen = self._try_migration(name)
            return bool(seen) and bool(predicate(seen))

        self._wait(holds, timeout, "what was waited for", lambda: json.dumps(seen, indent=1))
        return seen

    def call(self, path: str, interface: str, method: str, *arguments: str) -> str:
        """A method call by busctl: arguments are its words, signature first; its JSON answer."""
        return self._busctl("call", SERVICE, path, interface, method, *arguments)

    def bus_owner(self) -> str:
        """The unique name of whoever owns our name on the session bus."""
        driver = "org.freedesktop.DBus"
        return self._busctl("call", driver, "/org/freedesktop/DBus", driver, "GetNameOwner", "s", SERVICE)

    def slowboat(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs the command line beside it, as the same user."""
        argv = [sys.executable, "-m", "slowboat", *arguments]
        return subprocess.run(argv, env=self.variables(), capture_output=True, text=True, check=check)

    def close(self) -> None:
        """Ends it if it runs, and whatever was opened for it."""
        if self._process and self._process.poll() is None:
            self.kill()
        if self._notify:
            self._notify.close()
            self._notify = None

    def _listen(self) -> None:
        path = self.runtime / "notify"
        if self._notify:
            self._notify.close()
        path.unlink(missing_ok=True)
        self._notified = []
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._notify.bind(str(path))

    def _wait(self, holds: Callable[[], bool], timeout: float, what: str, more: Callable[[], str] = lambda: "") -> None:
        end = time.monotonic() + timeout
        while not holds():
            alive = self.running
            if not alive or time.monotonic() > end:
                how = f"not within {timeout} s" if alive else "the daemon has ended"
                raise AssertionError(f"{what}: {how}\n{more()}\n--- its log:\n{self.log[-8000:]}")
            time.sleep(0.05)

    def _get_all(self, path: str, interface: str) -> Properties:
        answer = self._busctl("call", SERVICE, path, "org.freedesktop.DBus.Properties", "GetAll", "s", interface)
        return {name: value["data"] for name, value in json.loads(answer)["data"][0].items()}

    def _try_migration(self, name: str) -> Properties:
        try:
            return self.migration(name)
        except subprocess.CalledProcessError:
            return {}  # not yet, or no longer, on the bus

    def _busctl(self, *arguments: str) -> str:
        argv = [program("busctl"), f"--address={self.session_bus}", "--json=short", *arguments]
        return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30).stdout


@contextmanager
def daemon_on(session_bus: str, home: Path, **attributes: Any) -> Iterator[Daemon]:
    """A daemon, not yet started, on that bus; it and its runtime folder are gone when the block ends."""
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="sb-run-", dir="/tmp") as runtime:
        daemon = Daemon(home, Path(runtime), session_bus, **attributes)
        try:
            yield daemon
        finally:
            daemon.close()


def _toml(table: Mapping[str, object]) -> str:
    """A table of strings, empty ones left out; a JSON string is a TOML string."""
    return "".join(f"{name} = {json.dumps(str(value))}\n" for name, value in table.items() if value)
