"""Bad input: a clear word and the cure, nothing lost, and on it goes once it is mended."""

from __future__ import annotations

import resource
import shutil
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from evidence import expect_arrived, fingerprint

from realparts.daemon_process import MANAGER, SERVICE, daemon_on
from realparts.drive import make_chain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from realparts.daemon_process import Daemon
    from realparts.drive import Drive
    from realparts.notification_service import Notifications
    from realparts.swift_server import SwiftServer

pytestmark = pytest.mark.needs("busctl", "gpg")


@contextmanager
def only_read(drive: Drive) -> Iterator[None]:
    """Nothing of the drive, or of any cache of duplicity's, is another afterwards."""
    archive_dir = drive.duplicity.archive_dir
    before = fingerprint(drive.folder, archive_dir)
    yield
    assert fingerprint(drive.folder, archive_dir) == before


def told(daemon: Daemon, word: str, cure: str, code: str, *, state: str = "needs-user") -> None:
    """The state, the reason's code and text on D-Bus, and the same with its cure on `slowboat status`."""
    seen = daemon.wait_until(lambda now: code in now["Reasons"])
    assert seen["State"] == state, seen
    why = next(each for each in seen["Why"] if each["code"]["data"] == code)
    assert word in why["text"]["data"], why
    assert cure in why["cure"]["data"], why
    assert why["until"]["data"] == 0 or state == "waiting", "who needs the user does not end by itself"
    shown = "".join(daemon.slowboat("status").stdout.split())  # a terminal's lines break anywhere
    assert "".join(word.split()) in shown, shown
    assert "".join(cure.split()) in shown, shown


def retry(daemon: Daemon) -> None:
    """What a user does who has mended something."""
    daemon.slowboat("retry")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, ["config.toml", "[migration.home]"]),
        ("limti = 5\n", ["config.toml", "line 1", "limti", "limit"]),
        ('\n[power]\nbattery_min = "much"\n', ["config.toml", "line 3", "power.battery_min", "number"]),
        ("limit = 500k\n", ["config.toml", "line 1"]),
        ('[migration.home]\nsource = "drive"\ncontainer = "c"\n', ["config.toml", "line 2", "absolute"]),
    ],
    ids=["none", "unknown-key", "wrong-type", "no-toml", "relative-source"],
)
def test_a_wrong_configuration_ends_it_with_78(daemon: Daemon, text: str | None, words: list[str]) -> None:
    if text is not None:
        daemon.configure(text)
    daemon.start(wait=False)
    assert daemon.wait() == 78
    for word in words:
        assert word in daemon.log, daemon.log
    assert "Traceback" not in daemon.log
    assert text is None or len(daemon.log.strip().splitlines()) == 1, "one clear sentence, not a wall"
    assert not daemon.state.exists() or not list(daemon.state.iterdir()), "nothing was begun"


def test_a_reload_of_a_wrong_configuration_changes_nothing(daemon: Daemon, swift: SwiftServer, chain: Drive) -> None:
    container = swift.container()
    daemon.configure_migration(chain, swift, container, limit=300_000)
    good = daemon.config_file.read_text()
    daemon.start()
    daemon.wait_until(lambda now: now["State"] == "sending")
    daemon.configure(good.replace("limit = 300000", "limti = 300000"))
    refused = daemon.slowboat("reload", check=False)
    assert refused.returncode == 78
    assert "limti" in refused.stderr
    assert daemon.migration()["State"] == "sending"
    daemon.configure(good.replace("limit = 300000", ""))
    daemon.slowboat("reload")
    daemon.wait_until(lambda now: now["State"] == "done")
    expect_arrived(chain, swift, container)


