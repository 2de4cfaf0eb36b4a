"""A real `systemd --user` of a user that does not exist, in namespaces of its own.

Needs root: it mounts its own /run, /home and cgroup tree, where neither the machine's systemd nor anybody's home
is touched. The user is no root, so that a unit's sandbox is what a user's manager makes of it.
"""

from __future__ import annotations

import json
import os
import shlex
import stat
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from realparts.presence import ROOT, program, with_us

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

UID = 4242
HOME = Path("/home/boat")

# Whether the machine lets us have what the script needs most; containers often do not.
_ALLOWED = "mount -t tmpfs tmpfs /run && mount -t cgroup2 none /run && mkdir -p /run/{cgroup} && rmdir /run/{cgroup}"

# The cgroup tree is the machine's: what we made in it outlives the namespaces, until its last process is gone.
_SWEEP = """
mount -t cgroup2 none /run
for try in $(seq 50); do
  find /run/{cgroup} -depth -type d -exec rmdir {{}} + 2>/dev/null
  [ -d /run/{cgroup} ] || exit 0
  sleep 0.1
done
exit 1
"""

# systemd --user wants to see that systemd runs the machine (sd_booted), a runtime directory, and a cgroup to
# divide; units with a sandbox want /run/systemd/unit-root (newer ones mount-rootfs). Mounts are shared as on any
# desktop, so that a drive that comes and goes does so in a sandbox as well.
_SCRIPT = """
set -e
mount --make-rshared /
{reachable}
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=755 tmpfs /home
mkdir -p /run/systemd/system /run/credentials {home} {runtime}
mkdir -m 700 /run/systemd/unit-root
mkdir -m 555 /run/systemd/mount-rootfs
chown {uid}:{uid} {home} {runtime}
chmod 700 {runtime}
umount -R /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
mkdir /sys/fs/cgroup/{cgroup}
echo 0 > /sys/fs/cgroup/{cgroup}/cgroup.procs
chown -R {uid}:{uid} /sys/fs/cgroup/{cgroup}
cp /etc/passwd /run/passwd
echo boat:x:{uid}:{uid}::{home}:/bin/sh >> /run/passwd
mount --bind /run/passwd /etc/passwd
trap 'exit 0' TERM
{as_user} {systemd} --user --log-target=console >/run/manager.log 2>&1
"""


class UserManager:
    """One running manager; every command runs as its user, with its bus."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def run(self, *argv: str | Path, check: bool = True, env: dict[str, str] | None = None) -> str:
        """Runs a command as the user; what it wrote, both streams. With `check` it must succeed."""
        enter = ["nsenter", f"--target={self._pid}", "--mount", "--pid", "--cgroup", "--wdns=/"]
        done = subprocess.run(
            [*enter, *_as_user(env or {}), *map(str, argv)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout + self.log()
        return done.stdout

    def as_root(self, *argv: str | Path) -> str:
        """Runs a command as root in the same namespaces: to mount a drive, say."""
        enter = ["nsenter", f"--target={self._pid}", "--mount", "--pid", "--wdns=/"]
        return subprocess.run([*enter, *map(str, argv)], check=True, capture_output=True, text=True, timeout=60).stdout

    def write(self, path: Path, text: str, mode: str = "644") -> None:
        """Writes a file of the user's."""
        self.run("mkdir", "-p", path.parent)
        where = shlex.quote(str(path))
        self.run("sh", "-c", f"printf %s {shlex.quote(text)} > {where}; chmod {mode} {where}")

    def python(self, code: str, *arguments: str | Path, check: bool = True, env: dict[str, str] | None = None) -> str:
        """Runs Python code as the user, with slowboat importable."""
        return self.run(sys.executable, "-c", code, *arguments, check=check, env=env)

    def show(self, unit: str, *properties: str) -> dict[str, str]:
        """Properties of a unit."""
        lines = self.run("systemctl", "--user", "show", unit, f"--property={','.join(properties)}").splitlines()
        return dict(line.split("=", 1) for line in lines)

    def start_journald(self) -> None:
        """From now on services write into a journal of their own."""
        settings = "[Journal]\nStorage=volatile\nReadKMsg=no\nForwardToSyslog=no\n"
        self.as_root(
            "sh",
            "-c",
            f"mkdir -p /run/systemd/journald.conf.d; printf '{settings}' >/run/systemd/journald.conf.d/zz.conf",
        )
        self.as_root("sh", "-c", f"setsid {program('systemd-journald')} >/run/journald.log 2>&1 &")
        sockets = "test -S /run/systemd/journal/socket && test -S /run/systemd/journal/stdout && echo there || true"
        deadline = time.monotonic() + 60
        while "there" not in self.as_root("sh", "-c", sockets):
            assert time.monotonic() < deadline, self.as_root("cat", "/run/journald.log")
            time.sleep(0.05)

    def journal(self, *matches: str) -> list[dict[str, str]]:
        """The entries of that journal, such as those with SLOWBOAT_KIND=handover."""
        argv = ["journalctl", "--directory=/run/log/journal", "--output=json", "--no-pager", *matches]
        return [json.loads(line) for line in self.as_root(*argv).splitlines()]

    def log(self) -> str:
        """What the manager said."""
        return self.as_root("cat", "/run/manager.log")


