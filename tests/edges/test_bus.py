"""Our interface on a real dbus-daemon, read by our client and by systemd's busctl."""

from __future__ import annotations

import asyncio
import json
import os
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realparts.offered import offered
from slowboat.core.errors import NeedsUser, Refused, SourceAbsent, Stopped, Transient
from slowboat.core.verify import AtTarget, Backup, Finding, OnDrive, Origin, Report, SampleFile, Sentence, SetReport
from slowboat.core.words import Activity, HandoverState, ManagerReport, MigrationReport, Reason
from slowboat.edges.bus import service as service_module
from slowboat.edges.bus.client import Client
from slowboat.edges.bus.objects import OBJECT_MANAGER, shipped
from slowboat.edges.bus.report_properties import (
    COUNTERS,
    MANAGER,
    MIGRATION,
    NAME,
    ROOT,
    path_of,
    to_manager,
    to_migration,
    to_properties,
)
from slowboat.edges.bus.service import Service
from slowboat.edges.dbus import PROPERTIES, BusError, Connection, Match, Variant, plain

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from realparts.private_bus import PrivateBus

pytestmark = pytest.mark.needs("dbus-daemon", "busctl")

NEVER = 3600.0  # an interval in which no counter is told twice

REPORT = ManagerReport(
    version="1.2.3",
    activity=Activity.WAITING,
    reasons=(
        Reason("metered", "the network is metered", "use another network", since=1_700_000_001.5),
        Reason("server-wait", "the server asked slowboat to wait", until=1_800_000_000.25),
    ),
    bytes_total=2**40,
    bytes_done=2**39,
    bytes_in_flight=12_345,
    bytes_sent=2**39 + 1,
    progress=0.5,
    rate=125_000,
    limit=250_000,
    limit_until=1_700_000_002.5,
    network="Wired connection 1",
    paused_until=1_700_000_000.5,
    expected_end=1_900_000_000.0,
    last_error="the server said 503",
    migrations={
        "laptop": MigrationReport(
            name="laptop",
            source="/media/drive/backup",
            target_url="swift://backup/laptop",
            activity=Activity.SENDING,
            handover=HandoverState.BLOCKED,
            handover_why="duplicity 1.2.2 would delete it",
            volumes_total=400,
            volumes_done=100,
            volumes_refused=1,
            metadata_total=6,
            metadata_done=6,
            bytes_total=2**40,
            bytes_in_flight=7,
            progress=0.125,
            rate=125_000,
            started_at=1_600_000_000.0,
            restorable_from_cloud=True,
            cloud_has="newest",
            cloud_has_text="Keep the drive.",
            direct_sets=2,
            behind=3,
            newest_on_drive=1_600_000_002.0,
            newest_in_cloud=1_600_000_001.0,
            backup_url="rclone://cloud:backup/laptop",
            front_end="Deja Dup still backs up to the drive",
            duplicities=("duplicity 3.2.1 (/usr/bin/duplicity)", "duplicity 0.8.22 (/bin/duplicity)"),
            duplicity_danger="it may delete it",
            current_object="duplicity-full.20240101T000000Z.vol1.difftar.gpg",
            verify_state="reading",
            verify_progress=0.25,
            verify_bytes=2**40,
        ),
    },
)
FINDING = Finding("x.vol1.gpg", "full 5", "volume", 2**33, AtTarget.MISSING, OnDrive.ROTTEN, "gone, and rotten")
VERIFIED = Report(
    at=1_700_000_000.5,
    deep=True,
    drive_seen=True,
    complete=False,
    ok=False,
    restorable=False,
    sets=(
        SetReport("full 5", 0, 2, 2**34, 1, 2**33, target={"right": 1, "missing": 1}, drive={"right": 1, "rotten": 1}),
        SetReport("inc 9", 0, 3, 77, origin=Origin.DUPLICITY),
    ),
    findings=(FINDING,),
    unnamed=3,
    foreign=2,
    sentences=(Sentence("1 file is gone", "connect the drive", wrong=True), Sentence("The rest is right")),
    backups=(Backup("full 5", 0), Backup("inc 9", 0, 3, 2, 2**33)),
    samples=(SampleFile("notes/a b.txt", "inc 9", 2**33, "pre-", encrypted=True),),
)


