"""What the daemon is doing, as a person wants to read it: report in, renderable out.

Pure, and total: any report renders at any width. Knows the
report; must not know the bus or a clock (`now` is given).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from slowboat.cli import phrases, reasons
from slowboat.core.words import Activity, HandoverState, Reason
from slowboat.core.worth import NOT_YET, Worth

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from slowboat.core.words import ManagerReport, MigrationReport

BAR_WIDTH = 60
"""Columns at most: a bar is read as a picture, and a very wide one no longer is."""

_DOING = {
    Activity.STARTING: "is starting",
    Activity.CHECKING: "is comparing the drive with the cloud",
    Activity.SENDING: "is sending",
    Activity.WAITING: "is waiting",
    Activity.PAUSED: "is paused",
    Activity.NEEDS_USER: "needs you",
    Activity.DONE: "is done",
    Activity.STOPPING: "is stopping",
}
_STYLES = {
    Activity.SENDING: "bold green",
    Activity.DONE: "bold green",
    Activity.NEEDS_USER: "bold red",
    Activity.WAITING: "bold yellow",
    Activity.PAUSED: "bold yellow",
}
_NO_MIGRATION = (
    "There is nothing to move yet. Describe your backup in ~/.config/slowboat/config.toml, then run: slowboat reload"
)
_AFTER_CURE = "When that is done, run: slowboat retry"
_HOLDS_NO_UPLOAD = frozenset({"duplicity-version"})
"""Reasons that only the handover waits for."""
_NOT_SENDING = frozenset({Activity.WAITING, Activity.PAUSED, Activity.NEEDS_USER})


def view(report: ManagerReport, now: float) -> RenderableType:
    """The whole status: what it does and why, then each migration with its bar.

    Args:
        report: what the daemon shows.
        now: the present, seconds since the epoch.
    """
    common = [reason for reason in _common(report) if reason.code not in reasons.LIMITS or reason.until]
    parts: list[RenderableType] = [headline(report), *_why_lines(report.activity, common, now)]
    if report.last_error and not common and not any(one.last_error for one in report.migrations.values()):
        parts.append(Padding(_trouble(report.last_error), (0, 0, 0, 2)))
    if not report.migrations:
        parts.append(Text(_NO_MIGRATION))
    for name, migration in report.migrations.items():
        parts += [Text(""), _migration(name, migration, report, now)]
    if len(report.migrations) > 1:
        parts += [Text(""), _altogether(report, now)]
    return Group(*parts)


def why(report: ManagerReport, now: float) -> RenderableType:
    """Only the reasons: the daemon's own, then those of single migrations."""
    common = _common(report)
    parts: list[RenderableType] = [headline(report), *_why_lines(report.activity, common, now)]
    alone = True
    for name, migration in report.migrations.items():
        own = reasons.distinct(migration.reasons, common)
        if own or (migration.activity in _NOT_SENDING and migration.activity != report.activity):
            alone = False
            parts += [Text(""), _name_line(name, migration), *_why_lines(migration.activity, own, now)]
    if alone and not common:
        parts.append(Text(_no_reason(report.activity)))
    return Group(*parts)


def headline(report: ManagerReport) -> Text:
    """One line: `slowboat is sending at 512 kB/s over Home (limit 600 kB/s, only what nobody else uses)`."""
    head = Text("slowboat ")
    head.append(_doing(report.activity, report.rate), style=_STYLES.get(report.activity, "bold"))
    if report.network and report.activity is Activity.SENDING:
        head.append(f" over {phrases.plain(report.network)}")
    below = []
    if report.limit > 0 and report.activity not in {Activity.DONE, Activity.STOPPING}:
        below.append(f"limit {phrases.rate(report.limit)}")
    if report.mode == "spare" and report.activity is Activity.SENDING:
        below.append("only what nobody else uses")
    if below:
        head.append(f" ({', '.join(below)})", style="dim")
    return head


def brief(report: ManagerReport, now: float) -> str:
    """The state in one plain line, for a log of `status --watch` that goes to no terminal."""
    done = f"{phrases.size(report.bytes_done)} of {phrases.size(report.bytes_total)}"
    parts = [_doing(report.activity, report.rate), phrases.percent(report.bytes_done, report.bytes_total), done]
    parts += [phrases.plain(reason.text) for reason in _common(report)]
    left = _left(report.activity, report.expected_end, now)
    return "; ".join([*parts, f"{left} left"] if left else parts)


