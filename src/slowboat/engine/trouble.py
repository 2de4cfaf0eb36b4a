"""What each trouble means for what comes next: waiting, setting one file aside, or asking the user.

Knows the waits of one migration (kept in the ledger, so that a restart does not shorten them) and what is told of
which trouble. Must not know how an action is done.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from slowboat.core import backoff
from slowboat.core.errors import NeedsUser, Refused, SlowboatError, Transient
from slowboat.core.plan import HAND_OVER, MEND
from slowboat.core.words import Event, HandoverState, Phase, Reason
from slowboat.engine import facts, guard, handover
from slowboat.engine.context import NO_OBJECT

if TYPE_CHECKING:
    from slowboat.engine.context import Context
    from slowboat.engine.objects import Objects

WAITS_FOR_KEYRING = frozenset({"secret-locked", "no-secret"})
"""The codes of what ends when the desktop's keyring is unlocked, or has our entry."""
LOCKED_AGAIN = 300.0
"""Seconds until a locked keyring is asked again unasked: that it was unlocked is heard, but some do not say it."""

STUBBORN = 6
"""The same answer about one object so many times in a row, over some minutes, is no server that lags behind itself."""

ANSWERS = frozenset(
    {"mismatch", "bad-request", "segments-gone", "container-gone", "gone", "not-slo", "not-stored", "conflict"}
)
"""Codes of answers about an object that mostly pass by themselves; all else is the line's, the drive's or ours."""

ASK_THE_PROVIDER = "Ask the provider. To try again: slowboat retry"


TRY_AGAIN = "Try again"
"""The button below what needs the user: pressed when it is mended."""


