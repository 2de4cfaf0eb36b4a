"""The main job with every dress of a chain: duplicity goes on in the cloud while most volumes are on the drive."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from evidence import expect_arrived, fingerprint, took_the_cache_as_it_is

from realparts.drive import change_data, differences, make_chain
from realparts.duplicity import DEBIANS, NEWEST, installed_duplicity

if TYPE_CHECKING:
    from pathlib import Path

    from realparts.daemon_process import Daemon
    from realparts.drive import Drive
    from realparts.swift_server import SwiftServer

MANAGER = ("/io/github/slowboat/Slowboat1", "io.github.slowboat.Slowboat1.Manager")
HELD_BACK = 100_000
"""Bytes per second: the metadata passes in a second, the volumes would take half a minute."""


@pytest.mark.needs("busctl", "gpg")
@pytest.mark.parametrize(
    ("path", "encrypted", "file_prefix", "prefix"),
    [
        pytest.param(NEWEST, True, "", "laptop", id="newest-encrypted"),
        pytest.param(NEWEST, False, "pre-", "", id="newest-plain-with-a-file-prefix"),
        pytest.param(DEBIANS, True, "pre-", "", id="debian-encrypted-with-a-file-prefix"),
        pytest.param(DEBIANS, False, "", "deep/laptop", id="debian-plain"),
    ],
)
def test_duplicity_goes_on_in_the_cloud_while_volumes_are_missing(
    path: Path, encrypted: bool, file_prefix: str, prefix: str, daemon: Daemon, swift: SwiftServer, tmp_path: Path
) -> None:
    with installed_duplicity(path, tmp_path / "home") as found:
        style = replace(found, encrypted=encrypted, file_prefix=file_prefix)
        drive = make_chain(style, tmp_path / "made", size=2_500_000, incs=1)
        before = fingerprint(drive.folder, drive.cache)
        container = swift.container()
        url = daemon.configure_migration(drive, swift, container, prefix=prefix, limit=HELD_BACK)
        daemon.start()
        seen = daemon.wait_until(lambda now: now["Handover"] == "done")
        assert seen["VolumesDone"] < seen["VolumesTotal"]

        cloud = replace(style, environment=swift.environment())
        installed = fingerprint(cloud.cache(url))
        assert len(installed) == len(drive.metadata)
        if encrypted:  # what must be fetched must be decrypted, and nobody could ask for the passphrase here
            listing = ["list-current-files", "--file-prefix", file_prefix] if file_prefix else ["list-current-files"]
            silent = replace(cloud, environment={**cloud.environment, "PASSPHRASE": ""})
            took_the_cache_as_it_is(silent.run(*listing, "-v9", url).stdout)
        change_data(drive.data, 200_000, random.Random(3))
        said = cloud.inc(drive.data, url, "-v9").stdout
        took_the_cache_as_it_is(said)
        seen = daemon.migration()
        assert seen["VolumesDone"] < seen["VolumesTotal"], "volumes were missing when the incremental had ended"
        after = fingerprint(cloud.cache(url))
        assert {name: after.get(name) for name in installed} == installed, "the installed files are as they were"

        daemon.slowboat("limit", "off")
        daemon.configure(daemon.config_file.read_text().replace(f"limit = {HELD_BACK}", ""))
        daemon.slowboat("reload")
        seen = daemon.wait_until(lambda now: now["State"] == "done")
        assert seen["RestorableFromCloud"] is True
        expect_arrived(drive, swift, container, f"{prefix}/" if prefix else "")
        assert fingerprint(drive.folder, drive.cache) == before, "the drive and its cache were only read"
        elsewhere = cloud.without_cache()
        elsewhere.verify(url, drive.data)
        elsewhere.restore(url, tmp_path / "restored")
        assert differences(drive.data, tmp_path / "restored") == []


@pytest.mark.needs("busctl", "gpg")
def test_deja_dups_own_check_passes_as_soon_as_the_handover_is_done(
    daemon: Daemon, swift: SwiftServer, chain: Drive, tmp_path: Path
) -> None:
    container = swift.container()
    url = daemon.configure_migration(chain, swift, container, limit=5 * HELD_BACK)
    daemon.environment["HOME"] = str(chain.data)  # Deja Dup reads ~/.cache/deja-dup/metadata back after each backup
    daemon.start()
    seen = daemon.wait_until(lambda now: now["Handover"] == "done")
    daemon.call(*MANAGER, "Pause", "ta{sv}", "0", "0")
    assert 0 < seen["VolumesDone"] < seen["VolumesTotal"]
    cloud = replace(chain.duplicity, environment=swift.environment()).without_cache()
    cloud.restore(url, tmp_path / "canary", "--path-to-restore", ".cache/deja-dup/metadata")
    assert differences(chain.data / ".cache/deja-dup/metadata", tmp_path / "canary") == []
    seen = daemon.migration()
    assert seen["VolumesDone"] < seen["VolumesTotal"]
