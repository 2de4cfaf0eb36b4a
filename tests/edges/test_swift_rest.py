"""What a store keeps after a request and at rest: no body, no thread, no socket; and it goes on as before."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

from slowboat.edges import process
from slowboat.edges.swift import Credentials, SwiftStore
from slowboat.edges.swift.wire import Wire

if TYPE_CHECKING:
    from realparts.swift_server import SwiftServer

MIB = 1 << 20


def sockets() -> int:
    links = (str(path.readlink()) for path in list(Path("/proc/self/fd").iterdir()) if path.is_symlink())
    return sum(link.startswith("socket:") for link in links)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("slowboat-swift")]


async def settled(holds) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.01)


def wires() -> set[int]:
    return {id(each) for each in gc.get_objects() if isinstance(each, Wire)}


class Body:
    """A reader that can be asked after."""

    def __init__(self, size: int) -> None:
        self.left = size

    def readinto(self, buffer: memoryview, /) -> int:
        count = min(len(buffer), self.left)
        self.left -= count
        return count


async def test_a_request_that_is_over_keeps_no_body(swift: SwiftServer) -> None:
    store = SwiftStore(Credentials(swift.auth_url, swift.user, swift.key), swift.container())
    body = Body(MIB)
    seen = weakref.ref(body)
    await store.put("a", body, MIB)
    del body
    await settled(lambda: gc.collect() is not None and seen() is None)
    await store.close()


async def test_rest_lets_go_of_threads_and_sockets_and_the_next_request_works(swift: SwiftServer) -> None:
    gc.collect()
    before = sockets()
    others = wires()
    store = SwiftStore(Credentials(swift.auth_url, swift.user, swift.key), swift.container(), connections=3)
    await asyncio.gather(*(store.put(f"{n}", b"x" * 1000, 1000) for n in range(3)))
    assert sockets() > before
    assert threads()
    store.release()
    await settled(lambda: not threads() and sockets() == before)
    gc.collect()
    assert wires() <= others
    process.give_back()
    assert {stored.name for stored in await store.listing("")} == {"0", "1", "2"}
    await store.close()
    await settled(lambda: not threads() and sockets() == before)
    store.release()  # nothing to do any more


async def test_rest_does_not_disturb_what_is_under_way(swift: SwiftServer) -> None:
    store = SwiftStore(Credentials(swift.auth_url, swift.user, swift.key), swift.container(), rate=2 * MIB)
    handed: list[int] = []
    sending = asyncio.ensure_future(store.put("a", bytes(MIB), MIB, progress=handed.append))
    await settled(lambda: sum(handed) > 0)
    store.release()
    assert (await sending).size == MIB
    await store.close()


PROGRAM = """
import asyncio, sys, warnings
warnings.simplefilter("error")
from slowboat.edges.swift import Credentials, SwiftStore

async def main():
    store = SwiftStore(Credentials(*sys.argv[1:4]), sys.argv[4])
    loaded = "requests" in sys.modules
    await store.put("a", b"x", 1)
    print(loaded, "requests" in sys.modules, await store.head("a") is not None)
    await store.close()

asyncio.run(main())
print([name for name in sys.modules if name.startswith(("chardet", "charset_normalizer", "keystoneauth1"))])
import charset_normalizer  # whoever wants it still gets it
"""


def test_a_request_loads_no_more_than_it_needs(swift: SwiftServer) -> None:
    argv = [sys.executable, "-c", PROGRAM, swift.auth_url, swift.user, swift.key, swift.container()]
    run = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert run.stdout.splitlines() == ["False True True", "[]"], run.stderr
    assert run.stderr == ""


OLD_REQUESTS = """
import sys, types
import importlib.abc, importlib.machinery

class Old(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        return importlib.machinery.ModuleSpec(name, self) if name == "requests" else None
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        import charset_normalizer
        module.guesser = charset_normalizer

sys.meta_path.insert(0, Old())
import slowboat.edges.swift.lean
import requests
print(requests.guesser.__name__)
"""


def test_a_requests_that_insists_on_its_guesser_gets_it() -> None:
    run = subprocess.run([sys.executable, "-c", OLD_REQUESTS], capture_output=True, text=True, timeout=60, check=False)
    assert run.stdout.strip() == "charset_normalizer", run.stderr
