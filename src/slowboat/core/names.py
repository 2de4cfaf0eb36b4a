"""duplicity's file names: name <-> kind, times, volume number; the names of caches, objects and segments.

Knows the grammar of every name that duplicity 0.6 to 3.2 writes (docs/duplicity.md, "File names") and the
names that slowboat gives its own segments. Must not know which files there are, nor what is in them.

A name is text as `os.fsdecode` gives it: bytes that are no UTF-8 are surrogates, and they survive here.
"""

from __future__ import annotations

import calendar
import dataclasses
import enum
import functools
import hashlib
import posixpath
import re
import time
from dataclasses import dataclass
from typing import Final

from slowboat.core.words import Role, SetId, SetType

ENCRYPTED_SUFFIXES: Final = frozenset({".gpg", ".p7m", ".g"})
"""GnuPG, gpgsm (duplicity 3.0.5 and newer), and GnuPG among the short names of 0.6 and 0.7."""

METADATA_SUFFIXES: Final = frozenset({".g", ".gpg", ".p7m", ".z", ".gz", ".part"})
"""What duplicity strips, once, before it compares its cache with the target (docs/duplicity.md, "Cache")."""

SEGMENTS: Final = "slowboat1/"
"""Begins every name in a segments' container that is ours; the digit is the version of this grammar."""


class NameKind(enum.Enum):
    """What a file is to duplicity; statistics are the only ones that its chains do not need."""

    VOLUME = "volume"
    MANIFEST = "manifest"
    SIGNATURES = "signatures"
    STATS = "stats"


_ROLES: Final = {
    NameKind.VOLUME: Role.VOLUME,
    NameKind.MANIFEST: Role.MANIFEST,
    NameKind.SIGNATURES: Role.SIGNATURES,
}


@dataclass(frozen=True, slots=True)
class ParsedName:
    """A name of duplicity's, taken apart.

    Attributes:
        name: the whole name.
        prefix: what stands before duplicity's own words: --file-prefix and the prefix of that kind, or "".
        kind: what the file is.
        set_id: the backup set it belongs to, from the times in the name.
        volume: the volume's number, from 1; 0 unless `kind` is VOLUME.
        partial: whether duplicity was still writing it (".part").
        suffix: "", ".gpg", ".p7m" or ".gz"; "", ".g" or ".z" where `short`.
        short: whether it is one of the short names that duplicity 0.6 and 0.7 could write.
        times: the one or two times as the name spells them (there are several spellings of one time).
    """

    name: str
    prefix: str
    kind: NameKind
    set_id: SetId
    volume: int
    partial: bool
    suffix: str
    short: bool
    times: tuple[str, ...]

    @property
    def role(self) -> Role | None:
        """The role in a chain; None for statistics, which have none."""
        return _ROLES.get(self.kind)

    @property
    def encrypted(self) -> bool:
        """Whether the suffix says that the content is encrypted."""
        return self.suffix in ENCRYPTED_SUFFIXES


# --- the grammar ----------------------------------------------------------------------------------


def _time_pattern(group: str) -> str:
    """20110113T170937Z, or --old-filenames: 2011-01-13T17:09:37+01:00 any one character for ":"."""
    separated = rf"(?P<{group}_sep>[^0-9/])"
    again = rf"(?P={group}_sep)"
    old = rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}T[0-9]{{2}}{separated}[0-9]{{2}}{again}[0-9]{{2}}"
    return rf"(?P<{group}>[0-9]{{8}}T[0-9]{{6}}Z|{old}(?:Z|[+-][0-9]{{2}}{again}[0-9]{{2}}))"


_LONG: Final = re.compile(
    rf"(?P<prefix>[^/]*?)duplicity-(?P<what>full-signatures|new-signatures|full|inc)"
    rf"\.{_time_pattern('start')}(?:\.to\.{_time_pattern('end')})?"
    rf"\.(?:vol(?P<volume>[1-9][0-9]{{0,8}})\.difftar|(?P<word>manifest|jsonstat|sigtar))"
    rf"(?P<part>\.part)?(?P<suffix>\.gpg|\.p7m|\.gz)?"
)

# Six or seven digits in base 36 are 1971-12 to 4453: fewer would take "paper.pdf.a.m" for a backup of 1970.
_B36: Final = "[1-9a-z][0-9a-z]{5,6}"

