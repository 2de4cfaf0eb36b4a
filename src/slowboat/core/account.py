"""What is in the cloud, what is missing, and what it is worth: one account, which everything that tells asks.

Pure: a snapshot of what is remembered comes in, and what follows from it goes out; status, notices, history, verify,
the guard and the promise "no longer the only copy" ask here, so that none of them can contradict another. Knows phases
and backup sets; must not know how the cloud was looked at, nor where any of it is shown.

1. A file is there when the server has confirmed it and nothing that was seen since speaks against it.
2. What its owner removed from the cloud is neither missing nor promised.
3. A backup can be restored where all of its set is there, and all of every set before it in its chain.
4. The drive is no longer the only copy when everything that counts is there, and one listing has shown it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from slowboat.core.chains import describe
from slowboat.core.roster import Roster, Whereabouts
from slowboat.core.worth import NOT_YET, Worth

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slowboat.core.words import Item, SetId


@dataclass(frozen=True, slots=True)
class AccountBasis:
    """All that the account needs.

    Attributes:
        items: everything adopted, by rank.
        finished: the end was seen in one listing, and nothing has gone since.
        direct: the whole backup sets that duplicity wrote straight to the target, by time.
        unadopted: backup sets on the drive that are not to be moved.
        segments: the container where the data of large objects is, should any stand there.
    """

    items: Sequence[Item]
    finished: bool = False
    direct: Sequence[SetId] = ()
    unadopted: Sequence[SetId] = ()
    segments: str = ""


@dataclass(frozen=True, slots=True)
class CloudAccount:
    """The account of one migration.

    Attributes:
        files, files_there: those that count, and those of them that are in the cloud.
        size, size_there: their bytes.
        to_send, size_to_send: those that are on their way, or will be.
        set_aside: those that cannot go up as they are.
        gone: those that had arrived and are not there any more, with all of their backup set, after the end.
        removed: those that do not count, because their owner removed their backup from the cloud.
        restorable: the newest chain is there, whole.
        complete: everything that counts is there.
        newest: the newest backup set that the cloud can restore; None: none.
        lacking: the newer ones that it cannot, by time; those of the drive that are not to be moved included.
        worth: what follows from all this.
        data_in: a second container, where the data of large files is; "" where all of it is in the target's own.
    """

    files: int
    files_there: int
    size: int
    size_there: int
    to_send: int
    size_to_send: int
    set_aside: int
    gone: int
    removed: int
    restorable: bool
    complete: bool
    newest: SetId | None
    lacking: tuple[SetId, ...]
    worth: Worth
    data_in: str = ""


def take(basis: AccountBasis) -> CloudAccount:
    """The account. Total: there always is one. It walks over backup sets; the roster has counted their files."""
    found = Roster.of(basis.items)
    there, removed = found.count(Whereabouts.THERE), found.count(Whereabouts.REMOVED)
    files = len(found) - removed
    complete = files > 0 and there == files
    missing = _missing(found)
    restorable = 0 in missing and not any(missing[0].values()) and not _lost_any(found)
    newest, lacking = _restorable_sets(basis, missing)
    return CloudAccount(
        files=files,
        files_there=there,
        size=sum(found.size(kind) for kind in Whereabouts if kind is not Whereabouts.REMOVED),
        size_there=found.size(Whereabouts.THERE),
        to_send=found.count(Whereabouts.TO_SEND),
        size_to_send=found.size(Whereabouts.TO_SEND),
        set_aside=found.count(Whereabouts.SET_ASIDE),
        gone=found.count(Whereabouts.GONE),
        removed=removed,
        restorable=restorable,
        complete=complete,
        newest=newest,
        lacking=lacking,
        worth=_worth(basis, newest, files=files, restorable=restorable, complete=complete),
        data_in=basis.segments if found.in_segments else "",
    )


def _missing(found: Roster) -> dict[int, dict[SetId, int]]:
    """By chain and set: how many of the files that count are not there. What was removed whole is left out."""
    missing = {
        number: {set_id: one.missing for set_id, one in chain.sets.items() if one.counting}
        for number, chain in found.chains.items()
    }
    return {number: sets for number, sets in missing.items() if sets}


def _lost_any(found: Roster) -> bool:
    """Whether its owner removed anything of the newest chain: what is left of it is no chain."""
    return 0 in found.chains and found.chains[0].removed > 0


def _worth(basis: AccountBasis, newest: SetId | None, *, files: int, restorable: bool, complete: bool) -> Worth:
    if basis.items and not files:  # its owner removed all of it
        return Worth.REPLACED
    if complete and basis.finished:
        return Worth.ALL
    if restorable:
        return Worth.NEWEST
    return Worth.NOTHING if newest is None else Worth.SOME


def _restorable_sets(
    basis: AccountBasis, missing: Mapping[int, Mapping[SetId, int]]
) -> tuple[SetId | None, tuple[SetId, ...]]:
    """The newest backup set that the cloud alone can restore, and the newer ones that it cannot.

    `missing` is by chain and set: how many files are not there.
    """
    able: dict[int, SetId] = {}  # by the end, where an incremental may go on
    for sets in missing.values():
        for one in sorted(sets, key=_by_time):
            if sets[one]:
                break  # neither this one nor what was made upon it
            able[one.end] = one
    for one in sorted(basis.direct, key=_by_time):
        if one.start == one.end or one.start in able:
            able[one.end] = one
    newest = able[max(able)] if able else None
    since = newest.end if newest is not None else -1
    every = {one for sets in missing.values() for one in sets} | {*basis.unadopted, *basis.direct}
    return newest, tuple(sorted((one for one in every if one.end > since), key=_by_time))


def _by_time(one: SetId) -> tuple[int, int]:
    return one.end, one.start


def promise(account: CloudAccount) -> str:
    """What the cloud alone is worth, in a few sentences for the person whose backup it is."""
    text = _of_the_worth(account)
    return f"{text} {keep(account.data_in)}." if account.data_in else text


def keep(container: str) -> str:
    """What must be said of a container that looks like scratch room, a sentence without a full stop."""
    return f"The data of large files is in {container}: keep that container as long as the backup"


def _of_the_worth(account: CloudAccount) -> str:
    match account.worth:
        case Worth.ALL:
            text = "The cloud alone is enough: the drive is no longer the only copy"
            return f"{text} of the backups up to {_called(account.newest)}." if account.lacking else f"{text}."
        case Worth.NEWEST:
            if account.complete:  # the last listing has not shown it yet
                return (
                    "For the newest chain the cloud alone is enough. Keep the drive until slowboat has checked "
                    "everything once more."
                )
            older = "are still on their way" if account.to_send else "are not all there"
            return f"For the newest chain the cloud alone is enough. Older chains {older}: keep the drive."
        case Worth.SOME:
            needs = "Newer backups need the drive" if account.lacking else "Not all of the drive's backups are there"
            return f"The cloud alone can restore {_called(account.newest)}. {needs}: keep it."
        case Worth.REPLACED:
            return (
                "What slowboat moved there has been removed from the cloud. The backups that are there now are "
                "duplicity's own."
            )
        case Worth.NOTHING:
            return NOT_YET


def _called(one: SetId | None) -> str:
    return describe(one) if one is not None else "no backup"
