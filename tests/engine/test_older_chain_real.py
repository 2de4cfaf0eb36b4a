"""An older chain whose plain manifest is gone: its volumes have no SHA-1, and what is not whole is still found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import swiftclient
from test_engine_real import running
from test_verify_real import found, rot

from slowboat.core.verify import AtTarget, OnDrive
from slowboat.core.words import Activity, Phase, Role

if TYPE_CHECKING:
    from pathlib import Path

    from realparts.drive import Drive
    from realparts.swift_server import SwiftServer


def grow_a_new_chain(drive: Drive) -> list[str]:
    """A new full; of the old one, the cached manifest goes as with Deja Dup. Answers the old full's volumes."""
    old = drive.names("duplicity-full.")
    drive.duplicity.full(drive.data, drive.url)
    (manifest,) = (name for name in old if ".manifest" in name)
    (drive.cache / manifest.removesuffix(".gpg")).unlink()
    return [name for name in old if ".difftar" in name]


async def test_volumes_without_a_sha1_are_held_against_their_framing(
    chain: Drive, swift: SwiftServer, tmp_path: Path
) -> None:
    container = swift.container()
    volumes = grow_a_new_chain(chain)
    short, blank, later = volumes[:3]
    (chain.folder / short).write_bytes((chain.folder / short).read_bytes()[:-4096])
    (chain.folder / blank).write_bytes(bytes((chain.folder / blank).stat().st_size))
    async with running(chain, swift, container, tmp_path / "state", f"swift://{container}") as bed:
        await bed.until(lambda report: report.activity is Activity.NEEDS_USER)
        items = {item.name: item for item in bed.ledger.items("m")}
        unhashed = {item.name for item in items.values() if item.role is Role.VOLUME and not item.sha1}
        assert unhashed == set(volumes)
        refused = {name: item.error for name, item in items.items() if item.phase is Phase.REFUSED}
        assert refused.keys() == {short, blank}
        assert "ends too early" in refused[short]
        assert "holds something other than OpenPGP packets" in refused[blank]
        cloud = swiftclient.Connection(swift.auth_url, swift.user, swift.key)
        there = {row["name"] for row in cloud.get_container(container, full_listing=True)[1]}
        assert there == set(chain.names()) - {short, blank}

        deep = await bed.engine.verify("m", deep=True)
        assert deep.restorable, "the newest chain lacks nothing"
        assert {one.name: (one.target, one.drive) for one in deep.findings} == {
            short: (AtTarget.REFUSED, OnDrive.ROTTEN),
            blank: (AtTarget.REFUSED, OnDrive.ROTTEN),
        }
        rot(chain, later)
        again = await bed.engine.verify("m", deep=True)
        assert found(again, later).text == "on the drive it has different contents from those that were sent"


async def test_a_sound_older_chain_goes_up_whole_and_is_told_for_what_is_known_of_it(
    chain: Drive, swift: SwiftServer, tmp_path: Path
) -> None:
    container = swift.container()
    volumes = grow_a_new_chain(chain)
    async with running(chain, swift, container, tmp_path / "state", f"swift://{container}") as bed:
        await bed.until(lambda report: report.activity is Activity.DONE)
        deep = await bed.engine.verify("m", deep=True)
        assert deep.ok, deep.sentences
        assert deep.complete
        hashed, unhashed = len(chain.volumes) - len(volumes), len(chain.metadata) + len(volumes)
        assert deep.sentences[1].text == (
            f"Everything on the drive was read: {hashed} volumes are what duplicity wrote; "
            f"{unhashed} files without a checksum of duplicity's are intact as far as the format tells"
        )
