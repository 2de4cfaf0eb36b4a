"""The process's memory, as the C library keeps it: little to begin with, and given back at rest.

Knows glibc's malloc (https://man7.org/linux/man-pages/man3/mallopt.3.html); must not know what used the memory. By
itself malloc keeps what was freed: in a heap per thread, and in the one that grew around an upload's buffers. Another
C library has neither call, and then nothing is done.
"""

from __future__ import annotations

import gc
import logging

from slowboat.edges.libc import UNAVAILABLE, call

log = logging.getLogger(__name__)

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # malloc.h
LARGE = 128 * 1024
"""Bytes from which a block is a mapping of its own, which goes when it is freed. It is the C library's own default,
but one that would grow with the first large block."""


def be_sparing() -> None:
    """One heap for all threads, and large blocks outside it. To be called before the first thread is."""
    try:
        for option, value in ((M_ARENA_MAX, 1), (M_MMAP_THRESHOLD, LARGE), (M_TRIM_THRESHOLD, LARGE)):
            call("mallopt", option, value)
    except UNAVAILABLE as error:
        log.debug("malloc stays as it is: %s", error)


def give_back() -> None:
    """Collects what nobody holds any more and gives free memory back to the system; some ten milliseconds."""
    gc.collect()
    try:
        call("malloc_trim", 0)
    except UNAVAILABLE as error:
        log.debug("free memory is kept: %s", error)
