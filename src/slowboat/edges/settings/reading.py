"""Reads the configuration and says exactly what is wrong with it: file, line, key, and what would be right."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

from slowboat.core.errors import NeedsUser
from slowboat.edges.settings import checks
from slowboat.edges.settings.checks import Wrong
from slowboat.edges.settings.lines import line_of
from slowboat.edges.settings.shape import (
    ENV_CLOUD,
    Cloud,
    CloudTable,
    MigrationTable,
    NetworkTable,
    PowerTable,
    ScheduleTable,
    Settings,
    Table,
    TopTable,
    WindowTable,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slowboat.edges.settings.lines import Where
    from slowboat.edges.settings.shape import MigrationSettings

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


def config_path(environment: Mapping[str, str] | None = None) -> Path:
    """`$XDG_CONFIG_HOME/slowboat/config.toml` (XDG Base Directory Specification)."""
    return _xdg(os.environ if environment is None else environment, "XDG_CONFIG_HOME", ".config") / "config.toml"


def state_dir(environment: Mapping[str, str] | None = None) -> Path:
    """`$XDG_STATE_HOME/slowboat`, where the ledger lives."""
    return _xdg(os.environ if environment is None else environment, "XDG_STATE_HOME", ".local/state")


def _xdg(environment: Mapping[str, str], variable: str, usual: str) -> Path:
    given = Path(environment.get(variable, ""))
    if given.is_absolute():  # relative ones are to be ignored, says the specification
        return given / "slowboat"
    return Path(environment.get("HOME") or "~").expanduser() / usual / "slowboat"


def load(path: Path | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Reads and checks the configuration file.

    Args:
        path: the file; None: the usual one.
        environment: os.environ, if not given. Without any [cloud.NAME] in the file, its ST_* or OS_* make the
            cloud "env".

    Raises:
        NeedsUser: there is no such file ("no-config"), or something in it is wrong ("config").
    """
    environment = os.environ if environment is None else environment
    path = config_path(environment) if path is None else path
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise NeedsUser(
            f"There is no configuration: {path} does not exist",
            hint=f"Write it; this is enough to begin with:\n\n{EXAMPLE}",
            code="no-config",
        ) from None
    except OSError as error:
        raise NeedsUser(
            f"The configuration {path} cannot be read: {os.strerror(error.errno or 0)}",
            hint=f"Make it a file of yours: chmod u+r {path}",
            code="config",
        ) from error
    return parse(raw, path, environment)


