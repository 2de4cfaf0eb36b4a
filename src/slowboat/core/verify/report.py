"""What a verification sees, and what it says: frozen values. Knows no rule; must not know where they are from."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from slowboat.core.plain import key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slowboat.core.manifest import VolumeInfo
    from slowboat.core.words import Item, RemoteObject, SetId, SourceFile

MOST_FINDINGS = 1000
"""Files that a report names one by one; the counts are of all. Whoever lost more knows enough by then."""


class AtTarget(enum.Enum):
    """What was found of one file in the cloud."""

    RIGHT = "right"  # there, with the size and MD5 that it must have
    NOT_SENT = "not-sent"  # not there, and not yet due
    UNCONFIRMED = "unconfirmed"  # there, in the right size; slowboat has not compared it yet
    REFUSED = "set-aside"  # slowboat could not send it as it is
    MISSING = "missing"  # it had arrived, and is not there any more
    SET_GONE = "set-gone"  # so it is with all of its backup set, of a migration that was done
    REMOVED = "removed"  # its owner has removed its backup set from the cloud, and made a newer one
    OTHER_SIZE = "other-size"
    OTHER_MD5 = "other-md5"
    PARTS_LOST = "parts-lost"  # an SLO of which the server has not all the segments

    @classmethod
    def _missing_(cls, _: object) -> AtTarget:
        """A word of a newer version's."""
        return cls.UNCONFIRMED


class OnDrive(enum.Enum):
    """What was found of one file on the drive."""

    UNKNOWN = "unknown"  # the drive is away
    THERE = "there"  # listed, with the size and time of the day it was adopted
    RIGHT = "right"  # read whole, and right as far as can be known (docs/duplicity.md, "Framing")
    MISSING = "missing"
    CHANGED = "changed"  # another size
    ROTTEN = "rotten"  # read whole, twice, and not what duplicity or slowboat wrote down, or not whole
    UNREADABLE = "unreadable"

    @classmethod
    def _missing_(cls, _: object) -> OnDrive:
        """A word of a newer version's."""
        return cls.UNKNOWN


class Origin(enum.Enum):
    """How a backup set came to the target."""

    SLOWBOAT = "slowboat"
    DUPLICITY = "duplicity"  # straight, after the handover
    UNFINISHED = "unfinished"  # so, and it is under way or was broken off: no backup yet
    OTHER = "other"  # it was there before, or came by another way

    @classmethod
    def _missing_(cls, _: object) -> Origin:
        """A word of a newer version's."""
        return cls.OTHER


WRONG_AT_TARGET = frozenset(
    {
        AtTarget.REFUSED,
        AtTarget.MISSING,
        AtTarget.OTHER_SIZE,
        AtTarget.OTHER_MD5,
        AtTarget.PARTS_LOST,
        AtTarget.SET_GONE,
    }
)
WRONG_ON_DRIVE = frozenset({OnDrive.MISSING, OnDrive.CHANGED, OnDrive.ROTTEN, OnDrive.UNREADABLE})


@dataclass(frozen=True, slots=True)
class Reading:
    """One file, read whole from the drive.

    Attributes:
        md5: of the whole, lower-case hex; "" where something is wrong with it.
        slo_md5: the MD5 that an SLO of it must have, "" where none stands.
        wrong: what is wrong, a phrase that begins with a verb; "" where nothing is.
        unreadable: whether it is the drive that did not give it.
        unhashed: duplicity wrote no SHA-1 of it down, so that its framing alone was looked at.
    """

    md5: str = ""
    slo_md5: str = ""
    wrong: str = ""
    unreadable: bool = False
    unhashed: bool = False


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was seen.

    Attributes:
        at: when the target was listed, seconds since the epoch.
        items: everything adopted, as it was remembered then.
        objects: what stands at the target, by file name (prefix taken off).
        drive: the folder's files by name; None while the drive is away.
        recorded: the SHA-1s in duplicity's manifests, by backup set and volume number.
        lost: the names of SLOs of which the server has not all the segments.
        read: what was read from the drive, by name; None where nothing was to be read.
        finished: whether the migration had been done before.
        removed: the names of objects whose backup set its owner has removed.
        volumes: what duplicity's manifests say, by backup set; None where nobody asked what could be restored.
        under_way: whether duplicity is writing to the target now.
        departed: the names of objects that slowboat sent and that are no longer on the drive: nobody misses them there.
        data_in: a second container, where the data of large files is; "" where there is none such.
    """

    at: float
    items: Sequence[Item]
    objects: Mapping[str, RemoteObject]
    drive: Mapping[str, SourceFile] | None = None
    recorded: Mapping[SetId, Mapping[int, str]] = field(default_factory=dict)
    lost: frozenset[str] = frozenset()
    read: Mapping[str, Reading] | None = None
    finished: bool = False
    removed: frozenset[str] = frozenset()
    volumes: Mapping[SetId, Sequence[VolumeInfo]] | None = None
    under_way: bool = False
    departed: frozenset[str] = frozenset()
    data_in: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One file that is not simply right.

    Attributes:
        set_name: "full" or "inc", and the end of its backup set, seconds since the epoch.
        text: what is the matter, a sentence without a full stop.
    """

    name: str
    set_name: str = field(metadata=key("set"))
    role: str
    size: int = field(metadata=key("bytes"))
    target: AtTarget
    drive: OnDrive
    text: str


