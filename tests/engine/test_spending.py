"""The count of bytes by network and day, on a real ledger; and when each reason began."""

from __future__ import annotations

import threading
from datetime import UTC
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowboat.core.schedule import Period
from slowboat.core.words import Activity, ManagerReport, Reason
from slowboat.edges.ledger import Ledger
from slowboat.engine.onset import Onsets
from slowboat.engine.report import in_a_line
from slowboat.engine.spending import Spending

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from slowboat.core.schedule import Usage

TODAY, TOMORROW, NEXT_MONTH = "2026-11-29", "2026-11-30", "2026-12-01"


def used(day: int, month: int) -> Usage:
    return {Period.DAY: day, Period.MONTH: month}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite") as made:
        yield made


def test_bytes_count_at_once_and_reach_the_ledger_when_settled(ledger: Ledger) -> None:
    spending = Spending(ledger)
    assert spending.at(("Phone",), TODAY) == {}
    spending.count(100)
    assert spending.at(("Phone",), TODAY) == {"Phone": used(100, 100)}
    assert ledger.usage(TODAY) == {}
    spending.settle(101)
    assert ledger.usage(TODAY) == {}
    spending.settle()
    assert ledger.usage(TODAY) == {"Phone": used(100, 100)} == spending.at(("Phone",), TODAY)
    assert Spending(ledger).at(("Phone",), TODAY) == {"Phone": used(100, 100)}, "a restart forgets nothing"


def test_bytes_belong_to_the_networks_and_the_day_on_which_they_went(ledger: Ledger) -> None:
    spending = Spending(ledger)
    spending.at(("Phone",), TODAY)
    spending.count(1)
    spending.at(("Tunnel", "Phone"), TODAY)
    spending.count(10)
    spending.at(("Home",), TODAY)
    spending.count(100)
    assert spending.at(("Home",), TOMORROW) == {"Phone": used(0, 11), "Tunnel": used(0, 10), "Home": used(0, 100)}
    spending.count(1000)
    assert spending.at(("Home",), TOMORROW)["Home"] == used(1000, 1100)
    assert spending.at(("Home",), NEXT_MONTH) == {}


@given(st.lists(st.integers(1, 50), max_size=30), st.integers(0, 400), st.sets(st.integers(0, 29)))
def test_it_says_once_and_not_late_that_what_was_allowed_has_gone(
    counts: list[int], left: int, settled: set[int]
) -> None:
    told: list[int] = []
    spending = Spending(_Nowhere(), lambda: told.append(sum(counts[: at + 1])))
    spending.at(("Phone",), TODAY)
    spending.allow(left)
    for at, count in enumerate(counts):  # the closure reads it
        spending.count(count)
        if at in settled:
            spending.settle()
    over = [sum(counts[: place + 1]) for place in range(len(counts)) if sum(counts[: place + 1]) >= left]
    assert told == over[:1]


class _Nowhere:
    """A ledger that forgets."""

    def spent(self, *_: object) -> None:
        pass

    def usage(self, _: str) -> dict[str, Usage]:
        return {}


def test_it_is_counted_from_any_thread(ledger: Ledger) -> None:
    spending = Spending(ledger)
    spending.at(("Phone",), TODAY)
    threads = [threading.Thread(target=lambda: [spending.count(1) for _ in range(5000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        spending.settle()
    spending.settle()
    assert ledger.usage(TODAY) == {"Phone": used(20_000, 20_000)}


def test_a_reason_began_when_it_was_first_seen_and_again_after_it_had_gone() -> None:
    clock = [100.0]
    since = Onsets(lambda: clock[0])
    metered, other = Reason("metered", '"Phone" is metered'), Reason("metered", '"Hotel" is metered')
    assert since.stamped("", [metered])[0].since == 100.0
    clock[0] = 200.0
    offline = Reason("offline", "no network")
    assert [one.since for one in since.stamped("", [offline, other])] == [200.0, 100.0]
    assert since.stamped("home", [offline, Reason("quota", "full")])[0].since == 200.0, "it is everybody's"
    clock[0] = 300.0
    assert since.stamped("", [offline])[0].since == 200.0
    assert since.stamped("", [metered])[0].since == 300.0
    assert since.stamped("home", [Reason("quota", "full")])[0].since == 200.0
    since.known("", "paused", 5.0)
    assert since.stamped("", [Reason("paused", "")])[0].since == 5.0


def test_a_line_for_the_service_manager_says_since_when_and_what_helps() -> None:
    report = ManagerReport(
        "1",
        activity=Activity.WAITING,
        bytes_total=200,
        bytes_done=51,
        reasons=(Reason("metered", "It is metered", "use another", since=1_795_000_000.0), Reason("sleep", "Asleep")),
    )
    line = in_a_line(report, UTC)
    assert line == "Waiting at 25 %: It is metered (since Wed 11:06; what to do: use another); Asleep"
