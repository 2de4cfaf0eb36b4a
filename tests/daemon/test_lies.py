"""The real daemon before a server that lies: it lives, says what is wrong, obeys, and goes on with the truth."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest
from evidence import expect_arrived

from faults.liar import Liar, answer, dribble, flood, row
from realparts.fake_service import Login1

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faults.liar import Asked, Lie
    from realparts.daemon_process import Daemon
    from realparts.drive import Drive
    from realparts.loop_thread import LoopThread
    from realparts.swift_server import SwiftServer

pytestmark = pytest.mark.needs("busctl", "gpg")

HALF_A_PAIR = json.dumps([row("duplicity-full.\ud800.manifest")]).encode()
NO_LIMITS = {"swift": {"max_file_size": 0, "container_listing_limit": 0}, "slo": {"max_manifest_segments": 0}}


@pytest.fixture
def liar(swift: SwiftServer) -> Iterator[Liar]:
    with Liar(upstream=swift.port) as made:
        yield made


def lied(liar: Liar, method: str, path: str, before: int = 0) -> list[Asked]:
    """Waits until more than `before` such requests were lied to."""
    end = time.monotonic() + 60
    while len(found := [each for each in liar.asked(method, path) if each.lied]) <= before:
        assert time.monotonic() < end, f"{method} {path} did not come"
        time.sleep(0.01)
    return found


def until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end, "what was waited for did not come"
        time.sleep(0.01)


def left(all_of_them: list[Asked]) -> None:
    """Waits until the daemon has hung up on them."""
    end = time.monotonic() + 60
    while not all(each.left for each in all_of_them):
        assert time.monotonic() < end, "it reads on"
        time.sleep(0.01)


LIES: dict[str, tuple[str, str, Lie]] = {
    "half a pair in a name": ("GET", "format=json", answer(200, {}, HALF_A_PAIR)),
    "a listing that is none": ("GET", "format=json", answer(200, {}, b"[null]")),
    "a listing without an end": ("GET", "format=json", flood()),
    "depth": ("GET", "format=json", answer(200, {}, b"[" * 100_000)),
    "a life": ("GET", "/auth/", answer(200, {"X-Auth-Token": "t", "X-Storage-Url": "http://127.0.0.1:99999/v1"})),
    "a reason": ("PUT", "manifest|sigtar", answer(403, {}, b'{"Message": "\\ud800 no \x1b[2J\xff\xed\xa0\x80"}')),
}


@pytest.mark.parametrize(("method", "path", "lie"), LIES.values(), ids=LIES)
def test_a_lie_is_told_and_the_truth_goes_on(
    daemon: Daemon, swift: SwiftServer, chain: Drive, liar: Liar, method: str, path: str, lie: Lie
) -> None:
    """One migration is lied to, another one is not: the daemon lives, and the other arrives."""
    container, other = swift.container(), swift.container()
    daemon.configure_migration(chain, swift, container, auth_url=liar.auth_url)
    lied_to = daemon.config_file.read_text()
    honest = lied_to.replace(liar.auth_url, swift.auth_url).replace(container, other)
    honest = honest.replace("cloud.test", "cloud.honest").replace('"test"', '"honest"')
    daemon.configure(lied_to + honest.replace("migration.home", "migration.other"))
    liar.lie(method, path, lie, times=None)
    daemon.start()
    lied(liar, method, path)
    daemon.wait_until(lambda now: now["State"] in {"waiting", "needs-user"} and now["Why"])
    daemon.wait_until(lambda now: now["State"] == "done", name="other")
    assert "mistake" not in str(daemon.migration())
    assert "Traceback" not in daemon.log
    liar.forget()
    daemon.slowboat("retry")
    daemon.wait_until(lambda now: now["State"] == "done")
    expect_arrived(chain, swift, container)


def test_limits_that_nobody_could_have_stop_nothing(
    daemon: Daemon, swift: SwiftServer, chain: Drive, liar: Liar
) -> None:
    container = swift.container()
    daemon.configure_migration(chain, swift, container, auth_url=liar.auth_url)
    liar.lie("GET", "^/info", answer(200, {}, json.dumps(NO_LIMITS).encode()), times=None)
    daemon.start()
    daemon.wait_until(lambda now: now["State"] == "done")
    expect_arrived(chain, swift, container)


ENDLESS = {"listing": ("GET", "format=json"), "token": ("GET", "/auth/"), "upload": ("PUT", "manifest|sigtar")}


@pytest.mark.parametrize(("method", "path"), ENDLESS.values(), ids=ENDLESS)
def test_an_answer_that_never_ends_keeps_nobody_waiting(
    daemon: Daemon, swift: SwiftServer, chain: Drive, liar: Liar, method: str, path: str
) -> None:
    """A pause, a reload and SIGTERM get through while a byte comes now and then, and no length was told."""
    container = swift.container()
    daemon.configure_migration(chain, swift, container, auth_url=liar.auth_url)
    liar.lie(method, path, dribble(), times=None)
    daemon.start()
    first = lied(liar, method, path)
    daemon.slowboat("pause")
    left(first)
    assert daemon.migration()["State"] == "paused"
    daemon.slowboat("resume")
    second = lied(liar, method, path, len(first))
    daemon.slowboat("reload")
    left(second)
    lied(liar, method, path, len(second))
    assert daemon.terminate(timeout=60) == 0
    liar.forget()
    daemon.start()
    daemon.wait_until(lambda now: now["State"] == "done")
    expect_arrived(chain, swift, container)


@pytest.mark.parametrize(("method", "path"), ENDLESS.values(), ids=ENDLESS)
def test_an_answer_that_never_ends_keeps_no_machine_awake(
    daemon: Daemon,
    swift: SwiftServer,
    chain: Drive,
    liar: Liar,
    system_bus: str,
    loop_thread: LoopThread,
    method: str,
    path: str,
) -> None:
    """Its body is cut before login1's lock is let go, and asked for again after the sleep."""
    daemon.system_bus = system_bus
    container = swift.container()
    daemon.configure_migration(chain, swift, container, auth_url=liar.auth_url)
    liar.lie(method, path, dribble(), times=None)
    login1 = Login1(system_bus)
    loop_thread.do(login1.start())
    try:
        daemon.start()
        first = lied(liar, method, path)
        until(lambda: login1.held() == 1)
        loop_thread.do(login1.going(True))
        until(lambda: login1.held() == 0)
        left(first)
        assert daemon.manager()["Reasons"] == ["sleep"]
        loop_thread.do(login1.going(False))
        again = lied(liar, method, path, len(first))
    finally:
        loop_thread.do(login1.stop())
    daemon.slowboat("pause")
    left(again)
    liar.forget()
    daemon.slowboat("resume")
    daemon.wait_until(lambda now: now["State"] == "done")
    expect_arrived(chain, swift, container)
