"""The commands. Each reads what was typed, asks the daemon, and says in a sentence what is so now.

Knows click and what the bus's client offers; must not know how anything is drawn (status, listing) or sent.
Libraries are imported when they are needed: `--help` needs no bus, and a Tab must not take long.
"""

from __future__ import annotations

import contextlib
import shlex
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from slowboat import __version__
from slowboat.cli import edited, phrases, screen
from slowboat.cli.elsewhere import Elsewhere
from slowboat.core.errors import SlowboatError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence
    from typing import TypeVar

    from click.shell_completion import CompletionItem

    from slowboat.cli.panel import Form
    from slowboat.core.conditions import Mode
    from slowboat.core.verify import Report
    from slowboat.core.words import ManagerReport, MigrationReport
    from slowboat.edges.bus.client import Client

    Answer = TypeVar("Answer")

FAILED, NOT_RUNNING, INTERRUPTED, CONFIG = 1, 3, 130, 78
"""Exit codes beside 0 and click's own 2. 3 is what the LSB says of a status that is "not running", 130 is the
shell's for an interrupt, 78 is EX_CONFIG of sysexits.h and the daemon's own."""

_EXIT_CODES = {"not-running": NOT_RUNNING, "no-bus": NOT_RUNNING, "config": CONFIG, "no-config": CONFIG}

ELSEWHERE = (
    ("setup", "setup", "Find the backup and the cloud, try both, and start."),
    ("doctor", "doctor", "Check everything that slowboat needs, and say how to fix it."),
    ("password", "password", "Store the password or key of a cloud."),
    ("install", "install", "Install and start slowboat as a systemd user service."),
    ("uninstall", "install", "Stop slowboat and remove what install wrote."),
    ("completion", "install", "Print the completions for a shell."),
)
"""Commands that are loaded when they are called: their names, the rooms that they are in, and their summaries."""

COMPLETION_PATIENCE = 1.0
"""Seconds that a Tab may take; after them no names are offered."""

LIMIT_WORDS = {
    "spare": "only what nobody else uses",
    "go": "the whole connection, below your caps",
    "off": "as in your settings",
}
"""What `limit` knows beside a rate."""


