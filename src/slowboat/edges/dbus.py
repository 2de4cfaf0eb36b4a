"""A connection to a D-Bus message bus: the one module that knows the library behind it.

Knows dbus-next 0.2.3 and its traps, and nothing of any service. dbus-next is no longer maintained, so only
its smallest part is used (connect, send, one handler for every message); proxies, exported interfaces and its
handling of replies are not. dbus-fast has the same part under the same names: to change over, change the
imports and what `_Wire` overrides. Everything that leaves is `BusError`, a `core.errors.Transient`.

What dbus-next gets wrong, and is put right here (https://github.com/altdesktop/python-dbus-next):

- importing it fails from Python 3.15 on, and warns from 3.13 on (`typing.no_type_check_decorator`);
- a call after the bus has died never returns, and one that was given up leaves its handler behind;
- a bus that hangs up during authentication makes it read nothing for ever without yielding;
- a socket buffer that is full between two messages ends the connection: here one is written at a time;
- sockets stay open after a disconnect, and received file descriptors that nobody asked for as well;
- `$XDG_RUNTIME_DIR/bus`, where the specification lets a session bus stand, is not looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import typing
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Self
from urllib.parse import unquote

from slowboat.core.errors import SlowboatError, Transient

# Deprecated in Python 3.13 and gone in 3.15 (https://github.com/python/cpython/issues/106309); dbus-next only
# decorates with it, and does nothing with what it decorated.
typing.no_type_check_decorator = lambda decorator: decorator

from dbus_next.aio.message_bus import MessageBus  # noqa: E402  # the line above must run first
from dbus_next.constants import MessageFlag, MessageType  # noqa: E402  # as above
from dbus_next.message import Message  # noqa: E402  # as above
from dbus_next.signature import Variant  # noqa: E402  # as above

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from types import TracebackType

__all__ = [
    "Answer",
    "BusError",
    "BusGone",
    "Call",
    "CallRefused",
    "Connection",
    "Match",
    "NoReply",
    "Signal",
    "Subscription",
    "Variant",
    "session_address",
    "system_address",
]

log = logging.getLogger(__name__)

Which = Literal["session", "system"]

TIMEOUT: Final = 5.0
"""Seconds for a call to be answered: long for any desktop service that is alive, short for a person."""

DRIVER: Final = "org.freedesktop.DBus"
DRIVER_PATH: Final = "/org/freedesktop/DBus"
PROPERTIES: Final = "org.freedesktop.DBus.Properties"

DO_NOT_QUEUE: Final = 4  # https://dbus.freedesktop.org/doc/dbus-specification.html#bus-messages-request-name
PRIMARY_OWNER: Final = 1  # same table: what RequestName answers
ALREADY_OWNER: Final = 4

ABSENT: Final = frozenset(
    {
        "org.freedesktop.DBus.Error.ServiceUnknown",
        "org.freedesktop.DBus.Error.NameHasNoOwner",
        "org.freedesktop.systemd1.NoSuchUnit",
    }
)
"""Answers that say "nobody has that name"; with `SPAWN` they begin that say "and it could not be started"."""
SPAWN: Final = "org.freedesktop.DBus.Error.Spawn."


class BusError(Transient):
    """A call on D-Bus did not work.

    Attributes:
        name: the D-Bus error's name, "org.freedesktop.DBus.Error.ServiceUnknown" for instance.
        text: what the service said about it; not ours, and not always meant for people.
    """

    def __init__(self, what: str, *, name: str, text: str = "") -> None:
        super().__init__(what, code="dbus")
        self.name = name
        self.text = text

    @property
    def absent(self) -> bool:
        """Whether the service is not there at all (and could not be started)."""
        return self.name in ABSENT or self.name.startswith(SPAWN)


class BusGone(BusError):
    """There is no bus, or no longer: a new connection is needed."""

    def __init__(self, what: str) -> None:
        super().__init__(what, name="org.freedesktop.DBus.Error.Disconnected")


class NoReply(BusError):
    """The service did not answer in time: it may be frozen, and it may still act on the call."""

    def __init__(self, what: str) -> None:
        super().__init__(what, name="org.freedesktop.DBus.Error.NoReply")


class CallRefused(SlowboatError):
    """Raised by whoever serves calls, to answer with a named D-Bus error."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name


