"""Snapshot in, next actions out.

Knows the order of a migration and its gates; must not know how any action is done. Level-triggered: nothing here
depends on what happened before, only on what is so now. The rules, in the order in which they are asked:

0. Something only a person can mend: nothing, until it is mended.
1. Nothing adopted yet: adopt, once the drive is there.
2. No permit: break off what is under way, and wait.
3. What the server has is not known (no listing since the start, or since what matters was confirmed): look.
4. An object whose upload was broken off, or that stands at the target already: ask before paying twice.
5. The newest chain's metadata, one after another in its order; nothing else before all of it is confirmed. Where it
   has vanished from the target, volumes under way are broken off for it.
   A set that may not fit what duplicity writes there meanwhile waits.
6. Its canary volumes; then the handover, unless the cloud only follows the drive.
7. Then all the rest by rank. No volume while its chain's metadata is not whole at the target.
8. Everything settled and seen in one listing: finish. After that, where its owner asked for it, what left the drive
   is removed.
   Neither the handover (6) nor the end stands on an object that the server shows by its name alone, and not in the
   listing: duplicity finds what there is by the listing. It is waited for.

9. Beside all this, and during a long pause too: the segments of objects that are begun are kept from expiring.

A branch that decides one of these cases names it by its number.
"""

from __future__ import annotations

import heapq
import itertools
import math
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from slowboat.core.roster import SETTLED, Roster, is_parted
from slowboat.core.words import Activity, Event, HandoverState, Permit, Phase, Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from slowboat.core.words import Item, RemoteObject, SetId

TRANSITIONS: Mapping[tuple[Phase, Event], Phase] = MappingProxyType(
    {
        (Phase.QUEUED, Event.STARTED): Phase.SENDING,
        (Phase.QUEUED, Event.CONFIRMED): Phase.DONE,
        (Phase.QUEUED, Event.ABSENT): Phase.QUEUED,
        (Phase.QUEUED, Event.REJECTED): Phase.REFUSED,
        (Phase.SENDING, Event.CONFIRMED): Phase.DONE,
        (Phase.SENDING, Event.INTERRUPTED): Phase.UNCHECKED,
        (Phase.SENDING, Event.REJECTED): Phase.REFUSED,
        (Phase.UNCHECKED, Event.CONFIRMED): Phase.DONE,
        (Phase.UNCHECKED, Event.ABSENT): Phase.QUEUED,
        (Phase.UNCHECKED, Event.REJECTED): Phase.REFUSED,
        (Phase.DONE, Event.CONFIRMED): Phase.DONE,
        (Phase.DONE, Event.VANISHED): Phase.QUEUED,
        (Phase.REFUSED, Event.RETRIED): Phase.QUEUED,
    }
)
"""The life of an object. A pair that is not here is a mistake in the program, not in the world."""

OBSERVE_EVERY = 6 * 3600.0
"""Seconds between listings while volumes trickle: a listing costs some kilobytes, and finds what others removed."""

OBSERVE_OFTEN = 900.0
"""The same with a duplicity that may destroy a chain of which volumes are missing (docs/duplicity-versions.md)."""

RENEW_EVERY = 7.5 * 86400.0
"""Seconds between looks after the segments of an object that is begun and waits: a quarter of their life, so that a
machine that is off for weeks in between loses none (docs/swift.md, "Expiry")."""


def advance(phase: Phase, event: Event) -> Phase:
    """The phase after `event`.

    Raises:
        KeyError: the pair is not in `TRANSITIONS`; a mistake in the program.
    """
    return TRANSITIONS[phase, event]


ADOPT, OBSERVE, HAND_OVER, MEND, TIDY = "adopt", "observe", "handover", "mend", "tidy"
"""The names under which these stand among the busy; no file of duplicity's is called so."""


