"""Where a real Keystone gives out the tokens, and takes them back: a migration, and duplicity's own way in."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import pytest
from evidence import expect_arrived
from on_the_wire import Wire, wire_to

from faults.identity import keystone_answer, rackspace_answer
from realparts.keystone_server import NORTH
from slowboat.cli import restore_drill
from slowboat.edges import settings
from slowboat.edges.settings import Cloud

if TYPE_CHECKING:
    from pathlib import Path

    from realparts.daemon_process import Daemon
    from realparts.drive import Drive
    from realparts.duplicity import Duplicity
    from realparts.keystone_server import KeystoneSwift
    from realparts.swift_server import SwiftServer

pytestmark = pytest.mark.needs("busctl", "gpg")


def at_keystone(daemon: Daemon, secret: str, **cloud: str) -> None:
    """Puts other settings and another secret into the cloud's table."""
    table = {**cloud, "key_file": str(daemon.secret("key", secret))}
    lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in table.items())
    text = daemon.config_file.read_text()
    daemon.configure(re.sub(r"(?<=\[cloud\.test\]\n).*?(?=\[migration)", lines, text, flags=re.DOTALL))


def test_a_revoked_token_costs_nothing(daemon: Daemon, keystone_swift: KeystoneSwift, chain: Drive) -> None:
    keystone, container = keystone_swift.keystone, keystone_swift.container()
    owner = keystone_swift.owner = keystone.user("house")
    who = {"auth_url": keystone.url, "region": NORTH, "user": owner.name, "user_domain": owner.domain}
    daemon.configure_migration(chain, keystone_swift, container, prefix="p", limit=2_000_000)
    with wire_to(keystone_swift.port) as wire:
        through = f"http://127.0.0.1:{wire.port}/v1/AUTH_{owner.project_id}"
        at_keystone(daemon, owner.password, **who, project=owner.project, storage_url=through)
        daemon.start()
        wire.kept(r"\.vol\d", 1)
        revoked = wire.requests[-1].headers["x-auth-token"]
        keystone.revoke(revoked)
        daemon.wait_until(lambda now: now["State"] == "done")
        refused = [each for each in wire.requests if each.status == 401]
        tokens = {each.headers.get("x-auth-token", "") for each in wire.requests} - {""}
    assert refused, "the revoked token was refused"
    assert {each.headers["x-auth-token"] for each in refused} == {revoked}
    assert len(tokens) == 2
    expect_arrived(chain, keystone_swift, container, "p/")
    assert "Traceback" not in daemon.log

    shown = (daemon.log, daemon.slowboat("history").stdout, daemon.slowboat("status", "--json").stdout)
    kept = [path.read_bytes().decode("latin-1") for path in daemon.state.iterdir()]
    for hidden in (owner.password, *tokens):
        assert not [text for text in (*shown, *kept) if hidden in text]


@pytest.mark.parametrize("by_itself", [True, False], ids=["by-itself", "with-a-token"])
def test_duplicity_gets_in_by_what_the_drill_tells_it(
    keystone_swift: KeystoneSwift, by_itself: bool, duplicity: Duplicity, tmp_path: Path
) -> None:
    keystone, container = keystone_swift.keystone, keystone_swift.container()
    owner = keystone_swift.owner = keystone.user("house")
    if by_itself:
        secret, who = owner.password, {"user": owner.name, "user_domain": owner.domain, "project": owner.project}
    else:
        found, secret = keystone.application_credential(owner, "drill")
        who = {"application_credential_id": found}
    (file := tmp_path / "key").touch(mode=0o600)
    file.write_text(secret)
    told = restore_drill._environment(Cloud(name="c", auth_url=keystone.url, region=NORTH, key_file=file, **who))
    assert (secret in told.values()) is by_itself

    (data := tmp_path / "data").mkdir()
    (data / "file").write_bytes(b"whole")
    replace(duplicity, encrypted=False, environment=told).full(data, f"swift://{container}/p")  # it asks for sizes too
    assert [name for name in keystone_swift.listing(container) if name.startswith("p/duplicity-full.")]


@pytest.mark.parametrize("version", ["rackspace", 2])
def test_duplicity_gets_in_where_version_2_is_spoken(
    swift: SwiftServer, wire: Wire, version: Literal["rackspace", 2], duplicity: Duplicity, tmp_path: Path
) -> None:
    answer = rackspace_answer(swift) if version == "rackspace" else keystone_answer(swift)
    wire.rule("POST", "/v2.0/tokens$", answer, times=None)
    (file := tmp_path / "key").touch(mode=0o600)
    file.write_text("api-secret")
    who = {"user": "joe", "project": "customer-x", "key_file": file}
    told = restore_drill._environment(Cloud(name="c", auth_url=f"{wire.origin}/v2.0", version=version, **who))
    assert ("api-secret" in told.values()) is (version == 2), "duplicity knows passwords and no API keys"

    container = swift.container()
    (data := tmp_path / "data").mkdir()
    (data / "file").write_bytes(b"whole")
    replace(duplicity, encrypted=False, environment=told).full(data, f"swift://{container}/p")
    assert [name for name in swift.listing(container) if name.startswith("p/duplicity-full.")]


def test_setup_asks_for_the_region_where_there_are_several(
    daemon: Daemon, keystone_swift: KeystoneSwift, chain: Drive
) -> None:
    owner = keystone_swift.keystone.user("house")
    account = {
        "OS_AUTH_URL": keystone_swift.keystone.url,
        "OS_USERNAME": owner.name,
        "OS_USER_DOMAIN_NAME": owner.domain,
        "OS_PROJECT_NAME": owner.project,
        "OS_PASSWORD": owner.password,
    }
    words = ["setup", "--no-start", "--source", str(chain.folder), "--container", keystone_swift.container()]
    done = subprocess.run(
        [sys.executable, "-m", "slowboat", *words],
        env=daemon.variables() | account | {"XDG_CACHE_HOME": str(chain.duplicity.home / ".cache")},
        input=f"{NORTH}\n\n\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "object stores in several regions" in done.stderr
    read = settings.load(daemon.config_file, {})
    cloud = read.clouds["mycloud"]
    assert (cloud.region, cloud.project, cloud.version) == (NORTH, owner.project, 3)
    assert owner.password not in done.stdout + done.stderr + daemon.config_file.read_text()
