"""The guard over a half-uploaded chain: one look at the target in, what follows from it out.

Pure: what was seen and what was told before come in; a list of changes goes out, which one place applies
(engine/target). Knows what duplicity's versions do to a chain of which volumes are missing, and tells a backup that its
owner removed from one that was damaged; must not know how the target is read, nor what goes up next: what is damaged is
queued again, and the plan brings it back, metadata first. Nothing is ever deleted at the target.
docs/duplicity-versions.md tells all. The rules, in the order in which they are asked:

1. A set whose metadata is gone while a newer full stands at the target was removed by its owner, with what was made
   upon it: it is set aside, and not sent again unasked. Before the handover nobody else writes there, and a version
   whose `cleanup` removes whole sets by mistake proves nothing.
2. But where the version is one that wipes a chain of which volumes are missing, none of our files of that chain stands
   any more, and the newer full was not there at the last look, it was duplicity that wiped the chain before it made
   that full: the chain is damaged.
3. A set of which nothing is left, after the end: nobody knows why. It is set aside, told, and not sent again unasked.
4. Whatever else is gone was damaged, or replaced: it is no longer done. Where metadata is among it, duplicity has
   emptied its cache as well, which is made whole after it.
5. After the handover: a version that is dangerous, a newer full, an unfinished backup that nobody is at work on, and a
   cache that is gone are told, once each, and no longer where they are over.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from slowboat.core.chains import describe
from slowboat.core.direct import GONE, REMOVED, DirectSets, direct_sets, removed, sets_gone
from slowboat.core.roster import SETTLED, Roster, is_removed
from slowboat.core.versions import Verdict
from slowboat.core.words import HandoverState, Phase, SetType

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from slowboat.core.versions import Judgement
    from slowboat.core.words import Item, RemoteObject, SetId


@dataclass(frozen=True, slots=True)
class Observation:
    """One look at the target.

    Attributes:
        objects: what stood there, by file name (prefix taken off).
        gone: the names of what was confirmed and does not stand there as it was.
        duplicity: what holds for the duplicities on this machine.
        running: whether one of them was at work with the target.
        empty_caches: the URLs of installed caches that are gone.
        drive_present: whether what is missing can be sent again now.
    """

    objects: Mapping[str, RemoteObject]
    gone: Collection[str]
    duplicity: Judgement
    running: bool = False
    empty_caches: tuple[str, ...] = ()
    drive_present: bool = True


@dataclass(frozen=True, slots=True)
class Reported:
    """What was told before, so that it is told once; empty and 0 for nothing.

    Attributes:
        duplicity: the duplicities that the history names last.
        dangerous: the duplicity that is told to be dangerous now.
        removed, gone: the end of the oldest set that was told to be removed, or gone.
        newer_full: the end of the newest full that was seen beside our chain, told or not.
        unfinished: the end of the unfinished backup that is told now.
        damaged: whether it is told now that files disappeared.
        empty_caches: the URLs of the caches that were told to be gone.
    """

    duplicity: str = ""
    dangerous: str = ""
    removed: int = 0
    gone: int = 0
    newer_full: int = 0
    unfinished: int = 0
    damaged: bool = False
    empty_caches: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Remembered:
    """What was remembered before the look.

    Attributes:
        name: the migration's, for titles.
        url: what duplicity calls the target.
        items: everything adopted.
        handover: where it stands.
        finished: the end has been seen and told.
        reported: what was told before.
        departed: names of objects that slowboat sent and that are no longer on the drive.
    """

    name: str
    url: str
    items: Sequence[Item]
    handover: HandoverState = HandoverState.PENDING
    finished: bool = False
    reported: Reported = Reported()
    departed: Collection[str] = ()


class Loss(enum.Enum):
    """How an object that was confirmed is not there any more."""

    MISSING = enum.auto()
    REPLACED = enum.auto()  # something else stands at its name
    PART = enum.auto()  # an SLO of which the server has not all the segments


@dataclass(frozen=True, slots=True)
class Vanished:
    """An object that was confirmed is no longer done."""

    name: str
    loss: Loss


@dataclass(frozen=True, slots=True)
class SetAside:
    """Objects that are not to be sent unasked, and the error that says why."""

    names: tuple[str, ...]
    error: str


@dataclass(frozen=True, slots=True)
class Notify:
    """Something for the history and the desktop; `key` names what it is about."""

    key: str
    title: str
    text: str
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Withdraw:
    """What was told of `key` is over."""

    key: str


@dataclass(frozen=True, slots=True)
class Note:
    """A line for the history alone."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class MendCache:
    """duplicity's cache for the target is to be made whole, once all metadata is there again."""


