"""slowboat's own memory: one SQLite file in the state folder.

`schema` is what stands in it, `opening` gets hold of the file and keeps it whole, `rows` turns objects into rows and
back, `edge` is the engine's `Ledger`.

Knows SQLite and how a file is kept whole; must not know what the facts are for.
"""

from slowboat.edges.ledger.edge import Ledger

__all__ = ["Ledger"]
