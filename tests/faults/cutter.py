"""A relay on loopback that cuts connections at a byte, whatever they carry: also in the middle of a TLS handshake."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from typing import Self

_BLOCK = 65536


@dataclass(frozen=True)
class Cut:
    """Where a connection ends: after so many bytes of the client's ("up") or of the server's ("down")."""

    direction: Literal["up", "down"]
    after: int


class Cutter:
    """One relay to another port; `cuts` befall the next connections, one each.

    Attributes:
        port: its own.
        made: how many cuts were made.
    """

    def __init__(self, upstream: int) -> None:
        self.cuts: list[Cut] = []
        self.made = 0
        self._upstream = upstream
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._begin(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        """Hangs up on everybody and waits until its threads have ended."""
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        with self._lock:
            for sock in self._open:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(20)

    def _begin(self, work, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, name="cutter", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
                server = socket.create_connection(("127.0.0.1", self._upstream))
            except OSError:
                return
            cut = self.cuts.pop(0) if self.cuts else None
            with self._lock:
                self._open |= {client, server}
            self._begin(self._relay, client, server, "up", cut)
            self._begin(self._relay, server, client, "down", cut)

    def _relay(self, source: socket.socket, target: socket.socket, direction: str, cut: Cut | None) -> None:
        left = cut.after if cut and cut.direction == direction else None
        try:
            while block := source.recv(_BLOCK if left is None else min(_BLOCK, max(1, left))):
                if left is not None:
                    target.sendall(block[:left])
                    left -= len(block)
                    if left <= 0:
                        self._break(source, target)
                        break
                else:
                    target.sendall(block)
        except OSError:
            pass
        for sock in (source, target):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _break(self, *pair: socket.socket) -> None:
        with self._lock:
            self.made += 1
        for sock in pair:
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.close()
