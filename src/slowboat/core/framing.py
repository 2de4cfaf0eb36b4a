"""Whether a file is whole as far as its own framing can tell: gzip, OpenPGP, CMS, tar, a plain manifest.

Signatures and manifests have no recorded hash anywhere, nor have volumes whose plain manifest is gone, so this is
what can be known of them without a passphrase: that the stream begins as it must and ends exactly where it says that
it ends. For gzip that includes the checksum of the content; for encrypted files and tar archives the content stays
unknown (docs/duplicity.md, "Framing", says what is found and what is not). Must not know where the bytes come from.
Memory is constant, but for a plain manifest's volumes.
"""

from __future__ import annotations

import binascii
import zlib
from typing import TYPE_CHECKING, Final, Protocol

from slowboat.core import manifest, names
from slowboat.core.names import NameKind

if TYPE_CHECKING:
    from collections.abc import Callable


class Framing:
    """Takes a file in, block by block, and says at the end what is wrong with it.

    Args:
        name: the file's name; it says what the file ought to be.
    """

    def __init__(self, name: str) -> None:
        self._checker = _checker(name)
        self._wrong = ""
        self._begun = False

    def feed(self, block: bytes) -> None:
        """Takes the next block, of any size. Never raises; what is wrong is remembered for `finish`."""
        if self._wrong or not block:
            return
        if not self._begun and isinstance(self._checker, _OpenPgp | _Cms):
            self._checker = _undressed(self._checker, block)
        self._begun = True
        self._note(lambda: self._checker.feed(block))

    def finish(self) -> str:
        """What is wrong, a phrase that begins with a verb ("ends too early"); "" where the file is whole."""
        if not self._begun:
            return "is empty"
        if not self._wrong:
            self._note(self._checker.finish)
        return self._wrong

    def _note(self, step: Callable[[], None]) -> None:
        try:
            step()
        except ValueError as error:
            self._wrong = str(error)


class _Checker(Protocol):
    """One kind of framing; both methods raise ValueError with what is wrong."""

    def feed(self, block: bytes) -> None: ...

    def finish(self) -> None: ...


_EARLY: Final = "ends too early"


def _checker(name: str) -> _Checker:
    parsed = names.parse(name)
    if name.endswith((".gz", ".z")):
        return _Gzip()
    if name.endswith((".gpg", ".g")):
        return _OpenPgp()
    if name.endswith(".p7m"):
        return _Cms()
    if parsed is not None and parsed.kind is NameKind.MANIFEST:
        return _PlainManifest()
    if parsed is not None and parsed.kind in {NameKind.VOLUME, NameKind.SIGNATURES}:
        return _Tar()
    return _Anything()


class _Anything:
    """A file whose framing is not known: nothing can be said."""

    def feed(self, block: bytes) -> None:
        pass

    def finish(self) -> None:
        pass


_INFLATED: Final = 1 << 16
"""Bytes that one step of decompression may yield: an archive that inflates without end stays harmless."""


class _Gzip:
    """One or more gzip members to the last byte, checksums included; zeros after them are padding.

    https://www.rfc-editor.org/rfc/rfc1952
    """

    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        self._inside = True

    def feed(self, block: bytes) -> None:
        try:
            while block:
                if not self._inside:
                    block = block.lstrip(b"\0")
                    if not block:
                        return
                    self._member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
                    self._inside = True
                block = self._inflate(block)
        except zlib.error as error:
            raise ValueError(f"is no sound gzip file ({error})") from None

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
        if self._inside:
            raise ValueError(_EARLY)


class _Skipper:
    """Walks through headers and bodies: collects a header byte by byte, then skips what it announces."""

    def __init__(self) -> None:
        self._header = bytearray()
        self._skip = 0
        self._done = False  # nothing may follow
        self._endless = False  # everything may follow

    def feed(self, block: bytes) -> None:
        place = 0
        while place < len(block):
            if self._endless:
                return
            if self._skip:
                step = min(self._skip, len(block) - place)
                self._skip -= step
                place += step
                continue
            if self._done:
                raise ValueError("goes on after its end")
            self._header.append(block[place])
            place += 1
            if self._announced(bytes(self._header)):
                self._header.clear()

    def _announced(self, header: bytes) -> bool:
        """Whether `header` is complete; if so, what follows has been noted."""
        raise NotImplementedError

    @property
    def _between(self) -> bool:
        return not self._skip and not self._header


