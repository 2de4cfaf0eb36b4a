"""Target URLs: where each leads, as duplicity understands them.

Knows duplicity's way of taking a URL apart (duplicity/backend.py, ParsedUrl, and each backend; the same in every
version since 0.8). Must not know which of them a user wants. What a URL's cache is called is in `names`.
"""

from __future__ import annotations

import re
from typing import Final

_PARTS: Final = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<first>[^/?#]*)(?P<rest>[^?#]*)")
_ESCAPED: Final = re.compile(rb"%([0-9a-fA-F]{2})")


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


def _unescaped(text: str) -> str:
    raw = _ESCAPED.sub(lambda match: bytes([int(match[1], 16)]), text.encode("utf-8", "surrogateescape"))
    return raw.decode("utf-8", "replace")
