"""`slowboat setup` as a program of its own: what it finds, asks, tries and writes, with a real Swift."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from test_cli_commands import environment

from realparts.dejadup_settings import dejadup_settings
from realparts.keyring import running_keyring
from slowboat.edges import secrets
from slowboat.edges.secrets import Secret

if TYPE_CHECKING:
    from realparts.drive import Drive
    from realparts.swift_server import SwiftServer

pytestmark = pytest.mark.needs("dbus-daemon", "gpg")
KEY = "testing"


class Desk:
    """A home beside a drive, and what setup makes of them."""

    def __init__(self, chain: Drive, swift: SwiftServer, bus: str) -> None:
        self.chain, self.swift = chain, swift
        self.home = chain.folder.parent / "desk"
        self.home.mkdir()
        self.config = self.home / ".config/slowboat/config.toml"
        self.env = environment(bus, HOME=str(self.home), XDG_CACHE_HOME=str(chain.duplicity.home / ".cache"))

    def setup(self, *words: str, typed: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "slowboat", "setup", "--no-start", *words]
        done = subprocess.run(
            argv, env=self.env | more, input=typed, capture_output=True, text=True, check=False, timeout=120
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert KEY not in done.stdout + done.stderr
        return done

    def openrc(self) -> dict[str, str]:
        return {"ST_AUTH": self.swift.auth_url, "ST_USER": self.swift.user, "ST_KEY": KEY}

    def written(self) -> dict[str, dict[str, dict[str, str]]]:
        return tomllib.loads(self.config.read_text())

    def containers(self) -> set[str]:
        with self.swift.connection() as connection:
            return {one["name"] for one in connection.get_account()[1]}

    def kept(self, cloud: str) -> Secret:
        return secrets.secret_of(cloud, environment=self.env)


@pytest.fixture
def desk(chain: Drive, swift: SwiftServer, session_bus: str) -> Desk:
    return Desk(chain, swift, session_bus)


def in_home(desk: Desk) -> Path:
    """The drive below the home, where it is found by itself; its cache is named by the URL that it had."""
    drive = desk.home / "Drive/lenny"
    drive.parent.mkdir()
    desk.chain.folder.rename(drive)
    was = desk.chain.cache
    was.rename(desk.chain.duplicity.cache(f"file://{drive}"))
    return drive


def test_with_a_cloud_in_the_environment_two_answers_are_enough(desk: Desk) -> None:
    drive, container = in_home(desk), desk.swift.container()
    done = desk.setup("--container", container, typed="\n\n", **desk.openrc())
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr.count("]: ") == 2, "so many questions"
    assert f"{drive}: " in done.stdout
    assert "the newest the incremental of" in done.stdout
    assert desk.written() == {
        "cloud": {"mycloud": {"auth_url": desk.swift.auth_url, "user": desk.swift.user, "auth_version": 1}},
        "migration": {
            "lenny": {
                "source": str(drive),
                "source_url": f"file://{drive}",
                "cloud": "mycloud",
                "container": container,
                "prefix": "lenny",
                "handover": "auto",
            }
        },
    }
    assert stat.S_IMODE(desk.config.stat().st_mode) == 0o600
    assert desk.kept("mycloud") == Secret(KEY)
    assert "The handover comes here" in done.stdout
    assert re.search(r"about \d|less than a minute", done.stdout)
    assert desk.containers() >= {container, f"{container}_segments"}
    assert desk.swift.listing(f"{container}_segments") == {}, "what it tried with is gone"
    assert desk.swift.listing(container) == {}
    before = desk.config.read_bytes()
    again = desk.setup("--yes")
    assert (again.returncode, desk.config.read_bytes()) == (0, before), "again it only looks"


def test_what_exists_stays_letter_by_letter_and_the_difference_is_shown(desk: Desk) -> None:
    drive = in_home(desk)
    cloud = f'[cloud.uni]\nauth_url="{desk.swift.auth_url}"\nuser = "{desk.swift.user}"'
    old = f'# mine\nlimit = "500k"   # at night\n{cloud}'
    desk.config.parent.mkdir(parents=True)
    desk.config.write_text(old)
    secrets.store_in_file("uni", Secret(KEY), desk.env)
    container = desk.swift.container()
    with desk.swift.connection() as connection:
        connection.put_container(container, {"X-Container-Meta-Quota-Bytes": "1000000"})
    done = desk.setup("--yes", "--container", container)
    assert done.returncode == 0, done.stderr
    assert "The quota leaves 1.0 MB, and the backup needs 6.4 MB" in " ".join(done.stdout.split())
    assert desk.config.read_text().startswith(old + "\n\n")
    assert "+[migration.lenny]" in done.stdout
    assert desk.written()["migration"]["lenny"]["cloud"] == "uni"
    assert str(drive) in done.stdout
    assert "500 kB/s" in done.stdout, "days at the cap"


def test_a_configuration_with_a_mistake_is_its_owners_to_mend(desk: Desk) -> None:
    in_home(desk)
    desk.config.parent.mkdir(parents=True)
    desk.config.write_text("limit = 500k\n")
    done = desk.setup("--yes")
    assert done.returncode == 78
    assert 'Write it as limit = "500k"' in done.stderr
    assert desk.config.read_text() == "limit = 500k\n"


def test_no_leaves_everything_as_it_was(desk: Desk) -> None:
    in_home(desk)
    done = desk.setup("--container", desk.swift.container(), typed="follow\nn\n", **desk.openrc())
    assert done.returncode == 0
    assert "Nothing has been written" in done.stdout
    assert not (desk.home / ".config").exists()


def test_a_mistyped_password_may_be_typed_again_and_goes_into_the_keyring(desk: Desk, session_bus: str) -> None:
    in_home(desk)
    account = {key: text for key, text in desk.openrc().items() if key != "ST_KEY"}
    with running_keyring(session_bus):
        done = desk.setup("--container", desk.swift.container(), typed=f"wrong\n{KEY}\r\n\n\n", **account)
        assert done.returncode == 0, done.stderr
        assert "does not accept" in done.stderr
        assert "stored in your keyring" in done.stdout
        assert desk.kept("mycloud") == Secret(KEY)
    assert not (desk.home / ".config/slowboat/secrets").exists()


def test_a_cloud_of_clouds_yaml_needs_no_table_and_its_password_is_not_copied(desk: Desk) -> None:
    in_home(desk)
    folder = desk.home / ".config/openstack"
    folder.mkdir(parents=True)
    auth = f"auth_url: {desk.swift.auth_url}, username: '{desk.swift.user}', password: {KEY}"
    (folder / "clouds.yaml").write_text(f"clouds: {{uni: {{auth_type: v1password, auth: {{{auth}}}}}}}\n")
    done = desk.setup("--yes", "--container", desk.swift.container())
    assert done.returncode == 0, done.stderr
    assert "cloud" not in desk.written()
    assert desk.written()["migration"]["lenny"]["cloud"] == "uni"
    assert not (desk.home / ".config/slowboat/secrets").exists()


def test_a_backup_that_cannot_be_moved_is_told_before_any_question(desk: Desk) -> None:
    drive = in_home(desk)
    next(iter(sorted(drive.glob("*vol2.difftar*")))).unlink()
    done = desk.setup(**desk.openrc())
    assert done.returncode == 1
    assert "vol" in done.stderr
    assert not desk.config.exists()


def test_another_backup_at_the_target_is_left_alone(desk: Desk) -> None:
    in_home(desk)
    container = desk.swift.container()
    name = "lenny/duplicity-full.20200101T000000Z.vol1.difftar.gpg"
    desk.swift.put(container, name, b"theirs")
    done = desk.setup("--yes", "--container", container, **desk.openrc())
    assert done.returncode == 1
    assert "holds another backup already" in done.stderr


@pytest.mark.parametrize("words", [["--yes"], ["--yes", "--auth-url", "http://swift.example.com/auth/v1.0"]])
def test_what_a_script_must_say_is_named(desk: Desk, words: list[str]) -> None:
    in_home(desk)
    done = desk.setup(*words)
    assert done.returncode == 1
    assert "--auth-url" in done.stderr or "--user" in done.stderr


def test_where_deja_dup_cannot_go_to_the_cloud_following_is_proposed(desk: Desk, tmp_path: Path) -> None:
    drive = in_home(desk)
    settings = dejadup_settings("debian", tmp_path / "schemas", desk.home)
    settings.set("", "backend", "'local'")
    settings.set(".Local", "folder", f"'{drive}'")
    more = {name: text for name, text in settings.variables.items() if name != "HOME"}
    done = desk.setup("--container", desk.swift.container(), typed="\n\n", **more, **desk.openrc())
    assert done.returncode == 0, done.stderr
    assert "Deja Dup 41 to 47 makes this backup and cannot go to the cloud itself" in done.stdout
    assert "Where should your next backups go? [follow]" in done.stderr
    assert desk.written()["migration"]["lenny"]["handover"] == "never"


def test_ctrl_c_at_a_question_leaves_nothing(desk: Desk) -> None:
    in_home(desk)
    argv = [sys.executable, "-m", "slowboat", "setup", "--container", f"broken-off-{os.getpid()}"]
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(argv, env=desk.env | desk.openrc(), **streams) as process:
        assert process.stderr
        shown = b""
        while not shown.endswith(b"[cloud]: "):
            shown += process.stderr.read(1)
        status = Path(f"/proc/{process.pid}/status")
        while "State:\tS" not in status.read_text():  # shown, but it does not read yet: Python would not hear of it
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    assert not (desk.home / ".config").exists()
    assert f"broken-off-{os.getpid()}" not in desk.containers()
