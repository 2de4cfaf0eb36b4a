"""Configuration as a person would have written it: tables in TOML, with a word on what each line is for.

Knows the file's grammar; must not know what is chosen. What exists stays letter by letter; tables are put after it.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

from slowboat.core.errors import NeedsUser
from slowboat.core.identity import Identity

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from slowboat.core.proposal import Handover

MANUAL: Final = "https://github.com/slowboat/slowboat/blob/main/docs/configuration.md"

_HEAD: Final = f"""\
# What slowboat moves, and how. All that may stand here: {MANUAL}
# After a change: slowboat reload

"""
_HANDOVER: Final[dict[Handover, str]] = {
    "auto": "backups go to the cloud as soon as its metadata is there",
    "ask": "backups go to the cloud when you run: slowboat handover",
    "never": "backups stay on the drive, and the cloud follows",
}


@dataclass(frozen=True, slots=True)
class NewMigration:
    """A [migration.NAME] to be written; the fields are its keys, those that are empty are left out."""

    name: str
    source: str
    source_url: str
    cloud: str
    container: str
    prefix: str
    target_urls: Sequence[str]
    file_prefix: str | None
    handover: Handover


def cloud_text(name: str, identity: Identity) -> str:
    """The table of a cloud; where it stands in no file of anybody else's."""
    values = {each.name: getattr(identity, each.name) for each in fields(Identity)}
    version, interface = values.pop("version"), values.pop("interface")
    lines = [f"{key} = {quoted(value)}" for key, value in values.items() if value]
    lines += [f"auth_version = {quoted(version) if isinstance(version, str) else version}"] if version else []
    lines += [f"interface = {quoted(interface)}"] if interface != "public" else []
    return "\n".join([f"[cloud.{name}]  # its password is kept elsewhere: slowboat password {name}", *lines, ""])


def migration_text(new: NewMigration) -> str:
    """The table of a migration."""
    rows = [
        ("source", quoted(new.source), "the folder on the drive; it is only read"),
        ("source_url", quoted(new.source_url) if new.source_url else "", "what duplicity calls it"),
        ("file_prefix", quoted(new.file_prefix) if new.file_prefix is not None else "", "whose backup in it"),
        ("cloud", quoted(new.cloud), ""),
        ("container", quoted(new.container), ""),
        ("prefix", quoted(new.prefix) if new.prefix else "", ""),
        ("target_urls", f"[{', '.join(map(quoted, new.target_urls))}]" if new.target_urls else "", ""),
        ("handover", quoted(new.handover), _HANDOVER[new.handover]),
    ]
    lines = [(f"{key} = {value}", why) for key, value, why in rows if value]
    column = max((len(line) for line, why in lines if why and len(line) <= 60), default=0)
    commented = [f"{line:<{column}}  # {why}" if why else line for line, why in lines]
    return "\n".join([f"[migration.{new.name}]", *commented, ""])


def appended(existing: str, tables: Iterable[str], limit: str = "") -> str:
    """The whole file: what exists, letter by letter, and the new tables after it.

    Args:
        existing: the text of the file, "" where there is none.
        tables: the new ones.
        limit: a rate for the top of a new file, "" for none.
    """
    top = f"limit = {quoted(limit)}  # the most per second, for everything\n\n" if limit else ""
    before = existing if existing.strip() else f"{_HEAD}{top}"
    gap = "" if before.endswith("\n\n") else "\n" if before.endswith("\n") else "\n\n"
    return before + gap + "\n".join(tables)


def quoted(text: str) -> str:
    """A text as TOML's basic string (https://toml.io/en/v1.0.0#string), whose escapes are JSON's."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def write(path: Path, text: str) -> None:
    """Writes the file whole or not at all, as one that the user may read alone.

    Raises:
        NeedsUser: it cannot be written (code "cannot-write").
    """
    new = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
        with new.open("w", encoding="utf-8") as file:
            new.chmod(mode)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path.resolve())  # through a link of the user's, as from a folder of dotfiles
    except OSError as error:
        new.unlink(missing_ok=True)
        why = os.strerror(error.errno or 0)
        raise NeedsUser(f"{path} cannot be written: {why}", code="cannot-write") from None
