"""What setup proposes."""

from __future__ import annotations

import hashlib

import pytest

from slowboat.core import proposal
from slowboat.core.dejadup import Layout


def md5(url: str) -> str:
    return hashlib.md5(url.encode()).hexdigest()


@pytest.mark.parametrize(
    "url",
    ["file:///media/a b/x", "file:///media/a b/x/", "gio+file:///media/a%20b/x", "file:///media/a%20b/x", "gio://hint"],
)
def test_the_name_of_the_cache_proves_the_url(url: str) -> None:
    assert proposal.source_url("/media/a b/x", md5(url), ["gio://hint"]) == url


def test_a_name_proves_nothing() -> None:
    assert proposal.source_url("/media/x", "my-backup") == ""
    assert proposal.source_url("/media/x", "") == ""


@pytest.mark.parametrize(
    ("folder", "owner"), [("/media/a/Backup", "lemmy"), ("/media/a/lenny/", "lenny"), ("/media/a/my stuff", "lemmy")]
)
def test_whose_backup_it_is(folder: str, owner: str) -> None:
    assert proposal.owner_of(folder, "lemmy.example.com") == owner


@pytest.mark.parametrize(
    ("front_end", "remote", "handover"),
    [
        (None, "", "auto"),
        (Layout.OLD, "", "auto"),
        (Layout.NO_CLOUD, "nas", "never"),
        (Layout.RCLONE, "", "never"),
        (Layout.RCLONE, "nas", "auto"),
    ],
)
def test_following_is_best_where_the_front_end_cannot_go_to_the_cloud(front_end, remote, handover) -> None:
    assert proposal.handover_for(front_end, remote).handover == handover
    assert bool(proposal.handover_for(front_end, remote).why) == (handover == "never")


@pytest.mark.parametrize(("free", "there", "lacks"), [(None, 0, 0), (100, 0, 0), (90, 0, 10), (90, 20, 0)])
def test_what_a_quota_lacks(free: int | None, there: int, lacks: int) -> None:
    assert proposal.lacking(free, 100, there) == lacks


def test_names_are_fit_for_tables_and_not_taken() -> None:
    assert proposal.name_of("Anna's laptop", {"Anna-s-laptop"}) == "Anna-s-laptop-2"
    assert proposal.name_of("日本") == "backup"
    assert proposal.name_of("日本", otherwise="cloud") == "cloud"
