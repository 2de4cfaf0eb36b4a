"""What each answer, and each failure to get one, means for the caller: two tables and the rules to read them.

Knows Swift's statuses by verb and the names of the exceptions that the network and the HTTP libraries raise.
Must not import any of those libraries, wait, or log: it is data. docs/swift.md gives the sources of the rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Literal

from slowboat.core.errors import NeedsUser, Refused, SlowboatError, Transient
from slowboat.edges.swift.server_message import sentence

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from slowboat.core.errors import Scope

Verb = Literal["AUTH", "INFO", "LIST", "HEAD", "CONTAINER", "PUT", "SEGMENT", "SLO", "COPY", "POST", "DELETE"]
"""What was asked. SEGMENT is a PUT that may replace; PUT one that may not; CONTAINER makes or looks at one."""

Must = Literal["again", "again-object", "set-aside", "tell"]
"""What the caller must do: Transient about the server, Transient about the object, Refused, NeedsUser."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table.

    Attributes:
        must: what the caller must do.
        code: the error's stable word.
        text: what happened; "{what}" is the thing, "{host}" the server, "{status}" the number.
        hint: the cure, with the same places; "" where only waiting helps.
        wait: seconds to wait where the server does not say; None leaves it to the caller.
        quotes: whether the server's own words, where there are any, are part of what happened.
    """

    must: Must
    code: str
    text: str
    hint: str = ""
    wait: float | None = None
    quotes: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked of whom, for the words of an error: the verb, the thing, the host."""

    verb: Verb
    what: str
    host: str


_SAYS_WAIT = "{host} asks for fewer requests"
_BAD_REQUEST = "{host} does not accept the request for {what} (status {status})"
_FAILED = "{host} failed at {what} (status {status})"
_SEGMENTS_GONE = Row("again-object", "segments-gone", "segments of {what} are gone or changed at {host}", quotes=True)
_BAD = Row("set-aside", "bad-request", _BAD_REQUEST, quotes=True)
_MAY_NOT_WRITE = Row(
    "tell",
    "forbidden",
    "{host} does not let this user store anything here",
    "Give this user read and write access to the container, or use another user",
    quotes=True,
)
"""About the target as a whole, so no object is named: each would be told of by itself."""
_MAY_NOT_READ = replace(_MAY_NOT_WRITE, text="{host} does not let this user see anything here")
_NOT_SWIFT = "{host} answered with something that is not from Swift"

