"""From the file's tables to settings, and what must hold beyond types.

Every check raises `Wrong` with the key it is about, what is wrong and what would be right; `reading` adds the
file and the line.
"""

from __future__ import annotations

import re
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote, urlsplit

import msgspec

from slowboat.core import urls
from slowboat.core.conditions import NetworkRule, Rules
from slowboat.core.identity import is_loopback
from slowboat.core.schedule import Period, Schedule, Window
from slowboat.core.words import Target
from slowboat.edges.settings.amounts import parse_days, parse_minute, parse_rate, parse_size
from slowboat.edges.settings.shape import Cloud, MigrationSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from slowboat.core.conditions import Choice
    from slowboat.core.identity import Version
    from slowboat.core.schedule import Send
    from slowboat.edges.settings.lines import Where
    from slowboat.edges.settings.shape import (
        Amount,
        CloudTable,
        HooksTable,
        MigrationTable,
        NetworkTable,
        PowerTable,
        ScheduleTable,
        TopTable,
        WindowTable,
    )

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""Names of clouds and migrations: they stand in file names, D-Bus paths and commands."""

CONTAINER_BYTES = 256 - len("_segments")
"""Swift's longest container name is 256 bytes (max_container_name_length,
https://docs.openstack.org/swift/latest/api/object_api_v1_overview.html), and ours has `_segments` beside it."""

MOST_CONNECTIONS = 16
"""More only take turns on one home uplink."""

VERSIONS: Mapping[str, Literal[0] | Version] = {
    "": 0,
    "1": 1,
    "2": 2,
    "2.0": 2,
    "3": 3,
    "rackspace": "rackspace",
}
"""What `auth_version` may say."""

NETWORK_TYPES = ("wifi", "ethernet", "mobile", "vpn", "other", "default")


class Wrong(Exception):
    """Something in the file is wrong: the key's path, what is wrong with it, what would be right."""

    def __init__(self, where: Where, what: str, right: str = "") -> None:
        super().__init__(what)
        self.where = where
        self.what = what
        self.right = right


def shown(value: str) -> str:
    """A value that may be printed: a URL that was put at any key may hold a password."""
    return urls.without_user(value)


def _taken(where: Where, parse: Callable[[str | int], int], value: Amount) -> int:
    try:
        return parse(value)
    except ValueError as error:
        raise Wrong(where, str(error)) from None


def checked_name(kind: str, name: str) -> None:
    """A name that can stand in a path and a command."""
    if NAME.fullmatch(name) is None:
        raise Wrong(
            (kind, name),
            f"{shown(name)!r} is not a name for a {kind}",
            "Use letters, digits, - and _, at most 64 of them",
        )


# -- clouds ----------------------------------------------------------------------------------------------


def cloud(name: str, table: CloudTable) -> Cloud:
    """Checks one cloud's table."""
    checked_name("cloud", name)
    here = ("cloud", name)
    identity = table.identity()
    private_url((*here, "auth_url"), identity.auth_url)
    if identity.storage_url:
        private_url((*here, "storage_url"), identity.storage_url)
    if not (identity.user or identity.user_id or identity.application_credential_id):
        missing = "a user with application_credential_name" if identity.by_application_credential else "a user"
        raise Wrong(here, f"cloud {name} lacks {missing}", 'Add user = "..."')
    for each in fields(identity):
        if isinstance(value := getattr(identity, each.name), str):
            _one_line((*here, each.name), value)
    checked = replace(
        identity,
        version=VERSIONS[str(table.auth_version or "")],
        cacert=str(folder((*here, "cacert"), identity.cacert)) if identity.cacert else "",
    )
    key_file = folder((*here, "key_file"), table.key_file) if table.key_file else None
    return Cloud.of(checked, name, key_file)


def _one_line(where: Where, text: str) -> None:
    """Words that go to a server as they stand: in a header, a blank at an end or a line break would not arrive."""
    if text != text.strip():
        raise Wrong(where, f"{where[-1]} begins or ends with a blank", "Take it out")
    if any(ord(char) < 32 or ord(char) == 127 for char in text):
        raise Wrong(where, f"{where[-1]} holds a line break or another control character", "Take it out")


def private_url(where: Where, url: str) -> None:
    """Only https, and http to this very computer, may carry a password."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    if parts.scheme not in {"http", "https"} or not host:
        raise Wrong(where, f"{where[-1]} is not an address", 'Write it like "https://example.com/auth/v1.0"')
    if parts.username or parts.password:
        raise Wrong(where, f"{where[-1]} holds a user or password", "Take it out; see docs/configuration.md")
    if parts.scheme == "http" and not is_loopback(host):
        raise Wrong(where, f"{where[-1]} would send the password to {host} in clear text", "Use https://")


def folder(where: Where, text: str) -> Path:
    """An absolute path; a leading ~ is the user's home."""
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        path = Path()
    if not path.is_absolute() or "\0" in text:
        right = 'Write it like "/media/backup/host" or "~/..."'
        if text.lower().startswith("file:///"):
            right = f'Write the folder itself: "{unquote(text[len("file://") :])}"'
        raise Wrong(where, f"{shown(text)!r} is not an absolute path", right)
    return path


