"""Disks: full or broken under the ledger and the cache's copy; drives that change while they are read.

A case is one migration with one such fault; the fault ends, and it must come to its end by itself or by one RetryNow.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from soak.wire import Watch

if TYPE_CHECKING:
    from realparts.daemon_process import Daemon
    from soak.campaign import Turn
    from soak.place import Place, Scene

SHARE = 0.10
"""Of the campaign's time."""

SLOW = 4_000_000
"""Bytes per second, so that there is a while in which a drive can change."""

ENDS = {0, 1}
"""Exit codes after which systemd starts it again, or that were asked for."""

LEDGER_CALLS = {"pwrite64": 150, "fdatasync": 60, "openat": 4, "ftruncate": 3, "pread64": 12, "unlink": 2}
"""What is done with the ledger's files, and how often in one life."""

CACHE_CALLS = {"write": 12, "fsync": 6, "mkdir": 3, "rename": 2, "renameat2": 2, "link": 3, "linkat": 3, "unlink": 4}
"""What is done while the cache is copied and put in place; `write` is the log's, too."""

CONFIG_CALLS = {"openat": 4, "read": 8, "newfstatat": 4, "lseek": 4}
"""What is done with the configuration, at the start and at three reloads."""


def case(place: Place, turn: Turn) -> None:
    """One migration with a disk or a drive that fails."""
    plays = {ledger: 30, cache: 20, configuration: 8, small_disk: 8, race: 34}
    turn.one_of(plays)(place, turn)


# -- disks -------------------------------------------------------------------------------------------------------


def failing(call: str, error: str, first: int, times: int, paths: list[Path]) -> tuple[str, ...]:
    """strace's words for an error at some calls in a row of each thread; at these paths alone, where any are given."""
    when = f"{first}..{first + times - 1}"
    only = [word for path in paths for word in ("-P", str(path))]
    return (
        "strace", "-D", "-f", "-qqq", "-o", "/dev/null", *only, "-e", f"trace=?{call}",
        "-e", f"inject=?{call}:error={error}:when={when}",
    )  # fmt: skip


