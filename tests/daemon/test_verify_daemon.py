"""`slowboat verify` against the real daemon: a migration that is whole, and one that somebody has been at."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from realparts.daemon_process import Daemon
    from realparts.drive import Drive
    from realparts.swift_server import SwiftServer

pytestmark = pytest.mark.needs("busctl", "gpg")


def test_the_user_sees_what_somebody_did_to_the_cloud_and_that_it_is_mended(
    daemon: Daemon, swift: SwiftServer, chain: Drive
) -> None:
    container = swift.container()
    daemon.configure_migration(chain, swift, container, prefix="p")
    daemon.start()
    daemon.wait_until(lambda now: now["State"] == "done")
    whole = daemon.slowboat("verify", "--deep")
    assert f"All {len(chain.names())} files are in the cloud and correct." in whole.stdout
    victim = chain.volumes[0]
    swift.delete(container, [f"p/{victim}"])
    broken = daemon.slowboat("verify", "--json", check=False)
    assert broken.returncode == 1
    told = json.loads(broken.stdout)["home"]
    assert [(one["name"], one["target"]) for one in told["findings"]] == [(victim, "missing")]
    daemon.wait_until(lambda now: now["State"] == "done" and f"p/{victim}" in swift.listing(container))
    assert daemon.slowboat("verify").returncode == 0
    history = daemon.slowboat("history", "-n", "1000").stdout
    assert "slowboat sends it again" in " ".join(history.split())
