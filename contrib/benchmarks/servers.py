"""The main job at each server that speaks Swift: what of it holds there, and how the volumes stand in the end.

For each server a real chain of duplicity's on a drive (signatures of 4 MB, volumes of 37 MB), the real daemon, a proxy
that counts. It is killed (SIGKILL) in the middle of the first volumes; duplicity makes an incremental in the cloud
while most are missing; somebody else puts an object at the name of one that is still to come. Then the rest follows,
the server's own expirer passes, all is verified, and restored from the cloud alone. --write-docs puts what was
measured into the table of docs/swift.md.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from marked import rewrite
from outcome import CannotRun, Goal, Outcome, need, say

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests/daemon")]

from evidence import parts_of  # noqa: E402  # found by the line above
from on_the_wire import Wire, wire_to  # noqa: E402  # found by the line above

from realparts.daemon_process import Daemon, daemon_on  # noqa: E402
from realparts.drive import Drive, change_data, differences, make_chain  # noqa: E402
from realparts.duplicity import NEWEST, Duplicity, installed_duplicity  # noqa: E402
from realparts.private_bus import running_bus  # noqa: E402
from realparts.rgw_server import running_rgw  # noqa: E402
from realparts.swift_server import SwiftServer, running_swift  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

MIB = 1 << 20
DOCS = ROOT / "docs/swift.md"
BEGIN, END = "<!-- contrib/bench servers --write-docs: begin -->", "<!-- contrib/bench servers --write-docs: end -->"

LETTERS = 29_000  # small files, for signatures of 4 MB
VOLSIZE = 35
"""MB: more than half of segmenting.LARGEST, so that the volumes go up in segments however fast the line is."""
HELD_BACK = 400_000  # bytes per second until the incremental is made
FAILED = "FAILED"
COLUMNS = {
    "handover": "handover",
    "resumes": "resumes in mid-object",
    "incremental": "incremental meanwhile",
    "foreign": "foreign object kept",
    "arrives": "arrives",
    "stands": "large objects stand as",
    "expires": "nothing expires",
    "verify": "verify",
    "restore": "restore",
}
"""Column -> its heading in docs/swift.md; in the order in which they are found out."""

JOINED, IN_PLACE, WHOLE = "plain objects, joined", "lists of segments", "plain objects, sent whole"


@dataclass(frozen=True)
class Kind:
    """A server to try, how it is started, and what slowboat does about it.

    Attributes:
        stands: how large objects must stand there in the end.
        resumes: what an interruption must cost: the middle of an object is kept, or the object begins again.
        does: for docs/swift.md.
    """

    name: str
    start: Callable[[Path], AbstractContextManager[SwiftServer]]
    stands: str
    does: str
    resumes: str = "ok"


SERVERS = {
    "swift": Kind(
        "OpenStack Swift",
        lambda folder: running_swift(folder, expirer=1),
        JOINED,
        "Segments, a static large object of them, a copy by the server to the final name; the segments are deleted.",
    ),
    "without-slo": Kind(
        "OpenStack Swift without `slo`",
        lambda folder: running_swift(folder, expirer=1, without="slo"),
        WHOLE,
        "One PUT for each object, up to the largest that the server takes; an interruption costs the whole object, "
        "and slowboat says so.",
        resumes="whole again",
    ),
    "without-copy": Kind(
        "OpenStack Swift without `copy`",
        lambda folder: running_swift(folder, expirer=1, without="copy"),
        IN_PLACE,
        "The static large object stands at the final name; its segments are data, stay, and never had an expiry.",
    ),
    "small": Kind(
        "OpenStack Swift, `max_file_size` of 4 MiB",
        lambda folder: running_swift(folder, expirer=1, max_file_size=4 * MIB),
        IN_PLACE,
        "The same for what is larger than that; what is smaller is one PUT.",
    ),
    "rgw": Kind(
        "Ceph RADOS Gateway",
        lambda folder: running_rgw(folder, expirer=3, token_life=20),
        IN_PLACE,
        "The same; the final name is asked about just before each PUT, and what stands there is looked at afterwards.",
    ),
}


@dataclass
class Trial:
    """One chain's move to one server."""

    daemon: Daemon
    server: SwiftServer
    wire: Wire
    drive: Drive
    kind: Kind
    cells: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.container = self.server.container()
        self.segments = f"{self.container}_segments"
        self.cloud: Duplicity = replace(self.drive.duplicity, environment=self.server.environment())
        self.url = self.daemon.configure_migration(
            self.drive, self.server, self.container, limit=HELD_BACK, auth_url=self.wire.auth_url
        )
        # Two objects at a time, so that some have not begun when somebody else puts one there.
        self.daemon.configure("connections = 2\n" + self.daemon.config_file.read_text())

    # -- the steps, in the order of COLUMNS ------------------------------------------------------------------

    def handover(self) -> str:
        self.daemon.start()
        seen = self.daemon.wait_until(lambda now: now["Handover"] == "done", timeout=180)
        missing = seen["VolumesTotal"] - seen["VolumesDone"]
        return "ok" if missing else f"{FAILED}: no volume was missing any more"

    def resumes(self) -> str:
        """kill -9 while volumes are under way, and what of them is sent again after the next start."""
        before = self._wait_for_the_middle()
        self.daemon.kill()
        self.daemon.start()
        if self.kind.resumes != "ok":
            self._wait_for_the_middle(more_than=len(self.wire.asked("PUT")))
            return "whole again"
        self._until(lambda: len(self._kept()) > len(before) + 1, "no further segment came")
        twice = {name for name in before if self.wire.stored().count(name) > 1}
        return f"{FAILED}: {len(twice)} segments were sent twice" if twice else "ok"

    def incremental(self) -> str:
        change_data(self.drive.data, 200_000, random.Random(3))
        self.cloud.inc(self.drive.data, self.url)
        seen = self.daemon.migration()
        return "ok" if seen["VolumesDone"] < seen["VolumesTotal"] else f"{FAILED}: no volume was missing any more"

    def foreign(self) -> str:
        """Somebody else's object at the name of a volume that is to come; then he takes it away, and it comes."""
        theirs, name = b"somebody else's", self._last_volume()
        self.server.put(self.container, name, theirs)
        self.daemon.configure(self.daemon.config_file.read_text().replace(f"limit = {HELD_BACK}", ""))
        self.daemon.slowboat("reload")
        self.daemon.wait_until(
            lambda now: now["VolumesRefused"] == 1 and now["VolumesDone"] == now["VolumesTotal"] - 1, timeout=240
        )
        if self.server.read(self.container, name) != theirs:
            return f"{FAILED}: it was replaced"
        self.server.delete(self.container, [name])
        self.daemon.slowboat("retry")
        return "ok"

    def arrives(self) -> str:
        seen = self.daemon.wait_until(lambda now: now["State"] == "done", timeout=240)
        if not seen["RestorableFromCloud"]:
            return f"{FAILED}: not restorable"
        wrong = [name for name in self.drive.names("duplicity-") if not self._is_there(name)]
        return f"{FAILED}: {len(wrong)} have other bytes there" if wrong else "ok"

    def stands(self) -> str:
        heads = [self.server.head(self.container, name) for name in self.drive.volumes]
        large = [head for head in heads if int(head["content-length"]) > VOLSIZE * 1_000_000]
        lists = ["x-static-large-object" in head for head in large]
        if not large or any(lists) != all(lists):
            return f"{FAILED}: {sum(lists)} of {len(large)} large objects are lists"
        if any(lists):
            return IN_PLACE
        left = [name for name in self.server.listing(self.segments) if not name.startswith("slowboat1/probe/")]
        return f"{FAILED}: {len(left)} segments are left" if left else JOINED if self._kept() else WHOLE

    def expires(self) -> str:
        """Nothing that the backup stands on will expire, and what the server's expirer has passed by is still there."""
        for _ in range(3):
            self.server.wait_for_the_expirer()
        found = [name for name in self.server.listing(self.container) if self._expires(self.container, name)]
        if self.cells["stands"] == IN_PLACE:
            found += [
                each
                for name in self.drive.names("duplicity-")
                for each in parts_of(self.server, self.container, name)
                if self._expires(self.segments, each)
            ]
        lost = [name for name in self.drive.names("duplicity-") if not self._is_there(name)]
        return f"{FAILED}: {len(lost)} are lost, {len(found)} will expire" if lost or found else "ok"

    def verify(self) -> str:
        self.daemon.slowboat("verify", "--deep")
        self.cloud.without_cache().verify(self.url, self.drive.data)
        return "ok"

    def restore(self) -> str:
        into = self.drive.data.parent / "restored"
        self.cloud.without_cache().restore(self.url, into)
        found = differences(self.drive.data, into)
        shutil.rmtree(into)
        return f"{FAILED}: {found[0]}" if found else "ok"

    # -- looking ---------------------------------------------------------------------------------------------

    def _until(self, holds: Callable[[], object], what: str, seconds: float = 120) -> None:
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, f"{what}: {self.daemon.log[-2000:]}"
            time.sleep(0.05)

    def _kept(self) -> list[str]:
        """Segments of volumes that the server has confirmed, in that order."""
        return [name for name in self.wire.stored() if "_segments/" in name and ".vol" in name]

    def _wait_for_the_middle(self, more_than: int = 0) -> list[str]:
        """Until part of a volume is at the server and the rest is not; what it has of it."""
        if self.kind.resumes == "ok":
            self._until(lambda: len(self._kept()) > more_than, "no segment came")
        else:
            self._until(lambda: self._bodies_under_way(more_than), "no volume was begun")
        return self._kept()

    def _bodies_under_way(self, after: int) -> bool:
        puts = self.wire.asked("PUT")[after:]
        return any(".vol" in each.path and not each.status and each.body_bytes > MIB for each in puts)

    def _last_volume(self) -> str:
        """The one that duplicity needs last, and that therefore has not begun."""
        full = [name for name in self.drive.volumes if "-full." in name]
        return max(full, key=lambda name: int(re.findall(r"\.vol(\d+)\.", name)[0]))

    def _is_there(self, name: str) -> bool:
        if name not in self.server.listing(self.container):
            return False
        return self.server.read(self.container, name) == (self.drive.folder / name).read_bytes()

    def _expires(self, container: str, name: str) -> bool:
        return "x-delete-at" in self.server.head(container, name)


