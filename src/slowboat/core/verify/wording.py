"""A verification in words: for the person whose backup it is, what is the matter and what would help.

Must not know how a state was found.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slowboat.core.account import keep
from slowboat.core.verify.report import AtTarget, OnDrive, Origin, Sentence

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from slowboat.core.verify.report import Finding, Reading, SetReport

TARGET = {
    AtTarget.UNCONFIRMED: "in the cloud, but not compared yet",
    AtTarget.REFUSED: "slowboat could not send it as it is",
    AtTarget.MISSING: "it had reached the cloud and is gone",
    AtTarget.SET_GONE: "it had reached the cloud and is gone, together with its whole backup set",
    AtTarget.OTHER_SIZE: "another file of that name is in the cloud, of another size",
    AtTarget.OTHER_MD5: "another file of that name is in the cloud, with other contents (MD5)",
    AtTarget.PARTS_LOST: "the cloud has lost parts of it",
}


def on_drive(drive: OnDrive, reading: Reading | None) -> str:
    """What is the matter with a file on the drive, "" where nothing is."""
    if drive is OnDrive.MISSING:
        return "not on the drive any more"
    if drive is OnDrive.CHANGED:
        return "changed on the drive since slowboat read it first"
    return f"on the drive it {reading.wrong}" if reading and reading.wrong else ""


@dataclass(frozen=True, slots=True)
class Whole:
    """What holds for the verification as a whole; the attributes are those of `Report` and `Evidence`."""

    complete: bool
    deep: bool
    drive_seen: bool
    under_way: bool = False
    data_in: str = ""


def sentences(
    judged: Sequence[Finding], sets: Sequence[SetReport], whole: Whole, *, unhashed: int
) -> Iterator[Sentence]:
    """All there is to say, what matters most first; `unhashed`: files of which only the framing could be looked at."""
    yield from _of_the_cloud(Counter(one.target for one in judged), len(judged), complete=whole.complete)
    yield from _of_the_drive(judged, deep=whole.deep, drive_seen=whole.drive_seen, unhashed=unhashed)
    if whole.data_in:
        yield Sentence(keep(whole.data_in))
    if unlisted := sum(one.unlisted for one in sets):
        yield Sentence(
            f"duplicity's manifests name {_files(unlisted, 'volume')} that slowboat does not know",
            "Make a new full backup: this one is incomplete",
            wrong=True,
        )
    if direct := [one for one in sets if one.origin is Origin.DUPLICITY]:
        yield Sentence(
            f"{_files(len(direct), 'backup set')} in the cloud came straight from duplicity; "
            "slowboat leaves those to `duplicity verify`"
        )
    if unfinished := sum(one.origin is Origin.UNFINISHED for one in sets):
        yield _of_the_unfinished(unfinished, under_way=whole.under_way)
    if extra := sum(one.files for one in sets if one.origin is Origin.OTHER):
        yield Sentence(
            f"{_files(extra)} of older backups in the cloud did not come from slowboat; it leaves them alone"
        )


def _of_the_unfinished(count: int, *, under_way: bool) -> Sentence:
    """What duplicity has begun at the target: no backup yet, and where nobody is at work on it, none ever."""
    backups = f"{count} backups" if count > 1 else "1 backup"
    if under_way:
        return Sentence(f"duplicity is writing {backups} straight to the cloud now")
    was = "were" if count > 1 else "was"
    return Sentence(
        f"{backups} that duplicity began in the cloud {was} interrupted, and nothing can be restored from there",
        "What to do depends on duplicity's version. See: slowboat history",
    )


def _of_the_cloud(counts: Mapping[AtTarget, int], files: int, *, complete: bool) -> Iterator[Sentence]:
    right = counts.get(AtTarget.RIGHT, 0)
    if complete:
        yield Sentence(
            f"All {_files(files)} are in the cloud and correct" if files > 1 else "It is in the cloud and correct"
        )
    else:
        yield Sentence(f"{right:,} of {_files(files)} {'is' if right == 1 else 'are'} in the cloud and correct")
    if still := counts.get(AtTarget.NOT_SENT, 0):
        yield Sentence(f"{_files(still)} {_is(still)} still to be sent", "Keep the drive until they have arrived")
    if doubtful := counts.get(AtTarget.UNCONFIRMED, 0):
        yield Sentence(
            f"{_files(doubtful)} in the cloud {_is(doubtful)} not compared yet",
            "slowboat does that when it gets to them. To do it now: slowboat verify --deep",
        )
    if removed := counts.get(AtTarget.REMOVED, 0):
        yield Sentence(f"{_files(removed)} {_is(removed)} part of backups that have since been removed from the cloud")
    for state, (text, cure) in _WRONG.items():
        if count := counts.get(state, 0):
            yield Sentence(text.format(files=_files(count), are=_is(count)), cure, wrong=True)


_WRONG = {
    AtTarget.MISSING: (
        "{files} had arrived, and {are} no longer in the cloud",
        "slowboat sends what is missing again: connect the drive and let it run",
    ),
    AtTarget.SET_GONE: (
        "{files} {are} gone from the cloud together with the whole backup set",
        "If you removed that backup, all is well. If not, connect the drive, then run: slowboat retry",
    ),
    AtTarget.OTHER_SIZE: (
        "{files} in the cloud {are} not what was sent: the size differs",
        "slowboat overwrites nothing. Move or remove the object in the cloud, then run: slowboat retry",
    ),
    AtTarget.OTHER_MD5: (
        "{files} in the cloud {are} not what was sent: the contents differ (MD5)",
        "slowboat overwrites nothing. Move or remove the object in the cloud, then run: slowboat retry",
    ),
    AtTarget.PARTS_LOST: (
        "the cloud has lost parts of {files}",
        "Remove the object in the cloud, then run: slowboat retry",
    ),
    AtTarget.REFUSED: (
        "{files} could not be sent, and {are} not in the cloud",
        "The list below says why. Fix what can be fixed, then run: slowboat retry",
    ),
}


def _of_the_drive(judged: Sequence[Finding], *, deep: bool, drive_seen: bool, unhashed: int) -> Iterator[Sentence]:
    away = not judged or any(one.drive is OnDrive.UNKNOWN for one in judged)
    if away and deep:
        yield Sentence(
            "The drive is not connected, so it could not be read", "Connect it and run this again", wrong=True
        )
    elif away:
        yield Sentence("The drive is not connected, so only the cloud was checked")
    elif deep and not drive_seen:
        yield Sentence(
            "The drive was disconnected before all of it was read", "Connect it and run this again", wrong=True
        )
    bad = [one for one in judged if one.drive in (OnDrive.ROTTEN, OnDrive.UNREADABLE)]
    gone = [one for one in judged if one.drive in (OnDrive.MISSING, OnDrive.CHANGED)]
    yield from _lost_or_not(bad, "damaged on the drive", safe_is_wrong=True)
    yield from _lost_or_not(gone, "gone from the drive, or changed there", safe_is_wrong=False)
    if deep and drive_seen and not bad:
        yield Sentence(_all_read(sum(one.drive is OnDrive.RIGHT for one in judged) - unhashed, unhashed))


def _all_read(hashed: int, unhashed: int) -> str:
    """What a reading of the whole drive has shown, and no more: a file may be whole and still not what it was."""
    begin = "Everything on the drive was read"
    if not unhashed:
        return f"{begin}, and is what duplicity wrote"
    whole = f"{_files(unhashed)} without a checksum of duplicity's {_is(unhashed)} intact as far as the format tells"
    known = f"{_files(hashed, 'volume')} {_is(hashed)} what duplicity wrote; " if hashed else ""
    return f"{begin}: {known}{whole}"


def _lost_or_not(files: Sequence[Finding], what: str, *, safe_is_wrong: bool) -> Iterator[Sentence]:
    """What is wrong on the drive is a loss only where the cloud has no right copy of it."""
    safe = sum(one.target is AtTarget.RIGHT for one in files)
    lost = len(files) - safe
    if safe:
        cure = "The drive is failing: do not rely on it" if safe_is_wrong else ""
        yield Sentence(
            f"{_files(safe)} {_is(safe)} {what}; in the cloud {_they(safe)} intact", cure, wrong=safe_is_wrong
        )
    if lost:
        yield Sentence(
            f"{_files(lost)} {_is(lost)} {what}, and not in the cloud either",
            "What they hold cannot be restored from this backup: make a new full backup while the originals still "
            "exist",
            wrong=True,
        )


def _files(count: int, noun: str = "file") -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _is(count: int) -> str:
    return "is" if count == 1 else "are"


def _they(count: int) -> str:
    return "it is" if count == 1 else "they are"
