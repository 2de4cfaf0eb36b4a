"""The words of slowboat: frozen values that everybody shares.

One word per thing (docs/ARCHITECTURE.md lists them). Sizes are bytes (int), rates bytes per second (int or
float), durations seconds (float), times seconds since the epoch (float) inside the program and microseconds
on D-Bus. Knows what is shared; must not know the grammar of file names, nor any
policy.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from slowboat.core.plain import INTERNAL

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Phase(enum.Enum):
    """Where one object of a migration stands; the way from one to the next is `plan.TRANSITIONS`."""

    QUEUED = "queued"
    SENDING = "sending"
    UNCHECKED = "unchecked"
    DONE = "done"
    REFUSED = "refused"


class Event(enum.Enum):
    """What happened to one object."""

    STARTED = "started"  # its first byte may be on the wire
    CONFIRMED = "confirmed"  # the server has it whole, with our MD5
    INTERRUPTED = "interrupted"  # we or the world broke off: ask the server before paying twice
    ABSENT = "absent"  # the server was asked and does not have it
    REJECTED = "rejected"  # it cannot go up as it is (rotten, in conflict with what stands there)
    VANISHED = "vanished"  # it was confirmed and is no longer there
    RETRIED = "retried"  # the user or a changed file gives a refused one another chance


class Role(enum.Enum):
    """What a file is to duplicity."""

    SIGNATURES = "signatures"
    MANIFEST = "manifest"
    VOLUME = "volume"

    @property
    def is_metadata(self) -> bool:
        """Signatures and manifests are metadata; volumes are not."""
        return self is not Role.VOLUME


class HandoverState(enum.Enum):
    """Where the handover stands; "blocked" comes with a why."""

    PENDING = "pending"  # metadata or canary volumes are still on their way
    READY = "ready"  # everything is confirmed; the next pass does it, or the word of the user for whom it waits
    DONE = "done"
    BLOCKED = "blocked"
    NEVER = "never"  # the cloud follows the drive, unless the user says the word


class Activity(enum.Enum):
    """What slowboat, or one migration, is doing now. Stable words: D-Bus and `--json` show them as they are."""

    STARTING = "starting"
    CHECKING = "checking"  # reading the drive or the target's listing
    SENDING = "sending"
    WAITING = "waiting"  # for something that comes by itself; the reasons say what
    PAUSED = "paused"  # by the user
    NEEDS_USER = "needs-user"
    DONE = "done"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason why nothing (or less) is sent, in words a person understands.

    Attributes:
        code: a stable word: "paused", "offline", "portal", "metered", "vpn", "network", "battery",
            "power-saver", "schedule", "budget", "crowded", "source-absent", "held", "credentials", "quota",
            "duplicity-version", "server-wait", "ledger", ...
        text: a sentence without a full stop: what is the matter, naming the thing.
        cure: what would end it, a sentence without a full stop; "" where only waiting helps.
        until: when it ends by itself, seconds since the epoch; None where that is not known.
        since: when it began, seconds since the epoch; None where nobody has noted that. Two reasons that differ in
            nothing else are the same one.
        asks: whether a few requests of a kilobyte may be made all the same. Where not, there is no network, it must
            not be used at all, or somebody needs the line or the machine this very moment.
    """

    code: str
    text: str
    cure: str = ""
    until: float | None = None
    since: float | None = field(default=None, compare=False)
    asks: bool = field(default=False, compare=False, metadata=INTERNAL)


