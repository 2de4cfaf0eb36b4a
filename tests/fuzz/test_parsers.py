"""Each parser of what others wrote: any bytes in, a value or one of our errors out, and in the same way in any pieces.

Short here; `contrib/bench soak --only fuzz` tries thousands, and SLOWBOAT_TEST_EXAMPLES sets how many each.
"""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path

from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from slowboat.core import dejadup, manifest, names, segmenting, urls, versions
from slowboat.core.errors import Refused, SlowboatError
from slowboat.core.framing import Framing
from slowboat.core.words import Item, Phase, Role, SetId, SourceFile
from slowboat.edges.ledger import Ledger
from slowboat.edges.settings import amounts, reading
from slowboat.edges.swift import answers
from slowboat.engine import facts

EXAMPLES = int(os.environ.get("SLOWBOAT_TEST_EXAMPLES", "40"))
fuzz = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])

ANY_TEXT = st.text(st.characters() | st.characters(categories=["Cs"]), max_size=80)


def pieces(*words: str) -> st.SearchStrategy[str]:
    """Texts made of a format's own words, and of anything in between."""
    return st.lists(st.sampled_from(words) | st.text(max_size=4), max_size=12).map("".join)


def cut(data: st.DataObject, body: bytes) -> list[bytes]:
    """The same bytes in blocks."""
    at = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=5)))
    return [body[start:end] for start, end in zip([0, *at], [*at, len(body)], strict=True)]


# -- names -------------------------------------------------------------------------------------------------------

TIMES = ("20260101T000000Z", "2026-01-01T00:00:00+01:00", "1767225600", "99999999T999999Z", "zzzzzz")
NAMES = pieces(
    "duplicity-",
    "full",
    "inc",
    "-signatures",
    "new",
    ".",
    "vol",
    "1",
    "007",
    "difftar",
    "manifest",
    "sigtar",
    "jsonstat",
    ".to.",
    ".gpg",
    ".gz",
    ".p7m",
    ".part",
    "df",
    "dfs",
    "di",
    "dns",
    ".m",
    ".st",
    ".g",
    ".z",
    "/",
    "\0",
    *TIMES,
)


@fuzz
@given(NAMES | ANY_TEXT)
def test_a_name_is_duplicitys_or_none(name: str) -> None:
    parsed = names.parse(name)
    lenient = names.parses_for_duplicity(name)
    if parsed is not None:
        assert names.render(parsed) == name
        assert lenient
        names.metadata_key(name)
        names.cache_name(name)


@fuzz
@given(
    pieces("slowboat1/", "p/", "duplicity-full", "/", "1048576", "00000000", "slo", "-1", "\u00b2", "99999999")
    | ANY_TEXT
)
def test_a_segments_name_is_ours_or_none(name: str) -> None:
    found = names.parse_segment(name)
    if found is not None and found.index is not None:
        assert found.size >= 0
        assert found.segment > 0


# -- manifests ---------------------------------------------------------------------------------------------------

MANIFEST = st.binary(max_size=200) | pieces(
    "Hostname vm\n",
    "Localdir /home\n",
    "Volume 1:\n",
    "Volume 2:\n",
    "Volume -1:\n",
    "Volume ",
    "    StartingPath   .\n",
    "    EndingPath     ",
    '"a\\x20b" 15\n',
    '"\\x',
    '"',
    " 9" * 30,
    "    Hash SHA1 ",
    "da39a3ee5e6b4b0d3255bfef95601890afd80709\n",
    "Filelist 3\n",
    "    new      x\n",
    "\n",
    "\0",
).map(lambda text: text.encode("utf-8", "surrogatepass"))


def parsed(body: bytes) -> object:
    try:
        return manifest.parse_bytes(body)
    except Refused as error:
        return error.code


@fuzz
@given(MANIFEST, st.data())
def test_a_manifest_is_read_or_refused_and_abridged_alike(body: bytes, data: st.DataObject) -> None:
    abridged = manifest.Abridged()
    for block in cut(data, body):
        abridged.feed(block)
    whole = parsed(body)
    assert parsed(abridged.finish()) == whole
    assert isinstance(whole, manifest.Manifest) or whole == "manifest"


@fuzz
@given(st.binary(max_size=60))
def test_a_path_in_a_manifest_is_read_as_it_was_written(raw: bytes) -> None:
    assume(b"\0" not in raw)
    assert manifest.unquote(manifest.quote(raw)) == raw


# -- framing -----------------------------------------------------------------------------------------------------

