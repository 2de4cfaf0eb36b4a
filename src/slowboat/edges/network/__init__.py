"""The network: whether there is a way out, through what, and whether somebody counts the bytes."""

from __future__ import annotations

from slowboat.edges.network.watch import NetworkWatch

__all__ = ["NetworkWatch"]
