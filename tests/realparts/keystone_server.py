"""A real Keystone, and a real Swift that asks it who may do what.

One Keystone for the run, as contrib/real/one_process_keystone.py starts it. Tests make users, projects and application
credentials of their own; what the catalogue says is the same for all (`KeystoneServer.offer`).
"""

from __future__ import annotations

import itertools
import socket
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests
import swiftclient

from realparts.presence import ROOT, absent, with_us
from realparts.swift_server import SwiftServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PYTHON = ROOT / ".venv-keystone/bin/python"

NORTH, SOUTH = "north", "south"
"""The regions of the catalogue: the real Swift is in the north, nothing answers in the south."""

NOBODY = "http://127.0.0.1:1"
"""Where nothing answers."""

_numbers = itertools.count(1)


@dataclass(frozen=True)
class User:
    """Somebody who may write to the account of a project, unless `member` was false."""

    id: str
    name: str
    password: str
    domain: str
    domain_id: str
    project: str
    project_id: str


class KeystoneServer:
    """One Keystone.

    Attributes:
        url: its address, ending in /v3.
    """

    def __init__(self, storage: Path) -> None:
        self.storage = storage
        self.url = ""
        self._process: subprocess.Popen[str] | None = None
        self._roles: dict[str, str] = {}
        self._token = ""

    def launch(self) -> None:
        """Starts it on a free port; what needs no more than its address can be started meanwhile."""
        if not PYTHON.exists():
            absent("Keystone in .venv-keystone", "run contrib/setup")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/v3"
        self.storage.mkdir(parents=True, exist_ok=True)
        program = ROOT / "contrib/real/one_process_keystone.py"
        with (self.storage / "stderr").open("a") as stderr:
            self._process = subprocess.Popen(
                with_us(PYTHON, program, "--dir", self.storage, f"--port={port}"),
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )

    def wait(self) -> None:
        """Waits until it answers, and makes what Swift needs in it."""
        assert self._process
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line.startswith(f"READY {self.url}"), (line, (self.storage / "stderr").read_text())
        self._token = self.token("admin", "admin", "admin")
        self._roles = {role["name"]: role["id"] for role in self.ask("GET", "/roles")["roles"]}
        service = self._made("project", name="service", domain_id="default")
        swift = self._made("user", name="swift", password="swift", domain_id="default")
        self._grant(swift, service, "admin", "service")

    def offer(self, swift: SwiftServer) -> None:
        """Fills the catalogue: `swift` in the north, nobody in the south and at the internal address.

        Keystone itself is in the catalogue too: Swift's middleware looks there for it.
        """
        account = "/v1/AUTH_%(project_id)s"
        for region in (NORTH, SOUTH):
            self.ask("POST", "/regions", json={"region": {"id": region}})
        identity = self._made("service", type="identity", name="keystone")
        store = self._made("service", type="object-store", name="swift")
        for service, region, interface, url in (
            (identity, NORTH, "internal", self.url),
            (store, SOUTH, "public", NOBODY + account),
            (store, NORTH, "public", f"http://127.0.0.1:{swift.port}{account}"),
            (store, NORTH, "internal", NOBODY + account),
        ):
            self._made("endpoint", service_id=service, region_id=region, interface=interface, url=url)

    def stop(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.communicate(timeout=20)
            self._process = None

    def ask(self, method: str, path: str, token: str = "", **options: Any) -> Any:
        """A request of the administrator's, or of whoever `token` belongs to; the answer's JSON, or None."""
        headers = {"X-Auth-Token": token or self._token, **options.pop("headers", {})}
        answer = requests.request(method, f"{self.url}{path}", headers=headers, timeout=60, **options)
        assert answer.ok, (method, path, answer.status_code, answer.text)
        return answer.json() if answer.content else None

    def token(self, user: str, password: str, project: str, domain_id: str = "default") -> str:
        domain = {"id": domain_id}
        who = {"name": user, "domain": domain, "password": password}
        asked = {
            "identity": {"methods": ["password"], "password": {"user": who}},
            "scope": {"project": {"name": project, "domain": domain}},
        }
        answer = requests.post(f"{self.url}/auth/tokens", json={"auth": asked}, timeout=60)
        assert answer.status_code == 201, answer.text
        return answer.headers["X-Subject-Token"]

    def revoke(self, token: str) -> None:
        self.ask("DELETE", "/auth/tokens", headers={"X-Subject-Token": token})

    def user(self, domain: str = "", *, member: bool = True) -> User:
        """A new user in a new project, both in the first domain or in a new one whose name begins with `domain`."""
        number = next(_numbers)
        name = f"{domain}{number}" if domain else "Default"
        domain_id = self._made("domain", name=name) if domain else "default"
        project = self._made("project", name=f"project{number}", domain_id=domain_id)
        password = f"sesame-{number}-opens"
        user = self._made("user", name=f"user{number}", password=password, domain_id=domain_id)
        if member:
            self._grant(user, project, "member")
        return User(user, f"user{number}", password, name, domain_id, f"project{number}", project)

    def new_password(self, user: User, password: str) -> None:
        """What an administrator does to an account that was lost to somebody: all its tokens end with it.

        Keystone tells the time of that in whole seconds, and takes a token of the same second for an older one; so
        this waits for the next.
        """
        self.ask("PATCH", f"/users/{user.id}", json={"user": {"password": password}})
        time.sleep(1.1)

    def application_credential(self, user: User, name: str) -> tuple[str, str]:
        """A new one of the user's, with all rights there: its id and its secret."""
        token = self.token(user.name, user.password, user.project, user.domain_id)
        asked = {"application_credential": {"name": name}}
        made = self.ask("POST", f"/users/{user.id}/application_credentials", token, json=asked)
        return made["application_credential"]["id"], made["application_credential"]["secret"]

    def _made(self, kind: str, **values: str) -> str:
        return str(self.ask("POST", f"/{kind}s", json={kind: values})[kind]["id"])

    def _grant(self, user: str, project: str, *roles: str) -> None:
        for role in roles:
            self.ask("PUT", f"/projects/{project}/users/{user}/roles/{self._roles[role]}")


class KeystoneSwift(SwiftServer):
    """The Swift in that Keystone's catalogue, looked into as one of its users."""

    def __init__(self, storage: Path, keystone: KeystoneServer) -> None:
        super().__init__(storage, {"keystone": keystone.url})
        self.keystone = keystone
        self.owner: User | None = None
        self._tokens: dict[User, str] = {}

    def account(self, user: User) -> str:
        """The address of the user's account."""
        return f"http://127.0.0.1:{self.port}/v1/AUTH_{user.project_id}"

    @contextmanager
    def connection(self) -> Iterator[swiftclient.Connection]:
        """A client of the tests' own, as `owner`."""
        assert self.owner, "whose account?"
        owner = self.owner
        if owner not in self._tokens:
            self._tokens[owner] = self.keystone.token(owner.name, owner.password, owner.project, owner.domain_id)
        token = self._tokens[owner]
        connection = swiftclient.Connection(preauthurl=self.account(owner), preauthtoken=token, retries=0)
        try:
            yield connection
        finally:
            connection.close()


@contextmanager
def running_keystone(storage: Path) -> Iterator[KeystoneSwift]:
    """A Keystone and its Swift that run until the block ends."""
    keystone = KeystoneServer(storage / "keystone")
    try:
        keystone.launch()
        swift = KeystoneSwift(storage / "swift", keystone)
        try:
            swift.start()
            keystone.wait()
            keystone.offer(swift)
            yield swift
        finally:
            swift.stop()
    finally:
        keystone.stop()