STATUSES: Mapping[tuple[Verb | Literal["*"], int], Row] = {
    # Credentials. A 401 elsewhere than at AUTH first costs the token, see `Session.rejected`.
    ("AUTH", 400): Row(
        "tell",
        "credentials",
        "{host} does not understand the request for a token",
        "Check the cloud's user and project",
    ),
    ("AUTH", 401): Row(
        "tell", "credentials", "{host} does not accept the user or the password", "Check the cloud's user and key"
    ),
    ("AUTH", 403): Row(
        "tell", "credentials", "{host} does not let this user in", "Ask the provider, or check user and key"
    ),
    ("AUTH", 404): Row("tell", "auth-url", "{host} does not issue tokens at this address", "Check auth_url"),
    ("AUTH", 405): Row("tell", "auth-url", "{host} does not issue tokens at this address", "Check auth_url"),
    ("*", 401): Row("again", "token", "{host} no longer accepts the token", wait=0.0),
    ("*", 402): Row("tell", "payment", "{host} asks for payment", "Settle this with the provider", quotes=True),
    # What this user may not do holds for each object alike. A 405 is how accounts that may only be read say it.
    ("*", 403): _MAY_NOT_WRITE,
    ("*", 405): _MAY_NOT_WRITE,
    ("LIST", 403): _MAY_NOT_READ,
    ("LIST", 405): _MAY_NOT_READ,
    ("HEAD", 403): _MAY_NOT_READ,
    ("HEAD", 405): _MAY_NOT_READ,
    # What is not there. A HEAD or LIST of it is an answer and not an error (`calls`).
    ("*", 404): Row("again-object", "gone", "{what} is not at {host}"),
    ("PUT", 404): Row("again-object", "container-gone", "the container for {what} is gone", wait=0.0),
    ("SEGMENT", 404): Row("again-object", "container-gone", "the container for {what} is gone", wait=0.0),
    ("SLO", 404): Row("again-object", "container-gone", "the container for {what} is gone", wait=0.0),
    ("COPY", 404): _SEGMENTS_GONE,
    ("POST", 404): _SEGMENTS_GONE,
    ("SLO", 400): _SEGMENTS_GONE,
    ("SLO", 409): _SEGMENTS_GONE,
    ("COPY", 409): _SEGMENTS_GONE,
    # Nothing was stored: a success that is none. 202 on a PUT: the server holds something newer.
    ("PUT", 202): Row("again-object", "not-stored", "{host} already has something newer at {what} and stored nothing"),
    ("SEGMENT", 202): Row("again-object", "not-stored", "{host} already has something newer at {what}, stored nothing"),
    ("SLO", 202): Row("again-object", "not-stored", "{host} already has something newer at {what} and stored nothing"),
    ("COPY", 202): Row("again-object", "not-stored", "{host} already has something newer at {what} and stored nothing"),
    ("PUT", 412): Row(
        "set-aside", "exists", "{what} is already at {host}", "slowboat overwrites nothing; move it away first"
    ),
    ("SLO", 412): Row(
        "set-aside", "exists", "{what} is already at {host}", "slowboat overwrites nothing; move it away first"
    ),
    # What arrived is not what was announced.
    ("*", 422): Row("again-object", "mismatch", "{what} arrived at {host} with a different checksum", quotes=True),
    ("COPY", 422): Row(
        "set-aside",
        "mismatch",
        "the segments of {what} at {host} do not make up the file",
        "The next try sends it again",
        quotes=True,
    ),
    # The request itself.
    ("*", 400): _BAD,
    ("CONTAINER", 400): Row(
        "tell", "container", "{host} does not take {what}", "Choose another name for the container", quotes=True
    ),
    ("*", 408): Row("again", "too-slow", "{host} waited too long for {what}"),
    ("*", 409): Row("again-object", "conflict", "{host} is busy with {what} otherwise", quotes=True),
    ("*", 411): Row("again", "proxy", "something between here and {host} removed the length from the request"),
    ("*", 412): _BAD,
    ("*", 413): Row("set-aside", "too-large", "{what} is larger than {host} accepts", quotes=True),
    # Left-over bytes of a broken body read as a request line; the connection is closed, so the next try differs.
    ("*", 414): Row("again-object", "bad-request", _BAD_REQUEST),
    ("*", 416): Row("again-object", "bad-request", _BAD_REQUEST),
    # Slow down. Swift itself never names a time; 498 is its ratelimit middleware, 497 that one's blacklist.
    ("*", 429): Row("again", "slow-down", _SAYS_WAIT, wait=60.0),
    # An archive's answer: what is to be copied has to be fetched from a slow place first. The rest may go on.
    ("COPY", 429): Row("again-object", "slow-down", "{host} asks slowboat to wait with {what}", wait=60.0),
    ("*", 497): Row("tell", "blacklisted", "{host} has locked this account out", "Ask the provider why"),
    ("*", 498): Row("again", "slow-down", _SAYS_WAIT, wait=30.0),
    ("*", 499): Row("again", "reset", "{host} saw the connection break"),
    # The server's own trouble.
    ("*", 500): Row("again", "server-error", _FAILED),
    ("*", 502): Row("again", "bad-gateway", _FAILED),
    ("*", 503): Row("again", "server-error", _FAILED),
    ("*", 504): Row("again", "timeout", "{host} took too long over {what}"),
    ("*", 507): Row("again", "server-full", "{host} has no room for {what} at the moment", wait=300.0),
    ("*", 511): Row("again", "portal", "this network requires a login before it lets anything through", "Log in to it"),
}

QUOTA = Row(
    "tell", "quota", "the account or container at {host} is full", "Make room there, or raise its quota", quotes=True
)
"""413 whose text speaks of a quota (Swift's account_quotas and container_quotas)."""

OVER_LIMIT = Row("again", "slow-down", _SAYS_WAIT, wait=60.0)
"""413 whose text speaks of a rate limit (Rackspace's overLimit)."""

BODY_LIMIT = Row(
    "tell",
    "body-limit",
    "something between here and {host} blocks requests of this size",
    "Raise its limit (client_max_body_size of nginx, for one), or ask the provider to",
)
"""413 that is none of Swift's: a web server or proxy before it, whose limit holds for every object alike."""

