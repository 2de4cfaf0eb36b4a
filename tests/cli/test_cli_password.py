"""`slowboat password`: where it goes, that it is not shown, and that a waiting daemon hears of it."""

from __future__ import annotations

import asyncio
import os
import pty
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from test_cli_commands import daemon, environment

from realparts.keyring import running_keyring
from slowboat.edges import secrets
from slowboat.edges.secrets import Secret

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.needs("dbus-daemon")
CONFIG = """\
[cloud.mycloud]
auth_url = "https://swift.example.com/auth/v1.0"
user = "a:u"
[migration.home]
source = "/media/backup/host"
container = "lenny"
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".config" / "slowboat").mkdir(parents=True)
    (tmp_path / ".config" / "slowboat" / "config.toml").write_text(CONFIG)
    return tmp_path


def run(address: str, home: Path, *words: str, typed: str = "hunter2\n") -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "slowboat", "password", *words]
    env = environment(address, HOME=str(home))
    done = subprocess.run(argv, env=env, input=typed, capture_output=True, text=True, check=False, timeout=120)
    assert "hunter2" not in done.stdout + done.stderr
    return done


def kept(home: Path) -> Path:
    return home / ".config" / "slowboat" / "secrets" / "mycloud"


def test_it_goes_into_the_keyring(session_bus: str, home: Path) -> None:
    surroundings = {"HOME": str(home), "DBUS_SESSION_BUS_ADDRESS": session_bus}
    with running_keyring(session_bus):
        done = run(session_bus, home, "mycloud", typed="hunter2\r\n")
        assert secrets.secret_of("mycloud", environment=surroundings) == Secret("hunter2")
    assert done.returncode == 0, done.stderr
    assert "your keyring" in done.stdout
    assert not kept(home).exists()


@pytest.mark.parametrize("words", [["mycloud"], ["mycloud", "--file"]])
def test_without_a_keyring_or_by_wish_it_goes_into_a_private_file(
    session_bus: str, home: Path, words: list[str]
) -> None:
    done = run(session_bus, home, *words)
    assert done.returncode == 0, done.stderr
    assert str(kept(home)) in done.stdout
    assert kept(home).read_text() == "hunter2\n"
    assert stat.S_IMODE(kept(home).stat().st_mode) == 0o600
    assert "slowboat install" in done.stdout, "nothing runs yet: it says what comes next"


def test_an_older_one_in_the_keyring_that_would_win_is_told(session_bus: str, home: Path) -> None:
    entry = ("slowboat: mycloud", secrets.attributes_of("mycloud"), "another")
    with running_keyring(session_bus, [entry]):
        done = run(session_bus, home, "mycloud", "--file")
    assert done.returncode == 1
    assert "another one is found first" in done.stderr


def test_what_is_typed_is_not_shown(session_bus: str, home: Path) -> None:
    ours, theirs = pty.openpty()
    argv = [sys.executable, "-m", "slowboat", "password", "mycloud"]
    env = environment(session_bus, HOME=str(home))
    with subprocess.Popen(argv, env=env, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True) as process:
        os.close(theirs)
        shown = b""
        while b"mycloud:" not in shown:
            shown += os.read(ours, 1000)
        os.write(ours, b"hunter2\n")
        try:
            while more := os.read(ours, 1000):
                shown += more
        except OSError:
            pass  # the other end is closed
        assert process.wait(60) == 0, shown
    os.close(ours)
    assert b"hunter2" not in shown
    assert kept(home).read_text() == "hunter2\n"


@pytest.mark.parametrize(
    ("words", "typed", "told"),
    [
        (["mycluod"], "hunter2\n", "Did you mean mycloud?"),
        (["other"], "hunter2\n", "The clouds in the configuration: mycloud"),
        (["env"], "hunter2\n", "there is no cloud called"),
        (["mycloud"], "\n", "no password was given"),
        (["mycloud"], "", "no password was given"),
    ],
)
def test_what_cannot_be_is_refused(session_bus: str, home: Path, words: list[str], typed: str, told: str) -> None:
    done = run(session_bus, home, *words, typed=typed)
    assert done.returncode == 1
    assert told.lower() in done.stderr.lower()
    assert not kept(home).exists()


def test_a_key_file_of_the_users_own_is_left_to_him(session_bus: str, home: Path) -> None:
    config = home / ".config" / "slowboat" / "config.toml"
    config.write_text(CONFIG.replace("[migration", f'key_file = "{home}/key"\n[migration'))
    done = run(session_bus, home, "mycloud")
    assert done.returncode == 1
    assert f"{home}/key" in done.stderr


def test_a_configuration_with_a_mistake_does_not_stop_it(session_bus: str, home: Path) -> None:
    config = home / ".config" / "slowboat" / "config.toml"
    config.write_text(CONFIG.replace("[migration", 'password = "..."\n[migration'))
    assert run(session_bus, home, "mycloud").returncode == 0
    assert run(session_bus, home, "../mycloud").returncode == 1
    assert [path.name for path in kept(home).parent.iterdir()] == ["mycloud"]


async def test_a_daemon_that_waits_is_told(session_bus: str, home: Path) -> None:
    async with daemon(session_bus) as engine:
        done = await asyncio.to_thread(run, session_bus, home, "mycloud")
    assert done.returncode == 0, done.stderr
    assert "slowboat status" in done.stdout
    assert engine.asked == [("retry_now",)]