def ledger(place: Place, turn: Turn) -> None:
    """The ledger's disk is full or broken from its n-th write on, for a while."""
    chance = turn.chance
    call = chance.choice([*LEDGER_CALLS])
    first = 1 + int(LEDGER_CALLS[call] * chance.random() ** 2)
    times, error = chance.choice([1, 3, 10, 40]), chance.choice(["ENOSPC", "EIO"])
    with place.scene(chance.choice(["segmented", "encrypted"])) as scene:
        path = scene.daemon.state / "ledger.sqlite"
        paths = [path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")]
        told = f"{error} at {call}() {first} of the ledger, {times} times"
        _fails(Watch(scene, turn), f"ledger: {error}", told, failing(call, error, first, times, paths))


def cache(place: Place, turn: Turn) -> None:
    """The disk is full or broken at the n-th write of anything, for a while: the handover's copy is what it hits."""
    chance = turn.chance
    call = chance.choice([*CACHE_CALLS])
    first, times = chance.randint(1, CACHE_CALLS[call]), chance.choice([1, 2, 5])
    error = chance.choice(["ENOSPC", "EIO"])
    with place.scene("encrypted") as scene:
        told = f"{error} at {call}() {first}, {times} times"
        _fails(Watch(scene, turn), f"cache's copy: {error}", told, failing(call, error, first, times, []))


def _fails(watch: Watch, fault: str, told: str, before: tuple[str, ...]) -> None:
    """One life in which something fails for a while."""
    daemon = watch.scene.daemon
    daemon.before = before
    daemon.start(wait=False)
    _until(lambda: not daemon.running or watch.witness.complete_now(), 3.0)
    mended(daemon)
    _started_again(watch, told)
    watch.look(fault, told)
    if watch.turn.chance.random() < 0.3:
        daemon.kill()
        daemon.start()
    watch.end(told)


def mended(daemon: Daemon) -> None:
    """Nothing fails any more: strace counts each thread's calls by themselves, and new threads come as long as it runs.

    On SIGTERM it lets go of what it traces, and ends.
    """
    daemon.before = ()
    with suppress(OSError):  # the daemon has ended
        status = Path(f"/proc/{daemon.pid}/status").read_text()
        if tracer := re.search(r"^TracerPid:\s+([1-9]\d*)$", status, re.MULTILINE):
            os.kill(int(tracer[1]), signal.SIGTERM)


def small_disk(place: Place, turn: Turn) -> None:
    """The ledger is on a disk of its own that fills up, and has room again."""
    with place.scene("segmented") as scene, mounted(scene.daemon.state, "size=600k,mode=0700") as can:
        watch = Watch(scene, turn)
        if not can:
            return
        scene.configure(limit=SLOW)
        scene.daemon.start()
        time.sleep(turn.chance.uniform(0.0, 1.5))
        filler = scene.daemon.state / "filler"
        with suppress(OSError), filler.open("wb") as file:
            while file.write(b"x" * 512):
                file.flush()
        time.sleep(turn.chance.uniform(0.2, 1.5))
        watch.look("ledger: its disk is full", "a full disk")
        filler.unlink()
        watch.end("a full disk under the ledger")
        # The daemon holds no file there any more: what is mounted can go.


def configuration(place: Place, turn: Turn) -> None:
    """The configuration cannot be read, at the start or at a reload: what was in force stays."""
    chance = turn.chance
    with place.scene("encrypted") as scene:
        scene.configure(limit=SLOW)
        watch, daemon = Watch(scene, turn), scene.daemon
        if chance.random() < 0.5:
            daemon.start()
            _garbled(watch)
        else:
            call, error = chance.choice([*CONFIG_CALLS]), chance.choice(["ENOSPC", "EIO"])
            first, times = chance.randint(1, CONFIG_CALLS[call]), chance.choice([1, 2, 5])
            told = f"{error} at {call}() {first} of the configuration, {times} times"
            daemon.before = failing(call, error, first, times, [daemon.config_file])
            daemon.start(wait=False)
            _until(lambda: not daemon.running or "READY=1" in daemon.notified, 5.0 * scene.slowness)
            for _ in range(3):
                if daemon.running:
                    daemon.slowboat("reload", check=False)
            mended(daemon)
            _started_again(watch, told)
            watch.look(f"configuration: {error}", told)
        watch.end("configurations that cannot be read")


def _garbled(watch: Watch) -> None:
    daemon, chance = watch.scene.daemon, watch.turn.chance
    good = daemon.config_file.read_bytes()
    for _ in range(3):
        daemon.config_file.write_bytes(good[: chance.randrange(len(good))] + chance.randbytes(3))
        daemon.slowboat("reload", check=False)
        watch.look("configuration: cut or garbled at a reload", "a reload")
    daemon.config_file.write_bytes(good)


def _started_again(watch: Watch, told: str) -> None:
    """Where a failing disk has ended it, systemd would start it again, and so is done here."""
    daemon = watch.scene.daemon
    if not daemon.running:
        code = daemon.wait()
        watch.turn.measured("lives that a failing disk has ended", 1)
        wrong = [f"{told}: it ended with {code}: {daemon.log[-2000:]}"] if code not in ENDS else []
        watch.turn.played("a failing disk ended it", wrong)
        daemon.start()


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[bool]:
    """A file system of its own there, where this user may mount; it is gone at the block's end."""
    folder.mkdir(parents=True, exist_ok=True)
    can = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "soak", folder], capture_output=True, check=False)
    try:
        yield can.returncode == 0
    finally:
        if can.returncode == 0:
            subprocess.run(["umount", "-l", folder], check=True)


# -- drives ------------------------------------------------------------------------------------------------------

Race = Callable[["Scene", Path], Callable[[], None]]
"""Does something to a file of the drive; what it answers takes that back."""


def _aside(path: Path) -> Path:
    hidden = path.parent.parent / "aside"
    hidden.mkdir(exist_ok=True)
    return hidden / path.name


def _instead(make: Callable[[Path, Path], object]) -> Race:
    """The file is moved away, and something else is made at its name."""

    def race(scene: Scene, path: Path) -> Callable[[], None]:
        aside = _aside(path)
        path.rename(aside)
        make(path, aside)

        def back() -> None:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
            aside.rename(path)

        return back

    return race


def _copied(path: Path, aside: Path, change: Callable[[bytearray], bytes | bytearray]) -> None:
    """A changed copy with the original's times."""
    path.write_bytes(change(bytearray(aside.read_bytes())))
    shutil.copystat(aside, path)


