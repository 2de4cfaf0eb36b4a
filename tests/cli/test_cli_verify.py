"""`slowboat verify`: what it says, what it exits with, and how it is broken off."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
import signal
from contextlib import asynccontextmanager

import pytest
import stand_in
from rich.console import Console
from test_cli_commands import slowboat, started

from realparts.offered import offered
from slowboat.cli import verify_view
from slowboat.core.errors import Stopped, Transient
from slowboat.core.verify import AtTarget, Finding, OnDrive, Origin, Report, Sentence, SetReport

pytestmark = pytest.mark.needs("dbus-daemon")

GOOD = Report(
    at=1793534400.0,
    deep=False,
    drive_seen=True,
    complete=True,
    ok=True,
    restorable=True,
    sets=(SetReport("full 1793534400", 0, 7, 25_000_000, 7, 25_000_000, target={"right": 7}, drive={"there": 7}),),
    sentences=(Sentence("All 7 files are in the cloud and correct"),),
)
LOST = Finding("vol3", "full 1793534400", "volume", 5, AtTarget.MISSING, OnDrive.ROTTEN, "it had arrived, and is gone")
BAD = dataclasses.replace(
    GOOD,
    complete=False,
    ok=False,
    sets=(
        SetReport(
            "full 1793534400", 0, 7, 5, 5, 4, target={"right": 5, "missing": 1, "not-sent": 1}, drive={"rotten": 1}
        ),
        SetReport("inc 1793620800", 0, 3, 9, origin=Origin.DUPLICITY),
    ),
    findings=(LOST,),
    sentences=(Sentence("1 file is no longer in the cloud", "connect the drive", wrong=True),),
)


class Engine(stand_in.Engine):
    """Verifies as it is told, until it is told to stop."""

    answer: Report | Exception = GOOD
    lasts = False

    async def verify(self, migration: str, *, deep: bool = False, restore: bool = False) -> Report:
        self._note("verify", migration, deep)
        self._stopped = asyncio.Event()
        if self.lasts:
            self.change(migration, verify_state="reading", verify_progress=0.5, verify_bytes=1000)
            await self._stopped.wait()
            raise Stopped("the verification was stopped")
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def stop_verifying(self, migration: str) -> None:
        self._note("stop_verifying", migration)
        self._stopped.set()


@asynccontextmanager
async def daemon(address):
    engine = Engine()
    async with offered(engine, address) as engine.service:
        engine.service.publish(engine.report)
        yield engine


async def test_everything_right_is_said_in_a_line_per_set_and_exits_with_0(session_bus):
    async with daemon(session_bus) as engine:
        ran = await slowboat(session_bus, "verify")
        deep = await slowboat(session_bus, "verify", "laptop", "--deep")
    assert (ran.code, ran.err, deep.code) == (0, "", 0)
    assert "full of 2026-11-01 13:00 7 25.0 MB all right there" in ran.text
    assert "All 7 files are in the cloud and correct." in ran.text
    assert engine.asked == [("verify", "laptop", False), ("verify", "laptop", True)]


async def test_what_is_wrong_comes_with_its_cure_and_exits_with_1(session_bus):
    async with daemon(session_bus) as engine:
        engine.answer = BAD
        ran = await slowboat(session_bus, "verify", COLUMNS="140")
    assert ran.code == 1
    assert "5 right, 1 to be sent, 1 missing" in ran.text
    assert "straight from duplicity" in ran.text
    assert "! 1 file is no longer in the cloud. What to do: connect the drive." in ran.text
    assert "vol3 it had arrived, and is gone." in ran.text


async def test_what_is_still_to_come_is_not_wrong_but_exits_with_1(session_bus):
    async with daemon(session_bus) as engine:
        engine.answer = dataclasses.replace(GOOD, complete=False)
        assert (await slowboat(session_bus, "verify")).code == 1


async def test_programs_get_all_of_it(session_bus):
    async with daemon(session_bus) as engine:
        engine.answer = BAD
        ran = await slowboat(session_bus, "verify", "--json")
    told = json.loads(ran.out)["laptop"]
    assert (ran.code, told["ok"], told["complete"], told["at"]) == (1, False, False, 1793534400.0)
    assert told["findings"][0] | {"text": ""} == {
        "name": "vol3",
        "set": "full 1793534400",
        "role": "volume",
        "bytes": 5,
        "target": "missing",
        "drive": "rotten",
        "text": "",
    }
    assert [one["origin"] for one in told["sets"]] == ["slowboat", "duplicity"]


async def test_a_refusal_is_one_line(session_bus):
    async with daemon(session_bus) as engine:
        engine.answer = Transient("what is in the cloud cannot be checked now: there is no network", hint="Connect")
        ran = await slowboat(session_bus, "verify")
    assert ran.code == 1
    assert ran.complaint == "slowboat: what is in the cloud cannot be checked now: there is no network. Connect."


async def asked(engine, what):
    async with asyncio.timeout(20):
        while not any(each[0] == what for each in engine.asked):
            await asyncio.sleep(0.05)


async def test_ctrl_c_takes_the_wish_back(session_bus):
    async with daemon(session_bus) as engine:
        engine.lasts = True
        process = await started(session_bus, "verify", "--deep")
        await asked(engine, "verify")
        process.send_signal(signal.SIGINT)
        await process.communicate()
    assert process.returncode == 130
    assert engine.asked[-1] == ("stop_verifying", "laptop")


async def test_another_command_stops_it(session_bus):
    async with daemon(session_bus) as engine:
        engine.lasts = True
        process = await started(session_bus, "verify", "--deep")
        await asked(engine, "verify")
        stopped = await slowboat(session_bus, "verify", "--stop")
        _, err = await process.communicate()
    assert stopped.code == 0
    assert process.returncode == 1
    assert b"the verification was stopped" in err


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_any_report_renders_at_any_width(width):
    many = tuple(dataclasses.replace(LOST, name=f"x\x1b[31m\n{n}" * 9) for n in range(100))
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(verify_view.view("odd\x1bname", dataclasses.replace(BAD, findings=many, unnamed=7)))
    text = console.export_text()
    assert "\x1b" not in text
    assert "77 more" in " ".join(text.split())
