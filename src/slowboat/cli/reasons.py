"""Why nothing (or less) is sent: each reason with its cure and its end, as a list for the terminal.

Knows reasons; must not know what led to one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from slowboat.cli import phrases

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import RenderableType

    from slowboat.core.words import Reason


LIMITS = frozenset({"cap", "limit"})
"""Reasons that only slow down, by the user's own wish and day after day: `why` and `limit` tell them; the status
has their sum in its headline."""


def listed(reasons: Sequence[Reason], now: float) -> RenderableType:
    """All reasons, each in a few sentences: what is the matter, what helps, since when, when it ends by itself."""
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for reason in reasons:
        table.add_row(Text("•", style="yellow"), _paragraph(reason, now))
    return Padding(table, (0, 0, 0, 2))


def distinct(reasons: Iterable[Reason], shown: Iterable[Reason] = ()) -> tuple[Reason, ...]:
    """The reasons that have not been told yet, each once; two are the same where code and text are."""
    seen = {(reason.code, reason.text) for reason in shown}
    fresh = []
    for reason in reasons:
        if (reason.code, reason.text) not in seen:
            seen.add((reason.code, reason.text))
            fresh.append(reason)
    return tuple(fresh)


def ending(until: float | None, now: float) -> str:
    """When something ends by itself: `Ends by itself today at 22:00 (in 3 h 12 min).`; "" where that is not known."""
    if until is None or until <= 0:
        return ""
    if until <= now:
        return "Ends by itself any moment now."
    when, left = phrases.moment(until, now), phrases.duration(until - now)
    return f"Ends by itself {when} (in {left})." if when else f"Ends by itself in {left}."


def beginning(since: float | None, now: float) -> str:
    """When something began: `Since today at 14:05.`; "" where that is not known."""
    when = phrases.moment(since, now) if since else ""
    return f"Since {when}." if when else ""


def _paragraph(reason: Reason, now: float) -> RenderableType:
    lines = [Text(phrases.sentence(reason.text) or phrases.sentence(reason.code))]
    if reason.cure:
        lines += phrased(reason.cure)
    times = " ".join(filter(None, (beginning(reason.since, now), ending(reason.until, now))))
    if times:
        lines.append(Text(times, style="dim"))
    return Group(*lines)


def phrased(cure: str) -> list[Text]:
    """A cure for the terminal: what to do in words, and each command alone on its line."""
    first, *more = phrases.cure(cure)
    return [Text.assemble((phrases.TO_DO, "bold"), first), *(Text(f"    {line}") for line in more)]
