"""A real Ceph RADOS Gateway for tests and trials: the other implementation of Swift's API.

One monitor, one manager, one OSD and radosgw from Debian's packages, all on loopback and without privileges, with
everything under --dir (45 MB on the disk beside what is stored, and 450 MB of memory). A second start with the
same --dir finds the data of the first. SIGTERM ends it and all it started; what kills it kills them too.

User and key: test:tester / testing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

PACKAGES = {
    "ceph-mon": "ceph-mon",
    "ceph-mgr": "ceph-mgr",
    "ceph-osd": "ceph-osd",
    "radosgw": "radosgw",
    "ceph": "ceph-common",
    "setpriv": "util-linux",
}
"""Program -> the Debian package that brings it; contrib/setup installs them."""

PATIENCE = 180
"""Seconds for each step of the start: on an idle machine all of them together take 20."""

TRIES = 5
"""Starts of a program that fails while the others come up. One that asks something of the monitor before it has its map
is told "wrong fsid" and gives up; on a busy machine one in ten does."""

CONFIGURATION = """[global]
fsid = {fsid}
mon_initial_members = a
mon_host = [v1:127.0.0.1:{mon_port}]
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
keyring = {top}/keyring
# One OSD holds all, so one copy is enough, and each pool of the gateway's has one placement group.
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pgp_num = 1
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_warn_on_pool_no_redundancy = false
mon_max_pg_per_osd = 2000
# The monitor stops when the disk is nearly full, whoever filled it.
mon_data_avail_warn = 2
mon_data_avail_crit = 1
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
ms_bind_ipv4 = true
ms_bind_ipv6 = false
ms_bind_msgr2 = false
# A socket's name has 107 bytes at most (unix(7)), and DIR may be deep.
admin_socket =
run_dir = {top}
log_file = {top}/$name.log
pid_file =
crash_dir = {top}
[mon]
mon_data = {top}/mon
mon_cluster_log_file = {top}/cluster.log
[mgr]
mgr_data = {top}/mgr
mgr_module_path = /usr/share/ceph/mgr
[osd]
osd_data = {top}/osd
osd_objectstore = bluestore
bluestore_block_size = {room}
osd_memory_target = 939524096
bluestore_cache_autotune = false
bluestore_cache_size = 67108864
osd_class_update_on_start = false
[client.rgw.a]
rgw_data = {top}/rgw
rgw_frontends = beast endpoint=127.0.0.1:{port}
rgw_thread_pool_size = 32
rgw_swift_token_expiration = {token_life}
rgw_max_put_size = {max_file_size}
rgw_objexp_gc_interval = {expirer}
rgw_objexp_hints_num_shards = 7
# What is deleted makes room within a minute and not within hours.
rgw_gc_obj_min_wait = 10
rgw_gc_processor_period = 20
rgw_gc_max_objs = 7
rgw_enable_usage_log = false
"""
"""https://docs.ceph.com/en/pacific/rados/configuration/ and https://docs.ceph.com/en/pacific/radosgw/config-ref/"""


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="contrib/rgw", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dir", type=Path, required=True, help="where everything is kept; made if missing")
    parser.add_argument("--port", type=int, default=0, help="of the gateway; 0 takes a free one")
    parser.add_argument("--max-file-size", type=int, default=5368709120, help="bytes of the largest object")
    parser.add_argument("--token-life", type=int, default=86400, help="seconds until a token expires")
    parser.add_argument("--expirer", type=int, default=600, help="run Ceph's object expirer every so many seconds")
    parser.add_argument("--room", type=int, default=20 << 30, help="bytes that it can hold; the file for it is sparse")
    return parser.parse_args()


def stop(why: str) -> NoReturn:
    sys.exit(f"contrib/rgw: {why}")


def need_programs() -> None:
    missing = sorted({package for program, package in PACKAGES.items() if not shutil.which(program)})
    if missing:
        stop(f"please run: sudo apt-get install -y --no-install-recommends {' '.join(missing)}")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def remembered(file: Path, fresh: object) -> str:
    """What the first start chose, for all the later ones: the cluster's own data name it."""
    if not file.exists():
        file.write_text(f"{fresh}\n")
    return file.read_text().strip()


