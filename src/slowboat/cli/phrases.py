"""Numbers and times as a person says them.

Knows units and English; must not know a report or a terminal. Everything here is pure; times are local, and no input
makes it fail or show a negative number: what the daemon says is shown, not believed.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

_UNITS = ("kB", "MB", "GB", "TB", "PB", "EB")
_FINE_FROM = 2
"""From GB on a decimal is always shown: at home uplinks the whole gigabytes stand still for half an hour."""


def size(count: float) -> str:
    """Bytes in decimal units, as drives and cloud shops count them: `24.1 GB`."""
    value = _at_least_zero(count)
    if value < 1000:
        return "1 byte" if int(value) == 1 else f"{int(value)} bytes"
    for power, unit in enumerate(_UNITS):
        value /= 1000
        decimals = 1 if value < 99.95 or power >= _FINE_FROM else 0
        if round(value, decimals) < 1000:
            return f"{value:.{decimals}f} {unit}"
    return "more than 1000 EB"


def rate(per_second: float) -> str:
    """Bytes per second: `512 kB/s`."""
    return f"{size(per_second)}/s"


def count(number: int, one: str, many: str) -> str:
    """A number with its noun: `1 volume`, `4,120 volumes`."""
    return f"{max(0, number):,} {one if number == 1 else many}"


def fraction(done: float, total: float) -> float:
    """How much of it is done, from 0.0 to 1.0; an empty whole is done."""
    whole, part = _at_least_zero(total), _at_least_zero(done)
    return 1.0 if part >= whole else part / whole


def percent(done: float, total: float) -> str:
    """How much is done; rounded down, so that `100 %` means all of it."""
    tenths = int(fraction(done, total) * 1000)
    return "100 %" if tenths == 1000 else f"{tenths / 10:.1f} %"


def about(seconds: float) -> str:
    """A span of time that is an estimate: `about 3 h 12 min`, `less than a minute`."""
    span = duration(seconds)
    return span if span.startswith("less") else f"about {span}"


def duration(seconds: float) -> str:
    """A span of time in at most two units: `2 days 3 h`, `3 h 12 min`, `12 min`, `less than a minute`."""
    minutes = round(_at_least_zero(seconds) / 60)
    if minutes < 1:
        return "less than a minute"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return _two(f"{minutes // 60} h", minutes % 60, "min")
    hours = round(minutes / 60)
    days = hours // 24
    if days < 14:
        return _two(count(days, "day", "days"), hours % 24, "h")
    return count(days, "day", "days") if days < 1000 else "more than 2 years"


def moment(when: float, now: float) -> str:
    """A time of day and, as far as needed, its day: `today at 18:00`, `Thursday at 14:20`, `3 December at 07:00`.

    Args:
        when: seconds since the epoch.
        now: the present, seconds since the epoch.

    Returns:
        "" where `when` is no time that a calendar knows.
    """
    there, here = local(when), local(now)
    if there is None or here is None:
        return ""
    days = (there.date() - here.date()).days
    if days in _NEAR_DAYS:
        day = _NEAR_DAYS[days]
    elif 0 < days < 7:
        day = f"{there:%A}"
    else:
        day = f"{there.day} {there:%B}" + ("" if there.year == here.year else f" {there.year}")
    return f"{day} at {there:%H:%M}"


def stamp(when: float) -> str:
    """A time for a list, always of one width: `2026-11-22 18:00`; "" where no calendar knows it."""
    there = local(when)
    return f"{there:%Y-%m-%d %H:%M}" if there else ""


def local(when: float) -> datetime | None:
    """A time (seconds since the epoch) in this machine's time zone; None where no calendar knows it."""
    try:
        return datetime.fromtimestamp(when, tz=UTC).astimezone()
    except (ValueError, OverflowError, OSError):
        return None


def plain(text: str) -> str:
    """Text of a foreign hand (names of files, networks, errors) in one line that cannot command a terminal."""
    return "".join(ch if ch.isprintable() else _escaped(ch) for ch in text)


def sentence(text: str) -> str:
    """Foreign text with a full stop, unless it is empty. Its first letter stays: it may belong to a name."""
    shown = plain(text).strip()
    return shown if not shown or shown[-1] in ".!?" else f"{shown}."


TO_DO: Final = "What to do: "
"""Before a cure."""
_COMMAND = r"(?:slowboat|systemctl|journalctl|loginctl|pipx|openstack|duplicity|chmod|gsettings|sudo) [^`]+"
_LAST = re.compile(rf"(?P<before>.*?):? ?(?:`(?P<quoted>{_COMMAND})`|(?:(?<=: )|^)(?P<bare>{_COMMAND}))")


def cure(text: str) -> tuple[str, ...]:
    """A cure in lines; a command to copy stands alone on its line, without a full stop after it.

    Several lines stay as they are.
    """
    lines = [plain(line).rstrip() for line in text.strip("\n").split("\n")]
    if len(lines) > 1:
        return tuple(lines)
    first, *command = apart(lines[0].strip())
    return (first, *command) if command or _LAST.fullmatch(first) else (sentence(first),)


def apart(text: str) -> tuple[str, ...]:
    """A text of one line, and a command at its end as a line of its own."""
    last = _LAST.fullmatch(text)
    if last is None:
        return (text,)
    before, command = last["before"].strip(), last["quoted"] or last["bare"]
    return (*((f"{before}:",) if before else ()), command)


_ENDLESS = 1e24
_NEAR_DAYS = {-1: "yesterday", 0: "today", 1: "tomorrow"}


def _escaped(char: str) -> str:
    return " " if char.isspace() else char.encode("unicode_escape").decode("ascii")


def _two(first: str, second: int, unit: str) -> str:
    return f"{first} {second} {unit}" if second else first


def _at_least_zero(value: float) -> float:
    """The value as a finite number that is not negative; compared before it is converted, for ints have no end."""
    if value > _ENDLESS:
        return _ENDLESS
    return float(value) if value > 0 else 0.0
