"""rclone's remotes of type `swift`: who the user is to each, and the URL by which Deja Dup reaches it.

Knows rclone's configuration file (https://rclone.org/docs/#config-string, https://rclone.org/swift/#standard-options);
must not know what a remote is used for. It is read when the user sets slowboat up, and never by the daemon.
"""

from __future__ import annotations

import configparser
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final

from slowboat.core.identity import Identity
from slowboat.edges import xdg

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_KEYS: Final[Mapping[str, str]] = {
    "auth_url": "auth",
    "user": "user",
    "user_id": "user_id",
    "user_domain": "domain",
    "project": "tenant",
    "project_id": "tenant_id",
    "project_domain": "tenant_domain",
    "application_credential_id": "application_credential_id",
    "application_credential_name": "application_credential_name",
    "region": "region",
    "storage_url": "storage_url",
}
"""Fields of an identity, and what rclone calls them."""
_ENCRYPTED: Final = "RCLONE_ENCRYPT_V"
"""https://github.com/rclone/rclone/blob/master/fs/config/crypt.go"""


@dataclass(frozen=True, slots=True)
class Remote:
    """One remote that leads to a Swift.

    Attributes:
        name: rclone's, as in `rclone://NAME:container`.
        identity: who the user is.
        key: the password, key or secret that stands there; "" for none.
    """

    name: str
    identity: Identity
    key: str = field(default="", repr=False)


def config_file(environment: Mapping[str, str]) -> Path:
    """Where rclone keeps its remotes: $RCLONE_CONFIG, the XDG place, or the old one where that alone is there."""
    given = environment.get("RCLONE_CONFIG", "")
    usual = xdg.folder("XDG_CONFIG_HOME", environment) / "rclone/rclone.conf"
    old = xdg.home(environment) / ".rclone.conf"
    return type(usual)(given) if given else usual if usual.exists() or not old.exists() else old


def remotes(environment: Mapping[str, str]) -> tuple[Remote, ...]:
    """The remotes of type swift, in the file's order; () where there are none, or the file is encrypted."""
    parser = configparser.RawConfigParser(strict=False, delimiters=("=",), comment_prefixes=("#", ";"))
    try:
        text = config_file(environment).read_text(encoding="utf-8")
        if _ENCRYPTED in text[:200]:
            return ()
        parser.read_string(text)
    except (OSError, UnicodeDecodeError, configparser.Error):
        return ()
    found = (_remote(name, dict(parser[name])) for name in parser.sections())
    return tuple(remote for remote in found if remote is not None)


def _remote(name: str, options: Mapping[str, str]) -> Remote | None:
    if options.get("type") != "swift" or not options.get("auth"):  # without `auth` it takes all from the environment
        return None
    known: dict[str, Any] = {ours: options[theirs] for ours, theirs in _KEYS.items() if options.get(theirs)}
    known["version"] = {"1": 1, "2": 2, "3": 3}.get(options.get("auth_version", ""), 0)
    kind = options.get("endpoint_type", "")
    known["interface"] = kind if kind in {"internal", "admin"} else "public"
    assert known.keys() <= {each.name for each in fields(Identity)}
    return Remote(name, Identity(**known), options.get("application_credential_secret") or options.get("key", ""))
