"""The status for any report, at any width, on any terminal; and what a person must learn from it."""

from __future__ import annotations

import io
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from slowboat.cli import json_output, status
from slowboat.core.words import Activity, HandoverState, ManagerReport, MigrationReport, Reason

NOW = 1795000000.0  # 2026-11-18 12:06:40 in Berlin
LAPTOP = MigrationReport(
    name="laptop",
    source="/media/anna/Backup/laptop",
    target_url="swift://backups/laptop",
    activity=Activity.SENDING,
    handover=HandoverState.DONE,
    volumes_total=4120,
    volumes_done=964,
    metadata_total=14,
    metadata_done=14,
    bytes_total=103_000_000_000,
    bytes_done=24_100_000_000,
    rate=512_000,
    expected_end=NOW + 155_000,
    current_object="duplicity-full.20261101T120000Z.vol965.difftar.gpg",
)
METERED = Reason("metered", 'The network "Phone" is metered', "Use an unmetered network")
SCHEDULE = Reason("schedule", "Your schedule does not allow sending at this time", until=NOW + 11_520)
CAP = Reason("cap", "Your settings cap it at 600 kB/s", "Raise the cap in the settings")


def with_(migration, **changes):
    return MigrationReport(**{name: getattr(migration, name) for name in migration.__slots__} | changes)


def report(activity, *migrations, **fields):
    shown = {each.name: each for each in migrations or (with_(LAPTOP, activity=activity),)}
    return ManagerReport("0.1.0", activity=activity, migrations=shown, **fields)


def printed(renderable, width=100, **options):
    out = io.StringIO()
    Console(file=out, width=width, highlight=False, **options).print(renderable)
    return out.getvalue()


def seen(shown, width=100):
    return re.sub(r"\s+", " ", printed(status.view(shown, NOW), width))


def test_sending_says_how_fast_how_far_and_until_when():
    text = seen(report(Activity.SENDING, rate=512_000, limit=600_000, network="Home"))
    assert "slowboat is sending at 512 kB/s over Home (limit 600 kB/s)" in text
    assert "23.3 %" in text
    assert "24.1 GB of 103.0 GB, 964 of 4,120 volumes" in text
    assert "about 1 day 19 h (done Friday at 07:10)" in text


def test_sending_says_whether_it_makes_way():
    shared = "is sending at 512 kB/s over Home (limit 600 kB/s, only what nobody else uses)"
    assert shared in seen(report(Activity.SENDING, rate=512_000, limit=600_000, mode="spare", network="Home"))
    assert "over Home (only what nobody else uses)" in seen(report(Activity.SENDING, mode="spare", network="Home"))
    for mode, activity in (("go", Activity.SENDING), ("spare", Activity.WAITING), ("spare", Activity.DONE)):
        assert "nobody else uses" not in seen(report(activity, mode=mode, network="Home"))


def test_others_on_the_line_are_news():
    crowded = Reason(
        "crowded",
        "Somebody else is using the connection, and slowboat takes only what is left over",
        "slowboat limit go",
    )
    text = seen(report(Activity.SENDING, reasons=(crowded,), rate=5_000, mode="spare"))
    assert f"It sends less than it could, because: • {crowded.text}. What to do: slowboat limit go" in text


def test_waiting_tells_every_reason_with_its_cure_and_its_end():
    text = seen(report(Activity.WAITING, reasons=(METERED, SCHEDULE)))
    assert "slowboat is waiting" in text
    assert '• The network "Phone" is metered. What to do: Use an unmetered network.' in text
    assert "at this time. Ends by itself today at 15:18 (in 3 h 12 min)." in text


def test_a_reason_of_one_migration_is_told_with_that_one_and_once():
    absent = Reason("source-absent", "The drive Blue is not there", "Plug it in")
    waits = with_(LAPTOP, name="desktop", activity=Activity.WAITING, reasons=(absent,))
    text = seen(report(Activity.SENDING, LAPTOP, waits, reasons=(absent,), rate=512_000))
    assert text.count("The drive Blue is not there.") == 1
    assert "desktop is waiting • The drive Blue is not there. What to do: Plug it in." in text
    assert "sends less than it could" not in text


def test_a_standing_cap_is_no_news_but_why_tells_it():
    capped = report(Activity.SENDING, reasons=(CAP,), rate=512_000)
    assert "cap it" not in seen(capped)
    assert "Your settings cap it at 600 kB/s." in printed(status.why(capped, NOW))


def test_a_pause_says_until_when_and_how_to_end_it():
    text = seen(report(Activity.PAUSED, paused_until=NOW + 7200))
    assert "slowboat is paused • You paused it. What to do: slowboat resume Ends by itself today at 14:06" in text


