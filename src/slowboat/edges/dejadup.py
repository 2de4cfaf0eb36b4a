"""Deja Dup's settings where they are kept: read them, and change them at the user's word.

Knows GSettings through its own program `gsettings` (it finds dconf, or whatever the desktop uses, and loads no
library into the daemon), and the file in which a Flatpak keeps its settings. Must not know what the settings mean.
"""

from __future__ import annotations

import ast
import asyncio
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

from slowboat.core import dejadup
from slowboat.core.errors import NeedsUser
from slowboat.edges import xdg

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PATIENCE: Final = 10.0
"""Seconds for one call of gsettings; it takes milliseconds, and a hung session bus must not hold us."""

SNAP_SCHEMAS: Final = "/snap/deja-dup/current/usr/share/glib-2.0/schemas"
"""The Snap is a classic one: it uses the host's settings and brings its schemas
(https://github.com/deja-dup/snap)."""

FLATPAK_SETTINGS: Final = ".var/app/org.gnome.DejaDup/config/glib-2.0/settings/keyfile"
"""Where GSettings keeps the settings of a Flatpak that may not use the host's dconf
(https://docs.gtk.org/gio/class.Settings.html, "keyfile"); below the home."""

FLATPAK_COMMAND: Final = "flatpak run --command=gsettings org.gnome.DejaDup"

_CHILDREN: Final = {
    name.lower(): name for name in ("Local", "Drive", "Remote", "Rclone", "OpenStack", "Rackspace", "File")
}
_LISTS: Final = frozenset({"include-list", "exclude-list"})
"""Keys whose values are lists of paths; one a line here."""
_FLATPAK_HAS: Final = {"backend": "auto", "Rclone.remote": "", "Rclone.folder": "$HOSTNAME"}
"""The defaults, which the file does not hold, of the settings that tell the version: a Flatpak is a present one."""


class DejaDup:
    """Fulfils the engine's `FrontEnd` port; see there for each method's meaning."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Touches nothing yet.

        Args:
            environment: such as os.environ: it says whose settings are meant.
        """
        self._environment = dict(environment)
        self._home = Path(environment.get("HOME") or "~").expanduser()
        self._command: Sequence[str] = ()

    async def read(self) -> Mapping[str, str]:
        """Its settings by `core.dejadup` names; {} where there is no Deja Dup. Of several the one used last."""
        found: list[tuple[str, Sequence[str], dict[str, str]]] = []
        for command in (("gsettings",), ("gsettings", "--schemadir", SNAP_SCHEMAS)):
            if values := _listed(await self._run(*command, "list-recursively", dejadup.SCHEMA)):
                found.append((values.get("last-run", ""), command, values))
                break
        if values := _of_flatpak(self._home / FLATPAK_SETTINGS):
            found.append((values.get("last-run", ""), (), values))
        if not found:
            return {}
        _, self._command, newest = max(found, key=lambda each: each[0])
        return newest | {key: self._by_path(newest[key]) for key in _LISTS & newest.keys()}

    def _by_path(self, listed: str) -> str:
        """A list in which the words for the user's folders are their paths, where they have one."""
        known = xdg.user_folders(self._environment)
        words = {f"${word}": known[xdg_word] for word, xdg_word in dejadup.USER_DIRS.items() if xdg_word in known}
        return "\n".join(words.get(line, line) for line in listed.splitlines())

    async def sources(self, folder: str) -> Sequence[str]:
        """The URLs under which it backs up to that folder, its present one first; () where it does not."""
        return dejadup.source_urls(await self.read(), folder, os.fspath(self._home), socket.gethostname())

    async def write(self, change: Mapping[str, str]) -> None:
        """Sets each in turn, and reads all of them back; where that fails, everything is as it was.

        Raises:
            NeedsUser: it cannot be changed from here; the hint says how.
        """
        before = await self.read()
        if not self._command:
            raise NeedsUser(
                "the settings of a Deja Dup from Flathub can only be changed from inside it" if before else _NONE,
                hint=f"Run: {dejadup.in_words(change, FLATPAK_COMMAND)}" if before else "",
                code="front-end",
            )
        for name, text in change.items():
            await self._set(name, text)
        after = await self.read()
        if any(after.get(name) != text for name, text in change.items()):
            for name in reversed([*change]):
                await self._set(name, before.get(name, ""))
            raise NeedsUser(
                "Deja Dup's settings could not be changed",
                hint=f"Run in your desktop session: {dejadup.in_words(change, ' '.join(self._command))}",
                code="front-end",
            )

    async def _set(self, name: str, text: str) -> None:
        schema, key = dejadup.schema_of(name)
        await self._run(*self._command, "set", schema, key, _quoted(text))

    async def _run(self, *command: str) -> str:
        """What it printed; "" where it is not there, fails or hangs."""
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env={**self._environment, "LC_ALL": "C.UTF-8"},
            )
        except OSError:
            return ""
        try:
            async with asyncio.timeout(PATIENCE):
                output, _ = await process.communicate()
        except TimeoutError:
            return ""
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return output.decode("utf-8", "replace") if process.returncode == 0 else ""


_NONE: Final = "there is no Deja Dup on this machine, or its settings cannot be read"


def _listed(output: str) -> dict[str, str]:
    """What `gsettings list-recursively` prints: a schema, a key and a value a line; texts and lists of paths count."""
    found = {}
    for line in output.splitlines():
        schema, _, rest = line.partition(" ")
        key, _, value = rest.partition(" ")
        if schema == dejadup.SCHEMA or schema.startswith(f"{dejadup.SCHEMA}."):
            child = schema.removeprefix(dejadup.SCHEMA).removeprefix(".")
            text = _lines(value) if key in _LISTS else _text(value)
            if text is not None:
                found[f"{child}.{key}" if child else key] = text
    return found


def _of_flatpak(path: Path) -> dict[str, str]:
    """The settings in a key file (https://docs.gtk.org/glib/struct.KeyFile.html); {} where there is none."""
    if not path.is_file():
        return {}
    import configparser  # few have a Flatpak

    parser = configparser.RawConfigParser(strict=False, delimiters=("=",), comment_prefixes=("#",))
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, configparser.Error):
        return {}
    found = dict(_FLATPAK_HAS)
    for group in parser.sections():
        top, _, child = group.removeprefix("org/gnome/").partition("/")
        if top != "deja-dup" or (child and child not in _CHILDREN):
            continue
        for key, value in parser[group].items():
            if (text := _text(value)) is not None:
                found[f"{_CHILDREN[child]}.{key}" if child else key] = text
    return found


def _text(value: str) -> str | None:
    """A text as GVariant writes it, which Python reads alike; None for anything else.

    https://docs.gtk.org/glib/gvariant-text-format.html
    """
    if not value.startswith(("'", '"')):
        return None
    try:
        found = ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return None
    return found if isinstance(found, str) else None


def _lines(value: str) -> str | None:
    """An array of texts, one a line; None for anything else. An empty one is written "@as []"."""
    try:
        found = ast.literal_eval(value.removeprefix("@as "))
    except (SyntaxError, ValueError):
        return None
    return "\n".join(found) if isinstance(found, list) and all(isinstance(one, str) for one in found) else None


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"
