"""What the daemon makes of the world: networks, sleep, pauses, holds, budgets, and a drive that comes and goes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from evidence import expect_arrived

from realparts.drive import Drive, make_chain
from realparts.duplicity import NEWEST, installed_duplicity
from realparts.fake_service import NM, NM_PATH, FakeNetworkManager, Login1
from slowboat.edges.bus.client import Client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from on_the_wire import Wire

    from realparts.daemon_process import Daemon
    from realparts.loop_thread import LoopThread
    from realparts.swift_server import SwiftServer

MB = 1_000_000
MIB = 1 << 20
MANAGER = ("/io/github/slowboat/Slowboat1", "io.github.slowboat.Slowboat1.Manager")
RATE = 4_000_000  # bytes per second: the large chain takes some six seconds

pytestmark = pytest.mark.needs("busctl", "gpg")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drive]:
    """A plain chain whose volumes are so large that they go up in segments; not to be changed."""
    folder = tmp_path_factory.mktemp("large")
    with installed_duplicity(NEWEST, folder / "home") as found:
        yield make_chain(replace(found, encrypted=False, volsize=4), folder / "made", size=16 * MB, incs=1)


@pytest.fixture
def large(made: Drive, tmp_path: Path) -> Drive:
    """This test's own copy of it."""
    return made.copied_to(tmp_path / "large")


@pytest.fixture
def networks(system_bus: str, daemon: Daemon, loop_thread: LoopThread) -> Iterator[FakeNetworkManager]:
    """NetworkManager, connected to Home by cable."""
    daemon.system_bus = system_bus
    manager = FakeNetworkManager(system_bus)
    loop_thread.do(manager.start())
    joined(loop_thread, manager, 1, "Home")
    yield manager
    loop_thread.do(manager.stop())


def joined(loop_thread: LoopThread, manager: FakeNetworkManager, number: int, name: str, *, metered: int = 4) -> None:
    """The machine is now on that network, and on no other."""
    active = manager.connect(number, name, "802-3-ethernet", metered=metered, default=True)
    loop_thread.do(manager.say(active))


def configured(daemon: Daemon, drive: Drive, swift: SwiftServer, wire: Wire | None = None, head: str = "") -> str:
    """The daemon will move that drive, every volume of it begun at once, in segments of 1 MiB; the container."""
    container = swift.container()
    auth_url = wire.auth_url if wire else ""
    daemon.configure_migration(drive, swift, container, limit=RATE, auth_url=auth_url, more=f"\n{head}")
    daemon.configure("connections = 8\n" + daemon.config_file.read_text())
    return container


def codes(daemon: Daemon) -> list[str]:
    return list(daemon.manager()["Reasons"])