def _doing(activity: Activity, rate: int) -> str:
    at = f" at {phrases.rate(rate)}" if activity is Activity.SENDING and rate > 0 else ""
    return _DOING[activity] + at


def _common(report: ManagerReport) -> tuple[Reason, ...]:
    """The reasons that hold for the whole; one that only some migrations have is told with those.

    A pause that came without a reason is one all the same.
    """
    each = [{(reason.code, reason.text) for reason in one.reasons} for one in report.migrations.values()]
    common = []
    for reason in reasons.distinct(report.reasons):
        having = sum((reason.code, reason.text) in own for own in each)
        if having in {0, len(each)}:
            common.append(reason)
    if common or report.activity is not Activity.PAUSED:
        return tuple(common)
    return (Reason("paused", "You paused it", "slowboat resume", report.paused_until or None),)


def _why_lines(activity: Activity, common: Sequence[Reason], now: float) -> list[RenderableType]:
    if not common:
        return []
    slower = activity not in _NOT_SENDING and any(reason.code not in _HOLDS_NO_UPLOAD for reason in common)
    lines = [] if not slower else [Text("It sends less than it could, because:")]
    after = [Padding(Text(_AFTER_CURE), (0, 0, 0, 4))] if activity is Activity.NEEDS_USER else []
    return [*lines, reasons.listed(common, now), *after]


def _no_reason(activity: Activity) -> str:
    if activity in _NOT_SENDING:
        return "It gave no reason. To see what happened: slowboat history"
    if activity is Activity.DONE:
        return "Nothing is left to send."
    return "Nothing holds it back."


def _name_line(name: str, migration: MigrationReport) -> Text:
    line = Text(phrases.plain(name), style="bold")
    if migration.activity in _NOT_SENDING:
        line.append(f" {_doing(migration.activity, 0)}", style=_STYLES.get(migration.activity, "bold"))
    return line


def _migration(name: str, migration: MigrationReport, report: ManagerReport, now: float) -> RenderableType:
    own = reasons.distinct(migration.reasons, _common(report))
    same = migration.activity == report.activity
    title = Text(phrases.plain(name), style="bold") if same else _name_line(name, migration)
    why_lines = _why_lines(migration.activity, own, now)
    body = Group(_bar(migration.bytes_done, migration.bytes_total), _facts(migration, own, now))
    return Group(title, *why_lines, Padding(body, (0, 0, 0, 2)))


def _bar(done: int, total: int) -> RenderableType:
    """The bar and its percentage. An empty total has no bar: nothing has been counted yet."""
    if total <= 0:
        return Text("The files have not been counted yet.", style="dim")
    row = Table.grid(padding=(0, 1, 0, 0))
    row.add_column(max_width=BAR_WIDTH)
    row.add_column(no_wrap=True)
    share = phrases.fraction(done, total)
    bar = ProgressBar(total=1.0, completed=share, width=None, complete_style="green", finished_style="green")
    row.add_row(bar, Text(phrases.percent(done, total), style="bold"))
    return row


def _facts(migration: MigrationReport, own: Sequence[Reason], now: float) -> RenderableType:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in _rows(migration, own, now):
        if value:
            table.add_row(label, value if isinstance(value, Text) else Text(value))
    return table


def _rows(migration: MigrationReport, own: Sequence[Reason], now: float) -> list[tuple[str, str | Text]]:
    troubled = migration.last_error and all(reason.text not in migration.last_error for reason in own)
    return [
        ("Done", _amount(migration)),
        ("Remaining", _left_with_end(migration, now)),
        ("Now", phrases.plain(migration.current_object)),
        ("From", phrases.plain(migration.source)),
        ("To", phrases.plain(migration.target_url)),
        ("Handover", _handover(migration)),
        ("Direct", _direct(migration)),
        ("duplicity", _duplicities(migration)),
        ("Behind", _behind(migration)),
        ("Restore", _restore(migration)),
        ("Set aside", _refused(migration)),
        ("Trouble", Text(phrases.sentence(migration.last_error), style="red") if troubled else ""),
    ]


def _amount(migration: MigrationReport) -> str:
    if migration.bytes_total <= 0:
        return ""
    volumes = phrases.count(migration.volumes_total, "volume", "volumes")
    done = f"{phrases.size(migration.bytes_done)} of {phrases.size(migration.bytes_total)}"
    return f"{done}, {max(0, migration.volumes_done):,} of {volumes}"


def _left(activity: Activity, end: float, now: float) -> str:
    """How long it will take, or "" where nobody knows: while it waits, an end would be a guess."""
    if end <= now or activity is Activity.DONE:
        return ""
    return phrases.about(end - now)