def test_a_source_that_is_not_as_it_should_be(
    daemon: Daemon, swift: SwiftServer, chain: Drive, notifications: Notifications
) -> None:
    """One daemon, one fault after the other, each mended under its feet."""
    container, aside = swift.container(), chain.folder.with_name("aside")
    daemon.configure_migration(chain, swift, container)
    volume, manifest = chain.volumes[1], chain.names(".manifest")[0]
    whole = fingerprint(chain.folder)
    chain.folder.rename(aside)
    daemon.start()
    told(daemon, str(chain.folder), "connect the drive", "source-absent", state="waiting")
    chain.folder.mkdir()
    retry(daemon)
    told(daemon, "is empty", "Make the first backup", "empty")
    (chain.folder / "holiday.jpg").write_bytes(b"no backup")
    retry(daemon)
    told(daemon, "no duplicity backup", "Set source to", "no-chain")
    shutil.rmtree(chain.folder)
    aside.rename(chain.folder)

    missing = (chain.folder / volume).rename(chain.folder.with_name(volume))
    with only_read(chain):
        retry(daemon)
        told(daemon, "volume 2 of", "make the next one to the drive a full backup", "missing-volumes")
    missing.rename(chain.folder / volume)
    missing = (chain.folder / manifest).rename(chain.folder.with_name(manifest))
    with only_read(chain):
        retry(daemon)
        told(daemon, "has no manifest", "Back up to the drive once more", "no-manifest")
    missing.rename(chain.folder / manifest)
    elsewhere = chain.folder.with_name("second disk")  # a backup that was spread over two
    elsewhere.mkdir()
    for name in chain.volumes:
        (chain.folder / name).rename(elsewhere / name)
        (chain.folder / name).symlink_to(elsewhere / name)
    with only_read(chain):
        retry(daemon)
        told(daemon, f"{len(chain.volumes)} files of the backup are symbolic links", "mergerfs -o ro", "links")
    for path in elsewhere.iterdir():
        (chain.folder / path.name).unlink()
        path.rename(chain.folder / path.name)
    partial = chain.folder / "duplicity-inc.20990101T000000Z.to.20990102T000000Z.manifest.part"
    partial.write_bytes(b"half")
    with only_read(chain):
        retry(daemon)
        told(daemon, "was never finished", "let that finish", "partial")
    partial.unlink()

    assert fingerprint(chain.folder) == whole
    assert swift.listing(container) == {}, "nothing was sent of what is not whole"
    assert daemon.migration()["State"] == "needs-user"
    assert notifications.titles == ["home needs you"] * len(notifications.titles)
    retry(daemon)
    daemon.wait_until(lambda now: now["State"] == "done")
    expect_arrived(chain, swift, container)
    assert "Traceback" not in daemon.log


def test_wrong_credentials_until_they_are_right(
    daemon: Daemon, swift: SwiftServer, chain: Drive, notifications: Notifications
) -> None:
    container = swift.container()
    daemon.configure_migration(chain, swift, container)
    key = daemon.secret("key", "sesame")
    daemon.start()
    with only_read(chain):
        told(daemon, "does not accept the user or the password", "Check the cloud's user and key", "credentials")
        assert notifications.titles == ["home needs you"]
    key.chmod(0o644)
    retry(daemon)
    told(daemon, str(key), "chmod 600", "secret-file")
    key.unlink()
    retry(daemon)
    told(daemon, "no password or key", str(key), "no-secret")
    daemon.secret("key", swift.key)
    retry(daemon)
    daemon.wait_until(lambda now: now["State"] == "done")
    expect_arrived(chain, swift, container)
    shown = (daemon.log, daemon.slowboat("history").stdout, daemon.slowboat("status", "--json").stdout)
    kept = [path.read_bytes().decode("latin-1") for path in daemon.state.iterdir()]
    for secret in ("sesame", swift.key):
        assert not [text for text in (*shown, *kept) if secret in text]


