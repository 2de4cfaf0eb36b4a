"""Pages of which a part is written by a benchmark, between two marks.

Knows nothing of what the part holds; must not change anything outside the marks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def rewrite(page: Path, begin: str, end: str, part: str) -> None:
    """Puts `part` between the marks, in place of what stands there.

    Args:
        begin, end: the marks, each on a line of its own.
        part: whole lines, the last one with its end of line.

    Raises:
        ValueError: the page lacks the marks.
    """
    before, mark, rest = page.read_text().partition(begin)
    _, closing, after = rest.partition(end)
    if not mark or not closing:
        raise ValueError(f"{page} has no line {begin!r} with {end!r} after it")
    page.write_text(f"{before}{begin}\n{part}{end}{after}")
