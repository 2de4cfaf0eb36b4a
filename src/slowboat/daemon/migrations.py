"""One migration's edges and its order, out of the settings.

Knows which edge fulfils which of the engine's ports; must not know what the engine does with them.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING

from slowboat.core import dejadup
from slowboat.core.dejadup import Account
from slowboat.edges import xdg
from slowboat.edges.cache import Cache, usual_archive_dirs
from slowboat.edges.dejadup import DejaDup
from slowboat.edges.duplicity import InstalledDuplicities
from slowboat.edges.secrets import secret_of
from slowboat.edges.source import Source
from slowboat.edges.swift import Credentials, SwiftStore
from slowboat.engine import facts
from slowboat.engine.context import Order, Tools
from slowboat.engine.memory import Memory

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slowboat.edges.hooks import Hooks
    from slowboat.edges.ledger import Ledger
    from slowboat.edges.notify import Notifications
    from slowboat.edges.settings import Cloud, MigrationSettings, Settings
    from slowboat.edges.swift import Throttle
    from slowboat.engine.engine import Engine


def take_in(
    engine: Engine,
    settings: Settings,
    name: str,
    ledger: Ledger,
    notifications: Notifications,
    throttle: Throttle,
    hooks: Hooks,
) -> SwiftStore:
    """Builds one migration's edges and gives it to the engine."""
    migration = settings.migrations[name]
    target = migration.target
    credentials = _credentials(settings.clouds[target.cloud])
    store = SwiftStore(credentials, target.container, connections=settings.connections, throttle=throttle)
    archive_dirs = (migration.archive_dir,) if migration.archive_dir else usual_archive_dirs(os.environ)
    tools = Tools(
        source=Source(migration.source, expected=Memory(ledger, name).get(facts.DRIVE)),
        store=store,
        cache=Cache(archive_dirs, target.urls),
        ledger=ledger,
        notifier=notifications,
        now=time.time,
        steady=time.monotonic,
        chance=random.random,
        front_end=DejaDup(os.environ),
        duplicity=InstalledDuplicities(migration.duplicity, os.environ),
        hooks=hooks,
    )
    account = Account(credentials.user, credentials.project, credentials.auth_url)
    order = _order(migration, settings.connections, archive_dirs, account)
    engine.add(order, tools, at_home=credentials.on_loopback)
    return store


def _order(migration: MigrationSettings, connections: int, archive_dirs: Sequence[Path], account: Account) -> Order:
    return Order(
        name=migration.name,
        source_dir=str(migration.source),
        source_url=migration.source_url,
        target=migration.target,
        file_prefix=migration.file_prefix,
        ask_first=migration.ask_first,
        follows=migration.follows,
        removes=migration.removes,
        lanes=connections,
        canary=canaries(os.environ, archive_dirs),
        account=account,
    )


def canaries(environment: Mapping[str, str], archive_dirs: Sequence[Path] = ()) -> tuple[tuple[bytes, ...], ...]:
    """What Deja Dup reads back, by the paths that it backs it up from (docs/dejadup.md); () where it never ran.

    Links are followed. The folder itself is there during a backup alone.

    Args:
        environment: such as os.environ; HOME, XDG_CACHE_HOME and XDG_DATA_HOME count.
        archive_dirs: where caches are looked for besides.
    """
    homes = (xdg.home(environment), xdg.folder("XDG_CACHE_HOME", environment), xdg.folder("XDG_DATA_HOME", environment))
    known = dejadup.own_folders(*map(os.fspath, homes))
    others = [os.fspath(folder) for folder in archive_dirs if folder.name == "deja-dup" and folder.is_dir()]
    if not others and not any(Path(folder).is_dir() for folder in known):
        return ()
    found = dict.fromkeys(os.path.realpath(folder) for folder in (*known, *others))
    return tuple((*os.fsencode(folder).strip(b"/").split(b"/"), os.fsencode(dejadup.CHECKED)) for folder in found)


def _credentials(cloud: Cloud) -> Credentials:
    """A cloud's credentials; the secret is asked for when a token is."""
    return Credentials.of(
        cloud, lambda: secret_of(cloud.name, cloud.key_file, in_clouds_yaml=cloud.in_clouds_yaml).reveal()
    )
