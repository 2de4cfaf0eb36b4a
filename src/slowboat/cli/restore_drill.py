"""The restore drill: one small file through the user's own duplicity, from the cloud and from the drive, compared.

Knows the settings, the secret and the passphrase, all of which only ever go into duplicity's environment. Must not
know how duplicity is called (edges/duplicity). It writes nothing but a temporary folder, which goes away with it.
"""

from __future__ import annotations

import asyncio
import filecmp
import os
import stat
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import click

from slowboat.cli import phrases, restorable, screen
from slowboat.core import urls
from slowboat.core.errors import NeedsUser, SlowboatError
from slowboat.edges.duplicity import InstalledDuplicities, PathRestore
from slowboat.edges.secrets import secret_of
from slowboat.edges.swift.credentials import Credentials

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slowboat.core.verify import Report, SampleFile
    from slowboat.edges.settings import Cloud, MigrationSettings

_ROOMY = Path("/var/tmp")  # noqa: S108  # a private folder is made in it
"""Where large temporary files belong (file-hierarchy(7)): /tmp may be memory, and a chain's signatures are large."""

_DRILL = "To do that, run it in a terminal, or set PASSPHRASE as for duplicity."


def tell(name: str, report: Report) -> bool:
    """Says what the cloud alone can restore, and tries it where that can be done here.

    Returns:
        Whether the newest backup can be restored from the cloud alone, and no trial has failed.

    Raises:
        SlowboatError: the trial could not be made.
    """
    screen.show(restorable.view(name, report))
    newest = restorable.newest(report)
    whole = newest is not None and not newest.files_missing
    if not report.samples:
        screen.say("There is no file to try it with yet.")
        return whole
    fetched = phrases.size(max(one.size for one in report.samples))
    screen.say(f"To try it with one small file, duplicity fetches the metadata and a volume or two, about {fetched}.")
    passphrase = _passphrase(encrypted=report.samples[0].encrypted)
    if passphrase is None:
        screen.say(_DRILL)
        return whole
    return _drill(name, report.samples, passphrase) and whole


def _passphrase(*, encrypted: bool) -> str | None:
    """What PASSPHRASE says, else what is typed ("": gpg's agent knows it); None where nobody can be asked."""
    if not encrypted:
        return ""
    given = os.environ.get("PASSPHRASE")
    if given or not sys.stdin.isatty():
        return given or None
    asked = "Passphrase of the backup (empty if gpg-agent has it)"
    return str(click.prompt(asked, default="", hide_input=True, show_default=False, err=True))


def _drill(name: str, samples: Sequence[SampleFile], passphrase: str) -> bool:
    from slowboat.edges import settings

    read = settings.load(None)
    migration = read.migrations.get(name)
    if migration is None:
        raise NeedsUser(f"the settings no longer have a migration {name}", hint="Run: slowboat reload", code="config")
    duplicity = InstalledDuplicities(migration.duplicity, os.environ)
    program, version = duplicity.path(), asyncio.run(duplicity.version())
    if program is None or not version:
        raise NeedsUser("no working duplicity was found", hint="Install duplicity, or set its path in the settings")
    secrets = _environment(read.clouds[migration.target.cloud]) | ({"PASSPHRASE": passphrase} if passphrase else {})
    where = _ROOMY if _ROOMY.is_dir() and not os.environ.get("TMPDIR") else None
    with tempfile.TemporaryDirectory(prefix="slowboat-drill-", dir=where) as folder:
        return _compared(PathRestore(program, version, Path(folder), secrets), migration, samples)


