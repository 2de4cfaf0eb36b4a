"""A token and the object store's address, from an identity service: Keystone's v3, its v2.0, and Rackspace's v2.0.

Knows keystoneauth1 and what stands in a catalogue; must not know what the token is used for. Importing this module
loads keystoneauth1, so only worker threads do, at the first token.

v3: https://docs.openstack.org/api-ref/identity/v3/#authentication-and-token-management
v2.0: https://docs.huihoo.com/openstack/archive/api/openstack-identity-service/2.0/content/POST_authenticate_v2.0_tokens_.html
Rackspace: https://docs.rackspace.com/reference/annotated-authentication-request-and-response
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from keystoneauth1 import access, exceptions
from keystoneauth1.identity import v3
from keystoneauth1.session import Session

from slowboat.core.errors import NeedsUser, SlowboatError
from slowboat.edges.swift import answers, statuses
from slowboat.edges.swift.server_message import harmless
from slowboat.edges.swift.wire import READ_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from slowboat.edges.swift.credentials import Credentials
    from slowboat.edges.swift.wire import Wire

_TYPE = "object-store"
"""Swift's type in any catalogue. https://service-types.openstack.org/"""

_MALFORMED = (LookupError, TypeError, AttributeError, ValueError, ArithmeticError, RecursionError)
"""What keystoneauth1 raises over an answer that is no token: it believes every word."""

_NAMED = 12
"""Regions that a sentence names at most."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What the identity service gave: the object store's address, the token, and its life in seconds where told."""

    storage_url: str
    token: str = field(repr=False)
    life: float | None


def fetch(credentials: Credentials, wire: Wire, asked: statuses.Asked) -> Grant | SlowboatError:
    """Asks for a token over `wire`; an error is handed back and not raised, away from whatever holds the password."""
    session = Session(
        session=wire.session,
        verify=credentials.cacert or True,
        timeout=READ_SECONDS,
        redirect=False,
        user_agent="slowboat",
    )
    try:
        return _granted(credentials, session, wire, asked)
    except exceptions.HttpError as problem:
        body = b"" if problem.response is None else problem.response.content
        if problem.http_status == 401:
            return _unauthorized(credentials, asked)
        return statuses.verdict(asked, problem.http_status, wire.last[1], body, time.time())
    except (exceptions.ClientException, OSError) as problem:
        # An answer that is no refusal, but nothing that Keystone would say.
        strange = 0 < wire.last[0] < 400
        return statuses.error(statuses.PORTAL, asked) if strange else statuses.failure(asked, problem)
    except _MALFORMED:
        return statuses.error(statuses.PORTAL, asked)


def _granted(credentials: Credentials, session: Session, wire: Wire, asked: statuses.Asked) -> Grant | NeedsUser:
    found, home = _v3(credentials, session) if credentials.protocol == 3 else _v2(credentials, session)
    token = answers.token(found.auth_token)
    url = credentials.storage_url or _address(found, credentials, home, asked)
    if isinstance(url, NeedsUser):
        return url
    sound = url.rstrip("/") if credentials.storage_url else answers.address(url)
    return Grant(sound, token, _life(found, wire.last[1]))


def _unauthorized(credentials: Credentials, asked: statuses.Asked) -> NeedsUser:
    """A 401 never says what of all that was sent is wrong, so the hint names all of it."""
    what, hint = (
        "the user, the password or the project",
        "Check user, user_domain, project, project_domain, and the password",
    )
    if credentials.protocol == 3 and credentials.application_credential_secret:
        what, hint = "the application credential", "Check its id and secret, and whether it has expired"
    elif credentials.protocol == 2:
        hint = "Check user, project, and the password"
    elif credentials.protocol == "rackspace":
        what, hint = "the user or the API key", "Check user, and that the secret is the API key and no password"
    return NeedsUser(f"{asked.host} does not accept {what}", hint=hint, code="credentials")


# -- asking ----------------------------------------------------------------------------------------------


def _v3(credentials: Credentials, session: Session) -> tuple[access.AccessInfo, str]:
    """The token's data; no region of the user's own is known here."""
    url = _versioned(credentials.auth_url, "v3")
    own = {"username": credentials.user, "user_id": credentials.user_id, **_domain("user_domain", credentials)}
    plugin: v3.Auth
    if credentials.application_credential_secret:
        plugin = v3.ApplicationCredential(
            auth_url=url,
            application_credential_secret=credentials.application_credential_secret,
            application_credential_id=credentials.application_credential_id or None,
            application_credential_name=credentials.application_credential_name or None,
            **_given(own if not credentials.application_credential_id else {}),
        )
    else:
        scope = {"project_id": credentials.project_id, "project_name": credentials.project}
        scope |= {} if credentials.project_id else _domain("project_domain", credentials)
        plugin = v3.Password(auth_url=url, password=credentials.key, **_given(own | scope))
    return plugin.get_access(session), ""


