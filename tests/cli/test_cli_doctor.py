"""`slowboat doctor` where little is there: each thing has its line and its cure, and nothing is changed."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from test_cli_commands import daemon, slowboat

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.needs("dbus-daemon")
CONFIG = """\
[cloud.mycloud]
auth_url = "https://127.0.0.1:1/auth/v1.0"
user = "a:u"
[migration.home]
source = "/nonexistent/drive"
container = "lenny"
"""


async def test_what_is_missing_is_told_with_its_cure(session_bus, tmp_path: Path) -> None:
    ran = await slowboat(session_bus, "doctor", HOME=str(tmp_path))
    assert ran.code == 1
    assert "There is no configuration" in ran.text
    assert "slowboat setup" in ran.text
    assert list(tmp_path.iterdir()) == [], "it only reads"

    folder = tmp_path / ".config/slowboat"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(CONFIG)
    ran = await slowboat(session_bus, "doctor", "--json", HOME=str(tmp_path))
    shown = json.loads(ran.out)
    found = {one["code"]: one for one in shown["findings"]}
    assert (ran.code, shown["ok"]) == (1, False)
    assert found["configuration"]["health"] == "good"
    assert "slowboat password mycloud" in found["secret"]["cure"]
    assert (found["secret"]["health"], found["drive"]["health"]) == ("bad", "note")
    assert (found["cloud"]["health"], found["keyring"]["health"]) == ("bad", "note")
    assert [str(one.relative_to(tmp_path)) for one in tmp_path.rglob("*") if one.is_file()] == [
        ".config/slowboat/config.toml"
    ]


async def test_a_daemon_with_an_older_configuration_is_told(session_bus, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(CONFIG)
    async with daemon(session_bus) as engine:
        engine.show(configuration=os.fspath(path), configuration_digest="0" * 64)
        ran = await slowboat(session_bus, "status")
        assert f"{path} has been edited since slowboat read it. To use it: slowboat reload" in ran.text
        ran = await slowboat(session_bus, "doctor", "--offline")
        assert "has been edited" in ran.text
        engine.report = replace(engine.report, configuration_digest="")
        engine.show()
        assert "has been edited" not in (await slowboat(session_bus, "status")).text
