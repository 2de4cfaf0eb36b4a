"""Deja Dup's settings, real ones: its schemas compiled into a private folder, kept by GSettings in a private home."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from realparts.presence import ROOT, absent, program

if TYPE_CHECKING:
    from pathlib import Path

SCHEMAS = {
    "old": ROOT / "tests/realparts/schemas/old.gschema.xml",
    "debian": ROOT / ".venv/deja-dup/usr/share/glib-2.0/schemas/org.gnome.DejaDup.gschema.xml",
    "new": ROOT / "tests/realparts/schemas/new.gschema.xml",
}
"""By layout: Debian's package has its own (contrib/setup unpacks it), the others are what matters of them."""


@dataclass(frozen=True)
class Settings:
    """One user's settings of one Deja Dup."""

    variables: dict[str, str]

    def set(self, schema: str, key: str, value: str) -> None:
        """As a person would: the value in GVariant's text form, such as "'drive'"."""
        self._run("set", f"org.gnome.DejaDup{schema}", key, value)

    def get(self, schema: str, key: str) -> str:
        return self._run("get", f"org.gnome.DejaDup{schema}", key)

    def _run(self, *arguments: str) -> str:
        argv = [program("gsettings"), *arguments]
        return subprocess.run(
            argv, env={**os.environ, **self.variables}, capture_output=True, text=True, check=True
        ).stdout.strip()


def dejadup_settings(which: str, folder: Path, home: Path) -> Settings:
    """The settings of a Deja Dup whose schemas have that layout, none of them set yet.

    Args:
        which: "old" (40), "debian" (Debian's package, 44 in Debian 12) or "new" (48).
        folder: for the compiled schemas.
        home: whose settings they are; they lie in its .config.
    """
    if not SCHEMAS[which].exists():
        absent("Debian's deja-dup package, unpacked", "run contrib/setup")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(SCHEMAS[which], folder / "org.gnome.DejaDup.gschema.xml")
    subprocess.run([program("glib-compile-schemas"), "--strict", folder], check=True)
    return Settings(
        {
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / ".config"),
            "GSETTINGS_SCHEMA_DIR": str(folder),
            "GSETTINGS_BACKEND": "keyfile",
        }
    )
