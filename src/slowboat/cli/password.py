"""`password`: takes a cloud's password or key, stores it where only the user can read it, and tells the daemon.

Knows how to ask without showing what is typed; must not know where secrets are kept (`edges.secrets`). The secret is
never an argument: the arguments of a process can be read by everybody on the machine.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from typing import TYPE_CHECKING

import click

from slowboat.cli import phrases, screen
from slowboat.core.errors import NeedsUser, SlowboatError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slowboat.edges.secrets import Secret
    from slowboat.edges.settings import Cloud


@click.command()
@click.argument("cloud", metavar="CLOUD")
@click.option("--file", "in_file", is_flag=True, help="Store it in a private file, not in the keyring.")
def password(cloud: str, *, in_file: bool) -> None:
    """Store the password or key of a cloud.

    slowboat asks for it without showing it; a script can write it to standard input. It is stored in your keyring, or
    if there is none, in a file that only you can read. A daemon that waits for it continues.
    """
    _must_be_wanted(cloud)
    secret = asked(cloud)
    where = keep(cloud, secret, in_file=in_file)
    screen.say(f"The password for {cloud} is stored in {where}.")
    screen.say(_retried())


def keep(cloud: str, secret: Secret, *, in_file: bool = False) -> str:
    """Stores it in the keyring, or where there is none, or with `in_file`, in a private file; says where.

    Raises:
        SlowboatError: it cannot be stored, or another one is found first.
    """
    from slowboat.edges import secrets

    try:
        where = _stored_in_file(cloud, secret) if in_file else _stored(cloud, secret)
    except NeedsUser as error:
        if error.code != "no-secret-service":
            raise
        where = f"{_stored_in_file(cloud, secret)}, because there is no keyring here that accepts it"
    read = secrets.secret_of(cloud)  # a credential of systemd's, or an older one in the keyring, may come first
    if read != secret:
        raise SlowboatError(
            f"the password for {cloud} is stored in {where}, but another one is found first",
            hint=f"Remove the one in the keyring, or store this one there, too: it is labelled “slowboat: {cloud}”",
        )
    return where


def _stored(cloud: str, secret: Secret) -> str:
    from slowboat.edges import secrets

    secrets.store(cloud, secret)
    return "your keyring"


def _stored_in_file(cloud: str, secret: Secret) -> str:
    from slowboat.edges import secrets

    return phrases.plain(str(secrets.store_in_file(cloud, secret)))


def _must_be_wanted(cloud: str) -> None:
    """Raises SlowboatError where the configuration says that the daemon would not look for it there."""
    from slowboat.edges import clouds_yaml
    from slowboat.edges.settings.checks import NAME
    from slowboat.edges.settings.cures import did_you_mean

    known = _clouds()
    if (
        cloud == "env"
        or (known is None and NAME.fullmatch(cloud) is None)
        or (known is not None and cloud not in known)
    ):
        names = ", ".join(known or ()) or "none"
        close = did_you_mean(cloud, known or ())
        raise SlowboatError(
            f"there is no cloud called “{phrases.plain(cloud)}”",
            hint=close or f"The clouds in the configuration: {names}",
        )
    if known is not None and (file := known[cloud].key_file) is not None:
        raise SlowboatError(
            f"the configuration takes the password for {cloud} from {phrases.plain(str(file))}",
            hint="Write it there, or remove key_file from the configuration",
        )
    if known is not None and known[cloud].in_clouds_yaml and clouds_yaml.secret(cloud, os.environ):
        raise SlowboatError(
            f"the password for {cloud} stands in clouds.yaml, and is taken from there",
            hint="Change it there (or in secure.yaml beside it), or remove it from there first",
        )


def _clouds() -> Mapping[str, Cloud] | None:
    """The configured clouds; None where the configuration cannot be read: the password may be what comes first."""
    from slowboat.edges import settings

    with contextlib.suppress(NeedsUser):
        return settings.load(None).clouds
    return None


def asked(cloud: str) -> Secret:
    """What is typed, or comes from a pipe: one line, without its end."""
    from slowboat.edges.secrets import Secret

    if sys.stdin.isatty():
        text = str(click.prompt(f"Password or key for {cloud}", hide_input=True, err=True))
    else:
        text = sys.stdin.readline()
    text = re.sub(r"[\r\n]+\Z", "", text)
    if not text:
        raise SlowboatError("no password was given", hint="Nothing was stored")
    if text != text.strip():
        screen.say("Note: it begins or ends with a blank. If that came from copying, run this again.")
    return Secret(text)


def _retried() -> str:
    """Tells a running daemon to try again, and says what comes next."""
    import asyncio

    from slowboat.edges.bus.client import Client

    async def retry() -> None:
        async with await Client.open() as daemon:
            await daemon.retry_now()

    try:
        asyncio.run(retry())
    except SlowboatError:
        return "slowboat is not running yet. To start it, now and at each login: slowboat install"
    return "slowboat is trying it now. To see the result: slowboat status"
