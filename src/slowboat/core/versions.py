"""Which duplicity does what at a target that has all metadata and not yet all volumes: a table, and its verdicts.

Knows the ranges of versions and what to tell the user of each; must not know which duplicity there is, nor how it is
asked. docs/duplicity-versions.md is made from this table. Each row was read in duplicity's source and tried with the
real program (`contrib/bench versions`).
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence


class Verdict(enum.Enum):
    """What slowboat does with a version, from the best to the worst."""

    FINE = "fine"
    NOISY = "noisy"  # as fine, but it complains of what is still on its way
    UNKNOWN = "unknown"  # hand over, say so, and look closely
    RISKY = "risky"  # hand over, and look closely
    WAIT = "wait"  # no handover before the last volume is there


@dataclass(frozen=True, slots=True)
class Version:
    """A version as numbers; `development` where it is one on the way to that number."""

    numbers: tuple[int, ...]
    development: bool = False

    def __str__(self) -> str:
        return ".".join(map(str, self.numbers)) + (" (a development version)" if self.development else "")


@dataclass(frozen=True, slots=True)
class Advice:
    """One row: a range of versions and what holds for it.

    Attributes:
        first, last: the versions that the range begins and ends with, in words; both "" for a version not known.
        incremental: what an incremental does while volumes are missing.
        beside: what it does where the remains of a backup that was broken off stand beside the chain as well.
        danger: what can go wrong; "" where nothing is known.
        helps: the user's way out, a sentence without a full stop; "" where none is needed.
        stray: what helps against an unfinished backup in the cloud, a sentence without a full stop.
        source: where duplicity itself says so.
    """

    first: str
    last: str
    verdict: Verdict
    incremental: str
    beside: str
    danger: str
    helps: str
    stray: str
    source: str

    @property
    def versions(self) -> str:
        """The range in words: "3.0.6 to 3.0.6.1"."""
        if not self.first:
            return "any other, or not known"
        return self.first if self.first == self.last else f"{self.first} to {self.last}"

    @property
    def observe_often(self) -> bool:
        """Whether the target is looked at more often while volumes are missing."""
        return self.verdict in (Verdict.RISKY, Verdict.UNKNOWN, Verdict.WAIT)


_SOURCE: Final = "https://gitlab.com/duplicity/duplicity/-/blob"
_CLEAN_UP: Final = "Run `duplicity cleanup --force {url}`: it removes what is left of that backup and nothing else"
_NO_CLEAN_UP: Final = (
    "Do not run `duplicity cleanup` with this version: it would remove the whole backup. Update duplicity first, "
    "then run `duplicity cleanup --force {url}`"
)

WORKS: Final = "works"
REFUSES: Final = "refuses (exit code 17), and loses nothing"
DESTROYS: Final = "**destroys the chain**"

TABLE: Final = (
    Advice(
        "0.6.14",
        "3.0.5.1",
        Verdict.FINE,
        "works, silently",
        WORKS,
        "",
        "",
        _CLEAN_UP,
        f"{_SOURCE}/rel.3.0.5.1/duplicity/dup_collections.py (BackupSet.is_complete: a manifest is enough)",
    ),
    Advice(
        "3.0.6",
        "3.0.6.1",
        Verdict.WAIT,
        'refuses: "the last backup chain has missing difftar volumes"',
        REFUSES,
        "`duplicity cleanup --force` deletes the manifest and all volumes of every backup set that lacks a volume (and "
        "without its cache it reads no encrypted backup, whole or not)",
        "Update duplicity to 3.0.6.2 or newer; otherwise the handover happens by itself once the last volume is there",
        _NO_CLEAN_UP,
        f"{_SOURCE}/rel.3.0.6/duplicity/dup_collections.py (CollectionsStatus.get_sorted_sets asks for every volume)",
    ),
    Advice(
        "3.0.6.2",
        "3.0.7",
        Verdict.NOISY,
        "works, then complains of missing volumes",
        REFUSES,
        'Deja Dup shows the complaint ("You must run a full backup as the next backup") as a failure; nothing is lost',
        "There is nothing to do: the complaint ends once the last volume is there",
        _CLEAN_UP,
        f"{_SOURCE}/rel.3.0.7/duplicity/dup_collections.py (get_sorted_sets: not at the first look, but at the last)",
    ),
    Advice(
        "3.1.0",
        "3.1.0",
        Verdict.FINE,
        "works, silently",
        REFUSES,
        "",
        "",
        _CLEAN_UP,
        f"{_SOURCE}/rel.3.1.0/duplicity/dup_collections.py",
    ),
    Advice(
        "3.2.0",
        "3.2.1",
        Verdict.RISKY,
        "works, silently",
        DESTROYS,
        "where an interrupted full backup has left volumes without a manifest in the cloud, and duplicity's "
        "cache of it is lost, the next backup of any kind deletes every backup set that lacks a volume, and the cache "
        "with it; unless it was told to be incremental, it then makes a new full backup without saying so (what an "
        "interrupted incremental leaves behind does no harm)",
        "slowboat looks for such remains every quarter of an hour, tells you of them, and puts back from the drive "
        "whatever duplicity deletes anyway",
        _CLEAN_UP,
        "https://gitlab.com/duplicity/duplicity/-/commit/3f0ab55b (do_backup deletes a last set without a manifest, "
        "then looks again, at every volume)",
    ),
)
"""By version, rising and without overlap. What lies between two rows belongs to the former, as a later release of it;
before the first and after the last nothing was tried."""

NOT_KNOWN: Final = Advice(
    "",
    "",
    Verdict.UNKNOWN,
    "not known",
    "not known",
    "not known",
    "slowboat hands over, looks at the cloud every quarter of an hour, and puts back from the drive whatever "
    "disappears",
    "Run `duplicity cleanup {url}` without --force first: it lists what it would remove, which must be what is left "
    "of that backup and nothing else",
    "",
)

_VERSION_LINE: Final = re.compile(
    r"^duplicity\s+v?(?P<numbers>\d{1,6}(?:\.\d{1,6}){1,4})(?P<more>[.+-]?[a-z][^\s]*)?(?:\s|$)", re.MULTILINE
)
"""`duplicity --version`: "duplicity 0.8.22", "duplicity 3.2.1 September 28, 2026", "duplicity 3.0.8.dev6 ..."; a git
checkout says "duplicity $version" up to 2.x."""


def parse(output: str) -> Version | None:
    """The version in what `duplicity --version` printed; None where it names none."""
    found = _VERSION_LINE.search(output)
    if found is None:
        return None
    return Version(tuple(map(int, found["numbers"].split("."))), development=bool(found["more"]))


@dataclass(frozen=True, slots=True)
class Installation:
    """One duplicity on a machine.

    Attributes:
        where: its path, or the Flatpak or Snap that brings it.
        output: what it says of its version; "" where it printed nothing.
    """

    where: str
    output: str

    @property
    def name(self) -> str:
        """For people: "duplicity 3.2.1 (/usr/bin/duplicity)"."""
        return f"{self.short} ({self.where})"

    @property
    def short(self) -> str:
        """For people, where there is no other: "duplicity 3.2.1"."""
        version = parse(self.output)
        return f"duplicity {version}" if version else "a duplicity of unknown version"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What holds for a machine: its worst duplicity decides, for slowboat cannot know which one will be run.

    Attributes:
        advice: the row of the worst.
        name: the worst, for people.
        names: all of them, for people; () where none was found.
    """

    advice: Advice
    name: str
    names: tuple[str, ...] = ()


