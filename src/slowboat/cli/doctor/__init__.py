"""`doctor`: looks at everything that slowboat needs, changes nothing, and says what is not well and what helps.

Knows what is looked at, and in which order; must not know what a fact means (core/checkup).
"""

from slowboat.cli.doctor.command import doctor, missing

__all__ = ["doctor", "missing"]
