"""Installs slowboat as a service of the user's own systemd, and asks systemd what has become of it.

Knows where systemd, D-Bus and the desktop look for a user's files, and how systemd quotes; must not know what
the service does. The files are those of the `systemd` folder, with the path of this very program in them.
They go where a package's would for one user (`$XDG_DATA_HOME`), which leaves `~/.config/systemd/user` to the
user's own changes. https://www.freedesktop.org/software/systemd/man/latest/systemd.unit.html
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from slowboat.core.errors import NeedsUser
from slowboat.edges import xdg
from slowboat.edges.dbus import DRIVER, DRIVER_PATH, BusError, Connection

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

UNIT: Final = "slowboat.service"
SANDBOX: Final = "slowboat.service.d/sandbox.conf"
_ON_TOP: Final = "slowboat.service.d/install.conf"
"""What this user needs beside the unit that a package has installed for every user."""
FOR_EVERYBODY: Final = ("/etc/systemd/user", "/usr/local/lib/systemd/user", "/usr/lib/systemd/user")
"""Where a package's units are, https://www.freedesktop.org/software/systemd/man/latest/systemd.unit.html#Unit%20File%20Load%20Path."""
_ACTIVATION: Final = "io.github.slowboat.Slowboat1.service"
_DESKTOP: Final = "io.github.slowboat.Slowboat1.desktop"
_ICONS: Final = {
    "scalable": "io.github.slowboat.Slowboat1.svg",
    "symbolic": "io.github.slowboat.Slowboat1-symbolic.svg",
}
"""By the folder of the icon theme, https://specifications.freedesktop.org/icon-theme-spec/latest/."""

INSTALLERS_PATH: Final = "SLOWBOAT_PATH"
"""The variable in which the service is told the PATH of who installed it: a login shell's is another than the user
manager's, and may lead to another duplicity (https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html)."""

_ALIVE: Final = ("initializing", "starting", "running", "degraded", "maintenance")
"""What `systemctl --user is-system-running` says of a manager that takes orders; else "offline" or an error."""

PATIENCE: Final = 120.0
"""Seconds for systemctl: longer than the unit's TimeoutStartSec."""


def templates(what: Literal["systemd", "desktop"] = "systemd") -> Path:
    """The folder of the units, or of the desktop's files: in the package, or beside the sources."""
    package = Path(__file__).parent.parent
    packed = package / {"systemd": "_units", "desktop": "_desktop"}[what]
    return packed if packed.is_dir() else package.parent.parent / what


def entry_point() -> tuple[str, ...]:
    """The command that runs this very slowboat, with an absolute path."""
    beside = Path(sys.executable).with_name("slowboat")
    if beside.exists():
        return (str(beside),)
    return (sys.executable, "-m", "slowboat")


def quoted(argument: str) -> str:
    """One argument of an Exec line of a unit.

    https://www.freedesktop.org/software/systemd/man/latest/systemd.service.html#Command%20lines
    """
    plain = argument.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return plain if re.fullmatch(r"[\w@%+=:,./$-]+", plain) else f'"{plain}"'


def quoted_for_desktop(argument: str) -> str:
    """One argument of a desktop file's Exec line.

    https://specifications.freedesktop.org/desktop-entry-spec/latest/exec-variables.html
    """
    inner = re.sub(r'(["`$\\])', r"\\\1", argument).replace("\\", "\\\\").replace("%", "%%")
    return inner if re.fullmatch(r"[\w@+=:,./%-]+", inner) else f'"{inner}"'


def _quoted_variable(name: str, value: str) -> str:
    """One assignment of an Environment line of a unit: no dollar means anything there.

    https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html#Environment=
    """
    plain = value.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{name}={plain}"'


def packaged(command: Sequence[str], folders: Sequence[str] = FOR_EVERYBODY) -> bool:
    """Whether a package has brought the unit for every user, and it runs this very program."""
    line = f"ExecStart={' '.join(quoted(each) for each in (*command, 'daemon'))}"
    units = (Path(folder, UNIT) for folder in folders)
    return any(line in unit.read_text(encoding="utf-8").splitlines() for unit in units if unit.is_file())


