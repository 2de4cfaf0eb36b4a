"""What README shows is what slowboat prints and understands. `python tests/cli/test_cli_readme.py` writes it anew."""

from __future__ import annotations

import dataclasses
import io
import os
import re
import time
from pathlib import Path

import pytest
from rich.console import Console

from slowboat.cli import listing, status
from slowboat.cli.app import cli
from slowboat.core.words import Activity, HandoverState, ManagerReport, MigrationReport, Reason
from slowboat.edges import settings

README = Path(__file__).parents[2] / "README.md"
NOW = 1795000000.0
LAPTOP = MigrationReport(
    name="laptop",
    source="/media/anna/Backup/laptop",
    target_url="swift://backups/laptop",
    activity=Activity.SENDING,
    handover=HandoverState.DONE,
    volumes_total=4120,
    volumes_done=964,
    metadata_total=6,
    metadata_done=6,
    bytes_total=104_140_000_000,
    bytes_done=25_240_000_000,
    rate=497_000,
    expected_end=NOW + 158_700,
    current_object="duplicity-full.20261101T120000Z.vol965.difftar.gpg",
)
SENDING = ManagerReport(
    "0.1.0",
    activity=Activity.SENDING,
    rate=497_000,
    limit=500_000,
    mode="spare",
    network="Home",
    reasons=(Reason("cap", "Your settings cap it at 500 kB/s", "Raise the cap in the settings"),),
    migrations={"laptop": LAPTOP},
)
HELD = (
    Reason(
        "network",
        'Your settings forbid sending over "Anna\'s phone"',
        "Use another network, or allow this one in the settings",
    ),
    Reason("battery", "The computer is running on battery", "Plug it in"),
    Reason("schedule", "Your schedule does not allow sending at this time", until=NOW + 35_600),
)
WAITING = dataclasses.replace(
    SENDING,
    activity=Activity.WAITING,
    rate=0,
    limit=0,
    reasons=HELD,
    migrations={
        "laptop": dataclasses.replace(
            LAPTOP, activity=Activity.WAITING, reasons=HELD, rate=0, expected_end=0.0, current_object=""
        )
    },
)
FULL, MONDAY, TUESDAY = "full 1793534400", "inc 1794225600", "inc 1794830400"


def rows(role, of, count, size, done=0):
    return [
        {
            "name": f"{role}{number}", "role": role, "set": of, "bytes": size, "canary": False,
            "phase": "done" if number < done else "queued",
        }
        for number in range(count)
    ]  # fmt: skip


PLAN = [
    *rows("signatures", FULL, 1, 1_050_000_000, 1),
    *rows("signatures", MONDAY, 1, 41_000_000, 1),
    *rows("signatures", TUESDAY, 1, 38_000_000, 1),
    *rows("manifest", FULL, 1, 840_000, 1),
    *rows("manifest", MONDAY, 1, 64_000, 1),
    *rows("manifest", TUESDAY, 1, 52_000, 1),
    *rows("volume", FULL, 3977, 25_000_000, 964),
    *rows("volume", MONDAY, 81, 25_000_000),
    *rows("volume", TUESDAY, 62, 25_000_000),
]


def printed(renderable):
    out = io.StringIO()
    Console(file=out, width=88, highlight=False, no_color=True).print(renderable)
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def samples():
    return {
        "status, sending": printed(status.view(SENDING, NOW)),
        "status, waiting": printed(status.view(WAITING, NOW)),
        "plan": printed(listing.plan("laptop", PLAN, listing.estimate(497_000, 500_000), HandoverState.DONE)),
    }


def block(name):
    return re.compile(rf"(<!-- {re.escape(name)} -->\n```\w+\n)(.*?)(```\n)", re.DOTALL)


@pytest.mark.parametrize("name", ["status, sending", "status, waiting", "plan"])
def test_samples_are_what_is_printed(name):
    found = block(name).search(README.read_text())
    assert found
    assert found[2] == samples()[name]


def test_the_configuration_is_one():
    found = block("configuration").search(README.read_text())
    assert found
    read = settings.parse(found[2].encode(), Path("config.toml"), {})
    assert read.migrations["laptop"].target.urls == ("swift://backups/laptop",)
    assert read.rules.cap == 500_000


def test_every_command_is_told_of():
    text = README.read_text()
    # `daemon` is systemd's to call, and nobody else's.
    missing = [name for name in cli.commands if not re.search(rf"`(slowboat )?{name}\b", text)]
    assert missing == ["daemon"]


def rewrite():
    os.environ["TZ"] = "Europe/Berlin"
    time.tzset()
    text = README.read_text()
    for name, sample in samples().items():
        text = block(name).sub(lambda found, sample=sample: found[1] + sample + found[3], text)
    README.write_text(text)


if __name__ == "__main__":
    rewrite()