_SHORT: Final = re.compile(
    rf"(?P<prefix>[^/]*?)(?P<what>dfst|dist|dfs|dns|df|di)"
    rf"\.(?P<start>{_B36})(?:\.(?P<to>to\.)?(?P<end>{_B36}))??"
    rf"\.(?:(?P<volume>[1-9a-z][0-9a-z]{{0,4}})\.dt|(?P<word>m|st|jst))"
    rf"(?P<part>\.p)?(?P<suffix>\.g|\.z)?"
)

_VOLUME_WORD: Final = "difftar"
_MEANINGS: Final = {
    # (what, word): kind, type of the set
    ("full", "difftar"): (NameKind.VOLUME, SetType.FULL),
    ("inc", "difftar"): (NameKind.VOLUME, SetType.INC),
    ("full", "manifest"): (NameKind.MANIFEST, SetType.FULL),
    ("inc", "manifest"): (NameKind.MANIFEST, SetType.INC),
    ("full-signatures", "sigtar"): (NameKind.SIGNATURES, SetType.FULL),
    ("new-signatures", "sigtar"): (NameKind.SIGNATURES, SetType.INC),
    ("full", "jsonstat"): (NameKind.STATS, SetType.FULL),
    ("inc", "jsonstat"): (NameKind.STATS, SetType.INC),
}
_SHORT_MEANINGS: Final = {
    ("df", "dt"): (NameKind.VOLUME, SetType.FULL),
    ("di", "dt"): (NameKind.VOLUME, SetType.INC),
    ("df", "m"): (NameKind.MANIFEST, SetType.FULL),
    ("di", "m"): (NameKind.MANIFEST, SetType.INC),
    ("dfs", "st"): (NameKind.SIGNATURES, SetType.FULL),
    ("dns", "st"): (NameKind.SIGNATURES, SetType.INC),
    ("dfst", "jst"): (NameKind.STATS, SetType.FULL),
    ("dist", "jst"): (NameKind.STATS, SetType.INC),
}
_WORDS: Final = {meaning: words for words, meaning in _MEANINGS.items()}
_SHORT_WORDS: Final = {meaning: words for words, meaning in _SHORT_MEANINGS.items()}


@functools.lru_cache(maxsize=4096)  # all volumes of a set share their times
def _seconds(text: str) -> int | None:
    """A long name's time in seconds since the epoch, reckoned as dup_time does; None: no such time."""
    if len(text) == len("20110113T170937Z"):
        fields = [int(text[a:b]) for a, b in ((0, 4), (4, 6), (6, 8), (9, 11), (11, 13), (13, 15))]
        offset = 0
    else:
        fields = [int(text[a:b]) for a, b in ((0, 4), (5, 7), (8, 10), (11, 13), (14, 16), (17, 19))]
        zone = text[19:]
        # The sign is on the hours alone: duplicity writes half past minus three as -04:30, and reads it so.
        offset = 0 if zone == "Z" else 60 * (60 * int(zone[:3]) + int(zone[4:]))
    year, month, day, hour, minute, second = fields
    sane = 1900 < year < 2100 and 1 <= month <= 12 and 1 <= day <= 31
    if not (sane and hour <= 23 and minute <= 59 and second <= 61):
        return None
    seconds = calendar.timegm((year, month, day, hour, minute, second, 0, 0, 0)) - offset
    return seconds if seconds > 0 else None


_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"


def _base36(number: int) -> str:
    text = ""
    while number:
        number, digit = divmod(number, 36)
        text = _DIGITS[digit] + text
    return text or "0"


def parse(name: str) -> ParsedName | None:
    """Takes a name of duplicity's apart; None for any other file.

    This is the strict view: finished names and ".part", nothing after the known suffix, numbers as duplicity
    writes them. Any file prefix is accepted; which one counts is for `chains` to say. A name with a "/" in it
    is in another folder, and none of duplicity's.
    """
    match = _LONG.fullmatch(name)
    if match is not None:
        return _from_long(name, match)
    match = _SHORT.fullmatch(name)
    return _from_short(name, match) if match is not None else None


def _from_long(name: str, match: re.Match[str]) -> ParsedName | None:
    meaning = _MEANINGS.get((match["what"], match["word"] or _VOLUME_WORD))
    start = _seconds(match["start"])
    end = _seconds(match["end"]) if match["end"] is not None else None
    if meaning is None or start is None or (match["end"] is not None and end is None):
        return None
    volume = int(match["volume"] or "0")
    return _assemble(name, match, meaning, (start, end), volume, short=False)


