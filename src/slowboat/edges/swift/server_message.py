"""What a server says for people, made fit to be shown: one short line of plain text.

Knows the forms in which reasons come (text, HTML, JSON, XML); must not know what follows from them. It stands in
notices, on a terminal and in the history, so nothing in it may move a cursor, turn the writing round or go on for ever.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST: Final = 200
"""Characters of a sentence."""

_READ: Final = 4096
"""Bytes of a body that are looked at: reasons stand at its beginning."""

_KEYS: Final = ("code", "message", "detail", "title", "error")
"""Under which a JSON answer tells its reason, in any case: Code and Message of Ceph's gateway, error of Keystone."""

_TAG: Final = re.compile(r"<[^<>]*>")
_XML: Final = re.compile(r"<(?:Code|Message)>([^<]*)<")


def sentence(body: bytes) -> str:
    """The reason in the body of an answer; "" where there is none that can be shown."""
    body = body[:_READ]
    return harmless(_of_json(body) or _of_markup(body.decode("utf-8", "replace")))


def harmless(text: str) -> str:
    """A text of somebody else's as one line of printable characters, cut to `LONGEST`."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text[: 4 * LONGEST]).split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 3].rstrip()}..."


def _of_json(body: bytes) -> str:
    try:
        found = msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return ""
    return ": ".join(_reasons(found)) if isinstance(found, dict) else ""


def _reasons(found: dict[Any, Any], depth: int = 2) -> Iterator[str]:
    known = {str(name).lower(): value for name, value in found.items()}
    for key in _KEYS:
        if isinstance(known.get(key), str):
            yield known[key]
    if depth:
        for value in found.values():
            if isinstance(value, dict):
                yield from _reasons(value, depth - 1)


def _of_markup(text: str) -> str:
    reasons = _XML.findall(text)
    if reasons:
        return ": ".join(reasons)
    _, page, body = text.partition("<body")
    return _TAG.sub(" ", f"<{body}" if page else text)
