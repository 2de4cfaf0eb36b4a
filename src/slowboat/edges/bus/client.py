"""A client's side of our D-Bus interface: what the command line uses.

Knows the interface only; must not know the daemon's files. It speaks in the same reports that the daemon
published, and errors of the daemon's come out as what they were (`NeedsUser`, `Transient`, ...).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Self

from slowboat.core.errors import NeedsUser, Refused, SlowboatError, SourceAbsent, Stopped, Transient
from slowboat.edges.bus.report_properties import (
    MANAGER,
    MIGRATION,
    NAME,
    ROOT,
    count,
    from_moment,
    path_of,
    small,
    to_manager,
    to_migration,
    to_moment,
)
from slowboat.edges.dbus import OBJECT_MANAGER, PROPERTIES, BusError, Connection, Match, Variant

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from types import TracebackType

    from slowboat.core.conditions import Mode
    from slowboat.core.verify import Report
    from slowboat.core.words import ManagerReport

PATIENCE: Final = 120.0
"""Seconds for what the daemon must do before it answers: a handover copies the cache and asks the server."""

PAGE: Final = 500
"""Files of a plan that are asked for at once: the daemon has nothing else to do for some hundredths of a second."""

VERIFYING: Final = 14 * 86400.0
"""Seconds for reading a drive whole: there are large and slow ones. Whoever waits sees the progress."""


class Client:
    """A connection to the running daemon; `async with await Client.open() as client`."""

    def __init__(self, connection: Connection) -> None:
        """Use `open`."""
        self._connection = connection

    @classmethod
    async def open(cls, address: str = "") -> Self:
        """Finds the daemon; does not start it.

        Args:
            address: another bus than the session's.

        Raises:
            NeedsUser: it is not running (code "not-running"), or there is no session bus ("no-bus").
        """
        try:
            connection = await Connection.open(address=address)
        except BusError as error:
            raise NeedsUser(
                f"slowboat cannot be reached: {error.what}",
                hint="Run this in the desktop session, or as the user whose backup it is, not with sudo",
                code="no-bus",
            ) from error
        client = cls(connection)
        try:
            owner = await connection.owner(NAME)
        except BusError as error:
            await connection.close()
            raise _as_ours(error) from error
        if not owner:
            await connection.close()
            raise _not_running()
        return client

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Leaves the bus."""
        await self._connection.close()

    async def report(self) -> ManagerReport:
        """Everything that the daemon shows.

        Raises:
            NeedsUser: the daemon has ended.
            Transient: it does not respond.
        """
        manager = (await self._call(ROOT, PROPERTIES, "GetAll", "s", MANAGER))[0]
        objects = (await self._call(ROOT, OBJECT_MANAGER, "GetManagedObjects"))[0]
        reports = [to_migration(each[MIGRATION]) for each in objects.values() if MIGRATION in each]
        return to_manager(manager, {report.name: report for report in reports})

    async def watch(self) -> AsyncIterator[ManagerReport]:
        """The report now, and again whenever something in it has changed, until the daemon ends.

        Raises:
            NeedsUser: the daemon has ended.
        """
        news = asyncio.Event()
        news.set()
        match = Match(sender=NAME, path_namespace=ROOT)
        subscriptions = [
            await self._connection.subscribe(match, lambda _: news.set()),
            await self._connection.watch_name(NAME, lambda _: news.set()),
        ]
        gone = asyncio.ensure_future(self._connection.wait_closed())
        gone.add_done_callback(lambda _: news.set())
        try:
            while True:
                await news.wait()
                news.clear()
                yield await self.report()
        finally:
            gone.cancel()
            for subscription in subscriptions:
                await subscription.cancel()

    async def pause(self, migration: str = "", until: float = 0.0) -> None:
        """Pauses one migration, or "" for all; until a time (seconds since the epoch), 0.0: until told."""
        path, interface = _of(migration)
        await self._call(path, interface, "Pause", "ta{sv}", to_moment(until), {})

    async def resume(self, migration: str = "") -> None:
        """Takes a pause back."""
        path, interface = _of(migration)
        await self._call(path, interface, "Resume", "a{sv}", {})

    async def retry_now(self) -> None:
        """Forgets waiting times."""
        await self._call(ROOT, MANAGER, "RetryNow", "a{sv}", {})

    async def rescan(self) -> None:
        """Looks at drive and target again."""
        await self._call(ROOT, MANAGER, "Rescan", "a{sv}", {})

    async def reload(self) -> None:
        """Reads the configuration again."""
        await self._call(ROOT, MANAGER, "Reload", "a{sv}", {}, timeout=PATIENCE)

    async def set_limit(self, limit: int, until: float = 0.0, mode: Mode = "") -> None:
        """What the user says for now: a cap in bytes per second (0: none) and "spare", "go", or "" for neither.

        Until a time (seconds since the epoch), 0.0: until told. It replaces what was said before.
        """
        options = {"mode": Variant("s", mode)} if mode else {}
        await self._call(ROOT, MANAGER, "SetLimit", "tta{sv}", count(limit), to_moment(until), options)

    async def hold(self, who: str, why: str) -> int:
        """Holds slowboat back until the file descriptor that this gives is closed."""
        return int((await self._call(ROOT, MANAGER, "Hold", "ssa{sv}", who, why, {}))[0])

    async def history(self, since: float = 0.0, limit: int = 100) -> Sequence[tuple[float, str, str, str]]:
        """The newest lines of the history, oldest first: (when, migration, kind, text)."""
        entries = await self._call(ROOT, MANAGER, "GetHistory", "tua{sv}", to_moment(since), small(limit), {})
        return [(from_moment(each["time"]), each["migration"], each["kind"], each["text"]) for each in entries[0]]

    async def traffic(self, since: float = 0.0) -> Sequence[tuple[float, int]]:
        """The bytes of each quarter of an hour in which there were any: (its beginning, bytes), oldest first."""
        slots = await self._call(ROOT, MANAGER, "GetTraffic", "ta{sv}", to_moment(since), {})
        return [(from_moment(at), number) for at, number in slots[0]]

    async def plan(self, migration: str, *, grouped: bool = False) -> Sequence[Mapping[str, str | int | bool]]:
        """What is sent, in order: name, role, set, bytes, phase, canary; read in pages.

        `grouped`: neighbours of a kind as one, with how many `files` it is.
        """
        if grouped:
            return await self._plan(migration, {"grouped": Variant("b", value=True)})
        found: list[Mapping[str, str | int | bool]] = []
        while True:
            where = {"from": Variant("u", len(found)), "most": Variant("u", PAGE)}
            page = await self._plan(migration, where)
            found += page
            if len(page) != PAGE:  # the last one, or all of them from a daemon that knows no pages
                return found

    async def _plan(self, migration: str, options: dict[str, Variant]) -> Sequence[Mapping[str, str | int | bool]]:
        answer = await self._call(path_of(migration), MIGRATION, "Plan", "a{sv}", options, timeout=PATIENCE)
        return list(answer[0])

    async def hand_over(self, migration: str) -> None:
        """Does the handover now."""
        await self._call(path_of(migration), MIGRATION, "HandOver", "a{sv}", {}, timeout=PATIENCE)

    async def undo_handover(self, migration: str) -> None:
        """Takes the handover back."""
        await self._call(path_of(migration), MIGRATION, "UndoHandover", "a{sv}", {}, timeout=PATIENCE)

    async def switch_front_end(self, migration: str) -> str:
        """Points Deja Dup at the target; answers the URL that it uses then."""
        call = self._call(path_of(migration), MIGRATION, "SwitchFrontEnd", "a{sv}", {}, timeout=PATIENCE)
        return str((await call)[0])

    async def verify(self, migration: str, *, deep: bool = False, restore: bool = False) -> Report:
        """Compares what is at the target with what was sent; `deep` reads the drive, too, which takes its time.

        With `restore` the report has what the cloud alone could restore.
        """
        from slowboat.edges.bus.verify_answer import from_answer  # half of what the command line loads

        options = {"deep": Variant("b", deep), "restore": Variant("b", restore)}
        call = self._call(path_of(migration), MIGRATION, "Verify", "a{sv}", options, timeout=VERIFYING)
        return from_answer((await call)[0])

    async def stop_verifying(self, migration: str) -> None:
        """Breaks off the comparing that is under way, if there is one."""
        await self._call(path_of(migration), MIGRATION, "StopVerifying", "a{sv}", {})

    async def _call(
        self, path: str, interface: str, member: str, signature: str = "", *body: object, timeout: float = 10.0
    ) -> list[Any]:
        try:
            return await self._connection.call(
                NAME, path, interface, member, signature, *body, timeout=timeout, start=False
            )
        except BusError as error:
            raise _as_ours(error) from error