def _flipped(body: bytearray) -> bytearray:
    body[len(body) // 2] ^= 1
    return body


def _of_another(scene: Scene, path: Path) -> Callable[[], None]:
    """The folder is another one, with the same names and other backups in it."""
    folder = scene.drive.folder
    aside = folder.with_name("the-right-one")
    folder.rename(aside)
    folder.mkdir()
    for each in aside.iterdir():
        (folder / each.name.replace(".2", ".1", 1)).write_bytes(each.read_bytes()[::-1])

    def back() -> None:
        shutil.rmtree(folder)
        aside.rename(folder)

    return back


def _unplugged(scene: Scene, path: Path) -> Callable[[], None]:
    """The folder is not there."""
    folder = scene.drive.folder
    aside = folder.with_name("unplugged")
    folder.rename(aside)
    return lambda: _void(aside.rename(folder))


def _empty(scene: Scene, path: Path) -> Callable[[], None]:
    """The folder is empty, as a mount point without its drive is."""
    folder = scene.drive.folder
    aside = folder.with_name("unplugged")
    folder.rename(aside)
    folder.mkdir()

    def back() -> None:
        folder.rmdir()
        aside.rename(folder)

    return back


def _read_only(scene: Scene, path: Path) -> Callable[[], None]:
    folder = scene.drive.folder
    mode = folder.stat().st_mode
    folder.chmod(0o555)
    return lambda: folder.chmod(mode)


def _void(_: object) -> None: ...


RACES: dict[str, Race] = {
    "a link to another file": _instead(lambda path, aside: path.symlink_to(_other(aside, path))),
    "a link to itself elsewhere": _instead(lambda path, aside: path.symlink_to(aside)),
    "a FIFO": _instead(lambda path, aside: os.mkfifo(path)),
    "a folder": _instead(lambda path, aside: path.mkdir()),
    "nothing": _instead(lambda path, aside: None),
    "another file of the same size and time": _instead(
        lambda path, aside: _copied(path, aside, lambda b: bytes(len(b)))
    ),
    "rotten, with the same time": _instead(lambda path, aside: _copied(path, aside, _flipped)),
    "grown": _instead(lambda path, aside: _copied(path, aside, lambda b: b + b"more")),
    "cut": _instead(lambda path, aside: _copied(path, aside, lambda b: b[: len(b) // 2])),
    "empty": _instead(lambda path, aside: _copied(path, aside, lambda b: b"")),
    "another backup's folder": _of_another,
    "an empty folder": _empty,
    "no folder": _unplugged,
    "a read-only folder": _read_only,
}
"""What a file, or the whole folder, is while it is read."""


def _other(aside: Path, path: Path) -> Path:
    return next(each for each in sorted(path.parent.iterdir()) if each.name != aside.name)


def race(place: Place, turn: Turn) -> None:
    """The drive changes while it is read, and changes back."""
    if turn.chance.random() < 0.15:
        unmounted(place, turn)
        return
    name = turn.chance.choice([*RACES])
    with place.scene("segmented") as scene:
        watch = Watch(scene, turn)
        scene.configure("connections = 8\n" if turn.chance.random() < 0.5 else "", limit=SLOW)
        # Of metadata there is no hash; where it rots before it was ever read, nobody can know.
        file = scene.drive.folder / turn.chance.choice(scene.drive.volumes)
        scene.daemon.start()
        time.sleep(turn.chance.uniform(0.0, 2.0))
        back = RACES[name](scene, file)
        time.sleep(turn.chance.uniform(0.05, 1.5))
        wrong = watch.witness.look(disk=False)
        back()
        turn.played(f"drive: {name}", [f"{file.name}: {text}" for text in wrong])
        watch.look("drive: as it was", name)
        watch.end(f"{file.name} was {name}")


def unmounted(place: Place, turn: Turn) -> None:
    """The drive is a file system of its own: made read-only, taken away lazily while it is read, and mounted again."""
    with place.scene("segmented") as scene:
        folder = scene.drive.folder
        copy = folder.with_name("what-is-on-it")
        shutil.copytree(folder, copy)
        with mounted(folder, "size=40m") as can:
            if not can:
                return
            _fill(folder, copy)
            watch = Watch(scene, turn)
            scene.configure(limit=SLOW)
            scene.daemon.start()
            time.sleep(turn.chance.uniform(0.0, 2.0))
            subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
            watch.look("drive: read-only from now on", "remounted")
            subprocess.run(["umount", "-l", folder], check=True)
            time.sleep(turn.chance.uniform(0.05, 1.5))
            wrong = watch.witness.look(disk=False)
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "soak", folder], check=True)
            _fill(folder, copy)
            turn.played("drive: unmounted lazily, and another with the same files mounted", wrong)
            watch.end("the drive was unmounted and came back")


def _fill(folder: Path, copy: Path) -> None:
    for each in copy.iterdir():
        shutil.copy2(each, folder / each.name)


def _until(holds: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and not holds():
        time.sleep(0.1)
