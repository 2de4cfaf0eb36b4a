"""A bare sink that answers as Swift: it hashes what comes and throws it away, so that a client is measured alone.

`python sink.py [--tls CERTIFICATE KEY] [--holds FOLDER CONTAINER]` prints "READY <auth URL>" and serves until it is
ended. Small bodies are kept (lists of segments, and what a probe stores), so that SLOs and COPYs of them are judged as
Swift does; of the rest size and MD5 alone are kept, and the MD5 of a COPY of such segments is taken from the client's
word. GET /counts tells how many requests of each kind there were, and how many bytes.

It knows Swift's API as far as slowboat, python-swiftclient and rclone use it; it must not know which of them asks.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import json
import os
import socket
import ssl
import threading
import time
from bisect import bisect_right
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

VOLUMES, BEFORE = ".difftar.", "bytes before volumes"
"""What duplicity's volumes have in their names; and what had come when the first of them began."""
KEPT = 65536
"""Bytes of a body that is kept whole."""
ACCOUNT = "/v1/AUTH_test"
INFO = {
    "swift": {"max_file_size": 5368709122, "container_listing_limit": 10000, "max_object_name_length": 1024},
    "slo": {"max_manifest_segments": 1000, "min_segment_size": 1},
    "bulk_delete": {"max_deletes_per_request": 10000},
}


@dataclass(slots=True)
class Stored:
    """An object, or what is left of it."""

    size: int
    md5: str
    at: float
    body: bytes | None = None
    parts: list[str] | None = None

    @property
    def etag(self) -> str:
        return f'"{self.md5}"' if self.parts is not None else self.md5


class Container:
    """Objects by name; their order is made when somebody lists them."""

    def __init__(self) -> None:
        self.objects: dict[str, Stored] = {}
        self._names: list[str] | None = None

    def put(self, name: str, stored: Stored) -> None:
        if name not in self.objects:
            self._names = None
        self.objects[name] = stored

    def delete(self, name: str) -> bool:
        self._names = None
        return self.objects.pop(name, None) is not None

    def page(self, prefix: str, marker: str, limit: int) -> list[str]:
        if self._names is None:
            self._names = sorted(self.objects)
        begin = bisect_right(self._names, marker) if marker else 0
        found = []
        for name in self._names[begin:]:
            if name.startswith(prefix):
                found.append(name)
                if len(found) == limit:
                    break
        return found


@dataclass
class Sink:
    """What all connections share."""

    containers: dict[str, Container] = field(default_factory=dict)
    counts: collections.Counter[str] = field(default_factory=collections.Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def hold(self, folder: Path, container: str) -> None:
        """As if every file of that folder stood there already."""
        there = self.containers.setdefault(container, Container())
        for file in folder.iterdir():
            with file.open("rb") as opened:
                md5 = hashlib.file_digest(opened, "md5").hexdigest()
            there.put(file.name, Stored(file.stat().st_size, md5, time.time()))


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]

    @property
    def container(self) -> str:
        return self.path.removeprefix(ACCOUNT).strip("/").partition("/")[0]

    @property
    def name(self) -> str:
        return self.path.removeprefix(ACCOUNT).strip("/").partition("/")[2]


Answer = tuple[str, dict[str, str], bytes]


