"""Reads the configuration and says exactly what is wrong with it: file, line, key, and what would be right."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import tomllib
from dataclasses import fields, replace
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from slowboat.core.errors import NeedsUser
from slowboat.core.identity import Identity
from slowboat.edges import clouds_yaml, xdg
from slowboat.edges.settings import checks, cures
from slowboat.edges.settings.checks import Wrong
from slowboat.edges.settings.lines import line_of
from slowboat.edges.settings.shape import (
    ENV_CLOUD,
    Cloud,
    CloudTable,
    HooksTable,
    MigrationTable,
    NetworkTable,
    PowerTable,
    ScheduleTable,
    Settings,
    Table,
    Tables,
    TopTable,
    WindowTable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from slowboat.core.conditions import Rules
    from slowboat.edges.settings.lines import Where

EXAMPLE = """\
[cloud.mycloud]
auth_url = "https://swift.example.com/auth/v1.0"
user = "account:user"

[migration.home]
source = "/media/backup/host"               # the folder on the drive
source_url = "file:///media/backup/host"    # what duplicity called it
container = "backup"
prefix = "host"
"""
"""The shortest configuration that does something."""

T = TypeVar("T", bound=Table)
Made = TypeVar("Made")


def config_path(environment: Mapping[str, str] | None = None) -> Path:
    """`$XDG_CONFIG_HOME/slowboat/config.toml` (XDG Base Directory Specification)."""
    return xdg.folder("XDG_CONFIG_HOME", environment) / xdg.OURS / "config.toml"


def state_dir(environment: Mapping[str, str] | None = None) -> Path:
    """`$XDG_STATE_HOME/slowboat`, where the ledger lives."""
    return xdg.folder("XDG_STATE_HOME", environment) / xdg.OURS


def load(path: Path | None = None, environment: Mapping[str, str] | None = None, *, begun: bool = False) -> Settings:
    """Reads and checks the configuration file.

    Args:
        path: the file; None: the usual one.
        environment: os.environ, if not given. Without any [cloud.NAME] in the file, its OS_CLOUD names one of
            clouds.yaml, or its ST_* or OS_* make the cloud "env".
        begun: whether a file in which nothing is to be moved yet is as good as any.

    Raises:
        NeedsUser: there is no such file ("no-config"), the disk does not give it ("config-unread"), or something in
            it is wrong ("config").
    """
    environment = os.environ if environment is None else environment
    path = config_path(environment) if path is None else path
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise NeedsUser(
            f"There is no configuration: {path} does not exist",
            hint=f"Let it be written: slowboat setup\nOr write it; this is enough to begin with:\n\n{EXAMPLE}",
            code="no-config",
        ) from None
    except IsADirectoryError:
        raise NeedsUser(
            f"The configuration {path} is a folder, not a file",
            hint=f"Remove the folder and write a file of that name:\n\n    rmdir {path}\n",
            code="config",
        ) from None
    except OSError as error:
        mine = error.errno in (errno.EACCES, errno.EPERM)
        raise NeedsUser(
            f"The configuration {path} cannot be read: {os.strerror(error.errno or 0)}",
            hint=f"Make it a file of yours: chmod u+r {path}" if mine else "Look after the disk that it is on",
            code="config" if mine else "config-unread",  # what a disk says once may pass: a restart may mend it
        ) from error
    return parse(raw, path, environment, begun=begun)


def parse(raw: bytes, path: Path, environment: Mapping[str, str], *, begun: bool = False) -> Settings:
    """Checks the text of a configuration file; `path` is for sentences, `begun` as in `load`. Raises as that does."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _needs_user(path, line, "this is not UTF-8 text", "Save the file as UTF-8") from None
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _no_toml(path, text, str(error)) from None
    found: list[Wrong] = []
    settings = _settings(tables, path, environment, found, begun=begun)
    if settings is None:
        raise _all_of(path, text, found)
    return replace(settings, digest=hashlib.sha256(raw).hexdigest())