def wanted(command: Sequence[str] = (), *, sandbox: bool = True, writable: Sequence[Path] = ()) -> Mapping[Path, str]:
    """The files that an installation needs here: all of them, or what is missing beside a package's.

    Args:
        command: what runs slowboat; this very one unless given.
        sandbox: as `rendered`.
        writable: as `rendered`; slowboat's own state is always among them.
    """
    command = command or entry_point()
    make = _beside_a_package if packaged(command) else rendered
    path = os.environ.get("PATH", "")
    return make(command, sandbox=sandbox, writable=(*writable, *_unusual()), path=path)


def _beside_a_package(_: Sequence[str], *, sandbox: bool, writable: Sequence[Path], path: str) -> Mapping[Path, str]:
    lines = [f"Environment={_quoted_variable(INSTALLERS_PATH, path)}"] if path and path.isprintable() else []
    lines += [f"ReadWritePaths=-{quoted(str(each))}" for each in writable] if sandbox else []
    files = {Path("systemd/user", _ON_TOP): "\n".join(["[Service]", *lines, ""])} if lines else {}
    if not sandbox:  # a file of that name takes the place of the package's
        files[Path("systemd/user", SANDBOX)] = "# No sandbox: slowboat install --no-sandbox\n"
    return files


def rendered(
    command: Sequence[str], *, sandbox: bool = True, writable: Sequence[Path] = (), path: str = ""
) -> Mapping[Path, str]:
    """The files of an installation: path below `$XDG_DATA_HOME` to text.

    Args:
        command: what runs slowboat, an absolute path first.
        sandbox: whether the drop-in is among them that takes away what slowboat never needs.
        writable: what slowboat must be able to write besides the usual folders (duplicity's cache elsewhere).
        path: the PATH on which the user's own duplicity may be, "" where none is known.
    """
    source = templates()
    line = " ".join(quoted(each) for each in (*_startable(command), "daemon"))
    if path and path.isprintable():
        line += f"\nEnvironment={_quoted_variable(INSTALLERS_PATH, path)}"
    files = {
        Path("systemd/user", UNIT): _with_line(source / UNIT, "ExecStart", line),
        Path("dbus-1/services", _ACTIVATION): (source / _ACTIVATION).read_text(encoding="utf-8"),
        Path("applications", _DESKTOP): _desktop_file(command),
    }
    for folder, icon in _ICONS.items():
        drawn = (templates("desktop") / icon).read_text(encoding="utf-8")
        files[Path("icons/hicolor", folder, "apps", icon)] = drawn
    for xml in sorted((Path(__file__).parent / "interfaces").glob("*.xml")):
        files[Path("dbus-1/interfaces", xml.name)] = xml.read_text(encoding="utf-8")
    if sandbox:
        more = "".join(f"ReadWritePaths=-{quoted(str(path))}\n" for path in writable)
        files[Path("systemd/user", SANDBOX)] = (source / SANDBOX).read_text(encoding="utf-8") + more
    return files


def _startable(command: Sequence[str]) -> tuple[str, ...]:
    """The same command; systemd takes no program whose own path has quotes, backslashes or dollars, env does."""
    return ("/usr/bin/env", *command) if set(command[0]) & set("'\"\\$") else tuple(command)


def _desktop_file(command: Sequence[str]) -> str:
    """The desktop file: in each of its commands this very program."""
    text = (templates("desktop") / _DESKTOP).read_text(encoding="utf-8")
    ours = " ".join(quoted_for_desktop(each) for each in command)
    return re.sub(r"^Exec=/usr/bin/slowboat", lambda _: f"Exec={ours}", text, flags=re.MULTILINE)


def _with_line(template: Path, key: str, value: str) -> str:
    text = template.read_text(encoding="utf-8")
    return re.sub(rf"^{key}=.*$", lambda _: f"{key}={value}", text, flags=re.MULTILINE)


