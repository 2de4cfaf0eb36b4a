"""What must hold at any moment, seen from outside: by the target's own listing and HEADs, and by the disk.

Its own judge: it knows duplicity's names by an expression of its own, and must not ask slowboat's code.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import sqlite3
import tempfile
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import swiftclient

from soak.place import PREFIX, Scene

if TYPE_CHECKING:
    from collections.abc import Iterator

_TIME = r"\d{8}T\d{6}Z"
_NAME = re.compile(
    rf"duplicity-(?:full|inc|full-signatures|new-signatures)\.(?P<first>{_TIME})(?:\.to\.(?P<last>{_TIME}))?"
    r"\.(?P<what>vol\d+\.difftar|manifest|sigtar)(?:\.gz|\.gpg)?"
)

_AT_WORK = re.compile(r"duplicity-\w+-tempdir")
"""duplicity's own, in its cache, while it runs."""


@dataclass(frozen=True)
class File:
    """One of duplicity's files: of which set, and what."""

    name: str
    first: str
    last: str
    volume: bool

    @property
    def set(self) -> tuple[str, str]:
        return self.first, self.last


def file_of(name: str) -> File | None:
    """None where it is none of duplicity's."""
    found = _NAME.fullmatch(name)
    if not found:
        return None
    first = found["first"]
    return File(name, first, found["last"] or first, found["what"].startswith("vol"))


def newest_chain(files: list[File]) -> set[tuple[str, str]]:
    """The sets of the chain that ends last."""
    ends = {file.last: file.set for file in files}
    chain = [ends[max(ends)]]
    while chain[-1][0] != chain[-1][1]:  # until its full
        chain.append(ends[chain[-1][0]])
    return set(chain)


@dataclass(frozen=True)
class Standing:
    """What a HEAD says of an object."""

    size: int
    etag: str
    slo: bool
    expires: bool
    stamp: str


