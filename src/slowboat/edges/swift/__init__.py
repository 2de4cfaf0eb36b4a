"""The Swift edge: a container at an OpenStack Object Store as the engine's Store.

Importing it loads no HTTP library; the first request does.

Knows Swift's API, its dialects and the HTTP libraries; must not know what an object is for.
"""

from __future__ import annotations

from slowboat.edges.swift.credentials import Credentials
from slowboat.edges.swift.store import SwiftStore
from slowboat.edges.swift.throttle import Throttle

__all__ = ["Credentials", "SwiftStore", "Throttle"]
