"""The units, as systemd reads them, and their installation into a real `systemd --user`."""

from __future__ import annotations

import configparser
import json
import os
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from realparts.presence import ROOT
from realparts.user_manager import HOME, UID, UserManager, running_user_manager
from slowboat import __version__
from slowboat.core import segmenting
from slowboat.core.errors import NeedsUser
from slowboat.edges import units
from slowboat.edges.bus.report_properties import MANAGER, NAME
from slowboat.edges.bus.report_properties import ROOT as OBJECT
from slowboat.edges.settings.checks import MOST_CONNECTIONS
from slowboat.edges.settings.shape import TopTable
from slowboat.edges.swift import session, store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

UNIT = Path("systemd/user/slowboat.service")
SANDBOX = Path("systemd/user/slowboat.service.d/sandbox.conf")


def laid_out(folder: Path, **options: object) -> Path:
    """The rendered files in a folder; the path of the unit."""
    for path, text in units.rendered((sys.executable,), **options).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder / UNIT


def analyze(runtime: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": str(runtime), "HOME": str(runtime)}
    argv = ["systemd-analyze", "--user", *map(str, arguments)]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.needs("systemd-analyze")
@pytest.mark.parametrize("sandbox", [True, False])
def test_systemd_understands_every_line(tmp_path: Path, sandbox: bool) -> None:
    unit = laid_out(tmp_path, sandbox=sandbox, writable=[Path("/a b/%h")], path='/bin:/a b/%h:/c"d\\e:/$f')
    checked = analyze(tmp_path, "verify", unit)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    with unit.open("a") as file:
        file.write("[Service]\nUnheardOf=yes\n")
    assert "UnheardOf" in analyze(tmp_path, "verify", unit).stderr, "else the check above says nothing"


def test_there_is_room_for_all_that_is_bounded_and_for_no_more(tmp_path: Path) -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.read(laid_out(tmp_path))
    high, most = (int(unit["Service"][key].rstrip("MG")) for key in ("MemoryHigh", "MemoryMax"))
    assert (unit["Service"]["MemoryHigh"][-1], unit["Service"]["MemoryMax"]) == ("M", "1G")
    at_work, body = 100 << 20, segmenting.LARGEST // 2  # courier reads that much whole
    answers = session.MOST_BYTES + store._LISTED_BYTES
    assert at_work + answers + TopTable().connections * body <= high << 20
    assert at_work + answers + MOST_CONNECTIONS * body <= most << 30


@pytest.mark.needs("systemd-analyze")
def test_the_sandbox_is_as_tight_as_it_was_found_to_work(tmp_path: Path) -> None:
    # Exposure times ten. What remains: it needs the network and reads the home.
    unit = laid_out(tmp_path)
    assert analyze(tmp_path, "security", "--offline=true", "--threshold=20", unit).returncode == 0
    (tmp_path / SANDBOX).unlink()
    assert analyze(tmp_path, "security", "--offline=true", "--threshold=50", unit).returncode != 0


def test_a_wrong_configuration_is_not_tried_again() -> None:
    unit = (units.templates() / "slowboat.service").read_text()
    assert "\nRestartPreventExitStatus=78\n" in unit
    assert "\nRestart=on-failure\n" in unit


def test_the_activation_file_names_the_units_alias() -> None:
    activation = configparser.ConfigParser(interpolation=None)
    activation.read(units.templates() / f"{NAME}.service")
    unit = (units.templates() / "slowboat.service").read_text()
    assert activation["D-BUS Service"]["Name"] == NAME
    assert f"\nAlias={activation['D-BUS Service']['SystemdService']}\n" in unit


def test_the_files_are_complete_and_run_this_program() -> None:
    files = units.rendered(("/opt/x/bin/slowboat",))
    assert {str(path) for path in files} == {
        str(UNIT),
        str(SANDBOX),
        f"dbus-1/services/{NAME}.service",
        f"dbus-1/interfaces/{MANAGER}.xml",
        f"dbus-1/interfaces/{NAME}.Migration.xml",
        f"applications/{NAME}.desktop",
        f"icons/hicolor/scalable/apps/{NAME}.svg",
        f"icons/hicolor/symbolic/apps/{NAME}-symbolic.svg",
    }
    assert "\nExecStart=/opt/x/bin/slowboat daemon\n" in files[UNIT]
    assert "\nExec=/opt/x/bin/slowboat status --watch --from-menu\n" in files[Path("applications", f"{NAME}.desktop")]
    assert f"\nIcon={NAME}\n" in files[Path("applications", f"{NAME}.desktop")]
    assert SANDBOX not in units.rendered(("/x",), sandbox=False)
    assert "\nReadWritePaths=-/srv/cache\n" in units.rendered(("/x",), writable=[Path("/srv/cache")])[SANDBOX]
    command = units.entry_point()
    assert Path(command[0]).is_absolute()
    assert Path(command[0]).exists()


@pytest.mark.needs("systemd-analyze")
@pytest.mark.parametrize("odd", ["a b", "a%h", "ü", "a;b", "a=b"])
def test_a_path_with_odd_letters_is_still_that_path(tmp_path: Path, odd: str) -> None:
    program = tmp_path / odd / "slowboat"
    program.parent.mkdir()
    program.symlink_to(sys.executable)
    (tmp_path / "slowboat.service").write_text(units.rendered((str(program),))[UNIT])
    checked = analyze(tmp_path, "verify", tmp_path / "slowboat.service")
    assert checked.stderr == "", "it looks whether the program is there"
    program.unlink()
    assert "not executable" in analyze(tmp_path, "verify", tmp_path / "slowboat.service").stderr


def test_beside_a_package_only_what_is_this_users_own_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("/usr/bin/slowboat",)
    assert not units.packaged(command, [str(tmp_path)])
    (tmp_path / "slowboat.service").write_text((units.templates() / "slowboat.service").read_text())
    assert units.packaged(command, [str(tmp_path / "nothing"), str(tmp_path)])
    assert not units.packaged(("/home/anna/.local/bin/slowboat",), [str(tmp_path)]), "another program's"
    monkeypatch.setattr(units, "packaged", lambda _: True)
    monkeypatch.setenv("PATH", "/home/anna/bin:/usr/bin")
    on_top = Path("systemd/user/slowboat.service.d/install.conf")
    (written,) = units.wanted(command, writable=[Path("/srv/a cache")]).items()
    assert written[0] == on_top
    assert written[1].splitlines() == [
        "[Service]",
        'Environment="SLOWBOAT_PATH=/home/anna/bin:/usr/bin"',
        'ReadWritePaths=-"/srv/a cache"',
    ]
    without = units.wanted(command, sandbox=False, writable=[Path("/srv/a cache")])
    assert without.keys() == {on_top, SANDBOX}
    assert "ReadWritePaths" not in without[on_top]
    assert all(line.startswith("#") for line in without[SANDBOX].splitlines()), "nothing of the package's is left"


@pytest.mark.needs("desktop-file-validate")
@pytest.mark.parametrize("program", ["/usr/bin/slowboat", "/home/anna/my programs/slow$boat"])
def test_the_desktop_file_is_valid_and_shows_in_the_menu(tmp_path: Path, program: str) -> None:
    written = tmp_path / f"{NAME}.desktop"
    written.write_text(units.rendered((program,))[Path("applications", written.name)])
    checked = subprocess.run(["desktop-file-validate", written], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
    entry = configparser.ConfigParser(interpolation=None)
    entry.read(written)
    assert "NoDisplay" not in entry["Desktop Entry"]
    actions = [name for name in entry.sections() if name.startswith("Desktop Action ")]
    assert len(actions) == 2
    assert {entry[name]["Exec"].rpartition(" pause")[0] for name in actions} > {""}, "each with this very program"


@pytest.mark.needs("appstreamcli")
def test_what_software_centres_show_is_valid() -> None:
    page = units.templates("desktop") / f"{NAME}.metainfo.xml"
    checked = subprocess.run(
        ["appstreamcli", "validate", "--no-net", page], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout
    assert "W: " not in checked.stdout
    assert f'<release version="{__version__}"' in page.read_text()


def test_the_icons_are_drawings_of_the_size_that_their_folder_wants() -> None:
    sizes = {f"{NAME}.svg": "0 0 128 128", f"{NAME}-symbolic.svg": "0 0 16 16"}
    for icon, box in sizes.items():
        drawing = ET.parse(units.templates("desktop") / icon).getroot()
        assert drawing.tag == "{http://www.w3.org/2000/svg}svg"
        assert drawing.attrib["viewBox"] == box


def test_the_templates_are_found_in_a_wheel_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "slowboat"
    (package / "edges").mkdir(parents=True)
    (package / "_units").mkdir()
    (package / "_desktop").mkdir()
    monkeypatch.setattr(units, "__file__", str(package / "edges" / "units.py"))
    assert units.templates() == package / "_units"
    assert units.templates("desktop") == package / "_desktop"
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert build["force-include"] == {"systemd": "slowboat/_units", "desktop": "slowboat/_desktop"}


@pytest.mark.needs("systemctl")
async def test_without_a_systemd_of_the_users_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("SUDO_UID", raising=False)
    for _ in range(2):
        with pytest.raises(NeedsUser, match="no systemd here") as refused:
            await units.install()
        assert refused.value.code == "no-systemd"
        with pytest.raises(NeedsUser, match="no systemd here"):
            await units.uninstall()
        monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SUDO_UID", "1000")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(NeedsUser, match="would install it for root"):
        await units.install()
    assert not (tmp_path / "data").exists(), "and touches nothing"


# A real systemd --user

# Stands for the daemon: tells systemd, owns the name, and does what the file "mood" in the state folder says.
STAND_IN = f"""#!{sys.executable}
import asyncio, os, pathlib, sys, time
sys.path.insert(0, {str(ROOT / "src")!r})
from slowboat.edges.bus.service import Service
from slowboat.edges.systemd import ServiceManager
assert sys.argv[1:] == ["daemon"]
state = pathlib.Path.home() / ".local/state/slowboat"
mood = state.joinpath("mood").read_text() if state.joinpath("mood").exists() else ""
if mood == "wrong":
    sys.exit(78)
class Commands:
    def rescan(self):
        time.sleep(1000)  # freezes the loop
    def __getattr__(self, name):
        if name == "verify":
            raise AttributeError
        return lambda *arguments: None
def writable(path):
    try:
        path.mkdir(parents=True, exist_ok=True)
        path.joinpath("probe").write_text("x")
    except OSError as error:
        return error.strerror
    return "writable"
async def main():
    manager = ServiceManager()
    home = pathlib.Path.home()
    places = [state, home, home / ".cache/deja-dup", pathlib.Path("/mnt/drive"), pathlib.Path("/etc")]
    found = [f"{{each}}: {{writable(each)}}" for each in places]
    found.append(" ".join(pathlib.Path("/proc/self/uid_map").read_text().split()))
    state.joinpath("found").write_text("\\n".join(found))
    service = Service(version="stand-in")
    await service.start()
    async with service.obeying(Commands()):
        manager.ready()
        manager.status("standing in")
        await manager.run()
asyncio.run(main())
"""
INSTALL = """
import asyncio, sys
from slowboat.edges import units
outcome = asyncio.run(units.install(command=[sys.argv[1]], sandbox=sys.argv[2] == "sandbox"))
print(*outcome.files, sep="\\n")
"""
UNINSTALL = """
import asyncio
from slowboat.edges import units
print(*asyncio.run(units.uninstall()).files, sep="\\n")
"""
PROGRAM = HOME / """bin/the $HOME's "slow" b\\o%hat"""  # each of which means something to systemd


@pytest.fixture(scope="module")
def machine() -> Iterator[UserManager]:
    with running_user_manager() as manager:
        manager.run("busctl", "--user", "list")  # the bus is there before its folder of services
        manager.write(PROGRAM, STAND_IN, mode="755")
        manager.run("mkdir", "-p", HOME / ".cache/deja-dup")
        manager.as_root("mount", "-t", "tmpfs", "-o", "mode=777", "a-drive", "/mnt")
        manager.run("mkdir", "/mnt/drive")
        yield manager


@pytest.fixture
def manager(machine: UserManager) -> Iterator[UserManager]:
    yield machine
    machine.python(UNINSTALL)
    machine.run("rm", "-rf", HOME / ".local/state", HOME / ".config")


def version(manager: UserManager) -> str:
    """Asks the service on the bus; D-Bus starts it where it does not run."""
    call = ["busctl", "--user", "--json=short", "get-property", NAME, OBJECT, MANAGER, "Version"]
    return json.loads(manager.run(*call))["data"]


def until(look: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.05)


real = pytest.mark.needs("systemd", "systemctl", "unshare", "nsenter", "setpriv", "busctl")


@real
def test_install_starts_a_service_that_dbus_can_start_too(manager: UserManager) -> None:
    written = manager.python(INSTALL, PROGRAM, "plain").splitlines()
    assert str(HOME / ".local/share" / UNIT) in written
    assert not any("sandbox" in path for path in written)
    shown = manager.show("slowboat.service", "ActiveState", "UnitFileState", "StatusText", "Type")
    assert shown == {
        "Type": "notify",
        "ActiveState": "active",
        "UnitFileState": "enabled",
        "StatusText": "standing in",
    }
    assert manager.python(INSTALL, PROGRAM, "plain").strip() == "", "again: nothing changes"
    manager.run("systemctl", "--user", "stop", "slowboat")
    assert version(manager) == "stand-in"
    assert manager.show("slowboat.service", "ActiveState") == {"ActiveState": "active"}
    gone = manager.python(UNINSTALL).splitlines()
    assert sorted(gone) == sorted(written)
    assert manager.show("slowboat.service", "LoadState", "ActiveState") == {
        "LoadState": "not-found",
        "ActiveState": "inactive",
    }
    assert manager.python(UNINSTALL).strip() == "", "again: nothing to do"
    left = manager.run("find", HOME / ".config", HOME / ".local/share", "-name", "*lowboat*", check=False)
    assert "lowboat" not in left
    with_nobody = manager.run("busctl", "--user", "introspect", NAME, OBJECT, check=False)
    assert "not provided by any .service files" in with_nobody, "and the bus has forgotten it"


@real
def test_the_sandbox_lets_it_do_its_work_and_no_more(manager: UserManager) -> None:
    manager.python(INSTALL, PROGRAM, "sandbox")
    assert version(manager) == "stand-in", "the bus and the manager can be reached from inside"
    found = manager.run("cat", HOME / ".local/state/slowboat/found").splitlines()
    assert found == [
        f"{HOME}/.local/state/slowboat: writable",
        f"{HOME}: Read-only file system",
        f"{HOME}/.cache/deja-dup: writable",
        "/mnt/drive: Read-only file system",
        "/etc: Read-only file system",
        f"{UID} {UID} 1",
    ]
    removed = manager.python(INSTALL, PROGRAM, "plain")
    assert "sandbox.conf" in removed
    found = manager.run("cat", HOME / ".local/state/slowboat/found").splitlines()
    assert f"{HOME}: writable" in found, "it was restarted without"


@real
def test_a_wrong_configuration_ends_in_words_not_in_a_loop(manager: UserManager) -> None:
    manager.write(HOME / ".local/state/slowboat/mood", "wrong")
    said = manager.python(INSTALL, PROGRAM, "plain", check=False)
    assert "does not start. To see why: journalctl --user -u slowboat" in said
    shown = manager.show("slowboat.service", "ActiveState", "ExecMainStatus", "NRestarts")
    assert shown == {"ActiveState": "failed", "ExecMainStatus": "78", "NRestarts": "0"}
    manager.run("rm", HOME / ".local/state/slowboat/mood")
    manager.python(INSTALL, PROGRAM, "plain")
    assert manager.show("slowboat.service", "ActiveState") == {"ActiveState": "active"}


@real
def test_a_frozen_service_is_restarted(manager: UserManager) -> None:
    quick = "[Service]\nWatchdogSec=1\nRestartSec=100ms\nTimeoutAbortSec=1\n"
    manager.write(HOME / ".config/systemd/user/slowboat.service.d/quick.conf", quick)
    manager.python(INSTALL, PROGRAM, "plain")
    before = manager.show("slowboat.service", "MainPID", "NRestarts")
    assert before["NRestarts"] == "0"
    manager.run("busctl", "--user", "--timeout=1", "call", NAME, OBJECT, MANAGER, "Rescan", "a{sv}", "0", check=False)
    until(lambda: manager.show("slowboat.service", "NRestarts")["NRestarts"] != "0")
    until(lambda: manager.show("slowboat.service", "ActiveState")["ActiveState"] == "active")
    assert version(manager) == "stand-in"


def test_a_package_that_comes_takes_the_place_of_what_install_had_written(manager: UserManager) -> None:
    """As with pipx first, and the distribution's package later; and back."""
    manager.python(INSTALL, PROGRAM, "sandbox")
    assert version(manager) == "stand-in"
    package = Path("/usr/local/lib/systemd/user")
    manager.as_root("sh", "-c", f"mkdir -p {package} && mount -t tmpfs -o mode=755 tmpfs {package}")
    try:
        unit = (units.templates() / "slowboat.service").read_text()
        line = f"ExecStart={units.quoted(str(HOME / 'stand-in'))} daemon"
        unit = unit.replace("ExecStart=/usr/bin/slowboat daemon", line)
        manager.write(HOME / "stand-in", STAND_IN, mode="755")
        manager.write(HOME / "unit", unit)
        manager.as_root("cp", HOME / "unit", package / "slowboat.service")
        said = manager.python(INSTALL, HOME / "stand-in", "sandbox")
        assert "slowboat.service.d/install.conf" in said
        shown = manager.show("slowboat.service", "FragmentPath", "UnitFileState", "ActiveState")
        assert shown == {
            "FragmentPath": str(package / "slowboat.service"),
            "UnitFileState": "enabled",
            "ActiveState": "active",
        }
        manager.run("systemctl", "--user", "disable", "--now", "slowboat.service")
    finally:
        manager.as_root("umount", package)
    manager.python(INSTALL, PROGRAM, "sandbox")
    fragment = manager.show("slowboat.service", "FragmentPath")["FragmentPath"]
    assert fragment.startswith(str(HOME)), "and where the package is gone, ours are there again"
