"""Lives: the daemon, the Swift, or both, killed at any moment, over and over, until a migration is through.

A case is one migration: a dozen or two lives of seconds, each ended in its own way, the invariants after each; a real
duplicity that makes an incremental beside it; at last a life that is let be, which must end complete, and, each third
time, a restore from the cloud alone.
"""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from faults import BlackHole, CutAnswer, Reset
from realparts.drive import change_data, differences
from soak.invariants import Witness

if TYPE_CHECKING:
    import random
    import subprocess
    from collections.abc import Callable

    from faults import Request
    from soak.campaign import Tally, Turn
    from soak.place import Place, Scene

SHARE = 0.62
"""Of the campaign's time."""

MOST_LIVES = 24
"""Of one migration, before the last one."""

CAPS = (0, 300_000, 600_000, 600_000, 1_000_000, 2_000_000)
"""Bytes per second, 0 for none: the slower, the more lives a migration needs."""

LONGEST = 1.5
"""Seconds of a life whose end does not come by itself, on a machine at rest; so the others."""

QUIET = 0.5
"""Seconds without a request after which a life has nothing more to do."""

MIB = 1 << 20

CALLS = {
    "pwrite64": (1, 170), "fdatasync": (1, 70), "sendto": (1, 350), "recvfrom": (1, 60), "connect": (1, 18),
    "fcntl": (1, 600), "openat": (300, 490), "close": (250, 480), "getdents64": (1, 90), "epoll_wait": (1, 400),
    "fsync": (1, 6), "rename": (1, 2), "mkdir": (1, 3), "unlink": (1, 3), "flock": (1, 3),
}  # fmt: skip
"""System calls at which it is killed, and between which n: in a whole migration's busiest thread there are so many."""

STANDING_STILL = "SIGSTOP"

BESIDE = ("duplicity's incremental beside it", "restored from the cloud", STANDING_STILL)
"""What is played too, and is no end of a life."""

WAYS: dict[str, int] = {
    "request": 30,
    "answer": 14,
    "moment": 8,
    "system call": 24,
    "stop": 6,
    "term": 8,
    "swift": 5,
    "both": 5,
}
"""How a life ends, and how often beside the others."""


def ended(tally: Tally) -> int:
    """How many lives have ended, in whatever way."""
    return tally.times("lives", *BESIDE)


def case(place: Place, turn: Turn) -> None:
    """One migration through many lives."""
    chance = turn.chance
    dress = chance.choice(["segmented", "segmented", "encrypted", "two chains"])
    small = {"max_file_size": 2_000_000} if chance.random() < 0.3 else {}
    with place.scene(dress, **small) as scene:
        place.reset_data(scene.drive)
        # Under a cap a life brings it a part of the way; what lasts longer than a life goes up in segments.
        connections = f"connections = {chance.choice([1, 1, 2, 8])}\n"
        scene.configure(connections, limit=chance.choice(CAPS))
        _Migration(scene, turn).sail()


def killed_at(call: str, number: int) -> tuple[str, ...]:
    """strace's words for a SIGKILL at the n-th such call of any thread, https://strace.io; -D: it is no parent.

    With --seccomp-bpf, which would be quicker, strace 6.1 delivers no signal.
    """
    return (
        "strace", "-D", "-f", "-qqq", "-o", "/dev/null", "-e", f"trace=?{call}",
        "-e", f"inject=?{call}:signal=KILL:when={number}",
    )  # fmt: skip


