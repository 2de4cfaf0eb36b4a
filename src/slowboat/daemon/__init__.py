"""The composition root: builds the edges, gives them to the engine, and runs until told to stop.

Knows everybody, and decides nothing.
"""

from slowboat.daemon.running import main

__all__ = ["main"]
