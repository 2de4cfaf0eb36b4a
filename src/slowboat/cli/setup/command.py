"""The command: looks, proposes, asks what is left, tries it, shows the plan, and begins.

Knows the order of the steps and what each needs of the one before; must not know how one is done.
"""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from slowboat.cli import phrases, screen
from slowboat.core import proposal
from slowboat.core.errors import NeedsUser, SlowboatError

if TYPE_CHECKING:
    from slowboat.cli.setup.discovery import Discovered, FoundBackup, KnownCloud
    from slowboat.cli.setup.questions import Questions
    from slowboat.cli.setup.trial import Found
    from slowboat.core.proposal import Handover
    from slowboat.edges.secrets import Secret
    from slowboat.edges.settings import MigrationSettings, Settings
    from slowboat.engine.adoption import Adopted

TRIES = 3
"""Passwords that may be mistyped, as with sudo."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line says already; "" and None for what it does not."""

    source: Path | None
    name: str
    cloud: str
    auth_url: str
    user: str
    project: str
    region: str
    container: str
    prefix: str | None
    handover: Handover | None
    limit: str
    start: bool


@click.command()
@click.option("-y", "--yes", is_flag=True, help="Ask nothing: take what is proposed, or what the options say.")
@click.option("--source", type=click.Path(path_type=Path), help="The folder with the backup.")
@click.option("--name", default="", help="What to call this migration.")
@click.option("--cloud", default="", help="Which of the known clouds.")
@click.option("--auth-url", default="", help="A new cloud: where tokens come from.")
@click.option("--user", default="", help="A new cloud: the user.")
@click.option("--project", default="", help="A new cloud: the project, if it has any.")
@click.option("--region", default="", help="Which region, if there are several.")
@click.option("--container", default="", help="The container in the cloud.")
@click.option("--prefix", help="A folder in the container; empty for none.")
@click.option(
    "--handover",
    type=click.Choice(["auto", "ask", "never"]),
    help="auto: let backups go to the cloud early; ask: when you confirm it; never: the cloud follows the drive.",
)
@click.option("--limit", default="", metavar="RATE", help="Send at most this much per second, such as 500k.")
@click.option("--no-start", is_flag=True, help="Write the configuration, and start nothing.")
def setup(
    *,
    yes: bool,
    source: Path | None,
    name: str,
    cloud: str,
    auth_url: str,
    user: str,
    project: str,
    region: str,
    container: str,
    prefix: str | None,
    handover: Handover | None,
    limit: str,
    no_start: bool,
) -> None:
    """Find the backup and the cloud, try both, and start.

    It finds backups on drives, and clouds in clouds.yaml, rclone's configuration and the environment; asks the rest;
    and writes nothing before you have seen the plan and said yes. What is there already stays, however often you run
    it.
    """
    from slowboat.cli.setup.questions import Questions

    wishes = Wishes(
        source.absolute() if source else None, name, cloud, auth_url, user, project, region,
        container, prefix, handover, _checked(limit), start=not no_start,
    )  # fmt: skip
    _Setup(wishes, Questions(yes=yes)).run()


def _checked(limit: str) -> str:
    from slowboat.edges.settings import parse_rate

    try:
        return limit if not limit or parse_rate(limit) else ""
    except ValueError as error:
        raise click.UsageError(str(error)) from None


@dataclass(frozen=True, slots=True)
class _Choice:
    """What the answers come to.

    Attributes:
        known: the migration that is configured already; None: a new one.
        secret: what the login was tried with.
        fresh: whether that has yet to be stored.
    """

    backup: FoundBackup
    adopted: Adopted
    cloud: KnownCloud
    secret: Secret
    fresh: bool
    container: str
    prefix: str
    found: Found
    known: MigrationSettings | None


