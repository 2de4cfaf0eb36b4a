"""Times on the command line are local: the tests live in one known place."""

from __future__ import annotations

import os
import time

import pytest


@pytest.fixture(autouse=True, scope="module")
def _berlin():
    before = os.environ.get("TZ")
    os.environ["TZ"] = "Europe/Berlin"
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()
