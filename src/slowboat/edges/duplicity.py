"""Every duplicity on this machine, asked for its version, and one of them for one path of a backup.

Knows where programs are and how one is called; must not know what a version means (core/versions). Nothing of
duplicity's is run but `duplicity --version`, and that again only when the program has changed, and at the user's word
`duplicity restore` into a folder of its own. The duplicity inside a Flatpak or Snap is not run: the name of its
package's folder has the version.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from slowboat.core import urls
from slowboat.core.errors import Refused
from slowboat.core.versions import Installation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PATIENCE = 15.0
"""Seconds that it may take: half a second as a rule, ten on a slow disk that sleeps."""

STALE = 3600.0
"""Seconds after which it is asked again though its file is the same: a wrapper's file says little of what is behind."""

MOST = 4096
"""Bytes that are read of what it says."""

INSTALLERS_PATH: Final = "SLOWBOAT_PATH"
"""The variable in which `slowboat install` (edges/units) has left the PATH of who called it."""

ALSO = ("~/.local/bin", "/usr/local/bin", "/usr/bin")
"""Where a user's duplicity may be though no PATH leads there; ~/.local/bin is pipx's, uv's and pip's."""

PIPX = (".local/share/pipx", ".local/pipx")
"""Below the home, where pipx keeps its environments, if PIPX_HOME does not say; its programs may lie on no PATH.

https://pipx.pypa.io/stable/how-to/move-pipx-installation/
"""

FLATPAKS = ("/var/lib/flatpak", "~/.local/share/flatpak")
"""Where Flatpak keeps its applications: the machine's and the user's.

https://docs.flatpak.org/en/latest/flatpak-command-reference.html#flatpak
"""

SNAPS = "/snap"
"""Where snaps are mounted (https://snapcraft.io/docs/system-snap-directory)."""

_PACKAGES = tuple(
    f"{root}lib/{python}/{packages}"
    for root in ("", "usr/", "usr/local/")
    for python in ("python3", "python3.*")
    for packages in ("site-packages", "dist-packages")
)
"""Where Python's packages lie below the root of an application."""

_METADATA = re.compile(r"duplicity-(?P<version>[0-9][0-9A-Za-z.+]*?)(-py3[.0-9]*)?\.(dist|egg)-info")
"""https://packaging.python.org/en/latest/specifications/recording-installed-packages/#the-dist-info-directory"""


class InstalledDuplicities:
    """Fulfils the engine's `Duplicity` port.

    Args:
        program: the duplicity that the user named, and no other is looked at; None: every one that there is.
        environment: whose PATH and HOME count.
        root: the folder that counts as "/" for Flatpaks and Snaps.
    """

    def __init__(self, program: Path | None, environment: Mapping[str, str], root: Path = Path("/")) -> None:
        self._program = program
        self._environment = environment
        self._root = root
        self._known: dict[str, tuple[tuple[int, int], float, str]] = {}

    async def installed(self) -> Sequence[Installation]:
        """Every one, with what it says of its version ("" where it does not respond as it should); () where none is."""
        programs = self._programs()
        output = await asyncio.gather(*(self._version_of(path) for path in programs))
        found = [Installation(path, text) for path, text in zip(programs, output, strict=True)]
        return [*found, *([] if self._program else await asyncio.to_thread(lambda: list(self._packed())))]

    def path(self) -> str | None:
        """The one that the user would run; None where there is none."""
        return next(iter(self._programs()), None)

    async def version(self) -> str:
        """What that one says of its version; "" where there is none, or it does not respond as it should."""
        path = self.path()
        return await self._version_of(path) if path else ""

    def _programs(self) -> list[str]:
        """The programs called duplicity, each once, the one that the user would run first."""
        if self._program is not None:
            return [str(self._program)]
        found: dict[str, str] = {}
        for folder in self._folders():
            path = shutil.which("duplicity", path=folder)
            if path:
                found.setdefault(os.path.realpath(path), path)
        return list(found.values())

    def _folders(self) -> Iterator[str]:
        """Where programs may be: each PATH, and what is on none. Snap's are not run (see `_packed`)."""
        environment, home = self._environment, self._environment.get("HOME", "")
        for variable in ("PATH", INSTALLERS_PATH):
            path = environment.get(variable, os.defpath if variable == "PATH" else "")
            yield from (each for each in path.split(os.pathsep) if each.startswith("/") and each != f"{SNAPS}/bin")
        yield from (each.replace("~", home, 1) for each in ALSO if home or not each.startswith("~"))
        homes = [environment.get("PIPX_HOME", ""), *(f"{home}/{each}" for each in PIPX if home)]
        yield from (f"{each}/venvs/duplicity/bin" for each in homes if each.startswith("/"))

    def _packed(self) -> Iterator[Installation]:
        """Those inside of Flatpaks and Snaps."""
        home = self._environment.get("HOME", "")
        for base in FLATPAKS:
            if home or not base.startswith("~"):
                folder = Path(base.replace("~", home, 1)) if base.startswith("~") else self._root / base.lstrip("/")
                yield from _inside(folder / "app", "*/current/active/files", "Flatpak")
        yield from _inside(self._root / SNAPS.lstrip("/"), "*/current", "Snap")

    async def _version_of(self, path: str) -> str:
        try:
            found = os.stat(path)  # noqa: PTH116  # of whatever the path leads to, as the shell does
        except OSError:
            return ""
        key, now = (found.st_mtime_ns, found.st_size), time.monotonic()
        known = self._known.get(path)
        if known is not None and known[0] == key and now - known[1] < STALE:
            return known[2]
        output = await self._asked(path)
        self._known[path] = (key, now, output)
        return output

    async def _asked(self, path: str) -> str:
        """Runs it in a thread; when cancelled, it is ended at once."""
        call = _Call([path, "--version"], {**self._environment, "LC_ALL": "C"})
        try:
            return await asyncio.to_thread(call.output)
        finally:
            call.end()