_SESSION_KEYS: Final = frozenset({1, 3})
_ENCRYPTED_DATA: Final = frozenset({9, 18, 20})
_MARKERS: Final = frozenset({10, 21})


class _OpenPgp(_Skipper):
    """OpenPGP packets: session keys, then one packet of encrypted data, then nothing.

    https://www.rfc-editor.org/rfc/rfc9580#name-packet-headers and #name-packet-tags; 20 is GnuPG's own OCB packet.
    """

    def __init__(self) -> None:
        super().__init__()
        self._partial = False
        self._data = False

    def _announced(self, header: bytes) -> bool:
        if self._partial:
            return self._new_length(header)
        first = header[0]
        if not first & 0x80:
            raise ValueError("holds something else than OpenPGP packets")
        if first & 0x40:
            complete = self._new_length(header[1:])
            tag = first & 0x3F
        else:
            complete = self._old_length(first & 0x03, header[1:])
            tag = first >> 2 & 0x0F
        if complete:
            self._begin(tag)
        return complete

    def _old_length(self, kind: int, octets: bytes) -> bool:
        if kind == 3:
            self._endless = True  # to the end of the file, wherever that is: nothing can be said of it
            return True
        if len(octets) < 1 << kind:
            return False
        self._skip = int.from_bytes(octets, "big")
        return True

    def _new_length(self, octets: bytes) -> bool:
        if not octets:
            return False
        first = octets[0]
        needed = 1 if first < 192 or 224 <= first < 255 else 2 if first < 224 else 5
        if len(octets) < needed:
            return False
        self._partial = 224 <= first < 255
        if first < 192:
            self._skip = first
        elif first < 224:
            self._skip = (first - 192 << 8) + octets[1] + 192
        elif self._partial:
            self._skip = 1 << (first & 0x1F)
        else:
            self._skip = int.from_bytes(octets[1:], "big")
        return True

    def _begin(self, tag: int) -> None:
        if self._data:
            raise ValueError("goes on after its end")
        if tag in _ENCRYPTED_DATA:
            self._data = True
        elif tag not in _SESSION_KEYS | _MARKERS:
            raise ValueError(f"holds an OpenPGP packet of type {tag}, which is no encrypted data")

    def finish(self) -> None:
        if not (self._data and self._between and not self._partial):
            raise ValueError(_EARLY)


_END_OF_CONTENTS: Final = b"\0\0"
_SEQUENCE: Final = 0x30
_INDEFINITE: Final = 0x80


class _Cms(_Skipper):
    """One CMS structure (gpgsm's .p7m) in BER, of definite or indefinite length, and nothing after it.

    https://www.rfc-editor.org/rfc/rfc5652#section-3 and ITU-T X.690, 8.1.
    """

    def __init__(self) -> None:
        super().__init__()
        self._open = 0  # containers of indefinite length that have not ended

    def _announced(self, header: bytes) -> bool:
        if not self._open and header[0] != _SEQUENCE:
            raise ValueError("holds something else than a CMS structure")
        if self._open and header == _END_OF_CONTENTS:
            self._open -= 1
            self._done = not self._open
            return True
        length = header[_identifier_octets(header) :]
        if not length or not self._take_length(length, constructed=bool(header[0] & 0x20)):
            return False
        self._done = not self._open
        return True

    def _take_length(self, octets: bytes, *, constructed: bool) -> bool:
        first = octets[0]
        if first == _INDEFINITE:
            if not constructed:
                raise ValueError("holds something else than a CMS structure")
            self._open += 1
        elif first < _INDEFINITE:
            self._skip = first
        elif len(octets) <= first & 0x7F:
            return False
        else:
            self._skip = int.from_bytes(octets[1:], "big")
        return True

    def finish(self) -> None:
        if not (self._done and self._between):
            raise ValueError(_EARLY)


def _identifier_octets(header: bytes) -> int:
    """How many octets of `header` belong to the identifier; more than there are while it is incomplete."""
    if header[0] & 0x1F != 0x1F:
        return 1
    for place, octet in enumerate(header[1:], start=2):
        if not octet & 0x80:
            return place
    return len(header) + 1


