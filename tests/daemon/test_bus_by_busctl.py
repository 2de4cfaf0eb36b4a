"""The real daemon's interface as a stranger sees it: busctl, no client of ours."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from realparts.daemon_process import MANAGER, SERVICE
from realparts.presence import program, with_us

if TYPE_CHECKING:
    from realparts.daemon_process import Daemon
    from realparts.drive import Drive
    from realparts.swift_server import SwiftServer

MIGRATION = f"{MANAGER}/migrations/home"
PROPERTIES = "org.freedesktop.DBus.Properties"
pytestmark = pytest.mark.needs("busctl", "gpg")


class Busctl:
    """busctl on the daemon's bus."""

    def __init__(self, address: str) -> None:
        self._argv = [program("busctl"), f"--address={address}", "--json=short"]

    def __call__(self, *arguments: str) -> str:
        done = subprocess.run([*self._argv, *arguments], capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refused(self, *arguments: str) -> str:
        """What the call was refused with."""
        done = subprocess.run([*self._argv, *arguments], capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode != 0, done.stdout
        return done.stderr.strip()

    def get(self, path: str, interface: str, name: str):
        """A property's (signature, value)."""
        found = json.loads(self("get-property", SERVICE, path, f"{SERVICE}.{interface}", name))
        return found["type"], found["data"]

    def members(self, path: str, interface: str) -> dict[str, tuple[str, str]]:
        """What introspection shows: name to (kind, signature)."""
        shown = self("--json=off", "introspect", SERVICE, path, f"{SERVICE}.{interface}").splitlines()[1:]
        return {row[0].removeprefix("."): (row[1], row[2]) for row in map(str.split, shown)}

    def monitor(self) -> subprocess.Popen[str]:
        """Every signal of the daemon's, one line of JSON each."""
        argv = [*self._argv, "monitor", f"--match=type='signal',sender='{SERVICE}'"]
        return subprocess.Popen(with_us(*argv), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def busctl(daemon: Daemon) -> Busctl:
    return Busctl(daemon.session_bus)


def test_a_stranger_reads_pauses_and_resumes(daemon: Daemon, swift: SwiftServer, chain: Drive, busctl: Busctl) -> None:
    url = daemon.configure_migration(chain, swift, swift.container(), limit=200_000)
    daemon.start()
    daemon.wait_until(lambda now: now["State"] == "sending" and now["BytesSent"] > 0)

    tree = busctl("tree", SERVICE, "--list").split()
    assert {MANAGER, MIGRATION} <= set(tree)
    manager, migration = busctl.members(MANAGER, "Manager"), busctl.members(MIGRATION, "Migration")
    assert manager["Limit"] == ("property", "t")
    assert manager["Pause"] == ("method", "ta{sv}")
    assert migration["HandOver"] == ("method", "a{sv}")
    for path, interface, members in ((MANAGER, "Manager", manager), (MIGRATION, "Migration", migration)):
        for name, (kind, signature) in members.items():
            if kind == "property":
                assert busctl.get(path, interface, name)[0] == signature, name
    assert busctl.get(MIGRATION, "Migration", "TargetUrl") == ("s", url)
    assert busctl.get(MIGRATION, "Migration", "BytesTotal") == ("t", chain.size())
    assert busctl.get(MANAGER, "Manager", "State") == ("s", "sending")
    managed = json.loads(busctl("call", SERVICE, MANAGER, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects"))
    assert list(managed["data"][0]) == [MIGRATION]

    busctl("call", SERVICE, MANAGER, f"{SERVICE}.Manager", "Pause", "ta{sv}", "0", "0")
    seen = daemon.wait_until(lambda now: now["State"] == "paused")
    assert "paused" in seen["Reasons"]
    daemon.wait_until(lambda now: now["BytesInFlight"] == 0)
    sent = busctl.get(MANAGER, "Manager", "BytesSent")
    busctl("set-property", SERVICE, MANAGER, f"{SERVICE}.Manager", "Limit", "t", "123456")
    assert busctl.get(MANAGER, "Manager", "BytesSent") == sent, "nothing goes over the line meanwhile"
    busctl("call", SERVICE, MANAGER, f"{SERVICE}.Manager", "Resume", "a{sv}", "0")
    daemon.wait_until(lambda now: now["State"] == "sending")
    busctl("call", SERVICE, MIGRATION, f"{SERVICE}.Migration", "Pause", "ta{sv}", "0", "0")
    daemon.wait_until(lambda now: now["State"] == "paused")
    busctl("call", SERVICE, MIGRATION, f"{SERVICE}.Migration", "Resume", "a{sv}", "0")
    daemon.wait_until(lambda now: now["State"] == "sending")
    kinds = [row["kind"]["data"] for row in json.loads(history(busctl))["data"][0]]
    assert kinds.count("paused") == kinds.count("resumed") == 2


def history(busctl: Busctl) -> str:
    return busctl("call", SERVICE, MANAGER, f"{SERVICE}.Manager", "GetHistory", "tua{sv}", "0", "100", "0")


def test_a_stranger_follows_the_signals(daemon: Daemon, swift: SwiftServer, chain: Drive, busctl: Busctl) -> None:
    daemon.configure_migration(chain, swift, swift.container(), limit=2_000_000)
    with busctl.monitor() as monitor:
        daemon.start()
        daemon.wait_until(lambda now: now["State"] == "done")
        daemon.terminate()  # what waited for its second is told before it goes
        monitor.terminate()
        signals = [json.loads(line) for line in monitor.communicate(timeout=30)[0].splitlines()]
    changes = [each["payload"]["data"] for each in signals if each["member"] == "PropertiesChanged"]
    of_migration = [changed for interface, changed, _ in changes if interface == f"{SERVICE}.Migration"]
    states = [changed["State"]["data"] for changed in of_migration if "State" in changed]
    assert [state for state in states if state in {"checking", "sending", "done"}][-1] == "done"
    assert "sending" in states
    assert "done" in [changed["Handover"]["data"] for changed in of_migration if "Handover" in changed]
    done = [changed["BytesDone"]["data"] for changed in of_migration if "BytesDone" in changed]
    assert done == sorted(done)
    assert done[-1] == chain.size()
    added = [each for each in signals if each["member"] == "InterfacesAdded"]
    assert [each["payload"]["data"][0] for each in added] == [MIGRATION]
    assert swift.key not in json.dumps(signals)


def test_wrong_calls_are_refused_and_harm_nothing(
    daemon: Daemon, swift: SwiftServer, chain: Drive, busctl: Busctl
) -> None:
    daemon.configure_migration(chain, swift, swift.container())
    daemon.start()
    manager = f"{SERVICE}.Manager"
    assert "can only be read" in busctl.refused("set-property", SERVICE, MANAGER, manager, "Rate", "t", "1")
    busctl.refused("call", SERVICE, MANAGER, manager, "Explode")
    busctl.refused("call", SERVICE, MANAGER, manager, "Pause", "s", "soon")
    busctl.refused("get-property", SERVICE, MANAGER, manager, "Nothing")
    busctl.refused("call", SERVICE, f"{MANAGER}/migrations/nobody", f"{SERVICE}.Migration", "HandOver", "a{sv}", "0")
    busctl.refused("set-property", SERVICE, MANAGER, manager, "Limit", "s", "fast")
    for limit in ("5", str(2**64 - 1)):  # what the command line says no to as well
        assert "is not a limit" in busctl.refused("set-property", SERVICE, MANAGER, manager, "Limit", "t", limit)
        assert "is not a limit" in busctl.refused(
            "call", SERVICE, MANAGER, manager, "SetLimit", "tta{sv}", limit, "0", "0"
        )
    for until, why in (("1000000", "has passed"), (str(2**64 - 1), "more than a year")):
        assert why in busctl.refused("call", SERVICE, MANAGER, manager, "Pause", "ta{sv}", until, "0")
        assert why in busctl.refused("call", SERVICE, MIGRATION, f"{SERVICE}.Migration", "Pause", "ta{sv}", until, "0")
        assert why in busctl.refused("call", SERVICE, MANAGER, manager, "SetLimit", "tta{sv}", "5000", until, "0")
    assert daemon.manager()["Limit"] == 0
    assert not history(busctl).count("Paused by you")
    daemon.wait_until(lambda now: now["State"] == "done")
    assert "Traceback" not in daemon.log, daemon.log
