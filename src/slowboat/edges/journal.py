"""What is logged, to systemd's journal with all that is known of it; elsewhere to standard error in plain lines.

Knows the journal's native protocol (https://systemd.io/JOURNAL_NATIVE_PROTOCOL/) and how a service learns that its
standard error goes there; must not know who logs what. A record may name its kind (`extra={"kind": ...}`,
core/happenings) and its migration.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from typing import TYPE_CHECKING, Final

from slowboat.core.happenings import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SOCKET: Final = "/run/systemd/journal/socket"
IDENTIFIER: Final = "slowboat"

LONGEST: Final = 48_000
"""Bytes of one message: a datagram takes net.core.wmem_default, 212,992, on every Linux; the rest is cut off."""

_PRIORITIES: Final = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
"""Python's levels as syslog's, https://www.rfc-editor.org/rfc/rfc5424#section-6.2.1; what is below is debugging, 7."""


class JournalHandler(logging.Handler):
    """Sends each record to the journal as one entry. What the journal does not take goes to standard error."""

    def __init__(self, path: str = SOCKET) -> None:
        """Opens nothing that can fail; `path` is the journal's socket."""
        super().__init__()
        self._path = path
        self._end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    def emit(self, record: logging.LogRecord) -> None:
        """One entry; never raises."""
        try:
            self._end.sendto(entry(record, self.format(record)), self._path)
        except OSError:  # the journal is away or too busy: its stream takes lines, and their priority before them
            lines = self.format(record).splitlines()
            sys.stderr.writelines(f"<{priority(record.levelno)}>{line}\n" for line in lines)
        except Exception:  # noqa: BLE001  # as logging's own handlers: a record that cannot be formatted ends nothing
            self.handleError(record)

    def close(self) -> None:
        """Lets go of the socket."""
        self._end.close()
        super().close()


class _Lines(logging.Formatter):
    """A message in the words of a log that has no fields: the migration is named, once."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        migration = _text(record, "migration")
        named = not migration or text.startswith((f"{migration}:", f"{migration} "))
        return text if named else f"{migration}: {text}"


class _Terminal(_Lines):
    """The same for a person who started it at a terminal, where no program is named before each line."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return f"{IDENTIFIER}: {text}" if record.levelno >= logging.ERROR else text


def handler(environment: Mapping[str, str] | None = None, path: str = SOCKET) -> logging.Handler:
    """Where the log goes to.

    Args:
        environment: the process's own, unless given.
        path: the journal's socket.
    """
    made: logging.Handler
    if _is_ours(os.environ if environment is None else environment) and os.path.exists(path):  # noqa: PTH110  # without pathlib
        made = JournalHandler(path)
        made.setFormatter(_Lines())
    else:
        made = logging.StreamHandler(sys.stderr)
        made.setFormatter(_Terminal())
    return made


def priority(level: int) -> int:
    """Syslog's number for one of Python's levels."""
    return next((number for least, number in _PRIORITIES if level >= least), 7)


def entry(record: logging.LogRecord, message: str) -> bytes:
    """One entry in the journal's native protocol."""
    return b"".join(_field(name, value) for name, value in _fields(record, message))


def _fields(record: logging.LogRecord, message: str) -> Iterator[tuple[str, str]]:
    yield "MESSAGE", message
    yield "PRIORITY", str(priority(record.levelno))
    yield "SYSLOG_IDENTIFIER", IDENTIFIER
    if (kind := _text(record, "kind")) in KINDS:
        yield "MESSAGE_ID", KINDS[kind].message_id
        yield "SLOWBOAT_KIND", kind
    if migration := _text(record, "migration"):
        yield "SLOWBOAT_MIGRATION", migration
    yield "CODE_FILE", record.pathname
    yield "CODE_LINE", str(record.lineno)
    yield "CODE_FUNC", record.funcName or ""


def _field(name: str, value: str) -> bytes:
    """A field; its length comes before a value that has more than one line."""
    raw = value.encode(errors="replace")[:LONGEST]
    if b"\n" not in raw:
        return b"%s=%s\n" % (name.encode(), raw)
    return b"%s\n%s%s\n" % (name.encode(), len(raw).to_bytes(8, "little"), raw)


def _text(record: logging.LogRecord, name: str) -> str:
    return str(getattr(record, name, ""))


def _is_ours(environment: Mapping[str, str]) -> bool:
    """Whether standard error is the journal's very stream, and not a file or terminal of whoever started us there.

    https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html#%24JOURNAL_STREAM
    """
    device, _, inode = environment.get("JOURNAL_STREAM", "").partition(":")
    try:
        here = os.fstat(2)
    except OSError:
        return False
    return (device, inode) == (str(here.st_dev), str(here.st_ino))