class Trouble:
    """The troubles of one migration."""

    def __init__(self, context: Context, objects: Objects) -> None:
        self._context = context
        self._objects = objects

    def blocked(self, now: float) -> Reason | None:
        """What only a person can mend; None: nothing, or it is time to try again."""
        if self._context.observed.blocked is not None and (self._context.observed.blocked.until or 0.0) <= now:
            self._context.observed.blocked = None
        return self._context.observed.blocked

    def waiting(self, now: float) -> Reason | None:
        """Why the server is left alone for now, and until when; None: it need not be."""
        left = backoff.remaining(self._context.memory.get(facts.RETRY_AT), now)
        if left <= 0:
            return None
        why = self._context.memory.get(facts.RETRY_WHY) or "the server asked slowboat to wait"
        cure = self._context.memory.get(facts.RETRY_CURE)
        by_itself = "slowboat tries again by itself"
        return Reason("server-wait", why, cure=f"{cure}; {by_itself}" if cure else by_itself, until=now + left)

    def retry_now(self) -> None:
        """Every waiting time ends; what was refused gets another chance."""
        self._context.observed.blocked = None
        self._context.observed.reported = ""  # who asks again hears again
        self._context.observed.object_waits.clear()
        self._context.observed.repeats.clear()
        for code in self._context.observed.alike:
            self._context.withdraw(f"refused-{code}")
        self._context.observed.alike.clear()
        self._objects.probing.again()
        self.calm()
        for item in self._context.memory.items:
            if item.phase is Phase.REFUSED:
                self._context.memory.happened(item.name, Event.RETRIED)
                self._context.memory.remember(facts.FINISHED_AT, 0.0)
        if (
            self._context.memory.handover is HandoverState.BLOCKED
            and self._context.memory.get(facts.HANDOVER_AT) < math.inf
        ):
            self._context.memory.handover_undone()  # but for one that the user has taken back

    def keyring_changed(self) -> None:
        """What waits for a secret need not wait any longer, for all that is known."""
        blocked = self._context.observed.blocked
        if blocked is not None and blocked.code in WAITS_FOR_KEYRING:
            self._context.observed.blocked = None

    def reckon_anew(self, seconds: float) -> None:
        """The clock was set by so many seconds: what was so many seconds ahead still is, what is behind has passed."""
        observed, memory = self._context.observed, self._context.memory
        if seconds < 0:
            observed.object_waits = {name: until + seconds for name, until in observed.object_waits.items()}
            if observed.blocked is not None and observed.blocked.until is not None:
                observed.blocked = replace(observed.blocked, until=observed.blocked.until + seconds)
            for fact in (facts.RETRY_AT, facts.HANDOVER_AT, facts.MEND_AT):
                if 0.0 < memory.get(fact) < math.inf:
                    memory.remember(fact, max(1.0, memory.get(fact) + seconds))

    def failed(self, key: str, error: SlowboatError, seconds: float, *, renewing: bool) -> None:
        """What a failed action means; `key` is its name among the busy, `seconds` how long it took."""
        self._context.observed.last_error, self._context.observed.last_failed = str(error), key
        match error:
            case NeedsUser() | Transient() if key == HAND_OVER:
                handover.refused(self._context, error)
            case _ if key == MEND:
                guard.not_mended(self._context, error)
            case Transient():
                self._later(key, error, seconds, renewing=renewing)
            case Refused() if renewing:
                # what cannot be renewed is sent again where it is needed
                self._context.observed.renewed[key] = self._context.tools.now()
            case Refused() if key not in NO_OBJECT:
                self._refuse(key, error)
            case _:
                self.block(error, key)

    def _later(self, key: str, error: Transient, seconds: float, *, renewing: bool) -> None:
        now, chance = self._context.tools.now(), self._context.tools.chance()
        if error.scope == "object" and key not in NO_OBJECT:
            if not renewing and self._is_stubborn(key, error):
                self._give_up(key, error)
                return
            attempts = self._context.memory.item(key).attempts
            self._context.observed.object_waits[key] = now + backoff.wait(attempts, chance, error.retry_after)
            return
        # the lanes of one line break together: that is one trouble, not two
        already = self._context.memory.get(facts.RETRY_AT) > now
        attempt = self._context.memory.get(facts.RETRY_ATTEMPTS) + (0 if already else 1)
        self._context.memory.remember(facts.RETRY_ATTEMPTS, attempt)
        self._context.memory.remember(facts.RETRY_AT, now + backoff.wait(attempt, chance, error.retry_after))
        self._context.memory.remember(facts.RETRY_WHY, error.what)
        self._context.memory.remember(facts.RETRY_CURE, error.hint)
        self._objects.line_broke(key, seconds)

    def _refuse(self, name: str, error: Refused) -> None:
        if error.code == "exists":
            return  # ours, of a request whose answer was lost, or somebody's: the next pass asks
        self._context.memory.happened(name, Event.REJECTED, error=error.what)
        alike = self._context.observed.alike.setdefault(error.code, set())
        alike.add(name)
        if not _is_round(len(alike)):  # many files of one cause are one trouble: `status` counts them
            self._context.memory.note("refused", str(error))
            return
        others = len(alike) - 1
        which = f"{len(alike)} files" if others else "a file"
        text = f"{error.what}, and {others} more for the same reason. {error.hint}".strip() if others else str(error)
        title = f"{self._context.order.name}: {which} cannot be moved"
        self._context.notify("refused", f"refused-{error.code}", title, text, urgent=True, button=TRY_AGAIN)

    def _is_stubborn(self, name: str, error: Transient) -> bool:
        """Whether the server has given the same answer about an object so often that waiting will not change it."""
        code, times = self._context.observed.repeats.get(name, ("", 0))
        times = times + 1 if code == error.code else 1
        self._context.observed.repeats[name] = (error.code, times)
        return error.code in ANSWERS and times >= STUBBORN

    def _give_up(self, name: str, error: Transient) -> None:
        """One object is set aside; where a second one ends so, it is the store, and nothing is tried for an hour."""
        what = f"{error.what}, {self._context.observed.repeats[name][1]} times in a row"
        others = self._context.observed.alike.get(error.code, set()) - {name}
        if others:
            self.block(
                NeedsUser(what, hint=f"{len(others) + 1} files failed like this. {ASK_THE_PROVIDER}", code=error.code),
                name,
            )
        else:
            self._refuse(name, Refused(what, hint=ASK_THE_PROVIDER, code=error.code))

    def block(self, error: SlowboatError, key: str = "") -> None:
        """Nothing goes on until somebody mends it; tried again unasked after a while, told once.

        `key`: the name among the busy of what has failed.
        """
        self._context.observed.blocked_by = key
        self._context.observed.last_error = str(error)
        again = LOCKED_AGAIN if error.code in WAITS_FOR_KEYRING else backoff.TRY_AGAIN
        self._context.observed.blocked = Reason(error.code, error.what, error.hint, self._context.tools.now() + again)
        # Tried again every hour, with whichever file is next: reported once.
        if self._context.observed.reported != error.code:
            self._context.observed.reported = error.code
            title = f"{self._context.order.name} needs you"
            self._context.notify("needs-user", "needs-you", title, str(error), urgent=True, button=TRY_AGAIN)

    def calm(self, key: str = "") -> None:
        """Something worked, `key` among the busy: the next trouble starts its waits from the beginning."""
        # What was under way may still end well.
        if self._context.observed.blocked is None and self._mends(key):
            self._context.withdraw("needs-you")
            self._context.observed.reported = ""
            if self._context.observed.last_failed not in self._context.observed.object_waits:
                self._context.observed.last_error = ""  # a trouble is told as long as its cause lasts
        memory = self._context.memory
        if memory.get(facts.RETRY_AT):
            memory.remember(facts.RETRY_AT, 0.0)
            memory.remember(facts.RETRY_ATTEMPTS, 0)
            memory.remember(facts.RETRY_WHY, "")
            memory.remember(facts.RETRY_CURE, "")

    def _mends(self, key: str) -> bool:
        """Whether that this worked says that what the user was asked to mend is mended.

        A listing that is allowed says nothing of a file that may not be stored, nor does one look at what stands there.
        """
        observed = self._context.observed
        if not observed.reported or not observed.blocked_by:
            return True
        if observed.blocked_by in NO_OBJECT:
            return key == observed.blocked_by
        return key not in NO_OBJECT and bool(key) and self._context.memory.item(key).phase is Phase.DONE


def _is_round(count: int) -> bool:
    """Whether a count is worth a new notice in the place of the last: the first file, the tenth, the hundredth."""
    return str(count).strip("0") == "1"


def mistake(error: BaseException, key: str) -> Transient:
    """A bad surprise is tried again like any trouble: more slowly each time, and visibly."""
    return Transient(
        f"an internal error in slowboat ({type(error).__name__})",
        hint="The journal has the details",
        code="internal",
        scope="server" if key in NO_OBJECT else "object",
    )
