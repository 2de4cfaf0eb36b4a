"""`install`, `uninstall`, `completion`: what ties slowboat to the user's systemd, bus and shell.

Knows what to ask before something is written; must not know which files there are (`edges.units`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from typing import TYPE_CHECKING

import click

from slowboat.cli import doctor, phrases, screen
from slowboat.core.errors import NeedsUser

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from slowboat.edges.settings import Settings


@click.command()
@click.option("--print", "only_print", is_flag=True, help="Only show the files that it would write.")
@click.option("--no-sandbox", is_flag=True, help="Without the sandbox, in case it gets in the daemon's way.")
def install(*, only_print: bool, no_sandbox: bool) -> None:
    """Install and start slowboat as a systemd user service.

    The configuration is checked first. Run this again after slowboat has been moved or updated.
    """
    from slowboat.edges import units

    writable: tuple[Path, ...] = ()
    if only_print:
        with contextlib.suppress(NeedsUser):  # to look at the files nothing needs to be right yet
            writable = _caches(_settings())
        files = units.wanted(sandbox=not no_sandbox, writable=writable)
        screen.write("\n".join(f"# {units.data_home() / path}\n{text}" for path, text in files.items()))
        return
    run(sandbox=not no_sandbox)


def run(*, sandbox: bool) -> None:
    """Installs and starts the service, and says so.

    Raises:
        NeedsUser: the configuration is missing or wrong, there is no systemd here, or the service does not start.
    """
    from slowboat.edges import units

    outcome = asyncio.run(units.install(sandbox=sandbox, writable=_caches(_settings())))
    _show_files("wrote", outcome.files)
    screen.say("slowboat is installed and running; it starts at each login. To see what it is doing: slowboat status")
    if (still := doctor.missing()) is not None:
        screen.say("It cannot do its work yet:")
        screen.show(still)


@click.command()
def uninstall() -> None:
    """Stop slowboat and remove what install wrote.

    Your configuration and slowboat's ledger are kept, and so is everything in the cloud.
    """
    from slowboat.edges import settings, units

    outcome = asyncio.run(units.uninstall())
    _show_files("removed", outcome.files)
    kept = f"{settings.config_path()} and {settings.state_dir()}"
    screen.say(f"slowboat no longer runs. Your configuration and its ledger have been kept: {kept}")


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completions for a shell.

    \b
    bash  slowboat completion bash > ~/.local/share/bash-completion/completions/slowboat
    zsh   slowboat completion zsh > a folder of your $fpath, as _slowboat
    fish  slowboat completion fish > ~/.config/fish/completions/slowboat.fish
    """  # noqa: D301  # click's mark for lines that stay as they are
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None  # click has these three
    script = made(context.find_root().command, {}, "slowboat", "_SLOWBOAT_COMPLETE").source()
    sys.stdout.write(script.replace('string split ","', 'string split --max 1 ","'))  # fish: help may hold commas


def _settings() -> Settings:
    """The configuration as the service will find it: systemd does not hand on this shell's ST_* and OS_*.

    Raises:
        NeedsUser: there is none, or it is wrong; then nothing is installed, for it could not start.
    """
    from slowboat.edges import settings

    return settings.load(None, {key: text for key, text in os.environ.items() if not key.startswith(("ST_", "OS_"))})


def _caches(read: Settings) -> tuple[Path, ...]:
    """Caches at places of the user's own: the handover writes there, and the sandbox must let it."""
    folders = (migration.archive_dir for migration in read.migrations.values())
    return tuple(folder for folder in folders if folder is not None)


def _show_files(what: str, files: Sequence[Path]) -> None:
    for path in files:
        screen.say(f"{what} {phrases.plain(str(path))}")