class Witness:
    """Looks at one scene again and again; each look tells what was violated."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        drive = scene.drive
        self._right = {path.name: _right(path) for path in drive.folder.iterdir()}
        self._files = [file for name in self._right if (file := file_of(name))]
        assert len(self._files) == len(self._right), "the drive holds what this judge does not know"
        self._newest = newest_chain(self._files)
        self._metadata = [file for file in self._files if not file.volume]
        self._read: dict[Path, tuple[tuple[int, ...], str]] = {}  # what is known of a file's content
        self._before = self._disk()
        self._stood: dict[str, str] = {}  # whatever stood at the target once, with its ETag
        self._proven: set[tuple[str, str, str]] = set()  # SLOs that were read whole
        self._log = 0
        self._open = ExitStack()
        self._connection: swiftclient.Connection | None = None

    @property
    def handed_over(self) -> bool:
        """Whether a cache stands at the target's name."""
        return any(self._installed())

    @property
    def complete(self) -> bool:
        """Whether each file of the drive has been seen at the target."""
        return self._right.keys() <= self._stood.keys()

    def complete_now(self) -> bool:
        """Whether the listing shows each file of the drive."""
        return {PREFIX + name for name in self._right} <= self._listing(self._scene.container).keys()

    @property
    def end(self) -> str:
        """When the newest backup on the drive was made."""
        return max(file.last for file in self._files)

    def look(self, *, disk: bool = True) -> list[str]:
        """What is not as it must be: [] where all is well. Without `disk`, drive and cache are somebody else's now."""
        installed = sorted(self._installed())  # first: what must come before it is looked for afterwards
        standing = self._standing()
        return [
            *self._wrong_objects(standing),
            *self._strangers(),
            *self._early_volumes(standing),
            *self._lost(standing),
            *self._early_handover(installed, standing),
            *(self._touched() if disk else []),
        ]

    def look_at_what_it_left(self) -> list[str]:
        """Of a daemon that has ended: what is wrong with its ledger and its log."""
        return [*self._broken_ledger(), *self._tracebacks()]

    def look_at_the_end(self) -> list[str]:
        """What is missing, half, or left over, once the migration says that it is done."""
        standing = self._standing()
        missing = [f"{name} did not arrive" for name in self._right if name not in standing]
        return [*self.look(), *missing, *self._left_over(standing), *self._leftovers_of_the_handover()]

    def list_what_stands(self) -> int:
        """Does what a killed Swift's other replicas would: an object that stands, and was not listed yet, is listed.

        Of one replica that dies between the two nobody else knows; a POST, which changes nothing, has it listed. How
        many there were.
        """
        listed = self._listing(self._scene.container)
        unlisted = [name for name in self._standing() if PREFIX + name not in listed]
        for name in unlisted:
            self._swift().post_object(self._scene.container, PREFIX + name, {})
        return len(unlisted)

    def forget_connections(self) -> None:
        """The Swift was started again."""
        self._open.close()
        self._connection = None

    # -- the target ------------------------------------------------------------------------------------------

    def _swift(self) -> swiftclient.Connection:
        if self._connection is None:
            self._connection = self._open.enter_context(self._scene.swift.connection())
        return self._connection

    def _standing(self) -> dict[str, Standing]:
        """By HEAD of each name on the drive, volumes first, so that metadata that comes meanwhile is no excuse."""
        names = sorted(self._right, key=lambda name: ".difftar" not in name)
        return {name: found for name in names if (found := self._head(self._scene.container, PREFIX + name))}

    def _head(self, container: str, name: str) -> Standing | None:
        try:
            head = self._swift().head_object(container, name)
        except swiftclient.ClientException as error:
            if error.http_status == 404:
                return None
            raise
        return Standing(
            int(head["content-length"]),
            head["etag"].strip('"'),
            head.get("x-static-large-object", "").lower() == "true",
            "x-delete-at" in head,
            head.get("x-timestamp", ""),
        )

    def _listing(self, container: str) -> dict[str, tuple[int, str, bool]]:
        try:
            _, rows = self._swift().get_container(container, full_listing=True)
        except swiftclient.ClientException as error:
            if error.http_status == 404:
                return {}
            raise
        return {row["name"]: (row["bytes"], row["hash"], "slo_etag" in row) for row in rows}

    def _wrong_objects(self, standing: dict[str, Standing]) -> Iterator[str]:
        for name, found in standing.items():
            size, md5 = self._right[name]
            if found.expires:
                yield f"{name} will expire"
            if found.size != size or not (self._reads_right(name, found) if found.slo else found.etag == md5):
                yield f"{name} at the target is not the drive's: {found}, and not {size} bytes of {md5}"

    def _reads_right(self, name: str, found: Standing) -> bool:
        """Of an SLO the ETag says little: it is read, once."""
        key = (name, found.etag, found.stamp)
        if key not in self._proven:
            _, body = self._swift().get_object(self._scene.container, PREFIX + name)
            if hashlib.md5(body).hexdigest() != self._right[name][1]:
                return False
            self._proven.add(key)
        return True

    def _strangers(self) -> Iterator[str]:
        for full, (size, md5, slo) in self._listing(self._scene.container).items():
            name = full.removeprefix(PREFIX)
            if name in self._right:
                if not slo and (size, md5) != self._right[name]:
                    yield f"the listing has {full} with {size} bytes of {md5}"
            elif not self._is_duplicitys(name):
                yield f"{full} stands at the target, and is neither on the drive nor duplicity's own"

    def _is_duplicitys(self, name: str) -> bool:
        """Whether duplicity itself can have put it there, after the handover."""
        file = file_of(name)
        return file is not None and file.first >= self.end and file.last > self.end

    def _early_volumes(self, standing: dict[str, Standing]) -> Iterator[str]:
        there = {file.set for file in self._files if file.volume and file.name in standing}
        first = self._newest if there else set()
        for file in self._metadata:
            if file.set in there | first and file.name not in standing:
                yield f"volumes stand at the target and {file.name} does not"

    def _lost(self, standing: dict[str, Standing]) -> Iterator[str]:
        for name, found in standing.items():
            self._stood[name] = found.etag
        for name in self._stood:
            if name in self._right:
                if name not in standing:
                    yield f"{name} stood at the target, and is gone"
            elif self._head(self._scene.container, PREFIX + name) is None:
                yield f"duplicity's {name} stood at the target, and is gone"

    def remember_theirs(self) -> list[str]:
        """What duplicity has put there by now must stay; its names."""
        theirs = {
            full.removeprefix(PREFIX): md5
            for full, (_, md5, _) in self._listing(self._scene.container).items()
            if self._is_duplicitys(full.removeprefix(PREFIX))
        }
        self._stood |= theirs
        return sorted(theirs)

    def _left_over(self, standing: dict[str, Standing]) -> Iterator[str]:
        """Segments that nobody needs; those of an SLO at a final name are needed, and must not expire."""
        container = f"{self._scene.container}_segments"
        needed = {name for name, found in standing.items() if found.slo}
        for full in self._listing(container):
            found = self._head(container, full)
            if found is None:
                continue  # it has expired
            of = full.removeprefix(f"slowboat1/{PREFIX}").split("/")[0]
            if of in needed:
                if found.expires:
                    yield f"the segment {full} is data of {of}, and will expire"
            elif not found.expires:
                yield f"the segment {full} is left for ever"
            elif "/probe/" not in full:  # a run that is killed in a probe leaves a few bytes that expire
                yield f"the segment {full} is left"

    # -- the disk --------------------------------------------------------------------------------------------

    def _disk(self) -> dict[str, object]:
        """Every file's content, mode and time; a file with the ctime that it had is not read again."""
        found: dict[str, object] = {}
        for folder in (self._scene.drive.folder, self._scene.drive.cache):
            for path in sorted(folder.rglob("*")):
                stat = path.lstat()
                seen = (stat.st_ino, stat.st_ctime_ns, stat.st_size)
                if self._read.get(path, ((), ""))[0] != seen:
                    body = path.read_bytes() if path.is_file() else b""
                    self._read[path] = seen, hashlib.sha256(body).hexdigest()
                when = stat.st_mtime_ns if path.is_file() else 0
                found[str(path)] = self._read[path][1], stat.st_mode, when
        return found

    def _touched(self) -> Iterator[str]:
        now = self._disk()
        before, self._before = self._before, now
        for name in sorted(now.keys() | before.keys()):
            if now.get(name) != before.get(name) and not name.endswith("/lockfile"):
                yield f"{name} on the drive or in its cache was {before.get(name)} and is {now.get(name)}"

    def _installed(self) -> Iterator[Path]:
        cache = self._scene.drive.duplicity.cache(self._scene.url)
        if cache.is_dir():
            yield from (path for path in cache.iterdir() if path.name != "lockfile")

    def _early_handover(self, installed: list[Path], standing: dict[str, Standing]) -> Iterator[str]:
        if not installed:
            return
        for file in self._metadata:
            if file.set in self._newest and file.name not in standing:
                yield f"the cache is installed, and {file.name} is not at the target"
        held = {path.name: path for path in installed}
        for path in self._scene.drive.cache.iterdir():
            file = file_of(path.name)
            if not file or file.set not in self._newest:
                continue
            there = held.pop(path.name, None)
            if there is None or there.read_bytes() != path.read_bytes():
                yield f"the installed cache has {path.name} not, or otherwise"
            elif there.stat().st_mode & 0o077 or there.parent.stat().st_mode & 0o077:
                yield f"the installed {path.name} can be read by others"
        for name in held:
            if not (self._is_duplicitys(name.replace(".part", "")) or _AT_WORK.fullmatch(name)):
                yield f"the installed cache has {name}, which is not of the chain"

    def _leftovers_of_the_handover(self) -> Iterator[str]:
        known = {self._scene.drive.cache.name, self._scene.drive.duplicity.cache(self._scene.url).name}
        for path in self._scene.drive.duplicity.archive_dir.iterdir():
            if path.name not in known:
                yield f"{path} is left"
        # A kill may leave slowboat's lock, which binds nobody then; the next handover or start removes it.
        lock = self._scene.drive.cache / "lockfile"
        if lock.exists():
            yield f"{lock} is left"

    def _broken_ledger(self) -> Iterator[str]:
        """Held against a copy: whoever opens the ledger mends its journal."""
        with tempfile.TemporaryDirectory(dir=self._scene.folder) as folder:
            for path in self._scene.daemon.state.glob("ledger.sqlite*"):
                shutil.copy(path, folder)
            copy = Path(folder) / "ledger.sqlite"
            if copy.exists() and copy.stat().st_size:
                with closing(sqlite3.connect(copy)) as db:
                    found = db.execute("PRAGMA integrity_check").fetchone()[0]
                    if found != "ok":
                        yield f"the ledger is damaged: {found}"

    def _tracebacks(self) -> Iterator[str]:
        log = self._scene.daemon.log
        new, self._log = log[self._log :], len(log)
        if "Traceback" in new:
            yield f"a traceback in the daemon's log: {new[-3000:]}"
        for token in {request.headers.get("x-auth-token", "") for request in self._scene.wire.requests} - {""}:
            if token in new:
                yield "a token in the daemon's log"


def _right(path: Path) -> tuple[int, str]:
    body = path.read_bytes()
    return len(body), hashlib.md5(body).hexdigest()