@dataclass(frozen=True, slots=True)
class Permit:
    """The answer to "may I send now, how fast, and if not, why?".

    Attributes:
        cap: the most bytes per second over all connections; 0 sends nothing; None is without a cap.
        reasons: every reason that applies, those that only slow down included; () when nothing holds us.
        asks: whether a few small requests may be made all the same where nothing is to be sent.
        spare: take only what nobody else uses, below `cap`.
        lets_finish: whether what is on the line may go on, though nothing may be begun: a pause that is a moment old.
    """

    cap: int | None
    reasons: tuple[Reason, ...] = ()
    asks: bool = True
    spare: bool = False
    lets_finish: bool = False

    @property
    def open(self) -> bool:
        """Whether anything may be sent at all."""
        return self.cap is None or self.cap > 0


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file in the source folder as its listing showed it.

    Attributes:
        name: the file's name within the folder (os.fsdecode: bytes that are no UTF-8 become surrogates).
        size: bytes.
        mtime_ns: last change, nanoseconds since the epoch; a hint: FAT, exFAT, NTFS and copies change it, so that where
            it alone is another one, what the file holds decides (`engine.sameness`).
    """

    name: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class OutOfReach:
    """The names in the source folder behind which there is no file that we could read.

    Attributes:
        links: symbolic links, which are never followed.
        forbidden: regular files that may not be read by us.
    """

    links: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Digests:
    """The hashes of one reading, lower-case hex, and how many bytes were read."""

    md5: str
    sha1: str
    size: int


@dataclass(frozen=True, slots=True)
class RemoteObject:
    """An object as a listing, a HEAD or the answer to a PUT showed it.

    Attributes:
        name: the object's full name within its container, prefix included.
        size: bytes; for an SLO the sum of its segments.
        md5: the MD5 of a plain object's data, lower-case hex; for an SLO the ETag of the SLO.
        slo: whether it is an SLO (its `md5` then says nothing about the data).
        modified: when it was last written or renewed, seconds since the epoch; 0.0 where the answer did not say.
        expires: when it will expire, seconds since the epoch; None: never, or not asked (listings never say).
    """

    name: str
    size: int
    md5: str
    slo: bool = False
    modified: float = 0.0
    expires: float | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What a server allows, from its /info; the defaults are OpenStack's own.

    https://docs.openstack.org/swift/latest/api/discoverability.html
    """

    max_object: int = 5368709122
    max_segments: int = 1000
    min_segment: int = 1
    slo: bool = True
    bulk_delete: bool = True
    listing: int = 10000
    max_name: int = 1024


@dataclass(frozen=True, slots=True)
class Room:
    """How a container stands, and how much more may be stored.

    Attributes:
        stands: whether the container is there.
        objects: how many objects are in it.
        free: bytes until the nearest quota of the container or the account is full; None where none is told.
    """

    stands: bool = False
    objects: int = 0
    free: int | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """Where a chain goes: a container, a prefix in it ("" or ending in "/"), the URLs duplicity will use for it.

    The first URL is the one the user is told to use; each gets the cache at the handover.
    """

    cloud: str
    container: str
    prefix: str
    urls: tuple[str, ...]


class SetType(enum.Enum):
    """A backup set is a full or an incremental."""

    FULL = "full"
    INC = "inc"


@dataclass(frozen=True, slots=True, order=True)
class SetId:
    """A backup set's identity: when it starts and ends, seconds since the epoch; a full has start == end."""

    start: int
    end: int

    @property
    def type(self) -> SetType:
        """FULL where start and end are one moment."""
        return SetType.FULL if self.start == self.end else SetType.INC