Change = Vanished | SetAside | Notify | Withdraw | Note | MendCache


@dataclass(frozen=True, slots=True)
class Versions:
    """What follows from the duplicities on a machine: changes as of `Judged`, and what has been told after them."""

    changes: tuple[Change, ...]
    reported: Reported


@dataclass(frozen=True, slots=True)
class Judged:
    """What follows from a look.

    Attributes:
        changes: in the order in which they are applied.
        reported: what has been told after them.
        direct: what duplicity itself wrote to the target.
        under_way: whether it is at work there.
    """

    changes: tuple[Change, ...]
    reported: Reported
    direct: DirectSets
    under_way: bool


def judge(seen: Observation, known: Remembered) -> Judged:
    """What follows from a look. Total; what was told before is not told again."""
    direct = direct_sets(known.items, seen.objects.keys(), known.departed)
    full = direct.newest_full.end if direct.newest_full else 0
    away = _removed(seen, known, full)
    lost = frozenset(name for name in seen.gone if name not in away)
    forgotten = _gone_after_the_end(seen, known, lost)
    lost -= forgotten
    damaged = [name for name in _in_order(known.items, lost) if name not in seen.objects]
    changes: list[Change] = [
        *(_vanished(name, seen) for name in _in_order(known.items, lost)),
        *_owner_removed(known, away),
        *_set_gone(known, forgotten),
        *_damage(seen, known, damaged, full),
    ]
    reported = replace(
        known.reported,
        removed=_end_of_oldest(known.items, away) or known.reported.removed,
        gone=_end_of_oldest(known.items, forgotten) or known.reported.gone,
        damaged=known.reported.damaged or bool(damaged),
    )
    if reported.damaged and not damaged and all(item.phase in SETTLED for item in known.items):
        changes.append(Withdraw("damaged"))
        reported = replace(reported, damaged=False)
    if known.handover is HandoverState.DONE:
        after, reported = _after_the_handover(seen, known, reported, direct, quiet=bool(damaged or away))
        changes += after
        if not damaged:
            emptied, reported = _empty_caches(seen, reported)
            changes += emptied
    return Judged(tuple(changes), reported, direct, under_way=bool(direct.unfinished) and seen.running)


def of_versions(duplicity: Judgement, known: Remembered) -> Versions:
    """What follows from the duplicities that are found on this machine: told before anything is handed over to them."""
    names = ", ".join(duplicity.names) or duplicity.name
    dangerous = _dangerous(duplicity, known)
    changes: list[Change] = []
    if names != known.reported.duplicity:
        changes.append(_note(duplicity))
    if dangerous != known.reported.dangerous:
        changes.append(_notify_danger(duplicity, known) if dangerous else Withdraw("version"))
    return Versions(tuple(changes), replace(known.reported, duplicity=names, dangerous=dangerous))


def _vanished(name: str, seen: Observation) -> Vanished:
    return Vanished(name, Loss.REPLACED if name in seen.objects else Loss.MISSING)


# -- what is gone ------------------------------------------------------------------------------------------


def _removed(seen: Observation, known: Remembered, full: int) -> frozenset[str]:
    """Rules 1 and 2: the names of what its owner removed."""
    if known.handover is HandoverState.PENDING or seen.duplicity.advice.verdict is Verdict.WAIT:
        return frozenset()
    away = removed(known.items, seen.gone, seen.objects.keys())
    chains = {item.chain for item in known.items if item.name in away}
    wiped = {chain for chain in chains if _was_wiped(seen, known, chain, full)}
    return frozenset(item.name for item in known.items if item.name in away and item.chain not in wiped)


