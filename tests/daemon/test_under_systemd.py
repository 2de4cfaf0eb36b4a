"""The real daemon as `slowboat install` leaves it: under a real `systemd --user`, started by it and by D-Bus."""

from __future__ import annotations

import hashlib
import json
import time
from typing import TYPE_CHECKING

import pytest
from evidence import expect_arrived

from realparts.presence import ROOT
from realparts.user_manager import HOME, UID, UserManager, running_user_manager
from slowboat.core.happenings import KINDS
from slowboat.edges.bus.report_properties import MANAGER, MIGRATION, NAME
from slowboat.edges.bus.report_properties import ROOT as OBJECT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from realparts.drive import Drive
    from realparts.swift_server import SwiftServer

DRIVE = HOME / "drive"
CACHES = HOME / ".cache/duplicity"
CONFIG = HOME / ".config/slowboat/config.toml"
PROGRAM = HOME / ".local/bin/slowboat"
pytestmark = pytest.mark.needs("systemd", "systemctl", "unshare", "nsenter", "setpriv", "busctl", "gpg")


@pytest.fixture
def manager() -> Iterator[UserManager]:
    with running_user_manager() as running:
        running.write(
            PROGRAM, f'#!/bin/sh\nPYTHONPATH={ROOT}/src exec {ROOT}/.venv/bin/python -m slowboat "$@"\n', "755"
        )
        # As installed it leaves the processor to everybody else, which takes long beside other tests.
        hurry = "[Service]\nNice=0\nCPUWeight=100\nIOSchedulingClass=best-effort\n"
        running.write(HOME / ".config/systemd/user/slowboat.service.d/hurry.conf", hurry)
        yield running


def slowboat(manager: UserManager, *arguments: str, check: bool = True) -> str:
    return manager.run(PROGRAM, *arguments, check=check)


def plugged_in(manager: UserManager, drive: Drive) -> None:
    """The drive and duplicity's cache of it, where that user has them."""
    cache = CACHES / hashlib.md5(f"file://{DRIVE}".encode()).hexdigest()
    manager.run("mkdir", "-p", CACHES)
    manager.as_root("cp", "-r", "--preserve=timestamps", drive.folder, DRIVE)
    manager.as_root("cp", "-r", "--preserve=timestamps", drive.cache, cache)
    manager.as_root("chown", "-R", f"{UID}:{UID}", DRIVE, CACHES)


def configuration(swift: SwiftServer, container: str, limit: str = "") -> str:
    return f"""{limit}
[cloud.test]
auth_url = "{swift.auth_url}"
user = "{swift.user}"
auth_version = "1"
key_file = "{CONFIG.with_name("key")}"

[migration.home]
source = "{DRIVE}"
source_url = "file://{DRIVE}"
container = "{container}"
"""


def get(manager: UserManager, path: str, interface: str, name: str) -> object:
    call = ["busctl", "--user", "--json=short", "get-property", NAME, path, interface, name]
    return json.loads(manager.run(*call))["data"]


def until(look: Callable[[], object], manager: UserManager) -> None:
    deadline = time.monotonic() + 60
    while not look():
        assert time.monotonic() < deadline, manager.log()[-4000:]
        time.sleep(0.05)


def expect_told_in_the_journal(manager: UserManager) -> None:
    """Each kind of event with its number and its migration, once; and nothing of it warns."""
    (done,) = manager.journal("SLOWBOAT_KIND=done")
    assert done["SLOWBOAT_MIGRATION"] == "home"
    assert done["MESSAGE_ID"] == KINDS["done"].message_id
    assert done["PRIORITY"] == "6"
    assert done["SYSLOG_IDENTIFIER"] == "slowboat"
    assert manager.journal("SLOWBOAT_KIND=handover", f"MESSAGE_ID={KINDS['handover'].message_id}")
    assert manager.journal("SLOWBOAT_KIND=reasons")
    assert manager.journal("--identifier=slowboat", "--priority=warning") == []
    assert not [each for each in manager.journal("_TRANSPORT=stdout") if "slowboat" in each["SYSLOG_IDENTIFIER"]]


