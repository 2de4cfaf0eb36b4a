"""slowboat: moves an existing duplicity backup from a drive to OpenStack Swift, behind your back."""

__version__ = "0.1.0"
