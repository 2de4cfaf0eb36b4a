"""The cache edge against the real duplicity: its caches, its lock, and what it says of what we installed."""

from __future__ import annotations

import shutil
import signal
import subprocess
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from slowboat.core import names
from slowboat.core.errors import NeedsUser, Transient
from slowboat.edges.cache import Cache, installing
from slowboat.edges.cache.locking import locked

if TYPE_CHECKING:
    from realparts.drive import Drive
    from realparts.duplicity import Duplicity


def keys_and_names(chain: Drive) -> tuple[frozenset[str], list[str]]:
    return frozenset(map(names.metadata_key, chain.metadata)), [names.cache_name(name) for name in chain.metadata]


def is_locked(path: Path) -> bool:
    """Whether somebody holds a lock on that file (proc_locks(5)); asking for it would disturb who takes it."""
    return path.exists() and f":{path.stat().st_ino} " in Path("/proc/locks").read_text()


async def test_duplicity_goes_on_at_the_target_without_touching_the_cache(chain: Drive, tmp_path: Path) -> None:
    keys, wanted = keys_and_names(chain)
    cache = Cache([chain.duplicity.archive_dir])
    assert await cache.find(keys, chain.url) == chain.cache
    assert await cache.find(keys, "file:///another/spelling") == chain.cache

    target = tmp_path / "cloud"
    target.mkdir()
    for name in chain.metadata:
        shutil.copy(chain.folder / name, target)
    installed = await cache.hand_over(chain.cache, wanted, f"file://{target}")
    assert installed.directory == chain.duplicity.cache(f"file://{target}")

    said = chain.duplicity.inc(chain.data, f"file://{target}", "--verbosity", "9")
    for word in ("Deleting local", "Copying duplicity-", "not found locally"):
        assert word not in said.stdout + said.stderr
    assert len(list(target.glob("duplicity-inc.*.difftar*"))) >= 1
    for name in wanted:
        assert (installed.directory / name).read_bytes() == (chain.cache / name).read_bytes()

    with pytest.raises(NeedsUser) as used:  # it has gone on there: no undo
        await cache.undo(installed)
    assert used.value.code == "cache-used"
    assert (await cache.hand_over(chain.cache, wanted, f"file://{target}")).adopted


async def test_a_cache_that_duplicity_fetched_itself_is_the_same(chain: Drive, tmp_path: Path) -> None:
    _, wanted = keys_and_names(chain)
    target = tmp_path / "cloud"
    shutil.copytree(chain.folder, target)
    url = f"file://{target}"
    chain.duplicity.run("list-current-files", url)  # it finds no cache for that URL, and makes one from the target
    assert {path.name for path in chain.duplicity.cache(url).iterdir()} == set(wanted)
    assert (await Cache([chain.duplicity.archive_dir]).hand_over(chain.cache, wanted, url)).adopted


async def test_duplicitys_own_lock_is_seen_and_duplicity_sees_ours(chain: Drive) -> None:
    _, wanted = keys_and_names(chain)
    cache = Cache([chain.duplicity.archive_dir])
    with locked(chain.cache):
        said = chain.duplicity.run("list-current-files", chain.url, check=False)
        assert said.returncode != 0
        assert "already running" in said.stdout + said.stderr
    assert not (chain.cache / "lockfile").exists()

    running = subprocess.Popen(
        [chain.duplicity.path, "verify", chain.url, chain.data],
        env=chain.duplicity.variables(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not is_locked(chain.cache / "lockfile"):
            assert running.poll() is None, "it ended before it was looked at"
        running.send_signal(signal.SIGSTOP)
        with pytest.raises(Transient) as busy:
            await cache.hand_over(chain.cache, wanted, "swift://c")
        assert busy.value.code == "duplicity-running"
    finally:
        running.kill()
        running.communicate()
    assert not (await cache.hand_over(chain.cache, wanted, "swift://c")).adopted


@pytest.mark.parametrize("any_duplicity", ["newest", "debian"], indirect=True)
def test_duplicitys_first_run_to_the_target_may_begin_while_the_cache_is_copied(
    chain: Drive, tmp_path: Path, any_duplicity: Duplicity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused as beside any other duplicity, and the next run finds the cache whole; no lock is taken from it."""
    _, wanted = keys_and_names(chain)
    target = tmp_path / "cloud"
    target.mkdir()
    for name in chain.metadata:
        shutil.copy(chain.folder / name, target)
    url = f"file://{target}"
    duplicity = replace(chain.duplicity, path=any_duplicity.path)
    said: list[str] = []
    real = installing._copy

    def copying(one: Path, other: Path, stop: threading.Event) -> None:
        if len(said) < 1:  # the first one unlinks our lock file at its end
            done = duplicity.run("incremental", chain.data, url, check=False)
            said.append(f"{done.returncode} {done.stdout}{done.stderr}")
        real(one, other, stop)

    monkeypatch.setattr(installing, "_copy", copying)
    installed = installing.hand_over(chain.cache, wanted, url, threading.Event())
    assert len(said) == 1
    for words in said:
        assert "already running" in words
        assert not words.startswith("0 ")
    assert sorted(path.name for path in installed.directory.iterdir()) == sorted(wanted)
    assert sorted(path.name for path in target.iterdir()) == sorted(chain.metadata)
    after = duplicity.inc(chain.data, url, "--verbosity", "9").stdout
    assert "Local and Remote metadata are synchronized, no sync needed." in after
    for word in ("Copying", "Deleting local", "not authoritative"):
        assert word not in after