def _was_wiped(seen: Observation, known: Remembered, chain: int, full: int) -> bool:
    """Rule 2. A chain that is set aside already stays so, until its owner wants it back."""
    ours = [item for item in known.items if item.chain == chain]
    return (
        seen.duplicity.advice.verdict is Verdict.RISKY
        and full not in (0, known.reported.newer_full)
        and any(item.phase is not Phase.DONE for item in ours)
        and not any(item.name in seen.objects or is_removed(item) for item in ours)
    )


def _gone_after_the_end(seen: Observation, known: Remembered, lost: frozenset[str]) -> frozenset[str]:
    """Rule 3: the names of what is gone with all of its backup set."""
    if not known.finished:
        return frozenset()
    alone = sets_gone(known.items, seen.objects.keys())
    return frozenset(item.name for item in known.items if item.name in lost and item.set_id in alone)


def _owner_removed(known: Remembered, away: Collection[str]) -> Iterable[Change]:
    fresh = [item for item in known.items if item.name in away and not is_removed(item)]
    if not fresh:
        return
    yield SetAside(tuple(item.name for item in fresh), REMOVED)
    oldest = min(item.set_id for item in fresh)
    if known.reported.removed != oldest.end:
        yield Notify(
            "removed",
            f"{known.name}: an old backup was removed from the cloud",
            f"{_capital(describe(oldest))} and the backups that depend on it are gone from {known.url}, and a newer "
            "full "
            "backup is there: slowboat no longer sends them. If that is a mistake, send them again from the "
            "drive:\nslowboat retry",
        )


def _set_gone(known: Remembered, forgotten: Collection[str]) -> Iterable[Change]:
    oldest = _oldest(known.items, forgotten)
    if oldest is None:
        return
    yield SetAside(_in_order(known.items, forgotten), GONE)
    yield Notify(
        "gone",
        f"{known.name}: a backup is gone from the cloud",
        f"{_capital(describe(oldest))} had reached {known.url}, and nothing of it is left there. If you removed "
        "it, all is well. If not, keep the drive, and send the backup again:\nslowboat retry",
        urgent=True,
    )


def _damage(seen: Observation, known: Remembered, damaged: Sequence[str], full: int) -> Iterable[Change]:
    """Rule 4: files of ours are gone, and nobody meant it."""
    if not damaged:
        return
    roles = {item.name: item.role for item in known.items}
    if known.handover is HandoverState.DONE and any(roles[name].is_metadata for name in damaged):
        yield MendCache()
    instead = " duplicity has made a new full backup there since." if full not in (0, known.reported.newer_full) else ""
    danger = danger_of(seen.duplicity)
    why = f" {seen.duplicity.name} may do that: {danger}." if danger else ""
    files = f"{len(damaged):,} files of the backup are" if len(damaged) > 1 else "1 file of the backup is"
    yield Notify(
        "damaged",
        f"{known.name}: files disappeared from the cloud",
        f"{files} gone from {known.url}, such as {damaged[0]}.{instead}{why} slowboat sends them again from the drive, "
        "metadata first. Do not make a backup until that is done."
        + ("" if seen.drive_present else " Connect the drive."),
        urgent=True,
    )


# -- the version -------------------------------------------------------------------------------------------


def danger_of(duplicity: Judgement) -> str:
    """What the worst duplicity may destroy, "" where nothing is known."""
    return duplicity.advice.danger if duplicity.advice.verdict in (Verdict.RISKY, Verdict.WAIT) else ""


def _note(duplicity: Judgement) -> Note:
    """What the history says of the duplicities that may make the next backup."""
    advice = duplicity.advice
    says = advice.helps if advice.verdict is Verdict.UNKNOWN else advice.danger or "no problems are known"
    if len(duplicity.names) < 2:
        return Note("duplicity", f"Backups will be made by {duplicity.name}: {says}")
    return Note("duplicity", f"Backups may be made by {' or '.join(duplicity.names)}. Of {duplicity.name}: {says}")