def _left_with_end(migration: MigrationReport, now: float) -> str:
    left = _left(migration.activity, migration.expected_end, now)
    if left:
        end = phrases.moment(migration.expected_end, now)
        return f"{left} (done {end})" if end else left
    return (
        ""
        if migration.activity is Activity.DONE
        else "Not known yet: it depends on when and how fast slowboat may send."
    )


def _handover(migration: MigrationReport) -> str | Text:
    target = phrases.plain(migration.backup_url or migration.target_url) or "the cloud"
    reason = phrases.sentence(migration.handover_why)
    match migration.handover:
        case HandoverState.DONE if migration.front_end:
            return "\n".join([f"Done: backups can go to {target}.", *phrases.cure(migration.front_end)])
        case HandoverState.DONE:
            sentence = f"Done. From now on, back up to {target}, no longer to the drive. {reason}"
            return Text(sentence.rstrip(), style="green")
        case HandoverState.READY:
            return _until_then("Ready", migration.handover_why) if reason else "Comes next, by itself."
        case HandoverState.NEVER:
            return (
                "None: the cloud follows the drive. Keep backing up to the drive: each backup is moved by itself. "
                "To continue in the cloud instead:\n    slowboat handover"
            )
        case HandoverState.BLOCKED:
            return Text(_until_then("Blocked", migration.handover_why or "It gave no reason"), style="red")
        case HandoverState.PENDING:
            return f"Not yet. {reason or _metadata(migration)} Until then, keep backing up to the drive."


def _until_then(state: str, why: str) -> str:
    """Why the handover is not done; a command that would help stands alone on its line."""
    first, *commands = phrases.cure(why)
    end = "Until then, keep backing up to the drive."
    if not commands:
        return f"{state}: {first} {end}"
    return "\n".join([f"{state}: {first}", *(f"    {command}" for command in commands), end])


def _metadata(migration: MigrationReport) -> str:
    total, done = max(0, migration.metadata_total), max(0, migration.metadata_done)
    if total == 0:
        return "First the chain on the drive must be read."
    if done < total:
        files = phrases.count(total, "metadata file", "metadata files")
        return f"First the metadata must be in the cloud: {done:,} of {files} are."
    return "The metadata is in the cloud; the handover follows by itself, shortly."


def _direct(migration: MigrationReport) -> str:
    if migration.direct_sets <= 0:
        return ""
    return f"{phrases.count(migration.direct_sets, 'backup', 'backups')} went straight to the cloud since the handover."


def _duplicities(migration: MigrationReport) -> str | Text:
    """Every duplicity that may make the next backup, and what the worst of them may do meanwhile."""
    names = phrases.plain(" or ".join(migration.duplicities))
    if not migration.duplicity_danger:
        return names
    return Text(f"{names}: {phrases.sentence(migration.duplicity_danger)}".removeprefix(": "), style="red")


def _behind(migration: MigrationReport) -> str:
    """How far the cloud is behind the drive, once it has a backup that can be restored at all."""
    if migration.behind <= 0 or migration.newest_in_cloud <= 0:
        return ""
    backups = phrases.count(migration.behind, "backup", "backups")
    return f"{backups}, {phrases.duration(migration.newest_on_drive - migration.newest_in_cloud)}."


def _restore(migration: MigrationReport) -> str | Text:
    """What the cloud alone is worth, as the daemon says it: there is one account of it."""
    text = phrases.sentence(migration.cloud_has_text) or NOT_YET
    return Text(text, style="green") if migration.cloud_has == Worth.ALL.value else text


def _refused(migration: MigrationReport) -> str | Text:
    if migration.volumes_refused <= 0:
        return ""
    files = phrases.count(migration.volumes_refused, "volume", "volumes")
    it_is = "it is" if migration.volumes_refused == 1 else "they are"
    which = "    slowboat plan --all\n    slowboat history"
    return Text(f"{files} cannot be sent as {it_is}. To see which, and why:\n{which}", style="red")


def _trouble(error: str) -> Text:
    return Text.assemble(("Last problem: ", "bold"), phrases.sentence(error))


def _altogether(report: ManagerReport, now: float) -> Text:
    done = f"{phrases.size(report.bytes_done)} of {phrases.size(report.bytes_total)}"
    share = phrases.percent(report.bytes_done, report.bytes_total)
    left = _left(report.activity, report.expected_end, now)
    return Text(f"Altogether {done} ({share})" + (f", {left} left" if left else ""))
