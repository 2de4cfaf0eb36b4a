"""A system while it is entered: mounts, processes and a host name of its own, all of which end with it.

Its files are a tree that stays as it is, and a layer above for what a run changes; homes and drives are folders of the
run (`Machine`), so that another system can take them over.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

from outcome import CannotRun

if TYPE_CHECKING:
    from collections.abc import Mapping

USER, UID = "ada", 48123
HOSTNAME = "laptop"
HOME = f"/home/{USER}"
RUNTIME = f"/run/user/{UID}"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_ENTERED = (
    """
set -eu
tree=$1 layer=$2 machine=$3
root=$tree
if [ -n "$layer" ]; then
    root=$layer/root
    mkdir -p "$layer/upper" "$layer/work" "$root"
    mount -t overlay overlay -o "lowerdir=$tree,upperdir=$layer/upper,workdir=$layer/work" "$root"
    mount --bind "$machine/home" "$root/home"
    mount --bind "$machine/media" "$root/media"
    hostname """
    + HOSTNAME
    + """
    sed -i "/:"""
    + f"{UID}"
    + """:/d" "$root/etc/passwd" "$root/etc/group"
    echo '"""
    + f"{USER}:x:{UID}:{UID}::{HOME}:/bin/bash"
    + """' >>"$root/etc/passwd"
    echo '"""
    + f"{USER}:x:{UID}:"
    + """' >>"$root/etc/group"
fi
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
chmod 1777 "$root/tmp"
cd "$root"
exec chroot . /bin/bash -c 'echo ready; while read -r; do :; done'
"""
)
"""Process 1 of the room ends when its input does: so everything in it ends with us, however we end."""


@dataclass(frozen=True)
class Machine:
    """What stays when a system is exchanged for another: the home and the drives.

    Attributes:
        folder: of the host.
        lower: the machine that it began as; () of nothing.
    """

    folder: Path

    @classmethod
    def new(cls, folder: Path) -> Machine:
        for each in (f"home/{USER}", f"media/{USER}"):
            (folder / each).mkdir(parents=True)
            shutil.chown(folder / each, UID, UID)
        return cls(folder)

    def copy(self, folder: Path) -> Machine:
        """Another one that begins as this; volumes are linked: nobody writes into them."""
        subprocess.run(["cp", "-a", self.folder, folder], check=True)
        return Machine(folder)

    @property
    def home(self) -> Path:
        return self.folder / "home" / USER

    def path(self, inside: str) -> Path:
        """Where a file of the room's is on the host."""
        return self.folder / inside.lstrip("/")


class Room:
    """A system that has been entered; use it as a context."""

    def __init__(self, tree: Path, layer: Path | None, machine: Machine | None) -> None:
        self._argv = [str(tree.resolve()), str(layer or ""), str(machine.folder if machine else "")]
        self._stack = ExitStack()
        self.pid = 0
        self.environment: dict[str, str] = {}
        """What the session of the user adds to it."""

    @classmethod
    def of_the_tree(cls, tree: Path) -> Room:
        """To change the tree itself."""
        return cls(tree, None, None)

    def __enter__(self) -> Self:
        own = ["--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "--propagation=private"]
        holder = subprocess.Popen(
            ["unshare", *own, "bash", "-c", _ENTERED, "room", *self._argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._stack.callback(_end, holder)
        assert holder.stdout
        assert holder.stderr
        if holder.stdout.readline() != "ready\n":
            raise CannotRun(f"no room in {self._argv[0]}: {holder.stderr.read()[-500:]} (root on Linux is needed)")
        self.pid = int(Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()[0])
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    # -- who does something in it ----------------------------------------------------------------------------

    def root(self, command: str, timeout: float = 1800) -> subprocess.CompletedProcess[str]:
        """A command of root's; what it said is all in stdout."""
        environment = {"HOME": "/root", "DEBIAN_FRONTEND": "noninteractive"}
        return _run(self._in(environment, command), timeout)

    def user(self, command: str, timeout: float = 300, **more: str) -> subprocess.CompletedProcess[str]:
        """A command of the user's, in the session where there is one; what it said is all in stdout."""
        return _run(self._as_user(command, more), timeout)

    def did(self, command: str, timeout: float = 300, **more: str) -> str:
        """What a command of the user's said. Raises AssertionError where it failed."""
        done = self.user(command, timeout, **more)
        assert done.returncode == 0, f"`{command[:200]}`: {done.returncode}: {done.stdout[-1500:]}"
        return done.stdout

    def begin(self, command: str, log: Path | int, **more: str) -> subprocess.Popen[str]:
        """A program of the user's that goes on; it ends with the room at the latest."""
        return self._begun(self._as_user(f"exec {command}", more), log)

    def begin_as_root(self, command: str, log: Path) -> subprocess.Popen[str]:
        return self._begun(self._in({"HOME": "/root"}, f"exec {command}"), log)

    def _begun(self, argv: list[str], log: Path | int) -> subprocess.Popen[str]:
        out: IO[str] | int = log.open("a") if isinstance(log, Path) else log
        error = subprocess.STDOUT if isinstance(log, Path) else subprocess.DEVNULL
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=out, stderr=error, text=True)
        if not isinstance(out, int):
            out.close()
        self._stack.callback(_end, process)
        return process

    def _as_user(self, command: str, more: Mapping[str, str]) -> list[str]:
        own = {"HOME": HOME, "USER": USER, "LOGNAME": USER, "XDG_RUNTIME_DIR": RUNTIME}
        ids = f"--reuid={UID} --regid={UID} --clear-groups"
        inner = f"cd ~; {command}"
        return self._in({**own, **self.environment, **more}, f"exec setpriv {ids} bash -c {shlex.quote(inner)}")

    def _in(self, environment: Mapping[str, str], command: str) -> list[str]:
        here = ["nsenter", f"--target={self.pid}", "--mount", "--pid", "--uts", "--ipc", "--root", "--wd"]
        variables = {"PATH": PATH, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", **_host_settings(), **environment}
        return [*here, "env", "-i", *(f"{name}={text}" for name, text in variables.items()), "bash", "-c", command]


def _host_settings() -> dict[str, str]:
    """Certificates where the host's are, for pip."""
    bundle = "/etc/ssl/certs/ca-certificates.crt"
    return {"PIP_CERT": bundle, "SSL_CERT_FILE": bundle}


def _run(argv: list[str], timeout: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=timeout,
        check=False,
    )


def _end(process: subprocess.Popen[str]) -> None:
    if process.stdin:
        process.stdin.close()
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
