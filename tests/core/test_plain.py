"""Frozen values as plain ones, and back."""

from __future__ import annotations

import enum
from collections.abc import Mapping  # noqa: TC003  # resolved by name, as a report's own are
from dataclasses import dataclass, field

from slowboat.core.plain import from_plain, key, to_plain


class Colour(enum.Enum):
    RED = "red"
    UNKNOWN = "unknown"

    @classmethod
    def _missing_(cls, value: object) -> Colour:
        return cls.UNKNOWN


@dataclass(frozen=True)
class Part:
    size: int = field(metadata=key("bytes"))
    colour: Colour


@dataclass(frozen=True)
class Whole:
    name: str
    at: float
    sure: bool = True
    parts: tuple[Part, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)


WHOLE = Whole("n", 1.5, sure=False, parts=(Part(3, Colour.RED),), counts={"a": 1})
PLAIN = {"name": "n", "at": 1.5, "sure": False, "parts": [{"bytes": 3, "colour": "red"}], "counts": {"a": 1}}


def test_there_and_back() -> None:
    assert to_plain(WHOLE) == PLAIN
    assert from_plain(Whole, PLAIN) == WHOLE


def test_another_version_is_understood_as_far_as_can_be() -> None:
    newer = {"name": "n", "at": 1, "parts": [{"bytes": 1, "colour": "green", "weight": 2}], "more": [1, {}]}
    assert from_plain(Whole, newer) == Whole("n", 1.0, parts=(Part(1, Colour.UNKNOWN),))
    assert from_plain(Whole, {}) == Whole("", 0.0)
    assert from_plain(Part, {}) == Part(0, Colour.UNKNOWN)