PORTAL = Row("again", "portal", _NOT_SWIFT, "If this network requires a login, log in to it", wait=30.0)
"""A redirect, or a page for people, where Swift was asked: a captive portal, or a wrong address."""

CUT_SHORT = Row("again", "cut-short", "the answer of {host} about {what} was cut short")
"""An answer that ends too soon, or a 201 without the ETag that belongs to it."""

NOT_WHOLE = Row("again-object", "cut-short", "{host} answered before it had all of {what}")

UNKNOWN_4XX = Row("again-object", "bad-request", _BAD_REQUEST, quotes=True)
UNKNOWN_5XX = Row("again", "server-error", _FAILED)

FAILURES: tuple[tuple[str, Row], ...] = (
    # Names of exception classes; the first whose name occurs in the failure or in what caused it decides.
    (
        "SSLCertVerificationError",
        Row(
            "tell",
            "certificate",
            "{host} presents a certificate that this computer does not trust",
            "Check auth_url, the computer's clock, and cacert; on a public network, log in to it",
        ),
    ),
    ("SSLError", Row("again", "tls", "the encrypted connection to {host} broke")),
    (
        "EAI_NONAME",
        Row(
            "again", "no-such-host", "there is no host named {host}", "Check auth_url, or this computer's DNS settings"
        ),
    ),
    ("gaierror", Row("again", "dns", "the host name {host} could not be resolved")),
    ("ConnectionRefusedError", Row("again", "refused", "{host} refuses connections")),
    ("IncompleteRead", CUT_SHORT),
    ("RemoteDisconnected", Row("again", "reset", "{host} closed the connection without an answer")),
    ("ConnectionResetError", Row("again", "reset", "the connection to {host} broke")),
    ("BrokenPipeError", Row("again", "reset", "the connection to {host} broke")),
    ("ConnectionAbortedError", Row("again", "reset", "the connection to {host} broke")),
    ("TimeoutError", Row("again", "timeout", "{host} does not respond")),
    ("ReadTimeoutError", Row("again", "timeout", "{host} does not respond")),
    ("ConnectTimeout", Row("again", "timeout", "{host} does not respond")),
    ("ProxyError", Row("again", "proxy", "the proxy in front of {host} does not let the request through")),
    ("HTTPException", Row("again", "not-swift", _NOT_SWIFT)),
    ("ValueError", Row("again", "not-swift", _NOT_SWIFT)),
    ("OSError", Row("again", "network", "{host} cannot be reached")),
)

UNKNOWN_FAILURE = Row("again", "network", "{host} cannot be reached")


def error(
    row: Row, asked: Asked, *, status: int = 0, retry_after: float | None = None, message: str = ""
) -> SlowboatError:
    """The error that a row asks for; `said` are the server's own words, harmless."""
    places = {"what": asked.what, "host": asked.host, "status": status}
    text, hint = row.text.format(**places), row.hint.format(**places)
    if row.quotes and message:
        text = f'{text}: "{message}"'
    if row.must == "set-aside":
        return Refused(text, hint=hint, code=row.code)
    if row.must == "tell":
        return NeedsUser(text, hint=hint, code=row.code)
    wait = row.wait if retry_after is None else retry_after
    scope: Scope = "object" if row.must == "again-object" else "server"
    return Transient(text, hint=hint, code=row.code, retry_after=wait, scope=scope)


def verdict(asked: Asked, status: int, headers: Mapping[str, str], body: bytes, now: float) -> SlowboatError:
    """What an answer that is no success means.

    Args:
        asked: what was asked.
        status: of the answer, 200 to 599.
        headers: of the answer, their names in lower case.
        body: of the answer, or its beginning; it may hold no secret, for it may be quoted.
        now: seconds since the epoch, to read a Retry-After that is a date.
    """
    row = _row(asked.verb, status, headers, body)
    wait = retry_after(headers.get("retry-after"), now)
    # Who asks for a token sends the secret itself, and some servers show the request that they refuse.
    quoted = row.quotes and asked.verb != "AUTH"
    return error(row, asked, status=status, retry_after=wait, message=sentence(body) if quoted else "")


