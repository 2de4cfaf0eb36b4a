"""What goes wrong is said so that a command in it can be copied: alone on its line, in one piece."""

from __future__ import annotations

import pytest

from slowboat.cli import screen
from slowboat.core.errors import NeedsUser


@pytest.mark.parametrize("where", ["what", "hint"])
def test_a_command_stands_alone_on_its_line(where: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = f"duplicity incremental --archive-dir=/{'a' * 200} / swift://c/p"
    text = f"Let duplicity go on:\n{command}\nOr wait"
    screen.complain(NeedsUser(text) if where == "what" else NeedsUser("It cannot", hint=text))
    lines = [line.strip() for line in capsys.readouterr().err.splitlines()]  # after "What to do" they are indented
    assert command in lines
    assert lines[-1] == "Or wait"


def test_nothing_foreign_commands_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    screen.complain(NeedsUser("one\n\x1b[2Jtwo", hint="three\r\n\x07four"))
    said = capsys.readouterr().err
    assert "\x1b" not in said
    assert "\x07" not in said