def test_a_host_that_is_not_there_and_one_that_refuses(daemon: Daemon, swift: SwiftServer, chain: Drive) -> None:
    container = swift.container()
    daemon.configure_migration(chain, swift, container)
    good = daemon.config_file.read_text()
    daemon.configure(
        good.replace("[cloud.test]", '[cloud.test]\nstorage_url = "https://slowboat.invalid/v1/AUTH_test"')
    )
    daemon.start()
    with only_read(chain):
        told(daemon, "slowboat.invalid", "by itself", "server-wait", state="waiting")
    daemon.configure_migration(chain, swift, container, auth_url="http://127.0.0.1:9/auth/v1.0")
    daemon.slowboat("reload")
    with only_read(chain):
        told(daemon, "refuses connections", "by itself", "server-wait", state="waiting")
    daemon.configure(good)
    daemon.slowboat("reload")
    daemon.wait_until(lambda now: now["State"] == "done")
    expect_arrived(chain, swift, container)


def test_a_container_that_holds_another_chain(
    daemon: Daemon, swift: SwiftServer, chain: Drive, duplicity, tmp_path: Path
) -> None:
    other = make_chain(replace(duplicity, encrypted=False), tmp_path / "other", incs=0, size=1_000_000, seed=9)
    container = swift.container()
    for name in other.names():
        swift.put(container, f"p/{name}", (other.folder / name).read_bytes())
    before = swift.listing(container)
    daemon.configure_migration(chain, swift, container, prefix="p")
    daemon.start()
    with only_read(chain):
        told(daemon, f"{container}/p/ holds another backup already", "Choose an empty container", "other-chain")
        assert swift.listing(container) == before
        assert swift.listing(f"{container}_segments") == {}
    swift.delete(container, [f"p/{name}" for name in other.names()])
    retry(daemon)
    daemon.wait_until(lambda now: now["State"] == "done")
    expect_arrived(chain, swift, container, "p/")


def test_two_daemons_at_once(daemon: Daemon, swift: SwiftServer, chain: Drive, system_bus: str, tmp_path: Path) -> None:
    container = swift.container()
    daemon.configure_migration(chain, swift, container, limit=300_000)
    daemon.start()
    daemon.wait_until(lambda now: now["State"] == "sending")
    elsewhere = system_bus  # a second login's session, over the same home
    for bus, home, words in (
        (daemon.session_bus, daemon.home, "is already running"),
        (daemon.session_bus, tmp_path / "other", "is already running"),
        (elsewhere, daemon.home, "Another slowboat is running"),
    ):
        with daemon_on(bus, home) as second:
            if home != daemon.home:
                second.configure(daemon.config_file.read_text())
            log = len(second.log)
            second.start(wait=False)
            assert second.wait() == 78
            assert words in second.log[log:], "the ledger is taken, or the name on the bus"
            assert "slowboat status" in second.log[log:]
            assert "Traceback" not in second.log[log:]
    assert daemon.running
    daemon.call(MANAGER, f"{SERVICE}.Manager", "Rescan", "a{sv}", "0")
    daemon.configure(daemon.config_file.read_text().replace("limit = 300000", ""))
    daemon.slowboat("reload")
    daemon.wait_until(lambda now: now["State"] == "done")
    expect_arrived(chain, swift, container)


def test_a_ledger_that_cannot_be_written_any_more(daemon: Daemon, swift: SwiftServer, chain: Drive) -> None:
    """The disk, or a quota, in mid-migration: it says so, stays on the bus, and goes on when it can be written."""
    container = swift.container()
    daemon.configure_migration(chain, swift, container, limit=300_000)
    daemon.start()
    daemon.wait_until(lambda now: now["State"] == "sending")
    _, most = resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE)
    room = 20_000  # bytes in one file: enough for the log, and not for the ledger
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (room, most))
    seen = daemon.wait_until(lambda now: "ledger" in now["Reasons"])
    assert seen["State"] == "needs-user"
    assert f"The ledger {daemon.state / 'ledger.sqlite'} cannot be used" in seen["LastError"]
    assert f"The ledger {daemon.state / 'ledger.sqlite'}" in daemon.log
    assert "Traceback" not in daemon.log
    daemon.configure(daemon.config_file.read_text().replace("limit = 300000", ""))
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (most, most))
    daemon.slowboat("reload")
    daemon.wait_until(lambda now: now["State"] == "done")
    expect_arrived(chain, swift, container)
