"""A real OpenStack Swift for tests and trials: proxy, account, container and object server in one process.

All of it is the code of the released `swift` package; only memcached and syslog are replaced (swift_hooks).
It listens on loopback alone, needs no privileges, and keeps everything under --dir, which must be on a file
system with user extended attributes (ext4, xfs, btrfs; tmpfs since Linux 6.6). A second start with the same
--dir finds the data of the first. SIGTERM ends it.

Accounts (user / key): test:tester / testing, test2:tester2 / testing2 (both may write),
test:tester3 / testing3 (may do nothing), admin:admin / admin (may do everything, set quotas too).
With --keystone they are Keystone's instead, and whoever is admin or member of a project may write to its account.
"""

from __future__ import annotations

import argparse
import os
import pwd
import signal
import socket
import sys
import warnings
from pathlib import Path
from typing import Any

SERVERS = ("account", "container", "object")

PIPELINE = (
    # slo, bulk, tempauth, cache and the quotas must be named or Swift quietly does without them
    "catch_errors gatekeeper healthcheck proxy-logging cache listing_formats bulk {auth} copy "
    "container-quotas account-quotas slo dlo versioned_writes symlink proxy-logging proxy-server"
)

OPTIONAL = ("slo", "copy", "bulk")
"""What a cloud may do without, and slowboat has to."""

DEFAULTS = """[DEFAULT]
swift_dir = {etc}
devices = {devices}
mount_check = false
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
log_level = {loglevel}
log_custom_handlers = swift_hooks.log_to_file
log_file = {log}
fallocate_reserve = 0
disable_fallocate = true
db_preallocation = off
recon_cache_path = {state}
lock_path = {state}
"""

STORAGE = """
[pipeline:main]
pipeline = {server}-server
[app:{server}-server]
use = egg:swift#{server}
mount_check = false
log_requests = false
"""

# What a filter needs beyond "use = egg:swift#its_name".
FILTERS = {
    "catch_errors": "",
    "gatekeeper": "",
    "healthcheck": "",
    "proxy-logging": "access_log_level = {loglevel}",
    "listing_formats": "",
    "bulk": "",
    "tempauth": (
        "user_admin_admin = admin .admin .reseller_admin\n"
        "user_test_tester = testing .admin\n"
        "user_test2_tester2 = testing2 .admin\n"
        "user_test_tester3 = testing3\n"
        "user_test_müller = schlüssel .admin\n"  # Swift takes what is beyond ASCII for UTF-8
        "token_life = {token_life}"
    ),
    "copy": "",
    "container-quotas": "",
    "account-quotas": "",
    "slo": "",
    "dlo": "",
    "versioned_writes": "allow_versioned_writes = true\nallow_object_versioning = true",
    "symlink": "",
}

KEYSTONE = """
[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
www_authenticate_uri = {keystone}
auth_url = {keystone}
auth_type = password
user_domain_id = default
project_domain_id = default
project_name = service
username = swift
password = {keystone_password}
delay_auth_decision = true
# What Keystone has revoked is refused a second later, and not five minutes.
token_cache_time = 1
[filter:keystoneauth]
use = egg:swift#keystoneauth
operator_roles = admin, member
"""
"""https://docs.openstack.org/swift/latest/overview_auth.html#keystone-auth"""

PROXY_APP = """
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
[filter:cache]
paste.filter_factory = swift_hooks:cache_factory
"""

EXPIRER = """
[object-expirer]
interval = 1
internal_client_conf_path = {etc}/internal-client.conf
delay_reaping = 0
dequeue_from_legacy = true
"""


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="contrib/swift", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dir", type=Path, required=True, help="where everything is kept; made if missing")
    parser.add_argument("--port", type=int, default=0, help="of the proxy; 0 takes a free one")
    parser.add_argument("--max-file-size", type=int, default=5368709122, help="bytes of the largest object")
    parser.add_argument("--token-life", type=int, default=86400, help="seconds until a token expires")
    parser.add_argument("--expirer", type=float, default=0, help="run Swift's object expirer every so many seconds")
    parser.add_argument(
        "--without", action="append", default=[], choices=OPTIONAL, help="take this out of the pipeline; repeatable"
    )
    parser.add_argument("--keystone", default="", help="let this Keystone say who may do what: its address, with /v3")
    parser.add_argument("--keystone-password", default="swift", help='of Keystone\'s user "swift" in project "service"')
    parser.add_argument("--loglevel", default="WARNING", help="of DIR/swift.log")
    return parser.parse_args()


def pipeline(filters: str, values: dict[str, Any]) -> str:
    """The proxy's part of a configuration file, with one section for each filter that Swift ships."""
    sections = [f"[pipeline:main]\npipeline = {filters}\n", PROXY_APP]
    for name, settings in FILTERS.items():
        sections.append(f"[filter:{name}]\nuse = egg:swift#{name.replace('-', '_')}\n{settings.format(**values)}\n")
    if values["keystone"]:
        sections.append(KEYSTONE.format(**values))
    return "\n".join(sections)