def _all_of(path: Path, text: str, found: list[Wrong]) -> NeedsUser:
    """All mistakes at once, in the order of the file: whoever mends one should not have to come back for the next."""
    mistakes = sorted({(line_of(text, wrong.where), wrong.what, wrong.right) for wrong in found})
    if len(mistakes) == 1:
        return _needs_user(path, *mistakes[0])
    lines = [
        f"{f'line {line}: ' if line else ''}{what}{f'. {right}' if right else ''}" for line, what, right in mistakes
    ]
    return NeedsUser(f"{path} has {len(mistakes)} mistakes", hint="\n".join(lines), code="config")


def _needs_user(path: Path, line: int, what: str, right: str) -> NeedsUser:
    where = f"{path}, line {line}" if line else str(path)
    return NeedsUser(f"{where}: {what}", hint=right, code="config")


def _no_toml(path: Path, text: str, message: str) -> NeedsUser:
    """The words of tomllib, such as "Invalid value (at line 3, column 9)", with the line in front."""
    match = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)", message)
    line = int(match[1]) if match is not None and match[1] else len(text.splitlines())
    what = message if match is None else message[: match.start()]
    lines = text.splitlines()
    right = cures.of_line(lines[line - 1]) if 0 < line <= len(lines) else ""
    if not right and what.startswith(("Invalid value", "Expected '='")):
        right = 'Write it as key = "value"'
    return _needs_user(path, line, f"this is not TOML: {what}", right)


def _settings(
    tables: dict[str, Any], path: Path, environment: Mapping[str, str], found: list[Wrong], *, begun: bool = False
) -> Settings | None:
    """The settings, or None where mistakes were `found`: all that do not follow from another."""

    def judged(check: Callable[..., Made], *arguments: Any) -> Made | None:  # noqa: ANN401 (those of each check)
        try:
            return check(*arguments)
        except Wrong as wrong:
            found.append(wrong)
            return None

    def named(kind: str, of: Tables, shape: type[T]) -> dict[str, T]:
        read = {name: _table((kind, name), raw, shape, found) for name, raw in of.items()}
        return {name: table for name, table in read.items() if table is not None}

    top = _table((), tables, TopTable, found)
    if top is None:
        return None
    clouds = {name: judged(checks.cloud, name, table) for name, table in named("cloud", top.cloud, CloudTable).items()}
    for name, key in _named_elsewhere(top, environment).items():
        before = len(found)
        elsewhere = judged(_cloud_of_others, name, key, environment)
        if elsewhere is not None or len(found) > before:
            clouds[name] = elsewhere
    if not clouds:
        before = len(found)
        of_environment = judged(env_cloud, environment)
        clouds = {ENV_CLOUD: of_environment} if of_environment is not None or len(found) > before else {}
    known = tuple({**top.cloud, **clouds})  # also those with mistakes: that one is missing would be another mistake
    migrations = {
        name: judged(checks.migration, name, table, known)
        for name, table in named("migration", top.migration, MigrationTable).items()
    }
    judged(checks.distinct, [one for one in migrations.values() if one is not None])
    rules = _rules(top, named, judged, found)
    commands = _table(("hooks",), top.hooks, HooksTable, found)
    hooks = judged(checks.hooks, commands) if commands is not None else None
    if not top.migration and not found and not begun:  # a file just begun: one thing at a time
        found.append(Wrong((), "nothing is to be moved", "Add a table [migration.home]; see docs/configuration.md"))
    if found or rules is None or hooks is None:
        return None
    return Settings(
        path=path,
        connections=top.connections,
        clouds={name: cloud for name, cloud in clouds.items() if cloud is not None},
        migrations={name: one for name, one in migrations.items() if one is not None},
        rules=rules,
        hooks=hooks,
    )


