"""Rates, sizes, weekdays and hours as people write them."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

from slowboat.core.conditions import SLOWEST

_SCALES: Final = {
    "": 1,
    "k": 1000,
    "m": 1000**2,
    "g": 1000**3,
    "t": 1000**4,
    "ki": 1024,
    "mi": 1024**2,
    "gi": 1024**3,
    "ti": 1024**4,
}
"""Decimal and binary prefixes as IEC 80000-13 has them; capital and small letters are the same."""

_AMOUNT: Final = re.compile(
    r"\s*(?P<number>[0-9]{1,15}(?:\.[0-9]{1,9})?)\s*(?P<scale>(?:[kmgt]i?)?)(?P<unit>bits?|bytes?|b)?"
    r"(?P<per>/s|ps)?\s*",
    re.IGNORECASE,
)

WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def parse_rate(text: str | int) -> int:
    """A rate in bytes per second: "500k", "1.5M", "200 KiB/s", "4 Mbit/s", "4 Mbps", or a number of bytes.

    Raises:
        ValueError: it is none; the message says what is wrong and what would be right.
    """
    rate = _amount(text, "rate", "500k, 1.5M, 200KiB/s or 4Mbit/s")
    if rate < SLOWEST:
        raise ValueError(f"{text!r} is less than {SLOWEST} bytes per second; did you mean {text}k?")
    return rate


def parse_size(text: str | int) -> int:
    """A size in bytes: "500M", "1.5G", "200MiB", or a number of bytes.

    Raises:
        ValueError: it is none; the message says what is wrong and what would be right.
    """
    return _amount(text, "size", "500M, 20G or 200MiB")


def _amount(text: str | int, what: str, right: str) -> int:
    match = _AMOUNT.fullmatch(str(text))
    if match is None or isinstance(text, bool) or (what == "size" and match["per"]):
        raise ValueError(f"{text!r} is not a {what}; write it like {right}")
    unit = match["unit"] or ""
    per = match["per"] or ""
    bits = unit.lower().startswith("bit") or (unit == "b" and per.lower() == "ps")
    if unit == "b" and not bits:
        number = match["number"] + match["scale"]
        raise ValueError(f"{text!r} may mean bits or bytes; write {number}B{per} or {number}bit{per}")
    scaled = Decimal(match["number"]) * _SCALES[match["scale"].lower()]
    return int(scaled / 8 if bits else scaled)


def parse_days(text: str) -> frozenset[int]:
    """Weekdays, Monday is 0: "mon-fri", "sat,sun", "fri-mon", "daily".

    Raises:
        ValueError: they are none.
    """
    if text.strip().lower() in {"daily", "all", "*"}:
        return frozenset(range(7))
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        start = _weekday(first, text)
        end = _weekday(last, text) if dash else start
        found.update((start + step) % 7 for step in range((end - start) % 7 + 1))
    return frozenset(found)


def _weekday(word: str, text: str) -> int:
    """A weekday by at least three of its letters."""
    word = word.strip().lower()
    for number, name in enumerate(WEEKDAYS):
        if len(word) >= 3 and name.startswith(word):
            return number
    raise ValueError(f'{text!r} are no weekdays; write them like "mon-fri" or "sat,sun"')


def parse_minute(text: str) -> int:
    """Minutes since midnight of "HH:MM", "24:00" included.

    Raises:
        ValueError: it is no time of day.
    """
    match = re.fullmatch(r"\s*([0-9]{1,2}):([0-9]{2})\s*", text)
    if match is not None:
        hour, minute = int(match[1]), int(match[2])
        if (hour <= 23 and minute <= 59) or (hour, minute) == (24, 0):
            return hour * 60 + minute
    raise ValueError(f'{text!r} is not a time of day; write it like "22:00"')