def _compared(restore: PathRestore, migration: MigrationSettings, samples: Sequence[SampleFile]) -> bool:
    """Restores the first of the samples that is a file, from both sides."""
    cloud = urls.swift(migration.target.container, migration.target.prefix)
    for sample in samples:
        got = _restored(restore, cloud, sample)
        if got is not None:
            break
    else:
        screen.say("None of the files that were tried is still in the newest backup: nothing was compared.")
        return False
    file = f"“{phrases.plain(sample.path)}” ({phrases.size(got.stat().st_size)})"
    screen.say(f"Restored from the cloud alone: {file}.")
    if not migration.source.is_dir():  # duplicity would make the folder
        screen.say("The drive is not connected, so it was not compared.")
        return True
    other = _restored(restore, f"file://{quote(str(migration.source))}", sample)
    if other is None or not filecmp.cmp(got, other, shallow=False):
        screen.complain(SlowboatError(f"the drive's {file} differs", hint="See: slowboat verify --deep"))
        return False
    screen.say("The same file restored from the drive is identical, byte for byte.")
    return True


def _restored(restore: PathRestore, url: str, sample: SampleFile) -> Path | None:
    """The restored file; None where that backup has no file of the name."""
    when = int(sample.set_name.rpartition(" ")[2])
    made = restore.run(url, sample.path, when, file_prefix=sample.file_prefix, encrypted=sample.encrypted)
    return made if made is not None and stat.S_ISREG(made.lstat().st_mode) else None


def _environment(cloud: Cloud) -> dict[str, str]:
    """What duplicity's swift:// reads (docs/duplicity.md, "The restore drill").

    Raises:
        SlowboatError: there is no secret, or no token where duplicity could not get one by itself.
    """
    who = Credentials.of(
        cloud, lambda: secret_of(cloud.name, cloud.key_file, in_clouds_yaml=cloud.in_clouds_yaml).reveal()
    ).revealed()
    environment = {"REQUESTS_CA_BUNDLE": cloud.cacert}
    match who.protocol:
        case 1 if not cloud.storage_url:
            environment |= _signing_in(who) | {"ST_AUTH": who.auth_url, "ST_USER": who.user, "ST_KEY": who.key}
        case 2 if who.user and who.project and who.interface == "public" and not cloud.storage_url:
            environment |= _signing_in(who) | {"SWIFT_TENANTNAME": who.project, "OS_TENANT_NAME": who.project}
        case 3 if who.user and _project(who) and not (cloud.storage_url or who.by_application_credential):
            environment |= _signing_in(who) | _keystone(who)
        case _:
            environment |= _token(who)
    return {name: text for name, text in environment.items() if text}


def _project(who: Credentials) -> str:
    return who.project or who.project_id


def _signing_in(who: Credentials) -> dict[str, str]:
    return {
        "SWIFT_AUTHURL": who.auth_url,
        "SWIFT_AUTHVERSION": str(who.protocol),
        "SWIFT_USERNAME": who.user,
        "SWIFT_PASSWORD": who.key,
        "SWIFT_REGIONNAME": who.region,
    }


def _keystone(who: Credentials) -> dict[str, str]:
    """A name without a domain is taken where slowboat itself takes it."""
    user_domain_id, user_domain = who.domain_of("user")
    domain_id, domain = ("", "") if who.project_id else who.domain_of("project")
    return {
        "SWIFT_USERID": who.user_id,
        "SWIFT_USER_DOMAIN_NAME": user_domain,
        "SWIFT_USER_DOMAIN_ID": user_domain_id,
        "SWIFT_PROJECT_NAME": who.project,
        "SWIFT_TENANTNAME": who.project,
        "SWIFT_PROJECT_ID": who.project_id,
        "SWIFT_TENANTID": who.project_id,
        "SWIFT_PROJECT_DOMAIN_NAME": domain,
        "SWIFT_PROJECT_DOMAIN_ID": domain_id,
        "SWIFT_ENDPOINT_TYPE": f"{who.interface}URL",
    }


def _token(who: Credentials) -> dict[str, str]:
    """A token of slowboat's own, for what duplicity cannot sign in with; it lives for hours, the drill for minutes."""
    from slowboat.edges.swift.auth import token_of

    access = token_of(who)
    return {
        "SWIFT_PREAUTHURL": access.storage_url,
        "SWIFT_PREAUTHTOKEN": access.token,
        "OS_STORAGE_URL": access.storage_url,
        "OS_AUTH_TOKEN": access.token,
    }
