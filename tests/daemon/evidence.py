"""What the daemon's tests look for at the target, on the drive and in duplicity's caches."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from realparts.drive import Drive
    from realparts.swift_server import SwiftServer


def fingerprint(*folders: Path) -> dict[str, tuple[str, int, int]]:
    """Every file under the folders: content, mode and time of its last change. Two alike: nothing was written."""
    return {
        str(path): (hashlib.sha256(path.read_bytes()).hexdigest(), found.st_mode, found.st_mtime_ns)
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file() and (found := path.lstat())
    }


def expect_arrived(drive: Drive, swift: SwiftServer, container: str, prefix: str = "") -> None:
    """Every file of the drive stands at the target: its bytes, a plain object, without expiry; no segment is left."""
    listed = swift.listing(container, prefix)
    for name in drive.names("duplicity-"):
        stored = swift.read(container, prefix + name)
        assert stored == (drive.folder / name).read_bytes(), f"{name} has other bytes at the target"
        assert listed[prefix + name] == (len(stored), hashlib.md5(stored).hexdigest())
        head = swift.head(container, prefix + name)
        assert "x-delete-at" not in head, f"{name} will expire"
        assert "x-static-large-object" not in head, f"{name} depends on segments"
    for name in swift.listing(f"{container}_segments"):
        # A run that is killed while it asks what COPY makes of an SLO leaves a few bytes; they must expire.
        assert name.startswith("slowboat1/probe/"), f"{name} is left"
        assert "x-delete-at" in swift.head(f"{container}_segments", name)


def expect_arrived_in_segments(drive: Drive, swift: SwiftServer, container: str) -> set[str]:
    """As `expect_arrived`, where the server cannot join: what went up in segments is an SLO; the names of these.

    Neither they nor the segments that they are made of expire; no other segment is left.
    """
    segments, left, slos = f"{container}_segments", swift.listing(f"{container}_segments"), set()
    for name in drive.names("duplicity-"):
        stored, head = swift.read(container, name), swift.head(container, name)
        assert stored == (drive.folder / name).read_bytes(), f"{name} has other bytes at the target"
        assert "x-delete-at" not in head, f"{name} will expire"
        parts, is_slo = parts_of(swift, container, name), "x-static-large-object" in head
        assert sum(parts.values()) == (len(stored) if is_slo else 0), f"{name} is made of {parts}"
        slos |= {name} if is_slo else set()
        for part in parts:
            assert "x-delete-at" not in swift.head(segments, part), f"{part}, which is data, will expire"
            del left[part]
    for name in left:
        assert name.startswith("slowboat1/probe/"), f"{name} is left"
        assert "x-delete-at" in swift.head(segments, name)
    return slos


def parts_of(swift: SwiftServer, container: str, name: str) -> dict[str, int]:
    """The segments of an object, and their bytes.

    By their names: Ceph's gateway answers `multipart-manifest=get` with no bytes at all.
    """
    listed = swift.listing(f"{container}_segments", f"slowboat1/{name}/")
    return {part: size for part, (size, _) in listed.items()}


def took_the_cache_as_it_is(said: str) -> None:
    """Holds duplicity's own words against the promise: nothing fetched, nothing deleted."""
    assert "Local and Remote metadata are synchronized, no sync needed." in said
    for word in ("Copying", "to local cache", "Deleting local", "not authoritative", "Synchronizing remote metadata"):
        assert word not in said, word
