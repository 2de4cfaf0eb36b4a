"""The folder on the drive: listed, read and hashed; never written to.

`drive` tells which drive a folder is on and whether it is still there, `reader` reads one file and notices
when it is not what was adopted, `folder` puts them together off the event loop.

Knows drives, mounts and files; must not know what a file is for.
"""

from slowboat.edges.source.folder import Source

__all__ = ["Source"]
