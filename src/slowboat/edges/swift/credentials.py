"""What a cloud is shown before it hands out a token. Knows no protocol; loads nothing; shows no secret."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from slowboat.core.errors import NeedsUser
from slowboat.core.identity import Identity, Version, is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Credentials(Identity):
    """An identity with its secret, which no repr shows.

    Attributes:
        key: 1: the key; "rackspace": the API key; otherwise the password.
        application_credential_secret: instead of a password.
        secret: asked in a worker thread each time a token is fetched, so that a keyring that is unlocked later, or a
            key that is mended, needs no restart; what it answers takes the place of `key` or, where an application
            credential is named, of its secret.
    """

    key: str = field(default="", repr=False)
    application_credential_secret: str = field(default="", repr=False, kw_only=True)
    secret: Callable[[], str] | None = field(default=None, repr=False, compare=False, kw_only=True)

    @classmethod
    def of(cls, identity: Identity, secret: Callable[[], str]) -> Self:
        """Those of an identity whose secret is asked for when a token is."""
        return cls(**{each.name: getattr(identity, each.name) for each in fields(Identity)}, secret=secret)

    def revealed(self) -> Credentials:
        """The same with the secret in its place. Raises what `secret` raises."""
        if self.secret is None:
            return self
        if self.by_application_credential:
            return replace(self, secret=None, application_credential_secret=self.secret())
        return replace(self, secret=None, key=self.secret())

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
        domains = self.user_domain, self.user_domain_id, self.project_domain, self.project_domain_id
        return self.by_application_credential or any((*domains, self.user_id, self.project, self.project_id))

    @property
    def host(self) -> str:
        """The host that gives out tokens, for the words of an error."""
        return host_of(self.auth_url)

    @property
    def on_loopback(self) -> bool:
        """Whether the cloud is this very machine, which no network is needed to reach."""
        return all(is_loopback(urlsplit(url).hostname or "") for url in (self.auth_url, self.storage_url) if url)


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
    if not is_loopback(parts.hostname):
        raise NeedsUser(
            f"{key} would send the password or token to {host_of(url)} in clear text",
            hint=f"Use an address that begins with https:// as {key}",
            code="clear-text",
        )


def fit_for_a_header(what: str, text: str) -> bytes:
    """A user or key as it goes out in a header: the bytes of its UTF-8, which is how Swift reads them.

    Args:
        what: "user" or "key", for the words of the error.
        text: the user or key; never part of the error.

    Raises:
        NeedsUser: code "credentials": HTTP would change it on the way, or let nothing of it through.
    """
    problem = ""
    if text != text.strip():
        problem = "begins or ends with a blank"
    elif any(ord(char) < 32 or ord(char) == 127 for char in text):
        problem = "holds a line break or another control character"
    elif any("\ud800" <= char <= "\udfff" for char in text):
        problem = "is not UTF-8 text"
    if problem:
        hint = "Correct user in the settings" if what == "user" else "Store the key again without it"
        raise NeedsUser(f"the {what} for the cloud {problem}", hint=hint, code="credentials")
    return text.encode()
