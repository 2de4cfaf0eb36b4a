"""What a mistake in the file was most likely meant to be: the line as it would be right.

Knows TOML's rules and the slips that people make with them; must not know what the keys mean, but for the few words
that are looked for in the wrong place. Pure: texts in, a sentence out, "" where nothing can be said.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from slowboat.edges.settings.lines import Where

_PAIR: Final = re.compile(r"\s*(?P<key>[A-Za-z0-9_-]+)\s*(?P<sign>[=:])\s*(?P<value>[^#]*?)\s*(?P<comment>#.*)?")
_TABLE: Final = re.compile(r"\s*\[(?P<head>network|cloud|migration|network_type)\.(?P<name>[^\"\]]+)\]\s*(?:#.*)?")
_WORDS: Final = {"yes": "true", "on": "true", "no": "false", "off": "false", "True": "true", "False": "false"}
"""YAML's and Python's words for what TOML writes as true and false."""
_QUOTED: Final = re.compile(
    r"[\"'\u2018\u2019\u201a\u201c\u201d\u201e\u00ab\u00bb](.*)[\"'\u2018\u2019\u201c\u201d\u00ab\u00bb]"
)
"""A text between quotes of any kind: word processors and web pages turn TOML's own into typographic ones."""
_SECRETS: Final = frozenset({"password", "passwd", "pass", "passphrase", "key", "secret", "api_key", "apikey", "token"})


def of_line(line: str) -> str:
    """How a line that is not TOML should be written, as a sentence.

    >>> of_line("limit = 500k")
    'Write it as limit = "500k"'
    """
    table = _TABLE.fullmatch(line)
    if table is not None:
        quote = "'" if '"' in table["name"] else '"'
        return f"Write it as [{table['head']}.{quote}{table['name']}{quote}]"
    pair = _PAIR.fullmatch(line)
    if pair is None or not pair["value"]:
        return ""
    if _is_secret(pair["key"]):
        return f'Write it as {pair["key"]} = "..."'  # a secret is not repeated, wherever it was put
    return f"Write it as {pair['key']} = {_value(pair['value'])}"


def _value(text: str) -> str:
    if text in _WORDS:
        return _WORDS[text]
    if re.fullmatch(r"true|false|\d+", text):
        return text
    quoted = _QUOTED.fullmatch(text)
    inner = quoted[1] if quoted is not None else text.strip("\"'\u201c\u201d\u201e")
    return f"'{inner}'" if "\\" in inner or '"' in inner else f'"{inner}"'


def of_unknown_key(where: Where, known: Iterable[str], homes: Mapping[str, str]) -> str:
    """What to do about a key that is not known at `where`.

    Args:
        where: the key's path.
        known: the keys that may stand there.
        homes: for keys of other tables, where they belong: "above the first [table]", "into [cloud.NAME]".
    """
    key, known = where[-1], list(known)
    if len(where) > 1 and _is_secret(key):
        cloud = where[1] if where[0] == "cloud" else "NAME"
        return f"Passwords do not belong into this file. Take it out, then run:\n\n    slowboat password {cloud}\n"
    if key in homes:
        return f"{key} belongs {homes[key]}"
    return did_you_mean(key, known) or f"Known keys: {', '.join(known)}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The known word that is closest, as a question; "" where none is close."""
    import difflib  # for mistakes alone

    close = difflib.get_close_matches(word, list(known), n=1)
    return f"Did you mean {close[0]}?" if close else ""


def of_a_table(kind: str, found: object) -> str:
    """[[migration.home]] or [[cloud]], which make lists, and [migration] without a name; `found` stands at `kind`."""
    if isinstance(found, list):
        return f"Write its header with single brackets and a name: [{kind}.NAME]"
    of_lists = [name for name, value in found.items() if isinstance(value, list)] if isinstance(found, dict) else []
    if of_lists:
        return f"Write its header with single brackets: [{kind}.{of_lists[0]}]"
    return f"Write its header with a name: [{kind}.NAME]"


def _is_secret(key: str) -> bool:
    return key.lower() in _SECRETS or key.lower().endswith(("_password", "_secret"))
