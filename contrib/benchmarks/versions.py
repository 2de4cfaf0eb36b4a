"""Every duplicity: the handover, backups while volumes are missing, what it destroys, verify, restore.

For each version and dress (encrypted, plain) a real chain on a drive, the real daemon, a real Swift. While most volumes
are still on the drive: an unfinished backup's remains are put beside the chain, duplicity makes an incremental all the
same, cleans up, and makes an incremental again; with a version that the handover waits for, as if there had been one.
Whatever it destroyed must have been put back. Then the rest follows, and all is verified and restored from the cloud
alone. Each cell must be what docs/duplicity-versions.md says of that version.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import duplicities
from outcome import CannotRun, Goal, Outcome, need, say

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests")]

from realparts.daemon_process import MANAGER, SERVICE, Daemon, daemon_on  # noqa: E402  # found by the line above
from realparts.drive import Drive, change_data, differences, make_chain  # noqa: E402
from realparts.duplicity import Duplicity, installed_duplicity  # noqa: E402
from realparts.private_bus import running_bus  # noqa: E402
from realparts.swift_server import SwiftServer, running_swift  # noqa: E402
from slowboat.core.versions import DESTROYS, REFUSES, WORKS, Verdict, parse, verdict  # noqa: E402

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

SIZE = 3_000_000  # bytes of data
HELD_BACK, CRAWL = 200_000, "10k"  # bytes per second until the handover, and while duplicity is at work
FAILED = "FAILED"
COLUMNS = ("handover", "beside_remains", "cleanup", "incremental", "verify", "restore")


@dataclass
class Trial:
    """One chain's move with one duplicity."""

    daemon: Daemon
    swift: SwiftServer
    drive: Drive
    cells: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.container = self.swift.container()
        self.cloud: Duplicity = replace(self.drive.duplicity, environment=self.swift.environment())
        self.url = self.daemon.configure_migration(
            self.drive, self.swift, self.container, limit=HELD_BACK, more=f'duplicity = "{self.cloud.path}"'
        )

    # -- looking ---------------------------------------------------------------------------------------------

    def standing(self) -> set[str]:
        return set(self.swift.listing(self.container))

    def destroyed(self, before: set[str]) -> list[str]:
        """Our files that were there and are not any more, once slowboat has had no time to notice."""
        return sorted((before & set(self.drive.names())) - self.standing())

    def rescan(self) -> None:
        self.daemon.call(MANAGER, f"{SERVICE}.Manager", "Rescan", "a{sv}", "0")

    def put_back(self) -> None:
        """Waits until all metadata is at the target, and in the cache where that was handed over."""
        self.rescan()
        metadata = set(self.drive.metadata)

        def whole(seen: dict[str, object]) -> bool:
            known = {path.name for path in self.cloud.cache(self.url).glob("duplicity-*")}
            cached = {path.name for path in self.drive.cache.glob("duplicity-*")}
            return metadata <= self.standing() and (seen["Handover"] != "done" or cached <= known)

        self.daemon.wait_until(whole, timeout=120)

    # -- the steps -------------------------------------------------------------------------------------------

    def handover(self) -> str:
        self.daemon.start()
        seen = self.daemon.wait_until(
            lambda now: now["Handover"] == "done" or "duplicity-version" in now["Reasons"], timeout=120
        )
        self.daemon.slowboat("limit", CRAWL)
        missing = seen["VolumesTotal"] - seen["VolumesDone"]
        if missing <= 0:
            return f"{FAILED}: no volume was missing any more"
        return f"ok, {missing} volumes early" if seen["Handover"] == "done" else "waits"

    @property
    def waits(self) -> bool:
        return self.cells["handover"] == "waits"

    def beside_remains(self) -> str:
        """An incremental beside a full whose manifest never came and whose cache is lost."""
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        volume = self.drive.volumes[0]
        stray = f"duplicity-full.{moment}.vol1.difftar{volume.partition('.difftar')[2]}"
        self.swift.put(self.container, stray, (self.drive.folder / volume).read_bytes())
        before = self.standing()
        done = self._inc()
        return self._outcome(done.returncode, before)

    def cleanup(self) -> str:
        before = self.standing()
        done = self._at_work().cleanup(self.url, "--force", check=False)
        return self._outcome(done.returncode, before)

    def incremental(self) -> str:
        before = self.standing()
        done = self._inc()
        noisy = "missing difftar" in f"{done.stdout}{done.stderr}"
        outcome = self._outcome(done.returncode, before)
        return f"{outcome}, complains" if noisy and outcome == "ok" else outcome

    def verify(self) -> str:
        self.daemon.slowboat("limit", "off")
        self.daemon.configure(self.daemon.config_file.read_text().replace(f"limit = {HELD_BACK}", ""))
        self.daemon.slowboat("reload")
        seen = self.daemon.wait_until(lambda now: now["State"] == "done" and now["Handover"] == "done", timeout=120)
        if self.waits:
            self.cells["handover"] = "waits, ok at the end"
            self._change()
            self.cloud.inc(self.drive.data, self.url)
        if not seen["RestorableFromCloud"]:
            return f"{FAILED}: not restorable"
        self._restorer().verify(self.url, self.drive.data)
        return "ok"

    def restore(self) -> str:
        into = self.drive.data.parent / "restored"
        self._restorer().restore(self.url, into)
        found = differences(self.drive.data, into)
        return f"{FAILED}: {found[0]}" if found else "ok"

    # -- duplicity -------------------------------------------------------------------------------------------

    def _change(self) -> None:
        change_data(self.drive.data, 50_000, random.Random(len(self.cells)))

    def _other_machine(self) -> Duplicity:
        return self.cloud.without_cache()

    def _at_work(self) -> Duplicity:
        """duplicity with the cache that was handed over; where none was, with one as if it had been."""
        if not self.waits:
            return self.cloud
        other = self._other_machine()
        shutil.copytree(self.drive.cache, other.cache(self.url))
        return other

    def _restorer(self) -> Duplicity:
        """On another machine; but 3.0.6 reads no encrypted backup without its cache, be it ours or any other."""
        waited = str(self.cells["handover"]).startswith("waits")
        return self.cloud if waited and self.cloud.encrypted else self._other_machine()

    def _inc(self) -> subprocess.CompletedProcess[str]:
        self._change()
        return self._at_work().inc(self.drive.data, self.url, check=False)

    def _outcome(self, code: int, before: set[str]) -> str:
        lost = self.destroyed(before)
        if lost:
            self.put_back()
            return f"destroyed {len(lost)}, put back"
        return "ok" if code == 0 else f"refused ({code})"


