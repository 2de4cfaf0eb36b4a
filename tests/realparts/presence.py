"""Whether a real part is on this machine, and what a test does where it is not.

Where CI=true a missing part fails the test: a suite that skips what it was made for proves nothing. Elsewhere
the test is skipped with the part and the cure in the reason.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[2]
"""The checkout."""


def absent(part: str, cure: str = "run contrib/setup as root, or the command it prints") -> NoReturn:
    """Ends the running test because `part` is missing: failed where CI=true, else skipped."""
    reason = f"REAL PART MISSING: {part} ({cure})"
    if os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def not_permitted(what: str, cure: str) -> NoReturn:
    """Skips the running test, also where CI=true, because the kernel or its administrator forbids `what` here."""
    pytest.skip(f"NOT PERMITTED ON THIS MACHINE: {what} ({cure})")


def own_mounts() -> list[str]:
    """`unshare` and its flags for a mount namespace of one's own; where none may be had, the test is skipped loudly."""
    argv = [program("unshare"), *(["-m"] if os.geteuid() == 0 else ["-rm"])]
    if subprocess.run([*argv, "true"], capture_output=True, check=False).returncode != 0:
        not_permitted("mount namespaces", "a chroot cannot have them, a container may need --privileged")
    return argv


def program(name: str, *, also: tuple[str, ...] = ("/usr/sbin", "/usr/lib/systemd")) -> str:
    """The path of a program; a missing one ends the test as `absent` says."""
    search = os.pathsep.join((os.environ.get("PATH", os.defpath), *also))
    return shutil.which(name, path=search) or absent(name)


def in_namespaces(*argv: str | Path, timeout: float) -> str:
    """What a program prints that makes network namespaces of its own (contrib/benchmarks/household.py).

    Where it may not, and ends with "forbidden: ..." on standard error, the test is skipped loudly; any other failure
    fails it.
    """
    searched = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
    done = subprocess.run(
        with_us(*argv),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env=os.environ | {"PATH": searched},
    )
    if "forbidden:" in done.stderr:
        not_permitted("network namespaces", done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return done.stdout


def with_us(*argv: str | Path) -> list[str]:
    """A command whose process is killed when the test run is, however that ends.

    Start it from a thread that lives as long as the process shall: the kernel looks at the thread (prctl(2),
    PR_SET_PDEATHSIG).
    """
    return [program("setpriv"), "--pdeathsig", "KILL", "--", *map(str, argv)]