LAG_SECONDS = 60.0
"""Until the next listing where the last one lacked what stands there: Swift's listings lag by seconds, and by minutes
when a container server was away (https://docs.openstack.org/swift/latest/overview_architecture.html, Updaters)."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What the target held under our prefix when it was last looked at.

    Attributes:
        objects: file name (prefix taken off) to what stands there.
        taken_at: when the listing was begun, seconds since the epoch.
        unlisted: those of the objects that the listing lacked, and that the server showed when asked by their names.
    """

    objects: Mapping[str, RemoteObject]
    taken_at: float
    unlisted: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a decision about one migration needs.

    Attributes:
        now: seconds since the epoch.
        items: everything adopted, by rank; () before the adoption. A `Roster` is taken as it is: whoever puts
            anything into it afterwards has another snapshot.
        permit: may anything be sent, and why not.
        where: the source folder, for the words of a reason.
        drive_present: whether the source folder is there and is the right one.
        absent_why: what was seen instead, a sentence that names the folder; "" where it is just not there.
        absent_cure: what would help, a sentence; "" where connecting it does.
        drive_changed: whether it holds other sets than those that are adopted.
        sight: the newest listing of this run, None before the first.
        confirmed_at: when an object was last confirmed; a sight older than that proves nothing of it.
        handover: PENDING, or what has come of it.
        handover_at: not before this time is a blocked handover tried again.
        blocked: what only a person can mend, and when it is tried again unasked; None: nothing.
        wait: the server asked slowboat to wait, or a trouble lets us back off: until when and why; None: go on.
        object_waits: name to the time before which that one object is not tried again.
        busy: names of the objects with an action under way.
        renewing: names of the objects whose segments are being renewed; none of them is busy.
        renewed: name to when the segments of that object were last seen to be in no danger.
        lanes: how many objects may send at once.
        ending: names of busy objects whose last body is under way: beside each of them the next one gets ready, so that
            the line is never empty between two.
        finished: the end has been seen and told.
        observe_every: seconds between listings while volumes trickle.
        mend_at: the target's cache here lacks what belongs into it, because duplicity damaged it or because the drive
            has a newer set: not before this time is it made whole; None: it needs no mending.
        follows: the cloud follows the drive: nothing waits for a handover.
        tidy_at: not before this time is it looked what may be removed from the target; None: nothing ever is.
        postponed: the sets that wait until duplicity's own backup at the target is finished, or its remains are gone.
        postponed_why: what they wait for; None where there are none.
    """

    now: float
    items: Sequence[Item]
    permit: Permit
    where: str = ""
    drive_present: bool = True
    absent_why: str = ""
    absent_cure: str = ""
    drive_changed: bool = False
    sight: Sight | None = None
    confirmed_at: float = 0.0
    handover: HandoverState = HandoverState.PENDING
    handover_at: float = 0.0
    blocked: Reason | None = None
    wait: Reason | None = None
    object_waits: Mapping[str, float] = field(default_factory=dict)
    busy: frozenset[str] = frozenset()
    renewing: frozenset[str] = frozenset()
    renewed: Mapping[str, float] = field(default_factory=dict)
    lanes: int = 1
    ending: frozenset[str] = frozenset()
    finished: bool = False
    observe_every: float = OBSERVE_EVERY
    mend_at: float | None = None
    follows: bool = False
    tidy_at: float | None = None
    postponed: frozenset[SetId] = frozenset()
    postponed_why: Reason | None = None
    roster: Roster = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "roster", Roster.of(self.items))


@dataclass(frozen=True, slots=True)
class Adopt:
    """Read the drive's folder and freeze the list of files."""


@dataclass(frozen=True, slots=True)
class Observe:
    """Read the target's listing."""


@dataclass(frozen=True, slots=True)
class Check:
    """Ask what stands at one object's name, and hold it against the drive."""

    name: str


@dataclass(frozen=True, slots=True)
class Send:
    """Bring one object to the target."""

    name: str


@dataclass(frozen=True, slots=True)
class Renew:
    """Let the segments of one object that is begun live on."""

    name: str


@dataclass(frozen=True, slots=True)
class HandOver:
    """Install duplicity's cache for the target."""


@dataclass(frozen=True, slots=True)
class Mend:
    """Put back what duplicity emptied of its own cache for the target."""


@dataclass(frozen=True, slots=True)
class Tidy:
    """Remove from the target what its owner removed from the drive, where that was asked for."""


@dataclass(frozen=True, slots=True)
class Finish:
    """Everything is settled and seen: tell the user."""


@dataclass(frozen=True, slots=True)
class BreakOff:
    """Abort what is under way."""


Action = Adopt | Observe | Check | Send | Renew | HandOver | Mend | Tidy | Finish | BreakOff


