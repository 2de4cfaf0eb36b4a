"""What slowboat knows and decides: pure functions and frozen values.

No I/O, no clock, no asyncio, no logging; the standard library alone. `now` is always passed in.
"""
