"""One connection to a bus: calls, signals, names, and calls that others make on us.

Knows the bus's own methods; must not know any service, nor the library's classes but by `library`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from slowboat.edges.dbus.addresses import session_address, system_address
from slowboat.edges.dbus.errors import BusError, BusGone, CallRefused, NoReply
from slowboat.edges.dbus.library import (
    Message,
    MessageFlag,
    MessageType,
    PatchedBus,
    as_call,
    as_message,
    as_signal,
    claim,
    close_all,
    sayable,
)
from slowboat.edges.dbus.messages import Answer, Call, Match, Signal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

log = logging.getLogger(__name__)

Which = Literal["session", "system"]

TIMEOUT: Final = 5.0
"""Seconds for a call to be answered: long for any desktop service that is alive, short for a person."""

DRIVER: Final = "org.freedesktop.DBus"
DRIVER_PATH: Final = "/org/freedesktop/DBus"
PROPERTIES: Final = "org.freedesktop.DBus.Properties"
OBJECT_MANAGER: Final = "org.freedesktop.DBus.ObjectManager"

DO_NOT_QUEUE: Final = 4  # https://dbus.freedesktop.org/doc/dbus-specification.html#bus-messages-request-name
PRIMARY_OWNER: Final = 1  # same table: what RequestName answers
ALREADY_OWNER: Final = 4


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
        self._wire = PatchedBus(address, self._ended)
        self._wire.add_message_handler(self._arrived)

    @classmethod
    async def open(cls, which: Which = "session", *, address: str = "", timeout: float = TIMEOUT) -> Self:
        """Connects to a bus.

        Args:
            which: the session bus or the system bus.
            address: another bus's address instead.
            timeout: seconds until it must have answered.

        Raises:
            BusGone: there is none, or it does not respond.
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
            raise BusGone(f"the {which} bus does not respond ({type(error).__name__})") from error
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
            close_all(reply.unix_fds)
            text = str(reply.body[0]) if reply.body else ""
            short = str(reply.error_name).rpartition(".")[2]
            raise BusError(f"{destination} refused {member} ({short})", name=str(reply.error_name), text=text)
        return claim(reply)

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
        message.body = sayable(message.body)
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
                    close_all(message.unix_fds)
                    return False  # the library's own Hello, or a call that was given up
                answer.set_result(message)
            case MessageType.SIGNAL:
                close_all(message.unix_fds)
                self._heard(as_signal(message))
                return False  # the library follows NameOwnerChanged
            case MessageType.METHOD_CALL:
                close_all(message.unix_fds)
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
        if self._serve is None:
            unknown = "org.freedesktop.DBus.Error.UnknownMethod"
            self._reply(message, CallRefused(unknown, "nothing is exported here"))
            return
        try:
            outcome = self._serve(as_call(message))
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
        reply = as_message(message, outcome)
        try:
            if message.flags & MessageFlag.NO_REPLY_EXPECTED:
                close_all(fds)
                return
            self._post(reply).add_done_callback(lambda _: close_all(fds))
        except BusGone:
            close_all(fds)
        except Exception as error:  # noqa: BLE001  # an answer that does not fit its signature
            close_all(fds)
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
