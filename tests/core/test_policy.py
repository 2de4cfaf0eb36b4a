"""The permit: each sentence of the policy, and what must hold for all conditions, rules and times."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowboat.core.conditions import REASONS
from slowboat.core.policy import (
    MAINS,
    Conditions,
    Hold,
    NetworkRule,
    Period,
    Power,
    Rules,
    Schedule,
    Window,
    budget_left,
    charged,
    largest_piece,
    next_change,
    permit,
)
from slowboat.core.words import Connectivity, Network, Permit

NOW = 1_700_000_000.0  # Tuesday 2023-11-14 22:13:20 UTC
HOME = Network(Connectivity.FULL, metered=False, names=("Home",), types=("wifi",), witness="NetworkManager")
FINE = Conditions(network=HOME, power=MAINS, gaming=False)
SPARE = Permit(None, spare=True)
BERLIN = ZoneInfo("Europe/Berlin")


def codes(conditions: Conditions, rules: Rules | None = None, now: float = NOW) -> list[str]:
    return [reason.code for reason in permit(conditions, rules or Rules(), now).reasons]


def on(network: Network = HOME, **changes: object) -> Conditions:
    return replace(FINE, network=replace(network, **changes))


def test_nothing_holds_us() -> None:
    assert permit(FINE, Rules(), NOW) == SPARE


@pytest.mark.parametrize(
    ("conditions", "asks"),
    [
        (FINE, True),
        (replace(FINE, paused_until=0.0), True),
        (replace(FINE, power=Power(on_battery=True, level=9.0, power_saver=True)), True),
        (replace(on(metered=True), paused_until=0.0), False),
        (on(connectivity=Connectivity.NONE), False),
        (replace(FINE, sleeping=True), False),
        (replace(FINE, holds=(Hold("app", ""),)), False),
        (Conditions(), False),
    ],
)
def test_small_requests_are_made_where_only_the_sending_is_unwanted(conditions: Conditions, asks: bool) -> None:
    assert permit(conditions, Rules(), NOW).asks is asks


def test_what_only_slows_down_forbids_no_small_request() -> None:
    paused = replace(on(metered=True), paused_until=0.0)
    assert permit(paused, Rules(metered="slow"), NOW).asks


def test_what_is_not_known_is_not_guessed() -> None:
    assert codes(Conditions()) == ["network-unknown", "battery", "power-saver", "game"]


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        (replace(FINE, paused_until=0.0), ["paused"]),
        (replace(FINE, paused_until=NOW + 1), ["paused"]),
        (replace(FINE, paused_until=NOW), []),
        (replace(FINE, sleeping=True), ["sleep"]),
        (replace(FINE, holds=(Hold("a", "b"), Hold("c", ""))), ["held", "held"]),
        (on(connectivity=Connectivity.NONE, names=(), types=()), ["offline"]),
        (on(connectivity=Connectivity.PORTAL), ["portal"]),
        (on(connectivity=Connectivity.LIMITED), ["limited"]),
        (on(connectivity=Connectivity.UNKNOWN), ["network-unknown"]),
        (on(known=False), ["network-unknown"]),
        (on(metered=True), ["metered"]),
        (on(metered=None), []),
        (on(names=("Office", "Home"), types=("vpn", "wifi")), []),
        (replace(FINE, power=Power(True, 80, False)), ["battery"]),
        (replace(FINE, power=Power(None, None, False)), ["battery"]),
        (replace(FINE, power=Power(False, None, True)), ["power-saver"]),
        (replace(FINE, power=Power(False, None, None)), ["power-saver"]),
        (replace(FINE, gaming=True), ["game"]),
        (replace(FINE, gaming=None), ["game"]),
    ],
)
def test_each_condition_closes_by_default(conditions: Conditions, expected: list[str]) -> None:
    assert codes(conditions) == expected
    assert permit(conditions, Rules(), NOW).open is not bool(expected)


def test_all_reasons_are_told_and_those_that_forbid_come_first() -> None:
    conditions = replace(on(metered=True, connectivity=Connectivity.PORTAL), paused_until=0.0, limit=5000)
    rules = Rules(metered="slow", battery="go")
    assert codes(conditions, rules) == ["paused", "portal", "metered", "limit"]


def test_slow_slows_and_go_goes() -> None:
    metered = on(metered=True)
    assert permit(metered, Rules(metered="slow", slow_rate=1234), NOW).cap == 1234
    assert permit(metered, Rules(metered="go"), NOW) == SPARE
    battery = replace(FINE, power=Power(True, 50, True))
    assert permit(battery, Rules(battery="slow", power_saver="slow", slow_rate=99), NOW).cap == 99
    assert permit(battery, Rules(battery="go", power_saver="go"), NOW) == SPARE


def test_limited_is_enough_where_the_user_says_so() -> None:
    assert codes(on(connectivity=Connectivity.LIMITED), Rules(require="limited")) == []
    assert codes(on(connectivity=Connectivity.PORTAL), Rules(require="limited")) == ["portal"]


@pytest.mark.parametrize(("level", "closed"), [(None, True), (29.0, True), (30.0, False), (float("nan"), True)])
def test_below_its_level_the_battery_is_left_alone(level: float | None, closed: bool) -> None:
    rules = Rules(battery="go", battery_min=30)
    assert codes(replace(FINE, power=Power(True, level, False)), rules) == ["battery-low"] * closed
    assert codes(replace(FINE, power=Power(False, level, False)), rules) == []


def test_a_name_comes_before_a_type_and_a_type_before_the_default() -> None:
    rules = Rules(
        networks={"Home": NetworkRule(send=1000)},
        types={"wifi": NetworkRule(send="never"), "ethernet": NetworkRule(send=2000)},
        default=NetworkRule(send=3000),
    )
    assert permit(FINE, rules, NOW).cap == 1000
    assert permit(on(names=("Café",)), rules, NOW).cap == 0
    assert permit(on(names=("Cable",), types=("ethernet",)), rules, NOW).cap == 2000
    assert permit(on(names=("SIM",), types=("mobile",)), rules, NOW).cap == 3000
    assert permit(on(names=(), types=()), rules, NOW).cap == 3000


def test_through_a_tunnel_the_rules_beneath_hold_too() -> None:
    rules = Rules(
        networks={"Phone": NetworkRule(send=500, budgets={Period.MONTH: 1000})}, types={"vpn": NetworkRule(send=9000)}
    )
    tunnel = on(names=("Office", "Phone", "docker0"), types=("vpn", "wifi", "other"))
    assert permit(tunnel, rules, NOW).cap == 500
    assert charged(tunnel.network) == ("Office", "Phone")
    beside = on(names=("Cable", "Phone"), types=("ethernet", "wifi"))
    assert permit(beside, rules, NOW).cap is None
    assert charged(beside.network) == ("Cable",)


def test_vpn_never() -> None:
    split = on(names=("Home", "Office"), types=("wifi", "vpn"))
    assert codes(split, Rules(vpn="never")) == ["vpn"]
    assert permit(split, Rules(vpn="slow"), NOW).cap == Rules().slow_rate


def test_a_network_may_have_a_word_of_its_own_on_meters() -> None:
    rules = Rules(networks={"Phone": NetworkRule(metered="go")}, metered="never")
    assert codes(on(names=("Phone",), metered=True), rules) == []
    assert codes(on(names=("Other",), metered=True), rules) == ["metered"]


def test_spare_sets_no_cap_of_its_own() -> None:
    rules = Rules(networks={"Home": NetworkRule(send="spare")})
    assert permit(FINE, rules, NOW) == SPARE
    capped = permit(FINE, replace(rules, cap=700), NOW)
    assert (capped.cap, capped.spare) == (700, True)


def test_spare_is_what_holds_unless_the_networks_rule_says_else() -> None:
    rules = Rules(
        networks={"Home": NetworkRule(send="go"), "Office": NetworkRule(send=5000), "No": NetworkRule(send="never")}
    )
    spare = {name: permit(on(names=(name,)), rules, NOW).spare for name in ("Home", "Office", "No", "Café")}
    assert spare == {"Home": False, "Office": False, "No": False, "Café": True}
    tunnel = on(names=("Tunnel", "Home"), types=("vpn", "wifi"))
    assert permit(tunnel, rules, NOW).spare, "nobody said so of the tunnel"
    tunnels = replace(rules, types={"vpn": NetworkRule(send="go")})
    assert not permit(tunnel, tunnels, NOW).spare
    assert permit(on(names=("Tunnel", "Café"), types=("vpn", "wifi")), tunnels, NOW).spare, "nor of what it lies on"


@pytest.mark.parametrize("send", ["go", 5000])
def test_an_hour_may_be_spare_where_the_network_is_not(send: str | int) -> None:
    rules = Rules(default=NetworkRule(send=send), schedule=Schedule((Window(end=720, send="spare"),), "go"))
    noon = datetime(2023, 11, 14, 12, tzinfo=ZoneInfo("UTC")).timestamp()
    assert permit(FINE, rules, noon - 1).spare
    assert not permit(FINE, rules, noon).spare
    assert permit(FINE, rules, noon - 1).cap == permit(FINE, rules, noon).cap
    assert next_change(FINE, rules, noon - 1) == noon


def test_an_hour_that_says_go_or_a_rate_leaves_the_networks_way() -> None:
    for send in ("go", 9000):
        always = Schedule((Window(send=send),))
        assert permit(FINE, Rules(schedule=always), NOW).spare
        assert not permit(FINE, Rules(default=NetworkRule(send="go"), schedule=always), NOW).spare


def test_what_is_said_for_now_comes_first_and_lifts_no_cap() -> None:
    hours = Schedule((Window(send="spare"),))
    whole = permit(replace(FINE, mode="go"), Rules(cap=700, schedule=hours), NOW)
    assert (whole.cap, whole.spare) == (700, False)
    shared = permit(replace(FINE, mode="spare"), Rules(default=NetworkRule(send=500)), NOW)
    assert (shared.cap, shared.spare) == (500, True)
    both = permit(replace(FINE, mode="spare", limit=300), Rules(default=NetworkRule(send="go")), NOW)
    assert (both.cap, both.spare) == (300, True)


@pytest.mark.parametrize("mode", ["spare", "go"])
def test_a_mode_ends_by_itself(mode: str) -> None:
    rules = Rules(default=NetworkRule(send="go" if mode == "spare" else "spare"))
    said = replace(FINE, mode=mode, limit_until=NOW + 10)
    assert permit(said, rules, NOW).spare is (mode == "spare")
    assert next_change(said, rules, NOW) == NOW + 10
    assert permit(said, rules, NOW + 10) == permit(FINE, rules, NOW + 10)
    assert next_change(said, rules, NOW + 10) is None


def test_others_on_the_line_slow_down_and_never_forbid() -> None:
    crowded = replace(FINE, crowded=True)
    granted = permit(crowded, Rules(), NOW)
    assert (granted.cap, granted.spare, granted.asks) == (None, True, True)
    (reason,) = granted.reasons
    assert reason.code == "crowded"
    assert "slowboat limit go" in reason.cure
    assert codes(replace(crowded, mode="go")) == []
    assert codes(crowded, Rules(default=NetworkRule(send="go"))) == []
    assert codes(replace(crowded, paused_until=0.0, limit=5)) == ["paused", "limit", "crowded"]
    assert permit(replace(crowded, paused_until=0.0), Rules(), NOW).asks


def test_a_piece_that_a_budget_has_no_room_for_is_not_begun() -> None:
    rules = Rules(networks={"Home": NetworkRule(budgets={Period.DAY: 100, Period.MONTH: 1000})})
    half = replace(FINE, usage={"Home": {Period.DAY: 40, Period.MONTH: 40}})
    assert permit(half, rules, NOW, needs=60).open
    closed = permit(half, rules, NOW, needs=61)
    assert not closed.open
    assert closed.reasons[0].code == "budget"
    assert closed.reasons[0].until == datetime(2023, 11, 15, tzinfo=ZoneInfo("UTC")).timestamp()
    never = permit(half, rules, NOW, needs=101)
    assert not never.open
    assert never.reasons[0].until is None, "no day is long enough for it"
    assert permit(half, Rules(), NOW, needs=10**12).open
    assert largest_piece(half, rules) == 10
    assert largest_piece(half, Rules()) is None


def test_budgets() -> None:
    rules = Rules(networks={"Home": NetworkRule(budgets={Period.DAY: 100, Period.MONTH: 1000})})
    assert budget_left(replace(FINE, usage={"Home": {Period.DAY: 40, Period.MONTH: 950}}), rules) == 50
    assert budget_left(FINE, Rules()) is None
    spent = replace(
        FINE,
        usage={"Home": {Period.DAY: 100, Period.MONTH: 100}, "Other": {Period.DAY: 0, Period.MONTH: 5000}},
        zone=BERLIN,
    )
    (reason,) = permit(spent, rules, NOW).reasons
    assert reason.code == "budget"
    assert reason.until == datetime(2023, 11, 15, tzinfo=BERLIN).timestamp()
    both = replace(spent, usage={"Home": {Period.DAY: 100, Period.MONTH: 1000}})
    reasons = permit(both, rules, NOW).reasons
    assert [each.until for each in reasons] == [reason.until, datetime(2023, 12, 1, tzinfo=BERLIN).timestamp()]
    assert next_change(FINE, rules, NOW) == datetime(2023, 11, 15, tzinfo=ZoneInfo("UTC")).timestamp()


def test_the_schedule_says_until_when() -> None:
    nights = Schedule((Window(start=23 * 60, end=6 * 60, send=8000),))
    conditions, rules = replace(FINE, zone=BERLIN), Rules(schedule=nights)
    evening = datetime(2023, 11, 14, 22, 30, tzinfo=BERLIN).timestamp()
    (reason,) = permit(conditions, rules, evening).reasons
    assert (reason.code, reason.until) == ("schedule", evening + 1800)
    assert next_change(conditions, rules, evening) == evening + 1800
    (reason,) = permit(conditions, rules, evening + 1800).reasons
    assert (reason.code, reason.until) == ("schedule", evening + 1800 + 7 * 3600)
    assert permit(conditions, rules, evening + 1800).cap == 8000


def test_a_limit_ends_by_itself() -> None:
    limited = replace(FINE, limit=1000, limit_until=NOW + 10)
    assert permit(limited, Rules(cap=5000), NOW).cap == 1000
    assert next_change(limited, Rules(cap=5000), NOW) == NOW + 10
    assert permit(limited, Rules(cap=5000), NOW + 10).cap == 5000
    assert next_change(limited, Rules(cap=5000), NOW + 10) is None


def test_foreign_names_are_harmless_on_a_terminal() -> None:
    nasty = on(names=("\x1b[2J\u202eevil\n",), metered=True)
    for reason in permit(replace(nasty, holds=(Hold("\x07", "\x1b]0;x"),)), Rules(), NOW).reasons:
        assert reason.text.isprintable()


def test_the_page_on_the_policy_knows_every_reason() -> None:
    root = Path(__file__).parents[2]
    told = set(re.findall(r"^\| `([a-z-]+)` \|", (root / "docs/permit.md").read_text(), re.MULTILINE))
    assert told == REASONS.keys()
    given = set(re.findall(r'Reason\("([a-z-]+)"', (root / "src/slowboat/core/policy.py").read_text()))
    assert told == given


# What holds for everything

maybe = st.sampled_from([True, False, None])
whole = st.integers(-10, 10**13)
moments = st.one_of(st.floats(0, 4e9), st.floats(allow_nan=False), st.just(NOW))
sends = st.one_of(whole, st.sampled_from(["go", "spare", "never"]))
names = st.sampled_from(["Home", "Phone", "", "Büro"])
kinds = st.sampled_from(["wifi", "ethernet", "mobile", "vpn", "other"])
zones = st.one_of(
    st.sampled_from([ZoneInfo(name) for name in ("UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe")]),
    st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)
networks = st.builds(
    Network,
    st.sampled_from(Connectivity),
    metered=maybe,
    names=st.lists(names, max_size=3).map(tuple),
    types=st.lists(kinds, max_size=3).map(tuple),
    witness=st.sampled_from(["NetworkManager", "portal", "kernel", "nobody"]),
    known=st.booleans(),
)
windows = st.builds(Window, st.frozensets(st.integers(0, 6)), st.integers(0, 1439), st.integers(1, 1440), sends)
network_rules = st.builds(
    NetworkRule,
    sends,
    st.sampled_from(["never", "slow", "go", None]),
    st.dictionaries(st.sampled_from(Period), whole),
)
conditions_ = st.builds(
    Conditions,
    network=networks,
    power=st.builds(Power, maybe, st.one_of(st.none(), st.floats()), maybe),
    paused_until=st.one_of(st.none(), st.just(0.0), moments),
    holds=st.lists(st.builds(Hold, st.text(), st.text()), max_size=2).map(tuple),
    limit=whole,
    mode=st.sampled_from(["", "spare", "go"]),
    limit_until=st.one_of(st.none(), moments),
    usage=st.dictionaries(names, st.dictionaries(st.sampled_from(Period), whole)),
    sleeping=st.booleans(),
    gaming=maybe,
    crowded=st.booleans(),
    zone=zones,
)
choices = st.sampled_from(["never", "slow", "go"])
power_choices = st.sampled_from(["pause", "slow", "go"])
rules_ = st.builds(
    Rules,
    cap=st.one_of(st.none(), whole),
    slow_rate=whole,
    require=st.sampled_from(["full", "limited"]),
    metered=choices,
    vpn=choices,
    networks=st.dictionaries(names, network_rules),
    types=st.dictionaries(kinds, network_rules),
    default=network_rules,
    schedule=st.builds(Schedule, st.lists(windows, max_size=2).map(tuple), sends),
    battery=power_choices,
    battery_min=st.floats(0, 100),
    power_saver=power_choices,
    game=power_choices,
)


@given(conditions_, rules_, moments)
def test_total_and_never_without_a_reason(conditions: Conditions, rules: Rules, now: float) -> None:
    granted = permit(conditions, rules, now)
    assert granted.cap is None or granted.cap >= 0
    assert granted.open or granted.reasons
    assert granted.cap is None or granted.reasons
    assert all(reason.code and reason.text for reason in granted.reasons)
    later = next_change(conditions, rules, now)
    assert later is None or later > now


@given(conditions_, rules_, moments, st.integers(0, 10**9))
def test_never_above_a_cap(conditions: Conditions, rules: Rules, now: float, cap: int) -> None:
    def rate(**changes: object) -> float:
        granted = permit(conditions, replace(rules, **changes), now).cap
        return float("inf") if granted is None else granted

    assert rate(cap=cap) == min(cap, rate(cap=None))
    always = Schedule((Window(send=cap),))
    assert rate(schedule=always) == min(cap, rate(schedule=Schedule()))
    rule = NetworkRule(send=cap)
    assert rate(networks={}, types={}, default=rule) <= cap
    limited = permit(replace(conditions, limit=cap, limit_until=None), rules, now).cap
    assert cap == 0 or (limited is not None and limited <= cap)


@given(conditions_, rules_, moments)
def test_no_reason_is_lost(conditions: Conditions, rules: Rules, now: float) -> None:
    """Each reason stands whatever else holds: taking every other condition away leaves it as it was."""
    told = [each.code for each in permit(conditions, rules, now).reasons]
    alone = {
        "paused": replace(FINE, paused_until=conditions.paused_until),
        "sleep": replace(FINE, sleeping=conditions.sleeping),
        "held": replace(FINE, holds=conditions.holds),
        "battery": replace(FINE, power=conditions.power),
        "power-saver": replace(FINE, power=conditions.power),
        "game": replace(FINE, gaming=conditions.gaming),
        "schedule": replace(FINE, zone=conditions.zone),
        "limit": replace(FINE, limit=conditions.limit, limit_until=conditions.limit_until),
        "crowded": replace(
            FINE,
            network=conditions.network,
            crowded=conditions.crowded,
            zone=conditions.zone,
            mode=conditions.mode,
            limit_until=conditions.limit_until,
        ),
        **dict.fromkeys(
            ("network-unknown", "offline", "portal", "limited", "metered", "vpn", "network"),
            replace(FINE, network=conditions.network),
        ),
        "budget": replace(FINE, network=conditions.network, usage=conditions.usage),
    }
    assert set(told) <= {*alone, "battery-low", "cap"}
    for code, single in alone.items():
        assert codes(single, rules, now).count(code) == told.count(code), code


@given(conditions_, rules_, moments, st.integers(0, 10**9))
def test_whose_line_it_is_moves_no_cap(conditions: Conditions, rules: Rules, now: float, needs: int) -> None:
    """The mode and the company change whether it is spare and one reason; the rate and all else stay."""
    granted = permit(conditions, rules, now, needs)
    others = tuple(reason for reason in granted.reasons if reason.code != "crowded")
    assert len(granted.reasons) - len(others) == (granted.spare and conditions.crowded)
    for mode in ("", "spare", "go"):
        for crowded in (True, False):
            changed = permit(replace(conditions, mode=mode, crowded=crowded), rules, now, needs)
            assert (changed.cap, changed.asks) == (granted.cap, granted.asks)
            assert tuple(reason for reason in changed.reasons if reason.code != "crowded") == others


@given(conditions_, rules_, moments)
def test_what_is_said_for_now_decides_and_else_the_settings(conditions: Conditions, rules: Rules, now: float) -> None:
    unsaid = replace(conditions, mode="", limit_until=None)
    for mode in ("spare", "go"):
        assert permit(replace(unsaid, mode=mode), rules, now).spare is (mode == "spare")
        assert permit(replace(unsaid, mode=mode, limit_until=now), rules, now).spare == permit(unsaid, rules, now).spare
    everywhere = replace(rules, networks={}, types={}, schedule=Schedule())
    assert permit(unsaid, replace(everywhere, default=NetworkRule()), now).spare
    for send in ("go", "never", 5000):
        assert not permit(unsaid, replace(everywhere, default=NetworkRule(send=send)), now).spare


@given(conditions_, rules_, moments)
def test_unknown_is_the_safe_side(conditions: Conditions, rules: Rules, now: float) -> None:
    def rate(changed: Conditions) -> float:
        granted = permit(changed, rules, now).cap
        return float("inf") if granted is None else granted

    power = conditions.power
    for unknown in (
        replace(conditions, network=replace(conditions.network, known=False)),
        replace(conditions, network=replace(conditions.network, connectivity=Connectivity.UNKNOWN)),
    ):
        assert rate(unknown) == 0
    for unknown in (
        replace(conditions, gaming=None),
        replace(conditions, power=replace(power, power_saver=None)),
        replace(conditions, power=replace(power, on_battery=None)),
    ):
        assert rate(unknown) <= rate(conditions)
    if power.on_battery is not False:
        assert rate(replace(conditions, power=replace(power, level=None))) <= rate(conditions)


@given(conditions_, rules_, st.floats(1e9, 2e9), st.floats(0, 1))
def test_nothing_changes_before_the_next_change(conditions: Conditions, rules: Rules, now: float, part: float) -> None:
    later = next_change(conditions, rules, now)
    end = now + 3 * 86400 if later is None else later
    between = min(now + part * (end - now), end - 1)
    if between > now:
        assert permit(conditions, rules, between) == permit(conditions, rules, now)
