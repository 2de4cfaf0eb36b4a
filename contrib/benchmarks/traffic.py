"""What others do with a household's line, and how it feels to them; one role in a process, on any of its hosts.

    traffic.py ping|upload|download SERVER --at T --seconds S           on the phone
    traffic.py call SERVER RATE --at T --seconds S                      on the phone
    traffic.py answer                                                   on the server, for all of them
    traffic.py front PORT CERTIFICATE KEY                               on the server: TLS on 8443 before a local port

Each prints one JSON object at its end: a moment is of time.monotonic(), a delay is in seconds. It ends by itself, the
server's roles on SIGTERM. Standard library alone, to be there in a blink.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import ssl
import struct
import sys
import threading
import time
from typing import Any

PORT = 9000
TLS_PORT = 8443
PING_EVERY = 0.020  # seconds; a packet of 84 bytes: 34 kbit/s
CALL_PACKET = 1172  # bytes of UDP payload
CALL_PACKET_BITS = (CALL_PACKET + 28) * 8  # with its headers
SO_TIMESTAMPNS = 35  # <asm-generic/socket.h>: the kernel says when a packet came, whenever this process wakes up
ECHO_REQUEST, ECHO_REPLY = 8, 0
PATIENCE = 3.0  # seconds that an answer may take
BLOCK = bytes(65536)


def wait_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))


def with_kernel_time(kind: socket.SocketKind, protocol: int = 0) -> socket.socket:
    made = socket.socket(socket.AF_INET, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    return made


def receive(from_: socket.socket) -> tuple[bytes, float]:
    """A packet, and the time of day at which the kernel had it."""
    data, extras, _, _ = from_.recvmsg(2048, 64)
    seconds, nanoseconds = struct.unpack("qq", extras[0][2][:16])
    return data, seconds + nanoseconds / 1e9


def checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return 0xFFFF - ((total + (total >> 16)) & 0xFFFF)


# -- on the phone ------------------------------------------------------------------------------------------------


def ping(server: str, begin: float, end: float) -> dict[str, object]:
    """Echo requests that the server's kernel answers: {"pings": [[moment, round trip or null], ...]}."""
    with with_kernel_time(socket.SOCK_RAW, socket.IPPROTO_ICMP) as line:
        line.connect((server, 0))
        mark, moments, sent, trips = os.getpid() & 0xFFFF, [], [], {}  # type: ignore[var-annotated]

        def listen() -> None:
            while True:
                with contextlib.suppress(OSError):
                    data, when = receive(line)
                    head = data[(data[0] & 15) * 4 :]
                    kind, _, _, whose, number = struct.unpack("!BBHHH", head[:8])
                    if kind == ECHO_REPLY and whose == mark:
                        trips[number] = when - sent[number]

        threading.Thread(target=listen, daemon=True).start()
        wait_until(begin)
        while (now := time.monotonic()) < end:
            number = len(sent)
            body = struct.pack("!HH", mark, number) + bytes(48)
            packet = struct.pack("!BBH", ECHO_REQUEST, 0, checksum(struct.pack("!BBH", 8, 0, 0) + body)) + body
            moments.append(now)
            sent.append(time.time())
            with contextlib.suppress(OSError):
                line.send(packet)
            wait_until(begin + (number + 1) * PING_EVERY)
        time.sleep(PATIENCE)
        return {"pings": [[moment, trips.get(number)] for number, moment in enumerate(moments)]}


def connect(server: str, what: bytes) -> socket.socket:
    """A connection that is reset at its end: what waits in a buffer would go on for seconds."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    made.connect((server, PORT))
    made.sendall(what)
    made.settimeout(0.1)
    return made


def upload(server: str, begin: float, end: float) -> dict[str, object]:
    """As much as goes over one plain connection; how much that is, the server's interface tells."""
    wait_until(begin)
    with connect(server, b"U") as line:
        while time.monotonic() < end:
            with contextlib.suppress(TimeoutError):
                line.send(BLOCK)
    return {}


def download(server: str, begin: float, end: float) -> dict[str, object]:
    """As much as comes over one plain connection: {"bytes": ...}."""
    wait_until(begin)
    count = 0
    with connect(server, b"D") as line:
        while time.monotonic() < end:
            with contextlib.suppress(TimeoutError):
                count += len(line.recv(1 << 18))
    return {"bytes": count}


def call(server: str, begin: float, end: float, rate: str) -> dict[str, object]:
    """One way of a call of so many bits per second: {"sent": packets}; what came of them, `answer` tells."""
    every, number = CALL_PACKET_BITS / float(rate), 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.connect((server, PORT))
        wait_until(begin)
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                line.send(struct.pack("!d", time.time()) + bytes(CALL_PACKET - 8))
            number += 1
            wait_until(begin + number * every)
    return {"sent": number}


# -- on the server -----------------------------------------------------------------------------------------------


def answer() -> dict[str, object]:
    """Swallows uploads, feeds downloads, listens to calls: {"call": [delay one way of each packet that came]}."""
    heard: list[float] = []
    calls = with_kernel_time(socket.SOCK_DGRAM)
    calls.bind(("0.0.0.0", PORT))
    listener = socket.create_server(("0.0.0.0", PORT))

    def listen() -> None:
        while True:
            data, when = receive(calls)
            heard.append(when - struct.unpack("!d", data[:8])[0])

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            if connection.recv(1) == b"D":
                while True:
                    connection.sendall(BLOCK)
            buffer = bytearray(1 << 18)
            while connection.recv_into(buffer):
                pass

    def accept() -> None:
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    for work in (listen, accept):
        threading.Thread(target=work, daemon=True).start()
    signal.sigwait({signal.SIGTERM})
    return {"call": heard}


async def front(port: int, certificate: str, key: str) -> dict[str, object]:
    """Carries what comes on TLS_PORT to a port of this host's loopback, without the TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while block := await reader.read(1 << 16):
                writer.write(block)
                await writer.drain()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", port)
        both = ((reader, behind_writer), (behind_reader, writer))
        ways = [asyncio.ensure_future(carry(*ends)) for ends in both]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        for one in (behind_writer, writer):
            one.close()

    end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)
    async with await asyncio.start_server(serve, "0.0.0.0", TLS_PORT, ssl=context):
        print(flush=True)  # it is there
        await end.wait()
    return {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=["ping", "upload", "download", "call", "answer", "front"])
    parser.add_argument("words", nargs="*")
    parser.add_argument("--at", type=float, default=0.0)
    parser.add_argument("--seconds", type=float, default=0.0)
    known = parser.parse_args()
    begin = known.at or time.monotonic()
    told: dict[str, Any]
    if known.role == "front":
        told = asyncio.run(front(int(known.words[0]), *known.words[1:]))
    elif known.role == "answer":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        told = answer()
    else:
        roles: dict[str, Any] = {"ping": ping, "upload": upload, "download": download, "call": call}
        told = roles[known.role](known.words[0], begin, begin + known.seconds, *known.words[1:])
    json.dump(told, sys.stdout)
    sys.stdout.flush()
    os._exit(0)  # whatever threads still wait


if __name__ == "__main__":
    main()
