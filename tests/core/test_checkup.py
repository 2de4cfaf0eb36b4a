"""What the facts of an installation mean."""

from __future__ import annotations

import pytest

from slowboat.core import checkup
from slowboat.core.checkup import CheckResult, Confinement, Health
from slowboat.core.errors import NeedsUser
from slowboat.core.versions import Installation
from slowboat.core.words import Room


@pytest.mark.parametrize(
    ("wanted", "applied", "health", "told"),
    [
        (True, Confinement(users=True, seccomp=True, home_read_only=True), Health.GOOD, "it holds"),
        (True, Confinement(users=True, seccomp=True, home_read_only=None), Health.GOOD, "it holds"),
        (True, Confinement(users=False, seccomp=True, home_read_only=False), Health.NOTE, "no user namespace, no read"),
        (True, Confinement(users=True, seccomp=False, home_read_only=True), Health.NOTE, "no filter of system calls"),
        (True, None, Health.UNKNOWN, "is not running"),
        (False, None, Health.NOTE, "without its sandbox"),
    ],
)
def test_a_sandbox_that_is_silently_void_is_told(wanted, applied, health, told) -> None:
    found = checkup.sandbox(wanted, applied)
    assert found.health is health
    assert told in found.how


@pytest.mark.parametrize(
    ("running", "now", "health"), [("a", "a", Health.GOOD), ("a", "b", Health.BAD), ("", "b", None), ("a", "", None)]
)
def test_a_configuration_that_is_not_the_one_in_use(running: str, now: str, health: Health | None) -> None:
    found = checkup.edited("/x", running, now)
    assert (found.health if found else None) is health


@pytest.mark.parametrize(
    ("versions", "health"),
    [
        ([], Health.NOTE),
        (["duplicity 3.1.0"], Health.GOOD),
        (["duplicity 3.1.0", "duplicity 3.2.1"], Health.NOTE),
        (["duplicity 3.0.6"], Health.BAD),
        (["what?"], Health.NOTE),
    ],
)
def test_the_worst_duplicity_counts(versions: list[str], health: Health) -> None:
    found = checkup.duplicities([Installation(f"/{number}", text) for number, text in enumerate(versions)])
    assert found.health is health


def test_a_quota_and_a_disk_that_are_too_small() -> None:
    assert checkup.room("c", "Cloud", "b/x", Room(stands=True, free=5), 10).health is Health.BAD
    assert checkup.room("c", "Cloud", "b/x", Room(stands=True, free=5_000_000_000), 0).how.endswith(
        "5.0 GB free by the quota"
    )
    assert "the first upload creates it" in checkup.room("c", "Cloud", "b/x", Room(), 0).how
    assert checkup.space("/x", 1).health is Health.BAD
    assert checkup.space("/x", 10**12).health is Health.GOOD


def test_only_what_is_bad_counts() -> None:
    good = CheckResult("a", "A", Health.GOOD, "fine")
    note, unknown = (CheckResult("a", "A", one, "hm") for one in (Health.NOTE, Health.UNKNOWN))
    assert checkup.is_well([good, note, unknown])
    assert not checkup.is_well([good, checkup.of_error("b", "B", NeedsUser("no", hint="do"))])