def _inside(folder: Path, applications: str, kind: str) -> Iterator[Installation]:
    """The duplicities of all applications of one kind; folders that may not be read have none."""
    for packages in _PACKAGES:
        try:
            found = sorted(folder.glob(f"{applications}/{packages}/duplicity-*-info"))
        except OSError:
            continue
        for path in found:
            if match := _METADATA.fullmatch(path.name):
                application = path.relative_to(folder).parts[0]
                yield Installation(f"{kind} {application}", f"duplicity {match['version']}")


class _Call:
    """One run of a program that is not trusted to end, nor to say little."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        self._argv = argv
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = False

    def output(self) -> str:
        """What it printed, at most `MOST` bytes; "" where it failed or took too long."""
        try:
            process = subprocess.Popen(  # noqa: S603  # the user's own duplicity, by its path
                self._argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=self._environment,
                start_new_session=True,
            )
        except OSError:
            return ""
        self._process = process
        timer = threading.Timer(PATIENCE, self.end)
        timer.start()
        try:
            assert process.stdout is not None
            with process.stdout as pipe:
                output = pipe.read(MOST)
            code = process.wait()  # who goes on talking finds its pipe closed
        finally:
            timer.cancel()
            self.end()
        return output.decode(errors="replace") if code == 0 else ""

    def end(self) -> None:
        """Kills it with all that it started, where it has not ended."""
        if self._process is not None and not self._ended:
            self._ended = True
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)


NOT_IN_ARCHIVE = 19
"""duplicity's exit code where a backup has no such path: `restore_dir_not_found`, now `restore_path_not_found`, in
https://gitlab.com/duplicity/duplicity/-/blob/main/duplicity/log.py"""

RENAMED = 2
"""The major version since which `--file-to-restore` is called `--path-to-restore`."""

_SECRETS = frozenset({"PASSPHRASE", "SWIFT_PASSWORD", "ST_KEY", "SWIFT_PREAUTHTOKEN", "OS_AUTH_TOKEN"})
"""Variables whose values are never repeated."""

_LINES_QUOTED = 3
"""Lines of what duplicity says at its end that are handed on."""


class PathRestore:
    """Restores single paths of backups, as on a machine that has never seen them: without any cache of before.

    Args:
        program: duplicity.
        version: what its `--version` says.
        folder: an empty one, the caller's to remove; caches, temporary files and what is restored lie in it.
        secrets: variables for its environment, credentials and passphrase; they go nowhere else.
    """

    def __init__(self, program: str, version: str, folder: Path, secrets: Mapping[str, str]) -> None:
        major = re.search(r"(\d+)\.", version)
        self._option = "--path-to-restore" if major and int(major[1]) >= RENAMED else "--file-to-restore"
        self._program = program
        self._folder = folder
        self._secrets = secrets
        self._made = 0

    def run(self, url: str, path: str, when: int, *, file_prefix: str = "", encrypted: bool = True) -> Path | None:
        """Restores `path` as it was in the backup of `when` (seconds since the epoch). Blocking.

        Returns:
            Where it lies; None where the backup has no such path.

        Raises:
            Refused: duplicity could not do it; its last words are in the message.
        """
        self._made += 1
        into = self._folder / f"restored-{self._made}"
        temporary = self._folder / "tmp"
        temporary.mkdir(exist_ok=True)
        options = [f"{self._option}={path}", "--time", str(when), "--archive-dir", str(self._folder / "cache")]
        options += ["--file-prefix", file_prefix] if file_prefix else []
        if not encrypted:
            options.append("--no-encryption")
        elif "PASSPHRASE" not in self._secrets:
            options.append("--use-agent")
        done = subprocess.run(  # noqa: S603  # the user's own duplicity, by its path
            [self._program, "restore", *options, url, str(into)],
            env=self._environment(temporary),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        if done.returncode == NOT_IN_ARCHIVE:
            return None
        if done.returncode or not os.path.lexists(into):
            output = self._last_words(done.stderr or done.stdout)
            raise Refused(
                f"duplicity could not restore from {urls.without_user(url)}: {output}",
                hint="To compare what is there: slowboat verify",
                code="drill",
            )
        return into

    def _environment(self, temporary: Path) -> dict[str, str]:
        """The user's own, but for other credentials."""
        kept = {name: text for name, text in os.environ.items() if not name.startswith(("SWIFT_", "ST_", "OS_"))}
        return {**kept, "TMPDIR": str(temporary), **self._secrets}

    def _last_words(self, output: bytes) -> str:
        text = output.decode(errors="replace")
        for name, secret in self._secrets.items():
            if name in _SECRETS:
                text = text.replace(secret, "***")
        return (
            " ".join([line.strip() for line in text.splitlines() if line.strip()][-_LINES_QUOTED:])
            or "it printed nothing"
        )