def judge(installed: Sequence[Installation]) -> Judgement:
    """Total: where none is found it is not known; of two that are equally bad the first counts."""
    if not installed:
        return Judgement(NOT_KNOWN, "a duplicity of unknown version")
    advices = {one: verdict(parse(one.output)) for one in installed}
    worst = max(installed, key=lambda one: _WORSE.index(advices[one].verdict))
    name = worst.short if len(installed) == 1 else worst.name
    return Judgement(advices[worst], name, tuple(dict.fromkeys(one.name for one in installed)))


def verdict(version: Version | None) -> Advice:
    """What holds for a version. Total: what no row is for is not known.

    A development version may still be what came before: the worse of both holds.
    """
    if version is None:
        return NOT_KNOWN
    own = _row(version.numbers)
    if not version.development:
        return _advice(own)
    first = _advice(own).first
    begins = not first or _padded(_numbers(first)) == _padded(version.numbers)
    both = (_advice(own - 1 if begins else own), _advice(own))
    return max(both, key=lambda advice: _WORSE.index(advice.verdict))


_WORSE: Final = tuple(Verdict)


def _row(numbers: tuple[int, ...]) -> int:
    """The place of the row for that version; -1 before the first, the table's length after the last."""
    if _padded(numbers) > _padded(_numbers(TABLE[-1].last)):
        return len(TABLE)
    return sum(_padded(_numbers(row.first)) <= _padded(numbers) for row in TABLE) - 1


def _advice(row: int) -> Advice:
    return TABLE[row] if 0 <= row < len(TABLE) else NOT_KNOWN


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))


def _padded(numbers: tuple[int, ...]) -> tuple[int, ...]:
    """3.0.4 and 3.0.4.0 are one version."""
    return (*numbers, 0, 0, 0, 0, 0)[:5]