@dataclass
class _Beside:
    """A duplicity that makes an incremental straight to the cloud."""

    scene: Scene
    said: list[subprocess.CompletedProcess[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run)

    def begin(self, chance: random.Random) -> None:
        change_data(self.scene.drive.data, 60_000, chance)
        self._thread.start()

    def _run(self) -> None:
        self.said.append(self.scene.cloud.inc(self.scene.drive.data, self.scene.url, check=False))

    def wait(self) -> list[str]:
        """What was wrong with it."""
        self._thread.join(120)
        if not self.said:
            return ["duplicity's incremental has no end"]
        done = self.said[0]
        said = f"{done.stdout}\n{done.stderr}"
        wrong = [f"duplicity's incremental ended with {done.returncode}: {said[-2000:]}"] if done.returncode else []
        words = ("to local cache", "Deleting local", "not authoritative")
        return wrong + [f"duplicity did not take the cache as it is: {word}" for word in words if word in said]


class _Migration:
    """One migration's lives."""

    def __init__(self, scene: Scene, turn: Turn) -> None:
        self._scene = scene
        self._turn = turn
        self._chance = turn.chance
        self._witness = Witness(scene)
        self._beside: _Beside | None = None
        self._backed_up = False
        self._ways: dict[str, Callable[[], str]] = {
            "request": lambda: self._at_a_request(answered=False),
            "answer": lambda: self._at_a_request(answered=True),
            "moment": self._at_a_moment,
            "system call": self._at_a_system_call,
            "stop": self._stopped,
            "term": self._terminated,
            "swift": self._swift_killed,
            "both": self._both_killed,
        }

    def sail(self) -> None:
        """All lives, and the last."""
        for number in range(MOST_LIVES):
            if self._turn.over() or self._is_done():
                break
            self._live(fragile=number == 0)
        self._last_life()

    def _live(self, *, fragile: bool) -> None:
        scene, wire = self._scene, self._scene.wire
        wire.forget_rules()
        if fragile:  # a line that breaks is a line for small segments
            wire.rule("PUT", r"/duplicity-", Reset(after=64), times=1)
        way = self._chance.choices([*WAYS], [*WAYS.values()])[0]
        if way in {"swift", "both"} and self._beside:
            way = "moment"  # what a Swift's death costs duplicity is duplicity's affair
        scene.daemon.before = ()
        fault = self._ways[way]()
        self._turn.played(fault, [*self._witness.look(), *self._witness.look_at_what_it_left()])
        self._see_to_duplicity()

    def _last_life(self) -> None:
        scene, witness = self._scene, self._witness
        self._end_of_duplicity()
        scene.wire.forget_rules()
        scene.configure()  # what is left goes as fast as it can
        scene.daemon.before = ()
        begun = time.monotonic()
        scene.daemon.start()
        scene.daemon.wait_until(
            lambda now: now["State"] == "done" and now["Handover"] == "done", timeout=120 * scene.slowness
        )
        self._turn.measured("the last life's seconds", time.monotonic() - begun)
        seen = scene.daemon.migration()
        wrong = [] if seen["RestorableFromCloud"] else ["it is done, and says that the cloud cannot restore"]
        code = scene.daemon.terminate()
        if code:
            wrong.append(f"SIGTERM at the end gave {code}")
        self._turn.played("let be, to its end", [*wrong, *witness.look_at_the_end(), *witness.look_at_what_it_left()])
        if self._turn.number % 3 == 2:
            self._turn.played(BESIDE[1], self._restored())
        stored = [request for request in scene.wire.requests if request.method == "PUT" and request.status == 201]
        for what, part in {"in segments": "_segments/slowboat1/p/", "copied": "x-copy-from"}.items():
            found = [each for each in stored if part in each.path or part in each.headers]
            self._turn.measured(f"PUTs {what}", len(found))

    def _restored(self) -> list[str]:
        into = self._scene.folder / "restored"
        self._scene.cloud.without_cache().restore(self._scene.url, into)
        return [f"restored: {found}" for found in differences(self._scene.drive.data, into)[:3]]

    # -- duplicity beside ------------------------------------------------------------------------------------

    def _see_to_duplicity(self) -> None:
        if self._beside and self._beside.said:
            self._end_of_duplicity()
        elif not self._beside and not self._backed_up and self._witness.handed_over:
            self._beside = _Beside(self._scene)
            self._beside.begin(self._chance)

    def _end_of_duplicity(self) -> None:
        if self._beside:
            beside, self._beside, self._backed_up = self._beside, None, True
            wrong = beside.wait()
            if not wrong and not self._witness.remember_theirs():
                wrong = ["duplicity's incremental left nothing at the target"]
            self._turn.played(BESIDE[0], wrong)

    # -- how a life ends -------------------------------------------------------------------------------------

    def _at_a_request(self, *, answered: bool) -> str:
        """SIGKILL when so many of a kind have come, at a byte of the body, or when the server has answered."""
        daemon, wire, chance = self._scene.daemon, self._scene.wire, self._chance
        method = chance.choice(["PUT", "PUT", "PUT", "PUT", "HEAD", "GET", "DELETE|POST"])
        skip = int(8 * chance.random() ** 2)
        after = chance.choice([0, chance.randrange(MIB), MIB])
        first = len(wire.requests)
        wire.rule(method, "^/v1/", CutAnswer() if answered else BlackHole(after), skip=skip, times=None)
        daemon.start(wait=False)

        def struck() -> bool:
            came = [each for each in wire.requests[first:] if re.fullmatch(method, each.method)]
            came = [each for each in came if each.path.startswith("/v1/")][skip:]
            return bool(came) and (
                came[0].status > 0 if answered else came[0].body_bytes >= min(after, _length(came[0]))
            )

        self._until(struck)
        daemon.kill()
        return f"SIGKILL at {'the answer to ' if answered else ''}a request"

    def _at_a_moment(self) -> str:
        self._start_and_wait()
        self._scene.daemon.kill()
        return "SIGKILL at a moment"

    def _at_a_system_call(self) -> str:
        daemon = self._scene.daemon
        call = self._chance.choice([*CALLS])
        least, most = CALLS[call]
        number = least + int((most - least + 1) * self._chance.random() ** 2)
        daemon.before = killed_at(call, number)
        daemon.start(wait=False)
        self._until(lambda: not daemon.running)
        if daemon.running:
            daemon.kill()
            return "SIGKILL at a moment"
        code = daemon.wait()
        assert code == -signal.SIGKILL, f"it ended with {code} before the {number}th {call}: {daemon.log[-2000:]}"
        return f"SIGKILL at the n-th {call}()"

    def _stopped(self) -> str:
        daemon = self._scene.daemon
        self._start_and_wait()
        os.kill(daemon.pid, signal.SIGSTOP)
        self._turn.played(STANDING_STILL, self._witness.look())
        os.kill(daemon.pid, signal.SIGCONT)
        time.sleep(self._chance.uniform(0.0, 0.5))
        daemon.kill()
        return "SIGCONT, then SIGKILL"

    def _terminated(self) -> str:
        daemon = self._scene.daemon
        self._start_and_wait()
        ready, begun = "READY=1" in daemon.notified, time.monotonic()
        code = daemon.terminate()
        self._turn.measured("seconds to stop at SIGTERM", time.monotonic() - begun)
        assert code == 0 or (not ready and code == -signal.SIGTERM), f"SIGTERM gave {code}: {daemon.log[-2000:]}"
        return "SIGTERM"

    def _swift_killed(self) -> str:
        self._start_and_wait()
        self._kill_swift()
        time.sleep(self._chance.uniform(0.0, 0.3))
        self._start_swift()
        time.sleep(self._chance.uniform(0.0, 1.0))
        assert self._scene.daemon.running, f"it ended with its Swift: {self._scene.daemon.log[-2000:]}"
        self._scene.daemon.kill()
        return "SIGKILL of Swift"

    def _both_killed(self) -> str:
        self._start_and_wait()
        if self._chance.random() < 0.5:
            self._kill_swift()
            self._scene.daemon.kill()
        else:
            self._scene.daemon.kill()
            self._kill_swift()
        self._start_swift()
        return "SIGKILL of both"

    def _kill_swift(self) -> None:
        self._scene.swift.kill()
        self._witness.forget_connections()

    def _start_swift(self) -> None:
        self._scene.swift.start()
        self._turn.measured("objects that a killed Swift had not listed", self._witness.list_what_stands())

    # -- waiting ---------------------------------------------------------------------------------------------

    def _start_and_wait(self) -> None:
        """A start and a random moment; not to wait for anything."""
        self._scene.daemon.start(wait=False)
        time.sleep(self._chance.uniform(0.0, 0.9) * self._scene.slowness)

    def _until(self, holds: Callable[[], bool]) -> None:
        """Waits until that holds, nothing is asked of the Swift any more, or the longest life is over."""
        end = time.monotonic() + LONGEST * self._scene.slowness
        heard, last = time.monotonic(), 0
        while time.monotonic() < end and not holds():
            if len(self._scene.wire.requests) != last or "READY=1" not in self._scene.daemon.notified:
                heard, last = time.monotonic(), len(self._scene.wire.requests)
            if time.monotonic() > heard + QUIET * self._scene.slowness:
                return
            time.sleep(0.005)

    def _is_done(self) -> bool:
        """Whether all there is stands at the target: another life would have nothing to do."""
        return self._witness.complete


def _length(request: Request) -> int:
    return int(request.headers.get("content-length", 0))
