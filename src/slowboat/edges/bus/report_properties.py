"""What the reports look like on D-Bus, there and back.

Knows which field of a report is which property, and in which unit; must not know how properties travel. One
table serves both directions, so that the command line reads exactly what the daemon shows. Numbers are kept
within their D-Bus type: a negative rate or a time before the epoch would fail the whole answer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from slowboat.core import urls
from slowboat.core.words import Activity, HandoverState, ManagerReport, MigrationReport, Reason
from slowboat.edges.dbus import Variant

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

NAME: Final = "io.github.slowboat.Slowboat1"
ROOT: Final = "/io/github/slowboat/Slowboat1"
MANAGER: Final = f"{NAME}.Manager"
MIGRATION: Final = f"{NAME}.Migration"
MIGRATIONS: Final = f"{ROOT}/migrations"

MAX_U: Final = 2**32 - 1
MAX_T: Final = 2**64 - 1


def path_of(migration: str) -> str:
    """The object path of a migration: bytes but ASCII letters and digits become `_` and two hexadecimal digits.

    As systemd's bus_label_escape does it: a first digit is escaped too, and nothing at all becomes `_`.
    https://www.freedesktop.org/software/systemd/man/latest/sd_bus_path_encode.html
    """

    def letter(place: int, byte: int) -> str:
        char = chr(byte)
        keep = char.isascii() and (char.isalpha() or (char.isdigit() and place > 0))
        return char if keep else f"_{byte:02x}"

    raw = migration.encode("utf-8", "surrogateescape")
    return f"{MIGRATIONS}/{''.join(letter(place, byte) for place, byte in enumerate(raw)) or '_'}"


def count(value: float) -> int:
    """A number as a "t"; what is not finite (a time left at no speed) is not known: 0."""
    return min(max(int(value), 0), MAX_T) if math.isfinite(value) else 0


def small(value: int) -> int:
    """A number as a "u"."""
    return min(max(value, 0), MAX_U)


def to_moment(seconds: float | None) -> int:
    """Microseconds since the epoch; 0 for None and for what lies before it."""
    return count(((seconds or 0.0) * 1e6) + 0.5)


def from_moment(micros: int) -> float:
    """Seconds since the epoch."""
    return micros / 1e6


def to_dict(values: Mapping[str, str | int | bool], signatures: Mapping[str, str]) -> dict[str, Variant]:
    """An `a{sv}` of known keys; each with the type that the XML promises."""
    return {key: Variant(signature, values[key]) for key, signature in signatures.items()}


def _to_why(reasons: Sequence[Reason]) -> list[dict[str, Variant]]:
    return [
        {
            "code": Variant("s", reason.code),
            "text": Variant("s", reason.text),
            "cure": Variant("s", reason.cure),
            "until": Variant("t", to_moment(reason.until)),
            "since": Variant("t", to_moment(reason.since)),
        }
        for reason in reasons
    ]


def _from_why(why: Sequence[Mapping[str, Any]]) -> tuple[Reason, ...]:
    return tuple(
        Reason(
            code=str(each.get("code", "")),
            text=str(each.get("text", "")),
            cure=str(each.get("cure", "")),
            until=from_moment(each["until"]) if each.get("until") else None,
            since=from_moment(each["since"]) if each.get("since") else None,
        )
        for each in why
    )


def _activity(word: str) -> Activity:
    """A word of a newer version's that we do not know says nothing: the field's default."""
    return next((each for each in Activity if each.value == word), Activity.STARTING)


def _handover(word: str) -> HandoverState:
    return next((each for each in HandoverState if each.value == word), HandoverState.PENDING)


@dataclass(frozen=True, slots=True)
class Shown:
    """One property: its name, the report's field, the way there and back, and whether it is a mere counter."""

    name: str
    field: str
    there: Callable[[Any], Any] = str
    back: Callable[[Any], Any] = lambda value: value
    counter: bool = False


