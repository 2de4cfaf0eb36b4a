"""Deja Dup's settings through the real gsettings: every layout, and what cannot be changed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from realparts.dejadup_settings import Settings, dejadup_settings
from realparts.presence import program
from slowboat.core import dejadup
from slowboat.core.dejadup import Layout
from slowboat.core.errors import NeedsUser
from slowboat.edges.dejadup import FLATPAK_SETTINGS, DejaDup

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.needs("gsettings", "glib-compile-schemas")


def settings_of(which: str, tmp_path: Path) -> tuple[Settings, DejaDup]:
    settings = dejadup_settings(which, tmp_path / "schemas", tmp_path / "home")
    return settings, DejaDup({**os.environ, **settings.variables})


@pytest.mark.parametrize(
    ("which", "layout", "url"),
    [
        ("old", Layout.OLD, "gio+file:///media/it%20'is%22%C3%A4/box"),
        ("debian", Layout.NO_CLOUD, "gio+file:///media/it%20'is%22%C3%A4/box"),
        ("new", Layout.RCLONE, "file:///media/it 'is\"ä/box"),
    ],
)
async def test_every_layout_tells_the_url_of_its_folder(which: str, layout: Layout, url: str, tmp_path: Path) -> None:
    settings, edge = settings_of(which, tmp_path)
    settings.set("", "backend", "'local'")
    settings.set(".Local", "folder", '"/media/it \'is\\"ä/$HOSTNAME"')
    values = await edge.read()
    assert dejadup.layout(values) is layout
    assert dejadup.source_urls(values, "/media/it 'is\"ä/box", "/home/u", "box")[0] == url


async def test_its_lists_name_the_users_folders_by_their_paths_and_no_command_excludes_the_home(tmp_path: Path) -> None:
    settings, edge = settings_of("debian", tmp_path)
    settings.set("", "include-list", "['$HOME', '$VIDEO']")
    settings.set("", "exclude-list", "['$TRASH', '$DOWNLOAD', '$MUSIC']")
    folders = tmp_path / "home/.config/user-dirs.dirs"
    folders.parent.mkdir(parents=True, exist_ok=True)
    folders.write_text('XDG_DOWNLOAD_DIR="$HOME/"\nXDG_VIDEOS_DIR="/srv/videos"\nXDG_MUSIC_DIR="$HOME/Musik"\n')
    said = dejadup.command(await edge.read(), "swift://c/p")
    assert "--include=/srv/videos" in said
    assert f"--exclude={tmp_path}/home/Musik" in said
    assert '--exclude="$HOME" ' not in said
    assert "xdg-user-dir" not in said


@pytest.mark.parametrize(
    ("which", "url"), [("old", "swift://c/p"), ("old", "cf+http://c"), ("new", "rclone://cloud:it's/ä \\ p")]
)
async def test_a_switch_is_kept_and_can_be_taken_back(which: str, url: str, tmp_path: Path) -> None:
    settings, edge = settings_of(which, tmp_path)
    settings.set("", "backend", "'drive'")
    before = await edge.read()
    change = dejadup.switch(before, [url], "c/p").values
    await edge.write(change)
    assert dejadup.cloud_url(await edge.read(), "box") == url
    assert settings.get("", "backend") == f"'{change['backend']}'"
    await edge.write({name: before[name] for name in change})
    assert await edge.read() == before


async def test_what_is_not_kept_is_taken_back_whole_and_told(tmp_path: Path) -> None:
    settings, edge = settings_of("new", tmp_path)
    settings.set("", "backend", "'drive'")
    before = await edge.read()
    with pytest.raises(NeedsUser, match=r"gsettings set org\.gnome\.DejaDup backend"):
        await edge.write({"Rclone.remote": "cloud", "backend": "no such backend"})
    assert await edge.read() == before


async def test_settings_that_only_live_in_memory_are_no_success(tmp_path: Path) -> None:
    settings, _ = settings_of("new", tmp_path)
    edge = DejaDup({**os.environ, **settings.variables, "GSETTINGS_BACKEND": "memory"})
    with pytest.raises(NeedsUser, match="could not be changed"):
        await edge.write({"Rclone.remote": "cloud"})


@pytest.mark.parametrize("missing", ["schema", "gsettings"])
async def test_without_a_deja_dup_there_is_nothing_to_read(missing: str, tmp_path: Path) -> None:
    nothing = {"PATH": str(tmp_path)} if missing == "gsettings" else {}
    edge = DejaDup({**os.environ, "HOME": str(tmp_path), **nothing})
    assert await edge.read() == {}
    with pytest.raises(NeedsUser, match="no Deja Dup"):
        await edge.write({"backend": "rclone"})


async def test_a_flatpaks_settings_are_read_and_the_way_to_change_them_is_told(tmp_path: Path) -> None:
    settings = dejadup_settings("new", tmp_path / "schemas", tmp_path / "within")
    settings.set("", "backend", "'drive'")
    settings.set(".Drive", "folder", "'50% ä'")
    keyfile = tmp_path / "home" / FLATPAK_SETTINGS
    keyfile.parent.mkdir(parents=True)
    (tmp_path / "within/.config/glib-2.0/settings/keyfile").rename(keyfile)  # GSettings itself has written it
    edge = DejaDup({**os.environ, "HOME": str(tmp_path / "home")})
    values = await edge.read()
    urls = dejadup.source_urls(values, "/run/media/u/D/50% ä", "/home/u", "box")
    assert urls[0] == "file:///run/media/u/D/50%25 ä"
    with pytest.raises(NeedsUser, match=r"flatpak run --command=gsettings org\.gnome\.DejaDup set") as caught:
        await edge.write(dejadup.switch(values, ["rclone://cloud:c"], "c").values)
    assert "\"'cloud'\"" in caught.value.hint


async def test_of_two_deja_dups_the_one_used_last_counts(tmp_path: Path) -> None:
    settings, edge = settings_of("debian", tmp_path)
    keyfile = tmp_path / "home" / FLATPAK_SETTINGS
    keyfile.parent.mkdir(parents=True)
    keyfile.write_text("[org/gnome/deja-dup]\nlast-run='2026-02-01T00:00:00Z'\nbackend='rclone'\n")
    settings.set("", "last-run", "'2026-01-01T00:00:00Z'")
    assert (await edge.read())["backend"] == "rclone"
    settings.set("", "last-run", "'2026-03-01T00:00:00Z'")
    assert (await edge.read())["backend"] == "auto"


async def test_settings_in_a_real_dconf_are_switched_and_lost_ones_noticed(session_bus: str, tmp_path: Path) -> None:
    settings = dejadup_settings("new", tmp_path / "schemas", tmp_path / "home")
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    settings.variables.update(
        GSETTINGS_BACKEND="dconf", DBUS_SESSION_BUS_ADDRESS=session_bus, XDG_RUNTIME_DIR=str(runtime)
    )
    environment = {**os.environ, **settings.variables}
    edge = DejaDup(environment)
    with subprocess.Popen([program("dconf-service", also=("/usr/libexec",))], env=environment) as service:
        try:
            wait_for(lambda: (settings.set("", "backend", "'drive'"), settings.get("", "backend"))[1] == "'drive'")
            change = dejadup.switch(await edge.read(), ["rclone://cloud:c/p"], "c/p").values
            await edge.write(change)
            assert settings.get(".Rclone", "folder") == "'c/p'"
            assert (tmp_path / "home/.config/dconf/user").exists()
        finally:
            service.kill()
    with pytest.raises(NeedsUser, match="could not be changed"):  # nobody writes them down any more
        await edge.write({"backend": "drive"})
    assert (await edge.read())["backend"] == "rclone"


def wait_for(holds: Callable[[], bool], seconds: float = 20) -> None:
    """Until it does, or an error that it does not."""
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(subprocess.CalledProcessError):
            if holds():
                return
        assert time.monotonic() < end, "not in time"
        time.sleep(0.05)