def trial(kind: Kind, made: Drive, folder: Path) -> dict[str, object]:
    """One row of the table."""
    begun = time.monotonic()
    with ExitStack() as stack:
        server = stack.enter_context(kind.start(folder / "server"))
        wire = stack.enter_context(wire_to(server.port))
        bus = stack.enter_context(running_bus())
        daemon = stack.enter_context(daemon_on(bus.address, folder / "daemon-home"))
        here = Trial(daemon, server, wire, made.copied_to(folder / "copy"), kind)
        for column in COLUMNS:
            try:
                here.cells[column] = getattr(here, column)()
            except Exception as error:  # a cell of the table, whatever it is
                here.cells[column] = f"{FAILED}: {(str(error).strip().splitlines() or [repr(error)])[0][:100]}"
                say(f"servers: {kind.name}: {column}: {error}")
            say(f"servers: {kind.name}: {column}: {here.cells[column]}")
            if here.cells[column].startswith(FAILED):
                break
        with server.connection() as connection:
            version = connection.get_capabilities()["swift"]["version"]
    row = {column: here.cells.get(column, "-") for column in COLUMNS}
    return {"tool": kind.name, "version": version, **row, "seconds": round(time.monotonic() - begun)}


def wrong(kind: Kind, row: dict[str, object]) -> list[str]:
    """The cells that are not what they must be."""
    want = dict.fromkeys(COLUMNS, "ok") | {"stands": kind.stands, "resumes": kind.resumes}
    return [f"{column}: {row[column]}" for column in COLUMNS if row[column] != want[column]]


