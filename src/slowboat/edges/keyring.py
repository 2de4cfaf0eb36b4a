"""The desktop's keyring: whether what we keep there can be had now, heard from the bus.

Knows the Secret Service (https://specifications.freedesktop.org/secret-service/latest/); must not know any secret
(edges/secrets) nor what it opens. It asks for our entries' paths alone, which says whether they are locked; a service
that does not run is not started for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from slowboat.edges.dbus import PROPERTIES, BusError, Connection, Match
from slowboat.edges.service_watch import SETTLE, TIMEOUT, Sensor, Watched, texts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NAME = "org.freedesktop.secrets"
PATH = "/org/freedesktop/secrets"
MATCHES = (
    # A collection's Locked; and a service's CollectionChanged, a collection's ItemCreated and ItemChanged.
    Match(sender=NAME, interface=PROPERTIES, member="PropertiesChanged", path_namespace=PATH),
    Match(sender=NAME, interface="org.freedesktop.Secret.Service", path_namespace=PATH),
    Match(sender=NAME, interface="org.freedesktop.Secret.Collection", path_namespace=PATH),
)


@dataclass(frozen=True, slots=True)
class Entries:
    """Our entries, by their paths."""

    open: frozenset[str] = frozenset()
    locked: frozenset[str] = frozenset()


class KeyringWatch(Sensor[Entries]):
    """Our entries in the keyring: other ones, locked or unlocked; none where there is no keyring."""

    def __init__(
        self,
        attributes: Mapping[str, str],
        on_change: Callable[[], None] = lambda: None,
        *,
        session: str = "",
        settle: float = SETTLE,
        patience: float = TIMEOUT,
    ) -> None:
        """Does nothing until `start`; `attributes` are what an entry of ours has, the rest is `Sensor`'s."""
        self._attributes = dict(attributes)
        watched = Watched("session", (NAME,), MATCHES, self._read, Entries(), Entries())
        super().__init__(watched, on_change, address=session, settle=settle, patience=patience)

    async def _read(self, bus: Connection) -> Entries:
        if not await bus.owner(NAME):
            return Entries()
        service = "org.freedesktop.Secret.Service"
        try:
            found = await bus.call(NAME, PATH, service, "SearchItems", "a{ss}", self._attributes, start=False)
        except BusError as error:
            if error.absent:
                return Entries()
            raise
        unlocked, locked = (frozenset(texts(each)) for each in found[:2])
        return Entries(unlocked, locked)