class Engine:
    """Commands that remember what they were told, and say no where told to."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []
        self.error: Exception | None = None
        self.more_rows: list[dict[str, object]] = []
        self.held: asyncio.Queue[list[tuple[str, str]]] = asyncio.Queue()

    def _tell(self, *what: object) -> None:
        if self.error:
            raise self.error
        self.told.append(what)

    def pause(self, migration: str, until: float) -> None:
        self._tell("pause", migration, until)

    def resume(self, migration: str) -> None:
        self._tell("resume", migration)

    def retry_now(self) -> None:
        self._tell("retry_now")

    def rescan(self) -> None:
        self._tell("rescan")

    def set_limit(self, limit: int, until: float = 0.0, mode: str = "") -> None:
        self._tell("set_limit", limit, until, mode)

    async def hand_over(self, migration: str) -> None:
        await asyncio.sleep(0)
        self._tell("hand_over", migration)

    async def undo_handover(self, migration: str) -> None:
        self._tell("undo_handover", migration)

    async def plan(self, migration: str, *, grouped: bool = False, first: int = 0, most: int = 0):
        self._tell("plan", migration, *(["grouped"] if grouped else []), *([first, most] if most else []))
        rows = [
            {"name": "a.manifest", "role": "manifest", "set": "s", "bytes": 5, "phase": "done", "canary": False},
            {"name": "b.vol1", "role": "volume", "set": "s", "bytes": 2**33, "phase": "queued", "canary": True},
            *self.more_rows,
        ]
        return [{**row, "files": 3} for row in rows] if grouped else rows[first : first + most if most else None]

    def traffic(self, since: float):
        self._tell("traffic", since)
        return [(1795000500.0, 2**40), (1795001400.0, 7)]

    def history(self, since: float, limit: int):
        self._tell("history", since, limit)
        return [(1_700_000_000.5, "laptop", "handover", "handed over")]

    def hold(self, holds) -> None:
        self.held.put_nowait(holds)

    async def verify(self, migration: str, *, deep: bool = False, restore: bool = False) -> Report:
        self._tell("verify", migration, deep, *(["restore"] if restore else []))
        return VERIFIED

    def stop_verifying(self, migration: str) -> None:
        self._tell("stop_verifying", migration)


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
async def service(session_bus: str, engine: Engine) -> AsyncIterator[Service]:
    async with offered(engine, session_bus, version="1.2.3", interval=NEVER) as service:
        assert engine.held.get_nowait() == [], "an engine is told at once whether somebody holds it"
        yield service


@pytest.fixture
async def client(service: Service, session_bus: str) -> AsyncIterator[Client]:
    async with await Client.open(session_bus) as client:
        yield client


@pytest.fixture
async def raw(service: Service, session_bus: str) -> AsyncIterator[Connection]:
    async with await Connection.open(address=session_bus) as connection:
        yield connection


async def busctl(address: str, *arguments: str) -> str:
    process = await asyncio.create_subprocess_exec("busctl", f"--address={address}", *arguments, stdout=-1, stderr=-2)
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


async def eventually(queue: asyncio.Queue):
    return await asyncio.wait_for(queue.get(), 60)


# What is shown


def test_every_property_of_the_xml_is_shown_and_no_other() -> None:
    migration = next(iter(REPORT.migrations.values()))
    assert to_properties(migration).keys() == shipped(MIGRATION).properties.keys()
    assert to_properties(REPORT).keys() | {"Holds"} == shipped(MANAGER).properties.keys()


def test_every_field_of_a_report_comes_back() -> None:
    migrations = {name: to_migration(plain(to_properties(each))) for name, each in REPORT.migrations.items()}
    assert to_manager(plain(to_properties(REPORT)), migrations) == REPORT
    defaults = MigrationReport("laptop")
    same = [
        each.name
        for each in fields(defaults)
        if getattr(defaults, each.name) == getattr(REPORT.migrations["laptop"], each.name)
    ]
    assert same == ["name", "reasons", "bytes_done", "bytes_sent", "expected_end", "last_error"], (
        "else the check above is weak"
    )


@given(st.integers(), st.floats(), st.text(st.characters()))
def test_no_number_and_no_text_breaks_the_whole_answer(number: int, moment: float, text: str) -> None:
    report = MigrationReport(
        "x", volumes_done=number, bytes_done=number, started_at=moment, current_object=text, target_url=text
    )
    for name, value in to_properties(report).items():
        Variant(shipped(MIGRATION).properties[name].type, value)


def test_no_password_is_shown() -> None:
    report = MigrationReport("x", target_url="swift://me:hunter2@cloud/backup")
    assert to_properties(report)["TargetUrl"] == "swift://cloud/backup"
    plain_url = "swift://backup/laptop:1"
    assert to_properties(replace(report, target_url=plain_url))["TargetUrl"] == plain_url


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("laptop", "laptop"),
        ("my laptop", "my_20laptop"),
        ("a_b", "a_5fb"),
        ("2nd", "_32nd"),
        ("ü", "_c3_bc"),
        ("", "_"),
    ],
)
def test_a_migrations_path_is_a_valid_path(name: str, label: str) -> None:
    assert path_of(name) == f"{ROOT}/migrations/{label}"


@given(st.text(), st.text())
def test_no_two_migrations_share_a_path(one: str, other: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_]+", path_of(one).rpartition("/")[2])
    assert (path_of(one) == path_of(other)) == (
        one.encode("utf-8", "surrogateescape") == other.encode("utf-8", "surrogateescape")
    )


# Reading


async def test_the_client_reads_what_was_published(service: Service, client: Client) -> None:
    assert await client.report() == ManagerReport("1.2.3")
    service.publish(REPORT)
    found = await client.report()
    assert found == REPORT
    assert [reason.since for reason in found.reasons] == [1_700_000_001.5, None]


async def test_busctl_reads_it_too(service: Service, session_bus: str) -> None:
    service.publish(REPORT)
    path = path_of("laptop")
    tree = await busctl(session_bus, "tree", "--list", NAME)
    assert {ROOT, path} <= set(tree.split())
    shown = await busctl(session_bus, "get-property", NAME, ROOT, MANAGER, "State", "Reasons", "BytesTotal")
    assert shown.splitlines() == ['s "waiting"', 'as 2 "metered" "server-wait"', f"t {2**40}"]
    everything = await busctl(
        session_bus, "--json=short", "call", NAME, ROOT, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects"
    )
    migration = json.loads(everything)["data"][0][path][MIGRATION]
    assert migration["Handover"] == {"type": "s", "data": "blocked"}
    assert migration["RestorableFromCloud"] == {"type": "b", "data": True}
    for where, interface in ((ROOT, MANAGER), (path, MIGRATION)):
        introspected = await busctl(session_bus, "introspect", NAME, where, interface)
        for member in (*shipped(interface).properties, *shipped(interface).methods):
            assert re.search(rf"^\.{member} ", introspected, re.MULTILINE), introspected
    assert re.search(
        r"^\.Version +property +s +\S+ +const",
        await busctl(session_bus, "introspect", NAME, ROOT, MANAGER),
        re.MULTILINE,
    )
    assert re.search(
        r"^\.Limit +property +t +\S+ +emits-change writable",
        await busctl(session_bus, "introspect", NAME, ROOT, MANAGER),
        re.MULTILINE,
    )


async def test_every_object_answers_the_standard_interfaces(service: Service, raw: Connection) -> None:
    service.publish(REPORT)
    for path in (ROOT, path_of("laptop")):
        assert await raw.call(NAME, path, "org.freedesktop.DBus.Peer", "Ping") == []
        for _ in range(2):
            (machine,) = await raw.call(NAME, path, "org.freedesktop.DBus.Peer", "GetMachineId")
            assert len(machine) == 32
        (xml,) = await raw.call(NAME, path, "org.freedesktop.DBus.Introspectable", "Introspect")
        ET.fromstring(xml)
        assert (await raw.call(NAME, path, PROPERTIES, "GetAll", "s", ""))[0]["State"]
        assert await raw.call(NAME, path, PROPERTIES, "GetAll", "s", PROPERTIES) == [{}]


@pytest.mark.parametrize(
    ("path", "interface", "member", "signature", "body", "error"),
    [
        (f"{ROOT}/migrations/none", MIGRATION, "Plan", "a{sv}", [{}], "UnknownObject"),
        ("/", PROPERTIES, "GetAll", "s", [""], "UnknownObject"),
        ("/nowhere", "org.freedesktop.DBus.Introspectable", "Introspect", "", [], "UnknownObject"),
        (ROOT, MIGRATION, "Plan", "a{sv}", [{}], "UnknownInterface"),
        (ROOT, MANAGER, "Quit", "", [], "UnknownMethod"),
        (ROOT, MANAGER, "Pause", "", [], "InvalidArgs"),
        (ROOT, PROPERTIES, "Get", "ss", [MANAGER, "Nothing"], "UnknownProperty"),
        (ROOT, PROPERTIES, "GetAll", "s", [MIGRATION], "UnknownInterface"),
        (ROOT, PROPERTIES, "GetAll", "", [], "UnknownMethod"),
        (ROOT, PROPERTIES, "Set", "ssv", [MANAGER, "State", Variant("s", "done")], "PropertyReadOnly"),
        (ROOT, PROPERTIES, "Set", "ssv", [MANAGER, "Limit", Variant("s", "fast")], "InvalidArgs"),
        (path_of("laptop"), OBJECT_MANAGER, "GetManagedObjects", "", [], "UnknownInterface"),
    ],
)  # fmt: skip
async def test_a_wrong_call_is_refused_by_its_name(
    service: Service, raw: Connection, path: str, interface: str, member: str, signature: str, body: list, error: str
) -> None:
    service.publish(REPORT)
    with pytest.raises(BusError) as refused:
        await raw.call(NAME, path, interface, member, signature, *body)
    assert refused.value.name == f"org.freedesktop.DBus.Error.{error}"


# Telling


@pytest.fixture
async def signals(raw: Connection) -> asyncio.Queue:
    queue: asyncio.Queue = asyncio.Queue()
    await raw.subscribe(Match(sender=NAME), queue.put_nowait)
    return queue


async def test_state_is_told_at_once_and_counters_once_an_interval(
    service: Service, raw: Connection, signals: asyncio.Queue
) -> None:
    report = ManagerReport("1.2.3", activity=Activity.SENDING)
    service.publish(report)
    first = await eventually(signals)
    assert (first.path, first.body) == (ROOT, [MANAGER, {"State": "sending"}, []])
    for done in range(1, 100):
        service.publish(replace(report, bytes_done=done, rate=done))
    await raw.flush()
    await raw.get(NAME, ROOT, MANAGER, "BytesDone")
    assert signals.empty(), "counters wait for their second"
    assert await raw.get(NAME, ROOT, MANAGER, "BytesDone") == 99, "but who asks gets the newest"
    service.publish(replace(report, activity=Activity.WAITING, bytes_done=100, rate=99))
    told = await eventually(signals)
    assert told.body == [MANAGER, {"State": "waiting", "BytesDone": 100, "Rate": 99}, []], "and state takes them along"
    service.publish(replace(report, activity=Activity.WAITING, bytes_done=100, rate=99))
    await raw.get(NAME, ROOT, MANAGER, "State")
    assert signals.empty(), "nothing new, nothing told"


async def test_counters_are_told_when_their_time_has_come(session_bus: str, engine: Engine) -> None:
    async with (
        offered(engine, session_bus, interval=0.02) as service,
        await Connection.open(address=session_bus) as raw,
    ):
        told: asyncio.Queue = asyncio.Queue()
        await raw.subscribe(Match(sender=NAME, member="PropertiesChanged"), told.put_nowait)
        for done in range(1, 20):
            service.publish(ManagerReport("1", bytes_done=done))
        seen = []
        while not seen or seen[-1] != 19:
            seen.append((await eventually(told)).body[1]["BytesDone"])
        assert len(seen) < 19


def test_what_counts_is_a_number_or_the_object_at_hand() -> None:
    assert "State" not in COUNTERS
    assert {"BytesDone", "BytesSent", "Rate", "CurrentObject"} <= COUNTERS


async def test_migrations_come_and_go_as_objects(service: Service, client: Client, signals: asyncio.Queue) -> None:
    service.publish(replace(REPORT, migrations={}))
    await eventually(signals)
    service.publish(REPORT)
    added = await eventually(signals)
    assert (added.path, added.member, added.body[0]) == (ROOT, "InterfacesAdded", path_of("laptop"))
    assert added.body[1][MIGRATION]["TargetUrl"] == "swift://backup/laptop"
    laptop = replace(REPORT.migrations["laptop"], activity=Activity.DONE)
    service.publish(replace(REPORT, migrations={"laptop": laptop}))
    changed = await eventually(signals)
    assert (changed.path, changed.body) == (path_of("laptop"), [MIGRATION, {"State": "done"}, []])
    service.publish(replace(REPORT, migrations={"other": MigrationReport("other")}))
    assert (await eventually(signals)).body == [path_of("laptop"), [MIGRATION]]
    assert (await eventually(signals)).body[0] == path_of("other")
    assert list((await client.report()).migrations) == ["other"]


async def test_busctl_monitor_sees_it(service: Service, session_bus: str) -> None:
    process = await asyncio.create_subprocess_exec(
        "busctl", f"--address={session_bus}", "--json=short", "monitor", "--match=type='signal'", stdout=-1, stderr=-1
    )
    assert b"Monitoring" in await asyncio.wait_for(process.stderr.readline(), 60)
    service.publish(REPORT)
    seen = {}
    while "PropertiesChanged" not in seen or "InterfacesAdded" not in seen:
        message = json.loads(await asyncio.wait_for(process.stdout.readline(), 60))
        seen[message.get("member")] = message
    assert seen["PropertiesChanged"]["payload"]["data"][1]["State"]["data"] == "waiting"
    process.kill()
    await process.communicate()


async def test_watching_gives_each_new_report(service: Service, client: Client) -> None:
    watching = client.watch()
    assert (await anext(watching)).activity is Activity.STARTING
    service.publish(REPORT)
    while (seen := await asyncio.wait_for(anext(watching), 60)) != REPORT:
        assert seen.activity in (Activity.STARTING, Activity.WAITING)
    await service.close()
    with pytest.raises(NeedsUser, match="not running"):
        await asyncio.wait_for(_last(watching), 60)


async def _last(watching: AsyncIterator[ManagerReport]) -> ManagerReport | None:
    last = None
    async for each in watching:
        last = each
    return last


async def test_odd_file_names_are_shown_somehow(service: Service, client: Client) -> None:
    odd = os.fsdecode(b"duplicity-\xff\xfe.vol1")
    service.publish(replace(REPORT, migrations={odd: MigrationReport(odd, current_object=odd + "\0")}))
    (report,) = (await client.report()).migrations.values()
    assert report.current_object == "duplicity-\ufffd\ufffd.vol1\ufffd"
    await client.resume(odd)


async def test_what_a_server_said_is_shown_whatever_it_is(service: Service, client: Client) -> None:
    said = "half a pair \ud83d, none \udfff, a byte \udc80"
    service.publish(replace(REPORT, migrations={"home": MigrationReport("home", last_error=said)}))
    (report,) = (await client.report()).migrations.values()
    assert report.last_error == "half a pair \ufffd, none \ufffd, a byte \ufffd"


# Commanding


async def test_every_command_reaches_the_engine(service: Service, client: Client, engine: Engine) -> None:
    service.publish(REPORT)
    await client.pause()
    await client.pause("laptop", 1_700_000_000.5)
    await client.resume()
    await client.resume("laptop")
    await client.retry_now()
    await client.rescan()
    await client.set_limit(500_000)
    await client.set_limit(500_000, 1_700_000_000.5)
    await client.set_limit(0, 1_700_000_000.5, "spare")
    await client.set_limit(7000, mode="go")
    await client.set_limit(0)
    await client.hand_over("laptop")
    await client.undo_handover("laptop")
    plan = await client.plan("laptop")
    assert await client.traffic(1795000000.0) == [(1795000500.0, 2**40), (1795001400.0, 7)]
    history = await client.history(5.5, 7)
    assert engine.told == [
        ("pause", "", 0.0),
        ("pause", "laptop", 1_700_000_000.5),
        ("resume", ""),
        ("resume", "laptop"),
        ("retry_now",),
        ("rescan",),
        ("set_limit", 500_000, 0.0, ""),
        ("set_limit", 500_000, 1_700_000_000.5, ""),
        ("set_limit", 0, 1_700_000_000.5, "spare"),
        ("set_limit", 7000, 0.0, "go"),
        ("set_limit", 0, 0.0, ""),
        ("hand_over", "laptop"),
        ("undo_handover", "laptop"),
        ("plan", "laptop", 0, 500),
        ("traffic", 1795000000.0),
        ("history", 5.5, 7),
    ]
    assert plan == await engine.plan("laptop")
    assert history == engine.history(0, 0)


async def test_busctl_commands_too(service: Service, session_bus: str, engine: Engine) -> None:
    service.publish(REPORT)
    await busctl(session_bus, "call", NAME, ROOT, MANAGER, "Pause", "ta{sv}", "1700000000000000", "0")
    await busctl(session_bus, "set-property", NAME, ROOT, MANAGER, "Limit", "t", "1000")
    call = ["call", NAME, ROOT, MANAGER, "SetLimit", "tta{sv}", "0", "0"]
    await busctl(session_bus, *call, "2", "mode", "s", "spare", "colour", "u", "7")
    assert engine.told[1:] == [("set_limit", 1000, 0.0, ""), ("set_limit", 0, 0.0, "spare")], "Limit alone is no mode"
    del engine.told[1:]
    await busctl(session_bus, "call", NAME, path_of("laptop"), MIGRATION, "HandOver", "a{sv}", "0")
    plan = await busctl(session_bus, "--json=short", "call", NAME, path_of("laptop"), MIGRATION, "Plan", "a{sv}", "0")
    assert [each["bytes"]["data"] for each in json.loads(plan)["data"][0]] == [5, 2**33]
    assert engine.told[:2] == [("pause", "", 1_700_000_000.0), ("hand_over", "laptop")]


async def test_a_long_plan_is_read_in_pages_and_shown_in_groups(
    client: Client, service: Service, engine: Engine, session_bus: str
) -> None:
    service.publish(REPORT)
    engine.more_rows = [
        {"name": f"v{n}", "role": "volume", "set": "s", "bytes": n, "phase": "queued", "canary": False}
        for n in range(1000)
    ]
    assert await client.plan("laptop") == await engine.plan("laptop")
    assert engine.told[:3] == [("plan", "laptop", first, 500) for first in (0, 500, 1000)], "three calls, and no more"
    engine.told.clear()
    assert {row["files"] for row in await client.plan("laptop", grouped=True)} == {3}
    assert engine.told == [("plan", "laptop", "grouped")]
    for wrong in (["grouped", "u", "1"], ["from", "s", "x"], ["most", "b", "true"]):
        with pytest.raises(AssertionError, match=r"the option (grouped|from|most) is of type"):
            await busctl(session_bus, "call", NAME, path_of("laptop"), MIGRATION, "Plan", "a{sv}", "1", *wrong)


async def test_verify(client: Client, service: Service, engine: Engine) -> None:
    service.publish(REPORT)
    assert await client.verify("laptop") == VERIFIED
    assert await client.verify("laptop", deep=True) == VERIFIED
    assert await client.verify("laptop", restore=True) == VERIFIED
    await client.stop_verifying("laptop")
    assert engine.told == [
        ("verify", "laptop", False),
        ("verify", "laptop", True),
        ("verify", "laptop", False, "restore"),
        ("stop_verifying", "laptop"),
    ]


async def test_a_verification_is_read_by_busctl_too(session_bus: str) -> None:
    path = path_of("laptop")
    async with offered(engine := Engine(), session_bus) as service:
        service.publish(REPORT)
        said = await busctl(
            session_bus, "--json=short", "call", NAME, path, MIGRATION, "Verify", "a{sv}", "1", "deep", "b", "true"
        )
    (report,) = json.loads(said)["data"]
    assert report["at"] == {"type": "t", "data": 1_700_000_000_500_000}
    assert report["findings"]["data"][0]["target"] == {"type": "s", "data": "missing"}
    assert report["sets"]["data"][0]["target"]["data"]["right"] == {"type": "t", "data": 1}
    assert engine.told == [("verify", "laptop", True)]


async def test_an_option_of_the_wrong_type_is_refused(service: Service, raw: Connection) -> None:
    service.publish(REPORT)
    with pytest.raises(BusError, match="InvalidArgs"):
        await raw.call(NAME, path_of("laptop"), MIGRATION, "Verify", "a{sv}", {"deep": Variant("s", "yes")})


@pytest.mark.parametrize("mode", [Variant("s", "cap"), Variant("s", ""), Variant("s", "GO"), Variant("b", True)])
async def test_a_mode_that_is_none_is_refused_and_changes_nothing(
    service: Service, raw: Connection, engine: Engine, mode: Variant
) -> None:
    with pytest.raises(BusError) as refused:
        await raw.call(NAME, ROOT, MANAGER, "SetLimit", "tta{sv}", 1000, 0, {"mode": mode})
    assert refused.value.name == "org.freedesktop.DBus.Error.InvalidArgs"
    assert refused.value.text == 'the option mode is of type \'s\', and "spare" or "go"'
    assert engine.told == []


@pytest.mark.parametrize(
    ("error", "word", "back"),
    [
        (NeedsUser("the key mode is wrong", hint="Write cap", code="config"), "InvalidConfig", NeedsUser),
        (NeedsUser("the drive is full of woe", hint="Buy another"), "NeedsUser", NeedsUser),
        (Transient("duplicity is running", hint="Wait for it"), "Busy", Transient),
        (Refused("nothing like it", code="not-found"), "NotFound", Refused),
        (Refused("not that one"), "Refused", Refused),
        (SourceAbsent("the drive is not there"), "SourceAbsent", SourceAbsent),
        (Stopped("stopped"), "Cancelled", Stopped),
    ],
)
async def test_an_error_keeps_its_meaning_and_its_words(
    service: Service, client: Client, raw: Connection, engine: Engine, error, word: str, back: type
) -> None:
    service.publish(REPORT)
    engine.error = error
    for member, path in (("HandOver", path_of("laptop")), ("Resume", ROOT)):
        with pytest.raises(BusError) as refused:
            await raw.call(NAME, path, "", member, "a{sv}", {})
        assert (refused.value.name, refused.value.text) == (f"{NAME}.Error.{word}", str(error))
    with pytest.raises(BusError) as refused:
        await raw.call(NAME, ROOT, PROPERTIES, "Set", "ssv", MANAGER, "Limit", Variant("t", 1))
    assert refused.value.name == f"{NAME}.Error.{word}"
    with pytest.raises(back) as ours:
        await client.hand_over("laptop")
    assert str(ours.value) == str(error)


async def test_a_bug_tells_the_caller_nothing_about_the_inside(
    service: Service, client: Client, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    engine.error = RuntimeError("password hunter2 in /home/me/.secret")
    with pytest.raises(Transient) as failed:
        await client.resume()
    assert "hunter2" not in str(failed.value)
    assert ".py" not in str(failed.value)
    assert "hunter2" in caplog.text


# One engine after the other


async def test_before_the_first_engine_everybody_waits(session_bus: str, engine: Engine) -> None:
    service = Service(version="1", address=session_bus)
    await service.start()
    async with await Connection.open(address=session_bus) as raw:
        early = [
            asyncio.create_task(raw.get_all(NAME, ROOT, MANAGER)),
            asyncio.create_task(raw.call(NAME, ROOT, MANAGER, "Resume", "a{sv}", {})),
        ]
        await raw.flush()
        service.publish(replace(REPORT, network="Home"))
        async with service.obeying(engine):
            shown, _ = await asyncio.gather(*early)
    assert shown["Network"] == "Home", "nobody sees a daemon that knows nothing yet"
    assert engine.told == [("resume", "")]
    await service.close()


async def test_between_two_engines_it_is_shown_what_was_and_done_what_is_asked(
    service: Service, raw: Connection, engine: Engine
) -> None:
    service.publish(replace(REPORT, network="Home"))
    async with service.obeying(Engine()):
        pass
    assert await raw.get(NAME, ROOT, MANAGER, "Network") == "Home"
    assert await raw.call(NAME, ROOT, OBJECT_MANAGER, "GetManagedObjects")
    fds: list[int] = []
    asked = [
        asyncio.create_task(raw.call(NAME, ROOT, MANAGER, "Pause", "ta{sv}", 0, {})),
        asyncio.create_task(raw.call(NAME, ROOT, PROPERTIES, "Set", "ssv", MANAGER, "Limit", Variant("t", 7))),
        asyncio.create_task(raw.call(NAME, path_of("laptop"), MIGRATION, "HandOver", "a{sv}", {})),
        asyncio.create_task(raw.call(NAME, ROOT, MANAGER, "Hold", "ssa{sv}", "Game", "playing", {})),
    ]
    await raw.flush()
    assert await raw.get(NAME, ROOT, MANAGER, "Holds") == []
    following = Engine()
    async with service.obeying(following):
        fds += (await asyncio.gather(*asked))[-1]
    assert sorted(each[0] for each in following.told) == ["hand_over", "pause", "set_limit"]
    assert engine.told == []
    third = Engine()
    async with service.obeying(third):
        assert third.held.get_nowait() == [("Game", "playing")], "a hold outlives the engine that was told of it"
    for fd in fds:
        os.close(fd)


async def test_what_an_engine_leaves_undone_is_said(session_bus: str, raw: Connection, service: Service) -> None:
    class Slow(Engine):
        async def hand_over(self, migration: str) -> None:
            try:
                await super().hand_over(migration)
                await asyncio.Event().wait()
            finally:
                self._tell("broken off")

    service.publish(REPORT)
    async with service.obeying(slow := Slow()):
        asked = asyncio.create_task(raw.call(NAME, path_of("laptop"), MIGRATION, "HandOver", "a{sv}", {}))
        async with asyncio.timeout(60):
            while not slow.told:
                await asyncio.sleep(0.01)
    assert slow.told == [("hand_over", "laptop"), ("broken off",)], "before anything is taken from under it"
    with pytest.raises(BusError) as refused:
        await asked
    assert refused.value.name == f"{NAME}.Error.Cancelled"
    assert "Try again" in refused.value.text


async def test_a_reload_is_answered_when_it_is_in_force(session_bus: str, engine: Engine) -> None:
    in_force = asyncio.Event()

    async def reload() -> None:
        await in_force.wait()

    async with (
        await Connection.open(address=session_bus) as raw,
        offered(engine, session_bus, reload=reload) as service,
    ):
        asked = asyncio.create_task(raw.call(NAME, ROOT, MANAGER, "Reload", "a{sv}", {}))
        await raw.flush()
        async with service.obeying(Engine()):
            await raw.get(NAME, ROOT, MANAGER, "State")
            assert not asked.done(), "the end of the engine is not its end"
            in_force.set()
            await asked


# Holding


async def test_a_hold_lasts_as_long_as_its_descriptor(
    service: Service, client: Client, engine: Engine, raw: Connection
) -> None:
    fd = await client.hold("Video call", "talking")
    assert await eventually(engine.held) == [("Video call", "talking")]
    other = await client.hold("Game", "playing")
    assert len(await eventually(engine.held)) == 2
    shown = await raw.get(NAME, ROOT, MANAGER, "Holds")
    assert [(each["who"], each["why"]) for each in shown] == [("Video call", "talking"), ("Game", "playing")]
    assert shown[0]["since"] > 1_700_000_000_000_000
    os.write(fd, b"noise")
    os.close(fd)
    assert await eventually(engine.held) == [("Game", "playing")]
    service.publish(REPORT)
    assert [each["who"] for each in await raw.get(NAME, ROOT, MANAGER, "Holds")] == ["Game"], "not a report's business"
    os.close(other)
    assert await eventually(engine.held) == []


async def test_a_hold_ends_with_its_holder(service: Service, engine: Engine, session_bus: str) -> None:
    # busctl gets the descriptor and ends.
    await busctl(session_bus, "call", NAME, ROOT, MANAGER, "Hold", "ssa{sv}", "busctl", "trying", "0")
    assert await eventually(engine.held) == [("busctl", "trying")]
    assert await eventually(engine.held) == []


async def test_holds_do_not_eat_all_descriptors(service: Service, client: Client) -> None:
    fds = [await client.hold(str(number), "x" * 1000) for number in range(64)]
    with pytest.raises(Transient, match="64 holds"):
        await client.hold("one more", "")
    for fd in fds:
        os.close(fd)


# The bus


async def test_only_one_slowboat_per_bus(service: Service, session_bus: str) -> None:
    with pytest.raises(NeedsUser, match="already running") as refused:
        await Service(version="2", address=session_bus).start()
    assert refused.value.code == "already-running"
    await service.close()
    second = Service(version="2", address=session_bus)
    await second.start()
    await second.close()


async def test_it_outlives_the_bus(private_bus: PrivateBus, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_module, "FIRST_RETRY", 0.01)
    async with offered(engine, private_bus.address, version="1.2.3") as service, asyncio.TaskGroup() as tasks:
        running = tasks.create_task(service.run())
        async with await Client.open(private_bus.address) as client:
            fd = await client.hold("Game", "playing")
            assert await eventually(engine.held) == []
            assert await eventually(engine.held) == [("Game", "playing")]
        for _ in range(2):
            private_bus.stop()
            service.publish(replace(REPORT, activity=Activity.CHECKING))
            private_bus.start()
            report = await asyncio.wait_for(_report_when_back(private_bus.address), 20)
            assert report == replace(REPORT, activity=Activity.CHECKING)
        assert engine.held.empty(), "a hold needs no bus"
        os.close(fd)
        assert await eventually(engine.held) == []
        running.cancel()


async def _report_when_back(address: str) -> ManagerReport:
    while True:
        try:
            async with await Client.open(address) as client:
                return await client.report()
        except NeedsUser:
            await asyncio.sleep(0.01)


async def test_a_client_without_a_daemon_says_what_to_do(session_bus: str, tmp_path: Path) -> None:
    with pytest.raises(NeedsUser, match="not running") as refused:
        await Client.open(session_bus)
    assert "systemctl --user start slowboat" in refused.value.hint
    with pytest.raises(NeedsUser, match="cannot be reached") as refused:
        await Client.open(f"unix:path={tmp_path}/none")
    assert refused.value.code == "no-bus"


async def test_a_migration_that_is_not_there(client: Client) -> None:
    with pytest.raises(Refused, match="no migration"):
        await client.hand_over("none")


def test_the_reference_names_every_member() -> None:
    reference = (Path(__file__).parents[2] / "docs" / "dbus.md").read_text()
    for interface in (MANAGER, MIGRATION):
        section = reference.split(f"## {interface}\n")[1].split("\n## ")[0]
        shown = shipped(interface)
        for name, each in shown.properties.items():
            assert re.search(rf"^\| `{name}` \| `{re.escape(each.type)}` \|", section, re.MULTILINE), name
        for name in shown.methods:
            assert f"`{name}(" in section, name
    for word in {"Failed", *re.findall(r'word = "(\w+)"', Path(service_module.__file__).read_text())}:
        assert f"`{word}`" in reference