@dataclass(frozen=True, slots=True)
class Decision:
    """What to start now, what to show, and when to look again by the clock alone (None: only when woken)."""

    actions: tuple[Action, ...]
    activity: Activity
    reasons: tuple[Reason, ...] = ()
    wake_at: float | None = None


def source_absent(where: str = "", why: str = "", cure: str = "") -> Reason:
    """The reason while the drive is away: `where` it should be, `why` says what was seen instead, `cure` what helps."""
    return Reason(
        "source-absent",
        why or (f"the drive with {where} is not connected" if where else "the drive with the backup is not connected"),
        cure=cure or "connect the drive; slowboat continues by itself",
    )


def plan(s: Snapshot) -> Decision:
    """The next actions for one migration. Total: every snapshot has an answer."""
    return _with_renewal(s, _without_renewal(s))


def _with_renewal(s: Snapshot, decision: Decision) -> Decision:
    """The decision, and what keeps begun objects alive: one object at a time, never one that is acted on."""
    if not s.permit.asks and not s.permit.open:
        # Rule 2 over rule 9: not even small requests are allowed, as over a metered network.
        if s.renewing and BreakOff() not in decision.actions:
            return replace(decision, actions=(*decision.actions, BreakOff()))
        return decision
    if s.renewing or s.blocked is not None or BreakOff() in decision.actions:
        # Rule 9 waits: one is being renewed already, or everything stops now.
        return decision
    taken = s.busy | {action.name for action in decision.actions if isinstance(action, Check | Send)}
    due = {item.name: _due(s, item.name) for item in s.roster.begun() if item.name not in taken}
    return _renewing_what_is_due(s, decision, due)


def _renewing_what_is_due(s: Snapshot, decision: Decision, due: Mapping[str, float]) -> Decision:
    """The decision, with the first object whose time has come; where none's has, with the time when one's comes."""
    now = next((name for name, when in due.items() if when <= s.now), None)
    if now is not None:
        return replace(decision, actions=(*decision.actions, Renew(now)))
    wakes = [
        *(when for when in due.values() if when < math.inf),
        *([] if decision.wake_at is None else [decision.wake_at]),
    ]
    return replace(decision, wake_at=min(wakes, default=None))


def _due(s: Snapshot, name: str) -> float:
    """When an object's segments are to be looked after; a look in the future is the work of a clock set back."""
    last = s.renewed.get(name, 0.0)
    wait = 0.0 if s.wait is None else s.wait.until or math.inf
    return max(last + RENEW_EVERY if last <= s.now else 0.0, s.object_waits.get(name, 0.0), wait)


def _without_renewal(s: Snapshot) -> Decision:
    if s.blocked is not None:  # rule 0
        stop = (BreakOff(),) if s.busy else ()
        reason = replace(s.blocked, until=None)  # it is tried again then, but it does not end by itself
        return Decision(stop, Activity.NEEDS_USER, (reason, *s.permit.reasons), s.blocked.until)
    if not s.items or s.drive_changed:  # rule 1; a drive with a new backup set is adopted anew
        return _adopt(s)
    if not s.permit.open:  # rule 2
        return _stand_still(s)
    if s.wait is not None:  # rule 2, by the server's word: what is under way may end
        return Decision((), Activity.WAITING, (s.wait, *s.permit.reasons), s.wait.until)  # those only slow down
    if _must_observe(s):  # rule 3
        observing = () if OBSERVE in s.busy else (Observe(),)
        return Decision(observing, Activity.CHECKING, s.permit.reasons)
    return _go_on(s)


def _adopt(s: Snapshot) -> Decision:
    if s.busy:  # the list of objects must not change under what is on the line: that ends first
        stop = () if ADOPT in s.busy else (BreakOff(),)
        return Decision(stop, Activity.CHECKING, s.permit.reasons)
    if not s.drive_present:
        return Decision((), Activity.WAITING, (source_absent(s.where, s.absent_why, s.absent_cure), *s.permit.reasons))
    return Decision((Adopt(),), Activity.CHECKING, s.permit.reasons)