@dataclass(frozen=True, slots=True)
class SetReport:
    """One backup set.

    Attributes:
        set_name: "full" or "inc", and when it ends, seconds since the epoch.
        chain: 0 for the newest chain that was adopted, and for what was not adopted.
        origin: whose it is; of what slowboat did not bring, nothing is judged.
        unlisted: volumes that duplicity's manifest names and slowboat has not adopted.
        target, drive: how many files are in which state, by the state's word.
    """

    set_name: str = field(metadata=key("set"))
    chain: int
    files: int
    size: int = field(metadata=key("bytes"))
    files_right: int = 0
    size_right: int = field(default=0, metadata=key("bytes_right"))
    origin: Origin = Origin.SLOWBOAT
    unlisted: int = 0
    target: Mapping[str, int] = field(default_factory=dict)
    drive: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Backup:
    """One backup that duplicity made, and what the cloud lacks of what its restore needs.

    Attributes:
        set_name: of its own backup set; the sets before it in the chain are needed, too.
        chain: 0 for the newest chain that was adopted.
        files_missing: how many files are not there or not right; 0: the cloud alone can restore it.
        volumes_missing: how many of these are volumes.
        size_missing: bytes, as far as known.
    """

    set_name: str = field(metadata=key("set"))
    chain: int
    files_missing: int = 0
    volumes_missing: int = 0
    size_missing: int = field(default=0, metadata=key("bytes_missing"))


@dataclass(frozen=True, slots=True)
class SampleFile:
    """A path of the newest backup that the cloud alone can restore.

    Attributes:
        path: relative to what was backed up.
        set_name: of the newest backup, whose time is to be restored.
        size: bytes that a restore of it fetches: the chain's metadata, and the volumes that may hold it.
        file_prefix: what duplicity was told to put before its files' names.
        encrypted: whether the chain is.
    """

    path: str
    set_name: str = field(metadata=key("set"))
    size: int = field(metadata=key("bytes"))
    file_prefix: str = ""
    encrypted: bool = False


@dataclass(frozen=True, slots=True)
class Sentence:
    """One thing to say: without a full stop; `cure` is "" where nothing needs to be done."""

    text: str
    cure: str = ""
    wrong: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """What the verification found.

    Attributes:
        at: as in `Evidence`.
        deep: whether the drive was to be read.
        drive_seen: whether the drive was there, to the end where it was to be read.
        complete: every file of the migration is in the cloud and right, but for sets that their owner removed.
        ok: nothing is wrong anywhere; files that are still to come are not wrong.
        restorable: the newest chain is in the cloud, whole and right.
        findings: at most MOST_FINDINGS.
        unnamed: how many findings are left out.
        foreign: objects at the target that are no backup of this kind, and nobody's business here.
        backups, samples: what the cloud alone could restore; empty where nobody asked.
    """

    at: float
    deep: bool
    drive_seen: bool
    complete: bool
    ok: bool
    restorable: bool
    sets: tuple[SetReport, ...] = ()
    findings: tuple[Finding, ...] = ()
    unnamed: int = 0
    foreign: int = 0
    sentences: tuple[Sentence, ...] = ()
    backups: tuple[Backup, ...] = ()
    samples: tuple[SampleFile, ...] = ()
