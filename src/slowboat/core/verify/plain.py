"""A report in plain values and stable words, there and back: what D-Bus and `--json` carry.

docs/dbus.md has the keys. Knows what is reckoned from a report besides its fields (sums, whether a backup can be
restored); must not know how values travel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slowboat.core.plain import from_plain, to_plain
from slowboat.core.verify.report import Origin, Report

if TYPE_CHECKING:
    from collections.abc import Mapping


def as_dict(report: Report) -> dict[str, Any]:
    """The report in dicts, lists, texts, whole numbers and truths; `at` in seconds since the epoch."""
    adopted = [one for one in report.sets if one.origin is Origin.SLOWBOAT]
    backups = [{**to_plain(one), "restorable": not one.files_missing} for one in report.backups]
    return {
        **to_plain(report),
        "backups": backups,
        "files": sum(one.files for one in adopted),
        "bytes": sum(one.size for one in adopted),
        "files_right": sum(one.files_right for one in adopted),
        "bytes_right": sum(one.size_right for one in adopted),
    }


def from_dict(plain: Mapping[str, Any]) -> Report:
    """The report that `as_dict` made plain; a word of a newer version's that is not known here counts as not known."""
    return from_plain(Report, plain)
