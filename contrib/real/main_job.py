"""slowboat's main job on real parts, start to end, in one folder that is removed afterwards.

A real duplicity backs up to a pretend drive; the real daemon moves that backup to a real Swift under a cap; as
soon as it has handed over, duplicity makes an incremental backup straight to the cloud while most volumes are
still on the drive; in the end everything is restored from the cloud and compared. Exit 0 only if all of it held.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from realparts.daemon_process import Daemon, daemon_on
from realparts.drive import Drive, change_data, differences, make_chain
from realparts.duplicity import NEWEST, installed_duplicity
from realparts.notification_service import Notifications, running_notifications
from realparts.private_bus import running_bus
from realparts.swift_server import SwiftServer, running_swift

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EARLY = 0.05
"""The handover must come before this part of the bytes has been sent."""

VOLSIZE = 25
"""Megabytes of a volume, as Deja Dup long had it."""

ABOUT_A_MINUTE = 60
"""Seconds that the upload shall last where no cap was given."""

console = Console(highlight=False, width=None if sys.stdout.isatty() else 110)


@dataclass
class Record:
    """What was measured and what was checked, for the table at the end."""

    steps: list[tuple[str, float, str]] = field(default_factory=list)
    checks: list[tuple[bool, str]] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[list[str]]:
        """Times a step; what is appended to the yielded list is shown beside it."""
        notes: list[str] = []
        console.print(f"[bold]{name}[/] ...")
        begun = time.monotonic()
        yield notes
        self.steps.append((name, time.monotonic() - begun, ", ".join(notes)))

    def check(self, held: bool, what: str) -> None:
        self.checks.append((held, what))
        console.print(f"  {'[green]yes' if held else '[red]NO '}[/] {what}")

    @property
    def all_held(self) -> bool:
        return bool(self.checks) and all(held for held, _ in self.checks)

    def show(self) -> None:
        table = Table("step", "seconds", "what came of it", title="contrib/try")
        for name, seconds, notes in self.steps:
            table.add_row(name, f"{seconds:.1f}", notes)
        table.columns[1].justify = "right"
        console.print(table)
        failed = [what for held, what in self.checks if not held]
        console.print("[red]NOT held:[/] " + "; ".join(failed) if failed else "[green]All of it held.[/]")


@dataclass
class Watcher:
    """Looks at the daemon while it works: the progress bar, and what the desktop shows."""

    daemon: Daemon
    notifications: Notifications
    progress: Progress
    told: int = 0

    def __post_init__(self) -> None:
        self.task = self.progress.add_task("starting", total=None)
        self._printed = -1

    def until(self, done: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Waits until the migration's properties satisfy `done`, showing each look at them."""

        def look(seen: dict[str, Any]) -> bool:
            self._show(seen)
            if seen["State"] == "needs-user":
                raise AssertionError(f"the daemon needs the user: {seen['LastError']} {seen['Why']}")
            return done(seen)

        return self.daemon.wait_until(look, timeout=900)

    def _show(self, seen: dict[str, Any]) -> None:
        why = f" ({', '.join(seen['Reasons'])})" if seen["Reasons"] else ""
        words = f"{seen['State']}{why}, handover {seen['Handover']}"
        self.progress.update(
            self.task, description=words, total=seen["BytesTotal"] or None, completed=seen["BytesDone"]
        )
        for notice in self.notifications.all[self.told :]:
            self.told += 1
            self.progress.console.print(f"  [cyan]the desktop shows:[/] {notice['title']} - {notice['body']}")
        tenth = 10 * seen["BytesDone"] // max(1, seen["BytesTotal"])
        if not console.is_terminal and tenth != self._printed:  # a log gets lines, as a bar does not fit there
            self._printed = tenth
            console.print(f"  {seen['VolumesDone']}/{seen['VolumesTotal']} volumes, {mega(seen['BytesDone'])}, {words}")


def main() -> int:
    chosen = options()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    record = Record()
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="slowboat-try-"))
        if chosen.keep:
            stack.callback(console.print, f"Everything is kept in {folder}")
        else:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        need_room(folder, chosen.size)
        try:
            run(folder, chosen, record, stack)
        except AssertionError as error:
            console.print(str(error), markup=False)
            record.check(False, "it came to its end")
    record.show()
    return 0 if record.all_held else 1


def run(folder: Path, chosen: argparse.Namespace, record: Record, stack: ExitStack) -> None:
    """The whole job. Raises AssertionError where a real part gave up."""
    found = stack.enter_context(installed_duplicity(NEWEST, folder / "home"))
    with record.step("back up to the drive") as notes:
        style = replace(found, volsize=VOLSIZE)
        drive = make_chain(style, folder / "made", size=chosen.size, seed=time.time_ns(), canary=False)
        notes += [
            f"{mega(drive.size())} in {len(drive.volumes)} volumes",
            f"metadata {mega(drive.size(drive.metadata))}",
        ]
    with record.step("start a real Swift, a session bus and the daemon"):
        swift = stack.enter_context(running_swift(folder / "swift"))
        bus = stack.enter_context(running_bus())
        shown = stack.enter_context(running_notifications(bus.address, folder))
        daemon = stack.enter_context(daemon_on(bus.address, folder / "home"))
        url = daemon.configure_migration(
            drive, swift, "backup", prefix="laptop", limit=chosen.cap or drive.size() // ABOUT_A_MINUTE
        )
        daemon.start()
    columns = [BarColumn(), DownloadColumn(), TransferSpeedColumn(), TextColumn("{task.description}")]
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        watcher = Watcher(daemon, shown, progress)
        hand_over(watcher, record)
        back_up_to_the_cloud(watcher, drive, swift, url, record)
        finish(watcher, drive, swift, record)
    restore(folder, drive, swift, url, record)


