"""Real duplicity, any version, in a home of its own: never the real home, cache or keyring."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from realparts.presence import ROOT, absent, program

if TYPE_CHECKING:
    from collections.abc import Iterator

NEWEST = ROOT / ".venv-duplicity/bin/duplicity"
DEBIANS = Path("/usr/bin/duplicity")

PASSPHRASE = "not a secret: tests only"


@dataclass(frozen=True)
class Duplicity:
    """One duplicity with one way of calling it; `dataclasses.replace` gives another way.

    Attributes:
        path: the program.
        home: its HOME, whose .cache/duplicity is the archive dir.
        keyring: its GNUPGHOME.
        encrypted: symmetrically with gpg, else --no-encryption.
        file_prefix: for --file-prefix.
        volsize: megabytes.
        environment: more variables, such as SwiftServer.environment().
    """

    path: Path
    home: Path
    keyring: Path
    encrypted: bool = True
    file_prefix: str = ""
    volsize: int = 1
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def archive_dir(self) -> Path:
        return self.home / ".cache/duplicity"

    def cache(self, url: str) -> Path:
        """Where this duplicity keeps the cache of a URL: the MD5 of the URL as typed."""
        return self.archive_dir / hashlib.md5(url.encode(), usedforsecurity=False).hexdigest()

    @property
    def version(self) -> tuple[int, ...]:
        text = self.run("--version").stdout
        found = re.search(r"(\d+(?:\.\d+)+)", text)
        assert found, text
        return tuple(int(part) for part in found[1].split("."))

    def full(self, source: Path, url: str, *options: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run("full", *self._writing(), *options, str(source), url, check=check)

    def inc(self, source: Path, url: str, *options: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run("incremental", *self._writing(), *options, str(source), url, check=check)

    def verify(self, url: str, source: Path, *options: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Compares the data too; any difference is exit code 1."""
        return self.run("verify", "--compare-data", *self._reading(), *options, url, str(source), check=check)

    def restore(self, url: str, into: Path, *options: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run("restore", *self._reading(), *options, url, str(into), check=check)

    def collection_status(self, url: str, *options: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run("collection-status", *self._reading(), *options, url, check=check)

    def cleanup(self, url: str, *options: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run("cleanup", *self._reading(), *options, url, check=check)

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs it to its end; with `check`, what it said is in the failure."""
        done = subprocess.run(
            [str(self.path), *arguments],
            env=self.variables(),
            capture_output=True,
            text=True,
            errors="surrogateescape",
            check=False,
        )
        if check and done.returncode:
            said = f"{done.stdout}\n{done.stderr}"
            raise AssertionError(f"duplicity {' '.join(arguments)} ended with {done.returncode}:\n{said}")
        return done

    def variables(self) -> dict[str, str]:
        """Its whole environment; nothing of ours but the PATH."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LC_ALL": "C.UTF-8",
            "HOME": str(self.home),
            "GNUPGHOME": str(self.keyring),
            "PASSPHRASE": PASSPHRASE,
            "PYTHONWARNINGS": "ignore",
            **self.environment,
        }

    def without_cache(self) -> Duplicity:
        """The same on another machine: a new home, where nothing is cached."""
        home = Path(tempfile.mkdtemp(prefix="new-home-", dir=self.home.parent))
        return replace(self, home=home)

    def _reading(self) -> list[str]:
        options = [] if self.encrypted else ["--no-encryption"]
        return [*options, "--file-prefix", self.file_prefix] if self.file_prefix else options

    def _writing(self) -> list[str]:
        return [*self._reading(), "--volsize", str(self.volsize)]


@contextmanager
def installed_duplicity(path: Path, home: Path) -> Iterator[Duplicity]:
    """A duplicity with an own home and keyring; its gpg-agent does not outlive the block."""
    program("gpg")
    if not path.exists():
        absent(f"duplicity at {path}")
    home.mkdir(parents=True, exist_ok=True)
    # /tmp, because gpg-agent's socket lies there and a socket's name may have 107 bytes at most (unix(7))
    keyring = Path(tempfile.mkdtemp(prefix="sb-gpg-", dir="/tmp"))
    # The fewest rounds of turning the passphrase into a key that gpg accepts: nothing here needs to be secret.
    (keyring / "gpg.conf").write_text("s2k-count 65536\n")
    try:
        yield Duplicity(path, home, keyring)
    finally:
        subprocess.run(
            [program("gpgconf"), "--homedir", str(keyring), "--kill", "all"], capture_output=True, check=False
        )
        shutil.rmtree(keyring, ignore_errors=True)
