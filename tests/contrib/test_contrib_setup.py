"""contrib/setup where it may not install: it names the command that would, and touches nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from realparts.presence import ROOT, program

TOOLS = ["bash", "dirname", "readlink", "sha256sum", "cut", "cat", "flock", "sort", "sed"]


@pytest.fixture
def setup_without(tmp_path):
    """Runs a copy of contrib/setup where only TOOLS and some more programs are on the PATH; "id" says: not root."""
    tools, project = tmp_path / "bin", tmp_path / "project"
    (project / "contrib").mkdir(parents=True)
    tools.mkdir()
    shutil.copy(ROOT / "contrib/setup", project / "contrib")
    shutil.copy(ROOT / "pyproject.toml", project)
    (tools / "id").write_text("#!/bin/sh\necho 1000\n")
    (tools / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')

    def run(*arguments: str, more: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        for name in TOOLS:
            (tools / name).symlink_to(program(name))
        for name in (*more, "id", "python3"):
            (tools / name).touch()
            (tools / name).chmod(0o755)
        argv = [program("bash"), str(project / "contrib/setup"), *arguments]
        done = subprocess.run(argv, env={"PATH": str(tools)}, capture_output=True, text=True, check=False)
        assert sorted(path.name for path in project.iterdir()) == ["contrib", "pyproject.toml"]
        return done

    return run


def test_names_the_one_command_where_it_is_not_root(setup_without):
    done = setup_without("--try", more=("apt-get", "gpg"))
    assert done.returncode == 2
    assert "sudo apt-get install -y --no-install-recommends " in done.stderr
    (command,) = (line for line in done.stderr.splitlines() if "apt-get" in line)
    assert {"dbus", "systemd", "procps"} <= set(command.split())
    assert "gnupg" not in command, "what is there is not asked for"
    assert "duplicity" not in command, "contrib/try does without Debian's duplicity"


def test_names_the_packages_where_there_is_no_apt(setup_without):
    done = setup_without()
    assert done.returncode == 2
    assert "not Debian or Ubuntu" in done.stderr
    assert "gnupg" in done.stderr


def test_explains_itself(setup_without):
    done = setup_without("--help")
    assert done.returncode == 0
    assert "--try" in done.stdout
