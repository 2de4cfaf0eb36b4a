"""Where a user's files are, by the XDG Base Directory Specification.

Knows the variables and what holds where one is not set; must not know what is kept there. A relative path in a
variable is ignored, as the specification says: https://specifications.freedesktop.org/basedir-spec/latest/
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Variable = Literal["XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"]

USUAL: Final[Mapping[Variable, str]] = {
    "XDG_CACHE_HOME": ".cache",
    "XDG_CONFIG_HOME": ".config",
    "XDG_DATA_HOME": ".local/share",
    "XDG_STATE_HOME": ".local/state",
}
"""Below the home directory, where the variable is not set."""

OURS: Final = "slowboat"
"""The name of our own folder in each."""


def home(environment: Mapping[str, str] | None = None) -> Path:
    """The user's home directory; `environment` is such as os.environ, which it is where nothing is given."""
    return Path((os.environ if environment is None else environment).get("HOME") or "~").expanduser()


def given(variable: Variable, environment: Mapping[str, str] | None = None) -> Path | None:
    """The folder that the variable names; None where it names none."""
    path = Path((os.environ if environment is None else environment).get(variable, ""))
    return path if path.is_absolute() else None


def folder(variable: Variable, environment: Mapping[str, str] | None = None) -> Path:
    """The folder that the variable names, or the usual one."""
    return given(variable, environment) or home(environment) / USUAL[variable]


def user_folders(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The user's own folders by their words in user-dirs.dirs(5), such as "DOWNLOAD": those that are set.

    One that is set to the home itself is one that the user does not have.
    """
    try:
        text = (folder("XDG_CONFIG_HOME", environment) / "user-dirs.dirs").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return {}
    at_home = home(environment)
    found = re.findall(r'^XDG_(\w+)_DIR="(?:\$HOME/|(?=/))(.*)"\s*$', text, re.MULTILINE)
    paths = {word: at_home / re.sub(r"\\(.)", r"\1", path) for word, path in found}
    return {word: os.fspath(path) for word, path in paths.items() if path != at_home}
