"""Objects that stay SLOs: over the server's largest object, or where its COPY does not join; duplicity uses them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest
import swiftclient
from test_engine_real import running

from faults.proxy import Answer, FaultProxy, Judged, Request
from realparts.drive import differences, make_chain
from slowboat.core.capabilities import parse
from slowboat.core.words import Activity, HandoverState

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from realparts.drive import Drive
    from realparts.duplicity import Duplicity
    from realparts.swift_server import SwiftServer


def slos(server: SwiftServer, container: str) -> set[str]:
    """The SLOs at the target; none of them, nor of their segments, may ever expire."""
    cloud = swiftclient.Connection(server.auth_url, server.user, server.key)
    found = set()
    for where in (container, f"{container}_segments"):
        for row in cloud.get_container(where, full_listing=True)[1]:
            head = cloud.head_object(where, row["name"])
            assert "x-delete-at" not in head, row["name"]
            if where == container and head.get("x-static-large-object"):
                found.add(row["name"])
    return found


def heads(server: SwiftServer, container: str) -> list[dict[str, str]]:
    """What HEAD says of each object at the target."""
    cloud = swiftclient.Connection(server.auth_url, server.user, server.key)
    return [cloud.head_object(container, row["name"]) for row in cloud.get_container(container, full_listing=True)[1]]


async def moved(chain: Drive, server: SwiftServer | Behind, container: str, state: Path) -> None:
    async with running(chain, server, container, state, f"swift://{container}") as bed:
        final = await bed.until(lambda report: report.activity is Activity.DONE)
    assert final.migrations["m"].restorable_from_cloud
    assert final.migrations["m"].volumes_refused == 0


async def used_by_duplicity(chain: Drive, server: SwiftServer, container: str, tmp_path: Path) -> None:
    """An incremental from the handed-over cache, a verification, and a restore without any cache."""
    duplicity = replace(chain.duplicity, environment={**chain.duplicity.environment, **server.environment()})
    url = f"swift://{container}"
    await asyncio.to_thread(duplicity.inc, chain.data, url)
    await asyncio.to_thread(duplicity.verify, url, chain.data)
    restored = tmp_path / "restored"
    await asyncio.to_thread(duplicity.without_cache().restore, url, restored)
    assert differences(chain.data, restored) == []


async def test_volumes_larger_than_the_servers_largest_object_stand_as_slos(
    chain: Drive, start_swift: Callable[..., SwiftServer], tmp_path: Path
) -> None:
    server = start_swift(max_file_size=600_000)
    container = server.container()
    await moved(chain, server, container, tmp_path / "state")
    large = {name for name in chain.names() if (chain.folder / name).stat().st_size > 600_000}
    assert large, "the chain must have volumes over the limit"
    assert slos(server, container) == large
    await used_by_duplicity(chain, server, container, tmp_path)


async def test_a_store_whose_copy_does_not_join_keeps_the_slos(
    duplicity: Duplicity, swift: SwiftServer, tmp_path: Path
) -> None:
    chain = make_chain(replace(duplicity, volsize=4), tmp_path / "made")
    container = swift.container()
    async with FaultProxy(swift.port) as proxy:
        # the probe's COPY ends in a refusal, as on a store without it
        proxy.rule("PUT", r"/slowboat1/probe/[^/]+/copy$", Answer(400), times=None)
        await moved(chain, Behind(swift, proxy), container, tmp_path / "state")
        assert not [each for each in proxy.asked("PUT", f"/{container}/") if "x-copy-from" in each.headers]
    # what needs segments on a line that nothing is known of
    large = {name for name in chain.names() if (chain.folder / name).stat().st_size > 2 << 20}
    assert large
    assert slos(swift, container) == large
    await used_by_duplicity(chain, swift, container, tmp_path)


def account_of(server: SwiftServer, container: str, quota: int) -> Judged:
    """What an account's quota refuses: by what stands there now, not by Swift's own sums, which lag behind."""

    def judge(asked: Request) -> Answer | None:
        there = {where: server.listing(where) for where in (container, f"{container}_segments")}
        source = unquote(asked.headers.get("x-copy-from", "")).strip("/")
        more = int(asked.headers.get("content-length", 0))
        if source:
            where, _, name = source.partition("/")
            more = there[where][name][0]
        elif "multipart-manifest=put" in asked.path:
            more = 0
        # an SLO takes no room besides that of its segments
        used = sum(size for rows in there.values() for name, (size, _) in rows.items() if not name.endswith("/slo"))
        refused = Answer(413, headers={"X-Trans-Id": "tx"}, body=b"Upload exceeds quota.", after=0)
        return refused if used + more > quota else None

    return Judged(judge)


@pytest.mark.parametrize(("connections", "size"), [(1, 5_000_000), (4, 14_000_000)])
async def test_where_the_quota_does_not_hold_a_copy_beside_its_segments_the_file_goes_up_whole(
    duplicity: Duplicity, swift: SwiftServer, tmp_path: Path, connections: int, size: int
) -> None:
    chain = make_chain(replace(duplicity, volsize=4), tmp_path / "made", size=size)
    container = swift.container()
    async with FaultProxy(swift.port) as proxy:
        there, url = Behind(swift, proxy), f"swift://{container}"
        quota = account_of(swift, container, chain.size() + 100_000)
        proxy.rule("PUT", rf"/{container}(_segments)?/", quota, times=None)
        async with running(chain, there, container, tmp_path / "state", url, connections) as bed:
            final = await bed.until(lambda report: report.activity is Activity.DONE)
            assert final.migrations["m"].restorable_from_cloud
            assert not [notice for notice in bed.notices if notice.urgent]
        assert [each for each in proxy.asked("PUT") if each.status == 413], "the quota was felt"
    assert slos(swift, container) == set()
    assert [name for name in swift.listing(f"{container}_segments") if "/probe/" not in name] == []
    await used_by_duplicity(chain, swift, container, tmp_path)


async def test_where_not_even_the_file_has_room_it_is_said_how_much_is_needed(
    duplicity: Duplicity, swift: SwiftServer, tmp_path: Path
) -> None:
    chain = make_chain(replace(duplicity, volsize=4), tmp_path / "made")
    container = swift.container()
    volume = next(name for name in chain.volumes if name.endswith("vol1.difftar.gpg") and "full" in name)
    needed = (chain.folder / volume).stat().st_size
    room = chain.size() - needed + 3 * (1 << 20)
    async with FaultProxy(swift.port) as proxy:
        proxy.rule("PUT", rf"/{container}(_segments)?/", account_of(swift, container, room), times=None)
        async with running(chain, Behind(swift, proxy), container, tmp_path / "state", f"swift://{container}") as bed:
            final = await bed.until(lambda report: report.activity is Activity.NEEDS_USER)
            [why] = [one.text for one in final.migrations["m"].reasons if one.code == "quota"]
            assert f"the next file needs {needed} bytes" in why
            assert "Upload exceeds quota" in why
            assert len([notice for notice in bed.notices if notice.urgent]) == 1
            proxy.forget_rules()
            bed.engine.retry_now()
            await bed.until(lambda report: report.activity is Activity.DONE)
    await used_by_duplicity(chain, swift, container, tmp_path)


async def test_on_a_server_without_slos_what_is_too_large_is_refused_and_the_rest_goes_up(
    chain: Drive, start_swift: Callable[..., SwiftServer], tmp_path: Path
) -> None:
    server = start_swift(without="slo", max_file_size=600_000)
    container = server.container()
    large = {name for name in chain.names() if (chain.folder / name).stat().st_size > 600_000}
    async with running(chain, server, container, tmp_path / "state", f"swift://{container}") as bed:
        final = await bed.until(lambda report: report.activity is Activity.NEEDS_USER)
    shown = final.migrations["m"]
    assert shown.volumes_refused == len(large) > 0
    assert not shown.restorable_from_cloud
    assert shown.handover is HandoverState.DONE
    [why] = [one.text for one in shown.reasons if one.code == "refused"]
    assert "larger than the server's largest object, 600000 bytes" in why
    assert "does not assemble objects from pieces" in why
    [notice] = [notice for notice in bed.notices if "cannot be moved" in notice.title]
    assert "--volsize" in notice.body
    assert server.listing(container).keys() == set(chain.names()) - large
    assert not [head for head in heads(server, container) if "x-static-large-object" in head]
    assert server.listing(f"{container}_segments") == {}


async def test_an_archive_that_nothing_can_be_read_from_yet_takes_whole_files_until_it_is_known_to_join(
    duplicity: Duplicity, swift: SwiftServer, tmp_path: Path
) -> None:
    """What is new there answers 429 to whoever would read or copy it, until it is thawed, hours later."""
    chain = make_chain(replace(duplicity, volsize=4), tmp_path / "made", size=16_000_000)
    container = swift.container()
    frozen = Answer(429, headers={"X-Trans-Id": "tx", "Retry-After": "7200"}, body=b"Object is being unfrozen")
    async with FaultProxy(swift.port) as proxy:
        proxy.rule("GET", rf"/{container}(_segments)?/[^?]", frozen, times=None)
        proxy.rule("PUT", "", Judged(lambda asked: frozen if "x-copy-from" in asked.headers else None), times=None)
        async with running(chain, Behind(swift, proxy), container, tmp_path / "state", f"swift://{container}") as bed:
            bed.engine.set_limit(1_500_000)
            await bed.until(lambda _: any(name.endswith("vol1.difftar.gpg") for name in swift.listing(container)))
            told = [notice for notice in bed.notices if notice.key.startswith("store")]
            assert ["not yet known" in notice.body for notice in told] == [True]
            assert "asks slowboat to wait" in told[0].body
            assert "server-wait" not in {one.code for one in bed.reports[-1].migrations["m"].reasons}
            assert not [head for head in heads(swift, container) if "x-static-large-object" in head]
            proxy.forget_rules()
            bed.engine.retry_now()
            bed.engine.set_limit(0)
            await bed.until(lambda report: report.activity is Activity.DONE)
            assert parse(bed.ledger.facts("m")["capabilities"]).joins
    assert slos(swift, container) == set()
    await used_by_duplicity(chain, swift, container, tmp_path)


async def test_who_may_not_make_a_container_for_segments_sends_whole_files(
    duplicity: Duplicity, swift: SwiftServer, tmp_path: Path
) -> None:
    chain = make_chain(replace(duplicity, volsize=4), tmp_path / "made")
    container = swift.container()
    async with FaultProxy(swift.port) as proxy:
        proxy.rule("PUT", rf"/{container}_segments", Answer(403, headers={"X-Trans-Id": "tx"}), times=None)
        await moved(chain, Behind(swift, proxy), container, tmp_path / "state")
        assert len(proxy.asked("PUT", f"/{container}_segments")) < 10, "the answer is remembered"
    assert not [head for head in heads(swift, container) if "x-static-large-object" in head]
    await used_by_duplicity(chain, swift, container, tmp_path)


class Behind:
    """A server as seen through a proxy."""

    def __init__(self, server: SwiftServer, proxy: FaultProxy) -> None:
        self.auth_url = proxy.auth_url
        self.user, self.key = server.user, server.key
