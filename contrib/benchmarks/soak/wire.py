"""The wire: lies to each verb, connections that are cut at any byte, certificates, clocks; then the truth.

A case is one migration. While it is lied to, nothing may be wrong at the target; it must be there, small, and stop in
time; and once the truth is told, it must come to its end by itself or by one RetryNow.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import random
import re
import ssl
import time
from contextlib import contextmanager
from email.utils import format_datetime, parsedate_to_datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from faults import CutAnswer, CutHead, Edit, Reset
from faults.cutter import Cut, Cutter
from faults.liar import Liar
from realparts.daemon_process import MANAGER, SERVICE
from soak.invariants import Witness
from soak.lies import VERBS, all_lies, lies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from realparts.swift_server import SwiftServer
    from soak.campaign import Turn
    from soak.place import Place, Scene

SHARE = 0.16
"""Of the campaign's time."""

LIES, CUTS = 3, 6
"""Of one case."""

MOST_MIB = 200
"""Of memory, whatever it is told."""

MOST_SECONDS_TO_STOP = 10.0
"""As systemd/slowboat.service has it (TimeoutStopSec)."""

PATIENCE = 15.0
"""Seconds between two times that the user says: try again. Each has the store's capabilities found out anew."""

END = 90.0
"""Seconds within which it ends once nothing goes wrong any more."""

_DAY = 86400.0


def case(place: Place, turn: Turn) -> None:
    """One migration over a bad wire."""
    from soak import identity

    plays = {lied_to: 46, cut: 28, identity.old: 4, identity.new: 10, certificates: 8, clock: 4}
    turn.one_of(plays)(place, turn)


# -- what all share ----------------------------------------------------------------------------------------------


class Watch:
    """One scene's daemon: whether it lives, how large it is, when it stops, and its end."""

    def __init__(self, scene: Scene, turn: Turn) -> None:
        self.scene = scene
        self.turn = turn
        self.witness = Witness(scene)
        self._ended = False

    def look(self, fault: str, detail: str, times: int = 1) -> None:
        """After a fault: what was violated is told with `detail`."""
        wrong = [*self.witness.look(), *self._alive()]
        self.turn.played(fault, [f"{detail}: {text}" for text in wrong], times)

    def _alive(self) -> Iterator[str]:
        daemon = self.scene.daemon
        if not daemon.running:
            yield f"the daemon has ended with {daemon.wait()}: {daemon.log[-3000:]}"
            daemon.start()
            return
        status = Path(f"/proc/{daemon.pid}/status").read_text()
        mib = int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024
        self.turn.measured("MiB of memory at most", mib)
        if mib > MOST_MIB:
            yield f"it took {mib:.0f} MiB"

    def stop(self, fault: str, detail: str) -> None:
        """SIGTERM in the middle of it, and a new start."""
        daemon = self.scene.daemon
        begun = time.monotonic()
        wrong = []
        try:
            code = daemon.terminate(timeout=MOST_SECONDS_TO_STOP)
            wrong = [f"SIGTERM gave {code}"] if code else []
        except Exception:
            wrong = [f"it did not stop within {MOST_SECONDS_TO_STOP} s"]
            daemon.kill()
        self.turn.measured("seconds to stop at SIGTERM", time.monotonic() - begun)
        self.turn.played("SIGTERM while it is lied to", [f"{fault}, {detail}: {text}" for text in wrong])
        daemon.start()

    def retry(self) -> None:
        """The user says: try again."""
        self.scene.daemon.call(MANAGER, f"{SERVICE}.Manager", "RetryNow", "a{sv}", "0")

    def end(self, told: str) -> None:
        """The truth is told: it must end complete."""
        begun = time.monotonic()
        asked = 0.0

        def done(seen: dict[str, object]) -> bool:
            nonlocal asked
            if seen["State"] == "done" and seen["Handover"] == "done":
                return True
            if time.monotonic() > asked:
                asked = time.monotonic() + PATIENCE * self.scene.slowness
                self.retry()
            return False

        try:
            self.scene.daemon.wait_until(done, timeout=END * self.scene.slowness)
        except AssertionError as error:
            raise AssertionError(f"{told}: {error}") from error
        self.turn.measured("seconds to the end once the truth is told", time.monotonic() - begun)
        wrong = [*self.witness.look_at_the_end()]
        code = self.scene.daemon.terminate()
        wrong += [f"SIGTERM at the end gave {code}"] if code else []
        wrong += self.witness.look_at_what_it_left()
        self.turn.played("then the truth, to the end", [f"after {told}: {text}" for text in wrong])


