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
from slowboat.edges.duplicity import InstalledDuplicity, PathRestore
from slowboat.edges.secrets import secret_of
from slowboat.edges.swift.credentials import Credentials

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slowboat.core.verify import Report, Sample
    from slowboat.edges.settings import Cloud, Migration

_ROOMY = Path("/var/tmp")  # noqa: S108  # a private folder is made in it
"""Where large temporary files belong (file-hierarchy(7)): /tmp may be memory, and a chain's signatures are large."""

_DRILL = "For that, run it in a terminal, or set PASSPHRASE as for duplicity."


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
        screen.say("There is no file yet to try it with.")
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
    asked = "Passphrase of the backup (empty: gpg-agent has it)"
    return str(click.prompt(asked, default="", hide_input=True, show_default=False, err=True))


def _drill(name: str, samples: Sequence[Sample], passphrase: str) -> bool:
    from slowboat.edges import settings

    read = settings.load(None)
    migration = read.migrations.get(name)
    if migration is None:
        raise NeedsUser(f"the settings have no migration {name} any more", hint="See slowboat reload", code="config")
    duplicity = InstalledDuplicity(migration.duplicity, os.environ)
    program, version = duplicity.path(), asyncio.run(duplicity.version())
    if program is None or not version:
        raise NeedsUser("there is no duplicity that runs", hint="Install duplicity, or name it in the settings")
    secrets = _environment(read.clouds[migration.target.cloud]) | ({"PASSPHRASE": passphrase} if passphrase else {})
    where = _ROOMY if _ROOMY.is_dir() and not os.environ.get("TMPDIR") else None
    with tempfile.TemporaryDirectory(prefix="slowboat-drill-", dir=where) as folder:
        return _compared(PathRestore(program, version, Path(folder), secrets), migration, samples)


def _compared(restore: PathRestore, migration: Migration, samples: Sequence[Sample]) -> bool:
    """Restores the first of the samples that is a file, from both sides."""
    cloud = urls.swift(migration.target.container, migration.target.prefix)
    for sample in samples:
        got = _restored(restore, cloud, sample)
        if got is not None:
            break
    else:
        screen.say("None of the files that were tried is still in the newest backup: nothing was compared.")
        return False
    told = f"“{phrases.plain(sample.path)}” ({phrases.size(got.stat().st_size)})"
    screen.say(f"Restored from the cloud alone: {told}.")
    if not migration.source.is_dir():  # duplicity would make the folder
        screen.say("The drive is not there to compare it with.")
        return True
    other = _restored(restore, f"file://{quote(str(migration.source))}", sample)
    if other is None or not filecmp.cmp(got, other, shallow=False):
        screen.complain(SlowboatError(f"the drive's {told} is not the same", hint="See: slowboat verify --deep"))
        return False
    screen.say("Restored from the drive, it is the same, byte for byte.")
    return True


def _restored(restore: PathRestore, url: str, sample: Sample) -> Path | None:
    """The restored file; None where that backup has no file of the name."""
    when = int(sample.set_name.rpartition(" ")[2])
    made = restore.run(url, sample.path, when, file_prefix=sample.file_prefix, encrypted=sample.encrypted)
    return made if made is not None and stat.S_ISREG(made.lstat().st_mode) else None


def _environment(cloud: Cloud) -> dict[str, str]:
    """What duplicity's swift:// reads (docs/duplicity.md, "The restore drill").

    Raises:
        NeedsUser: there is no secret, or duplicity knows no such way in.
    """
    if cloud.application_credential_id or cloud.application_credential_name:
        raise NeedsUser(
            "duplicity's swift:// knows no application credentials",
            hint="Restore a file with the URL and the settings that you use with duplicity",
            code="no-drill",
        )
    who = Credentials(
        cloud.auth_url,
        version=cloud.version,
        user_domain=cloud.user_domain,
        project=cloud.project,
        project_id=cloud.project_id,
    )
    key = secret_of(cloud.name, cloud.key_file).reveal()
    told = {"SWIFT_AUTHURL": cloud.auth_url, "SWIFT_USERNAME": cloud.user, "SWIFT_PASSWORD": key}
    told["SWIFT_AUTHVERSION"] = str(who.protocol)
    if who.protocol == 1:
        told |= {"ST_AUTH": cloud.auth_url, "ST_USER": cloud.user, "ST_KEY": key}
    else:
        told |= _keystone(cloud)
    told |= {"REQUESTS_CA_BUNDLE": cloud.cacert, "SWIFT_REGIONNAME": cloud.region}
    return {name: text for name, text in told.items() if text}


def _keystone(cloud: Cloud) -> dict[str, str]:
    """A name without a domain is taken in "Default", as slowboat itself does."""
    default = "" if cloud.user_domain_id else "Default"
    project_default = "" if cloud.project_domain_id or cloud.project_id else "Default"
    return {
        "SWIFT_USERID": cloud.user_id,
        "SWIFT_USER_DOMAIN_NAME": cloud.user_domain or default,
        "SWIFT_USER_DOMAIN_ID": cloud.user_domain_id,
        "SWIFT_PROJECT_NAME": cloud.project,
        "SWIFT_TENANTNAME": cloud.project,
        "SWIFT_PROJECT_ID": cloud.project_id,
        "SWIFT_PROJECT_DOMAIN_NAME": cloud.project_domain or project_default,
        "SWIFT_PROJECT_DOMAIN_ID": cloud.project_domain_id,
        "SWIFT_ENDPOINT_TYPE": f"{cloud.interface}URL",
    }
