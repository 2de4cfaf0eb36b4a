"""The duplicity runners and the drives they make are what the other tests take them for."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

from realparts.drive import change_data, differences, make_chain, make_data

if TYPE_CHECKING:
    from realparts.drive import Drive
    from realparts.duplicity import Duplicity


def test_makes_a_chain_that_verifies(any_duplicity: Duplicity, tmp_path):
    drive = make_chain(any_duplicity, tmp_path / "made")
    assert len(drive.names("manifest")) == len(drive.names("signatures")) == 3
    assert len(drive.volumes) >= 6
    assert drive.size(drive.metadata) < 0.05 * drive.size()
    any_duplicity.verify(drive.url, drive.data)
    assert any_duplicity.verify(drive.url, drive.folder, check=False).returncode == 1


def test_restores_what_was_backed_up_without_a_cache(each_chain: Drive, tmp_path):
    each_chain.duplicity.without_cache().restore(each_chain.url, tmp_path / "restored")
    assert differences(each_chain.data, tmp_path / "restored") == []
    assert (each_chain.names("gpg") == []) == (not each_chain.duplicity.encrypted)


def test_a_copied_chain_keeps_its_cache(chain: Drive, finished_chain: Drive):
    said = chain.duplicity.inc(chain.data, chain.url).stdout
    assert "Copying" not in said
    assert "Deleting" not in said
    assert len(chain.names("manifest")) == 1 + len(finished_chain.names("manifest"))


def test_backs_up_to_a_real_swift(any_duplicity: Duplicity, swift, tmp_path):
    chance, container = random.Random(2), swift.container()
    url, data = f"swift://{container}/p", tmp_path / "data"
    backup = replace(any_duplicity, environment=swift.environment())
    make_data(data, 1_000_000, chance)
    backup.full(data, url)
    change_data(data, 1000, chance)
    backup.inc(data, url)
    assert len(swift.listing(container, "p/duplicity-inc")) == 2
    backup.without_cache().restore(url, tmp_path / "restored")
    assert differences(data, tmp_path / "restored") == []


def test_differences_are_found(tmp_path):
    for side in ("left", "right"):
        make_data(tmp_path / side, 10_000, random.Random(3))
    assert differences(tmp_path / "left", tmp_path / "right") == []
    (tmp_path / "left/notes/empty").write_text("x")
    (tmp_path / "left/notes/note-3.txt").unlink()
    (tmp_path / "left/notes/note-4.txt").chmod(0o640)
    assert len(differences(tmp_path / "left", tmp_path / "right")) == 3