class Connection:
    """One client's requests, one after the other."""

    def __init__(self, sink: Sink, sock: socket.socket, auth: str) -> None:
        self.sink = sink
        self.sock = sock
        self.auth = auth
        self.buffer = bytearray()
        self.room = memoryview(bytearray(1 << 18))

    def serve(self) -> None:
        while (request := self._request()) is not None:
            if request.method == "PUT" and VOLUMES in request.path:
                self.sink.counts.setdefault(BEFORE, self.sink.counts["bytes"])
            body = self._body(request)
            status, headers, text = self._answer(request, *body)
            self.sink.counts[self._kind(request)] += 1
            self._reply(request, status, headers, text)

    def _kind(self, request: Request) -> str:
        if request.path.startswith(ACCOUNT):
            level = "object" if request.name else "container" if request.container else "account"
            return f"{request.method} {level}"
        return f"{request.method} {request.path}"

    # -- reading -------------------------------------------------------------------------------------------------

    def _request(self) -> Request | None:
        while b"\r\n\r\n" not in self.buffer:
            more = self.sock.recv(65536)
            if not more:
                return None
            self.buffer += more
        head, _, rest = bytes(self.buffer).partition(b"\r\n\r\n")
        self.buffer = bytearray(rest)
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ", 2)
        pairs = (line.partition(":") for line in lines)
        url = urlsplit(target)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        return Request(method, unquote(url.path), parse_qs(url.query, keep_blank_values=True), headers)

    def _body(self, request: Request) -> tuple[int, str, bytes | None]:
        """Its size, its MD5, and itself where it is small."""
        if request.headers.get("expect", "").lower() == "100-continue":
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        md5, kept, size = hashlib.md5(usedforsecurity=False), bytearray(), 0
        for piece in (
            self._chunks() if "chunked" in request.headers.get("transfer-encoding", "") else self._plain(request)
        ):
            md5.update(piece)
            size += len(piece)
            self.sink.counts["bytes"] += len(piece)
            if size <= KEPT:
                kept += piece
        return size, md5.hexdigest(), bytes(kept) if size <= KEPT else None

    def _plain(self, request: Request) -> Iterator[bytes | memoryview]:
        left = int(request.headers.get("content-length") or 0)
        first = self.buffer[:left]
        del self.buffer[:left]
        left -= len(first)
        if first:
            yield first
        while left:
            got = self.sock.recv_into(self.room, min(left, len(self.room)))
            if not got:
                raise EOFError
            left -= got
            yield self.room[:got]

    def _chunks(self) -> Iterator[bytes]:
        while True:
            while b"\r\n" not in self.buffer:
                self._more()
            line, _, self.buffer = self.buffer.partition(b"\r\n")
            length = int(line.split(b";")[0], 16)
            while len(self.buffer) < length + 2:
                self._more()
            piece = bytes(self.buffer[:length])
            del self.buffer[: length + 2]
            if not length:
                return
            yield piece

    def _more(self) -> None:
        got = self.sock.recv_into(self.room)
        if not got:
            raise EOFError
        self.buffer += self.room[:got]

    # -- answering -----------------------------------------------------------------------------------------------

    def _answer(self, request: Request, size: int, md5: str, body: bytes | None) -> Answer:
        if request.path == "/info":
            return "200 OK", {"Content-Type": "application/json"}, json.dumps(INFO).encode()
        if request.path == "/counts":
            return "200 OK", {"Content-Type": "application/json"}, json.dumps(dict(self.sink.counts)).encode()
        if request.path.startswith("/auth"):
            url = self.auth.removesuffix("/auth/v1.0") + ACCOUNT
            return "200 OK", {"X-Auth-Token": "T", "X-Storage-Token": "T", "X-Storage-Url": url}, b""
        if request.name:
            return self._of_object(request, size, md5, body)
        if request.container:
            return self._of_container(request)
        if request.method == "POST" and "bulk-delete" in request.query:
            return self._bulk_delete(body or b"")
        return "204 No Content", {"X-Account-Container-Count": "0"}, b""

    def _of_container(self, request: Request) -> Answer:
        containers, name = self.sink.containers, request.container
        if request.method == "PUT":
            containers.setdefault(name, Container())
            return "201 Created", {}, b""
        if name not in containers:
            return "404 Not Found", {}, b""
        there = containers[name]
        if request.method == "GET":
            return self._listing(there, request.query)
        return (
            "204 No Content",
            {"X-Container-Object-Count": str(len(there.objects)), "X-Container-Bytes-Used": "0"},
            b"",
        )

    def _listing(self, there: Container, query: dict[str, list[str]]) -> Answer:
        with self.sink.lock:
            wanted = (query.get("prefix", [""])[0], query.get("marker", [""])[0], int(query.get("limit", ["10000"])[0]))
            rows = [(name, there.objects[name]) for name in there.page(*wanted)]
        if "format" not in query:
            return "200 OK", {"Content-Type": "text/plain"}, "".join(f"{name}\n" for name, _ in rows).encode()
        shown = [
            {
                "name": name,
                "bytes": one.size,
                "hash": one.md5,
                "content_type": "application/octet-stream",
                "last_modified": time.strftime("%Y-%m-%dT%H:%M:%S.000000", time.gmtime(one.at)),
                **({"slo_etag": one.etag} if one.parts is not None else {}),
            }
            for name, one in rows
        ]
        return "200 OK", {"Content-Type": "application/json; charset=utf-8"}, json.dumps(shown).encode()

    def _of_object(self, request: Request, size: int, md5: str, body: bytes | None) -> Answer:
        there = self.sink.containers.get(request.container)
        if there is None:
            return "404 Not Found", {}, b""
        if request.method == "PUT":
            return self._put(there, request, size, md5, body)
        stands = there.objects.get(request.name)
        if stands is None:
            return "404 Not Found", {}, b""
        if request.method == "DELETE":
            there.delete(request.name)
            return "204 No Content", {}, b""
        if request.method == "POST":
            return "202 Accepted", {}, b""
        headers = {
            "Content-Length": str(stands.size),
            "Etag": stands.etag,
            "X-Timestamp": f"{stands.at:.5f}",
            "Last-Modified": time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(stands.at)),
            **({"X-Static-Large-Object": "True"} if stands.parts is not None else {}),
        }
        return "200 OK", headers, stands.body or b""

    def _put(self, there: Container, request: Request, size: int, md5: str, body: bytes | None) -> Answer:
        if request.headers.get("if-none-match") == "*" and request.name in there.objects:
            return "412 Precondition Failed", {}, b""
        now, wanted = time.time(), request.headers.get("etag", "").strip('"')
        if "x-copy-from" in request.headers:
            made = self._copied(request, wanted, now)
        elif request.query.get("multipart-manifest") == ["put"]:
            made = self._slo(json.loads(body or b"[]"), now)
        else:
            made = Stored(size, md5, now, body)
        if made is None:
            return "404 Not Found", {}, b""
        if wanted and wanted != made.md5:
            return "422 Unprocessable Entity", {}, b""
        with self.sink.lock:
            there.put(request.name, made)
        stamp = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(now))
        return "201 Created", {"Etag": made.etag, "Last-Modified": stamp}, b""

    def _slo(self, rows: list[dict[str, object]], now: float) -> Stored:
        md5 = hashlib.md5("".join(str(row["etag"]) for row in rows).encode(), usedforsecurity=False).hexdigest()
        parts = [str(row["path"]) for row in rows]
        return Stored(sum(int(str(row["size_bytes"])) for row in rows), md5, now, None, parts)

    def _copied(self, request: Request, wanted: str, now: float) -> Stored | None:
        source = self._at(unquote(request.headers["x-copy-from"]))
        if source is None:
            return None
        bodies = (
            [source.body]
            if source.parts is None
            else [one.body if (one := self._at(p)) else None for p in source.parts]
        )
        if all(body is not None for body in bodies):
            whole = b"".join(body for body in bodies if body is not None)
            return Stored(len(whole), hashlib.md5(whole, usedforsecurity=False).hexdigest(), now, whole)
        return Stored(source.size, wanted or source.md5, now)

    def _at(self, path: str) -> Stored | None:
        container, _, name = path.strip("/").partition("/")
        there = self.sink.containers.get(container)
        return there.objects.get(name) if there else None

    def _bulk_delete(self, body: bytes) -> Answer:
        gone = 0
        for line in body.decode().splitlines():
            container, _, name = unquote(line).strip("/").partition("/")
            there = self.sink.containers.get(container)
            with self.sink.lock:
                gone += there is not None and there.delete(name)
        told = {
            "Response Status": "200 OK",
            "Response Body": "",
            "Number Deleted": gone,
            "Number Not Found": 0,
            "Errors": [],
        }
        return "200 OK", {"Content-Type": "application/json"}, json.dumps(told).encode()

    def _reply(self, request: Request, status: str, headers: dict[str, str], text: bytes) -> None:
        rows = {"Content-Length": str(len(text)), "X-Trans-Id": "tx0", **headers}
        head = f"HTTP/1.1 {status}\r\n" + "".join(f"{name}: {value}\r\n" for name, value in rows.items()) + "\r\n"
        self.sock.sendall(head.encode() + (b"" if request.method == "HEAD" else text))


def serve(sink: Sink, listener: socket.socket, auth: str, tls: ssl.SSLContext | None) -> None:
    def one(sock: socket.socket) -> None:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            Connection(sink, tls.wrap_socket(sock, server_side=True) if tls else sock, auth).serve()
        except (OSError, EOFError):
            pass
        finally:
            sock.close()

    while True:
        threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tls", nargs=2, metavar=("CERTIFICATE", "KEY"))
    parser.add_argument("--holds", nargs=2, metavar=("FOLDER", "CONTAINER"), help="its files stand there already")
    known = parser.parse_args()
    sink, tls = Sink(), None
    if known.tls:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*known.tls)
    if known.holds:
        sink.hold(Path(known.holds[0]), known.holds[1])
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        scheme, port = "https" if tls else "http", listener.getsockname()[1]
        auth = f"{scheme}://127.0.0.1:{port}/auth/v1.0"
        os.write(1, f"READY {auth}\n".encode())
        serve(sink, listener, auth, tls)


if __name__ == "__main__":
    main()
