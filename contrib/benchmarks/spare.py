"""A home's uplink that a backup shares with a phone: is the phone's call clear, and is the line used all the same?

For each tool a household of its own (see household.py): a laptop that uploads to a real Swift, over TLS, and a phone;
8 Mbit/s up with a queue of a second, unless --lines says more. One time line for all: the upload is alone; the phone
uploads too (one plain connection); it has stopped; it makes a call (1.5 Mbit/s of UDP, or 30 % of a slower line); it
downloads. The delay is that of the phone's pings above a quiet line's, what it gets is held against what it gets with
no backup at all, and the use of the idle line against `swift upload`, which fills it. Everybody's congestion control is
cubic, but where a program chooses its own. Figures are [least, greatest] over the runs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from figures import Counter, added, percentile, span, worst
from household import PRIVATE, Household, Line, enter
from outcome import CannotRun, Goal, Outcome, need, say
from uploaders import BOAT, NONE, PLAIN, TOOLS, Bed, copy_slowboat, make_certificate, make_drive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

LINES = {
    "8": Line(),
    "1": Line(up=1e6, down=4e6),
    "3": Line(up=3e6, down=12e6),
    "20": Line(up=20e6, down=50e6),
    "50": Line(up=50e6, down=50e6, buffer=0.3),
    "100": Line(up=100e6, down=100e6),
    "short": Line(buffer=0.1),
    "shorter": Line(buffer=0.05),
    "shortest": Line(buffer=0.02),
    "short20": Line(up=20e6, down=50e6, buffer=0.03),
    "deep": Line(buffer=3.0),
    "near": Line(round_trip=0.004),
    "far": Line(round_trip=0.100),
    "jitter": Line(jitter=0.003),
    "wild": Line(jitter=0.010),
}
SETTLED = 8.0  # seconds that everybody has sent when the clock starts
QUIET = 3.0  # seconds of pings before anybody sends
PATIENCE = 120.0  # seconds until everybody sends

PARTS = {"alone": (0, 10), "upload": (10, 20), "return": (20, 28), "call": (28, 36), "download": (36, 46)}
"""What happens when, in seconds: a queue of a second takes a few to build and to drain."""
END = max(end for _, end in PARTS.values())

CALL, CALL_SHARE = 1.5e6, 0.3  # bits per second: a video call, and on a slow line a smaller one
BLOATED = 0.5  # of the queue's length: what a plain upload's median delay must reach, or the line is none to judge by
CALM = 10.0  # milliseconds: what the p95 without any backup may be, or the machine is too busy to judge by
ATTEMPTS = 5  # that a busy machine gets for each measurement
MOST_AT_ONCE = 24e6  # bits per second of all lines together that two slow cores carry without a trace


# -- one run -------------------------------------------------------------------------------------------------


@dataclass
class Heard:
    """What one bed said in one run; moments are seconds on its time line, delays in seconds."""

    base: float
    laptop: Counter
    phone: Counter
    pings: list[tuple[float, float | None]]
    call_sent: int
    call: list[float]
    downloaded: int

    def added(self, part: str) -> list[float]:
        """Milliseconds that each ping took longer than on a quiet line."""
        begin, end = PARTS[part]
        return added((trip for moment, trip in self.pings if begin <= moment < end), self.base)

    def call_added(self) -> list[float]:
        return added(self.call, self.base / 2)

    def call_lost(self) -> float:
        return 1 - len(self.call) / self.call_sent

    def background(self, part: str) -> float:
        return self.laptop.rate(*PARTS[part])

    def upload(self) -> float:
        return self.phone.rate(*PARTS["upload"])

    def yields(self) -> float | None:
        return self.laptop.yields(*PARTS["upload"], self.background("alone"))

    def returns(self) -> float | None:
        return self.laptop.returns(*PARTS["return"], self.background("alone"))


def lay_out(stack: contextlib.ExitStack, beds: list[Bed], tools: Iterable[str], line: Line, folder: Path) -> None:
    """A household for each tool, its server up, its quiet line measured; `stack` ends them."""
    certificate = folder / "cert.pem"
    for number, tool in enumerate(tools):
        home = stack.enter_context(Household(line))
        beds.append(Bed(tool, home, folder / f"bed{number}", folder / "drive", certificate))
        beds[-1].serve()
    pings = [bed.home.traffic("phone", "ping", Household.SERVER_TO_PHONE, seconds=QUIET) for bed in beds]
    for bed, ping in zip(beds, pings, strict=True):
        trips = [trip for _, trip in json.loads(ping.communicate()[0])["pings"] if trip is not None]
        bed.base = percentile(trips, 0.5)


def set_out(beds: list[Bed]) -> None:
    """Everybody begins, and has sent for a while."""
    for bed in beds:
        TOOLS[bed.tool](bed)
    deadline = time.monotonic() + PATIENCE
    waiting = beds
    while waiting := [bed for bed in waiting if not bed.sends()]:
        if time.monotonic() > deadline:
            late = waiting[0]
            raise CannotRun(f"{late.tool} sends nothing: {late.log.read_text(errors='replace')[-500:]}")
        time.sleep(0.5)
    time.sleep(SETTLED)


def clock(beds: list[Bed]) -> list[Heard]:
    """The time line, for all of them at once."""
    listeners = [bed.home.traffic("server", "answer") for bed in beds]
    zero = time.monotonic() + 2.0
    to = Household.SERVER_TO_PHONE
    phones = []
    for bed in beds:
        talk = min(CALL, CALL_SHARE * bed.home.line.up)
        roles = {
            role: bed.home.traffic("phone", role, to, *words, at=zero + PARTS[role][0], seconds=lasts(role))
            for role, words in {"upload": (), "call": (talk,), "download": ()}.items()
        }
        roles["ping"] = bed.home.traffic("phone", "ping", to, at=zero, seconds=END)
        phones.append(roles)
    moments: list[float] = []
    laptops: list[list[float]] = [[] for _ in beds]
    phone_totals: list[list[float]] = [[] for _ in beds]
    time.sleep(max(0, zero - time.monotonic()))
    busy = busy_seconds()
    while (now := time.monotonic() - zero) < END + 0.2:
        moments.append(now)
        for number, bed in enumerate(beds):
            laptops[number].append(bed.home.received("laptop"))
            phone_totals[number].append(bed.home.received("phone"))
        time.sleep(max(0, zero + len(moments) * 0.1 - time.monotonic()))
    say(
        f"spare: the processors were busy for {(busy_seconds() - busy) / (END * (os.cpu_count() or 1)):.0%} of the time"
    )
    told = []
    for number, (bed, roles) in enumerate(zip(beds, phones, strict=True)):
        bed.sends()  # a tool that has run out of files was no load
        said = {role: json.loads(process.communicate()[0]) for role, process in roles.items()}
        listeners[number].send_signal(signal.SIGTERM)
        told.append(
            Heard(
                bed.base,
                Counter(moments, laptops[number]),
                Counter(moments, phone_totals[number]),
                [(moment - zero, trip) for moment, trip in said["ping"]["pings"]],
                said["call"]["sent"],
                json.loads(listeners[number].communicate()[0])["call"],
                said["download"]["bytes"],
            )
        )
    return told


def keep(heard: Run, file: Path) -> None:
    """All that was measured, for a closer look."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({tool: asdict(each) for tool, (each, _) in heard.items()}))


