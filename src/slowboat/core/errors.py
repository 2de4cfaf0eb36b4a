"""Errors, by what the caller must do.

Knows the four answers to "what now?"; must not know who raised one or how. Every error names the thing it is
about and the cure, in words for the person whose backup it is, and never holds a secret.
"""

from __future__ import annotations

from typing import Literal

Scope = Literal["object", "server"]
"""What a transient trouble is about: one object, or everything that would go to that server."""


class SlowboatError(Exception):
    """Base of all errors that slowboat raises on purpose.

    Attributes:
        what: what happened, naming the thing; one sentence without a full stop.
        hint: what would cure it; one sentence, or "" where nothing needs to be done.
        code: a stable word for programs, such as "credentials" or "no-such-host".
    """

    def __init__(self, what: str, *, hint: str = "", code: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint
        self.code = code or type(self).__name__.lower()

    def __str__(self) -> str:
        return f"{self.what}. {self.hint}" if self.hint else self.what


class Transient(SlowboatError):
    """It may work later by itself: try again, not before `retry_after` seconds where the server said so."""

    def __init__(
        self,
        what: str,
        *,
        hint: str = "",
        code: str = "",
        retry_after: float | None = None,
        scope: Scope = "server",
    ) -> None:
        super().__init__(what, hint=hint, code=code)
        self.retry_after = retry_after
        self.scope = scope


class Refused(SlowboatError):
    """This one file must not or cannot go up; set it aside, tell, and go on with the rest."""


class NeedsUser(SlowboatError):
    """Nothing helps but a person: stop this migration, say `hint`, and look again only when told or changed."""


class SourceAbsent(SlowboatError):
    """The drive is not there (unplugged, unmounted, another one in its place): wait for it, it is no error."""


class Unrecorded(SlowboatError):
    """The ledger cannot be read or written now: do nothing more, for nobody would remember it, until it can be.

    It comes together with another answer, for whoever asked for that one thing: `LedgerBusy` or `LedgerUnusable`.
    """


class LedgerBusy(Transient, Unrecorded):
    """It passes by itself: a full disk, or another program that holds the file."""


class LedgerUnusable(NeedsUser, Unrecorded):
    """Somebody must see to the file or its disk, or it is set aside when it is opened again."""


class Stopped(SlowboatError):
    """slowboat itself broke this off (pause, sleep, a changed permit): nobody's fault, nothing to tell."""
