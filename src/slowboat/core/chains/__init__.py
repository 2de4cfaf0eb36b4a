"""Files -> backup sets -> backup chains; what is complete, missing, orphaned; what is adopted, in what order.

Knows how duplicity puts its files together (docs/duplicity.md, "Chains") and what forbids the adoption of a
chain. Must not know where the files are, nor what stands at a target.
"""

from slowboat.core.chains.adoption import adopt
from slowboat.core.chains.inventory import (
    BackupSet,
    Chain,
    Inventory,
    continues,
    describe,
    take_inventory,
    when,
)
from slowboat.core.chains.soundness import LeftOut, chain_problems, forbidden, left_out, links, problems

__all__ = [
    "BackupSet",
    "Chain",
    "Inventory",
    "LeftOut",
    "adopt",
    "chain_problems",
    "continues",
    "describe",
    "forbidden",
    "left_out",
    "links",
    "problems",
    "take_inventory",
    "when",
]