SOUND = gzip.compress(b"some text, and more of it" * 9, mtime=0)
OPENPGP = b"\x8c\x0d\x04\x09\x03\x02" + bytes(8) + b"\xff" + b"\xd2\xff" + (40).to_bytes(4, "big") + bytes(40)
BODIES = (
    st.binary(max_size=300)
    | st.lists(
        st.sampled_from([SOUND, OPENPGP, bytes(512), b"-----BEGIN PGP MESSAGE-----\n", b"0\x80", b"\xff" * 40]),
        max_size=4,
    ).map(b"".join)
    | st.tuples(st.sampled_from([SOUND, OPENPGP]), st.integers(0, 60), st.integers(0, 255)).map(
        lambda told: told[0][: told[1]] + bytes([told[2]]) + told[0][told[1] + 1 :]
    )
)
SUFFIXED = [
    f"duplicity-{stem}{suffix}"
    for stem in (
        "full.20260101T000000Z.manifest",
        "full.20260101T000000Z.vol1.difftar",
        "full-signatures.20260101T000000Z.sigtar",
    )
    for suffix in ("", ".gz", ".gpg", ".p7m")
]


def framed(name: str, blocks: list[bytes]) -> str:
    framing = Framing(name)
    for block in blocks:
        framing.feed(block)
    return framing.finish()


@fuzz
@given(st.sampled_from(SUFFIXED), BODIES, st.data())
def test_a_file_is_framed_or_not_in_whatever_blocks_it_comes(name: str, body: bytes, data: st.DataObject) -> None:
    """But for the first block, which tells whether it is armoured, and is a file's own first MiB outside of here."""
    first, rest = body[:64], body[64:]
    assert framed(name, [first, *cut(data, rest)]) == framed(name, [first, rest])


# -- settings ----------------------------------------------------------------------------------------------------

TOML = pieces(
    '[cloud.a]\nauth_url = "https://x/auth/v1.0"\nuser = "u"\n',
    '[migration.m]\nsource = "/d"\ncontainer = "c"\n',
    "[schedule]\n",
    "[[schedule.window]]\n",
    'days = "mon-fri"\n',
    'from = "25:00"\n',
    "limit = ",
    '"500k"\n',
    "-1\n",
    "1e999\n",
    "nan\n",
    "[network.x]\n",
    'send = "never"\n',
    "connections = 99999999999999999999\n",
    "[",
    "]]",
    "'''",
    '"',
    "\\u",
    "\n",
    "=",
    'key_file = "\0"\n',
    "1979-05-27\n",
    "{}",
    "[power]\n",
    "battery = true\n",
    'target_url = "swift://%"\n',
    'prefix = "../x"\n',
)


@fuzz
@given(TOML.map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=100))
def test_a_configuration_is_read_or_named_wrong(raw: bytes) -> None:
    with suppress(SlowboatError):
        reading.parse(raw, Path("/config.toml"), {"HOME": "/home/u"})


AMOUNTS = (
    pieces(
        "1", "500", ".", "k", "K", "Mi", "Mbit", "bps", "B", "/s", "b", "-", "1e5", " ", "\u00b2", "\u0663", "9" * 14
    )
    | ANY_TEXT
)


@fuzz
@given(AMOUNTS)
def test_an_amount_is_a_number_or_a_mistake(text: str) -> None:
    for parse in (amounts.parse_rate, amounts.parse_size):
        with suppress(ValueError):
            assert 0 <= parse(text) < 10**30


@fuzz
@given(
    pieces("mon", "fri", "-", ",", "daily", "sunday", "su", "\u0130") | ANY_TEXT,
    pieces("0", "23", "24", ":", "00", "59") | ANY_TEXT,
)
def test_days_and_hours_are_such_or_mistakes(days: str, hour: str) -> None:
    with suppress(ValueError):
        assert amounts.parse_days(days) <= frozenset(range(7))
    with suppress(ValueError):
        assert 0 <= amounts.parse_minute(hour) <= 1440


# -- what a server says ------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "bytes", "hash", "last_modified", "slo_etag", "subdir", "swift", "slo"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


def said(value: object) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


@fuzz
@given(st.lists(JSON, max_size=3).map(said) | JSON.map(said) | st.binary(max_size=60))
@example(b'[{"name": "\\ud800"}]')
def test_a_listing_is_objects_or_strange(body: bytes) -> None:
    for parse in (answers.page, answers.limits, answers.failures):
        with suppress(answers.Strange):
            parse(body)


