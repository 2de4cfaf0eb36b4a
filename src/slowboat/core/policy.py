"""May I send now, how fast, and if not, why: one pure function from conditions, rules and the time.

Knows the user's rules and what they mean; must not know who reads the network, the battery or the clock, nor
what there is to send. The policy in the user's words is the docstring of `permit` (docs/permit.md tells the
same at length).
"""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING

from slowboat.core.conditions import (
    MAINS,
    UNKNOWN_NETWORK,
    Choice,
    Conditions,
    Hold,
    NetworkRule,
    Power,
    PowerChoice,
    Rules,
)
from slowboat.core.schedule import (
    ALWAYS,
    Period,
    Schedule,
    Send,
    Usage,
    Window,
    allowed,
    at_wall,
    cap_of,
    next_edge,
    next_opening,
)
from slowboat.core.words import Connectivity, Network, Permit, Reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import tzinfo

    from slowboat.core.conditions import Mode

__all__ = [
    "ALWAYS", "MAINS", "UNKNOWN_NETWORK", "Choice", "Conditions", "Hold", "NetworkRule", "Period", "Power",
    "PowerChoice", "Rules", "Schedule", "Send", "Usage", "Window", "budget_left", "charged",
    "largest_piece", "next_change", "permit", "wished",
]  # fmt: skip

_LINKS = ("wifi", "ethernet", "mobile")  # what a tunnel or a bridge can lie on
_Bound = tuple[int | None, Reason]  # the most bytes per second that the reason leaves, None: all of it


def permit(conditions: Conditions, rules: Rules, now: float, needs: int = 0) -> Permit:
    """May slowboat send now, how fast, and if not, why?

    Nothing is sent

    - while you paused it, until the time you named or until you resume it;
    - while the machine is about to sleep, and while an application asked slowboat to hold off;
    - while there is no network, while a network asks you to log in first, and while the internet cannot be
      reached (unless you said that a limited network is enough);
    - while it cannot be known what the network is, because whoever should know is gone or does not respond;
    - on a metered network, unless you allowed it, at full speed or slowly. A network is metered when any
      network in use is, also one that hides beneath a VPN. Where nobody can tell, it counts as not metered;
    - while a VPN is up, if you forbade that;
    - on a network that you forbade, by its name or its type. A name's rule comes before a type's, a type's
      before the default. Through a VPN, the rules of the VPN and of what it may lie on hold together;
    - when a network's budget for the day, the month, ... is used up, or has too little left for the next upload,
      until the midnight at which the next one begins;
    - outside the hours of your schedule, if you made one;
    - on battery, unless you allowed it, and never below the level you set;
    - in power saver, and while a game runs, unless you allowed it. Where the battery's, the power saver's or
      the game's state cannot be read, it is taken for the worse.

    Otherwise it sends, never faster than the lowest of all that apply: your cap, the limit you set for now,
    the network's cap, the schedule's cap, and the slow rate where you said "slow".

    Below that it takes only what nobody else uses ("spare")

    - on every network for which you said neither "go" nor a rate. Through a VPN, one such rule is enough;
    - in the hours for which your schedule says "spare", whatever the network's rule;
    - while you said "spare" for now, and not while you said "go" for now: what you say for now comes first.

    Where it does, and somebody else uses the line, that is told as a reason: it slows down and never forbids.

    All reasons are told, not only the first; those that forbid come before those that only slow down.

    Whatever it says, a few small requests are made now and then (docs/swift.md, "Expiry") where only a pause, the
    hours, a budget or the battery forbid sending.

    Args:
        conditions: the world as last read.
        rules: the user's settings.
        now: seconds since the epoch.
        needs: bytes of the next request; 0 where that is not known.

    Returns:
        A rate, whether only the spare below it is to be taken, and every reason that applies. Never raises.
    """
    spare = _only_spare(conditions, rules, now)
    verdicts = [
        *_asked(conditions, now),
        *_reached(conditions.network, rules),
        *_metered(conditions.network, rules),
        *_networks(conditions, rules),
        *_budgeted(conditions, rules, now, needs),
        *_scheduled(conditions, rules, now),
        *_powered(conditions, rules),
        *_capped(conditions, rules, now),
        *_shared(conditions, spare=spare),
    ]
    caps = [cap for cap, _ in verdicts if cap is not None]
    first = [reason for cap, reason in verdicts if cap == 0]
    then = [reason for cap, reason in verdicts if cap != 0]
    asks = all(reason.asks for reason in first)
    return Permit(min(caps, default=None), (*first, *then), asks, spare)


