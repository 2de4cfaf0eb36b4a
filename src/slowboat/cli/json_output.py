"""The same for programs (`--json`): stable words, plain numbers, nothing rounded.

Sizes are bytes, rates bytes per second, times seconds since the epoch (null where there is none). Keys are the
fields of the reports; new ones may come, none goes away.

Knows the reports' fields; must not know the terminal.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from slowboat.core.plain import to_plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slowboat.cli.listing import HistoryLine, PlanRow
    from slowboat.core.words import ManagerReport

_TIMES = frozenset({"paused_until", "limit_until", "expected_end", "started_at"})
"""Fields in which 0.0 stands for "none"."""


def status(report: ManagerReport, *, indent: int | None = 2) -> str:
    """The whole report as one JSON object; `migrations` maps each name to its own. In one line without `indent`."""
    return _dumped(_without_moments_that_are_none(to_plain(report)), indent=indent)


def plan(plans: Mapping[str, Sequence[PlanRow]]) -> str:
    """`{migration: [{name, role, set, bytes, phase, canary}, ...]}`, in sending order."""
    return _dumped({name: [dict(row) for row in rows] for name, rows in plans.items()})


def history(lines: Sequence[HistoryLine]) -> str:
    """`[{when, migration, kind, text}, ...]`, oldest first."""
    keys = ("when", "migration", "kind", "text")
    return _dumped([dict(zip(keys, line, strict=True)) for line in lines])


def _without_moments_that_are_none(plain: Any) -> Any:  # noqa: ANN401  # of the same type
    match plain:
        case dict():
            values = {name: _without_moments_that_are_none(value) for name, value in plain.items()}
            return {name: None if name in _TIMES and not value else value for name, value in values.items()}
        case list():
            return [_without_moments_that_are_none(each) for each in plain]
        case _:
            return plain


def _dumped(value: object, *, indent: int | None = 2) -> str:
    return json.dumps(value, indent=indent)
