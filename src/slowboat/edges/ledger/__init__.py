"""slowboat's own memory: one SQLite file in the state folder.

`schema` is what stands in it, `opening` gets hold of the file and keeps it whole, `rows` turns objects into rows and
back, `edge` is the engine's `Ledger`.
"""

from slowboat.edges.ledger.edge import Ledger
from slowboat.edges.ledger.opening import WAITED_OUT

__all__ = ["WAITED_OUT", "Ledger"]
