"""Each request to Swift, once: what is sent, what counts as success, what is read from the answer.

Knows python-swiftclient's module functions (which repeat nothing by themselves) and Swift's headers; must not
know threads, pauses, or what a volume is. Everything here runs in a worker thread, over that worker's wire.
https://docs.openstack.org/api-ref/object-store/
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlsplit

import swiftclient.client as swift
from swiftclient.exceptions import ClientException
from urllib3.exceptions import HTTPError

from slowboat.core.errors import SlowboatError, Transient
from slowboat.core.words import Limits, RemoteObject
from slowboat.edges.swift import statuses
from slowboat.edges.swift.throttle import BodyBroken

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from slowboat.edges.swift.auth import Access
    from slowboat.edges.swift.throttle import Body
    from slowboat.edges.swift.wire import Wire

T = TypeVar("T")

_COPY_SECONDS = 900.0
"""For the server to copy 5 GiB to itself at 6 MB/s, with nothing on the line meanwhile."""

_BULK = 1000
"""Names per bulk delete, a tenth of Swift's own limit: the answer must come within the read timeout.
https://docs.openstack.org/swift/latest/middleware.html#module-swift.common.middleware.bulk"""

_SILENT_INFO = frozenset({401, 403, 404, 405, 501})
"""Answers of a server that does not tell its limits."""

UNTOLD_LIMITS = Limits(min_segment=1048576, bulk_delete=False)
"""Where /info says nothing: OpenStack's defaults, and 1 MiB, the least size of segments before Swift 2.3.
https://github.com/openstack/swift/blob/master/CHANGELOG"""


