"""What is written is read back as it was meant, whatever the names, and what exists stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowboat.core.identity import Identity
from slowboat.edges import settings
from slowboat.edges.settings import writing

NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1, max_size=20)


@given(folder=NAMES, user=NAMES.map(str.strip).filter(bool), prefix=st.sampled_from(["", "lenny", 'q"\\#', "a b/é"]))
def test_it_is_read_back(folder: str, user: str, prefix: str) -> None:
    identity = Identity("https://k.example.org/v3", user, project="p", region="R", interface="internal", version=3)
    new = writing.NewMigration("x", f"/media/{folder}", "", "uni", "c", prefix, (), "pre-", "never")
    text = writing.appended("", [writing.cloud_text("uni", identity), writing.migration_text(new)], "500k")
    read = settings.parse(text.encode(), Path("/x"), {})
    cloud, one = read.clouds["uni"], read.migrations["x"]
    assert (cloud.user, cloud.project, cloud.region, cloud.interface, cloud.version) == (user, "p", "R", "internal", 3)
    assert (str(one.source), one.target.prefix.rstrip("/"), one.file_prefix) == (f"/media/{folder}", prefix, "pre-")
    assert (one.follows, read.rules.cap) == (True, 500_000)


def test_it_is_written_whole_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new/config.toml"
    writing.write(path, "a")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("a", 0o600)
    path.chmod(0o644)
    writing.write(path, "b")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("b", 0o644)
    link = tmp_path / "link.toml"
    link.symlink_to(path)
    writing.write(link, "c")
    assert link.is_symlink()
    assert path.read_text() == "c"
    assert [one.name for one in path.parent.iterdir()] == ["config.toml"]


@pytest.mark.parametrize("existing", ["a = 1", "a = 1\n", "a = 1\n\n"])
def test_new_tables_come_after_an_empty_line(existing: str) -> None:
    assert writing.appended(existing, ["[x]\n"]) == "a = 1\n\n[x]\n"
