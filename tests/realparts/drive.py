"""A drive with a real duplicity chain on it, and the data it was made of."""

from __future__ import annotations

import os
import random
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from realparts.duplicity import Duplicity

_LONG_AGO = 1_700_000_000
_CANARY = ".cache/deja-dup/metadata/README"
_LETTER = 5_000
"""Bytes of a small file: duplicity's signatures take a 35th of such data, and far less of large files."""
_PROSE = "the boat is slow and the sea is wide but every volume comes ashore in the end"


@dataclass(frozen=True)
class Drive:
    """A folder that duplicity wrote its backups to.

    Attributes:
        folder: where the volumes, manifests and signatures are.
        url: what duplicity was given for it.
        data: what was backed up; duplicity refuses an incremental of any other path.
        duplicity: the program that wrote it, with its options and its home, where the cache is.
    """

    folder: Path
    url: str
    data: Path
    duplicity: Duplicity

    @property
    def cache(self) -> Path:
        return self.duplicity.cache(self.url)

    def names(self, containing: str = "") -> list[str]:
        """The files' names, sorted."""
        return sorted(path.name for path in self.folder.iterdir() if containing in path.name)

    @property
    def volumes(self) -> list[str]:
        return self.names(".difftar")

    @property
    def metadata(self) -> list[str]:
        return [name for name in self.names("duplicity-") if ".difftar" not in name]

    def size(self, names: list[str] | None = None) -> int:
        """Bytes of those files, or of all."""
        return sum((self.folder / name).stat().st_size for name in (self.names() if names is None else names))

    def copied_to(self, folder: Path) -> Drive:
        """A copy to be changed or broken: drive, cache and home are its own, the data is shared."""
        drive, home = folder / "drive", folder / "home"
        shutil.copytree(self.folder, drive)
        copy = replace(self, folder=drive, url=f"file://{drive}", duplicity=replace(self.duplicity, home=home))
        shutil.copytree(self.cache, copy.cache)
        return copy


def make_chain(
    duplicity: Duplicity,
    folder: Path,
    *,
    incs: int = 2,
    size: int = 5_000_000,
    seed: int = 1,
    canary: bool = True,
    letters: int = 0,
) -> Drive:
    """Makes data in `folder`/data and backs it up to `folder`/drive: one full, then `incs` incrementals.

    The backups are dated a day apart, the newest an hour ago, so that a next one at the real time comes after them.

    Args:
        duplicity: says how: volsize, encrypted, file_prefix.
        size: bytes of the data at the full backup, most of them incompressible.
        seed: other seeds make other data.
        canary: whether there is the file that Deja Dup reads back after each backup.
        letters: so many small files beside it all, for signatures of 140 bytes each.
    """
    data, drive, chance = folder / "data", folder / "drive", random.Random(seed)
    drive.mkdir(parents=True)
    url = f"file://{drive}"
    newest = int(folder.stat().st_mtime) - 3600
    make_data(data, size, chance, canary=canary)
    make_letters(data / "letters", letters, chance)
    duplicity.full(data, url, "--current-time", str(newest - incs * 86400))
    for number in range(1, incs + 1):
        when = newest - (incs - number) * 86400
        change_data(data, size // 10, chance, when - 60)
        duplicity.inc(data, url, "--current-time", str(when))
    return Drive(drive, url, data, duplicity)


def make_data(data: Path, size: int, chance: random.Random, *, canary: bool = True) -> None:
    """About `size` bytes of what a home holds: films, notes, empty files, links, names with blanks and umlauts."""
    photos, notes = data / "Bilder/Sommer ☀", data / "notes"
    photos.mkdir(parents=True)
    notes.mkdir()
    # Big files keep the signatures small: duplicity makes blocks larger for them (get_block_size, librsync).
    for number in range(4):
        (photos / f"film {number}.mp4").write_bytes(chance.randbytes(size // 5))
    for number in range(20):
        (notes / f"note-{number}.txt").write_text(_prose(chance, size // 500))
    for number in range(10):
        (photos / f"bild_{number}.jpg").write_bytes(chance.randbytes(size // 60))
    (notes / "empty").touch()
    (notes / 'it\'s "quoted" \\ and\nbroken').write_text("odd names are names")
    Path(os.fsdecode(os.fsencode(notes) + b"/latin1-\xe9")).write_text("not UTF-8")
    (notes / "link").symlink_to("note-0.txt")
    (notes / "note-1.txt").chmod(0o600)
    (data / "empty folder").mkdir()
    if canary:  # Deja Dup's OperationVerify reads it back: https://gitlab.gnome.org/World/deja-dup
        (data / _CANARY).parent.mkdir(parents=True)
        (data / _CANARY).write_text("made by the test's first backup\n")
    for path in data.rglob("*"):  # long ago: see change_data
        os.utime(path, (_LONG_AGO, _LONG_AGO), follow_symlinks=False)


def make_letters(folder: Path, count: int, chance: random.Random) -> None:
    """So many small files that do not compress, a hundred to a folder."""
    for number in range(count):
        letter = folder / str(number // 100) / f"{number}.gpg"
        letter.parent.mkdir(parents=True, exist_ok=True)
        letter.write_bytes(chance.randbytes(_LETTER))
        os.utime(letter, (_LONG_AGO, _LONG_AGO))


def change_data(data: Path, size: int, chance: random.Random, when: float | None = None) -> None:
    """What a day changes: about `size` new bytes, an edited note, a grown film, a deleted picture.

    The changed files' time is set to `when` (seconds since the epoch; None: now, but later than before): duplicity
    sees a change only where the modification time differs by whole seconds.
    """
    day = len(list(data.glob("new-*")))
    film = data / "Bilder/Sommer ☀/film 0.mp4"
    when = max(time.time(), film.stat().st_mtime + 1) if when is None else when
    contents = {
        data / f"new-{day}.bin": chance.randbytes(size),
        data / "notes/note-2.txt": _prose(chance, 3000).encode(),
        film: film.read_bytes() + chance.randbytes(size // 10),
    }
    if (data / _CANARY).exists():
        contents[data / _CANARY] = f"made by the test on day {day}\n".encode()
    for path, content in contents.items():
        path.write_bytes(content)
        os.utime(path, (when, when))
    (data / f"Bilder/Sommer ☀/bild_{day}.jpg").unlink(missing_ok=True)


def differences(left: Path, right: Path) -> list[str]:
    """How two trees differ: names, kinds, modes, link targets, bytes; [] where they are the same."""
    found = []
    for name in sorted(_names(left) | _names(right)):
        one, other = left / name, right / name
        if not (os.path.lexists(one) and os.path.lexists(other)):
            found.append(f"{name!r} is on one side only")
        elif one.lstat().st_mode != other.lstat().st_mode:
            found.append(f"{name!r} has another kind or mode")
        elif one.is_symlink():
            if one.readlink() != other.readlink():
                found.append(f"{name!r} links elsewhere")
        elif one.is_file() and one.read_bytes() != other.read_bytes():
            found.append(f"{name!r} has other bytes")
    return found


def _names(top: Path) -> set[str]:
    return {str(path.relative_to(top)) for path in top.rglob("*")}


def _prose(chance: random.Random, length: int) -> str:
    words = chance.choices(_PROSE.split(), k=max(1, length // 5))
    return " ".join(words) + "\n"