def _stand_still(s: Snapshot) -> Decision:
    # what a young pause lets finish is not broken off
    stop = (BreakOff(),) if s.busy and not s.permit.lets_finish else ()
    if s.finished:  # nothing is held up by what forbids sending
        return Decision(stop, *_at_the_end(s))
    paused = any(reason.code == "paused" for reason in s.permit.reasons)
    activity = Activity.PAUSED if paused else Activity.WAITING
    absent = () if s.drive_present or not _wants_drive(s) else (source_absent(s.where, s.absent_why, s.absent_cure),)
    return Decision(stop, activity, (*s.permit.reasons, *absent))


def _must_observe(s: Snapshot) -> bool:
    if s.sight is None:  # nothing was seen since the start, or since a look was asked for
        return True
    stale = s.sight.taken_at <= s.confirmed_at  # something was confirmed since: a listing that proves must be newer
    tried_since = s.handover is HandoverState.BLOCKED and s.sight.taken_at < s.handover_at
    if _handover_due(s) and (stale or tried_since):  # rule 6 stands on a listing that shows all metadata
        return True
    if _mend_due(s) and stale:  # so does making duplicity's cache whole
        return True
    if s.finished:  # nothing is sent any more, so nothing is looked for until somebody asks
        return False
    if stale and not s.roster.open:  # rule 8 stands on one that shows everything
        return True
    # Rules 6 and 8: by now it may show what it lacked.
    return s.now - s.sight.taken_at >= (min(LAG_SECONDS, s.observe_every) if _lags(s) else s.observe_every)


def _lags(s: Snapshot) -> frozenset[str]:
    """What the handover or the end waits for: it is there, and the listing does not show it."""
    if s.sight is None or s.finished or not s.sight.unlisted:
        return frozenset()
    if not s.roster.open and _handover_settled(s):
        return s.sight.unlisted
    if _handover_due(s):
        return s.sight.unlisted.intersection(item.name for item in s.roster.metadata(0))
    return frozenset()


def _until_it_is_listed(s: Snapshot, lagging: frozenset[str], sight: Sight) -> Decision:
    more = f" and {len(lagging) - 1:,} more" if len(lagging) > 1 else ""
    lag = Reason(
        "unlisted",
        f"the server has {min(lagging)}{more}, but does not list it: duplicity would not find it",
        cure="listings may lag by minutes; if this persists, ask the provider to repair the container's listing",
    )
    return Decision((), Activity.WAITING, (lag, *s.permit.reasons), sight.taken_at + LAG_SECONDS)


def _go_on(s: Snapshot) -> Decision:
    # Everything was seen at the target before: a handover that was blocked, or a cache, may still be due.
    if s.finished:
        late = (*((HandOver(),) if _hand_over_now(s) else ()), *((Mend(),) if _mend_due(s) else ()))
        tidy = (Tidy(),) if s.tidy_at is not None and s.tidy_at <= s.now and not s.busy and not late else ()
        later = [when for when in (_next_handover(s), s.tidy_at) if when is not None and when > s.now]
        return Decision((*late, *tidy), *_at_the_end(s), min(later, default=None))
    # Rules 6 and 8: what stands there is not in the listing yet.
    if s.sight is not None and not s.busy and (lagging := _lags(s)):
        return _until_it_is_listed(s, lagging, s.sight)
    # Rule 8. It is done when that has been told.
    at_the_end = not s.roster.open and _handover_settled(s)
    if at_the_end and s.busy <= {OBSERVE} and not _lags(s):
        return Decision(() if s.busy else (Finish(),), Activity.CHECKING, _refusals(s.roster))
    # Rule 5: metadata that has vanished goes before the volumes that are on the line.
    if _metadata_is_kept_waiting(s):
        return Decision((BreakOff(),), Activity.SENDING, s.permit.reasons)
    actions: list[Action] = []
    if _hand_over_now(s):  # rule 6; it takes no network, so volumes go on beside it
        actions.append(HandOver())
    if _mend_due(s):
        actions.append(Mend())
    # Rules 4, 5 and 7: as many objects as there are lanes, by rank; one that failed waits for its own time.
    wakes: list[float] = []
    if s.drive_present:
        free = max(0, s.lanes + min(len(s.ending & s.busy), s.lanes) - len(s.busy))
        ready = (item for item in _wanted(s) if s.object_waits.get(item.name, 0.0) <= s.now)
        actions += [_act(item, s.sight) for item in itertools.islice(ready, free)]
        wakes += _waits(s)
    return _shown(s, tuple(actions), wakes)


