"""Commands that are loaded when they are called: whoever asks how things stand does not wait for the assistant.

Knows click; must not know what any of them does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class Elsewhere(click.Command):
    """A command of the room `slowboat.cli.<room>`, by its name and its summary until somebody needs more of it."""

    def __init__(self, name: str, room: str, summary: str) -> None:
        super().__init__(name, short_help=summary)
        self.room = room

    def real(self) -> click.Command:
        """The command itself."""
        found: click.Command = getattr(import_module(f"slowboat.cli.{self.room}"), str(self.name))
        return found

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,  # noqa: ANN401  # click's own signature
    ) -> click.Context:
        """That of the command itself: all that is done with it from here on is done with that."""
        return self.real().make_context(info_name, args, parent, **extra)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """What the command itself offers."""
        return self.real().shell_complete(ctx, incomplete)