@dataclass(frozen=True, slots=True)
class StoreCalls:
    """A wire and the right to use it, and what can be asked over it."""

    wire: Wire
    access: Access

    def asked(self, verb: statuses.Verb, what: str) -> statuses.Asked:
        """The words for an error about `what`."""
        return statuses.Asked(verb, what, self.access.host)

    def address(self, read_seconds: float | None = None) -> dict[str, Any]:
        """Where to and by what right, as swiftclient's functions name it."""
        parts, connection = self.wire.http_conn(self.access.storage_url, read_seconds)
        return {"url": self.access.storage_url, "token": self.access.token, "http_conn": (parts, connection)}

    def ask(self, asked: statuses.Asked, call: Callable[[], T], absent: frozenset[int] = frozenset()) -> T | None:
        """Makes a call; None where the answer was one of `absent`. All that can go wrong becomes one of our errors."""
        problem: SlowboatError
        cause: Exception | None = None
        try:
            result = call()
        except ClientException as refusal:
            problem = self._refusal(asked, refusal)
            if refusal.http_status in absent and not self._is_portal():
                return None
        except BodyBroken as broken:
            problem = Transient("")
            cause = broken.cause
        except (OSError, HTTPError, ValueError) as failed:  # requests' exceptions are OSErrors
            portal = isinstance(failed, ValueError) and not isinstance(failed, OSError)
            problem = statuses.error(statuses.PORTAL, asked) if portal else statuses.failure(asked, failed)
        else:
            if not self._is_portal():
                return result
            problem = statuses.error(statuses.PORTAL, asked)
        # Outside of the handlers: what the libraries raised holds the request, and that the token.
        raise cause or problem

    def _is_portal(self) -> bool:
        status, headers = self.wire.last
        return statuses.is_portal(status, headers)

    def _refusal(self, asked: statuses.Asked, refusal: ClientException) -> SlowboatError:
        status, headers = self.wire.last
        if not refusal.http_status:
            return statuses.failure(asked, refusal)
        body = refusal.http_response_content or b""
        text = body.encode() if isinstance(body, str) else body
        return statuses.verdict(asked, status, headers, text[:4096], time.time())

    def info(self) -> Limits:
        """The server's limits, from its /info.

        https://docs.openstack.org/swift/latest/api/discoverability.html
        """
        parts = urlsplit(self.access.storage_url)
        root = re.split(r"/v\d+(?:\.\d+)?(?:/|$)", parts.path)[0]
        _, connection = self.wire.http_conn(self.access.storage_url)
        where = parts._replace(path=f"{root}/info")
        found = self.ask(
            self.asked("INFO", "its limits"), lambda: swift.get_capabilities((where, connection)), _SILENT_INFO
        )
        return UNTOLD_LIMITS if found is None else _limits(found)

    def stand(self, container: str) -> None:
        """Makes sure that `container` is there, and that the connection works before a body is trusted to it."""
        found = self.ask(
            self.asked("CONTAINER", f"the container {container}"),
            lambda: swift.head_container(container=container, **self.address()),
            frozenset({404}),
        )
        if found is None:
            self.ask(
                self.asked("CONTAINER", f"the container {container}"),
                lambda: swift.put_container(container=container, **self.address()),
            )

    def page(self, container: str, prefix: str, marker: str, limit: int) -> Sequence[RemoteObject] | None:
        """One page of a listing, after `marker`; None where there is no such container."""
        return self.ask(
            self.asked("LIST", f"the list of {container}"),
            lambda: self._page(container, prefix, marker, limit),
            frozenset({404}),
        )

    def _page(self, container: str, prefix: str, marker: str, limit: int) -> Sequence[RemoteObject]:
        _, rows = swift.get_container(container=container, prefix=prefix, marker=marker, limit=limit, **self.address())
        if not isinstance(rows, list):
            raise ValueError("a listing is a list")  # noqa: TRY004 - whatever the server sent, it is not Swift's
        try:
            return [_listed(row) for row in rows if "name" in row]
        except (KeyError, TypeError) as problem:
            raise ValueError("a row of a listing lacks a field") from problem

    def head(self, container: str, name: str) -> RemoteObject | None:
        """One object; None where the server says that it is not there."""
        return self.ask(
            self.asked("HEAD", name),
            lambda: _headed(name, swift.head_object(container=container, name=name, **self.address())),
            frozenset({404}),
        )

    def put(
        self,
        asked: statuses.Asked,
        container: str,
        name: str,
        body: Body,
        size: int,
        *,
        etag: str = "",
        headers: Mapping[str, str] | None = None,
        query: str = "",
    ) -> RemoteObject:
        """Sends a body; returns what the server says it stored. Nothing but 201 with an ETag is success."""
        answer: dict[str, Any] = {}
        self.ask(
            asked,
            lambda: swift.put_object(
                container=container,
                name=name,
                contents=body,
                content_length=size,
                etag=etag or None,
                content_type="application/octet-stream",
                headers=dict(headers or {}),
                query_string=query or None,
                response_dict=answer,
                **self.address(),
            ),
        )
        if not body.complete:
            raise statuses.error(statuses.NOT_WHOLE, asked)
        return RemoteObject(name, size, _stored(asked, answer), modified=_modified(answer["headers"]))

    def copy(self, source: tuple[str, str], target: tuple[str, str], *, etag: str, headers: Mapping[str, str]) -> str:
        """Lets the server copy one object to another, both (container, name); returns the ETag of the copy."""
        asked = self.asked("COPY", target[1])
        answer: dict[str, Any] = {}
        wanted = {
            "X-Copy-From": quote("/" + "/".join(source)),
            "X-Fresh-Metadata": "true",
            "Content-Type": "application/octet-stream",
            **headers,
        }
        self.ask(
            asked,
            lambda: swift.put_object(
                container=target[0],
                name=target[1],
                contents=None,
                content_length=0,
                etag=etag,
                headers=wanted,
                response_dict=answer,
                **self.address(_COPY_SECONDS),
            ),
        )
        return _stored(asked, answer)

    def expire(self, container: str, name: str, seconds: int) -> None:
        """Lets an object expire `seconds` from now; 0: never."""
        headers = {"X-Delete-After": str(seconds)} if seconds else {"X-Remove-Delete-At": "1"}
        self.ask(
            self.asked("POST", name),
            lambda: swift.post_object(container=container, name=name, headers=headers, **self.address()),
        )

    def delete(self, container: str, name: str) -> None:
        """Deletes one object; it is fine where it is gone already."""
        self.ask(
            self.asked("DELETE", name),
            lambda: swift.delete_object(container=container, name=name, **self.address()),
            frozenset({404}),
        )

    def delete_many(self, container: str, names: Sequence[str]) -> None:
        """Deletes objects by bulk requests; those that are gone already are fine."""
        for start in range(0, len(names), _BULK):
            self._bulk_delete(container, names[start : start + _BULK])

    def _bulk_delete(self, container: str, names: Sequence[str]) -> None:
        asked = self.asked("DELETE", f"{len(names)} segments")
        lines = "".join(f"{quote(f'/{container}/{name}')}\n" for name in names)
        headers = {"Content-Type": "text/plain", "Accept": "application/json"}

        def call() -> Any:  # noqa: ANN401 - JSON
            _, text = swift.post_account(
                headers=headers, query_string="bulk-delete", data=lines.encode(), **self.address()
            )
            return _report(text)

        report = self.ask(asked, call) or {}
        # The answer is a 200 whatever happened; the truth stands in its text.
        status = int(report["Response Status"][:3])
        bad = [int(each[1][:3]) for each in report["Errors"] if not each[1].startswith("404")]
        if bad or status >= 400:
            raise statuses.verdict(asked, bad[0] if bad else status, {"x-trans-id": ""}, b"", time.time())


