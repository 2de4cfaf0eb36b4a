"""Services of the tests' own on a private bus: they have the properties and methods that a test gives them.

They can do what a real service does rarely: freeze, lie about types, flood the bus with signals.
"""

from __future__ import annotations

import asyncio
import os
import select
from typing import TYPE_CHECKING, Any, Self

from slowboat.edges.dbus import PROPERTIES, Answer, Call, CallRefused, Connection, Variant

if TYPE_CHECKING:
    from collections.abc import Callable

Properties = dict[str, tuple[str, Any]]  # name to (signature, value)


class FakeService:
    """A bus name with objects behind it.

    Attributes:
        objects: path to interface to properties.
        methods: (interface, member) to what answers it.
        frozen: whether calls are left without an answer.
        calls: all calls that came, "Interface.Member" or "GetAll <interface>".
    """

    def __init__(self, address: str, name: str) -> None:
        self.address = address
        self.name = name
        self.objects: dict[str, dict[str, Properties]] = {}
        self.methods: dict[tuple[str, str], Callable[[Call], Answer]] = {}
        self.frozen = False
        self.calls: list[str] = []
        self.bus: Connection | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        self.bus = await Connection.open(address=self.address)
        self.bus.serve(self._answer)
        assert await self.bus.own(self.name)

    async def stop(self) -> None:
        if self.bus is not None:
            await self.bus.close()
            self.bus = None

    async def change(self, path: str, interface: str, **properties: tuple[str, Any]) -> None:
        """New values, each with a signal of its own, as NetworkManager does."""
        assert self.bus
        for name, (signature, value) in properties.items():
            self.objects.setdefault(path, {}).setdefault(interface, {})[name] = (signature, value)
            changed = {name: Variant(signature, value)}
            self.bus.emit(path, PROPERTIES, "PropertiesChanged", "sa{sv}as", interface, changed, [])
        await self.bus.flush()

    async def emit(self, path: str, interface: str, member: str, signature: str = "", *body: Any) -> None:
        assert self.bus
        self.bus.emit(path, interface, member, signature, *body)
        await self.bus.flush()

    def _answer(self, call: Call) -> Answer | asyncio.Future[Answer]:
        if self.frozen:
            return asyncio.get_running_loop().create_future()
        if call.interface != PROPERTIES:
            self.calls.append(f"{call.interface}.{call.member}")
            method = self.methods.get((call.interface, call.member))
            if method is None:
                raise CallRefused("org.freedesktop.DBus.Error.UnknownMethod", call.member)
            return method(call)
        self.calls.append(f"{call.member} {call.body[0]}")
        known = self.objects.get(call.path, {}).get(call.body[0])
        if known is None:
            raise CallRefused("org.freedesktop.DBus.Error.UnknownObject", call.path)
        if call.member == "GetAll":
            return Answer("a{sv}", [{name: Variant(*each) for name, each in known.items()}])
        if call.body[1] not in known:
            raise CallRefused("org.freedesktop.DBus.Error.UnknownProperty", call.body[1])
        return Answer("v", [Variant(*known[call.body[1]])])


class Changes:
    """What a watch told of, to be waited for: `changes.until(lambda: watch.current() == ...)`."""

    def __init__(self) -> None:
        self.count = 0
        self._event = asyncio.Event()

    def __call__(self) -> None:
        self.count += 1
        self._event.set()

    async def until(self, condition: Callable[[], object], seconds: float = 20.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                self._event.clear()
                await self._event.wait()


NM = "org.freedesktop.NetworkManager"
NM_PATH = "/org/freedesktop/NetworkManager"


class FakeNetworkManager(FakeService):
    """NetworkManager with the properties that a reading needs; nothing is connected at first."""

    def __init__(self, address: str) -> None:
        super().__init__(address, NM)
        self.objects[NM_PATH] = {NM: self.manager()}

    @staticmethod
    def manager(**other: tuple[str, Any]) -> Properties:
        return {
            "State": ("u", 20),
            "Connectivity": ("u", 1),
            "ConnectivityCheckEnabled": ("b", True),
            "Metered": ("u", 0),
            "ActiveConnections": ("ao", []),
            "PrimaryConnection": ("o", "/"),
            **other,
        }

    def connect(
        self, number: int, name: str, kind: str, *, metered: int = 4, default: bool = False, **other: Any
    ) -> str:
        """One more active connection with a device of its own; says nothing on the bus yet."""
        active, device = f"{NM_PATH}/ActiveConnection/{number}", f"{NM_PATH}/Devices/{number}"
        self.objects[active] = {
            f"{NM}.Connection.Active": {
                "Id": ("s", name),
                "Type": ("s", kind),
                "State": ("u", 2),
                "Default": ("b", default),
                "Default6": ("b", False),
                "Vpn": ("b", False),
                "Devices": ("ao", [device]),
                "Master": ("o", "/"),
                **other,
            }
        }
        self.objects[device] = {f"{NM}.Device": {"Metered": ("u", metered), "State": ("u", 100)}}
        return active

    async def say(self, *actives: str, state: int = 70, connectivity: int = 4, metered: int = 4) -> None:
        """The steps of an activation, signal by signal, in the order that NetworkManager 1.42 sends them."""
        await self.change(NM_PATH, NM, State=("u", 40))
        await self.change(NM_PATH, NM, ActiveConnections=("ao", list(actives)))
        await self.change(NM_PATH, NM, PrimaryConnection=("o", actives[0] if actives else "/"), Connectivity=("u", 1))
        await self.change(NM_PATH, NM, State=("u", min(state, 60)))
        await self.change(NM_PATH, NM, Metered=("u", metered))
        await self.change(NM_PATH, NM, State=("u", state))
        await self.change(NM_PATH, NM, Connectivity=("u", connectivity))


LOGIN1, LOGIN1_PATH = "org.freedesktop.login1", "/org/freedesktop/login1"


class Login1(FakeService):
    """login1's locks: a pipe each, whose other end says whether the lock is held still."""

    def __init__(self, address: str) -> None:
        super().__init__(address, LOGIN1)
        self.methods[f"{LOGIN1}.Manager", "Inhibit"] = self._inhibit
        self.asked: list[list[str]] = []
        self.pipes: list[int] = []
        self.taken = Changes()

    def _inhibit(self, call: Call) -> Answer:
        self.asked.append(call.body)
        ours, theirs = os.pipe()
        self.pipes.append(ours)
        self.taken()
        return Answer("h", [0], fds=(theirs,))

    def held(self) -> int:
        """How many locks are held now."""
        poll = select.poll()
        for pipe in self.pipes:
            poll.register(pipe, select.POLLHUP)
        return len(self.pipes) - len(poll.poll(0))

    async def going(self, to_sleep: bool) -> None:
        """The computer is about to go to sleep, or awake again."""
        await self.emit(LOGIN1_PATH, f"{LOGIN1}.Manager", "PrepareForSleep", "b", to_sleep)

    async def stop(self) -> None:
        await super().stop()
        while self.pipes:
            os.close(self.pipes.pop())
