"""Framing: real files of gpg, gzip, tar and manifests are whole; wherever they are cut, that is seen."""

from __future__ import annotations

import base64
import gzip
import io
import os
import random
import subprocess
import sys
import tarfile
import tracemalloc
import zlib
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from slowboat.core import names
from slowboat.core.framing import Framing, archives
from slowboat.core.names import NameKind
from slowboat.core.words import SetId

FULL = SetId(1294938577, 1294938577)
GPG = names.make(NameKind.SIGNATURES, FULL, suffix=".gpg").name
P7M = names.make(NameKind.SIGNATURES, FULL, suffix=".p7m").name
GZ = names.make(NameKind.SIGNATURES, FULL, suffix=".gz").name
TAR = names.make(NameKind.SIGNATURES, FULL).name
PLAIN = names.make(NameKind.VOLUME, FULL, volume=1).name
MANIFEST = names.make(NameKind.MANIFEST, FULL).name


def wrong(name: str, content: bytes, block: int = 1 << 16) -> str:
    framing = Framing(name)
    for place in range(0, len(content), block):
        framing.feed(content[place : place + block])
    return framing.finish()


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def manifest_text(volumes: int) -> bytes:
    lines = [b"Hostname vm", b"Localdir /"]
    for number in range(1, volumes + 1):
        lines += [b"Volume %d:" % number, b"    StartingPath   a  ", b"    EndingPath     b  "]
        lines += [b"    Hash SHA1 %040x" % number]
    return b"\n".join(lines) + b"\n"


# --- what is whole ------------------------------------------------------------------------------------


@given(st.binary(max_size=300), st.integers(1, 300))
@example(b"", 1)
def test_gzip_is_whole_however_it_is_fed(content, block):
    packed = gzip.compress(content)
    assert wrong(GZ, packed, block) == ""
    assert wrong(GZ, packed + packed + b"\0" * 7, block) == ""


def test_gzip_that_inflates_beyond_one_step():
    packed = gzip.compress(b"\0" * 5_000_000 + noise(100_000))
    for block in (len(packed), 4096, 511):
        assert wrong(GZ, packed, block) == ""


