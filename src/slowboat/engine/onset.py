"""Since when each reason holds.

Knows codes and moments; must not know what a reason means. A reason is the same one as long as its code stays,
however its words change.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from slowboat.core.words import Reason


class Onsets:
    """Remembers when each reason was first seen, for as long as it is seen."""

    def __init__(self, now: Callable[[], float]) -> None:
        """`now`: seconds since the epoch."""
        self._now = now
        self._began: dict[tuple[str, str], float] = {}

    def known(self, whose: str, code: str, when: float) -> None:
        """A reason that began before it could be seen, as one that outlived a restart."""
        self._began[whose, code] = when

    def stamped(self, whose: str, reasons: Sequence[Reason]) -> tuple[Reason, ...]:
        """All reasons of a migration's ("": of the whole), each with its beginning; those that are gone are forgotten.

        A migration's reason that is everybody's has everybody's beginning, where nobody saw it earlier.
        """
        codes = {reason.code for reason in reasons}
        for key in [key for key in self._began if key[0] == whose and key[1] not in codes]:
            del self._began[key]
        return tuple(replace(reason, since=self._first(whose, reason.code)) for reason in reasons)

    def _first(self, whose: str, code: str) -> float:
        return self._began.setdefault((whose, code), self._began.get(("", code)) or self._now())
