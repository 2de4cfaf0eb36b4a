"""What may stand in the configuration, as types; and the settings as the program uses them.

The structs that end in "Table" are the file's own words; msgspec checks them. `Settings`, `Cloud` and
`MigrationSettings` are what the rest of the program sees. No secret is ever in either: see edges/secrets.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, get_type_hints

import msgspec

from slowboat.core.identity import Identity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from slowboat.core.conditions import Rules
    from slowboat.core.words import Target

ENV_CLOUD = "env"
"""The name of the cloud that the environment's ST_* or OS_* variables describe."""

Amount = str | int
Tables = dict[str, dict[str, Any]]


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Any table of the file: a key that is not known is an error."""


class TopTable(Table, frozen=True):
    """The file as a whole; its tables are checked one by one, so that an error can name them."""

    limit: Amount = "off"
    slow: Amount = "64k"
    connections: int = 2
    send_when_metered: bool | Literal["slow"] = False
    send_on_vpn: bool | Literal["slow"] = True
    require: Literal["full", "limited"] = "full"
    cloud: Tables = {}
    migration: Tables = {}
    network: Tables = {}
    network_type: Tables = {}
    schedule: dict[str, Any] = {}
    power: dict[str, Any] = {}
    hooks: dict[str, Any] = {}


_HINTS = get_type_hints(Identity)
_ABOUT_THE_USER: Any = msgspec.defstruct(
    "_ABOUT_THE_USER",
    [
        (each.name, _HINTS[each.name], *(() if each.default is MISSING else (each.default,)))
        for each in fields(Identity)
        if each.name != "version"
    ],
    bases=(Table,),
    frozen=True,
    kw_only=True,
)
"""The keys that are the fields of `core.identity.Identity`, which alone lists them."""


class CloudTable(_ABOUT_THE_USER, frozen=True):  # type: ignore[call-arg, misc]  # made from Identity's fields
    """[cloud.NAME]: an account at a server, in the words of `core.identity.Identity` but for the version."""

    auth_version: Literal["1", "2", "2.0", "3", "rackspace", 1, 2, 3] | None = None
    key_file: str = ""

    def identity(self) -> Identity:
        """What it says of the user, as it stands there; the version is told by the rest."""
        return Identity(**{each.name: getattr(self, each.name) for each in fields(Identity) if each.name != "version"})


class MigrationTable(Table, frozen=True):
    """[migration.NAME]: one chain's move."""

    source: str
    container: str
    cloud: str = ""
    source_url: str = ""
    prefix: str = ""
    target_url: str = ""
    target_urls: list[str] = []
    archive_dir: str = ""
    duplicity: str = ""
    file_prefix: str | None = None
    handover: Literal["auto", "ask", "never"] = "auto"
    removed_on_drive: Literal["keep", "remove"] = "keep"


class NetworkTable(Table, frozen=True):
    """[network."NAME"] and [network_type.TYPE]: what holds there."""

    send: Amount = "spare"
    metered: bool | Literal["slow"] | None = None
    day_budget: Amount | None = None
    month_budget: Amount | None = None


class WindowTable(Table, frozen=True):
    """[[schedule.window]]: hours of some weekdays."""

    days: str = "daily"
    start: str = msgspec.field(name="from", default="00:00")
    end: str = msgspec.field(name="to", default="24:00")
    send: Amount = "go"


class ScheduleTable(Table, frozen=True):
    """[schedule]: what holds outside its windows, and these."""

    otherwise: Amount = "never"
    window: list[dict[str, Any]] = []


class PowerTable(Table, frozen=True):
    """[power]: what to do on battery, in power saver, and while a game runs."""

    battery: Literal["pause", "slow", "go"] = "pause"
    battery_min: int | float = 0
    power_saver: Literal["pause", "slow", "go"] = "pause"
    game: Literal["pause", "slow", "go"] = "pause"


class HooksTable(Table, frozen=True):
    """[hooks]: commands of the user's own, each a program and its arguments, by `core.words.HookEvent`."""

    done: list[str] = []
    handover: list[str] = []
    needs_user: list[str] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud(Identity):
    """An account at a server, under a name.

    Attributes:
        name: the user's word for it, or ENV_CLOUD.
        key_file: where the secret stands, or None: looked for by the cloud's name.
        in_clouds_yaml: whether it is described in clouds.yaml, where its secret may stand as well.
    """

    name: str
    key_file: Path | None = None
    in_clouds_yaml: bool = False

    @classmethod
    def of(cls, identity: Identity, name: str, key_file: Path | None = None, *, in_clouds_yaml: bool = False) -> Cloud:
        """That identity under a name."""
        known = {each.name: getattr(identity, each.name) for each in fields(Identity)}
        return cls(name=name, key_file=key_file, in_clouds_yaml=in_clouds_yaml, **known)


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationSettings:
    """One chain's move, as the user wants it.

    Attributes:
        source: the folder on the drive, absolute.
        source_url: what duplicity knew it by, or "".
        target: cloud, container, prefix and the URLs duplicity will use.
        archive_dir: where duplicity's caches are, or None: the usual places.
        file_prefix: duplicity's --file-prefix, or None: whatever is there.
        ask_first: whether the handover waits for the user's word.
        follows: whether the cloud follows the drive, without a handover.
        removes: whether it follows also where backups are removed from the drive.
        duplicity: the program that will make the backups, or None: the first on the PATH.
    """

    name: str
    source: Path
    source_url: str
    target: Target
    archive_dir: Path | None = None
    file_prefix: str | None = None
    ask_first: bool = False
    follows: bool = False
    removes: bool = False
    duplicity: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the user set.

    Attributes:
        path: the file it came from, or None.
        connections: how many uploads at once, 1 to 16.
        clouds: by name.
        migrations: by name, in the file's order.
        rules: what the permit follows; the limit is its cap.
        hooks: of each event that has one the command, a program and its arguments.
        digest: the SHA-256 of the file, by which it is told whether it has been edited since.
    """

    path: Path | None
    connections: int
    clouds: Mapping[str, Cloud]
    migrations: Mapping[str, MigrationSettings]
    rules: Rules
    hooks: Mapping[str, Sequence[str]] = field(default_factory=dict)
    digest: str = ""
