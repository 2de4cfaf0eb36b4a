"""What a server's answers say, judged: bytes and headers in, a value within bounds out, or `Strange`.

Knows the shape of each answer, and what no Swift would ever say; must not know how an answer came, or what follows
from it. Every parser here is total: whatever comes, there is no third way out, and no number, name or address leaves
that what lies behind (the ledger, the bus, the arithmetic of segments) could not bear.

https://docs.openstack.org/api-ref/object-store/
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

import msgspec

from slowboat.core.segmenting import LARGEST
from slowboat.core.words import Limits, RemoteObject, Room

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

T = TypeVar("T")

DEFAULT_LIMITS: Final = Limits(min_segment=1048576, bulk_delete=False)
"""Where nothing is told: OpenStack's defaults, and 1 MiB, the least size of segments before Swift 2.3.
https://github.com/openstack/swift/blob/master/CHANGELOG"""

_MOST_BYTES: Final = 1 << 60
"""Of an object: what SQLite and D-Bus carry, with room to add some up."""

_LAST_SECOND: Final = 1 << 37
"""Seconds since the epoch: some four thousand years, the last that anything here can reckon with."""

_LONGEST_ETAG: Final = 128
_LONGEST_TOKEN: Final = 16384
"""Bytes: Keystone's old PKI tokens had up to 8 KiB, which is what web servers take."""
_LONGEST_URL: Final = 2048


class Strange(ValueError):
    """Nothing that Swift would say."""


# -- /info -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class InfoLimits:
    """What a server allows, and how far to believe it.

    Attributes:
        limits: fit to reckon with, whatever was told.
        sure: whether they may be remembered; False where nothing was told or a figure had to be put right, so that
            it is asked again.
    """

    limits: Limits
    sure: bool = True


class _Info(msgspec.Struct):
    # Any: a section or figure of an odd kind is one that is not told, and costs no more than itself.
    swift: Any = None
    slo: Any = None
    bulk_delete: Any = None


_RANGES: Final[Mapping[str, tuple[int, int]]] = {
    # What the rest of slowboat can reckon with; no server is known that is beyond.
    "max_object": (1 << 16, 1 << 50),
    "max_segments": (2, 1_000_000),
    "min_segment": (0, LARGEST),
    "listing": (1, 1_000_000),
    "max_name": (255, 8192),
}


def limits(body: bytes) -> InfoLimits:
    """The limits in an /info. Raises Strange where it is no JSON object.

    https://docs.openstack.org/swift/latest/api/discoverability.html
    """
    info = _decoded(_Info, body)
    core, slo = _section(info.swift), _section(info.slo)
    if core is None:
        return InfoLimits(DEFAULT_LIMITS, sure=False)
    found = {
        "max_object": core.get("max_file_size"),
        "max_segments": (slo or {}).get("max_manifest_segments"),
        "min_segment": (slo or {}).get("min_segment_size"),
        "listing": core.get("container_listing_limit"),
        "max_name": core.get("max_object_name_length", core.get("max_object_name_size")),  # Ceph's gateway: ..._size
    }
    sound: dict[str, Any] = {name: value for name, value in found.items() if _within(value, *_RANGES[name])}
    odd = {name for name, value in found.items() if value is not None} - sound.keys()
    usable = slo is not None and "min_segment" not in odd  # else no segment is known to be large enough
    made = Limits(**sound, slo=usable, bulk_delete=_section(info.bulk_delete) is not None)
    return InfoLimits(made, sure=not odd)


def _section(value: object) -> dict[str, Any] | None:
    return value if isinstance(value, dict) else None


