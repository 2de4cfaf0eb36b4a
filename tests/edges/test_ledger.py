"""The ledger on real files: round trips, kills, damage, upgrades, two at once."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import stat
import string
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from slowboat.core.errors import NeedsUser, Transient, Unrecorded
from slowboat.core.schedule import Period
from slowboat.core.words import Item, Phase, Role, SetId, SourceFile
from slowboat.edges.ledger import Ledger
from slowboat.edges.ledger.opening import HISTORY_LINES
from slowboat.edges.ledger.rows import raw, text_of
from slowboat.edges.ledger.schema import APPLICATION_ID, STEPS, upgrade

if TYPE_CHECKING:
    from collections.abc import Iterator


def used(day: int, month: int) -> dict[Period, int]:
    return {Period.DAY: day, Period.MONTH: month}


def item(name: str = "a", rank: int = 0, **more: object) -> Item:
    return Item(SourceFile(name, 1000, 5), Role.VOLUME, 0, SetId(1, 1), rank, **more)


ANY_TEXT = st.text(st.characters(exclude_categories=()))


@given(ANY_TEXT)
@example("\ud800")
@example("\udc80 \ud83d")
def test_any_text_can_be_kept_and_found_again(text: str) -> None:
    kept = text_of(raw(text))
    assert text_of(raw(kept)) == kept
    if not any("\ud800" <= char <= "\udfff" for char in text):
        assert kept == text


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "slowboat" / "ledger.sqlite"


NAMES = st.binary(min_size=1, max_size=40).filter(lambda b: b"\0" not in b and b"/" not in b).map(os.fsdecode)
BIG = st.integers(0, 2**63 - 1)
ITEMS = st.lists(
    st.builds(
        Item,
        st.builds(SourceFile, NAMES, BIG, st.integers(-(2**63), 2**63 - 1)),
        st.sampled_from(Role),
        st.integers(0, 9),
        st.builds(SetId, BIG, BIG),
        BIG,
        st.sampled_from(Phase),
        st.booleans(),
        st.text(string.hexdigits, max_size=40),
        st.text(string.hexdigits, max_size=32),
        BIG,
        BIG,
        BIG,
        NAMES,
    ),
    max_size=6,
    unique_by=(lambda i: i.name, lambda i: i.rank),
)


@settings(max_examples=60)
@given(ITEMS, st.dictionaries(NAMES, st.binary(max_size=200), max_size=3))
def test_what_is_adopted_is_what_comes_back(items: list[Item], manifests: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "l"
        with Ledger(path) as ledger:
            ledger.adopt("home", items, manifests, {"identity": "x"})
        with Ledger(path) as ledger:
            assert ledger.items("home") == tuple(sorted(items, key=lambda i: i.rank))
            assert {name: ledger.manifest("home", name) for name in manifests} == manifests


def test_a_second_adoption_replaces_the_list_and_keeps_manifests_and_facts(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.adopt("home", [item("a"), item("b", 1)], {"m": b"1"}, {"one": "1"})
        ledger.adopt("home", [item("c"), item("a", 1, phase=Phase.DONE)], {"n": b"2"}, {"two": "2"})
        assert ledger.items("home") == (item("c"), item("a", 1, phase=Phase.DONE))
        assert (ledger.manifest("home", "m"), ledger.manifest("home", "n")) == (b"1", b"2")
        assert ledger.facts("home") == {"one": "1", "two": "2"}


def test_an_adoption_that_cannot_be_right_changes_nothing(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.adopt("home", [item("a")], {}, {})
        with pytest.raises(sqlite3.IntegrityError):
            ledger.adopt("home", [item("b", 7), item("c", 7)], {}, {"x": "1"})
        assert ledger.items("home") == (item("a"),)
        assert ledger.facts("home") == {}


def test_moves_counts_and_segments(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.adopt("home", [item("a"), item("b", 1)], {}, {})
        ledger.move("home", "a", Phase.SENDING, md5="d" * 32, attempt=True)
        ledger.begun_segments("home", "a", 1 << 20)
        ledger.sent("home", "a", 700)
        ledger.sent("home", "a", 5)
        ledger.move("home", "b", Phase.REFUSED, error="said \ud800")
        ledger.move("home", "b", Phase.REFUSED, error="rotten \udcff")
    with Ledger(path) as ledger:
        a, b = ledger.items("home")
        assert a == item("a", phase=Phase.SENDING, md5="d" * 32, attempts=1, segment=1 << 20, bytes_sent=705)
        assert b == item("b", 1, phase=Phase.REFUSED, error="rotten \udcff")
        ledger.move("home", "b", Phase.QUEUED)
        ledger.move("home", "a", Phase.DONE)
        a, b = ledger.items("home")
        assert (a.phase, a.md5, a.attempts) == (Phase.DONE, "d" * 32, 1)
        assert b.error == ""


def test_moving_what_was_never_adopted_is_a_mistake(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.adopt("home", [item("a")], {}, {})
        with pytest.raises(KeyError):
            ledger.move("other", "a", Phase.DONE)
        ledger.sent("other", "a", 5)  # a late count of a forgotten migration is nobody's loss
        assert ledger.items("home") == (item("a"),)


def test_facts_and_forgetting(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.set_fact("", "paused-until", "5.0")
        ledger.set_fact("home", "k", "ä \udc80")
        ledger.set_fact("home", "gone", "1")
        ledger.set_fact("home", "gone", "")
        ledger.adopt("home", [item("a")], {"m": b"x"}, {})
        assert ledger.facts("home") == {"k": "ä \udc80"}
        ledger.note("home", "adopted", "one file")
        ledger.forget("home")
        assert ledger.items("home") == ()
        assert ledger.manifest("home", "m") is None
        assert ledger.facts("home") == {}
        assert ledger.facts("") == {"paused-until": "5.0"}
        assert [line[1:] for line in ledger.history()] == [("home", "adopted", "one file")]


def test_history_is_the_newest_lines_oldest_first(path: Path) -> None:
    now = iter(range(100))
    with Ledger(path, clock=lambda: float(next(now))) as ledger:
        for number in range(10):
            ledger.note("home", "k", str(number))
        assert [line[3] for line in ledger.history(limit=3)] == ["7", "8", "9"]
        assert [line[0] for line in ledger.history(since=8.0)] == [8.0, 9.0]
        assert ledger.history(since=50.0) == ()


def test_history_does_not_grow_for_ever(path: Path) -> None:
    Ledger(path).close()
    with sqlite3.connect(path) as db:
        db.executemany(
            "INSERT INTO history (at, migration, kind, text) VALUES (?, 'm', 'k', 't')",
            ((float(n),) for n in range(HISTORY_LINES + 50)),
        )
    db.close()
    with Ledger(path) as ledger:
        lines = ledger.history(limit=HISTORY_LINES * 2)
        assert (len(lines), lines[0][0]) == (HISTORY_LINES, 50.0)


def test_files_are_private(path: Path) -> None:
    old = os.umask(0)
    try:
        with Ledger(path) as ledger:
            ledger.note("", "k", "t")
            modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in path.parent.iterdir()}
    finally:
        os.umask(old)
    assert set(modes) >= {"ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite.lock"}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


OPENS = """
import sys
from pathlib import Path
from slowboat.core.errors import NeedsUser
from slowboat.edges.ledger import Ledger
try:
    Ledger(Path(sys.argv[1]))
