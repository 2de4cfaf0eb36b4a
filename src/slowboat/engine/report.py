"""From what is so to what is shown: pure, values in and a report out.

Knows the shape of what is shown; must not know who reads it.
"""

from __future__ import annotations

import collections
import itertools
from typing import TYPE_CHECKING

from slowboat.core.account import promise
from slowboat.core.roster import Whereabouts
from slowboat.core.schedule import at_wall
from slowboat.core.words import Activity, ManagerReport, MigrationReport, Phase, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import tzinfo

    from slowboat.core.account import CloudAccount
    from slowboat.core.plan import Decision
    from slowboat.core.roster import Roster
    from slowboat.core.words import HandoverState, Item


BY_THE_CLOCK = frozenset({"schedule", "paused", "budget"})
"""Reasons that end at a moment that is known."""
SLOWER = frozenset({"cap", "limit", "crowded"})
"""Reasons that hold nothing back as long as there are others."""


def of_migration(
    name: str,
    roster: Roster,
    account: CloudAccount,
    decision: Decision,
    *,
    source: str,
    target_url: str,
    handover: HandoverState,
    handover_why: str,
    partly: Mapping[str, int],
    in_flight: int,
    rate: int,
    estimated_rate: float,
    started_at: float,
    current: str,
    last_error: str,
    now: float,
    ends: Callable[[float, float, float], float],
) -> MigrationReport:
    """One migration's properties.

    Args:
        partly: bytes confirmed as segments of objects that are not done, by name.
        in_flight: bytes handed over in requests without an answer yet.
        rate: bytes per second now.
        estimated_rate: bytes per second to reckon the end by; 0 where nothing is known.
        ends: when what begins then and takes so many seconds at that rate ends, by the hours of the permit.
    """
    total = sum(roster.size(kind) for kind in Whereabouts)
    under_way = {name: item for name in partly if (item := roster.get(name)) is not None}
    parts = sum(partly[name] for name, item in under_way.items() if item.phase is not Phase.DONE)
    done = min(total, account.size_there + parts)
    left = max(0, account.size_to_send - parts - in_flight)
    begins = _begins(decision, now) if estimated_rate > 0 else None
    return MigrationReport(
        name=name,
        source=source,
        target_url=target_url,
        activity=decision.activity,
        reasons=decision.reasons,
        handover=handover,
        handover_why=handover_why,
        volumes_total=roster.total(metadata=False),
        volumes_done=roster.done(metadata=False),
        volumes_refused=roster.refused(metadata=False),
        metadata_total=roster.total(metadata=True),
        metadata_done=roster.done(metadata=True),
        bytes_total=total,
        bytes_done=done,
        bytes_in_flight=in_flight,
        bytes_sent=roster.bytes_sent,
        progress=_share(done, total),
        rate=rate,
        started_at=started_at,
        expected_end=0.0 if begins is None else ends(begins, left / estimated_rate, estimated_rate),
        restorable_from_cloud=account.restorable,
        behind=len(roster.sets().intersection(account.lacking)),
        newest_on_drive=max((one.end for one in roster.sets()), default=0),
        newest_in_cloud=account.newest.end if account.newest else 0,
        cloud_has=account.worth.value,
        cloud_has_text=promise(account),
        current_object=current,
        last_error=last_error,
    )


def _begins(decision: Decision, now: float) -> float | None:
    """When it sends next: now, or where nothing but the clock holds it, when that lets it; None: nobody knows."""
    if decision.activity is Activity.SENDING:
        return now
    if decision.activity not in {Activity.WAITING, Activity.PAUSED}:
        return None
    holding = [reason for reason in decision.reasons if reason.code not in SLOWER]
    if not holding or any(reason.code not in BY_THE_CLOCK or not reason.until for reason in holding):
        return None
    return max(reason.until for reason in holding if reason.until)


def listed(items: Sequence[Item]) -> Sequence[Mapping[str, str | int | bool]]:
    """The objects in sending order, for `slowboat plan`."""
    return [
        {
            "name": item.name,
            "role": item.role.value,
            "set": f"{item.set_id.type.value} {item.set_id.end}",
            "bytes": item.file.size,
            "phase": item.phase.value,
            "canary": item.canary,
            "error": item.error,
        }
        for item in items
    ]