class _Setup:
    def __init__(self, wishes: Wishes, questions: Questions) -> None:
        self._wishes = wishes
        self._ask = questions
        self._text, self._known = _existing()

    def run(self) -> None:
        from slowboat.cli.setup import discovery, summary

        screen.say("Looking for backups and clouds ...")
        there = asyncio.run(discovery.discover(self._known, self._wishes.source))
        backup = self._backup(there)
        for line in summary.about_backup(backup):
            screen.say(f"  {phrases.plain(line)}")
        screen.say(f"  {phrases.plain(summary.duplicities(there.duplicities))}")
        if backup.problem is not None or backup.adopted is None:
            raise backup.problem or SlowboatError(f"there is no backup in {backup.folder}")
        choice = self._place(backup, backup.adopted, there)
        self._carry_out(choice)

    # -- which backup, which cloud ---------------------------------------------------------------------------

    def _backup(self, there: Discovered) -> FoundBackup:
        from slowboat.cli.setup import discovery, summary

        found = there.backups
        if not found and self._wishes.source is None:
            screen.say("There is no duplicity backup on the connected drives or in your home folder.")
            folder = Path(self._ask.text("The folder with the backup", flag="--source")).expanduser()
            found = asyncio.run(discovery.discover(self._known, folder.absolute())).backups
        if not found:
            raise SlowboatError(f"there is no backup in {self._wishes.source}", hint="Connect the drive, and try again")
        fresh = [one for one in found if self._migration_of(one) is None] or list(found)
        sound = [one for one in fresh if one.problem is None] or fresh
        return sound[self._ask.which("Which backup?", [summary.backup(one) for one in sound])]

    def _migration_of(self, backup: FoundBackup) -> MigrationSettings | None:
        for one in self._known.migrations.values() if self._known else ():
            if one.source == backup.folder and (backup.file_prefix is None or one.file_prefix == backup.file_prefix):
                return one
        return None

    def _cloud(self, there: Discovered, known: MigrationSettings | None) -> KnownCloud:
        from slowboat.cli.setup.discovery import KnownCloud
        from slowboat.core.identity import Identity

        wish = self._wishes
        wanted = known.target.cloud if known else wish.cloud
        if wish.auth_url or (not there.clouds and not wanted):
            if not wish.auth_url:
                screen.say("No cloud is known here: neither clouds.yaml, nor rclone, nor the environment has one.")
            url = wish.auth_url or self._ask.text("Address for tokens (auth URL)", flag="--auth-url")
            user = wish.user or self._ask.text("User (often account:user)", flag="--user")
            taken = {one.name for one in there.clouds}
            identity = Identity(url, user, project=wish.project, region=wish.region)
            return KnownCloud(proposal.name_of(wish.cloud or "mycloud", taken), identity, "your options")
        if wanted:
            for one in there.clouds:
                if one.name == wanted:
                    return one
            names = ", ".join(one.name for one in there.clouds) or "none"
            raise SlowboatError(f"there is no cloud called “{phrases.plain(wanted)}”", hint=f"Known are: {names}")
        accounts = [f"{one.name}: {one.identity.user} at {one.identity.auth_url} ({one.where})" for one in there.clouds]
        return there.clouds[self._ask.which("Which cloud?", accounts)]

    # -- the place, tried ------------------------------------------------------------------------------------

    def _place(self, backup: FoundBackup, adopted: Adopted, there: Discovered) -> _Choice:
        from slowboat.cli.setup import summary, trial

        known, wish = self._migration_of(backup), self._wishes
        cloud = self._cloud(there, known)
        owner = proposal.owner_of(os.fspath(backup.folder), backup.file_prefix or socket.gethostname())
        container = known.target.container if known else wish.container or proposal.CONTAINER
        prefix = known.target.prefix if known else _slashed(owner if wish.prefix is None else wish.prefix)
        if wish.region and cloud.needs_table:
            cloud = replace(cloud, identity=replace(cloud.identity, region=wish.region))
        _must_be_private(cloud)
        screen.say(f"Cloud {cloud.name}: {phrases.plain(_account(cloud))} ({cloud.where})")
        cloud, secret, fresh, found = self._logged_in(cloud, container, prefix, adopted)
        for line in summary.cloud(found, container, adopted.items):
            screen.say(f"  {phrases.plain(line)}")
        if found.strange and known is None:
            raise trial.other_backup(found, container, prefix)
        return _Choice(backup, adopted, cloud, secret, fresh, container, prefix, found, known)

    def _logged_in(
        self, cloud: KnownCloud, container: str, prefix: str, adopted: Adopted
    ) -> tuple[KnownCloud, Secret, bool, Found]:
        """Tries the login with what is stored, else found, else typed, which may be mistyped."""
        from slowboat.cli.setup import trial

        secret, fresh = self._secret(cloud)
        for tried in range(TRIES + 1):
            kept = secret if secret is not None else self._ask.secret(cloud.name)
            fresh = fresh or secret is None
            try:
                who = trial.credentials(cloud.identity, kept.reveal)
                found = asyncio.run(trial.examine(who, container, prefix, adopted.items))
            except NeedsUser as error:
                typed = secret is None or not self._ask.silent
                if error.code == "region" and cloud.needs_table and not self._ask.silent:
                    screen.complain(error)
                    region = self._ask.text("Region", flag="--region")
                    cloud, secret = replace(cloud, identity=replace(cloud.identity, region=region)), kept
                    continue
                if error.code != "credentials" or not typed or self._ask.silent or tried >= TRIES - 1:
                    raise
                screen.complain(error)
                secret = None
                continue
            return cloud, kept, fresh, found
        raise SlowboatError("the login did not succeed")

    def _secret(self, cloud: KnownCloud) -> tuple[Secret | None, bool]:
        """The secret as the daemon would find it, or the one that was found; and whether that has yet to be stored."""
        from slowboat.edges import secrets

        try:
            kept = secrets.secret_of(cloud.name, cloud.key_file, in_clouds_yaml=cloud.in_clouds_yaml)
        except NeedsUser as error:
            if error.code != "no-secret" or cloud.key_file is not None:
                raise
            return cloud.key, cloud.key is not None
        return kept, False

    # -- the plan, and the beginning -------------------------------------------------------------------------

    def _carry_out(self, choice: _Choice) -> None:
        from slowboat.cli.setup import start, summary, trial

        handover = self._handover(choice)
        items, found = choice.adopted.items, choice.found
        who = trial.credentials(choice.cloud.identity, choice.secret.reveal)
        screen.say("Trying the cloud ...")
        probed = asyncio.run(trial.make_and_probe(who, choice.container, choice.prefix))
        screen.say(f"  {phrases.plain(summary.abilities(found, probed, choice.container))}")
        name = choice.known.name if choice.known else self._name(choice)
        text = None if choice.known else self._written(name, choice, handover)
        cap = self._cap()
        screen.say("")
        screen.show(summary.plan(name, items, found, probed.rate, cap, handover))
        path = _path()
        if text is not None:
            screen.say("")
            screen.write(summary.difference(self._text, text, str(path)))
        if choice.fresh:
            screen.say(
                f"The password for {choice.cloud.name} goes into your keyring, or a file that only you can read."
            )
        if not self._ask.sure("Write this and start?" if self._wishes.start else "Write this?"):
            screen.say("Nothing has been written.")
            return
        start.write(path, text, choice.cloud.name, choice.secret if choice.fresh else None)
        if not self._wishes.start:
            screen.say("To start it, now and at each login:\n    slowboat install")
            return
        start.begin()
        rate = min(probed.rate, cap) if cap and probed.rate else probed.rate or cap
        left = max(0, proposal.before_handover(items) - found.bytes_of(items))
        start.show_result(start.wait(name), left, rate)

    def _handover(self, choice: _Choice) -> Handover:
        """Hand over or follow; the answer is also the word for making the container."""
        if choice.known is not None:
            known = choice.known
            return "never" if known.follows else "ask" if known.ask_first else "auto"
        if self._wishes.handover is not None:
            self._agreed(choice)
            return self._wishes.handover
        advised = proposal.handover_for(choice.backup.front_end, choice.cloud.remote)
        if advised.why:
            screen.say(f"{advised.why}: it is best if the cloud follows the drive.")
        making = "" if choice.found.room.stands else f", in a new container {choice.container}"
        words = {
            "cloud": f"back up to the cloud as soon as it can be done{making}",
            "follow": f"keep backing up to the drive; the cloud follows{making}",
            "no": "stop here",
        }
        answer = self._ask.word("Where should your next backups go?", words, "follow" if advised.why else "cloud")
        if answer == "no":
            raise click.Abort
        return "never" if answer == "follow" else "auto"

    def _agreed(self, choice: _Choice) -> None:
        if not choice.found.room.stands and not self._ask.sure(f"Make the container {choice.container}?"):
            raise click.Abort

    def _name(self, choice: _Choice) -> str:
        taken = self._known.migrations.keys() if self._known else ()
        return proposal.name_of(self._wishes.name or choice.prefix.strip("/") or choice.backup.folder.name, taken)

    def _cap(self) -> int:
        from slowboat.edges.settings import parse_rate

        if self._wishes.limit:
            return parse_rate(self._wishes.limit)
        return (self._known.rules.cap or 0) if self._known else 0

    def _written(self, name: str, choice: _Choice, handover: Handover) -> str:
        """The new text of the whole configuration, which has been read back.

        Raises:
            NeedsUser: it would be wrong.
        """
        from slowboat.edges import settings
        from slowboat.edges.settings import writing

        cloud, backup = choice.cloud, choice.backup
        tables = [writing.cloud_text(cloud.name, cloud.identity)] if cloud.needs_table else []
        new = writing.NewMigration(
            name, os.fspath(backup.folder), backup.url, cloud.name, choice.container, choice.prefix.strip("/"),
            proposal.target_urls(choice.container, choice.prefix, cloud.remote), backup.file_prefix, handover,
        )  # fmt: skip
        text = writing.appended(self._text, [*tables, writing.migration_text(new)], self._wishes.limit)
        try:
            settings.parse(text.encode(), _path(), _of_the_service())
        except UnicodeEncodeError:
            what = f"the folder {phrases.plain(os.fspath(backup.folder))} has a name that is not valid UTF-8"
            raise NeedsUser(what, hint="Rename it", code="config") from None
        return text


