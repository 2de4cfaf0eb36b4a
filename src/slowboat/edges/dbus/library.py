"""The one module that knows the D-Bus library.

Knows dbus-next 0.2.3 and its traps. dbus-next is no longer maintained, so only its smallest part is used
(connect, send, one handler for every message); proxies, exported interfaces and its handling of replies are not.
dbus-fast has the same part under the same names: to change over, change the imports and what `PatchedBus` overrides.

What dbus-next gets wrong, and is put right here and in `connection`
(https://github.com/altdesktop/python-dbus-next):

- importing it fails from Python 3.15 on, and warns from 3.13 on (`typing.no_type_check_decorator`);
- a call after the bus has died never returns, and one that was given up leaves its handler behind;
- a bus that hangs up during authentication makes it read nothing for ever without yielding;
- a socket buffer that is full between two messages ends the connection: `connection` writes one at a time;
- sockets stay open after a disconnect, and received file descriptors that nobody asked for as well;
- `$XDG_RUNTIME_DIR/bus`, where the specification lets a session bus stand, is not looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import socket
import typing
from typing import TYPE_CHECKING, Any

from slowboat.edges.dbus.addresses import socket_name
from slowboat.edges.dbus.errors import CallRefused
from slowboat.edges.dbus.messages import Answer, Call, Signal

# Deprecated in Python 3.13 and gone in 3.15 (https://github.com/python/cpython/issues/106309); dbus-next only
# decorates with it, and does nothing with what it decorated.
typing.no_type_check_decorator = lambda decorator: decorator

from dbus_next.aio.message_bus import MessageBus  # noqa: E402  # the line above must run first
from dbus_next.constants import MessageFlag, MessageType  # noqa: E402  # as above
from dbus_next.message import Message  # noqa: E402  # as above
from dbus_next.signature import Variant  # noqa: E402  # as above

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "Message",
    "MessageFlag",
    "MessageType",
    "PatchedBus",
    "Variant",
    "as_call",
    "as_message",
    "as_signal",
    "claim",
    "close_all",
    "plain",
    "sayable",
]

log = logging.getLogger(__name__)


class PatchedBus(MessageBus):
    """dbus-next's connection with four of its private parts put right (see the module's docstring)."""

    def __init__(self, address: str, ended: Callable[[], None]) -> None:
        self._name = socket_name(address)
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


def plain(value: Any) -> Any:
    """A value without its variants, all the way down."""
    if isinstance(value, Variant):
        return plain(value.value)
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return value


_UNSAYABLE = re.compile("[\0\ud800-\udc7f\udd00-\udfff]")
"""A null, and the surrogates that stand for no byte of a file name."""


def sayable(value: Any) -> Any:
    """A value whose texts the bus carries: it ends the connection of who sends a null or broken UTF-8.

    File names may hold either broken bytes (as surrogates, os.fsdecode) or anything else but a null; what a server
    says may hold any surrogate.
    https://dbus.freedesktop.org/doc/dbus-specification.html#basic-types
    """
    if isinstance(value, str):
        return _UNSAYABLE.sub("\ufffd", value).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if isinstance(value, Variant):
        return Variant(value.signature, sayable(value.value))
    if isinstance(value, list | tuple):
        return [sayable(each) for each in value]
    if isinstance(value, dict):
        return {sayable(key): sayable(each) for key, each in value.items()}
    return value


def as_signal(message: Message) -> Signal:
    """A signal as it came."""
    return Signal(
        sender=str(message.sender),
        path=str(message.path),
        interface=str(message.interface),
        member=str(message.member),
        body=plain(message.body),
    )


def as_call(message: Message) -> Call:
    """A method call as it came."""
    return Call(
        sender=str(message.sender),
        path=str(message.path),
        interface=message.interface or "",
        member=str(message.member),
        signature=str(message.signature),
        body=plain(message.body),
        variants=message.body,
    )


def as_message(call: Message, outcome: Answer | Exception) -> Message:
    """The reply to a call: an answer, or the error that it ended with."""
    if isinstance(outcome, Answer):
        return Message.new_method_return(call, outcome.signature, list(outcome.body), list(outcome.fds))
    if isinstance(outcome, CallRefused):
        return Message.new_error(call, outcome.name, outcome.what)
    # Never the traceback to the caller: it names files. It is in the log.
    log.error("answering %s failed", call.member, exc_info=outcome)
    return Message.new_error(call, "org.freedesktop.DBus.Error.Failed", "an internal error; the log says more")


def claim(message: Message) -> list[Any]:
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
    close_all([fd for fd in message.unix_fds if fd not in claimed])
    return values


def close_all(fds: Sequence[int]) -> None:
    """Closes what may be closed already."""
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)
