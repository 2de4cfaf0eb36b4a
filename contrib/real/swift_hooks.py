"""What stands in for memcached and syslog in the one-process Swift; its configuration names these by path.

Knows Swift's cache interface (swift.common.memcached.MemcacheRing) and its log_custom_handlers hook; must not
know how the servers are started.
"""

from __future__ import annotations

import json
import logging
import time
from typing import Any


class DictCache:
    """The part of Swift's memcache client that its middleware calls, kept in this process's memory.

    Values pass through JSON, as they would on their way to memcached, so that tuples come back as lists.
    """

    def __init__(self) -> None:
        self._entries: dict[str, tuple[Any, float]] = {}

    def get(self, key: str, raise_on_error: bool = False) -> Any:
        value, ends = self._entries.get(key, (None, 0.0))
        if ends and ends < time.time():
            del self._entries[key]
            return None
        return value

    def set(
        self,
        key: str,
        value: Any,
        serialize: bool = True,
        time: float = 0,
        min_compress_len: int = 0,
        raise_on_error: bool = False,
    ) -> bool:
        if serialize and not isinstance(value, bytes):
            value = json.loads(json.dumps(value))
        self._entries[key] = (value, _ends(time))
        return True

    def incr(self, key: str, delta: int = 1, time: float = 0) -> int:
        count = max(0, int(self.get(key) or 0) + int(delta))
        self._entries[key] = (count, _ends(time))
        return count

    def decr(self, key: str, delta: int = 1, time: float = 0) -> int:
        return self.incr(key, -delta, time)

    def delete(self, key: str, server_key: str | None = None) -> None:
        self._entries.pop(key, None)

    def set_multi(
        self,
        mapping: dict[str, Any],
        server_key: str | None = None,
        serialize: bool = True,
        time: float = 0,
        min_compress_len: int = 0,
    ) -> None:
        for key, value in mapping.items():
            self.set(key, value, serialize=serialize, time=time)

    def get_multi(self, keys: list[str], server_key: str | None = None) -> list[Any]:
        return [self.get(key) for key in keys]


def _ends(seconds: float) -> float:
    return time.time() + float(seconds) if seconds else 0.0


def cache_factory(global_conf: dict[str, str], **local_conf: str) -> Any:
    """A paste filter that hands every request the one DictCache of its pipeline."""
    cache = DictCache()

    def put_before(app: Any) -> Any:
        def answer(environ: dict[str, Any], start_response: Any) -> Any:
            environ["swift.cache"] = cache
            return app(environ, start_response)

        return answer

    return put_before


def log_to_file(
    conf: dict[str, str], name: str, console: str, route: str, fmt: str, logger: logging.Logger, adapted: Any
) -> None:
    """Swift's hook for log handlers: everything to the file `log_file` names, nothing to syslog."""
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
    handler = logging.FileHandler(conf["log_file"])
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s"))
    logger.addHandler(handler)