except NeedsUser as error:
    print(error.code)
"""


def test_two_at_once(path: Path) -> None:
    with Ledger(path):
        with pytest.raises(NeedsUser) as inside:
            Ledger(path)
        assert inside.value.code == "already-running"
        other = subprocess.run([sys.executable, "-c", OPENS, path], capture_output=True, text=True, check=True)
        assert other.stdout == "already-running\n"
    Ledger(path).close()


@pytest.mark.parametrize("damage", ["garbage", "middle", "foreign", "truncated"])
def test_a_damaged_ledger_is_set_aside_and_told(path: Path, damage: str) -> None:
    with Ledger(path) as ledger:
        ledger.adopt("home", [item(f"n{n}", n) for n in range(2000)], {}, {})
    whole = path.read_bytes()
    if damage == "garbage":
        path.write_bytes(b"no database at all" * 500)
    elif damage == "middle":
        path.write_bytes(whole[:4096] + os.urandom(len(whole) - 4096))
    elif damage == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    else:
        path.unlink()
        db = sqlite3.connect(path)
        db.execute("CREATE TABLE someone_elses (x)")
        db.close()
    broken = path.read_bytes()
    with Ledger(path, clock=lambda: 0.0) as ledger:
        assert ledger.set_aside == path.with_name("ledger.sqlite.broken-19700101T000000Z")
        assert ledger.set_aside.read_bytes() == broken
        assert ledger.items("home") == ()
        assert str(ledger.set_aside) in ledger.history()[-1][3]
        ledger.adopt("home", [item("a")], {}, {})
    path.write_bytes(b"again")
    with Ledger(path, clock=lambda: 0.0) as ledger:  # the first one set aside is not overwritten
        assert ledger.set_aside == path.with_name("ledger.sqlite.broken-19700101T000000Z.2")
    with Ledger(path) as ledger:
        assert ledger.set_aside is None


def test_damage_found_later_says_what_to_do(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.adopt("home", [item(f"n{n}", n) for n in range(20000)], {}, {})
        ledger._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with path.open("r+b") as file:
            file.seek(8192)
            file.write(os.urandom(path.stat().st_size - 8192))
        ledger._db.execute("PRAGMA shrink_memory")
        with pytest.raises(NeedsUser, match="damaged"):
            ledger.items("home")


NOT_OURS = {
    "a table is missing": "DROP TABLE facts",
    "a column is missing": "ALTER TABLE history DROP COLUMN kind",
    "a column has another name": "ALTER TABLE objects RENAME COLUMN phase TO state",
    "a column too many": "ALTER TABLE usage ADD COLUMN cost INTEGER NOT NULL DEFAULT 0",
    "version 0": "PRAGMA user_version = 0",
    "version 1": "PRAGMA user_version = 1",
    "version -1": "PRAGMA user_version = -1",
    "another program's": "PRAGMA application_id = 7",
}


@pytest.mark.parametrize("how", NOT_OURS)
def test_a_sound_file_that_is_no_ledger_of_ours_is_set_aside_and_told(path: Path, how: str) -> None:
    with Ledger(path) as ledger:
        ledger.adopt("home", [item("a")], {}, {})
        ledger._db.execute(NOT_OURS[how])
    before = path.read_bytes()
    with Ledger(path) as ledger:
        assert ledger.set_aside is not None
        assert ledger.set_aside.read_bytes() == before
        assert str(ledger.set_aside) in ledger.history()[-1][3]
        ledger.adopt("home", [item("a")], {"m": b"x"}, {"k": "v"})
        ledger.spent(["Phone"], "2026-11-22", 5)
        ledger.note("home", "k", "t")


def test_tables_of_another_program_under_our_mark_are_set_aside(path: Path) -> None:
    path.parent.mkdir(parents=True)
    for version in (0, 1, len(STEPS)):
        db = sqlite3.connect(path)
        db.execute("CREATE TABLE someone_elses (x)")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {version}")
        db.commit()
        db.close()
        with Ledger(path) as ledger:
            assert ledger.set_aside is not None
        path.unlink()


def test_what_sqlite_adds_for_itself_changes_nothing(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.adopt("home", [item("a")], {}, {})
        ledger._db.execute("ANALYZE")
        ledger._db.execute("CREATE INDEX mine ON history (at)")
    with Ledger(path) as ledger:
        assert ledger.set_aside is None
        assert ledger.items("home") == (item("a"),)


def test_an_empty_file_was_a_ledger_once(path: Path) -> None:
    """A new one gets its name when it is whole: what has no bytes lost them."""
    path.parent.mkdir(parents=True)
    path.touch()
    with Ledger(path) as ledger:
        assert ledger.set_aside is not None
        assert ledger.set_aside.read_bytes() == b""
        assert str(ledger.set_aside) in ledger.history()[-1][3]
        assert ledger.items("home") == ()


BEGINS = """
import sys
from pathlib import Path
from slowboat.edges.ledger import Ledger
print("go", flush=True)
Ledger(Path(sys.argv[1])).close()
print("done", flush=True)
"""


def test_killed_at_its_first_start_it_begins_again_and_tells_nothing(path: Path) -> None:
    for delay in (0.0, 0.002, 0.005, 0.01, 0.02, 0.03):
        process = subprocess.Popen([sys.executable, "-c", BEGINS, path], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(delay)
        process.kill()
        process.communicate()
        with Ledger(path) as ledger:
            assert ledger.set_aside is None
            assert ledger.history() == ()
        assert sorted(p.name for p in path.parent.iterdir()) == ["ledger.sqlite", "ledger.sqlite.lock"]
        path.unlink()


def test_a_newer_ledger_is_left_alone(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.adopt("home", [item("a")], {}, {})
        ledger._db.execute(f"PRAGMA user_version = {len(STEPS) + 1}")
    before = path.read_bytes()
    with pytest.raises(NeedsUser) as refused:
        Ledger(path)
    assert refused.value.code == "ledger-newer"
    assert path.read_bytes() == before
    assert list(path.parent.glob("*broken*")) == []


def test_an_upgrade_goes_step_by_step_and_a_failing_step_leaves_no_trace(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.adopt("home", [item("a")], {}, {})
    db = sqlite3.connect(path, isolation_level=None)
    good = ("ALTER TABLE objects ADD COLUMN colour TEXT NOT NULL DEFAULT 'blue'",)
    bad = ("CREATE TABLE extra (x)", "CREATE TABLE extra (y)")
    with pytest.raises(sqlite3.OperationalError):
        upgrade(db, [*STEPS, good, bad])
    assert db.execute("PRAGMA user_version").fetchone() == (len(STEPS) + 1,)
    assert db.execute("SELECT colour FROM objects").fetchall() == [("blue",)]
    assert db.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'extra'").fetchone() == (0,)
    upgrade(db, [*STEPS, good, bad[:1]])
    assert db.execute("PRAGMA user_version").fetchone() == (len(STEPS) + 2,)
    db.close()


def test_a_ledger_of_the_first_version_is_taken_over(path: Path) -> None:
    path.parent.mkdir(parents=True)
    old = sqlite3.connect(path, isolation_level=None)
    upgrade(old, STEPS[:1])
    old.execute("INSERT INTO migrations (name) VALUES ('home')")
    old.execute("INSERT INTO facts (migration, key, value) VALUES ('home', 'handover', 'done')")
    old.close()
    with Ledger(path) as ledger:
        assert ledger.set_aside is None
        assert ledger.facts("home") == {"handover": "done"}
        assert ledger.usage("2026-11-22") == {}
        ledger.spent(["Phone"], "2026-11-22", 5)
        assert ledger.usage("2026-11-22") == {"Phone": used(5, 5)}


def test_bytes_are_counted_by_network_day_and_month(path: Path) -> None:
    with Ledger(path) as ledger:
        for day, count in (("2026-09-20", 1), ("2026-10-31", 10), ("2026-11-01", 100), ("2026-11-22", 1000)):
            ledger.spent(["Phone", "", os.fsdecode(b"caf\xe9")], day, count)
        ledger.spent(["Phone"], "2026-11-22", 7)
        ledger.spent([], "2026-11-22", 9)
    with Ledger(path) as ledger:
        today = ledger.usage("2026-11-22")
        assert today == {"Phone": used(1007, 1107), "": used(1000, 1100), os.fsdecode(b"caf\xe9"): used(1000, 1100)}
        assert ledger.usage("2026-11-23")["Phone"] == used(0, 1107)
        assert ledger.usage("2026-12-01") == {}
        assert ledger.usage("2026-10-31")[""] == used(10, 10)
        assert ledger.usage("2026-09-20") == {}, "days of long ago are dropped"
        ledger.forget("Phone")
        assert ledger.usage("2026-11-22") == today, "it is not a migration's"


def test_what_was_sent_is_counted_by_the_quarter_of_an_hour_for_five_weeks(tmp_path: Path) -> None:
    now = [1795000000.0]
    with Ledger(tmp_path / "ledger.sqlite", clock=lambda: now[0]) as ledger:
        slot = now[0] // 900 * 900
        ledger.spent(["Home", "VPN"], "2026-11-18", 5)
        ledger.spent([], "2026-11-18", 7)
        now[0] += 900
        ledger.spent(["Home"], "2026-11-18", 1)
        assert ledger.traffic() == [(slot, 12), (slot + 900, 1)], "once, over however many networks"
        assert ledger.traffic(slot + 1) == [(slot + 900, 1)]
        now[0] += 35 * 86400
        ledger.spent(["Home"], "2026-12-23", 2)
        assert len(ledger.traffic()) == 2, "days of long ago are dropped"


def test_a_full_disk_is_said_and_loses_nothing(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.adopt("home", [item("a")], {}, {})
        pages = ledger._db.execute("PRAGMA page_count").fetchone()[0]
        ledger._db.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(Transient) as full:
            ledger.adopt("home", [item(f"n{n}", n) for n in range(5000)], {}, {})
        assert full.value.code == "no-space"
        assert ledger.items("home") == (item("a"),)
        ledger._db.execute(f"PRAGMA max_page_count = {pages * 1000}")
        ledger.move("home", "a", Phase.DONE)


HOLDS = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA locking_mode = EXCLUSIVE")
db.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""


def test_a_file_that_another_program_holds_is_said_and_loses_nothing(path: Path) -> None:
    Ledger(path).close()
    held = [sys.executable, "-c", HOLDS, path]
    with subprocess.Popen(held, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(Transient, match="Another program") as busy:
            Ledger(path, patience=0.1)
        other.communicate()
    assert isinstance(busy.value, Unrecorded)
    with Ledger(path, patience=0.1) as ledger:
        ledger.adopt("home", [item("a")], {}, {})
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Transient):
            ledger.move("home", "a", Phase.DONE)
        assert ledger.items("home") == (item("a"),)
        other.execute("ROLLBACK")
        other.close()
        ledger.move("home", "a", Phase.DONE)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 600 kB."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "slowboat-test", place], check=True)
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def remember_much(ledger: Ledger) -> None:
    for number in range(1000):
        ledger.set_fact("home", f"k{number}", "x" * 1000)


def fill_up(place: Path, name: str = "ballast") -> Path:
    """Takes the last byte of room there."""
    ballast = place / name
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return ballast


@pytest.mark.skipif(os.geteuid() != 0, reason="a full file system of our own needs root to be mounted")
def test_a_real_disk_that_is_full_is_waited_for_from_the_first_start_on(small_disk: Path) -> None:
    path = small_disk / "state" / "ledger.sqlite"
    ballast = fill_up(small_disk)
    with pytest.raises(Unrecorded):
        Ledger(path)
    ballast.unlink()
    with Ledger(path) as ledger:
        assert ledger.set_aside is None
        ledger.adopt("home", [item("a")], {}, {})
        ballast = fill_up(small_disk)
        with pytest.raises(Transient) as full:
            remember_much(ledger)
        assert full.value.code == "no-space"
        facts = ledger.facts("home")
        with pytest.raises(Transient):
            ledger.adopt("home", [item(f"n{n}", n) for n in range(5000)], {}, {})
        assert ledger.items("home") == (item("a"),)
    more = fill_up(small_disk, "more")  # what the ledger's journal took
    with pytest.raises(Transient) as full:
        Ledger(path)
    assert full.value.code == "no-space"
    ballast.unlink()
    more.unlink()
    with Ledger(path) as ledger:
        assert ledger.set_aside is None
        assert ledger.facts("home") == facts
        ledger.move("home", "a", Phase.DONE)


def test_a_place_where_no_ledger_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for place in (tmp_path / "file" / "ledger.sqlite", tmp_path / "folder"):
        with pytest.raises(NeedsUser) as refused:
            Ledger(place)
        assert refused.value.code == "ledger"
        assert isinstance(refused.value, Unrecorded)
        assert str(place) in refused.value.what


KILLED = """
import sys
from pathlib import Path
from slowboat.core.words import Item, Phase, Role, SetId, SourceFile
from slowboat.edges.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]))
items = [Item(SourceFile(f"n{n}", 1, 1), Role.VOLUME, 0, SetId(1, 1), n) for n in range(3)]
ledger.adopt("home", items, {}, {})
for n in range(1, 10**9):
    ledger.sent("home", "n0", 1)
    ledger.set_fact("home", "n", str(n))
    print(n, flush=True)
