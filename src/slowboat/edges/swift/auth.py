"""The token: fetched when first needed, renewed before it expires, thrown away when the server refuses it.

Knows v1 authentication; what asks an identity service is keystone.py. Must not know what the token is used for. All
calls come from worker threads.

The v1 request is made here and not by swiftclient's `get_auth`, which drops X-Auth-Token-Expires.
https://docs.openstack.org/api-ref/object-store/#authentication
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from slowboat.core.errors import NeedsUser, SlowboatError, Stopped
from slowboat.edges.swift import answers, statuses
from slowboat.edges.swift.credentials import Credentials, demand_privacy, fit_for_a_header, host_of

if TYPE_CHECKING:
    from slowboat.edges.swift.wire import Wire

_RENEW_SECONDS = 600.0
"""Left of a token's life when it is renewed; a fifth of its life where that is less."""

_PATROL = 0.1
"""Seconds between two looks at whether the wait for another worker's token was broken off."""

_REFUSALS = 2
"""Fresh tokens refused in a row, without a success between them, until it is taken for the user's matter."""


@dataclass(frozen=True, slots=True)
class Access:
    """A token and where to use it; valid until `renew_at` at least, on the clock that runs on through sleep."""

    storage_url: str
    token: str = field(repr=False)
    renew_at: float = float("inf")

    @property
    def host(self) -> str:
        """The storage's host, for the words of an error."""
        return host_of(self.storage_url)


class Keyring:
    """Holds the one token that all workers use.

    Args:
        credentials: who asks.
    """

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._fetching = threading.Lock()  # for as long as a keyring and a server take
        self._lock = threading.Lock()  # for a moment, so that the event loop may take it, too
        self._access: Access | None = None
        self._forgotten = 0
        self._refused = 0

    def access(self, wire: Wire) -> Access:
        """The token, fetched over `wire` where there is none or where it is about to expire.

        Raises:
            NeedsUser: the credentials or addresses are wrong.
            Transient: it cannot be had now.
            Stopped: `wire` was aborted.
        """
        while not self._fetching.acquire(timeout=_PATROL):  # somebody else is fetching it
            if wire.aborted:
                raise Stopped("waiting for a token was broken off")
        try:
            with self._lock:
                known, forgotten = self._access, self._forgotten
            if known is None or now() >= known.renew_at:
                known = _fetch(self._credentials, wire)
                wire.close()  # its connection went to another host, or is as good as new
                with self._lock:
                    self._access = known if forgotten == self._forgotten else None
            return known
        finally:
            self._fetching.release()

    def accepted(self) -> None:
        """Notes that the server took a token."""
        if self._refused:
            with self._lock:
                self._refused = 0

    def refused(self, access: Access) -> bool:
        """Notes that the server refused `access`; True where a new one is worth a try."""
        with self._lock:
            if self._access is access:
                self._access = None
                self._refused += 1
            return self._refused < _REFUSALS

    def forget(self) -> None:
        """Throws the token away, also one that is being fetched; the next request fetches a new one."""
        with self._lock:
            self._access = None
            self._forgotten += 1


def token_of(credentials: Credentials) -> Access:
    """A token for somebody else's use, over a connection of its own. Blocking.

    Raises:
        NeedsUser: the credentials or addresses are wrong.
        Transient: it cannot be had now.
    """
    from slowboat.edges.swift import lean  # noqa: F401 - before any HTTP library
    from slowboat.edges.swift.wire import Wire

    wire = Wire(cacert=credentials.cacert)
    try:
        return Keyring(credentials).access(wire)
    finally:
        wire.close()


def now() -> float:
    """Seconds on a clock that nobody sets and that runs on while the computer sleeps (clock_gettime(2))."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _fetch(credentials: Credentials, wire: Wire) -> Access:
    demand_privacy(credentials.auth_url, "auth_url")
    credentials = _revealed(credentials, wire)
    asked = statuses.Asked("AUTH", "the address for tokens", credentials.host)
    access = (_fetch_v1 if credentials.protocol == 1 else _fetch_keystones)(credentials, wire, asked)
    if isinstance(access, SlowboatError):
        raise access
    demand_privacy(access.storage_url, "storage_url")
    return access


def _revealed(credentials: Credentials, wire: Wire) -> Credentials:
    """The credentials with their secret, however long a keyring takes; raises what it raises.

    It is asked in a thread that is left behind where `wire` is aborted: nothing can cut what asks a desktop's keyring,
    and it ends by its own patience (edges/secrets).

    Raises:
        Stopped: `wire` was aborted.
    """
    if credentials.secret is None:
        return credentials
    found: Future[Credentials] = Future()

    def ask() -> None:
        try:
            found.set_result(credentials.revealed())
        except BaseException as error:  # noqa: BLE001  # it is raised below
            found.set_exception(error)

    threading.Thread(target=ask, name="slowboat-secret", daemon=True).start()
    while not wire.aborted:
        with suppress(TimeoutError):
            return found.result(_PATROL)
    raise Stopped("asking for the secret was broken off")


def _until(life: float | None) -> float:
    """When to renew a token that lives for `life` seconds from now; never where that is not known."""
    return float("inf") if life is None else now() + life - min(_RENEW_SECONDS, life / 5)


def _fetch_v1(credentials: Credentials, wire: Wire, asked: statuses.Asked) -> Access | SlowboatError:
    headers = {
        "X-Auth-User": fit_for_a_header("user", credentials.user),
        "X-Auth-Key": fit_for_a_header("key", credentials.key),
    }
    try:
        status, answer, body = wire.get(credentials.auth_url, headers)
    except (OSError, ValueError) as problem:  # requests' exceptions are OSErrors
        return statuses.failure(asked, problem)
    if _is_keystones(body):
        return NeedsUser(
            f"{asked.host} is an identity service (Keystone), which also needs a project",
            hint="Set auth_version = 3 and project; see docs/configuration.md, Clouds",
            code="auth-url",
        )
    if not 200 <= status < 300:
        return statuses.verdict(asked, status, answer, body, time.time())
    try:
        token = answers.token(answer.get("x-storage-token") or answer.get("x-auth-token"))
        storage_url = credentials.storage_url.rstrip("/") or answers.address(answer.get("x-storage-url"))
    except answers.Strange:
        return statuses.error(statuses.PORTAL, asked)
    return Access(storage_url, token, _until(answers.seconds(answer.get("x-auth-token-expires", ""))))


def _is_keystones(body: bytes) -> bool:
    """Whether this is the list of versions that Keystone shows at its addresses.

    https://docs.openstack.org/api-ref/identity/v3/#list-versions
    """
    return body.lstrip()[:1] == b"{" and b'"version' in body[:200] and b"identity" in body


def _fetch_keystones(credentials: Credentials, wire: Wire, asked: statuses.Asked) -> Access | SlowboatError:
    from slowboat.edges.swift import keystone

    grant = keystone.fetch(credentials, wire, asked)
    if isinstance(grant, SlowboatError):
        return grant
    return Access(grant.storage_url, grant.token, _until(grant.life))