@dataclass(frozen=True, slots=True)
class Match:
    """Which signals to hear; empty fields match all.

    https://dbus.freedesktop.org/doc/dbus-specification.html#message-bus-routing-match-rules
    """

    sender: str = ""
    path: str = ""
    interface: str = ""
    member: str = ""
    arg0: str = ""
    path_namespace: str = ""

    def rule(self) -> str:
        """The rule as the bus wants it."""
        given = {
            "sender": self.sender,
            "path": self.path,
            "path_namespace": self.path_namespace,
            "interface": self.interface,
            "member": self.member,
            "arg0": self.arg0,
        }
        return ",".join(["type='signal'", *(f"{key}='{value}'" for key, value in given.items() if value)])

    def covers(self, signal: Signal, owner: str) -> bool:
        """Whether `signal` is meant; `owner` is the unique name that `sender` has now ("": whoever)."""
        within = not self.path_namespace or f"{signal.path}/".startswith(f"{self.path_namespace.rstrip('/')}/")
        return (
            within
            and owner in ("", signal.sender)
            and self.path in ("", signal.path)
            and self.interface in ("", signal.interface)
            and self.member in ("", signal.member)
            and (not self.arg0 or signal.body[:1] == [self.arg0])
        )


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal that came; `body` holds plain values (variants are unwrapped)."""

    sender: str
    path: str
    interface: str
    member: str
    body: list[Any]


@dataclass(frozen=True, slots=True)
class Call:
    """A method call that somebody made on us; `body` holds plain values, `variants` the same as they came."""

    sender: str
    path: str
    interface: str
    member: str
    signature: str
    body: list[Any]
    variants: list[Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a call. `fds` are sent along ("h" values are indexes into them) and then closed here."""

    signature: str = ""
    body: Sequence[Any] = ()
    fds: tuple[int, ...] = ()


def plain(value: Any) -> Any:
    """A value without its variants, all the way down."""
    if isinstance(value, Variant):
        return plain(value.value)
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return value


def _sayable(value: Any) -> Any:
    """A value whose texts the bus carries: it ends the connection of who sends a null or broken UTF-8.

    File names may hold either broken bytes (as surrogates, os.fsdecode) or anything else but a null.
    https://dbus.freedesktop.org/doc/dbus-specification.html#basic-types
    """
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if isinstance(value, Variant):
        return Variant(value.signature, _sayable(value.value))
    if isinstance(value, list | tuple):
        return [_sayable(each) for each in value]
    if isinstance(value, dict):
        return {_sayable(key): _sayable(each) for key, each in value.items()}
    return value


def session_address() -> str:
    """The session bus's address: the environment's, else `$XDG_RUNTIME_DIR/bus`.

    Raises:
        BusGone: neither is there.
    """
    if address := os.environ.get("DBUS_SESSION_BUS_ADDRESS"):
        return address
    directory = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    path = f"{directory}/bus"
    # One stat of a file in memory (a tmpfs); nothing worth a thread.
    if os.path.exists(path):  # noqa: PTH110  # pathlib would be one more import for the same call
        return f"unix:path={path}"
    raise BusGone("there is no session bus: DBUS_SESSION_BUS_ADDRESS is not set and there is no " + path)


def system_address() -> str:
    """The system bus's address."""
    return os.environ.get("DBUS_SYSTEM_BUS_ADDRESS") or "unix:path=/run/dbus/system_bus_socket"


def _socket_name(address: str) -> str | bytes:
    """Where the first unix transport of a bus address listens; an abstract name begins with a null byte."""
    for entry in address.split(";"):
        transport, _, rest = entry.partition(":")
        options = dict(pair.partition("=")[::2] for pair in rest.split(","))
        if transport == "unix" and "path" in options:
            return unquote(options["path"])
        if transport == "unix" and "abstract" in options:
            return b"\0" + unquote(options["abstract"]).encode()
    raise BusGone(f"the bus address {address!r} names no unix socket")