def until(holds: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "what was waited for did not come"
        time.sleep(0.02)


def open_requests(wire: Wire) -> list[str]:
    """Uploads that have begun and have neither an answer nor an end yet."""
    return [each.path for each in wire.requests if each.method == "PUT" and not each.status]


def body_bytes(wire: Wire) -> int:
    return sum(each.body_bytes for each in wire.requests if each.method == "PUT")


def expect_stillness(wire: Wire) -> None:
    """Not one byte more comes in a while."""
    before = body_bytes(wire)
    time.sleep(1.5)
    assert body_bytes(wire) == before


def expect_nothing_twice(wire: Wire) -> None:
    twice = [name for name, count in Counter(wire.stored()).items() if count > 1 and "duplicity-" in name]
    assert twice == [], wire.told()


def half_way(wire: Wire) -> None:
    """Some segments are confirmed, others are on the line."""
    until(lambda: len([name for name in wire.stored() if "_segments/" in name and "duplicity-" in name]) >= 3)


def test_a_metered_network_stops_it_in_mid_upload_and_it_goes_on_there(
    daemon: Daemon, swift: SwiftServer, wire: Wire, large: Drive, networks: FakeNetworkManager, loop_thread: LoopThread
) -> None:
    container = configured(daemon, large, swift, wire)
    daemon.start()
    half_way(wire)
    device = f"{NM_PATH}/Devices/1"
    loop_thread.do(networks.change(device, f"{NM}.Device", Metered=("u", 1)))
    daemon.wait_until(lambda now: now["Reasons"] == ["metered", "cap"] and now["State"] == "waiting")
    expect_stillness(wire)
    held = wire.stored()
    assert 0 < daemon.migration()["BytesDone"] < large.size()
    why = daemon.slowboat("why").stdout
    assert 'The network "Home" is metered' in why
    assert "Since today at " in why
    assert any(line.startswith("STATUS=Waiting") and " (since " in line for line in daemon.notified)

    loop_thread.do(networks.change(device, f"{NM}.Device", Metered=("u", 2)))
    daemon.wait_until(lambda now: now["State"] == "done")
    assert set(held) <= set(wire.stored())
    expect_nothing_twice(wire)
    expect_arrived(large, swift, container)


def test_sleep_breaks_off_before_the_lock_is_let_go_and_waking_goes_on(
    daemon: Daemon, swift: SwiftServer, wire: Wire, large: Drive, networks: FakeNetworkManager, loop_thread: LoopThread
) -> None:
    login1 = Login1(networks.address)
    loop_thread.do(login1.start())
    try:
        container = configured(daemon, large, swift, wire)
        daemon.start()
        until(lambda: login1.held() == 1)
        half_way(wire)
        loop_thread.do(login1.going(True))
        until(lambda: login1.held() == 0, 5)  # login1 waits no longer
        before = body_bytes(wire)
        assert codes(daemon) == ["sleep", "cap"]
        time.sleep(1)
        assert body_bytes(wire) - before <= 64 * 1024, "only what was in the sockets' buffers"
        expect_stillness(wire)

        loop_thread.do(login1.going(False))
        until(lambda: login1.held() == 1)
        daemon.wait_until(lambda now: now["State"] == "done")
        expect_nothing_twice(wire)
        expect_arrived(large, swift, container)
    finally:
        loop_thread.do(login1.stop())


def test_a_pause_survives_a_restart_and_a_hold_does_not(
    daemon: Daemon, swift: SwiftServer, wire: Wire, large: Drive, loop_thread: LoopThread
) -> None:
    container = configured(daemon, large, swift, wire)
    daemon.start()
    half_way(wire)
    client = loop_thread.do(Client.open(daemon.session_bus))
    held = loop_thread.do(client.hold("OBS Studio", "a live stream"))
    daemon.slowboat("pause")
    daemon.wait_until(lambda now: {"paused", "held"} <= set(now["Reasons"]))
    paused_at = next(one["since"] for one in daemon.manager()["Why"] if one["code"]["data"] == "paused")["data"]
    [shown] = daemon.manager()["Holds"]
    assert (shown["who"]["data"], shown["why"]["data"]) == ("OBS Studio", "a live stream")

    daemon.slowboat("reload")
    until(lambda: daemon.notified.count("READY=1") == 2)
    daemon.wait_until(lambda now: {"paused", "held"} <= set(now["Reasons"]))
    assert len(daemon.manager()["Holds"]) == 1, "a new configuration lets nobody go"

    daemon.kill()
    daemon.start()
    seen = daemon.wait_until(lambda now: now["State"] == "paused")
    assert "held" not in seen["Reasons"]
    why = daemon.manager()["Why"]
    assert abs(next(one for one in why if one["code"]["data"] == "paused")["since"]["data"] - paused_at) < 5e6
    os.close(held)

    held = loop_thread.do(client.hold("OBS Studio", "a live stream"))
    daemon.slowboat("resume")
    daemon.wait_until(lambda now: "held" in now["Reasons"] and "paused" not in now["Reasons"])
    expect_stillness(wire)
    os.close(held)
    loop_thread.do(client.close())
    daemon.wait_until(lambda now: now["State"] == "done")
    expect_nothing_twice(wire)
    expect_arrived(large, swift, container)


def test_a_pause_and_a_limit_end_by_the_clock(daemon: Daemon, swift: SwiftServer, large: Drive) -> None:
    container = configured(daemon, large, swift)
    daemon.start()
    daemon.wait_until(lambda now: now["Handover"] == "done")
    daemon.slowboat("limit", "300k", "--for", "6s")
    daemon.slowboat("pause", "5s")
    now = daemon.manager()
    assert now["State"] == "paused"
    assert (now["Limit"], now["LimitUntil"] > 0, now["PausedUntil"] > 0) == (300_000, True, True)
    until(lambda: daemon.manager()["State"] == "sending")
    assert daemon.manager()["PausedUntil"] == 0
    until(lambda: daemon.manager()["Limit"] == RATE)
    assert daemon.manager()["LimitUntil"] == 0
    assert "limit" not in codes(daemon)
    daemon.wait_until(lambda now: now["State"] == "done")
    expect_arrived(large, swift, container)


def bound_elsewhere(daemon: Daemon, drive: Drive, swift: SwiftServer, head: str = "") -> None:
    """The daemon will move that drive to where nobody is: how it would send can be seen all the same."""
    daemon.configure_migration(drive, swift, "c", auth_url="https://swift.invalid/auth/v1.0", more=f"\n{head}")


def whose_line(daemon: Daemon) -> tuple[str, int, bool]:
    """Mode, Limit, and whether they end by themselves."""
    now = daemon.manager()
    return now["Mode"], now["Limit"], now["LimitUntil"] > 0


def test_whose_line_it_is_is_asked_for_and_survives_a_restart(
    daemon: Daemon, swift: SwiftServer, large: Drive, networks: FakeNetworkManager
) -> None:
    bound_elsewhere(daemon, large, swift)
    daemon.start()
    until(lambda: whose_line(daemon) == ("spare", 0, False))
    said = " ".join(daemon.slowboat("limit", "go", "--for", "1h").stdout.split())
    assert said.startswith("The whole connection, below your caps, until t")
    until(lambda: whose_line(daemon) == ("go", 0, True))
    ends = daemon.manager()["LimitUntil"]

    daemon.kill()
    daemon.start()
    until(lambda: whose_line(daemon) == ("go", 0, True))
    assert daemon.manager()["LimitUntil"] == ends
    shown = " ".join(daemon.slowboat("limit").stdout.split())
    assert "It does not make way for others. Your setting for now: Ends by itself" in shown
    assert json.loads(daemon.slowboat("status", "--json").stdout)["mode"] == "go"

    daemon.slowboat("limit", "300k")
    until(lambda: whose_line(daemon) == ("spare", 300_000, False))
    assert "limit" in daemon.manager()["Reasons"]
    daemon.call(*MANAGER, "SetLimit", "tta{sv}", "200000", "0", "1", "mode", "s", "go")
    until(lambda: whose_line(daemon) == ("go", 200_000, False))
    with pytest.raises(subprocess.CalledProcessError) as refused:
        daemon.call(*MANAGER, "SetLimit", "tta{sv}", "100000", "0", "1", "mode", "s", "cap")
    assert "the option mode is of type" in refused.value.stderr
    assert whose_line(daemon) == ("go", 200_000, False)
    daemon.slowboat("limit", "off")
    until(lambda: whose_line(daemon) == ("spare", 0, False))


def test_settings_and_networks_say_whose_line_it_is_and_a_word_for_now_ends_by_the_clock(
    daemon: Daemon, swift: SwiftServer, large: Drive, networks: FakeNetworkManager, loop_thread: LoopThread
) -> None:
    bound_elsewhere(daemon, large, swift, '[network."Home"]\nsend = "go"\n')
    daemon.start()
    until(lambda: daemon.manager()["Network"] == "Home")
    until(lambda: whose_line(daemon) == ("go", 0, False))
    daemon.slowboat("limit", "spare", "--for", "8s")
    until(lambda: whose_line(daemon) == ("spare", 0, True))
    until(lambda: whose_line(daemon) == ("go", 0, False))
    joined(loop_thread, networks, 2, "Café")
    until(lambda: whose_line(daemon) == ("spare", 0, False))
    bound_elsewhere(daemon, large, swift, '[network_type.default]\nsend = "go"\n')
    daemon.slowboat("reload")
    assert whose_line(daemon) == ("go", 0, False), "in force as soon as that is answered"
    assert daemon.manager()["Network"] == "Café"


def test_a_reload_forgets_nothing_and_lets_nothing_go(
    daemon: Daemon, swift: SwiftServer, large: Drive, networks: FakeNetworkManager, loop_thread: LoopThread
) -> None:
    login1 = Login1(networks.address)
    loop_thread.do(login1.start())
    try:
        bound_elsewhere(daemon, large, swift)
        daemon.start()
        until(lambda: login1.held() == 1)
        until(lambda: daemon.manager()["Network"] == "Home")
        loop_thread.do(networks.stop())
        until(lambda: codes(daemon) == ["network-unknown"])
        owner, began = daemon.bus_owner(), daemon.manager()["Why"][0]["since"]["data"]

        bound_elsewhere(daemon, large, swift)
        daemon.configure("limit = 123456\n" + daemon.config_file.read_text())
        daemon.slowboat("reload")
        assert codes(daemon) == ["network-unknown", "cap"], "not a guess because somebody has gone before"
        assert daemon.manager()["Why"][0]["since"]["data"] == began
        assert daemon.bus_owner() == owner, "nobody saw it go"
        assert (login1.held(), len(login1.asked)) == (1, 1)
    finally:
        loop_thread.do(login1.stop())


def test_reloads_at_once_are_all_answered_and_a_stop_among_them_is_a_stop(
    daemon: Daemon, swift: SwiftServer, large: Drive
) -> None:
    bound_elsewhere(daemon, large, swift)
    daemon.start()
    with ThreadPoolExecutor() as several:
        asked = [several.submit(daemon.slowboat, "reload") for _ in range(4)]
        assert [each.result().returncode for each in asked] == [0] * 4
        asked = [several.submit(daemon.slowboat, "reload", check=False) for _ in range(4)]
        until(lambda: daemon.notified.count("READY=1") > 5 or any(each.done() for each in asked))
        assert daemon.terminate() == 0
    assert "Traceback" not in daemon.log


def test_on_the_way_to_this_very_machine_there_is_nobody_else(daemon: Daemon, swift: SwiftServer, large: Drive) -> None:
    container = configured(daemon, large, swift)
    daemon.start()
    daemon.slowboat("limit", "spare")
    seen = set()
    daemon.wait_until(lambda now: seen.update((daemon.manager()["Mode"], *now["Reasons"])) or now["State"] == "done")
    assert "go" in seen
    assert not seen & {"spare", "crowded"}
    expect_arrived(large, swift, container)


def test_a_budget_stops_it_and_another_network_goes_on(
    daemon: Daemon, swift: SwiftServer, wire: Wire, large: Drive, networks: FakeNetworkManager, loop_thread: LoopThread
) -> None:
    budget = 6 * MB
    container = configured(daemon, large, swift, wire, f'[network."Phone"]\nday_budget = {budget}\n')
    joined(loop_thread, networks, 2, "Phone")
    daemon.start()
    daemon.wait_until(lambda now: now["Reasons"][:1] == ["budget"] and now["State"] == "waiting")
    expect_stillness(wire)
    spent = body_bytes(wire)
    assert budget - 2 * MIB <= spent <= budget + 8 * 65536, "used, and not overdrawn"

    daemon.kill()
    daemon.start()
    seen = daemon.wait_until(lambda now: now["State"] == "waiting")
    assert seen["Reasons"][0] == "budget"
    assert body_bytes(wire) - spent <= 2 * MIB, "what a kill may cost of the count"

    joined(loop_thread, networks, 3, "Home")
    daemon.wait_until(lambda now: now["State"] == "done")
    expect_nothing_twice(wire)
    expect_arrived(large, swift, container)


def test_a_new_set_on_the_drive_is_noticed_without_being_told(daemon: Daemon, swift: SwiftServer, chain: Drive) -> None:
    chain = replace(chain, duplicity=replace(chain.duplicity))
    configured(daemon, chain, swift)
    daemon.start(wait=True)
    daemon.slowboat("pause")
    seen = daemon.wait_until(lambda now: now["VolumesTotal"] > 0 and now["State"] == "paused")
    chain.duplicity.inc(chain.data, chain.url)
    daemon.wait_until(lambda now: now["MetadataTotal"] == seen["MetadataTotal"] + 2)


def test_a_folder_that_goes_and_comes_back_is_waited_for(daemon: Daemon, swift: SwiftServer, large: Drive) -> None:
    container = configured(daemon, large, swift)
    daemon.start()
    daemon.wait_until(lambda now: now["VolumesDone"] > 0)
    away = large.folder.with_name("away")
    large.folder.rename(away)
    daemon.wait_until(lambda now: "source-absent" in now["Reasons"] and now["State"] == "waiting")
    assert str(large.folder) in " ".join(daemon.slowboat("why").stdout.split())
    assert codes(daemon) == ["source-absent", "cap"], "what forbids comes first"
    away.rename(large.folder)
    daemon.wait_until(lambda now: now["State"] == "done")
    assert daemon.migration()["LastError"] == "", "a drive that is back was no trouble"
    expect_arrived(large, swift, container)


@contextmanager
def mounted(what: str, place: Path) -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", what, place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a drive where the daemon sees it")
def test_another_drive_in_its_place_is_told_and_a_copy_of_it_is_taken(
    daemon: Daemon, swift: SwiftServer, large: Drive, tmp_path: Path
) -> None:
    original, place = large.folder.rename(tmp_path / "original"), large.folder
    place.mkdir()
    container = configured(daemon, large, swift)
    with mounted("first-drive", place):
        shutil.copytree(original, place, dirs_exist_ok=True)
        daemon.start()
        daemon.wait_until(lambda now: now["VolumesDone"] > 0)
    seen = daemon.wait_until(lambda now: "source-absent" in now["Reasons"] and now["State"] == "waiting")
    assert "is in its place" not in seen["Why"][0]["text"]["data"], "the empty mount point is no drive"
    with mounted("second-drive", place):
        (place / "holiday.jpg").write_bytes(b"not a backup")
        seen = daemon.wait_until(lambda now: "is in its place" in now["Why"][0]["text"]["data"])
        assert "second-drive" in seen["Why"][0]["text"]["data"]
        assert str(place) in seen["Why"][0]["text"]["data"]
        assert seen["State"] == "waiting"
    with mounted("third-drive", place):
        shutil.copytree(original, place, dirs_exist_ok=True)
        daemon.wait_until(lambda now: now["State"] == "done")
    expect_arrived(replace(large, folder=original), swift, container)
