"""A verification's report on D-Bus, there and back (docs/dbus.md has the keys).

Knows how plain values become typed ones; must not know what they say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slowboat.core.verify import Report, as_dict, from_dict
from slowboat.edges.bus.report_properties import count, from_moment, to_moment
from slowboat.edges.dbus import Variant

if TYPE_CHECKING:
    from collections.abc import Mapping


def to_answer(report: Report) -> dict[str, Variant]:
    """The report as an `a{sv}`."""
    answer = as_dict(report) | {"at": to_moment(report.at)}
    return {key: _variant(value) for key, value in answer.items()}


def from_answer(answer: Mapping[str, Any]) -> Report:
    """The report that an `a{sv}` (plain values) tells."""
    return from_dict({**answer, "at": from_moment(answer.get("at", 0))})


def _variant(value: object) -> Variant:
    match value:
        case bool():
            return Variant("b", value)
        case int():
            return Variant("t", count(value))
        case dict():
            return Variant("a{sv}", {key: _variant(each) for key, each in value.items()})
        case list():
            return Variant("aa{sv}", [{key: _variant(each) for key, each in one.items()} for one in value])
        case _:
            return Variant("s", str(value))
