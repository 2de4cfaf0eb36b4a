"""Bare systems that have one Deja Dup each: made by debootstrap once, kept for the next time.

Where they come from is the host's own business: its mirror, its settings for apt and pip. Never entered themselves but
to be made: a run sees them below a layer of its own (`room`).
"""

from __future__ import annotations

import fcntl
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

from outcome import CannotRun, say

from dejadup.room import Room

ROOT = Path(__file__).parents[3]
PACKAGES = (
    *("deja-dup", "duplicity", "rclone", "dbus", "dconf-cli", "dconf-gsettings-backend", "gnome-keyring"),
    *(
        "libsecret-tools",
        "xdg-user-dirs",
        "gvfs",
        "gvfs-daemons",
        "gvfs-backends",
        "gvfs-fuse",
        "udisks2",
        "libglib2.0-bin",
    ),
    *("xvfb", "xdotool", "openbox", "imagemagick", "libgl1-mesa-dri", "adwaita-icon-theme", "fonts-dejavu-core"),
    *(
        "at-spi2-core",
        "gir1.2-atspi-2.0",
        "python3-gi",
        "python3-venv",
        "python3-swiftclient",
        "gpg",
        "gpg-agent",
        "procps",
        "systemd",
    ),
)
"""A desktop's least, with what presses its buttons."""
BOOTSTRAP = "/usr/share/debootstrap/scripts/sid"
"""Debian's own script for every suite since; an older debootstrap does not know the newer ones by name."""
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
FOLDER = "opt/slowboat-bench"
"""Of ours inside: the environment of slowboat's dependencies, and what was made for which list of packages."""


@dataclass(frozen=True)
class System:
    """A suite of Debian and where its tree is.

    Attributes:
        suite: as the mirror calls it.
        title: for people.
        suites: all that its apt knows, its own first: what it has not comes from the next.
    """

    suite: str
    title: str
    suites: tuple[str, ...]
    tree: Path

    def version(self, package: str) -> str:
        """The upstream version of a package in it, such as "45.2"."""
        found = _asked("dpkg-query", f"--root={self.tree}", "--showformat=${Version}", "--show", package)
        return re.sub(r"^\d+:|[-+].*", "", found)


def systems(folder: Path) -> dict[str, System]:
    """All there are, by their suites; not made yet."""
    known = (("trixie", "Debian 13", ("trixie",)), ("forky", "Debian testing", ("forky", "sid")))
    return {suite: System(suite, title, suites, folder / suite) for suite, title, suites in known}


def made(system: System) -> System:
    """The system with all that it needs, made if need be (about 3 minutes and 1.7 GB).

    Raises:
        CannotRun: it cannot be made, and why.
    """
    wanted = hashlib.sha256(repr((PACKAGES, _dependencies())).encode()).hexdigest()
    mark = system.tree / FOLDER / "ready"
    system.tree.parent.mkdir(parents=True, exist_ok=True)
    with (system.tree.parent / f"{system.suite}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (mark.exists() and mark.read_text() == wanted):
            _bootstrap(system)
            _fill(system)
            mark.write_text(wanted)
    return system


def _bootstrap(system: System) -> None:
    if (system.tree / "etc/debian_version").exists():
        return
    say(f"dejadup: debootstrap of {system.title} into {system.tree}")
    mirror = _mirror()
    shutil.rmtree(system.tree, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="slowboat-keyring-") as made_here:
        keyring = _newer_keyring(Path(made_here), mirror)
        argv = ["debootstrap", "--variant=minbase", "--include=ca-certificates,python3", f"--keyring={keyring}"]
        _asked(*argv, system.suite, str(system.tree), mirror, BOOTSTRAP)


def _newer_keyring(folder: Path, mirror: str) -> str:
    """The keys of the next stable Debian, whose package this one's own keys have signed: they know the suites after."""
    for each in ("lists/partial", "cache/archives/partial"):
        (folder / each).mkdir(parents=True)
    (folder / "list").write_text(f"deb [signed-by={KEYRING}] {mirror} trixie main\n")
    where = {"Dir::Etc::sourcelist": "list", "Dir::State::lists": "lists", "Dir::Cache": "cache"}
    options = [f"-o{name}={folder / path}" for name, path in where.items()] + ["-oDir::Etc::sourceparts=/dev/null"]
    _asked("apt-get", *options, "update", folder=folder)
    _asked("apt-get", *options, "download", "debian-archive-keyring", folder=folder)
    _asked("dpkg", "-x", str(next(folder.glob("*.deb"))), ".", folder=folder)
    return str(min(folder.glob("usr/share/keyrings/debian-archive-keyring.*")))


def _fill(system: System) -> None:
    """Its packages, and slowboat's dependencies in an environment of the system's own Python."""
    say(f"dejadup: packages into {system.tree}")
    _as_the_host(system)
    named = " ".join(PACKAGES)
    pip = "/opt/slowboat-bench/venv/bin/pip install --quiet"
    needed = " ".join(f"'{each}'" for each in _dependencies())
    with Room.of_the_tree(system.tree) as room:
        for command in (
            "apt-get -q update",
            f"apt-get -qy install --no-install-recommends {named}",
            f"rm -rf /{FOLDER} && mkdir -p /{FOLDER} && python3 -m venv /{FOLDER}/venv && {pip} {needed}",
        ):
            done = room.root(command)
            if done.returncode:
                raise CannotRun(f"{system.title}: `{command[:60]}...` failed: {done.stdout[-1000:]}")


def _as_the_host(system: System) -> None:
    """Its apt and its pip go where the host's go."""
    tree, mirror = system.tree, _mirror()
    (tree / "etc/apt/sources.list").unlink(missing_ok=True)
    stanza = "Types: deb\nURIs: {}\nSuites: {}\nComponents: main\nSigned-By: {}\n\n"
    sources = "".join(stanza.format(mirror, suite, KEYRING) for suite in system.suites)
    (tree / "etc/apt/sources.list.d/debian.sources").write_text(sources)
    (tree / "etc/apt/apt.conf.d/00suite").write_text(f'APT::Default-Release "{system.suites[0]}";\n')
    for path in (Path("/etc/pip.conf"), Path("/etc/resolv.conf"), Path("/etc/hosts"), Path.home() / ".config/pip"):
        if path.exists():
            place = tree / path.relative_to("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if path.is_dir() else shutil.copy)(
                path, place, **({"dirs_exist_ok": True} if path.is_dir() else {})
            )
    for path in [*Path("/etc/apt/apt.conf.d").glob("9*"), Path("/etc/ssl/certs/ca-certificates.crt")]:
        shutil.copy(path, tree / path.relative_to("/"))


def _mirror() -> str:
    """The host's own."""
    files = [*Path("/etc/apt/sources.list.d").glob("*.sources"), *Path("/etc/apt").glob("sources.list")]
    for file in files:
        if found := re.search(r"^(?:URIs:|deb(?: \[.*\])?) *(\S+/debian/?)(?:\s|$)", file.read_text(), re.MULTILINE):
            return found[1]
    raise CannotRun("the host has no mirror of Debian among its sources of apt")


def _dependencies() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return list(project["dependencies"])


def wheel(folder: Path) -> Path:
    """slowboat as it is released, built from this checkout."""
    _asked(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT))
    return next(folder.glob("slowboat-*.whl"))


def _asked(*argv: str, folder: Path | None = None) -> str:
    done = subprocess.run(argv, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise CannotRun(f"{' '.join(argv)} failed: {done.stdout[-1000:]}")
    return done.stdout.strip()
