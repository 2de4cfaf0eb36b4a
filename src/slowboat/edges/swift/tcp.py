"""What Linux tells about a TCP connection, as a sample for the pace.

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
_SIZE = 196
_NONE = 0xFFFFFFFF

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
    if len(info) < _SIZE:
        return None

    def number(offset: int) -> int:
        found: int = struct.unpack_from("=I", info, offset)[0]
        return found

    shortest = number(_SHORTEST_RTT)
    return Sample(
        connection=connection,
        path=path,
        rtt=number(_RTT) * _MICROSECOND,
        deviation=number(_RTT_DEVIATION) * _MICROSECOND,
        shortest=0.0 if shortest == _NONE else shortest * _MICROSECOND,
        acked=struct.unpack_from("=Q", info, _BYTES_ACKED)[0],
        delivered=number(_DELIVERED),
        resent=number(_RESENT),
        waiting=bool(number(_UNACKED) or number(_UNSENT_BYTES)),
        silent=number(_LAST_ACK_RECEIVED) * _MILLISECOND,
    )
