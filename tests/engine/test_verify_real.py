"""The verification on real parts: what is tampered with at the server or rots on the drive is found and named."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import swiftclient
from test_engine_real import everything_arrived, running

from slowboat.core.errors import Stopped, Transient
from slowboat.core.verify import AtTarget, OnDrive
from slowboat.core.words import Activity, Connectivity
from slowboat.edges.source import Source

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from test_engine_real import Running

    from realparts.drive import Drive
    from realparts.swift_server import SwiftServer
    from slowboat.core.verify import Finding, Report
    from slowboat.core.words import ManagerReport


def cloud_of(server: SwiftServer) -> swiftclient.Connection:
    return swiftclient.Connection(server.auth_url, server.user, server.key)


def found(report: Report, name: str) -> Finding:
    return next(one for one in report.findings if one.name == name)


def rot(drive: Drive, name: str) -> None:
    """One bit turns over; size and time stay as they were."""
    path = drive.folder / name
    before, data = path.stat(), bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


async def done(bed: Running) -> None:
    await bed.until(lambda report: report.activity is Activity.DONE)


async def test_what_is_tampered_with_at_the_server_is_named_and_what_is_missing_comes_back(
    chain: Drive, swift: SwiftServer, tmp_path: Path
) -> None:
    container, cloud = swift.container(), cloud_of(swift)
    lost, replaced, shorter = chain.volumes[:3]
    async with running(chain, swift, container, tmp_path / "state", f"swift://{container}") as bed:
        await done(bed)
        for deep in (False, True):
            report = await bed.engine.verify("m", deep=deep)
            assert report.ok, report.sentences
            assert report.complete
            assert report.restorable
            assert report.findings == ()
        cloud.delete_object(container, lost)
        cloud.put_object(container, replaced, b"x" * (chain.folder / replaced).stat().st_size)
        cloud.put_object(container, shorter, b"x")
        report = await bed.engine.verify("m")
        assert not report.ok
        assert not report.complete
        assert found(report, lost).target is AtTarget.MISSING
        assert found(report, replaced).target is AtTarget.OTHER_MD5
        assert found(report, shorter).target is AtTarget.OTHER_SIZE
        assert len(report.findings) == 3
        await bed.until(
            lambda shown: shown.migrations["m"].volumes_refused == 2 and shown.activity is Activity.NEEDS_USER
        )
        assert cloud.head_object(container, lost)["content-length"] == str((chain.folder / lost).stat().st_size)
        assert cloud.get_object(container, shorter)[1] == b"x", "nothing is ever overwritten"
        again = await bed.engine.verify("m")
        assert {one.name for one in again.findings} == {replaced, shorter}
        cloud.delete_object(container, replaced)
        cloud.delete_object(container, shorter)
        bed.engine.retry_now()
        await bed.until(lambda shown: shown.migrations["m"].volumes_refused == 0 and shown.activity is Activity.DONE)
        assert (await bed.engine.verify("m", deep=True)).complete
        told = [line for line in bed.engine.history(0.0, 1000) if line[2] == "verified"]
        assert len(told) == 5
    everything_arrived(chain, swift, container)


async def test_a_byte_that_rots_on_the_drive_is_found_by_reading_it(
    chain: Drive, swift: SwiftServer, tmp_path: Path
) -> None:
    container = swift.container()
    volume, manifest = chain.volumes[1], next(name for name in chain.metadata if "manifest" in name)
    async with running(chain, swift, container, tmp_path / "state", f"swift://{container}") as bed:
        await done(bed)
        rot(chain, volume)
        rot(chain, manifest)
        pruned = chain.volumes[2]
        (chain.folder / pruned).unlink()
        listed = await bed.engine.verify("m")
        assert listed.ok
        assert listed.complete
        assert [(one.name, one.drive) for one in listed.findings] == [(pruned, OnDrive.MISSING)]
        deep = await bed.engine.verify("m", deep=True)
        assert deep.complete, "the cloud has it all"
        assert not deep.ok
        assert found(deep, volume).drive is OnDrive.ROTTEN
        assert "SHA-1" in found(deep, volume).text
        assert found(deep, manifest).drive is OnDrive.ROTTEN
        assert bed.engine.report().migrations["m"].verify_state == ""


async def test_without_the_drive_the_cloud_is_verified_and_a_reading_says_what_is_missing(
    chain: Drive, swift: SwiftServer, tmp_path: Path
) -> None:
    container = swift.container()
    async with running(chain, swift, container, tmp_path / "state", f"swift://{container}") as bed:
        await done(bed)
        chain.folder.rename(chain.folder.with_name("unplugged"))
        report = await bed.engine.verify("m")
        assert report.ok
        assert report.complete
        assert not report.drive_seen
        deep = await bed.engine.verify("m", deep=True)
        assert deep.complete
        assert not deep.ok
        assert any("Connect" in one.cure for one in deep.sentences)
        chain.folder.with_name("unplugged").rename(chain.folder)


async def test_it_works_while_paused_and_says_so_while_offline(
    chain: Drive, swift: SwiftServer, tmp_path: Path
) -> None:
    container = swift.container()
    async with running(chain, swift, container, tmp_path / "state", f"swift://{container}") as bed:
        bed.engine.set_limit(300_000)
        await bed.until(lambda report: report.migrations["m"].metadata_done > 1)
        bed.engine.pause("", 0.0)
        await bed.until(lambda report: report.activity is Activity.PAUSED, 5)
        report = await bed.engine.verify("m", deep=True)
        assert report.ok, report.sentences
        assert not report.complete
        assert not report.restorable
        assert bed.reports[-1].activity is Activity.PAUSED
        bed.world.network = replace(bed.world.network, connectivity=Connectivity.NONE)
        with pytest.raises(Transient, match="cannot be checked now") as caught:
            await bed.engine.verify("m")
        assert caught.value.hint


async def test_a_set_that_is_gone_after_the_end_stays_gone_until_the_user_wants_it_back(
    chain: Drive, swift: SwiftServer, tmp_path: Path
) -> None:
    container, cloud = swift.container(), cloud_of(swift)
    newest = max(chain.names("inc")).split(".to.")[1].split(".")[0]
    gone = [name for name in chain.names() if f".to.{newest}." in name]
    assert gone
    async with running(chain, swift, container, tmp_path / "state", f"swift://{container}") as bed:
        await done(bed)
        for name in gone:
            cloud.delete_object(container, name)
        report = await bed.engine.verify("m")
        assert {one.target for one in report.findings} == {AtTarget.SET_GONE}
        assert {one.name for one in report.findings} == set(gone)
        assert not report.ok
        await asyncio.sleep(1)
        shown = bed.engine.report().migrations["m"]
        assert (shown.activity, shown.restorable_from_cloud) == (Activity.NEEDS_USER, False)
        assert [one.code for one in shown.reasons] == ["gone"]
        assert "only copy" not in shown.cloud_has_text
        assert cloud_names(cloud, container) == set(chain.names()) - set(gone), "nothing is sent unasked"
        again = await bed.engine.verify("m")
        assert {one.target for one in again.findings} == {AtTarget.SET_GONE}
        assert not again.restorable
        bed.engine.retry_now()
        await bed.until(lambda _: cloud_names(cloud, container) == set(chain.names()))
        await done(bed)
    everything_arrived(chain, swift, container)


def cloud_names(cloud: swiftclient.Connection, container: str) -> set[str]:
    return {row["name"] for row in cloud.get_container(container, full_listing=True)[1]}


async def test_large_objects_that_stay_slos_are_verified_to_the_last_segment(
    chain: Drive, start_swift: Callable[..., SwiftServer], tmp_path: Path
) -> None:
    server = start_swift(max_file_size=600_000)
    container, cloud = server.container(), cloud_of(server)
    async with running(chain, server, container, tmp_path / "state", f"swift://{container}") as bed:
        await done(bed)
        assert (await bed.engine.verify("m", deep=True)).complete
        large = {name for name in chain.names() if (chain.folder / name).stat().st_size > 600_000}
        segment = next(row["name"] for row in cloud.get_container(f"{container}_segments", full_listing=True)[1])
        cloud.delete_object(f"{container}_segments", segment)
        report = await bed.engine.verify("m")
        shown = bed.engine.report().migrations["m"]
        assert not shown.restorable_from_cloud, "what verify finds, the promise knows"
        assert shown.cloud_has != "all"
        assert not report.restorable
        await bed.until(lambda shown: shown.migrations["m"].cloud_has == "all")
        assert (await bed.engine.verify("m", deep=True)).complete, "only what was lost went up again"
        assert segment in {row["name"] for row in cloud.get_container(f"{container}_segments", full_listing=True)[1]}
        chain.folder.rename(chain.folder.with_name("unplugged"))
        cloud.delete_object(f"{container}_segments", segment)
        await bed.engine.verify("m")
        shown = (await bed.until(lambda now: now.activity is Activity.WAITING)).migrations["m"]
        assert "source-absent" in {one.code for one in shown.reasons}, "without the drive it is told"
        assert not shown.restorable_from_cloud
        chain.folder.with_name("unplugged").rename(chain.folder)
        bed.engine.drives_changed()
        await bed.until(lambda shown: shown.migrations["m"].cloud_has == "all")
    assert not report.ok
    (lost,) = report.findings
    assert lost.target is AtTarget.PARTS_LOST
    assert lost.name in large
    assert f"/{lost.name}/" in segment or lost.name in segment


class Slow(Source):
    """A drive that takes its time once it is asked to."""

    waits: asyncio.Event | None = None

    async def digest(self, *arguments: object, **more: object):  # type: ignore[no-untyped-def]
        if self.waits is not None:
            self.waits.set()
            await asyncio.Event().wait()
        return await super().digest(*arguments, **more)  # type: ignore[arg-type]


async def test_one_at_a_time_and_it_can_be_stopped(
    chain: Drive, swift: SwiftServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("test_engine_real.Source", Slow)
    container = swift.container()
    async with running(chain, swift, container, tmp_path / "state", f"swift://{container}") as bed:
        await done(bed)
        monkeypatch.setattr(Slow, "waits", asyncio.Event())
        first = asyncio.create_task(bed.engine.verify("m", deep=True))
        assert Slow.waits
        await Slow.waits.wait()
        shown = await bed.until(lambda report: report.migrations["m"].verify_state == "reading", 10)
        assert shown.migrations["m"].verify_bytes == chain.size()
        with pytest.raises(Transient, match="already being verified"):
            await bed.engine.verify("m")
        bed.engine.stop_verifying("m")
        with pytest.raises(Stopped):
            await first
        left: ManagerReport = await bed.until(lambda report: report.migrations["m"].verify_state == "", 10)
        assert left.activity is Activity.DONE
        again = asyncio.create_task(bed.engine.verify("m", deep=True))
        await asyncio.sleep(0.1)
    with pytest.raises(Stopped):  # the engine has ended
        await again
