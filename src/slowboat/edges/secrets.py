"""The secret of a cloud: from systemd's credentials, the Secret Service, a private file, or the environment.

Knows where secrets are kept and that nobody else may read them; must not know what they open. It never asks:
the daemon runs unattended. No secret is in any error, log line or repr.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from slowboat.core.errors import NeedsUser
from slowboat.edges import clouds_yaml, xdg

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVICE = "slowboat"
"""The application's name on its entries in the Secret Service."""

MOST_BYTES = 64 * 1024
"""No key is longer; whoever names a backup volume as `key_file` hears of it."""

PATIENCE = 20.0
"""Seconds for the keyring to answer: it may have to be started first."""

_ENV_NAMES = ("OS_APPLICATION_CREDENTIAL_SECRET", "OS_PASSWORD")


class Secret:
    """A text that shows itself only when told to: `reveal()`."""

    __slots__ = ("__text",)

    def __init__(self, text: str) -> None:
        self.__text = text

    def reveal(self) -> str:
        """The secret itself."""
        return self.__text

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.__text == self.__text

    def __hash__(self) -> int:
        return hash(self.__text)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not to be stored")


def attributes_of(cloud: str) -> dict[str, str]:
    """The attributes by which a cloud's entry in the Secret Service is found and stored."""
    return {"application": SERVICE, "cloud": cloud}


def secret_of(
    cloud: str,
    key_file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    *,
    in_clouds_yaml: bool = False,
) -> Secret:
    """The secret of a cloud. Blocking: the Secret Service is asked over D-Bus.

    In this order: `$CREDENTIALS_DIRECTORY/<cloud>` (systemd's LoadCredential=); `key_file`, and nothing else,
    where the user named one; clouds.yaml, where the cloud is described there; the Secret Service;
    `$XDG_CONFIG_HOME/slowboat/secrets/<cloud>`. For the cloud "env" it is ST_KEY, OS_PASSWORD or
    OS_APPLICATION_CREDENTIAL_SECRET.

    Args:
        cloud: the cloud's name in the settings.
        key_file: where the user says that it stands, or None.
        environment: os.environ, if not given.
        in_clouds_yaml: whether the cloud is one of clouds.yaml.

    Raises:
        NeedsUser: there is none ("no-secret"), the keyring is locked ("secret-locked"), the file is not private or
            holds no line of text ("secret-file"), or what is kept elsewhere is none ("secret-text").
    """
    environment = os.environ if environment is None else environment
    if cloud == "env":
        return _from_environment(environment)
    given = environment.get("CREDENTIALS_DIRECTORY", "")
    if given and (found := _read(Path(given) / cloud)) is not None:
        return found
    if key_file is not None:
        return _private(key_file) or _absent(cloud, f"{key_file} does not exist", f"Write the key to {key_file}")
    if in_clouds_yaml and (kept := clouds_yaml.secret(cloud, environment)):
        return _line_of(kept.encode(), f"The password of {cloud} in clouds.yaml", "Correct it there")
    file = _secrets_folder(environment) / cloud
    if (found := _from_service(cloud, environment)) is not None or (found := _private(file)) is not None:
        return found
    return _absent(
        cloud,
        "none was stored",
        f"Store it in the keyring, or where there is none in {file}:\n\n    slowboat password {cloud}\n",
    )


def _absent(cloud: str, why: str, hint: str) -> NoReturn:
    raise NeedsUser(f"There is no password or key for the cloud {cloud}: {why}", hint=hint, code="no-secret")


def _from_environment(environment: Mapping[str, str]) -> Secret:
    wanted = ("ST_KEY",) if environment.get("ST_AUTH") and environment.get("ST_USER") else _ENV_NAMES
    for name in wanted:
        if environment.get(name):
            kept = os.fsencode(environment[name])  # environ's own way, whatever the bytes
            return _line_of(kept, name, f"Set {name} to the key, and to nothing else")
    return _absent("env", f"{wanted[-1]} is not set", f"Set {wanted[-1]}")


def _secrets_folder(environment: Mapping[str, str]) -> Path:
    return xdg.folder("XDG_CONFIG_HOME", environment) / xdg.OURS / "secrets"


def _line_of(raw: bytes, where: str, cure: str, *, code: str = "secret-text") -> Secret:
    """The secret that is kept as `raw`: one line of UTF-8, whose end is no part of it.

    Whether it may begin or end with a blank is for who sends it to say: a password may, in a form that carries it.

    Raises:
        NeedsUser: it says what is wrong with it, and nothing of it.
    """
    try:
        text = raw.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        problem = "holds no UTF-8 text"
    else:
        if text and len(raw) <= MOST_BYTES and not any(ord(char) < 32 or ord(char) == 127 for char in text):
            return Secret(text)
        problem = "does not hold one line of text"
    raise NeedsUser(f"{where} {problem}", hint=cure, code=code)


# -- files -----------------------------------------------------------------------------------------------


def _private(path: Path) -> Secret | None:
    """The secret in a file that only its owner may read; None where there is no such file."""
    return _read(path, private=True)


