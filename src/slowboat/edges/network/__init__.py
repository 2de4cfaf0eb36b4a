"""The network: whether there is a way out, through what, and whether somebody counts the bytes.

Knows NetworkManager, the desktop's portal and the kernel's routes; must not know what a network allows.
"""

from __future__ import annotations

from slowboat.edges.network.watch import NetworkWatch

__all__ = ["NetworkWatch"]
