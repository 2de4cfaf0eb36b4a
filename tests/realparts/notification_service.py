"""A desktop notification service: prints each notification as one JSON line, as a desktop would show it.

Speaks https://specifications.freedesktop.org/notification-spec/1.2/ on $DBUS_SESSION_BUS_ADDRESS until killed.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from realparts.presence import ROOT, program, with_us
from slowboat.edges.dbus import Answer, Call, Connection

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "org.freedesktop.Notifications"


class Desktop:
    """What a notification service remembers: the numbers it gave."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._last = 0

    def answer(self, call: Call) -> Answer:
        match call.member:
            case "Press":  # not the specification's: the user's finger
                self.connection.emit(call.path, NAME, "ActionInvoked", "us", *call.body)
                return Answer("", ())
            case "Notify":
                return Answer("u", (self._shown(*call.body),))
            case "GetCapabilities":
                return Answer("as", (["actions", "body", "persistence"],))
            case "GetServerInformation":
                return Answer("ssss", ("gnome-shell", "GNOME", "43.9", "1.2"))
            case "CloseNotification":
                print(json.dumps({"closed": call.body[0]}), flush=True)
                return Answer("", ())
            case _:
                return Answer("", ())

    def _shown(self, app: str, replaces: int, icon: str, title: str, body: str, *rest: Any) -> int:
        if not replaces:
            self._last += 1
        number = replaces or self._last
        shown = {"id": number, "replaces": replaces, "app": app, "icon": icon, "title": title, "body": body}
        hints = {name: value for name, value in rest[1].items() if not isinstance(value, bytes)}
        print(json.dumps(shown | {"actions": rest[0], "hints": hints}), flush=True)
        return number


class Notifications:
    """What a running service has shown so far."""

    def __init__(self, shown: Path, address: str) -> None:
        self._shown = shown
        self._address = address

    @property
    def all(self) -> list[dict[str, Any]]:
        return [line for line in self._lines if "closed" not in line]

    @property
    def open(self) -> set[str]:
        """The titles of those that nobody has closed."""
        closed = {line["closed"] for line in self._lines if "closed" in line}
        return {str(each["title"]) for each in self.all if each["id"] not in closed}

    @property
    def _lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._shown.read_text().splitlines()[1:]]

    def press(self, notice: dict[str, Any]) -> None:
        """Presses the first button of a notice."""
        argv = [program("busctl"), f"--address={self._address}", "call", NAME, "/org/freedesktop/Notifications", NAME]
        subprocess.run([*argv, "Press", "us", str(notice["id"]), notice["actions"][0]], check=True, capture_output=True)

    @property
    def titles(self) -> list[str]:
        return [str(each["title"]) for each in self.all]


@contextmanager
def running_notifications(address: str, folder: Path) -> Iterator[Notifications]:
    """A notification service on that bus until the block ends."""
    shown = folder / "notifications"
    environment = {"DBUS_SESSION_BUS_ADDRESS": address, "PYTHONPATH": f"{ROOT}/src:{ROOT}/tests"}
    argv = with_us(sys.executable, "-m", __name__)
    with shown.open("w") as out, subprocess.Popen(argv, env=environment, stdout=out) as process:
        try:
            while not shown.read_text():
                assert process.poll() is None, "the notification service did not start"
                time.sleep(0.02)
            yield Notifications(shown, address)
        finally:
            process.kill()


async def _serve() -> None:
    async with await Connection.open("session") as connection:
        connection.serve(Desktop(connection).answer)
        assert await connection.own(NAME)
        print("READY", flush=True)
        await connection.wait_closed()


if __name__ == "__main__":
    asyncio.run(_serve())