# -- migrations ------------------------------------------------------------------------------------------


def migration(name: str, table: MigrationTable, clouds: Iterable[str]) -> MigrationSettings:
    """Checks one migration's table."""
    checked_name("migration", name)
    here = ("migration", name)
    container = _container((*here, "container"), table.container)
    prefix = _prefix((*here, "prefix"), table.prefix)
    return MigrationSettings(
        name=name,
        source=folder((*here, "source"), table.source),
        source_url=_url((*here, "source_url"), table.source_url) if table.source_url else "",
        target=Target(
            _cloud_of(here, table.cloud, tuple(clouds)), container, prefix, _urls(here, table, container, prefix)
        ),
        archive_dir=folder((*here, "archive_dir"), table.archive_dir) if table.archive_dir else None,
        file_prefix=table.file_prefix,
        ask_first=table.handover == "ask",
        follows=table.handover == "never",
        removes=_removes(here, table),
        duplicity=folder((*here, "duplicity"), table.duplicity) if table.duplicity else None,
    )


def _removes(here: Where, table: MigrationTable) -> bool:
    if table.removed_on_drive == "remove" and table.handover != "never":
        raise Wrong(
            (*here, "removed_on_drive"),
            "nothing is removed from the cloud unless it follows the drive",
            'Set handover = "never" as well, or take it out',
        )
    return table.removed_on_drive == "remove"


def _cloud_of(here: Where, wanted: str, clouds: tuple[str, ...]) -> str:
    if wanted in clouds:
        return wanted
    if not wanted and len(clouds) == 1:
        return clouds[0]
    if not clouds and not wanted:
        raise Wrong((*here, "cloud"), "there is no cloud to send it to", "Add a table [cloud.mycloud]")
    known = f"Known are: {', '.join(clouds)}" if clouds else "Add that table, or describe it in clouds.yaml"
    what = f"there is no [cloud.{shown(wanted)}]" if wanted else f"{'.'.join(here)} does not say which cloud"
    raise Wrong((*here, "cloud"), what, known)


def _container(where: Where, text: str) -> str:
    size = len(text.encode())
    if "/" in text:
        text = shown(text)
        first, _, rest = (urls.place(text) or text).strip("/").partition("/")
        right = f'Write container = "{first}" and prefix = "{rest}"' if first and rest else "Leave the / out"
        raise Wrong(where, f"{text!r} has a / in it", right)
    if not text or text in {".", ".."} or "\0" in text:
        raise Wrong(where, f"{shown(text)!r} is not a container name", 'Write it like "backup"')
    if size > CONTAINER_BYTES:
        raise Wrong(where, f"a container's name of {size} bytes is too long", f"At most {CONTAINER_BYTES} fit")
    return text


def _prefix(where: Where, text: str) -> str:
    parts = text.strip("/").split("/") if text.strip("/") else []
    if any(part in {"", ".", ".."} or "\0" in part for part in parts):
        raise Wrong(where, f"{shown(text)!r} is not a prefix", 'Write it like "host" or "backups/host"')
    return "".join(f"{part}/" for part in parts)


def _url(where: Where, text: str) -> str:
    if re.match(r"[A-Za-z0-9+.-]+://", text) is None:
        raise Wrong(
            where, f"{shown(text)!r} is not a URL", 'Write it as duplicity gets it, like "file:///media/backup/host"'
        )
    return text


def _urls(here: Where, table: MigrationTable, container: str, prefix: str) -> tuple[str, ...]:
    if table.target_url and table.target_urls:
        raise Wrong((*here, "target_urls"), "target_url and target_urls are both set", "Keep one of them")
    key = (*here, "target_urls" if table.target_urls else "target_url")
    given = tuple(dict.fromkeys(table.target_urls or ([table.target_url] if table.target_url else [])))
    for url in given:
        _same_place(key, _url(key, url), container, prefix)
    usual = urls.swift(container, prefix)
    if not given and urls.place(usual) != f"{container}/{prefix}".rstrip("/"):
        raise Wrong((*here, "container"), f"no swift:// URL leads to {container!r}", "Leave out ? and #")
    return given or (usual,)


def _same_place(where: Where, url: str, container: str, prefix: str) -> None:
    """A URL that leads elsewhere would get a cache for what is not there, and duplicity would throw it away."""
    scheme = url.partition("://")[0]
    ours = f"{container}/{prefix}".strip("/")
    there = urls.place(url)
    if scheme.startswith("par2+"):
        right = f"Write {shown(url.removeprefix('par2+'))}; see docs/dejadup.md, par2"
        raise Wrong(where, f"{scheme}:// wants *.par2 files there, which are not moved", right)
    if there is None:
        return  # a kind that is not known here; the user will know
    if there != ours:
        raise Wrong(
            where,
            f"{scheme}:// leads to {urls.place(shown(url))}, but this migration goes to {ours}",
            "Make them agree",
        )
    if scheme.endswith("cf+http") and prefix:
        raise Wrong(where, "cf+http:// knows no prefix", "Leave prefix out, or use swift:// or rclone://")