def test_who_is_needed_learns_what_for_and_how_to_go_on():
    reasons = (Reason("credentials", "The cloud refuses the password", "Correct it in config.toml"),)
    text = seen(report(Activity.NEEDS_USER, reasons=reasons))
    assert "slowboat needs you" in text
    assert "What to do: Correct it in config.toml. When that is done, run: slowboat retry" in text


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"handover": HandoverState.DONE},
            "Done. From now on, back up to swift://backups/laptop, no longer to the drive.",
        ),
        ({"handover": HandoverState.PENDING, "metadata_done": 9}, "9 of 14 metadata files are. Until then, keep"),
        ({"handover": HandoverState.PENDING}, "the handover follows by itself, shortly. Until then, keep"),
        ({"handover": HandoverState.PENDING, "handover_why": "duplicity runs"}, "Not yet. duplicity runs. Until"),
        ({"handover": HandoverState.READY}, "Comes next, by itself."),
        (
            {"handover": HandoverState.READY, "handover_why": "it waits for you. Run: slowboat handover"},
            "Ready: it waits for you. Run: slowboat handover Until then, keep backing up to the drive.",
        ),
        ({"handover": HandoverState.NEVER}, "the cloud follows the drive. Keep backing up to the drive"),
        (
            {"handover": HandoverState.BLOCKED, "handover_why": "Another chain is there"},
            "Blocked: Another chain is there.",
        ),
    ],
)
def test_the_handover_says_where_to_back_up_to(changes, told):
    assert told in seen(report(Activity.SENDING, with_(LAPTOP, **changes)))


def test_the_handover_names_the_url_that_deja_dup_is_set_to():
    there = with_(LAPTOP, activity=Activity.SENDING, backup_url="rclone://cloud:backups/laptop")
    text = seen(report(Activity.SENDING, there))
    assert "Done. From now on, back up to rclone://cloud:backups/laptop, no longer to the drive." in text
    assert "To swift://backups/laptop" in text


def test_where_deja_dup_does_not_go_there_nobody_says_that_it_does_and_a_command_stands_alone():
    told = "this Deja Dup (41 to 47) cannot back up to Swift. From Flathub:\nflatpak install flathub org.gnome.DejaDup"
    there = with_(LAPTOP, activity=Activity.SENDING, front_end=told)
    lines = [line.strip() for line in printed(status.view(report(Activity.SENDING, there), NOW), 120).splitlines()]
    assert "flatpak install flathub org.gnome.DejaDup" in lines
    assert "no longer to the drive" not in " ".join(lines)


def test_it_says_how_far_the_cloud_is_behind_in_backups_and_in_days():
    behind = {"behind": 2, "newest_on_drive": NOW, "newest_in_cloud": NOW - 3 * 86400}
    assert "Behind 2 backups, 3 days" in seen(report(Activity.SENDING, with_(LAPTOP, **behind)))
    assert "Behind" not in seen(report(Activity.SENDING, with_(LAPTOP, **behind | {"behind": 0})))
    first = seen(report(Activity.SENDING, with_(LAPTOP, **behind | {"newest_in_cloud": 0.0})))
    assert "Behind" not in first, "a first seed is behind by all of it"


def test_nobody_is_told_to_let_go_of_the_drive_too_early():
    enough = "The cloud alone is enough: the drive is no longer the only copy."
    everything = with_(LAPTOP, activity=Activity.DONE, cloud_has="all", cloud_has_text=enough)
    assert "no longer the only copy" in seen(report(Activity.DONE, everything))
    for early in (
        LAPTOP,
        with_(LAPTOP, restorable_from_cloud=True),
        with_(LAPTOP, activity=Activity.NEEDS_USER, volumes_refused=2),
    ):
        text = seen(report(early.activity, early))
        assert "no longer the only copy" not in text
        assert "eep the drive" in text


def test_what_was_set_aside_is_said():
    text = seen(report(Activity.SENDING, with_(LAPTOP, volumes_refused=2, last_error="vol12 is rotten")))
    assert "2 volumes cannot be sent as they are." in text
    assert "vol12 is rotten." in text
    one = seen(report(Activity.SENDING, with_(LAPTOP, volumes_refused=1)))
    assert "1 volume cannot be sent as it is." in one


def test_every_duplicity_is_named_and_what_the_worst_may_do():
    both = ("duplicity 0.8.22 (/usr/bin/duplicity)", "duplicity 3.2.1 (/home/u/.local/bin/duplicity)")
    text = seen(report(Activity.SENDING, with_(LAPTOP, duplicities=both, duplicity_danger="it may delete it")))
    assert f"{both[0]} or {both[1]}: it may delete it." in text
    assert both[1] in seen(report(Activity.SENDING, with_(LAPTOP, duplicities=both)))


