"""Frozen values as plain ones, there and back: what D-Bus and `--json` carry of a report.

Knows dataclasses, enumerations, mappings and tuples; must not know which report it is. A field's key is its name, or
what `key` says. New keys may come, none goes away: one that is missing keeps its default, one that is not known here is
left alone, and a word that is not known is what its enumeration makes of it (`_missing_`).
"""

from __future__ import annotations

import dataclasses
import enum
import re
import sys
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")

_SCALARS: Mapping[str, type[Any]] = {"str": str, "int": int, "float": float, "bool": bool}


def key(name: str) -> Mapping[str, str]:
    """The metadata of a field that has another key than its name."""
    return {"key": name}


INTERNAL: Mapping[str, str] = {"key": ""}
"""The metadata of a field that is nobody else's business."""


def to_plain(value: object) -> Any:  # noqa: ANN401  # a dict for a dataclass, and so on
    """The value in dicts, lists, texts, numbers and truths."""
    match value:
        case enum.Enum():
            return value.value
        case Mapping():
            return {str(name): to_plain(each) for name, each in value.items()}
        case list() | tuple():
            return [to_plain(each) for each in value]
        case _ if dataclasses.is_dataclass(value):
            shown = [field for field in dataclasses.fields(value) if _key(field)]
            return {_key(field): to_plain(getattr(value, field.name)) for field in shown}
        case _:
            return value


def from_plain(kind: type[T], plain: Mapping[str, Any]) -> T:
    """The dataclass that `to_plain` made plain.

    Where a field has no default, 0, "", False or () takes its place.

    Raises:
        TypeError, ValueError: a value that cannot be of its field's type.
    """
    values = {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]  # whoever calls gives a dataclass
        if _key(field) in plain:
            values[field.name] = _typed(kind, str(field.type), plain[_key(field)])
        elif field.default is field.default_factory is dataclasses.MISSING:
            values[field.name] = _nothing(kind, str(field.type))
    return kind(**values)


def _key(field: dataclasses.Field[Any]) -> str:
    return str(field.metadata.get("key", field.name))


def _typed(where: type[Any], name: str, value: Any) -> Any:  # noqa: ANN401  # of the named type
    """A plain value as one of the type that is called so in the module of `where`."""
    if name in _SCALARS:
        return _SCALARS[name](value)
    if several := re.fullmatch(r"tuple\[(.+), \.\.\.\]", name):
        return tuple(_typed(where, several[1], each) for each in value)
    if mapping := re.fullmatch(r"Mapping\[str, (.+)\]", name):
        return {str(word): _typed(where, mapping[1], each) for word, each in value.items()}
    kind: Any = vars(sys.modules[where.__module__])[name]
    nested = dataclasses.is_dataclass(kind)
    return from_plain(kind, value) if nested else kind(value)


def _nothing(where: type[Any], name: str) -> Any:  # noqa: ANN401  # of the named type
    return _SCALARS[name]() if name in _SCALARS else _typed(where, name, () if "[" in name else "")