def archive(*sizes: int, format: int = tarfile.GNU_FORMAT) -> bytes:  # noqa: A002 - tarfile's word
    """Members with data, and between them one of each kind that has none, though it may tell a size."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=format) as packed:
        for number, size in enumerate(sizes):
            for kind in (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
                packed.addfile(_member(f"{number}-{kind!r}", kind, 3))
            packed.addfile(_member(f"{number}-{'long' * 60}", tarfile.REGTYPE, size), io.BytesIO(noise(size)))
    return stream.getvalue()


def _member(name: str, kind: bytes, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.size, member.linkname = kind, size, "ü" * 70
    return member


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_tar_archive_is_whole(format):  # noqa: A002 - tarfile's word
    packed = archive(1000, 0, 512, 70_000, format=format)
    end = len(packed.rstrip(b"\0")) + 511 & ~511
    for block in (1, 7, 512, 100_000):
        assert wrong(TAR, packed, block) == wrong(PLAIN, packed[:end], block) == ""
    assert wrong(TAR, bytes(10_240)) == "", "an archive without members"


def test_a_plain_manifest_is_whole():
    for block in (1, 7, 100_000):
        assert wrong(MANIFEST, manifest_text(20), block) == ""


def test_of_other_files_nothing_can_be_said():
    assert wrong("README", b"hello") == ""


@pytest.mark.parametrize("name", [GPG, P7M, GZ, TAR, MANIFEST, "README", "df.lez101.m.g", "dfs.lez101.st.z"])
def test_an_empty_file_is_never_whole(name):
    assert wrong(name, b"") == "is empty"


# --- gpg ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gpg(tmp_path_factory: pytest.TempPathFactory):
    """Runs the real gpg in a home of its own."""
    # gpg-agent's socket needs a short path.
    home = tmp_path_factory.mktemp("g")
    home.chmod(0o700)
    environment = {"PATH": os.environ["PATH"], "GNUPGHOME": str(home), "HOME": str(home)}

    def run(*options: str, content: bytes) -> bytes:
        command = [
            "gpg",
            "--batch",
            "--quiet",
            "--no-tty",
            "--s2k-count",
            "1024",
            "--pinentry-mode",
            "loopback",
            "--passphrase",
            "x",
            *options,
        ]
        return subprocess.run(command, input=content, env=environment, check=True, capture_output=True).stdout

    yield run
    subprocess.run(["gpgconf", "--kill", "all"], env=environment, check=False, capture_output=True)


SIZES = [0, 200, 100_000]


@pytest.mark.needs("gpg", "gpgconf")
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "options",
    [("-c",), ("-c", "--compress-algo", "none"), ("-c", "--rfc2440"), ("-c", "--cipher-algo", "3DES")],
    ids=" ".join,
)
def test_what_gpg_writes_is_whole_and_every_cut_is_seen(gpg, options, size):
    packed = gpg(*options, content=noise(size))
    assert wrong(GPG, packed) == ""
    assert wrong(GPG, packed, 7) == ""
    cuts = {*range(min(len(packed), 100)), *range(len(packed) - 50, len(packed)), *boundaries(packed)}
    for cut in sorted(each for each in cuts if 0 < each < len(packed)):
        assert wrong(GPG, packed[:cut]) == "ends too early", cut
    assert wrong(GPG, packed + b"\0") == "holds something other than OpenPGP packets"
    assert wrong(GPG, packed + packed) == "goes on after its end"


def boundaries(packed: bytes) -> set[int]:
    """Where the packets and partial bodies of gpg's output begin and end, each with its neighbours."""
    found: set[int] = set()
    place = 2 + packed[1]  # the packet of the session key: old format, one octet of length
    found |= {place - 1, place, place + 1}
    place += 1
    while place < len(packed):
        first = packed[place]
        if not 224 <= first < 255:
            break
        place += 1 + (1 << (first & 31))
        found |= {place - 1, place, place + 1, place + 2}
    return found


@pytest.mark.needs("gpg", "gpgconf")
def test_a_public_key_message_armour_and_a_signature(gpg):
    gpg("--quick-gen-key", "--yes", "boat@example.org", "future-default", "default", "never", content=b"")
    to_boat = ("-e", "--trust-model", "always", "-r", "boat@example.org")
    packed = gpg(*to_boat, content=noise(50_000))
    assert wrong(GPG, packed) == ""
    assert wrong(GPG, packed[:-1]) == "ends too early"
    armoured = gpg(*to_boat, "--armor", content=noise(5_000))
    assert wrong(GPG, armoured, 1000) == ""
    assert wrong(GPG, armoured, 1) == ""
    for cut in range(1, len(armoured) - 1, 97):
        assert wrong(GPG, armoured[:cut]) != ""
    signature = gpg("--detach-sign", "-u", "boat@example.org", content=b"x")
    assert wrong(GPG, signature) == "holds an OpenPGP packet of type 2, which is not encrypted data"


# --- OpenPGP by hand: what gpg does not write any more --------------------------------------------------

KEY = b"\x8c\x0d" + b"\x04\x09\x03\x02" + bytes(8) + b"\xff"  # type 3, old format


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\xa4\x05hello", id="old, one octet"),
        pytest.param(b"\xa5\x00\x05hello", id="old, two octets"),
        pytest.param(b"\xa6\x00\x00\x00\x05hello", id="old, four octets"),
        pytest.param(b"\xd2\x05hello", id="new, one octet"),
        pytest.param(b"\xd2\xc0\x00" + bytes(192), id="new, two octets"),
        pytest.param(b"\xd2\xff\x00\x00\x00\x05hello", id="new, five octets"),
        pytest.param(b"\xd2\xe9" + bytes(512) + b"\xe0a\x00", id="new, partial"),
        pytest.param(b"\xd4\x05hello", id="GnuPG's OCB"),
        pytest.param(b"\xca\x03PGP\xd2\x05hello", id="a marker before"),
    ],
)
def test_every_spelling_of_a_length(data):
    content = KEY + data
    assert wrong(GPG, content) == wrong(GPG, content, 1) == ""
    for cut in range(1, len(content)):
        assert wrong(GPG, content[:cut], 1) == "ends too early", cut
    assert wrong(GPG, content + KEY) == "goes on after its end"


