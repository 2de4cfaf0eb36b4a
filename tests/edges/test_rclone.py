"""rclone's remotes of type swift, as rclone itself writes them."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from slowboat.core.identity import Identity
from slowboat.edges import rclone

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.needs("rclone")
def test_what_rclone_writes_is_read(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    said = {
        "v1": ("auth=https://swift.example.com/auth/v1.0", "user=a:u", "key=hunter2", "auth_version=1"),
        "v3": (
            "auth=https://k.example.com/v3",
            "user=me",
            "key=hunter3",
            "tenant=backups",
            "domain=Default",
            "region=R1",
        ),
        "shell": ("env_auth=true",),
    }
    for name, words in said.items():
        subprocess.run(["rclone", "config", "create", name, "swift", *words], env=env, check=True, capture_output=True)
    subprocess.run(["rclone", "config", "create", "disk", "local"], env=env, check=True, capture_output=True)
    first, second = rclone.remotes(env)
    assert first.identity == Identity("https://swift.example.com/auth/v1.0", "a:u", version=1)
    assert (first.name, first.key) == ("v1", "hunter2")
    wanted = Identity("https://k.example.com/v3", "me", project="backups", user_domain="Default", region="R1")
    assert second.identity == wanted
    assert "hunter" not in repr((first, second))


@pytest.mark.parametrize("text", ["# Encrypted\n\nRCLONE_ENCRYPT_V0:\nabc", "not an INI", "[x\ntype = swift", ""])
def test_what_cannot_be_read_has_no_remotes(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rclone.conf"
    path.write_text(text)
    assert rclone.remotes({"HOME": str(tmp_path), "RCLONE_CONFIG": str(path)}) == ()
    assert rclone.remotes({"HOME": str(tmp_path / "none")}) == ()
