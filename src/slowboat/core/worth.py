"""The words for what the cloud alone is worth.

Knows what they mean; must not know how it is found out (account), so that who only shows them need not either.
"""

from __future__ import annotations

import enum


class Worth(enum.Enum):
    """What the cloud alone is worth, from nothing on. Stable words: D-Bus shows them as they are."""

    NOTHING = "nothing"  # no backup can be restored from it
    SOME = "some"  # older ones can, the newest cannot
    NEWEST = "newest"  # the newest can, with all of its chain; something older is missing
    ALL = "all"  # the drive is no longer the only copy
    REPLACED = "replaced"  # what was moved there was removed by its owner; duplicity's own newer backups stand there


NOT_YET = "The cloud does not have everything yet. Keep the drive."
"""The promise where nothing is known, too."""
