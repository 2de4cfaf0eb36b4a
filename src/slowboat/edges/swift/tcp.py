"""What Linux tells about a TCP connection, as a sample for the pace; and how evenly it is to send.

Knows where the numbers stand in `struct tcp_info`; must not know what follows from them: that is `core.pace`.
"""

from __future__ import annotations

import socket
import struct

from slowboat.core.uplink import Sample

# Offsets in bytes; the structure only ever grows at its end.
# https://github.com/torvalds/linux/blob/v6.1/include/uapi/linux/tcp.h#L214
_UNACKED, _LAST_ACK_RECEIVED, _RTT, _RTT_DEVIATION, _RESENT = 24, 56, 68, 72, 100
_BYTES_ACKED, _UNSENT_BYTES, _SHORTEST_RTT, _DELIVERED = 120, 144, 148, 192
_BYTES_SENT, _BYTES_RESENT, _SPURIOUS = 200, 208, 216
_LEAST_SIZE, _SIZE = 196, 220  # Linux 4.19 and newer tell all of it
_NONE = 0xFFFFFFFF

_SO_MAX_PACING_RATE = 47
"""socket(7) does not name it: include/uapi/asm-generic/socket.h. Without a queueing discipline that paces, TCP itself
does (Linux 4.13)."""

_MICROSECOND, _MILLISECOND = 1e-6, 1e-3


def sample(sock: socket.socket, connection: int, path: str) -> Sample | None:
    """A sample of a connected socket; None where this system tells none, or the connection is gone.

    Args:
        sock: the socket, or a duplicate of it.
        connection: tells connections apart.
        path: where it leads.
    """
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _SIZE)
    except (OSError, AttributeError):  # no TCP any more; no Linux
        return None
    if len(info) < _LEAST_SIZE:
        return None

    def number(offset: int) -> int:
        found: int = struct.unpack_from("=I", info, offset)[0]
        return found

    def long_number(offset: int) -> int:
        found: int = struct.unpack_from("=Q", info, offset)[0]
        return found

    shortest, all_of_it = number(_SHORTEST_RTT), len(info) >= _SIZE
    return Sample(
        connection=connection,
        path=path,
        rtt=number(_RTT) * _MICROSECOND,
        deviation=number(_RTT_DEVIATION) * _MICROSECOND,
        shortest=0.0 if shortest == _NONE else shortest * _MICROSECOND,
        acked=long_number(_BYTES_ACKED),
        delivered=number(_DELIVERED),
        resent=number(_RESENT),
        waiting=bool(number(_UNACKED) or number(_UNSENT_BYTES)),
        silent=number(_LAST_ACK_RECEIVED) * _MILLISECOND,
        given=long_number(_BYTES_SENT) - long_number(_BYTES_RESENT) + number(_UNSENT_BYTES) if all_of_it else 0,
        spurious=number(_SPURIOUS) if all_of_it else 0,
    )


def smooth(sock: socket.socket, rate: int | None) -> bool:
    """Has the kernel send at no more than `rate` bytes per second, evenly; None takes that back.

    Returns:
        Whether it does.
    """
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_MAX_PACING_RATE, struct.pack("=I", min(rate or _NONE, _NONE)))
    except OSError:
        return False
    return True
