"""Identity services whose answers are odd, or none: a real Keystone's v3, and the v2.0 that nobody runs any more.

Between the daemon and the real Keystone stands a server that passes requests on and spoils what comes back.
"""

from __future__ import annotations

import http.client
import json
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from faults.identity import keystone_answer
from faults.liar import Asked, Liar, Lie, answer
from realparts.keystone_server import NORTH
from soak.lies import lies
from soak.wire import dwell, watched

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from soak.campaign import Turn
    from soak.place import Place, Scene
    from soak.wire import Watch

_JSON = {"Content-Type": "application/json"}

_ODD: list[object] = [
    None,
    -1,
    0,
    1e300,
    "",
    "\u2603",
    [],
    {},
    [None],
    True,
    10**30,
    "9999-99-99",
    "0001-01-01T00:00:00Z",
]
_DEEP = "[" * 50_000


TIMES = 4
"""Answers to one daemon, before the truth."""


def old(place: Place, turn: Turn) -> None:
    """Version 2.0, whose right answers are canned."""
    with watched(place, turn) as watch, Liar(upstream=watch.scene.swift.port) as liar:
        scene = watch.scene
        scene.configure()
        secret = str(scene.daemon.secret("key", "s"))
        _with_cloud(scene, auth_url=f"{liar.origin}/v2.0", user="joe", project="customer-x", key_file=secret)

        def true(_: Asked) -> Lie:
            right = keystone_answer(scene.swift)
            return answer(right.status, right.headers, right.body)

        def odd(asked: Asked) -> Lie:
            return _odd(json.loads(keystone_answer(scene.swift).body), 200, _JSON, turn.chance)

        _lied_to(watch, liar, "/v2.0/tokens", odd, "Keystone's v2.0: something odd in its answer")
        liar.lie("POST", "/v2.0/tokens", true, times=None)
        watch.end("Keystone's odd answers, v2.0")


def new(place: Place, turn: Turn) -> None:
    """A real Keystone's version 3: its answers spoiled, or any other lie in their place."""
    swift = place.keystone()
    keystone = swift.keystone
    owner = swift.owner = keystone.user("soak")
    port = urlsplit(keystone.url).port or 0
    with watched(place, turn, swift) as watch, Liar(upstream=port) as liar:
        scene, chance = watch.scene, turn.chance
        scene.configure()
        given = {"region": NORTH, "user": owner.name, "user_domain": owner.domain, "project": owner.project}
        given["key_file"] = str(scene.daemon.secret("key", owner.password))
        if chance.random() < 0.5:
            given["storage_url"] = f"http://127.0.0.1:{scene.wire.port}/v1/AUTH_{owner.project_id}"
        _with_cloud(scene, auth_url=f"{liar.origin}/v3", **given)

        def odd(asked: Asked) -> Lie:
            status, headers, body = _relayed(port, asked)
            kept = {name: value for name, value in headers.items() if name in {"x-subject-token", "content-type"}}
            if chance.random() < 0.2 and "x-subject-token" in kept:
                kept["x-subject-token"] = chance.choice(["", " ", "\u2603", "t" * 100_000, "a b"])
                return answer(status, kept, body)
            return _odd(json.loads(body), status, kept, chance)

        if chance.random() < 0.5:
            _lied_to(watch, liar, "/v3/auth/tokens", odd, "Keystone's v3: something odd in its answer")
        else:
            name = chance.choice([*lies("token")])
            _lied_to(watch, liar, "/v3/auth/tokens", lies("token")[name], "Keystone's v3: another answer than its own")
        watch.end("Keystone's odd answers, v3")


def _lied_to(watch: Watch, liar: Liar, path: str, lie: Lie | Callable[[Asked], Lie], fault: str) -> None:
    """Some tries of the daemon's, each answered so; then the truth."""
    liar.lie("POST", path, lie, times=None)
    watch.scene.daemon.start()
    for _ in range(TIMES):
        dwell(lambda: any(asked.lied for asked in liar.requests), watch.turn)
        heard = sum(asked.lied for asked in liar.requests)
        liar.requests.clear()
        watch.look(fault, path, times=max(1, heard))
        watch.retry()
    if watch.turn.chance.random() < 0.4:
        watch.stop(fault, path)
    liar.forget()


def _relayed(port: int, asked: Asked) -> tuple[int, dict[str, str], bytes]:
    """What the real one answers to the same request."""
    up = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        kept = {name: value for name, value in asked.headers.items() if name not in {"connection", "content-length"}}
        up.request(asked.method, asked.path, asked.body, kept)
        reply = up.getresponse()
        return reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read()
    finally:
        up.close()


def _odd(told: object, status: int, headers: dict[str, str], chance: random.Random) -> Lie:
    if chance.random() < 0.15:
        return answer(status, headers, _DEEP.encode())
    return answer(status, headers, json.dumps(_spoiled(told, chance)).encode())


def _with_cloud(scene: Scene, **cloud: str) -> None:
    """Another cloud's table in the configuration."""
    lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in cloud.items())
    text = scene.daemon.config_file.read_text()
    scene.daemon.configure(re.sub(r"(?<=\[cloud\.test\]\n).*?(?=\[migration)", lines, text, flags=re.DOTALL))


def _spoiled(value: object, chance: random.Random) -> object:
    """The same with one node dropped, doubled, or replaced."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        key = chance.choice([*value])
        if chance.random() < 0.2:
            return {name: other for name, other in value.items() if name != key}
        return {**value, key: _spoiled(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.9:
        at = chance.randrange(len(value))
        if chance.random() < 0.2:
            return [*value, *value]
        return [*value[:at], _spoiled(value[at], chance), *value[at + 1 :]]
    return chance.choice(_ODD)
