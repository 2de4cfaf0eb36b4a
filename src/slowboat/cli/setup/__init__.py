"""`setup`: from nothing to a daemon that sends, with what the machine knows already and a few answers.

Knows which step comes when; must not know how anything is found, asked of a server, or drawn (the modules beside it).
Nothing is written before the last question has been answered with yes, but the containers, after a yes of their own.
"""

from slowboat.cli.setup.command import setup

__all__ = ["setup"]
