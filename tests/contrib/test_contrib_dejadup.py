"""contrib/bench dejadup without a second system: what its log says of Deja Dup, and what the docs say of the runs."""

from __future__ import annotations

import sys

import pytest

from realparts.presence import ROOT

sys.path.append(str(ROOT / "contrib/benchmarks"))

from dejadup import STORIES, judged, page, wanted  # found by the line above
from dejadup.stories import the_sets
from dejadup.windows import Calls

DOCS = ROOT / "docs/dejadup.md"
LOG = """
DEBUG: Running the following duplicity (7) command: duplicity 'collection-status' 'file:///media/a b'
DEBUG: duplicity (7) exited with value 0
DEBUG: Running the following duplicity (8) command: /home/u/wrap 'duplicity' 'full' '--dry-run' 'file:///media/a b'
DEBUG: duplicity (8) exited with value 0
DEBUG: Running the following duplicity (9) command: /home/u/wrap 'duplicity' 'full' '/' 'file:///media/a b'
DEBUG: duplicity (9) exited with value 0
DEBUG: Running the following duplicity (12) command: duplicity 'restore' '--path-to-restore=home/u/metadata' 'x'
"""


def test_the_log_tells_what_it_ran_and_whether_its_check_passed(tmp_path) -> None:
    log = tmp_path / "log"
    log.write_text(LOG)
    calls = Calls.of(log)
    assert (calls.actions(), calls.url, calls.checked) == (["full", "restore"], "file:///media/a b", "home/u/metadata")
    assert not calls.passed, "its check is not done yet"
    log.write_text(f"{LOG}DEBUG: duplicity (12) exited with value 0\n")
    assert Calls.of(log).passed
    log.write_text(f"{LOG}DEBUG: duplicity (12) exited with value 1\n")
    assert not Calls.of(log).passed
    assert not Calls.of(tmp_path / "none").passed


def test_sets_are_counted_by_their_manifests() -> None:
    assert the_sets({"duplicity-full.A.manifest.gpg", "duplicity-full.A.vol1.difftar.gpg"}) == (1, 0)
    assert the_sets(
        {"duplicity-full.A.manifest", "duplicity-inc.A.to.B.manifest", "duplicity-inc.B.to.C.manifest"}
    ) == (1, 2)


@pytest.mark.parametrize(
    ("only", "played"),
    [
        (None, True),
        (["drive"], True),
        (["folder"], False),
        (["trixie"], True),
        (["50.1"], False),
        (["drive", "45.2"], True),
    ],
)
def test_only_what_is_asked_for_is_played(only, played) -> None:
    assert wanted(only, "drive", "trixie", "45.2") is played


def test_a_step_that_failed_is_noticed() -> None:
    assert judged([{"tool": "Deja Dup 1, drive", "undo": "ok"}])[0].ok
    assert not judged([{"tool": "Deja Dup 1, drive", "undo": "FAILED: gone"}])[0].ok


def test_the_newest_run_of_each_story_is_what_the_page_shows(tmp_path) -> None:
    kept = page.Kept(tmp_path / "outcomes.json")
    kept.add("drive", "9.1", {"first_backup": "older"}, {"duplicity": "3", "canary": "~/c"})
    kept.add("drive", "9.1", {"first_backup": "ok"}, {})
    kept.add("drive", "50.1", {"first_backup": "fine", "undo": "ok"}, {"duplicity": "4"})
    docs = tmp_path / "page.md"
    docs.write_text(f"before\n{page.BEGIN}\nwhat stood here before\n{page.END}\nafter\n")
    page.write(docs, kept, {"drive": "On a drive.", "folder": "Never played."})
    text = docs.read_text()
    assert text.startswith(f"before\n{page.BEGIN}\n")
    assert text.endswith(f"{page.END}\nafter\n")
    assert "stood here" not in text
    assert "|  | Deja Dup 9.1 | Deja Dup 50.1 |" in text
    assert "| what its check restores | `~/c` | - |" in text
    assert "| first backup | ok | fine |" in text
    assert "| undo | - | ok |" in text
    assert "| older |" not in text
    assert "Never played" not in text


def test_the_page_tells_of_every_story_and_of_none_that_failed() -> None:
    told = DOCS.read_text().split(page.BEGIN)[1].split(page.END)[0]
    assert "FAILED" not in told
    for name in STORIES:
        assert f"**{name}**" in told