def _row(verb: Verb, status: int, headers: Mapping[str, str], body: bytes) -> Row:
    if is_portal(status, headers, auth=verb == "AUTH"):
        return PORTAL
    if status == 413 and (limit := _limit(headers, body)):
        return limit
    return row_of(verb, status)


def row_of(verb: Verb, status: int) -> Row:
    """The row of the table for an answer of Swift's own."""
    row = STATUSES.get((verb, status)) or STATUSES.get(("*", status))
    if row is None:
        row = PORTAL if status < 400 else UNKNOWN_5XX if status >= 500 else UNKNOWN_4XX
    if verb in _OF_NO_OBJECT and row.must in {"set-aside", "again-object"}:
        return replace(row, must="again")
    return row


_OF_NO_OBJECT = frozenset({"AUTH", "INFO", "LIST", "CONTAINER"})
"""What is asked on behalf of whatever comes next: its failure says nothing of that, so no file is set aside for it."""


def _limit(headers: Mapping[str, str], body: bytes) -> Row | None:
    """Which limit a 413 is about; None: the size of the object, by Swift's own word."""
    if _is_page(headers) and not _is_swifts(headers):
        return BODY_LIMIT
    if b"quota" in body.lower():
        return QUOTA
    return OVER_LIMIT if b"limit" in body.lower() or "retry-after" in headers else None


def is_portal(status: int, headers: Mapping[str, str], *, auth: bool = False) -> bool:
    """Whether somebody else answered in Swift's place.

    Swift never redirects what slowboat asks, and puts X-Trans-Id on each answer (its catch_errors middleware; Ceph's
    gateway does so too). A page for people without it comes from somebody between: a portal, or a proxy that
    judges the request itself. An error of an identity
    service may be a page and carries other ids, so there only a redirect counts.

    Args:
        status: of the answer.
        headers: of the answer, their names in lower case.
        auth: whether it was asked for a token.
    """
    if 300 <= status < 400:
        return True
    if auth or status >= 500 or status in _OF_PROXIES or _is_swifts(headers):
        return False
    return _is_page(headers)


_OF_PROXIES = frozenset({408, 411, 413, 414, 429, 431})
"""What web servers and proxies say by themselves about a request, as a page: of its length, its pace, its number.
A portal that wants a login has nothing to say about these."""


def _is_swifts(headers: Mapping[str, str]) -> bool:
    return "x-trans-id" in headers or "x-openstack-request-id" in headers


def _is_page(headers: Mapping[str, str]) -> bool:
    return headers.get("content-type", "").lower().startswith("text/html")


_FOR_EVER = 1e10
"""Seconds: some three hundred years."""


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds to wait by a Retry-After header in either form; None where there is none that can be read.

    https://www.rfc-editor.org/rfc/rfc9110.html#name-retry-after
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return float(text) if len(text) <= 10 else _FOR_EVER
    try:
        moment = parsedate_to_datetime(text)
        return max(0.0, moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() - now)
    except (ValueError, LookupError, TypeError, ArithmeticError):
        return None


def failure(asked: Asked, problem: BaseException) -> SlowboatError:
    """What a failure to get an answer means, by the names of its class and of what caused it."""
    names = frozenset(name for cause in _causes(problem) for name in _names(cause))
    for name, row in FAILURES:
        if name in names:
            return error(row, asked)
    return error(UNKNOWN_FAILURE, asked)


def _causes(problem: BaseException) -> Iterator[BaseException]:
    """The failure and everything it was made of; HTTP libraries hide the cause in args, reason, or the context."""
    seen: list[BaseException] = []
    queue = [problem]
    while queue:
        each = queue.pop()
        if any(each is other for other in seen):
            continue
        seen.append(each)
        yield each
        parts = (each.__cause__, each.__context__, getattr(each, "reason", None), *each.args)
        queue += [part for part in parts if isinstance(part, BaseException)]


def _names(cause: BaseException) -> Iterator[str]:
    # gaierror says which by number; the host's name being unknown is not the lookup having failed.
    if type(cause).__name__ == "gaierror" and cause.args and cause.args[0] in _NO_NAME:
        yield "EAI_NONAME"
    yield from (kind.__name__ for kind in type(cause).__mro__)


_NO_NAME = frozenset({-2, -5})
"""EAI_NONAME and EAI_NODATA of glibc's netdb.h."""
