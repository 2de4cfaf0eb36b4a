"""On which line of a TOML text a key stands, so that an error can say it.

tomllib does not tell. This looks for table headers and for keys at the beginning of lines, which is where people
write them; what stands within a line is found at that line.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter

_HEADER = re.compile(r"\s*(\[\[?)(?P<key>[^\[\]].*?)\]\]?\s*(?:#.*)?")
_KEY = re.compile(r"""\s*(?P<key>(?:[A-Za-z0-9_.\s-]|"(?:[^"\\]|\\.)*"|'[^']*')+?)\s*=""")

Where = tuple[str, ...]


def line_of(text: str, where: Where) -> int:
    """The line, from 1, of the key at `where` or of the nearest thing around it; 0 where there is none.

    Args:
        text: the whole TOML text.
        where: the path of keys; the n-th of an array of tables is named str(n), from 0.
    """
    known = _places(text)
    for end in range(len(where), 0, -1):
        if where[:end] in known:
            return known[where[:end]]
    return 0


def _places(text: str) -> dict[Where, int]:
    places: dict[Where, int] = {}
    table: Where = ()
    repeated: Counter[Where] = Counter()
    for number, line in enumerate(text.splitlines(), start=1):
        header = _HEADER.fullmatch(line)
        if header is not None:
            table = _parts(header["key"])
            if header[1] == "[[":
                repeated[table] += 1
                places.setdefault(table, number)
                table = (*table, str(repeated[table] - 1))
            here = table
        elif (key := _KEY.match(line)) is not None:
            here = (*table, *_parts(key["key"]))
        else:
            continue
        for end in range(1, len(here) + 1):
            places.setdefault(here[:end], number)
    return places


def _parts(key: str) -> Where:
    """A dotted key as TOML takes it apart."""
    try:
        found: object = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError:
        return (key,)
    parts: list[str] = []
    while isinstance(found, dict):
        ((name, found),) = found.items()
        parts.append(name)
    return tuple(parts)
