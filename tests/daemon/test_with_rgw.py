"""Ceph's RADOS Gateway, which speaks Swift's API in its own way: the store's promises and the main job hold on it too.

All that needs it stands here, so that one process of a run starts one (`--dist loadfile`).
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from realparts.rgw_server import RgwServer

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