class _Wire(MessageBus):
    """dbus-next's connection with four of its private parts put right (see the module's docstring)."""

    def __init__(self, address: str, ended: Callable[[], None]) -> None:
        self._name = _socket_name(address)
        self._ended = ended
        self._shut = False
        # The library parses an address first, and refuses unusual characters: give it any.
        super().__init__(bus_address="unix:path=/", negotiate_unix_fd=True)

    def _setup_socket(self) -> None:
        end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            end.settimeout(1.0)  # local: it is there or it is not, unless its queue is full
            end.connect(self._name)
            end.settimeout(0.0)
        except BaseException:
            end.close()
            raise
        self._sock = end
        self._stream = end.makefile("rwb")
        self._fd = end.fileno()

    async def _auth_readline(self) -> str:
        line = b""
        while not line.endswith(b"\r\n"):
            byte = await asyncio.get_running_loop().sock_recv(self._sock, 1)
            if not byte:
                raise EOFError
            line += byte
        return line[:-2].decode()

    def _finalize(self, err: Exception | None = None) -> None:
        if self._shut:
            return
        self._shut = True
        self._user_disconnect = True  # nobody awaits the library's own future: it must not hold an exception
        super()._finalize(err)  # type: ignore[no-untyped-call]  # the library gives no types here
        with contextlib.suppress(OSError):  # what was buffered and could not be flushed is lost with the bus
            self._stream.close()
        self._sock.close()
        self._ended()

    def shut(self) -> None:
        """Ends the connection and closes its socket; `ended` is called once, before this returns."""
        self._finalize(EOFError())


class Subscription:
    """What `subscribe` and `watch_name` give; `cancel` it when the signals are no longer wanted."""

    def __init__(self, connection: Connection, match: Match, handler: Callable[[Signal], None]) -> None:
        self._connection = connection
        self.match = match
        self.handler = handler
        self.owner = ""
        self.follows: Subscription | None = None

    async def cancel(self) -> None:
        """Hears no more; never raises."""
        await self._connection._forget(self)  # noqa: SLF001  # the two are one thing in two classes
        if self.follows is not None:
            await self.follows.cancel()


