"""Whether a real part is on this machine, and what a test does where it is not.

Where CI=true a missing part fails the test: a suite that skips what it was made for proves nothing. Elsewhere
the test is skipped with the part and the cure in the reason.
"""

from __future__ import annotations

import os
import shutil
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


def program(name: str, *, also: tuple[str, ...] = ("/usr/sbin", "/usr/lib/systemd")) -> str:
    """The path of a program; a missing one ends the test as `absent` says."""
    search = os.pathsep.join((os.environ.get("PATH", os.defpath), *also))
    return shutil.which(name, path=search) or absent(name)


def with_us(*argv: str | Path) -> list[str]:
    """A command whose process is killed when the test run is, however that ends.

    Start it from a thread that lives as long as the process shall: the kernel looks at the thread (prctl(2),
    PR_SET_PDEATHSIG).
    """
    return [program("setpriv"), "--pdeathsig", "KILL", "--", *map(str, argv)]
