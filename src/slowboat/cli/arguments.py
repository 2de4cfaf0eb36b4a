"""What a person types: `2h`, `until 18:00`, `500k`.

Pure: text in, numbers out. Whatever could mean two things is refused with both of them named, for a wrong guess
here fills an uplink or stops a backup for days.

Knows how people write times, spans and rates; must not know what is done with them.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from slowboat.cli import phrases
from slowboat.core.conditions import FASTEST, LONGEST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slowboat.core.conditions import Mode

_SPAN = re.compile(r"(\d+(?:\.\d+)?)(d|h|min|m|s)")
_SPANS = re.compile(rf"(?:{_SPAN.pattern})+")
_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "min": 60.0, "s": 1.0}
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
        raise NotUnderstood(f"“{text}” is not a duration; write 30min, 2h, 1h30m or 2d")
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in _SPAN.findall(word))
    if not 0 < seconds <= LONGEST:
        raise NotUnderstood(f"“{text}” must be more than zero and at most a year")
    return float(seconds)


def point(text: str, now: float) -> float:
    """A local time as seconds since the epoch: `18:00` (the next one), `2026-11-24`, `2026-11-24 18:00`.

    Raises:
        NotUnderstood: it is none, it is past, or it is beyond a year.
    """
    when = _clock(text, now) or _date(text)
    if when is None:
        raise NotUnderstood(f"“{text}” is not a time; write 18:00 or 2026-11-24 18:00")
    try:
        seconds = when.timestamp()
    except (OverflowError, OSError, ValueError):  # a year that this machine's calendar does not reach
        seconds = 0.0
    if not 0 < seconds - now <= LONGEST:
        raise NotUnderstood(f"{text} has passed, or is more than a year ahead")
    return seconds


def since(text: str, now: float) -> float:
    """A time in the past as seconds since the epoch: `3h` (ago), `yesterday`, `18:00` (the last one), `2026-11-24`.

    Raises:
        NotUnderstood: it is none of these, or still to come.
    """
    word = text.strip().lower()
    if _SPANS.fullmatch(word):
        return now - span(word)
    when = _midnight(word, now) or _last_clock(word, now) or _date(text)
    if when is None:
        raise NotUnderstood(f"“{text}” is not a time; write 2d, 3h, yesterday, 18:00 or 2026-11-24")
    try:
        seconds = when.timestamp()
    except (OverflowError, OSError, ValueError):  # a year that this machine's calendar does not reach
        seconds = 0.0
    if seconds > now:
        raise NotUnderstood(f"{text} is in the future")
    return max(0.0, seconds)


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


def limit(text: str) -> tuple[int, Mode]:
    """What follows `slowboat limit`: a rate as in the configuration (`500k`, `1.5M`, `4Mbit`), `spare`, `go` or `off`.

    Returns:
        (rate, mode): the most bytes per second, 0 for no cap; and "spare", "go", or "" for neither. `off` is (0, "").

    Raises:
        NotUnderstood: it is none; or 0, which people mean in two ways.
    """
    from slowboat.core.conditions import MODES

    word = text.strip().lower()
    return (0, MODES.get(word, "")) if word == "off" or word in MODES else (_rate(text), "")


def _rate(text: str) -> int:
    from slowboat.edges.settings.amounts import parse_rate

    if text.strip() and not text.strip().strip("0."):
        raise NotUnderstood("0 is not a limit; write `slowboat limit off` for none, `slowboat pause` to send nothing")
    try:
        rate = parse_rate(text)
    except ValueError as error:
        raise NotUnderstood(f"{error}; or spare, go, or off to remove the limit") from None
    if rate > FASTEST:
        raise NotUnderstood(f"{text} is faster than any connection; to remove the limit: slowboat limit off")
    return rate


def _pause_until(words: Sequence[str], now: float) -> tuple[float, str]:
    if not words:
        raise NotUnderstood("until when? Write `slowboat pause until 18:00`")
    if len(words) > 1 and _CLOCK.fullmatch(words[1]):
        return point(f"{words[0]} {words[1]}", now), _only_name(words[2:])
    return point(words[0], now), _only_name(words[1:])


def _only_name(words: Sequence[str]) -> str:
    if len(words) > 1:
        printable = phrases.plain(" ".join(words))
        raise NotUnderstood(
            f"“{printable}” is not understood; write `pause`, `pause 2h`, `pause until 18:00`, and at most one name"
        )
    return words[0] if words else ""


def _clock(text: str, now: float) -> datetime | None:
    match, here = _CLOCK.fullmatch(text.strip()), phrases.local(now)
    if not match or here is None or int(match[1]) > 23 or int(match[2]) > 59:
        return None
    # Without its zone, so that the day after a change of the clocks still begins at its own midnight.
    wall = here.replace(hour=int(match[1]), minute=int(match[2]), second=0, microsecond=0, tzinfo=None)
    return wall if wall.timestamp() > now else wall + timedelta(days=1)


def _last_clock(text: str, now: float) -> datetime | None:
    """The last time the clock showed that."""
    coming = _clock(text, now)
    return coming - timedelta(days=1) if coming is not None else None


def _midnight(word: str, now: float) -> datetime | None:
    """The local midnight with which `today` or `yesterday` began."""
    here = phrases.local(now)
    if here is None or word not in {"today", "yesterday"}:
        return None
    begun = here.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    return begun if word == "today" else begun - timedelta(days=1)


def _date(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError:
        return None
