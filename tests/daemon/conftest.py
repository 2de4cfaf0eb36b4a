"""What the tests of the real daemon share: a proxy before its Swift, and small chains of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from on_the_wire import wire_to

from realparts.loop_thread import LoopThread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from on_the_wire import Wire

    from realparts.swift_server import SwiftServer


@pytest.fixture
def wire(swift: SwiftServer) -> Iterator[Wire]:
    """A proxy between this test's daemon and the real Swift; it misbehaves when told to."""
    with wire_to(swift.port) as proxy:
        yield proxy


@pytest.fixture
def loop_thread() -> Iterator[LoopThread]:
    """Where this test's services of the machine run."""
    made = LoopThread()
    yield made
    made.close()
