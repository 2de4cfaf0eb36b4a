"""A real Swift as contrib/swift starts it, with a client of its own to look inside."""

from __future__ import annotations

import itertools
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import swiftclient

from realparts.presence import ROOT, absent, with_us

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_numbers = itertools.count(1)


class SwiftServer:
    """One Swift; `start` and `stop` may be repeated and keep data and port.

    Attributes:
        launcher: the command that starts it and prints READY and its address.
        storage: its folder: data, configuration, swift.log.
        auth_url: for v1 authentication, ending in /auth/v1.0.
        user, key: an account that may write.
    """

    user = "test:tester"
    key = "testing"
    launcher = ROOT / "contrib/swift"

    def __init__(self, storage: Path, options: Mapping[str, object]) -> None:
        self.storage = storage
        self.auth_url = ""
        self._options = dict(options)
        self._process: subprocess.Popen[str] | None = None

    def need(self) -> None:
        """Ends the running test where the server is not on this machine."""
        if not (ROOT / ".venv/bin/swift-object-server").exists():
            absent("the swift package in .venv", "run contrib/setup")

    def start(self) -> None:
        self.need()
        if self.auth_url:
            self._options["port"] = self.port
        self.storage.mkdir(parents=True, exist_ok=True)
        flags = [
            f"--{name.replace('_', '-')}={value}"
            for name, values in self._options.items()
            for value in (values if isinstance(values, (list, tuple)) else [values])
        ]
        with (self.storage / "stderr").open("a") as stderr:
            self._process = subprocess.Popen(
                with_us(self.launcher, "--dir", self.storage, *flags),
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line.startswith("READY "), (line, (self.storage / "stderr").read_text())
        self.auth_url = line.split()[1]

    def stop(self) -> None:
        """Ends it at once, with whatever is under way."""
        if self._process:
            self._process.terminate()
            self._process.communicate(timeout=20)
            self._process = None

    def kill(self) -> None:
        """kill -9, as a power cut does it; `start` finds what was on its disk."""
        if self._process:
            self._process.kill()
            self._process.communicate(timeout=20)
            self._process = None

    @property
    def port(self) -> int:
        return int(self.auth_url.split(":")[2].split("/")[0])

    def environment(self) -> dict[str, str]:
        """What duplicity's swift:// wants to find in its environment.

        The ST_ names too: duplicity's swiftbackend asks sizes and deletes through SwiftService, which takes
        v1 credentials from these alone and otherwise turns to Keystone (process_options in
        https://opendev.org/openstack/python-swiftclient/src/branch/master/swiftclient/service.py).
        """
        names = {"AUTHURL": self.auth_url, "USERNAME": self.user, "PASSWORD": self.key, "AUTHVERSION": "1"}
        services = {"ST_AUTH": self.auth_url, "ST_USER": self.user, "ST_KEY": self.key}
        return {f"SWIFT_{name}": value for name, value in names.items()} | services

    @contextmanager
    def connection(self) -> Iterator[swiftclient.Connection]:
        """A client of the tests' own."""
        connection = swiftclient.Connection(self.auth_url, self.user, self.key, retries=1)
        try:
            yield connection
        finally:
            connection.close()

    def container(self, stem: str = "c") -> str:
        """A name that no container has had yet on this server; the container is not made."""
        return f"{stem}-{next(_numbers)}-{time.time_ns():x}"

    def listing(self, container: str, prefix: str = "") -> dict[str, tuple[int, str]]:
        """Object name -> (bytes, MD5); {} where there is no such container."""
        with self.connection() as connection:
            try:
                _, rows = connection.get_container(container, prefix=prefix or None, full_listing=True)
            except swiftclient.ClientException as error:
                if error.http_status == 404:
                    return {}
                raise
        return {row["name"]: (row["bytes"], row["hash"]) for row in rows}

    def read(self, container: str, name: str) -> bytes:
        with self.connection() as connection:
            return bytes(connection.get_object(container, name)[1])

    def head(self, container: str, name: str) -> dict[str, str]:
        """An object's headers, their names in lower case."""
        with self.connection() as connection:
            return dict(connection.head_object(container, name))

    def wait_for_the_expirer(self, timeout: float = 60) -> None:
        """Until a pass of the server's own expirer has ended that began after this call.

        What expires goes from the answers by itself, from a listing only where the expirer deletes it: at Ceph as at
        Swift.
        """
        box = self.container("expirer")
        self.put(box, "short-lived", b"-", headers={"X-Delete-After": "1"})
        end = time.monotonic() + timeout
        while self.listing(box):
            assert time.monotonic() < end, "no pass of the server's expirer"
            time.sleep(0.1)

    def put(self, container: str, name: str, body: bytes, **keywords: object) -> None:
        """Stores an object, making the container if needed."""
        with self.connection() as connection:
            connection.put_container(container)
            connection.put_object(container, name, body, **keywords)

    def delete(self, container: str, names: Sequence[str]) -> None:
        with self.connection() as connection:
            for name in names:
                connection.delete_object(container, name)


@contextmanager
def running_swift(storage: Path, **options: object) -> Iterator[SwiftServer]:
    """A Swift that runs until the block ends; `options` are contrib/swift's, dashes as underscores."""
    server = SwiftServer(storage, options)
    server.start()
    try:
        yield server
    finally:
        server.stop()
