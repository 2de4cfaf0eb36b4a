"""kill -9 at any moment, and SIGTERM in mid-upload: nothing half arrives, nothing is paid for twice."""

from __future__ import annotations

import os
import random
import re
import sqlite3
import subprocess
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from evidence import expect_arrived, fingerprint

from faults import BlackHole, CutAnswer
from realparts.drive import Drive, make_chain
from realparts.duplicity import NEWEST, installed_duplicity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from on_the_wire import Wire

    from realparts.daemon_process import Daemon
    from realparts.swift_server import SwiftServer

KILLS = 20
MIB = 1 << 20


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drive]:
    """A plain chain whose volumes are so large that they go up in segments; not to be changed."""
    folder = tmp_path_factory.mktemp("large")
    with installed_duplicity(NEWEST, folder / "home") as found:
        yield make_chain(replace(found, encrypted=False, volsize=4), folder / "made", size=16_000_000, incs=1)


@pytest.fixture
def large(made: Drive, tmp_path) -> Drive:
    """This test's own copy of it."""
    return made.copied_to(tmp_path / "large")


def all_at_once(daemon: Daemon) -> None:
    """Every volume is begun while nothing is known of the line, and so in segments of 1 MiB."""
    daemon.configure("connections = 8\n" + daemon.config_file.read_text())


class Killer:
    """Kills a daemon at a request and a byte of it, or at its answer, as a random number has it."""

    def __init__(self, daemon: Daemon, wire: Wire, chance: random.Random) -> None:
        self._daemon = daemon
        self._wire = wire
        self._chance = chance

    def strike(self) -> str:
        """Starts the daemon and kills it; when that was."""
        self._wire.forget_rules()
        what = self._while_it_starts() if self._chance.random() < 0.2 else self._at_a_request()
        assert self._daemon.running, self._daemon.log
        self._daemon.kill()
        return what

    def _while_it_starts(self) -> str:
        seconds = self._chance.uniform(0.0, 0.8)
        self._daemon.start(wait=False)
        time.sleep(seconds)  # not to wait for anything: this is the random moment
        return f"{seconds:.3f} s after its start"

    def _at_a_request(self) -> str:
        method = self._chance.choice(["PUT", "PUT", "PUT", "PUT", "HEAD", "GET", "DELETE|POST"])
        skip = self._chance.randrange(4)
        after = self._chance.choice([0, self._chance.randrange(MIB), MIB])
        answered = self._chance.random() < 0.4
        first = len(self._wire.requests)
        self._wire.rule(method, "^/v1/", CutAnswer() if answered else BlackHole(after), skip=skip, times=None)
        self._daemon.start(wait=False)
        end = time.monotonic() + 30
        while time.monotonic() < end and not self._is_done():
            came = [each for each in self._wire.requests[first:] if re.fullmatch(method, each.method)]
            came = [each for each in came if each.path.startswith("/v1/")][skip:]
            if came and (came[0].status if answered else came[0].body_bytes >= min(after, _length(came[0]))):
                moment = "answered" if answered else f"after {came[0].body_bytes} bytes"
                return f"{came[0].method} {came[0].path} {moment}"
            time.sleep(0.005)
        return f"no {method} number {skip} in sight"

    def _is_done(self) -> bool:
        try:
            return self._daemon.migration()["State"] == "done"
        except subprocess.CalledProcessError:
            return False  # not on the bus yet


def _length(request) -> int:
    return int(request.headers.get("content-length", 0))


@pytest.mark.needs("busctl", "gpg")
def test_twenty_kills_cost_seconds_and_nothing_else(
    daemon: Daemon, swift: SwiftServer, wire: Wire, large: Drive
) -> None:
    seed = int(os.environ.get("SLOWBOAT_SEED") or time.time_ns() % 1_000_000)
    print(f"SLOWBOAT_SEED={seed}")
    container, before = swift.container(), fingerprint(large.folder, large.cache)
    url = daemon.configure_migration(large, swift, container, prefix="p", auth_url=wire.auth_url)
    all_at_once(daemon)
    killer = Killer(daemon, wire, random.Random(seed))
    sent = [0]
    for number in range(KILLS):
        print(f"kill {number}: {killer.strike()}")
        sent.append(sent_so_far(daemon))
    wire.forget_rules()
    daemon.start()
    seen = daemon.wait_until(lambda now: now["State"] == "done")
    assert [*sent, seen["BytesSent"]] == sorted([*sent, seen["BytesSent"]]), "what was sent is never forgotten"
    assert seen["Handover"] == "done"
    assert seen["RestorableFromCloud"] is True
    assert fingerprint(large.folder, large.cache) == before
    expect_arrived(large, swift, container, "p/")
    assert len(list(large.duplicity.cache(url).iterdir())) == len(large.metadata)
    stored = wire.stored()
    stored = [each for each in stored if "/slowboat1/probe/" not in each]  # a few bytes, asked again after a kill
    assert any("_segments/" in each for each in stored), "nothing went up in segments: the test is too easy"
    assert wire.asked("COPY") or [each for each in wire.asked("PUT") if "x-copy-from" in each.headers]
    twice = [each for each, count in Counter(stored).items() if count > 1]
    assert twice == [], wire.told()
    assert "Traceback" not in daemon.log, daemon.log


@pytest.mark.needs("busctl", "gpg")
def test_sigterm_in_mid_upload_leaves_cleanly_and_goes_on_where_it_was(
    daemon: Daemon, swift: SwiftServer, wire: Wire, large: Drive
) -> None:
    container = swift.container()
    daemon.configure_migration(large, swift, container, auth_url=wire.auth_url)
    all_at_once(daemon)
    wire.rule("PUT", "_segments/.*vol", BlackHole(after=300_000), skip=3, times=None)
    daemon.start()
    wire.came("PUT", "_segments/.*vol", count=4)
    wire.kept("_segments/.*vol", count=3)
    assert daemon.terminate() == 0
    assert "STOPPING=1" in daemon.notified
    phases = dict(ledger(daemon, "SELECT name, phase FROM objects"))
    assert "sending" not in phases.values()
    assert sorted(set(phases.values())) == ["done", "unchecked"]
    whole = {name for name, phase in phases.items() if phase == "done"}
    assert whole <= set(swift.listing(container))
    for name in swift.listing(container):  # one may have arrived whose answer nobody waited for
        assert swift.read(container, name) == (large.folder / name).read_bytes(), "nothing half stands at a final name"
    held = set(swift.listing(f"{container}_segments"))
    assert held, "what had arrived is kept"
    assert all(f"{container}_segments/{name}" in wire.stored() for name in held)
    assert "Traceback" not in daemon.log
    wire.forget_rules()
    daemon.start()
    daemon.wait_until(lambda now: now["State"] == "done")
    assert max(Counter(wire.stored()).values()) == 1, "what had arrived was not sent again"
    expect_arrived(large, swift, container)


def sent_so_far(daemon: Daemon) -> int:
    """What a killed daemon's ledger remembers; 0 where it was killed before it had one."""
    if not (daemon.state / "ledger.sqlite").exists():
        return 0
    try:
        return ledger(daemon, "SELECT sum(bytes_sent) FROM objects")[0][0] or 0
    except sqlite3.OperationalError:  # killed amid making it
        return 0


def ledger(daemon: Daemon, query: str) -> list[tuple]:
    """Rows of a stopped daemon's ledger."""
    with sqlite3.connect(f"file:{daemon.state / 'ledger.sqlite'}?mode=ro", uri=True) as db:
        return db.execute(query).fetchall()
