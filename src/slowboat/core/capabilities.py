"""What a store can do, judged by what its probe has observed.

Knows which observation proves which capability; must not know how a request is made, nor what follows for an object
(core/way). Servers that speak Swift differ where it hurts, and some answer a request with a success that is none. So
no answer is believed: what stands afterwards is. What could not be observed is None, "not for now", and never a no.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from slowboat.core.words import Item, RemoteObject

PROBE_WAITS = (300.0, 1800.0, 7200.0, 6 * 3600.0, 86400.0)
"""Seconds until a probe that had no answer is made again: archive storage makes an object readable within hours."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One request of a probe, and what stood at its name afterwards.

    Attributes:
        answered: whether the server came to an end with it; False where the answer was lost, or is to be waited for.
        stands: what a HEAD showed afterwards; None where nothing stood there.
        message: the server's words, a phrase, where it refused; "" where there were none.
    """

    answered: bool = False
    stands: RemoteObject | None = None
    message: str = ""


NOT_TRIED = Trial()


@dataclass(frozen=True, slots=True)
class Findings:
    """What a probe has observed in the segments' container.

    Attributes:
        first, whole, slo: the MD5 of the object that a guarded PUT must not replace; that of the bytes of all the
            segments; and the ETag that an SLO of them must have.
        size: bytes of all the segments.
        closed: why nothing can be stored there at all, a phrase; "" where it can.
        guarded: a PUT with `If-None-Match: *` of other bytes to a name where `first` stood.
        wrong: a PUT to a free name whose `ETag` names the MD5 of other bytes.
        checked: a PUT of an SLO with its ETag in the header of that name.
        unchecked: one without that header.
        joined: a COPY of that SLO.
    """

    first: str = ""
    whole: str = ""
    slo: str = ""
    size: int = 0
    closed: str = ""
    guarded: Trial = NOT_TRIED
    wrong: Trial = NOT_TRIED
    checked: Trial = NOT_TRIED
    unchecked: Trial = NOT_TRIED
    joined: Trial = NOT_TRIED


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a store can do. Each: True and False are proven, None is not known.

    Attributes:
        guards: a PUT with `If-None-Match: *` replaces nothing.
        checks_md5: a PUT whose `ETag` is not the MD5 of its body stores nothing.
        segments: the segments' container can be written.
        slo: it makes an SLO of segments.
        checks_slo: it makes one only where the `ETag` header names what it is made of. Where it does, the header
            keeps a server without SLOs from storing the list of segments in place of the object.
        joins: a COPY of an SLO makes one plain object, which never expires.
        message: the server's words about what it does not do, a phrase; "" where there were none.
    """

    guards: bool | None = None
    checks_md5: bool | None = None
    segments: bool | None = None
    slo: bool | None = None
    checks_slo: bool | None = None
    joins: bool | None = None
    message: str = ""

    @property
    def complete(self) -> bool:
        """Whether nothing is left to be asked."""
        return None not in (self.guards, self.checks_md5, self.segments, self.slo, self.joins)

    def text(self) -> str:
        """For the ledger; `parse` reads it back."""
        words = [
            f"{name}={'yes' if getattr(self, name) else 'no'}" for name in _FLAGS if getattr(self, name) is not None
        ]
        # "said=" is what ledgers hold already.
        return " ".join([*words, f"said={self.message}"] if self.message else words)

    def else_as(self, before: Capabilities) -> Capabilities:
        """These, and where they know nothing what was known before."""
        known = {name: getattr(before, name) for name in _FLAGS if getattr(self, name) is None}
        return replace(self, **known, message=self.message or (before.message if not self.complete else ""))


_FLAGS = tuple(field.name for field in fields(Capabilities) if field.name != "message")


def parse(text: str) -> Capabilities:
    """As remembered; what the text does not say, or says in other words, is not known."""
    words, _, message = text.partition("said=")
    pairs = dict(word.split("=", 1) for word in words.split() if "=" in word)
    return Capabilities(**{name: pairs[name] == "yes" for name in _FLAGS if name in pairs}, message=message)


def judge(seen: Findings) -> Capabilities:
    """What the observations prove."""
    if seen.closed:
        return Capabilities(
            guards=False,
            checks_md5=False,
            segments=False,
            slo=False,
            checks_slo=False,
            joins=False,
            message=seen.closed,
        )
    checked, unchecked = _is_slo(seen.checked, seen), _is_slo(seen.unchecked, seen)
    slo = True if checked or unchecked else (None if None in (checked, unchecked) else False)
    joins = _proven(seen.joined, right=joined(seen)) if slo else slo
    message = next((trial.message for trial in (seen.unchecked, seen.joined) if trial.message), "")
    return Capabilities(
        guards=_proven(seen.guarded, right=seen.guarded.stands is not None and seen.guarded.stands.md5 == seen.first),
        checks_md5=_proven(seen.wrong, right=seen.wrong.stands is None),
        segments=True if seen.size else None,
        slo=slo,
        checks_slo=checked,
        joins=joins,
        message=message if not (slo and joins) else "",
    )


def _proven(trial: Trial, *, right: bool) -> bool | None:
    return right if trial.answered else None


def _is_slo(trial: Trial, seen: Findings) -> bool | None:
    """Whether the SLO stands: of the right length and ETag, and not the list of its segments in its place."""
    stands = trial.stands
    return _proven(
        trial, right=stands is not None and stands.slo and (stands.size, stands.md5) == (seen.size, seen.slo)
    )


def joined(seen: Findings) -> bool:
    """Whether the COPY of an SLO that expires is one plain object of all the bytes, and has not inherited that."""
    stands = seen.joined.stands
    if stands is None or stands.slo or stands.expires is not None:
        return False
    return (stands.size, stands.md5) == (seen.size, seen.whole)


def probe_wait(tries: int) -> float:
    """Seconds until the probe is made again after so many without a whole answer."""
    return PROBE_WAITS[min(max(tries, 1), len(PROBE_WAITS)) - 1]


def lives_in_segments(items: Iterable[Item]) -> bool:
    """Whether the data of any confirmed object is in the segments' container, which then must never be emptied."""
    return any(item.slo_md5 for item in items)
