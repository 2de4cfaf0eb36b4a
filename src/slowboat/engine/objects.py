"""What is done with the objects of a migration: asked about, sent, kept from expiring, and brought to an end.

Knows how the courier's news of one object are written down: bytes, segments, hashes, and what they tell of the line.
Must not know why an object's turn has come, nor what a failure means for the others.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from slowboat.core import segmenting
from slowboat.core.account import keep, promise
from slowboat.core.capabilities import lives_in_segments
from slowboat.core.errors import Refused, Transient, Unrecorded
from slowboat.core.roster import SETTLED, is_removed
from slowboat.core.words import Event, HandoverState, Phase
from slowboat.core.worth import Worth
from slowboat.engine import facts, parted, target
from slowboat.engine.courier import Courier, Freight
from slowboat.engine.meter import Meter
from slowboat.engine.probing import Probing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from slowboat.core.words import Item, SetId
    from slowboat.engine.context import Context
    from slowboat.engine.courier import Standing

DOUBTED = frozenset({"not-slo", "slo-copied", "mismatch", "bad-request"})
"""Codes with which a store shows that it may not be as its probe has shown it."""
CHEAP = 1 << 20
"""Bytes of an object that may be paid for twice where a kill comes before it is on the disk that it was begun, and the
listing lags after it; as much as may be lost of what is counted."""
DUPLICITY_RUNS = "duplicity-running"
"""The code of the error where duplicity holds the lock on one of its caches."""


class Objects:
    """The objects of one migration, on their way."""

    def __init__(
        self,
        context: Context,
        *,
        may_begin: Callable[[int], bool],
        spent: Callable[[int], None],
        largest_piece: Callable[[], int | None],
        wake: Callable[[], None],
    ) -> None:
        """Touches nothing yet.

        Args:
            context: what the parts of the migration share.
            may_begin: answers whether a request of so many bytes may be begun now.
            spent: told bytes that went over the line, from any thread.
            largest_piece: the most bytes that one request should have now; None: any number.
            wake: called where another object may be begun now.
        """
        self._context = context
        self._may_begin = may_begin
        self._spent = spent
        self._largest_piece = largest_piece
        self._wake = wake
        self._meter = Meter()
        self._marks: dict[str, float] = {}  # by object: the first byte on the line since the last answer, steady clock
        self._courier = Courier(context.tools.source, context.tools.store, context.order.target.prefix)
        self.probing = Probing(context)
        self.accompanied: set[str] = set()  # objects that go up with another one, under its name among the busy
        self.ending: set[str] = set()  # objects whose last body is on the line, or there: the next one gets ready

    def rate(self) -> int:
        """Bytes per second now; to be asked about once a second while something is sent."""
        return self._meter.rate(self._context.tools.steady())

    def in_flight(self) -> int:
        """Bytes handed over in requests that have no answer yet."""
        return self._meter.under_way()

    def stopped(self) -> None:
        """Nothing is being sent."""
        self._meter.stopped()

    def settle(self, name: str) -> None:
        """Books the bytes of an object that is no longer under way, and leaves it not SENDING."""
        self._meter.answered(name)
        self.book()
        self._marks.pop(name, None)
        self.ending.discard(name)
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

    async def check(self, name: str) -> None:
        """What stands at one object's name: ours, nothing, or (Refused) something else."""
        item = self._context.memory.item(name)
        found = await target.check(self._context, self._courier, item)
        if found is None or not found.whole:
            (self._context.observed.objects or {}).pop(name, None)
            self._context.memory.happened(name, Event.ABSENT)
        if found is None:
            return
        if not found.whole:
            self._context.memory.begun_segments(name, found.segment)
            self._context.memory.note(
                "segments-gone", f"The server has lost parts of {name}; slowboat sends them again"
            )
            return
        self._confirm(name, found)
        if item.segment and not found.slo_md5:
            await self._courier.sweep(item)

    async def send(self, name: str) -> None:
        """Brings one object to the target, unless its set's metadata is gone from there. Raises as the courier does."""
        item = self._context.memory.item(name)
        if item.role.is_metadata and item.set_id in parted.new_there(self._context):
            await self._send_new_set(name, item.set_id)
        elif await target.set_still_stands(self._context, item):
            await self._carry(name)
        else:
            self._context.observed.objects = None  # look first, then decide again

    async def _send_new_set(self, first: str, set_id: SetId) -> None:
        """Brings the metadata of a set to where duplicity may back up to as well: all of it, or as little as can be.

        A backup straight to the target that begins meanwhile would fail on signatures without their manifest, or make
        a second set upon the same one, after which no incremental works there (docs/duplicity.md, "Order"). So
        duplicity is kept off, and the target is looked at before. What is wrong with another file than the `first` is
        found out once more when its own turn comes.
        """
        try:
            async with self._context.tools.cache.kept_off() as still:
                await target.observe(self._context, kept_off=True)
                for item in self._absent_metadata(set_id):
                    still()
                    self.accompanied.add(item.name)
                    await self._carry(item.name)
            if self._context.memory.handover is HandoverState.DONE:
                self._context.memory.remember(facts.MEND_AT, self._context.tools.now())
        except Unrecorded:
            raise
        except Refused:
            if self._context.memory.item(first).phase is not Phase.DONE:
                raise
        except Transient as error:
            if error.code != DUPLICITY_RUNS:
                raise
            self._context.observed.postponed |= parted.new_there(self._context)  # the volumes go on meanwhile
        finally:
            for name in self.accompanied:
                self.settle(name)
            self.accompanied.clear()

    def _absent_metadata(self, set_id: SetId) -> Sequence[Item]:
        """What is to be sent of a set's metadata after a look at the target; () where it does not fit there now."""
        observed = self._context.observed
        if set_id in observed.postponed:
            return ()
        queued = (i for i in self._context.newest_metadata() if i.set_id == set_id and i.phase is Phase.QUEUED)
        return [item for item in queued if item.name not in (observed.objects or {})]

    async def _carry(self, name: str) -> None:
        item = self._context.memory.item(name)
        means = await self.probing.means(item.file.size, self._largest_piece())
        self._context.memory.happened(name, Event.STARTED)
        if item.file.size > CHEAP:
            self._context.memory.ledger.commit()  # before its first byte may be on the line
        try:
            found = await self._courier.carry(item, means, self._freight(name))
            if item.file.size >= segmenting.SMALLEST:  # the kernel alone takes more of a smaller one
                self._measure(name, 1)
            self._confirm(name, found)
        except (Refused, Transient) as error:
            if error.code in DOUBTED:
                self.probing.doubt()
            elif error.code == "cramped":
                self.probing.cramped()
            raise

    async def renew(self, name: str) -> None:
        """Keeps the segments of an object that is begun from expiring."""
        now = self._context.tools.now()
        await self._courier.renew(self._context.memory.item(name), now)
        self._context.observed.renewed[name] = now

    def _freight(self, name: str) -> Freight:
        """What the courier tells of one object, and where it is written down."""
        cheap = self._context.memory.item(name).file.size <= CHEAP
        partly = self._context.observed.partly
        abreast = 1
        walked = 0  # what a former trip saw confirmed counts until this one has come as far
        self._context.observed.renewed[name] = self._context.tools.now()  # whoever sends looks after them as well
        ends = False  # its last body is under way
        # Of a small object there is nothing to get ready beside; and a budget is asked for one piece after another.
        overlaps = self._context.memory.item(name).file.size > segmenting.SMALLEST and self._largest_piece() is None
        loop = asyncio.get_running_loop()

        def last() -> None:
            nonlocal ends
            ends = overlaps

        def progress(count: int) -> None:  # from a worker thread
            nonlocal ends
            self._marks.setdefault(name, self._context.tools.steady())
            self._meter.add(name, count)
            self._spent(count)
            if ends:
                ends = False
                loop.call_soon_threadsafe(self._comes_to_its_end, name)

        def goes_abreast(lanes: int) -> None:
            nonlocal abreast
            abreast = min(lanes, self._context.order.lanes)

        def confirmed(length: int) -> None:
            nonlocal walked
            walked += length
            self._measure(name, abreast)
            self.book()
            if walked > partly.get(name, 0):
                partly[name] = walked
                self._context.memory.remember(facts.PARTLY, dict(partly))

        return Freight(
            now=self._context.tools.now(),
            progress=progress,
            confirmed=confirmed,
            begun=lambda segment: self._context.memory.begun_segments(name, segment),
            known=lambda md5: self._context.memory.learned(name, md5, soon=cheap),
            may_begin=self._may_begin,
            lanes=2 * self._context.order.lanes if self._largest_piece() is None else 1,
            abreast=goes_abreast,
            last=last,
        )

    def _measure(self, name: str, abreast: int) -> None:
        """What an answered body tells of the line, where it was long enough to tell anything."""
        count, lanes = self._meter.answered(name), len(self._marks)
        began = self._marks.pop(name, None)
        if began is not None and count >= segmenting.TELLING:
            took = self._context.tools.steady() - began
            self._context.memory.estimate = self._context.memory.estimate.sent(count // abreast, took, lanes)

    def _comes_to_its_end(self, name: str) -> None:
        item = self._context.memory.roster.get(name)
        if item is not None and item.phase is Phase.SENDING:
            self.ending.add(name)
            self._wake()

    def _confirm(self, name: str, found: Standing) -> None:
        sent = self._meter.book_one(name)
        self._context.memory.happened(name, Event.CONFIRMED, md5=found.md5, slo_md5=found.slo_md5, sent=sent)
        self._context.observed.confirmed_at = self._context.tools.now()
        if self._context.observed.partly.pop(name, None):
            self._context.memory.remember(facts.PARTLY, dict(self._context.observed.partly))
        self._context.observed.renewed.pop(name, None)
        self._context.observed.object_waits.pop(name, None)
        self._context.observed.repeats.pop(name, None)
        if self._context.observed.objects is not None:
            self._context.observed.objects[name] = found.stands
        self._tell_of_data(name)

    def _tell_of_data(self, name: str) -> None:
        """From the first SLO on, the segments' container is no scratch room: said once."""
        if not lives_in_segments([self._context.memory.item(name)]) or self._context.memory.get(facts.DATA_REPORTED):
            return
        container = self._context.segments_container
        self._context.memory.remember(facts.DATA_REPORTED, value=True)
        text = (
            f"Large files remain large objects there. {keep(container)}. duplicity reads and removes that data "
            "together with them."
        )
        self._context.notify("store", "data", f"{self._context.order.name}: keep {container}", text)

    async def finish(self) -> None:
        """The end, seen in one listing: sweep what is left of our segments, and tell."""
        for item in self._context.memory.items:
            if item.segment and item.phase in SETTLED and not item.slo_md5:
                await self._courier.sweep(item)
        await self.probing.tidy()
        if self._context.memory.roster.open:  # a file has been asked for again meanwhile, so this is not the end
            return
        self._context.memory.remember(facts.FINISHED_AT, self._context.tools.now())
        tell_the_end(self._context)


def tell_the_end(context: Context) -> None:
    """What the end has brought, by the one account: everything, all but some files, or nothing that counts any more."""
    account, name = context.account(), context.order.name
    stuck = [item.name for item in context.memory.items if item.phase is Phase.REFUSED and not is_removed(item)]
    title = f"{name}: the backup is in the cloud"
    if account.worth is Worth.REPLACED:
        title = f"{name}: nothing is left to send"
        text = f"{promise(account)} They are at {context.url}."
    elif stuck:
        title = f"{name}: all but {len(stuck):,} files are in the cloud"
        text = f"These could not be moved to {context.url}: {', '.join(stuck[:3])}. Keep the drive."
    elif account.removed:
        text = f"Everything is at {context.url}, except {account.removed:,} files of backups that were removed there."
    else:
        text = f"Every file is at {context.url}, confirmed. The drive is no longer the only copy."
    context.notify("done", "done", title, text, urgent=bool(stuck))
