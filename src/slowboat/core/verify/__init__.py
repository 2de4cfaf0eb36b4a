"""What is in the cloud, held against what was sent, what is on the drive, and what duplicity wrote down.

Pure: what was seen comes in, a report by backup set goes out, in states for programs and in sentences for people.

Knows the rules by which a file is right; must not know how anything is asked for or read.
"""

from __future__ import annotations

from slowboat.core.verify.compare import damaged, set_name, verify
from slowboat.core.verify.plain import as_dict, from_dict
from slowboat.core.verify.report import (
    MOST_FINDINGS,
    WRONG_AT_TARGET,
    AtTarget,
    Backup,
    Evidence,
    Finding,
    OnDrive,
    Origin,
    Reading,
    Report,
    SampleFile,
    Sentence,
    SetReport,
)

__all__ = [
    "MOST_FINDINGS", "WRONG_AT_TARGET", "AtTarget", "Backup", "Evidence", "Finding", "OnDrive", "Origin", "Reading",
    "Report", "SampleFile", "Sentence", "SetReport", "as_dict", "damaged", "from_dict", "set_name", "verify",
]  # fmt: skip
