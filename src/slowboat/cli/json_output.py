"""The same for programs (`--json`): stable words, plain numbers, nothing rounded.

Sizes are bytes, rates bytes per second, times seconds since the epoch (null where there is none). Keys are the
fields of the reports; new ones may come, none goes away.
"""

from __future__ import annotations

import dataclasses
import enum
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from slowboat.core.words import ManagerReport, MigrationReport, Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slowboat.cli.listing import HistoryLine, PlanRow

_TIMES = frozenset({"paused_until", "limit_until", "expected_end", "started_at"})
"""Fields in which 0.0 stands for "none"."""


def status(report: ManagerReport, *, indent: int | None = 2) -> str:
    """The whole report as one JSON object; `migrations` maps each name to its own. In one line without `indent`."""
    return _dumped(report, indent=indent)


def plan(plans: Mapping[str, Sequence[PlanRow]]) -> str:
    """`{migration: [{name, role, set, bytes, phase, canary}, ...]}`, in sending order."""
    return _dumped({name: [dict(row) for row in rows] for name, rows in plans.items()})


def history(lines: Sequence[HistoryLine]) -> str:
    """`[{when, migration, kind, text}, ...]`, oldest first."""
    keys = ("when", "migration", "kind", "text")
    return _dumped([dict(zip(keys, line, strict=True)) for line in lines])


def _fields(shown: ManagerReport | MigrationReport | Reason) -> dict[str, object]:
    values = {field.name: getattr(shown, field.name) for field in dataclasses.fields(shown)}
    return {name: None if name in _TIMES and not value else value for name, value in values.items()}


def _as_json(value: object) -> object:
    """What the standard library cannot write by itself: our frozen values, their words, and their mappings."""
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, ManagerReport | MigrationReport | Reason):
        return _fields(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _dumped(value: object, *, indent: int | None = 2) -> str:
    return json.dumps(value, indent=indent, default=_as_json)
