"""The token: fetched when first needed, renewed before it expires, thrown away when the server refuses it.

Knows v1 authentication and, through keystoneauth1, Keystone's v3; must not know what the token is used for. All
calls come from worker threads.

The v1 request is made here and not by swiftclient's `get_auth`, which drops X-Auth-Token-Expires.
https://docs.openstack.org/api-ref/object-store/#authentication
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from slowboat.core.errors import NeedsUser, SlowboatError, Stopped
from slowboat.edges.swift import statuses
from slowboat.edges.swift.credentials import Credentials, demand_privacy, host_of

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
        self._lock = threading.Lock()
        self._access: Access | None = None
        self._refused = 0

    def access(self, wire: Wire) -> Access:
        """The token, fetched over `wire` where there is none or where it is about to expire.

        Raises:
            NeedsUser: the credentials or addresses are wrong.
            Transient: it cannot be had now.
            Stopped: `wire` was aborted.
        """
        while not self._lock.acquire(timeout=_PATROL):  # somebody else is fetching it
            if wire.aborted:
                raise Stopped("waiting for a token was broken off")
        try:
            if self._access is None or now() >= self._access.renew_at:
                self._access = _fetch(self._credentials, wire)
                wire.close()  # its connection went to another host, or is as good as new
            return self._access
        finally:
            self._lock.release()

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
        """Throws the token away; the next request fetches a new one."""
        with self._lock:
            self._access = None


def now() -> float:
    """Seconds on a clock that nobody sets and that runs on while the computer sleeps (clock_gettime(2))."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _fetch(credentials: Credentials, wire: Wire) -> Access:
    demand_privacy(credentials.auth_url, "auth_url")
    credentials = credentials.revealed()
    asked = statuses.Asked("AUTH", "the address for tokens", credentials.host)
    access = (_fetch_v1 if credentials.protocol == 1 else _fetch_v3)(credentials, wire, asked)
    if isinstance(access, SlowboatError):
        raise access
    demand_privacy(access.storage_url, "storage_url")
    return access


def _until(life: float | None) -> float:
    """When to renew a token that lives for `life` seconds from now; never where that is not known."""
    return float("inf") if life is None else now() + life - min(_RENEW_SECONDS, life / 5)


def _fetch_v1(credentials: Credentials, wire: Wire, asked: statuses.Asked) -> Access | SlowboatError:
    headers = {"X-Auth-User": credentials.user, "X-Auth-Key": credentials.key}
    try:
        status, answer, body = wire.get(credentials.auth_url, headers)
    except OSError as problem:  # requests' exceptions are OSErrors
        return statuses.failure(asked, problem)
    if not 200 <= status < 300:
        return statuses.verdict(asked, status, answer, body[:4096], time.time())
    token = answer.get("x-storage-token") or answer.get("x-auth-token")
    storage_url = credentials.storage_url or answer.get("x-storage-url")
    if not token or not storage_url:
        return statuses.error(statuses.PORTAL, asked)
    expires = answer.get("x-auth-token-expires", "")
    return Access(storage_url.rstrip("/"), token, _until(float(expires) if expires.isdigit() else None))


def _fetch_v3(credentials: Credentials, wire: Wire, asked: statuses.Asked) -> Access | SlowboatError:
    from keystoneauth1 import exceptions
    from keystoneauth1 import session as keystone

    session = keystone.Session(
        session=wire.session, verify=credentials.cacert or True, timeout=90, redirect=False, user_agent="slowboat"
    )
    try:
        found = _plugin(credentials).get_access(session)
        url = credentials.storage_url or found.service_catalog.url_for(
            service_type="object-store", interface=credentials.interface, region_name=credentials.region or None
        )
    except exceptions.HttpError as problem:
        headers = {} if problem.response is None else problem.response.headers
        lower = {name.lower(): value for name, value in headers.items()}
        return statuses.verdict(asked, problem.http_status, lower, b"", time.time())
    except exceptions.CatalogException:
        region = f" in region {credentials.region}" if credentials.region else ""
        return NeedsUser(
            f"the account at {asked.host} has no object store{region}", hint="Check region and project", code="no-store"
        )
    except (exceptions.ClientException, OSError) as problem:
        # An answer that is no refusal, but nothing that Keystone would say.
        strange = 0 < wire.last[0] < 400
        return statuses.error(statuses.PORTAL, asked) if strange else statuses.failure(asked, problem)
    life = (found.expires - found.issued).total_seconds() if found.expires and found.issued else None
    return Access(url.rstrip("/"), found.auth_token, _until(life))


def _plugin(credentials: Credentials) -> Any:  # noqa: ANN401 - keystoneauth publishes no types we could rely on
    from keystoneauth1.identity import v3

    url = credentials.auth_url
    if not urlsplit(url).path.rstrip("/").endswith("/v3"):
        url = urljoin(url.rstrip("/") + "/", "v3")
    own = {"username": credentials.user, "user_id": credentials.user_id, **_domain("user_domain", credentials)}
    if credentials.application_credential_secret:
        return v3.ApplicationCredential(
            auth_url=url,
            application_credential_secret=credentials.application_credential_secret,
            application_credential_id=credentials.application_credential_id or None,
            application_credential_name=credentials.application_credential_name or None,
            **_given(own if not credentials.application_credential_id else {}),
        )
    scope = {"project_id": credentials.project_id, "project_name": credentials.project}
    scope |= {} if credentials.project_id else _domain("project_domain", credentials)
    return v3.Password(auth_url=url, password=credentials.key, **_given(own | scope))


def _domain(which: str, credentials: Credentials) -> dict[str, str]:
    """A domain by its id or its name; "Default", Keystone's first domain, where neither is given."""
    by_id = getattr(credentials, f"{which}_id")
    return {f"{which}_id": by_id} if by_id else {f"{which}_name": getattr(credentials, which) or "Default"}


def _given(values: dict[str, str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value}
