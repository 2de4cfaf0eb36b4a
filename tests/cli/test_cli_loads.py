"""Each command loads what it shows, and no more; modules are counted, for a Tab and a status are asked for often."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from slowboat.cli.app import cli
from slowboat.cli.elsewhere import Elsewhere

HEAVY = ("rich", "asyncio", "dbus_next", "msgspec", "slowboat.core", "slowboat.edges", "slowboat.cli.setup")
LOADED = """
import json, sys
from slowboat.__main__ import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def loaded(*words: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", LOADED, *words], capture_output=True, text=True, check=True)
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize("words", [("--version",), ("--help",), ("status", "--help"), ("plan", "--help")])
def test_what_needs_no_daemon_loads_neither_the_bus_nor_what_draws(words: tuple[str, ...]) -> None:
    assert [name for name in loaded(*words) if name.startswith(HEAVY) and name != "slowboat.core.errors"] == [
        "slowboat.core"
    ]


def test_a_status_loads_the_bus_and_what_it_shows() -> None:
    """Verifying, installing and the setting up are not in it; here there is no bus, so that it says why it cannot."""
    code = "import slowboat.cli.status, slowboat.edges.bus.client"
    text = f"import json, sys; {code}; print(json.dumps(sorted(sys.modules)))"
    found = json.loads(subprocess.run([sys.executable, "-c", text], capture_output=True, check=True).stdout)
    rooms = ("slowboat.core.verify", "slowboat.core.account", "slowboat.core.names", "slowboat.edges.units", "inspect")
    assert [name for name in found if name.startswith(rooms) and not name.startswith("inspect.")] in ([], ["inspect"])


def test_what_is_loaded_late_has_its_own_summary() -> None:
    late = [command for command in cli.commands.values() if isinstance(command, Elsewhere)]
    assert len(late) == 6
    for command in late:
        assert command.get_short_help_str(200) == command.real().get_short_help_str(200), command.name
