"""Target URLs: where each leads, as duplicity understands them.

Knows duplicity's way of taking a URL apart (duplicity/backend.py, ParsedUrl, and each backend; the same in every
version since 0.8). Must not know which of them a user wants. What a URL's cache is called is in `names`.
"""

from __future__ import annotations

import re
from typing import Final

_PARTS: Final = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<first>[^/?#]*)(?P<rest>[^?#]*)")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_ESCAPED: Final = re.compile(rb"%([0-9a-fA-F]{2})")

_CONTAINER_FIRST: Final = frozenset({"swift", "cf+http"})
"""Schemes whose first part is a container, in whose name an `@` may stand."""


def place(url: str) -> str | None:
    """The container and prefix that a URL leads to, such as "backup/laptop"; None where it is of no kind for Swift.

    The first part of the path is taken as it is, in the others percent-escapes count; what comes after `?` or `#`
    is lost.

    >>> place("swift://backup//my%20laptop/")
    'backup/my laptop'
    >>> place("rclone://cloud:/backup/laptop")
    'backup/laptop'
    """
    match = _PARTS.match(url)
    if match is None:
        return None
    path = match["first"] + _unescaped(match["rest"])
    match match["scheme"].lower().removeprefix("par2+"):
        case "swift":
            return "/".join(part for part in path.split("/") if part)
        case "cf+http":
            return path.lstrip("/")
        case "rclone":  # "REMOTE:path", or ":backend,options:path"
            return path.replace(":/", ":", 1).rpartition(":")[2].strip("/")
        case _:
            return None


def swift(container: str, prefix: str) -> str:
    """The swift:// URL for a container and a prefix ("" or ending in "/"); `place` of it is just that."""
    escaped = re.sub(r"[%?#]", lambda match: f"%{ord(match[0]):02X}", prefix)
    return f"swift://{container}/{escaped}".rstrip("/")


def without_user(url: str) -> str:
    """What may be shown of a URL: all but the user and the password that may stand in it.

    Where it is not certain whether an `@` ends a password or belongs to a path, it is taken for the end of a password.
    rclone's remotes on the fly (`:swift,user=...,key=...:container`, https://rclone.org/docs/#connection-strings)
    keep their kind alone. The text need not be a URL at all: a mistyped one may hold a password, too.

    >>> without_user("sftp://anna:secret@nas/backup")
    'sftp://nas/backup'
    >>> without_user("rclone://:swift,user=anna,key=secret:backup/laptop")
    'rclone://:swift,...:backup/laptop'
    """
    match = _SCHEME.match(url)
    start = match[0] if match is not None else ""
    rest = url[len(start) :]
    kind = start.removesuffix("://").lower().removeprefix("par2+")
    if kind == "file":
        return url  # no host and so no user: an @ is part of a folder's name
    if kind == "rclone":
        remote, colon, path = rest.rpartition(":")
        name, comma, _ = remote.partition(",")
        return f"{start}{name}{',...' if comma else ''}{colon}{path}"
    host, slash, path = rest.partition("/")
    if "@" in host and (":" in host or kind not in _CONTAINER_FIRST):
        return f"{start}{host.rpartition('@')[2]}{slash}{path}"
    if ":" in host and "@" in path:  # a password with a slash in it
        return f"{start}{path.rpartition('@')[2]}"
    return url


def _unescaped(text: str) -> str:
    raw = _ESCAPED.sub(lambda match: bytes([int(match[1], 16)]), text.encode("utf-8", "surrogateescape"))
    return raw.decode("utf-8", "replace")
