"""Deja Dup's settings and the URLs that it gives to duplicity: the table of versions, and what must hold always."""

from __future__ import annotations

import shlex
import string
from urllib.parse import quote, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowboat.core import dejadup, names
from slowboat.core.dejadup import Account, Layout
from slowboat.core.errors import NeedsUser

OLD = {
    "backend": "file",
    "OpenStack.container": "$HOSTNAME",
    "OpenStack.username": "",
    "OpenStack.tenant": "",
    "OpenStack.authurl": "",
    "Rackspace.container": "$HOSTNAME",
    "Rackspace.username": "",
    "File.type": "normal",
    "File.path": "",
}
MIDDLE = {"backend": "auto", "Drive.folder": "$HOSTNAME", "Drive.uuid": "", "Local.folder": "$HOSTNAME"}
NEW = {**MIDDLE, "Rclone.remote": "", "Rclone.folder": "$HOSTNAME"}
DISK = "/media/u/Disk A/höst"

paths = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1).map(lambda text: "/" + text)
words = st.text(string.ascii_letters + string.digits + "-_.", min_size=1)


@pytest.mark.parametrize(
    ("settings", "layout", "first"),
    [
        (OLD | {"backend": "drive", "Drive.folder": "höst"}, Layout.OLD, "gio+file:///media/u/Disk%20A/h%C3%B6st"),
        (MIDDLE | {"backend": "drive"}, Layout.NO_CLOUD, "gio+file:///media/u/Disk%20A/h%C3%B6st"),
        (NEW | {"backend": "drive"}, Layout.RCLONE, "file:///media/u/Disk A/höst"),
    ],
)
def test_each_version_calls_the_same_folder_by_another_url(
    settings: dict[str, str], layout: Layout, first: str
) -> None:
    assert dejadup.layout(settings) is layout
    urls = dejadup.source_urls(settings, DISK, "/home/u", "höst")
    assert urls[0] == first
    assert set(urls) == {
        "gio+file:///media/u/Disk%20A/h%C3%B6st",
        "file:///media/u/Disk%20A/h%C3%B6st",
        "file:///media/u/Disk A/höst",
    }


@pytest.mark.parametrize(("settings", "order"), [(MIDDLE, 1), (NEW, -1)])
def test_a_servers_share_is_called_by_the_servers_url_up_to_45_and_then_by_gvfss_folder(
    settings: dict[str, str], order: int
) -> None:
    share = {"backend": "remote", "Remote.uri": "dav://127.0.0.1:8080/", "Remote.folder": "Backups höst"}
    folder = "/run/user/7/gvfs/dav:host=127.0.0.1,port=8080,ssl=false/Backups höst"
    urls = dejadup.source_urls(settings | share, folder, "/home/u", "box")
    both = ("gio+dav://127.0.0.1:8080/Backups%20h%C3%B6st", f"file://{folder}")
    assert (urls[0], *(url for url in urls if url in both and url != urls[0])) == both[::order]


def test_the_newest_escape_three_characters_only() -> None:
    url = dejadup.folder_urls("/a b/50%?#[ä]", Layout.RCLONE)[0]
    assert url == "file:///a b/50%25%3F%23[ä]"


def test_a_plain_path_has_the_cache_that_duplicitys_own_md5_names() -> None:
    urls = dejadup.folder_urls("/media/backup", Layout.RCLONE)
    assert urls == ("file:///media/backup", "gio+file:///media/backup")
    assert names.cache_directory(urls[0]) == "4e33cf513fa4772471272dbd07fca5be"


@given(paths)
def test_a_uri_is_the_path_in_ascii(path: str) -> None:
    uri = dejadup.folder_urls(path, Layout.OLD)[0]
    assert uri.isascii()
    assert uri.startswith("gio+file:///")
    assert unquote_to_bytes(uri.removeprefix("gio+file://")) == path.encode()
    assert uri == "gio+file://" + quote(path, safe="!$&'()*+,-./:=@_~")


@given(st.binary(min_size=1).filter(lambda raw: b"\0" not in raw))
def test_bytes_that_are_no_text_keep_their_value(raw: bytes) -> None:
    path = "/" + raw.decode("utf-8", "surrogateescape")
    uri = dejadup.folder_urls(path, Layout.NO_CLOUD)[0]
    assert unquote_to_bytes(uri.removeprefix("gio+file://")) == b"/" + raw