def table(rows: list[dict[str, object]]) -> str:
    """The rows as Markdown, and what slowboat does on each server."""
    words = {"ok": "yes", "whole again": "no, begins again"}
    lines = ["| server | version | " + " | ".join(COLUMNS.values()) + " |", "|---" * (len(COLUMNS) + 2) + "|"]
    for row in rows:
        cells = [words.get(str(row[column]), str(row[column])) for column in COLUMNS]
        lines.append(f"| {row['tool']} | {row['version']} | " + " | ".join(cells) + " |")
    does = {kind.name: kind.does for kind in SERVERS.values()}
    return "\n".join([*lines, "", *(f"- **{row['tool']}:** {does[str(row['tool'])]}" for row in rows)])


def write_docs(rows: list[dict[str, object]], docs: Path = DOCS) -> None:
    """Puts the table between its markers."""
    rewrite(docs, BEGIN, END, f"\n{table(rows)}\n\n")


def run(arguments: list[str]) -> Outcome:
    parser = argparse.ArgumentParser(prog="contrib/bench servers", description=__doc__)
    parser.add_argument("--only", metavar="SERVER", action="append", choices=SERVERS, help="this one; may be repeated")
    parser.add_argument("--write-docs", action="store_true", help="put the table into docs/swift.md")
    known = parser.parse_args(arguments)
    if known.only and known.write_docs:
        raise CannotRun("--write-docs is for the whole table")
    need(gpg="gnupg", busctl="systemd", setpriv="util-linux", **{"dbus-daemon": "dbus"})
    chosen = {name: kind for name, kind in SERVERS.items() if name in (known.only or SERVERS)}
    rows: list[dict[str, object]] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slowboat-servers-")))
        found = stack.enter_context(installed_duplicity(NEWEST, folder / "home"))
        say("servers: making a chain")
        style = replace(found, volsize=VOLSIZE)
        made = make_chain(style, folder / "made", incs=1, size=1_000_000, letters=LETTERS)
        for name, kind in chosen.items():
            rows.append(trial(kind, made, folder / name))
            shutil.rmtree(folder / name)
    goals = []
    for kind, row in zip(chosen.values(), rows, strict=True):
        red = wrong(kind, row)
        goals.append(Goal(f"the main job holds at {kind.name}", "; ".join(red) or "yes", "yes", not red))
    if known.write_docs:
        write_docs(rows)
    return Outcome(rows, goals)


if __name__ == "__main__":
    sys.exit("run it by contrib/bench servers")
