"""A real NetworkManager in mount and network namespaces of its own, on a private bus.

One cable (`up0`) leads to a peer in a second network namespace, which answers NetworkManager's connectivity check
(as the internet, as a captive portal, or not at all) and serves DHCP. The tests reach NetworkManager through the
bus's socket, which stands outside the namespaces; nothing reaches the machine's own network.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from realparts.presence import absent, not_permitted, program, with_us
from realparts.private_bus import running_bus

if TYPE_CHECKING:
    from collections.abc import Iterator

_HTTP = """
import http.server, pathlib, sys
mode = pathlib.Path(sys.argv[1])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        portal = mode.read_text() == "portal"
        self.send_response(302 if portal else 200)
        if portal:
            self.send_header("Location", "http://10.77.0.1/login")
        body = b"Please log in" if portal else b"NetworkManager is online"
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("10.77.0.1", 80), Handler).serve_forever()
"""

# A tunnel has a carrier only while a program holds its other end, as a VPN's would.
_TUNNEL = """
import fcntl, struct, sys, time
device = open("/dev/net/tun", "r+b", buffering=0)
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x1, 0x1000
fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", sys.argv[1].encode(), IFF_TUN | IFF_NO_PI))
time.sleep(3600)
"""

# Read-only /sys makes NetworkManager do without udev, which does not run here.
_SETUP = r"""
set -e
mount -t tmpfs tmpfs /run
mkdir -p /etc/NetworkManager /var/lib/NetworkManager
mount -t tmpfs tmpfs /etc/NetworkManager
mount -t tmpfs tmpfs /var/lib/NetworkManager
mount -t sysfs -o ro sysfs /sys
mkdir -p /run/NetworkManager
ip link set lo up
setpriv --pdeathsig KILL -- unshare -n sleep infinity &
peer=$!
while [ "$(readlink /proc/$peer/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do sleep 0.02; done
ip link add up0 type veth peer name p0 netns $peer
nsenter -t $peer -n ip address add 10.77.0.1/24 dev p0
nsenter -t $peer -n ip link set p0 up
nsenter -t $peer -n ip link set lo up
cat >/etc/NetworkManager/NetworkManager.conf <<END
[main]
plugins=keyfile
auth-polkit=false
dns=none
dhcp=internal
no-auto-default=*
[connectivity]
uri=http://10.77.0.1/check
response=NetworkManager is online
interval=300
END
echo $peer >"$1/peer"
exec sleep infinity
"""

Answers = Literal["internet", "portal", "nothing"]


class RealNetworkManager:
    """NetworkManager and its surroundings.

    Attributes:
        address: the address of the bus that NetworkManager is on, to be taken for the system bus.
    """

    def __init__(self, address: str, folder: Path, holder: subprocess.Popen[bytes]) -> None:
        self.address = address
        self._folder = folder
        self._holder = holder
        self._web: subprocess.Popen[bytes] | None = None
        self._manager: subprocess.Popen[bytes] | None = None
        self._others: list[subprocess.Popen[bytes]] = []
        self._log = (folder / "log").open("wb")

    def _inside(self, *argv: str, peer: bool = False) -> list[str]:
        holder = str(self._holder.pid)
        target = (self._folder / "peer").read_text().strip() if peer else holder
        return [program("nsenter"), "-t", holder, "-m", f"--net=/proc/{target}/ns/net", "--", *argv]

    def _spawn(self, *argv: str, peer: bool = False) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": self.address}
        return subprocess.Popen(
            with_us(*self._inside(*argv, peer=peer)), env=environment, stdout=self._log, stderr=self._log
        )

    def run(self, *argv: str, peer: bool = False) -> str:
        """Runs a command beside NetworkManager (or at the cable's other end); its output. It must succeed."""
        environment = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": self.address, "LC_ALL": "C"}
        result = subprocess.run(
            self._inside(*argv, peer=peer), env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert result.returncode == 0, f"{argv}: {result.stdout}{result.stderr}"
        return result.stdout

    def nmcli(self, words: str) -> str:
        return self.run(program("nmcli"), "--wait", "30", *words.split())

    def start(self) -> None:
        """Starts NetworkManager and waits until it answers."""
        self._manager = self._spawn(program("NetworkManager"), "--no-daemon")
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(AssertionError):
                if "running" in self.nmcli("-t -f RUNNING general"):
                    return
            assert self._manager.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.1)

    def kill(self) -> None:
        """NetworkManager is gone at once, and leaves the network as it was."""
        self.thaw()
        if self._manager is not None:
            self._manager.kill()
            self._manager.wait(10)
            self._manager = None

    def freeze(self) -> None:
        assert self._manager
        self._manager.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        if self._manager is not None:
            self._manager.send_signal(signal.SIGCONT)

    def log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")[-4000:]

    def answer(self, how: Answers) -> None:
        """How the check of the internet is answered from now on; NetworkManager checks at once where it runs."""
        (self._folder / "mode").write_text(how)
        if how == "nothing" and self._web is not None:
            self._web.kill()
            self._web.wait(10)
            self._web = None
        if how != "nothing" and self._web is None:
            server = self._folder / "web.py"
            server.write_text(_HTTP)
            self._web = self._spawn(program("python3"), str(server), str(self._folder / "mode"), peer=True)
            self._until_web_listens()
        if self._manager is not None:
            self.nmcli("networking connectivity check")

    def _until_web_listens(self) -> None:
        deadline = time.monotonic() + 15
        while ":80 " not in self.run(program("ss"), "-ltn", peer=True):
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)

    def serve_dhcp(self, *options: str) -> None:
        """Serves addresses at the cable's other end; `--dhcp-option-force=43,ANDROID_METERED` is a telephone's."""
        process = self._spawn(
            program("dnsmasq"), "--no-daemon", "--conf-file=/dev/null", "--port=0", "--interface=p0",
            "--bind-interfaces",
            "--dhcp-range=10.77.0.50,10.77.0.60,60s", "--dhcp-option=3,10.77.0.1", "--no-ping",
            f"--dhcp-leasefile={self._folder}/leases", "--user=root", *options, peer=True,
        )  # fmt: skip
        self._others.append(process)

    def tunnel(self, name: str) -> None:
        """Brings up a tunnel that takes the default route, by a connection of that name."""
        address = "ipv4.method manual ipv4.addresses 10.88.0.2/24 ipv4.gateway 10.88.0.1 ipv4.route-metric 10"
        kind = "type tun mode tun ifname vpn0 autoconnect no ipv6.method disabled"
        self.nmcli(f"connection add con-name {name} {kind} {address}")
        self.nmcli(f"connection up {name}")
        self._others.append(self._spawn(program("python3"), "-c", _TUNNEL, "vpn0"))

    def check(self, *, on: bool) -> None:
        """Whether NetworkManager checks the internet; it would find none through a tunnel that leads nowhere."""
        self._property("set-property", "ConnectivityCheckEnabled", "b", str(on).lower())

    def get(self, name: str) -> str:
        """One of NetworkManager's own properties, as busctl shows it."""
        return self._property("get-property", name)

    def _property(self, verb: str, *words: str) -> str:
        name = "org.freedesktop.NetworkManager"
        path = "/org/freedesktop/NetworkManager"
        return self.run(program("busctl"), f"--address={self.address}", verb, name, path, name, *words).strip()

    def cable(self, name: str = "Home", more: str = "") -> None:
        """Connects `up0` by a connection of that name, with a fixed address."""
        address = "ipv4.method manual ipv4.addresses 10.77.0.2/24 ipv4.gateway 10.77.0.1 ipv6.method disabled"
        self.nmcli(f"connection add type ethernet ifname up0 con-name {name} autoconnect no {address} {more}")
        self.nmcli(f"connection up {name}")

    def stop(self) -> None:
        for process in (self._manager, self._web, *self._others):
            if process is not None:
                process.kill()
                process.wait(10)
        self._log.close()


def may_have_namespaces() -> None:
    """Ends the test where this machine does not permit mount and network namespaces."""
    if os.geteuid() != 0:
        absent("mount and network namespaces", "run the tests as root")
    tried = subprocess.run(
        [program("unshare"), "-m", "-n", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False
    )
    if tried.returncode != 0:
        not_permitted("mount and network namespaces", "a chroot cannot have them, a container may need --privileged")


Stage = RealNetworkManager
"""Its name before, for whoever builds on it."""


@contextmanager
def running_stage() -> Iterator[RealNetworkManager]:
    """A stage on which NetworkManager has started, and the check of the internet succeeds."""
    may_have_namespaces()
    for name in ("NetworkManager", "nmcli", "ip", "nsenter", "ss", "dnsmasq"):
        program(name)
    with running_bus() as bus, tempfile.TemporaryDirectory(prefix="sb-nm-") as name:
        folder = Path(name)
        holder = subprocess.Popen(
            with_us(
                program("unshare"), "--mount", "--net", "--propagation", "private",
                "bash", "-c", _SETUP, "setup", str(folder),
            ),
            stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            while not (folder / "peer").exists():
                assert holder.poll() is None, holder.communicate()[1]
                time.sleep(0.02)
            stage = RealNetworkManager(bus.address, folder, holder)
            try:
                stage.answer("internet")
                stage.start()
                yield stage
            finally:
                stage.stop()
        finally:
            holder.kill()
            holder.communicate(timeout=10)
