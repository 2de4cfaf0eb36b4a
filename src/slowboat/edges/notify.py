"""Desktop notifications.

Knows the notification service (https://specifications.freedesktop.org/notification-spec/latest/); must not know
when something is worth telling. A notice waits for a service that is not there yet; of one key only the newest
is kept, and it replaces what is on the screen of that key. What an earlier run left there is still ours, as long as the
same service shows it: a ticket names the bus, the service's connection to it, and the notification.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape  # as html's, without that module's thousands of entities

from slowboat.edges.dbus import DRIVER, DRIVER_PATH, BusError, Connection, Match, Variant, Waits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from slowboat.core.words import Notice
    from slowboat.edges.dbus import Signal

log = logging.getLogger(__name__)

NAME: Final = "org.freedesktop.Notifications"
PATH: Final = "/org/freedesktop/Notifications"

DESKTOP_ENTRY: Final = "io.github.slowboat.Slowboat1"
"""The desktop file that the notification service takes name, icon and the user's settings from."""

OURS: Final = "slowboat"
"""The application's name."""

NAMES_ITS_CLIENTS: Final = frozenset({"gnome-shell", "Plasma"})
"""The services that show each application's name above its notifications, by what GetServerInformation says of them;
elsewhere the title names us."""

FIRST_RETRY: Final = 30.0
LAST_RETRY: Final = 3600.0
"""Seconds between tries to start a service that is not there; one that appears is used at once."""

NORMAL, CRITICAL = (
    1,
    2,
)  # urgency levels, https://specifications.freedesktop.org/notification-spec/latest/urgency-levels.html
BUTTON: Final = "button"
"""The key of our one action; a click beside it is "default", which we do not offer."""

SERVERS_CHOICE: Final = -1  # of how long it is shown


def _nobody(*_: str) -> None:
    """Nobody wants to know."""


