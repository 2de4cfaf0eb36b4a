"""A bounded number of threads, each with a connection of its own, whose work can be broken off at once.

Knows threads, asyncio, and that a wire can be cut; must not know HTTP or Swift. Cancelling the caller cuts the
wire, waits until the thread has let go, and only then goes on.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from slowboat.core.errors import Stopped

if TYPE_CHECKING:
    from collections.abc import Callable

    from slowboat.edges.swift.wire import Wire

T = TypeVar("T")


class Lanes:
    """Runs work in threads, each piece with a wire that nobody else uses meanwhile.

    Args:
        count: the most threads, and idle wires.
        make: makes a wire; called in a thread.
    """

    def __init__(self, count: int, make: Callable[[], Wire]) -> None:
        self._count = count
        self._pool = self._new_pool()
        self._make = make
        self._lock = threading.Lock()
        self._idle: list[Wire] = []
        self._age = 0
        self._jobs: dict[_Job[Any], asyncio.Future[Any]] = {}
        self._closed = False

    async def run(self, work: Callable[[Wire], T]) -> T:
        """Does `work` in a thread and returns what it returns.

        Raises:
            Stopped: the lanes were closed.
            asyncio.CancelledError: broken off; the thread has let go of the wire.
            What `work` raises.
        """
        if self._closed:
            raise Stopped("the connection to the server is closed")
        job = _Job(self, work)
        pending = self._pool.submit(job)
        waiting = asyncio.wrap_future(pending)
        self._jobs[job] = waiting
        try:
            await asyncio.wait([waiting])  # a shield's error, once nobody waits for it, Python 3.14 logs by itself
        except asyncio.CancelledError:
            if not pending.cancel():  # it has begun
                job.abort()
            await _ended(waiting)
            raise
        finally:
            del self._jobs[job]
        return waiting.result()

    def lease(self) -> tuple[Wire, int]:
        """An idle wire or a new one, and the age to give it back with."""
        with self._lock:
            if self._idle:
                return self._idle.pop(), self._age
            age = self._age
        return self._make(), age

    def give_back(self, wire: Wire, age: int) -> None:
        """Keeps a wire for the next piece of work, or closes it where it is from before `forget`."""
        with self._lock:
            fresh = age == self._age and not self._closed
            if fresh:
                self._idle.append(wire)
        if not fresh:
            wire.close()

    def forget(self) -> None:
        """Closes the idle wires, and those in use once they are given back."""
        with self._lock:
            self._age += 1
            old, self._idle = self._idle, []
        for wire in old:
            wire.close()

    def release(self) -> None:
        """Lets go of threads and idle wires, where nothing is under way; the next work makes new ones."""
        if self._jobs or self._closed:
            return
        idle, self._pool = self._pool, self._new_pool()
        idle.shutdown(wait=False)
        self.forget()

    def _new_pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._count, thread_name_prefix="slowboat-swift")

    async def close(self) -> None:
        """Breaks off all work and waits until every thread has let go."""
        self._closed = True
        for job in tuple(self._jobs):
            job.abort()
        for waiting in tuple(self._jobs.values()):
            await _ended(waiting)
        self.forget()
        self._pool.shutdown(wait=False)


class _Job(Generic[T]):
    """One piece of work and the wire it has."""

    def __init__(self, lanes: Lanes, work: Callable[[Wire], T]) -> None:
        self._lanes = lanes
        self._work = work
        self._lock = threading.Lock()
        self._wire: Wire | None = None
        self._aborted = False

    def __call__(self) -> T:
        wire, age = self._lanes.lease()
        try:
            self._hold(wire)
            result = self._work(wire)
        except BaseException:
            # Whatever went wrong, bytes of it may be left on the connection.
            wire.close()
            if not self._aborted:
                raise
        else:
            self._hold(None)
            if not wire.aborted:
                self._lanes.give_back(wire, age)
            return result
        raise Stopped("the transfer was broken off")

    def abort(self) -> None:
        """Cuts the wire it has, or will get."""
        with self._lock:
            self._aborted = True
            wire = self._wire
        if wire is not None:
            wire.abort()

    def _hold(self, wire: Wire | None) -> None:
        with self._lock:
            self._wire = wire
            aborted = self._aborted
        if aborted and wire is not None:
            wire.abort()
            raise Stopped("the transfer was broken off")


async def _ended(waiting: asyncio.Future[Any]) -> None:
    """Waits for a thread's end, whoever cancels us meanwhile: its socket must be gone when we are."""
    while not waiting.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([waiting])
    if not waiting.cancelled():
        waiting.exception()  # looked at: asyncio warns of errors that nobody saw