def _waits(s: Snapshot) -> Iterator[float]:
    """When the time comes of each object that failed and is wanted."""
    for name, until in s.object_waits.items():
        item = s.roster.get(name)
        if until > s.now and item is not None and _is_wanted(s, item):
            yield until


def _shown(s: Snapshot, actions: tuple[Action, ...], wakes: list[float]) -> Decision:
    reasons = s.permit.reasons
    # The drive is away, and something needs it: what is on the line can only fail.
    if not s.drive_present and (s.busy or _is_anything_wanted(s)):
        return Decision(
            (*actions, BreakOff()) if s.busy else actions,
            Activity.WAITING,
            (source_absent(s.where, s.absent_why, s.absent_cure), *reasons),
        )
    if s.sight is not None:
        wakes.append(s.sight.taken_at + s.observe_every)
    if s.mend_at is not None and s.now < s.mend_at:
        wakes.append(s.mend_at)
    if (handover_at := _next_handover(s)) is not None:
        wakes.append(handover_at)
    wake_at = min(wakes, default=None)
    # Something is done, or begins now.
    if s.busy or actions:
        return Decision(actions, Activity.SENDING, reasons, wake_at)
    if s.postponed_why is not None:
        reasons = (s.postponed_why, *reasons)
    # Nothing but what was set aside is left: only a person can bring it on.
    refusals = _refusals(s.roster)
    if refusals and not _is_anything_wanted(s):
        return Decision(actions, Activity.NEEDS_USER, refusals, wake_at)
    # What is left waits for its own time, or for the handover.
    return Decision(actions, Activity.WAITING, (*refusals, *reasons), wake_at)


def _next_handover(s: Snapshot) -> float | None:
    """When a blocked handover is tried again by itself."""
    return s.handover_at if s.handover is HandoverState.BLOCKED and s.now < s.handover_at < math.inf else None


def _metadata_is_kept_waiting(s: Snapshot) -> bool:
    """Whether volumes are on the line though metadata of the newest chain has vanished.

    Without their manifest they would be somebody's remains, to be cleaned up; and the metadata may not wait an hour.
    """
    busy = (s.roster.get(name) for name in s.busy)
    return _metadata_first(s) and any(item is not None and not item.role.is_metadata for item in busy)


def _metadata_first(s: Snapshot) -> bool:
    """Whether no volume goes, of any chain: metadata of the newest one is still to go (rule 5)."""
    return s.roster.open_metadata(0, s.postponed) > 0


def _act(item: Item, sight: Sight | None) -> Action:
    stands = sight is not None and item.name in sight.objects
    return Check(item.name) if item.phase is Phase.UNCHECKED or stands else Send(item.name)


def _wanted(s: Snapshot) -> Iterator[Item]:
    """The objects that may be acted on now, by rank: the gates of rules 5 to 7.

    Nobody walks over more of them than are taken, and those of sets that are postponed.
    """
    gate_open = _handover_settled(s)
    queues: list[Iterable[Item]] = []
    for chain in s.roster.chains:
        if not gate_open and chain != 0:  # rule 5: an older chain waits for the handover
            continue
        first = s.roster.first_metadata(chain, s.postponed)
        if first is not None:  # rule 5: one after another, the order within is kept
            queues.append((first,))
        if _metadata_first(s):  # rule 5: whatever volume were begun now would be broken off for it
            continue
        if s.roster.is_whole(chain, s.postponed):  # rules 6 and 7: the canaries before the handover, the others after
            queues.append(s.roster.open_volumes(chain, s.postponed, canaries=True))
            queues += [s.roster.open_volumes(chain, s.postponed)] if gate_open else []
    by_rank = heapq.merge(*queues, key=_rank) if len(queues) > 1 else itertools.chain(*queues)
    return (item for item in by_rank if item.name not in s.busy and item.name not in s.renewing)


