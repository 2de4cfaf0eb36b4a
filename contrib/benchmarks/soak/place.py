"""Where cases are played: chains on drives, made once by a real duplicity, and a Swift, a bus and a daemon for each.

One place serves one thread at a time. Must not know faults or invariants.
"""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from on_the_wire import wire_to

from realparts.daemon_process import Daemon, daemon_on
from realparts.drive import Drive, change_data, make_chain
from realparts.duplicity import NEWEST, Duplicity, installed_duplicity
from realparts.keystone_server import KeystoneSwift, running_keystone
from realparts.private_bus import running_bus
from realparts.swift_server import SwiftServer, running_swift

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from on_the_wire import Wire

PREFIX = "p/"
START = 0.5
"""Seconds that a Swift takes to start on a machine at rest."""


def _segmented(duplicity: Duplicity, folder: Path) -> Drive:
    """Plain; three volumes of 3 MB, which go up in segments, and small ones."""
    return make_chain(replace(duplicity, encrypted=False, volsize=3), folder, size=8_000_000, incs=1)


def _encrypted(duplicity: Duplicity, folder: Path) -> Drive:
    """Encrypted; small volumes, and metadata of which duplicity wrote no hash down."""
    return make_chain(duplicity, folder, size=2_500_000, incs=2)


def _two_chains(duplicity: Duplicity, folder: Path) -> Drive:
    """Plain; an older chain beside the newest."""
    drive = make_chain(replace(duplicity, encrypted=False), folder, size=1_500_000, incs=1)
    newest = int(folder.stat().st_mtime) - 3600
    change_data(drive.data, 100_000, random.Random(2), newest + 600)
    drive.duplicity.full(drive.data, drive.url, "--current-time", str(newest + 900))
    change_data(drive.data, 100_000, random.Random(3), newest + 1500)
    drive.duplicity.inc(drive.data, drive.url, "--current-time", str(newest + 1800))
    return drive


DRESSES: dict[str, Callable[[Duplicity, Path], Drive]] = {
    "segmented": _segmented,
    "encrypted": _encrypted,
    "two chains": _two_chains,
}


@dataclass
class Scene:
    """One migration's whole world, new for each case.

    Attributes:
        url: the target's, as duplicity will know it.
        slowness: how many times as long as on a machine at rest things take now.
        cloud: the drive's duplicity, with what it needs to reach the Swift.
    """

    folder: Path
    drive: Drive
    swift: SwiftServer
    wire: Wire
    daemon: Daemon
    container: str
    url: str
    slowness: float = 1.0

    @property
    def cloud(self) -> Duplicity:
        return replace(self.drive.duplicity, environment=self.swift.environment())

    def configure(self, top: str = "", *, auth_url: str = "", limit: int = 0) -> None:
        """The configuration, with lines for its top."""
        self.daemon.configure_migration(
            self.drive,
            self.swift,
            self.container,
            prefix=PREFIX.rstrip("/"),
            auth_url=auth_url or self.wire.auth_url,
            limit=limit,
        )
        self.daemon.configure(top + self.daemon.config_file.read_text())


class Place:
    """A folder with chains in it, and scenes one after the other."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self._stack = stack
        self._chains: dict[str, Drive] = {}
        self._duplicity: Duplicity | None = None
        self._keystone: KeystoneSwift | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def chain(self, dress: str) -> Drive:
        """The chain of that dress; not to be changed, but for its data, which `reset_data` mends."""
        if self._duplicity is None:
            self._duplicity = self._stack.enter_context(installed_duplicity(NEWEST, self.folder / "home"))
        if dress not in self._chains:
            made = DRESSES[dress](self._duplicity, self.folder / dress.replace(" ", "-"))
            shutil.copytree(made.data, _pristine(made), symlinks=True)
            self._chains[dress] = made
        return self._chains[dress]

    def keystone(self) -> KeystoneSwift:
        """A real Keystone and its Swift, the same for each case: make a user of the case's own."""
        if self._keystone is None:
            self._keystone = self._stack.enter_context(running_keystone(self.folder / "keystone"))
        return self._keystone

    @staticmethod
    def reset_data(drive: Drive) -> None:
        """The data is again what the newest backup on the drive has of it."""
        shutil.rmtree(drive.data)
        shutil.copytree(_pristine(drive), drive.data, symlinks=True)

    @contextmanager
    def scene(self, dress: str, at: SwiftServer | None = None, **swift_options: object) -> Iterator[Scene]:
        """A drive, a Swift, a proxy before it, and a daemon that is not yet started; all gone at the block's end.

        The Swift is the scene's own, but for one that is given (`at`).
        """
        chain = self.chain(dress)
        folder = Path(tempfile.mkdtemp(prefix="scene-", dir=self.folder))
        with ExitStack() as stack:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            begun = time.monotonic()
            own = stack.enter_context(running_swift(folder / "swift", **swift_options))  # also where another is used
            slowness, swift = max(1.0, (time.monotonic() - begun) / START), at or own
            wire = stack.enter_context(wire_to(swift.port))
            bus = stack.enter_context(running_bus())
            drive = chain.copied_to(folder / "chain")
            daemon = stack.enter_context(daemon_on(bus.address, folder / "daemon-home"))
            scene = Scene(folder, drive, swift, wire, daemon, swift.container(), "", slowness)
            scene.configure()
            scene.url = f"swift://{scene.container}/{PREFIX.rstrip('/')}"
            yield scene


def _pristine(drive: Drive) -> Path:
    return drive.data.with_name("data-of-the-backup")
