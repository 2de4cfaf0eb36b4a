"""From a bare Debian and a user without rights to the handover and the last notification, timed, with pictures.

A Debian 13 is made by debootstrap; in namespaces of its own it gets what a desktop has (a `systemd --user`, a session
bus, a keyring, a notification daemon on an X server) and a user who has a duplicity backup on a drive. From there on
everything is typed by that user, into a terminal: install slowboat, `slowboat setup`, and wait. A real Swift on this
machine is the cloud. Exit 0 only if all of it held. `--docs` writes docs/first-use.md and its pictures anew.

The trees of debootstrap are kept in --tree; apt and pip are configured as on this machine.
"""

from __future__ import annotations

import argparse
import fcntl
import io
import json
import os
import pty
import re
import select
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from realparts.swift_server import running_swift

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
SUITE = "trixie"
ANNA, HOME = 1000, "/home/anna"
DRIVE = "/media/anna/Backup"
DISPLAY = ":77"
WIDTH, HEIGHT = 108, 50
MOST_ANSWERS, MOST_SECONDS = 3, 300
PATIENCE = 900
DESKTOP = (
    "systemd dbus-user-session libpam-systemd procps ca-certificates duplicity gpg gpg-agent python3-swiftclient pipx "
    "python3-venv xvfb dunst imagemagick gnome-keyring libsecret-tools fonts-dejavu-core"
)
"""What a desktop has before slowboat comes; pipx and duplicity are what README asks for."""

console = Console(highlight=False, width=None if sys.stdout.isatty() else 110)


