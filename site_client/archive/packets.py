"""Refuse a packet that claims to be larger than any of the protocol is.

The length of a packet (PS3.8 sec. 9.3.1) is four bytes of the other end's own; pynetdicom would
gather up to 4 GiB before anything else of ours is asked. What an instance may weigh is watched
by ``arrivals``.
"""

from __future__ import annotations

from typing import Any

from pynetdicom import evt

_MOST_BYTES = 1 << 20  # larger than what archives send whatever they are told


def watch_packets(event: evt.Event) -> None:
    """Limit what one read of this association's socket may ask for: on EVT_CONN_OPEN."""
    connection: Any = event.assoc.dul.socket
    if connection is not None:
        read = connection.recv

        def recv(length: int) -> bytearray:
            if length > _MOST_BYTES:
                raise OSError("a packet larger than any may be")  # the library hangs up
            return bytearray(read(length))

        connection.recv = recv
