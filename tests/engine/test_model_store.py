"""The model of a Swift store keeps to what the real one keeps to."""

from __future__ import annotations

import time

import pytest

from edges.store_conformance import StoreConformance
from engine.model_store import ModelStore


class TestModelStore(StoreConformance):
    @pytest.fixture
    def store(self):
        return ModelStore(time.time)
