"""docs/swift.md tells of each server what contrib/bench servers has measured there, and nothing that fell short."""

from __future__ import annotations

import sys

import pytest

from realparts.presence import ROOT

sys.path.append(str(ROOT / "contrib/benchmarks"))

import servers  # found by the line above

RIGHT = [
    {"tool": kind.name, "version": "1", "seconds": 1}
    | dict.fromkeys(servers.COLUMNS, "ok")
    | {"stands": kind.stands, "resumes": kind.resumes}
    for kind in servers.SERVERS.values()
]


def rows_of(text: str) -> list[list[str]]:
    lines = text.split(servers.BEGIN)[1].split(servers.END, maxsplit=1)[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]


def test_the_table_of_the_docs_is_what_holds_everywhere() -> None:
    """What stands there comes from a run whose goals held; only versions may differ from run to run."""
    head, *rows = rows_of(servers.DOCS.read_text())
    assert head == ["server", "version", *servers.COLUMNS.values()]
    expected = rows_of(f"{servers.BEGIN}\n{servers.table(RIGHT)}\n{servers.END}")[1:]
    assert [row[:1] + row[2:] for row in rows] == [row[:1] + row[2:] for row in expected]
    assert all(row[1][0].isdigit() for row in rows)


def test_what_the_docs_say_of_each_server_is_what_the_benchmark_says() -> None:
    inside = servers.DOCS.read_text().split(servers.BEGIN)[1].split(servers.END)[0]
    for kind in servers.SERVERS.values():
        assert f"- **{kind.name}:** {kind.does}" in inside


def test_writing_the_table_leaves_the_rest_as_it_is(tmp_path) -> None:
    docs = tmp_path / "swift.md"
    docs.write_text(f"before\n{servers.BEGIN}\nwhat stood here before\n{servers.END}\nafter\n")
    servers.write_docs(RIGHT, docs)
    text = docs.read_text()
    assert text.startswith(f"before\n{servers.BEGIN}\n")
    assert text.endswith(f"{servers.END}\nafter\n")
    assert "stood here" not in text
    assert len(rows_of(text)) == 1 + len(servers.SERVERS)
    servers.write_docs(RIGHT, docs)
    assert docs.read_text() == text


@pytest.mark.parametrize("column", servers.COLUMNS)
def test_a_cell_that_falls_short_is_noticed(column: str) -> None:
    for kind, row in zip(servers.SERVERS.values(), RIGHT, strict=True):
        assert servers.wrong(kind, row) == []
        assert servers.wrong(kind, row | {column: "FAILED: gone"}) == [f"{column}: FAILED: gone"]
