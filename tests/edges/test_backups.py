"""Backups are found by their files, near the top of drives and the home, and nothing else is looked into."""

from __future__ import annotations

import os
from pathlib import Path

from slowboat.edges import backups

NAME = "duplicity-full.20261101T120000Z.vol1.difftar.gpg"
MOUNTS = r"""
20 1 8:1 / / rw - ext4 /dev/sda1 rw
21 20 0:5 / /proc rw - proc proc rw
22 20 0:6 / /run rw - tmpfs tmpfs rw
23 22 8:17 / /run/media/anna/My\040Drive rw - exfat /dev/sdb1 rw
24 20 8:33 / /srv/backup rw - xfs /dev/sdc1 rw
25 20 0:44 / /mnt/nas rw - cifs //nas/share rw
26 20 7:1 / /snap/core/1 ro - squashfs /dev/loop1 ro
27 20 8:2 / /boot/efi rw - vfat /dev/sda2 rw
28 20 0:50 / /var/lib/docker/overlay2/x rw - overlay overlay rw
""".lstrip()


def test_drives_are_where_people_and_desktops_mount_them(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(MOUNTS)
    found = backups.tops(Path("/home/anna"), table)
    assert [*map(str, found)] == ["/run/media/anna/My Drive", "/srv/backup", "/mnt/nas", "/home/anna"]
    assert backups.tops(Path("/home/anna"), tmp_path / "none") == (Path("/home/anna"),)


def test_a_file_of_duplicitys_makes_a_folder_a_backup(tmp_path: Path) -> None:
    for folder in ("a/lenny", "b", "b/c/d/e", "b/c/d/e/too-deep", ".cache/hidden", "empty"):
        (tmp_path / folder).mkdir(parents=True)
        if folder != "empty":
            (tmp_path / folder / NAME).touch()
    (tmp_path / "empty" / "duplicity-notes.txt").touch()
    (tmp_path / "link").symlink_to(tmp_path / "b")
    found = backups.folders([tmp_path])
    assert [str(one.relative_to(tmp_path)) for one in found] == ["a/lenny", "b", "b/c/d/e"]


def test_a_drive_that_hangs_holds_nobody_up(tmp_path: Path, monkeypatch) -> None:
    import threading

    (tmp_path / "good").mkdir()
    (tmp_path / "good" / NAME).touch()
    stuck, scandir = threading.Event(), os.scandir

    def slow(path):
        if str(path) == "/stuck":
            stuck.wait(60)
            raise OSError
        return scandir(path)

    monkeypatch.setattr(os, "scandir", slow)
    try:
        assert backups.folders([Path("/stuck"), tmp_path], patience=0.5) == (tmp_path / "good",)
    finally:
        stuck.set()
