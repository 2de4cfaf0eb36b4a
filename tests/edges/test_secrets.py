"""Secrets: where they are found, in which order, who may read the files, and that they never show."""

from __future__ import annotations

import copy
import json
import logging
import os
import pickle
import stat
import traceback
from typing import TYPE_CHECKING

import pytest

from realparts.keyring import running_keyring
from slowboat.core.errors import NeedsUser
from slowboat.edges import secrets
from slowboat.edges.secrets import Secret, attributes_of, secret_of, store, store_in_file

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}


def put(path: Path, text: str | bytes, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return path


def usual(tmp_path: Path) -> Path:
    return tmp_path / "config" / "slowboat" / "secrets" / "mycloud"


# -- it never shows ---------------------------------------------------------------------------------------


def test_a_secret_does_not_show(caplog: pytest.LogCaptureFixture) -> None:
    secret = Secret("hunter2")
    logging.getLogger("x").warning("%s %r", secret, {"key": secret})
    try:
        raise ValueError(secret)
    except ValueError:
        trace = traceback.format_exc()
    for shown in (repr(secret), str(secret), f"{secret}", f"{secret:>20}", repr([secret]), caplog.text, trace):
        assert "hunter2" not in shown
    assert secret.reveal() == "hunter2"
    assert not hasattr(secret, "__dict__")


def test_a_secret_is_not_stored_by_accident() -> None:
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy, json.dumps):
        with pytest.raises(TypeError):
            attempt(Secret("hunter2"))


def test_secrets_compare() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1


# -- files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["hunter2", "hunter2\n", "hunter2\r\n", " pass word ä "])
def test_a_private_file(tmp_path: Path, environment: dict[str, str], text: str) -> None:
    put(usual(tmp_path), text)
    assert secret_of("mycloud", environment=environment).reveal() == text.rstrip("\r\n")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610, 0o602])
def test_a_file_that_others_may_read_is_refused_with_the_cure(
    tmp_path: Path, environment: dict[str, str], mode: int
) -> None:
    path = put(usual(tmp_path), "hunter2", mode)
    with pytest.raises(NeedsUser) as refused:
        secret_of("mycloud", environment=environment)
    assert refused.value.code == "secret-file"
    assert f"chmod 600 {path}" in refused.value.hint
    assert "hunter2" not in str(refused.value)
    path.chmod(0o600)
    secret_of("mycloud", environment=environment)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_somebody_elses_file_is_refused(tmp_path: Path, environment: dict[str, str]) -> None:
    os.chown(put(usual(tmp_path), "x"), 12345, 12345)
    with pytest.raises(NeedsUser, match="somebody else"):
        secret_of("mycloud", environment=environment)


NO_KEYS = [b"", b"\n", b"two\nlines", b"one\rtwo", b"\xff\xfe", b"x" * 100_000, b"a\0b", b"a\tb", b"a\x7fb"]


@pytest.mark.parametrize("content", NO_KEYS)
def test_a_file_that_holds_no_key(tmp_path: Path, environment: dict[str, str], content: bytes) -> None:
    put(usual(tmp_path), content)
    with pytest.raises(NeedsUser) as refused:
        secret_of("mycloud", environment=environment)
    assert refused.value.code == "secret-file"
    assert str(usual(tmp_path)) in refused.value.what


@pytest.mark.needs("dbus-daemon")
@pytest.mark.parametrize("kept", ["two\nlines", "a\tb", "\udcff\udcfe"])
def test_an_entry_of_the_keyring_that_is_no_key_is_named(
    environment: dict[str, str], session_bus: str, kept: str
) -> None:
    environment |= {"DBUS_SESSION_BUS_ADDRESS": session_bus}
    with running_keyring(session_bus, [entry("mine", kept)]), pytest.raises(NeedsUser) as refused:
        secret_of("mycloud", environment=environment)
    assert refused.value.code == "secret-text"
    assert "keyring" in refused.value.what
    assert kept not in str(refused.value)


@pytest.mark.needs("dbus-daemon")
@pytest.mark.parametrize("locale", ["C", "de_DE.ISO-8859-1", "en_US.UTF-8"])
def test_a_key_of_the_keyring_is_the_same_in_every_locale(
    environment: dict[str, str], session_bus: str, locale: str
) -> None:
    environment |= {"DBUS_SESSION_BUS_ADDRESS": session_bus, "LC_ALL": locale, "PYTHONIOENCODING": "latin-1"}
    with running_keyring(session_bus, [entry("mine", "schlüssel\n")]):
        assert secret_of("mycloud", environment=environment) == Secret("schlüssel")


def test_what_is_no_file(tmp_path: Path, environment: dict[str, str]) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    (tmp_path / "folder").mkdir(mode=0o700)
    for path in (tmp_path / "fifo", tmp_path / "folder"):
        with pytest.raises(NeedsUser) as refused:
            secret_of("mycloud", path, environment)
        assert refused.value.code == "secret-file"


def test_a_file_that_the_user_named(tmp_path: Path, environment: dict[str, str]) -> None:
    put(usual(tmp_path), "usual")
    named = put(tmp_path / "named", "named")
    assert secret_of("mycloud", named, environment).reveal() == "named"
    named.unlink()
    with pytest.raises(NeedsUser, match="named") as refused:  # and no other is taken in its stead
        secret_of("mycloud", named, environment)
    assert refused.value.code == "no-secret"


def test_none_at_all_says_where_it_would_be_looked_for(tmp_path: Path, environment: dict[str, str]) -> None:
    with pytest.raises(NeedsUser) as refused:
        secret_of("mycloud", environment=environment)
    assert refused.value.code == "no-secret"
    assert str(usual(tmp_path)) in refused.value.hint