@pytest.mark.parametrize(
    ("settings", "folder", "leads"),
    [
        ({"backend": "local", "Local.folder": "/media/b/host"}, "/media/b/host", True),
        ({"backend": "local", "Local.folder": "~/b//x/../host"}, "/home/u/b/host", True),
        ({"backend": "local", "Local.folder": "$HOSTNAME"}, "/home/u/box", True),
        ({"backend": "local", "Local.folder": "/media/other"}, "/media/b/host", False),
        ({"backend": "drive", "Drive.folder": "backups/$HOSTNAME"}, "/run/media/u/D/backups/box", True),
        ({"backend": "drive", "Drive.folder": "x"}, "/run/media/u/D/box", False),
        ({"backend": "drive", "Drive.folder": ""}, "/run/media/u/D", True),
        ({"backend": "file", "File.type": "volume"}, "/media/D/x", True),
        ({"backend": "file", "File.type": "normal", "File.path": "file:///media/a%20b"}, "/media/a b", True),
        ({"backend": "rclone", "Rclone.remote": "r"}, "/media/b/host", False),
        ({"backend": "remote", "Remote.folder": "höst"}, "/run/user/7/gvfs/dav:host=nas,ssl=false/höst", True),
        ({"backend": "remote", "Remote.folder": "/b/$HOSTNAME"}, "/mnt/nas/b/box", True),
        ({"backend": "remote", "Remote.folder": "höst"}, "/mnt/nas/other", False),
        ({"backend": "auto"}, "/media/b/host", False),
        ({}, "/media/b/host", False),
    ],
)
def test_settings_that_lead_elsewhere_say_nothing_of_this_folder(
    settings: dict[str, str], folder: str, leads: bool
) -> None:
    assert bool(dejadup.source_urls(settings, folder, "/home/u", "box")) is leads


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({"backend": "openstack", "OpenStack.container": "$HOSTNAME"}, "swift://box"),
        ({"backend": "openstack", "OpenStack.container": "/backup"}, "swift://backup"),
        ({"backend": "rackspace", "Rackspace.container": "backup"}, "cf+http://backup"),
        ({"backend": "rclone", "Rclone.remote": "cloud", "Rclone.folder": "c/p"}, "rclone://cloud:c/p"),
        ({"backend": "rclone", "Rclone.remote": "cloud:", "Rclone.folder": "/c"}, "rclone://cloud:c"),
        ({"backend": "drive", "Drive.folder": "x"}, ""),
    ],
)
def test_the_url_of_a_cloud(settings: dict[str, str], url: str) -> None:
    assert dejadup.cloud_url(settings, "box") == url


def test_the_newest_are_led_by_an_rclone_remote() -> None:
    found = dejadup.switch(NEW, ["swift://c/p", "rclone://cloud:c/p"], "c/p")
    assert found.url == "rclone://cloud:c/p"
    assert list(found.values.items()) == [("Rclone.remote", "cloud"), ("Rclone.folder", "c/p"), ("backend", "rclone")]
    assert dejadup.in_words(found.values).startswith("gsettings set org.gnome.DejaDup.Rclone remote \"'cloud'\"; ")


def test_the_old_are_led_by_their_openstack_settings_and_keep_the_account_they_have() -> None:
    settings = OLD | {"OpenStack.username": "me"}
    found = dejadup.switch(settings, ["swift://c/p"], "c/p", Account("other", "project", "https://x/v1.0"))
    assert found.values == {
        "OpenStack.container": "c/p",
        "OpenStack.tenant": "project",
        "OpenStack.authurl": "https://x/v1.0",
        "backend": "openstack",
    }
    assert dejadup.switch(settings, ["cf+http://c"], "c").values["backend"] == "rackspace"


@pytest.mark.parametrize(
    ("settings", "urls", "words"),
    [
        (NEW, ["swift://c/p"], 'target_urls = ["swift://c/p", "rclone://REMOTE:c/p"]'),
        (NEW, ["rclone://cloud:/c/p"], "rclone://REMOTE:c/p"),  # it would take the slash off: another cache
        (NEW, ["rclone://cloud:$HOSTNAME"], "rclone://REMOTE"),
        (OLD, ["rclone://cloud:c/p"], "swift://c/p"),
        (OLD, ["swift:///c/p"], "swift://c/p"),
        (MIDDLE, ["swift://c/p", "rclone://cloud:c/p"], "48 or newer"),
    ],
)
def test_what_it_could_not_use_is_refused_with_the_words_to_write(
    settings: dict[str, str], urls: list[str], words: str
) -> None:
    with pytest.raises(NeedsUser) as caught:
        dejadup.switch(settings, urls, "c/p")
    assert words in str(caught.value)


@given(st.sampled_from([OLD, NEW]), st.text(), words, st.lists(words, min_size=1, max_size=3))
def test_a_switch_always_leads_to_a_url_of_the_target(
    settings: dict[str, str], junk: str, remote: str, parts: list[str]
) -> None:
    place = "/".join(parts)
    urls = [junk, f"swift://{place}", f"rclone://{remote}:{place}", f"cf+http://{place}"]
    found = dejadup.switch(settings, urls, place)
    assert found.url in urls
    assert dejadup.cloud_url({**settings, **found.values}, "box") == found.url
    assert list(found.values)[-1] == "backend"  # the last: until then it backs up to where it did


def test_the_command_by_hand_has_its_lists_with_the_deeper_path_first() -> None:
    lists = {"include-list": "$HOME\n/srv/work", "exclude-list": "$TRASH\n$DOWNLOAD\n~/it's big/iso\n/srv/work/tmp"}
    said = dejadup.command(MIDDLE | lists, "swift://backup/my laptop", dejadup.ByHand("/home/ana/.cache/deja-dup"))
    assert said.startswith("duplicity incremental --archive-dir=/home/ana/.cache/deja-dup --volsize=200 ")
    assert said.endswith(" --exclude='**' / 'swift://backup/my laptop'")
    words = shlex.split(said)
    order = [word for word in words if word.startswith(("--include", "--exclude"))]
    assert order.index("--exclude=/srv/work/tmp") < order.index("--include=/srv/work")
    assert order.index("--exclude=$HOME/it's big/iso") < order.index("--include=$HOME")
    assert order.index("--exclude=$HOME/.local/share/Trash") < order.index("--include=$HOME")
    assert order[-1] == "--exclude=**"
    assert "DOWNLOAD" not in said, "that folder is not set, and is not looked up: the answer would be the home"
    plain = dejadup.command(MIDDLE, "swift://c", dejadup.ByHand(encrypted=False))
    assert "--no-encryption" in plain
    assert '--archive-dir="$HOME"/.cache/deja-dup' in plain
    assert '--include="$HOME"' in plain
