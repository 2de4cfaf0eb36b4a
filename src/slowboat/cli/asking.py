"""What a person types: `2h`, `until 18:00`, `500k`.

Pure: text in, numbers out. Whatever could mean two things is refused with both of them named, for a wrong guess
here fills an uplink or stops a backup for days.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from slowboat.cli import phrases

if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST_PAUSE = 366 * 86400.0
"""Seconds. A pause beyond a year is a typing error; without an end is `slowboat pause` alone."""

_SPAN = re.compile(r"(\d+(?:\.\d+)?)(d|h|min|m|s)")
_SPANS = re.compile(rf"(?:{_SPAN.pattern})+")
_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "min": 60.0, "s": 1.0}
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*(k|m|g)(i?)(b|byte|bytes|bit|bits)?(?:/s|ps)?", re.IGNORECASE)
_POWERS = {
    False: {"k": 1e3, "m": 1e6, "g": 1e9},
    True: {"k": 2.0**10, "m": 2.0**20, "g": 2.0**30},
}
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})")


class NotUnderstood(ValueError):
    """What was typed means nothing here; the message says what would."""


def span(text: str) -> float:
    """A span of time in seconds: `90s`, `30min`, `2h`, `1h30m`, `1.5h`, `2d`.

    Raises:
        NotUnderstood: it is none, or nothing, or beyond a year.
    """
    word = text.strip().lower()
    if not _SPANS.fullmatch(word):
        raise NotUnderstood(f"“{text}” is no span of time; write 30min, 2h, 1h30m or 2d")
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in _SPAN.findall(word))
    if not 0 < seconds <= LONGEST_PAUSE:
        raise NotUnderstood(f"“{text}” must be more than nothing and at most a year")
    return float(seconds)


def point(text: str, now: float) -> float:
    """A local time as seconds since the epoch: `18:00` (the next one), `2026-11-24`, `2026-11-24 18:00`.

    Raises:
        NotUnderstood: it is none, it is past, or it is beyond a year.
    """
    when = _clock(text, now) or _date(text)
    if when is None:
        raise NotUnderstood(f"“{text}” is no time; write 18:00 or 2026-11-24 18:00")
    try:
        seconds = when.timestamp()
    except (OverflowError, OSError, ValueError):  # a year that this machine's calendar does not reach
        seconds = 0.0
    if not 0 < seconds - now <= LONGEST_PAUSE:
        raise NotUnderstood(f"{text} is past, or more than a year ahead")
    return seconds


def pause(words: Sequence[str], now: float) -> tuple[float, str]:
    """What follows `slowboat pause`: nothing, a span, or `until` and a time; then perhaps a migration's name.

    Returns:
        (until, name): seconds since the epoch, 0.0 for "until told"; the name or "" for all of them.

    Raises:
        NotUnderstood: anything else.
    """
    if words and words[0] == "until":
        return _pause_until(words[1:], now)
    if words and _SPANS.fullmatch(words[0].lower()):
        return now + span(words[0]), _only_name(words[1:])
    return 0.0, _only_name(words)


def limit(text: str) -> int:
    """The most bytes per second: `500k`, `1.5M`, `500kB/s`, `4Mbit`; `off` is 0, which stands for no cap.

    Units are decimal (`KiB` is binary), and bytes unless `bit` is said.

    Raises:
        NotUnderstood: it is none; or a bare number or 0, which people mean in different ways.
    """
    if text.strip().lower() == "off":
        return 0
    if re.fullmatch(r"[\d.]+", text.strip()):
        raise NotUnderstood(_bare(text.strip()))
    match = _RATE.fullmatch(text.strip())
    if not match:
        raise NotUnderstood(f"“{text}” is no limit; write 500k (kB per second), 1.5M, 4Mbit, or off")
    number, unit, binary, kind = match.groups()
    if kind == "b":
        raise NotUnderstood(f"{text}: bits or bytes? Write {number}{unit}bit or {number}{unit}B")
    per_second = float(number) * _POWERS[bool(binary)][unit.lower()]
    if kind and kind.lower().startswith("bit"):
        per_second /= 8
    if not 1000 <= per_second <= 1e12:
        raise NotUnderstood(f"{text} is not between 1 kB and 1 TB per second; to stop sending: slowboat pause")
    return round(per_second)


def _bare(text: str) -> str:
    if not text.strip("0."):
        return "0 could mean no limit or no sending; write `limit off` for the one, `slowboat pause` for the other"
    return f"{text} of what? Write {text}k for {text} kB per second, or {text}kbit"


def _pause_until(words: Sequence[str], now: float) -> tuple[float, str]:
    if not words:
        raise NotUnderstood("until when? Write `slowboat pause until 18:00`")
    if len(words) > 1 and _CLOCK.fullmatch(words[1]):
        return point(f"{words[0]} {words[1]}", now), _only_name(words[2:])
    return point(words[0], now), _only_name(words[1:])


def _only_name(words: Sequence[str]) -> str:
    if len(words) > 1:
        told = phrases.plain(" ".join(words))
        raise NotUnderstood(
            f"“{told}” is too much; write `pause`, `pause 2h`, `pause until 18:00`, and at most one name"
        )
    return words[0] if words else ""


def _clock(text: str, now: float) -> datetime | None:
    match, here = _CLOCK.fullmatch(text.strip()), phrases.local(now)
    if not match or here is None or int(match[1]) > 23 or int(match[2]) > 59:
        return None
    # Without its zone, so that the day after a change of the clocks still begins at its own midnight.
    wall = here.replace(hour=int(match[1]), minute=int(match[2]), second=0, microsecond=0, tzinfo=None)
    return wall if wall.timestamp() > now else wall + timedelta(days=1)


def _date(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError:
        return None
