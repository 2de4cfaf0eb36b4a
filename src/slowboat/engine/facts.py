"""Every fact that the ledger keeps besides objects: its key, its type, its default, and its form as text.

Knows how a value is written down and read back; must not know what it is for, nor where it is kept (`memory`). A text
that cannot be read, of another version or a damaged file, counts as the default: the world is asked again.
Keys and forms are a file format: a ledger that an older version wrote must stay readable.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from slowboat.core import capabilities, segmenting
from slowboat.core.capabilities import Capabilities
from slowboat.core.conditions import MODES, Mode
from slowboat.core.removal import Departed
from slowboat.core.segmenting import UplinkEstimate
from slowboat.core.words import HandoverState, Installed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Fact(Generic[T]):
    """One fact.

    Attributes:
        key: its name in the ledger.
        default: its value where nothing is remembered; to remember it is to forget the fact.
        read: from the ledger's text to the value; may raise anything that parsing raises.
        write: from the value to the text.
    """

    key: str
    default: T
    read: Callable[[str], T]
    write: Callable[[T], str]

    def of(self, text: str) -> T:
        """The value that the ledger's text stands for; the default for "" and for what cannot be read."""
        try:
            return self.read(text) if text else self.default
        except (ValueError, LookupError, TypeError, AttributeError, OverflowError):
            return self.default

    def text(self, value: T) -> str:
        """What the ledger keeps of a value; "" for the default."""
        return "" if value == self.default else self.write(value)

    def row(self, value: T) -> tuple[str, str]:
        """Key and text, for many facts in one transaction."""
        return self.key, self.text(value)

    def __getitem__(self, name: str) -> Fact[T]:
        """One of many facts of a kind, whose keys begin with this one's."""
        return replace(self, key=f"{self.key}{name}")


def _text(key: str) -> Fact[str]:
    return Fact(key, "", str, str)


def _number(key: str) -> Fact[float]:
    return Fact(key, 0.0, float, lambda value: repr(float(value)))


def _count(key: str) -> Fact[int]:
    return Fact(key, 0, lambda text: int(float(text)), str)


def _yes(key: str) -> Fact[bool]:
    return Fact(key, False, lambda text: text == "yes", lambda _: "yes")  # noqa: FBT003  # the default, no switch


def _lines(key: str) -> Fact[tuple[str, ...]]:
    return Fact(key, (), lambda text: tuple(text.splitlines()), "\n".join)


def _moment_or_none(key: str) -> Fact[float | None]:
    return Fact(key, None, float, repr)


# -- of all migrations together ("") or of one --------------------------------------------------------------

PAUSED_UNTIL: Final = _moment_or_none("paused_until")
"""Seconds since the epoch; 0.0: until it is resumed; None: not paused."""
PAUSED_AT: Final = _number("paused_at")

LIMIT: Final = _count("limit")
"""The user's cap for now, bytes per second; 0: none."""
LIMIT_UNTIL: Final = _number("limit_until")
"""When LIMIT and MODE end; 0.0: when the user says so."""
MODE: Final[Fact[Mode]] = Fact("mode", "", lambda text: MODES.get(text, ""), str)

# -- the adopted list ---------------------------------------------------------------------------------------

TARGET: Final = _text("target")
"""Where the migration goes; another target means that nothing of what is remembered holds."""
DRIVE: Final = _text("drive")
"""The identity of the adopted drive."""
FINGERPRINT: Final = _text("fingerprint")
"""Of the folder's listing at adoption."""
STARTED_AT: Final = _number("started_at")
FINISHED_AT: Final = _number("finished_at")
"""When one listing showed everything; 0.0: not yet, or not any more."""
PARTED_SET: Final = _count("parted")
"""The end of the newest backup set on the drive that was told of as parted from the cloud."""


DEPARTED: Final[Fact[Mapping[str, Departed]]] = Fact(
    "departed",
    {},
    lambda text: {name: Departed(*row) for name, row in json.loads(text).items()},
    lambda objects: json.dumps({name: [one.size, one.md5, one.since] for name, one in objects.items()}),
)
"""What came from the drive, stands at the target and is no longer on the drive, by name."""

PARTLY: Final[Fact[Mapping[str, int]]] = Fact("partly", {}, lambda text: _counts(json.loads(text)), json.dumps)
"""Bytes that the server has confirmed as segments, by the name of an object that is not done."""


def _counts(row: Mapping[str, int]) -> Mapping[str, int]:
    return {str(name): int(count) for name, count in row.items()}


# -- the line and the server --------------------------------------------------------------------------------

