"""The configuration: what is taken, and what each mistake is answered with."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tomllib
from dataclasses import fields
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slowboat.core.conditions import NetworkRule
from slowboat.core.errors import NeedsUser
from slowboat.core.identity import Identity
from slowboat.core.schedule import Period, Window
from slowboat.core.words import Target
from slowboat.daemon.running import FINAL_CODES
from slowboat.edges.settings import (
    ENV_CLOUD,
    EXAMPLE,
    Settings,
    config_path,
    load,
    parse,
    parse_rate,
    parse_size,
    state_dir,
)
from slowboat.edges.settings.amounts import parse_days, parse_minute
from slowboat.edges.settings.lines import line_of
from slowboat.edges.settings.shape import CloudTable, MigrationTable
from slowboat.edges.swift import Credentials

CLOUD = """\
[cloud.c]
auth_url = "https://swift.example.com/auth/v1.0"
user = "a:u"
"""
MIGRATION = """\
[migration.home]
source = "/media/backup/host"
container = "lenny"
"""
FILE = Path("/etc/x/config.toml")
DOCS = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"


def read(text: str, **environment: str) -> Settings:
    return parse(text.encode(), FILE, {"HOME": "/home/u"} | environment)


def refusal(text: str, **environment: str) -> NeedsUser:
    with pytest.raises(NeedsUser) as refused:
        read(text, **environment)
    assert refused.value.code == "config"
    return refused.value


# -- what is taken ----------------------------------------------------------------------------------------


def test_whatever_an_identity_has_can_be_said_of_a_cloud_and_reaches_the_credentials() -> None:
    said = {each.name: f"/{each.name}" for each in fields(Identity) if each.name != "version"}
    said |= {"auth_url": "https://x/v3", "storage_url": "https://x/v1", "interface": "internal"}
    table = "".join(f"{name} = {json.dumps(text)}\n" for name, text in said.items())
    cloud = read(f"[cloud.c]\nauth_version = 2\n{table}{MIGRATION}").clouds["c"]
    used = Credentials.of(cloud, lambda: "the secret")
    for found in (cloud, used):
        assert {each.name: getattr(found, each.name) for each in fields(Identity)} == said | {"version": 2}
    assert used.revealed().application_credential_secret == "the secret"
    assert not re.search("secret|key|pass", " ".join(each.name for each in fields(Identity)))


def test_the_shortest_one() -> None:
    found = read(CLOUD + MIGRATION)
    (migration,) = found.migrations.values()
    assert migration.source == Path("/media/backup/host")
    assert migration.target == Target("c", "lenny", "", ("swift://lenny",))
    assert (migration.source_url, migration.archive_dir, migration.file_prefix) == ("", None, None)
    assert not migration.ask_first
    assert (found.connections, found.rules.cap, found.rules.metered, found.rules.vpn) == (2, None, "never", "go")
    assert found.clouds["c"].auth_url == "https://swift.example.com/auth/v1.0"


def test_the_example_and_those_of_the_documentation_are_right() -> None:
    read(EXAMPLE)
    blocks = re.findall(r"```toml\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert len(blocks) >= 3
    for block in blocks:
        tables = tomllib.loads(block)
        read(("" if "cloud" in tables else CLOUD) + ("" if "migration" in tables else MIGRATION) + block) if (
            block.startswith("[")
        ) else read(block + CLOUD * ("cloud" not in tables) + MIGRATION * ("migration" not in tables))


def test_every_key_of_the_file_is_documented() -> None:
    from slowboat.edges.settings import shape

    text = DOCS.read_text()
    for name in ("Top", "Cloud", "Migration", "Network", "Window", "Schedule", "Power", "Hooks"):
        for key in getattr(shape, f"{name}Table").__struct_encode_fields__:
            assert f"`{key}`" in text, key


def test_everything_at_once() -> None:
    found = read("""
limit = "500k"
slow = "8 KiB/s"
connections = 4
send_when_metered = "slow"
send_on_vpn = false
require = "limited"