def test_a_body_of_no_length_goes_to_the_end_of_the_file():
    assert wrong(GPG, KEY + b"\xa7" + noise(1000)) == ""


@pytest.mark.parametrize(
    "content", [b"\0" * 100, b"<html>", b"PK\x03\x04", KEY + b"\0\0\0", gzip.compress(b"x", mtime=0)]
)
def test_other_content_is_no_openpgp(content):
    assert wrong(GPG, content) != ""


@given(st.binary(min_size=1), st.integers(1, 20), st.sampled_from([GPG, P7M, GZ, TAR, PLAIN, MANIFEST]))
def test_any_bytes_are_taken_and_blocks_do_not_matter(content, block, name):
    assert wrong(name, content, block) == wrong(name, content, 1)


# --- CMS ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"\x30\x05\x04\x03abc", id="definite"),
        pytest.param(b"\x30\x81\xc8" + bytes(200), id="long definite"),
        pytest.param(b"\x30\x80\x04\x03abc\x00\x00", id="indefinite"),
        pytest.param(b"\x30\x80\xa0\x80\x24\x80\x04\x02ab\x04\x01c\0\0\0\0\x30\x03abc\0\0", id="nested"),
        pytest.param(b"\x30\x80\xbf\x81\x01\x80\x04\x00\0\0\0\0", id="a long tag"),
        pytest.param(b"\x30\x00", id="nothing in it"),
    ],
)
def test_cms_ends_where_it_says(content):
    assert wrong(P7M, content) == wrong(P7M, content, 1) == ""
    for cut in range(1, len(content)):
        assert wrong(P7M, content[:cut], 1) == "ends too early", cut
    assert wrong(P7M, content + b"\0") == "goes on after its end"


@pytest.mark.parametrize("content", [b"\x04\x03abc", b"hello", b"\x30\x80\x04\x80"])
def test_other_content_is_no_cms(content):
    assert wrong(P7M, content) == "holds something other than a CMS structure"


PEM = b"-----BEGIN PKCS7-----\nMIAG\n-----END PKCS7-----\n"


def test_pem():
    assert wrong(P7M, PEM) == wrong(P7M, PEM, 1) == ""
    assert wrong(P7M, PEM[:-8]) == "ends too early"
    assert wrong(P7M, PEM + b"more\n") == "ends too early"
    assert wrong(P7M, b"- a list\n- of things\n") == "holds something other than encrypted data"
    assert wrong(P7M, PEM.replace(b"MIAG", b"MI\0G")) == "holds zeros where there should be text"


def test_cms_in_base64_alone():
    text = base64.encodebytes(b"\x30\x82\x01\x00" + noise(256))
    assert wrong(P7M, text) == wrong(P7M, text, 1) == wrong(P7M, text.replace(b"\n", b"\r\n"), 5) == ""
    for cut in range(1, len(text.rstrip(b"=\n"))):
        assert wrong(P7M, text[:cut]) == "ends too early", cut
    assert wrong(P7M, text + text) == "is not sound base64 text (Excess data after padding)"
    assert wrong(P7M, text.replace(text[70:74], b"\0\0\0\0")).startswith("is not sound base64 text")


