"""Why the daemon is not there, as far as the user's systemd knows: a unit's state in, plain words out.

Knows what systemd's words mean for the person whose backup it is; must not know how systemd is asked (`edges.units`).
Where it cannot be asked, what was known before is said.
"""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

from slowboat.core.errors import NeedsUser
from slowboat.edges.systemd import LAST_WORDS

if TYPE_CHECKING:
    from slowboat.core.errors import SlowboatError
    from slowboat.edges.units import State

_START = "systemctl --user start slowboat"
_LOG = "journalctl --user -u slowboat -n 20"
_RESULTS = {
    "core-dump": "it crashed",
    "oom-kill": "it was killed because memory ran out",
    "protocol": "it exited before it was ready",
    "start-limit-hit": "it failed too many times in a row",
    "timeout": "it did not start or stop in time",
    "watchdog": "it hung, and systemd ended it",
}
"""systemd's `Result` of a service that failed, where neither it nor its exit code say more.

https://www.freedesktop.org/software/systemd/man/latest/org.freedesktop.systemd1.html#Properties2
"""


def explained(error: SlowboatError) -> SlowboatError:
    """The same error, or, where it is that the daemon is not running, one that says why."""
    if error.code != "not-running":
        return error
    from slowboat.edges import units

    state = asyncio.run(units.state())
    return error if state is None else in_words(state)


def in_words(state: State) -> NeedsUser:
    """Why a service in that state cannot be asked, and what helps. Total: any state has its words."""
    match state.load, state.active:
        case "not-found", _:
            what, hint = _not("it is not installed as a service"), "Install and start it with: slowboat install"
        case "masked", _:
            hint = f"Allow it with: systemctl --user unmask slowboat, then start it with: {_START}"
            what = _not("its service is masked, so systemd may not start it")
        case "loaded", "failed":
            what, hint = _not(_why(state)), _cure(state)
        case "loaded", "activating" if state.sub == "auto-restart":
            what = _not(f"{_why(state)} (systemd starts it again by itself)")
            hint = f"Wait half a minute. To see what it logged: {_LOG}"
        case "loaded", "activating" | "reloading":
            what, hint = "slowboat is starting", "Try again in a moment"
        case "loaded", "deactivating":
            what, hint = "slowboat is stopping", f"When it has stopped, start it again with: {_START}"
        case "loaded", "active":
            what = "slowboat is running, but cannot be reached on this session's bus"
            hint = "Restart it with: systemctl --user restart slowboat"
        case "loaded", _:
            what, hint = _not("it was stopped, or not started yet"), f"Start it with: {_START}"
        case _:
            what = _not("systemd cannot read its service's files")
            hint = "To see why: systemctl --user status slowboat. To write them again: slowboat install"
    return NeedsUser(what, hint=hint, code="not-running")


def _not(why: str) -> str:
    return f"slowboat is not running: {why}"


def _why(state: State) -> str:
    """What ended it: in its own last words, else as systemd saw it."""
    if words := _last_words(state):
        return words
    if state.result == "exit-code":
        return f"it failed with exit code {state.status}"
    if state.result == "signal":
        names = {each.value: each.name for each in signal.Signals}
        return f"it was killed ({names.get(state.status, f'signal {state.status}')})"
    return _RESULTS.get(state.result, f"it failed ({state.result})")


def _last_words(state: State) -> str:
    """What the service itself could name; "" where it could not, and its status line tells what it did before."""
    return state.status_text.removeprefix(LAST_WORDS) if state.status_text.startswith(LAST_WORDS) else ""


def _cure(state: State) -> str:
    start = f"systemctl --user reset-failed slowboat && {_START}" if state.result == "start-limit-hit" else _START
    if _last_words(state):
        return f"Fix that, then start it with: {start}"
    return f"To see what it logged: {_LOG}. To start it again: {start}"