def _as_user(env: dict[str, str]) -> Sequence[str]:
    known = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(HOME),
        "XDG_RUNTIME_DIR": f"/run/user/{UID}",
        # dbus-daemon takes the home from the password file of its start, the rest from here: let it be told.
        "XDG_DATA_HOME": str(HOME / ".local/share"),
        "PYTHONPATH": str(ROOT / "src"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    settings = [f"{key}={value}" for key, value in (known | env).items()]
    return ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "env", "-i", *settings]


def _reachable() -> str:
    """Shell lines that let another user see this Python and this checkout, where a closed home hides them."""
    lines = []
    covered: dict[Path, list[Path]] = {}
    for path in _needed():
        closed = [each for each in reversed(path.parents) if not each.stat().st_mode & stat.S_IXOTH]
        if closed:
            covered.setdefault(closed[0], []).append(path)
    for number, (above, paths) in enumerate(covered.items()):
        keeps = [Path(f"/mnt/sb-{number}-{each}") for each in range(len(paths))]
        lines += ["mount -t tmpfs -o mode=755 tmpfs /mnt"] if number == 0 else []
        lines += [f"mkdir {keep} && mount --bind {path} {keep}" for keep, path in zip(keeps, paths, strict=True)]
        lines += [f"mount -t tmpfs -o mode=755 tmpfs {above}"]
        lines += [f"mkdir -p {path} && mount --bind {keep} {path}" for keep, path in zip(keeps, paths, strict=True)]
    return "\n".join(lines)


@contextmanager
def running_user_manager() -> Iterator[UserManager]:
    """A manager that runs until the block ends; skips the test where the machine does not allow it."""
    if os.geteuid() != 0:
        pytest.skip("a systemd of its own needs root")
    cgroup = f"slowboat-test-{os.getpid()}"
    if not _in_namespace(_ALLOWED.format(cgroup=cgroup)):
        pytest.skip("this machine allows no mounts or cgroups of our own")
    script = _SCRIPT.format(
        cgroup=cgroup,
        reachable=_reachable(),
        home=HOME,
        runtime=f"/run/user/{UID}",
        uid=UID,
        as_user=shlex.join(_as_user({})),
        systemd=program("systemd"),
    )
    spaces = ["--mount", "--cgroup", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation=private"]
    argv = with_us(program("unshare"), *spaces, "sh", "-c", script)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            manager = _waited_for(process)
            _let_services_see_a_checkout_in_tmp(manager)
            yield manager
        finally:
            process.kill()
            process.wait(10)
            assert _in_namespace(_SWEEP.format(cgroup=cgroup)), f"the cgroup {cgroup} is still there"


def _let_services_see_a_checkout_in_tmp(manager: UserManager) -> None:
    """The sandbox gives a service a /tmp of its own: a checkout or Python that lies there would not be in it."""
    hidden = [each for each in _needed() if each.is_relative_to("/tmp") or each.is_relative_to("/var/tmp")]
    if hidden:
        shown = f"[Service]\nBindReadOnlyPaths={' '.join(map(str, hidden))}\n"
        manager.write(Path(f"/run/user/{UID}/systemd/user/service.d/checkout.conf"), shown)
        manager.run("systemctl", "--user", "daemon-reload")


def _needed() -> list[Path]:
    """What a service of the tests must be able to read: this Python and this checkout."""
    return list(dict.fromkeys(Path(each).resolve() for each in (sys.prefix, sys.base_prefix, ROOT)))


def _in_namespace(script: str) -> bool:
    argv = ["unshare", "--mount", "--cgroup", "--propagation=private", "sh", "-c", script]
    return subprocess.run(argv, capture_output=True, timeout=60, check=False).returncode == 0


def _waited_for(process: subprocess.Popen[str]) -> UserManager:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, process.stdout and process.stdout.read()
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        if children:
            manager = UserManager(int(children[0]))
            if "running" in manager.run("systemctl", "--user", "is-system-running", check=False):
                return manager
        time.sleep(0.05)
    raise AssertionError("systemd --user did not come up")
