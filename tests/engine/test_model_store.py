"""The model of a Swift store keeps to what the real one keeps to."""

from __future__ import annotations

import time

import pytest

from edges.store_conformance import StoreConformance
from engine.model_store import ARCHIVE, CAN, CARELESS, CLOSED, NO_COPY, NO_SLO, RGW, ModelStore
from slowboat.core.capabilities import judge


class TestModelStore(StoreConformance):
    @pytest.fixture
    def store(self):
        return ModelStore(time.time)


class TestModelOfCephsGateway(StoreConformance):
    can = CAN[RGW]
    lists_slos = checks_parts = False

    @pytest.fixture
    def store(self):
        return ModelStore(time.time, quirks=RGW)


class TestModelOfASwiftWithoutCopy(StoreConformance):
    can = CAN[NO_COPY]

    @pytest.fixture
    def store(self):
        return ModelStore(time.time, quirks=NO_COPY)


@pytest.mark.parametrize("quirks", [NO_SLO, ARCHIVE, CARELESS, CLOSED])
async def test_the_probe_finds_what_a_lesser_server_can(quirks):
    assert judge(await ModelStore(time.time, quirks=quirks).observe("m")) == CAN[quirks]


async def test_what_has_no_answer_yet_leaves_the_same_few_objects_however_often_it_is_asked():
    store = ModelStore(time.time, quirks=ARCHIVE)
    left = set()
    for _ in range(5):
        await store.observe("m")
        left |= store.alive(segments=True).keys()
    assert {name.rsplit("/", 1)[-1] for name in left} <= {"guard", "1", "2", "checked", "slo", "copy"}
    assert {name.count("/") for name in left} == {3}
    assert all(stored.expires for stored in store.alive(segments=True).values())
    assert sum(request.startswith("PUT slowboat1/probe/m/1") for request in store.requests) == 1, "it may thaw"
