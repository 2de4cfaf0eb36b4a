"""Calls of the C library that Python has no function for.

Knows ctypes; must not know what a call is good for. ctypes is loaded at the first call. It cannot be had everywhere (a
sandbox that forbids executable memory, and an old libffi; a C library without the function), and the daemon must live
without it: every caller catches `UNAVAILABLE` and says what is then not done.
"""

from __future__ import annotations

import os

UNAVAILABLE = (OSError, AttributeError, ImportError, MemoryError)
"""All that `call` raises."""


def call(function: str, *arguments: int | bytes | None) -> int:
    """Calls a function that takes whole numbers and pointers and answers an int, negative where it failed.

    Raises:
        OSError: the kernel says no.
        AttributeError: the C library has no such function.
        ImportError, MemoryError: ctypes cannot be had.
    """
    import ctypes

    result: int = getattr(ctypes.CDLL(None, use_errno=True), function)(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
