"""Charts of a line or a few, in characters: a sparkline, a bar of several parts, the bytes of days and hours.

Knows numbers and characters; must not know the bus. Where there is only ASCII, `screen` puts others in their place.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from slowboat.cli import phrases

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date

    from rich.console import RenderableType

LEVELS: Final = "▁▂▃▄▅▆▇█"
FULL, EMPTY = "█", "░"
DAYS: Final = 7
"""Days of a chart of days."""
HOURS: Final = 24
BAR: Final = 30
"""Columns of the longest bar of a chart of days."""


def sparkline(values: Sequence[float], width: int, top: float = 0.0) -> str:
    """The newest values as one line of blocks, the highest at `top` or at the greatest of them; a blank for nothing."""
    shown = [max(0.0, value) for value in values[-max(1, width) :]]
    highest = max([top, *shown])
    if highest <= 0:
        return " " * len(shown)
    return "".join(_level(value / highest) for value in shown)


def _level(share: float) -> str:
    return LEVELS[min(len(LEVELS) - 1, int(share * len(LEVELS)))] if share > 0 else " "


def bar(parts: Sequence[tuple[float, str]], total: float, width: int) -> Text:
    """A bar of parts after one another, each (how much, style); what is left of the total is empty.

    A part that has begun is seen, and one that is not whole does not fill the bar.
    """
    cells = max(1, width)
    drawn, ended, so_far = Text(), 0, 0.0
    for amount, style in parts:
        so_far += max(0.0, amount)
        share = phrases.fraction(so_far, total)
        end = cells if share >= 1 else min(cells - 1, max(int(share * cells), ended + (1 if amount > 0 else 0)))
        drawn.append(FULL * max(0, end - ended), style=style)
        ended = max(ended, end)
    drawn.append(EMPTY * (cells - ended), style="dim")
    return drawn


def traffic(slots: Sequence[tuple[float, int]], now: float) -> RenderableType | None:
    """The bytes of the last days and the rate of the last hours; None where nothing was sent.

    Args:
        slots: (when it began, seconds since the epoch; bytes).
    """
    days = by_day(slots, now)
    if not any(days.values()):
        return None
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(max_width=BAR)
    most = max(days.values())
    for day, number in days.items():
        drawn = FULL * max(1, round(BAR * number / most)) if number else ""
        table.add_row(f"{day:%a} {day.day} {day:%b}", phrases.size(number), Text(drawn, style="green", no_wrap=True))
    hours = by_hour(slots, now)
    rates = Text.assemble(
        ("Rate in the last 24 hours  ", "dim"),
        (sparkline(hours, HOURS), "green"),
        (f"  at most {phrases.rate(max(hours))}" if any(hours) else "  nothing was sent", "dim"),
    )
    return Group(Text("Sent by day", style="bold"), table, rates)


def by_day(slots: Iterable[tuple[float, int]], now: float) -> Mapping[date, int]:
    """The bytes of each of the last local days, today included, oldest first."""
    here = phrases.local(now)
    if here is None:
        return {}
    days = {here.date() - timedelta(days=back): 0 for back in reversed(range(DAYS))}
    for at, number in slots:
        there = phrases.local(at)
        if there is not None and there.date() in days:
            days[there.date()] += max(0, number)
    return days


def by_hour(slots: Iterable[tuple[float, int]], now: float) -> Sequence[float]:
    """Bytes per second in each of the last hours, the present one as far as it has come, oldest first."""
    hours = [0.0] * HOURS
    for at, number in slots:
        back = int((now - at) // 3600) if now - HOURS * 3600 < at <= now else -1
        if 0 <= back < HOURS:
            hours[HOURS - 1 - back] += max(0, number) / 3600
    return hours
