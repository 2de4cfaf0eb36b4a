"""The daemon's side of our D-Bus interface.

Knows the names, the objects and how an error of ours is called on D-Bus; must not know why the engine does
anything. It keeps what was published last, tells of changes of state at once and of counters at most once a
second, and outlives the bus: where that goes away, everything is offered again on the next one. It outlives
engines, too: nobody who asks while there is none is turned away.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from slowboat.core.conditions import MODES
from slowboat.core.errors import NeedsUser, Refused, SlowboatError, SourceAbsent, Stopped, Transient
from slowboat.core.words import ManagerReport, MigrationReport
from slowboat.edges.bus.holds import ActiveHold, Holds
from slowboat.edges.bus.objects import STANDARD, Interface, Tree, shipped
from slowboat.edges.bus.report_properties import (
    COUNTERS,
    MANAGER,
    MIGRATION,
    NAME,
    ROOT,
    count,
    from_moment,
    path_of,
    to_dict,
    to_moment,
    to_properties,
)
from slowboat.edges.bus.verify_answer import to_answer
from slowboat.edges.dbus import Answer, Call, CallRefused, Connection, stay_connected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence

    from slowboat.core.conditions import Mode
    from slowboat.core.verify import Report

T = TypeVar("T")

log = logging.getLogger(__name__)

INTERVAL: Final = 1.0
"""Seconds between two signals that only count: what a person can follow, at next to no cost."""

FIRST_RETRY: Final = 1.0
LAST_RETRY: Final = 60.0
"""Seconds between tries to find a bus that went away: soon at first, then without wearing down a laptop."""

ASK_AGAIN: Final = "Try again in a moment"
INVALID_ARGS: Final = "org.freedesktop.DBus.Error.InvalidArgs"
WITH_OPTIONS: Final = frozenset({"Plan", "SetLimit", "Verify"})
"""The methods that know options."""

_PLAN: Final = {"name": "s", "role": "s", "set": "s", "bytes": "t", "phase": "s", "canary": "b"}
_GROUP: Final = _PLAN | {"files": "t"}
_HOLD: Final = {"who": "s", "why": "s", "since": "t"}
_EVENT: Final = {"time": "t", "migration": "s", "kind": "s", "text": "s"}


class Commands(Protocol):
    """What the bus asks of the engine, in the engine's own words. Each raises a SlowboatError where it must say no."""

    def pause(self, migration: str, until: float) -> None:
        """Stops sending until a time (seconds since the epoch); 0.0: until told. "": all migrations."""

    def resume(self, migration: str) -> None:
        """Takes a pause back."""

    def retry_now(self) -> None:
        """Forgets every waiting time and refused state that a new try may cure."""

    def rescan(self) -> None:
        """Looks at drive and target again."""

    def set_limit(self, limit: int, until: float = 0.0, mode: Mode = "") -> None:
        """What the user says for now: a cap in bytes per second (0: none) and "spare", "go", or "" for neither.

        Until a time (seconds since the epoch), 0.0: until told. It replaces what was said before.
        """

    async def hand_over(self, migration: str) -> None:
        """Does the handover now, or raises NeedsUser or Transient with what stands in its way."""

    async def undo_handover(self, migration: str) -> None:
        """Takes the handover back."""

    async def switch_front_end(self, migration: str) -> str:
        """Points Deja Dup at the target, handing over first where that was not done; answers the URL it uses."""

    async def plan(
        self, migration: str, *, grouped: bool = False, first: int = 0, most: int = 0
    ) -> Sequence[Mapping[str, str | int | bool]]:
        """What would be sent, in order: name, role, set, bytes, phase, canary.

        `most` files from `first` on (0: all); `grouped`: neighbours of a kind as one, with how many `files` it is.
        """

    def history(self, since: float, limit: int) -> Sequence[tuple[float, str, str, str]]:
        """The newest lines of the history."""

    def traffic(self, since: float) -> Sequence[tuple[float, int]]:
        """The bytes of each quarter of an hour: (its beginning, bytes), oldest first."""

    def hold(self, holds: Sequence[tuple[str, str]]) -> None:
        """Who wants it to keep still now: (who, why); told at first, and whenever a hold begins or ends."""

    async def verify(self, migration: str, *, deep: bool = False, restore: bool = False) -> Report:
        """Compares; `deep` reads the drive, too; `restore` tells what the cloud alone could restore."""

    def stop_verifying(self, migration: str) -> None:
        """Breaks off the comparing that is under way, if there is one."""


