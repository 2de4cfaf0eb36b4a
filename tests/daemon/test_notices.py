"""What the desktop shows: good news and what needs the user, once each; nothing of troubles that pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from evidence import expect_arrived

from faults import Answer, CutAnswer, Reset
from realparts.daemon_process import MANAGER, SERVICE
from realparts.notification_service import running_notifications

if TYPE_CHECKING:
    from pathlib import Path

    from on_the_wire import Wire

    from realparts.daemon_process import Daemon
    from realparts.drive import Drive
    from realparts.swift_server import SwiftServer

HANDED_OVER, ALL_DONE, NEEDS_YOU = (
    "Backups can go to the cloud now",
    "home: the backup is in the cloud",
    "home needs you",
)
pytestmark = pytest.mark.needs("busctl", "gpg")


def test_good_news_waits_for_a_desktop_and_passing_troubles_are_no_news(
    daemon: Daemon, swift: SwiftServer, wire: Wire, chain: Drive, tmp_path: Path
) -> None:
    container = swift.container()
    url = daemon.configure_migration(chain, swift, container, auth_url=wire.auth_url)
    wire.rule("GET", "/auth/", Answer(503))
    wire.rule("PUT", "full-signatures", Reset(after=1000))
    wire.rule("PUT", "vol1", CutAnswer())
    wire.rule("PUT", "vol2", Answer(401))
    wire.rule("HEAD|GET", "^/v1/", Answer(500), skip=3)
    daemon.start()
    daemon.wait_until(lambda now: now["State"] == "done", timeout=120)
    assert len([each for each in wire.requests if each.status in {401, 500, 503}]) == 3, wire.told()
    daemon.terminate()  # the machine is switched off before anybody sees a desktop
    daemon.start()
    daemon.wait_until(lambda now: now["State"] == "done")
    with running_notifications(daemon.session_bus, tmp_path) as desktop:
        daemon.wait_until(lambda _: ALL_DONE in desktop.titles)
        assert sorted(desktop.titles) == sorted([HANDED_OVER, ALL_DONE])
        handed_over, all_done = (
            next(each for each in desktop.all if each["title"] == title) for title in (HANDED_OVER, ALL_DONE)
        )
        assert url in handed_over["body"]
        assert "Keep the drive" in handed_over["body"]
        assert "The drive is no longer the only copy" in all_done["body"]
        assert {handed_over["hints"]["urgency"], all_done["hints"]["urgency"]} == {1}
        daemon.terminate()
        daemon.start()
        daemon.wait_until(lambda now: now["State"] == "done")
        daemon.slowboat("retry")
        daemon.wait_until(lambda now: now["State"] == "done")
        assert len(desktop.titles) == 2, "old news is not told again"
    expect_arrived(chain, swift, container)


def test_what_needs_the_user_is_told_once_and_again_only_when_asked(
    daemon: Daemon, swift: SwiftServer, chain: Drive, tmp_path: Path
) -> None:
    container = swift.container()
    daemon.configure_migration(chain, swift, container)
    daemon.secret("key", "not-it")
    daemon.start()
    daemon.wait_until(lambda now: now["State"] == "needs-user")
    with running_notifications(daemon.session_bus, tmp_path) as desktop:
        daemon.wait_until(lambda _: NEEDS_YOU in desktop.titles)
        shown = desktop.all[0]
        assert shown["hints"]["urgency"] == 2
        assert "Check the cloud's user and key" in shown["body"]
        daemon.call(MANAGER, f"{SERVICE}.Manager", "Rescan", "a{sv}", "0")
        assert daemon.migration()["State"] == "needs-user"
        daemon.slowboat("retry")
        daemon.wait_until(lambda _: len(desktop.titles) == 2)
        daemon.secret("key", swift.key)
        daemon.slowboat("retry")
        daemon.wait_until(lambda _: ALL_DONE in desktop.titles)
        assert desktop.titles == [NEEDS_YOU, NEEDS_YOU, HANDED_OVER, ALL_DONE]


def test_what_is_over_is_taken_back_also_by_the_next_run(
    daemon: Daemon, swift: SwiftServer, chain: Drive, tmp_path: Path
) -> None:
    daemon.configure_migration(chain, swift, swift.container())
    daemon.secret("key", "not-it")
    with running_notifications(daemon.session_bus, tmp_path) as desktop:
        daemon.start()
        daemon.wait_until(lambda _: NEEDS_YOU in desktop.open)
        daemon.migration()  # the desktop's answer came before this question: it has been noted
        daemon.kill()
        daemon.secret("key", swift.key)
        daemon.start()
        daemon.wait_until(lambda now: now["State"] == "done")
        daemon.wait_until(lambda _: NEEDS_YOU not in desktop.open)
        assert desktop.titles == [NEEDS_YOU, HANDED_OVER, ALL_DONE]


def test_a_file_that_goes_up_after_all_is_no_longer_told_to_be_set_aside(
    daemon: Daemon, swift: SwiftServer, chain: Drive, tmp_path: Path
) -> None:
    """Mended while nobody ran: the next run takes back what the one before has told."""
    container = swift.container()
    daemon.configure_migration(chain, swift, container, limit=1_000_000)
    victim = chain.volumes[-1]
    with running_notifications(daemon.session_bus, tmp_path) as desktop:
        daemon.start()
        daemon.wait_until(lambda now: now["Handover"] == "done")
        swift.put(container, victim, b"another's")
        daemon.call(MANAGER, f"{SERVICE}.Manager", "Rescan", "a{sv}", "0")
        daemon.wait_until(lambda now: now["State"] == "needs-user")
        daemon.wait_until(lambda _: any("cannot be moved" in title for title in desktop.open))
        daemon.migration()
        daemon.kill()
        swift.delete(container, [victim])
        daemon.start()
        daemon.slowboat("retry")
        daemon.wait_until(lambda now: now["State"] == "done")
        daemon.wait_until(lambda _: not any("cannot be moved" in title for title in desktop.open))
    expect_arrived(chain, swift, container)


def test_the_bus_may_go_and_come_back(daemon: Daemon, swift: SwiftServer, private_bus, chain: Drive, tmp_path) -> None:
    """What is on the wire goes on; whoever asks on the new bus is answered, and the news is told there."""
    container = swift.container()
    daemon.configure_migration(chain, swift, container, limit=1_000_000)
    daemon.start()
    daemon.wait_until(lambda now: now["State"] == "sending")
    private_bus.stop()
    private_bus.start()
    daemon.wait_until(lambda now: now["State"] == "done")
    with running_notifications(daemon.session_bus, tmp_path) as desktop:
        daemon.wait_until(lambda _: ALL_DONE in desktop.titles, timeout=90)
    assert daemon.terminate() == 0
    assert "Traceback" not in daemon.log, daemon.log
    expect_arrived(chain, swift, container)
