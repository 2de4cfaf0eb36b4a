"""The real daemon on a real uplink that somebody else uses too: a bottleneck between network namespaces."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from realparts.presence import in_namespaces

if TYPE_CHECKING:
    from collections.abc import Mapping

BESIDE_A_PHONE = Path(__file__).parents[1] / "realparts/beside_a_phone.py"


@pytest.mark.alone
@pytest.mark.needs("ip", "tc", "nsenter", "busctl", "dbus-daemon", "openssl")
def test_it_makes_way_for_a_phones_upload_unless_told_otherwise(tmp_path: Path) -> None:
    told: Mapping[str, dict[str, float]] = json.loads(
        in_namespaces(sys.executable, BESIDE_A_PHONE, tmp_path, timeout=240)
    )
    alone, spare, go = told["alone"], told["spare"], told["go"]
    assert alone["laptop"] > 0.5, told
    assert "spare" in str(spare["mode"])
    assert "crowded" in str(spare["reasons"])
    assert spare["phone"] > 2 * spare["laptop"], told
    assert "go" in str(go["mode"])
    assert "crowded" not in str(go["reasons"])
    assert go["laptop"] > 2 * spare["laptop"], told  # so it was the pace that made way, and not the line