def error_name(error: SlowboatError) -> str:
    """What an error of ours is called on D-Bus; docs/dbus.md says what each means to a caller."""
    match error:
        case NeedsUser(code=code) if code.startswith("config"):
            word = "InvalidConfig"
        case NeedsUser():
            word = "NeedsUser"
        case SourceAbsent():
            word = "SourceAbsent"
        case Refused(code="not-found"):
            word = "NotFound"
        case Refused():
            word = "Refused"
        case Transient():
            word = "Busy"
        case Stopped():
            word = "Cancelled"
        case _:
            word = "Failed"
    return f"{NAME}.Error.{word}"


async def _nothing_to_reload() -> None:
    """There is no configuration."""


class _Offered:
    """One of our objects: the properties as published, the methods as the engine's commands."""

    def __init__(self, interface: Interface, properties: dict[str, Any]) -> None:
        self.interface = interface
        self.properties = properties
        self.published = dict(properties)
        self.last = -INTERVAL
        self.timer: asyncio.TimerHandle | None = None
        self.methods: Mapping[str, Callable[..., Any]] = {}
        self.setters: Mapping[str, Callable[[Any], None]] = {}

    def values(self) -> Mapping[str, Any]:
        """Every property by its name, as published."""
        return self.properties

    def set(self, name: str, value: Any) -> None:  # noqa: ANN401  # of the property's type
        """Sets a property that can be set. Raises CallRefused with our error's name on D-Bus."""
        with _named_errors():
            self.setters[name](value)

    def invoke(self, call: Call) -> Any:  # noqa: ANN401  # of the method's type
        """Calls a method: without the options that come last, unless it has some.

        Returns:
            What the method returns, or something to await for it.

        Raises:
            CallRefused: with our error's name on D-Bus.
        """
        with _named_errors():
            arguments = call.body if call.member in WITH_OPTIONS else call.body[:-1]
            outcome = self.methods[call.member](*arguments)
        return _with_named_errors(outcome) if asyncio.iscoroutine(outcome) else outcome


