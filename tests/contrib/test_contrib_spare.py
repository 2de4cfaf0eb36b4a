"""The arithmetic of contrib/bench spare, and the household that it measures in."""

from __future__ import annotations

import json
import math
import shutil
import sys
from pathlib import Path

import pytest

from realparts.presence import ROOT, in_namespaces, program

BENCHMARKS = ROOT / "contrib/benchmarks"
sys.path.append(str(BENCHMARKS))

from figures import Counter, added, percentile, span, worst  # noqa: E402  # found by the line above
from traffic import checksum  # noqa: E402


def sent(*pieces: tuple[float, float]) -> Counter:
    """A counter read every 100 ms, of (seconds, bytes per second) after one another."""
    moments, totals = [0.0], [0.0]
    for seconds, rate in pieces:
        for _ in range(round(seconds * 10)):
            moments.append(round(moments[-1] + 0.1, 1))
            totals.append(totals[-1] + rate / 10)
    return Counter(moments, totals)


def test_a_percentile_is_a_value_that_was_there():
    assert percentile([4, 1, 3, 2], 0.5) == 2
    assert percentile(range(1, 101), 0.95) == 95
    assert percentile([7], 0.0) == percentile([7], 1.0) == 7
    assert math.isnan(percentile([], 0.5))


def test_delays_are_told_above_the_quiet_line_and_without_what_was_lost():
    assert added([0.031, None, 0.029, 0.090], 0.030) == pytest.approx([1, 0, 60])


def test_what_never_came_is_the_worst_of_a_span():
    assert span([2.04, None, 1.0], 1) == [1.0, "never"]
    assert span([None]) == ["never", "never"]
    assert span([3.3, 2.6]) == [3, 3]
    assert span([]) == []
    assert worst([1.0, None]) == math.inf


def test_a_rate_between_two_readings():
    counter = sent((1, 100), (1, 300))
    assert counter.rate(0.5, 1.5) == pytest.approx(200)
    assert counter.rate(0.25, 0.75) == pytest.approx(100)
    assert counter.total(-1) == 0
    assert counter.total(9) == pytest.approx(400)


def test_who_makes_room_for_good_has_yielded():
    assert sent((10, 100), (0.8, 90), (9.2, 4)).yields(10, 20, 100) == pytest.approx(0.7, abs=0.25)


def test_a_dip_is_no_yielding():
    assert sent((10, 100), (1, 80), (2, 5), (7, 60)).yields(10, 20, 100) is None


def test_who_was_low_when_it_began_and_stays_so_has_yielded_at_once():
    assert sent((10, 100), (10, 10)).yields(10, 20, 100) == 0


def test_who_comes_back_is_back_when_most_of_its_rate_is():
    assert sent((2, 5), (8, 100)).returns(0, 10, 100) == pytest.approx(1.8, abs=0.15)
    assert sent((10, 60)).returns(0, 10, 100) is None


def test_the_checksum_of_a_packet_makes_its_sum_whole():
    packet = bytes(range(56))
    whole = checksum(packet)
    assert checksum(packet + whole.to_bytes(2, "big")) == 0


HOUSEHOLD = """
import json, socket, sys, time
sys.path.insert(0, sys.argv[1])
from household import Household, Line, enter
from outcome import CannotRun
try:
    enter()
except CannotRun as error:
    sys.exit(f"forbidden: {error}")
ASK = '''
import socket, sys
with socket.create_connection((sys.argv[1], 9000)) as line:
    line.sendall(b"U" * 20_000)
    line.shutdown(socket.SHUT_WR)
    assert line.recv(1) == b""  # it has everything
    print(line.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(bytes(1)).decode())
'''
with Household(Line(up=2e6)) as home, Household(Line()) as other:
    answer = home.traffic("server", "answer")
    ping = home.traffic("phone", "ping", home.SERVER_TO_PHONE, seconds=0.3)
    trips = [trip for _, trip in json.loads(ping.communicate()[0])["pings"]]
    congestion = home.run("laptop", sys.executable, "-c", ASK, home.SERVER).strip()
    home.change(up=3e6)
    print(json.dumps({
        "trips": trips,
        "congestion": congestion,
        "laptop": home.received("laptop"),
        "other": other.received("laptop"),
        "shape": home.run("router", "tc", "qdisc", "show", "dev", "wan"),
        "route": home.run("laptop", "ip", "route", "show", "default"),
    }))
"""


def test_a_household_has_its_line_and_leaves_nothing():
    for needed in ("ip", "tc", "nsenter"):
        program(needed)
    if shutil.which("cc") is None:  # no part of slowboat needs one, so the tests' set-up brings none
        pytest.skip("there is no C compiler (sudo apt-get install -y gcc libc6-dev)")
    before = set(Path("/run/netns").glob("*"))
    told = json.loads(in_namespaces(sys.executable, "-c", HOUSEHOLD, BENCHMARKS, timeout=60))
    assert len(told["trips"]) > 3
    assert min(told["trips"]) > 0.029  # the delay box holds each packet for 15 ms, and no less
    assert told["congestion"] == "cubic"
    assert told["laptop"] > 20_000 > told["other"]
    assert "rate 3Mbit" in told["shape"]
    assert "congctl cubic" in told["route"]
    assert set(Path("/run/netns").glob("*")) == before