def distinct(migrations: Iterable[MigrationSettings]) -> None:
    """Two chains in one place would be one broken chain."""
    seen: dict[tuple[str, str, str], str] = {}
    for one in migrations:
        place = (one.target.cloud, one.target.container, one.target.prefix)
        other = seen.setdefault(place, one.name)
        if other != one.name:
            raise Wrong(
                ("migration", one.name),
                f"the migrations {other} and {one.name} go to the same container and prefix",
                "Give each its own prefix",
            )


# -- rules -----------------------------------------------------------------------------------------------


def rules(
    top: TopTable,
    networks: Mapping[str, NetworkTable],
    types: Mapping[str, NetworkTable],
    schedule: tuple[ScheduleTable, tuple[WindowTable, ...]],
    power: PowerTable,
) -> Rules:
    """Checks everything that the permit follows."""
    if not 1 <= top.connections <= MOST_CONNECTIONS:
        raise Wrong(("connections",), f"{top.connections} connections", f"Use 1 to {MOST_CONNECTIONS}")
    if not 0 <= power.battery_min <= 100:
        raise Wrong(("power", "battery_min"), f"{power.battery_min} is not a percentage", "Use 0 to 100")
    cap = _cap(top.limit)
    for name in types:
        if name not in NETWORK_TYPES:
            right = f"Known are: {', '.join(NETWORK_TYPES)}"
            raise Wrong(("network_type", name), f"{name!r} is not a type of network", right)
    by_type = {name: _network(("network_type", name), table) for name, table in types.items()}
    default = by_type.pop("default", NetworkRule())
    return Rules(
        cap=cap,
        slow_rate=_taken(("slow",), parse_rate, top.slow),
        require=top.require,
        metered=_choice(top.send_when_metered),
        vpn=_choice(top.send_on_vpn),
        networks={name: _network(("network", name), table) for name, table in networks.items()},
        types=by_type,
        default=default,
        schedule=_schedule(*schedule),
        **msgspec.structs.asdict(power),  # its keys are called as the rules' fields
    )


def hooks(table: HooksTable) -> Mapping[str, Sequence[str]]:
    """Checks the user's own commands: each begins with a program, which need not be there yet."""
    commands: dict[str, Sequence[str]] = msgspec.structs.asdict(table)
    for event, command in commands.items():
        here = ("hooks", event)
        if command and not command[0].strip():
            raise Wrong(
                here, f"the command at {event} names no program", f'Use {event} = ["/path/to/program", "argument"]'
            )
        if any("\0" in word for word in command):
            raise Wrong(here, f"the command at {event} holds a NUL", "Take it out")
    return {event: tuple(command) for event, command in commands.items() if command}


def _choice(value: bool | Literal["slow"]) -> Choice:  # noqa: FBT001 (the file's own word)
    if value == "slow":
        return "slow"
    return "go" if value else "never"


def _cap(value: Amount) -> int | None:
    """The top-level limit; "spare" is none, for that is what holds below every limit unless a network says else."""
    match str(value).strip().lower():
        case "off" | "spare":
            return None
        case "never":
            raise Wrong(("limit",), "a limit that never sends anything", "Use `slowboat pause` instead")
        case "go":
            right = 'Write limit = "off", and for the whole line [network_type.default] with send = "go"'
            raise Wrong(("limit",), '"go" is not a limit', right)
        case _:
            return _taken(("limit",), parse_rate, value)


def _send(where: Where, value: Amount) -> Send:
    """A rate, or one of the words; "off" is no limit, as on the command line."""
    match str(value).strip().lower():
        case "never":
            return "never"
        case "spare":
            return "spare"
        case "go" | "off":
            return "go"
        case word if not any(letter.isdigit() for letter in word):
            right = 'Use "spare", "go", "never", or a rate like "500k"'
            raise Wrong(where, f"unknown value {shown(str(value))!r}", right)
        case _:
            return _taken(where, parse_rate, value)


def _network(here: Where, table: NetworkTable) -> NetworkRule:
    budgets = {period: (f"{period.value}_budget", getattr(table, f"{period.value}_budget")) for period in Period}
    return NetworkRule(
        send=_send((*here, "send"), table.send),
        metered=None if table.metered is None else _choice(table.metered),
        budgets={
            period: _taken((*here, key), parse_size, value)
            for period, (key, value) in budgets.items()
            if value is not None
        },
    )


def _schedule(table: ScheduleTable, windows: tuple[WindowTable, ...]) -> Schedule:
    made = tuple(_window(("schedule", "window", str(at)), window) for at, window in enumerate(windows))
    if not made and table.otherwise != "never":
        raise Wrong(("schedule",), "a schedule without a window says nothing", "Add [[schedule.window]]")
    return Schedule(made, _send(("schedule", "otherwise"), table.otherwise))


def _window(here: Where, table: WindowTable) -> Window:
    try:
        start, end = parse_minute(table.start), parse_minute(table.end)
        return Window(parse_days(table.days), start % 1440, end or 1440, _send((*here, "send"), table.send))
    except ValueError as error:
        raise Wrong(here, str(error)) from None
