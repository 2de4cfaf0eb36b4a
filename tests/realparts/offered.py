"""The real service on a real bus, for an engine that a test plays."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from slowboat.edges.bus.service import Service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def offered(engine: Any, address: str, *, version: str = "1", **options: Any) -> AsyncIterator[Service]:
    """The service, which obeys that engine from here to the end of the block."""
    service = Service(version=version, address=address, **options)
    await service.start()
    try:
        async with service.obeying(engine):
            yield service
    finally:
        await service.close()
