"""The duplicity that is asked for its version: real ones, and programs that misbehave."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from slowboat.core.versions import Verdict, judge, parse, verdict
from slowboat.edges import duplicity
from slowboat.edges.duplicity import InstalledDuplicities

if TYPE_CHECKING:
    from pathlib import Path

    from realparts.duplicity import Duplicity


def program(folder: Path, script: str, name: str = "duplicity") -> Path:
    path = folder / name
    folder.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


async def test_real_ones_say_their_version(any_duplicity: Duplicity) -> None:
    said = await InstalledDuplicities(any_duplicity.path, os.environ).version()
    version = parse(said)
    assert version is not None
    assert version.numbers == any_duplicity.version


async def test_the_first_on_the_path_is_asked_as_a_shell_would(tmp_path: Path) -> None:
    program(tmp_path / "a", "echo duplicity 1.2.2")
    program(tmp_path / "b", "echo duplicity 3.0.6 November 02, 2025")
    environment = {"PATH": f"{tmp_path / 'none'}:{tmp_path / 'b'}:{tmp_path / 'a'}", "HOME": str(tmp_path)}
    said = await InstalledDuplicities(None, environment).version()
    assert verdict(parse(said)).verdict is Verdict.WAIT


async def test_the_one_that_was_named_is_asked_and_no_other(tmp_path: Path) -> None:
    named = program(tmp_path / "a", "echo duplicity 1.2.2", name="duplicity-old")
    program(tmp_path / "b", "echo duplicity 3.1.0")
    asked = InstalledDuplicities(named, {"PATH": str(tmp_path / "b")})
    assert await asked.version() == "duplicity 1.2.2\n"
    named.unlink()
    assert await asked.version() == ""


async def test_it_is_run_again_only_when_it_has_changed(tmp_path: Path) -> None:
    count = tmp_path / "count"
    path = program(tmp_path / "a", f"echo >>{count}; echo duplicity 1.2.2")
    asked = InstalledDuplicities(path, os.environ)
    for _ in range(3):
        assert await asked.version() == "duplicity 1.2.2\n"
    assert count.read_text() == "\n"
    program(tmp_path / "a", f"echo >>{count}; echo duplicity 3.0.6.2")
    assert await asked.version() == "duplicity 3.0.6.2\n"


@pytest.mark.parametrize(
    "script",
    [
        "exit 1",
        "echo duplicity 1.2.2; exit 3",
        "kill -9 $$",
        "exec 1>&-; sleep 1000",
        "yes",
        "echo duplicity; sleep 1000",
    ],
)
async def test_one_that_misbehaves_has_no_version_and_is_gone(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicity, "PATIENCE", 0.5)
    pid = tmp_path / "pid"
    path = program(tmp_path / "a", f"echo $$ >{pid}; {script}")
    assert parse(await InstalledDuplicities(path, os.environ).version()) is None
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


@pytest.mark.parametrize("kind", ["folder", "text", "nothing"])
async def test_what_is_no_program_has_no_version(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "duplicity"
    if kind == "folder":
        path.mkdir()
    elif kind == "text":
        path.write_text("duplicity 1.2.2")
    assert await InstalledDuplicities(path, os.environ).version() == ""


async def test_without_any_it_is_not_known(tmp_path: Path, alone: None) -> None:
    nothing = InstalledDuplicities(None, {"PATH": str(tmp_path)}, tmp_path)
    assert await nothing.version() == ""
    assert await nothing.installed() == []
    assert judge(await nothing.installed()).advice.verdict is Verdict.UNKNOWN


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own duplicity does not count."""
    monkeypatch.setattr(duplicity, "ALSO", ("~/.local/bin",))


async def test_every_one_that_there_is_counts_and_the_worst_decides(tmp_path: Path, alone: None) -> None:
    """The user manager's PATH leads to Debian's, the user's shell to that of pipx."""
    program(tmp_path / "usr", "echo duplicity 0.8.22")
    home = tmp_path / "home"
    environments = home / ".local/share/pipx/venvs/duplicity"
    environments.mkdir(parents=True)
    real = program(environments / "bin", "echo duplicity 3.2.1 September 28, 2026")
    (home / ".local/bin").mkdir()
    (home / ".local/bin/duplicity").symlink_to(real)
    program(tmp_path / "shell", "echo duplicity 3.1.0")
    flatpak = "var/lib/flatpak/app/org.gnome.DejaDup/current/active/files/lib/python3.12/site-packages"
    (tmp_path / flatpak / "duplicity-3.0.6.2.dist-info").mkdir(parents=True)
    (tmp_path / "snap/deja-dup/current/lib/python3.12/site-packages/duplicity-2.1.4.egg-info").mkdir(parents=True)
    environment = {
        "PATH": str(tmp_path / "usr"),
        "SLOWBOAT_PATH": f"{tmp_path / 'usr'}:{tmp_path / 'shell'}:relative",
        "HOME": str(home),
    }
    asked = InstalledDuplicities(None, environment, tmp_path)
    found = judge(await asked.installed())
    assert found.advice.verdict is Verdict.RISKY
    assert found.name == f"duplicity 3.2.1 ({home}/.local/bin/duplicity)"
    assert found.names == (
        f"duplicity 0.8.22 ({tmp_path}/usr/duplicity)",
        f"duplicity 3.1.0 ({tmp_path}/shell/duplicity)",
        f"duplicity 3.2.1 ({home}/.local/bin/duplicity)",
        "duplicity 3.0.6.2 (Flatpak org.gnome.DejaDup)",
        "duplicity 2.1.4 (Snap deja-dup)",
    )
    assert asked.path() == f"{tmp_path}/usr/duplicity", "the one that is run first is the user's own still"
    assert len(await InstalledDuplicities(tmp_path / "shell/duplicity", environment, tmp_path).installed()) == 1


async def test_an_environment_of_pipx_counts_without_a_path(tmp_path: Path, alone: None) -> None:
    elsewhere = tmp_path / "elsewhere/venvs/duplicity"
    elsewhere.mkdir(parents=True)
    program(elsewhere / "bin", "echo duplicity 3.0.6")
    environment = {"PATH": "/nowhere", "HOME": str(tmp_path), "PIPX_HOME": str(tmp_path / "elsewhere")}
    found = judge(await InstalledDuplicities(None, environment, tmp_path).installed())
    assert found.advice.verdict is Verdict.WAIT


async def test_one_that_says_nothing_beside_a_good_one_is_not_known(tmp_path: Path, alone: None) -> None:
    program(tmp_path / "a", "echo duplicity 1.2.2")
    program(tmp_path / "b", "exit 3")
    environment = {"PATH": f"{tmp_path / 'a'}:{tmp_path / 'b'}", "HOME": str(tmp_path)}
    found = judge(await InstalledDuplicities(None, environment, tmp_path).installed())
    assert found.advice.verdict is Verdict.UNKNOWN
    assert found.name == f"a duplicity of unknown version ({tmp_path}/b/duplicity)"
