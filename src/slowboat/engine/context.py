"""What the parts of one migration share: its order, its tools, its memory, and what this run has seen.

Data only. What outlives the run is in `Memory`; everything in `Observed` is asked for again by the next run.

Knows the order and the tools; must not know what is done with them.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from slowboat.core import account, names, urls
from slowboat.core.account import AccountBasis
from slowboat.core.dejadup import Account
from slowboat.core.plan import ADOPT, HAND_OVER, MEND, OBSERVE, TIDY
from slowboat.core.words import Notice
from slowboat.engine import facts

if TYPE_CHECKING:
    from collections.abc import Callable

    from slowboat.core.account import CloudAccount
    from slowboat.core.versions import Judgement
    from slowboat.core.words import HookEvent, Item, Reason, RemoteObject, SetId, Target
    from slowboat.engine.memory import Memory
    from slowboat.engine.ports import Cache, Duplicity, FrontEnd, Hooks, Ledger, Notifier, Source, Store


LASTING = ("handover", "done")
"""What the user must hear of once, also where no desktop was there to show it before a restart; in this order."""
NO_OBJECT = frozenset({ADOPT, OBSERVE, HAND_OVER, MEND, TIDY})
"""The names among the busy that are no object's."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be moved where.

    Attributes:
        name: the migration's name, the user's choice.
        source_dir: the folder on the drive, for people to read.
        source_url: what duplicity called it, or "".
        target: where it goes.
        file_prefix: whose files are meant where several hosts share the folder; None: whoever's there is.
        ask_first: the handover waits for the user's word.
        follows: the cloud follows the drive: there is no handover unless the user says the word.
        removes: what its owner removes from the drive is removed from the cloud after a while, as long as it follows.
        lanes: how many objects go up at once.
        canary: absolute paths (their parts, without the root) whose volumes go before the handover.
        account: what an old Deja Dup must be told of the cloud.
    """

    name: str
    source_dir: str
    source_url: str
    target: Target
    file_prefix: str | None = None
    ask_first: bool = False
    follows: bool = False
    removes: bool = False
    lanes: int = 2
    canary: tuple[tuple[bytes, ...], ...] = ()
    account: Account = field(default_factory=Account)


@dataclass(frozen=True, slots=True)
class Tools:
    """The edges that a migration works with, and its clocks.

    Attributes:
        now: seconds since the epoch.
        steady: seconds of a clock that is never set.
        chance: a random number in [0, 1).
        front_end: Deja Dup's settings; None: nothing is known of any.
        duplicity: the duplicities on this machine; None: nothing is known of any.
        hooks: the user's own commands; None: he has none.
    """

    source: Source
    store: Store
    cache: Cache
    ledger: Ledger
    notifier: Notifier
    now: Callable[[], float]
    steady: Callable[[], float]
    chance: Callable[[], float]
    front_end: FrontEnd | None = None
    duplicity: Duplicity | None = None
    hooks: Hooks | None = None


@dataclass(frozen=True, slots=True)
class NotAdopted:
    """A list of files that could not be adopted: its fingerprint, what is wrong with it, and when it is tried again.

    `wait` is how long that is, seconds: longer each time.
    """

    fingerprint: str
    why: str
    again_at: float
    wait: float


@dataclass(slots=True)
class Observed:
    """What is known of the world in this run alone.

    Attributes:
        objects: the target's listing by file name, kept up by every answer since; None: to be read.
        unlisted: those of them that only a HEAD has shown when the listing was read.
        rows: of an SLO that a listing shows otherwise than HEAD, what each of them showed, by file name.
        listed_at, confirmed_at: when the listing was begun, and when an object was last confirmed.
        manifests_at: when a manifest was last seen at the target, by name.
        absent_why: what was seen where the drive should be, a sentence; "" while it is there.
        absent_cure: what would help, where connecting the drive does not; else "".
        look_at_drive: the folder is to be listed before the next decision.
        partly: bytes confirmed as segments, by the name of an object that is not done.
        object_waits: not before this time is an object tried again, by name.
        repeats: what the server has answered about an object each time lately, by its name: the code, and how often.
        alike: the objects that were set aside for one cause, by its code.
        blocked: what only a person can mend; its `until` is when it is tried again unasked.
        reported: the code of what the user was last asked to mend; "" once it is, or may be.
        blocked_by: which action it was that could not be done, by its name among the busy; "" for none of these.
        asked: the user has said the word for the handover.
        handing_over, observing: held while that is done, which may be asked for from two sides at once.
        renewed: when an object's segments were last seen to be in no danger of expiring, by name.
        needs: bytes of a request that was too large for what a budget leaves; 0: none was.
        duplicity: what holds for the duplicities on this machine; None before they were asked.
        backup_under_way: duplicity was writing to the target when that was last read.
        last_error, last_failed: the newest trouble that is not over, a sentence, and what failed for it; "" for none.
        direct: the whole backup sets that it has written there straight.
        not_adopted: what is on the drive and cannot be adopted anew; None: nothing.
        used_url: which of the target's URLs Deja Dup is set to; "" for none.
        front_end: what is to be done with Deja Dup after the handover, a sentence or more; "" for nothing.
        tidied_at: when it was last tried to remove from the cloud what left the drive.
        postponed: the sets that wait until duplicity's own backup at the target is over.
    """

    objects: dict[str, RemoteObject] | None = None
    unlisted: frozenset[str] = frozenset()
    rows: dict[str, tuple[RemoteObject, RemoteObject]] = field(default_factory=dict)
    listed_at: float = 0.0
    confirmed_at: float = 0.0
    manifests_at: dict[str, float] = field(default_factory=dict)
    drive_present: bool = True
    absent_why: str = ""
    absent_cure: str = ""
    drive_changed: bool = False
    observe_drive: bool = True
    partly: dict[str, int] = field(default_factory=dict)
    object_waits: dict[str, float] = field(default_factory=dict)
    repeats: dict[str, tuple[str, int]] = field(default_factory=dict)
    alike: dict[str, set[str]] = field(default_factory=dict)
    blocked: Reason | None = None
    reported: str = ""
    blocked_by: str = ""
    asked: bool = False
    handing_over: asyncio.Lock = field(default_factory=asyncio.Lock)
    observing: asyncio.Lock = field(default_factory=asyncio.Lock)
    renewed: dict[str, float] = field(default_factory=dict)
    needs: int = 0
    duplicity: Judgement | None = None
    backup_under_way: bool = False
    direct: tuple[SetId, ...] = ()
    not_adopted: NotAdopted | None = None
    used_url: str = ""
    front_end: str = ""
    tidied_at: float = 0.0
    postponed: frozenset[SetId] = frozenset()
    last_error: str = ""
    last_failed: str = ""


@dataclass(slots=True)
class Context:
    """One migration's order, tools, memory and what was observed."""

    order: Order
    tools: Tools
    memory: Memory
    observed: Observed = field(default_factory=Observed)
    _account: tuple[tuple[object, ...], CloudAccount] | None = None

    def full_name(self, name: str) -> str:
        """A file's object name in the target's container."""
        return names.object_name(self.order.target.prefix, name)

    @property
    def url(self) -> str:
        """The URL that the user is told to use, as it may be shown."""
        return urls.without_user(self.order.target.urls[0])

    def account(self) -> CloudAccount:
        """What is in the cloud, what is missing, and what it is worth; taken anew where that may have changed."""
        finished = self.memory.finished
        key = (self.memory.moves, finished, self.observed.direct)
        if self._account is None or self._account[0] != key:
            basis = AccountBasis(
                self.memory.roster, finished=finished, direct=self.observed.direct, segments=self.segments_container
            )
            self._account = (key, account.take(basis))
        return self._account[1]

    async def source_url(self) -> str:
        """What duplicity knows the source by: as configured, else what Deja Dup calls it; "" where nobody says."""
        if self.order.source_url or self.tools.front_end is None:
            return self.order.source_url
        return next(iter(await self.tools.front_end.sources(self.order.source_dir)), "")

    @property
    def segments_container(self) -> str:
        """Where segments stand: beside the target's container."""
        return f"{self.order.target.container}_segments"

    def newest_metadata(self) -> tuple[Item, ...]:
        """The metadata files of the newest chain, in order."""
        return tuple(self.memory.roster.metadata(0))

    def manifest_of(self, item: Item) -> Item | None:
        """The manifest of an object's backup set."""
        return self.memory.roster.manifest_of(item.set_id)

    def notify(self, kind: str, key: str, title: str, text: str, *, urgent: bool = False, button: str = "") -> None:
        """Once to the history, once to the desktop; `key` names what it is about within this migration."""
        self.memory.note(kind, text, urgent=urgent)
        notice = Notice(f"{key}-{self.order.name}", title, text, urgent=urgent, button=button)
        what = _hook(kind, urgent=urgent)
        if what is not None and self.tools.hooks is not None:
            self.tools.hooks.happened(what, self.order.name, title, text)
        if key in LASTING:
            self.memory.remember(facts.UNSHOWN[notice.key], facts.Unshown(title, text, urgent, button))
        self.tools.notifier.show(notice)

    def take_over_notices(self) -> None:
        """What an earlier run has shown is this one's to take back."""
        for key, ticket in self.memory.all_of(facts.SHOWN):
            self.tools.notifier.restore(key, ticket)

    def notify_again(self) -> None:
        """After a restart: what a desktop has not shown yet."""
        for key in (f"{each}-{self.order.name}" for each in LASTING):
            if one := self.memory.get(facts.UNSHOWN[key]):
                self.tools.notifier.show(Notice(key, one.title, one.text, urgent=one.urgent, button=one.button))

    def shown(self, key: str, ticket: str) -> None:
        """A desktop shows the notice of that key; `ticket` lets a later run take it back."""
        self.memory.remember(facts.UNSHOWN[key], None)
        self.memory.remember(facts.SHOWN[key], ticket)

    def take_back_what_is_over(self) -> None:
        """The notices of files that are set aside, where none is any longer, and of a backup that is missed no more.

        Level-triggered, as all else: whatever ended it, and in whichever run.
        """
        end = f"-{self.order.name}"
        shown = [key.removesuffix(end) for key, _ in self.memory.all_of(facts.SHOWN) if key.endswith(end)]
        if not shown:
            return
        over = {"refused": not self.account().set_aside, "gone": not self.account().gone}
        for key in [key for key in shown if over.get(key.partition("-")[0])]:
            self.withdraw(key)

    def withdraw(self, key: str) -> None:
        """What was told of `key` holds no longer."""
        self.shown(f"{key}-{self.order.name}", "")
        self.tools.notifier.withdraw(f"{key}-{self.order.name}")


def _hook(kind: str, *, urgent: bool) -> HookEvent | None:
    """Which of the user's own commands that is for."""
    if urgent:
        return "needs_user"
    return "done" if kind == "done" else "handover" if kind == "handover" else None