def lasts(part: str) -> float:
    begin, end = PARTS[part]
    return end - begin


def busy_seconds() -> float:
    """Processor seconds of all programs since the machine started."""
    ticks = Path("/proc/stat").read_text().splitlines()[0].split()
    return (sum(map(int, ticks[1:4])) + sum(map(int, ticks[6:8]))) / os.sysconf("SC_CLK_TCK")


Run = dict[str, tuple[Heard, Heard]]
"""What each tool's bed said, and the one without any backup beside it."""


def one_run(tools: list[str], line: Line, folder: Path, at_once: int) -> Run:
    """All tools, some at a time, and beside them each time a household without any backup.

    Raises:
        CannotRun: this machine is too busy to measure on.
    """
    heard: Run = {}
    for first in range(0, len(tools), at_once):
        some = [*tools[first : first + at_once], NONE]
        for _ in range(ATTEMPTS):
            told = together(some, line, folder)
            calm = percentile(told[NONE].added("alone"), 0.95)
            if calm <= CALM + 6000 * line.jitter:
                break
            say(f"spare: an unused line added {calm:.0f} ms (p95): this machine is busy with something else; once more")
        else:
            raise CannotRun("this machine is too busy to measure on; fewer at a time (--at-once 1) may help")
        heard |= {tool: (each, told[NONE]) for tool, each in told.items()}
    return heard