def write_configuration(etc: Path, ports: dict[str, int], values: dict[str, Any]) -> None:
    """The files the released servers read: swift.conf, one file per server, the expirer's two."""
    (etc / "swift.conf").write_text(
        "[swift-hash]\nswift_hash_path_suffix = slowboat\n"
        "[storage-policy:0]\nname = default\ndefault = yes\n"
        f"[swift-constraints]\nmax_file_size = {values['max_file_size']}\n"
    )
    auth = "authtoken keystoneauth" if values["keystone"] else "tempauth"
    wanted = [each for each in PIPELINE.format(auth=auth).split() if each not in values["without"]]
    inner = "catch_errors proxy-logging cache symlink proxy-server"
    parts = {server: STORAGE.format(server=server) for server in SERVERS} | {
        "proxy": pipeline(" ".join(wanted), values),
        "internal-client": pipeline(inner, values),
        "object-expirer": EXPIRER.format(**values),
    }
    for name, part in parts.items():
        head = DEFAULTS.format(**values | {"port": ports.get(name, 0)})
        (etc / f"{name}.conf").write_text(head + part)


def write_rings(etc: Path, ports: dict[str, int]) -> None:
    """One device, one replica, eight partitions. The rings name the ports, so each start writes them anew."""
    from swift.common.ring import RingBuilder

    for server in SERVERS:
        builder = RingBuilder(3, 1, 0)
        where = {
            "region": 1,
            "zone": 1,
            "ip": "127.0.0.1",
            "port": ports[server],
            "device": "d1",
            "weight": 1.0,
        }
        builder.add_dev(where)
        builder.rebalance()
        builder.get_ring().save(str(etc / f"{server}.ring.gz"))


def need_xattrs(directory: Path) -> None:
    probe = directory / "xattr-probe"
    probe.touch()
    try:
        os.setxattr(probe, "user.swift.metadata", b"x" * 3000)
    except OSError as error:
        sys.exit(f"contrib/swift: {directory} cannot hold user extended attributes ({error}); choose another --dir")
    finally:
        probe.unlink()


def listen(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(512)
    return listener


def serve(server: str, conf: Path, listener: socket.socket) -> None:
    import eventlet
    from eventlet import wsgi
    from swift.common.http_protocol import SwiftHttpProtocol
    from swift.common.utils import NullLogger
    from swift.common.wsgi import loadapp

    # As it is configured: Swift would put back a "copy" that is taken out (required_filters in swift.proxy.server).
    app = loadapp(str(conf), global_conf={"log_name": server}, allow_modify_pipeline=False)
    wsgi.server(
        listener,
        app,
        NullLogger(),
        protocol=SwiftHttpProtocol,
        socket_timeout=60,
        capitalize_response_headers=False,
        custom_pool=eventlet.GreenPool(1024),
        debug=False,
    )


def expire(conf: Path, every: float) -> None:
    """Runs the expirer, and before it the updater that tells the account of its hidden container."""
    import eventlet
    from swift.common.utils import readconf
    from swift.container.updater import ContainerUpdater
    from swift.obj.expirer import ObjectExpirer

    settings = readconf(str(conf), "object-expirer")
    updater, expirer = ContainerUpdater(settings), ObjectExpirer(settings)
    while True:
        eventlet.sleep(every)
        updater.run_once()
        expirer.run_once()


def wait_until_healthy(port: int) -> None:
    import eventlet
    from eventlet.green.http import client

    for _ in range(500):
        try:
            connection = client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/healthcheck")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        eventlet.sleep(0.02)
    sys.exit("contrib/swift: the proxy does not respond; see swift.log in its --dir")


def main() -> None:
    chosen = options()
    top = chosen.dir.resolve()
    etc, devices, state = top / "etc", top / "devices", top / "state"
    for directory in (etc, devices / "d1" / "tmp", state):
        directory.mkdir(parents=True, exist_ok=True)
    need_xattrs(devices)

    warnings.filterwarnings("ignore")  # eventlet announces its own end on import
    import eventlet
    from swift.common import constraints, storage_policy, utils

    # Before any socket: a listening socket that is not patched would block the whole process in accept().
    utils.monkey_patch()
    eventlet.hubs.use_hub(utils.get_hub())
    listeners = {"proxy": listen(chosen.port)} | {server: listen(0) for server in SERVERS}
    ports = {server: listener.getsockname()[1] for server, listener in listeners.items()}

    values = vars(chosen) | {"etc": etc, "devices": devices, "state": state, "log": top / "swift.log"}
    write_configuration(etc, ports, values | {"user": pwd.getpwuid(os.getuid()).pw_name})
    utils.set_swift_dir(str(etc))
    constraints.reload_constraints()
    storage_policy.reload_storage_policies()
    write_rings(etc, ports)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    threads = [eventlet.spawn(serve, name, etc / f"{name}.conf", listeners[name]) for name in listeners]
    if chosen.expirer:
        eventlet.spawn(expire, etc / "object-expirer.conf", chosen.expirer)
    wait_until_healthy(ports["proxy"])
    print(f"READY http://127.0.0.1:{ports['proxy']}/auth/v1.0 pid={os.getpid()}", flush=True)
    for thread in threads:
        thread.wait()


if __name__ == "__main__":
    main()
