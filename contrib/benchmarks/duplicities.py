"""Released duplicities, each in an environment of its own under .cache: made once, kept for the next time."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from outcome import CannotRun, say

ROOT = Path(__file__).parents[2]
NEWEST = "3.2.1"
VERSIONS = ("0.8.23", "1.2.2", "2.2.4", "3.0.4", "3.0.6", "3.0.6.3", "3.0.7", "3.1.0", NEWEST)
QUICK = ("0.8.23", "3.0.6", NEWEST)
BESIDE = ("fasteners", "python-swiftclient", "python-keystoneclient", "pexpect", "future", "setuptools<81")
"""What one or the other of them imports for file:// and swift://; duplicity itself would pull every backend."""
HEADERS = (Path("/usr/include/librsync.h"), Path("/usr/local/include/librsync.h"))


def program(version: str) -> Path:
    """The duplicity of that version, installed if need be (about half a minute).

    Raises:
        CannotRun: it cannot be installed, and what would help.
    """
    folder = ROOT / ".cache" / f"duplicity-{version}"
    found = folder / "bin/duplicity"
    if not (folder / "ready").exists():
        say(f"versions: installing duplicity {version} into {folder.relative_to(ROOT)}")
        _must_compile(version)
        shutil.rmtree(folder, ignore_errors=True)
        _run(sys.executable, "-m", "venv", folder)
        _run(folder / "bin/pip", "install", "--no-deps", f"duplicity=={version}")
        _run(folder / "bin/pip", "install", *BESIDE)
        _run(found, "--version")
        (folder / "ready").touch()
    return found


def _must_compile(version: str) -> None:
    """All but the newest come as source."""
    if version == NEWEST or (shutil.which("gcc") and any(header.exists() for header in HEADERS)):
        return
    raise CannotRun("please run: sudo apt-get install -y gcc librsync-dev python3-dev")


def _run(*argv: str | Path) -> None:
    done = subprocess.run([str(each) for each in argv], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotRun(f"{' '.join(map(str, argv))} failed: {(done.stdout + done.stderr)[-600:]}")