def _from_short(name: str, match: re.Match[str]) -> ParsedName | None:
    meaning = _SHORT_MEANINGS.get((match["what"], match["word"] or "dt"))
    if meaning is None or (match["to"] is not None) != (meaning == (NameKind.STATS, SetType.INC)):
        return None
    end = int(match["end"], 36) if match["end"] is not None else None
    volume = int(match["volume"] or "0", 36)
    return _assemble(name, match, meaning, (int(match["start"], 36), end), volume, short=True)


def _assemble(
    name: str,
    match: re.Match[str],
    meaning: tuple[NameKind, SetType],
    times: tuple[int, int | None],
    volume: int,
    *,
    short: bool,
) -> ParsedName | None:
    kind, set_type = meaning
    start, end = times
    if (end is not None) != (set_type is SetType.INC) or start == end:
        return None
    return ParsedName(
        name=name,
        prefix=match["prefix"],
        kind=kind,
        set_id=SetId(start, start if end is None else end),
        volume=volume,
        partial=match["part"] is not None,
        suffix=match["suffix"] or "",
        short=short,
        times=(match["start"],) if end is None else (match["start"], match["end"]),
    )


def render(parsed: ParsedName) -> str:
    """The name that `parsed` was taken from, put together again from its parts."""
    meaning = (parsed.kind, parsed.set_id.type)
    if parsed.short:
        what, word = _SHORT_WORDS[meaning]
        number, part, to = (
            f"{_base36(parsed.volume)}.",
            ".p",
            ".to." if parsed.kind is NameKind.STATS else ".",
        )
    else:
        what, word = _WORDS[meaning]
        what, number, part, to = f"duplicity-{what}", f"vol{parsed.volume}.", ".part", ".to."
    number = number if parsed.kind is NameKind.VOLUME else ""
    part = part if parsed.partial else ""
    return f"{parsed.prefix}{what}.{to.join(parsed.times)}.{number}{word}{part}{parsed.suffix}"


def make(
    kind: NameKind,
    set_id: SetId,
    *,
    volume: int = 0,
    prefix: str = "",
    suffix: str = "",
    partial: bool = False,
    short: bool = False,
) -> ParsedName:
    """The name that duplicity would give such a file today (or, `short`, would have given it then)."""
    moments = (set_id.start,) if set_id.type is SetType.FULL else (set_id.start, set_id.end)
    spell = _base36 if short else _spell_time
    times = tuple(spell(moment) for moment in moments)
    parsed = ParsedName("", prefix, kind, set_id, volume, partial, suffix, short, times)
    return dataclasses.replace(parsed, name=render(parsed))


def _spell_time(moment: int) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(moment))


# --- duplicity's own, lenient view ----------------------------------------------------------------

_ANY_TIME: Final = (
    r"(?:[0-9]{8}[Tt][0-9]{6}[Zz]"
    r"|[0-9]{1,4}-[0-9]{1,2}-[0-9]{1,2}[Tt][0-9]{1,2}.[0-9]{1,2}.[0-9]{1,2}(?:[Zz]|[+-][0-9]{2}.[0-9]{2})?"
    r"|[0-9]+|(?:[0-9]+[DWMYdwmy])+|[0-9]{1,4}[-/][0-9]{1,2}[-/][0-9]{1,4}|[0-9]{8}[Zz])"
)


@functools.lru_cache(maxsize=16)
def _lenient(prefix: str | None) -> re.Pattern[str]:
    before = _before(prefix)
    b36 = _B36 if prefix is None else "[0-9a-z]+"
    times = rf"\.{_ANY_TIME}(?:\.to\.{_ANY_TIME})?"
    short = rf"\.{b36}(?:(?:\.to)?\.{b36})?"
    return re.compile(
        rf"{before}(?:duplicity-(?:full|inc){times}\.(?:vol[0-9]+\.difftar|manifest)(?:\.part)?"
        rf"|duplicity-(?:full|new)-signatures{times}\.sigtar(?:\.part)?"
        rf"|d[fi]{short}\.(?:[0-9a-z]+\.dt|m)(?:\.p)?"
        rf"|(?:dfs|dns){short}\.st(?:\.p)?)"
        rf"(?:$|\.)"
    )


@functools.lru_cache(maxsize=16)
def _statistics(prefix: str | None) -> tuple[tuple[re.Pattern[str], re.Pattern[str]], ...]:
    """How statistics begin and how they end: times that are none make duplicity fail just as well.

    As one pattern each (begin, anything, end) a name of many beginnings would be read to its end from each of them.
    """
    before = _before(prefix)
    return (
        (re.compile(rf"{before}duplicity-(?:full|inc)\."), re.compile(r"\.jsonstat(?:$|\.)")),
        (re.compile(rf"{before}(?:dfst|dist)\."), re.compile(r"\.jst(?:$|\.)")),
    )


