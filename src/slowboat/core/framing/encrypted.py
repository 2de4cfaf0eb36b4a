"""What is encrypted, without any key: OpenPGP and CMS, as bytes or as text. Must not know which file is to be which."""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING, Final

from slowboat.core.framing.checker import EARLY

if TYPE_CHECKING:
    from slowboat.core.framing.checker import Checker


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


class OpenPgp(_Skipper):
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
            raise ValueError("holds something other than OpenPGP packets")
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
            raise ValueError(f"holds an OpenPGP packet of type {tag}, which is not encrypted data")

    def finish(self) -> None:
        """As `Checker.finish`."""
        if not (self._data and self._between and not self._partial):
            raise ValueError(EARLY)


_END_OF_CONTENTS: Final = b"\0\0"
_SEQUENCE: Final = 0x30
_INDEFINITE: Final = 0x80
_LONGEST_IDENTIFIER: Final = 5
"""Octets: tags of up to 28 bits. CMS has none above 30, which need one."""
_LONGEST_LENGTH: Final = 8
"""Octets of a length after the one that counts them: no file is longer. Without such bounds a header might go on to
the end of the file, and would be looked at anew with each of its bytes."""


class Cms(_Skipper):
    """One CMS structure (gpgsm's .p7m) in BER, of definite or indefinite length, and nothing after it.

    https://www.rfc-editor.org/rfc/rfc5652#section-3 and ITU-T X.690, 8.1.
    """

    def __init__(self) -> None:
        super().__init__()
        self._open = 0  # containers of indefinite length that have not ended

    def _announced(self, header: bytes) -> bool:
        if not self._open and header[0] != _SEQUENCE:
            raise ValueError("holds something other than a CMS structure")
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
                raise ValueError("holds something other than a CMS structure")
            self._open += 1
        elif first < _INDEFINITE:
            self._skip = first
        elif first & 0x7F > _LONGEST_LENGTH:
            raise ValueError("holds something other than a CMS structure")
        elif len(octets) <= first & 0x7F:
            return False
        else:
            self._skip = int.from_bytes(octets[1:], "big")
        return True

    def finish(self) -> None:
        """As `Checker.finish`."""
        if not (self._done and self._between):
            raise ValueError(EARLY)


def _identifier_octets(header: bytes) -> int:
    """How many octets of `header` belong to the identifier; more than there are while it is incomplete."""
    if header[0] & 0x1F != 0x1F:
        return 1
    for place, octet in enumerate(header[1:], start=2):
        if not octet & 0x80:
            return place
    if len(header) >= _LONGEST_IDENTIFIER:
        raise ValueError("holds something other than a CMS structure")
    return len(header) + 1


def undressed(plain: OpenPgp | Cms, block: bytes) -> Checker:
    """The checker for an encrypted file that begins with `block`: duplicity's --gpg-options may make it a text."""
    if block.startswith(b"-"):
        return _Armoured()
    if isinstance(plain, Cms) and block.startswith(b"M"):  # a sequence's first bits in base64
        return _Base64(plain)
    return plain


class _Base64:
    """A CMS structure in base64 without armour, as `gpgsm --base64` writes it."""

    def __init__(self, inner: Cms) -> None:
        self._inner = inner
        self._rest = b""

    def feed(self, block: bytes) -> None:
        text = self._rest + block.translate(None, b"\r\n")
        whole = len(text) // 4 * 4
        self._rest = text[whole:]
        try:
            data = binascii.a2b_base64(text[:whole], strict_mode=True)
        except binascii.Error as error:
            raise ValueError(f"is not sound base64 text ({error})") from None
        self._inner.feed(data)

    def finish(self) -> None:
        if self._rest:
            raise ValueError(EARLY)
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
            raise ValueError("holds something other than encrypted data")
        if last != first.replace(b"BEGIN", b"END", 1):
            raise ValueError(EARLY)