def main(arguments: Sequence[str]) -> int:
    """Runs one command and returns the exit code; known errors become one clear line, never a traceback."""
    screen.prepare()
    try:
        code = cli.main(args=list(arguments), prog_name="slowboat", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except SlowboatError as error:
        from slowboat.cli import not_running

        screen.complain(not_running.explained(error))
        return _EXIT_CODES.get(error.code, FAILED)
    except OSError as error:
        if not screen.cannot_write(error):
            raise
        return FAILED
    return code if isinstance(code, int) else 0


def _ask(question: Callable[[Client], Awaitable[Answer]]) -> Answer:
    """Connects to the daemon, asks it one thing, and takes leave."""
    import asyncio

    from slowboat.edges.bus.client import Client

    async def conversation() -> Answer:
        async with await Client.open() as daemon:
            return await question(daemon)

    return asyncio.run(conversation())


def _names(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The migrations' names, for the shell's Tab."""
    import asyncio

    from click.shell_completion import CompletionItem

    async def names(daemon: Client) -> list[str]:
        async with asyncio.timeout(COMPLETION_PATIENCE):
            return list((await daemon.report()).migrations)

    try:
        known = _ask(names)
    except (SlowboatError, TimeoutError):
        return []
    return [CompletionItem(name) for name in known if name.startswith(incomplete)]


def _limits(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The words that `limit` knows beside a rate, for the shell's Tab."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(word, help=meaning) for word, meaning in LIMIT_WORDS.items() if word.startswith(incomplete)]


def _chosen(report: ManagerReport, name: str) -> MigrationReport:
    """The migration that is meant; without a name, the only one."""
    known = ", ".join(phrases.plain(one) for one in report.migrations) or "none"
    if name in report.migrations:
        return report.migrations[name]
    if name:
        from slowboat.edges.settings.cures import did_you_mean

        printable = phrases.plain(name)
        close = did_you_mean(name, report.migrations)
        raise SlowboatError(f"there is no migration called “{printable}”", hint=close or f"Known names: {known}")
    if len(report.migrations) != 1:
        command = click.get_current_context().command_path
        each = "".join(f"\n    {command} {phrases.plain(shlex.quote(one))}" for one in report.migrations)
        raise click.UsageError(f"which migration? Name one of these:\n{each}" if each else "there is no migration yet")
    return next(iter(report.migrations.values()))


class _Listed(click.Group):
    """A group whose help lists the commands in the order in which they are defined: most used first."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return list(self.commands)


_name = click.argument("name", required=False, default="", shell_complete=_names)


def _in_form(name: Form, meaning: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(f"--{name}", "form", flag_value=name, help=meaning)


_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs, with nothing rounded.")


@click.group(cls=_Listed, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="slowboat %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """Move an existing duplicity backup from a drive to the cloud, slowly, safely, in the background.

    Without a command: status.
    """
    if context.invoked_subcommand is None:
        context.invoke(status)


@cli.command()
@click.option("-w", "--watch", is_flag=True, help="Keep showing it until Ctrl-C.")
@_in_form("waybar", "Print it for waybar's custom module.")
@_in_form("i3blocks", "Print it for i3blocks.")
@_in_form("polybar", "Print it for polybar's script module.")
@_in_form("argos", "Print it for Argos, a menu in GNOME's panel.")
@_in_form("prometheus", "Print it for node_exporter's textfile collector.")
@click.option("--from-menu", is_flag=True, hidden=True, help="The terminal goes with the command: wait for Enter.")
@_as_json
def status(*, watch: bool = False, form: Form | None = None, from_menu: bool = False, as_json: bool = False) -> None:
    """Show what slowboat is doing, how far it is, and why it waits."""
    from slowboat.cli import json_output
    from slowboat.cli.status import view

    if form is not None:
        _in_a_form(form, watch=watch)
        return
    if watch:
        with _read_before_it_goes() if from_menu else contextlib.nullcontext():
            _watch(as_json=as_json)
        return
    report = _ask(lambda daemon: daemon.report())
    if as_json:
        screen.write(json_output.status(report))
    else:
        screen.show(view(report, time.time()))
        _say_if_edited(report)


def _say_if_edited(report: ManagerReport) -> None:
    """The configuration in the editor is not yet the one that the daemon goes by."""
    path = report.configuration
    now = edited.digest(Path(path)) if path else ""
    if now == report.configuration_digest:
        return
    from slowboat.core import checkup

    found = checkup.edited(path, report.configuration_digest, now)
    if found is not None and found.health is checkup.Health.BAD:
        screen.say(f"\n{phrases.sentence(found.how)} {found.cure}")


def _in_a_form(form: Form, *, watch: bool) -> None:
    """For panels and collectors: that nothing runs is something to show, and no failure."""
    from slowboat.cli import panel

    if watch:
        import asyncio

        from slowboat.cli import watch as watching

        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(watching.in_form(form))
        return
    report: ManagerReport | None = None
    with contextlib.suppress(SlowboatError):
        report = _ask(lambda daemon: daemon.report())
    screen.write(panel.shown(form, report, time.time()))


@contextlib.contextmanager
def _read_before_it_goes() -> Iterator[None]:
    """What went wrong can be read in a window that is gone when the command ends."""
    try:
        yield
    except SlowboatError as error:
        from slowboat.cli import not_running

        screen.complain(not_running.explained(error))
        click.pause("Press any key to close this window.")
        raise click.exceptions.Exit(FAILED) from None


def _watch(*, as_json: bool) -> None:
    import asyncio

    from slowboat.cli import watch

    with contextlib.suppress(KeyboardInterrupt):  # the way out, not a failure
        asyncio.run(watch.in_json() if as_json else watch.in_words())


@cli.command()
def why() -> None:
    """Explain why it waits or is slow, and what to do about it."""
    from slowboat.cli.status import why as reasons

    screen.show(reasons(_ask(lambda daemon: daemon.report()), time.time()))


@cli.command()
@_name
@click.option("-a", "--all", "every", is_flag=True, help="List every single file.")
@_as_json
def plan(name: str, *, every: bool, as_json: bool) -> None:
    """Show what will be sent, in what order, and how long it takes.

    It sends nothing by itself.
    """
    from slowboat.cli import json_output, listing

    async def question(daemon: Client) -> tuple[ManagerReport, dict[str, Sequence[listing.PlanRow]]]:
        report = await daemon.report()
        names = [_chosen(report, name).name] if name else list(report.migrations)
        return report, {one: await daemon.plan(one, grouped=not every and not as_json) for one in names}

    report, plans = _ask(question)
    if as_json:
        screen.write(json_output.plan(plans))
        return
    estimated = listing.estimate(report.rate, report.limit)
    for one, rows in plans.items():
        handed_over = report.migrations[one].handover
        screen.show(listing.every_file(one, rows) if every else listing.plan(one, rows, estimated, handed_over))
    if not plans:
        screen.say("There is nothing to move yet.")


@cli.command()
@click.argument("words", nargs=-1, metavar="[2h | until 18:00] [NAME]", shell_complete=_names)
def pause(words: tuple[str, ...]) -> None:
    """Stop sending, for a while or until you resume.

    \b
    slowboat pause               until: slowboat resume
    slowboat pause 2h            also 30min, 1h30m, 2d
    slowboat pause until 18:00   also 2026-11-24, "2026-11-24 18:00"
    slowboat pause 2h laptop     only that migration
    """  # noqa: D301  # click's mark for lines that stay as they are
    from slowboat.cli import arguments

    now = time.time()
    try:
        until, name = arguments.pause(words, now)
    except arguments.NotUnderstood as error:
        raise click.UsageError(str(error)) from None

    async def question(daemon: Client) -> None:
        if name:
            _chosen(await daemon.report(), name)
        await daemon.pause(name, until)

    _ask(question)
    who = f"“{phrases.plain(name)}” is paused" if name else "Paused"
    again = f"slowboat resume {phrases.plain(shlex.quote(name))}" if name else "slowboat resume"
    if until:
        left = phrases.duration(until - now)
        screen.say(f"{who} until {phrases.moment(until, now)} (for {left}). To resume earlier: {again}")
    else:
        screen.say(f"{who} until you resume it: {again}")


@cli.command()
@_name
def resume(name: str) -> None:
    """Resume after a pause."""

    async def question(daemon: Client) -> None:
        if name:
            _chosen(await daemon.report(), name)
        await daemon.resume(name)

    _ask(question)
    who = f"“{phrases.plain(name)}” is" if name else "It is"
    screen.say(f"{who} no longer paused. To see whether anything else holds it back: slowboat why")


@cli.command()
@click.argument("rate", required=False, metavar="[RATE | spare | go | off]", shell_complete=_limits)
@click.option("--for", "span", metavar="TIME", help="Only for that long (2h, 30min).")
def limit(rate: str | None, span: str | None) -> None:
    """Set or show the limit on how much is sent per second.

    RATE is 500k (kB per second), 1.5M (MB per second) or 4Mbit. Each replaces the one before.

    \b
    slowboat limit 500k          at most that much
    slowboat limit spare         only what nobody else uses, whatever your settings say
    slowboat limit go            the whole connection, even if others use it, below your caps
    slowboat limit off           as in your settings
    slowboat limit go --for 1h   also 30min, 1h30m, 2d; a rate and spare likewise
    """  # noqa: D301  # as above
    from slowboat.cli import arguments

    now = time.time()
    try:
        at_most, mode = arguments.limit("off" if rate is None else rate)
        until = now + arguments.span(span) if span is not None else 0.0
    except arguments.NotUnderstood as error:
        raise click.UsageError(str(error)) from None
    if until and not at_most and not mode:
        raise click.UsageError("--for needs a limit: slowboat limit 500k --for 1h (or spare, or go)")
    if rate is None:
        _show_limit(_ask(lambda daemon: daemon.report()))
        return
    _ask(lambda daemon: daemon.set_limit(at_most, until, mode))
    end = f"until {phrases.moment(until, now)} (for {phrases.duration(until - now)})" if until else "from now on"
    screen.say(f"{_wanted(at_most, mode)} {end}. To see what else holds it back: slowboat why")


def _wanted(at_most: int, mode: Mode) -> str:
    """What the user has just said, in the beginning of a sentence."""
    match mode:
        case "spare":
            return "Only what nobody else uses,"
        case "go":
            return "The whole connection, below your caps,"
        case "":
            return f"At most {_both_units(at_most)}" if at_most else "As in your settings"


def _show_limit(report: ManagerReport) -> None:
    """The user's limit or the configuration's, and all that hold; and whether way is made for others."""
    from slowboat.cli import reasons

    limits = [reason for reason in reasons.distinct(report.reasons) if reason.code in reasons.LIMITS]
    if report.limit:
        screen.say(f"The limit is {_both_units(report.limit)}.")
    elif not limits:
        screen.say("There is no limit now.")
    if limits:
        screen.show(reasons.listed(limits, time.time()))
    screen.say("It takes only what nobody else uses." if report.mode == "spare" else "It does not make way for others.")
    if report.limit_until and not any(reason.until for reason in limits):
        screen.say(f"Your setting for now: {reasons.ending(report.limit_until, time.time())}")


def _both_units(at_most: int) -> str:
    return f"{phrases.rate(at_most)} ({at_most * 8 / 1e6:.3g} Mbit/s)"


@cli.command()
@_name
@click.option("--undo", is_flag=True, help="Undo it, as long as duplicity has not written to the cloud.")
@click.option("--switch-deja-dup", "switch", is_flag=True, help="Also switch Deja Dup's settings to the cloud.")
def handover(name: str, *, undo: bool, switch: bool) -> None:
    """Let duplicity continue in the cloud, now.

    This happens by itself as soon as the metadata is there.
    """
    if undo and switch:
        raise click.UsageError("--undo switches Deja Dup back by itself")

    async def question(daemon: Client) -> MigrationReport:
        migration = _chosen(await daemon.report(), name)
        if switch:
            return replace(migration, target_url=await daemon.switch_front_end(migration.name))
        if undo:
            await daemon.undo_handover(migration.name)
        elif migration.handover.value != "done":
            await daemon.hand_over(migration.name)
            return _chosen(await daemon.report(), name)  # only now it is known what is left to do
        return migration

    migration = _ask(question)
    target = phrases.plain(migration.target_url)
    if undo:
        drive = phrases.plain(migration.source)
        screen.say(f"The handover is undone. Keep backing up to the drive ({drive}), not to {target}.")
    else:
        screen.say(_handed_over(migration, target, switched=switch))
        if not migration.restorable_from_cloud:
            screen.say("Keep the drive: a restore needs it until everything has arrived.")


def _handed_over(migration: MigrationReport, target: str, *, switched: bool) -> str:
    """What is so after the handover; where the front end is not there yet, also what is to be done with it."""
    if switched:
        return f"The handover is done. Deja Dup now backs up to {target}, no longer to the drive."
    if migration.front_end:
        lines = (phrases.plain(line) for line in migration.front_end.splitlines())
        return "\n".join([f"The handover is done: backups can go to {target}.", *lines])
    return f"The handover is done. From now on, back up to {target}, no longer to the drive."


@cli.command()
@_name
@click.option("--deep", is_flag=True, help="Also read the drive: compare every file with duplicity's own checksums.")
@click.option(
    "--restore", is_flag=True, help="Show what can be restored from the cloud alone, and try it with a small file."
)
@click.option("--stop", is_flag=True, help="Stop a verification that is under way.")
@_as_json
def verify(name: str, *, deep: bool, restore: bool, stop: bool, as_json: bool) -> int:
    """Compare what is in the cloud with what is on the drive.

    This costs one listing, even while slowboat is paused. What is missing in the cloud is sent again. The exit code is
    0 only if every file is in the cloud and nothing is wrong; it is 1 while files are still to be sent.

    With --restore it is 0 if the newest backup can be restored from the cloud alone. The trial restores a file with
    your duplicity from the cloud and from the drive, and compares them; it takes the passphrase from PASSPHRASE, or
    asks for it.
    """
    from slowboat.cli import restore_drill, verify_progress, verify_view

    async def question(daemon: Client) -> dict[str, Report]:
        report = await daemon.report()
        names = [_chosen(report, name).name] if name else list(report.migrations)
        if stop:
            for one in names:
                await daemon.stop_verifying(one)
            return {}
        return {one: await verify_progress.verify(daemon, one, deep=deep, restore=restore) for one in names}

    reports = _ask(question)
    if stop:
        screen.say("The verification is stopped.")
        return 0
    if as_json:
        screen.write(verify_view.as_json(reports))
    elif not reports:
        screen.say("There is nothing to verify yet.")
    if restore and not as_json:
        restored = [restore_drill.tell(one, report) for one, report in reports.items()]
        return 0 if restored and all(restored) else FAILED
    for one, report in () if as_json else reports.items():
        screen.show(verify_view.view(one, report))
    return 0 if reports and all(report.ok and report.complete for report in reports.values()) else FAILED


@cli.command()
@click.option(
    "-n", "--lines", type=click.IntRange(1, 10000), default=30, show_default=True, help="Show at most this many lines."
)
@click.option("--since", metavar="TIME", help="Only what happened since then: 2d, 3h, yesterday, 18:00, 2026-11-24.")
@_as_json
def history(lines: int, since: str | None, *, as_json: bool) -> None:
    """Show what has happened so far, and how much was sent when."""
    from slowboat.cli import arguments, charts, json_output, listing

    try:
        oldest = arguments.since(since, time.time()) if since else 0.0
    except arguments.NotUnderstood as error:
        raise click.UsageError(str(error)) from None
    now = time.time()

    async def question(daemon: Client) -> tuple[Sequence[listing.HistoryLine], Sequence[tuple[float, int]]]:
        week = now - charts.DAYS * 86400
        return await daemon.history(oldest, lines), () if as_json else await daemon.traffic(week)

    happened, slots = _ask(question)
    if as_json:
        screen.write(json_output.history(happened))
        return
    screen.show(listing.history(happened))
    chart = charts.traffic(slots, now)
    if chart is not None:
        screen.say("")
        screen.show(chart)


@cli.command()
def retry() -> None:
    """Retry now whatever failed or waits.

    That is: whatever waits for a server, was set aside, or needed you and has been fixed.
    """
    _ask(lambda daemon: daemon.retry_now())
    screen.say("slowboat is trying again. To see the result: slowboat status")


@cli.command()
def reload() -> None:
    """Reload the configuration.

    If it has mistakes, slowboat lists them and keeps the configuration in use.
    """
    _ask(lambda daemon: daemon.reload())
    screen.say("The configuration has been read again.")


@cli.command()
@click.option(
    "--config", type=click.Path(path_type=Path), help="Use this file instead of ~/.config/slowboat/config.toml."
)
def daemon(config: Path | None) -> int:
    """Run the daemon in the foreground; normally systemd does that."""
    from slowboat.daemon import main as run

    return run(config)


for _name_of_it, _room, _summary in ELSEWHERE:
    cli.add_command(Elsewhere(_name_of_it, _room, _summary))
