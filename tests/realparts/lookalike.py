"""The names that `fake_service` had before, for whoever builds on them."""

from __future__ import annotations

from realparts.fake_service import Changes, FakeNetworkManager, FakeService, Login1

Lookalike = FakeService
NetworkManagerLookalike = FakeNetworkManager

__all__ = ["Changes", "Login1", "Lookalike", "NetworkManagerLookalike"]
