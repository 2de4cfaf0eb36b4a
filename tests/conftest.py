"""Fixtures shared by all tests: the real parts, started on demand (tests/realparts has their classes)."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from realparts.daemon_process import Daemon, daemon_on
from realparts.drive import Drive, make_chain
from realparts.duplicity import DEBIANS, NEWEST, Duplicity, installed_duplicity
from realparts.keystone_server import KeystoneSwift, running_keystone
from realparts.presence import program
from realparts.private_bus import PrivateBus, running_bus
from realparts.rgw_server import RgwServer, running_rgw
from realparts.swift_server import SwiftServer, running_swift
from realparts.turns import turn

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from realparts.notification_service import Notifications


# No example is wrong for being slow; CI looks at the same ones each time, everybody else at new ones.
settings.register_profile(
    "slowboat",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="CI" in os.environ,
    database=None if "CI" in os.environ else settings.default.database,
)
settings.load_profile("slowboat")

TESTS = Path(__file__).parent
LONGEST_FIRST = ("daemon", "contrib", "engine", "edges", "cli")


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background job; programs would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line(
        "markers",
        "needs(program, ...): programs it runs; a missing one skips it loudly, or fails it where CI=true",
    )
    config.addinivalue_line(
        "markers",
        "alone: it looks at what the machine does, its speed or its mounts; nothing else runs meanwhile",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files of the rooms that take longest come first, so that no core is idle while the last of them runs.

    xdist hands out whole files in this order (`--dist loadfile --no-loadscope-reorder`); the gateway's takes longest.
    """

    def rank(item: pytest.Item) -> tuple[bool, int]:
        room = item.path.relative_to(TESTS).parts[0]
        return "rgw" not in item.path.name, LONGEST_FIRST.index(room) if room in LONGEST_FIRST else len(LONGEST_FIRST)

    items.sort(key=rank)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[object]:
    with turn(item.config.cache.mkdir("turns"), alone=item.get_closest_marker("alone") is not None):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What was captured can be sent to another process: xdist ends the whole run over a lone surrogate in a log."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        for name in marker.args:
            program(name)


@pytest.fixture(autouse=True)
def _nobodys_home(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads or writes the real home, or talks to the real buses, by mistake."""
    home = tmp_path_factory.getbasetemp() / "nobodys-home"
    monkeypatch.setenv("HOME", str(home))
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name in ("DBUS_SESSION_BUS_ADDRESS", "DBUS_SYSTEM_BUS_ADDRESS"):
        monkeypatch.setenv(name, "unix:path=/nonexistent/bus")


@pytest.fixture(scope="session")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SwiftServer]:
    """One real Swift for the whole run; a test takes containers of its own (`swift.container()`)."""
    with running_swift(tmp_path_factory.mktemp("swift")) as server:
        yield server


@pytest.fixture(scope="session")
def rgw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RgwServer]:
    """One real Ceph RADOS Gateway for the whole run, its expirer at work all the time; 20 seconds to start."""
    with running_rgw(tmp_path_factory.mktemp("rgw"), expirer=5) as server:
        yield server


@pytest.fixture
def start_swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., SwiftServer]]:
    """Starts a Swift of this test's own: start_swift(max_file_size=..., without=..., expirer=...)."""
    with ExitStack() as stack:

        def start(**options: object) -> SwiftServer:
            return stack.enter_context(running_swift(tmp_path_factory.mktemp("own-swift"), **options))

        yield start


@pytest.fixture(scope="session")
def keystone_swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeystoneSwift]:
    """A real Swift behind a real Keystone for the whole run; a test takes users and containers of its own."""
    with running_keystone(tmp_path_factory.mktemp("keystone")) as server:
        yield server


@pytest.fixture
def private_bus() -> Iterator[PrivateBus]:
    """This test's own dbus-daemon, to be stopped and started under a program's feet."""
    with running_bus() as bus:
        yield bus


@pytest.fixture
def session_bus(private_bus: PrivateBus) -> str:
    """The address of this test's own session bus; nobody is on it."""
    return private_bus.address


@pytest.fixture
def system_bus() -> Iterator[str]:
    """The address of a second private bus, to play the system bus; nobody is on it."""
    with running_bus() as bus:
        yield bus.address


@pytest.fixture
def duplicity(tmp_path: Path) -> Iterator[Duplicity]:
    """The newest duplicity, with a home and a keyring of its own."""
    with installed_duplicity(NEWEST, tmp_path / "home") as found:
        yield found


@pytest.fixture
def old_duplicity(tmp_path: Path) -> Iterator[Duplicity]:
    """Debian's duplicity (0.8.22 in Debian 12), with a home and a keyring of its own."""
    with installed_duplicity(DEBIANS, tmp_path / "old-home") as found:
        yield found


@pytest.fixture(params=["newest", "debian"])
def any_duplicity(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Duplicity]:
    """Each duplicity in turn."""
    path = NEWEST if request.param == "newest" else DEBIANS
    with installed_duplicity(path, tmp_path / "home") as found:
        yield found


@pytest.fixture(scope="session")
def finished_chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drive]:
    """One encrypted chain for the whole run, a full and two incrementals; not to be changed, see `chain`."""
    folder = tmp_path_factory.mktemp("chain")
    with installed_duplicity(NEWEST, folder / "home") as found:
        yield make_chain(found, folder)


@pytest.fixture
def chain(finished_chain: Drive, tmp_path: Path) -> Drive:
    """This test's own copy of the finished chain: drive, cache and home may be broken, the data may not."""
    return finished_chain.copied_to(tmp_path / "chain")


@pytest.fixture(params=["encrypted", "plain", "prefixed"])
def each_chain(request: pytest.FixtureRequest, tmp_path: Path, duplicity: Duplicity) -> Drive:
    """A chain of this test's own in each dress: encrypted, plain, and plain with a file prefix."""
    prefix = "pre-" if request.param == "prefixed" else ""
    style = replace(duplicity, encrypted=request.param == "encrypted", file_prefix=prefix)
    return make_chain(style, tmp_path / "made")


@pytest.fixture
def daemon(session_bus: str, tmp_path: Path) -> Iterator[Daemon]:
    """The real daemon on this test's session bus, without a system bus; configured and started by the test."""
    with daemon_on(session_bus, tmp_path / "daemon-home") as process:
        yield process


@pytest.fixture
def notifications(session_bus: str, tmp_path: Path) -> Iterator[Notifications]:
    """A desktop notification service on this test's session bus, and what it has shown."""
    from realparts.notification_service import running_notifications  # it alone here needs slowboat itself

    with running_notifications(session_bus, tmp_path) as shown:
        yield shown
