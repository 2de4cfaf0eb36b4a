"""The XDG folders: one rule for everybody who asks, also where a variable holds a relative path."""

from __future__ import annotations

from pathlib import Path

import pytest

from slowboat.edges import secrets, settings, units, xdg
from slowboat.edges.cache import usual_archive_dirs

VARIABLES = sorted(xdg.USUAL)


@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.parametrize("text", ["", "relative", "./here", "~/there"])
def test_what_is_not_absolute_is_ignored(variable: xdg.Variable, text: str) -> None:
    environment = {"HOME": "/home/u", variable: text}
    assert xdg.given(variable, environment) is None
    assert xdg.folder(variable, environment) == Path("/home/u", xdg.USUAL[variable])


@pytest.mark.parametrize("variable", VARIABLES)
def test_what_is_absolute_holds(variable: xdg.Variable) -> None:
    assert xdg.folder(variable, {"HOME": "/home/u", variable: "/x"}) == Path("/x")


@pytest.mark.parametrize("text", ["relative", "/absolute"])
def test_all_who_ask_agree(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """What `install` makes writable is what the daemon writes to."""
    environment = {"HOME": "/home/u"} | dict.fromkeys(VARIABLES, text)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    absolute = Path("/absolute") if text == "/absolute" else None
    assert units.state_home() == settings.state_dir() == (absolute or Path("/home/u/.local/state")) / "slowboat"
    assert units.data_home() == (absolute or Path("/home/u/.local/share"))
    assert settings.config_path().parent == secrets._secrets_folder(environment).parent
    assert usual_archive_dirs(environment)[1] == (absolute or Path("/home/u/.cache")) / "duplicity"
    writable = units._unusual()
    assert writable == ((absolute / "slowboat", absolute / "duplicity", absolute / "deja-dup") if absolute else ())


def test_the_users_folders_are_those_that_are_set_and_the_home_is_none_of_them(tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path)}
    assert xdg.user_folders(environment) == {}
    file = tmp_path / ".config/user-dirs.dirs"
    file.parent.mkdir()
    lines = (
        "# a comment",
        'XDG_DOWNLOAD_DIR="$HOME/"',
        'XDG_VIDEOS_DIR="$HOME/My \\"Vidéos\\""',
        'XDG_MUSIC_DIR="/srv/music"',
    )
    file.write_text("\n".join(lines))
    assert xdg.user_folders(environment) == {"VIDEOS": f'{tmp_path}/My "Vidéos"', "MUSIC": "/srv/music"}
