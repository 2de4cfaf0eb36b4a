"""What the journal is sent, received by a socket as journald's; and where the log goes to otherwise."""

from __future__ import annotations

import logging
import os
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from slowboat.core.happenings import KINDS
from slowboat.edges.journal import LONGEST, JournalHandler, handler

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def journald(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as end:
        end.bind(str(tmp_path / "socket"))
        yield end


@pytest.fixture
def log(journald: socket.socket) -> Iterator[logging.Logger]:
    here = os.fstat(2)
    made = handler({"JOURNAL_STREAM": f"{here.st_dev}:{here.st_ino}"}, journald.getsockname())
    with logging_to(made) as logger:
        yield logger


@contextmanager
def logging_to(made: logging.Handler) -> Iterator[logging.Logger]:
    logger = logging.getLogger("slowboat.test-journal")
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    logger.addHandler(made)
    yield logger
    logger.removeHandler(made)
    made.close()


def received(end: socket.socket) -> dict[str, str]:
    """The next entry, read as https://systemd.io/JOURNAL_NATIVE_PROTOCOL/ describes it."""
    raw, fields = end.recv(1_000_000), {}
    while raw:
        line, _, raw = raw.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            length = int.from_bytes(raw[:8], "little")
            value, raw = raw[8 : 8 + length], raw[8 + length :]
            assert raw[:1] == b"\n"
            raw = raw[1:]
        fields[name.decode()] = value.decode(errors="replace")
    return fields


def test_an_entry_says_what_it_is_about_how_serious_it_is_and_of_which_migration(journald, log) -> None:
    log.warning("%s is gone", "vol1", extra={"kind": "vanished", "migration": "home"})
    told = received(journald)
    assert told["MESSAGE"] == "home: vol1 is gone"
    assert told["PRIORITY"] == "4"
    assert told["SLOWBOAT_MIGRATION"] == "home"
    assert told["SLOWBOAT_KIND"] == "vanished"
    assert told["MESSAGE_ID"] == KINDS["vanished"].message_id
    assert told["SYSLOG_IDENTIFIER"] == "slowboat"
    assert told["CODE_FILE"] == __file__


@pytest.mark.parametrize(
    ("level", "priority"), [("critical", 2), ("error", 3), ("warning", 4), ("info", 6), ("debug", 7)]
)
def test_pythons_levels_are_syslogs(journald, log, level, priority) -> None:
    getattr(log, level)("it is so")
    told = received(journald)
    assert told["PRIORITY"] == str(priority)
    assert not {"MESSAGE_ID", "SLOWBOAT_MIGRATION"} & told.keys()


@pytest.mark.parametrize("text", ["home: it is done", "home needs you"])
def test_no_migration_is_named_twice(journald, log, text) -> None:
    log.info(text, extra={"migration": "home"})
    assert received(journald)["MESSAGE"] == text


def test_lines_and_foreign_names_make_no_other_entry(journald, log) -> None:
    log.info("a\nPRIORITY=0\n\udc80", extra={"migration": "x\nMESSAGE_ID=1"})
    told = received(journald)
    assert told["PRIORITY"] == "6"
    assert told["SLOWBOAT_MIGRATION"] == "x\nMESSAGE_ID=1"
    assert told["MESSAGE"] == "x\nMESSAGE_ID=1: a\nPRIORITY=0\n?"


def test_a_mistake_comes_with_its_whole_trace_and_what_is_too_long_is_cut(journald, log) -> None:
    try:
        raise ValueError("x" * 100)
    except ValueError:
        log.exception("that failed")
    assert "Traceback (most recent call last):\n" in received(journald)["MESSAGE"]
    log.info("ü" * 1_000_000)
    assert 0 < len(received(journald)["MESSAGE"].encode()) <= LONGEST + 3


def test_without_the_journal_its_stream_gets_lines_with_their_priority(tmp_path, capsys) -> None:
    with logging_to(JournalHandler(str(tmp_path / "nobody"))) as log:
        log.error("two\nlines")
    assert capsys.readouterr().err == "<3>two\n<3>lines\n"


@pytest.mark.parametrize("stream", ["", "1:2", "nonsense", "{dev}:1"])
def test_where_standard_error_is_not_the_journals_people_read_lines(journald, capsys, stream) -> None:
    elsewhere = {"JOURNAL_STREAM": stream.format(dev=os.fstat(2).st_dev)}
    with logging_to(handler(elsewhere, journald.getsockname())) as log:
        log.info("it began", extra={"migration": "home"})
        log.error("the configuration is wrong")
    assert capsys.readouterr().err == "home: it began\nslowboat: the configuration is wrong\n"
    with pytest.raises(BlockingIOError):
        journald.recv(1)
