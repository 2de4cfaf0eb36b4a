"""`slowboat verify --restore`: what the cloud alone can restore, tried with real duplicity."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from realparts.duplicity import DEBIANS, NEWEST, PASSPHRASE
from realparts.presence import absent

if TYPE_CHECKING:
    from pathlib import Path

    from realparts.daemon_process import Daemon
    from realparts.drive import Drive
    from realparts.swift_server import SwiftServer

pytestmark = pytest.mark.needs("busctl", "gpg")

SLOW = 1000
"""Bytes per second: the volumes of the chain take hours."""


def drill(daemon: Daemon) -> tuple[int, str, str]:
    done = daemon.slowboat("verify", "--restore", check=False)
    return done.returncode, " ".join(done.stdout.split()), done.stderr


def ready(daemon: Daemon, swift: SwiftServer, chain: Drive, program: Path, limit: int = 0) -> str:
    if not program.exists():
        absent(f"duplicity at {program}")
    container = swift.container()
    more = f"duplicity = {json.dumps(str(program))}\n"
    daemon.configure_migration(chain, swift, container, prefix="p", limit=limit, more=more)
    daemon.environment["GNUPGHOME"] = str(chain.duplicity.keyring)
    daemon.start()
    return container


@pytest.mark.parametrize("program", [NEWEST, DEBIANS], ids=["newest", "debian"])
def test_one_small_file_is_restored_from_the_cloud_and_compared(
    daemon: Daemon, swift: SwiftServer, chain: Drive, program: Path
) -> None:
    container = ready(daemon, swift, chain, program)
    daemon.wait_until(lambda now: now["State"] == "done")
    code, said, _ = drill(daemon)
    assert code == 0
    assert said.count(" yes") == 3
    assert "set PASSPHRASE as for duplicity" in said  # nobody is there to be asked

    daemon.environment["PASSPHRASE"] = PASSPHRASE
    code, said, complained = drill(daemon)
    assert (code, complained) == (0, "")
    assert "Restored from the cloud alone: " in said
    assert "is identical, byte for byte" in said
    assert PASSPHRASE not in said
    everything = swift.listing(container)

    chain.folder.rename(chain.folder.with_name("away"))
    code, said, _ = drill(daemon)
    assert code == 0
    assert "The drive is not connected, so it was not compared." in said
    assert not chain.folder.exists()
    assert swift.listing(container) == everything

    daemon.environment["PASSPHRASE"] = "mistyped"
    code, _, complained = drill(daemon)
    assert code == 1
    assert "duplicity could not restore" in complained
    assert "mistyped" not in complained


def test_while_volumes_are_missing_it_says_so(daemon: Daemon, swift: SwiftServer, chain: Drive) -> None:
    ready(daemon, swift, chain, NEWEST, limit=SLOW)
    daemon.wait_until(lambda now: now["VolumesTotal"] > 0)
    code, said, _ = drill(daemon)
    assert code == 1
    assert said.count("not yet (") == 3
    assert " yes" not in said
    assert "volumes" in said
    told = json.loads(daemon.slowboat("verify", "--restore", "--json", check=False).stdout)["home"]
    assert [one["restorable"] for one in told["backups"]] == [False, False, False]
    assert told["backups"][-1]["volumes_missing"] == len(chain.volumes)


def test_a_file_that_lies_in_what_has_arrived_is_restored_while_other_volumes_are_missing(
    daemon: Daemon, swift: SwiftServer, chain: Drive
) -> None:
    container = ready(daemon, swift, chain, NEWEST)
    daemon.wait_until(lambda now: now["State"] == "done")
    daemon.slowboat("pause")
    lost = next(name for name in chain.volumes if ".vol2." in name and "-full." in name)
    swift.delete(container, [f"p/{lost}"])
    daemon.environment["PASSPHRASE"] = PASSPHRASE
    code, said, complained = drill(daemon)
    assert (code, complained) == (1, "")
    assert said.count("not yet (1 volume missing") == 3
    assert "is identical, byte for byte" in said
    assert f"p/{lost}" not in swift.listing(container)

    for name in chain.volumes:  # a drive that rots
        (chain.folder / name).write_bytes(b"rot")
    code, said, complained = drill(daemon)
    assert code == 1
    assert "Restored from the cloud alone: " in said
    assert "duplicity could not restore from file://" in complained