@dataclass(frozen=True, slots=True)
class Item:
    """One object of a migration: the adopted file, its place in the order, its phase.

    Attributes:
        file: the file as adopted (frozen: a changed one is noticed against it).
        role: signatures, manifest or volume.
        chain: 0 for the newest chain, 1 for the one before it, and so on.
        set_id: the backup set it belongs to.
        rank: its place in the sending order, unique within the migration.
        canary: a volume that must be there before the handover (Deja Dup's own check reads it).
        sha1: what duplicity's manifest says, lower-case hex; "" for metadata, which has no recorded hash.
        md5: of our own reading, lower-case hex; "" until it has been read.
        segment: bytes per segment once an upload in segments has begun, else 0; fixed from then on.
        error: why it was refused, a sentence; else "".
        slo_md5: the ETag of the SLO that stands at its name, whose segments are its data; "" for a plain object.
    """

    file: SourceFile
    role: Role
    chain: int
    set_id: SetId
    rank: int
    phase: Phase = Phase.QUEUED
    canary: bool = False
    sha1: str = ""
    md5: str = ""
    segment: int = 0
    bytes_sent: int = 0
    attempts: int = 0
    error: str = ""
    slo_md5: str = ""

    @property
    def name(self) -> str:
        """The file's name on the drive, and the object's after the target's prefix."""
        return self.file.name


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to tell the user once, by desktop notification.

    Attributes:
        key: what it is about; a newer notice of the same key replaces an older one.
        urgent: it needs the user; else it is good news.
        button: what a button below it would do, where the desktop can show one; "" for none.
    """

    key: str
    title: str
    body: str
    urgent: bool = False
    button: str = ""


HookEvent = Literal["done", "handover", "needs_user"]
"""What the user can have a command of his own run at, by the words of the configuration."""


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """What one migration shows on D-Bus; the fields are the properties of the Migration interface."""

    name: str
    source: str = ""
    target_url: str = ""
    backup_url: str = ""
    front_end: str = ""
    activity: Activity = Activity.STARTING
    reasons: tuple[Reason, ...] = ()
    handover: HandoverState = HandoverState.PENDING
    handover_why: str = ""
    volumes_total: int = 0
    volumes_done: int = 0
    volumes_refused: int = 0
    metadata_total: int = 0
    metadata_done: int = 0
    bytes_total: int = 0
    bytes_done: int = 0
    bytes_in_flight: int = 0
    bytes_sent: int = 0
    progress: float = 0.0
    rate: int = 0
    started_at: float = 0.0
    expected_end: float = 0.0
    restorable_from_cloud: bool = False
    cloud_has: str = "nothing"
    cloud_has_text: str = ""
    direct_sets: int = 0
    behind: int = 0
    newest_on_drive: float = 0.0
    newest_in_cloud: float = 0.0
    duplicities: tuple[str, ...] = ()
    duplicity_danger: str = ""
    current_object: str = ""
    last_error: str = ""
    verify_state: str = ""
    verify_progress: float = 0.0
    verify_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ManagerReport:
    """What the whole daemon shows on D-Bus; the fields are the properties of the Manager interface.

    Attributes:
        mode: "spare" where only what nobody else uses is taken, else "go".
        configuration: the file that it goes by, and `configuration_digest` the SHA-256 of it when it was read; "" for
            not known.
        added_delay: seconds that bytes wait at the line's narrowest place now, ours and everybody else's; 0.0 where
            nobody looks: it is watched only where the spare is taken.
    """

    version: str
    activity: Activity = Activity.STARTING
    reasons: tuple[Reason, ...] = ()
    bytes_total: int = 0
    bytes_done: int = 0
    bytes_in_flight: int = 0
    bytes_sent: int = 0
    progress: float = 0.0
    rate: int = 0
    limit: int = 0
    limit_until: float = 0.0
    mode: str = "go"
    network: str = ""
    paused_until: float = 0.0
    added_delay: float = 0.0
    expected_end: float = 0.0
    last_error: str = ""
    configuration: str = ""
    configuration_digest: str = ""
    migrations: Mapping[str, MigrationReport] = field(default_factory=dict)


class Connectivity(enum.IntEnum):
    """NetworkManager's NMConnectivityState, whose numbers it keeps.

    https://networkmanager.dev/docs/api/latest/nm-dbus-types.html#NMConnectivityState
    """

    UNKNOWN = 0
    NONE = 1
    PORTAL = 2
    LIMITED = 3
    FULL = 4


@dataclass(frozen=True, slots=True)
class Network:
    """What is known of the network, read whole and debounced.

    Attributes:
        connectivity: as NetworkManager says; NONE where nothing is connected.
        metered: True where any active device is metered (yes or guess-yes), False where none is, None: not known.
        names: the active connections' names, the one that carries the default route first.
        types: their types, in the same order: "wifi", "ethernet", "mobile", "vpn", "other".
        witness: who said it: "NetworkManager", "portal", "kernel", or "nobody".
        known: False where the witness is gone or frozen; nothing is sent on a guess.
    """

    connectivity: Connectivity
    metered: bool | None = None
    names: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    witness: str = "nobody"
    known: bool = True


@dataclass(frozen=True, slots=True)
class Installed:
    """What a handover installed: the cache directory and what duplicity must not have changed for an undo.

    `files` maps each file's name to (size in bytes, mtime in nanoseconds).
    """

    directory: Path
    url: str
    files: Mapping[str, tuple[int, int]]
    adopted: bool = False
    """True where the same cache was there already; an undo then leaves it."""
