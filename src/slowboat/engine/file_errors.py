"""What can be wrong with one object, in words for the person whose backup it is.

Knows the sentences and their cures; must not know how any of it is found out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slowboat.core.capabilities import PROBE_WAITS
from slowboat.core.errors import NeedsUser, Refused, Transient

if TYPE_CHECKING:
    from slowboat.core.way import NoWay
    from slowboat.core.words import Item


def rotten(item: Item) -> Refused:
    """A volume that fails duplicity's own hash, twice."""
    return Refused(
        f"{item.name} is damaged on the drive: twice, its SHA-1 was not the one that duplicity recorded",
        hint=_without_volume(item),
        code="rotten",
    )


def badly_framed(item: Item, wrong: str) -> Refused:
    """A file without a SHA-1 that is not whole, twice; `wrong` says how, a phrase that begins with a verb."""
    without_metadata = (
        "Without it the backup set cannot be used; run duplicity once with the drive connected, "
        "or make a new full backup"
    )
    return Refused(
        f"{item.name} is damaged on the drive: it {wrong}",
        hint=without_metadata if item.role.is_metadata else _without_volume(item),
        code="framing",
    )


def _without_volume(item: Item) -> str:
    """The cure where a volume is lost: the files that it holds may be there still, unless it is of an older chain."""
    kind = item.set_id.type.value
    lost = (
        f"slowboat carries on with the other files of the {kind} backup set; what is in this volume cannot be "
        "restored from this backup"
    )
    if item.chain:
        return f"{lost}. Newer full backups do not need it. If you need this old one, look for a copy of the file"
    return f"{lost}. Make a new full backup while the original files still exist"


def unstable(item: Item) -> Refused:
    """A file without a SHA-1 of which no two readings agree, or not with the one that was confirmed."""
    return Refused(
        f"{item.name} reads differently each time",
        hint="The drive or its cable is failing: copy the backup to another drive first",
        code="unstable",
    )


def other_than_adopted(item: Item) -> Refused:
    """A file without a SHA-1 that holds something else than before, in two readings."""
    return Refused(
        f"{item.name} on the drive is not the file that slowboat first read",
        hint="Restore that file as it was; slowboat notices the next time it checks the drive",
        code="unstable",
    )


def other_time(item: Item) -> Transient:
    """A file whose time alone was another one when it was read: the new time is remembered, and it is read again."""
    return Transient(
        f"{item.name} has a new modification time; slowboat reads it again", code="other-time", scope="object"
    )


def mismatch(item: Item) -> Transient:
    """The server's MD5 of a body is not ours."""
    return Transient(
        f"the server received something other than what was sent for {item.name}", code="mismatch", scope="object"
    )


def misread(item: Item) -> Transient:
    """One reading was wrong; another is right."""
    return Transient(
        f"{item.name} was misread from the drive once; slowboat reads it again", code="misread", scope="object"
    )


def no_way(item: Item, found: NoWay) -> Refused | Transient:
    """The store takes no such object, or it is not known yet whether it does."""
    what = f"{item.name} cannot go up: {found.why}"
    if found.later:
        return Transient(what, code="no-way", retry_after=PROBE_WAITS[0], scope="object")
    return Refused(what, hint="Make the backup with smaller volumes (duplicity's --volsize)", code="no-way")


def cramped(item: Item) -> Transient:
    """The quota does not hold an object beside its segments: they are deleted, and it goes up in one piece."""
    return Transient(
        f"there is no room for {item.name} ({item.file.size} bytes) in addition to the pieces it is joined from: it "
        "goes up in one piece",
        code="cramped",
        scope="object",
    )


def no_room(item: Item, error: NeedsUser) -> NeedsUser:
    """Not even one piece has room: how much is needed, for the person who must find it."""
    return NeedsUser(f"{error.what}: the next file needs {item.file.size} bytes", hint=error.hint, code=error.code)


def exists(item: Item) -> Refused:
    """Something stands at the final name; the caller finds out whose it is."""
    return Refused(f"the target already has an object named {item.name}", code="exists")