"""


def test_what_was_told_survives_kill_9(path: Path) -> None:
    for until in (1, 7, 40):
        process = subprocess.Popen([sys.executable, "-c", KILLED, path], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= until:
                break
        process.send_signal(signal.SIGKILL)
        told = max([until, *(int(rest) for rest in process.stdout.read().split("\n")[:-1])])
        process.stdout.close()
        process.wait()
        with Ledger(path) as ledger:
            assert ledger.set_aside is None
            count = int(ledger.facts("home")["n"])
            assert count - told in (0, 1)
            assert ledger.items("home")[0].bytes_sent - count in (0, 1)
            ledger.forget("home")


def test_a_hundred_thousand_objects(path: Path) -> None:
    many = [item(f"duplicity-full.20260101T000000Z.vol{n}.difftar.gpg", n) for n in range(100_000)]
    with Ledger(path) as ledger:
        ledger.adopt("home", many, {}, {})
        ledger.move("home", many[-1].name, Phase.DONE)
        found = ledger.items("home")
    assert len(found) == 100_000
    assert found[-1] == replace(many[-1], phase=Phase.DONE)


@pytest.mark.parametrize(("column", "value"), [("size", "many"), ("size", 0.5), ("md5", b"\0"), ("mtime_ns", b"\0")])
def test_a_value_of_another_type_is_damage(tmp_path: Path, column: str, value: object) -> None:
    """A flipped bit in a row's header makes it; the engine would reckon with it."""
    path = tmp_path / "l"
    with Ledger(path) as ledger:
        ledger.adopt("home", [item("a")], {}, {})
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA ignore_check_constraints = ON")
        db.execute(f"UPDATE objects SET {column} = ?", (value,))
    with Ledger(path) as ledger:
        assert ledger.set_aside
        assert ledger.items("home") == ()