def _rules(
    top: TopTable,
    named: Callable[[str, Tables, type[NetworkTable]], dict[str, NetworkTable]],
    judged: Callable[..., Rules | None],
    found: list[Wrong],
) -> Rules | None:
    schedule = _table(("schedule",), top.schedule, ScheduleTable, found)
    windows = [
        _table(("schedule", "window", str(at)), raw, WindowTable, found)
        for at, raw in enumerate(schedule.window if schedule is not None else ())
    ]
    networks, types = named("network", top.network, NetworkTable), named("network_type", top.network_type, NetworkTable)
    power = _table(("power",), top.power, PowerTable, found)
    if schedule is None or power is None or None in windows:
        return None
    return judged(checks.rules, top, networks, types, (schedule, tuple(windows)), power)


def _table(here: Where, raw: dict[str, Any], kind: type[T], found: list[Wrong]) -> T | None:
    """One table by its type; None where a key is unknown, missing, or of a wrong type, which is `found` then."""
    known = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    before = len(found)
    for key in raw:
        if key not in known:
            right = cures.of_unknown_key((*here, key), known, _HOMES)
            found.append(Wrong((*here, key), f"unknown key {_named((*here, key))}", right))
    for key, field in known.items():
        if field.required and key not in raw:
            found.append(Wrong(here, f"{_named(here)} lacks {key}", f'Add {key} = "..."'))
    if len(found) > before and here:
        return None
    try:  # of the file as a whole what is known is looked at all the same: its tables may hold mistakes of their own
        return msgspec.convert({key: value for key, value in raw.items() if key in known}, kind)
    except msgspec.ValidationError as error:
        found.append(_mistyped(here, raw, str(error), known))
        return None


_HOMES: Mapping[str, str] = {
    **{field.encode_name: "above the first [table]" for field in msgspec.structs.fields(TopTable)},
    **{field.encode_name: "into [power]" for field in msgspec.structs.fields(PowerTable)},
    **dict.fromkeys(("source", "source_url", "container", "prefix", "handover"), "into [migration.NAME]"),
    **dict.fromkeys(("auth_url", "user", "project", "region", "key_file"), "into [cloud.NAME]"),
    **{field.encode_name: 'into [network."NAME"]' for field in msgspec.structs.fields(NetworkTable)},
}
"""Where keys belong that people write below another table's header."""


def _named(here: Where) -> str:
    return ".".join(here) if here else "the file"


def _mistyped(here: Where, raw: dict[str, Any], message: str, known: Mapping[str, msgspec.structs.FieldInfo]) -> Wrong:
    """The message of msgspec, such as "Expected `str`, got `int` - at `$.source`", in the user's words."""
    what, _, place = message.partition(" - at `$")
    parts = re.findall(r"[^.\[\]`]+", place)
    where = (*here, *(part for part in parts[:2] if part != "..."))
    field = known.get(parts[0]) if parts else None
    right = _right(field) if field is not None and len(parts) == 1 else ""
    for ours, theirs in _KINDS.items():
        what = what.replace(f"`{ours}`", theirs)
    if len(where) == 1 and where[0] in {"cloud", "migration", "network", "network_type"} and "a table" in what:
        right = cures.of_a_table(where[0], raw[where[0]])
    what = what.replace(" | null", "").replace("Expected", "expected").replace("Invalid enum value", "there is no")
    what = re.sub("'(.*)'", lambda quoted: f"'{checks.shown(quoted[1])}'", what)  # msgspec repeats the value
    return Wrong(where, f"{_named(where)}: {what}", right)


_KINDS = {
    "str": "a text in quotes",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "object": "a table",
    "array": "a list",
    "int | str": "a number or a text in quotes",
    "bool | str": 'true, false or "slow"',
    "int | float": "a number",
    "int | str | null": "a number or a text in quotes",
    "bool | str | null": 'true, false or "slow"',
    "str | null": "a text in quotes",
}


def _right(field: msgspec.structs.FieldInfo) -> str:
    """The values that a key with few of them may have."""
    # By typing alone: msgspec.inspect, before 0.21, fails at a Literal of texts and numbers.
    kinds = get_args(field.type) if get_origin(field.type) in (Union, UnionType) else (field.type,)
    words = ["true, false"] if bool in kinds else []
    for kind in kinds:
        if get_origin(kind) is Literal:
            words += [f'"{value}"' for value in sorted(get_args(kind), key=str) if isinstance(value, str)]
    return f"Use one of: {', '.join(words)}" if words else ""