def test_it_does_its_work_as_a_service(manager: UserManager, swift: SwiftServer, chain: Drive) -> None:
    container = swift.container()
    plugged_in(manager, chain)
    manager.start_journald()
    assert "config.toml" in slowboat(manager, "install", check=False), "without a configuration nothing is installed"
    assert manager.show("slowboat.service", "LoadState") == {"LoadState": "not-found"}
    manager.write(CONFIG.with_name("key"), swift.key + "\n", "600")
    manager.write(CONFIG, configuration(swift, container, "limit = 200_000"))
    slowboat(manager, "install")
    searched = manager.run("sh", "-c", "echo $PATH").strip()
    assert f"SLOWBOAT_PATH={searched}" in manager.show("slowboat.service", "Environment")["Environment"]
    shown = manager.show("slowboat.service", "Type", "ActiveState", "UnitFileState", "NRestarts")
    assert shown == {"Type": "notify", "ActiveState": "active", "UnitFileState": "enabled", "NRestarts": "0"}
    until(lambda: "Sending" in manager.run("systemctl", "--user", "status", "slowboat", "--no-pager"), manager)
    status = manager.run("systemctl", "--user", "status", "slowboat", "--no-pager")
    assert 'Status: "Sending: ' in status

    manager.run("systemctl", "--user", "stop", "slowboat")
    shown = manager.show("slowboat.service", "ActiveState", "Result", "ExecMainStatus")
    assert shown == {"ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0"}
    assert get(manager, OBJECT, MANAGER, "State"), "whoever asks on the bus starts it"
    until(lambda: manager.show("slowboat.service", "ActiveState") == {"ActiveState": "active"}, manager)

    manager.write(CONFIG, configuration(swift, container))
    manager.run("systemctl", "--user", "reload", "slowboat")
    until(lambda: get(manager, OBJECT, MANAGER, "State") == "done", manager)
    assert get(manager, f"{OBJECT}/migrations/home", MIGRATION, "Handover") == "done"
    until(lambda: manager.show("slowboat.service", "StatusText")["StatusText"] == "Everything is in the cloud", manager)
    installed = CACHES / hashlib.md5(f"swift://{container}".encode()).hexdigest()
    assert len(manager.run("ls", installed).split()) == len(chain.metadata), "the sandbox lets the handover through"
    expect_arrived(chain, swift, container)
    expect_told_in_the_journal(manager)

    manager.run("kill", "-9", manager.show("slowboat.service", "MainPID")["MainPID"])
    until(lambda: manager.show("slowboat.service", "ActiveState")["ActiveState"] != "active", manager)
    assert get(manager, OBJECT, MANAGER, "Version"), "whoever calls meanwhile is answered, by the one that comes next"
    until(lambda: get(manager, OBJECT, MANAGER, "State") == "done", manager)


