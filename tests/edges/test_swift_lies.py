"""The store before a server that lies: whatever comes, a value or one of our errors, and in bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from faults.liar import Liar
from slowboat.edges.swift import Credentials, SwiftStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture
def liar() -> Iterator[Liar]:
    with Liar() as made:
        yield made


@pytest.fixture
async def store(liar: Liar) -> AsyncIterator[SwiftStore]:
    made = SwiftStore(Credentials(liar.auth_url, "user", "key"), "c")
    yield made
    await made.close()


async def test_a_liar_that_tells_the_truth_is_a_small_swift(liar: Liar, store: SwiftStore) -> None:
    await store.put("a", b"data", 4)
    assert (await store.head("a")).size == 4
    assert await store.head("b") is None
    assert [each.name for each in await store.listing("")] == ["a"]
    assert liar.stored["c", "a"] == b"data"


async def test_a_liar_before_a_real_swift_passes_on_what_it_says(swift) -> None:
    with Liar(upstream=swift.port) as liar:
        container = swift.container()
        store = SwiftStore(Credentials(liar.auth_url, swift.user, swift.key), container)
        await store.put("a", b"data", 4)
        assert [each.name for each in await store.listing("")] == ["a"]
        await store.close()
        assert swift.read(container, "a") == b"data"
        assert liar.asked("PUT", f"/{container}/a$")