@contextmanager
def watched(place: Place, turn: Turn, swift: SwiftServer | None = None) -> Iterator[Watch]:
    """A scene, at a Swift of its own or at that one."""
    dress = turn.chance.choice(["segmented", "segmented", "encrypted"])
    with place.scene(dress, swift) as scene:
        yield Watch(scene, turn)


# -- lies --------------------------------------------------------------------------------------------------------


@cache
def _shuffled_lies(seed: int) -> list[tuple[str, str]]:
    """All lies in this seed's order: a campaign that is long enough tells each of them."""
    found = all_lies()
    random.Random(f"{seed}/lies").shuffle(found)
    return found


def lied_to(place: Place, turn: Turn) -> None:
    """A few lies, one after the other: to the first n, to each k-th, or to all."""
    every = _shuffled_lies(turn.seed)
    chosen = [every[(turn.number * LIES + n) % len(every)] for n in range(LIES)]
    with watched(place, turn) as watch, Liar(upstream=watch.scene.swift.port) as liar:
        scene = watch.scene
        scene.configure(f"connections = {turn.chance.choice([1, 2, 8])}\n", auth_url=liar.auth_url)
        told = []
        for number, (verb, lie) in enumerate(chosen):
            liar.forget()
            how = turn.chance.choice(
                [{"times": turn.chance.randint(1, 4)}, {"times": None, "every": 2}, {"times": None}]
            )
            liar.lie(*VERBS[verb], lies(verb)[lie], **how)
            told.append(f"{verb}: {lie} ({', '.join(f'{name} {value}' for name, value in how.items())})")
            scene.daemon.start() if not number else watch.retry()
            dwell(lambda: any(asked.lied for asked in liar.requests), turn)
            heard = sum(asked.lied for asked in liar.requests)
            liar.requests.clear()
            watch.look(f"lies to: {verb}", told[-1], times=max(1, heard))
            if turn.chance.random() < 0.4:
                watch.stop(f"lies to: {verb}", told[-1])
        liar.forget()
        watch.end("; ".join(told))


def dwell(struck: Callable[[], bool], turn: Turn) -> None:
    """Until it has struck, for a second and a half at most; and then a moment."""
    end = time.monotonic() + 1.5
    while time.monotonic() < end and not struck():
        time.sleep(0.02)
    time.sleep(turn.chance.uniform(0.0, 0.8))


# -- cuts --------------------------------------------------------------------------------------------------------

_HEAD, _ANSWER = 420, 600
"""Bytes of the longest head of a request, and of an answer with what matters of its body."""


@cache
def _shuffled_cuts(seed: int) -> list[tuple[str, str, int]]:
    """(verb, what is cut, byte), in this seed's order: each byte of each head, and of bodies some hundred."""
    bodies = sorted({*range(64), *(int(1.04**n) for n in range(100, 390))})
    found = [(verb, "head", at) for verb in VERBS for at in range(_HEAD)]
    found += [(verb, "answer", at) for verb in VERBS for at in range(_ANSWER)]
    found += [(verb, "body", at) for verb in VERBS if verb.startswith("PUT of ") for at in bodies]
    random.Random(f"{seed}/cuts").shuffle(found)
    return found


def cut(place: Place, turn: Turn) -> None:
    """Some requests of some verbs are cut, each at another byte."""
    every, actions = _shuffled_cuts(turn.seed), {"head": CutHead, "body": Reset, "answer": CutAnswer}
    chosen = [every[(turn.number * CUTS + n) % len(every)] for n in range(CUTS)]
    with watched(place, turn) as watch:
        scene, wire = watch.scene, watch.scene.wire
        scene.configure(f"connections = {turn.chance.choice([1, 2, 8])}\n")
        for verb, part, at in chosen:
            method, path = VERBS[verb]
            wire.rule(method, path, actions[part](at), skip=turn.chance.randrange(2), times=1)
        told = "; ".join(f"{verb} cut at byte {at} of its {part}" for verb, part, at in chosen)
        scene.daemon.start()
        dwell(lambda: wire.struck >= CUTS, turn)
        watch.look("connections cut at a byte of head, body, or answer", told, times=max(1, wire.struck))
        wire.forget_rules()
        watch.end(told)


# -- certificates ------------------------------------------------------------------------------------------------