def written(path: Path) -> str:
    """The phase of the one object, as another look at the file sees it."""
    with contextlib.closing(sqlite3.connect(path)) as other:
        return str(other.execute("SELECT phase FROM objects").fetchone()[0])


def test_what_happens_to_objects_is_gathered_until_anything_else_is_written(path: Path) -> None:
    one = Item(SourceFile("n", 1, 1), Role.VOLUME, 0, SetId(1, 1), 0)
    ends = {
        "a commit": lambda ledger: ledger.commit(),
        "a fact": lambda ledger: ledger.set_fact("home", "k", "v"),
        "a line of the history": lambda ledger: ledger.note("home", "k", "v"),
        "segments": lambda ledger: ledger.begun_segments("home", "n", 5),
        "the end": lambda ledger: ledger.close(),
    }
    for what, end in ends.items():
        with Ledger(path) as ledger:
            ledger.adopt("home", [one], {}, {})
            ledger.move("home", "n", Phase.SENDING, attempt=True)
            ledger.sent("home", "n", 9)
            ledger.set_fact("home", "speed", "fast", soon=True)
            assert written(path) == "queued"
            assert ledger.items("home")[0].phase is Phase.SENDING, "who has gathered it sees it"
            end(ledger)
            assert written(path) == "sending", what


