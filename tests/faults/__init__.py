"""Faults on the wire, by a script: a proxy before a real server that misbehaves where it is told to."""

from __future__ import annotations

from faults.proxy import (
    Answer,
    BlackHole,
    CutAnswer,
    CutHead,
    Delay,
    Edit,
    FaultProxy,
    Garbage,
    Request,
    Reset,
    portal_page,
    portal_redirect,
)

__all__ = [
    "Answer",
    "BlackHole",
    "CutAnswer",
    "CutHead",
    "Delay",
    "Edit",
    "FaultProxy",
    "Garbage",
    "Request",
    "Reset",
    "portal_page",
    "portal_redirect",
]
