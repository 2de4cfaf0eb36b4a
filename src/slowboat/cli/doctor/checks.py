"""Looks at each thing, one after the other where one needs the other, and makes a finding of it.

Knows which edge answers for what; must not know what is good (core/checkup).
"""

from __future__ import annotations

import asyncio
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slowboat.cli import edited, not_running
from slowboat.core import chains, checkup, proposal, urls
from slowboat.core.checkup import CheckResult, Health
from slowboat.core.errors import NeedsUser, SlowboatError, SourceAbsent, Transient
from slowboat.core.words import Activity
from slowboat.edges import xdg

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from slowboat.core.words import ManagerReport
    from slowboat.edges.cache import Cache
    from slowboat.edges.settings import Cloud, MigrationSettings, Settings

PATIENCE = 60.0
"""Seconds for a cloud: what takes longer is told as that."""


@dataclass(frozen=True, slots=True)
class _Daemon:
    """What the daemon shows, if it runs, and why not."""

    report: ManagerReport | None
    why: SlowboatError | None


async def everything(*, clouds: bool) -> Sequence[CheckResult]:
    """All findings, in the order in which a person would mend them.

    Args:
        clouds: whether the clouds are asked, too.
    """
    daemon = await _daemon()
    settings, configured = _configuration(daemon.report)
    found = [_path(), *configured, *await _service(daemon), _space(), _linger()]
    migrations = settings.migrations.values() if settings else ()
    found += [await asyncio.to_thread(_secret, one) for one in (settings.clouds.values() if settings else ())]
    for migration in migrations:
        found += await _drive(migration)
    if clouds and settings is not None:
        found += await asyncio.gather(*(_cloud(settings, one, daemon.report) for one in migrations))
    return [*found, *await _machine(migrations)]


async def here() -> Sequence[CheckResult]:
    """What can be known of this machine without asking a cloud: secrets, drives, the service."""
    return [one for one in await everything(clouds=False) if one.code not in {"daemon", "in-use"}]


# -- slowboat itself ---------------------------------------------------------------------------------------------


def _path() -> CheckResult:
    found = shutil.which("slowboat")
    if found:
        return CheckResult("path", "PATH", Health.GOOD, f"slowboat is {found}")
    cure = "Run this, then open a new terminal: pipx ensurepath"
    return CheckResult("path", "PATH", Health.NOTE, "slowboat is not in a folder of your PATH", cure)


async def _daemon() -> _Daemon:
    from slowboat.edges.bus.client import Client

    try:
        async with await Client.open() as daemon:
            return _Daemon(await daemon.report(), None)
    except SlowboatError as error:
        return _Daemon(None, await asyncio.to_thread(not_running.explained, error))


def _configuration(report: ManagerReport | None) -> tuple[Settings | None, Iterable[CheckResult]]:
    """The configuration that is in use, or would be, and what is found of it."""
    from slowboat.edges import settings

    path = Path(report.configuration) if report and report.configuration else settings.config_path()
    seen = {key: text for key, text in os.environ.items() if not key.startswith(("ST_", "OS_"))}
    try:
        read = settings.load(path, seen)
    except NeedsUser as error:
        return None, [checkup.of_error("configuration", "Configuration", error)]
    count = len(read.migrations)
    how = f"{path}: {count} migration{'s' * (count != 1)}"
    found = [CheckResult("configuration", "Configuration", Health.GOOD, how)]
    in_use = checkup.edited(str(path), report.configuration_digest if report else "", edited.digest(path))
    return read, [*found, *([in_use] if in_use else [])]


async def _service(daemon: _Daemon) -> Iterable[CheckResult]:
    from slowboat.edges import confinement, services, units
    from slowboat.edges.bus.report_properties import NAME

    state = await units.state()
    if state is None:
        how = "your systemd cannot be reached here"
        found = [CheckResult("manager", "systemd", Health.NOTE, how, "Run this in the desktop session, without sudo")]
    else:
        health = Health.GOOD if state.enabled == "enabled" else Health.BAD
        how = {"enabled": "it starts slowboat at each login", "": "slowboat is not installed as a service"}.get(
            state.enabled, f"slowboat is {state.enabled}, and does not start by itself"
        )
        found = [CheckResult("manager", "systemd", health, how, "Install and start it: slowboat install")]
    if daemon.why is not None:
        return [*found, checkup.of_error("daemon", "Daemon", daemon.why)]
    pid = await services.process_of(NAME)
    applied = confinement.of_process(pid, xdg.home()) if pid else None
    return [
        *found,
        *map(_running, [daemon.report] if daemon.report else []),
        checkup.sandbox(state is None or state.private_users, applied),
    ]


def _running(report: ManagerReport) -> CheckResult:
    needs = [name for name, one in report.migrations.items() if one.activity is Activity.NEEDS_USER]
    if needs:
        return CheckResult("daemon", "Daemon", Health.BAD, f"it needs you for {', '.join(needs)}", "See: slowboat why")
    return CheckResult("daemon", "Daemon", Health.GOOD, f"slowboat {report.version} runs")


def _space() -> CheckResult:
    from slowboat.edges import settings

    folder = settings.state_dir()
    while not folder.exists():
        folder = folder.parent
    return checkup.space(str(folder), shutil.disk_usage(folder).free)


