"""The rules: from what was seen of a file to its state, and from the files to the report. Pure and total.

Must not know how anything is asked for or read, nor in which words it is told.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from slowboat.core import account, names
from slowboat.core.account import AccountBasis
from slowboat.core.direct import GONE, REMOVED, direct_sets, sets_gone
from slowboat.core.roster import is_gone
from slowboat.core.verify import restorable, wording
from slowboat.core.verify.report import (
    MOST_FINDINGS,
    WRONG_AT_TARGET,
    WRONG_ON_DRIVE,
    AtTarget,
    Finding,
    OnDrive,
    Origin,
    Report,
    SetReport,
)
from slowboat.core.verify.wording import Whole
from slowboat.core.words import Phase

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from slowboat.core.verify.report import Evidence, Reading
    from slowboat.core.words import Item, RemoteObject, SetId, SourceFile


def set_name(set_id: SetId) -> str:
    """A backup set for programs: its type, and when it ends, seconds since the epoch."""
    return f"{set_id.type.value} {set_id.end}"


def verify(seen: Evidence) -> Report:
    """Judges every file, and puts it all in words. Total: whatever was seen has a report."""
    # A set of which nothing is left may have been removed, but only after the end: before it, files are still to come.
    gone = sets_gone(seen.items, seen.objects) if seen.finished else frozenset()
    judged = [_judged(item, seen, gone) for item in seen.items]
    found = [one for one in judged if _tells(one)]
    extra, foreign = _extra(seen)
    sets = (*_adopted_sets(judged, seen), *extra)
    taken = account.take(AccountBasis(_as_found(seen.items, judged), finished=seen.finished))
    deep, drive_seen = seen.read is not None, _saw_the_drive(seen, judged)
    right = frozenset(one.name for one in judged if one.target is AtTarget.RIGHT)
    unhashed = sum(one.unhashed for one in (seen.read or {}).values())
    whole = Whole(taken.complete, deep=deep, drive_seen=drive_seen, under_way=seen.under_way, data_in=seen.data_in)
    sentences = tuple(wording.sentences(judged, sets, whole, unhashed=unhashed))
    return Report(
        at=seen.at,
        deep=deep,
        drive_seen=drive_seen,
        complete=taken.complete,
        ok=not any(sentence.wrong for sentence in sentences),
        restorable=taken.restorable,
        sets=sets,
        findings=tuple(found[:MOST_FINDINGS]),
        unnamed=max(0, len(found) - MOST_FINDINGS),
        foreign=foreign,
        sentences=sentences,
        backups=() if seen.volumes is None else restorable.backups(seen.items, right, seen.removed, seen.volumes),
        samples=() if seen.volumes is None else restorable.samples(seen.items, right, seen.volumes),
    )


def _saw_the_drive(seen: Evidence, judged: Iterable[Finding]) -> bool:
    """Whether the drive was there; where it was to be read whole, to the end."""
    if seen.drive is None:  # it was away
        return False
    return seen.read is None or not _interrupted(judged)


def _as_found(items: Iterable[Item], judged: Iterable[Finding]) -> tuple[Item, ...]:
    """The items as they would be remembered had this verification been asked for each: for the account."""
    return tuple(
        replace(item, phase=phase, error=error or item.error)
        for item, (phase, error) in zip(items, (_PHASES.get(one.target, _TO_COME) for one in judged), strict=True)
    )


_TO_COME = (Phase.QUEUED, "")
_PHASES = {
    AtTarget.RIGHT: (Phase.DONE, ""),
    AtTarget.REMOVED: (Phase.REFUSED, REMOVED),
    AtTarget.SET_GONE: (Phase.REFUSED, GONE),
    AtTarget.REFUSED: (Phase.REFUSED, ""),
}


def damaged(seen: Evidence) -> Mapping[str, AtTarget]:
    """The objects that were taken for done and are not, though a listing shows them as they should be.

    These are SLOs, of which a listing shows little: the others every look at the target finds by itself.
    """
    slos = {name for name, stands in seen.objects.items() if stands.slo}
    done = [item for item in seen.items if item.phase is Phase.DONE and item.name in slos]
    found = {item.name: _judged(item, seen, frozenset()).target for item in done}
    return {name: target for name, target in found.items() if target in WRONG_AT_TARGET}


def _judged(item: Item, seen: Evidence, gone: frozenset[SetId]) -> Finding:
    reading = (seen.read or {}).get(item.name)
    target = _at_target(item, seen.objects.get(item.name), reading, lost=item.name in seen.lost)
    if target is AtTarget.MISSING and item.set_id in gone:
        target = AtTarget.SET_GONE
    if target in _ABSENT and item.name in seen.removed:
        target = AtTarget.REMOVED
    drive = _on_drive(item, seen.drive, reading)
    text = "; ".join(filter(None, (wording.TARGET.get(target, ""), wording.on_drive(drive, reading))))
    if target is AtTarget.REFUSED:
        text = item.error or text
    return Finding(item.name, set_name(item.set_id), item.role.value, item.file.size, target, drive, text)


_ABSENT = frozenset({AtTarget.MISSING, AtTarget.SET_GONE, AtTarget.REFUSED, AtTarget.NOT_SENT})


def _at_target(item: Item, stands: RemoteObject | None, reading: Reading | None, *, lost: bool) -> AtTarget:
    if stands is None:
        if is_gone(item):
            return AtTarget.SET_GONE
        absent = {Phase.DONE: AtTarget.MISSING, Phase.REFUSED: AtTarget.REFUSED}
        return absent.get(item.phase, AtTarget.NOT_SENT)
    if stands.size != item.file.size:
        return AtTarget.OTHER_SIZE
    if stands.slo:
        return _slo_at_target(item, stands, reading, lost=lost)
    known = (reading.md5 if reading else "") or item.md5
    if not known:
        return AtTarget.UNCONFIRMED
    return AtTarget.RIGHT if known == stands.md5 else AtTarget.OTHER_MD5


def _slo_at_target(item: Item, stands: RemoteObject, reading: Reading | None, *, lost: bool) -> AtTarget:
    """An SLO's ETag is the MD5 of its segments' MD5s: held against what was confirmed, or a reading of the drive."""
    if lost:
        return AtTarget.PARTS_LOST
    known = (reading.slo_md5 if reading else "") or item.slo_md5
    if not known:  # its size alone says nothing
        return AtTarget.UNCONFIRMED
    return AtTarget.RIGHT if known == stands.md5 else AtTarget.OTHER_MD5


def _on_drive(item: Item, drive: Mapping[str, SourceFile] | None, reading: Reading | None) -> OnDrive:
    if drive is None:
        return OnDrive.UNKNOWN
    file = drive.get(item.name)
    if file is None:
        return OnDrive.MISSING
    if file.size != item.file.size:
        return OnDrive.CHANGED
    if reading is None:
        return OnDrive.THERE
    if reading.wrong:
        return OnDrive.UNREADABLE if reading.unreadable else OnDrive.ROTTEN
    return OnDrive.RIGHT


def _tells(one: Finding) -> bool:
    return one.target in WRONG_AT_TARGET or one.target is AtTarget.UNCONFIRMED or one.drive in WRONG_ON_DRIVE


def _interrupted(judged: Iterable[Finding]) -> bool:
    """Of a deep verification: whether a file that is there was not read."""
    return any(one.drive is OnDrive.THERE for one in judged)


def _adopted_sets(judged: Sequence[Finding], seen: Evidence) -> Iterator[SetReport]:
    members: dict[SetId, list[tuple[Item, Finding]]] = {}
    for item, one in zip(seen.items, judged, strict=True):
        members.setdefault(item.set_id, []).append((item, one))
    order = sorted(members, key=lambda each: (members[each][0][0].chain, each))
    for set_id in order:
        pairs = members[set_id]
        right = [one.size for _, one in pairs if one.target is AtTarget.RIGHT]
        yield SetReport(
            set_name=set_name(set_id),
            chain=pairs[0][0].chain,
            files=len(pairs),
            size=sum(one.size for _, one in pairs),
            files_right=len(right),
            size_right=sum(right),
            unlisted=_unlisted([item for item, _ in pairs], seen.recorded.get(set_id, {})),
            target=Counter(one.target.value for _, one in pairs),
            drive=Counter(one.drive.value for _, one in pairs),
        )


def _unlisted(items: Iterable[Item], recorded: Mapping[int, str]) -> int:
    parsed = [names.parse(item.name) for item in items]
    return len(recorded.keys() - {one.volume for one in parsed if one is not None})


def _extra(seen: Evidence) -> tuple[tuple[SetReport, ...], int]:
    """What stands at the target and was not adopted: by set, and how many objects are no such backup at all."""
    known = {item.name for item in seen.items} | seen.departed
    ours = {parsed.prefix for item in seen.items if (parsed := names.parse(item.name))}
    end = max((item.set_id.end for item in seen.items), default=0)
    whole = frozenset(direct_sets(seen.items, seen.objects.keys(), seen.departed).whole)
    sizes: dict[SetId, list[int]] = {}
    foreign = 0
    for name, stands in seen.objects.items():
        parsed = names.parse(name)
        if name in known:
            continue
        if parsed is None or parsed.prefix not in ours:
            foreign += 1
        else:
            sizes.setdefault(parsed.set_id, []).append(stands.size)
    sets = [
        SetReport(set_name(each), 0, len(sizes[each]), sum(sizes[each]), origin=_origin(each, end, whole))
        for each in sorted(sizes)
    ]
    return tuple(sets), foreign


def _origin(set_id: SetId, end: int, whole: frozenset[SetId]) -> Origin:
    """What ends after the newest adopted set is duplicity's own work since the handover; not whole, it is no backup."""
    if set_id.end <= end:
        return Origin.OTHER
    return Origin.DUPLICITY if set_id in whole else Origin.UNFINISHED