class Connection:
    """One connection to a bus. It is never reconnected: after `wait_closed` open another and set it up."""

    def __init__(self, address: str) -> None:
        """Use `open`."""
        self._waiting: dict[int, asyncio.Future[Message]] = {}
        self._subscriptions: list[Subscription] = []
        self._rules: dict[str, int] = {}
        self._serve: Callable[[Call], Answer | Awaitable[Answer]] | None = None
        self._answering: set[asyncio.Task[None]] = set()
        self._queue: deque[tuple[Message, asyncio.Future[None]]] = deque()
        self._writing: asyncio.Future[None] | None = None
        self._closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._wire = _Wire(address, self._ended)
        self._wire.add_message_handler(self._arrived)

    @classmethod
    async def open(cls, which: Which = "session", *, address: str = "", timeout: float = TIMEOUT) -> Self:
        """Connects to a bus.

        Args:
            which: the session bus or the system bus.
            address: another bus's address instead.
            timeout: seconds until it must have answered.

        Raises:
            BusGone: there is none, or it does not answer.
        """
        where = address or (session_address() if which == "session" else system_address())
        try:
            self = cls(where)
        except OSError as error:
            raise BusGone(f"the {which} bus cannot be reached ({error.strerror})") from error
        try:
            async with asyncio.timeout(timeout):
                await self._wire.connect()
        except BaseException as error:
            self._wire.shut()
            if not isinstance(error, Exception):
                raise
            raise BusGone(f"the {which} bus does not answer ({type(error).__name__})") from error
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def name(self) -> str:
        """Our unique name on the bus, ":1.42"."""
        return str(self._wire.unique_name)

    @property
    def connected(self) -> bool:
        """Whether the bus is still there, as far as we know."""
        return not self._closed.done()

    async def wait_closed(self) -> None:
        """Returns when the bus went away or `close` was called."""
        await asyncio.shield(self._closed)

    async def close(self) -> None:
        """Writes what is queued (for a moment at most), ends the connection and closes its socket."""
        if self._writing is not None:
            with contextlib.suppress(BusError):
                await self.flush(timeout=0.5)
        self._wire.shut()

    # Calling

    async def call(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        *body: Any,
        timeout: float = TIMEOUT,
        start: bool = True,
        fds: tuple[int, ...] = (),
    ) -> list[Any]:
        """Calls a method and waits for its answer.

        Args:
            destination: a bus name.
            path: the object's path.
            interface: the interface; "" leaves it to the object.
            member: the method.
            signature: the arguments' types.
            body: the arguments; a "v" is a `Variant`, an "h" an index into `fds`.
            timeout: seconds until the answer must be there.
            start: whether the bus may start the service.
            fds: file descriptors to send along; they stay the caller's.

        Returns:
            The answer's values, without variants. A file descriptor ("h") is the caller's to close.

        Raises:
            BusGone: the bus is not there any more.
            NoReply: no answer in time.
            BusError: the service said no; `name` tells which error.
        """
        message = Message(
            destination=destination,
            path=path,
            member=member,
            signature=signature,
            body=list(body),
            unix_fds=list(fds),
            flags=MessageFlag.NONE if start else MessageFlag.NO_AUTOSTART,
            serial=self._wire.next_serial(),
        )
        if interface:
            message.interface = interface
        reply = await self._exchange(message, timeout, f"{member} of {destination}")
        if reply.message_type is MessageType.ERROR:
            _close_all(reply.unix_fds)
            text = str(reply.body[0]) if reply.body else ""
            short = str(reply.error_name).rpartition(".")[2]
            raise BusError(f"{destination} refused {member} ({short})", name=str(reply.error_name), text=text)
        return _claim(reply)

    async def get(self, destination: str, path: str, interface: str, name: str, *, timeout: float = TIMEOUT) -> Any:
        """One property. Raises as `call` does."""
        return (await self.call(destination, path, PROPERTIES, "Get", "ss", interface, name, timeout=timeout))[0]

    async def get_all(self, destination: str, path: str, interface: str, *, timeout: float = TIMEOUT) -> dict[str, Any]:
        """All properties of one interface: name to plain value. Raises as `call` does."""
        answer = await self.call(destination, path, PROPERTIES, "GetAll", "s", interface, timeout=timeout)
        return dict(answer[0])

    async def owner(self, name: str) -> str:
        """The unique name that owns `name` now, "" where nobody does. Does not start it.

        Raises:
            BusGone, NoReply: the bus itself has gone or hangs.
        """
        try:
            return str((await self._driver("GetNameOwner", "s", name))[0])
        except BusError as error:
            if error.absent:
                return ""
            raise

    async def own(self, name: str) -> bool:
        """Asks for a well-known name, without waiting in line; False where somebody else has it."""
        answer = (await self._driver("RequestName", "su", name, DO_NOT_QUEUE))[0]
        return answer in (PRIMARY_OWNER, ALREADY_OWNER)

    async def disown(self, name: str) -> None:
        """Gives a well-known name back."""
        await self._driver("ReleaseName", "s", name)

    async def _driver(self, member: str, signature: str, *body: Any) -> list[Any]:
        return await self.call(DRIVER, DRIVER_PATH, DRIVER, member, signature, *body)

    async def _exchange(self, message: Message, timeout: float, what: str) -> Message:
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[message.serial] = answer
        try:
            self._post(message)
            async with asyncio.timeout(timeout):
                return await answer
        except TimeoutError:
            raise NoReply(f"{what}: no answer within {timeout:g} s") from None
        finally:
            del self._waiting[message.serial]

    # Hearing

    async def subscribe(self, match: Match, handler: Callable[[Signal], None]) -> Subscription:
        """Calls `handler` for each signal that `match` covers, from this moment on.

        A signal that claims to be the sender's but is not is not handed on. `handler` must not raise; what it
        raises is logged.

        Raises:
            BusGone, NoReply: the bus has gone or hangs.
        """
        subscription = Subscription(self, match, handler)
        if match.sender and not match.sender.startswith(":") and match.sender != DRIVER:
            subscription.owner = "?"  # nobody yet
            subscription.follows = await self.watch_name(
                match.sender, lambda owner: setattr(subscription, "owner", owner or "?")
            )
        elif match.sender:
            subscription.owner = match.sender
        self._subscriptions.append(subscription)
        rule = match.rule()
        self._rules[rule] = self._rules.get(rule, 0) + 1
        if self._rules[rule] == 1:
            await self._driver("AddMatch", "s", rule)
        return subscription

    async def watch_name(self, name: str, handler: Callable[[str], None]) -> Subscription:
        """Calls `handler` with the unique name that owns `name` ("": nobody), now and at every change.

        Raises:
            BusGone, NoReply: the bus has gone or hangs.
        """
        match = Match(sender=DRIVER, path=DRIVER_PATH, interface=DRIVER, member="NameOwnerChanged", arg0=name)
        changes = 0

        def changed(signal: Signal) -> None:
            nonlocal changes
            changes += 1
            handler(str(signal.body[2]))

        subscription = await self.subscribe(match, changed)
        owner = await self.owner(name)
        if not changes:  # else the newest change is newer than this answer, or the same
            handler(owner)
        return subscription

    async def _forget(self, subscription: Subscription) -> None:
        if subscription not in self._subscriptions:
            return
        self._subscriptions.remove(subscription)
        rule = subscription.match.rule()
        self._rules[rule] -= 1
        if self._rules[rule] == 0:
            del self._rules[rule]
            with contextlib.suppress(BusError):
                await self._driver("RemoveMatch", "s", rule)

    # Speaking

    def emit(self, path: str, interface: str, member: str, signature: str = "", *body: Any) -> None:
        """Broadcasts a signal; where the bus has gone, nobody hears it."""
        with contextlib.suppress(BusGone):
            self._post(Message.new_signal(path, interface, member, signature, list(body), []))

    def serve(self, handler: Callable[[Call], Answer | Awaitable[Answer]]) -> None:
        """Lets `handler` answer every method call made on this connection.

        It answers at once or gives something to await; `CallRefused` becomes the error it names. Anything
        else that it raises is logged and answered with `org.freedesktop.DBus.Error.Failed`, without details.
        """
        self._serve = handler

    async def flush(self, *, timeout: float = TIMEOUT) -> None:
        """Waits until everything said before was handed to the bus and the bus has dealt with it.

        Raises:
            BusGone, NoReply: the bus has gone or hangs.
        """
        await self.call(DRIVER, DRIVER_PATH, "org.freedesktop.DBus.Peer", "Ping", timeout=timeout)

    def _post(self, message: Message) -> asyncio.Future[None]:
        """Queues a message; the future is done once it was written, or the bus has gone."""
        if not self.connected:
            raise BusGone("the message bus has gone away")
        message.body = _sayable(message.body)
        message.signature_tree.verify(message.body)  # a wrong value fails here, not in the writer's callback
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((message, written))
        if self._writing is None:
            self._write_next()
        return written

    def _write_next(self) -> None:
        self._writing = None
        if not self._queue or not self.connected:
            return
        message, written = self._queue.popleft()
        self._writing = written

        def done(future: asyncio.Future[None]) -> None:
            if not future.cancelled():
                future.exception()  # the bus has gone: `_ended` has told everybody
            if not written.done():
                written.set_result(None)
            self._write_next()

        self._wire.send(message).add_done_callback(done)

    # What comes in

    def _arrived(self, message: Message) -> bool:
        """The library's one handler; True keeps the library from acting on the message itself."""
        match message.message_type:
            case MessageType.METHOD_RETURN | MessageType.ERROR:
                answer = self._waiting.get(message.reply_serial)
                if answer is None or answer.done():
                    _close_all(message.unix_fds)
                    return False  # the library's own Hello, or a call that was given up
                answer.set_result(message)
            case MessageType.SIGNAL:
                _close_all(message.unix_fds)
                self._heard(_signal(message))
                return False  # the library follows NameOwnerChanged
            case MessageType.METHOD_CALL:
                _close_all(message.unix_fds)
                self._called(message)
        return True

    def _heard(self, signal: Signal) -> None:
        for subscription in tuple(self._subscriptions):
            if not subscription.match.covers(signal, subscription.owner):
                continue
            try:
                subscription.handler(signal)
            except Exception:
                log.exception("handling the signal %s failed", signal.member)

    def _called(self, message: Message) -> None:
        call = Call(
            sender=str(message.sender),
            path=str(message.path),
            interface=message.interface or "",
            member=str(message.member),
            signature=str(message.signature),
            body=plain(message.body),
            variants=message.body,
        )
        if self._serve is None:
            unknown = "org.freedesktop.DBus.Error.UnknownMethod"
            self._reply(message, CallRefused(unknown, "nothing is exported here"))
            return
        try:
            outcome = self._serve(call)
        except Exception as error:  # noqa: BLE001  # whatever it is, the caller gets an answer and the log the rest
            self._reply(message, error)
            return
        if isinstance(outcome, Answer):
            self._reply(message, outcome)
            return
        task = asyncio.ensure_future(self._answer(message, outcome))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self, message: Message, outcome: Awaitable[Answer]) -> None:
        try:
            answer: Answer | Exception = await outcome
        except Exception as error:  # noqa: BLE001  # as in `_called`
            answer = error
        self._reply(message, answer)

    def _reply(self, message: Message, outcome: Answer | Exception) -> None:
        fds = outcome.fds if isinstance(outcome, Answer) else ()
        reply = _as_message(message, outcome)
        try:
            if message.flags & MessageFlag.NO_REPLY_EXPECTED:
                _close_all(fds)
                return
            self._post(reply).add_done_callback(lambda _: _close_all(fds))
        except BusGone:
            _close_all(fds)
        except Exception as error:  # noqa: BLE001  # an answer that does not fit its signature
            _close_all(fds)
            if isinstance(outcome, Answer):
                self._reply(message, error)

    def _ended(self) -> None:
        """The bus went away, or we left it: tells everybody who waits."""
        self._closed.set_result(None)
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(BusGone("the message bus has gone away"))
        for written in (self._writing, *(written for _, written in self._queue)):
            if written is not None and not written.done():
                written.set_result(None)
        self._queue.clear()
        for task in self._answering:
            task.cancel()


