"""A household behind one bad uplink, made of network namespaces: a laptop and a phone, a router, and a server far away.

    laptop --.
              router ==(the uplink)==> delay box --- exchange --- server
    phone ---'       <==(the downlink)==

The uplink is a token bucket with one long queue, as many a home router has it; the downlink likewise, and both hosts
share both. The delay box is the way to the server. No packet leaves the machine, and all is gone when the process is.

    import household

    household.enter()                                    # first of all: namespaces of this process's own
    with household.Household(household.Line(up=8e6, buffer=1.0)) as home:
        home.run("phone", "ping", "-c3", home.SERVER)    # any command, on the laptop, phone, router, exchange or server
        answer = home.traffic("server", "answer")        # traffic.py: what others do with the line, and how it feels
        ping = home.traffic("phone", "ping", home.SERVER_TO_PHONE, at=time.monotonic() + 1, seconds=10)
        upload = home.popen("laptop", "curl", "-T", "file", f"http://{home.SERVER}:8080/")
        time.sleep(5)
        home.change(up=3e6)                              # the line, while everything runs
        print(home.received("laptop"), json.load(ping.stdout))

It knows the kernel's networking; it must not know what is measured on it.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import functools
import itertools
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from outcome import CannotRun, need

if TYPE_CHECKING:
    from collections.abc import Callable

Answer = TypeVar("Answer")

HERE = Path(__file__).parent
PRIVATE = Path("/run")  # after `enter`, a file system in memory that nobody else sees
NAMES = PRIVATE / "netns"  # where `ip netns` keeps them
HOSTS = ("laptop", "phone", "router", "exchange", "server")

# <linux/sched.h>, <linux/mount.h>, <linux/ethtool.h>, <linux/sockios.h>, <linux/prctl.h>
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x00020000, 0x10000000, 0x40000000
MS_REC, MS_PRIVATE = 0x4000, 1 << 18
SIOCETHTOOL, ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_SGRO = 0x8946, 0x1F, 0x24, 0x2C
PR_SET_PDEATHSIG = 1

LEAST_BUCKET = 3200  # bytes that pass the token bucket at once: two packets
LEAST_QUEUE = 6000  # bytes: four packets

libc = ctypes.CDLL(None, use_errno=True)
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Line:
    """What the household has, and how far the server is.

    Attributes:
        up, down: bits per second, headers included.
        buffer, down_buffer: seconds that a full queue before each takes to empty.
        round_trip: seconds to the server and back on an empty line; 0 needs no C compiler.
        jitter: mean of a random delay each way on top of that, in seconds.
    """

    up: float = 8e6
    buffer: float = 1.0
    round_trip: float = 0.030
    jitter: float = 0.0
    down: float = 20e6
    down_buffer: float = 0.5


# -- a place of its own --------------------------------------------------------------------------------------


def enter() -> None:
    """Moves this process, and what it starts from now on, into mount and network namespaces of its own.

    Call it first, before there are threads. As root it needs nothing else; anybody else gets a user namespace too,
    where the kernel grants one. The process has no network afterwards, and sees an empty /run
    of its own, in memory.

    Raises:
        CannotRun: the kernel, or who runs this machine, forbids it; a program is missing.
    """
    need(ip="iproute2", tc="iproute2", nsenter="util-linux")
    user, group = os.geteuid(), os.getegid()
    if user != 0:
        _kernel(libc.unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET), "user namespaces")
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    else:
        _kernel(libc.unshare(CLONE_NEWNS | CLONE_NEWNET), "network namespaces")
    _kernel(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "mounts of one's own")
    _kernel(libc.mount(b"none", bytes(PRIVATE), b"tmpfs", 0, b"mode=755"), "mounts of one's own")
    NAMES.mkdir()
    command("ip", "link", "set", "lo", "up")


def _kernel(answer: int, what: str) -> None:
    if answer != 0:
        why = os.strerror(ctypes.get_errno())
        raise CannotRun(f"no {what} here: {why} (try as root; a container may need --privileged)")


def command(*words: str) -> str:
    """Runs a command and gives what it printed.

    Raises:
        CannotRun: it failed; what it said is in the message.
    """
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CannotRun(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def _dies_with_us() -> None:
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def prefer(process: subprocess.Popen[Any]) -> None:
    """Before all other programs, where we may: a busy machine shall not pass for a busy line."""
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, process.pid, -20)


@functools.cache
def _delay_box() -> tuple[Path, tempfile.TemporaryDirectory[str]]:
    """The delay box's program, and the folder that goes when this process does."""
    need(cc="gcc libc6-dev")
    folder = tempfile.TemporaryDirectory(dir=PRIVATE, prefix="delaybox-")
    program = Path(folder.name) / "delaybox"
    command("cc", "-O2", "-o", str(program), str(HERE / "delaybox.c"), "-lm")
    return program, folder


