"""Who the user is to a cloud: everything that is asked for before a token but the secret, which is never here.

Knows what the versions of the protocol need; must not know how a token is asked for, nor where the secret is kept.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from ipaddress import ip_address
from typing import Literal

Version = Literal[1, 2, 3, "rackspace"]
"""How a token is asked for: by user and key (1), of Keystone by a password (2: v2.0) or by a password or an application
credential (3), or of Rackspace's identity service (v2.0) by an API key."""


@dataclass(frozen=True, slots=True)
class Identity:
    """An account at a cloud; what the settings say of one and what the Swift edge uses are made of it.

    Attributes:
        auth_url: where tokens come from: https, or http on loopback.
        user: 1: "account:user" or the user; otherwise the user's name.
        version: which of `Version`; 0 tells by the rest: by the version in `auth_url`, else 3 where anything of
            Keystone's is given, else 1.
        user_id, user_domain, user_domain_id: Keystone's; a name without a domain is taken in "Default".
        project, project_id, project_domain, project_domain_id: Keystone's scope, which v2.0 calls a tenant and which
            knows no domain there. A name without a domain is taken in the user's.
        application_credential_id, application_credential_name: of what is used instead of a password.
        region: of the object store, "" for the only one, or the one that Rackspace has for the user.
        interface: of the endpoint in the catalogue.
        storage_url: used instead of what the cloud says, "" for what it says.
        cacert: a file of certificates to trust instead of the usual ones, or "".
    """

    auth_url: str
    user: str = ""
    _: KW_ONLY
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
    region: str = ""
    interface: Literal["public", "internal", "admin"] = "public"
    storage_url: str = ""
    cacert: str = ""

    @property
    def by_application_credential(self) -> bool:
        """Whether it is an application credential and no password."""
        return bool(self.application_credential_id or self.application_credential_name)

    def domain_of(self, which: Literal["user", "project"]) -> tuple[str, str]:
        """The (id, name) of a domain, one of them empty: as given, else "Default"; a project's else its user's.

        "Default" is the domain that every Keystone begins with.
        https://docs.openstack.org/keystone/latest/admin/manage-projects-users-and-roles.html
        """
        user = (self.user_domain_id, "" if self.user_domain_id else self.user_domain or "Default")
        if which == "user" or not (self.project_domain_id or self.project_domain):
            return user
        return (self.project_domain_id, "" if self.project_domain_id else self.project_domain)


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this very machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
