"""Each request to Swift, once: what is sent, what counts as success, what is read from the answer.

Knows python-swiftclient's module functions (which repeat nothing by themselves) and Swift's headers; must not
know threads, pauses, or what a volume is. Everything here runs in a worker thread, over that worker's wire.
https://docs.openstack.org/api-ref/object-store/
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import swiftclient.client as swift
from swiftclient.exceptions import ClientException
from urllib3.exceptions import HTTPError

from slowboat.core.errors import SlowboatError, Transient
from slowboat.core.words import RemoteObject
from slowboat.edges.swift import answers, statuses
from slowboat.edges.swift.throttle import BodyBroken

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from slowboat.core.words import Limits, Room
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

_CLOSED_ACCOUNT = frozenset({401, 403, 404, 405, 501})
"""Answers to who may use a container, but not ask about its account."""

_PAGE: Final = 2000
"""Rows of a page at most: with the longest names, escaped, they stay below the bound of an answer."""


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
        """Makes a call and reads its answer; None where that was one of `absent`.

        This is the one net: all that can go wrong with what a server says becomes one of our errors here.
        """
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
        except SlowboatError as ours:
            problem = statuses.error(statuses.PORTAL, asked) if self._is_portal() else ours
        else:
            if not self._is_portal():
                return result
            problem = statuses.error(statuses.PORTAL, asked)
        # Outside of the handlers: what the libraries raised holds the request, and that the token.
        raise cause or problem

    def _answered(self, asked: statuses.Asked, call: Callable[[], T]) -> T:
        """As `ask`, where no answer stands for "not there"."""
        result = self.ask(asked, call)
        assert result is not None
        return result

    def _is_portal(self) -> bool:
        status, headers = self.wire.last
        return statuses.is_portal(status, headers)

    def _refusal(self, asked: statuses.Asked, refusal: ClientException) -> SlowboatError:
        status, headers = self.wire.last
        if not refusal.http_status:
            return statuses.failure(asked, refusal)
        body = refusal.http_response_content or b""
        text = body.encode() if isinstance(body, str) else body
        without_token = text.replace(self.access.token.encode(), b"...")  # some show the request that they refuse
        return statuses.verdict(asked, status, headers, without_token, time.time())

    def info(self) -> answers.InfoLimits:
        """The server's limits, from its /info, and how far to believe them.

        https://docs.openstack.org/swift/latest/api/discoverability.html
        """
        asked = self.asked("INFO", "its limits")
        found = self.ask(asked, lambda: answers.limits(self._get(self._info_address())), _SILENT_INFO)
        return found or answers.InfoLimits(answers.DEFAULT_LIMITS, sure=False)

    def _info_address(self) -> str:
        parts = urlsplit(self.access.storage_url)
        root = re.split(r"/v\d+(?:\.\d+)?(?:/|$)", parts.path)[0]
        return f"{root}/info"

    def _get(self, path: str, headers: Mapping[str, str] | None = None) -> bytes:
        """The body of an answer to a GET as it came: swiftclient would believe its every word. 204: an empty list."""
        _, connection = self.wire.http_conn(self.access.storage_url)
        connection.request("GET", path, "", dict(headers or {}))
        answer = connection.getresponse()
        body: bytes = answer.read()
        if not 200 <= answer.status < 300:
            raise ClientException.from_response(answer, "GET failed", body)
        return body if answer.status != 204 else b"[]"

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

    def room(self, container: str) -> Room:
        """How a container stands and what its quota and the account's leave; makes nothing.

        Who may not ask about the account hears nothing of its quota.
        """
        account = self.ask(
            self.asked("CONTAINER", "the account"), lambda: swift.head_account(**self.address()), _CLOSED_ACCOUNT
        )
        found = self.ask(
            self.asked("CONTAINER", f"the container {container}"),
            lambda: swift.head_container(container=container, **self.address()),
            frozenset({404}),
        )
        return answers.room(found, account or {})

    def page(self, container: str, prefix: str, marker: str, limits: Limits) -> Sequence[RemoteObject] | None:
        """One page of a listing, after `marker`; None where there is no such container."""
        wanted = {"format": "json", "marker": marker, "limit": min(limits.listing, _PAGE), "prefix": prefix}
        query = urlencode({name: value for name, value in wanted.items() if value}, quote_via=quote)
        where = f"{urlsplit(self.access.storage_url).path}/{quote(container)}?{query}"
        return self.ask(
            self.asked("LIST", f"the listing of {container}"),
            lambda: answers.page(
                self._get(where, {"X-Auth-Token": self.access.token}), prefix=prefix, max_name=limits.max_name
            ),
            frozenset({404}),
        )

    def head(self, container: str, name: str) -> RemoteObject | None:
        """One object; None where the server says that it is not there."""
        return self.ask(
            self.asked("HEAD", name),
            lambda: answers.headed(name, swift.head_object(container=container, name=name, **self.address())),
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

        def call() -> RemoteObject:
            swift.put_object(
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
            )
            if not body.complete:
                raise statuses.error(statuses.NOT_WHOLE, asked)
            return RemoteObject(name, size, _stored(asked, answer), modified=answers.modified(answer["headers"]))

        return self._answered(asked, call)

    def copy(self, source: tuple[str, str], target: tuple[str, str], *, etag: str) -> str:
        """Lets the server copy one object to another, both (container, name); returns the ETag of the copy."""
        asked = self.asked("COPY", target[1])
        answer: dict[str, Any] = {}
        wanted = {
            "X-Copy-From": quote("/" + "/".join(source)),
            "X-Fresh-Metadata": "true",
            "Content-Type": "application/octet-stream",
        }

        def call() -> str:
            swift.put_object(
                container=target[0],
                name=target[1],
                contents=None,
                content_length=0,
                etag=etag,
                headers=wanted,
                response_dict=answer,
                **self.address(_COPY_SECONDS),
            )
            return _stored(asked, answer)

        return self._answered(asked, call)

    def expire(self, container: str, name: str, seconds: int) -> None:
        """Lets an object expire `seconds` from now, which are more than 0.

        An expiry is never taken back: at Ceph's gateway `X-Remove-Delete-At` lets its expirer delete the object.
        """
        headers = {"X-Delete-After": str(seconds)}
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

        def call() -> Sequence[int]:
            _, text = swift.post_account(
                headers=headers, query_string="bulk-delete", data=lines.encode(), **self.address()
            )
            return answers.failures(text)

        # The answer is a 200 whatever happened; the truth stands in its text.
        if bad := self.ask(asked, call):
            raise statuses.verdict(asked, bad[0], {"x-trans-id": ""}, b"", time.time())


def _stored(asked: statuses.Asked, answer: Mapping[str, Any]) -> str:
    """The ETag of a 201."""
    headers: Mapping[str, str] = answer["headers"]
    if answer["status"] != 201:
        raise statuses.verdict(asked, answer["status"], headers, b"", time.time())
    if not headers.get("etag", "").strip('" '):
        raise statuses.error(statuses.CUT_SHORT, asked)
    return answers.etag(headers["etag"])
