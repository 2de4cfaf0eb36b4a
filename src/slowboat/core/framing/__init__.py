"""Whether a file is whole as far as its own framing can tell: gzip, OpenPGP, CMS, tar, a plain manifest.

Signatures and manifests have no recorded hash anywhere, nor have volumes whose plain manifest is gone, so this is
what can be known of them without a passphrase: that the stream begins as it must and ends exactly where it says that
it ends. For gzip that includes the checksum of the content; for encrypted files and tar archives the content stays
unknown (docs/duplicity.md, "Framing", says what is found and what is not). Must not know where the bytes come from.
Memory is constant, but for a plain manifest's volumes.

Knows the streams' grammars; must not know where the bytes are from, nor what follows from a broken one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slowboat.core import names
from slowboat.core.framing.archives import Gzip, PlainManifest, Tar
from slowboat.core.framing.checker import Anything
from slowboat.core.framing.encrypted import Cms, OpenPgp, undressed
from slowboat.core.names import NameKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from slowboat.core.framing.checker import Checker


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
        if not self._begun and isinstance(self._checker, OpenPgp | Cms):
            self._checker = undressed(self._checker, block)
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


def _checker(name: str) -> Checker:
    parsed = names.parse(name)
    if name.endswith((".gz", ".z")):
        return Gzip()
    if name.endswith((".gpg", ".g")):
        return OpenPgp()
    if name.endswith(".p7m"):
        return Cms()
    if parsed is not None and parsed.kind is NameKind.MANIFEST:
        return PlainManifest()
    if parsed is not None and parsed.kind in {NameKind.VOLUME, NameKind.SIGNATURES}:
        return Tar()
    return Anything()