class _named_errors(contextlib.AbstractContextManager[None]):  # noqa: N801  # used like a function
    """Errors of ours leave the block under their D-Bus names."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, SlowboatError) and not isinstance(error, CallRefused):
            raise CallRefused(error_name(error), str(error)) from error


async def _with_named_errors(outcome: Awaitable[Any]) -> Any:  # noqa: ANN401  # of the method's type
    with _named_errors():
        return await outcome


class Service:
    """Offers our interface on the session bus. What it asks of the engine are `Commands`."""

    def __init__(
        self,
        *,
        version: str,
        reload: Callable[[], Awaitable[None]] = _nothing_to_reload,
        address: str = "",
        interval: float = INTERVAL,
    ) -> None:
        """Offers nothing yet; see `start`, and `obeying`.

        Args:
            version: of slowboat, for the Version property.
            reload: reads the configuration again, and returns when it is in force; raises NeedsUser where it is wrong.
            address: another bus than the session's.
            interval: seconds between two signals that only count.
        """
        self._address = address
        self._interval = interval
        self._connection: Connection | None = None
        self._tree = Tree(ROOT)
        self._of_migration = shipped(MIGRATION)
        self._commands: Commands | None = None
        self._obeys = asyncio.Event()
        self._has_obeyed = False
        self._doings: set[asyncio.Task[Any]] = set()
        self._holds = Holds(self._holds_changed)
        self._manager = _Offered(shipped(MANAGER), to_properties(ManagerReport(version)) | {"Holds": []})
        self._manager.methods = self._manager_methods(reload)
        self._manager.setters = {"Limit": lambda limit: self._engine.set_limit(limit)}  # noqa: PLW0108  # the engine of then, not of now
        self._tree.add(ROOT, self._manager.interface, self._manager)
        self._migrations: dict[str, _Offered] = {}

    async def start(self) -> None:
        """Takes our name on the bus and offers everything.

        Raises:
            NeedsUser: another slowboat is running (code "already-running").
            BusGone, NoReply: there is no bus, or it does not respond.
        """
        connection = await Connection.open(address=self._address)
        connection.serve(self._answer)  # before the name, or the first caller finds nobody
        ours = False
        try:
            ours = await connection.own(NAME)
        finally:
            if not ours:
                await connection.close()
        if not ours:
            raise NeedsUser(
                "slowboat is already running on this session bus",
                hint="To see what it is doing, run `slowboat status`; to stop it: systemctl --user stop slowboat",
                code="already-running",
            )
        self._connection = connection
        self._tree.connection = connection

    async def run(self) -> None:
        """Stays until cancelled; where the bus goes away, comes back on the next one."""
        await stay_connected("the session bus", self._session, first=FIRST_RETRY, most=LAST_RETRY)

    async def _session(self, connected: Callable[[], None]) -> None:
        if self._connection is None:
            await self.start()
            log.info("the session bus is back")
        connected()
        if self._connection is not None:
            await self._connection.wait_closed()
        self._tree.connection = self._connection = None
        log.warning("the session bus went away; slowboat continues and waits for it")

    async def close(self) -> None:
        """Leaves the bus: tells what was not told yet, and gives the name back."""
        for path, offered in ((ROOT, self._manager), *self._migrations.items()):
            self._tell(path, offered)
        self._holds.close()
        if self._connection is not None:
            await self._connection.close()
            self._tree.connection = self._connection = None

    # Whose it is

    @contextlib.asynccontextmanager
    async def obeying(self, commands: Commands) -> AsyncIterator[None]:
        """From here to the end of the block, that engine does what is asked for.

        Between two blocks what was published last can be read, and who asks for something to be done waits for the
        next. What an engine has not finished at the end of its block is broken off, and who asked for it hears that.
        """
        self._commands, self._has_obeyed = commands, True
        commands.hold([(each.who, each.why) for each in self._holds.now()])
        self._obeys.set()
        try:
            yield
        finally:
            self._obeys.clear()
            self._commands = None
            for task in self._doings:
                task.cancel()
            await asyncio.gather(*self._doings, return_exceptions=True)

    @property
    def _engine(self) -> Commands:
        assert self._commands is not None, "who asks waits until there is one"
        return self._commands

    def _answer(self, call: Call) -> Answer | Awaitable[Answer]:
        """As `Tree.answer`, once there is somebody to ask."""
        reads = call.interface in STANDARD and call.member != "Set"
        if self._commands is not None or (reads and self._has_obeyed):
            return self._tree.answer(call)
        return self._answer_later(call)

    async def _answer_later(self, call: Call) -> Answer:
        await self._obeys.wait()
        outcome = self._answer(call)
        return outcome if isinstance(outcome, Answer) else await outcome

    async def _doing(self, work: Coroutine[None, None, T]) -> T:
        """Does what takes the engine a while: until the end of that engine at most."""
        task = asyncio.create_task(work)
        self._doings.add(task)
        task.add_done_callback(self._doings.discard)
        try:
            return await task
        except asyncio.CancelledError:
            waiting = asyncio.current_task()
            if waiting is not None and waiting.cancelling():  # nobody is there any more to hear of it
                raise
            raise Stopped("slowboat cancelled this to reload its settings, or to stop", hint=ASK_AGAIN) from None

    # Publishing

    def publish(self, report: ManagerReport) -> None:
        """Shows a report: state at once, counters at most once a second, each migration as an object."""
        # The holds are ours, not the engine's: it was told of them.
        self._show(ROOT, self._manager, to_properties(report) | {"Holds": self._manager.properties["Holds"]})
        wanted = {path_of(name): each for name, each in report.migrations.items()}
        for path in [path for path in self._migrations if path not in wanted]:
            self._drop(path)
        for path, each in wanted.items():
            if path in self._migrations:
                self._show(path, self._migrations[path], to_properties(each))
            else:
                self._offer(path, each)

    def _offer(self, path: str, report: MigrationReport) -> None:
        offered = _Offered(self._of_migration, to_properties(report))
        offered.methods = self._migration_methods(report.name)
        self._migrations[path] = offered
        self._tree.add(path, offered.interface, offered)

    def _drop(self, path: str) -> None:
        offered = self._migrations.pop(path)
        if offered.timer is not None:
            offered.timer.cancel()
        self._tree.remove(path)

    def _show(self, path: str, offered: _Offered, properties: dict[str, Any]) -> None:
        offered.properties = properties
        changed = _changes(offered)
        if not changed:
            return
        loop = asyncio.get_running_loop()
        due = offered.last + self._interval
        if changed - COUNTERS or loop.time() >= due:
            self._tell(path, offered)
        elif offered.timer is None:
            offered.timer = loop.call_at(due, self._tell, path, offered)

    def _tell(self, path: str, offered: _Offered) -> None:
        if offered.timer is not None:
            offered.timer.cancel()
            offered.timer = None
        changed = _changes(offered)
        if not changed:
            return
        offered.last = asyncio.get_running_loop().time()
        offered.published = dict(offered.properties)
        self._tree.changed(path, offered.interface.name, sorted(changed))

    # Obeying

    def _manager_methods(self, reload: Callable[[], Awaitable[None]]) -> Mapping[str, Callable[..., Any]]:
        """The Manager's methods; whoever calls one reaches the engine that there is then."""
        return {
            "Pause": lambda until: self._engine.pause("", from_moment(until)),
            "Resume": lambda: self._engine.resume(""),
            "SetLimit": self._set_limit,
            "RetryNow": lambda: self._engine.retry_now(),  # noqa: PLW0108  # as above
            "Rescan": lambda: self._engine.rescan(),  # noqa: PLW0108  # as above
            "Reload": reload,
            "Hold": self._hold,
            "GetHistory": self._history,
            "GetTraffic": self._traffic,
        }

    def _migration_methods(self, name: str) -> Mapping[str, Callable[..., Any]]:
        """A migration's methods; whoever calls one reaches the engine that there is then."""
        return {
            "Pause": lambda until: self._engine.pause(name, from_moment(until)),
            "Resume": lambda: self._engine.resume(name),
            "Verify": lambda options: self._verify(name, options),
            "StopVerifying": lambda: self._engine.stop_verifying(name),
            "HandOver": lambda: self._doing(self._engine.hand_over(name)),
            "UndoHandover": lambda: self._doing(self._engine.undo_handover(name)),
            "SwitchFrontEnd": lambda: self._doing(self._engine.switch_front_end(name)),
            "Plan": lambda options: self._plan(name, options),
        }

    def _set_limit(self, limit: int, until: int, options: Mapping[str, Any]) -> None:
        mode: Mode = ""
        if "mode" in options:
            wanted = options["mode"]
            if not isinstance(wanted, str) or wanted not in MODES:
                raise CallRefused(INVALID_ARGS, 'the option mode is of type \'s\', and "spare" or "go"')
            mode = MODES[wanted]
        self._engine.set_limit(limit, from_moment(until), mode)

    async def _verify(self, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
        deep, restore = options.get("deep", False), options.get("restore", False)
        if not isinstance(deep, bool) or not isinstance(restore, bool):
            wrong = "restore" if isinstance(deep, bool) else "deep"
            raise CallRefused(INVALID_ARGS, f"the option {wrong} is of type 'b'")
        return to_answer(await self._doing(self._engine.verify(name, deep=deep, restore=restore)))

    async def _plan(self, name: str, options: Mapping[str, Any]) -> list[dict[str, Any]]:
        grouped, first, most = options.get("grouped", False), options.get("from", 0), options.get("most", 0)
        if not isinstance(grouped, bool):
            raise CallRefused(INVALID_ARGS, "the option grouped is of type 'b'")
        for option, value in (("from", first), ("most", most)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise CallRefused(INVALID_ARGS, f"the option {option} is of type 'u'")
        rows = await self._engine.plan(name, grouped=grouped, first=first, most=most)
        shape = _GROUP if grouped else _PLAN
        return [to_dict({**row, "bytes": count(int(row["bytes"]))}, shape) for row in rows]

    def _history(self, since: int, most: int) -> list[dict[str, Any]]:
        lines = self._engine.history(from_moment(since), most)
        return [
            to_dict({"time": to_moment(when), "migration": name, "kind": kind, "text": text}, _EVENT)
            for when, name, kind, text in lines
        ]

    def _traffic(self, since: int) -> list[list[int]]:
        return [[to_moment(at), count(number)] for at, number in self._engine.traffic(from_moment(since))]

    def _hold(self, who: str, why: str) -> Answer:
        return Answer("h", [0], (self._holds.take(who, why),))

    def _holds_changed(self, holds: Sequence[ActiveHold]) -> None:
        self._show(ROOT, self._manager, self._manager.properties | {"Holds": _as_shown(holds)})
        if self._commands is not None:
            self._commands.hold([(each.who, each.why) for each in holds])


def _as_shown(holds: Sequence[ActiveHold]) -> list[dict[str, Any]]:
    return [to_dict({"who": each.who, "why": each.why, "since": to_moment(each.since)}, _HOLD) for each in holds]


def _changes(offered: _Offered) -> set[str]:
    return {name for name, value in offered.properties.items() if offered.published[name] != value}
