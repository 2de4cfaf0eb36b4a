"""Every kind of event that the history has: known, numbered, and told of in the documentation."""

from __future__ import annotations

import ast
import re

from realparts.presence import ROOT
from slowboat.core.happenings import KINDS

CALLS = {"note", "notify", "Note", "Notify"}


def named_in_the_source() -> set[str]:
    """What is written where something is noted or told, and as a record's kind."""
    found = set()
    for path in (ROOT / "src/slowboat").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = getattr(node.func, "attr", getattr(node.func, "id", ""))
                first = node.args[0] if node.args else None
                if called in CALLS and isinstance(first, ast.Constant) and isinstance(first.value, str):
                    found.add(first.value)
            if isinstance(node, ast.Dict):
                values = dict(zip((getattr(key, "value", "") for key in node.keys), node.values, strict=True))
                if isinstance(kind := values.get("kind"), ast.Constant):
                    found.add(kind.value)
    return found - {"", "s"}  # "s": its type on D-Bus


def test_whatever_is_noted_is_a_kind_that_is_known() -> None:
    assert named_in_the_source() <= KINDS.keys()


def test_no_kind_is_known_that_nothing_is_of() -> None:
    assert KINDS.keys() - named_in_the_source() <= {"vanished", "replaced", "ledger"}, "these are named in tables"


def test_each_kind_has_a_number_of_its_own_for_ever() -> None:
    numbers = [kind.message_id for kind in KINDS.values()]
    assert len(set(numbers)) == len(numbers)
    assert all(re.fullmatch(r"[0-9a-f]{32}", number) for number in numbers)


def test_the_documentation_has_every_kind_with_its_number() -> None:
    page = (ROOT / "docs/journal.md").read_text()
    for word, kind in KINDS.items():
        assert (
            f"| `{word}` | {'yes' if kind.trouble else ''} | {kind.what} | `{kind.message_id}` |".replace("|  |", "| |")
            in page
        )