def test_a_wrong_configuration_ends_in_words_and_not_in_a_loop(
    manager: UserManager, swift: SwiftServer, chain: Drive
) -> None:
    plugged_in(manager, chain)
    manager.start_journald()
    manager.write(CONFIG.with_name("key"), swift.key + "\n", "600")
    good = configuration(swift, swift.container())
    manager.write(CONFIG, good)
    slowboat(manager, "install")
    manager.write(CONFIG, "limti = 5\n" + good)
    manager.run("systemctl", "--user", "restart", "slowboat", check=False)
    until(lambda: manager.show("slowboat.service", "ActiveState")["ActiveState"] == "failed", manager)
    shown = manager.show("slowboat.service", "ExecMainStatus", "NRestarts")
    assert shown == {"ExecMainStatus": "78", "NRestarts": "0"}
    for words in ((), ("status",), ("why",), ("pause",)):
        said = " ".join(slowboat(manager, *words, check=False).split())
        assert said == (
            f"slowboat: slowboat is not running: {CONFIG}, line 1: unknown key limti. Did you mean limit? "
            "What to do: Fix that, then start it with: systemctl --user start slowboat"
        )
    (told,) = manager.journal("--identifier=slowboat", "--priority=warning")
    assert told["MESSAGE"].startswith(f"{CONFIG}, line 1: unknown key limti.")
    assert told["PRIORITY"] == "3"
    manager.run("rm", CONFIG)
    manager.run("systemctl", "--user", "start", "slowboat", check=False)
    said = slowboat(manager, check=False)
    assert f"not running: There is no configuration: {CONFIG} does not exist" in " ".join(said.split())
    manager.write(CONFIG, good)
    manager.run("systemctl", "--user", "start", "slowboat")
    until(lambda: get(manager, OBJECT, MANAGER, "State") == "done", manager)

    manager.run("systemctl", "--user", "stop", "slowboat")
    assert "not running: it was stopped" in slowboat(manager, check=False)
    manager.run("systemctl", "--user", "start", "slowboat")
    until(lambda: get(manager, OBJECT, MANAGER, "State") == "done", manager)
    manager.run("kill", "-9", manager.show("slowboat.service", "MainPID")["MainPID"])
    until(lambda: manager.show("slowboat.service", "SubState") == {"SubState": "auto-restart"}, manager)
    said = " ".join(slowboat(manager, check=False).split())
    assert "slowboat is not running: it was killed (SIGKILL) (systemd starts it again by itself)." in said
    slowboat(manager, "uninstall")
    assert manager.show("slowboat.service", "LoadState") == {"LoadState": "not-found"}
    assert "it is not installed as a service" in slowboat(manager, check=False)
    assert manager.run("cat", CONFIG) == good


def test_setup_starts_it_and_waits_until_it_sends(manager: UserManager, swift: SwiftServer, chain: Drive) -> None:
    plugged_in(manager, chain)
    container = swift.container()
    manager.write(CONFIG, configuration(swift, container))
    missing = " ".join(slowboat(manager, "install").split())
    assert "It cannot do its work yet" in missing, "what can be known at once is told at once"
    assert f"{CONFIG.with_name('key')} does not exist" in missing
    slowboat(manager, "uninstall")
    manager.run("rm", CONFIG)

    account = {"ST_AUTH": swift.auth_url, "ST_USER": swift.user, "ST_KEY": swift.key}
    words = ("setup", "--yes", "--container", container, "--limit", "2M")
    said = " ".join(manager.run(PROGRAM, *words, env=account).split())
    assert "slowboat is installed and running" in said
    assert "slowboat sends." in said or "slowboat runs" in said
    assert f"backups go to swift://{container}/" in said
    assert swift.key not in said
    assert manager.show("slowboat.service", "ActiveState", "UnitFileState") == {
        "ActiveState": "active",
        "UnitFileState": "enabled",
    }
    until(lambda: get(manager, OBJECT, MANAGER, "State") == "done", manager)
    assert "Everything is in the cloud already" in slowboat(manager, "setup", "--yes")

    found = {one["code"]: one for one in json.loads(slowboat(manager, "doctor", "--json"))["findings"]}
    wanted = ("configuration", "in-use", "manager", "daemon", "sandbox", "secret", "drive", "cache", "cloud", "space")
    assert {code: found[code]["health"] for code in wanted} == dict.fromkeys(wanted, "good"), found
    assert "has been edited" not in slowboat(manager)
    manager.run("sh", "-c", f"echo '# a word' >> {CONFIG}")
    assert "has been edited since slowboat read it. To use it: slowboat reload" in " ".join(slowboat(manager).split())
    assert "has been edited" in slowboat(manager, "doctor", "--offline", check=False)
    slowboat(manager, "reload")
    assert "has been edited" not in slowboat(manager)
    slowboat(manager, "install", "--no-sandbox")
    assert "without its sandbox" in " ".join(slowboat(manager, "doctor", "--offline").split())