def _of(migration: str) -> tuple[str, str]:
    return (path_of(migration), MIGRATION) if migration else (ROOT, MANAGER)


def _not_running() -> NeedsUser:
    return NeedsUser(
        "slowboat is not running",
        hint="Start it with:\nsystemctl --user start slowboat\nor, if it is not installed yet:\nslowboat install",
        code="not-running",
    )


_WORDS: Final[Mapping[str, type[SlowboatError]]] = {
    "InvalidConfig": NeedsUser,
    "NeedsUser": NeedsUser,
    "NotFound": Refused,
    "Refused": Refused,
    "SourceAbsent": SourceAbsent,
    "Cancelled": Stopped,
    "Busy": Transient,
}


def _as_ours(error: BusError) -> SlowboatError:
    """What the daemon meant by an error on D-Bus."""
    prefix, _, word = error.name.rpartition(".")
    if prefix == f"{NAME}.Error" and word in _WORDS:
        code = "config" if word == "InvalidConfig" else word.lower()
        return _WORDS[word](error.text.removesuffix("."), code=code)
    if error.absent or error.name.endswith(".Disconnected"):
        return _not_running()
    if error.name == "org.freedesktop.DBus.Error.UnknownObject":
        return Refused("slowboat has no migration of that name", hint="See: slowboat status", code="not-found")
    if error.name == "org.freedesktop.DBus.Error.NoReply":
        return Transient("slowboat does not respond", hint="See: journalctl --user -u slowboat", code="no-reply")
    return Transient(f"slowboat refused: {error.text or error.name}", code="dbus")