def _named_elsewhere(top: TopTable, environment: Mapping[str, str]) -> dict[str, Where]:
    """Clouds that are named and have no table here, and where they are named."""
    named: dict[Any, Where] = {
        table.get("cloud"): ("migration", name, "cloud") for name, table in top.migration.items()
    }
    if not top.cloud and (given := environment.get("OS_CLOUD")):
        named.setdefault(given, ("OS_CLOUD",))
    return {name: where for name, where in named.items() if isinstance(name, str) and name and name not in top.cloud}


def _cloud_of_others(name: str, key: Where, environment: Mapping[str, str]) -> Cloud | None:
    """A cloud of clouds.yaml; None where that has none of this name."""
    try:
        identity = clouds_yaml.identity(name, environment)
    except NeedsUser as error:
        raise Wrong(key, error.what, error.hint) from None
    if identity is None:
        return None
    if checks.NAME.fullmatch(name) is None:
        raise Wrong(
            key, f"{checks.shown(name)!r} is a name that slowboat cannot take", "Call it otherwise in clouds.yaml"
        )
    checks.private_url(key, identity.auth_url)
    if identity.storage_url:
        checks.private_url(key, identity.storage_url)
    return Cloud.of(identity, name, in_clouds_yaml=True)


_INTERFACES: Mapping[str, Literal["public", "internal", "admin"]] = {
    "internal": "internal",
    "internalURL": "internal",
    "admin": "admin",
    "adminURL": "admin",
}
"""Kinds of addresses, in the words of Keystone's v3 and of its v2.0."""


def _version(text: str) -> Literal[0, 1, 2, 3]:
    """A version as the variables have it, "3" or "2.0"; 0 where they have none."""
    known: Mapping[str, Literal[1, 2, 3]] = {"1": 1, "2": 2, "3": 3}
    return known.get(text[:1], 0)


_OS_NAMES: Mapping[str, tuple[str, ...]] = {
    "user": ("OS_USERNAME",),
    "version": ("OS_AUTH_VERSION", "OS_IDENTITY_API_VERSION"),
    "user_domain": ("OS_USER_DOMAIN_NAME",),
    "project": ("OS_PROJECT_NAME", "OS_TENANT_NAME"),
    "project_id": ("OS_PROJECT_ID", "OS_TENANT_ID"),
    "project_domain": ("OS_PROJECT_DOMAIN_NAME",),
    "region": ("OS_REGION_NAME",),
    "interface": ("OS_INTERFACE", "OS_ENDPOINT_TYPE"),
}
"""The variables of an identity's field where they are not called as it is, the newest first."""


def env_cloud(environment: Mapping[str, str]) -> Cloud | None:
    """The cloud that the variables of `swift` (ST_*) or `openstack` (OS_*) describe, or None.

    https://docs.openstack.org/python-swiftclient/latest/cli/index.html#authentication
    """

    def of(*names: str) -> str:
        return next((environment[name] for name in names if environment.get(name)), "")

    if of("ST_AUTH") and of("ST_USER"):
        auth_url, user, version = of("ST_AUTH"), of("ST_USER"), of("ST_AUTH_VERSION")
        checks.private_url(("ST_AUTH",), auth_url)
        return Cloud(name=ENV_CLOUD, auth_url=auth_url, user=user, version=_version(version) or 1)
    if not of("OS_AUTH_URL"):
        return None
    checks.private_url(("OS_AUTH_URL",), of("OS_AUTH_URL"))
    found = {each.name: of(*_OS_NAMES.get(each.name, (f"OS_{each.name.upper()}",))) for each in fields(Identity)}
    shown: dict[str, Any] = found | {
        "version": _version(found["version"]) or 3,
        "interface": _INTERFACES.get(found["interface"], "public"),
    }
    return Cloud.of(Identity(**shown), ENV_CLOUD)
