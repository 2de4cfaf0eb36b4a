"""Loads requests without the library that guesses the encoding of texts: three megabytes, for what we never ask.

Whoever imports an HTTP library imports this module first. requests can do without a guesser since 2.32
(https://requests.readthedocs.io/en/latest/community/updates/#release-history); an earlier one gets it.
"""

from __future__ import annotations

import sys
import warnings

GUESSERS = ("chardet", "charset_normalizer")


def _load() -> None:
    absent = [name for name in GUESSERS if name not in sys.modules]
    # None stands for a module that is not there: https://docs.python.org/3/reference/import.html#the-module-cache
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type] # typeshed does not know that
    warnings.filterwarnings("ignore", "Unable to find acceptable character detection dependency")
    try:
        import requests  # noqa: F401 - it is loaded, that is all
    except ImportError:
        for name in [name for name in sys.modules if name.partition(".")[0] == "requests"]:
            del sys.modules[name]
    finally:
        for name in absent:
            del sys.modules[name]


_load()