@pytest.fixture(scope="module")
def gpgsm(tmp_path_factory: pytest.TempPathFactory):
    """Encrypts with the real gpgsm, to a certificate of its own."""
    home = tmp_path_factory.mktemp("s")
    home.chmod(0o700)
    environment = {"PATH": os.environ["PATH"], "GNUPGHOME": str(home), "HOME": str(home)}

    def run(*options: str, content: bytes) -> bytes:
        command = ["gpgsm", "--batch", "--disable-crl-checks", *options]
        return subprocess.run(command, input=content, env=environment, check=True, capture_output=True).stdout

    (home / "gpg-agent.conf").write_text("allow-loopback-pinentry\n")
    asked = home / "certificate"
    asked.write_text(
        "Key-Type: RSA\nKey-Length: 2048\nKey-Usage: encrypt, sign\nSerial: random\n"
        "Name-DN: CN=boat\nName-Email: boat@example.org\n"
    )
    made = run("--pinentry-mode", "loopback", "--passphrase-fd", "0", "--generate-key", str(asked), content=b"")
    run("--import", content=made)
    listed = run("--list-keys", "--with-colons", content=b"").decode()
    print_ = next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:"))
    (home / "trustlist.txt").write_text(f"{print_} S relax\n")
    subprocess.run(["gpgconf", "--kill", "all"], env=environment, check=True, capture_output=True)
    yield run
    subprocess.run(["gpgconf", "--kill", "all"], env=environment, check=False, capture_output=True)


@pytest.mark.needs("gpgsm", "gpgconf")
@pytest.mark.parametrize("options", [(), ("--armor",), ("--base64",)], ids=" ".join)
def test_what_gpgsm_writes_is_whole_and_cuts_are_seen(gpgsm, options):
    packed = gpgsm(*options, "--encrypt", "-r", "boat@example.org", content=noise(100_000))
    for block in (1 << 16, 7):
        assert wrong(P7M, packed, block) == ""
    for cut in (1, 1000, 50_000, len(packed) - 10, len(packed) - 3):
        assert wrong(P7M, packed[:cut]) == "ends too early" or cut == 1, cut


# --- damage -------------------------------------------------------------------------------------------


@given(st.integers(1, 2999))
def test_every_cut_of_a_gzip_file_is_seen(place):
    packed = gzip.compress(noise(2970))
    assert len(packed) > 2990
    assert wrong(GZ, packed[: min(place, len(packed) - 1)]) == "ends too early"


@given(st.integers(10, 2980), st.integers(1, 255))
@example(10, 8)  # padding between two fields: the one place where a flipped bit changes nothing
def test_every_flipped_byte_that_matters_in_a_gzip_file_is_seen(place, flip):
    content = noise(2970)
    packed = bytearray(gzip.compress(content))
    packed[place] ^= flip
    if wrong(GZ, bytes(packed)) == "":
        assert gzip.decompress(packed) == content


def test_gzip_with_something_after_it():
    packed = gzip.compress(b"x")
    assert wrong(GZ, packed + b"\0\0more").startswith("is not a sound gzip file")
    assert wrong(GZ, packed + packed[:-1]) == "ends too early"
    assert wrong(GZ, zlib.compress(b"x")).startswith("is not a sound gzip file")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (manifest_text(3)[:-1], "ends too early"),
        (manifest_text(3)[:-20], "ends too early"),
        (manifest_text(3) + b"Volume 4:\n", "is not a sound manifest: volume 4 has no StartingPath"),
        (b"Hostname vm\nLocaldir /\n", "is not a sound manifest: it lists no volumes"),
        (b"Volume 2" + manifest_text(3).partition(b"Volume 2")[2], "is not a sound manifest: its beginning is missing"),
        (b"Volume 1" + manifest_text(3).partition(b"Volume 1")[2], "is not a sound manifest: its beginning is missing"),
        (b"Volume x:\n", "is not a sound manifest: line 1: a volume without a number: 'Volume x:'"),
        (b"\0" * 3_000_000, "has a line that is too long for a manifest"),
    ],
)
def test_a_damaged_plain_manifest(content, expected):
    assert wrong(MANIFEST, content) == expected


def test_a_cut_tar_archive():
    packed = archive(1000, 5)
    for cut in (1, 511, 513, 2000, len(packed) - 1):
        assert wrong(TAR, packed[:cut]) == "ends too early", cut


ZEROS = "holds zeros where there should be a tar archive"