def machine(*argv: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    """Runs a command of this machine, which must succeed."""
    done = subprocess.run([*map(str, argv)], text=True, capture_output=True, check=False, **options)
    if done.returncode:
        raise SystemExit(f"{shlex.join(map(str, argv))} failed:\n{done.stdout}{done.stderr}")
    return done


# -- the tree ----------------------------------------------------------------------------------------------------


def bare(tree: Path) -> float:
    """A bare Debian in `tree`, made where it is not there yet; how long debootstrap took."""
    stamp = tree.with_name(f"{tree.name}.seconds")
    if stamp.exists():
        return float(stamp.read_text())
    begun = time.monotonic()
    sources = Path("/etc/apt/sources.list.d/debian.sources").read_text()
    found = re.search(r"^URIs: (\S+)", sources, re.MULTILINE)
    mirror = found[1] if found else "http://deb.debian.org/debian"
    script = Path("/usr/share/debootstrap/scripts", SUITE)
    shutil.rmtree(tree, ignore_errors=True)
    machine(
        "debootstrap", "--variant=minbase", "--include=ca-certificates", SUITE, tree, mirror,
        *([] if script.exists() else ["/usr/share/debootstrap/scripts/sid"]),
    )  # fmt: skip
    stamp.write_text(f"{time.monotonic() - begun:.0f}")
    return time.monotonic() - begun


def with_a_desktop(tree: Path) -> tuple[Path, float]:
    """A copy of the bare tree with what a desktop has; and how long apt-get took."""
    made = tree.with_name(f"{tree.name}-desktop")
    stamp = made.with_name(f"{made.name}.seconds")
    if not stamp.exists():
        shutil.rmtree(made, ignore_errors=True)
        machine("cp", "-a", tree, made)
        as_on_this_machine(made)
        begun = time.monotonic()
        install = f"apt-get -q update && apt-get -q install -y --no-install-recommends {DESKTOP} && apt-get clean"
        mounted = (
            f"mount -t proc proc {made}/proc && mount --rbind /dev {made}/dev && exec chroot {made} sh -ec '{install}'"
        )
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
        machine("unshare", "--mount", "--pid", "--fork", "sh", "-c", mounted, env=env)
        stamp.write_text(f"{time.monotonic() - begun:.0f}")
    return made, float(stamp.read_text())


def as_on_this_machine(top: Path) -> None:
    """How apt and pip reach their servers is the machine's business: the tree is told the same."""
    for name in ("etc/ssl/certs/ca-certificates.crt", "etc/pip.conf", "etc/resolv.conf", "etc/hosts"):
        if Path("/", name).exists():
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(Path("/", name), top / name)
    for path in Path("/etc/apt/apt.conf.d").glob("99*"):
        (top / "etc/apt/apt.conf.d").mkdir(parents=True, exist_ok=True)
        shutil.copy(path, top / "etc/apt/apt.conf.d")
    of_pip = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "pip"
    if of_pip.is_dir():
        shutil.copytree(of_pip, top / "etc/xdg/pip", dirs_exist_ok=True)


_SCRIPT = """
set -e
mount --make-rprivate /
mount -t overlay overlay -o lowerdir={tree},upperdir={work}/upper,workdir={work}/work {work}/root
cd {work}/root
mount --rbind /dev dev
mount -t proc proc proc
mount --rbind /sys sys
umount -R sys/fs/cgroup
mount -t cgroup2 none sys/fs/cgroup
mkdir sys/fs/cgroup/{cgroup}
echo 0 > sys/fs/cgroup/{cgroup}/cgroup.procs
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mkdir -p run/systemd/system run/credentials run/user
mkdir -m 555 run/systemd/unit-root run/systemd/mount-rootfs
pivot_root . mnt
umount -l /mnt
mount --make-rshared /
exec sh -c 'trap "exit 0" TERM; while [ ! -e /run/go ]; do sleep 0.05; done
  setpriv --reuid={uid} --regid={uid} --init-groups env -i HOME={home} USER=anna LOGNAME=anna \
    XDG_RUNTIME_DIR=/run/user/{uid} PATH=/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8 \
    /usr/lib/systemd/systemd --user --log-target=console >/run/manager.log 2>&1'
"""


class Machine:
    """The running Debian: commands of root's and of anna's."""

    def __init__(self, pid: int, cgroup: str) -> None:
        self.cgroup = cgroup
        self._enter = ["nsenter", f"--target={pid}", "--mount", "--pid", "--cgroup", "--wdns=/"]

    def root(self, script: str, *, check: bool = True) -> str:
        """A shell script of root's."""
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}
        env["DEBIAN_FRONTEND"] = "noninteractive"
        done = subprocess.run(
            [*self._enter, "sh", "-ec", script], text=True, capture_output=True, check=False, env=env, timeout=PATIENCE
        )
        if done.returncode and check:
            raise SystemExit(f"{script}\nfailed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        return done.stdout

    def argv(self, script: str) -> list[str]:
        """What runs a shell script of anna's, as her terminal would."""
        env = {
            "HOME": HOME, "USER": "anna", "LOGNAME": "anna", "SHELL": "/bin/bash", "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "PATH": f"{HOME}/.local/bin:/usr/local/bin:/usr/bin:/bin", "XDG_RUNTIME_DIR": f"/run/user/{ANNA}",
            "DBUS_SESSION_BUS_ADDRESS": f"unix:path=/run/user/{ANNA}/bus", "DISPLAY": DISPLAY, "COLUMNS": str(WIDTH),
        }  # fmt: skip
        user = ["setpriv", f"--reuid={ANNA}", f"--regid={ANNA}", "--init-groups", "env", "-i"]
        return [*self._enter, *user, *(f"{key}={text}" for key, text in env.items()), "bash", "-c", script]

    def anna(self, script: str, *, check: bool = True, given: str = "") -> str:
        """A shell script of anna's, in her home."""
        done = subprocess.run(
            self.argv(f"cd; {script}"), text=True, capture_output=True, check=False, input=given, timeout=PATIENCE
        )
        if done.returncode and check:
            raise SystemExit(f"{script}\nfailed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        return done.stdout + done.stderr

    def background(self, script: str) -> subprocess.Popen[bytes]:
        """A program of anna's that goes on, such as her X server."""
        return subprocess.Popen(self.argv(f"cd; exec {script}"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def file(self, path: str) -> bytes:
        """What is in a file of the Debian's."""
        return subprocess.run([*self._enter, "cat", path], capture_output=True, check=True).stdout

    def put(self, path: str, text: str) -> None:
        """Writes a file of anna's."""
        self.anna(f"mkdir -p $(dirname {path}); cat > {path}", given=text)


@contextmanager
def running(tree: Path) -> Iterator[Machine]:
    """The Debian, over a copy that is thrown away; its user manager waits for `touch /run/go`."""
    cgroup = f"slowboat-first-use-{os.getpid()}"
    with tempfile.TemporaryDirectory(prefix="slowboat-", dir=tree.parent) as folder:
        for name in ("upper", "work", "root"):
            (Path(folder) / name).mkdir()
        as_on_this_machine(Path(folder) / "upper")
        script = _SCRIPT.format(tree=tree, work=folder, cgroup=cgroup, uid=ANNA, home=HOME)
        spaces = ["--mount", "--cgroup", "--pid", "--fork", "--kill-child", "--propagation=private"]
        process = subprocess.Popen(["unshare", *spaces, "sh", "-c", script])
        try:
            yield Machine(_child_of(process), cgroup)
        finally:
            process.kill()
            process.wait(20)
            time.sleep(0.5)
            sweep = f"mount -t cgroup2 none /run && find /run/{cgroup} -depth -type d -exec rmdir {{}} +"
            subprocess.run(["unshare", "--mount", "--cgroup", "sh", "-c", sweep], check=False, capture_output=True)


def _child_of(process: subprocess.Popen[bytes]) -> int:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        inside = ["nsenter", f"--target={children[0]}", "--mount", "--pid"] if children else ["false"]
        if subprocess.run([*inside, "test", "-d", "/run/credentials", "-a", "-d", "/mnt"], check=False).returncode == 0:
            time.sleep(0.3)
            return int(children[0])
        time.sleep(0.1)
    raise SystemExit("the Debian did not come up")


# -- a terminal --------------------------------------------------------------------------------------------------


@dataclass
class Typed:
    """A command as it was typed, and what the terminal showed."""

    command: str
    shown: str = ""
    answers: list[str] = field(default_factory=list)
    code: int = 0


def in_a_terminal(there: Machine, command: str, answers: list[tuple[str, str, str]], typing: float = 1.0) -> Typed:
    """Types a command and its answers.

    Args:
        answers: what the terminal shows when it asks, what is typed, and how that is called in the log.
        typing: seconds that a person takes for each.
    """
    typed = Typed(command)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
    process = subprocess.Popen(
        there.argv(f"cd; {command}"), stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    shown, waiting, deadline = b"", list(answers), time.monotonic() + PATIENCE
    try:
        while time.monotonic() < deadline:
            ready, _, _ = select.select([ours], [], [], 0.2)
            if ready:
                try:
                    shown += os.read(ours, 65536)
                except OSError:
                    break
            elif waiting and re.search(waiting[0][0], shown.decode(errors="replace")[-300:]):
                _, text, called = waiting.pop(0)
                time.sleep(typing)
                os.write(ours, f"{text}\n".encode())
                typed.answers.append(called)
    finally:
        os.close(ours)
    typed.code = process.wait(60)
    typed.shown = shown.decode(errors="replace").replace("\r\n", "\n")
    return typed


def picture(path: Path, title: str, shown: str) -> None:
    """What a terminal showed, as rich draws it."""
    drawn = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    drawn.print(Text.from_ansi(shown))
    drawn.save_svg(str(path), title=title)


# -- the run -----------------------------------------------------------------------------------------------------


@dataclass
class Record:
    """The steps with their seconds, what was typed, and what held."""

    steps: list[tuple[str, float, str, bool]] = field(default_factory=list)
    typed: list[Typed] = field(default_factory=list)
    held: list[tuple[bool, str]] = field(default_factory=list)

    @contextmanager
    def step(self, name: str, whose: str, *, line: bool = False) -> Iterator[None]:
        """Times a step; `line`: it waits for the bytes."""
        console.print(f"[bold]{name}[/] ...")
        begun = time.monotonic()
        yield
        self.steps.append((name, time.monotonic() - begun, whose, line))
        console.print(f"  {self.steps[-1][1]:.1f} s")

    def check(self, held: bool, what: str) -> None:
        self.held.append((held, what))
        console.print(f"  {'[green]yes' if held else '[red]NO '}[/] {what}")

    @property
    def answers(self) -> int:
        return sum(len(one.answers) for one in self.typed)

    @property
    def seconds(self) -> float:
        """What the user's steps took without the bytes."""
        return sum(seconds for _, seconds, whose, line in self.steps if whose == "the user" and not line)


def shown_by(there: Machine) -> list[dict[str, str]]:
    """The notifications that dunst has shown, the oldest first."""
    said = there.anna("dunstctl history", check=False)
    try:
        rows = json.loads(said)["data"][0]
    except (ValueError, LookupError):
        rows = []
    return [{key: row[key]["data"] for key in ("summary", "body", "appname")} for row in reversed(rows)]


def until(there: Machine, holds: Callable[[dict[str, object]], bool], what: str) -> dict[str, object]:
    """Waits until the migration's part of `slowboat status --json` is as wanted."""
    deadline = time.monotonic() + PATIENCE
    seen: dict[str, object] = {}
    while time.monotonic() < deadline:
        try:
            seen = json.loads(there.anna("slowboat status --json", check=False))["migrations"]["laptop"]
        except (ValueError, LookupError):
            seen = {}
        if seen and holds(seen):
            return seen
        time.sleep(0.5)
    raise SystemExit(f"{what} did not come: {seen}")


def desktop(there: Machine) -> None:
    """A user with a drive, and her systemd and session bus."""
    there.root(
        f"useradd -m -u {ANNA} -s /bin/bash anna; mkdir -p -m 700 /run/user/{ANNA} {DRIVE}; mkdir -p /media/anna;"
        f"chown anna: /run/user/{ANNA} {DRIVE}; mount -t tmpfs -o size=300m tmpfs {DRIVE}; chown anna: {DRIVE};"
        f"chown -R anna: /sys/fs/cgroup/{there.cgroup}; touch /run/go"
    )
    deadline = time.monotonic() + 60
    while "running" not in there.anna("systemctl --user is-system-running", check=False):
        if time.monotonic() > deadline:
            raise SystemExit("systemd --user did not come up: " + there.root("tail -50 /run/manager.log"))
        time.sleep(0.3)


def session(there: Machine, stack: ExitStack) -> None:
    """Her X server, her notifications and her keyring, unlocked as a login does it."""
    for program in (f"Xvfb {DISPLAY} -screen 0 900x260x24 -nolisten tcp", "sh -c 'sleep 1; exec dunst -conf dunstrc'"):
        if "dunst" in program:
            there.put("dunstrc", "[global]\nfont = DejaVu Sans 11\nwidth = 600\nheight = (0,220)\noffset = (20,20)\n")
        started = there.background(program)
        stack.callback(started.kill)
        time.sleep(1.5)
    there.anna("printf secret | gnome-keyring-daemon --daemonize --unlock --components=secrets", check=False)


def backup(there: Machine) -> None:
    """The backup that is on the drive already, and what it is of."""
    there.anna(
        "mkdir -p Documents; for n in 1 2 3 4 5 6; do head -c 8000000 /dev/urandom > Documents/photo$n; done;"
        f"PASSPHRASE=sesame duplicity full --volsize 5 {HOME}/Documents file://{DRIVE}/laptop"
    )


def capture(there: Machine, path: Path) -> None:
    """What the desktop shows now."""
    time.sleep(0.7)
    there.anna(f"import -display {DISPLAY} -window root shot.png")
    path.write_bytes(there.file(f"{HOME}/shot.png"))


def play(record: Record, there: Machine, swift: object, pictures: Path, stack: ExitStack) -> None:
    """The story."""
    with record.step("She logs in: systemd --user, session bus, keyring, notifications", "before"):
        desktop(there)
        session(there, stack)
    with record.step("A backup on a drive, as it is before: 48 MB with duplicity", "before"):
        backup(there)
        there.put("swiftrc.sh", f"export ST_AUTH={swift.auth_url}\nexport ST_USER={swift.user}\n")
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, capture_output=True, check=True).stdout
    subprocess.run(there.argv("mkdir -p ~/slowboat; tar -x -C ~/slowboat"), input=archive, check=True)
    with record.step("pipx install ./slowboat", "the user"):
        record.typed.append(in_a_terminal(there, "pipx install ./slowboat", []))
        record.check(record.typed[-1].code == 0, "slowboat is installed")
    with record.step("slowboat setup", "the user"):
        answers = [
            (r"Password or key for \w+: ?$", swift.key, "the password"),
            (r"next backups go\? \[\w+\]: ?$", "", "Enter"),
            (r"Write this and start\? \[Y/n\]: ?$", "", "Enter"),
        ]
        setup = in_a_terminal(there, ". ./swiftrc.sh; slowboat setup --limit 1M", answers)
        record.typed.append(setup)
        well = setup.code == 0 and "slowboat sends." in setup.shown
        record.check(well, "setup ends with: slowboat sends")
        if not well:
            raise SystemExit(setup.shown.replace(swift.key, "..."))
        record.check(swift.key not in setup.shown, "the password is not shown")
    picture(pictures / "first-use-setup.svg", "slowboat setup", setup.shown)
    with record.step("until the handover", "the user", line=True):
        seen = until(there, lambda one: one["handover"] == "done", "the handover")
    capture(there, pictures / "first-use-handover.png")
    record.check(seen["bytes_done"] < seen["bytes_total"], "the handover comes long before everything has arrived")
    with record.step(
        "duplicity goes on in the cloud: an incremental, while volumes are still on their way", "the user"
    ):
        there.anna("head -c 100000 /dev/urandom > Documents/letter")
        keys = f"SWIFT_AUTHURL=$ST_AUTH SWIFT_USERNAME=$ST_USER SWIFT_PASSWORD={swift.key} ST_KEY={swift.key}"
        url = str(seen["target_url"])
        there.anna(f". ./swiftrc.sh; {keys} PASSPHRASE=sesame duplicity incremental {HOME}/Documents {url}")
    status = in_a_terminal(there, "slowboat", [])
    picture(pictures / "first-use-status.svg", "slowboat", status.shown)
    picture(pictures / "first-use-plan.svg", "slowboat plan", in_a_terminal(there, "slowboat plan", []).shown)
    with record.step("until everything is in the cloud", "the user", line=True):
        until(there, lambda one: one["activity"] == "done", "the end")
    time.sleep(2)
    capture(there, pictures / "first-use-done.png")
    doctor = in_a_terminal(there, "slowboat doctor", [])
    picture(pictures / "first-use-doctor.svg", "slowboat doctor", doctor.shown)
    record.check(doctor.code == 0, "slowboat doctor finds nothing wrong")
    with record.step("a restore from the cloud alone, and a comparison", "after"):
        there.anna("rm -rf .cache/duplicity restored")
        there.anna(f". ./swiftrc.sh; {keys} PASSPHRASE=sesame duplicity restore {url} restored")
        record.check(there.anna("diff -r Documents restored", check=False) == "", "what comes back is what there was")
    titles = [one["summary"] for one in shown_by(there)] or ["(dunst does not tell)"]
    record.check(any("cloud now" in title for title in titles), f"the desktop was told of the handover: {titles}")
    record.check(record.answers <= MOST_ANSWERS, f"{record.answers} answers typed, at most {MOST_ANSWERS}")
    record.check(record.seconds <= MOST_SECONDS, f"{record.seconds:.0f} s without the bytes, at most {MOST_SECONDS}")


def page(record: Record, made: float, installed: float) -> str:
    """docs/first-use.md."""
    rows = "\n".join(
        f"| {name} | {whose}{', and the line' if line else ''} | {seconds:.0f} |"
        for name, seconds, whose, line in record.steps
    )
    held = "\n".join(f"- {what}" for ok, what in record.held if ok)
    setup = next(one for one in record.typed if "setup" in one.command)
    return f"""# The first use, by a stranger

Made by `contrib/first-use --docs`, which runs all of it: a bare Debian 13 (debootstrap, {made:.0f} s) with what a
desktop has (apt-get, {installed:.0f} s), a user without rights, a real `systemd --user` with a session bus,
gnome-keyring and dunst on an X server; a 48 MB backup of Debian's duplicity on a drive; a real Swift on the same
machine. There is no logind, no NetworkManager and no graphical shell in it. No editor is opened.

| step | whose time | seconds |
|---|---|---|
{rows}

{record.answers} answers typed ({", ".join(setup.answers)}); {record.seconds:.0f} seconds of the user's, without the
bytes.

{held}

## What is typed

{"".join(f"    {one.command}{chr(10)}" for one in record.typed)}
`swiftrc.sh` is what a provider gives: the address and the user, without the password. `--limit 1M` is there so that
the pictures show something: without it all is sent in a few seconds on one machine.

![slowboat setup](pictures/first-use-setup.svg)

The handover, after a few seconds:

![the notification of the handover](pictures/first-use-handover.png)

Meanwhile:

![slowboat status](pictures/first-use-status.svg)

![slowboat plan](pictures/first-use-plan.svg)

And at the end:

![the last notification](pictures/first-use-done.png)

![slowboat doctor](pictures/first-use-doctor.svg)
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", action="store_true", help="write docs/first-use.md and docs/pictures anew")
    parser.add_argument("--tree", type=Path, default=Path("/var/tmp/slowboat-first-use", SUITE), help="the bare Debian")
    chosen = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("contrib/first-use: it makes a Debian in namespaces of its own, which needs root")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    chosen.tree.parent.mkdir(parents=True, exist_ok=True)
    record = Record()
    made = bare(chosen.tree)
    desktops, installed = with_a_desktop(chosen.tree)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slowboat-")))
        pictures = DOCS / "pictures" if chosen.docs else folder / "pictures"
        pictures.mkdir(parents=True, exist_ok=True)
        swift = stack.enter_context(running_swift(folder / "swift"))
        there = stack.enter_context(running(desktops))
        play(record, there, swift, pictures, stack)
    well = bool(record.held) and all(ok for ok, _ in record.held)
    if chosen.docs and well:
        (DOCS / "first-use.md").write_text(page(record, made, installed))
    console.print("[green]All of it held.[/]" if well else "[red]Not all of it held.[/]")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