def _linger() -> CheckResult:
    lingers = Path("/var/lib/systemd/linger", os.environ.get("USER") or str(os.getuid())).exists()
    if lingers:
        return CheckResult("linger", "Linger", Health.GOOD, "slowboat also runs while nobody is logged in")
    cure = "To let it run without a login, too: loginctl enable-linger"
    return CheckResult("linger", "Linger", Health.NOTE, "slowboat runs while you are logged in", cure)


# -- each cloud, each migration ----------------------------------------------------------------------------------


def _secret(cloud: Cloud) -> CheckResult:
    from slowboat.edges import secrets

    what = f"Password of {cloud.name}"
    try:
        secrets.secret_of(cloud.name, cloud.key_file, in_clouds_yaml=cloud.in_clouds_yaml)
    except NeedsUser as error:
        return checkup.of_error("secret", what, error)
    return CheckResult("secret", what, Health.GOOD, "it is there")


async def _drive(migration: MigrationSettings) -> Iterable[CheckResult]:
    from slowboat.edges.cache import Cache, usual_archive_dirs
    from slowboat.edges.source import Source
    from slowboat.engine import adoption

    what = f"Drive of {migration.name}"
    source = Source(migration.source)
    try:
        files = await source.listing()
        drive = await source.identity()
    except SourceAbsent as error:
        return [checkup.of_error("drive", what, error, Health.NOTE)]
    except SlowboatError as error:
        return [checkup.of_error("drive", what, error)]
    inventory = await asyncio.to_thread(chains.take_inventory, files, migration.file_prefix)
    if inventory.newest is None:
        how = f"there is no backup in {migration.source}"
        cure = "Correct the migration's source, or its file_prefix, then: slowboat reload"
        return [CheckResult("drive", what, Health.BAD, how, cure)]
    how = (
        f"{migration.source} ({drive or 'a drive of no known kind'}) holds {chains.describe(inventory.newest.last.id)}"
    )
    archive_dirs = (migration.archive_dir,) if migration.archive_dir else usual_archive_dirs(os.environ)
    cache = Cache(archive_dirs, migration.target.urls)
    return [
        CheckResult("drive", what, Health.GOOD, how),
        await _cache(cache, f"Cache of {migration.name}", adoption.newest_keys(inventory), migration.source_url),
    ]


async def _cache(cache: Cache, what: str, keys: frozenset[str], url: str) -> CheckResult:
    try:
        found = await cache.find(keys, url)
    except SlowboatError as error:
        return checkup.of_error("cache", what, error)
    if found is None:
        how = "none of duplicity's caches here belongs to the backup: without one, there is no early handover"
        cure = f"To make one: duplicity collection-status {urls.without_user(url) or 'URL'}"
        return CheckResult("cache", what, Health.NOTE, how, cure)
    return CheckResult("cache", what, Health.GOOD, str(found))


async def _cloud(settings: Settings, migration: MigrationSettings, report: ManagerReport | None) -> CheckResult:
    from slowboat.edges.secrets import secret_of
    from slowboat.edges.swift import Credentials, SwiftStore

    target, what = migration.target, f"Cloud of {migration.name}"
    cloud = settings.clouds[target.cloud]
    who = Credentials.of(
        cloud, lambda: secret_of(cloud.name, cloud.key_file, in_clouds_yaml=cloud.in_clouds_yaml).reveal()
    )
    store = SwiftStore(who, target.container)
    place = f"{target.container}/{target.prefix}".rstrip("/")
    try:
        async with asyncio.timeout(PATIENCE):
            room = await store.room()
    except TimeoutError:
        return CheckResult("cloud", what, Health.UNKNOWN, f"{who.host} has not answered for a minute")
    except Transient as error:
        return checkup.of_error("cloud", what, error, Health.NOTE)
    except SlowboatError as error:
        return checkup.of_error("cloud", what, error)
    finally:
        await store.close()
    shown = report.migrations.get(migration.name) if report else None
    left = shown.bytes_total - shown.bytes_done if shown else 0
    return checkup.room("cloud", what, place, room, proposal.lacking(room.free, left, 0))


# -- the machine -------------------------------------------------------------------------------------------------


async def _machine(migrations: Iterable[MigrationSettings]) -> Iterable[CheckResult]:
    from slowboat.edges.duplicity import InstalledDuplicities

    named = {one.duplicity for one in migrations}
    asked = [InstalledDuplicities(program, os.environ) for program in sorted(named, key=str) or [None]]
    installed = [one for each in asked for one in await each.installed()]
    return [checkup.duplicities(list(dict.fromkeys(installed))), *await _services()]


async def _services() -> Iterable[CheckResult]:
    """The services of the desktop and the system: slowboat does without each, and does less."""
    from slowboat.edges import services

    wanted = (
        ("keyring", "Keyring", "org.freedesktop.secrets", "session", "none: passwords are kept in private files"),
        ("notifications", "Notifications", "org.freedesktop.Notifications", "session", "none: nothing can be shown"),
        ("network", "NetworkManager", "org.freedesktop.NetworkManager", "system", "none: less is known about networks"),
        ("upower", "UPower", "org.freedesktop.UPower", "system", "none: the battery is read from the kernel"),
    )  # fmt: skip
    found = []
    for code, what, name, which, without in wanted:
        seen = await services.presence(name, "session" if which == "session" else "system")
        how = {"running": "it runs", "startable": "it starts when it is needed"}.get(seen, without)
        found.append(CheckResult(code, what, Health.GOOD if seen in {"running", "startable"} else Health.NOTE, how))
    return found
