"""Objects that stay SLOs: over the server's largest object, or where its COPY does not join; duplicity uses them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import swiftclient
from test_engine_real import running

from faults.proxy import Answer, FaultProxy
from realparts.drive import differences, make_chain
from slowboat.core.words import Activity

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


async def test_where_the_quota_does_not_hold_a_copy_beside_its_segments_the_file_goes_up_whole(
    duplicity: Duplicity, swift: SwiftServer, tmp_path: Path
) -> None:
    chain = make_chain(replace(duplicity, volsize=4), tmp_path / "made")
    container = swift.container()
    async with FaultProxy(swift.port) as proxy:
        full = Answer(413, headers={"X-Trans-Id": "tx"}, body=b"Upload exceeds quota.")
        proxy.rule("PUT", rf"/{container}/duplicity-full\..*\.vol1\.", full, times=1)
        await moved(chain, Behind(swift, proxy), container, tmp_path / "state")
        asked = proxy.asked("PUT", rf"/{container}/duplicity-full\..*\.vol1\.")
        assert ["x-copy-from" in each.headers for each in asked] == [True, False]
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