def next_change(conditions: Conditions, rules: Rules, now: float) -> float | None:
    """When the clock alone may change the permit: the end of a pause or limit, an hour, a new budget.

    Returns:
        Seconds since the epoch, after `now`; None where the clock changes nothing.
    """
    zone = conditions.zone
    moments = [conditions.paused_until, next_edge(rules.schedule, now, zone)]
    if conditions.limit > 0 or conditions.mode:
        moments.append(conditions.limit_until)
    in_force = [rule for _, rule in _rules_in_force(conditions.network, rules)]
    moments += [period.end(now, zone) for period in {period for rule in in_force for period in rule.budgets}]
    return min((moment for moment in moments if moment is not None and moment > now), default=None)


def budget_left(conditions: Conditions, rules: Rules) -> int | None:
    """How many bytes the budgets in force still leave, so that no request goes over; None: any number."""
    left = [
        allowance - used
        for name, rule in _rules_in_force(conditions.network, rules)
        for allowance, used, _ in _budgets(rule, conditions.usage.get(name, {}))
    ]
    return max(0, min(left)) if left else None


def largest_piece(conditions: Conditions, rules: Rules) -> int | None:
    """The most bytes that one request should have, so that budgets are used well: a tenth of the smallest; None: any.

    A request that a budget's end breaks off is lost, and one larger than the budget could never be made.
    """
    allowances = [
        allowance for _, rule in _rules_in_force(conditions.network, rules) for allowance in rule.budgets.values()
    ]
    return min(allowances) // 10 if allowances else None


def charged(network: Network) -> tuple[str, ...]:
    """The names of the networks that bytes sent now count for: the carrier, and what it may lie on."""
    return tuple(dict.fromkeys(name for name, _ in _carriers(network)))


def _asked(conditions: Conditions, now: float) -> Iterator[_Bound]:
    """What people and programs asked for."""
    until = conditions.paused_until
    if until is not None and (until == 0.0 or until > now):
        yield 0, Reason("paused", "You paused it", "slowboat resume", until or None, asks=True)
    if conditions.sleeping:
        yield 0, Reason("sleep", "The computer is about to go to sleep")
    for hold in conditions.holds:
        why = f": {_shown(hold.why)}" if hold.why else ""
        yield 0, Reason("held", f"{_shown(hold.who) or 'An application'} asked slowboat to hold off{why}")


def _reached(network: Network, rules: Rules) -> Iterator[_Bound]:
    """Whether there is a way out to the internet."""
    state = network.connectivity
    if not network.known or state is Connectivity.UNKNOWN:
        who = "Nobody can" if network.witness == "nobody" else f"{network.witness} cannot"
        text = f"{who} say what network this is right now, and slowboat does not send on a guess"
        yield 0, Reason("network-unknown", text)
    elif state is Connectivity.NONE:
        yield 0, Reason("offline", "There is no network", "Connect to a network")
    elif state is Connectivity.PORTAL:
        yield 0, Reason("portal", f"{_called(network)} asks you to log in first", "Log in with a browser")
    elif state is Connectivity.LIMITED and rules.require == "full":
        cure = 'If that check is wrong, set require = "limited"'
        yield 0, Reason("limited", f"{_called(network)} has no internet access", cure)


def _metered(network: Network, rules: Rules) -> Iterator[_Bound]:
    """Metered networks, and VPNs."""
    if network.metered:
        choices = [rule.metered or rules.metered for _, rule in _rules_in_force(network, rules)]
        cure = "Use an unmetered network, or allow metered ones in the settings"
        yield from _chosen(choices, rules, Reason("metered", f"{_called(network)} is metered", cure))
    if "vpn" in network.types:
        reason = Reason("vpn", "A VPN is active", "Disconnect the VPN, or allow it in the settings")
        yield from _chosen([rules.vpn], rules, reason)


