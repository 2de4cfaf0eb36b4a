"""A real OpenStack Keystone for tests and trials, in one process, over SQLite.

All of it is the code of the released `keystone` package: its `keystone-manage` makes the database, the keys and the
first administrator (admin / --admin-password, project admin, domain default), then its application is served. It
listens on loopback alone, needs no privileges, and keeps everything under --dir. A second start with the same --dir
finds the users of the first. SIGTERM ends it. Run it by .venv-keystone's Python, which contrib/setup makes:
its requirements and slowboat's are different worlds.
"""

from __future__ import annotations

import argparse
import getpass
import grp
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

CONFIGURATION = """[DEFAULT]
log_file = {top}/keystone.log
[database]
connection = sqlite:///{top}/keystone.db
[token]
expiration = {token_life}
[fernet_tokens]
key_repository = {top}/tokens
[fernet_receipts]
key_repository = {top}/receipts
[credential]
key_repository = {top}/credentials
[identity]
# The least that there is: the tests' passwords are no secrets, and each check of one costs time.
password_hash_rounds = 4
"""
"""https://docs.openstack.org/keystone/latest/configuration/config-options.html"""


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=Path, required=True, help="where everything is kept; made if missing")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--token-life", type=int, default=3600, help="seconds until a token expires")
    parser.add_argument("--admin-password", default="admin", help="of the first administrator")
    return parser.parse_args()


def manage(conf: Path, *command: str) -> None:
    """`keystone-manage`, in a fork: its imports take two seconds, and one process can run it only once."""
    from keystone.cmd import cli

    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        if status:
            sys.exit(f"keystone-manage {command[0]} failed; see keystone.log in {conf.parent}")
        return
    sys.argv = ["keystone-manage", "--config-file", str(conf), *command]
    code = 1
    try:
        cli.main(argv=sys.argv)
        code = 0
    finally:
        os._exit(code)


def prepare(conf: Path, password: str) -> None:
    """What an administrator does once.

    https://docs.openstack.org/keystone/latest/install/keystone-install-ubuntu.html
    """
    owner = ("--keystone-user", getpass.getuser(), "--keystone-group", grp.getgrgid(os.getgid()).gr_name)
    manage(conf, "db_sync")
    for keys in ("fernet_setup", "receipt_setup", "credential_setup"):
        manage(conf, keys, *owner)
    manage(conf, "bootstrap", "--bootstrap-password", password)


def application(conf: Path) -> Any:
    from keystone.server.flask import core

    sys.argv = ["keystone", "--config-file", str(conf)]
    return core.initialize_application(name="public", config_files=[str(conf)])


def serve(app: Any, port: int) -> None:
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_request(self, *_: Any) -> None:
            """Keystone's own log is enough."""

    server = make_server("127.0.0.1", port, app, threaded=True, request_handler=Quiet)
    print(f"READY http://127.0.0.1:{server.server_port}/v3 pid={os.getpid()}", flush=True)
    server.serve_forever()


def main() -> None:
    chosen = options()
    top = chosen.dir.resolve()
    top.mkdir(parents=True, exist_ok=True)
    warnings.filterwarnings("ignore")  # of libraries about each other's future
    conf = top / "keystone.conf"
    conf.write_text(CONFIGURATION.format(top=top, token_life=chosen.token_life))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    if not (top / "keystone.db").exists():
        prepare(conf, chosen.admin_password)
    serve(application(conf), chosen.port)


if __name__ == "__main__":
    main()
