"""What goes over a bus, in our own words.

Knows how signals are matched; must not know how messages travel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Match:
    """Which signals to hear; empty fields match all.

    https://dbus.freedesktop.org/doc/dbus-specification.html#message-bus-routing-match-rules
    """

    sender: str = ""
    path: str = ""
    interface: str = ""
    member: str = ""
    arg0: str = ""
    path_namespace: str = ""

    def rule(self) -> str:
        """The rule as the bus wants it."""
        given = {
            "sender": self.sender,
            "path": self.path,
            "path_namespace": self.path_namespace,
            "interface": self.interface,
            "member": self.member,
            "arg0": self.arg0,
        }
        return ",".join(["type='signal'", *(f"{key}='{value}'" for key, value in given.items() if value)])

    def covers(self, signal: Signal, owner: str) -> bool:
        """Whether `signal` is meant; `owner` is the unique name that `sender` has now ("": whoever)."""
        within = not self.path_namespace or f"{signal.path}/".startswith(f"{self.path_namespace.rstrip('/')}/")
        return (
            within
            and owner in ("", signal.sender)
            and self.path in ("", signal.path)
            and self.interface in ("", signal.interface)
            and self.member in ("", signal.member)
            and (not self.arg0 or signal.body[:1] == [self.arg0])
        )


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal that came; `body` holds plain values (variants are unwrapped)."""

    sender: str
    path: str
    interface: str
    member: str
    body: list[Any]


@dataclass(frozen=True, slots=True)
class Call:
    """A method call that somebody made on us; `body` holds plain values, `variants` the same as they came."""

    sender: str
    path: str
    interface: str
    member: str
    signature: str
    body: list[Any]
    variants: list[Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a call. `fds` are sent along ("h" values are indexes into them) and then closed here."""

    signature: str = ""
    body: Sequence[Any] = ()
    fds: tuple[int, ...] = ()
