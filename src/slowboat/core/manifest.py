"""duplicity's manifest: which volumes a backup set has, what paths each holds, and each one's SHA-1.

Knows the grammar (docs/duplicity.md, "Manifests"). Must not know where a manifest comes from, nor which
volumes are really there. Reads line by line and keeps nothing but the volumes: the list of changed files that
newer versions append can be hundreds of megabytes.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from slowboat.core.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable

Index = tuple[bytes, ...]
"""A path as duplicity sorts it: its parts, relative to the backup's root, which itself is ()."""


@dataclass(frozen=True, slots=True)
class VolumeInfo:
    """What the manifest says of one volume.

    Attributes:
        number: from 1.
        start: the first path in the volume.
        end: the last path in the volume.
        sha1: of the volume's file as it is stored, lower-case hex; "" where the manifest has none.
    """

    number: int
    start: Index
    end: Index
    sha1: str = ""

    def contains(self, path: Index) -> bool:
        """Whether the volume may hold `path` or anything below it; duplicity's own test when it restores."""
        return self.start[: len(path)] <= path <= self.end


@dataclass(frozen=True, slots=True)
class Manifest:
    """A backup set's manifest.

    Attributes:
        hostname: of the machine that made the backup; "" where the manifest does not say.
        localdir: the directory that was backed up, as it was typed; b"" where the manifest does not say.
        volumes: by number, each number once.
    """

    hostname: str
    localdir: bytes
    volumes: tuple[VolumeInfo, ...]

    def volumes_with(self, path: Index) -> tuple[int, ...]:
        """The numbers of the volumes that may hold `path` or anything below it."""
        return tuple(volume.number for volume in self.volumes if volume.contains(path))


_SPECIAL: Final = re.compile(rb"[\s\\\"']")
_ESCAPED: Final = re.compile(rb"\\x([0-9a-fA-F]{2})")
_BARE_BACKSLASH: Final = re.compile(rb"\\(?!x[0-9a-fA-F]{2})")


def quote(raw: bytes) -> bytes:
    r"""Writes a path as manifests do: as it is, or quoted, with `\xNN` for what is special."""
    if not _SPECIAL.search(raw):
        return raw
    return b'"' + _SPECIAL.sub(lambda match: b"\\x%02x" % match[0][0], raw) + b'"'


def unquote(written: bytes) -> bytes:
    """The path that `quote` wrote.

    Raises:
        ValueError: the quotes do not match, or an escape is none.
    """
    if not written.startswith(b'"'):
        return written
    inner = written[1:-1]
    if len(written) < 2 or not written.endswith(b'"') or _BARE_BACKSLASH.search(inner):
        raise ValueError(f"a path is not quoted correctly: {_show(written)}")
    return _ESCAPED.sub(lambda match: bytes([int(match[1], 16)]), inner)


def _show(raw: bytes, most: int = 60) -> str:
    """Something of a damaged file for a message: short, printable, never trusted."""
    return ascii(raw[:most].decode("utf-8", "replace")) + ("..." if len(raw) > most else "")


_VOLUME: Final = re.compile(rb"volume\s+([0-9]{1,9}):", re.IGNORECASE)
_SHA1: Final = re.compile(rb"[0-9a-fA-F]{40}")


class ManifestParser:
    """Takes a manifest in line by line."""

    def __init__(self) -> None:
        self._number = 0
        self._hostname: bytes | None = None
        self._localdir: bytes | None = None
        self._volumes: dict[int, VolumeInfo] = {}
        self._draft: _Draft | None = None
        self._in_filelist = False
        self._last = 0

    def feed(self, line: bytes) -> None:
        """Takes one line, with or without its newline.

        Raises:
            ValueError: it is no line of a manifest; the message says which line and why.
        """
        self._number += 1
        line = line.rstrip(b"\r\n")
        try:
            self._take(line)
        except ValueError as error:
            raise ValueError(f"line {self._number}: {error}") from None

    def _take(self, line: bytes) -> None:
        if line[:1].isspace() or not line:
            self._take_field(line)
            return
        word, _, rest = line.partition(b" ")
        match word.lower():
            case b"volume":
                self._close()
                self._begin(line)
            case b"hostname":
                self._hostname = unquote(rest) if self._hostname is None else self._hostname
            case b"localdir":
                self._localdir = unquote(rest) if self._localdir is None else self._localdir
            case b"filelist":
                self._in_filelist = True
            case _:
                self._take_field(line)  # indentation is a custom: duplicity does not ask for it

    def _begin(self, line: bytes) -> None:
        match = _VOLUME.match(line)
        if match is None:
            raise ValueError(f"a volume without a number: {_show(line)}")
        self._in_filelist = False
        self._draft = _Draft(int(match[1]))

    def _take_field(self, line: bytes) -> None:
        if not self._in_filelist and self._draft is not None and (words := line.split()):
            self._draft.take(words)

    def _close(self) -> None:
        if self._draft is not None:
            volume = self._draft.finished()
            self._volumes[volume.number] = volume  # of a repeated volume the last entry is true
            self._last = volume.number
            self._draft = None

    def finish(self) -> Manifest:
        """The manifest, once all lines were fed.

        Raises:
            ValueError: the last volume is cut short, or there is none.
        """
        self._close()
        # A backup that was restarted lists "1, 2, 3, 2": it went on after 2, and its old 3 is no more.
        kept = (volume for number, volume in sorted(self._volumes.items()) if number <= self._last)
        volumes = tuple(kept)
        if not volumes:
            raise ValueError("it lists no volumes")
        hostname = (self._hostname or b"").decode("utf-8", "surrogateescape")
        return Manifest(hostname, self._localdir or b"", volumes)