def grouped(items: Iterable[Item]) -> Sequence[Mapping[str, str | int | bool]]:
    """The same where neighbours of one role and backup set are one row for each phase, with how many `files` it is."""
    rows: list[Mapping[str, str | int | bool]] = []
    for (role, set_id, canary), members in itertools.groupby(items, lambda item: (item.role, item.set_id, item.canary)):
        files: collections.Counter[Phase] = collections.Counter()
        size: collections.Counter[Phase] = collections.Counter()
        first: dict[Phase, Item] = {}
        for item in members:
            first.setdefault(item.phase, item)
            files[item.phase] += 1
            size[item.phase] += item.file.size
        rows += [
            {
                "name": one.name,
                "role": role.value,
                "set": f"{set_id.type.value} {set_id.end}",
                "bytes": size[phase],
                "phase": phase.value,
                "canary": canary,
                "error": one.error,
                "files": files[phase],
            }
            for phase, one in first.items()
        ]
    return rows


def _share(part: int, whole: int) -> float:
    """From 0.0 to 1.0, and 1.0 for all of it alone; of nothing, nothing is done."""
    return part / whole if whole else 0.0


BUSIEST_FIRST = (
    Activity.SENDING,
    Activity.CHECKING,
    Activity.NEEDS_USER,
    Activity.WAITING,
    Activity.STARTING,
    Activity.PAUSED,  # the whole is paused only where nothing else is left to wait for
    Activity.DONE,
)
"""What the whole is doing: whatever of its migrations comes first here."""


def of_all(
    version: str,
    migrations: Mapping[str, MigrationReport],
    reasons: Sequence[Reason],
    *,
    limit: int,
    limit_until: float,
    mode: str,
    network: str,
    paused_until: float,
    added_delay: float,
) -> ManagerReport:
    """The daemon's properties, from its migrations'."""
    reports = migrations.values()
    total, done = sum(report.bytes_total for report in reports), sum(report.bytes_done for report in reports)
    activities = {report.activity for report in reports} or {Activity.WAITING}
    ends = [report.expected_end for report in reports if report.expected_end]
    # Each migration's come in order, what forbids before what only slows down; the permit's alone may only slow down.
    # Where nothing is left to send, nothing holds it back.
    own = () if reports and activities <= {Activity.DONE, Activity.NEEDS_USER} else reasons
    every = dict.fromkeys([*(reason for report in reports for reason in report.reasons), *own])
    return ManagerReport(
        version=version,
        activity=min(activities, key=BUSIEST_FIRST.index),
        reasons=tuple(every),
        bytes_total=total,
        bytes_done=done,
        bytes_in_flight=sum(report.bytes_in_flight for report in reports),
        bytes_sent=sum(report.bytes_sent for report in reports),
        progress=_share(done, total),
        rate=sum(report.rate for report in reports),
        limit=limit,
        limit_until=limit_until,
        mode=mode,
        network=network,
        paused_until=paused_until,
        added_delay=added_delay,
        expected_end=max(ends, default=0.0),
        last_error=next((report.last_error for report in reports if report.last_error), ""),
        migrations=dict(migrations),
    )


def holding(report: ManagerReport) -> tuple[str, ...] | None:
    """What holds it back, in stable words: the activity and each reason's code. () where nothing does.

    None while it only looks at things, which says neither. Who comes and goes on the line is no news.
    """
    if report.activity in {Activity.CHECKING, Activity.STARTING, Activity.STOPPING}:
        return None
    if report.activity in {Activity.SENDING, Activity.DONE}:
        return () if report.activity is Activity.SENDING else (report.activity.value,)
    return (report.activity.value, *sorted({reason.code for reason in report.reasons} - {"crowded"}))


def in_a_line(report: ManagerReport, zone: tzinfo) -> str:
    """What it is doing, in one line: for the service manager. Whole percents, so that it changes rarely.

    Args:
        zone: for the times since which the reasons hold.
    """
    percent = 100 * report.bytes_done // report.bytes_total if report.bytes_total else 0
    match report.activity:
        case Activity.DONE:
            return "Everything is in the cloud"
        case Activity.SENDING:
            return f"Sending: {percent} % of the backup is in the cloud"
        case Activity.CHECKING | Activity.STARTING:
            return "Checking the drive and the cloud"
        case Activity.STOPPING:
            return "Stopping"
        case Activity.PAUSED | Activity.WAITING | Activity.NEEDS_USER:
            why = "; ".join(_in_words(reason, zone) for reason in report.reasons) or "for a moment"
            word = {Activity.PAUSED: "Paused", Activity.WAITING: "Waiting"}.get(report.activity, "Needs you")
            return f"{word} at {percent} %: {why}"


def _in_words(reason: Reason, zone: tzinfo) -> str:
    since = f"since {at_wall(reason.since, zone):%a %H:%M}" if reason.since else ""
    helps = f"what to do: {reason.cure}" if reason.cure else ""
    more = "; ".join(filter(None, (since, helps)))
    return f"{reason.text} ({more})" if more else reason.text
