"""What Deja Dup's own check reads back is sent before the handover: told by the ranges in manifests as it has them."""

from __future__ import annotations

from pathlib import Path

from slowboat.core import chains, dejadup, manifest, names
from slowboat.core.names import NameKind
from slowboat.core.words import SetId, SourceFile

MANIFESTS = Path(__file__).with_name("manifests")
FULL, INC = SetId(1_700_000_000, 1_700_000_000), SetId(1_700_000_000, 1_700_086_400)
HOME = "/home/ana"


def a_chain(**read: str) -> tuple[chains.Inventory, dict[SetId, manifest.Manifest]]:
    """A folder with all the files that these manifests (a name without its end for each set) speak of."""
    files, manifests = [], {}
    for which, stem in read.items():
        set_id = {"full": FULL, "inc": INC}[which]
        text = (MANIFESTS / f"{stem}.manifest").read_bytes()
        manifests[set_id] = manifest.parse_bytes(text, stem)
        places = [(NameKind.SIGNATURES, 0), (NameKind.MANIFEST, 0)]
        places += [(NameKind.VOLUME, volume.number) for volume in manifests[set_id].volumes]
        files += [SourceFile(names.make(kind, set_id, volume=n, suffix=".gpg").name, 10, 1) for kind, n in places]
    return chains.take_inventory(files), manifests


def sent_early(canary: list[str], **read: str) -> list[tuple[str, int]]:
    """The canary volumes: of which set, and their numbers."""
    inventory, manifests = a_chain(**read)
    paths = [tuple(part.encode() for part in path.strip("/").split("/")) for path in canary]
    parsed = [names.parse(item.name) for item in chains.adopt(inventory, manifests, paths) if item.canary]
    return [("full" if one.set_id == FULL else "inc", one.volume) for one in parsed if one is not None]


def checked(*folders: str) -> list[str]:
    return [f"{folder}/{dejadup.CHECKED}" for folder in folders]


PACKAGED = dejadup.own_folders(HOME, f"{HOME}/.cache", f"{HOME}/.local/share")


def test_deja_dup_50_keeps_it_among_its_data_and_45_in_its_cache_and_a_flatpak_below_its_own() -> None:
    assert PACKAGED == (
        "/home/ana/.cache/deja-dup",
        "/home/ana/.local/share/deja-dup",
        "/home/ana/.var/app/org.gnome.DejaDup/cache/deja-dup",
        "/home/ana/.var/app/org.gnome.DejaDup/data/deja-dup",
    )
    elsewhere = dejadup.own_folders(HOME, "/scratch/cache", f"{HOME}/data")
    assert elsewhere[:2] == ("/scratch/cache/deja-dup", "/home/ana/data/deja-dup")
    assert set(PACKAGED) <= set(elsewhere), "Deja Dup's session need not have our environment"


def test_where_50_began_the_chain_the_volume_that_it_reads_is_not_the_one_of_45() -> None:
    new, old = checked("/home/ana/.local/share/deja-dup"), checked("/home/ana/.cache/deja-dup")
    assert sent_early(new, full="deja-dup-50.1-full", inc="deja-dup-50.1-inc") == [("full", 3), ("inc", 2)]
    assert sent_early(old, full="deja-dup-50.1-full", inc="deja-dup-50.1-inc") == [("full", 1), ("inc", 1)]


def test_an_upgrade_moves_it_and_the_volumes_of_both_places_go_first_in_each_set() -> None:
    early = sent_early(checked(*PACKAGED), full="deja-dup-45.2-full", inc="deja-dup-50.1-inc")
    assert early == [("full", 1), ("full", 2), ("full", 3), ("inc", 1), ("inc", 2)]
    assert sent_early([], full="deja-dup-45.2-full") == []