def test_so_many_changes_are_one_transaction(path: Path) -> None:
    """Four changes for each of 640 objects: what flushes the disk, counted."""
    items = [Item(SourceFile(f"n{n}", 1, 1), Role.VOLUME, 0, SetId(1, 1), n) for n in range(640)]
    with Ledger(path) as ledger:
        ledger.adopt("home", items, {}, {})
        said: list[str] = []
        ledger._db.set_trace_callback(said.append)
        for one in items:
            ledger.move("home", one.name, Phase.SENDING, attempt=True)
            ledger.move("home", one.name, Phase.SENDING, md5="5" * 32)
            ledger.sent("home", one.name, 9)
            ledger.move("home", one.name, Phase.DONE)
        ledger.commit()
        ledger.commit()
    assert said.count("COMMIT") == 640 * 4 // 256
    assert sum(text.startswith("UPDATE") for text in said) == 640 * 4


def test_a_disk_that_is_full_at_the_end_of_a_group_loses_the_group_and_nothing_before_it(path: Path) -> None:
    one = Item(SourceFile("n", 1, 1), Role.VOLUME, 0, SetId(1, 1), 0)
    with Ledger(path) as ledger:
        ledger.adopt("home", [one], {}, {"k": "v"})
        ledger.move("home", "n", Phase.SENDING)
        ledger._db.execute("PRAGMA query_only = ON")  # what may be read and not written
        with pytest.raises(Unrecorded):
            ledger.note("home", "kind", "text")
        ledger._db.execute("PRAGMA query_only = OFF")
        assert ledger.items("home")[0].phase is Phase.QUEUED
        assert ledger.facts("home") == {"k": "v"}
        ledger.move("home", "n", Phase.SENDING)
        ledger.commit()
        assert written(path) == "sending"