def _read(path: Path, *, private: bool = False) -> Secret | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as file:
            found = os.fstat(file.fileno())
            if private:
                _must_be_private(path, found)
            raw = file.read(MOST_BYTES + 1) if stat.S_ISREG(found.st_mode) else b""
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        _unfit(path, f"cannot be read: {os.strerror(error.errno or 0)}", "Make it a file that you may read")
    return _line_of(raw, f"The secret file {path}", "Write the key into it, and nothing else", code="secret-file")


def _must_be_private(path: Path, found: os.stat_result) -> None:
    if found.st_uid not in {os.geteuid(), 0}:
        _unfit(path, "belongs to somebody else", f"Make it yours: chown {os.geteuid()} {path}")
    if stat.S_IMODE(found.st_mode) & 0o077:
        _unfit(path, "can be read by others", f"Close it: chmod 600 {path}")


def _unfit(path: Path, what: str, hint: str) -> NoReturn:
    raise NeedsUser(f"The secret file {path} {what}", hint=hint, code="secret-file") from None


# -- the Secret Service ----------------------------------------------------------------------------------
#
# https://specifications.freedesktop.org/secret-service/ through the Python package secretstorage, where that is
# installed, in a process of its own: the package brings megabytes of cryptography that the daemon needs once, and
# a keyring that hangs must not hang us.


def _from_service(cloud: str, environment: Mapping[str, str]) -> Secret | None:
    """The entry in the Secret Service, or None where there is no such service or entry.

    Raises:
        NeedsUser: it is there but locked; nobody is asked to unlock it (code "secret-locked").
    """
    found, kept = _ask_service(["look-up", cloud], b"", environment)
    if found == "locked":
        raise NeedsUser(
            f"The keyring that holds the password or key for the cloud {cloud} is locked",
            hint="Unlock it, for instance by logging in to your desktop",
            code="secret-locked",
        )
    if found != "found" or not kept:
        return None
    where = f"The keyring's entry for the cloud {cloud}"
    return _line_of(kept, where, f"Store the key anew:\n\n    slowboat password {cloud}\n")


def store(cloud: str, secret: Secret, environment: Mapping[str, str] | None = None) -> None:
    """Stores a cloud's secret in the Secret Service; the desktop may ask the user to unlock it. Blocking.

    Raises:
        NeedsUser: there is no Secret Service here, or it said no (code "no-secret-service").
    """
    environment = os.environ if environment is None else environment
    answer, _ = _ask_service(["store", cloud], secret.reveal().encode(), environment, patience=300)
    if answer != "stored":
        raise NeedsUser(
            "There is no keyring that takes the secret",
            hint=f"Keep it in a private file instead: {_secrets_folder(environment) / cloud}",
            code="no-secret-service",
        )


def _ask_service(
    words: list[str], stdin: bytes, environment: Mapping[str, str], patience: float = PATIENCE
) -> tuple[str, bytes]:
    """Runs this module as a program: what it answers, and the secret where it found one."""
    if importlib.util.find_spec("secretstorage") is None:
        return "none", b""
    surroundings = {**os.environ, **environment}
    if runtime := surroundings.get("XDG_RUNTIME_DIR"):
        surroundings.setdefault("DBUS_SESSION_BUS_ADDRESS", f"unix:path={runtime}/bus")
    try:
        done = subprocess.run(  # noqa: S603 (this very Python and module; the words are checked names)
            [sys.executable, "-m", __name__, *words],
            input=stdin,
            env=surroundings,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=patience,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return "none", b""
    answer, _, kept = done.stdout.partition(b"\n")
    return answer.decode("ascii", "replace"), kept


def _main(words: list[str]) -> tuple[str, bytes]:
    """What `_ask_service` asks for, in the process of its own."""
    service: Any = importlib.import_module("secretstorage")
    connection = service.dbus_init()
    if words[0] == "store":
        collection = service.get_default_collection(connection)
        if collection.is_locked() and collection.unlock():
            return "refused", b""
        secret = sys.stdin.buffer.read()
        collection.create_item(f"slowboat: {words[1]}", attributes_of(words[1]), secret, replace=True)
        return "stored", b""
    entries = list(service.search_items(connection, attributes_of(words[1])))
    for entry in entries:
        if not entry.is_locked():
            return "found", entry.get_secret()
    return ("locked" if entries else "none"), b""


def store_in_file(cloud: str, secret: Secret, environment: Mapping[str, str] | None = None) -> Path:
    """Stores a cloud's secret in a file that only the user may read, in place of any older one.

    Raises:
        NeedsUser: it cannot be written (code "secret-file").
    """
    folder = _secrets_folder(os.environ if environment is None else environment)
    path, fresh = folder / cloud, folder / f".{cloud}.new"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh.unlink(missing_ok=True)
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(secret.reveal() + "\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        why = os.strerror(error.errno or 0)
        _unfit(path, f"cannot be written: {why}", f"Make {folder} a folder that you may write to")
    return path


if __name__ == "__main__":
    answer, kept = _main(sys.argv[1:])
    sys.stdout.buffer.write(answer.encode() + b"\n" + kept)  # bytes: no locale has a say in what a key is
