"""Greet the coordinator: say which wire protocol this site speaks, hear which one it does.

At the start and now and then, over the one connection out. What is heard lies in
``state/node/coordinator.json``; a difference that cannot work is told on the site's screen
before a round, and at the coordinator on its own. Nothing about a patient is said.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx

from fedrad import durable, signatures
from fedrad.clock import Clock, SystemClock, stamp
from fedrad.errors import FedradError, ProtocolError, UnreachableError
from fedrad.flower.door import NodeOptions, http_client
from fedrad.flower.keys import header_of_key
from fedrad.protocol import versions
from fedrad.protocol.versions import Speaker
from site_client import audit
from site_client.joining import node_key

NOTE = Path("state", "node", "coordinator.json")
KEY_HEADER = "flwr-public-key"  # Flower's; the gateway binds the certificate to it
_AGAIN_S, _SOON_S = 300.0, 15.0
_log = logging.getLogger(__name__)


def greet(home: Path, options: NodeOptions) -> Speaker:
    """Say what this site speaks; return what the coordinator does.

    Raises:
        UnreachableError: Nobody answered, or not with an answer to a greeting.
        ProtocolError: The answer cannot be read.
    """
    own = versions.ours()
    said = {"wire": str(own.wire), "release": own.release}
    try:
        url, headers = f"https://{options.address}{versions.PATH}", key_header(home)
        with (
            http_client(options) as door,
            door.stream("GET", url, params=said, headers=headers) as answer,
        ):
            content = next(answer.iter_raw(versions.MOST_BYTES), b"")
    except (httpx.HTTPError, OSError) as error:
        raise UnreachableError(f"the coordinator does not answer: {error}") from None
    if answer.status_code != httpx.codes.OK:
        raise UnreachableError(f"the coordinator answers a greeting with {answer.status_code}")
    return versions.from_text(content)


def key_header(home: Path) -> dict[str, str]:
    """Return the header by which the gateway knows this site's node."""
    return {KEY_HEADER: header_of_key(signatures.public_text(node_key(home)))}


def read_note(home: Path) -> Speaker | None:
    """Return what the coordinator last said; ``None`` if it never did."""
    with suppress(OSError, ValueError, ProtocolError):
        return versions.from_table(json.loads((home / NOTE).read_bytes()))
    return None


class Greeter:
    """Greets in the background until it is ended."""

    def __init__(
        self,
        home: Path,
        options: NodeOptions,
        tell: Callable[[str], None] = _log.warning,
        *,
        clock: Clock | None = None,
    ) -> None:
        self._home, self._options, self._tell = home, options, tell
        self._clock, self._ended, self._told = clock or SystemClock(), threading.Event(), ""
        threading.Thread(target=self._keep_greeting, daemon=True).start()

    def end(self) -> None:
        """Greet no more."""
        self._ended.set()

    def _keep_greeting(self) -> None:
        while not self._ended.wait(_AGAIN_S if self._once() else _SOON_S):
            pass

    def _once(self) -> bool:
        try:
            heard = greet(self._home, self._options)
            table = {"wire": heard.wire, "release": heard.release, "time": stamp(self._clock)}
            durable.write_json(self._home / NOTE, table)
            self._say(heard.difference(""))
        except (FedradError, OSError):
            return False  # Flower's node says why on its log; fedrad-site doctor in words
        return True

    def _say(self, difference: str) -> None:
        if difference and difference != self._told:
            self._tell(difference)
            audit.record(self._home, self._clock, "warning", sentence=difference)
        self._told = difference
