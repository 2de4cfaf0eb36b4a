"""The handover is refused where it would harm, never overwrites a cache, and can be taken back."""

from __future__ import annotations

import hashlib
import random
import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from evidence import expect_arrived, fingerprint

from faults import BlackHole
from realparts.daemon_process import MANAGER, SERVICE
from realparts.drive import change_data

if TYPE_CHECKING:
    from on_the_wire import Wire

    from realparts.daemon_process import Daemon
    from realparts.drive import Drive
    from realparts.notification_service import Notifications
    from realparts.swift_server import SwiftServer

MIGRATION = (f"{MANAGER}/migrations/home", f"{SERVICE}.Migration")
pytestmark = pytest.mark.needs("busctl", "gpg")


def hand_over(daemon: Daemon) -> str:
    """Says the word by D-Bus; "" or what it was refused with."""
    done = daemon.slowboat("handover", check=False)
    assert (done.returncode == 0) == (not done.stderr)
    return done.stderr


def waits_for_the_word(daemon: Daemon) -> None:
    daemon.wait_until(lambda now: now["Handover"] == "ready" and "slowboat handover" in now["HandoverWhy"])


@pytest.mark.parametrize("fault", ["missing", "other-size", "other-md5"])
def test_no_handover_without_every_byte_of_the_metadata(
    fault: str, daemon: Daemon, swift: SwiftServer, chain: Drive, notifications: Notifications, tmp_path
) -> None:
    container = swift.container()
    url = daemon.configure_migration(chain, swift, container, prefix="p", more='handover = "ask"', limit=400_000)
    daemon.start()
    waits_for_the_word(daemon)
    victim = f"p/{chain.names('new-signatures')[0]}"
    good = swift.read(container, victim)
    bad = {"missing": None, "other-size": good + b"!", "other-md5": good[:-1] + bytes([good[-1] ^ 1])}[fault]
    if bad is None:
        swift.delete(container, [victim])
    else:
        swift.put(container, victim, bad)
    assert "does not have all of the metadata" in hand_over(daemon)
    assert not chain.duplicity.cache(url).exists()
    if bad is None:  # it goes up again, and then the word is enough
        daemon.wait_until(lambda _: victim in swift.listing(container))
        assert swift.read(container, victim) == good
        daemon.wait_until(lambda now: now["MetadataDone"] == now["MetadataTotal"])
    else:
        seen = daemon.wait_until(lambda now: now["State"] == "needs-user")
        why = next(each for each in seen["Why"] if each["code"]["data"] == "refused")
        assert f"there is already another file at {victim}" in why["text"]["data"]
        assert any("overwrites nothing" in each["body"] for each in notifications.all)
        assert hand_over(daemon)
        assert swift.read(container, victim) == bad, "what stands there is not overwritten"
        assert not chain.duplicity.cache(url).exists()
        swift.delete(container, [victim])
        daemon.slowboat("retry")
        daemon.wait_until(lambda now: now["MetadataDone"] == now["MetadataTotal"])
        waits_for_the_word(daemon)
    assert hand_over(daemon) == ""
    assert daemon.migration()["Handover"] == "done"
    shown = daemon.slowboat("status").stdout
    assert f"Done. From now on, back up to {url}, no longer to the drive." in " ".join(shown.split())
    daemon.configure(daemon.config_file.read_text().replace("limit = 400000", ""))
    daemon.slowboat("reload")
    daemon.wait_until(lambda now: now["State"] == "done")
    expect_arrived(chain, swift, container, "p/")


def test_metadata_that_vanishes_before_the_handover_goes_up_again_first(
    daemon: Daemon, swift: SwiftServer, wire: Wire, chain: Drive
) -> None:
    container = swift.container()
    url = daemon.configure_migration(chain, swift, container, auth_url=wire.auth_url)
    last = chain.names("manifest")[-1]
    wire.rule("PUT", last, BlackHole(after=1 << 30))  # the server has it all, and nobody hears of it
    daemon.start()
    daemon.wait_until(lambda _: last in swift.listing(container))
    daemon.wait_until(lambda now: now["MetadataDone"] == now["MetadataTotal"] - 1)  # what is shown outlives a kill
    first = chain.names("full-signatures")[0]
    swift.delete(container, [first])
    daemon.kill()
    daemon.start()
    daemon.wait_until(lambda now: now["State"] == "done")
    assert f"{first} was at the target and is gone" in daemon.log
    stored = wire.stored()
    assert stored.count(f"{container}/{first}") == 2
    assert stored.index(f"{container}/{first}", 1) < stored.index(f"{container}/{chain.volumes[0]}")
    assert chain.duplicity.cache(url).exists()
    expect_arrived(chain, swift, container)