def data_home() -> Path:
    """Where a user's data files are: `$XDG_DATA_HOME` or its default."""
    return xdg.folder("XDG_DATA_HOME")


def state_home() -> Path:
    """Where slowboat keeps its memory."""
    return xdg.folder("XDG_STATE_HOME") / xdg.OURS


def _unusual() -> tuple[Path, ...]:
    """What must be writable elsewhere than the drop-in says, because the user's environment says so."""
    caches = xdg.given("XDG_CACHE_HOME")
    elsewhere = (caches / "duplicity", caches / "deja-dup") if caches else ()
    return (*((state_home(),) if xdg.given("XDG_STATE_HOME") else ()), *elsewhere)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an installation or its reverse did: the files that it wrote or removed."""

    files: tuple[Path, ...]


_SYSTEMD: Final = "org.freedesktop.systemd1"
_MANAGER_PATH: Final = "/org/freedesktop/systemd1"


@dataclass(frozen=True, slots=True)
class State:
    """What systemd knows of the service.

    https://www.freedesktop.org/software/systemd/man/latest/org.freedesktop.systemd1.html

    Attributes:
        load: "loaded", "not-found", "masked", "error", ...
        active, sub: "active", "failed", "inactive", "activating", ...; and more exactly, such as "auto-restart".
        result: why it failed: "exit-code", "signal", "watchdog", "start-limit-hit", ...; "success" where it did not.
        status: the exit code, or the signal's number.
        enabled: whether it starts by itself: "enabled", "disabled", ...
        private_users: whether the unit asks for a user namespace, upon which its sandbox stands.
        status_text: the service's own status line, of its last run where it does not run.
    """

    load: str
    active: str
    sub: str = ""
    result: str = ""
    status: int = 0
    status_text: str = ""
    enabled: str = ""
    private_users: bool = False


async def state(address: str = "") -> State | None:
    """What the user's systemd knows of the service; None where it cannot be asked. Starts nothing.

    Args:
        address: another bus than the session's.
    """
    try:
        async with await Connection.open(address=address) as bus:
            answer = await bus.call(_SYSTEMD, _MANAGER_PATH, f"{_SYSTEMD}.Manager", "LoadUnit", "s", UNIT, start=False)
            unit = await bus.get_all(_SYSTEMD, answer[0], f"{_SYSTEMD}.Unit")
            load, active, sub = (str(unit.get(key, "")) for key in ("LoadState", "ActiveState", "SubState"))
            if load != "loaded":
                return State(load, active, sub)
            service = await bus.get_all(_SYSTEMD, answer[0], f"{_SYSTEMD}.Service")
    except BusError:
        return None
    return State(
        load,
        active,
        sub,
        result=str(service.get("Result", "")),
        status=int(service.get("ExecMainStatus", 0)),
        status_text=str(service.get("StatusText", "")),
        enabled=str(unit.get("UnitFileState", "")),
        private_users=bool(service.get("PrivateUsers", False)),
    )


async def install(
    *,
    command: Sequence[str] = (),
    sandbox: bool = True,
    writable: Sequence[Path] = (),
) -> Outcome:
    """Writes the files, makes systemd and D-Bus read them, enables and starts the service. Again: the same.

    Args:
        command: what runs slowboat; this very one unless given.
        sandbox: as `rendered`.
        writable: as `rendered`; slowboat's own state is always among them.

    Raises:
        NeedsUser: there is no systemd of the user's here (code "no-systemd"), a file cannot be written, or the
            service does not start (code "does-not-start"); what was written stays.
    """
    await _systemctl_there()
    _made(state_home())  # a sandbox opens only what is there when it starts
    files = wanted(command, sandbox=sandbox, writable=writable)
    left_over = _ours() - files.keys()
    if Path("systemd/user", UNIT) in left_over and (data_home() / "systemd/user" / UNIT).exists():
        await _systemctl("disable", UNIT)  # it was installed without a package before: the package's is another file
    changed = [path for path, text in files.items() if _written(data_home() / path, text)]
    changed += [path for path in sorted(left_over) if _removed(data_home() / path)]
    await _reread()
    await _systemctl("enable", UNIT)
    units = [path for path in changed if path.parts[0] == "systemd"]
    # A running one goes on with the old unit until it is told; one that failed too often must be forgiven first.
    await _systemctl("reset-failed", UNIT, must=False)
    await _started("restart" if units else "start")
    return Outcome(tuple(data_home() / path for path in changed))


async def uninstall() -> Outcome:
    """Stops and disables the service and removes its files. Again: nothing. Configuration and memory stay.

    Raises:
        NeedsUser: there is no systemd of the user's here, or a file cannot be removed.
    """
    await _systemctl_there()
    if (data_home() / "systemd/user" / UNIT).exists() or packaged(entry_point()):
        await _systemctl("disable", "--now", UNIT)
    gone = tuple(data_home() / path for path in sorted(_ours()) if _removed(data_home() / path))
    await _reread()
    await _systemctl("reset-failed", UNIT, must=False)
    return Outcome(gone)


def _ours() -> set[Path]:
    """Every file that an installation may have written, below `$XDG_DATA_HOME`."""
    return {*rendered(("/",)), Path("systemd/user", _ON_TOP)}


def _made(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise NeedsUser(f"{folder} cannot be created ({error.strerror})", code="cannot-write") from error


def _written(path: Path, text: str) -> bool:
    """Writes a file whole or not at all; False where it is so already."""
    try:
        if path.exists() and path.read_text(encoding="utf-8") == text:
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}.new")
        new.write_text(text, encoding="utf-8")
        new.chmod(0o644)
        new.replace(path)
    except OSError as error:
        raise NeedsUser(f"{path} cannot be written ({error.strerror})", code="cannot-write") from error
    return True


def _removed(path: Path) -> bool:
    try:
        path.unlink()
        if path.parent.name.endswith(".service.d") and not any(path.parent.iterdir()):
            path.parent.rmdir()  # ours alone, unless the user put something there
    except FileNotFoundError:
        return False
    except OSError as error:
        raise NeedsUser(f"{path} cannot be removed ({error.strerror})", code="cannot-write") from error
    return True


async def _systemctl_there() -> None:
    if os.geteuid() == 0 and os.environ.get("SUDO_UID"):
        raise NeedsUser(
            "slowboat is a user service, and this would install it for root",
            hint="Run it again without sudo, as the user whose backup it is",
            code="no-systemd",
        )
    if shutil.which("systemctl") is None or (await _run("is-system-running"))[1] not in _ALIVE:
        raise NeedsUser(
            "there is no systemd here that runs this user's services",
            hint='Log in to the desktop as that user and try again, or run "slowboat daemon" from what starts '
            "your session",
            code="no-systemd",
        )


async def _run(*arguments: str) -> tuple[int, str]:
    """Runs `systemctl --user`: its exit code and what it said."""
    process = await asyncio.create_subprocess_exec(
        "systemctl",
        "--user",
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(PATIENCE):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return 1, "no answer"
    return process.returncode or 0, output.decode(errors="replace").strip()


async def _systemctl(*arguments: str, must: bool = True) -> None:
    code, output = await _run(*arguments)
    if code and must:
        raise NeedsUser(f"systemctl --user {arguments[0]} failed: {output}", code="systemd")


async def _started(how: str) -> None:
    code, _ = await _run(how, UNIT)
    if code:
        raise NeedsUser(
            "slowboat is installed, but does not start",
            hint="To see why: journalctl --user -u slowboat -n 20",
            code="does-not-start",
        )


async def _reread() -> None:
    """Lets systemd and the bus look at their files again; a bus that is not there will look when it comes."""
    await _systemctl("daemon-reload")
    try:
        async with await Connection.open() as connection:
            # Without it a bus that started before its folder of services existed never looks there.
            await connection.call(DRIVER, DRIVER_PATH, DRIVER, "ReloadConfig")
    except BusError:
        return
