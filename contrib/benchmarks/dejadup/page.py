"""What each story's newest run without a failure came to, kept between runs; and docs/dejadup.md's tables of it."""

from __future__ import annotations

import datetime as dt
import fcntl
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from marked import rewrite

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

BEGIN = "<!-- runs: written by contrib/bench dejadup --write-docs -->"
END = "<!-- end of runs -->"
FACTS = {
    "duplicity": "its duplicity",
    "url of folder": "a folder's URL, which names the cache",
    "url of drive": "a removable drive's",
    "url of remote": "a server's share's",
    "cache": "its caches",
    "canary": "what its check restores",
    "backends": "its backends",
    "does": "what slowboat does",
}
"""What is told of a version, by the key of its fact."""
SLOWBOAT = {
    False: "switches it: `backend` to `rclone`, `remote`, `folder`",
    True: "tells that it reaches no Swift and what helps; sends what the drive gets; gives the command for duplicity",
}
"""By whether the version is too old to reach a Swift."""


@dataclass(frozen=True)
class Kept:
    """The file of outcomes: {"facts": {version: {...}}, "stories": {story: {version: {"day": ..., "cells": ...}}}}."""

    file: Path

    def read(self) -> dict[str, Any]:
        return dict(json.loads(self.file.read_text())) if self.file.exists() else {"facts": {}, "stories": {}}

    def add(self, story: str, version: str, cells: Mapping[str, str], facts: Mapping[str, str]) -> None:
        """What a run came to takes the place of what an older one did."""
        with self.file.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            known = self.read()
            known["facts"].setdefault(version, {}).update(facts)
            today = str(dt.datetime.now(dt.UTC).date())
            known["stories"].setdefault(story, {})[version] = {"day": today, "cells": dict(cells)}
            self.file.write_text(json.dumps(known, indent=1, ensure_ascii=False))


def write(page: Path, kept: Kept, titles: Mapping[str, str]) -> None:
    """Replaces what stands between the marks.

    Args:
        titles: what each story is, by its name, in their order.

    Raises:
        ValueError: the page lacks the marks.
    """
    rewrite(page, BEGIN, END, tables(kept.read(), titles))


def tables(known: Mapping[str, Any], titles: Mapping[str, str]) -> str:
    """A table of what is so with each version, and one for each story."""
    versions = sorted(known["facts"], key=lambda version: [int(part) for part in version.split(".")])
    facts = {
        title: [SLOWBOAT[_old(version)] if key == "does" else _as_code(key, known, version) for version in versions]
        for key, title in FACTS.items()
    }
    lines = [*_table("", versions, facts)]
    for name, title in titles.items():
        played = known["stories"].get(name, {})
        columns = [version for version in versions if version in played]
        steps = list(dict.fromkeys(step for version in columns for step in played[version]["cells"]))
        days = sorted({played[version]["day"] for version in columns})
        rows = {step.replace("_", " "): [played[v]["cells"].get(step, "-") for v in columns] for step in steps}
        if columns:
            lines += ["", f"**{name}**: {title} Run on {', '.join(days)}.", "", *_table("step", columns, rows)]
    return "\n".join(lines) + "\n"


def _old(version: str) -> bool:
    return int(version.split(".", maxsplit=1)[0]) < 48


def _as_code(key: str, known: Mapping[str, Any], version: str) -> str:
    text = known["facts"][version].get(key, "")
    return f"`{text}`" if text and key not in {"duplicity", "backends"} else text or "-"


def _table(corner: str, columns: Iterable[str], rows: Mapping[str, list[str]]) -> list[str]:
    head = [corner, *(f"Deja Dup {column}" for column in columns)]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return lines + [f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()]
