"""A private dbus-daemon: no service can be activated on it, and nobody's desktop hears of it."""

from __future__ import annotations

import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from realparts.presence import program, with_us

if TYPE_CHECKING:
    from collections.abc import Iterator

# The policy of Debian's session.conf without its service folders: an installed dunst, say, would otherwise be
# started by the first notification.
_CONFIGURATION = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={path}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""


class PrivateBus:
    """One dbus-daemon; `start` after `stop` gives a new one at the same address.

    Attributes:
        address: for DBUS_SESSION_BUS_ADDRESS or DBUS_SYSTEM_BUS_ADDRESS.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._socket = folder / "bus"
        self.address = f"unix:path={self._socket}"
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self._socket.unlink(missing_ok=True)
        configuration = self._folder / "bus.conf"
        configuration.write_text(_CONFIGURATION.format(path=self._socket))
        argv = with_us(program("dbus-daemon"), f"--config-file={configuration}", "--nofork", "--print-address=1")
        self._process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self._process.stdout
        assert self._process.stdout.readline().startswith("unix:"), "dbus-daemon did not start"

    def stop(self) -> None:
        if self._process:
            self._process.kill()
            self._process.communicate(timeout=10)
            self._process = None


@contextmanager
def running_bus() -> Iterator[PrivateBus]:
    """A bus that runs until the block ends, in a folder short enough for a socket's name."""
    with tempfile.TemporaryDirectory(prefix="sb-bus-") as folder:
        bus = PrivateBus(Path(folder))
        bus.start()
        try:
            yield bus
        finally:
            bus.stop()
