"""What is well with an installation, and what is not: facts in, findings with their cures out.

Knows what each fact means for the user; must not know how any was found out, nor how a finding is shown.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from slowboat.core import versions
from slowboat.core.versions import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from slowboat.core.errors import SlowboatError
    from slowboat.core.versions import Installation
    from slowboat.core.words import Room


class Health(enum.Enum):
    """How a thing is; the values are stable words for `--json`."""

    GOOD = "good"
    NOTE = "note"  # it works; it could be better, or somebody should know
    BAD = "bad"  # it does not work as it is
    UNKNOWN = "unknown"  # it could not be looked at, for another reason that is told


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One thing that was looked at.

    Attributes:
        code: a stable word.
        what: the thing, for people.
        health: how it is.
        how: the same in a sentence, without a full stop.
        cure: what to do, "" for nothing.
    """

    code: str
    what: str
    health: Health
    how: str
    cure: str = ""


LEAST_SPACE: Final = 200_000_000
"""Bytes that should be free where the ledger is: it takes a megabyte for thousands of files, and the handover copies
the cache's metadata."""


def is_well(findings: Iterable[CheckResult]) -> bool:
    """Whether nothing is bad."""
    return all(one.health is not Health.BAD for one in findings)


def of_error(code: str, what: str, error: SlowboatError, health: Health = Health.BAD) -> CheckResult:
    """A thing that answered with an error, whose words are its own."""
    return CheckResult(code, what, health, error.what, error.hint)


def edited(path: str, running: str, now: str) -> CheckResult | None:
    """Whether the daemon runs with the configuration as it is.

    Args:
        path: the file.
        running: its digest when the daemon read it, "" where nothing runs, or it does not say.
        now: its digest now, "" where it cannot be read.
    """
    if not running or not now:
        return None
    if running == now:
        return CheckResult("in-use", "In use", Health.GOOD, "slowboat runs with this configuration")
    how = f"{path} has been edited since slowboat read it"
    return CheckResult("in-use", "In use", Health.BAD, how, "To use it: slowboat reload")


@dataclass(frozen=True, slots=True)
class Confinement:
    """What a running process cannot do, as the kernel tells.

    Attributes:
        users: whether it is in a user namespace of its own.
        seccomp: whether its system calls are filtered.
        home_read_only: whether it can read the home and not write it; None where that could not be seen.
    """

    users: bool
    seccomp: bool
    home_read_only: bool | None


def sandbox(wanted: bool, applied: Confinement | None) -> CheckResult:  # noqa: FBT001 (of a pair of facts)
    """Whether the sandbox holds: some systems drop it without a word.

    Ubuntu 23.10 and newer forbid unprivileged user namespaces (`kernel.apparmor_restrict_unprivileged_userns`).
    """
    if not wanted:
        how = "slowboat runs without its sandbox, as it was installed"
        return CheckResult("sandbox", "Sandbox", Health.NOTE, how, "To install it with one: slowboat install")
    if applied is None:
        return CheckResult("sandbox", "Sandbox", Health.UNKNOWN, "this is unknown while slowboat is not running")
    if applied.users and applied.seccomp and applied.home_read_only is not False:
        return CheckResult(
            "sandbox", "Sandbox", Health.GOOD, "it holds: the drive and the home are read-only for slowboat"
        )
    parts = {"user namespace": applied.users, "filter of system calls": applied.seccomp}
    missing = [part for part, there in parts.items() if not there]
    missing += ["read-only home"] if applied.home_read_only is False else []
    return CheckResult(
        "sandbox",
        "Sandbox",
        Health.NOTE,
        f"the unit asks for one, but this system does not apply all of it (no {', no '.join(missing)})",
        "slowboat works anyway. On some systems, this allows it:\n"
        "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0",
    )


def duplicities(installed: Sequence[Installation]) -> CheckResult:
    """Every duplicity, and what holds for the worst."""
    judged = versions.judge(installed)
    names = ", ".join(judged.names)
    if not installed:
        how = "none found: a backup or a restore needs one"
        return CheckResult("duplicity", "duplicity", Health.NOTE, how, "Install it: sudo apt install duplicity")
    advice = judged.advice
    if advice.verdict in {Verdict.FINE, Verdict.NOISY} and not advice.danger:
        return CheckResult("duplicity", "duplicity", Health.GOOD, names)
    health = Health.BAD if advice.verdict is Verdict.WAIT else Health.NOTE
    danger = f"; {judged.name}: {advice.danger}" if advice.danger else ""
    return CheckResult("duplicity", "duplicity", health, f"{names}{danger}", advice.helps)


def room(code: str, what: str, place: str, found: Room, lacking: int) -> CheckResult:
    """A container, after a login that succeeded.

    Args:
        place: the container and prefix, for people.
        found: how it stands.
        lacking: bytes that its quota is short of (core/proposal).
    """
    if lacking:
        how = f"{place}: the quota is {_gigabytes(lacking)} short of what is still to come"
        return CheckResult(code, what, Health.BAD, how, "Raise the quota at your provider, or remove something there")
    free = f", {_gigabytes(found.free)} free by the quota" if found.free is not None else ""
    stands = "is there" if found.stands else "is not there yet; the first upload creates it"
    return CheckResult(code, what, Health.GOOD, f"{place} {stands}{free}")


def space(path: str, free: int) -> CheckResult:
    """The room for slowboat's memory, bytes."""
    how = f"{_gigabytes(free)} free in {path}"
    if free < LEAST_SPACE:
        return CheckResult(
            "space",
            "Disk space",
            Health.BAD,
            how,
            "Free some space there: slowboat stops when it cannot record what it does",
        )
    return CheckResult("space", "Disk space", Health.GOOD, how)


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