def _dangerous(duplicity: Judgement, known: Remembered) -> str:
    """The duplicity that is dangerous to this chain now, as long as volumes are missing; "" where none is.

    One that the handover waits for is told with the handover.
    """
    waits = duplicity.advice.verdict is Verdict.WAIT and known.handover is not HandoverState.DONE
    return "" if waits or not danger_of(duplicity) or is_complete(known.items) else duplicity.name


def is_complete(items: Iterable[Item]) -> bool:
    """Whether every file of the newest chain is confirmed; of nothing that was adopted, nothing can be destroyed."""
    return Roster.of(items).is_done(0)


def _notify_danger(duplicity: Judgement, known: Remembered) -> Notify:
    advice = duplicity.advice
    if advice.verdict is Verdict.WAIT:
        text = (
            f"{duplicity.name} makes no incremental backup until the last volume is in the cloud, and "
            f"{advice.danger}. Do not run a cleanup until then. Update duplicity to 3.0.6.2 or newer."
        )
    else:
        text = f"With {duplicity.name}, {advice.danger}. {advice.helps}."
    return Notify("version", f"{known.name}: this duplicity is dangerous", text, urgent=True)


# -- after the handover ------------------------------------------------------------------------------------


def _after_the_handover(
    seen: Observation, known: Remembered, reported: Reported, direct: DirectSets, *, quiet: bool
) -> tuple[list[Change], Reported]:
    """Rule 5. `quiet`: the newer full is part of a story that is told already."""
    changes: list[Change] = []
    full = direct.newest_full.end if direct.newest_full else 0
    if full and full != reported.newer_full:
        reported = replace(reported, newer_full=full)
        if not quiet and not is_complete(known.items):
            changes.append(_overtaken(known))
    if direct.unfinished and seen.running:
        return changes, reported
    last = direct.unfinished[-1] if direct.unfinished else None
    end = last.end if last else 0
    if end != reported.unfinished:
        reported = replace(reported, unfinished=end)
        changes.append(_unfinished(seen, known, last) if last else Withdraw("unfinished"))
    return changes, reported


def _empty_caches(seen: Observation, reported: Reported) -> tuple[list[Change], Reported]:
    """Deja Dup empties its archive dir when something goes wrong: what can be put back, is; told once."""
    changes: list[Change] = []
    if seen.empty_caches and seen.empty_caches != reported.empty_caches:
        text = f"duplicity's cache for {seen.empty_caches[0]} is gone; Deja Dup removes it when a backup fails"
        changes += [Note("cache-gone", text), MendCache()]
    return changes, replace(reported, empty_caches=seen.empty_caches)


def _overtaken(known: Remembered) -> Notify:
    return Notify(
        "overtaken",
        f"{known.name}: a new full backup went straight to the cloud",
        f"duplicity made a new full backup at {known.url}. The old chain's upload goes on; if you do not want the "
        f"old backups in the cloud, run `slowboat pause {known.name}` and take it out of the configuration.",
    )


def _unfinished(seen: Observation, known: Remembered, last: SetId) -> Notify:
    """Volumes without a manifest, and nobody at work there: with the cure of this version.

    Only a full's remains are dangerous (docs/duplicity-versions.md).
    """
    danger = danger_of(seen.duplicity) if last.type is SetType.FULL else ""
    dangerous = f" With {seen.duplicity.name} this is dangerous: {danger}." if danger else ""
    return Notify(
        "unfinished",
        f"{known.name}: an unfinished backup is in the cloud",
        f"{_capital(describe(last))} at {known.url} was interrupted: it has volumes but no manifest.{dangerous} "
        f"{seen.duplicity.advice.stray.format(url=known.url)}. slowboat itself removes nothing.",
        urgent=True,
    )


# -- small things ------------------------------------------------------------------------------------------


def _in_order(items: Iterable[Item], names: Collection[str]) -> tuple[str, ...]:
    return tuple(item.name for item in items if item.name in names)


def _oldest(items: Iterable[Item], names: Collection[str]) -> SetId | None:
    return None if not names else min((item.set_id for item in items if item.name in names), default=None)


def _end_of_oldest(items: Iterable[Item], names: Collection[str]) -> int:
    """The end of the oldest backup set that these are of; 0 for none."""
    oldest = _oldest(items, names)
    return oldest.end if oldest is not None else 0


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
