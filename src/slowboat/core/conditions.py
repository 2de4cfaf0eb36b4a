"""What the permit depends on: the conditions, as the watches read them, and the rules, as the user set them.

Knows the words for both and for the reasons, and what each means when it is left out; must not know what follows from
them: that is `policy`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from slowboat.core.errors import Refused
from slowboat.core.schedule import ALWAYS, Period, Schedule, Send, Usage
from slowboat.core.words import Connectivity, Network

if TYPE_CHECKING:
    from collections.abc import Mapping

Choice = Literal["never", "slow", "go"]
"""What to do on a metered network or through a VPN."""

PowerChoice = Literal["pause", "slow", "go"]
"""What to do on battery, in power saver, or while a game runs."""

Mode = Literal["", "spare", "go"]
"""What the user said for now of taking only what nobody else uses: "spare", "go" for no, "" for nothing."""

MODES: Mapping[str, Mode] = {"spare": "spare", "go": "go"}
"""The words for it, as people and programs say them."""

SLOWEST = 1000
"""Bytes per second below which a limit is a slip of the pen: 500 instead of 500k would take a year for 16 GB."""

FASTEST = 10**12
"""Bytes per second; more is a typing error."""

LONGEST = 366 * 86400.0
"""Seconds. A pause, or a limit for now, beyond a year is a typing error; without an end it is until told."""


def must_be_limit(limit: int) -> None:
    """A limit for now, in bytes per second; 0 is none. The command line asks the same before.

    Raises:
        Refused: it is a slip of the pen (code "limit").
    """
    if 0 < limit < SLOWEST or not 0 <= limit <= FASTEST:
        raise Refused(
            f"{limit} bytes per second is not a limit",
            hint=f"Give {SLOWEST} or more, or 0 to remove the limit; to send nothing, pause",
            code="limit",
        )


def must_be_ahead(until: float, now: float) -> None:
    """Until when a pause or a limit holds, seconds since the epoch; 0.0: until told. The command line asks the same.

    Raises:
        Refused: that time has passed, or more than a year ahead (code "until").
    """
    if until and not 0 < until - now <= LONGEST:
        raise Refused(
            "that time has passed" if until <= now else "that time is more than a year ahead",
            hint="Give a time in the future, in microseconds since the epoch, or 0 for no end",
            code="until",
        )


UNKNOWN_NETWORK = Network(Connectivity.UNKNOWN, known=False)


@dataclass(frozen=True, slots=True)
class Power:
    """What is known of the power; None is "not known", and is taken for the worse.

    A machine that certainly has no battery, or no power profiles, says False.

    Attributes:
        on_battery: whether the machine runs on its battery.
        level: how full that is, percent.
        power_saver: whether the power-saver profile is on.
    """

    on_battery: bool | None = None
    level: float | None = None
    power_saver: bool | None = None


MAINS = Power(on_battery=False, power_saver=False)
"""A machine on the mains that does not save power."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Somebody asked slowboat to hold off: who (an application's name) and why, both as they said it."""

    who: str
    why: str


@dataclass(frozen=True, slots=True)
class Conditions:
    """Everything outside the rules that the permit depends on. What is left out is unknown, the safe side.

    Attributes:
        network: as the watch of the network read it.
        power: as the watch of the power read it.
        paused_until: None: not paused; 0.0: until told; else seconds since the epoch.
        holds: who else wants slowboat to keep still.
        limit: what the user set for now, bytes per second; 0: nothing set.
        mode: what the user said for now: "spare", "go", or "": as the settings have it.
        limit_until: when `limit` and `mode` end by themselves, seconds since the epoch; None: when told.
        usage: by the network's name, for the budgets; "" where the network has no name. Missing is nothing
            sent yet.
        sleeping: the machine is about to sleep.
        gaming: a game asked for the machine (GameMode); None: not known.
        crowded: the pacing sees that somebody else uses the line.
        zone: the local time zone, for schedule and budgets.
    """

    network: Network = UNKNOWN_NETWORK
    power: Power = Power()
    paused_until: float | None = None
    holds: tuple[Hold, ...] = ()
    limit: int = 0
    mode: Mode = ""
    limit_until: float | None = None
    usage: Mapping[str, Usage] = field(default_factory=dict)
    sleeping: bool = False
    gaming: bool | None = None
    crowded: bool = False
    zone: tzinfo = UTC