def parse(raw: bytes, path: Path, environment: Mapping[str, str]) -> Settings:
    """Checks the text of a configuration file; `path` is for sentences. Raises as `load` does."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _needs_user(path, line, "this is not UTF-8 text", "Save the file as UTF-8") from None
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _no_toml(path, text, str(error)) from None
    try:
        return _settings(tables, path, environment)
    except Wrong as wrong:
        raise _needs_user(path, line_of(text, wrong.where), wrong.what, wrong.right) from None


def _needs_user(path: Path, line: int, what: str, right: str) -> NeedsUser:
    where = f"{path}, line {line}" if line else str(path)
    return NeedsUser(f"{where}: {what}", hint=right, code="config")


def _no_toml(path: Path, text: str, message: str) -> NeedsUser:
    """The words of tomllib, such as "Invalid value (at line 3, column 9)", with the line in front."""
    match = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)", message)
    line = int(match[1]) if match is not None and match[1] else len(text.splitlines())
    what = message if match is None else message[: match.start()]
    right = 'Write it as key = "value"' if what.startswith(("Invalid value", "Expected '='")) else ""
    return _needs_user(path, line, f"this is not TOML: {what}", right)


def _settings(tables: dict[str, Any], path: Path, environment: Mapping[str, str]) -> Settings:
    top = _table((), tables, TopTable)
    clouds = {name: checks.cloud(name, _table(("cloud", name), raw, CloudTable)) for name, raw in top.cloud.items()}
    if not clouds and (found := env_cloud(environment)) is not None:
        clouds = {ENV_CLOUD: found}
    migrations: dict[str, MigrationSettings] = {
        name: checks.migration(name, _table(("migration", name), raw, MigrationTable), clouds)
        for name, raw in top.migration.items()
    }
    checks.distinct(migrations.values())
    schedule = _table(("schedule",), top.schedule, ScheduleTable)
    rules = checks.rules(
        top,
        {name: _table(("network", name), raw, NetworkTable) for name, raw in top.network.items()},
        {name: _table(("network_type", name), raw, NetworkTable) for name, raw in top.network_type.items()},
        (
            schedule,
            tuple(_table(("schedule", "window", str(at)), raw, WindowTable) for at, raw in enumerate(schedule.window)),
        ),
        _table(("power",), top.power, PowerTable),
    )
    if not migrations:
        raise Wrong((), "nothing is to be moved", "Add a table [migration.home]; see docs/configuration.md")
    return Settings(path=path, connections=top.connections, clouds=clouds, migrations=migrations, rules=rules)


def _table(here: Where, raw: dict[str, Any], kind: type[T]) -> T:
    """One table by its type.

    Raises:
        Wrong: a key is unknown, missing, or of a wrong type.
    """
    known = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for key in raw:
        if key not in known:
            raise Wrong((*here, key), f"{_named((*here, key))} is not known", _did_you_mean(key, list(known)))
    for key, field in known.items():
        if field.required and key not in raw:
            raise Wrong(here, f"{_named(here)} lacks {key}", f'Add {key} = "..."')
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise _mistyped(here, str(error), known) from None


def _did_you_mean(key: str, known: list[str]) -> str:
    import difflib  # for mistakes alone

    close = difflib.get_close_matches(key, known, n=1)
    return f"Did you mean {close[0]}?" if close else f"Known are: {', '.join(known)}"


def _named(here: Where) -> str:
    return ".".join(here) if here else "the file"


def _mistyped(here: Where, message: str, known: Mapping[str, msgspec.structs.FieldInfo]) -> Wrong:
    """The message of msgspec, such as "Expected `str`, got `int` - at `$.source`", in the user's words."""
    what, _, place = message.partition(" - at `$")
    parts = re.findall(r"[^.\[\]`]+", place)
    where = (*here, *(part for part in parts[:2] if part != "..."))
    field = known.get(parts[0]) if parts else None
    right = _right(field) if field is not None and len(parts) == 1 else ""
    for ours, theirs in _KINDS.items():
        what = what.replace(f"`{ours}`", theirs)
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
    shape = msgspec.inspect.type_info(field.type)
    shapes = shape.types if isinstance(shape, msgspec.inspect.UnionType) else (shape,)
    words = ["true, false"] if any(isinstance(one, msgspec.inspect.BoolType) for one in shapes) else []
    for one in shapes:
        if isinstance(one, msgspec.inspect.LiteralType):
            words += [f'"{value}"' for value in one.values if isinstance(value, str)]
    return f"Use one of: {', '.join(words)}" if words else ""


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
    return Cloud(
        name=ENV_CLOUD,
        auth_url=of("OS_AUTH_URL"),
        version=_version(of("OS_AUTH_VERSION", "OS_IDENTITY_API_VERSION")) or 3,
        user=of("OS_USERNAME"),
        user_id=of("OS_USER_ID"),
        user_domain=of("OS_USER_DOMAIN_NAME"),
        user_domain_id=of("OS_USER_DOMAIN_ID"),
        project=of("OS_PROJECT_NAME", "OS_TENANT_NAME"),
        project_id=of("OS_PROJECT_ID", "OS_TENANT_ID"),
        project_domain=of("OS_PROJECT_DOMAIN_NAME"),
        project_domain_id=of("OS_PROJECT_DOMAIN_ID"),
        application_credential_id=of("OS_APPLICATION_CREDENTIAL_ID"),
        application_credential_name=of("OS_APPLICATION_CREDENTIAL_NAME"),
        region=of("OS_REGION_NAME"),
        interface=_INTERFACES.get(of("OS_INTERFACE", "OS_ENDPOINT_TYPE"), "public"),
        storage_url=of("OS_STORAGE_URL"),
        cacert=of("OS_CACERT"),
    )
