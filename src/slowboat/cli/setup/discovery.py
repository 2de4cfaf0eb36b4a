"""What this machine knows: backups on its drives, the clouds in other programs' files, its duplicities and Deja Dup.

Knows which edge to ask for what, and that two of them may tell of one thing; must not know what is chosen.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from slowboat.core import chains, dejadup, proposal
from slowboat.core.errors import NeedsUser, SlowboatError
from slowboat.edges import xdg

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from slowboat.core.dejadup import Layout
    from slowboat.core.identity import Identity
    from slowboat.core.versions import Installation
    from slowboat.core.words import SourceFile
    from slowboat.edges.secrets import Secret
    from slowboat.edges.settings import Cloud, Settings
    from slowboat.engine.adoption import Adopted


@dataclass(frozen=True, slots=True)
class FoundBackup:
    """A backup on a drive.

    Attributes:
        folder: where it lies.
        file_prefix: whose it is in that folder; None where there is one alone.
        newest: its newest chain; None where there is none.
        size, files: of all of duplicity's files there.
        adopted: what would be moved, in order; None where it cannot be.
        problem: why not.
        url: what duplicity knows the folder by; "" where nothing proves it.
        cache: duplicity's cache of it, where there is one.
        front_end: the Deja Dup that makes it; None: duplicity alone does, as far as is known.
    """

    folder: Path
    file_prefix: str | None = None
    newest: chains.Chain | None = None
    size: int = 0
    files: int = 0
    adopted: Adopted | None = None
    problem: SlowboatError | None = None
    url: str = ""
    cache: Path | None = None
    front_end: Layout | None = None


@dataclass(frozen=True, slots=True)
class KnownCloud:
    """An account at a cloud that somebody has described already.

    Attributes:
        name: in slowboat's configuration, or to be.
        where: who described it, for people.
        remote: the rclone remote that leads there, too; "" for none.
        key: its secret where that was found together with it, and is not looked for by the cloud's name.
        needs_table: whether the configuration needs a table for it.
        key_file, in_clouds_yaml: as `edges.settings.Cloud` has them.
    """

    name: str
    identity: Identity
    where: str
    remote: str = ""
    key: Secret | None = field(default=None, repr=False)
    needs_table: bool = True
    key_file: Path | None = None
    in_clouds_yaml: bool = False


@dataclass(frozen=True, slots=True)
class Discovered:
    """All of it."""

    backups: Sequence[FoundBackup]
    clouds: Sequence[KnownCloud]
    duplicities: Sequence[Installation]


async def discover(known: Settings | None, source: Path | None) -> Discovered:
    """Looks everywhere; reads nothing but names, small files, and manifests in duplicity's caches.

    Args:
        known: the configuration that there is.
        source: the folder that the user named, and no other is looked at.
    """
    from slowboat.edges.dejadup import DejaDup
    from slowboat.edges.duplicity import InstalledDuplicities

    front_end = DejaDup(os.environ)
    values = await front_end.read()
    installed, clouds, folders = await asyncio.gather(
        InstalledDuplicities(None, os.environ).installed(),
        asyncio.to_thread(known_clouds, known),
        asyncio.to_thread(_folders, source, values),
    )
    each = await asyncio.gather(*(_backups_in(folder, values, known) for folder in folders))
    backups = [backup for some in each for backup in some]
    backups.sort(key=lambda one: (one.problem is not None, -(one.newest.end if one.newest else 0)))
    return Discovered(backups, clouds, installed)


def _folders(source: Path | None, values: Mapping[str, str]) -> Sequence[Path]:
    from slowboat.edges import backups

    if source is not None:
        return (source,)
    home = xdg.home()
    named = dejadup.local_folder(values, os.fspath(home), socket.gethostname())
    hinted = (Path(named),) if named and Path(named).is_dir() else ()
    return backups.folders(tuple(dict.fromkeys((*backups.tops(home), *hinted))))


# -- backups -----------------------------------------------------------------------------------------------------


async def _backups_in(folder: Path, values: Mapping[str, str], known: Settings | None) -> Sequence[FoundBackup]:
    """The backups in one folder: several, where hosts share it."""
    from slowboat.edges.source import Source

    try:
        files = await Source(folder).listing()
    except SlowboatError as error:
        return [FoundBackup(folder, problem=error)]
    inventory = await asyncio.to_thread(chains.take_inventory, files, None)
    prefixes: Iterable[str | None] = inventory.candidates or (None,)
    return [await _backup(folder, files, prefix, values, known) for prefix in prefixes]


async def _backup(
    folder: Path,
    files: Sequence[SourceFile],
    prefix: str | None,
    values: Mapping[str, str],
    known: Settings | None,
) -> FoundBackup:
    from slowboat.daemon.migrations import canaries
    from slowboat.edges.cache import Cache, usual_archive_dirs
    from slowboat.edges.source import Source
    from slowboat.engine import adoption

    migrations = known.migrations.values() if known else ()
    archive_dirs = [*usual_archive_dirs(os.environ), *(one.archive_dir for one in migrations if one.archive_dir)]
    cache = Cache(archive_dirs, [url for one in migrations for url in one.target.urls])
    inventory = await asyncio.to_thread(chains.take_inventory, files, prefix)
    ours = [file for chain in inventory.chains for file in chain.files]
    names = dejadup.source_urls(values, os.fspath(folder), os.fspath(xdg.home()), socket.gethostname())
    found = FoundBackup(
        folder, prefix, inventory.newest, sum(file.size for file in ours), len(ours),
        front_end=dejadup.layout(values) if names else None,
    )  # fmt: skip
    try:
        directory = await cache.find(adoption.newest_keys(inventory), "")
        hints = (*names, *await asyncio.to_thread(_of_duply), *(one.source_url for one in migrations if one.source_url))
        url = proposal.source_url(os.fspath(folder), directory.name if directory else "", hints)
        found = replace(found, cache=directory, url=url)
        adopted = await adoption.examine(
            Source(folder), cache, files,
            url=url, file_prefix=prefix, canary=canaries(os.environ, archive_dirs), where=os.fspath(folder),
        )  # fmt: skip
    except SlowboatError as error:
        return replace(found, problem=error)
    return replace(found, adopted=adopted)


def _of_duply() -> tuple[str, ...]:
    """The URLs of local targets in duply's profiles, which calls duplicity (https://duply.net, `~/.duply/*/conf`)."""
    found: list[str] = []
    for path in sorted(xdg.home().glob(".duply/*/conf")):
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        found += re.findall(r"^TARGET=['\"]?((?:file|gio\+file)://[^'\"\s]+)", text, re.MULTILINE)
    return tuple(found)