def _v2(credentials: Credentials, session: Session) -> tuple[access.AccessInfo, str]:
    """The token's data, and the region that Rackspace has for the user where none is chosen ("" elsewhere).

    keystoneauth1 would send a password, but knows no API key; so both bodies are made here.
    """
    answer = session.post(
        f"{_versioned(credentials.auth_url, 'v2.0')}/tokens",
        json={"auth": _identity(credentials)},
        headers={"Accept": "application/json"},
        authenticated=False,
        log=False,
    )
    found = answer.json()
    home = found["access"].get("user", {}).get("RAX-AUTH:defaultRegion", "")
    return access.create(body=found), str(home)


def _identity(credentials: Credentials) -> dict[str, Any]:
    """Who asks, in v2.0's words, for which tenant: a project's name in those days."""
    tenant = {"tenantId": credentials.project_id} if credentials.project_id else {"tenantName": credentials.project}
    if credentials.protocol == "rackspace":
        key = {"username": credentials.user, "apiKey": credentials.key}
        return {"RAX-KSKEY:apiKeyCredentials": key, **_given(tenant)}
    user = {"username": credentials.user} if credentials.user else {"userId": credentials.user_id}
    return {"passwordCredentials": {**user, "password": credentials.key}, **_given(tenant)}


def _versioned(url: str, version: str) -> str:
    """The address with its version, which is often left out."""
    url = url.rstrip("/")
    return url if urlsplit(url).path.endswith(f"/{version}") else urljoin(f"{url}/", version)


def _domain(which: str, credentials: Credentials) -> dict[str, str]:
    by_id, name = credentials.domain_of("user" if which == "user_domain" else "project")
    return {f"{which}_id": by_id} if by_id else {f"{which}_name": name}


def _given(values: dict[str, str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value}


# -- reading ---------------------------------------------------------------------------------------------


def _address(found: access.AccessInfo, credentials: Credentials, home: str, asked: statuses.Asked) -> str | NeedsUser:
    """The one object store that the settings mean.

    Where they may mean several, none is taken: the next token's catalogue may have another one first, and half the
    backup would be there.
    """
    everything = found.service_catalog.get_endpoint_data_list(service_type=_TYPE, interface=None)
    kinds = [each for each in everything if _plain(each.interface) == credentials.interface]
    region = credentials.region or (home if any(each.region_name == home for each in kinds) else "")
    stores = [each for each in kinds if not region or each.region_name == region]
    urls = sorted({str(each.url) for each in stores})
    if len(urls) == 1:
        return urls[0]
    regions = _listed(each.region_name for each in kinds)
    there = f"the account at {asked.host}"
    if not everything:
        return NeedsUser(f"{there} has no object store", hint="Check project, or ask the provider", code="no-store")
    if not kinds:
        what = f"{there} has no {credentials.interface} address for its object store"
        return NeedsUser(what, hint=f"Set interface to {_listed(map(_of_kind, everything))}", code="no-store")
    if not stores:
        what = f"{there} has no object store in region {region}"
        return NeedsUser(what, hint=f"Set region to {regions}", code="no-store")
    if len({each.region_name for each in stores}) > 1:
        what = f"{there} has object stores in several regions: {regions}"
        return NeedsUser(what, hint="Set region to the one to use", code="region")
    what = f"{there} has several object stores: {_listed(urls)}"
    return NeedsUser(what, hint="Set storage_url to the one to use", code="region")


def _of_kind(each: Any) -> str:  # noqa: ANN401 - keystoneauth1's EndpointData
    return _plain(each.interface)


def _plain(interface: str | None) -> str:
    """The interface's name in v3's words; v2.0 calls it "publicURL"."""
    return (interface or "").removesuffix("URL")


def _listed(names: Iterable[str | None]) -> str:
    known = sorted({harmless(name) for name in names if name})
    return ", ".join(known[:_NAMED]) + (", ..." if len(known) > _NAMED else "")


def _life(found: access.AccessInfo, headers: Mapping[str, str]) -> float | None:
    """Seconds from the server's now, by its own clock: a token may be handed out that is hours old (Rackspace's is).

    https://docs.rackspace.com/reference/manage-authentication-tokens
    """
    try:
        expires = found.expires
        now = _date(headers) or found.issued
    except _MALFORMED:
        return None
    return (expires - now).total_seconds() if expires and now else None


def _date(headers: Mapping[str, str]) -> datetime | None:
    try:
        return parsedate_to_datetime(headers.get("date", ""))
    except (ValueError, TypeError, IndexError):
        return None