class Cluster:
    """The programs of one cluster.

    Attributes:
        top: its folder.
        url: where the gateway answers, without a path.
    """

    def __init__(self, top: Path, values: dict[str, object]) -> None:
        self.top = top
        self.url = f"http://127.0.0.1:{values['port']}"
        self._fsid = remembered(top / "fsid", uuid.uuid4())
        self._mon_port = remembered(top / "mon-port", free_port())
        self._osd = remembered(top / "osd-uuid", uuid.uuid4())
        self._argvs: dict[str, list[str]] = {}
        self._tries: dict[str, int] = {}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        settled = values | {"top": top, "fsid": self._fsid, "mon_port": self._mon_port}
        (top / "ceph.conf").write_text(CONFIGURATION.format(**settled))
        (top / "keyring").touch()

    def start(self) -> None:
        first = not (self.top / "ready").exists()
        if first:
            self._make()
        self._launch("ceph-mon", "-i", "a", "-f")
        self._launch("ceph-mgr", "-i", "a", "-f")
        if first:
            self._run("ceph", "osd", "new", self._osd, "0")
        self._launch("ceph-osd", "-i", "0", "-f")
        if first:
            self._run(
                "radosgw-admin", "-n", "client.rgw.a", "user", "create", "--uid=test", "--display-name=Test",
                "--subuser=test:tester", "--access=full", "--key-type=swift", "--secret=testing",
            )  # fmt: skip
        self._launch("radosgw", "-n", "client.rgw.a", "-f")
        self._wait(self._answers, "radosgw")
        (self.top / "ready").touch()

    def _make(self) -> None:
        """The empty stores of monitor and OSD."""
        for name in ("mon", "mgr", "osd", "rgw"):
            shutil.rmtree(self.top / name, ignore_errors=True)  # of a first start that was killed
            (self.top / name).mkdir()
        monmap = str(self.top / "monmap")
        address = f"[v1:127.0.0.1:{self._mon_port}]"
        self._run("monmaptool", "--create", "--clobber", "--addv", "a", address, "--fsid", self._fsid, monmap)
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap)
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", self._osd, "--monmap", monmap, "--no-mon-config")

    def _argv(self, program: str, *arguments: str) -> list[str]:
        """So that it ends with us, however we end."""
        return ["setpriv", "--pdeathsig", "KILL", "--", program, "-c", str(self.top / "ceph.conf"), *arguments]

    def _run(self, program: str, *arguments: str) -> None:
        """One that ends by itself, and is tried again where it failed."""
        for _ in range(TRIES):
            self._launch(program, *arguments)
            process = self._running.pop(program)
            self._wait(lambda: process.poll() is not None, program)  # noqa: B023 - it is called here alone
            if process.returncode == 0:
                return
        self._give_up(program)

    def _launch(self, program: str, *arguments: str) -> None:
        self._argvs[program], self._tries[program] = self._argv(program, *arguments), 0
        self._again(program)

    def _again(self, program: str) -> None:
        self._tries[program] += 1
        with (self.top / f"{program}.out").open("ab") as out:
            self._running[program] = subprocess.Popen(
                self._argvs[program], stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )

    def _wait(self, holds: Callable[[], bool], program: str) -> None:
        """Until something of `program` holds; those that end meanwhile are started again."""
        end = time.monotonic() + PATIENCE
        while not holds():
            for name in self.ended():
                if self._tries[name] == TRIES:
                    self._give_up(name)
                self._again(name)
            if time.monotonic() > end:
                self._give_up(program)
            time.sleep(0.1)

    def _give_up(self, program: str) -> NoReturn:
        self.end()
        stop(f"{program} did not do its part; see {self.top}/{program}.out, and the logs beside it")

    def _answers(self) -> bool:
        try:
            with self._opener.open(f"{self.url}/swift/info", timeout=5):
                return True
        except OSError:
            return False

    def ended(self) -> list[str]:
        """Which of the programs have ended, though they should not have."""
        return [name for name, process in self._running.items() if process.poll() is not None]

    def end(self) -> None:
        """All of them, those that ask others before the others."""
        for name in ("radosgw", "ceph-osd", "ceph-mgr", "ceph-mon"):
            process = self._running.pop(name, None)
            if process is None:
                continue
            process.terminate()
            try:
                process.wait(2 if name in ("radosgw", "ceph-mgr") else 10)
            except subprocess.TimeoutExpired:
                process.kill()  # what it has answered is with the OSD
                process.wait()


def main() -> int:
    chosen = options()
    need_programs()
    top = chosen.dir.resolve()
    top.mkdir(parents=True, exist_ok=True)
    cluster = Cluster(top, vars(chosen) | {"port": chosen.port or free_port()})

    def ending(*_: object) -> None:
        cluster.end()
        os._exit(0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ending)
    cluster.start()
    print(f"READY {cluster.url}/auth/v1.0 pid={os.getpid()}", flush=True)
    while not (gone := cluster.ended()):
        time.sleep(1)
    cluster.end()
    stop(f"{' and '.join(gone)} ended by itself; see {top}/{gone[0]}.out and .log")


if __name__ == "__main__":
    sys.exit(main())
