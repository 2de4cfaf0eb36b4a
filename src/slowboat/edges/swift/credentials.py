"""Who the user is to a cloud, as the settings give it. Knows no protocol; loads nothing; shows no secret."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from slowboat.core.errors import NeedsUser

if TYPE_CHECKING:
    from collections.abc import Callable


Version = Literal[1, 2, 3, "rackspace"]
"""How a token is asked for: by user and key (1), of Keystone by a password (2: v2.0) or by a password or an application
credential (3), or of Rackspace's identity service (v2.0) by an API key."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a cloud asks for before it hands out a token; no secret is in its repr.

    Attributes:
        auth_url: where tokens come from: https, or http on loopback.
        user: 1: "account:user" or the user; otherwise the user's name.
        key: 1: the key; "rackspace": the API key; otherwise the password.
        version: which of `Version`; 0 tells by the rest: by the version in `auth_url`, else 3 where anything of
            Keystone's is given, else 1.
        user_id, user_domain, user_domain_id: Keystone's; a name without a domain is taken in "Default".
        project, project_id, project_domain, project_domain_id: Keystone's scope, which v2.0 calls a tenant and which
            knows no domain there. A name without a domain is taken in the user's.
        application_credential_id, application_credential_name, application_credential_secret: instead of a password.
        region: of the object store, "" for the only one, or the one that Rackspace has for the user.
        interface: of the endpoint in the catalogue.
        storage_url: used instead of what the cloud says, "" for what it says.
        cacert: a file of certificates to trust instead of the usual ones, or "".
        secret: asked in a worker thread each time a token is fetched, so that a keyring that is unlocked later, or a
            key that is mended, needs no restart; what it answers takes the place of `key` or, where an application
            credential is named, of its secret.
    """

    auth_url: str
    user: str = ""
    key: str = field(default="", repr=False)
    version: Literal[0] | Version = 0
    user_id: str = ""
    user_domain: str = ""
    user_domain_id: str = ""
    project: str = ""
    project_id: str = ""
    project_domain: str = ""
    project_domain_id: str = ""
    application_credential_id: str = ""
    application_credential_name: str = ""
    application_credential_secret: str = field(default="", repr=False)
    region: str = ""
    interface: Literal["public", "internal", "admin"] = "public"
    storage_url: str = ""
    cacert: str = ""
    secret: Callable[[], str] | None = field(default=None, repr=False, compare=False)

    def revealed(self) -> Credentials:
        """The same with the secret in its place. Raises what `secret` raises."""
        if self.secret is None:
            return self
        if self.by_application_credential:
            return replace(self, secret=None, application_credential_secret=self.secret())
        return replace(self, secret=None, key=self.secret())

    @property
    def by_application_credential(self) -> bool:
        """Whether it is an application credential and no password."""
        return bool(self.application_credential_id or self.application_credential_name)

    @property
    def protocol(self) -> Version:
        """The version of the protocol, told by the rest where `version` is 0."""
        if self.version:
            return self.version
        parts = urlsplit(self.auth_url)
        match parts.path.rstrip("/").rpartition("/")[2]:
            case "v3":
                return 3
            case "v2.0" | "v2":
                return "rackspace" if (parts.hostname or "").endswith(_RACKSPACE) else 2
            case _:
                return 3 if self._is_of_keystone() else 1

    def _is_of_keystone(self) -> bool:
        """Whether anything is given that only Keystone knows."""
        credential = (
            self.application_credential_id,
            self.application_credential_name,
            self.application_credential_secret,
        )
        domains = self.user_domain, self.user_domain_id, self.project_domain, self.project_domain_id
        return any((*credential, *domains, self.user_id, self.project, self.project_id))

    def domain_of(self, which: Literal["user", "project"]) -> tuple[str, str]:
        """The (id, name) of a domain, one of them empty: as given, else "Default"; a project's else its user's.

        "Default" is the domain that every Keystone begins with.
        https://docs.openstack.org/keystone/latest/admin/manage-projects-users-and-roles.html
        """
        user = (self.user_domain_id, "" if self.user_domain_id else self.user_domain or "Default")
        if which == "user" or not (self.project_domain_id or self.project_domain):
            return user
        return (self.project_domain_id, "" if self.project_domain_id else self.project_domain)

    @property
    def host(self) -> str:
        """The host that gives out tokens, for the words of an error."""
        return host_of(self.auth_url)

    @property
    def on_loopback(self) -> bool:
        """Whether the cloud is this very machine, which no network is needed to reach."""
        return all(_is_loopback(urlsplit(url).hostname or "") for url in (self.auth_url, self.storage_url) if url)


_RACKSPACE = ".api.rackspacecloud.com"
"""Where Rackspace's identity services are: identity., and lon.identity. for accounts of the United Kingdom.
http://docs.rackspace.com/auth/api/v2.0/auth-client-devguide/content/QuickStart-000.html"""


def host_of(url: str) -> str:
    """The host and port of a URL, without a user or password that may be written in it."""
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2] or url


def demand_privacy(url: str, key: str) -> None:
    """Lets only https pass, and http to this very computer.

    Args:
        url: where a password or token would be sent.
        key: the setting that it came from.

    Raises:
        NeedsUser: code "clear-text", or "auth-url" where it is no such address at all.
    """
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme != "http" or not parts.hostname:
        raise NeedsUser(f"{key} is not an http or https address", hint=f"Correct {key}", code="auth-url")
    if not _is_loopback(parts.hostname):
        raise NeedsUser(
            f"{key} would send the password or token to {host_of(url)} in clear text",
            hint=f"Use an address that begins with https:// as {key}",
            code="clear-text",
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
