"""What the store of one migration can do: asked by a probe, remembered, and asked again when that may have changed.

Knows when to ask, and what is told of the answer; must not know what a probe does (the store) nor what an answer
proves (core/capabilities). A probe that has no answer blocks nothing that does not need it, and waits longer each time.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

from slowboat.core import segmenting
from slowboat.core.capabilities import Findings, judge, probe_wait
from slowboat.core.errors import Transient
from slowboat.core.way import Means, limitation, must_ask
from slowboat.engine import facts

if TYPE_CHECKING:
    from slowboat.core.capabilities import Capabilities
    from slowboat.core.words import Limits
    from slowboat.engine.context import Context

PATIENCE = 2
"""Probes in a row that the line may break before an object that needs the answer goes up without it."""

CRAMPED = 86400.0
"""Seconds for which a quota that did not hold a copy beside its segments is taken not to hold the next one either."""


class Probing:
    """The capabilities of one migration's store."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._lock = asyncio.Lock()

    @property
    def known(self) -> Capabilities:
        """What is remembered."""
        return self._context.memory.get(facts.CAPABILITIES)

    async def means(self, size: int, most: int | None) -> Means:
        """What there is to send an object of `size` bytes with, in pieces of `most` bytes (None: of any size).

        Raises:
            Transient: its way hangs on what the store can do, and the line broke while that was asked for.
            NeedsUser: the server answers nothing of what this user asks for.
        """
        memory = self._context.memory
        line = memory.estimate if most is None else segmenting.in_pieces_of(memory.estimate, most)
        limits = await self._limits()
        async with self._lock:
            if self._is_due():
                await self._ask(needed=must_ask(size, Means(line, limits, self.known)))
        cramped = 0 <= self._context.tools.now() - memory.get(facts.CRAMPED_AT) < CRAMPED
        return Means(line, limits, self.known, cramped)

    def doubt(self) -> None:
        """Something has gone otherwise than the store should: it is asked again, if it was not just now."""
        self._context.memory.remember(facts.PROBE_AGAIN, value=True)

    def elsewhere(self, *, another: bool) -> None:
        """The line is back, or it is `another` one: what has had no answer is asked again now.

        On another one, whose proxy may have answered, so is what has had one, as after any trouble: who goes to and
        fro between two networks does not pay for it each time.
        """
        if another:
            self.doubt()
        if not self.known.complete:
            self._context.memory.remember(facts.PROBES, 0)
            self._context.memory.remember(facts.PROBED_AT, 0.0)

    def again(self) -> None:
        """At the user's word: whatever is known is asked for again, now."""
        memory = self._context.memory
        memory.remember(facts.PROBED_AT, 0.0)
        memory.remember(facts.PROBES, 0)
        memory.remember(facts.CRAMPED_AT, 0.0)
        self.doubt()

    def cramped(self) -> None:
        """The quota does not hold segments and what they are joined to."""
        self._context.memory.remember(facts.CRAMPED_AT, self._context.tools.now())

    async def tidy(self) -> None:
        """At the end: what a probe has left that was killed, and that none has made again."""
        if self._context.memory.get(facts.PROBING):
            await self._context.tools.store.forget_probe(self._stem)
            self._context.memory.remember(facts.PROBING, value=False)

    async def _limits(self) -> Limits:
        """As told now: the store remembers what a server has told beyond doubt, and asks again for all else."""
        return await self._context.tools.store.limits()

    def _is_due(self) -> bool:
        memory, now = self._context.memory, self._context.tools.now()
        waits = probe_wait(memory.get(facts.PROBES))
        if 0 <= now - memory.get(facts.PROBED_AT) < waits:
            return False
        return not self.known.complete or memory.get(facts.PROBE_AGAIN)

    async def _ask(self, *, needed: bool) -> None:
        memory = self._context.memory
        tries = memory.get(facts.PROBES) + 1
        memory.remember(facts.PROBING, value=True)
        try:
            findings = await self._context.tools.store.observe(self._stem)
        except Transient:
            memory.remember(facts.PROBES, tries)
            if needed and tries <= PATIENCE:
                raise
            findings = Findings()
        can = judge(findings)
        memory.remember(facts.PROBING, value=False)
        memory.remember(facts.PROBED_AT, self._context.tools.now())
        memory.remember(facts.PROBES, 0 if can.complete else tries)
        memory.remember(facts.PROBE_AGAIN, value=False)
        memory.remember(facts.CAPABILITIES, can.else_as(self.known))
        self._tell(await self._limits())

    @property
    def _stem(self) -> str:
        """Always the same for a prefix; others with other prefixes may use the same container."""
        return hashlib.sha256(self._context.order.target.prefix.encode()).hexdigest()[:16]

    def _tell(self, limits: Limits) -> None:
        """Once, as long as it holds."""
        memory, name = self._context.memory, self._context.order.name
        text = limitation(limits, self.known, self._context.segments_container)
        if text == memory.get(facts.STORE_REPORTED):
            return
        memory.remember(facts.STORE_REPORTED, text)
        if text:
            self._context.notify("store", "store", f"{name}: this server takes files only in one piece", f"{text}.")
        else:
            self._context.withdraw("store")
