"""Every command as a program of its own, against the real service on a real bus."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import stand_in

from realparts.offered import offered
from slowboat import __version__
from slowboat.cli.app import cli
from slowboat.core.errors import NeedsUser
from slowboat.core.words import Activity, HandoverState, Reason

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.needs("dbus-daemon")


class Ran:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err
        self.text = re.sub(r"\s+", " ", out).strip()
        self.complaint = re.sub(r"\s+", " ", err).strip()


def environment(address, **more):
    kept = {name: os.environ[name] for name in ("PATH", "HOME")}
    here = {"PYTHONPATH": str(ROOT / "src"), "LANG": "C.UTF-8", "TZ": "Europe/Berlin"}
    return kept | here | {"DBUS_SESSION_BUS_ADDRESS": address} | more


async def started(address, *words, **more):
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "slowboat", *words,
        env=environment(address, **more), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def slowboat(address, *words, **more):
    process = await started(address, *words, **more)
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert process.returncode is not None
    ran = Ran(process.returncode, out.decode(), err.decode())
    assert "Traceback" not in ran.err
    return ran


@asynccontextmanager
async def daemon(address, *migrations):
    engine = stand_in.Engine(*migrations)
    async with offered(engine, address, version=__version__, reload=engine.reload) as engine.service:
        engine.show()
        yield engine


async def test_status_is_what_comes_without_a_command(session_bus):
    async with daemon(session_bus):
        bare, named = await slowboat(session_bus), await slowboat(session_bus, "status")
    assert bare.code == named.code == 0
    assert bare.out == named.out
    assert "slowboat is sending at 512 kB/s over Home (limit 600 kB/s, only what nobody else uses)" in bare.text
    assert "24.1 GB of 103.0 GB, 964 of 4,120 volumes" in bare.text
    assert "\x1b" not in bare.out


async def test_status_for_programs(session_bus):
    async with daemon(session_bus):
        ran = await slowboat(session_bus, "status", "--json")
    shown = json.loads(ran.out)
    assert shown["rate"] == 512_000
    assert shown["migrations"]["laptop"]["handover"] == "pending"


async def test_a_plain_c_locale_gets_plain_ascii(session_bus):
    reasons = (Reason("metered", "The network “Zoë’s phone” is metered", "Wait …"),)
    async with daemon(session_bus) as engine:
        engine.show(activity=Activity.WAITING, reasons=reasons)
        ran = await slowboat(session_bus, "status", LANG="C")
        forced = await slowboat(session_bus, "status", LC_ALL="C")
    assert ran.out == forced.out
    assert ran.out.isascii()
    assert '* The network "Zo\\xeb\'s phone" is metered. What to do: Wait ....' in ran.text


async def test_watching_shows_each_change_and_ends_with_the_daemon(session_bus):
    async with daemon(session_bus) as engine:
        process = await started(session_bus, "status", "--watch")
        assert process.stdout
        async with asyncio.timeout(30):
            first = (await process.stdout.readline()).decode()
            engine.show(activity=Activity.PAUSED, rate=0)
            second = (await process.stdout.readline()).decode()
    async with asyncio.timeout(30):
        out, err = await process.communicate()
    assert "is sending at 512 kB/s" in first
    assert "is paused" in second
    assert process.returncode == 3
    assert "slowboat is not running" in err.decode()
    assert b"Traceback" not in out + err


async def test_watching_outlives_a_restart(session_bus):
    async with daemon(session_bus):
        process = await started(session_bus, "status", "--watch")
        assert process.stdout
        async with asyncio.timeout(30):
            await process.stdout.readline()
    async with daemon(session_bus) as engine:
        engine.show(activity=Activity.CHECKING)
        async with asyncio.timeout(30):
            while "is comparing" not in (await process.stdout.readline()).decode():
                pass
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0


async def test_an_interrupt_ends_the_watching_quietly(session_bus):
    async with daemon(session_bus):
        process = await started(session_bus, "status", "--watch", "--json")
        assert process.stdout
        async with asyncio.timeout(30):
            json.loads(await process.stdout.readline())
            process.send_signal(signal.SIGINT)
            _, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")


async def test_why_tells_reasons_and_cures(session_bus):
    metered = Reason("metered", 'The network "Phone" is metered', "Use another", since=1e9)
    schedule = Reason("schedule", "It is not the hour", until=4e9)
    async with daemon(session_bus) as engine:
        engine.show(activity=Activity.WAITING, reasons=(metered, schedule))
        ran = await slowboat(session_bus, "why")
    assert ran.code == 0
    assert 'The network "Phone" is metered. What to do: Use another. Since 9 September 2001 at ' in ran.text
    assert "It is not the hour. Ends by itself 2 October 2096 at 09:06" in ran.text


async def test_in_a_pipe_a_path_is_in_one_piece(session_bus):
    path = "/media/anna/" + "a folder whose name says everything/" * 8
    absent = Reason("source-absent", f"{path} is not there", "connect the drive")
    async with daemon(session_bus) as engine:
        engine.show(activity=Activity.WAITING, reasons=(absent,))
        shown = [await slowboat(session_bus, word) for word in ("why", "status")]
        narrow = await slowboat(session_bus, "why", COLUMNS="40")
    for each in shown:
        assert path in each.out
        assert not [line for line in each.out.splitlines() if line != line.rstrip()]
    assert max(map(len, narrow.out.splitlines())) <= 40


async def test_plan_lists_the_order_in_words_and_for_programs(session_bus):
    async with daemon(session_bus) as engine:
        words = await slowboat(session_bus, "plan")
        every = await slowboat(session_bus, "plan", "laptop", "--all")
        programs = await slowboat(session_bus, "plan", "laptop", "--json")
    assert engine.asked == [("plan", "laptop")] * 3
    assert "100 MB remaining: about 3 min at the current 512 kB/s." in words.text
    assert all(f"vol{n}" in every.out for n in range(1, 5))
    assert json.loads(programs.out)["laptop"] == stand_in.PLAN


async def test_pause_and_resume_say_what_is_so_now(session_bus):
    async with daemon(session_bus) as engine:
        plain = await slowboat(session_bus, "pause")
        status = await slowboat(session_bus)
        before = time.time()
        some = await slowboat(session_bus, "pause", "2h", "laptop")
        after = time.time()
        until = await slowboat(session_bus, "pause", "until", "18:00")
        back = await slowboat(session_bus, "resume")
        one = await slowboat(session_bus, "resume", "laptop")
    (_, _, forever), (_, name, for_two), (_, _, six), *rest = engine.asked
    assert plain.text == "Paused until you resume it: slowboat resume"
    assert "slowboat is paused" in status.text
    assert "What to do: slowboat resume" in status.text
    assert forever == 0.0
    assert name == "laptop"
    assert before + 7200 <= for_two <= after + 7200
    assert some.text.startswith("“laptop” is paused until ")
    assert "(for 2 h). To resume earlier: slowboat resume laptop" in some.text
    assert time.strftime("%M", time.localtime(six)) == "00"
    assert "18:00" in until.text
    assert rest == [("resume", ""), ("resume", "laptop")]
    assert "no longer paused" in back.text
    assert "“laptop” is no longer paused" in one.text


async def test_limit_sets_shows_and_lifts_the_cap(session_bus):
    async with daemon(session_bus) as engine:
        shown = await slowboat(session_bus, "limit")
        narrow = await slowboat(session_bus, "limit", "500k")
        off = await slowboat(session_bus, "limit", "off")
        none = await slowboat(session_bus, "limit")
    assert shown.text == "The limit is 600 kB/s (4.8 Mbit/s). It takes only what nobody else uses."
    assert narrow.text == "At most 500 kB/s (4 Mbit/s) from now on. To see what else holds it back: slowboat why"
    assert "As in your settings from now on." in off.text
    assert none.text == "There is no limit now. It takes only what nobody else uses."
    assert engine.asked == [("set_limit", 500_000, 0.0, ""), ("set_limit", 0, 0.0, "")]


async def test_limit_says_whose_line_it_is(session_bus):
    async with daemon(session_bus) as engine:
        spare = await slowboat(session_bus, "limit", "spare")
        whole = await slowboat(session_bus, "limit", "go", "--for", "1h30m")
        shown = await slowboat(session_bus, "limit")
        status = await slowboat(session_bus, "status")
        programs = await slowboat(session_bus, "status", "--json")
        await slowboat(session_bus, "limit", "off")
        shared = await slowboat(session_bus, "status")
        refused = await slowboat(session_bus, "limit", "off", "--for", "1h")
    [first, (_, rate, until, mode), last] = engine.asked
    assert first == ("set_limit", 0, 0.0, "spare")
    assert (rate, mode) == (0, "go")
    assert abs(until - time.time() - 5400) < 60
    assert last == ("set_limit", 0, 0.0, "")
    assert spare.text.startswith("Only what nobody else uses, from now on. To see what else")
    assert whole.text.startswith("The whole connection, below your caps, until t")
    assert "(for 1 h 30 min). To see what else" in whole.text
    assert shown.text.startswith(
        "There is no limit now. It does not make way for others. Your setting for now: Ends by"
    )
    assert "nobody else uses" not in status.text
    assert json.loads(programs.out)["mode"] == "go"
    assert "is sending at 512 kB/s over Home (only what nobody else uses)" in shared.text
    assert refused.code == 2


async def test_while_others_use_the_line_why_says_so_and_what_helps(session_bus):
    told = "Somebody else is using the connection, and slowboat takes only what is left over"
    async with daemon(session_bus) as engine:
        engine.show(reasons=(Reason("crowded", told, "slowboat limit go"),))
        ran = await slowboat(session_bus, "why")
        status = await slowboat(session_bus, "status")
    for shown in (ran, status):
        assert f"It sends less than it could, because: • {told}. What to do: slowboat limit go" in shown.text


async def test_a_tab_offers_what_limit_knows_beside_a_rate(session_bus):
    words = {"COMP_WORDS": "slowboat limit ", "COMP_CWORD": "2", "_SLOWBOAT_COMPLETE": "bash_complete"}
    offered = await slowboat(session_bus, **words)
    assert offered.out.split() == ["plain,spare", "plain,go", "plain,off"]


@pytest.mark.parametrize("command", ["pause", "limit"])
async def test_help_shows_each_example_in_a_line_of_its_own(session_bus, command):
    ran = await slowboat(session_bus, command, "--help")
    assert len(re.findall(rf"^  slowboat {command} .*  +\S", ran.out, re.MULTILINE)) >= 3
    assert "\\b" not in ran.out


async def test_limit_for_a_while(session_bus):
    async with daemon(session_bus) as engine:
        ran = await slowboat(session_bus, "limit", "500k", "--for", "1h30m")
        [(_, limit, until, _)] = engine.asked
        refused = [await slowboat(session_bus, "limit", *words) for words in (("off", "--for", "1h"), ("--for", "1h"))]
        nonsense = await slowboat(session_bus, "limit", "500k", "--for", "soon")
    assert limit == 500_000
    assert abs(until - time.time() - 5400) < 60
    assert ran.text.startswith("At most 500 kB/s (4 Mbit/s) until t")
    assert "(for 1 h 30 min). To see what else" in ran.text
    assert [one.code for one in (*refused, nonsense)] == [2, 2, 2]
    assert "--for needs a limit" in refused[0].err
    assert "soon" in nonsense.err
    assert len(engine.asked) == 1


async def test_limit_tells_where_the_limits_come_from(session_bus):
    cap = Reason("cap", "Your settings cap it at 600 kB/s", "Raise the cap in the settings")
    async with daemon(session_bus) as engine:
        engine.show(reasons=(cap, Reason("metered", "The network is metered")))
        ran = await slowboat(session_bus, "limit")
        engine.show(limit=0, activity=Activity.WAITING)
        held = await slowboat(session_bus, "limit")
    assert (
        ran.text == "The limit is 600 kB/s (4.8 Mbit/s). • "
        "Your settings cap it at 600 kB/s. What to do: Raise the cap in the settings. "
        "It takes only what nobody else uses."
    )
    assert "Your settings cap it at 600 kB/s." in held.text
    assert "no limit" not in held.text


async def test_handover_says_where_to_back_up_to_and_can_be_undone(session_bus):
    async with daemon(session_bus) as engine:
        done = await slowboat(session_bus, "handover")
        again = await slowboat(session_bus, "handover", "laptop")
        undone = await slowboat(session_bus, "handover", "--undo")
    assert engine.asked == [("hand_over", "laptop"), ("undo_handover", "laptop")]
    assert "The handover is done. From now on, back up to swift://backups/laptop" in done.text
    assert "Keep the drive" in done.text
    assert again.out == done.out
    assert "Keep backing up to the drive (/media/anna/Backup/laptop)" in undone.text
    assert engine.report.migrations["laptop"].handover is HandoverState.PENDING


async def test_handover_switches_deja_dup_where_it_is_told_to(session_bus):
    async with daemon(session_bus) as engine:
        done = await slowboat(session_bus, "handover", "--switch-deja-dup")
        both = await slowboat(session_bus, "handover", "--switch-deja-dup", "--undo")
    assert engine.asked == [("switch_front_end", "laptop")]
    assert "Deja Dup now backs up to rclone://cloud:backups/laptop" in done.text
    assert "Keep the drive" in done.text
    assert both.code == 2
    assert "switches Deja Dup back by itself" in both.complaint


async def test_history_in_words_and_for_programs(session_bus):
    async with daemon(session_bus) as engine:
        words = await slowboat(session_bus, "history")
        programs = await slowboat(session_bus, "history", "-n", "1", "--json")
        before = time.time()
        await slowboat(session_bus, "history", "--since", "2d")
    assert "2026-11-18 12:06 The chain on the drive is adopted" in words.text
    assert [entry["text"] for entry in json.loads(programs.out)] == ["Y"]
    assert engine.asked[0] == ("history", 0.0, 30)
    asked = [each for each in engine.asked if each[0] == "history"]
    assert before - 2 * 86400 <= asked[2][1] <= time.time() - 2 * 86400


async def test_retry_and_reload_reach_the_daemon(session_bus):
    async with daemon(session_bus) as engine:
        assert (await slowboat(session_bus, "retry")).code == 0
        assert (await slowboat(session_bus, "reload")).code == 0
    assert engine.asked == [("retry_now",), ("reload",)]


@pytest.mark.parametrize(
    "words", [["status"], ["why"], ["plan"], ["pause"], ["resume"], ["limit"], ["handover"], ["history"], ["verify"]]
)
async def test_without_a_daemon_one_line_says_so_and_how_to_start_it(session_bus, words):
    ran = await slowboat(session_bus, *words)
    assert (ran.code, ran.out) == (3, "")
    assert ran.complaint.startswith("slowboat: slowboat is not running. What to do: Start it with: systemctl")


async def test_without_a_bus_one_line_says_so():
    ran = await slowboat("unix:path=/nonexistent/bus")
    assert (ran.code, ran.out) == (3, "")
    assert "not with sudo" in ran.complaint


@pytest.mark.parametrize(
    "words", [["pause", "desktop"], ["resume", "desktop"], ["handover", "desktop"], ["plan", "desktop"]]
)
async def test_an_unknown_migration_is_named_with_those_there_are(session_bus, words):
    async with daemon(session_bus) as engine:
        ran = await slowboat(session_bus, *words)
    assert (ran.code, engine.asked) == (1, [])
    assert ran.complaint == "slowboat: there is no migration called “desktop”. What to do: Known names: laptop."


async def test_a_slip_in_a_migrations_name_is_answered_with_the_name(session_bus):
    async with daemon(session_bus):
        ran = await slowboat(session_bus, "pause", "laptopp")
    assert ran.code == 1
    assert "Did you mean laptop?" in ran.complaint


async def test_with_several_migrations_the_one_that_is_meant_must_be_said(session_bus):
    other = stand_in.dataclasses.replace(stand_in.LAPTOP, name="desktop")
    async with daemon(session_bus, stand_in.LAPTOP, other) as engine:
        ran = await slowboat(session_bus, "handover")
    assert (ran.code, engine.asked) == (2, [])
    assert "which migration?" in ran.complaint
    assert "\n    slowboat handover laptop\n    slowboat handover desktop\n" in ran.err


async def test_a_refusal_of_the_daemon_comes_with_its_cure(session_bus):
    refusal = NeedsUser("another chain stands at swift://backups/laptop", hint="Choose another prefix in the settings")
    async with daemon(session_bus) as engine:
        engine.refusal = refusal
        for words in (["handover"], ["pause"], ["limit", "500k"], ["reload"], ["plan"], ["history"]):
            ran = await slowboat(session_bus, *words)
            assert (ran.code, ran.out) == (1, "")
            assert "another chain stands at swift://backups/laptop" in ran.complaint
            assert "Choose another prefix in the settings" in ran.complaint


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["limit", "500"], "did you mean 500k?"),
        (["limit", "0"], "slowboat pause"),
        (["pause", "until"], "pause until 18:00"),
        (["pause", "2h", "laptop", "x"], "is not understood"),
        (["history", "--since", "the flood"], "is not a time"),
        (["sail"], "No such command"),
        (["status", "--wacth"], "--watch"),
    ],
)
async def test_wrong_words_are_answered_with_right_ones(words, told):
    ran = await slowboat("unix:path=/nonexistent/bus", *words)
    assert (ran.code, ran.out) == (2, "")
    assert told in ran.complaint


async def test_help_and_version_need_no_daemon():
    nowhere = "unix:path=/nonexistent/bus"
    assert (await slowboat(nowhere, "--version")).out == f"slowboat {__version__}\n"
    ran = await slowboat(nowhere, "--help", COLUMNS="80")
    assert ran.code == 0
    assert "..." not in ran.out.replace("[ARGS]...", "")


CONFIGURED = """
[cloud.mycloud]
auth_url = "https://swift.example.com/auth/v1.0"
user = "account:user"
[migration.laptop]
source = "/media/anna/Backup/laptop"
container = "backups"
archive_dir = "/elsewhere/caches"
"""


def configured(home, text=CONFIGURED):
    folder = home / ".config/slowboat"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(text)


async def test_install_can_be_looked_at_first(tmp_path):
    configured(tmp_path)
    ran = await slowboat("", "install", "--print", HOME=str(tmp_path))
    open_air = await slowboat("", "install", "--print", "--no-sandbox", HOME=str(tmp_path))
    assert ran.code == open_air.code == 0
    assert f"# {tmp_path}/.local/share/systemd/user/slowboat.service\n" in ran.out
    assert re.search(r"^ExecStart=/.* daemon$", ran.out, re.MULTILINE)
    assert "ReadWritePaths=-/elsewhere/caches\n" in ran.out
    assert "ProtectSystem" not in open_air.out
    assert not (tmp_path / ".local").exists()


@pytest.mark.parametrize(("text", "told"), [(None, "does not exist"), ("limmit = 3", "line 1: unknown key limmit")])
async def test_install_checks_the_configuration_before_it_writes(tmp_path, text, told):
    if text:
        configured(tmp_path, text)
    ran = await slowboat("", "install", HOME=str(tmp_path))
    assert (ran.code, ran.out) == (78, "")
    assert told in ran.complaint
    assert not (tmp_path / ".local").exists()


@pytest.mark.parametrize("word", ["install", "uninstall"])
async def test_without_systemd_one_line_says_so_and_nothing_is_written(tmp_path, word):
    configured(tmp_path)
    ran = await slowboat("", word, HOME=str(tmp_path), PATH="/nonexistent")
    assert (ran.code, ran.out) == (1, "")
    assert "there is no systemd here that runs this user's services. What to do:" in ran.complaint
    assert not (tmp_path / ".local").exists()


async def test_on_a_terminal_there_are_colours_and_with_no_color_none(session_bus):
    async with daemon(session_bus):
        for more, coloured in (
            ({"TERM": "xterm-256color"}, True),
            ({"TERM": "xterm-256color", "NO_COLOR": "1"}, False),
        ):
            ours, theirs = os.openpty()
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "slowboat", env=environment(session_bus, **more), stdout=theirs
            )
            os.close(theirs)
            async with asyncio.timeout(60):
                assert await process.wait() == 0
            shown = os.read(ours, 65536)
            os.close(ours)
            assert b"is sending at 512 kB/s" in shown
            assert (re.search(rb"\x1b\[[0-9;]*3[0-9]", shown) is not None) is coloured


def test_the_daemon_starts_without_what_only_the_command_line_needs():

    code = """
