"""A migration's memory, or that of all (""): the ledger's rows, mirrored, because the engine is their only writer.

Knows objects and facts (their keys, types and forms are those of `facts`); must not know what they are for.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from slowboat.core.happenings import KINDS
from slowboat.core.plan import advance
from slowboat.core.roster import Roster
from slowboat.core.words import Event, HandoverState, Phase
from slowboat.engine import facts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from slowboat.core.segmenting import UplinkEstimate
    from slowboat.core.words import Installed, Item, SourceFile
    from slowboat.engine.facts import Fact
    from slowboat.engine.ports import Ledger


_log = logging.getLogger(__name__)

T = TypeVar("T")


class Memory:
    """What is remembered of one migration; every change is in the ledger before the call returns.

    It is on the disk then, too, but for what the ledger gathers: phases and MD5s of objects, bytes, the uplink.
    """

    def __init__(self, ledger: Ledger, migration: str) -> None:
        self.ledger = ledger
        self.migration = migration
        self._facts = dict(ledger.facts(migration))
        self._roster: Roster | None = None  # a hundred thousand objects are not read by who asks for a fact
        self.moves = 0  # how often a phase, or the list, has become another one: what was reckoned before holds no more
        self._as_tuple: tuple[Item, ...] | None = None

    def belongs_to(self, target: str) -> None:
        """Forgets everything but a pause where it was remembered for another target."""
        if self.get(facts.TARGET) not in {"", target}:
            paused = self.get(facts.PAUSED_UNTIL)
            self.ledger.forget(self.migration)
            self._facts = {}
            self._list(())
            self.remember(facts.PAUSED_UNTIL, paused)
            self.note("target", f"The target has changed ({target}): slowboat checks everything again")
        self.remember(facts.TARGET, target)

    # -- objects ---------------------------------------------------------------------------------------------

    @property
    def roster(self) -> Roster:
        """Everything adopted, with what is counted of it."""
        if self._roster is None:
            self._roster = Roster(self.ledger.items(self.migration))
            for item in [item for item in self._roster if item.phase is Phase.SENDING]:  # of a run that was killed
                self.happened(item.name, Event.INTERRUPTED)
        return self._roster

    @property
    def items(self) -> tuple[Item, ...]:
        """Everything adopted, by rank, as it is now; what may be asked at each change asks the `roster` instead."""
        if self._as_tuple is None:
            self._as_tuple = tuple(self.roster)
        return self._as_tuple

    def item(self, name: str) -> Item:
        """One adopted object."""
        return self.roster.named(name)

    def adopt(self, items: Sequence[Item], manifests: Mapping[str, bytes], known: Mapping[str, str]) -> None:
        """Takes a new frozen list, and facts (`Fact.row`); what is known of a file that is the same stays known."""
        merged = [self._merged(item) for item in items]
        self.ledger.adopt(self.migration, merged, manifests, known)
        self._list(merged)
        self._facts.update(known)

    def _list(self, items: Iterable[Item]) -> None:
        """Another list, or the same files otherwise."""
        self._roster = Roster(items)
        self._as_tuple = None
        self.moves += 1

    def _merged(self, item: Item) -> Item:
        old = self.roster.get(item.name)
        if old is None or not _is_same(old, item):
            return item
        return replace(
            item,
            phase=old.phase,
            md5=old.md5 or item.md5,
            segment=old.segment,
            bytes_sent=old.bytes_sent,
            attempts=old.attempts,
            error=old.error,
            slo_md5=old.slo_md5,
        )

    def retimed(self, files: Mapping[str, SourceFile]) -> None:
        """Adopted files as they are now, where nothing but their time is another one; by name."""
        items = tuple(replace(item, file=files.get(item.name, item.file)) for item in self.items)
        self.ledger.adopt(self.migration, items, {}, {})
        self._list(items)

    def happened(
        self, name: str, event: Event, *, md5: str = "", error: str = "", slo_md5: str | None = None, sent: int = 0
    ) -> Item:
        """One object's next phase by the table; `slo_md5` and `sent` as the ledger's `move` takes them."""
        old = self.item(name)
        phase = advance(old.phase, event)
        attempt = event is Event.STARTED
        md5 = md5 or old.md5  # which may have been learned since
        self.ledger.move(self.migration, name, phase, md5=md5, error=error, attempt=attempt, slo_md5=slo_md5, sent=sent)
        new = replace(
            old,
            phase=phase,
            md5=md5,
            error=error,
            bytes_sent=old.bytes_sent + sent,
            attempts=old.attempts + (1 if attempt else 0),
            slo_md5=old.slo_md5 if slo_md5 is None else slo_md5,
        )
        return self._put(new)

    def learned(self, name: str, md5: str, *, soon: bool = False) -> None:
        """An object's MD5, before the server has confirmed it; `soon`: it is written with the object's next phase."""
        old = self.item(name)
        if not soon:
            self.ledger.move(self.migration, name, old.phase, md5=md5)
        self._put(replace(old, md5=md5))

    def begun_segments(self, name: str, segment: int) -> None:
        """Fixes the size of an object's segments, in bytes."""
        if (old := self.item(name)).segment != segment:
            self.ledger.begun_segments(self.migration, name, segment)
            self._put(replace(old, segment=segment))

    def sent(self, name: str, count: int) -> None:
        """Adds bytes that went over the line, confirmed or not."""
        if count:
            self.ledger.sent(self.migration, name, count)
            old = self.item(name)
            self._put(replace(old, bytes_sent=old.bytes_sent + count))

    def _put(self, item: Item) -> Item:
        old = self.roster.put(item)
        self._as_tuple = None
        if (old.phase, old.error) != (item.phase, item.error):
            self.moves += 1
        return item

    # -- facts -----------------------------------------------------------------------------------------------

    def get(self, fact: Fact[T]) -> T:
        """One fact's value; its default where it is not known."""
        text = self._facts.get(fact.key)
        return fact.of(text) if text else fact.default

    def remember(self, fact: Fact[T], value: T, *, soon: bool = False) -> None:
        """One fact; its default forgets it. `soon`: nothing is lost where a kill comes before it is on the disk."""
        key, text = fact.row(value)
        if self._facts.get(key, "") != text:
            self.ledger.set_fact(self.migration, key, text, soon=soon)
            self._facts[key] = text

    def all_of(self, kind: Fact[T]) -> list[tuple[str, T]]:
        """All facts of a kind (see `Fact.__getitem__`): (name, value)."""
        found = [(key, kind.of(text)) for key, text in self._facts.items() if key.startswith(kind.key) and text]
        return [(key.removeprefix(kind.key), value) for key, value in found]

    def note(self, kind: str, text: str, *, urgent: bool = False) -> None:
        """A line for the history, and for the journal; `urgent`: it needs the user, whatever its kind."""
        self.ledger.note(self.migration, kind, text)
        known = KINDS.get(kind)
        level = logging.WARNING if urgent or (known and known.trouble) else logging.INFO
        _log.log(level, "%s", text, extra={"kind": kind, "migration": self.migration})

    @property
    def estimate(self) -> UplinkEstimate:
        """The uplink as remembered."""
        return self.get(facts.ESTIMATE)

    @estimate.setter
    def estimate(self, estimate: UplinkEstimate) -> None:
        self.remember(facts.ESTIMATE, estimate, soon=True)

    @property
    def finished(self) -> bool:
        """Whether the end has been seen, and nothing is left to send: a file may have been asked for again since."""
        return bool(self.get(facts.FINISHED_AT)) and not self.roster.open

    # -- the handover ----------------------------------------------------------------------------------------

    @property
    def handover(self) -> HandoverState:
        """PENDING, DONE or BLOCKED; READY is never remembered, it follows from the rest."""
        return self.get(facts.HANDOVER)

    @property
    def installed(self) -> tuple[Installed, ...]:
        """What the handover installed; () where it was not done."""
        return self.get(facts.INSTALLED)

    def handed_over(self, installed: Sequence[Installed]) -> None:
        """What the handover installed, for its undoing."""
        self.remember(facts.INSTALLED, tuple(installed))
        self.remember(facts.HANDOVER_WHY, "")
        self.remember(facts.HANDOVER_CODE, "")
        self.remember(facts.HANDOVER_AT, 0.0)
        self.remember(facts.HANDOVER, HandoverState.DONE)

    def mended(self, installed: Sequence[Installed]) -> None:
        """What is installed now, after duplicity's cache was made whole again."""
        self.remember(facts.INSTALLED, tuple(installed))

    def handover_blocked(self, why: str, until: float, code: str = "") -> None:
        """Why the handover cannot be done now (a sentence, and the error's code), and when to try again."""
        self.remember(facts.HANDOVER_WHY, why)
        self.remember(facts.HANDOVER_CODE, code)
        self.remember(facts.HANDOVER_AT, until)
        self.remember(facts.HANDOVER, HandoverState.BLOCKED)

    def handover_undone(self, why: str = "", until: float = 0.0) -> None:
        """Back to where it was before."""
        self.remember(facts.INSTALLED, ())
        self.remember(facts.HANDOVER, HandoverState.PENDING)
        if why:
            self.handover_blocked(why, until)


def _is_same(old: Item, new: Item) -> bool:
    """Whether two adoptions have seen the same file: its size, and its content as far as both know it."""
    other_md5 = old.md5 and new.md5 and old.md5 != new.md5
    return old.file.size == new.file.size and old.sha1 == new.sha1 and not other_md5
