"""A pytest plugin (`-p core_coverage`): which branches of the core its own tests take, told at the end of the run.

It costs next to nothing: nothing else than the core is traced, and only while a test of tests/core runs; of a property
test the first examples alone. So the figure is a lower bound; `contrib/coverage` takes everything, and its time.
"""

from __future__ import annotations

import functools
import io
import os
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import coverage
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent
CORE = HERE.parent / "src/slowboat/core"
EXAMPLES = 10
"""Examples of a property test that are traced."""
FOLDER = os.environ.get("SLOWBOAT_COVERAGE", "")
"""Where each process leaves what it saw; "" where nobody wants to know."""

_process = os.environ.get("PYTEST_XDIST_WORKER", "main")
_measured = coverage.Coverage(f"{FOLDER}/core.{_process}", branch=True, source=[str(CORE)], config_file=False)
if FOLDER:
    _measured.start()  # before anything imports the core, whose modules' own lines count too


@contextmanager
def _traced() -> Iterator[None]:
    _measured.start()
    try:
        yield
    finally:
        _measured.stop()


def _first_ones_traced(inner: Callable[..., object]) -> Callable[..., object]:
    done = 0

    @functools.wraps(inner)
    def call(*args: object, **kwargs: object) -> object:
        nonlocal done
        done += 1
        if done > EXAMPLES:
            return inner(*args, **kwargs)
        with _traced():
            return inner(*args, **kwargs)

    return call


def pytest_collection_finish() -> None:
    if FOLDER:
        _measured.stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[object]:
    if not FOLDER or HERE / "core" not in item.path.parents:
        return (yield)
    property_test = getattr(getattr(item, "obj", None), "hypothesis", None)
    if property_test is not None:
        property_test.inner_test = _first_ones_traced(property_test.inner_test)
        return (yield)
    with _traced():
        return (yield)


def pytest_sessionfinish() -> None:
    if FOLDER:
        _measured.stop()
        with warnings.catch_warnings(action="ignore", category=coverage.exceptions.CoverageWarning):  # a process may
            _measured.save()  # have run no test of the core


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not FOLDER or "PYTEST_XDIST_WORKER" in os.environ:
        return
    whole = coverage.Coverage(f"{FOLDER}/core", branch=True, source=[str(CORE)], config_file=False)
    whole.combine([FOLDER])
    table = io.StringIO()
    total = whole.report(file=table, show_missing=True, skip_covered=True)
    terminalreporter.section("branches of the core that its tests take")
    terminalreporter.write(table.getvalue())
    terminalreporter.write_line(f"{total:.1f} % at least (contrib/coverage: all of it)")
