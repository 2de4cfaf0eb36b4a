"""What uploads a backup in a household (household.py) to a real Swift: slowboat, and what a user would take instead."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chain import VOLUME_SIZE, copy_metadata, make_chain
from flap import KEY, USER
from household import Household, command, prefer
from outcome import CannotRun
from traffic import TLS_PORT

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
VENV = ROOT / ".venv" / "bin"
ORIGIN = f"https://{Household.SERVER}:{TLS_PORT}"
AUTH_URL, STORAGE_URL = f"{ORIGIN}/auth/v1.0", f"{ORIGIN}/v1/AUTH_test"
NAME, PATH = "io.github.slowboat.Slowboat1", "/io/github/slowboat/Slowboat1"
LEAST_VOLUMES = 4  # rclone's transfers at a time
SIGNATURES_SIZE = 100_000
BOAT, PLAIN, NONE = "slowboat", "swift upload", "no backup"


@dataclass
class Bed:
    """One tool in a household of its own.

    Attributes:
        folder: its own.
        drive: what it uploads, shared and only read; beside it lies the slowboat that is measured (`copy_slowboat`).
        certificate: the server's.
        sink: whether a bare sink (sink.py) stands in for the real Swift: fast lines then tell of the line alone.
        nice: what it is started with.
    """

    tool: str
    home: Household
    folder: Path
    drive: Path
    certificate: Path
    sink: bool = False
    nice: int = 0
    port: int = field(init=False)
    log: Path = field(init=False)
    uploading: subprocess.Popen[Any] | None = None
    base: float = math.nan
    ready: Callable[[], bool] = lambda: True

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self.log = self.folder / "log"

    def start(self, host: str, *words: str | Path, **environment: str) -> subprocess.Popen[Any]:
        """A program whose words go to the log."""
        with self.log.open("ab") as log:
            slow = ("nice", "-n", str(self.nice)) if self.nice else ()
            variables = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(self.folder), **environment}
            return self.home.popen(
                host, *slow, *words, cwd=self.drive, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def serve(self, *command: str | Path) -> None:
        """A real Swift, a sink, or what another command serves in their place, and TLS before it."""
        sink = (sys.executable, Path(__file__).with_name("sink.py"))
        command = command or (sink if self.sink else (ROOT / "contrib/swift", "--dir", self.folder / "swift"))
        swift = self.home.popen("server", *command, stdout=subprocess.PIPE, text=True)
        if self.sink:
            prefer(swift)
        assert swift.stdout is not None
        told = swift.stdout.readline().split()
        if len(told) < 2:
            raise CannotRun(f"Swift did not start; see {self.folder / 'swift'}")
        self.port = int(told[1].split(":")[2].split("/")[0])
        front = self.home.traffic("server", "front", self.port, self.certificate, self.certificate.with_name("key.pem"))
        assert front.stdout is not None
        front.stdout.readline()

    def counts(self) -> dict[str, int]:
        """How many requests of each kind came to the sink until now, and how many bytes of bodies."""
        program = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())"
        url = f"http://127.0.0.1:{self.port}/counts"
        found: dict[str, int] = json.loads(self.home.run("server", sys.executable, "-I", "-c", program, url))
        return found

    def sends(self) -> bool:
        """Whether the upload is under way, past its first steps.

        Raises:
            CannotRun: it has ended.
        """
        if self.uploading is not None and self.uploading.poll() is not None:
            raise CannotRun(f"{self.tool} ended: {self.log.read_text(errors='replace')[-500:]}")
        return self.ready() and (self.uploading is None or self.home.received("laptop") > 200_000)


def run_nothing(_: Bed) -> None:
    pass


def run_slowboat(bed: Bed, more: str = "") -> None:
    """The daemon as anybody has it, on a bus of its own; `more` goes into its configuration."""
    config, archive = bed.folder / "config/slowboat", bed.folder / "archive"
    cache = archive / hashlib.md5(f"file://{bed.drive}".encode(), usedforsecurity=False).hexdigest()
    for folder in (config, cache, bed.folder / "run"):
        folder.mkdir(parents=True, mode=0o700)
    copy_metadata(bed.drive, cache)
    key = bed.folder / "key"
    key.touch(mode=0o600)
    key.write_text(KEY)
    (config / "config.toml").write_text(
        f'[cloud.bench]\nauth_url = "{AUTH_URL}"\nstorage_url = "{STORAGE_URL}"\ncacert = "{bed.certificate}"\n'
        f'user = "{USER}"\nkey_file = "{key}"\n\n[migration.bench]\nsource = "{bed.drive}"\n'
        f'source_url = "file://{bed.drive}"\ncloud = "bench"\ncontainer = "bench"\narchive_dir = "{archive}"\n{more}'
    )
    address = f"unix:path={bed.folder / 'run/bus'}"
    bed.start("laptop", "dbus-daemon", "--session", "--nofork", f"--address={address}")
    while not (bed.folder / "run/bus").exists():
        time.sleep(0.05)
    folders = {f"XDG_{name.upper()}_HOME": str(bed.folder / name) for name in ("config", "state", "cache")}
    bed.uploading = bed.start(
        "laptop",
        *(VENV / "python", "-m", "slowboat", "daemon"),
        **folders,
        XDG_RUNTIME_DIR=str(bed.folder / "run"),
        DBUS_SESSION_BUS_ADDRESS=address,
        DBUS_SYSTEM_BUS_ADDRESS="unix:path=/nonexistent/bus",
        PYTHONPATH=str(bed.drive.with_name("src")),
    )

    def handed_over() -> bool:
        told = ("get-property", NAME, f"{PATH}/migrations/bench", f"{NAME}.Migration", "Handover")
        asked = subprocess.run(["busctl", f"--address={address}", *told], capture_output=True, check=False)
        return b'"done"' in asked.stdout

    bed.ready = handed_over


def run_slowboat_go(bed: Bed) -> None:
    run_slowboat(bed, '\n[network_type.default]\nsend = "go"\n')


def run_swift(bed: Bed) -> None:
    bed.uploading = bed.start(
        "laptop",
        *(VENV / "swift", "--os-cacert", bed.certificate, "--os-storage-url", STORAGE_URL, "upload", "bench", "."),
        ST_AUTH=AUTH_URL,
        ST_USER=USER,
        ST_KEY=KEY,
    )


def run_rclone(bed: Bed, *options: str) -> None:
    bed.uploading = bed.start(
        "laptop",
        *("rclone", "copy", "--config", os.devnull, "--ca-cert", str(bed.certificate), *options),
        *(bed.drive, "bench:bench"),
        RCLONE_CONFIG_BENCH_TYPE="swift",
        RCLONE_CONFIG_BENCH_USER=USER,
        RCLONE_CONFIG_BENCH_KEY=KEY,
        RCLONE_CONFIG_BENCH_AUTH=AUTH_URL,
        RCLONE_CONFIG_BENCH_STORAGE_URL=STORAGE_URL,
    )


def run_rclone_limited(bed: Bed) -> None:
    run_rclone(bed, "--bwlimit", f"{round(bed.home.line.up / 8 * 0.8)}B")


TOOLS: dict[str, Callable[[Bed], None]] = {
    BOAT: run_slowboat,
    "slowboat, go": run_slowboat_go,
    PLAIN: run_swift,
    "rclone copy": run_rclone,
    "rclone copy, 80 %": run_rclone_limited,
    NONE: run_nothing,
}


def copy_slowboat(folder: Path) -> None:
    """The program as it is now: a checkout that somebody works in would be another one in the next run."""
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))


def make_drive(folder: Path, size: int, volume: int = VOLUME_SIZE) -> None:
    """A chain with little metadata and at least `size` bytes of volumes."""
    make_chain(folder, signatures=SIGNATURES_SIZE, volumes=max(LEAST_VOLUMES, math.ceil(size / volume)), volume=volume)


def make_certificate(folder: Path) -> Path:
    certificate = folder / "cert.pem"
    command(
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-keyout", str(folder / "key.pem"), "-out", str(certificate), "-days", "2", "-subj", "/CN=bench"),
        *("-addext", f"subjectAltName=IP:{Household.SERVER}"),
    )
    return certificate
