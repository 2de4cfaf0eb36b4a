"""The password in the desktop's keyring, which is unlocked a moment after the daemon has begun: an automatic login."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from evidence import expect_arrived

from realparts.keyring import running_keyring
from slowboat.edges.secrets import attributes_of

if TYPE_CHECKING:
    from realparts.daemon_process import Daemon
    from realparts.drive import Drive
    from realparts.notification_service import Notifications
    from realparts.swift_server import SwiftServer

pytestmark = pytest.mark.needs("busctl", "gpg")


def test_a_keyring_that_is_unlocked_later_is_heard_of(
    daemon: Daemon, swift: SwiftServer, chain: Drive, notifications: Notifications
) -> None:
    container = swift.container()
    daemon.configure_migration(chain, swift, container)
    text = daemon.config_file.read_text()
    daemon.configure("".join(line for line in text.splitlines(keepends=True) if not line.startswith("key_file")))
    with running_keyring(daemon.session_bus, [("locked until the login", attributes_of("test"), swift.key)]) as keyring:
        daemon.start()
        seen = daemon.wait_until(lambda now: now["State"] == "needs-user")
        assert "secret-locked" in seen["Reasons"]
        daemon.wait_until(lambda _: "home needs you" in notifications.open)
        keyring.unlock()
        daemon.wait_until(lambda now: now["State"] == "done")
        daemon.wait_until(lambda _: "home needs you" not in notifications.open)
    expect_arrived(chain, swift, container)
