"""The faulty proxy before the real Swift, for tests that wait for a daemon and are no coroutines themselves."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import unquote

from faults import FaultProxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faults import Request

_DATA = re.compile(r"^(?:/v1/[^/]+|/swift/v1)/(?P<container>[^/?]+)/(?P<name>[^?]+)$")
"""Of an object at Swift, whose addresses name the account, or at Ceph's gateway, whose do not."""


class Wire(FaultProxy):
    """A FaultProxy that runs in a thread of its own; rules may be made and requests looked at from outside."""

    def came(self, method: str, path: str = "", count: int = 1, timeout: float = 60) -> list[Request]:
        """Waits until that many such requests have come."""
        end = time.monotonic() + timeout
        while len(found := self.asked(method, path)) < count:
            assert time.monotonic() < end, f"{method} {path} did not come: {self.told()}"
            time.sleep(0.01)
        return found

    def stored(self) -> list[str]:
        """Container and name of every body that the server has confirmed, in that order; doubles show."""
        found = []
        for each in self.requests:
            match = _DATA.match(each.path)
            if match and each.method == "PUT" and each.status == 201 and "x-copy-from" not in each.headers:
                found.append(f"{match['container']}/{unquote(match['name'])}")
        return found

    def kept(self, name: str, count: int, timeout: float = 60) -> list[str]:
        """Waits until the server has confirmed so many bodies whose names match."""
        end = time.monotonic() + timeout
        while len(found := [each for each in self.stored() if re.search(name, each)]) < count:
            assert time.monotonic() < end, f"{name} was not stored: {self.told()}"
            time.sleep(0.01)
        return found

    def told(self) -> str:
        """What came, for a failure's message."""
        return "\n".join(f"{r.method} {r.path} {r.body_bytes} -> {r.status}" for r in self.requests[-200:])


@contextmanager
def wire_to(port: int) -> Iterator[Wire]:
    """A proxy before that port until the block ends."""
    wire, loop = Wire(port), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(wire.__aenter__(), loop).result(10)
    try:
        yield wire
    finally:
        asyncio.run_coroutine_threadsafe(wire.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
