"""The duplicity that is asked for its version: real ones, and programs that misbehave."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from slowboat.core.versions import Verdict, parse, verdict
from slowboat.edges import duplicity
from slowboat.edges.duplicity import InstalledDuplicity

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
    said = await InstalledDuplicity(any_duplicity.path, os.environ).version()
    version = parse(said)
    assert version is not None
    assert version.numbers == any_duplicity.version


async def test_the_first_on_the_path_is_asked_as_a_shell_would(tmp_path: Path) -> None:
    program(tmp_path / "a", "echo duplicity 1.2.2")
    program(tmp_path / "b", "echo duplicity 3.0.6 November 02, 2025")
    environment = {"PATH": f"{tmp_path / 'none'}:{tmp_path / 'b'}:{tmp_path / 'a'}", "HOME": str(tmp_path)}
    said = await InstalledDuplicity(None, environment).version()
    assert verdict(parse(said)).verdict is Verdict.WAIT


async def test_the_one_that_was_named_is_asked_and_no_other(tmp_path: Path) -> None:
    named = program(tmp_path / "a", "echo duplicity 1.2.2", name="duplicity-old")
    program(tmp_path / "b", "echo duplicity 3.1.0")
    asked = InstalledDuplicity(named, {"PATH": str(tmp_path / "b")})
    assert await asked.version() == "duplicity 1.2.2\n"
    named.unlink()
    assert await asked.version() == ""


async def test_it_is_run_again_only_when_it_has_changed(tmp_path: Path) -> None:
    count = tmp_path / "count"
    path = program(tmp_path / "a", f"echo >>{count}; echo duplicity 1.2.2")
    asked = InstalledDuplicity(path, os.environ)
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
    assert parse(await InstalledDuplicity(path, os.environ).version()) is None
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


@pytest.mark.parametrize("kind", ["folder", "text", "nothing"])
async def test_what_is_no_program_has_no_version(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "duplicity"
    if kind == "folder":
        path.mkdir()
    elif kind == "text":
        path.write_text("duplicity 1.2.2")
    assert await InstalledDuplicity(path, os.environ).version() == ""


async def test_without_any_it_is_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicity, "ALSO", ())
    assert await InstalledDuplicity(None, {"PATH": str(tmp_path)}).version() == ""