class Notifications:
    """Shows notices on the desktop. Fulfils `engine.ports.Notifier`; `run` must be running for anything to be seen."""

    def __init__(self, *, address: str = "", first_retry: float = FIRST_RETRY) -> None:
        """Touches nothing yet.

        Args:
            address: another bus than the session's.
            first_retry: seconds until the second try; they double from then on.
        """
        self._address = address
        self._first_retry = first_retry
        self._connection: Connection | None = None
        self._waiting: dict[str, Notice] = {}
        self._withdrawn: set[str] = set()
        self._showing = ""
        self._news = asyncio.Event()
        self._appeared = asyncio.Event()
        self._owner = ""
        self._bus = ""
        self._tickets: dict[str, str] = {}
        self._capabilities: frozenset[str] = frozenset()
        self._names_us = False
        self._ids: dict[str, int] = {}
        self._on_button: Callable[[str], None] = _nobody
        self._on_shown: Callable[[str, str], None] = _nobody

    @contextlib.contextmanager
    def heard(self, on_button: Callable[[str], None], on_shown: Callable[[str, str], None] = _nobody) -> Iterator[None]:
        """Tells the keys of notices whose button is pressed, and of those that are shown, to the end of the block.

        With what is shown comes its ticket, for `restore` in a later run.
        """
        self._on_button, self._on_shown = on_button, on_shown
        try:
            yield
        finally:
            self._on_button = self._on_shown = _nobody

    def show(self, notice: Notice) -> None:
        """Shows a notice now, or once somebody can show it; never raises."""
        self._withdrawn.discard(notice.key)
        self._waiting[notice.key] = notice
        self._news.set()

    def restore(self, key: str, ticket: str) -> None:
        """Takes over what an earlier run showed, where that is on the screen still; never raises."""
        if key not in self._ids:
            self._tickets[key] = ticket

    def withdraw(self, key: str) -> None:
        """Takes back what was told of a key and holds no longer; never raises."""
        self._waiting.pop(key, None)
        if key in self._ids or key in self._tickets or key == self._showing:
            self._withdrawn.add(key)
            self._news.set()

    async def run(self) -> None:
        """Delivers what is told until cancelled; idle as long as there is nothing."""
        waits = Waits(self._first_retry, LAST_RETRY)
        try:
            while True:
                await self._news.wait()
                try:
                    await self._deliver()
                    waits.reset()
                except BusError as error:
                    log.debug("nobody can show %d notices now: %s", len(self._waiting), error)
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(waits.next()):
                            await self._appeared.wait()
        finally:
            if self._connection is not None:
                await self._connection.close()

    async def _deliver(self) -> None:
        """Everything that waits; what was delivered waits no more, whatever happens to the rest."""
        self._appeared.clear()
        connection = await self._connected()
        if not self._waiting and not await connection.owner(NAME):  # nothing is on a screen, nor is to be
            self._withdrawn.clear()
            self._news.clear()
            return
        await self._meet(connection)
        while self._withdrawn:
            await self._close(connection, self._withdrawn.pop())
        while self._waiting:
            key = self._showing = next(iter(self._waiting))
            notice = self._waiting.pop(key)
            try:
                self._ids[key] = await self._show(connection, notice)
                self._on_shown(key, self._ticket(self._ids[key]))
            except BusError:
                if key not in self._withdrawn:
                    self._waiting.setdefault(key, notice)  # unless a newer one was told meanwhile
                raise
            finally:
                self._showing = ""
        if not self._withdrawn:
            self._news.clear()

    async def _connected(self) -> Connection:
        if self._connection is None or not self._connection.connected:
            self._connection = await Connection.open(address=self._address)
            self._owner = ""  # a new bus counts its names from the start: the same one is somebody else
            (self._bus,) = await self._connection.call(DRIVER, DRIVER_PATH, DRIVER, "GetId")
            await self._connection.watch_name(NAME, self._owner_changed)
            invoked = Match(sender=NAME, path=PATH, interface=NAME, member="ActionInvoked")
            await self._connection.subscribe(invoked, self._invoked)
        return self._connection

    def _owner_changed(self, owner: str) -> None:
        if owner:
            self._appeared.set()

    def _invoked(self, signal: Signal) -> None:
        """A button was pressed.

        https://specifications.freedesktop.org/notification-spec/latest/protocol.html#signal-action-invoked
        """
        if len(signal.body) == 2 and signal.body[1] == BUTTON:
            for key in [key for key, number in self._ids.items() if number == signal.body[0]]:
                self._on_button(key)

    async def _meet(self, connection: Connection) -> None:
        """Starts the service where there is none, and asks a new one what it can do; its ids are its own."""
        owner = await connection.owner(NAME)
        if owner and owner == self._owner:
            return
        (capabilities,) = await connection.call(NAME, PATH, NAME, "GetCapabilities")
        self._capabilities = frozenset(capabilities)
        self._names_us = False
        with contextlib.suppress(BusError):  # one that does not say who it is shows our name once too often at worst
            (service, *_) = await connection.call(NAME, PATH, NAME, "GetServerInformation")
            self._names_us = service in NAMES_ITS_CLIENTS
        self._owner = await connection.owner(NAME)
        tickets, self._tickets = self._tickets, {}
        numbers = {key: int(ticket.rpartition(" ")[2]) for key, ticket in tickets.items() if self._is_ours(ticket)}
        self._ids = numbers
        self._withdrawn &= numbers.keys()

    def _ticket(self, number: int) -> str:
        return f"{self._bus} {self._owner} {number}"

    def _is_ours(self, ticket: str) -> bool:
        """Whether a notification of an earlier run is one of this very service on this very bus."""
        place, _, number = ticket.rpartition(" ")
        return place == f"{self._bus} {self._owner}" and number.isdecimal() and number.isascii()

    async def _show(self, connection: Connection, notice: Notice) -> int:
        title, body = self._named(notice.title), notice.body
        if "body" not in self._capabilities:
            title, body = f"{title}: {body}", ""
        if "body-markup" in self._capabilities:
            body = escape(body)
        hints = {
            "urgency": Variant("y", CRITICAL if notice.urgent else NORMAL),
            "category": Variant("s", "transfer.error" if notice.urgent else "transfer.complete"),
            "desktop-entry": Variant("s", DESKTOP_ENTRY),
        }
        icon = "dialog-warning" if notice.urgent else DESKTOP_ENTRY  # a name of every icon theme; our own
        # No "default" action: there is no window of ours that it could open.
        actions = [BUTTON, notice.button] if notice.button and "actions" in self._capabilities else []
        (number,) = await connection.call(
            NAME,
            PATH,
            NAME,
            "Notify",
            "susssasa{sv}i",
            OURS,
            self._ids.get(notice.key, 0),
            icon,
            title,
            body,
            actions,
            hints,
            SERVERS_CHOICE,
        )
        return int(number)  # not always the one that was to be replaced

    def _named(self, title: str) -> str:
        """The title, with who tells it where the service does not show that by itself."""
        return title if self._names_us or OURS in title else f"{OURS}: {title}"

    async def _close(self, connection: Connection, key: str) -> None:
        with contextlib.suppress(BusError):  # dismissed already
            await connection.call(NAME, PATH, NAME, "CloseNotification", "u", self._ids.pop(key, 0))