[cloud.mycloud]
auth_url = "https://keystone.example.com:5000/v3"
auth_version = "3"
user = "u"
project = "p"
user_domain = "d"
key_file = "~/key"
[cloud.other]
auth_url = "http://127.0.0.1:8080/auth/v1.0"
user = "test:tester"
auth_version = 1

[migration.home]
source = "~/drive"
source_url = "file:///media/backup/host"
cloud = "mycloud"
container = "lenny"
prefix = "/a/b/"
target_urls = ["swift://lenny/a/b", "rclone://r:lenny/a/b"]
archive_dir = "~/.cache/deja-dup"
duplicity = "~/.local/bin/duplicity"
file_prefix = "x-"
handover = "ask"
[migration.second]
source = "/s"
cloud = "other"
container = "lenny"

[network."Ca\\"fé"]
send = "never"
[network."Phone"]
send = "spare"
metered = true
day_budget = "1G"
month_budget = 20_000_000
[network_type.mobile]
send = "64k"
[network_type.default]
send = "1M"

[schedule]
otherwise = "never"
[[schedule.window]]
days = "mon-fri"
from = "22:00"
to = "06:30"
send = "go"
[[schedule.window]]
days = "sat,sun"
send = "100k"

[power]
battery = "slow"
battery_min = 20
power_saver = "go"
game = "slow"

[hooks]
done = ["curl", "-fsS", "https://hc-ping.com/x"]
handover = []
""")
    rules = found.rules
    assert (rules.cap, rules.slow_rate, rules.require, rules.metered, rules.vpn) == (
        500_000, 8192, "limited", "slow", "never",
    )  # fmt: skip
    assert rules.networks == {
        'Ca"fé': NetworkRule(send="never"),
        "Phone": NetworkRule("spare", "go", {Period.DAY: 1_000_000_000, Period.MONTH: 20_000_000}),
    }
    assert rules.types == {"mobile": NetworkRule(send=64_000)}
    assert rules.default == NetworkRule(send=1_000_000)
    assert rules.schedule.windows == (
        Window(frozenset(range(5)), 22 * 60, 6 * 60 + 30, "go"),
        Window(frozenset({5, 6}), 0, 1440, 100_000),
    )
    assert (rules.battery, rules.battery_min, rules.power_saver, rules.game) == ("slow", 20.0, "go", "slow")
    assert found.hooks == {"done": ("curl", "-fsS", "https://hc-ping.com/x")}
    home = found.migrations["home"]
    assert home.target == Target("mycloud", "lenny", "a/b/", ("swift://lenny/a/b", "rclone://r:lenny/a/b"))
    assert home.archive_dir == Path("~/.cache/deja-dup").expanduser()
    assert home.duplicity == Path("~/.local/bin/duplicity").expanduser()
    assert home.source == Path("~/drive").expanduser()
    assert (home.file_prefix, home.ask_first) == ("x-", True)
    assert (found.clouds["mycloud"].version, found.clouds["other"].version) == (3, 1)
    assert found.clouds["mycloud"].key_file == Path("~/key").expanduser()
    assert found.connections == 4


@pytest.mark.parametrize(
    ("limit", "cap"),
    [('"off"', None), ('"spare"', None), ('" Spare "', None), ('"1M"', 1_000_000), ("250000", 250_000)],
)
def test_a_limit_is_a_ceiling_and_leaves_the_mode(limit: str, cap: int | None) -> None:
    rules = read(f"limit = {limit}\n" + CLOUD + MIGRATION).rules
    assert (rules.cap, rules.default.send) == (cap, "spare")
    whole = read(f'limit = {limit}\n{CLOUD}{MIGRATION}\n[network_type.default]\nsend = "go"').rules
    assert (whole.cap, whole.default.send) == (cap, "go")


def test_spare_is_what_holds_where_nothing_is_written() -> None:
    rules = read(
        CLOUD + MIGRATION + '\n[network."Phone"]\nmonth_budget = "1G"\n[[schedule.window]]\nto = "06:00"'
    ).rules
    assert (rules.cap, rules.default) == (None, NetworkRule("spare"))
    assert rules.networks == {"Phone": NetworkRule("spare", budgets={Period.MONTH: 1_000_000_000})}
    assert [window.send for window in rules.schedule.windows] == ["go"], "which adds nothing"


@pytest.mark.parametrize(
    ("send", "meant"),
    [('"spare"', "spare"), ('"go"', "go"), ('"64k"', 64_000), ("64000", 64_000), ('"never"', "never")],
)
def test_the_ways_to_send(send: str, meant: str | int) -> None:
    tables = "".join(
        f"[{table}]\nsend = {send}\n" for table in ('network."Home"', "network_type.wifi", "[schedule.window]")
    )
    rules = read(f"{CLOUD}{MIGRATION}\n{tables}").rules
    assert (rules.networks["Home"].send, rules.types["wifi"].send) == (meant, meant)
    assert rules.schedule.windows[0].send == meant


@pytest.mark.parametrize(
    ("prefix", "url", "target"),
    [
        ("", "swift://lenny", "swift://lenny"),
        ("", "swift://lenny/", "swift://lenny/"),  # another cache than the line above, for duplicity
        ("", "cf+http://lenny", "cf+http://lenny"),
        ("a/b", "swift:///lenny//a/b/", "swift:///lenny//a/b/"),
        ("a", "rclone://remote:/lenny/a", "rclone://remote:/lenny/a"),
        ("a", "s3://anything", "s3://anything"),
        ("a", "", "swift://lenny/a"),
    ],
)
def test_target_urls_are_kept_as_typed(prefix: str, url: str, target: str) -> None:
    text = f'{CLOUD}{MIGRATION}prefix = "{prefix}"\n' + (f'target_url = "{url}"\n' if url else "")
    assert read(text).migrations["home"].target.urls == (target,)


@pytest.mark.parametrize(
    ("given", "meant"),
    [("1", 1), ('"1"', 1), ("2", 2), ('"2.0"', 2), ("3", 3), ('"3"', 3), ('"rackspace"', "rackspace")],
)
def test_the_versions(given: str, meant: object) -> None:
    assert read(f"{CLOUD}auth_version = {given}\n{MIGRATION}").clouds["c"].version == meant


def test_a_version_that_there_is_not() -> None:
    told = refusal(f"{CLOUD}auth_version = 4\n{MIGRATION}")
    assert "auth_version" in told.what
    assert '"rackspace"' in told.hint


@pytest.mark.parametrize(
    ("variables", "version", "interface"),
    [
        ({"ST_AUTH": "https://x", "ST_USER": "u", "ST_AUTH_VERSION": "2.0"}, 2, "public"),
        ({"ST_AUTH": "https://x", "ST_USER": "u", "ST_AUTH_VERSION": "1.0"}, 1, "public"),
        ({"OS_AUTH_URL": "https://x", "OS_AUTH_VERSION": "2"}, 2, "public"),
        ({"OS_AUTH_URL": "https://x", "OS_IDENTITY_API_VERSION": "3", "OS_INTERFACE": "internal"}, 3, "internal"),
        ({"OS_AUTH_URL": "https://x", "OS_ENDPOINT_TYPE": "internalURL"}, 3, "internal"),
        ({"OS_AUTH_URL": "https://x", "OS_INTERFACE": "public"}, 3, "public"),
    ],
)
def test_the_environments_version_and_interface(variables: dict[str, str], version: int, interface: str) -> None:
    cloud = read(MIGRATION, **variables).clouds[ENV_CLOUD]
    assert (cloud.version, cloud.interface) == (version, interface)


def test_the_environments_cloud() -> None:
    found = read(MIGRATION, ST_AUTH="https://x/auth/v1.0", ST_USER="a:u", ST_KEY="hunter2")
    assert found.migrations["home"].target.cloud == ENV_CLOUD
    assert (found.clouds[ENV_CLOUD].auth_url, found.clouds[ENV_CLOUD].version) == ("https://x/auth/v1.0", 1)
    assert "hunter2" not in repr(found)
    keystone = {"OS_AUTH_URL": "https://k/v3", "OS_USERNAME": "u", "OS_PROJECT_NAME": "p", "OS_PASSWORD": "hunter2"}
    cloud = read(MIGRATION, **keystone).clouds[ENV_CLOUD]
    assert (cloud.version, cloud.user, cloud.project) == (3, "u", "p")
    assert set(read(CLOUD + MIGRATION, **keystone).clouds) == {"c"}  # a named one wins
    assert "clear text" in refusal(MIGRATION, ST_AUTH="http://x.example/auth", ST_USER="u").what
    assert "no cloud" in refusal(MIGRATION).what


def test_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert config_path({"HOME": "/h"}) == Path("/h/.config/slowboat/config.toml")
    assert config_path({"HOME": "/h", "XDG_CONFIG_HOME": "/c"}) == Path("/c/slowboat/config.toml")
    assert config_path({"HOME": "/h", "XDG_CONFIG_HOME": "relative"}) == Path("/h/.config/slowboat/config.toml")
    assert state_dir({"HOME": "/h", "XDG_STATE_HOME": "/s"}) == Path("/s/slowboat")
    path = tmp_path / "slowboat" / "config.toml"
    path.parent.mkdir()
    path.write_text("\ufeff" + EXAMPLE)  # as some editors save
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert load().path == path


# -- what is refused --------------------------------------------------------------------------------------


def test_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(NeedsUser) as refused:
        load(tmp_path / "config.toml", {})
    assert refused.value.code == "no-config"
    assert str(tmp_path / "config.toml") in refused.value.what
    assert "[migration.home]" in refused.value.hint


def test_a_configuration_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(NeedsUser) as refused:
        load(tmp_path, {})
    assert refused.value.code == "config"


MEANT = [
    ("limit = 500k\n" + CLOUD + MIGRATION, 1, 'Write it as limit = "500k"'),
    ("connections = yes\n" + CLOUD + MIGRATION, 1, "Write it as connections = true"),
    (CLOUD.replace('"a:u"', "a:u") + MIGRATION, 3, 'Write it as user = "a:u"'),
    (CLOUD.replace('"a:u"', "\u201ca:u\u201d") + MIGRATION, 3, 'Write it as user = "a:u"'),
    (CLOUD.replace("user =", "user:") + MIGRATION, 3, 'Write it as user = "a:u"'),
    (CLOUD + MIGRATION.replace('"/media/backup/host"', '"/media/My\\ Disk"'), 5, "source = '/media/My\\ Disk'"),
    (CLOUD + MIGRATION + "[network.Anna's phone]\n", 7, """[network."Anna's phone"]"""),
    (CLOUD + "password = hunter2\n" + MIGRATION, 4, 'password = "..."'),
    (CLOUD + MIGRATION + 'limit = "500k"\n', 7, "limit belongs above the first [table]"),
    (CLOUD + MIGRATION + 'battery = "go"\n', 7, "battery belongs into [power]"),
    (CLOUD + 'password = "hunter2"\n' + MIGRATION, 4, "\n    slowboat password c\n"),
    (CLOUD + MIGRATION + 'passphrase = "hunter2"\n', 7, "Passwords do not belong into this file"),
    (CLOUD + MIGRATION + '[network.home]\nsend = "always"\n', 8, 'Use "spare", "go", "never", or a rate'),
    (CLOUD + MIGRATION.replace("[migration.home]", "[[migration.home]]"), 4, "single brackets: [migration.home]"),
    (CLOUD.replace("[cloud.c]", "[[cloud]]") + MIGRATION, 1, "[cloud.NAME]"),
    (CLOUD.replace("[cloud.c]", "[cloud]") + MIGRATION, 1, "with a name: [cloud.NAME]"),
    (CLOUD + MIGRATION.replace("/media/backup/host", "file:///media/My%20Disk"), 5, 'folder itself: "/media/My Disk"'),
    (CLOUD + MIGRATION.replace("lenny", "swift://lenny/host"), 6, 'container = "lenny" and prefix = "host"'),
]


@pytest.mark.parametrize(("text", "line", "cure"), MEANT, ids=[m[2].strip() for m in MEANT])
def test_a_slip_is_answered_with_what_was_meant(text: str, line: int, cure: str) -> None:
    error = refusal(text)
    assert error.what.startswith(f"{FILE}, line {line}: "), error.what
    assert cure in error.hint
    assert "hunter2" not in f"{error.what} {error.hint}"


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    tables = CLOUD.replace("https", "http") + MIGRATION + 'handover = "now"\n[power]\ngame = 3\n'
    error = refusal('limt = "500k"\n' + tables)
    assert error.what == f"{FILE} has 4 mistakes"
    assert [line.partition(":")[0] for line in error.hint.splitlines()] == ["line 1", "line 3", "line 8", "line 10"]
    assert "no cloud" not in error.hint, "what follows from another mistake is none"


def test_a_folder_in_the_files_place(tmp_path: Path) -> None:
    (tmp_path / "config.toml").mkdir()
    with pytest.raises(NeedsUser) as refused:
        load(tmp_path / "config.toml", {})
    assert "is a folder" in refused.value.what
    assert f"\n    rmdir {tmp_path / 'config.toml'}\n" in refused.value.hint


WRONG: list[tuple[str, int, str, str]] = [
    # text, line, what is said of it, the cure
    ('limt = "1M"\n' + CLOUD + MIGRATION, 1, "unknown key limt", "Did you mean limit?"),
    ("wibble = 1\n" + CLOUD + MIGRATION, 1, "unknown key wibble", "Known keys: limit"),
    (CLOUD + 'auth_urk = "x"\n' + MIGRATION, 4, "unknown key cloud.c.auth_urk", "Did you mean auth_url?"),
    (CLOUD + MIGRATION + 'sauce = "/x"', 7, "migration.home.sauce", "Did you mean source?"),
    (CLOUD + MIGRATION + "\n[powr]\nbattery = 1", 8, "unknown key powr", "Did you mean power?"),
    (CLOUD + "[migration.home]\ncontainer = 'c'", 4, "migration.home lacks source", "source ="),
    ('[cloud.c]\nuser = "u"\n' + MIGRATION, 1, "cloud.c lacks auth_url", "auth_url ="),
    ('[cloud.c]\nauth_url = "https://x/"\n' + MIGRATION, 1, "lacks a user", "user ="),
    ('connections = "2"\n' + CLOUD + MIGRATION, 1, "whole number, got a text", ""),
    ("connections = 0\n" + CLOUD + MIGRATION, 1, "0 connections", "1 to 16"),
    ("\n\nlimit = 1.5\n" + CLOUD + MIGRATION, 3, "limit: expected", ""),
    ('limit = "fast"\n' + CLOUD + MIGRATION, 1, "'fast' is not a rate", ""),
    ('limit = "500"\n' + CLOUD + MIGRATION, 1, "did you mean 500k", ""),
    ("limit = 0\n" + CLOUD + MIGRATION, 1, "less than 1000", ""),
    ('limit = "go"\n' + CLOUD + MIGRATION, 1, '"go" is not a limit', '[network_type.default] with send = "go"'),
    ('limit = "never"\n' + CLOUD + MIGRATION, 1, "never sends", "slowboat pause"),
    ('limit = "4Mb/s"\n' + CLOUD + MIGRATION, 1, "bits or bytes", ""),
    ("send_on_vpn = 'no'\n" + CLOUD + MIGRATION, 1, "there is no 'no'", 'true, false, "slow"'),
    ("require = 'some'\n" + CLOUD + MIGRATION, 1, "there is no 'some'", '"full", "limited"'),
    (CLOUD.replace("https", "http") + MIGRATION, 2, "clear text", "https"),
    (CLOUD.replace("https://", "https://u:hunter2@") + MIGRATION, 2, "holds a user or password", ""),
    (CLOUD.replace("https://", "") + MIGRATION, 2, "is not an address", "https://"),
    (CLOUD.replace("https://swift.example.com", "https://[::1") + MIGRATION, 2, "is not an address", ""),
    (CLOUD.replace(".c]", '."c/d"]') + MIGRATION, 1, "not a name for a cloud", "letters"),
    (CLOUD + 'project = " p"\n' + MIGRATION, 4, "project begins or ends with a blank", ""),
    (CLOUD + 'region = "r\\n"\n' + MIGRATION, 4, "region begins or ends with a blank", ""),
    (CLOUD + 'project_id = "a\\r\\nX-More: b"\n' + MIGRATION, 4, "project_id holds a line break", ""),
    (CLOUD + 'storage_url = "https://x/v1/\\u0007a"\n' + MIGRATION, 4, "storage_url holds a line break", ""),
    (CLOUD + 'key_file = "key"\n' + MIGRATION, 4, "not an absolute path", ""),
    (CLOUD + MIGRATION.replace("/media", "media"), 5, "not an absolute path", ""),
    (CLOUD + MIGRATION.replace("/media", "~nobody-of-that-name/media"), 5, "not an absolute path", ""),
    (CLOUD + MIGRATION.replace("lenny", "lenny/a/b"), 6, "has a / in it", 'prefix = "a/b"'),
    (CLOUD + MIGRATION.replace("lenny", ""), 6, "not a container name", ""),
    (CLOUD + MIGRATION.replace("lenny", "ä" * 124), 6, "248 bytes is too long", "247"),
    (CLOUD + MIGRATION + 'prefix = "a//b"', 7, "is not a prefix", ""),
    (CLOUD + MIGRATION + 'prefix = "a/../b"', 7, "is not a prefix", ""),
    (CLOUD + MIGRATION + 'cloud = "d"', 7, "there is no [cloud.d]", "Known are: c"),
    (CLOUD + CLOUD.replace(".c", ".d") + MIGRATION, 7, "does not say which cloud", "c, d"),
    (CLOUD + MIGRATION + MIGRATION.replace("home", "h2"), 7, "home and h2 go to the same", "prefix"),
    (CLOUD + MIGRATION + 'target_url = "lenny"', 7, "is not a URL", ""),
    (CLOUD + MIGRATION + 'target_url = "swift://other"', 7, "leads to other", ""),
    (CLOUD + MIGRATION + 'prefix = "p"\ntarget_url = "swift://lenny"', 8, "leads to lenny", ""),
    (CLOUD + MIGRATION + 'target_urls = ["swift://lenny", "rclone://r:x"]', 7, "leads to x", ""),
    (CLOUD + MIGRATION + 'target_url = "par2+swift://lenny"', 7, "not moved", "Write swift://lenny"),
    (CLOUD + MIGRATION + 'prefix = "p"\ntarget_url = "cf+http://lenny/p"', 8, "knows no prefix", "swift://"),
    (CLOUD + MIGRATION + 'prefix = "50%25"\ntarget_url = "swift://lenny/50%25"', 8, "leads to lenny/50%", ""),
    (CLOUD + MIGRATION + 'target_url = "swift://lenny"\ntarget_urls = ["swift://lenny"]', 8, "both set", ""),
    (CLOUD + MIGRATION + "target_urls = [3]", 7, "expected a text", ""),
    (CLOUD + MIGRATION + 'source_url = "/media"', 7, "is not a URL", "file:///"),
    (CLOUD + MIGRATION + 'handover = "soon"', 7, "there is no 'soon'", '"ask", "auto"'),
    (CLOUD + MIGRATION + "[schedule]\n[[schedule.window]]\n[[schedule.window]]\ndays='xyz'", 9, "no weekdays", ""),
    (CLOUD + MIGRATION + "[[schedule.window]]\nfrom = '25:00'", 7, "not a time of day", ""),
    (CLOUD + MIGRATION + "[[schedule.window]]\nfrom = 22", 8, "expected a text", ""),
    (CLOUD + MIGRATION + "[schedule]\notherwise = '1M'", 7, "without a window", ""),
    (
        CLOUD + MIGRATION + "[network.Home]\nsend = 'maybe'",
        8,
        "unknown value 'maybe'",
        '"spare", "go", "never", or a rate',
    ),
    (CLOUD + MIGRATION + "[network.Home]\nday_budget = '1G/s'", 8, "is not a size", ""),
    (CLOUD + MIGRATION + "[network_type.wlan]\nsend = 'go'", 7, "not a type of network", "wifi"),
    (CLOUD + MIGRATION + "[power]\nbattery_min = 101", 8, "not a percentage", ""),
    (CLOUD + MIGRATION + "[hooks]\ndone = ['']", 8, "names no program", "done = ["),
    (CLOUD + MIGRATION + "[hooks]\ndone = 'curl x'", 8, "hooks.done", ""),
    (CLOUD + MIGRATION + "[hooks]\nneeds-user = ['x']", 8, "unknown key", "needs_user"),
    (CLOUD + MIGRATION + "cloud = 3", 7, "migration.home.cloud: expected a text", ""),
    ("migration = 3\n" + CLOUD, 1, "expected a table", ""),
    (CLOUD, 0, "nothing is to be moved", "[migration.home]"),
    (CLOUD + MIGRATION + "x = = 3", 7, "not TOML", ""),
    (CLOUD + "user = 'again'\n" + MIGRATION, 4, "not TOML", ""),
    (CLOUD + MIGRATION + "handover = ask", 7, "not TOML", 'handover = "ask"'),
    (CLOUD + MIGRATION + 'handover = "ask', 7, "not TOML", ""),
]


@pytest.mark.parametrize(("text", "line", "what", "cure"), WRONG, ids=[w[2] for w in WRONG])
def test_each_mistake_is_named_with_its_line_and_cure(text: str, line: int, what: str, cure: str) -> None:
    error = refusal(text)
    where = f"{FILE}, line {line}: " if line else f"{FILE}: "
    assert error.what.startswith(where), error.what
    assert what in error.what
    assert cure in error.hint
    assert "hunter2" not in str(error)


URLS_WITH_A_PASSWORD = [
    "sftp://anna:hunter2@nas/backup",
    "swift://anna:hunter2@elsewhere/laptop",
    "par2+swift://anna:hunter2@lenny",
    "rclone://:swift,user=anna,key=hunter2:elsewhere",
    "rclone://cloud,key=hunter2:elsewhere/laptop",
    "http://anna:hunter2@swift.example.com/v1",
    "anna:hunter2@nas/backup",
]


@pytest.mark.parametrize("url", URLS_WITH_A_PASSWORD)
@pytest.mark.parametrize("table", [CloudTable, MigrationTable])
def test_a_url_with_a_password_shows_none_at_whatever_key_it_is_wrong(table: type, url: str) -> None:
    usual = CLOUD if table is CloudTable else MIGRATION
    other = MIGRATION if table is CloudTable else CLOUD
    refused = []
    for field in msgspec.structs.fields(table):
        kept = "".join(line for line in usual.splitlines(keepends=True) if not line.startswith(f"{field.encode_name} "))
        value = [url] if field.encode_name == "target_urls" else url
        try:
            read(f"{other}{kept}{field.encode_name} = {json.dumps(value)}\n")
        except NeedsUser as error:
            refused.append(f"{error} {error.what} {error.hint}")
    assert len(refused) > 3
    assert not [each for each in refused if "hunter2" in each]


def test_text_that_is_no_utf8() -> None:
    with pytest.raises(NeedsUser, match="line 2: this is not UTF-8"):
        parse(b"# ok\nlimit = '\xff'\n", FILE, {})


@settings(max_examples=300)
@given(st.one_of(st.binary(max_size=200), st.text(alphabet='[]{}=".,#\n abc123_-', max_size=80).map(str.encode)))
def test_whatever_stands_in_it_the_answer_is_settings_or_words(raw: bytes) -> None:
    said = f"{FILE}"
    with contextlib.suppress(NeedsUser):
        try:
            parse(CLOUD.encode() + MIGRATION.encode() + raw, FILE, {})
        except NeedsUser as error:
            said = error.what
            raise
    assert said.startswith(str(FILE))


VALUES = st.recursive(
    st.one_of(st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=6,
)


@settings(max_examples=200)
@given(st.sampled_from(["limit", "connections", "cloud", "migration", "network", "schedule", "power"]), VALUES)
def test_any_type_anywhere_is_answered_in_words(key: str, value: object) -> None:
    from slowboat.edges.settings.reading import _settings

    tables = tomllib.loads(CLOUD + MIGRATION)
    if isinstance(value, dict) and isinstance(tables.get(key), dict):
        tables[key] |= value
    else:
        tables[key] = value
    found = []
    read_ = _settings(tables, FILE, {}, found)
    assert (read_ is None) == bool(found)
    assert read_ is None or read_.migrations


# -- lines ------------------------------------------------------------------------------------------------


def test_lines() -> None:
    text = """\
# a = 1
"a b" = 2
a.b = 3 # x

[t."x.y"]   # comment
  key = 4
[[list]]
k = 1
[[list]]
k = 2
[list.sub]
k = 3
inline = { deep = 1 }
"""
    for where, line in {
        ("a b",): 2, ("a",): 3, ("a", "b"): 3, ("t",): 5, ("t", "x.y"): 5, ("t", "x.y", "key"): 6,
        ("list",): 7, ("list", "0", "k"): 8, ("list", "1"): 9, ("list", "1", "k"): 10,
        ("list", "sub", "k"): 12, ("list", "sub", "inline", "deep"): 13, ("t", "x.y", "none"): 5, ("none",): 0,
    }.items():  # fmt: skip
        assert line_of(text, where) == line, where


# -- amounts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("500k", 500_000),
        ("500K", 500_000),
        ("500 kB/s", 500_000),
        ("1M", 1_000_000),
        ("1.5M", 1_500_000),
        ("0.1M", 100_000),
        ("200KiB", 204_800),
        ("1 MiB/s", 1 << 20),
        ("4 Mbit/s", 500_000),
        ("4Mbit", 500_000),
        ("4 Mbps", 500_000),
        ("4MBps", 4_000_000),
        ("8 Mibit/s", 1 << 20),
        ("1G", 10**9),
        ("65536", 65536),
        (65536, 65536),
        ("65536 bytes/s", 65536),
    ],
)
def test_rates(text: str | int, rate: int) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    "text", ["", "k", "-1M", "1,5M", "1e6", "0", "999", "500", "1 M x", "4Mb/s", "4 kb", "1.M", "1k/m", "٣M", "nan"]
)
def test_what_is_no_rate(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(text))):
        parse_rate(text)


def test_a_truth_is_no_rate() -> None:
    with pytest.raises(ValueError, match="True"):
        parse_rate(True)


@given(st.integers(1, 10**6), st.sampled_from(["k", "M", "G", "Ki", "Mi", "Gi"]))
def test_sizes_scale(number: int, unit: str) -> None:
    scale = {"k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}[unit]
    assert parse_size(f"{number}{unit}") == parse_size(f" {number} {unit}B ") == number * scale


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("mon", {0}),
        ("Mon-Fri", {0, 1, 2, 3, 4}),
        ("fri-mon", {4, 5, 6, 0}),
        ("sat, sunday", {5, 6}),
        ("daily", set(range(7))),
        ("mon-mon", {0}),
    ],
)
def test_days(text: str, days: set[int]) -> None:
    assert parse_days(text) == days


@pytest.mark.parametrize("text", ["", "mo", "mon-", "funday", "1-5", "mon;tue"])
def test_what_is_no_day(text: str) -> None:
    with pytest.raises(ValueError, match="weekdays"):
        parse_days(text)


def test_minutes() -> None:
    assert [parse_minute(text) for text in ("00:00", "6:05", "24:00", " 23:59 ")] == [0, 365, 1440, 1439]
    for wrong in ("24:01", "12", "12:60", "12:5", "-1:00", ""):
        with pytest.raises(ValueError, match="time of day"):
            parse_minute(wrong)


def test_no_unreadable_file_is_taken_for_none(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(EXAMPLE)
    path.chmod(0)
    me = os.geteuid()
    if me == 0:
        os.seteuid(65534)
    try:
        with pytest.raises(NeedsUser) as refused:
            load(path, {})
        assert refused.value.code == "config"
    finally:
        os.seteuid(me)


def test_what_a_disk_does_not_give_may_come_after_a_restart():
    """The kernel gives EIO for the memory that no process has, at its very beginning."""
    with pytest.raises(NeedsUser) as refused:
        load(Path("/proc/self/mem"))
    assert refused.value.code == "config-unread"
    assert refused.value.code not in FINAL_CODES
    assert "Look after the disk" in refused.value.hint