def expected(version: str) -> dict[str, Callable[[str], bool]]:
    """What docs/duplicity-versions.md says of a version, cell by cell."""
    advice = verdict(parse(f"duplicity {version} "))
    waits = advice.verdict is Verdict.WAIT
    beside = {WORKS: "ok", REFUSES: "refused (17)", DESTROYS: "destroyed"}
    return {
        "handover": lambda cell: cell.startswith("waits, ok" if waits else "ok"),
        "beside_remains": lambda cell: cell.startswith(beside[advice.beside]),
        "cleanup": lambda cell: "put back" in cell if waits else cell == "ok",
        "incremental": lambda cell: (
            cell.startswith("refused")
            if waits
            else cell == ("ok, complains" if advice.verdict is Verdict.NOISY else "ok")
        ),
        "verify": lambda cell: cell == "ok",
        "restore": lambda cell: cell == "ok",
    }


def trial(version: str, dress: str, bus: str, swift: SwiftServer, folder: Path) -> dict[str, object]:
    """One row of the table."""
    begun = time.monotonic()
    with ExitStack() as stack:
        found = stack.enter_context(installed_duplicity(duplicities.program(version), folder / "home"))
        drive = make_chain(replace(found, encrypted=dress == "encrypted"), folder / "made", size=SIZE, incs=1)
        daemon = stack.enter_context(daemon_on(bus, folder / "daemon-home"))
        here = Trial(daemon, swift, drive)
        for column in COLUMNS:
            try:
                here.cells[column] = getattr(here, column)()
            except Exception as error:  # a cell of the table, whatever it is
                here.cells[column] = f"{FAILED}: {(str(error).strip().splitlines() or [repr(error)])[0][:100]}"
                say(f"versions: {version} {dress}: {column}: {error}")
            if str(here.cells[column]).startswith(FAILED):
                break
    row = {"tool": f"duplicity {version}, {dress}", **{column: here.cells.get(column, "-") for column in COLUMNS}}
    say(f"versions: {row} ({time.monotonic() - begun:.0f} s)")
    return row | {"seconds": round(time.monotonic() - begun)}


def judged(rows: list[dict[str, object]]) -> list[Goal]:
    red = [
        f"{row['tool']}: {column}" for row in rows for column in COLUMNS if str(row[column]).startswith((FAILED, "-"))
    ]
    wrong = [
        f"{row['tool']}: {column}: {row[column]}"
        for row in rows
        for column, holds in expected(str(row["tool"]).split()[1].rstrip(",")).items()
        if not holds(str(row[column]))
    ]
    return [
        Goal("cells that failed", "; ".join(red) or 0, "0", not red),
        Goal("cells that docs/duplicity-versions.md does not explain", "; ".join(wrong) or 0, "0", not wrong),
    ]


def run(arguments: list[str]) -> Outcome:
    parser = argparse.ArgumentParser(prog="contrib/bench versions", description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"only {', '.join(duplicities.QUICK)}, encrypted")
    parser.add_argument("--only", metavar="VERSION", action="append", help="this one; may be repeated")
    known = parser.parse_args(arguments)
    need(gpg="gnupg", busctl="systemd", setpriv="util-linux", **{"dbus-daemon": "dbus"})
    chosen = known.only or (duplicities.QUICK if known.quick else duplicities.VERSIONS)
    if unknown := set(chosen) - set(duplicities.VERSIONS):
        raise CannotRun(f"there is no {', '.join(unknown)} among {', '.join(duplicities.VERSIONS)}")
    rows = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slowboat-versions-")))
        swift = stack.enter_context(running_swift(folder / "swift"))
        for version in chosen:
            for dress in ("encrypted",) if known.quick else ("encrypted", "plain"):
                with running_bus() as bus:
                    rows.append(trial(version, dress, bus.address, swift, folder / f"{version}-{dress}"))
    return Outcome(rows, judged(rows))


if __name__ == "__main__":
    sys.exit("run it by contrib/bench versions")
