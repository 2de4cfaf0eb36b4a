"""contrib/swift is a real Swift: what a test relies on must hold, or every test above it proves nothing."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest
import swiftclient

if TYPE_CHECKING:
    from realparts.swift_server import SwiftServer


def test_keeps_objects_over_a_restart(start_swift):
    server: SwiftServer = start_swift()
    server.put("kept", "a/b", b"hello")
    address = server.auth_url
    server.stop()
    server.start()
    assert server.auth_url == address
    assert server.read("kept", "a/b") == b"hello"


def test_announces_the_middleware_that_slowboat_uses(swift):
    with swift.connection() as connection:
        info = connection.get_capabilities()
    assert {"slo", "bulk_delete", "container_quotas", "tempauth"} <= info.keys()


def test_copying_a_large_object_makes_a_plain_one(swift):
    container, part = swift.container(), b"x" * 1000
    swift.put(container, "part", part)
    manifest = json.dumps([{"path": f"/{container}/part"}] * 2)
    swift.put(container, "whole.slo", manifest.encode(), query_string="multipart-manifest=put")
    with swift.connection() as connection:
        connection.copy_object(container, "whole.slo", f"/{container}/whole")
    assert swift.listing(container)["whole"] == (2000, hashlib.md5(part * 2).hexdigest())
    assert "x-static-large-object" not in swift.head(container, "whole")


def test_refuses_a_body_with_another_md5(swift):
    with pytest.raises(swiftclient.ClientException) as refusal:
        swift.put(swift.container(), "o", b"data", etag="0" * 32)
    assert refusal.value.http_status == 422


def test_refuses_what_is_larger_than_told(start_swift):
    server = start_swift(max_file_size=100)
    server.put("c", "o", b"x" * 100)
    with pytest.raises(swiftclient.ClientException) as refusal:
        server.put("c", "o", b"x" * 101)
    assert refusal.value.http_status == 413


def test_does_without_large_objects_where_told(start_swift):
    server = start_swift(without="slo")
    with server.connection() as connection:
        assert "slo" not in connection.get_capabilities()
    listed = json.dumps([{"path": "/c/part"}]).encode()
    server.put("c", "whole", listed, query_string="multipart-manifest=put")
    assert server.read("c", "whole") == listed, "a plain Swift knows no manifest, and stores it like any bytes"


def test_does_without_copies_where_told(start_swift):
    server = start_swift(without=["copy"])
    server.put("c", "source", b"data")
    server.put("c", "copy", b"", headers={"X-Copy-From": "/c/source"})
    assert server.read("c", "copy") == b"", "what knows no copies takes it for an object without bytes"