def _inside(namespace: Path, do: Callable[[], Answer]) -> Answer:
    """What `do` gives when a thread runs it in that network namespace."""
    outcome: list[Answer] = []

    def run() -> None:
        with namespace.open() as file:
            if libc.setns(file.fileno(), CLONE_NEWNET) == 0:
                outcome.append(do())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if not outcome:
        raise CannotRun(f"the network namespace {namespace} cannot be entered")
    return outcome[0]


def _plain_packets(*devices: str) -> None:
    """Each packet by itself: a bundle of 64 KB at once would be no home's traffic (ethtool -K DEVICE tso off ...)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for device in devices:
            for feature in (ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_SGRO):
                value = ctypes.create_string_buffer(struct.pack("=II", feature, 0))
                request = struct.pack("16sP16x", device.encode(), ctypes.addressof(value))
                fcntl.ioctl(any_socket, SIOCETHTOOL, request)


def _counters() -> IO[bytes]:
    """The counters of the interfaces that this thread sees; the file goes on telling of them."""
    return Path("/proc/thread-self/net/dev").open("rb")


# -- the household -------------------------------------------------------------------------------------------


class Household:
    """One household and its server; several may be there at once, each with a line of its own.

    Attributes:
        line: what it has now.
        SERVER: the server's address for the laptop.
        SERVER_TO_PHONE: its address for the phone, on an interface of its own, so that each one's bytes can be told.
    """

    SERVER = "10.9.4.2"
    SERVER_TO_PHONE = "10.9.5.2"

    def __init__(self, line: Line) -> None:
        """Makes it.

        Raises:
            CannotRun: something that it needs is not to be had; nothing is left of it.
        """
        self.line = line
        self._prefix = f"h{next(_numbers)}-"
        self._running: list[subprocess.Popen[Any]] = []
        self._counters: IO[bytes] | None = None
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Household:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _build(self) -> None:
        for host in HOSTS:
            command("ip", "netns", "add", self._prefix + host)
            self._ip(host, "link set lo up")
            for key, value in {"ip_forward": 1, "conf/all/rp_filter": 0, "conf/default/rp_filter": 0}.items():
                self.run(host, "sh", "-c", f"echo {value} > /proc/sys/net/ipv4/{key}")
        if self.line.round_trip or self.line.jitter:
            self._start_delay_box()
        else:
            self._ip("router", f"link add wan type veth peer name wan netns {self._prefix}exchange")
            for host in ("router", "exchange"):
                _inside(self._namespace(host), functools.partial(_plain_packets, "wan"))
        self._wire("router", "laptop", 1)
        self._wire("router", "phone", 2)
        self._wire("exchange", "server", 4)
        self._wire("exchange", "server", 5)
        for host, address, peer in (("router", "10.9.3.1", "10.9.3.2"), ("exchange", "10.9.3.2", "10.9.3.1")):
            self._ip(host, f"addr add {address} peer {peer} dev wan")
            self._ip(host, "link set wan up txqueuelen 2000")
            self._ip(host, f"route add default via {peer}")
        self._shape("add")
        self._counters = _inside(self._namespace("server"), _counters)

    def _wire(self, near: str, far: str, number: int) -> None:
        """A cable: 10.9.N.1 on the near host, 10.9.N.2 on the far one, whose default route is the first that it has.

        The route says which congestion control programs get, whatever this machine's default is: cubic, as on most
        machines. A namespace's own default (a sysctl) must be among those that this machine allows to everybody.
        """
        device = f"lan{number}"
        self._ip(near, f"link add {device} type veth peer name {device} netns {self._prefix}{far}")
        for host, last in ((near, 1), (far, 2)):
            self._ip(host, f"addr add 10.9.{number}.{last}/24 dev {device}")
            self._ip(host, f"link set {device} up")
            _inside(self._namespace(host), functools.partial(_plain_packets, device))
        self._ip(far, f"route append default via 10.9.{number}.1 metric {number} congctl cubic")

    def _start_delay_box(self) -> None:
        delay, jitter = (str(round(seconds * 1e6)) for seconds in (self.line.round_trip / 2, self.line.jitter))
        ends = [str(word) for host in ("router", "exchange") for word in (self._namespace(host), "wan")]
        box = subprocess.Popen(
            [_delay_box()[0], *ends, delay, jitter],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_dies_with_us,  # noqa: PLW1509  # there is one thread, and no other way to say it
        )
        self._running.append(box)
        assert box.stdout is not None
        assert box.stderr is not None
        if box.stdout.readline() != "up\n":
            raise CannotRun(f"the delay box cannot start: {box.stderr.read().strip()}")
        prefer(box)

    def _shape(self, how: str) -> None:
        for host, rate, buffer in (
            ("router", self.line.up, self.line.buffer),
            ("exchange", self.line.down, self.line.down_buffer),
        ):
            bucket = max(LEAST_BUCKET, round(rate / 8 * 0.001))  # a timer that is late by less costs nothing
            queue = max(LEAST_QUEUE, round(rate / 8 * buffer))
            words = f"qdisc {how} dev wan root tbf rate {round(rate)}bit burst {bucket} limit {queue}"
            command("tc", "-n", self._prefix + host, *words.split())

    def _ip(self, host: str, words: str) -> None:
        command("ip", "-n", self._prefix + host, *words.split())

    def _namespace(self, host: str) -> Path:
        return NAMES / (self._prefix + host)

    # -- using it --------------------------------------------------------------------------------------------

    def change(self, **line: float) -> None:
        """Changes the line while everything runs: any of Line's up, buffer, down and down_buffer."""
        if fixed := set(line) & {"round_trip", "jitter"}:
            raise ValueError(f"{fixed} cannot change while it runs")
        self.line = replace(self.line, **line)
        self._shape("change")

    def popen(self, host: str, *words: str | Path, **options: Any) -> subprocess.Popen[Any]:
        """Starts a program on a host ("laptop", "phone", ...); `options` are Popen's. It ends with the household."""
        argv = ["nsenter", f"--net={self._namespace(host)}", "--", *map(str, words)]
        process = subprocess.Popen(argv, preexec_fn=_dies_with_us, **options)  # noqa: PLW1509  # as above
        self._running.append(process)
        return process

    def run(self, host: str, *words: str | Path) -> str:
        """Runs a program on a host to its end and gives what it printed.

        Raises:
            CannotRun: it failed; what it said is in the message.
        """
        return command("nsenter", f"--net={self._namespace(host)}", "--", *map(str, words))

    def traffic(self, host: str, role: str, *words: object, at: float = 0, seconds: float = 0) -> subprocess.Popen[str]:
        """Starts a role of traffic.py on a host: what it is told, and what it prints, stands there.

        Args:
            at: when it begins, a moment of time.monotonic(); 0 for now.
            seconds: how long it goes on.
        """
        times = (f"--at={at}", f"--seconds={seconds}")
        argv: list[str | Path] = [sys.executable, "-I", HERE / "traffic.py", role, *map(str, words), *times]
        process = self.popen(host, *argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        prefer(process)
        return process

    def received(self, host: str) -> int:
        """Bytes that have come to the server's interface from the laptop or the phone so far, headers included."""
        assert self._counters is not None
        device = {"laptop": "lan4", "phone": "lan5"}[host]
        self._counters.seek(0)
        for row in self._counters.read().decode().splitlines():
            name, _, figures = row.partition(":")
            if name.strip() == device:
                return int(figures.split()[0])
        raise LookupError(device)

    def close(self) -> None:
        """Ends all that was started in it, and the household itself. May be called twice."""
        for process in reversed(self._running):
            process.kill()
        for process in self._running:
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
        self._running.clear()
        if self._counters is not None:
            self._counters.close()
        for host in HOSTS:
            if self._namespace(host).exists():
                for pid in command("ip", "netns", "pids", self._prefix + host).split():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)
                command("ip", "netns", "del", self._prefix + host)
