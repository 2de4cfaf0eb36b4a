"""Why there is no daemon: each state of the unit in words, with what helps. The real systemd is in tests/daemon."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowboat.cli import not_running
from slowboat.edges.systemd import LAST_WORDS
from slowboat.edges.units import State

WRONG = "/home/anna/.config/slowboat/config.toml, line 1: unknown key limti. Did you mean limit?"


@pytest.mark.parametrize(
    ("state", "what", "hint"),
    [
        (State("not-found", "inactive"), "it is not installed as a service", "slowboat install"),
        (State("masked", "inactive"), "masked", "unmask slowboat, then start it"),
        (State("error", "inactive"), "cannot read its service's files", "slowboat install"),
        (State("loaded", "inactive", "dead", "success", 0, "Everything is in the cloud"), "it was stopped", "start"),
        (State("loaded", "failed", "failed", "exit-code", 78, LAST_WORDS + WRONG), WRONG, "Fix that, then start it"),
        (State("loaded", "failed", "failed", "exit-code", 1, "Sending: x"), "failed with exit code 1", "journalctl"),
        (State("loaded", "failed", "failed", "signal", 9), "it was killed (SIGKILL)", "journalctl"),
        (State("loaded", "failed", "failed", "signal", 99), "it was killed (signal 99)", "journalctl"),
        (
            State("loaded", "failed", "failed", "start-limit-hit", 1),
            "too many times in a row",
            "reset-failed slowboat &&",
        ),
        (State("loaded", "failed", "failed", "watchdog", 6), "it hung", "journalctl"),
        (State("loaded", "failed", "failed", "a-new-word", 6), "it failed (a-new-word)", "journalctl"),
        (State("loaded", "activating", "auto-restart", "signal", 11), "systemd starts it again", "half a minute"),
        (State("loaded", "activating", "start"), "is starting", "in a moment"),
        (State("loaded", "deactivating", "stop"), "is stopping", "start"),
        (State("loaded", "active", "running"), "cannot be reached", "restart slowboat"),
    ],
)
def test_each_state_is_told_with_its_cure(state: State, what: str, hint: str) -> None:
    told = not_running.in_words(state)
    assert what in told.what
    assert hint in told.hint
    assert told.code == "not-running"


WORDS = st.sampled_from(["", "loaded", "not-found", "failed", "active", "activating", "auto-restart", "signal", "?"])


@given(st.builds(State, WORDS, WORDS, WORDS, WORDS, st.integers(-1, 300), st.text(max_size=20)))
def test_any_state_has_its_words(state: State) -> None:
    told = not_running.in_words(state)
    assert told.what.startswith("slowboat is ")
    assert told.hint
