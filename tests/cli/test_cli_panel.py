"""The status as others want it: each form by its own grammar, for any report."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from slowboat.cli import panel
from slowboat.core.words import Activity, HandoverState, ManagerReport, MigrationReport, Reason

NOW = 1795000000.0
HOME = MigrationReport(
    "home", activity=Activity.SENDING, bytes_total=1000, bytes_done=230, bytes_sent=300, volumes_total=9
)
REPORT = ManagerReport(
    "0.1.0", activity=Activity.SENDING, bytes_total=1000, bytes_done=230, rate=512_000, expected_end=NOW + 7200,
    migrations={"home": HOME},
)  # fmt: skip
WAITING = ManagerReport(
    "0.1.0",
    activity=Activity.WAITING,
    bytes_total=1000,
    bytes_done=230,
    reasons=(Reason("metered", 'The network "A<b>|&" is metered'),),
    migrations={"home": HOME},
)


def test_waybar_gets_one_line_of_json_whose_text_is_markup():
    told = json.loads(panel.shown("waybar", REPORT, NOW))
    assert told == {
        "text": "↑ 23 % 512 kB/s",
        "alt": "sending",
        "class": "sending",
        "percentage": 23,
        "tooltip": "slowboat: sending, 230 bytes of 1.0 kB\nRemaining: about 2 h",
    }
    waits = panel.shown("waybar", WAITING, NOW)
    assert "\n" not in waits
    assert 'The network "A<b>|&" is metered.' in ET.fromstring(f"<m>{json.loads(waits)['tooltip']}</m>").text


def test_i3blocks_gets_a_long_text_a_short_one_and_a_colour():
    assert panel.shown("i3blocks", REPORT, NOW).split("\n") == ["↑ 23 % 512 kB/s", "↑", "#2ec27e"]
    assert panel.shown("i3blocks", WAITING, NOW).split("\n") == ["… 23 %", "…", "#e5a50a"]


def test_polybar_gets_a_coloured_line():
    assert panel.shown("polybar", REPORT, NOW) == "%{F#2ec27e}↑ 23 % 512 kB/s%{F-}"


def test_argos_gets_a_button_and_a_menu_in_which_no_name_is_an_attribute():
    button, dashes, *menu = panel.shown("argos", WAITING, NOW).split("\n")
    assert (button.partition(" | ")[0], dashes) == ("… 23 %", "---")
    assert "A<b>¦& | useMarkup=false" not in menu
    assert 'The network "A<b>¦&" is metered. | useMarkup=false' in menu
    assert "Pause | bash='slowboat pause' terminal=false" in menu


@pytest.mark.parametrize(("form", "told"), [("i3blocks", ""), ("polybar", ""), ("prometheus", "slowboat_up 0")])
def test_that_nothing_runs_is_told_and_no_failure(form, told):
    assert panel.shown(form, None, NOW).split("\n")[-1] == told
    assert json.loads(panel.shown("waybar", None, NOW))["class"] == "not-running"


def samples(report):
    families = text_string_to_metric_families(panel.shown("prometheus", report, NOW) + "\n")
    return {(each.name, *sorted(each.labels.items())): each.value for family in families for each in family.samples}


def test_prometheus_gets_its_text_format():
    name = 'a "b\\n"\n'
    done = MigrationReport(
        name, activity=Activity.DONE, handover=HandoverState.DONE, bytes_sent=2**53, volumes_refused=3
    )
    told = samples(ManagerReport("0.1.0", migrations={name: done}, rate=5))
    at = ("migration", name)
    assert told[("slowboat_up",)] == 1
    assert told[("slowboat_info", ("version", "0.1.0"))] == 1
    assert told[("slowboat_sent_bytes_total", at)] == 2**53
    assert told[("slowboat_handover_done", at)] == 1
    assert told[("slowboat_volumes_refused", at)] == 3
    assert told[("slowboat_state", at, ("state", "done"))] == 1
    assert told[("slowboat_state", at, ("state", "waiting"))] == 0


numbers = st.integers(-(2**64), 2**64)
texts = st.text(max_size=20)
reports = st.builds(
    ManagerReport, texts, activity=st.sampled_from(Activity), bytes_total=numbers, bytes_done=numbers, rate=numbers,
    expected_end=st.floats(allow_nan=False), added_delay=st.floats(allow_nan=False),
    reasons=st.lists(st.builds(Reason, texts, texts), max_size=3).map(tuple),
    migrations=st.dictionaries(
        texts, st.builds(MigrationReport, texts, activity=st.sampled_from(Activity), bytes_sent=numbers),
        max_size=3,
    ),
)  # fmt: skip


@given(reports)
def test_any_report_has_every_form(report):
    told = json.loads(panel.shown("waybar", report, NOW))
    ET.fromstring(f"<m>{''.join(ch for ch in told['text'] if ch.isprintable())}</m>")
    assert 0 <= told["percentage"] <= 100
    assert panel.shown("polybar", report, NOW).count("\n") == 0
    assert len(panel.shown("i3blocks", report, NOW).split("\n")) <= 3
    assert "---" in panel.shown("argos", report, NOW).split("\n")
