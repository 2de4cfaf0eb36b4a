"""The plan and the history: grouped, in order, and total."""

from __future__ import annotations

import io
import json
import re

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from slowboat.cli import json_output, listing
from slowboat.core.words import Phase, Role

FULL, INC = "full 2026-11-01 12:00", "inc 2026-11-02 12:00"


def row(name, role, of, size, phase="queued", *, canary=False):
    return {"name": name, "role": role, "set": of, "bytes": size, "phase": phase, "canary": canary}


def chain(volumes=1000):
    return [
        row("sigs", "signatures", FULL, 1_200_000_000, "done"),
        row("more sigs", "signatures", INC, 40_000_000),
        row("manifest", "manifest", FULL, 300_000),
        row("manifest 2", "manifest", INC, 30_000),
        row("vol7", "volume", FULL, 25_000_000, canary=True),
        *(row(f"vol{number}", "volume", FULL, 25_000_000) for number in range(volumes)),
        row("inc vol1", "volume", INC, 2_000_000),
    ]


def printed(renderable, width=100):
    out = io.StringIO()
    Console(file=out, width=width, highlight=False).print(renderable)
    return out.getvalue()


def test_volumes_of_a_set_are_one_line_and_the_handover_stands_where_it_happens():
    text = printed(listing.plan("laptop", chain(), listing.estimate(0, 500_000)))
    lines = [re.sub(r"\s+", " ", line).strip() for line in text.splitlines()]
    assert lines[0] == "laptop: 1,006 files, 26.3 GB, in this order"
    assert "1 Signatures, full 2026-11-01 12:00 1 1.2 GB all" in lines
    where = next(index for index, line in enumerate(lines) if line.startswith("The handover comes here"))
    assert "Deja Dup's check" in lines[where - 1]
    assert lines[where + 1] == "6 Volumes, full 2026-11-01 12:00 1,000 25.0 GB none 13 h 56 min"
    assert lines[-1] == "25.1 GB remaining: about 13 h 56 min at the limit of 500 kB/s, without interruption."


def test_many_sets_share_lines():
    rows = [row(f"sig{n}", "signatures", f"inc {n}", 10) for n in range(90)]
    rows += [row(f"vol{n}", "volume", f"inc {n}", 10, "refused" if n == 3 else "queued") for n in range(90)]
    steps = listing.steps(rows)
    assert [(step.what, step.files, step.refused) for step in steps] == [
        ("Signatures of 90 backup sets", 90, 0),
        ("Volumes of 90 backup sets", 90, 1),
    ]
    assert [step.before_handover for step in steps] == [True, False]


def test_sets_are_dated_by_the_local_clock():
    text = printed(listing.plan("laptop", [row("vol1", "volume", "full 1793534400", 10)], listing.estimate(0, 0)))
    assert "Volumes, full of 2026-11-01 13:00" in re.sub(r"\s+", " ", text)


def test_what_is_set_aside_is_not_left_to_send():
    rows = [row("vol1", "volume", FULL, 100, "done"), row("vol2", "volume", FULL, 100, "refused")]
    assert "Nothing is left to send." in printed(listing.plan("laptop", rows, listing.estimate(100, 0)))


def test_without_a_rate_no_time_is_promised():
    text = printed(listing.plan("laptop", chain(3), listing.estimate(0, 0)))
    assert "will take is unknown until it is sending" in text
    assert "less than a minute" not in text


def test_a_chain_that_was_not_read_yet_says_so():
    assert "has not been read yet" in printed(listing.plan("laptop", [], listing.estimate(0, 0)))


def test_every_file_is_named_on_request():
    text = printed(listing.every_file("laptop", chain(3)))
    assert all(f"vol{number}" in text for number in range(3))
    assert "being sent" not in text


def test_history_is_local_time_and_names_migrations_only_where_there_are_several():
    lines = [(1795000000.0, "laptop", "handover", "The handover is done"), (1795000060.0, "", "start", "It started")]
    assert printed(listing.history(lines)).split("\n")[0].rstrip() == "2026-11-18 12:06  The handover is done"
    several = [*lines, (1795000100.0, "desktop", "done", "All is there")]
    assert "laptop   The handover" in printed(listing.history(several))
    assert "Nothing has happened yet." in printed(listing.history([]))


def test_json_keeps_every_row():
    assert json.loads(json_output.plan({"laptop": chain(3)})) == {"laptop": chain(3)}
    assert json.loads(json_output.history([(1.5, "laptop", "done", "All is there")])) == [
        {"when": 1.5, "migration": "laptop", "kind": "done", "text": "All is there"}
    ]


text = st.text(st.characters(codec="utf-8"), max_size=12)
rows = st.lists(
    st.fixed_dictionaries(
        {
            "name": text,
            "role": st.sampled_from([role.value for role in Role]) | text,
            "set": text,
            "bytes": st.integers(-(2**64), 2**64),
            "phase": st.sampled_from([phase.value for phase in Phase]) | text,
            "canary": st.booleans(),
        }
    )
    | st.just({}),
    max_size=40,
)


@given(rows, st.integers(-5, 2**64), st.integers(-5, 2**64), st.integers(40, 200))
def test_any_plan_renders_and_counts_every_file_once(shown, rate, limit, width):
    told = printed(listing.plan("laptop", shown, listing.estimate(rate, limit)), width)
    assert told.replace("\n", "").isprintable()
    assert sum(step.files for step in listing.steps(shown)) == len(shown)
    assert printed(listing.every_file("laptop", shown), width).replace("\n", "").isprintable()


@given(st.lists(st.tuples(st.floats(), text, text, text), max_size=10), st.integers(40, 200))
def test_any_history_renders(lines, width):
    assert printed(listing.history(lines), width).replace("\n", "").isprintable()


def test_in_forty_columns_no_word_of_the_plan_is_broken():
    told = printed(listing.plan("laptop", chain(), listing.estimate(0, 500_000)), width=40)
    lines = [line.strip() for line in told.splitlines()]
    assert max(map(len, lines)) <= 40
    assert lines[lines.index("6 Volumes, full 2026-11-01 12:00") :][:3] == [
        "6 Volumes, full 2026-11-01 12:00",
        "1,000 files, 25.0 GB; none in the",
        "cloud",
    ]
    assert lines.index("The handover comes here") < lines.index("6 Volumes, full 2026-11-01 12:00")
    words = printed(listing.plan("laptop", chain(), listing.estimate(0, 500_000)), width=200).split()
    assert {"Signatures,", "Manifest,", "manifests", "check)", "2026-11-01"} & set(words) <= set(told.split())


def test_in_forty_columns_every_file_has_its_name_on_a_line_of_its_own():
    told = printed(listing.every_file("laptop", chain(2)), width=40).splitlines()
    assert "vol1" in [line.strip() for line in told]
    assert "25.0 MB; to be sent" in " ".join(" ".join(told).split())