def clear(beds: list[Bed]) -> None:
    for bed in beds:
        shutil.rmtree(bed.folder, ignore_errors=True)


def together(tools: list[str], line: Line, folder: Path) -> dict[str, Heard]:
    with contextlib.ExitStack() as stack:
        beds: list[Bed] = []
        stack.callback(clear, beds)
        lay_out(stack, beds, tools, line, folder)
        set_out(beds)
        return dict(zip(tools, clock(beds), strict=True))


# -- what it says --------------------------------------------------------------------------------------------


def judge_bed(name: str, line: Line, runs: list[Run]) -> None:
    """Whether the line was one to judge by.

    Raises:
        CannotRun: it was not, and why.
    """
    for heard in runs:
        plain = percentile(heard[PLAIN][0].added("alone"), 0.5)
        least = BLOATED * line.buffer * 1000
        say(f"spare: line {name}: a plain upload adds {plain:.0f} ms (p50; at least {least:.0f} is wanted)")
        if plain < least:
            raise CannotRun(f"line {name}: a plain upload adds but {plain:.0f} ms: its queue is no home router's")


def row(tool: str, name: str, runs: list[Run]) -> dict[str, object]:
    ours = [heard[tool][0] for heard in runs]
    figures: dict[str, object] = {"tool": tool, "line": name}
    alone = [each.added("alone") for each in ours]
    if tool != NONE:
        figures["idle_line_used"] = span(used(tool, runs), 3)
    for label, share in (("p50", 0.5), ("p95", 0.95), ("max", 1.0)):
        figures[f"alone_added_ms_{label}"] = span(percentile(each, share) for each in alone)
    figures["upload_kept"] = span(kept(tool, runs), 3)
    if tool != NONE:
        figures["yields_seconds"] = span((each.yields() for each in ours), 1)
        figures["back_seconds"] = span((each.returns() if each.yields() is not None else None for each in ours), 1)
    figures["call_added_ms_p95"] = span(percentile(each.call_added(), 0.95) for each in ours)
    figures["call_lost"] = span((each.call_lost() for each in ours), 4)
    figures["download_kept"] = span(download_kept(tool, runs), 3)
    if tool != NONE:
        figures["used_beside_download"] = span(beside_download(tool, runs), 3)
    return figures


def used(tool: str, runs: list[Run], part: str = "alone") -> list[float]:
    """Of what a plain upload gets through on an idle line."""
    return [heard[tool][0].background(part) / heard[PLAIN][0].background("alone") for heard in runs]


def kept(tool: str, runs: list[Run]) -> list[float]:
    """Of what the phone's upload gets through where there is no backup."""
    return [ours.upload() / control.upload() for ours, control in (heard[tool] for heard in runs)]


def download_kept(tool: str, runs: list[Run]) -> list[float]:
    """Of what the phone gets down where there is no backup."""
    return [ours.downloaded / control.downloaded for ours, control in (heard[tool] for heard in runs)]


def beside_download(tool: str, runs: list[Run]) -> list[float]:
    """Of what a plain upload gets through on an idle line, less the acknowledgements of the phone's download."""
    return [
        heard[tool][0].background("download")
        / (heard[PLAIN][0].background("alone") - heard[tool][1].phone.rate(*PARTS["download"]))
        for heard in runs
    ]