import sys, types
fake = types.ModuleType("slowboat.daemon")
fake.main = lambda config: print(config, [name for name in ("click", "rich") if name in sys.modules]) or 78
sys.modules["slowboat.daemon"] = fake
from slowboat.__main__ import main
sys.exit(main())
"""
    for words, told in (
        (["daemon"], "None []"),
        (["daemon", "--config", "/x"], "/x []"),
        (["daemon", "--config=/x"], "/x "),
    ):
        argv = [sys.executable, "-c", code, *words]
        ran = subprocess.run(argv, env=environment(""), capture_output=True, text=True, check=False)
        assert ran.returncode == 78
        assert ran.stdout.startswith(told)


@pytest.mark.needs("bash")
async def test_bash_completes_commands_and_names(session_bus, tmp_path):
    shim = tmp_path / "slowboat"
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} -m slowboat "$@"\n')
    shim.chmod(0o755)
    script = ROOT / "contrib/completions/slowboat.bash"
    finish = '_slowboat_completion slowboat; echo "${COMPREPLY[@]}"'
    async with daemon(session_bus):
        told = []
        for words in ("slowboat pa", "slowboat pau", "slowboat resume la", "slowboat completion f"):
            process = await asyncio.create_subprocess_exec(
                "bash", "-c", f". {script}; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}}-1)); {finish}",
                env=environment(session_bus, PATH=f"{tmp_path}:{os.environ['PATH']}"), stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            async with asyncio.timeout(30):
                out, _ = await process.communicate()
            told.append(out.decode().strip())
    assert told == ["pause password", "pause", "laptop", "fish"]


@pytest.mark.parametrize(
    ("shell", "name"), [("bash", "slowboat.bash"), ("zsh", "_slowboat"), ("fish", "slowboat.fish")]
)
async def test_completions_are_shipped_for_each_shell(shell, name):
    shipped = (ROOT / "contrib/completions" / name).read_text()
    made = (await slowboat("", "completion", shell)).out
    assert f"_SLOWBOAT_COMPLETE={shell}_complete" in shipped
    assert f"_SLOWBOAT_COMPLETE={shell}_complete" in made
    assert ("split --max 1" in made) == ("split --max 1" in shipped) == (shell == "fish"), "help may hold commas"


async def test_the_help_shows_no_marks_of_the_program():
    for command in cli.commands:
        assert "\\b" not in (await slowboat("", command, "--help")).out


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["limit", "--help"]])
def test_an_output_that_takes_no_more_is_said_in_a_sentence(words):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "slowboat", *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr.startswith("slowboat: this cannot be written: No space left on device.")
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
