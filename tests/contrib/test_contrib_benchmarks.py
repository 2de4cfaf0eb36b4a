"""The benchmarks' own parts: the sink answers as Swift, and the page is what the benchmarks have said."""

from __future__ import annotations

import hashlib
import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from slowboat.core.capabilities import judge
from slowboat.edges.swift import SwiftStore
from slowboat.edges.swift.credentials import Credentials

if TYPE_CHECKING:
    from collections.abc import Iterator

BENCHMARKS = Path(__file__).parents[2] / "contrib/benchmarks"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Gives a module of contrib/benchmarks by its name."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module
    for name in [
        name for name, module in sys.modules.items() if str(BENCHMARKS) in str(getattr(module, "__file__", ""))
    ]:
        del sys.modules[name]


def test_the_page_is_what_the_benchmarks_have_said(bench: Any) -> None:
    all_ = bench("all")
    results = all_.kept()
    written = all_.page(results, all_.titles(results))
    assert written == all_.PAGE.read_text(), "write it anew: contrib/bench all --write"


def test_what_could_not_run_is_said_and_what_falls_short_stands_out(bench: Any) -> None:
    where = {"begun": "2026-11-27 13:00", "seconds": 3, "machine": "a laptop"}
    goals = [
        {"name": "g", "value": 2, "want": "<= 1", "ok": False},
        {"name": "h", "value": 1, "want": "<= 1", "ok": True},
    ]
    results = {
        "many": {"rows": [{"tool": "a|b", "s": 1}, {"tool": "c", "mib": 2}], "goals": goals, **where},
        "line": {"could_not_run": "please run: apt-get", **where},
    }
    page = bench("all").page(results, {"many": "Many.", "line": "A line."})
    assert "| tool | s | mib |\n| --- | --- | --- |\n| a/b | 1 |  |\n| c |  | 2 |\n" in page
    assert "| g | 2 | <= 1 | **falls short** |" in page
    assert "| h | 1 | <= 1 | holds |" in page
    assert "It could not run: please run: apt-get" in page


@pytest.fixture
def sink(bench: Any, tmp_path: Path) -> Iterator[Any]:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "duplicity-a").write_bytes(b"abc")
    with bench("peers").sink(tmp_path / "sink", holds=tmp_path / "there") as server:
        yield server


async def test_the_sink_answers_as_swift_does(sink: Any) -> None:
    store = SwiftStore(Credentials(sink.auth_url, "test:tester", "testing"), "bench")
    try:
        assert [(one.name, one.size, one.md5) for one in await store.listing("duplicity-")] == [
            ("duplicity-a", 3, hashlib.md5(b"abc", usedforsecurity=False).hexdigest())
        ]
        can = judge(await store.observe("test"))
        assert (can.guards, can.slo, can.checks_slo, can.joins) == (True, True, True, True)
        stored = await store.put("duplicity-b", b"x" * 100_000, 100_000)
        assert stored.md5 == hashlib.md5(b"x" * 100_000, usedforsecurity=False).hexdigest()
        found = await store.head("duplicity-b")
        assert found is not None
        assert (found.size, found.md5, found.slo) == (100_000, stored.md5, False)
    finally:
        await store.close()
    counts = sink.counts()
    assert counts["PUT object"] >= 5
    assert counts["bytes"] > 100_000