HEADERS = st.dictionaries(
    st.sampled_from(["etag", "content-length", "x-timestamp", "last-modified", "x-delete-at", "x-static-large-object"]),
    st.text(max_size=12)
    | st.sampled_from(["nan", "-1", "1e999", "\u00b2", '"', "Thu, 01 Jan 1970 00:00:00 GMT", "9" * 40]),
)


@fuzz
@given(HEADERS)
def test_headers_are_an_objects_or_strange(headers: dict[str, str]) -> None:
    with suppress(answers.Strange):
        found = answers.headed("a", headers)
        assert found.size >= 0


# -- what we wrote ourselves, and somebody else has changed ------------------------------------------------------

VALUES = (
    st.none()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=6)
    | st.binary(max_size=6)
)
ROW = Item(
    SourceFile("duplicity-full.20260101T000000Z.vol1.difftar.gz", 5, 6),
    Role.VOLUME,
    0,
    SetId(1, 1),
    0,
    phase=Phase.QUEUED,
)
COLUMNS = (
    "name",
    "size",
    "mtime_ns",
    "role",
    "chain",
    "set_start",
    "set_end",
    "rank",
    "phase",
    "canary",
    "sha1",
    "md5",
    "segment",
)


@fuzz
@given(st.sampled_from(COLUMNS), VALUES)
def test_a_row_of_the_ledger_is_an_object_or_damage(column: str, value: object) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.sqlite"
        with Ledger(path) as ledger:
            ledger.adopt("m", [ROW], {}, {})
        with closing(sqlite3.connect(path)) as db, suppress(sqlite3.Error), db:
            db.execute("PRAGMA ignore_check_constraints = ON")
            db.execute(f"UPDATE objects SET {column} = ?", (value,))
        with suppress(SlowboatError), Ledger(path) as ledger:
            for item in ledger.items("m"):
                assert isinstance(item.phase, Phase)
                assert isinstance(item.file.size, int)


@fuzz
@given(
    st.sampled_from(sorted(facts.table())), ANY_TEXT | JSON.map(said).map(lambda raw: raw.decode("utf-8", "replace"))
)
def test_a_fact_is_read_or_forgotten(key: str, text: str) -> None:
    fact = facts.table()[key]
    value = fact.of(text)
    assert fact.of(fact.text(value)) == value or value != value  # NaN is no equal of itself


@fuzz
@given(pieces("1e5", " ", "nan", "inf", "-3", "0.0", "1" * 400) | ANY_TEXT)
def test_what_was_known_of_the_line_is_read_or_forgotten(text: str) -> None:
    found = segmenting.parse(text)
    assert segmenting.segment_size(10**9, found, answers.Limits()) > 0


# -- what others are set to --------------------------------------------------------------------------------------

KEYS = (
    "backend",
    "Local.folder",
    "Drive.folder",
    "File.type",
    "File.path",
    "Rclone.remote",
    "Rclone.folder",
    "OpenStack.container",
)
URL = pieces(
    "swift://",
    "rclone://",
    "cf+http://",
    "par2+",
    "file://",
    "gio+",
    "c",
    "/",
    "%20",
    "%",
    "?",
    "#",
    ":",
    "@",
    "//",
    "..",
    "~/",
    "$HOSTNAME",
)


@fuzz
@given(
    st.dictionaries(
        st.sampled_from(KEYS),
        URL | ANY_TEXT | st.sampled_from(["local", "drive", "file", "volume", "rclone", "openstack"]),
    ),
    st.text(max_size=12).map(lambda text: "/" + text),
    ANY_TEXT,
)
def test_deja_dups_settings_lead_somewhere_or_nowhere(values: dict[str, str], folder: str, hostname: str) -> None:
    for url in (*dejadup.source_urls(values, folder, "/home/u", hostname), dejadup.cloud_url(values, hostname)):
        assert isinstance(url, str)
    with suppress(SlowboatError):
        dejadup.switch(values, ["swift://c/p", "rclone://r:c/p"], "c/p")


@fuzz
@given(URL | ANY_TEXT)
def test_a_url_leads_to_a_place_or_to_none(url: str) -> None:
    assert urls.place(url) is None or isinstance(urls.place(url), str)
    assert isinstance(urls.without_user(url), str)


@fuzz
@given(pieces("duplicity ", "3.2.1", "0.8.22", ".", "v", "\n", "$version", "dev", "9" * 50) | ANY_TEXT)
def test_a_version_is_judged_or_unknown(said: str) -> None:
    versions.verdict(versions.parse(said))
