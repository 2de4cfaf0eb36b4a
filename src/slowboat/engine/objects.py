"""What is done with the objects of a migration: asked about, sent, kept from expiring, and brought to an end.

Knows how the courier's news of one object are written down: bytes, segments, hashes, and what they tell of the line.
Must not know why an object's turn has come, nor what a failure means for the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slowboat.core import segmenting
from slowboat.core.account import is_removed
from slowboat.core.words import Event, Limits, Phase, RemoteObject
from slowboat.engine import facts, target
from slowboat.engine.courier import Courier, Freight
from slowboat.engine.meter import Meter

if TYPE_CHECKING:
    from collections.abc import Callable

    from slowboat.engine.context import Context


class Objects:
    """The objects of one migration, on their way."""

    def __init__(
        self,
        context: Context,
        *,
        may_begin: Callable[[int], bool],
        spent: Callable[[int], None],
        largest_piece: Callable[[], int | None],
    ) -> None:
        """Touches nothing yet.

        Args:
            context: what the parts of the migration share.
            may_begin: answers whether a request of so many bytes may be begun now.
            spent: told bytes that went over the line, from any thread.
            largest_piece: the most bytes that one request should have now; None: any number.
        """
        self._context = context
        self._may_begin = may_begin
        self._spent = spent
        self._largest_piece = largest_piece
        self._meter = Meter()
        self._marks: dict[str, float] = {}  # when each lane was last confirmed something, by the steady clock
        self._courier: Courier | None = None

    def rate(self) -> int:
        """Bytes per second now; to be asked about once a second while something is sent."""
        return self._meter.rate(self._context.tools.steady())

    def in_flight(self) -> int:
        """Bytes handed over in requests that have no answer yet."""
        return self._meter.under_way()

    def rest(self) -> None:
        """Nothing is being sent."""
        self._meter.rest()

    def settle(self, name: str) -> None:
        """Books the bytes of an object that is no longer under way, and leaves it not SENDING."""
        self._meter.answered(name)
        self.book()
        self._marks.pop(name, None)
        if self._context.memory.item(name).phase is Phase.SENDING:
            self._context.memory.happened(name, Event.INTERRUPTED)

    def book(self, at_least: int = 1) -> None:
        """Writes down what went over the line, confirmed or not, where it is so many bytes."""
        for name, count in self._meter.book(at_least).items():
            self._context.memory.sent(name, count)

    def line_broke(self, name: str, seconds: float) -> None:
        """The world interrupted what was on the line, `seconds` after the action on `name` began."""
        if self._meter.under_way():
            since = self._context.tools.steady() - self._marks[name] if name in self._marks else seconds
            self._context.memory.estimate = self._context.memory.estimate.broke(since, len(self._marks))

    async def _ready_courier(self) -> Courier:
        if self._courier is None:
            # a "no" may have been a passing trouble: the next run asks again
            concatenates = self._context.memory.get(facts.COPIES_CONCATENATE)
            if not concatenates:
                concatenates = await self._context.tools.store.copies_concatenate()
                self._context.memory.remember(facts.COPIES_CONCATENATE, concatenates)
            self._courier = Courier(
                self._context.tools.source,
                self._context.tools.store,
                self._context.order.target.prefix,
                concatenates=concatenates,
            )
        return self._courier

    async def check(self, name: str) -> None:
        """What stands at one object's name: ours, nothing, or (Refused) something else."""
        item, courier = self._context.memory.item(name), await self._ready_courier()
        found = await target.check(self._context, courier, item)
        if found is None:
            (self._context.observed.objects or {}).pop(name, None)
            self._context.memory.happened(name, Event.ABSENT)
            return
        stands, md5 = found
        self._confirm(name, stands, md5)
        if item.segment:
            await courier.sweep(item)

    async def send(self, name: str) -> None:
        """Brings one object to the target, unless its set's metadata is gone from there. Raises as the courier does."""
        item = self._context.memory.item(name)
        if not await target.set_still_stands(self._context, item):
            self._context.observed.objects = None  # look first, then decide again
            return
        courier = await self._ready_courier()
        self._context.memory.happened(name, Event.STARTED)
        most = self._largest_piece()
        estimate = (
            self._context.memory.estimate
            if most is None
            else segmenting.in_pieces_of(self._context.memory.estimate, most)
        )
        md5 = await courier.carry(item, estimate, self._context.observed.limits or Limits(), self._freight(name))
        self._confirm(name, RemoteObject(self._context.full_name(name), item.file.size, md5), md5)

    async def renew(self, name: str) -> None:
        """Keeps the segments of an object that is begun from expiring."""
        courier, now = await self._ready_courier(), self._context.tools.now()
        await courier.renew(self._context.memory.item(name), now)
        self._context.observed.renewed[name] = now

    def _freight(self, name: str) -> Freight:
        """What the courier tells of one object, and where it is written down."""
        partly = self._context.observed.partly
        walked = 0  # what a former trip saw confirmed counts until this one has come as far
        self._context.observed.renewed[name] = self._context.tools.now()  # whoever sends looks after them as well
        self._marks[name] = self._context.tools.steady()

        def progress(count: int) -> None:
            self._meter.add(name, count)
            self._spent(count)

        def confirmed(length: int) -> None:
            nonlocal walked
            walked += length
            now, count = self._context.tools.steady(), self._meter.answered(name)
            if count:
                self._context.memory.estimate = self._context.memory.estimate.sent(
                    count, now - self._marks[name], len(self._marks)
                )
            self._marks[name] = now
            if walked > partly.get(name, 0):
                partly[name] = walked
                self._context.memory.remember(facts.PARTLY, dict(partly))

        return Freight(
            now=self._context.tools.now(),
            progress=progress,
            confirmed=confirmed,
            begun=lambda segment: self._context.memory.begun_segments(name, segment),
            known=lambda md5: self._context.memory.learned(name, md5),
            may_begin=self._may_begin,
        )

    def _confirm(self, name: str, stands: RemoteObject, md5: str) -> None:
        self._context.memory.happened(name, Event.CONFIRMED, md5=md5)
        self._context.observed.confirmed_at = self._context.tools.now()
        if self._context.observed.partly.pop(name, None):
            self._context.memory.remember(facts.PARTLY, dict(self._context.observed.partly))
        self._context.observed.object_waits.pop(name, None)
        if self._context.observed.objects is not None:
            self._context.observed.objects[name] = stands

    async def finish(self) -> None:
        """The end, seen in one listing: sweep what is left of our segments, and tell."""
        courier = await self._ready_courier()
        for item in self._context.memory.items:
            if item.segment and item.phase is Phase.DONE:
                await courier.sweep(item)
        self._context.memory.remember(facts.FINISHED_AT, self._context.tools.now())
        left = [item for item in self._context.memory.items if item.phase is Phase.REFUSED]
        refused = [item.name for item in left if not is_removed(item)]
        if left and not refused:
            title = f"{self._context.order.name}: the backup is in the cloud"
            text = (
                f"Everything is at {self._context.url} but {len(left)} files of backups that were removed from there."
            )
        elif refused:
            title = f"{self._context.order.name}: all but {len(refused)} files are in the cloud"
            text = f"These could not be moved to {self._context.url}: {', '.join(refused[:3])}. Keep the drive."
        else:
            title = f"{self._context.order.name}: the backup is in the cloud"
            text = f"Every file is at {self._context.url}, confirmed. The drive is no longer the only copy."
        self._context.tell("done", "done", title, text, urgent=bool(refused))
