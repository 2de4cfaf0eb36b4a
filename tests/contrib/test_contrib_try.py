"""contrib/try does the main job and says so; it cleans up after itself, also when it is broken off."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from realparts.presence import ROOT, with_us

pytestmark = pytest.mark.needs("gpg", "busctl", "dbus-daemon")


@pytest.fixture
def start_try(tmp_path):
    """Starts contrib/try with a TMPDIR of its own."""
    tmp = tmp_path / "tmp"
    tmp.mkdir()

    def start(*arguments: str) -> subprocess.Popen[str]:
        environment = os.environ | {"TMPDIR": str(tmp), "PYTHONUNBUFFERED": "1"}
        argv = with_us(ROOT / "contrib/try", "--size", "40M", "--cap", "4M", *arguments)
        return subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    yield start
    assert list(tmp.iterdir()) == []


def test_does_the_main_job(start_try):
    with start_try() as process:
        said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert "All of it held." in said
    assert "the desktop shows:" in said
    for step in ("back up to the drive", "hand over", "duplicity incremental", "send the rest", "restore"):
        assert step in said.split("what came of it")[1]


def test_cleans_up_when_it_is_broken_off(start_try):
    with start_try() as process:
        while "duplicity incremental" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM


def test_refuses_a_size_that_is_none(start_try):
    with start_try("--size", "much") as process:
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "200M" in said
