"""A Secret Service: the interface of https://specifications.freedesktop.org/secret-service/ with entries in memory.

Runs on $DBUS_SESSION_BUS_ADDRESS until killed. Knows only the plain session, as the specification lets it; clients
fall back to it. Entries whose label begins with "locked" are locked until the user logs in (`unlock`): then it says
what gnome-keyring 42 says. No client can unlock them.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from realparts.presence import ROOT, with_us
from slowboat.edges.dbus import PROPERTIES, Answer, Call, CallRefused, Connection, Variant

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "org.freedesktop.secrets"
SECRETS = "org.freedesktop.Secret."
COLLECTION = "/org/freedesktop/secrets/aliases/default"
SESSION = "/org/freedesktop/secrets/session/1"


class Keyring:
    """The entries: path to (label, attributes, secret)."""

    def __init__(self, entries: list[tuple[str, dict[str, str], str]], connection: Connection, *, silent: bool) -> None:
        self._connection = connection
        self._entries = {
            f"/org/freedesktop/secrets/collection/x/{n}": (label, attributes, secret.encode(errors="surrogateescape"))
            for n, (label, attributes, secret) in enumerate(entries)
        }
        self._silent = silent
        self._unlocked = False

    def unlock(self) -> None:
        """As the login does it, with the signals that follow."""
        self._unlocked = True
        changed = {"Locked": Variant("b", False)}
        for path in (*self._entries, COLLECTION):
            interface = SECRETS + ("Collection" if path == COLLECTION else "Item")
            self._connection.emit(path, PROPERTIES, "PropertiesChanged", "sa{sv}as", interface, changed, [])
        for path in self._entries:
            self._connection.emit(COLLECTION, SECRETS + "Collection", "ItemChanged", "o", path)
        self._connection.emit("/org/freedesktop/secrets", SECRETS + "Service", "CollectionChanged", "o", COLLECTION)

    async def answer(self, call: Call) -> Answer:
        if self._silent:
            await asyncio.Event().wait()
        match call.interface.removeprefix(SECRETS), call.member:
            case "Service", "OpenSession" if call.body[0] == "plain":
                return Answer("vo", (Variant("s", ""), SESSION))
            case "Service", "OpenSession":
                raise CallRefused("org.freedesktop.DBus.Error.NotSupported", "only plain")
            case "Service", "SearchItems":
                found = [path for path, entry in self._entries.items() if call.body[0].items() <= entry[1].items()]
                locked = [path for path in found if self._locked(path)]
                return Answer("aoao", ([path for path in found if path not in locked], locked))
            case "Item", "GetSecret" if not self._locked(call.path):
                return Answer("(oayays)", ([SESSION, b"", self._entries[call.path][2], "text/plain"],))
            case "Collection", "CreateItem":
                return Answer("oo", (self._create(*call.body), "/"))
            case _, "Get":
                return Answer("v", (self._property(call.path, call.body[1]),))
        raise CallRefused("org.freedesktop.DBus.Error.UnknownMethod", call.member)

    def _locked(self, path: str) -> bool:
        return self._entries[path][0].startswith("locked") and not self._unlocked

    def _property(self, path: str, name: str) -> Variant:
        if name == "Locked":
            return Variant("b", path != COLLECTION and self._locked(path))
        return Variant("s", "default" if path == COLLECTION else self._entries[path][0])

    def _create(self, properties: dict[str, Any], secret: list[Any], replace: bool) -> str:
        attributes = properties[SECRETS + "Item.Attributes"]
        same = [path for path, entry in self._entries.items() if entry[1] == attributes]
        path = same[0] if same and replace else f"/org/freedesktop/secrets/collection/x/{len(self._entries)}"
        self._entries[path] = (properties[SECRETS + "Item.Label"], attributes, bytes(secret[2]))
        self._connection.emit(COLLECTION, SECRETS + "Collection", "ItemCreated", "o", path)
        return path


@dataclass(frozen=True)
class RunningKeyring:
    """A Secret Service in its process."""

    process: subprocess.Popen[str]

    def unlock(self) -> None:
        """The user logs in."""
        self.process.send_signal(signal.SIGUSR1)


@contextmanager
def running_keyring(
    address: str, entries: list[tuple[str, dict[str, str], str]] | None = None, *, silent: bool = False
) -> Iterator[RunningKeyring]:
    """A Secret Service on that bus until the block ends; a `silent` one never answers."""
    environment = {"DBUS_SESSION_BUS_ADDRESS": address, "PYTHONPATH": f"{ROOT}/src:{ROOT}/tests"}
    argv = with_us(sys.executable, "-m", __name__, json.dumps([entries or [], silent]))
    with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "READY\n", "the keyring did not start"
            yield RunningKeyring(process)
        finally:
            process.kill()


async def _serve() -> None:
    entries, silent = json.loads(sys.argv[1])
    async with await Connection.open("session") as connection:
        keyring = Keyring(entries, connection, silent=silent)
        connection.serve(keyring.answer)
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, keyring.unlock)
        assert await connection.own(NAME)
        print("READY", flush=True)
        await connection.wait_closed()


if __name__ == "__main__":
    asyncio.run(_serve())