def test_a_foreign_cache_is_never_touched(
    daemon: Daemon, swift: SwiftServer, chain: Drive, finished_chain: Drive, notifications: Notifications
) -> None:
    container = swift.container()
    url = daemon.configure_migration(chain, swift, container)
    there = chain.duplicity.cache(url)
    there.mkdir(parents=True)
    for path in chain.cache.iterdir():
        shutil.copy2(path, there)
    foreign = there / chain.names("full-signatures")[0].replace(".gpg", ".gz")
    assert foreign.exists()
    foreign.write_bytes(b"signatures of another backup")
    before = fingerprint(chain.duplicity.archive_dir, chain.folder)
    daemon.start()
    seen = daemon.wait_until(lambda now: now["Handover"] == "blocked")
    assert "duplicity already has another cache" in seen["HandoverWhy"]
    assert f"mv {there}" in seen["HandoverWhy"]
    seen = daemon.wait_until(lambda now: now["VolumesDone"] == now["VolumesTotal"])
    assert fingerprint(chain.duplicity.archive_dir, chain.folder) == before
    assert "home: the handover waits" in notifications.titles
    shutil.rmtree(there)
    daemon.slowboat("retry")
    daemon.wait_until(lambda now: now["Handover"] == "done")
    assert {path.name for path in there.iterdir()} == {path.name for path in chain.cache.iterdir()}
    expect_arrived(chain, swift, container)


def test_the_same_cache_is_adopted_and_stays_when_taken_back(daemon: Daemon, swift: SwiftServer, chain: Drive) -> None:
    url = daemon.configure_migration(chain, swift, swift.container())
    there = chain.duplicity.cache(url)
    shutil.copytree(chain.cache, there)
    before = fingerprint(there)
    daemon.start()
    daemon.wait_until(lambda now: now["Handover"] == "done" and now["State"] == "done")
    assert fingerprint(there) == before
    daemon.slowboat("handover", "--undo")
    assert fingerprint(there) == before, "it was there before us"
    assert daemon.migration()["Handover"] == "blocked"


def test_taking_back_removes_what_was_installed_and_nothing_that_was_used(
    daemon: Daemon, swift: SwiftServer, chain: Drive, finished_chain: Drive, tmp_path
) -> None:
    url = daemon.configure_migration(chain, swift, swift.container())
    stranger = chain.duplicity.archive_dir / hashlib.md5(b"file:///elsewhere").hexdigest()
    stranger.mkdir()
    (stranger / "duplicity-full.20200101T000000Z.manifest").write_text("Hostname other\n")
    before = fingerprint(chain.duplicity.archive_dir)
    daemon.start()
    daemon.wait_until(lambda now: now["State"] == "done")
    daemon.slowboat("handover", "--undo")
    assert fingerprint(chain.duplicity.archive_dir) == before
    daemon.slowboat("retry")
    daemon.wait_until(lambda now: now["State"] in {"done", "waiting"})
    seen = daemon.migration()
    assert seen["Handover"] == "blocked", "a retry of anything else does not do what the user took back"
    assert "you undid it" in seen["HandoverWhy"]
    daemon.kill()
    daemon.start()
    assert daemon.wait_until(lambda now: now["State"] == "done")["Handover"] == "blocked"
    assert not chain.duplicity.cache(url).exists()

    assert hand_over(daemon) == ""
    data = tmp_path / "data"  # the session's own data is not this test's to change
    shutil.copytree(chain.data, data, symlinks=True)
    change_data(data, 100_000, random.Random(1))
    cloud = replace(chain.duplicity, environment=swift.environment())
    cloud.inc(data, url, "--allow-source-mismatch")
    used = fingerprint(chain.duplicity.cache(url))
    refused = daemon.slowboat("handover", "--undo", check=False)
    assert refused.returncode == 1
    assert "duplicity has used its cache" in refused.stderr
    assert fingerprint(chain.duplicity.cache(url)) == used
    assert daemon.migration()["Handover"] == "done"


def test_the_word_can_be_a_button_and_the_notice_goes_when_the_handover_is_taken_back(
    daemon: Daemon, swift: SwiftServer, chain: Drive, notifications: Notifications
) -> None:
    daemon.configure_migration(chain, swift, swift.container(), more='handover = "ask"')
    daemon.start()
    waits_for_the_word(daemon)
    daemon.wait_until(lambda _: "home: the handover waits" in notifications.titles)
    asked = next(each for each in notifications.all if each["title"] == "home: the handover waits")
    assert asked["actions"] == ["button", "Hand over now"]
    notifications.press(asked)
    daemon.wait_until(lambda now: now["Handover"] == "done")
    daemon.wait_until(lambda _: "Backups can go to the cloud now" in notifications.open)
    daemon.slowboat("handover", "--undo")
    daemon.wait_until(lambda _: "Backups can go to the cloud now" not in notifications.open)


def test_the_word_from_many_sides_at_once_hands_over_once(daemon: Daemon, swift: SwiftServer, chain: Drive) -> None:
    url = daemon.configure_migration(chain, swift, swift.container(), more='handover = "ask"')
    daemon.start()
    waits_for_the_word(daemon)
    busctl = ["busctl", f"--address={daemon.session_bus}", "call", SERVICE, *MIGRATION, "HandOver", "a{sv}", "0"]
    callers = [subprocess.Popen(busctl, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(4)]
    for caller in callers:
        said, _ = caller.communicate(timeout=60)
        assert caller.returncode == 0, said
    daemon.slowboat("handover", "--undo")
    assert not chain.duplicity.cache(url).exists(), "the undo knows what was installed, whoever came first"
