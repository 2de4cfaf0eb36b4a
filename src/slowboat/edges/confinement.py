"""What the kernel tells of a process's confinement: its user namespace, its filter of system calls, its view of mounts.

Knows /proc (proc_pid_status(5), user_namespaces(7), proc_pid_mountinfo(5)); must not know who asked for a confinement.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from slowboat.core.checkup import Confinement

PROC: Final = Path("/proc")


def of_process(pid: int, home: Path, proc: Path = PROC) -> Confinement | None:
    """What a running process cannot do; None where it is not there, or may not be looked at.

    Args:
        pid: the process.
        home: a folder of which it is asked whether the process could write there.
        proc: where /proc is.
    """
    try:
        ours, theirs = (_users(proc / which / "uid_map") for which in ("self", str(pid)))
        status = (proc / str(pid) / "status").read_text()
    except OSError:
        return None
    filtered = re.search(r"^Seccomp:\s*([0-9]+)", status, re.MULTILINE)
    seccomp = filtered is not None and filtered[1] == "2"  # SECCOMP_MODE_FILTER
    return Confinement(theirs != ours, seccomp, _read_only(proc / str(pid) / "mountinfo", home))


def _users(path: Path) -> list[str]:
    return path.read_text().split()


def _read_only(mounts: Path, folder: Path) -> bool | None:
    """Whether the mount that a folder is on is read-only for who has these mounts; None where they cannot be seen."""
    try:
        lines = mounts.read_bytes().splitlines()
    except OSError:
        return None
    found: tuple[int, bool] | None = None
    for line in lines:
        words = [os.fsdecode(word) for word in line.split(b" ")]
        place = Path(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), words[4]))
        if folder.is_relative_to(place) and (found is None or len(place.parts) >= found[0]):  # the later lies on top
            found = len(place.parts), "ro" in words[5].split(",")
    return found[1] if found else None
