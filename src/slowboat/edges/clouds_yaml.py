"""Clouds that other OpenStack programs know already: `clouds.yaml`, `secure.yaml` and `clouds-public.yaml`.

Knows where these files are and what their keys are called; must not know what a cloud is used for. They are read anew
each time, by a child process that is gone afterwards (docs/decisions/0009-clouds-yaml.md): the YAML library stays out
of the daemon, and so does every secret that nobody asked for. A password is never copied from here to anywhere else.

https://docs.openstack.org/openstacksdk/latest/user/config/configuration.html
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from slowboat.core.errors import NeedsUser
from slowboat.core.identity import Identity
from slowboat.edges import xdg

if TYPE_CHECKING:
    from collections.abc import Mapping

PATIENCE: Final = 30.0
"""Seconds for the child: a tenth of one as a rule; a home on a network drive that hangs must not hold us."""

MOST_BYTES: Final = 1 << 20
"""Of each file: a thousand clouds need less."""

_ENDINGS: Final = (".yaml", ".yml", ".json")
_SECRETS: Final = ("application_credential_secret", "password")
_TYPES: Final[Mapping[str, int]] = {
    "password": 0,
    "v3password": 3,
    "v2password": 2,
    "v3applicationcredential": 3,
    "v1password": 1,
}
"""`auth_type` to the version that it asks with; 0 where the rest tells."""
_AUTH: Final[Mapping[str, tuple[str, ...]]] = {
    "user": ("username",),
    "project": ("project_name", "tenant_name"),
    "project_id": ("project_id", "tenant_id"),
    "user_domain": ("user_domain_name", "domain_name"),
    "user_domain_id": ("user_domain_id", "domain_id"),
    "project_domain": ("project_domain_name", "domain_name"),
    "project_domain_id": ("project_domain_id", "domain_id"),
}
"""Fields of an identity whose keys below `auth` have other names, the newest first."""


def names(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The clouds there are, in the file's order; () where there is no file. Blocking.

    Raises:
        NeedsUser: it cannot be read (code "clouds-yaml").
    """
    return tuple(str(name) for name in _asked(["names"], environment) or ())


def identity(name: str, environment: Mapping[str, str]) -> Identity | None:
    """Who the user is to that cloud; None where no file has it. Blocking.

    Args:
        name: the cloud's.
        environment: such as os.environ; OS_CLIENT_CONFIG_FILE, OS_CLIENT_SECURE_FILE, HOME and XDG_CONFIG_HOME count.

    Raises:
        NeedsUser: the file cannot be read, or asks for what slowboat does not do (code "clouds-yaml").
    """
    found = _asked(["identity", name], environment)
    return None if found is None else Identity(**found)


def secret(name: str, environment: Mapping[str, str]) -> str:
    """That cloud's password or application credential's secret, as it stands there; "" where there is none. Blocking.

    Raises:
        NeedsUser: as `identity`.
    """
    return str(_asked(["secret", name], environment) or "")


def _asked(words: list[str], environment: Mapping[str, str]) -> Any:  # noqa: ANN401 (what the child has in JSON)
    if not any(_places("clouds", environment)):
        return None
    try:
        done = subprocess.run(  # noqa: S603 (this very Python and module)
            [sys.executable, "-m", __name__, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **environment},
            timeout=PATIENCE,
            check=False,
        )
        answer = json.loads(done.stdout)
    except (OSError, subprocess.TimeoutExpired, ValueError):
        raise NeedsUser("clouds.yaml cannot be read: its reader failed", code="clouds-yaml") from None
    if "wrong" in answer:
        raise NeedsUser(answer["wrong"], hint=answer["right"], code="clouds-yaml")
    return answer["found"]


def _places(kind: str, environment: Mapping[str, str]) -> list[Path]:
    """Where a file of that kind is; the first counts. Not the working directory: a service has none of its own."""
    variable = {"clouds": "OS_CLIENT_CONFIG_FILE", "secure": "OS_CLIENT_SECURE_FILE"}.get(kind, "")
    folders = (xdg.folder("XDG_CONFIG_HOME", environment) / "openstack", Path("/etc/openstack"))
    usual = [folder / f"{kind}{ending}" for folder in folders for ending in _ENDINGS]
    given = environment.get(variable, "")
    return [path for path in ([Path(given), *usual] if given else usual) if path.is_file()]


