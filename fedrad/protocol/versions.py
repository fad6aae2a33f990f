"""Which fedrads work together: those that speak one wire protocol, whatever their releases.

The wire protocol is ``messages.SCHEMA``: a number of its own that moves only when a message
changes in a way that the other end could not read. Releases of fedrad differ freely under
it. Each end says what it speaks before a round: a site when it greets the gateway, the
gateway in its answer. How it travels is ``site_client.node.greeting``'s and
``aggregator.deployment.greetings``'s business.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from typing import Any

import fedrad
from fedrad.errors import ProtocolError
from fedrad.flower.bundle import bundle_digest
from fedrad.protocol.messages import SCHEMA

PATH = "/v1/fedrad"  # of the gateway: where both ends say what they speak
MOST_BYTES = 1000  # of an answer
_RELEASE = re.compile(r"[0-9A-Za-z.+-]{1,40}")
_HIGHEST = 10_000
_LATEST = 100  # looked for among bundles


@dataclass(frozen=True, slots=True)
class Speaker:
    """What one end speaks."""

    wire: int
    release: str  # of fedrad, for people to read; decides nothing

    def difference(self, site: str) -> str:
        """Return why this end and a site's cannot work together; empty: they can.

        Args:
            site: Whose greeting this is, or ``""``: this is the coordinator's, read at a site.
        """
        if self.wire == SCHEMA:
            return ""
        who = f"site {site}" if site else "the coordinator"
        here = "this coordinator" if site else "this site"
        older = who if self.wire < SCHEMA else here
        return (
            f"{who} speaks wire protocol {self.wire} (fedrad {self.release}), {here} {SCHEMA} "
            f"(fedrad {fedrad.__version__}): no round can be answered; update fedrad at {older}"
        )


def ours() -> Speaker:
    """Return what this installation speaks."""
    return Speaker(SCHEMA, fedrad.__version__)


def to_text(speaker: Speaker) -> str:
    """Return it as one line of JSON."""
    return json.dumps(asdict(speaker), sort_keys=True)


def from_table(table: Any) -> Speaker:
    """Read what the other end says of itself.

    Args:
        table: Parsed JSON: ``wire``, a whole number or its digits, and ``release``.

    Raises:
        ProtocolError: It is not that.
    """
    if isinstance(table, dict):
        wire, release = str(table.get("wire", "")), table.get("release")
        known = isinstance(release, str) and _RELEASE.fullmatch(release)
        if known and wire.isascii() and wire.isdecimal() and int(wire[:9]) <= _HIGHEST:
            return Speaker(int(wire[:9]), str(release))
    raise ProtocolError("it does not say which wire protocol and which fedrad it is")


def from_text(text: str | bytes) -> Speaker:
    """Read one line of JSON.

    Raises:
        ProtocolError: It is not what ``to_text`` makes.
    """
    try:
        return from_table(json.loads(text[:MOST_BYTES]))
    except (ValueError, RecursionError):
        raise ProtocolError("it is no JSON") from None


def wire_of_bundle(digest: str) -> int:
    """Return the wire protocol whose constant bundle this is; 0: it is no such bundle."""
    return next((wire for wire in range(1, _LATEST) if bundle_digest(wire) == digest), 0)