@given(st.integers(0, 40))
def test_a_tar_archive_that_is_zeros_from_some_place_on(at):
    packed = archive(*[3000] * 10)
    blank = len(packed) - 512 * at - 20_000
    found = wrong(TAR, packed[:blank] + bytes(len(packed) - blank))
    assert found in (ZEROS, "ends too early") or found == "is not a sound tar archive", found


def test_other_content_is_no_tar_archive():
    assert wrong(PLAIN, bytes(1_000_000)) == ZEROS
    assert wrong(PLAIN, noise(10_240)) == "is not a sound tar archive"
    packed = archive(1000)
    assert wrong(TAR, packed + packed) == "goes on after its end"
    for place in (0, 130, 150):
        assert wrong(TAR, packed[:place] + b"\xfe" + packed[place + 1 :]) == "is not a sound tar archive"
    member = tarfile.TarInfo("x")
    member.size = -512
    assert wrong(TAR, member.tobuf(tarfile.GNU_FORMAT)) == "is not a sound tar archive"


# --- memory -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [GPG, P7M, GZ, TAR])
def test_memory_is_constant(name):
    head = {
        GPG: KEY + b"\xd2\xff\x7f\xff\xff\xff",
        P7M: b"\x30\x80\x24\x80\x04\x84\x7f\xff\xff\xff",
        GZ: gzip.compress(bytes(50_000_000)),
        TAR: b"",
    }[name]
    body = b"" if name is GZ else bytes(1 << 16)
    framing = Framing(name)
    tracemalloc.start()
    try:
        framing.feed(head)
        for _ in range(100):
            framing.feed(body)
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()


# --- work -----------------------------------------------------------------------------------------------


def steps(work) -> int:
    """How many lines of slowboat's run meanwhile."""
    count = 0

    def trace(frame, event, _):
        nonlocal count
        count += event == "line" and "slowboat" in frame.f_code.co_filename
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


ENDLESS = {
    "an identifier": (b"\x30\x80\x3f", b"\xff"),
    "a length": (b"\x30\xff", b"\xff"),
    "containers": (b"", b"\x30\x80"),
    "nothing": (b"\x30\x80", b"\x04\x00"),
}


@pytest.mark.parametrize(("begin", "again"), ENDLESS.values(), ids=ENDLESS)
def test_cms_without_an_end_takes_no_more_than_its_length(begin, again):
    few, many = (steps(lambda size=size: wrong(P7M, begin + again * size)) for size in (500, 4000))
    assert many <= 9 * few


class CountingZlib:
    """zlib, with a count of the bytes that went into it and of those that it copied out as left over."""

    MAX_WBITS, error = zlib.MAX_WBITS, zlib.error

    def __init__(self) -> None:
        self.bytes = 0

    def decompressobj(self, wbits):
        return CountingMember(self, zlib.decompressobj(wbits))


class CountingMember:
    def __init__(self, counted: CountingZlib, real) -> None:
        self._counted, self._real = counted, real

    def decompress(self, data, most):
        found = self._real.decompress(data, most)
        self._counted.bytes += len(data) + len(self._real.unused_data) + len(self._real.unconsumed_tail)
        return found

    def __getattr__(self, name):
        return getattr(self._real, name)


PACKED = {
    "empty members": gzip.compress(b""),
    "padded members": gzip.compress(b"") + bytes(30),
    "small members": gzip.compress(noise(300)),
    "zeros": gzip.compress(bytes(1 << 17)),
}


@pytest.mark.parametrize("member", PACKED.values(), ids=PACKED)
@pytest.mark.parametrize("block", [1 << 12, 1 << 20])
def test_gzip_of_many_members_takes_no_more_than_its_length(monkeypatch, member, block):
    counted = []
    for size in (30, 300):
        counting = CountingZlib()
        monkeypatch.setattr(archives, "zlib", counting)
        assert wrong(GZ, member * size, block) == ""
        counted.append(counting.bytes)
    few, many = counted
    assert many <= 12 * few


def test_the_home_of_these_tests_is_nobodys():
    assert not (Path.home() / ".gnupg").exists()
