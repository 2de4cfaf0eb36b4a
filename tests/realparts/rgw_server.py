"""A real Ceph RADOS Gateway as contrib/rgw starts it: the other implementation of Swift's API.

It takes 20 seconds to start, so there is one for the run: what needs it stands in one file, which one process runs.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from realparts.presence import ROOT, program
from realparts.swift_server import SwiftServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class RgwServer(SwiftServer):
    """One gateway with its cluster; asked and looked into like any Swift."""

    launcher = ROOT / "contrib/rgw"

    def need(self) -> None:
        for name in ("ceph", "ceph-mon", "ceph-mgr", "ceph-osd", "radosgw"):
            program(name)


@contextmanager
def running_rgw(storage: Path, **options: object) -> Iterator[RgwServer]:
    """A gateway that runs until the block ends; `options` are contrib/rgw's, dashes as underscores."""
    server = RgwServer(storage, options)
    server.start()
    try:
        yield server
    finally:
        server.stop()