@dataclass(frozen=True, slots=True)
class NetworkRule:
    """The rule for one network, or for one type of network.

    Attributes:
        send: the way to send: "spare" (what nobody else uses), "go" (the whole line), a cap in bytes per second
            (flat, whatever others do), or "never".
        metered: what to do here where it is metered; None: as everywhere.
        budgets: the most bytes in a local period.
    """

    send: Send = "spare"
    metered: Choice | None = None
    budgets: Mapping[Period, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rules:
    """What the user wants.

    Attributes:
        cap: the most bytes per second, always; None: none.
        slow_rate: what "slow" means, bytes per second.
        require: the connectivity that is enough: "full", or "limited" where the check of the internet is
            known to be wrong.
        metered: on a metered network.
        vpn: while a VPN is up.
        networks: rules by the connection's name; they come before those by type.
        types: rules by type: "wifi", "ethernet", "mobile", "vpn", "other".
        default: the rule for every other network.
        schedule: hours and their caps.
        battery: on battery.
        battery_min: on battery below this percentage nothing is sent, whatever `battery` says; 0: no such
            level.
        power_saver: while the power-saver profile is on.
        game: while GameMode says that a game runs.
    """

    cap: int | None = None
    slow_rate: int = 64_000  # leaves most of a 1 Mbit/s uplink alone
    require: Literal["full", "limited"] = "full"
    metered: Choice = "never"
    vpn: Choice = "go"
    networks: Mapping[str, NetworkRule] = field(default_factory=dict)
    types: Mapping[str, NetworkRule] = field(default_factory=dict)
    default: NetworkRule = NetworkRule()
    schedule: Schedule = ALWAYS
    battery: PowerChoice = "pause"
    battery_min: float = 0.0
    power_saver: PowerChoice = "pause"
    game: PowerChoice = "pause"


class Explained(NamedTuple):
    """A reason for whoever wants to know: when there is one, what ends it, and the setting, its default first."""

    when: str
    ends: str
    setting: str = ""


REASONS: Final[Mapping[str, Explained]] = {
    "paused": Explained("you paused it", "`slowboat resume`, or the time you set"),
    "sleep": Explained("the computer is about to sleep or shut down", "waking up"),
    "held": Explained(
        "an application asked slowboat to hold off; its name and its own words are shown",
        "the application releases its hold, or exits",
    ),
    "offline": Explained("there is no network", "a network"),
    "portal": Explained("the network asks you to log in first (a hotel, a train)", "logging in"),
    "limited": Explained(
        "the network has no internet access", "internet access", '`require = "limited"`: such a network is enough'
    ),
    "network-unknown": Explained(
        "whoever should know the network is gone, does not respond, or contradicts itself", "an answer"
    ),
    "metered": Explained(
        "any network in use is metered", "another network", '`send_when_metered = false`, `"slow"`, `true`'
    ),
    "vpn": Explained(
        "a VPN is active, and you do not want to send then",
        "disconnecting it",
        '`send_on_vpn = true`, `"slow"`, `false`',
    ),
    "network": Explained(
        "this network, or its type, is forbidden or has a cap",
        "another network",
        '`[network."NAME"]`, `[network_type.TYPE]`: `send`',
    ),
    "budget": Explained(
        "a budget of this network is used up, or has too little left for the next upload",
        "the end of its day, month, ...",
        "`day_budget`, ... there",
    ),
    "schedule": Explained("not at this time, or only slowly", "the hour", "`[[schedule.window]]`"),
    "battery": Explained(
        "the computer is running on battery", "mains power", '`[power] battery = "pause"`, `"slow"`, `"go"`'
    ),
    "battery-low": Explained("on battery, and below the level you set", "charging", "`[power] battery_min = 40`"),
    "power-saver": Explained("the power saver is on", "turning it off", "`[power] power_saver = ...` as for battery"),
    "game": Explained(
        "a game asked for the machine (GameMode)", "quitting the game", "`[power] game = ...` as for battery"
    ),
    "crowded": Explained(
        "somebody else is using the connection, and only what is left over is taken ([below](#whose-line-it-is))",
        "they stop, or `slowboat limit go`",
        '`send = "go"` for that network',
    ),
    "limit": Explained("you limited it for now", "`slowboat limit off`, or the time you set"),
    "cap": Explained("your standing cap", "", '`limit = "500k"`'),
}
"""Every reason that `policy.permit` gives, by its code; docs/permit.md is made of it."""
