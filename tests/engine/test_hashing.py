"""What a file costs on its way: bytes hashed, bytes read, and in which thread; counted, never timed."""

from __future__ import annotations

import gzip
import hashlib
import os
import threading
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from engine.courier_bed import GZIPPED, SIGNATURES, volume
from engine.model_store import ALL
from slowboat.core.segmenting import MIB, UplinkEstimate
from slowboat.core.way import Means
from slowboat.core.words import Item, Limits, Role, SetId
from slowboat.edges.source import Source
from slowboat.edges.swift import Credentials, SwiftStore
from slowboat.engine.courier import Courier, Freight

if TYPE_CHECKING:
    from pathlib import Path

    from realparts.swift_server import SwiftServer

TEXT = 32_768
"""Bytes of a block from which it is one of a file: lists of segments and the like are shorter."""
FAST, UNKNOWN = UplinkEstimate(rate=1e9), UplinkEstimate()


class Counted:
    """A hash that counts what it is fed."""

    def __init__(self, made: Any, name: str, counts: Counter[str]) -> None:
        self._made, self._name, self._counts = made, name, counts

    def update(self, block: bytes) -> None:
        if len(block) >= TEXT:
            self._counts[self._name] += len(block)
            self._counts["on the loop"] += threading.current_thread() is threading.main_thread()
        self._made.update(block)

    def copy(self) -> Counted:
        return Counted(self._made.copy(), self._name, self._counts)

    def hexdigest(self) -> str:
        return str(self._made.hexdigest())


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    found: Counter[str] = Counter()

    def counted(name: str):
        make = getattr(hashlib, name)

        def made(text: bytes = b"", **options: object) -> Counted:
            hashed = Counted(make(b"", **options), name, found)
            hashed.update(text)
            return hashed

        monkeypatch.setattr(hashlib, name, made)

    def readv(fd: int, buffers: list[memoryview]) -> int:
        count = original(fd, buffers)
        found["read"] += count
        return count

    original = os.readv
    monkeypatch.setattr(os, "readv", readv)
    counted("md5")
    counted("sha1")
    return found


async def carried(swift: SwiftServer, folder: Path, name: str, data: bytes, means: Means) -> str:
    """The MD5 of a file that was brought to a real Swift from a real folder."""
    (folder / name).write_bytes(data)
    source = Source(folder)
    (file,) = await source.listing()
    sha1 = "" if name != GZIPPED else hashlib.new("sha1", data).hexdigest()
    item = Item(file=file, role=Role.VOLUME, chain=0, set_id=SetId(1, 1), rank=0, sha1=sha1)
    store = SwiftStore(Credentials(swift.auth_url, swift.user, swift.key), swift.container())
    freight = Freight(1e9, *[lambda _: None] * 4, lanes=2)
    try:
        return (await Courier(source, store, "").carry(item, means, freight)).md5
    finally:
        await store.close()


@pytest.mark.parametrize(
    ("size", "line", "joins", "md5", "sha1", "read"),
    [
        pytest.param(MIB, UNKNOWN, True, 1, 1, 1, id="small: sent out of memory"),
        pytest.param(3 * MIB, FAST, True, 1, 1, 2, id="one PUT: read for its hashes, and to be sent"),
        pytest.param(5 * MIB, UNKNOWN, True, 1, 1, 1, id="joined: hashed on the way"),
        pytest.param(5 * MIB, UNKNOWN, False, 2, 1, 1, id="segments that stay: their own MD5s as well"),
    ],
)
async def test_a_volume_is_hashed_once_for_each_that_asks(swift, tmp_path, counts, size, line, joins, md5, sha1, read):
    data, means = volume(size), Means(line, Limits(bulk_delete=True), can(joins=joins))
    assert await carried(swift, tmp_path, GZIPPED, data, means) == hashlib.new("md5", data).hexdigest()
    expected = Counter({"md5": md5 * size, "sha1": sha1 * size, "read": read * size})
    assert +counts == expected


@pytest.mark.parametrize("line", [FAST, UNKNOWN])
async def test_what_has_no_sha1_is_hashed_once_and_read_twice(swift, tmp_path, counts, line):
    data = gzip.compress(volume(2 * MIB), mtime=0).ljust(3 * MIB, b"\0")
    means = Means(line, Limits(bulk_delete=True), can(joins=True))
    assert await carried(swift, tmp_path, SIGNATURES, data, means) == hashlib.new("md5", data).hexdigest()
    assert +counts == Counter({"md5": len(data), "read": 2 * len(data)})


async def test_where_no_etag_is_checked_the_body_is_hashed_as_well(swift, tmp_path, counts):
    data = volume(3 * MIB)
    means = Means(FAST, Limits(bulk_delete=True), can(joins=True, checks_md5=False))
    await carried(swift, tmp_path, GZIPPED, data, means)
    assert +counts == Counter({"md5": 2 * len(data), "sha1": len(data), "read": 2 * len(data)})


def can(**but: bool):
    """A real Swift, but for what is named."""
    return replace(ALL, **but)
