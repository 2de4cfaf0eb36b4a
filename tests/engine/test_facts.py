"""The ledger's facts: each comes back as it was remembered, and a text of another version is none."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowboat.core.capabilities import Capabilities
from slowboat.core.segmenting import UplinkEstimate
from slowboat.core.words import HandoverState, Installed
from slowboat.edges.ledger import Ledger
from slowboat.engine import facts
from slowboat.engine.memory import Memory

if TYPE_CHECKING:
    from slowboat.engine.facts import Fact

VALUES = [
    (facts.PAUSED_UNTIL, 0.0),
    (facts.PAUSED_UNTIL, 1763900000.5),
    (facts.LIMIT, 500_000),
    (facts.MODE, "go"),
    (facts.TARGET, "cloud: container/prefix"),
    (facts.HANDOVER_AT, math.inf),
    (facts.ESTIMATE, UplinkEstimate(1000.0, 20.0, 3.0)),
    (facts.DATA_REPORTED, True),
    (
        facts.CAPABILITIES,
        Capabilities(guards=True, checks_md5=True, segments=True, joins=False, message="not now = never"),
    ),
    (facts.HANDOVER, HandoverState.BLOCKED),
    (facts.INSTALLED, (Installed(Path("/cache"), "swift://c", {"a": (1, 2)}, adopted=True),)),
    (facts.INSTALLING, ("swift://c", "pydrive://d")),
    (facts.FRONT_END, facts.Switched("swift://c", {"b": "1", "a": "2"}, {"b": "3", "a": "4"})),
    (facts.UNFINISHED, 1763900000),
    (facts.UNSHOWN["done-m"], facts.Unshown("Done", "All of it", urgent=True, button="")),
]
WRITTEN_BEFORE = [
    (facts.PAUSED_UNTIL, "0.0", 0.0),
    (facts.RETRY_ATTEMPTS, "3", 3),
    (facts.REMOVED_SET, "1763900000", 1763900000),
    (facts.CACHES_GONE, "swift://a\nswift://b", ("swift://a", "swift://b")),
    (facts.HANDOVER, "done", HandoverState.DONE),
    (facts.UNSHOWN["x"], '["T", "t", false, "b"]', facts.Unshown("T", "t", urgent=False, button="b")),
]


@pytest.mark.parametrize(("fact", "value"), VALUES)
def test_a_fact_comes_back_after_a_restart(tmp_path: Path, fact: Fact[Any], value: object) -> None:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        memory = Memory(ledger, "m")
        assert memory.get(fact) == fact.default
        memory.remember(fact, value)
        assert memory.get(fact) == value
        again = Memory(ledger, "m")
        assert again.get(fact) == value
        again.remember(fact, fact.default)
        assert ledger.facts("m") == {}
        assert again.get(fact) == fact.default


def test_the_order_of_settings_survives(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        Memory(ledger, "m").remember(facts.FRONT_END, facts.Switched("u", {"z": "1", "a": "2"}, {}))
        switched = Memory(ledger, "m").get(facts.FRONT_END)
    assert switched is not None
    assert list(switched.before) == ["z", "a"]


def test_many_of_a_kind_are_told_apart(tmp_path: Path) -> None:
    one, other = (facts.Unshown(title, "", urgent=False, button="") for title in "ab")
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        memory = Memory(ledger, "m")
        memory.remember(facts.UNSHOWN["done-m"], one)
        memory.remember(facts.UNSHOWN["handover-m"], other)
        memory.remember(facts.UNSHOWN["done-m"], None)
        assert memory.all_of(facts.UNSHOWN) == [("handover-m", other)]


@pytest.mark.parametrize(("fact", "text", "value"), WRITTEN_BEFORE)
def test_what_an_older_version_wrote_is_read(fact: Fact[Any], text: str, value: object) -> None:
    assert fact.of(text) == value


@given(st.text(max_size=40), st.sampled_from(sorted(facts.table())))
def test_any_text_is_a_value_or_the_default(text: str, key: str) -> None:
    fact = facts.table()[key]
    assert isinstance(fact.text(fact.of(text)), str)


@pytest.mark.parametrize("text", ["[]", "{}", "null", "[1, 2]", '[{"directory": 1}]', '{"url": "u"}', "[[[[", "1e999"])
def test_json_of_another_shape_is_none(text: str) -> None:
    for fact in (facts.INSTALLED, facts.FRONT_END, facts.UNSHOWN, facts.LIMIT):
        assert fact.of(text) == fact.default


def test_no_two_facts_share_a_key() -> None:
    named = [fact for fact in vars(facts).values() if isinstance(fact, facts.Fact)]
    assert len({fact.key for fact in named}) == len(named)
    assert not any(one.key.startswith(facts.UNSHOWN.key) for one in named if one is not facts.UNSHOWN)
