"""observe -> plan -> perform -> record: the loop, the only writer of the ledger.

Imports core only; edges come in as the Protocols of `ports`.
"""