ESTIMATE: Final = Fact("line", UplinkEstimate(), segmenting.parse, UplinkEstimate.text)
CAPABILITIES: Final = Fact("capabilities", Capabilities(), capabilities.parse, Capabilities.text)
"""What the store can do, as its probe has shown."""
PROBED_AT: Final = _number("probed_at")
PROBES: Final = _count("probes")
"""Probes in a row that had no whole answer."""
PROBING: Final = _yes("probing")
"""A probe is under way, or a kill has left what it stored."""
PROBE_AGAIN: Final = _yes("probe_again")
"""What the store can do may not be so any more."""
CRAMPED_AT: Final = _number("cramped_at")
"""When its quota did not hold a copy beside its segments."""
STORE_REPORTED: Final = _text("store_told")
"""What was told of a store that takes no segments."""
DATA_REPORTED: Final = _yes("data_told")
"""That the segments' container holds data was told."""
RETRY_AT: Final = _number("retry_at")
RETRY_ATTEMPTS: Final = _count("retry_attempts")
RETRY_WHY: Final = _text("retry_why")
RETRY_CURE: Final = _text("retry_cure")

# -- the handover -------------------------------------------------------------------------------------------


def _installed(text: str) -> tuple[Installed, ...]:
    return tuple(
        Installed(
            Path(row["directory"]),
            row["url"],
            {name: (size, mtime) for name, (size, mtime) in row["files"].items()},
            row["adopted"],
        )
        for row in json.loads(text)
    )


def _installed_text(installed: Sequence[Installed]) -> str:
    return json.dumps(
        [
            {
                "directory": str(one.directory),
                "url": one.url,
                "files": {name: list(known) for name, known in one.files.items()},
                "adopted": one.adopted,
            }
            for one in installed
        ]
    )


HANDOVER: Final = Fact("handover", HandoverState.PENDING, HandoverState, lambda state: str(state.value))
"""PENDING, DONE or BLOCKED; READY is never remembered, it follows from the rest."""
HANDOVER_WHY: Final = _text("handover_why")
HANDOVER_CODE: Final = _text("handover_code")
HANDOVER_AT: Final = _number("handover_at")
"""When a blocked handover is tried again; infinity: at the user's word."""
INSTALLED: Final[Fact[tuple[Installed, ...]]] = Fact("installed", (), _installed, _installed_text)
INSTALLING: Final = _lines("installing")
"""The URLs whose caches a handover has begun to install."""


@dataclass(frozen=True, slots=True)
class Switched:
    """A switch of Deja Dup's settings: the URL that it uses since, and the settings before and after it, in order."""

    url: str
    before: Mapping[str, str]
    after: Mapping[str, str]


def _switched(text: str) -> Switched | None:
    row = json.loads(text)
    return Switched(row["url"], row["before"], row["after"])


def _switched_text(switched: Switched | None) -> str:
    if switched is None:
        return ""
    return json.dumps({"url": switched.url, "before": dict(switched.before), "after": dict(switched.after)})


FRONT_END: Final[Fact[Switched | None]] = Fact("front_end", None, _switched, _switched_text)

# -- the guard ----------------------------------------------------------------------------------------------

DUPLICITY: Final = _text("duplicity")
"""The name and version of the duplicity that was last told of."""
HARMFUL: Final = _text("harmful")
"""The duplicity that was last told of as dangerous."""
REMOVED_SET: Final = _count("removed")
"""The end of the first backup set that was told of as removed by its owner."""
GONE_SET: Final = _count("gone")
"""The end of the first backup set that was told of as gone after the end."""
DAMAGED: Final = _yes("damaged")
"""Whether it is told now that files disappeared from the target."""
OVERTAKEN: Final = _count("overtaken")
"""The end of the newest full that was seen to be written to the cloud by duplicity itself."""
UNFINISHED: Final = _count("unfinished")
"""The end of the backup set that was told of as broken off."""
CACHES_GONE: Final = _lines("caches_gone")
"""The URLs whose caches were missing at the last look."""
MEND_AT: Final = _number("mend_at")
"""When duplicity's cache is to be made whole; 0.0: it is."""

# -- notices ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Unshown:
    """A notice that no desktop has shown yet."""

    title: str
    text: str
    urgent: bool
    button: str


def _unshown(text: str) -> Unshown | None:
    title, body, urgent, button = json.loads(text)
    return Unshown(title, body, urgent, button)


def _unshown_text(notice: Unshown | None) -> str:
    return json.dumps([notice.title, notice.text, notice.urgent, notice.button]) if notice is not None else ""


UNSHOWN: Final[Fact[Unshown | None]] = Fact("untold ", None, _unshown, _unshown_text)
"""One for each key of a notice."""


SHOWN: Final = _text("shown ")
"""One for each key of a notice: the ticket of what a desktop shows, so that a later run can take it back."""


def table() -> Mapping[str, Fact[Any]]:
    """Every fact by its key."""
    return {fact.key: fact for fact in globals().values() if isinstance(fact, Fact)}
