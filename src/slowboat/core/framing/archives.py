"""What is not encrypted: gzip, tar, a manifest as text. Must not know which file ought to be which."""

from __future__ import annotations

import zlib
from typing import Final

from slowboat.core import manifest
from slowboat.core.framing.checker import EARLY

_INFLATED: Final = 1 << 16
"""Bytes that one step of decompression may yield: an archive that inflates without end stays harmless."""

_LEAST: Final = 64
_MOST: Final = 1 << 16
"""Bytes that zlib is given at once. It copies what it leaves over at the end of a member or of a step, so a block of a
thousand members would be copied a thousand times: little is given after a member's end, and then twice as much each
time."""


class Gzip:
    """One or more gzip members to the last byte, checksums included; zeros after them are padding.

    https://www.rfc-editor.org/rfc/rfc1952
    """

    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        self._inside = True

    def feed(self, block: bytes) -> None:
        """As `Checker.feed`."""
        place, step = 0, _MOST if self._inside else _LEAST
        try:
            while place < len(block):
                piece = block[place : place + step]
                taken = self._take(piece)
                step = _LEAST if taken < len(piece) else min(2 * step, _MOST)
                place += taken
        except zlib.error as error:
            raise ValueError(f"is not a sound gzip file ({error})") from None

    def _take(self, piece: bytes) -> int:
        """Goes through padding, or a member's share of `piece`, and says how much of it that was."""
        if self._inside:
            return len(piece) - len(self._inflate(piece))
        rest = piece.lstrip(b"\0")
        if rest:
            self._member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
            self._inside = True
        return len(piece) - len(rest)

    def _inflate(self, block: bytes) -> bytes:
        """Goes through a member's share of `block` and gives back what comes after it."""
        while True:
            self._member.decompress(block, _INFLATED)
            if self._member.eof:
                self._inside = False
                return self._member.unused_data
            block = self._member.unconsumed_tail
            if not block:  # the end of a member is never among what zlib still holds: its checksum comes after
                return b""

    def finish(self) -> None:
        """As `Checker.finish`."""
        if self._inside:
            raise ValueError(EARLY)


_TAR_BLOCK: Final = 512
_TAR_RECORD: Final = 20 * _TAR_BLOCK
"""Bytes; zeros fill up the last record. https://www.gnu.org/software/tar/manual/html_node/Standard.html"""


class Tar:
    """An uncompressed tar archive: headers with their checksums, each followed by the data that it announces.

    Zeros may follow at the end, at most a record of them. They need not: up to duplicity 3.0.7 all volumes of a set
    but the last end with the data of their last member (`GzipWriteFile` in duplicity's gpg.py).
    """

    def __init__(self) -> None:
        self._header = bytearray()
        self._skip = 0
        self._zeros = 0

    def feed(self, block: bytes) -> None:
        """As `Checker.feed`."""
        place = 0
        while place < len(block):
            if self._skip:
                step = min(self._skip, len(block) - place)
                self._skip -= step
            else:
                step = min(_TAR_BLOCK - len(self._header), len(block) - place)
                self._header += block[place : place + step]
            place += step
            if len(self._header) == _TAR_BLOCK:
                self._take(bytes(self._header))
                self._header.clear()

    def _take(self, header: bytes) -> None:
        if not any(header):
            self._zeros += _TAR_BLOCK
            if self._zeros > _TAR_RECORD:
                raise ValueError("holds zeros where there should be a tar archive")
            return
        if self._zeros:
            raise ValueError("goes on after its end")
        self._skip = _tar_data(header)

    def finish(self) -> None:
        """As `Checker.finish`."""
        if self._header or self._skip:
            raise ValueError(EARLY)


def _tar_data(header: bytes) -> int:
    """How many bytes of data follow a member's header, padding included. Raises ValueError where it is no header."""
    import tarfile  # only where a backup is neither compressed nor encrypted

    try:
        member = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        member = None
    if member is None or member.size < 0:
        raise ValueError("is not a sound tar archive")
    if member.issym() or member.islnk() or member.isdir() or member.isdev():  # isdev: pipes, too
        return 0
    return -(-member.size // _TAR_BLOCK) * _TAR_BLOCK


_LONGEST_LINE: Final = 1 << 20
"""Bytes; a quoted path of Linux's longest (4096 bytes) is at most 16 KiB in a manifest."""


class PlainManifest:
    """A manifest that is not encrypted: it can be read, begins with volume 1 and ends with a line's end."""

    def __init__(self) -> None:
        self._reader = manifest.ManifestParser()
        self._rest = b""

    def feed(self, block: bytes) -> None:
        """As `Checker.feed`."""
        *lines, self._rest = (self._rest + block).split(b"\n")
        if len(self._rest) > _LONGEST_LINE:
            raise ValueError("has a line that is too long for a manifest")
        try:
            for line in lines:
                self._reader.feed(line)
        except ValueError as error:
            raise ValueError(f"is not a sound manifest: {error}") from None

    def finish(self) -> None:
        """As `Checker.finish`."""
        if self._rest:
            raise ValueError(EARLY)
        try:
            read = self._reader.finish()
        except ValueError as error:
            raise ValueError(f"is not a sound manifest: {error}") from None
        if read.volumes[0].number != 1 or not (read.hostname or read.localdir):
            raise ValueError("is not a sound manifest: its beginning is missing")
