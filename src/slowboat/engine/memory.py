"""One migration's memory: the ledger's rows, mirrored, because the engine is their only writer.

Knows the facts' keys and their forms; must not know what they are for.
"""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from slowboat.core import segmenting
from slowboat.core.plan import advance
from slowboat.core.words import Event, HandoverState, Installed, Item, Phase

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slowboat.engine.ports import Ledger


_log = logging.getLogger(__name__)


class Memory:
    """What is remembered of one migration; every change is in the ledger before the call returns."""

    def __init__(self, ledger: Ledger, migration: str) -> None:
        self.ledger = ledger
        self.migration = migration
        self._facts = dict(ledger.facts(migration))
        self._items = {item.name: item for item in ledger.items(migration)}
        self._as_tuple: tuple[Item, ...] | None = None
        for item in self.items:
            if item.phase is Phase.SENDING:  # a run that was killed
                self.happened(item.name, Event.INTERRUPTED)

    def belongs_to(self, target: str) -> None:
        """Forgets everything but a pause where it was remembered for another target."""
        if self.fact("target") not in {"", target}:
            paused = self.fact("paused_until")
            self.ledger.forget(self.migration)
            self._facts, self._items, self._as_tuple = {}, {}, None
            self.remember("paused_until", paused)
            self.note("target", f"The target is another one now ({target}): everything is looked at anew")
        self.remember("target", target)

    # -- objects ---------------------------------------------------------------------------------------------

    @property
    def items(self) -> tuple[Item, ...]:
        """Everything adopted, by rank."""
        if self._as_tuple is None:
            self._as_tuple = tuple(sorted(self._items.values(), key=lambda item: item.rank))
        return self._as_tuple

    def item(self, name: str) -> Item:
        """One adopted object."""
        return self._items[name]

    def adopt(self, items: Sequence[Item], manifests: Mapping[str, bytes], facts: Mapping[str, str]) -> None:
        """Takes a new frozen list; what is known of a file that is still the same stays known."""
        merged = [self._merged(item) for item in items]
        self.ledger.adopt(self.migration, merged, manifests, facts)
        self._items = {item.name: item for item in merged}
        self._as_tuple = None
        self._facts.update(facts)

    def _merged(self, item: Item) -> Item:
        old = self._items.get(item.name)
        if old is None or old.file != item.file:
            return item
        return replace(
            item,
            phase=old.phase,
            md5=old.md5,
            segment=old.segment,
            bytes_sent=old.bytes_sent,
            attempts=old.attempts,
            error=old.error,
        )

    def happened(self, name: str, event: Event, *, md5: str = "", error: str = "") -> Item:
        """One object's next phase by the table."""
        old = self._items[name]
        phase = advance(old.phase, event)
        attempt = event is Event.STARTED
        self.ledger.move(self.migration, name, phase, md5=md5, error=error, attempt=attempt)
        new = replace(old, phase=phase, md5=md5 or old.md5, error=error, attempts=old.attempts + (1 if attempt else 0))
        return self._put(new)

    def learned(self, name: str, md5: str) -> None:
        """An object's MD5, before the server has confirmed it."""
        old = self._items[name]
        self.ledger.move(self.migration, name, old.phase, md5=md5)
        self._put(replace(old, md5=md5))

    def begun_segments(self, name: str, segment: int) -> None:
        """Fixes the size of an object's segments, in bytes."""
        if self._items[name].segment != segment:
            self.ledger.begun_segments(self.migration, name, segment)
            self._put(replace(self._items[name], segment=segment))

    def sent(self, name: str, count: int) -> None:
        """Adds bytes that went over the line, confirmed or not."""
        if count:
            self.ledger.sent(self.migration, name, count)
            old = self._items[name]
            self._put(replace(old, bytes_sent=old.bytes_sent + count))

    def _put(self, item: Item) -> Item:
        self._items[item.name] = item
        self._as_tuple = None
        return item

    # -- facts -----------------------------------------------------------------------------------------------

    def fact(self, key: str) -> str:
        """One fact's text, "" where it is not known."""
        return self._facts.get(key, "")

    def facts(self, beginning: str) -> list[tuple[str, str]]:
        """The facts whose keys begin so: (key, text)."""
        return [(key, text) for key, text in self._facts.items() if key.startswith(beginning) and text]

    def number(self, key: str) -> float:
        """One fact as a number, 0.0 where it is not known."""
        try:
            return float(self._facts.get(key, "") or 0.0)
        except ValueError:
            return 0.0

    def remember(self, key: str, value: str | float) -> None:
        """One fact; "" or 0 forgets it."""
        text = value if isinstance(value, str) else (repr(value) if value else "")
        if self._facts.get(key, "") != text:
            self.ledger.set_fact(self.migration, key, text)
            self._facts[key] = text

    def note(self, kind: str, text: str) -> None:
        """A line for the history, and for the journal."""
        self.ledger.note(self.migration, kind, text)
        _log.info("%s: %s", self.migration, text)

    @property
    def estimate(self) -> segmenting.UplinkEstimate:
        """The uplink as remembered."""
        return segmenting.parse(self.fact("line"))

    @estimate.setter
    def estimate(self, estimate: segmenting.UplinkEstimate) -> None:
        self.remember("line", estimate.text())

    @property
    def handover(self) -> HandoverState:
        """PENDING, DONE or BLOCKED; READY is never remembered, it follows from the rest."""
        try:
            return HandoverState(self.fact("handover") or "pending")
        except ValueError:
            return HandoverState.PENDING

    def handed_over(self, installed: Sequence[Installed]) -> None:
        """What the handover installed, for its undoing."""
        self.remember("installed", _installed_text(installed))
        self.remember("handover_why", "")
        self.remember("handover_code", "")
        self.remember("handover_at", 0.0)
        self.remember("handover", HandoverState.DONE.value)

    def mended(self, installed: Sequence[Installed]) -> None:
        """What is installed now, after duplicity's cache was made whole again."""
        self.remember("installed", _installed_text(installed))

    def handover_blocked(self, why: str, until: float, code: str = "") -> None:
        """Why the handover cannot be done now (a sentence, and the error's code), and when to try again."""
        self.remember("handover_why", why)
        self.remember("handover_code", code)
        self.remember("handover_at", until)
        self.remember("handover", HandoverState.BLOCKED.value)

    def handover_undone(self, why: str = "", until: float = 0.0) -> None:
        """Back to where it was before."""
        self.remember("installed", "")
        self.remember("handover", "")
        if why:
            self.handover_blocked(why, until)

    @property
    def installed(self) -> tuple[Installed, ...]:
        """What the handover installed; () where it was not done."""
        rows = json.loads(self.fact("installed") or "[]")
        return tuple(
            Installed(
                Path(row["directory"]),
                row["url"],
                {name: (size, mtime) for name, (size, mtime) in row["files"].items()},
                row["adopted"],
            )
            for row in rows
        )


def _installed_text(installed: Sequence[Installed]) -> str:
    return json.dumps(
        [
            {
                "directory": str(one.directory),
                "url": one.url,
                "files": {name: list(known) for name, known in one.files.items()},
                "adopted": one.adopted,
            }
            for one in installed
        ]
    )
