"""How an object goes up: from its size, the line, the server's limits, and what the store can do.

Knows the four ways and what each costs; must not know how any of them is done, nor how a capability was found out.
docs/swift.md tells why there are four, and what an interruption costs in each.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from slowboat.core.capabilities import Capabilities
from slowboat.core.segmenting import UplinkEstimate, fits_one_put
from slowboat.core.words import Limits


class UploadWay(enum.Enum):
    """How the bytes get there, and what stands at the final name afterwards."""

    ONE_PUT = "one PUT"  # small for this line: out of memory; a plain object
    JOINED = "joined"  # segments, which the server joins to a plain object
    IN_PLACE = "in place"  # segments, and an SLO of them at the final name: they are its data, and stay
    WHOLE = "whole"  # one PUT of any length: a plain object, and an interruption costs all of it


@dataclass(frozen=True, slots=True)
class NoWay:
    """There is none.

    Attributes:
        why: a sentence without a full stop, without the object's name.
        later: whether it is only not known yet, and may change by itself.
    """

    why: str
    later: bool = False


@dataclass(frozen=True, slots=True)
class Means:
    """What there is to send with.

    Attributes:
        line: the uplink.
        limits: the server's, from its /info.
        can: what its probe has shown.
        cramped: its quota does not hold segments and what they are joined to beside each other.
    """

    line: UplinkEstimate = field(default_factory=UplinkEstimate)
    limits: Limits = field(default_factory=Limits)
    can: Capabilities = field(default_factory=Capabilities)
    cramped: bool = False


def way(size: int, means: Means, *, begun: bool = False) -> UploadWay | NoWay:
    """The way of an object of `size` bytes; `begun`: it has segments there, of an earlier run or another line."""
    limits, can = means.limits, means.can
    if not begun and fits_one_put(size, means.line, limits):
        return UploadWay.ONE_PUT
    slo = can.slo if limits.slo else False
    if size > limits.max_object:
        return UploadWay.IN_PLACE if slo else _too_large(means, later=slo is None)
    if not slo or means.cramped or can.joins is None:
        return UploadWay.WHOLE
    return UploadWay.JOINED if can.joins else UploadWay.IN_PLACE


def _too_large(means: Means, *, later: bool) -> NoWay:
    quoted = _in_brackets(means.can)
    large = f"it is larger than the server's largest object, {means.limits.max_object} bytes"
    if later:
        return NoWay(f"{large}, and it is not yet known whether the server takes it in pieces{quoted}", later=True)
    return NoWay(f"{large}, and the server does not assemble objects from pieces{quoted}")


def must_ask(size: int, means: Means) -> bool:
    """Whether the way of an object of `size` bytes hangs on what is not known of the store."""
    can, large = means.can, not fits_one_put(size, means.line, means.limits)
    return large and means.limits.slo and (can.slo is None or can.joins is None)


def limitation(limits: Limits, can: Capabilities, container: str) -> str:
    """What the user must know of a store that takes no segments, a sentence; "" where there is nothing.

    Args:
        limits: the server's.
        can: what its probe has shown.
        container: where its segments would stand.
    """
    costs = "large files go up in one piece each, and an interruption costs the whole file"
    if can.segments is False:
        return f"Nothing can be stored in {container}{_in_brackets(can)}: {costs}"
    if not limits.slo or can.slo is False:
        return f"This server does not assemble objects from pieces{_in_brackets(can)}: {costs}"
    if can.slo is None or can.joins is None:
        return f"It is not yet known whether this server can join pieces{_in_brackets(can)}: until it is, {costs}"
    return ""


def _in_brackets(can: Capabilities) -> str:
    return f" ({can.message})" if can.message else ""