def hand_over(watcher: Watcher, record: Record) -> None:
    with record.step("send the metadata, hand over") as notes:
        seen = watcher.until(lambda now: now["Handover"] == "done")
        sent, whole = seen["BytesSent"], seen["BytesTotal"]
        notes.append(f"{mega(sent)} of {mega(whole)} sent ({100 * sent / whole:.2f} %)")
    record.check(sent < EARLY * whole, f"the handover came before {EARLY:.0%} of the bytes were sent")


def back_up_to_the_cloud(watcher: Watcher, drive: Drive, swift: SwiftServer, url: str, record: Record) -> None:
    """An incremental to swift:// at once, with the cache that the handover installed."""
    change_data(drive.data, drive.size() // 50, random.Random(7))
    duplicity = replace(drive.duplicity, environment=swift.environment())
    said: list[str] = []
    with record.step("duplicity incremental to swift://") as notes:
        worker = threading.Thread(target=lambda: said.append(duplicity.inc(drive.data, url, check=False).stdout))
        worker.start()
        watcher.until(lambda _: not worker.is_alive())
        seen = watcher.until(lambda _: True)
        notes.append(f"{seen['VolumesDone']} of {seen['VolumesTotal']} volumes were there by then")
    output = said[0] if said else ""
    complete = re.search(r"^Errors 0$", output, re.MULTILINE) is not None
    record.check(complete and bool(added(drive, swift)), "the incremental went straight to the cloud")
    record.check(seen["VolumesDone"] < seen["VolumesTotal"], "volumes were still missing when it had ended")
    untouched = "Local and Remote metadata are synchronized, no sync needed." in output
    record.check(untouched, "duplicity took the installed cache as it is: nothing fetched, nothing deleted")
    if not (complete and untouched):
        console.print(output, markup=False)


def finish(watcher: Watcher, drive: Drive, swift: SwiftServer, record: Record) -> None:
    with record.step("send the rest") as notes:
        seen = watcher.until(lambda now: now["State"] == "done")
        notes.append(f"{mega(seen['BytesSent'])} sent in all, {mega(seen['BytesTotal'])} were to be sent")
    stored = {name.removeprefix("laptop/"): size for name, (size, _) in swift.listing("backup").items()}
    same = all(stored.get(name) == drive.size([name]) for name in drive.names())
    record.check(
        same and not strangers(drive, swift), "the cloud holds the drive's files at their names, and no litter"
    )
    record.check(seen["RestorableFromCloud"] is True, "the daemon says that the cloud alone can restore")
    watcher.daemon.terminate()


def restore(folder: Path, drive: Drive, swift: SwiftServer, url: str, record: Record) -> None:
    with record.step("restore from the cloud alone") as notes:
        duplicity = replace(drive.duplicity, environment=swift.environment()).without_cache()
        duplicity.restore(url, folder / "restored")
        found = differences(drive.data, folder / "restored")
        notes.append("the same as the original" if not found else f"{len(found)} differences")
    for difference in found[:10]:
        console.print(f"  {difference}", markup=False)
    record.check(not found, "what was restored is what was backed up")


def added(drive: Drive, swift: SwiftServer) -> list[str]:
    """What is in the cloud and not on the drive."""
    names = (name.removeprefix("laptop/") for name in swift.listing("backup"))
    return [name for name in names if name not in drive.names()]


def strangers(drive: Drive, swift: SwiftServer) -> list[str]:
    """What neither the drive nor the incremental has put there, segments left over included."""
    wanted = re.compile(r"duplicity-(inc|new-signatures)\.\d{8}T\d{6}Z\.to\.")
    return [name for name in added(drive, swift) if not wanted.match(name)] + list(swift.listing("backup_segments"))


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="contrib/try", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave everything in its folder and say where that is")
    parser.add_argument("--size", type=in_bytes, default=in_bytes("200M"), help="of the data; 200M")
    parser.add_argument("--cap", type=in_bytes, default=0, help="bytes per second; as much as makes it last a minute")
    return parser.parse_args()


def in_bytes(text: str) -> int:
    """200M, 500k or plain bytes; powers of 1000, as all sizes of slowboat."""
    found = re.fullmatch(r"(\d+)([kMG]?)", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no size such as 200M or 500k")
    return int(found[1]) * {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}[found[2]]


def need_room(folder: Path, size: int) -> None:
    """Data, drive, cloud and restore each take about the data's size, and duplicity a volume or two."""
    need, free = 6 * size, shutil.disk_usage(folder).free
    if free < need:
        sys.exit(f"contrib/try: {folder} has {mega(free)} free and {mega(need)} are needed; set TMPDIR elsewhere")


def mega(count: int) -> str:
    return f"{count / 1e6:.1f} MB"


if __name__ == "__main__":
    sys.exit(main())
