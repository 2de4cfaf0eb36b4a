"""Where a target URL leads: as the real duplicity, old and new, takes it apart."""

from __future__ import annotations

import json
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realparts.duplicity import NEWEST
from realparts.presence import absent
from slowboat.core import urls

PYTHONS = [NEWEST.parent / "python", "/usr/bin/python3"]
ASK = """
import json, sys
from duplicity.backend import ParsedUrl
print(json.dumps([ParsedUrl(url).path for url in json.load(sys.stdin)]))
"""
LEADING = {
    "swift://c": "c",
    "swift://c/": "c",
    "swift:///c//p/": "c/p",
    "swift://c/p/q": "c/p/q",
    "swift://c/my laptop": "c/my laptop",
    "swift://c/my%20laptop": "c/my laptop",
    "swift://c/50%25": "c/50%",
    "swift://c/100% sure": "c/100% sure",
    "swift://c/h%C3%B6st": "c/höst",
    "swift://c%20d/p": "c%20d/p",  # the container is taken as it stands
    "swift://c/p?x#y": "c/p",
    "swift://c/p;x": "c/p;x",
    "par2+swift://c/p": "c/p",
}


@pytest.mark.parametrize("python", PYTHONS, ids=["newest", "debian"])
def test_duplicity_itself_goes_to_the_same_place(python: object) -> None:
    asked = [url.removeprefix("par2+") for url in LEADING]
    done = subprocess.run(
        [str(python), "-c", ASK], input=json.dumps(asked), capture_output=True, text=True, check=False
    )
    if "No module named 'duplicity'" in done.stderr or not done.stdout:
        absent(f"duplicity for {python}")
    paths = json.loads(done.stdout.splitlines()[-1])
    folded = ["/".join(part for part in path.split("/") if part) for path in paths]  # swiftbackend.py, __init__
    assert folded == list(LEADING.values())


@pytest.mark.parametrize(("url", "leads"), LEADING.items())
def test_a_url_leads_where_duplicity_goes(url: str, leads: str) -> None:
    assert urls.place(url) == leads


@pytest.mark.parametrize(
    ("url", "leads"),
    [
        ("rclone://cloud:c/p", "c/p"),
        ("rclone://cloud:/c/p/", "c/p"),
        ("rclone://:swift,env_auth:c/p", "c/p"),
        ("cf+http://c", "c"),
        ("cf+http://c/p", "c/p"),
        ("file:///media/c", None),
        ("not a URL", None),
        ("", None),
    ],
)
def test_other_kinds(url: str, leads: str | None) -> None:
    assert urls.place(url) == leads


_names = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1).filter(
    lambda name: name not in (".", "..")
)


@given(st.text(st.characters(codec="utf-8", exclude_characters="/\0?#"), min_size=1), st.lists(_names, max_size=3))
def test_our_own_urls_lead_back(container: str, parts: list[str]) -> None:
    prefix = "".join(f"{part}/" for part in parts)
    assert urls.place(urls.swift(container, prefix)) == f"{container}/{prefix}".rstrip("/")


SHOWN = {
    "swift://backup/laptop": "swift://backup/laptop",
    "swift://back@up/laptop": "swift://back@up/laptop",  # a container's name
    "swift://anna:SECRET@backup/laptop": "swift://backup/laptop",
    "file:///media/anna@home/backup": "file:///media/anna@home/backup",
    "sftp://nas/home/anna@work": "sftp://nas/home/anna@work",
    "sftp://anna@nas/backup": "sftp://nas/backup",
    "sftp://anna:SECRET@nas:22/backup": "sftp://nas:22/backup",
    "sftp://anna:SECRET/SECRET@nas/backup": "sftp://nas/backup",
    "sftp://anna:SECRET@SECRET@nas/backup": "sftp://nas/backup",
    "par2+sftp://anna:SECRET@nas/backup": "par2+sftp://nas/backup",
    "anna:SECRET@nas/backup": "nas/backup",
    "rclone://cloud:backup/laptop": "rclone://cloud:backup/laptop",
    "rclone://cloud,key=SECRET:backup": "rclone://cloud,...:backup",
    "rclone://:swift,user=anna,key='SECRET:SECRET',auth='https://x/v1':backup": "rclone://:swift,...:backup",
    "/media/anna@home/backup": "/media/anna@home/backup",
    "": "",
}


@pytest.mark.parametrize(("url", "shown"), SHOWN.items())
def test_what_is_shown_of_a_url_has_no_user(url: str, shown: str) -> None:
    assert urls.without_user(url) == shown


@given(
    st.sampled_from(["sftp://", "ftps://", "webdav://", "swift://", "cf+http://", "par2+swift://", ""]),
    st.text(st.characters(codec="utf-8", exclude_characters="@"), min_size=1).map(lambda text: f"<{text}>"),
    st.sampled_from(["nas", "nas/backup", "nas:22/backup"]),
)
def test_no_password_is_shown_whatever_it_is(scheme: str, password: str, place: str) -> None:
    assert urls.without_user(f"{scheme}anna:{password}@{place}") == f"{scheme}{place}"