def _is_wanted(s: Snapshot, item: Item) -> bool:
    """Whether `_wanted` has it."""
    taken = item.name in s.busy or item.name in s.renewing or item.set_id in s.postponed
    if taken or item.phase in SETTLED or not (item.chain == 0 or _handover_settled(s)):
        return False
    if item.role.is_metadata:
        return s.roster.first_metadata(item.chain, s.postponed) == item
    if _metadata_first(s) or not s.roster.is_whole(item.chain, s.postponed):
        return False
    return item.canary or _handover_settled(s)


def _is_anything_wanted(s: Snapshot) -> bool:
    return next(_wanted(s), None) is not None


def _rank(item: Item) -> int:
    return item.rank


def ready_for_handover(items: Iterable[Item]) -> bool:
    """Whether the newest chain's metadata is whole and each canary volume settled (one that is rotten stays behind)."""
    found = Roster.of(items)
    newest = found.chains.get(0)
    if newest is None:
        return True
    return not newest.aside and found.is_whole(0) and not len(newest.open_canaries)


def unseen(items: Iterable[Item], sight: Sight) -> tuple[str, ...]:
    """The DONE objects that the listing does not show as we know them (name, size, MD5)."""
    return tuple(i.name for i in items if i.phase is Phase.DONE and not matches(i, sight.objects.get(i.name)))


def matches(item: Item, stands: RemoteObject | None) -> bool:
    """Whether what stands at the target is this very file: its size, and its MD5 or the ETag that its SLO must have."""
    if stands is None or stands.size != item.file.size:
        return False
    known = item.slo_md5 if stands.slo else item.md5
    return known != "" and stands.md5 == known


def _handover_settled(s: Snapshot) -> bool:
    """The volumes wait for the handover, but not for one that is blocked or that can never become ready."""
    if s.follows or s.handover in (HandoverState.DONE, HandoverState.BLOCKED):
        return True
    newest = s.roster.chains.get(0)
    return newest is not None and newest.refused_metadata > 0


def _handover_due(s: Snapshot) -> bool:
    """Whether it is still to be done, everything is there for it, and no blocked try forbids another one yet."""
    if s.follows or s.handover is HandoverState.DONE or HAND_OVER in s.busy or not ready_for_handover(s.roster):
        return False
    return s.handover is HandoverState.PENDING or s.handover_at <= s.now


def _hand_over_now(s: Snapshot) -> bool:
    if not _handover_due(s):
        return False
    newest = list(s.roster.metadata(0))
    if s.sight is None or s.sight.unlisted.intersection(item.name for item in newest):
        return False
    return all(matches(item, s.sight.objects.get(item.name)) for item in newest)


def _mend_due(s: Snapshot) -> bool:
    """Whether the cache can be made whole: all that belongs into it stands at the target again."""
    if s.mend_at is None or s.mend_at > s.now or MEND in s.busy or s.handover is not HandoverState.DONE:
        return False
    metadata = (item for item in s.roster.metadata(0) if item.set_id not in s.postponed)
    return all(item.phase is Phase.DONE or is_parted(item) for item in metadata)


def _at_the_end(s: Snapshot) -> tuple[Activity, tuple[Reason, ...]]:
    """What is shown where nothing is left to send: done, but where something is set aside, which a person must see."""
    refusals = _refusals(s.roster)
    return (Activity.NEEDS_USER if refusals else Activity.DONE), refusals


def _refusals(roster: Roster) -> tuple[Reason, ...]:
    """What is set aside, each kind once; what its owner removed from the cloud is no reason."""
    reasons = []
    stuck, how_many = roster.stuck()
    if stuck is not None:
        reasons.append(
            Reason(
                "refused",
                f"{_first_and_more(stuck, how_many)} cannot go up: {stuck.error}",
                cure="see the list in `slowboat plan`, fix what is wrong, and run `slowboat retry`",
            )
        )
    gone, how_many = roster.gone()
    if gone is not None:
        reasons.append(
            Reason(
                "gone",
                f"{_first_and_more(gone, how_many)} had reached the cloud, and nothing of the backup set is left there",
                cure="if you removed it yourself, all is well; to send it again, run `slowboat retry`",
            )
        )
    return tuple(reasons)


def _first_and_more(first: Item, how_many: int) -> str:
    return f"{first.name} and {how_many - 1:,} more" if how_many > 1 else first.name


def _wants_drive(s: Snapshot) -> bool:
    return s.roster.open > 0