# -- in the child ------------------------------------------------------------------------------------------------


def _main(words: list[str], environment: Mapping[str, str]) -> Any:  # noqa: ANN401 (whatever goes into JSON)
    path, known = _read("clouds", environment)
    clouds = _merged(_section(known, "clouds"), _section(_read("secure", environment)[1], "clouds"))
    if words[0] == "names":
        return list(clouds)
    if words[1] not in clouds:
        return None
    public = _section(_read("clouds-public", environment)[1], "public-clouds")
    cloud = _with_profile(clouds[words[1]], public, f"{path}: {words[1]}")
    if words[0] == "secret":
        auth = _section(cloud, "auth")
        return next((str(auth[key]) for key in _SECRETS if auth.get(key)), "")
    return _identity(cloud, f"{path}: {words[1]}")


def _read(kind: str, environment: Mapping[str, str]) -> tuple[Path, Any]:
    """The first such file, and what it holds; {} where there is none."""
    for path in _places(kind, environment):
        yaml = importlib.import_module("yaml")
        try:
            with path.open("rb") as file:
                return path, yaml.safe_load(file.read(MOST_BYTES)) or {}
        except OSError as error:
            raise _wrong(f"{path} cannot be read: {os.strerror(error.errno or 0)}", "Make it readable") from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            mark = getattr(error, "problem_mark", None)
            where = f", line {mark.line + 1}" if mark else ""  # never the line itself, it may hold the password
            raise _wrong(
                f"{path}{where} is not YAML", "Correct it; `openstack configuration show` reads it, too"
            ) from None
    return Path(), {}


def _section(of: object, key: str) -> dict[str, Any]:
    found = of.get(key) if isinstance(of, dict) else None
    return {str(name): value for name, value in found.items()} if isinstance(found, dict) else {}


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Tables put together key by key; where both have a value, that of `above` counts."""
    made = dict(below)
    for key, value in above.items():
        old = made.get(key)
        made[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return made


def _with_profile(cloud: object, public: Mapping[str, Any], where: str) -> dict[str, Any]:
    own = dict(cloud) if isinstance(cloud, dict) else {}
    profile = own.get("profile") or own.get("cloud")
    if not profile:
        return own
    if profile in public:
        return _merged(public[profile], own)
    if _section(own, "auth").get("auth_url"):
        return own
    raise _wrong(f"{where} takes its address from the profile {profile}", "Write auth_url below its auth as well")


def _identity(cloud: Mapping[str, Any], where: str) -> dict[str, Any]:
    auth = _section(cloud, "auth")
    kind = str(cloud.get("auth_type") or "password")
    if kind not in _TYPES:
        raise _wrong(f"{where} logs in by {kind}", f"slowboat knows {', '.join(_TYPES)}")
    if cloud.get("verify") is False:
        raise _wrong(f"{where} does not check certificates (verify: false)", "Name the server's with cacert instead")
    if not auth.get("auth_url"):
        raise _wrong(f"{where} has no auth_url", "Write it below its auth")
    found: dict[str, Any] = {}
    for each in fields(Identity):
        keys = _AUTH.get(each.name, (each.name,))
        if text := next((str(auth[key]) for key in keys if auth.get(key)), ""):
            found[each.name] = text
    found["version"] = _TYPES[kind] or {"2": 2, "3": 3}.get(str(cloud.get("identity_api_version") or "")[:1], 0)
    for ours, theirs in {
        "region": "region_name",
        "cacert": "cacert",
        "storage_url": "object_store_endpoint_override",
    }.items():
        if cloud.get(theirs):
            found[ours] = str(cloud[theirs])
    interface = str(cloud.get("interface") or cloud.get("endpoint_type") or "").removesuffix("URL")
    found["interface"] = interface if interface in {"internal", "admin"} else "public"
    return found


def _wrong(what: str, right: str) -> NeedsUser:
    return NeedsUser(what, hint=right, code="clouds-yaml")


if __name__ == "__main__":
    try:
        answer: dict[str, Any] = {"found": _main(sys.argv[1:], os.environ)}
    except NeedsUser as error:
        answer = {"wrong": error.what, "right": error.hint}
    sys.stdout.write(json.dumps(answer))
