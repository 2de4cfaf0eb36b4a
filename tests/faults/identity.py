"""What identity services of version 2.0 answer, canned: nobody runs one where a test could reach it.

Rackspace's has the form of https://docs.rackspace.com/reference/annotated-authentication-request-and-response, that of
Keystone in its old days of
https://docs.huihoo.com/openstack/archive/api/openstack-identity-service/2.0/content/POST_authenticate_v2.0_tokens_.html;
the token and the storage's address are those of a real Swift.
"""

from __future__ import annotations

import datetime as dt
import json
from email.utils import format_datetime
from typing import TYPE_CHECKING

from faults.proxy import Answer

if TYPE_CHECKING:
    from realparts.swift_server import SwiftServer

HOME = "DFW"
NOBODY = "http://127.0.0.1:1/v1/MossoCloudFS_aaaa"


def rackspace_answer(server: SwiftServer, *, home: str = HOME, hours: float = 24, clock: float = 0) -> Answer:
    """What Rackspace says: no `issued_at`, and a token that may be hours old.

    Args:
        home: the account's default region, "" for none.
        hours: of the token's life that are left.
        clock: hours by which the server's clock is ahead.
    """
    with server.connection() as connection:
        storage_url, token = connection.get_auth()
    now = dt.datetime.now(dt.UTC) + dt.timedelta(hours=clock)
    stores = [
        {"region": "ORD", "tenantId": "MossoCloudFS_aaaa", "publicURL": NOBODY, "internalURL": NOBODY},
        {"region": HOME, "tenantId": "MossoCloudFS_aaaa", "publicURL": storage_url, "internalURL": NOBODY},
    ]
    cdn = [{"region": HOME, "tenantId": "MossoCloudFS_aaaa", "publicURL": "https://cdn1.clouddrive.com/v1/aaaa"}]
    body = {
        "access": {
            "token": {
                "id": token,
                "expires": (now + dt.timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
                "tenant": {"id": "123456", "name": "123456"},
                "RAX-AUTH:authenticatedBy": ["APIKEY"],
            },
            "serviceCatalog": [
                {"name": "cloudFilesCDN", "type": "rax:object-cdn", "endpoints": cdn},
                {"name": "cloudFiles", "type": "object-store", "endpoints": stores},
                {"name": "cloudBackup", "type": "rax:backup", "endpoints": [{"tenantId": "1", "publicURL": NOBODY}]},
            ],
            "user": {
                "id": "172157",
                "name": "yourUserName",
                "RAX-AUTH:defaultRegion": home,
                "roles": [{"id": "5", "name": "object-store:default", "tenantId": "MossoCloudFS_aaaa"}],
            },
        }
    }
    headers = {"Content-Type": "application/json", "Date": format_datetime(now, usegmt=True)}
    return Answer(200, headers, json.dumps(body).encode())


def keystone_answer(server: SwiftServer, *, stores: bool = True) -> Answer:
    """What Keystone's v2.0 says; without a tenant there is nothing in the catalogue."""
    with server.connection() as connection:
        storage_url, token = connection.get_auth()
    now = dt.datetime.now(dt.UTC)
    endpoint = {
        "id": "2dad48f09e2a447a9bf852bcd93543fc",
        "region": "RegionOne",
        "publicURL": storage_url,
        "internalURL": NOBODY,
        "adminURL": "http://127.0.0.1:1",
    }
    body = {
        "access": {
            "token": {
                "id": token,
                "issued_at": now.strftime("%Y-%m-%dT%H:%M:%S.%f"),
                "expires": (now + dt.timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "tenant": {"id": "fc394f2a", "name": "customer-x", "enabled": True, "description": None},
            },
            "serviceCatalog": [
                {"name": "swift", "type": "object-store", "endpoints": [endpoint], "endpoints_links": []}
            ]
            * stores,
            "user": {"id": "u1", "name": "joe", "username": "joe", "roles": [{"name": "member"}], "roles_links": []},
            "metadata": {"is_admin": 0, "roles": ["9fe2ff9ee4384b1894a90878d3e92bab"]},
        }
    }
    return Answer(200, {"Content-Type": "application/json", "Vary": "X-Auth-Token"}, json.dumps(body).encode())