def goals(name: str, runs: list[Run]) -> list[Goal]:
    boats = [heard[BOAT][0] for heard in runs]
    delays = {
        "alone": (30, worst(percentile(boat.added("alone"), 0.95) for boat in boats)),
        "in the call": (40, worst(percentile(boat.call_added(), 0.95) for boat in boats)),
    }
    lost = worst(boat.call_lost() for boat in boats)
    seconds = {
        "until it made room": (1.0, worst(boat.yields() for boat in boats)),
        "until it was back": (2.0, worst(boat.returns() for boat in boats)),
    }
    shares = {
        "of the idle line, used": (0.97, min(used(BOAT, runs))),
        "of the phone's upload, kept": (0.97, min(kept(BOAT, runs))),
        "of the phone's download, kept": (0.97, min(download_kept(BOAT, runs))),
        "of what the download left of the uplink, used": (0.80, min(beside_download(BOAT, runs))),
    }
    on = f"slowboat on line {name}"
    return [
        *(Goal(f"{on}: {what}", round(got, 3), f">= {least}", got >= least) for what, (least, got) in shares.items()),
        *(
            Goal(f"{on}: p95 of the delay added {when}, ms", round(delay), f"<= {most}", delay <= most)
            for when, (most, delay) in delays.items()
        ),
        *(
            Goal(f"{on}: seconds {when}", round(got, 1), f"<= {most:g}", got <= most)
            for when, (most, got) in seconds.items()
        ),
        Goal(f"{on}: of the call, lost", round(lost, 4), "0", lost == 0),
    ]


def everything(arguments: argparse.Namespace, folder: Path) -> Outcome:
    outcome = Outcome()
    tools = [tool for tool in TOOLS if tool == PLAIN or (tool in arguments.tools and tool != NONE)]
    make_certificate(folder)
    copy_slowboat(folder)
    for name in arguments.lines:
        line = LINES[name]
        make_drive(folder / "drive", round(line.up / 8 * (END + SETTLED + 30)))
        at_once = max(1, min(arguments.at_once, int(MOST_AT_ONCE // line.up)))
        runs: list[Run] = []
        for number in range(arguments.runs):
            say(f"spare: line {name}, run {number + 1} of {arguments.runs}")
            runs.append(one_run(tools, line, folder, at_once))
            if arguments.keep:
                keep(runs[-1], arguments.keep / f"{name}-{number + 1}.json")
            for tool in (*tools, NONE):
                say(f"spare: {row(tool, name, runs[-1:])}")
        shutil.rmtree(folder / "drive")
        judge_bed(name, line, runs)
        outcome.rows += [row(tool, name, runs) for tool in (*tools, NONE)]
        outcome.goals += goals(name, runs) if BOAT in tools else []
    return outcome


def run(arguments: list[str]) -> Outcome:
    parser = argparse.ArgumentParser(prog="contrib/bench spare", description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--lines", type=names_of(LINES), default=["8"], help=f"of {', '.join(LINES)}; with commas")
    parser.add_argument("--tools", type=names_of(TOOLS, ";"), default=list(TOOLS), help="some of them; with semicolons")
    parser.add_argument("--at-once", type=int, default=3, help="tools at the same time; fast lines allow fewer")
    parser.add_argument("--keep", type=Path, help="a folder for all samples of each run")
    known = parser.parse_args(arguments)
    need(rclone="rclone", busctl="systemd", openssl="openssl", **{"dbus-daemon": "dbus"})
    enter()
    with tempfile.TemporaryDirectory(dir=in_memory(), prefix="sb-spare-") as folder:
        return everything(known, Path(folder))


def in_memory() -> str | None:
    """Where the servers keep what they get: a disk that is busy would hold them up; None where it must be the disk."""
    try:
        os.setxattr(PRIVATE, "user.swift.metadata", b"x" * 3000)  # as Swift does it; a tmpfs can since Linux 6.6
    except OSError:
        return None
    return str(PRIVATE)


def names_of(known: Iterable[str], between: str = ",") -> Callable[[str], list[str]]:
    def names(text: str) -> list[str]:
        found = [name.strip() for name in text.split(between)]
        if unknown := set(found) - set(known):
            raise argparse.ArgumentTypeError(f"there is no {', '.join(unknown)} among {', '.join(known)}")
        return found

    return names


if __name__ == "__main__":
    sys.exit("run it by contrib/bench spare")
