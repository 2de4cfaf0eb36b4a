"""The command line: a client of the bus that says in plain words what the daemon does, why, and what to do.

Knows the daemon only by what it shows on D-Bus. Must not know the ledger, the drive or the cloud: what it prints
is what every other client can read too.
"""

from __future__ import annotations