# -- clouds ------------------------------------------------------------------------------------------------------


def known_clouds(known: Settings | None) -> Sequence[KnownCloud]:
    """The accounts that somebody has described, each once, the surest first. Blocking.

    Raises:
        NeedsUser: what the environment says is wrong.
    """
    found = [*_configured(known), *_of_clouds_yaml(), *_of_rclone(), *_of_environment()]
    made: dict[tuple[str, ...], KnownCloud] = {}
    names: set[str] = set()
    for one in found:
        same = _key(one.identity)
        if same in made:  # one account that two programs know: its remote and its secret are worth something
            before = made[same]
            made[same] = replace(before, remote=before.remote or one.remote, key=before.key or one.key)
            continue
        named = replace(one, name=proposal.name_of(one.name, names, "cloud")) if one.needs_table else one
        names.add(named.name)
        made[same] = named
    return tuple(made.values())


def _key(identity: Identity) -> tuple[str, ...]:
    who = identity.user or identity.user_id or identity.application_credential_id
    project = identity.project or identity.project_id
    return (identity.auth_url.rstrip("/"), who, project, identity.region)


def _configured(known: Settings | None) -> Iterable[KnownCloud]:
    for cloud in known.clouds.values() if known else ():
        yield KnownCloud(
            cloud.name, cloud, "your configuration",
            needs_table=False, key_file=cloud.key_file, in_clouds_yaml=cloud.in_clouds_yaml,
        )  # fmt: skip


def _of_clouds_yaml() -> Iterable[KnownCloud]:
    from slowboat.edges import clouds_yaml
    from slowboat.edges.settings.checks import NAME

    seen = {key: text for key, text in os.environ.items() if not key.startswith("OS_")}  # by the service, that is
    try:
        names = clouds_yaml.names(seen)
    except NeedsUser:
        return
    for name in sorted(names, key=lambda one: one != os.environ.get("OS_CLOUD")):  # the one in use comes first
        try:
            identity = clouds_yaml.identity(name, seen)
        except NeedsUser:
            continue  # it logs in by what slowboat does not know
        if identity is not None and NAME.fullmatch(name):
            yield KnownCloud(name, identity, "clouds.yaml", needs_table=False, in_clouds_yaml=True)


def _of_rclone() -> Iterable[KnownCloud]:
    from slowboat.edges import rclone
    from slowboat.edges.secrets import Secret

    for remote in rclone.remotes(os.environ):
        key = Secret(remote.key) if remote.key else None
        yield KnownCloud(remote.name, remote.identity, f"rclone's remote {remote.name}", remote=remote.name, key=key)


def _of_environment() -> Iterable[KnownCloud]:
    from slowboat.edges import secrets
    from slowboat.edges.settings import ENV_CLOUD, env_cloud

    cloud = env_cloud(os.environ)
    if cloud is None:
        return
    try:
        key = secrets.secret_of(ENV_CLOUD)
    except NeedsUser:
        key = None
    yield KnownCloud("mycloud", _plain(cloud), "this shell's environment", key=key)


def _plain(cloud: Cloud) -> Identity:
    from dataclasses import fields

    from slowboat.core.identity import Identity

    return Identity(**{each.name: getattr(cloud, each.name) for each in fields(Identity)})
