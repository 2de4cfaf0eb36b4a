"""What can happen, by the word that the history has for it: how serious it is, and its number in the journal.

Knows every kind of event; must not know who notes one or where it is shown. The numbers are systemd's MESSAGE_ID: 128
random bits that tell one kind of entry from all others (`journalctl MESSAGE_ID=...`); they never change.
https://www.freedesktop.org/software/systemd/man/latest/systemd.journal-fields.html#MESSAGE_ID=
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Happening:
    """One kind of event.

    Attributes:
        message_id: 32 lower-case hexadecimal digits.
        what: what has happened, for the documentation.
        trouble: whether somebody who looks for what went wrong wants to see it.
    """

    message_id: str
    what: str
    trouble: bool = False


KINDS: Final[Mapping[str, Happening]] = {
    "adopted": Happening("886fb0f7602141f9bc4c6058137c5493", "a chain on the drive was adopted"),
    "cache-gone": Happening(
        "77bb8628b32741068b60076943418c81", "duplicity's cache for the target is gone", trouble=True
    ),
    "damaged": Happening("4a57f88d07a24989a6794eef1d07254d", "metadata disappeared from the cloud", trouble=True),
    "done": Happening("38cf6f666ecb40eeb38e771179f424f6", "everything is in the cloud, or all that can be"),
    "drive": Happening("7f2d827376f54171a9e79b08a542951d", "another drive with the same files is used"),
    "duplicity": Happening("bb41f3b09764464fbfa611b0e6e40884", "which duplicity will make the next backup"),
    "front-end": Happening("3b1046bc621a4afcab8ed3163b181d66", "Deja Dup was pointed elsewhere"),
    "gone": Happening(
        "c907be2bf1d4456c98e1757f36ed3eb1", "a backup that had arrived is gone from the cloud", trouble=True
    ),
    "handover": Happening("878fa792aaf743ea811224278082460e", "the handover was done, taken back, or waits"),
    "hook": Happening("d870b9397360435fb68e5d2ea8eaa31d", "a command of [hooks] failed", trouble=True),
    "internal": Happening("55fb65b736d74f1eb2807d63e79b6532", "slowboat itself made a mistake", trouble=True),
    "ledger": Happening(
        "1bbcc4376da8467ea63e05d00abd1407",
        "the ledger cannot be used, or could not be",
        trouble=True,
    ),
    "left-drive": Happening("5fc6345e42ee4c259acacc3e8328c426", "backups were removed from the drive"),
    "left-out": Happening("96ab106fb11748fdbd585276b33aa4b7", "what of the drive is not moved"),
    "limit": Happening("549ea29fd2354eceb4292d5cab212ac4", "the user limited it, or took the limit back"),
    "mended": Happening("b5788a4cba0145c28153066cb55f72c6", "all metadata is in the cloud again"),
    "needs-user": Happening("2841d7dada304c27bd3c38aeec88b796", "nothing continues until you act", trouble=True),
    "overtaken": Happening("6dad4a1003aa42faa455bab74a18dfcb", "a new full backup went straight to the cloud"),
    "parted": Happening("aa72b15876cd4ea5b6fa69a68a261a8d", "the drive and the cloud have parted", trouble=True),
    "paused": Happening("186da8d4e0c744399b212fba5d0ef49f", "the user paused it"),
    "reasons": Happening("b88caea2087b4866990fdfa02037ec04", "what holds it back now, or that nothing does"),
    "refused": Happening("bd223effe7264e76b73f4898f335871c", "a file was set aside", trouble=True),
    "removed": Happening("aaee1cebb36c452886cd11ee90dc2324", "backups were removed from the cloud"),
    "replaced": Happening("5f3f9fe2b66543efbf7f828d059db4a7", "an object is not what slowboat sent", trouble=True),
    "resumed": Happening("005ca79c2f1a40b49e5ac3283c19d6da", "the user resumed it"),
    "segments-gone": Happening("4c469b5aad294720996ad97c7b6438fb", "the server lost parts of a file", trouble=True),
    "settings": Happening(
        "a88574eb071c488d9b9fe90409487c0b", "a configuration that was read again is wrong", trouble=True
    ),
    "store": Happening("afd4baf1cc904d75b2f51900debfed6d", "what the store can and cannot do"),
    "target": Happening("68a8c6c79e8c4043b6f4582ebdaf0856", "the target is another one"),
    "times": Happening("97ca3a55d416491084c5cf51f4a53b19", "files on the drive have other times"),
    "unfinished": Happening(
        "9f3c8031b92545d7b6c9d2cfcddfbc27", "an unfinished backup stands in the cloud", trouble=True
    ),
    "vanished": Happening("4f5f9266fcad4f0cac305459e2f7ef90", "the cloud has lost an object", trouble=True),
    "verified": Happening("88906d469b6d45d4a4374aabb7a1d536", "what a verification found"),
    "version": Happening(
        "051e20d8e0f948e2a85d443b677d6bf6", "this duplicity may destroy a half-uploaded chain", trouble=True
    ),
}
"""By the word that the ledger, `slowboat history` and GetHistory on D-Bus use."""
