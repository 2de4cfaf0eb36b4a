"""The desktop's keyring: whether what we keep there can be had now, heard from the bus.

Knows the Secret Service (https://specifications.freedesktop.org/secret-service/latest/); must not know any secret
(edges/secrets) nor what it opens. It asks for our entries' paths alone, which says whether they are locked; a service
that does not run is not started for it.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slowboat.edges.dbus import PROPERTIES, BusError, Connection, Match
from slowboat.edges.service_watch import SETTLE, TIMEOUT, ServiceWatch, Watched, texts

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


class KeyringWatch:
    """Tells when our entries in the keyring are others, or are locked or unlocked, from `start` to `stop`."""

    def __init__(
        self,
        attributes: Mapping[str, str],
        on_change: Callable[[], None] = lambda: None,
        *,
        session: str = "",
        settle: float = SETTLE,
        patience: float = TIMEOUT,
    ) -> None:
        """Does nothing until `start`.

        Args:
            attributes: what an entry of ours has.
            on_change: told of changes, in the event loop; may be set later.
            session: the address of the session bus, "" for the usual one.
            settle: seconds in which signals gather before our entries are asked for.
            patience: seconds until a service that does not respond counts as not there.
        """
        self.on_change = on_change
        self._attributes = dict(attributes)
        watched = Watched("session", (NAME,), MATCHES, self._read, Entries(), Entries())
        self._watch = ServiceWatch(watched, self._changed, address=session, settle=settle, patience=patience)

    def _changed(self) -> None:
        self.on_change()

    def current(self) -> Entries:
        """What can be had now; nothing where there is no keyring."""
        return self._watch.value

    async def start(self) -> None:
        """Begins to watch; waits a moment for the first reading. Never raises, nor does anything after it."""
        self._watch.start()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._watch.ready.wait(), 1.0)

    async def stop(self) -> None:
        """Lets go of the bus."""
        await self._watch.stop()

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