def test_systemds_credentials_come_first(tmp_path: Path, environment: dict[str, str]) -> None:
    """systemd makes them 0400 or 0440, in a folder that nobody else can enter."""
    put(usual(tmp_path), "usual")
    put(tmp_path / "credentials" / "mycloud", "systemd's", 0o440)
    given = environment | {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}
    assert secret_of("mycloud", put(tmp_path / "named", "named"), given).reveal() == "systemd's"
    assert secret_of("other", put(tmp_path / "named", "named"), given).reveal() == "named"


def test_storing_in_a_file(tmp_path: Path, environment: dict[str, str]) -> None:
    old = os.umask(0)
    try:
        path = store_in_file("mycloud", Secret("one"), environment)
        store_in_file("mycloud", Secret("two"), environment)
    finally:
        os.umask(old)
    assert path == usual(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [p.name for p in path.parent.iterdir()] == ["mycloud"]
    assert secret_of("mycloud", environment=environment) == Secret("two")
    put(tmp_path / "file", "")
    with pytest.raises(NeedsUser, match="cannot be written"):
        store_in_file("mycloud", Secret("x"), {"XDG_CONFIG_HOME": str(tmp_path / "file")})


# -- the environment --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({"ST_AUTH": "https://x", "ST_USER": "u", "ST_KEY": "k", "OS_PASSWORD": "p"}, "k"),
        ({"OS_PASSWORD": "p"}, "p"),
        ({"OS_PASSWORD": "pässword ключ"}, "pässword ключ"),
        ({"OS_APPLICATION_CREDENTIAL_SECRET": "s", "OS_PASSWORD": "p"}, "s"),
        ({"ST_AUTH": "https://x", "ST_USER": "u", "OS_PASSWORD": "p"}, None),
        ({}, None),
    ],
)
def test_the_cloud_of_the_environment(variables: dict[str, str], found: str | None) -> None:
    if found is not None:
        assert secret_of("env", environment=variables).reveal() == found
    else:
        with pytest.raises(NeedsUser) as refused:
            secret_of("env", environment=variables)
        assert refused.value.code == "no-secret"


@pytest.mark.parametrize("kept", ["two\nlines", "a\tb", "\udcff"])
def test_a_variable_that_holds_no_key_is_named(kept: str) -> None:
    with pytest.raises(NeedsUser) as refused:
        secret_of("env", environment={"OS_PASSWORD": kept})
    assert refused.value.code == "secret-text"
    assert "OS_PASSWORD" in refused.value.what
    assert kept not in str(refused.value)


# -- the Secret Service -----------------------------------------------------------------------------------


def entry(label: str, secret: str, cloud: str = "mycloud") -> tuple[str, dict[str, str], str]:
    return (label, attributes_of(cloud), secret)


@pytest.mark.needs("dbus-daemon")
def test_the_keyring_comes_before_the_usual_file(tmp_path: Path, environment: dict[str, str], session_bus: str) -> None:
    environment |= {"DBUS_SESSION_BUS_ADDRESS": session_bus}
    put(usual(tmp_path), "file's")
    assert secret_of("mycloud", environment=environment) == Secret("file's")  # no keyring on the bus
    with running_keyring(session_bus, [entry("other", "x", "other"), entry("mine", "keyring's")]):
        assert secret_of("mycloud", environment=environment) == Secret("keyring's")
        assert secret_of("mycloud", put(tmp_path / "named", "named"), environment) == Secret("named")
        put(tmp_path / "config/slowboat/secrets/third", "file's")
        assert secret_of("third", environment=environment) == Secret("file's")


@pytest.mark.needs("dbus-daemon")
def test_a_locked_keyring_is_told_and_nobody_is_asked(environment: dict[str, str], session_bus: str) -> None:
    environment |= {"DBUS_SESSION_BUS_ADDRESS": session_bus}
    with running_keyring(session_bus, [entry("locked", "x")]), pytest.raises(NeedsUser) as refused:
        secret_of("mycloud", environment=environment)
    assert refused.value.code == "secret-locked"
    with running_keyring(session_bus, [entry("locked", "x"), entry("open", "y")]):
        assert secret_of("mycloud", environment=environment) == Secret("y")


@pytest.mark.needs("dbus-daemon")
def test_a_keyring_that_hangs_is_given_up(
    tmp_path: Path, environment: dict[str, str], session_bus: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets._ask_service, "__defaults__", (2.0,))
    put(usual(tmp_path), "file's")
    environment |= {"DBUS_SESSION_BUS_ADDRESS": session_bus}
    with running_keyring(session_bus, silent=True):
        assert secret_of("mycloud", environment=environment) == Secret("file's")


@pytest.mark.needs("dbus-daemon")
def test_storing_in_the_keyring(environment: dict[str, str], session_bus: str) -> None:
    environment |= {"DBUS_SESSION_BUS_ADDRESS": session_bus}
    with pytest.raises(NeedsUser) as refused:
        store("mycloud", Secret("x"), environment)
    assert refused.value.code == "no-secret-service"
    with running_keyring(session_bus):
        store("mycloud", Secret("ä one"), environment)
        store("mycloud", Secret("ä two"), environment)
        assert secret_of("mycloud", environment=environment) == Secret("ä two")


def test_without_the_package_there_is_no_keyring(
    tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets.importlib.util, "find_spec", lambda _: None)
    put(usual(tmp_path), "file's")
    assert secret_of("mycloud", environment=environment) == Secret("file's")