def _limits(found: Mapping[str, Mapping[str, int]]) -> Limits:
    usual = Limits()
    core, slo = found.get("swift", {}), found.get("slo", {})
    return Limits(
        max_object=int(core.get("max_file_size", usual.max_object)),
        max_segments=int(slo.get("max_manifest_segments", usual.max_segments)),
        min_segment=int(slo.get("min_segment_size", usual.min_segment)),
        slo="slo" in found,
        bulk_delete="bulk_delete" in found,
        listing=int(core.get("container_listing_limit", usual.listing)),
        max_name=int(core.get("max_object_name_length", usual.max_name)),
    )


def _listed(row: Mapping[str, Any]) -> RemoteObject:
    modified = datetime.fromisoformat(row["last_modified"]).replace(tzinfo=UTC).timestamp()
    etag = row.get("slo_etag") or row["hash"]
    return RemoteObject(row["name"], int(row["bytes"]), etag.strip('"'), slo="slo_etag" in row, modified=modified)


def _headed(name: str, headers: Mapping[str, str]) -> RemoteObject:
    if "etag" not in headers or "content-length" not in headers:
        raise ValueError("an object has an ETag and a length")
    expires = headers.get("x-delete-at")
    return RemoteObject(
        name,
        int(headers["content-length"]),
        headers["etag"].strip('"'),
        slo=headers.get("x-static-large-object", "").lower() in {"true", "1"},
        modified=_modified(headers),
        expires=float(expires) if expires else None,
    )


def _modified(headers: Mapping[str, str]) -> float:
    if "x-timestamp" in headers:
        return float(headers["x-timestamp"])
    if "last-modified" in headers:
        return parsedate_to_datetime(headers["last-modified"]).timestamp()
    return 0.0


def _stored(asked: statuses.Asked, answer: Mapping[str, Any]) -> str:
    """The ETag of a 201."""
    headers: Mapping[str, str] = answer["headers"]
    if answer["status"] != 201:
        raise statuses.verdict(asked, answer["status"], headers, b"", time.time())
    etag = headers.get("etag", "").strip('"')
    if not etag:
        raise statuses.error(statuses.CUT_SHORT, asked)
    return etag


def _report(text: bytes) -> dict[str, Any]:
    report = json.loads(text)
    if not isinstance(report, dict) or not {"Response Status", "Errors"} <= report.keys():
        raise ValueError("a bulk delete is answered by a report")
    return report