def certificates(place: Place, turn: Turn) -> None:
    """A certificate that has expired, is not yet good, or is another's; a handshake that is cut; then all is well."""
    kind = turn.chance.choice(["has expired", "is not good yet", "is another host's", "handshake is cut"])
    with watched(place, turn) as watch:
        scene = watch.scene
        good = _certificate(scene.folder / "good")
        bad = {
            "has expired": lambda: _certificate(scene.folder / "bad", days=(-9, -2), like=good),
            "is not good yet": lambda: _certificate(scene.folder / "bad", days=(2, 9), like=good),
            "is another host's": lambda: _certificate(scene.folder / "bad", host="elsewhere.example", like=good),
        }
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        shown = bad[kind]() if kind in bad else good
        context.load_cert_chain(*shown)
        trusted = scene.folder / "trusted.pem"  # what it trusts, so that nothing but its fault speaks against it
        trusted.write_text(good[0].read_text() + shown[0].read_text())
        with Liar(upstream=scene.swift.port, tls=context) as liar, Cutter(liar.port) as cutter:
            _over_tls(scene, cutter.port, trusted)
            if kind == "handshake is cut":
                cutter.cuts = [Cut(turn.chance.choice(["up", "down"]), turn.chance.randrange(1, 900)) for _ in range(5)]
            scene.daemon.start()
            dwell(lambda: cutter.made > 2, turn)
            watch.retry()
            time.sleep(0.3)
            wrong = [f"asked all the same: {one.method} {one.path}" for one in liar.requests if kind in bad]
            turn.played(f"TLS: a certificate that {kind}" if kind in bad else "TLS: cut in the handshake", wrong)
            watch.look("TLS, and what stands", kind)
            cutter.cuts = []
            context.load_cert_chain(*good)
            watch.end(f"a certificate: {kind}")


def _over_tls(scene: Scene, port: int, trusted: Path) -> None:
    origin = f"https://127.0.0.1:{port}"
    scene.configure(auth_url=f"{origin}/auth/v1.0")
    more = f'storage_url = "{origin}/v1/AUTH_test"\ncacert = "{trusted}"\n'
    text = scene.daemon.config_file.read_text()
    scene.daemon.configure(text.replace("[cloud.test]\n", f"[cloud.test]\n{more}"))


def _certificate(
    folder: Path, *, days: tuple[int, int] = (-1, 9), host: str = "", like: tuple[Path, Path] | None = None
) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1, or of `host`, good between these days from now; with the key of another one."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    folder.mkdir()
    key = ec.generate_private_key(ec.SECP256R1())
    if like:
        key = serialization.load_pem_private_key(like[1].read_bytes(), None)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"test {folder.name}")])
    held = x509.DNSName(host) if host else x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + dt.timedelta(days=days[0]))
        .not_valid_after(now + dt.timedelta(days=days[1]))
        .add_extension(x509.SubjectAlternativeName([held]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "cert.pem", folder / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


# -- clocks ------------------------------------------------------------------------------------------------------


def clock(place: Place, turn: Turn) -> None:
    """A server whose clock is off, from the first request to the last."""
    off = turn.chance.choice([-20 * 365 * _DAY, -_DAY, -3600.0, 3600.0, _DAY, 20 * 365 * _DAY])
    with watched(place, turn) as watch:
        watch.scene.wire.rule(".*", ".", Edit(lambda *told: _at_another_time(off, *told)), times=None)
        watch.scene.daemon.start()
        dwell(lambda: False, turn)
        watch.look("a server whose clock is off", f"{off:.0f} seconds")
        watch.end(f"a clock that is off by {off:.0f} seconds")


def _at_another_time(
    off: float, status: int, headers: dict[str, str], body: bytes
) -> tuple[int, dict[str, str], bytes]:
    moved = dict(headers)
    for name in ("date", "last-modified"):
        if name in moved:
            moved[name] = format_datetime(parsedate_to_datetime(moved[name]) + dt.timedelta(seconds=off), usegmt=True)
    for name in ("x-timestamp", "x-delete-at", "x-openstack-request-time"):
        if name in moved:
            moved[name] = str(float(moved[name]) + off) if "." in moved[name] else str(int(int(moved[name]) + off))
    if body.startswith(b"[{") and b"last_modified" in body:
        rows = json.loads(body)
        for row in rows:
            if "last_modified" in row:
                then = dt.datetime.fromisoformat(row["last_modified"]) + dt.timedelta(seconds=off)
                row["last_modified"] = then.isoformat()
        body = json.dumps(rows).encode()
    return status, moved, body