def test_why_says_so_when_nothing_is_the_matter():
    assert "Nothing holds it back." in printed(status.why(report(Activity.SENDING), NOW))
    assert "Nothing is left to send." in printed(status.why(report(Activity.DONE), NOW))


def test_without_a_migration_it_says_what_to_do():
    assert "config.toml, then run: slowboat reload" in seen(ManagerReport("0.1.0", activity=Activity.WAITING))


def test_markup_and_escapes_in_names_stay_text():
    hostile = with_(LAPTOP, name="[red]x[/red]", source="/media/\x1b[2J\x07:smile:", target_url="swift://c/[bold]")
    text = printed(status.view(report(Activity.SENDING, hostile), NOW))
    assert "[red]x[/red]" in text
    assert "/media/\\x1b[2J\\x07:smile:" in text
    assert "swift://c/[bold]" in text
    assert "\x1b" not in text


def test_json_has_the_same_numbers_and_stable_words():
    shown = json.loads(json_output.status(report(Activity.WAITING, reasons=(SCHEDULE,), limit=600_000)))
    assert (shown["activity"], shown["limit"], shown["paused_until"]) == ("waiting", 600_000, None)
    assert shown["reasons"] == [
        {"code": "schedule", "text": SCHEDULE.text, "cure": "", "until": SCHEDULE.until, "since": None},
    ]
    laptop = shown["migrations"]["laptop"]
    assert (laptop["bytes_done"], laptop["handover"], laptop["started_at"]) == (24_100_000_000, "done", None)
    assert "\n" not in json_output.status(report(Activity.WAITING), indent=None)


# Any report at all.

numbers = st.integers(-5, 10) | st.integers(-(2**64), 2**64)
times = st.floats() | st.floats(NOW - 1e6, NOW + 1e7)
words = st.text(st.characters(codec="utf-8"), max_size=20) | st.text(
    st.characters(categories=["Cc", "Cf", "So", "Lo"]), max_size=60
)
harmless = st.text("abc /:", max_size=30)


def reasons_of(text):
    made = st.builds(Reason, code=text, text=text, cure=text, until=st.none() | times)
    return st.lists(made, max_size=3).map(tuple)


def migrations_of(text):
    return st.builds(
        MigrationReport,
        name=text, source=text, target_url=text, activity=st.sampled_from(Activity), reasons=reasons_of(text),
        handover=st.sampled_from(HandoverState), handover_why=text, volumes_total=numbers, volumes_done=numbers,
        volumes_refused=numbers, metadata_total=numbers, metadata_done=numbers, bytes_total=numbers,
        bytes_done=numbers, bytes_sent=numbers, rate=numbers, started_at=times, expected_end=times,
        restorable_from_cloud=st.booleans(), cloud_has=text, cloud_has_text=text,
        duplicities=st.lists(text, max_size=3).map(tuple), duplicity_danger=text, current_object=text, last_error=text,
    )  # fmt: skip


def reports_of(text):
    return st.builds(
        ManagerReport,
        version=text, activity=st.sampled_from(Activity), reasons=reasons_of(text), bytes_total=numbers,
        bytes_done=numbers, bytes_sent=numbers, rate=numbers, limit=numbers, mode=text, network=text,
        paused_until=times, expected_end=times, last_error=text,
        migrations=st.dictionaries(text, migrations_of(text), max_size=3),
    )  # fmt: skip


@given(reports_of(words), st.integers(40, 200))
def test_any_report_fits_any_terminal(shown, width):
    for renderable in (status.view(shown, NOW), status.why(shown, NOW)):
        text = printed(renderable, width)
        assert text.replace("\n", "").isprintable()
        probe = Console(width=500)
        assert all(probe.measure(line).maximum <= width for line in text.split("\n") if line.strip())
    assert status.brief(shown, NOW).isprintable()
    json.loads(json_output.status(shown))


@given(reports_of(harmless))
def test_no_report_shows_a_negative_number(shown):
    text = printed(status.view(shown, NOW)) + printed(status.why(shown, NOW)) + status.brief(shown, NOW)
    assert not re.search(r"-\d|\bnan\b|\binf\b", text)


@given(reports_of(harmless))
def test_a_plain_ascii_terminal_gets_plain_ascii(shown):
    from slowboat.cli import screen

    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii", errors=screen.ASCII_HANDLER)
    Console(file=out, width=80, highlight=False).print(status.view(shown, NOW))
    out.flush()
    assert raw.getvalue().isascii()
    assert b"\\u" not in raw.getvalue()
