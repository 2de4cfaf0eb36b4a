"""The house: style, types, floors, names. Each import contract is shown to fail when it is broken."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tokenize
import tomllib
from pathlib import Path

import pytest

from realparts.presence import ROOT
from slowboat.engine import facts

BIN = Path(sys.executable).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SRC = ROOT / "src/slowboat"
BY_HAND = {"float", "int", "repr"}
MEMORY = {"get", "remember", "all_of", "fact", "number"}
CONTRACTS = [contract["name"] for contract in PROJECT["tool"]["importlinter"]["contracts"]]


def run(*argv: str | Path, cwd: Path = ROOT, source: Path = ROOT / "src") -> tuple[int, str]:
    done = subprocess.run(
        [BIN / argv[0], *argv[1:]],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(source), "COLUMNS": "400", "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    return done.returncode, done.stdout


def test_ruff_finds_nothing() -> None:
    assert run("ruff", "check", "--no-cache", ".") == (0, "All checks passed!\n")


def test_everything_is_formatted() -> None:
    code, said = run("ruff", "format", "--no-cache", "--check", ".")
    assert code == 0, said


def test_the_types_are_right(tmp_path: Path) -> None:
    code, said = run("mypy", "--strict", f"--cache-dir={tmp_path}", "-p", "slowboat")
    assert code == 0, said


def test_the_floors_hold() -> None:
    code, said = run("lint-imports", "--no-logo", "--no-cache")
    assert code == 0, said
    for contract in CONTRACTS:
        assert re.search(rf"^{re.escape(contract)} KEPT", said, re.MULTILINE), said


BROKEN = [
    ("floors", "core/words.py", "import slowboat.engine.ports"),
    ("floors", "engine/ports.py", "import slowboat.edges.systemd"),
    ("floors", "edges/systemd.py", "import slowboat.engine.ports"),
    ("floors", "daemon/running.py", "import slowboat.__main__"),
    ("rooms of the core", "core/names.py", "import slowboat.core.chains"),
    ("rooms of the core", "core/words.py", "import slowboat.core.policy"),
    ("edges", "edges/clock.py", "import slowboat.edges.mounts"),
    ("edges", "edges/dbus/errors.py", "import slowboat.edges.notify"),
    ("edges", "edges/notify.py", "import slowboat.edges.bus.service"),
    ("circles", "edges/cache/locking.py", "if TYPE_CHECKING:\n    from slowboat.edges.cache.workshop import Workshop"),
    ("circles", "engine/facts.py", "import slowboat.engine.memory"),
    ("shared", "edges/libc.py", "import slowboat.edges.dbus"),
    ("shared", "edges/dbus/errors.py", "import slowboat.edges.service_watch"),
    ("purity", "core/policy.py", "import asyncio"),
    ("purity", "core/plan.py", "import logging"),
    ("engine", "engine/ports.py", "import sqlite3"),
    ("dbus", "edges/dbus/connection.py", "import dbus_next"),
    ("dbus", "edges/notify.py", "from dbus_next.aio import MessageBus"),
    ("swift", "edges/secrets.py", "import requests"),
    ("swift", "daemon/running.py", "import swiftclient"),
    ("screen", "daemon/running.py", "import rich.console"),
]


@pytest.mark.parametrize(("contract", "module", "line"), BROKEN)
def test_a_broken_contract_is_noticed(tmp_path: Path, contract: str, module: str, line: str) -> None:
    name = next(each for each in CONTRACTS if each.startswith(f"{contract}:"))
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / "src/slowboat" / module).open("a") as file:
        file.write(f"\n{line}\n")
    code, said = run("lint-imports", "--no-logo", "--no-cache", cwd=tmp_path, source=tmp_path / "src")
    assert code == 1
    assert re.search(rf"^{re.escape(name)} BROKEN", said, re.MULTILINE), said


def test_every_contract_is_broken_above() -> None:
    assert {name.partition(":")[0] for name in CONTRACTS} == {contract for contract, _, _ in BROKEN}


@pytest.mark.parametrize("line", ["import slowboat.edges.clock", "from slowboat.edges.settings import load"])
def test_an_edge_that_comes_new_must_not_import_another_either(tmp_path: Path, line: str) -> None:
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "src/slowboat/edges/unheard_of.py").write_text(f"{line}\n")
    code, said = run("lint-imports", "--no-logo", "--no-cache", cwd=tmp_path, source=tmp_path / "src")
    assert code == 1
    assert "unheard_of" in said


def test_no_module_is_a_drawer_for_everything() -> None:
    modules = {path.stem for path in (ROOT / "src").rglob("*.py")} | {
        path.name for path in (ROOT / "src/slowboat").rglob("*") if path.is_dir()
    }
    drawers = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}
    assert not modules & drawers


def test_every_exception_to_the_rules_has_its_reason() -> None:
    bare = re.compile(r"#\s*(noqa(:\s*[A-Z0-9, ]+)?|type:\s*ignore(\[[a-z-, ]+\])?)\s*$")
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in sorted((ROOT / "src").rglob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if bare.search(line)
    ]
    assert not found


USED_BY_OTHERS = {
    "list_commands": "click calls it",
    "blocksize": "http.client reads it",
    "incremental": "docs/duplicity-versions.md is made of it",
    "REASONS": "docs/permit.md is made of it",
    "needs_user": "settings/checks reads every hook by its name",
    "verify_state": "edges/bus/report_properties and --json read every field of a report",
    "day_budget": "settings/checks asks for it by the period's name",
    "month_budget": "settings/checks asks for it by the period's name",
    "trace": "Python gives it to __exit__",
    "__exit__": "Python calls it; the module's other names are listed, so vulture asks",
    "_missing_": "enum calls it",
    "no_type_check_decorator": "dbus-next reads it",
    "_setup_socket": "dbus-next calls it",
    "_auth_readline": "dbus-next calls it",
    "_user_disconnect": "dbus-next reads it",
    "text_factory": "sqlite3 reads it",
    "narrowness": "routes are compared field by field",
    "metric": "routes are compared field by field",
    "spec": "Python's import system gives it",
    "trust_env": "requests reads it",
    "get_redirect_target": "requests calls it",
    "pool_classes_by_scheme": "urllib3 reads it",
    "_new_conn": "urllib3 calls it",
    "ConnectionCls": "urllib3 reads it",
    "request_session": "python-swiftclient reads it",
    "completion": "cli/elsewhere finds it by its name",
    "files_there": "the account says it; who tells may ask for it",
}
"""What nobody in the program itself uses, and who does."""


def test_nothing_is_there_for_nobody() -> None:
    _, said = run("vulture", "--min-confidence", "60", SRC)
    unused = re.findall(r"unused [a-z]+ '([^']+)'", said)
    assert sorted(set(unused) - set(USED_BY_OTHERS)) == [], said
    assert sorted(set(USED_BY_OTHERS) - set(unused)) == [], "these reasons are no longer needed"


def test_no_two_classes_have_one_name() -> None:
    """But a port of the engine's and the edge that fulfils it, and what a module keeps to itself."""
    where: dict[str, list[str]] = {}
    for path in sorted(SRC.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                where.setdefault(node.name, []).append(str(path.relative_to(SRC)))
    twice = {name: rooms for name, rooms in where.items() if len(rooms) > 1}
    ports = {name for name, rooms in twice.items() if len(rooms) == 2 and "engine/ports.py" in rooms}
    assert {name: rooms for name, rooms in twice.items() if name not in ports} == {}


VAGUE = {"told", "said", "look", "looks", "looked", "held"}


def test_no_name_is_a_word_that_could_mean_anything() -> None:
    """docs/ARCHITECTURE.md has the words; `rest` is what is left of a text that is being read."""
    found = []
    for path in sorted(SRC.rglob("*.py")):
        with path.open("rb") as file:
            names = {token.string for token in tokenize.tokenize(file.readline) if token.type == tokenize.NAME}
        found += [f"{path.relative_to(SRC)}: {name}" for name in sorted(names) if VAGUE & set(name.lower().split("_"))]
    assert not found


def test_facts_are_written_and_read_in_one_place() -> None:
    """The keys and forms of what the ledger keeps are engine/facts' alone; all of it goes through engine/memory."""
    keys = {fact.key for fact in facts.table().values()}
    allowed = {"engine/facts.py", "engine/memory.py", "engine/ports.py"}
    found = []
    for path in sorted([*SRC.glob("engine/*.py"), *SRC.glob("daemon/*.py")]):
        room = str(path.relative_to(SRC))
        for node in ast.walk(ast.parse(path.read_text())) if room not in allowed else ():
            if isinstance(node, ast.Attribute) and node.attr in {"set_fact", "facts"}:
                found.append(f"{room}:{node.lineno}: past the mirror")
            if isinstance(node, ast.Import) and any(name.name == "json" for name in node.names):
                found.append(f"{room}:{node.lineno}: a form of its own")
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MEMORY:
                literals = [part.value for part in node.args if isinstance(part, ast.Constant)]
                found += [f"{room}:{node.lineno}: the key {text!r}" for text in literals[:1] if text in keys]
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in BY_HAND:
                inner = [part for argument in node.args for part in ast.walk(argument)]
                if any(
                    isinstance(part, ast.Attribute) and part.attr in {"get", "all_of"} and "memory" in ast.dump(part)
                    for part in inner
                ):
                    found.append(f"{room}:{node.lineno}: {node.func.id}() of a fact")
    assert not found


def test_every_test_has_one_name_in_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that run the tests side by side collect them in different seconds, with other seeds for their hashes."""
    for name in [name for name in os.environ if name.startswith("PYTEST_")]:
        monkeypatch.delenv(name)
    collected = []
    for seed in ("1", "2"):
        monkeypatch.setenv("PYTHONHASHSEED", seed)
        code, said = run("python", "-m", "pytest", "--collect-only", "-q", "-n", "0")
        assert code == 0, said
        collected.append([line for line in said.splitlines() if "::" in line])
    assert len(collected[0]) > 1000
    assert collected[0] == collected[1]
