"""A desktop session in a room: a display, a bus, a keyring, and what presses buttons there."""

from __future__ import annotations

import json
import select
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dejadup.room import RUNTIME, UID

if TYPE_CHECKING:
    from dejadup.room import Room

Seen = list[tuple[str, str, bool, bool]]
"""Role, name, whether it can be used, and whether it is on, of what the screen shows."""
HERE = Path(__file__).parent
SESSION = {
    "DBUS_SESSION_BUS_ADDRESS": f"unix:path={RUNTIME}/bus",
    "XDG_SESSION_TYPE": "x11",
    "XDG_CURRENT_DESKTOP": "GNOME",
    "GDK_BACKEND": "x11",
    "GSK_RENDERER": "cairo",
    "LIBGL_ALWAYS_SOFTWARE": "1",
    "NO_AT_BRIDGE": "0",
    "COLUMNS": "160",
}
LOGIN = "login"
"""The user's password, with which the keyring is opened."""


class Session:
    """A user's session, begun; it ends with its room.

    Attributes:
        room: where it is.
        logs: a folder of the host for what the programs say.
    """

    def __init__(self, room: Room, logs: Path) -> None:
        self.room, self.logs = room, logs
        logs.mkdir(parents=True, exist_ok=True)
        room.root(f"mkdir -p -m 700 {RUNTIME} && chown {UID}:{UID} {RUNTIME}; mkdir -p /run/dbus /opt/slowboat-bench")
        room.begin_as_root("dbus-daemon --system --nofork --nopidfile", logs / "system-bus.log")
        room.environment |= SESSION
        room.environment["DISPLAY"] = f":{self._display()}"
        room.begin(f"dbus-daemon --session --nofork --address={SESSION['DBUS_SESSION_BUS_ADDRESS']}", logs / "bus.log")
        self.wait_for(f"test -S {RUNTIME}/bus")
        room.begin(
            f"bash -c 'printf {LOGIN} | gnome-keyring-daemon --unlock --components=secrets --foreground'",
            logs / "keyring.log",
        )
        room.begin("openbox", logs / "openbox.log")
        self._accessible()
        shutil.copy(HERE / "press.py", self._tmp("press.py"))
        self._hand = room.begin("python3 -W ignore /tmp/press.py", subprocess.PIPE)

    def _tmp(self, name: str) -> str:
        return f"/proc/{self.room.pid}/root/tmp/{name}"

    def _display(self) -> int:
        """A display by a number that no other has on this machine: X's sockets are not among what a room has alone."""
        number = 1000 + self.room.pid % 50_000
        self.room.begin(f"Xvfb :{number} -screen 0 1000x800x24 -nolisten tcp", self.logs / "display.log")
        self.wait_for(f"test -S /tmp/.X11-unix/X{number}")
        return number

    def _accessible(self) -> None:
        on = "org.a11y.Bus /org/a11y/bus org.a11y.Status IsEnabled b true"
        self.wait_for(
            "gsettings set org.gnome.desktop.interface toolkit-accessibility true; "
            f"busctl --user call org.a11y.Bus /org/a11y/bus org.a11y.Bus GetAddress && busctl --user set-property {on}"
        )

    def wait_for(self, command: str, timeout: float = 60) -> None:
        end = time.monotonic() + timeout
        while (done := self.room.user(command)).returncode:
            assert time.monotonic() < end, f"`{command}`: {done.stdout[-500:]}"
            time.sleep(0.3)

    # -- the screen ------------------------------------------------------------------------------------------

    def _ask(self, *words: str, patience: float = 60) -> object:
        assert self._hand.stdin
        assert self._hand.stdout
        self._hand.stdin.write(json.dumps(words) + "\n")
        self._hand.stdin.flush()
        ready, _, _ = select.select([self._hand.stdout], [], [], patience)
        assert ready, f"the accessibility bus does not answer {words}"
        return json.loads(self._hand.stdout.readline())

    def showing(self) -> Seen:
        return [tuple(each) for each in self._ask("showing")]  # type: ignore[attr-defined,misc]

    def names(self) -> set[str]:
        return {name for _, name, _, _ in self.showing() if name}

    def press(self, name: str, *roles: str) -> bool:
        return bool(self._ask("press", name, *roles))

    def write(self, name: str, text: str) -> bool:
        return bool(self._ask("write", name, text))

    def picture(self, file: Path) -> None:
        """What the screen shows, as a PNG."""
        self.room.user("import -window root -colors 64 -depth 8 /tmp/screen.png")
        with suppress(FileNotFoundError):
            shutil.copy(self._tmp("screen.png"), file)
