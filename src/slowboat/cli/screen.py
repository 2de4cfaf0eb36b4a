"""Where the words go: a terminal, a pipe, or a machine that knows only ASCII.

Knows rich and the standard streams; must not know what is said on them.
"""

from __future__ import annotations

import codecs
import errno
import os
import sys
from io import TextIOWrapper
from typing import TYPE_CHECKING

from slowboat.cli import phrases
from slowboat.core.errors import SlowboatError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console, RenderableType

_ASCII_FOR = str.maketrans(
    dict(zip("▁▂▃▄▅▆▇█░", ".,-~=+*#.", strict=True))
    | {"•": "*", "“": '"', "”": '"', "‘": "'", "’": "'", "–": "-", "—": "-", "…": "...", "→": ">", "·": "-"}
)
ASCII_HANDLER = "slowboat-ascii"
IN_A_PIPE = 4096
"""Columns where nothing is a terminal: a path that is searched for, or copied, must be in one piece."""


def prepare() -> None:
    """Makes the standard streams able to take any text. Where the locale is plain C, they get plain ASCII.

    Python turns C into UTF-8 by itself (PEP 538, PEP 540), which a terminal that was told C may not show.
    """
    ascii_only = wants_ascii(os.environ)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(encoding="ascii" if ascii_only else None, errors=ASCII_HANDLER)


def wants_ascii(environment: Mapping[str, str]) -> bool:
    """Whether the locale is C, POSIX or none; PEP 538's own LC_CTYPE beside such a LANG does not count."""
    if environment.get("LC_ALL"):
        return environment["LC_ALL"] in _PLAIN
    language = environment.get("LANG", "")
    if environment.get("LC_CTYPE", "") in {"", "C.UTF-8", "C.utf8", "UTF-8"}:
        return language in _PLAIN
    return environment["LC_CTYPE"] in _PLAIN


def console(*, stderr: bool = False) -> Console:
    """A console on standard output or error: colours only on a terminal that has them, and never with NO_COLOR."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


def show(what: RenderableType) -> None:
    """Prints something to standard output: wrapped on a terminal; elsewhere in whole lines without blanks at their end.

    COLUMNS wraps it anywhere.
    """
    out = console()
    if out.is_terminal:
        out.print(what)
        return
    if "COLUMNS" not in os.environ:
        out.width = IN_A_PIPE
    with out.capture() as shown:
        out.print(what)
    write("\n".join(line.rstrip() for line in shown.get().splitlines()))


def say(text: str) -> None:
    """Prints a sentence to standard output, wrapped at words on a terminal; a command at its end has its own line."""
    from rich.text import Text

    out = console()
    first, *commands = phrases.apart(text)
    out.print(Text(first), soft_wrap=not out.is_terminal)
    for command in commands:
        out.print(Text(f"    {command}"), soft_wrap=True)


def write(text: str) -> None:
    """Writes text for programs to standard output: as it is, never wrapped."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def complain(error: SlowboatError) -> None:
    """Says what went wrong and what to do, on standard error; a command stands alone on its line, in one piece."""
    out = console(stderr=True)
    what = error.what.split("\n")
    _in_lines(out, ("slowboat: ", "bold red"), (phrases.sentence(error.what),) if len(what) == 1 else what, "")
    if error.hint:
        _in_lines(out, (phrases.TO_DO, "bold"), phrases.cure(error.hint), "    ")


def _in_lines(out: Console, title: tuple[str, str], lines: Sequence[str], margin: str) -> None:
    """The first line after its title; the others, which are to be copied, are never wrapped."""
    from rich.text import Text

    first, *more = [phrases.plain(line) for line in lines]
    out.print(Text.assemble(title, first), soft_wrap=not out.is_terminal)
    for line in more:
        out.print(Text(f"{margin}{line}"), soft_wrap=True)


_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def cannot_write(error: OSError) -> bool:
    """Whether it is standard output that takes no more; then it is said, and the rest goes nowhere.

    Without the latter Python tries once more at its end, and prints a traceback for it.
    """
    if error.errno not in _FULL or sys.stdout is None:
        return False
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    complain(
        SlowboatError(
            f"this cannot be written: {os.strerror(error.errno)}",
            hint="Free some space where the output goes, and try again",
        )
    )
    return True


_PLAIN = frozenset({"", "C", "POSIX"})


def _nearest_ascii(error: UnicodeError) -> tuple[str, int]:
    """What a stream prints for characters it has not: the nearest look, or the escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end].translate(_ASCII_FOR)
    return lost.encode("ascii", "backslashreplace").decode("ascii"), error.end


codecs.register_error(ASCII_HANDLER, _nearest_ascii)