def _undressed(plain: _OpenPgp | _Cms, block: bytes) -> _Checker:
    """The checker for an encrypted file that begins with `block`: duplicity's --gpg-options may make it a text."""
    if block.startswith(b"-"):
        return _Armoured()
    if isinstance(plain, _Cms) and block.startswith(b"M"):  # a sequence's first bits in base64
        return _Base64(plain)
    return plain


class _Base64:
    """A CMS structure in base64 without armour, as `gpgsm --base64` writes it."""

    def __init__(self, inner: _Cms) -> None:
        self._inner = inner
        self._rest = b""

    def feed(self, block: bytes) -> None:
        text = self._rest + block.translate(None, b"\r\n")
        whole = len(text) // 4 * 4
        self._rest = text[whole:]
        try:
            data = binascii.a2b_base64(text[:whole], strict_mode=True)
        except binascii.Error as error:
            raise ValueError(f"is no sound base64 text ({error})") from None
        self._inner.feed(data)

    def finish(self) -> None:
        if self._rest:
            raise ValueError(_EARLY)
        self._inner.finish()


class _Armoured:
    """ASCII armour (OpenPGP or PEM): the last line must be the one that ends it, and between them is text.

    https://www.rfc-editor.org/rfc/rfc9580#name-forming-ascii-armor
    """

    def __init__(self) -> None:
        self._head = b""
        self._tail = b""

    def feed(self, block: bytes) -> None:
        if b"\0" in block:
            raise ValueError("holds zeros where there should be text")
        self._head = (self._head + block[:80])[:80]
        self._tail = (self._tail + block[-80:])[-80:]

    def finish(self) -> None:
        first = self._head.splitlines()[0].rstrip()
        last = self._tail.rstrip().rpartition(b"\n")[2]
        if not (first.startswith(b"-----BEGIN ") and first.endswith(b"-----")):
            raise ValueError("holds something else than encrypted data")
        if last != first.replace(b"BEGIN", b"END", 1):
            raise ValueError(_EARLY)


_LONGEST_LINE: Final = 1 << 20
"""Bytes; a quoted path of Linux's longest (4096 bytes) is at most 16 KiB in a manifest."""


class _PlainManifest:
    """A manifest that is not encrypted: it can be read, begins with volume 1 and ends with a line's end."""

    def __init__(self) -> None:
        self._reader = manifest.Reader()
        self._rest = b""

    def feed(self, block: bytes) -> None:
        *lines, self._rest = (self._rest + block).split(b"\n")
        if len(self._rest) > _LONGEST_LINE:
            raise ValueError("has a line that is too long for a manifest")
        try:
            for line in lines:
                self._reader.feed(line)
        except ValueError as error:
            raise ValueError(f"is no sound manifest: {error}") from None

    def finish(self) -> None:
        if self._rest:
            raise ValueError(_EARLY)
        try:
            read = self._reader.finish()
        except ValueError as error:
            raise ValueError(f"is no sound manifest: {error}") from None
        if read.volumes[0].number != 1 or not (read.hostname or read.localdir):
            raise ValueError("is no sound manifest: its beginning is missing")


_TAR_BLOCK: Final = 512
_TAR_RECORD: Final = 20 * _TAR_BLOCK
"""Bytes; zeros fill up the last record. https://www.gnu.org/software/tar/manual/html_node/Standard.html"""


class _Tar:
    """An uncompressed tar archive: headers with their checksums, each followed by the data that it announces.

    Zeros may follow at the end, at most a record of them. They need not: up to duplicity 3.0.7 all volumes of a set
    but the last end with the data of their last member (`GzipWriteFile` in duplicity's gpg.py).
    """

    def __init__(self) -> None:
        self._header = bytearray()
        self._skip = 0
        self._zeros = 0

    def feed(self, block: bytes) -> None:
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
        if self._header or self._skip:
            raise ValueError(_EARLY)


def _tar_data(header: bytes) -> int:
    """How many bytes of data follow a member's header, padding included. Raises ValueError where it is no header."""
    import tarfile  # only where a backup is neither compressed nor encrypted

    try:
        member = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        member = None
    if member is None or member.size < 0:
        raise ValueError("is no sound tar archive")
    if member.issym() or member.islnk() or member.isdir() or member.isdev():  # isdev: pipes, too
        return 0
    return -(-member.size // _TAR_BLOCK) * _TAR_BLOCK
