"""A backup chain as duplicity lays it out unencrypted, made of noise: any size, and nothing that compresses further.

It knows duplicity's names and its manifest; it must not know what is measured with it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

MB = 1_000_000
VOLUME_SIZE = 200 * MB  # Deja Dup's since 43.4
SIGNATURES = "duplicity-full-signatures.20110113T170937Z.sigtar.gz"
STEM = "duplicity-full.20110113T170937Z"
MANIFEST = f"{STEM}.manifest"


def make_chain(folder: Path, *, signatures: int, volumes: int, volume: int) -> None:
    """Signatures and volumes of about so many bytes each, and a manifest with the volumes' SHA-1s."""
    folder.mkdir(parents=True)
    _gzip_of_noise(folder / SIGNATURES, signatures)
    lines = ["Hostname lenny", "Localdir /home/soren"]
    for number in range(1, volumes + 1):
        path = folder / f"{STEM}.vol{number}.difftar.gz"
        _gzip_of_noise(path, volume)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha1").hexdigest()
        first = "." if number == 1 else f"file{number}"
        lines += [f"Volume {number}:", f"    StartingPath   {first}  ", f"    EndingPath     file{number}  "]
        lines += [f"    Hash SHA1 {digest}"]
    (folder / MANIFEST).write_text("\n".join(lines) + "\n")


def copy_metadata(folder: Path, cache: Path) -> None:
    """What duplicity keeps in its cache of the chain in `folder`."""
    for name in (SIGNATURES, MANIFEST):
        shutil.copy(folder / name, cache / name)


def _gzip_of_noise(path: Path, size: int) -> None:
    squeeze, left = zlib.compressobj(1, zlib.DEFLATED, 31), size
    with path.open("wb") as file:
        while left > 0:
            block = os.urandom(min(MB, left))
            left -= len(block)
            file.write(squeeze.compress(block))
        file.write(squeeze.flush())
