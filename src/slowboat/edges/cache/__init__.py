"""duplicity's caches on this machine: found by what they hold, installed for the target, taken back.

`finding` looks for the cache that belongs to a chain, `installing` puts a copy in place and takes it away,
`keeping_off` keeps duplicity away from a target for a while, `locking` holds duplicity's own lock meanwhile, `workshop`
is the hidden folder in which that is done, `edge` puts them together off the event loop.

Knows how duplicity keeps and locks its caches; must not know when a backup may be handed over.
"""

from slowboat.edges.cache.edge import Cache
from slowboat.edges.cache.finding import usual_archive_dirs

__all__ = ["Cache", "usual_archive_dirs"]