def _path() -> Path:
    from slowboat.edges import settings

    return settings.config_path()


def _of_the_service() -> dict[str, str]:
    """The environment without what systemd does not hand on of this shell's."""
    return {key: text for key, text in os.environ.items() if not key.startswith(("ST_", "OS_"))}


def _existing() -> tuple[str, Settings | None]:
    """The configuration that there is, as text and as read; one with a mistake must be mended by its owner first."""
    from slowboat.edges import settings

    try:
        known = settings.load(None, _of_the_service(), begun=True)
    except NeedsUser as error:
        if error.code == "no-config":
            return "", None
        raise
    return _path().read_text(encoding="utf-8-sig"), known


def _must_be_private(cloud: KnownCloud) -> None:
    from slowboat.edges.settings import checks

    try:
        checks.private_url(("auth_url",), cloud.identity.auth_url)
    except checks.Wrong as wrong:
        raise NeedsUser(f"{cloud.where}: {wrong.what}", hint=wrong.right, code="clear-text") from None


def _account(cloud: KnownCloud) -> str:
    who = cloud.identity
    user = who.user or who.user_id or who.application_credential_name or who.application_credential_id
    return f"{user} at {who.auth_url}"


def _slashed(prefix: str) -> str:
    return f"{prefix.strip('/')}/" if prefix.strip("/") else ""