def _before(prefix: str | None) -> str:
    # Hidden files (of rsync, file managers, macOS) are nobody's unless the prefix itself begins with a dot.
    return r"(?!\.)[^/]*?" if prefix is None else re.escape(prefix)


def parses_for_duplicity(name: str, prefix: str | None = None) -> bool:
    """Whether duplicity would take `name` for one of its own: anything after a dot is fine with it.

    A second name for the same volume, such as a stray "...difftar.gpg.tmp", makes duplicity fail at every
    action. So nothing of the kind may ever stand at a target. Where this is in doubt it says yes.

    Args:
        name: a file's name, or an object's after the target's prefix.
        prefix: the file prefix that duplicity is told to use ("" for none); None: any.
    """
    if _lenient(prefix).match(name) is not None:
        return True
    for begin, end in _statistics(prefix):
        begun = begin.match(name)
        if begun is not None and end.search(name, begun.end()) is not None:
            return True
    return False


# --- names derived from names ---------------------------------------------------------------------


def metadata_key(name: str) -> str:
    """A metadata file's name with ONE suffix off: the same in duplicity's cache and at its target."""
    base, suffix = posixpath.splitext(name)
    return base if suffix in METADATA_SUFFIXES else name


def cache_directory(url: str) -> str:
    """The name of duplicity's cache for a URL: the MD5 of the URL exactly as typed, in lower-case hex.

    >>> cache_directory("file:///media/backup")
    '4e33cf513fa4772471272dbd07fca5be'
    """
    return hashlib.md5(url.encode("utf-8", "surrogateescape"), usedforsecurity=False).hexdigest()


def object_name(prefix: str, name: str) -> str:
    """The full name of a file's object; `prefix` is "" or ends in "/"."""
    return prefix + name


def segments_container(container: str) -> str:
    """Where the segments of a container's objects live; the name that Swift's own clients use too.

    https://docs.openstack.org/python-swiftclient/latest/cli/index.html#swift-upload
    """
    return f"{container}_segments"


@dataclass(frozen=True, slots=True)
class SegmentName:
    """A name in the segments' container, taken apart.

    Attributes:
        object_name: the full name of the object that the segments will make.
        size: bytes of the whole object.
        segment: bytes of every segment but the last.
        index: the segment's place, from 0; None for the SLO beside the segments.
    """

    object_name: str
    size: int
    segment: int
    index: int | None


_SEGMENT: Final = re.compile(
    rf"{re.escape(SEGMENTS)}(?P<object>.+)/(?P<size>0|[1-9][0-9]{{0,18}})/(?P<segment>[1-9][0-9]{{0,18}})"
    rf"/(?:(?P<index>[0-9]{{8}})|slo)",
    re.DOTALL,
)


def segment_prefix(object_name: str) -> str:
    """What all segments' names of one object begin with: one listing finds them, whatever their size."""
    return f"{SEGMENTS}{object_name}/"


def segment_name(object_name: str, size: int, segment: int, index: int) -> str:
    """A segment's name: it follows from the object, so that an empty ledger finds it again.

    Args:
        object_name: the full name of the object.
        size: bytes of the whole object.
        segment: bytes of every segment but the last.
        index: the segment's place, from 0; eight digits, so that names sort as the segments stand.
    """
    return f"{segment_prefix(object_name)}{size}/{segment}/{index:08d}"


def slo_name(object_name: str, size: int, segment: int) -> str:
    """The name of the SLO of an object's segments, in the segments' container."""
    return f"{segment_prefix(object_name)}{size}/{segment}/slo"


def parse_segment(name: str) -> SegmentName | None:
    """Takes a name in the segments' container apart; None for any that is not ours."""
    match = _SEGMENT.fullmatch(name)
    if match is None:
        return None
    index = int(match["index"]) if match["index"] is not None else None
    return SegmentName(match["object"], int(match["size"]), int(match["segment"]), index)


def cache_name(name: str) -> str:
    """What a metadata file is called in duplicity's cache: manifests plain, signatures gzipped again.

    docs/duplicity.md, "Cache". The same for encrypted and unencrypted targets.
    """
    key = metadata_key(name)
    return f"{key}.gz" if key.endswith(".sigtar") else f"{key}.z" if key.endswith(".st") else key
