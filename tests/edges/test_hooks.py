"""The user's own commands: real ones, started as they would be."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from slowboat.edges.hooks import LONGEST, Hooks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SECRETS = {"OS_PASSWORD": "hunter2", "ST_KEY": "hunter2", "CREDENTIALS_DIRECTORY": "/x", "NOTIFY_SOCKET": "/y"}
TELL = """
import json, os, sys
json.dump([dict(os.environ), sys.argv[1:], sys.stdin.read(), os.getcwd()], open(sys.argv[1], "w"))
"""


@contextlib.asynccontextmanager
async def running(hooks: Hooks) -> AsyncIterator[None]:
    task = asyncio.create_task(hooks.run())
    yield
    assert not task.done(), "it never ends by itself"
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def until(path: Path) -> str:
    async with asyncio.timeout(60):
        while not path.exists() or not path.read_text():
            await asyncio.sleep(0.01)
    return path.read_text()


async def test_a_command_learns_what_happened_and_no_secret(tmp_path: Path) -> None:
    hooks = Hooks({"PATH": "/usr/bin", "HOME": "/home/anna", **SECRETS})
    said = tmp_path / "said"
    hooks.commands = {"done": (sys.executable, "-c", TELL, str(said), "$HOME; rm -rf *")}
    async with running(hooks):
        hooks.happened("handover", "home", "nobody", "asked")
        hooks.happened("done", "home", "It is there", "All of it\0.")
        environment, arguments, given, where = json.loads(await until(said))
    assert environment.pop("LC_CTYPE", "") in {"", "C.UTF-8"}, "Python's own, where there is no locale"
    assert environment == {
        "PATH": "/usr/bin",
        "HOME": "/home/anna",
        "SLOWBOAT_EVENT": "done",
        "SLOWBOAT_MIGRATION": "home",
        "SLOWBOAT_TITLE": "It is there",
        "SLOWBOAT_TEXT": "All of it.",
    }
    assert arguments == [str(said), "$HOME; rm -rf *"], "there is no shell that would read it"
    assert (given, where) == ("", "/")


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (("/nowhere/at-all",), "cannot be started: No such file or directory"),
        (("/bin/sh", "-c", "echo no such topic; exit 3"), "ended with 3: no such topic"),
        (("/bin/sh", "-c", "yes | head -c 1000000; exit 1"), "ended with 1: y y y"),
        (("/bin/sh", "-c", "sleep 1000 & sleep 1000"), "did not end in 1 seconds, and was killed"),
    ],
)
async def test_one_that_fails_is_a_line_in_the_journal_and_the_next_one_runs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, command: tuple[str, ...], told: str
) -> None:
    hooks = Hooks({"PATH": "/usr/bin:/bin"}, patience=1.0)
    after = tmp_path / "after"
    hooks.commands = {"needs_user": command, "done": ("/bin/sh", "-c", f"echo yes >{after}")}
    async with running(hooks):
        hooks.happened("needs_user", "home", "home needs you", "")
        hooks.happened("done", "home", "It is there", "")
        await until(after)
    (line,) = [record for record in caplog.records if record.name.startswith("slowboat")]
    assert f"[hooks] needs_user {told}" in line.getMessage()
    assert len(line.getMessage()) < LONGEST + 100
    assert (vars(line)["kind"], vars(line)["migration"]) == ("hook", "home")


async def test_what_a_command_leaves_behind_ends_with_it(tmp_path: Path) -> None:
    hooks = Hooks({"PATH": "/usr/bin:/bin"})
    left = tmp_path / "pid"
    hooks.commands = {"done": ("/bin/sh", "-c", f"sleep 1000 >/dev/null 2>&1 & echo $! >{left}")}
    async with running(hooks):
        hooks.happened("done", "home", "", "")
        process = int(await until(left))
        async with asyncio.timeout(60):
            while not _has_ended(process):
                await asyncio.sleep(0.01)


def _has_ended(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
