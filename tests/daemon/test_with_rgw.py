"""Ceph's RADOS Gateway, which speaks Swift's API in its own way: the store's promises and the main job hold on it too.

All that needs it stands here, so that one process of a run starts one (`--dist loadfile`).
"""

from __future__ import annotations

import json
import random
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from evidence import expect_arrived_in_segments, fingerprint, parts_of, took_the_cache_as_it_is
from on_the_wire import wire_to

from edges.store_conformance import StoreConformance
from realparts.drive import change_data, differences, make_chain
from realparts.duplicity import NEWEST, installed_duplicity
from slowboat.core.capabilities import Capabilities
from slowboat.edges.swift import Credentials, SwiftStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from realparts.daemon_process import Daemon
    from realparts.drive import Drive
    from realparts.rgw_server import RgwServer

MB, MIB = 1_000_000, 1 << 20
HELD_BACK = 140_000
"""Bytes per second until the incremental is made: a segment has 2 MiB on such a line, and takes 15 seconds."""

pytestmark = pytest.mark.needs("ceph", "ceph-mon", "ceph-mgr", "ceph-osd", "radosgw")


def processes_of(server: RgwServer) -> list[str]:
    listed = subprocess.run(["ps", "-eww", "-o", "pid,args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if str(server.storage) in line]


def test_it_is_ceph_and_keeps_objects_over_a_restart_and_leaves_nothing(rgw: RgwServer) -> None:
    with rgw.connection() as connection:
        info = connection.get_capabilities()
    assert {"slo", "bulk_delete", "tempauth"} <= info.keys()
    assert "max_object_name_size" in info["swift"], "Ceph's word for it, and not Swift's"
    container = rgw.container()
    rgw.put(container, "a/b", b"hello")
    address = rgw.auth_url
    assert len(processes_of(rgw)) > 4
    rgw.stop()
    assert processes_of(rgw) == []
    rgw.start()
    assert rgw.auth_url == address
    assert rgw.read(container, "a/b") == b"hello"


@pytest.fixture
async def store(rgw: RgwServer) -> AsyncIterator[SwiftStore]:
    made = SwiftStore(Credentials(rgw.auth_url, rgw.user, rgw.key), rgw.container())
    yield made
    await made.close()


class TestAgainstRgw(StoreConformance):
    can = Capabilities(guards=False, checks_md5=True, segments=True, slo=True, checks_slo=False, joins=False)
    lists_slos = False
    checks_parts = False


@pytest.mark.needs("busctl", "gpg")
def test_the_main_job(daemon: Daemon, rgw: RgwServer, tmp_path: Path) -> None:
    """All goes up in segments; SIGKILL in mid-object, handover, an incremental, the rest, verify and restore."""
    with installed_duplicity(NEWEST, tmp_path / "home") as found, wire_to(rgw.port) as wire:
        drive = make_chain(replace(found, volsize=8), tmp_path / "made", incs=1, size=MB, letters=16_000)
        assert drive.size(drive.names("full-signatures")) > 2 * MIB, "nothing larger goes up in one PUT at first"
        before, container = fingerprint(drive.folder, drive.cache), rgw.container()
        url = daemon.configure_migration(drive, rgw, container, limit=HELD_BACK, auth_url=wire.auth_url)
        daemon.configure("connections = 1\n" + daemon.config_file.read_text())  # the first volume has the line alone
        daemon.start()
        daemon.wait_until(lambda now: now["Handover"] == "done")
        kept = wire.kept(r"_segments/.*\.vol", 1)
        daemon.kill()
        daemon.start()

        cloud = replace(drive.duplicity, environment=rgw.environment())
        change_data(drive.data, 200_000, random.Random(3))
        took_the_cache_as_it_is(cloud.inc(drive.data, url, "-v9").stdout)
        seen = daemon.migration()
        assert seen["VolumesDone"] < seen["VolumesTotal"], "volumes were missing when the incremental had ended"

        daemon.configure(daemon.config_file.read_text().replace(f"limit = {HELD_BACK}", ""))
        daemon.slowboat("reload")
        seen = daemon.wait_until(lambda now: now["State"] == "done", timeout=120)
        assert seen["RestorableFromCloud"] is True
        assert not [name for name in kept if wire.stored().count(name) > 1], "what the server had is not sent again"
        rgw.wait_for_the_expirer()
        rgw.wait_for_the_expirer()
        slos = expect_arrived_in_segments(drive, rgw, container)
        assert slos > set(drive.names("full-signatures")), "a volume too was begun in segments"
        assert fingerprint(drive.folder, drive.cache) == before, "the drive and its cache were only read"
        daemon.slowboat("verify", "--deep")
        elsewhere = cloud.without_cache()
        elsewhere.verify(url, drive.data)
        elsewhere.restore(url, tmp_path / "restored")
        assert differences(drive.data, tmp_path / "restored") == []


@pytest.mark.needs("busctl", "gpg")
def test_what_somebody_else_put_there_is_kept_though_no_guard_of_the_server_keeps_it(
    daemon: Daemon, rgw: RgwServer, chain: Drive
) -> None:
    container, theirs = rgw.container(), b"somebody else's"
    daemon.configure_migration(chain, rgw, container, limit=HELD_BACK)
    daemon.start()
    daemon.wait_until(lambda now: now["Handover"] == "done")
    coming = next(name for name in reversed(chain.volumes) if name not in rgw.listing(container))
    rgw.put(container, coming, theirs)
    daemon.configure(daemon.config_file.read_text().replace(f"limit = {HELD_BACK}", ""))
    daemon.slowboat("reload")
    daemon.wait_until(lambda now: (now["VolumesRefused"], now["VolumesDone"]) == (1, now["VolumesTotal"] - 1))
    assert rgw.read(container, coming) == theirs
    rgw.delete(container, [coming])
    daemon.slowboat("retry")
    daemon.wait_until(lambda now: now["State"] == "done")
    assert rgw.read(container, coming) == (chain.folder / coming).read_bytes()


@pytest.mark.needs("busctl", "gpg")
def test_a_segment_that_the_server_has_lost_is_sent_again_and_duplicity_removes_them_all(
    daemon: Daemon, rgw: RgwServer, tmp_path: Path
) -> None:
    with installed_duplicity(NEWEST, tmp_path / "home") as found:
        drive = make_chain(replace(found, volsize=4), tmp_path / "made", incs=0, size=12 * MB)
        container = rgw.container()
        url = daemon.configure_migration(drive, rgw, container)
        # every volume is begun while nothing is known of the line, and so in segments of 1 MiB
        daemon.configure("connections = 8\n" + daemon.config_file.read_text())
        daemon.start()
        daemon.wait_until(lambda now: now["State"] == "done")
        victim = min(expect_arrived_in_segments(drive, rgw, container))
        rgw.delete(f"{container}_segments", [min(parts_of(rgw, container, victim))])
        done = daemon.slowboat("verify", "--json", check=False)
        assert done.returncode == 1, done.stdout
        assert [one["name"] for one in json.loads(done.stdout)["home"]["findings"]] == [victim]
        daemon.wait_until(lambda now: now["State"] == "done" and now["RestorableFromCloud"])
        assert daemon.slowboat("verify").returncode == 0
        expect_arrived_in_segments(drive, rgw, container)

        daemon.terminate()
        cloud = replace(drive.duplicity, environment=rgw.environment())
        cloud.full(drive.data, url)
        cloud.run("remove-all-but-n-full", "1", "--force", url)
        left = rgw.listing(f"{container}_segments", "slowboat1/duplicity-")
        assert not left, "duplicity removes a large object with its data"
