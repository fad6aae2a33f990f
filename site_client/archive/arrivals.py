"""Take in what a PACS sends by C-STORE, on its way to an inbox, and stop what grows too large.

An instance lies in memory until it is whole, so its size is watched packet by packet. A
handler cannot raise into the library's threads: what went wrong is kept and raised later.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pynetdicom import evt

from site_client.archive.inbox import Inbox, NoRoomError, TooLargeError

_TAKEN, _NO_ROOM = 0x0000, 0xA700  # PS3.4 table B.2-1
_DATA = 0x04  # P-DATA-TF, PS3.8 sec. 9.3.5
_ENVELOPE = 1 << 20  # of commands and packets around one instance


@dataclass(slots=True)
class Arrivals:
    """The receiving end of one retrieval."""

    inbox: Inbox
    _bytes: int = 0
    _refusals: list[Exception] = field(default_factory=list)

    def on_store(self, event: evt.Event) -> int:
        """Write one instance as it came, and tell the PACS whether it is here."""
        self._bytes = 0
        if self._refusals:
            return _NO_ROOM
        try:
            self.inbox.take([event.encoded_dataset()])
        except (NoRoomError, TooLargeError, OSError) as error:
            self._refusals.append(error)
            return _NO_ROOM
        return _TAKEN

    def on_data(self, event: evt.Event) -> None:
        """Count what arrives, and end an association that sends more than one instance may have."""
        pdu: Any = event.pdu
        if pdu.pdu_type != _DATA:
            return
        self._bytes += len(pdu)
        if self._bytes > self.inbox.most_bytes + _ENVELOPE:
            self._refusals.append(TooLargeError(self.inbox.most_bytes))
            event.assoc.abort(block=False)
            event.assoc.dimse.msg_queue.put((None, None))  # wakes whoever waits for the rest

    def raise_refusal(self) -> None:
        """Raise the first thing that kept an instance out of the inbox, if there is one."""
        if self._refusals:
            raise self._refusals[0]