def _networks(conditions: Conditions, rules: Rules) -> Iterator[_Bound]:
    """The rules of the networks in use."""
    for name, rule in _rules_in_force(conditions.network, rules):
        called = _named(name)
        cap = cap_of(rule.send)
        if cap == 0:
            cure = "Use another network, or allow this one in the settings"
            yield 0, Reason("network", f"Your settings forbid sending over {called}", cure)
        elif cap is not None:
            yield cap, Reason("network", f"Your settings limit {called} to {_in_words(cap)}")


def _budgeted(conditions: Conditions, rules: Rules, now: float, needs: int) -> Iterator[_Bound]:
    """The budgets of the networks in use, for a request of `needs` bytes."""
    for name, rule in _rules_in_force(conditions.network, rules):
        for allowance, used, period in _budgets(rule, conditions.usage.get(name, {})):
            left = max(0, allowance - used)
            until = period.end(now, conditions.zone)
            cure = "Use another network, or raise the budget"
            if not left:
                yield (
                    0,
                    Reason(
                        "budget",
                        f"The {period.every} budget for {_named(name)} is used up",
                        cure,
                        until,
                        asks=True,
                    ),
                )
            elif left < needs:
                text = f"The {period.every} budget for {_named(name)} has too little left for the next upload"
                yield 0, Reason("budget", text, cure, until if needs <= allowance else None, asks=True)


def _scheduled(conditions: Conditions, rules: Rules, now: float) -> Iterator[_Bound]:
    """The hours."""
    cap = allowed(rules.schedule, now, conditions.zone).cap
    if cap == 0:
        until = next_opening(rules.schedule, now, conditions.zone)
        yield 0, Reason("schedule", "Your schedule does not allow sending at this time", until=until, asks=True)
    elif cap is not None:
        until = next_edge(rules.schedule, now, conditions.zone)
        yield cap, Reason("schedule", f"Your schedule limits sending to {_in_words(cap)} at this time", until=until)


def _powered(conditions: Conditions, rules: Rules) -> Iterator[_Bound]:
    """Battery, power saver, games."""
    power = conditions.power
    if power.on_battery is not False:
        text = _known("the computer is running on battery", power.on_battery)
        yield from _chosen([rules.battery], rules, Reason("battery", text, "Plug it in", asks=True))
        if rules.battery_min > 0 and not (power.level is not None and power.level >= rules.battery_min):
            level = "at an unknown level" if power.level is None else f"at {power.level:.0f} %"
            text = f"The battery is {level}, and your settings require at least {rules.battery_min:.0f} %"
            yield 0, Reason("battery-low", text, "Plug it in", asks=True)
    if power.power_saver is not False:
        text = _known("the power saver is on", power.power_saver)
        yield from _chosen(
            [rules.power_saver], rules, Reason("power-saver", text, "Turn the power saver off", asks=True)
        )
    if conditions.gaming is not False:
        text = _known("a game is running", conditions.gaming)
        yield from _chosen([rules.game], rules, Reason("game", text, "Quit the game"))


def _known(fact: str, truth: bool | None) -> str:  # noqa: FBT001  # a fact's truth, or None for not known
    """A fact as a sentence, or the sentence that it cannot be known."""
    return f"{fact[0].upper()}{fact[1:]}" if truth else f"slowboat cannot tell whether {fact}"


def _capped(conditions: Conditions, rules: Rules, now: float) -> Iterator[_Bound]:
    """The limit set for now, and the standing cap."""
    if conditions.limit > 0 and _limit_holds(conditions, now):
        text = f"You limited it to {_in_words(conditions.limit)}"
        yield conditions.limit, Reason("limit", text, "slowboat limit off", conditions.limit_until)
    if rules.cap is not None:
        cap = max(0, rules.cap)
        text = f"Your settings cap it at {_in_words(cap)}"
        yield cap, Reason("cap", text, "Raise the cap in the settings")


def _limit_holds(conditions: Conditions, now: float) -> bool:
    """Whether what the user said for now (a limit, a mode) has not come to its end."""
    return conditions.limit_until is None or conditions.limit_until > now