def _within(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


# -- an account and a container ---------------------------------------------------------------------------------


def room(container: Mapping[str, str] | None, account: Mapping[str, str]) -> Room:
    """How a container stands (None: it is not there), and what the quotas leave; a figure of an odd kind is not told.

    https://docs.openstack.org/swift/latest/middleware.html#module-swift.common.middleware.account_quotas
    https://docs.openstack.org/swift/latest/middleware.html#module-swift.common.middleware.container_quotas
    """
    kept = container or {}
    quotas = (
        (_figure(account, "x-account-meta-quota-bytes"), _figure(account, "x-account-bytes-used")),
        (_figure(kept, "x-container-meta-quota-bytes"), _figure(kept, "x-container-bytes-used")),
    )
    left = [max(0, quota - (used or 0)) for quota, used in quotas if quota is not None]
    objects = _figure(kept, "x-container-object-count") or 0
    return Room(stands=container is not None, objects=objects, free=min(left, default=None))


def _figure(headers: Mapping[str, str], name: str) -> int | None:
    text = headers.get(name, "").strip()
    return min(int(text), _MOST_BYTES) if text.isdecimal() and text.isascii() and len(text) < 40 else None


# -- listings --------------------------------------------------------------------------------------------------


class _Row(msgspec.Struct, gc=False):
    hash: str
    bytes: int
    last_modified: str
    name: str
    slo_etag: str | None = None


_ROWS: Final = msgspec.json.Decoder(list[_Row])


def page(body: bytes, *, prefix: str = "", max_name: int = 1024) -> Sequence[RemoteObject]:
    """The rows of one page of a listing, in their order.

    Raises:
        Strange: it is no listing; a name has no place in it, is longer than `max_name` bytes, or no text at all.
    """
    return [_listed(row, prefix, max_name) for row in _net(_ROWS.decode, body)]


def _listed(row: _Row, prefix: str, max_name: int) -> RemoteObject:
    if not row.name or not row.name.startswith(prefix) or len(row.name.encode()) > max_name:
        raise Strange("an impossible name")
    return RemoteObject(
        row.name,
        _size(row.bytes),
        etag(row.slo_etag or row.hash),
        slo=row.slo_etag is not None,
        modified=_moment(_net(datetime.fromisoformat, row.last_modified)),
    )


# -- one object ------------------------------------------------------------------------------------------------


def headed(name: str, headers: Mapping[str, str]) -> RemoteObject:
    """The object of a HEAD. Raises Strange where a header is missing or makes no sense."""
    expires = headers.get("x-delete-at")
    return RemoteObject(
        name,
        _size(_digits(headers.get("content-length", ""))),
        etag(headers.get("etag", "")),
        slo=headers.get("x-static-large-object", "").strip().lower() in {"true", "1"},
        modified=modified(headers),
        expires=float(_second(_digits(expires))) if expires else None,
    )


def etag(text: str) -> str:
    """An ETag without its quotes. Raises Strange where it is empty, or nothing that a server would reckon."""
    bare = text.strip().strip('"')
    if not bare or len(bare) > _LONGEST_ETAG or not bare.isascii() or not bare.isprintable():
        raise Strange("no ETag")
    return bare


def modified(headers: Mapping[str, str]) -> float:
    """When it was last written; 0.0 where the headers do not say. Raises Strange where they say nothing sensible."""
    if stamp := headers.get("x-timestamp"):
        if not _STAMP.fullmatch(stamp):
            raise Strange("no time")
        return _second(float(stamp))
    if date := headers.get("last-modified"):
        return _moment(_net(parsedate_to_datetime, date))
    return 0.0


_STAMP: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{1,18})?")


# -- bulk deletes ----------------------------------------------------------------------------------------------


class _Report(msgspec.Struct):
    status: str = msgspec.field(name="Response Status")
    errors: list[tuple[str, str]] = msgspec.field(name="Errors")


def failures(body: bytes) -> Sequence[int]:
    """The statuses with which a bulk delete failed, the whole's last; those of objects that are gone are none.

    https://docs.openstack.org/swift/latest/middleware.html#module-swift.common.middleware.bulk

    Raises:
        Strange: it is no report, so nothing is known of what was deleted.
    """
    report = _decoded(_Report, body)
    each = [_status(text) for _, text in report.errors]
    whole = _status(report.status)
    return [status for status in each if status != 404] + ([whole] if whole >= 400 else [])


def _status(text: str) -> int:
    status = _digits(text[:3])
    if not 100 <= status <= 599:
        raise Strange("no status")
    return status


# -- tokens ----------------------------------------------------------------------------------------------------


def token(text: object) -> str:
    """A token that can stand in a header. Raises Strange."""
    if not isinstance(text, str) or not 0 < len(text) <= _LONGEST_TOKEN or not _is_one_word(text):
        raise Strange("no token")
    return text


def address(url: object) -> str:
    """The address of an account at a store, without a slash at its end. Raises Strange where nothing can be there."""
    if not isinstance(url, str) or len(url) > _LONGEST_URL or not _is_one_word(url):
        raise Strange("no address")
    parts = _net(urlsplit, url)
    port = _net(lambda: parts.port)
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise Strange("no address")
    if "@" in parts.netloc or "?" in url or "#" in url:
        raise Strange("an address with more in it than a location")
    return url.rstrip("/")


def seconds(text: str) -> float | None:
    """The life of a token; None where the server does not say, or nothing sensible."""
    return float(text) if re.fullmatch(r"[0-9]{1,10}", text.strip()) else None


def _is_one_word(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


# -- the net ---------------------------------------------------------------------------------------------------


def _net(parse: Any, *foreign: Any) -> Any:  # noqa: ANN401 - any parser of somebody else's words
    """What a parser makes of what somebody else said; whatever it stumbles over is theirs."""
    try:
        return parse(*foreign)
    # MsgspecError is a ValueError in the newest msgspec alone
    except (msgspec.MsgspecError, ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as problem:
        raise Strange(type(problem).__name__) from None


def _decoded(shape: type[T], body: bytes) -> T:
    found: T = _net(lambda: msgspec.json.decode(body, type=shape))
    return found


def _digits(text: str) -> int:
    """A number in plain digits of no more than eighteen; "²" and "1_0" are none."""
    if not re.fullmatch(r"[0-9]{1,18}", text.strip()):
        raise Strange("no number")
    return int(text)


def _size(count: int) -> int:
    if not 0 <= count <= _MOST_BYTES:
        raise Strange("no size")
    return count


def _second(moment: float) -> float:
    if not 0 <= moment <= _LAST_SECOND:
        raise Strange("no time")
    return moment


def _moment(when: datetime) -> float:
    aware = when if when.tzinfo else when.replace(tzinfo=UTC)
    return _second(_net(aware.timestamp))