def _signal(message: Message) -> Signal:
    return Signal(
        sender=str(message.sender),
        path=str(message.path),
        interface=str(message.interface),
        member=str(message.member),
        body=plain(message.body),
    )


def _as_message(call: Message, outcome: Answer | Exception) -> Message:
    if isinstance(outcome, Answer):
        return Message.new_method_return(call, outcome.signature, list(outcome.body), list(outcome.fds))
    if isinstance(outcome, CallRefused):
        return Message.new_error(call, outcome.name, outcome.what)
    # Never the traceback to the caller: it names files. It is in the log.
    log.error("answering %s failed", call.member, exc_info=outcome)
    return Message.new_error(call, "org.freedesktop.DBus.Error.Failed", "an internal error; the log says more")


def _claim(message: Message) -> list[Any]:
    """An answer's plain values, each top-level "h" replaced by its descriptor; the others are closed."""
    kinds = [kind.signature for kind in message.signature_tree.types]
    claimed: set[int] = set()
    values: list[Any] = []
    for kind, value in zip(kinds, message.body, strict=True):
        if kind == "h" and value < len(message.unix_fds):
            fd = message.unix_fds[value]
            os.set_inheritable(fd, False)  # noqa: FBT003  # the standard library's signature
            claimed.add(fd)
            values.append(fd)
        else:
            values.append(plain(value))
    _close_all([fd for fd in message.unix_fds if fd not in claimed])
    return values


def _close_all(fds: Sequence[int]) -> None:
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)


def variants(values: Mapping[str, tuple[str, Any]]) -> dict[str, Variant]:
    """An `a{sv}` from name to (signature, value)."""
    return {name: Variant(signature, value) for name, (signature, value) in values.items()}
