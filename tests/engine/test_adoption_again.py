"""What was on the drive and could not be adopted is tried again: soon at first, then more and more rarely."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from slowboat.core.words import Role, SetId, SourceFile
from slowboat.engine import adoption, drive
from slowboat.engine.context import Observed

FULL = "20260101T000000Z"
NEXT = "20260102T000000Z"


class Scene:
    """A drive of which only the fingerprint counts, and a clock to be set."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.observed = Observed()
        tools = SimpleNamespace(now=lambda: self.now)
        memory = SimpleNamespace(get=lambda _: "adopted")
        self.context: Any = SimpleNamespace(observed=self.observed, tools=tools, memory=memory)

    def changed(self, fingerprint: str) -> bool:
        drive._compare(self.context, fingerprint)
        return self.observed.drive_changed

    def fails(self, fingerprint: str) -> float:
        """The adoption fails; seconds until it is tried again."""
        self.observed.last_error = "it has no manifest"
        self.observed.not_adopted = drive._failed(self.context, fingerprint, "it has no manifest")
        again = drive.observed_again_at(self.context)
        assert again is not None
        return again - self.now


def test_a_list_that_cannot_be_adopted_is_tried_again_and_ever_more_rarely() -> None:
    scene = Scene()
    assert scene.changed("new")
    waits = []
    for _ in range(5):
        waits.append(scene.fails("new"))
        assert not scene.changed("new"), "not at once: each try breaks off what is on the line"
        scene.now += waits[-1]
        assert scene.changed("new")
        assert drive.observed_again_at(scene.context) is None, "it is time; nobody waits for the clock any more"
    assert waits == [60.0, 240.0, 960.0, 3600.0, 3600.0]


def test_another_list_is_tried_at_once_and_the_trouble_with_the_old_one_is_over() -> None:
    scene = Scene()
    scene.fails("new")
    assert scene.changed("newer")
    assert scene.observed.last_error == ""
    assert scene.fails("newer") == 60.0
    assert not scene.changed("adopted")
    assert drive.observed_again_at(scene.context) is None


def test_a_clock_that_was_set_back_holds_nothing_up() -> None:
    scene = Scene()
    scene.fails("new")
    scene.now -= 1e6
    assert scene.changed("new")


def test_a_set_that_is_being_written_is_not_there_yet() -> None:
    def files(*names: str) -> list[SourceFile]:
        return [SourceFile(name, 10, 1) for name in names]

    whole = files(f"duplicity-full.{FULL}.manifest.gpg", f"duplicity-full.{FULL}.vol1.difftar.gpg", "notes.txt")
    times = f"{FULL}.to.{NEXT}"
    growing = [f"duplicity-inc.{times}.vol1.difftar.gpg", f"duplicity-new-signatures.{times}.sigtar.gpg"]
    assert adoption.finished([*whole, *files(*growing)], ()) == whole
    manifest = f"duplicity-inc.{times}.manifest.gpg"
    assert adoption.finished([*whole, *files(*growing, manifest)], ()) == [*whole, *files(*growing, manifest)]
    assert adoption.finished([*whole, *files(*growing, f"{manifest[:-4]}.part.gpg")], ()) == whole
    known: Any = [SimpleNamespace(set_id=SetId(1767225600, 1767312000), role=Role.VOLUME)]
    assert adoption.finished(files(*growing), known) == files(*growing), (
        "what was adopted and lost its manifest is told"
    )