_COMMON: Final = (
    Shown("State", "activity", lambda activity: activity.value, _activity),
    Shown("Why", "reasons", _to_why, _from_why),
    Shown("BytesTotal", "bytes_total", count),
    Shown("BytesDone", "bytes_done", count, counter=True),
    Shown("BytesInFlight", "bytes_in_flight", count, counter=True),
    Shown("Progress", "progress", float, counter=True),
    Shown("BytesSent", "bytes_sent", count, counter=True),
    Shown("Rate", "rate", count, counter=True),
    Shown("ExpectedEndTime", "expected_end", to_moment, from_moment, counter=True),
    Shown("LastError", "last_error"),
)

OF_MANAGER: Final = (
    *_COMMON,
    Shown("Version", "version"),
    Shown("Limit", "limit", count),
    Shown("LimitUntil", "limit_until", to_moment, from_moment),
    Shown("Mode", "mode"),
    Shown("Network", "network"),
    Shown("PausedUntil", "paused_until", to_moment, from_moment),
    Shown("Configuration", "configuration"),
    Shown("ConfigurationDigest", "configuration_digest"),
    Shown("AddedDelay", "added_delay", float, counter=True),
)

OF_MIGRATION: Final = (
    *_COMMON,
    Shown("Name", "name"),
    Shown("Source", "source"),
    Shown("TargetUrl", "target_url", urls.without_user),
    Shown("BackupUrl", "backup_url", urls.without_user),
    Shown("FrontEnd", "front_end"),
    Shown("Handover", "handover", lambda handover: handover.value, _handover),
    Shown("HandoverWhy", "handover_why"),
    Shown("MetadataTotal", "metadata_total", small),
    Shown("MetadataDone", "metadata_done", small, counter=True),
    Shown("VolumesTotal", "volumes_total", small),
    Shown("VolumesDone", "volumes_done", small, counter=True),
    Shown("VolumesRefused", "volumes_refused", small),
    Shown("StartTime", "started_at", to_moment, from_moment),
    Shown("RestorableFromCloud", "restorable_from_cloud", bool),
    Shown("CloudHas", "cloud_has"),
    Shown("CloudHasText", "cloud_has_text"),
    Shown("DirectSets", "direct_sets", small),
    Shown("Behind", "behind", small),
    Shown("NewestOnDrive", "newest_on_drive", to_moment, from_moment),
    Shown("NewestInCloud", "newest_in_cloud", to_moment, from_moment),
    Shown("Duplicities", "duplicities", list, tuple),
    Shown("DuplicityDanger", "duplicity_danger"),
    Shown("CurrentObject", "current_object", counter=True),
    Shown("VerifyState", "verify_state"),
    Shown("VerifyProgress", "verify_progress", float, counter=True),
    Shown("VerifyBytesTotal", "verify_bytes", count),
)

COUNTERS: Final = frozenset(shown.name for shown in (*OF_MANAGER, *OF_MIGRATION) if shown.counter)
"""Properties that change as bytes flow: told of at most once a second. All others are told of at once."""


def to_properties(report: ManagerReport | MigrationReport) -> dict[str, Any]:
    """Every property of a report's interface but the manager's Holds: name to a value of the property's type."""
    table = OF_MANAGER if isinstance(report, ManagerReport) else OF_MIGRATION
    properties = {shown.name: shown.there(getattr(report, shown.field)) for shown in table}
    return properties | {"Reasons": [reason.code for reason in report.reasons]}


def to_migration(properties: Mapping[str, Any]) -> MigrationReport:
    """The report that a migration's properties (plain values) show; what is not there keeps its default."""
    return MigrationReport(**{"name": ""} | _fields(OF_MIGRATION, properties))


def to_manager(properties: Mapping[str, Any], migrations: Mapping[str, MigrationReport]) -> ManagerReport:
    """The report that the manager's properties (plain values) and its migrations show."""
    return ManagerReport(**{"version": ""} | _fields(OF_MANAGER, properties), migrations=migrations)


def _fields(table: Sequence[Shown], properties: Mapping[str, Any]) -> dict[str, Any]:
    return {shown.field: shown.back(properties[shown.name]) for shown in table if shown.name in properties}