class _Draft:
    """A volume whose lines are still being read."""

    def __init__(self, number: int) -> None:
        if number < 1:
            raise ValueError("volumes are numbered from 1")
        self._number = number
        self._start: Index | None = None
        self._end: Index | None = None
        self._sha1 = ""

    def take(self, words: list[bytes]) -> None:
        match [words[0].lower(), *words[1:]]:
            case [b"startingpath", path, *_]:
                self._start = _index(path)
            case [b"endingpath", path, *_]:
                self._end = _index(path)
            case [b"hash", kind, value, *_]:
                self._take_hash(kind, value)
            case [b"startingpath" | b"endingpath" | b"hash", *_]:
                raise ValueError(f"volume {self._number} has an empty {_show(words[0])}")
            case _:
                pass  # duplicity passes over what it does not know

    def _take_hash(self, kind: bytes, value: bytes) -> None:
        if kind.upper() != b"SHA1":
            return
        if not _SHA1.fullmatch(value):
            raise ValueError(f"volume {self._number} has an invalid SHA-1: {_show(value)}")
        self._sha1 = value.decode("ascii").lower()

    def finished(self) -> VolumeInfo:
        if self._start is None or self._end is None:
            lacking = "StartingPath" if self._start is None else "EndingPath"
            raise ValueError(f"volume {self._number} has no {lacking}")
        return VolumeInfo(self._number, self._start, self._end, self._sha1)


def _index(written: bytes) -> Index:
    path = unquote(written)
    return () if path == b"." else tuple(path.split(b"/"))


LONGEST_LINE: Final = 1 << 20
"""Bytes. A path has 4096 at most (PATH_MAX), each four bytes when quoted; the rest of a line is short."""

MOST_KEPT: Final = 128 << 20
"""Bytes of one manifest without its list of files: half a million volumes, which is 12 TB of the smallest usual."""

_KEPT_WORDS: Final = frozenset({b"volume", b"hostname", b"localdir"})
_DAMAGED: Final = b"Volume in a manifest that is too long\n"
"""What `parse` stumbles over, in place of what no manifest has."""


class Abridged:
    """A manifest without its list of changed files, block by block: the list can be hundreds of megabytes.

    What `parse` makes of the rest is the same.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._kept: list[bytes] = []
        self._size = 0
        self._in_filelist = False

    def feed(self, block: bytes) -> None:
        """Takes the next bytes."""
        *lines, self._rest = (self._rest + block).split(b"\n")
        for line in lines:
            self._take(line + b"\n")
        if len(self._rest) > LONGEST_LINE:
            self._rest = b""
            self._keep(_DAMAGED)

    def finish(self) -> bytes:
        """What was kept, once all was fed."""
        if self._rest:
            self._take(self._rest)
            self._rest = b""
        return b"".join(self._kept)

    def _take(self, line: bytes) -> None:
        first = line.split(None, 1)[0].lower() if not line[:1].isspace() else b""
        if first == b"filelist":
            self._in_filelist = True
        elif first == b"volume":
            self._in_filelist = False
        if first in _KEPT_WORDS or not self._in_filelist:
            self._keep(line)

    def _keep(self, line: bytes) -> None:
        if self._size <= MOST_KEPT:
            self._size += len(line)
            self._kept.append(line if self._size <= MOST_KEPT else _DAMAGED)


def parse(lines: Iterable[bytes], name: str = "a manifest") -> Manifest:
    """Reads a manifest line by line; memory grows with its volumes alone.

    Args:
        lines: each with or without its newline; a file opened for reading bytes will do.
        name: the file's name, for the message.

    Raises:
        Refused: it is damaged or no manifest (code "manifest").
    """
    reader = ManifestParser()
    try:
        for line in lines:
            reader.feed(line)
        return reader.finish()
    except ValueError as error:
        raise Refused(
            f"{repr(name)[1:-1]} is damaged or not a duplicity manifest: {error}",
            hint="If this is the copy in duplicity's cache, move it away: duplicity fetches a new one from the "
            "drive the next time it lists the files there (duplicity list-current-files)",
            code="manifest",
        ) from None


def parse_bytes(content: bytes, name: str = "a manifest") -> Manifest:
    """Reads a manifest that is in memory; as `parse`."""
    return parse(io.BytesIO(content), name)
