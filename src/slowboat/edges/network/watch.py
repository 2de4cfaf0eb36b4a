"""The watch of the network: asks the best witness there is, and says what is known.

Knows who comes before whom: NetworkManager, else the desktop portal, else the kernel; must not know how each
of them is read, nor what the policy makes of it.

- NetworkManager that was there and has gone, or does not respond, is not replaced by a guess: the network is
  then unknown until it is back (or slowboat is started anew without it).
- The kernel knows nothing of meters. Where another witness called the network metered before, it stays
  metered until one says otherwise or there has been no network in between.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from slowboat.core.words import Connectivity, Network
from slowboat.edges.network import networkmanager, portal
from slowboat.edges.network.kernel import POLL, Routes
from slowboat.edges.network.networkmanager import NetworkManager
from slowboat.edges.service_watch import FIRST_READING, SETTLE, TIMEOUT, ServiceWatch

if TYPE_CHECKING:
    from collections.abc import Callable

UNKNOWN = Network(Connectivity.UNKNOWN, known=False)


def _nothing() -> None:
    """Nobody wants to be told yet."""


class NetworkWatch:
    """What is known of the network, kept fresh from `start` to `stop`; nothing is polled.

    `on_change` is called in the event loop when `current()` changes.
    """

    def __init__(
        self,
        on_change: Callable[[], None] = _nothing,
        *,
        system: str = "",
        session: str = "",
        settle: float = SETTLE,
        patience: float = TIMEOUT,
        proc: Path = Path("/proc"),
        sys: Path = Path("/sys"),
        poll: float = POLL,
    ) -> None:
        """Does nothing until `start`.

        Args:
            on_change: told of changes; may be set later.
            system: the address of the system bus, "" for the usual one.
            session: the address of the session bus, "" for the usual one.
            settle: seconds in which signals gather before the whole is read.
            patience: seconds until a service that does not respond counts as not known.
            proc: where the kernel's tables are.
            sys: where the kernel's interfaces are.
            poll: seconds between looks at the kernel's routes where the kernel may not tell of changes.
        """
        self.on_change = on_change
        self._manager = NetworkManager()
        self._manager_watch = ServiceWatch(
            self._manager.watched(), self._changed, address=system, settle=settle, patience=patience
        )
        self._portal_watch = ServiceWatch(
            portal.WATCHED, self._changed, address=session, settle=settle, patience=patience
        )
        self._routes = Routes(self._changed, settle=settle, proc=proc, sys=sys, poll=poll)
        self._metered = False  # the last who knew called this network metered
        self._word = UNKNOWN
        self._spoken = asyncio.Event()
        self._retiring: asyncio.Task[None] | None = None

    def current(self) -> Network:
        """The newest settled reading."""
        return self._word

    async def start(self) -> None:
        """Begins to watch; waits a moment for the first reading. Never raises, nor does anything after it."""
        self._manager_watch.start()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._spoken.wait(), FIRST_READING)

    async def stop(self) -> None:
        """Lets go of buses and sockets."""
        self._routes.stop()
        await asyncio.gather(self._manager_watch.stop(), self._portal_watch.stop())
        if self._retiring is not None:
            await self._retiring

    def _changed(self) -> None:
        """A witness said something else."""
        if self._manager.seen and self._retiring is None:
            self._routes.stop()
            self._retiring = asyncio.create_task(self._portal_watch.stop())
        elif not self._manager.seen:
            self._portal_watch.start()
            self._routes.start()
        word = self._best()
        if word is not None:
            self._say(self._remembering(word))

    def _best(self) -> Network | None:
        """The word of the best witness; None while it is not clear yet who that is."""
        if self._manager.seen:
            return self._manager_watch.value or networkmanager.GONE
        if not self._portal_watch.ready.is_set():
            return None
        return self._portal_watch.value or self._routes.value

    def _remembering(self, word: Network) -> Network:
        """The word, metered where it does not know and the last who knew said so."""
        if word.known and word.connectivity is Connectivity.NONE:
            self._metered = False
        elif word.metered is not None:
            self._metered = word.metered
        elif word.known and self._metered:
            return replace(word, metered=True)
        return word

    def _say(self, word: Network) -> None:
        changed = word != self._word
        self._word = word
        self._spoken.set()
        if changed:
            self.on_change()