def _only_spare(conditions: Conditions, rules: Rules, now: float) -> bool:
    """Whether only what nobody else uses is to be taken: the user's word for now, else the network's or the hour's."""
    if conditions.mode and _limit_holds(conditions, now):
        return conditions.mode == "spare"
    sends = [rule.send for _, rule in _rules_in_force(conditions.network, rules)]
    return "spare" in sends or allowed(rules.schedule, now, conditions.zone).spare


def _shared(conditions: Conditions, *, spare: bool) -> Iterator[_Bound]:
    """The others on the line, where way is made for them."""
    if spare and conditions.crowded:
        text = "Somebody else is using the connection, and slowboat takes only what is left over"
        yield (
            None,
            Reason("crowded", text, "There is nothing to do. To use the whole connection anyway: slowboat limit go"),
        )


def _chosen(choices: Sequence[Choice | PowerChoice], rules: Rules, reason: Reason) -> Iterator[_Bound]:
    """The strictest of some choices, as a verdict."""
    if any(choice in ("never", "pause") for choice in choices):
        yield 0, reason
    elif "slow" in choices:
        cap = max(0, rules.slow_rate)
        text = f"{reason.text}, so at most {_in_words(cap)}"
        yield cap, Reason(reason.code, text, reason.cure, reason.until)


def _carriers(network: Network) -> list[tuple[str, str]]:
    """(name, type) of the network that carries our bytes, and of those that it may lie on.

    The first carries the default route. A tunnel or a bridge says nothing of the link beneath it, so then
    every link counts. Where nobody tells names, one network without a name does.
    """
    pairs = list(zip_longest(network.names, network.types[: len(network.names)], fillvalue="other"))
    if not pairs:
        return [("", network.types[0] if network.types else "other")]
    beneath = [] if pairs[0][1] in _LINKS else [pair for pair in pairs[1:] if pair[1] in _LINKS]
    return [pairs[0], *beneath]


def _rules_in_force(network: Network, rules: Rules) -> list[tuple[str, NetworkRule]]:
    """The rule of each network that carries our bytes, with its name; never empty."""
    return [
        (name, rules.networks.get(name) or rules.types.get(kind) or rules.default) for name, kind in _carriers(network)
    ]


def _budgets(rule: NetworkRule, used: Usage) -> Iterator[tuple[int, int, Period]]:
    """(allowance, used, period) of each budget of a rule."""
    for period, allowance in rule.budgets.items():
        yield allowance, used.get(period, 0), period


def _named(name: str) -> str:
    """A network by its name."""
    return f'"{_shown(name)}"' if name else "this network"


def _called(network: Network) -> str:
    """The network as the user knows it."""
    name = _shown(network.names[0]) if network.names else ""
    return f'The network "{name}"' if name else "The network"


def _shown(foreign: str) -> str:
    """A name that somebody else chose, harmless on a terminal: a Wi-Fi's name may hold anything."""
    return "".join(sign if sign.isprintable() else "?" for sign in foreign[:80])


def wished(limit: int, until: float, mode: Mode, zone: tzinfo) -> str:
    """What the user has just said with a limit or a mode, as a line of the history.

    Args:
        limit: bytes per second, 0 for none.
        until: when it ends, seconds since the epoch; 0.0: when told.
        mode: "" for the settings' own.
        zone: for the time of that end.
    """
    ways = {"spare": "only what nobody else uses", "go": "the whole line, whoever else uses it", "": ""}
    parts = [f"at most {_in_words(limit)}" if limit else "", ways[mode]]
    wish = ", ".join(filter(None, parts))
    if not wish:
        return "You removed the limit."
    end = f", until {at_wall(until, zone):%Y-%m-%d %H:%M}" if until else ""
    return f"You limited it: {wish}{end}."


def _in_words(rate: int) -> str:
    """A rate for people, in decimal units as uplinks are sold."""
    for size, unit in ((1_000_000, "MB/s"), (1_000, "kB/s")):
        if rate >= size:
            return f"{rate / size:.3g} {unit}"
    return f"{rate} B/s"
