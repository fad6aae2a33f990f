"""What the coordinator's gateway says of this site: the time, whether it is enrolled, its release.

One greeting over the connection that ``authenticity`` opened, as the site's own programs
send. Flower's server accepts a node's signature if it is at most ``CLOCK_BEHIND_S`` old and
at most ``CLOCK_AHEAD_S`` from the future.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from urllib.parse import urlencode

from fedrad.errors import ProtocolError
from fedrad.flower.door import NodeOptions
from fedrad.flower.node import CLOCK_AHEAD_S, CLOCK_BEHIND_S
from fedrad.protocol import versions
from site_client.doctor.authenticity import server_date
from site_client.doctor.way_out import Blocked, split_address
from site_client.node.greeting import key_header
from site_client.preflight.lines import POLICY, UNREACHABLE, Line, no, ok, warning

_GRAIN_S = 1.0  # the Date header's, and the way's
_BUSY, _BAD_CERTIFICATE, _NOT_BOUND = 503, 400, 421


def door_lines(home: Path, options: NodeOptions, safe: ssl.SSLSocket, now: datetime) -> list[Line]:
    """Greet the gateway and return what it says.

    Args:
        home: The site's folder.
        options: The connection.
        safe: The open one.
        now: By this machine, just before.

    Raises:
        Blocked: It breaks off.
    """
    host, _ = split_address(options.address)
    asked = http.client.HTTPConnection(host)
    asked.sock = safe
    try:
        asked.request("GET", _path(), headers=key_header(home) | {"Host": options.address})
        answer = asked.getresponse()
        content = answer.read(versions.MOST_BYTES)
    except (OSError, http.client.HTTPException) as error:
        do = "a certificate that the gateway refuses can look so; ask the coordinator to look at "
        do += "fedrad-aggregator logs --of gateway"
        found = f"the gateway breaks off: {type(error).__name__}"
        raise Blocked(no("enrolment", found, do=do, code=UNREACHABLE)) from None
    return [*_clock(answer, now), *_enrolment(answer.status, content)]


def _path() -> str:
    own = versions.ours()
    return f"{versions.PATH}?{urlencode(asdict(own))}"


def _clock(answer: http.client.HTTPResponse, now: datetime) -> Iterator[Line]:
    theirs = server_date(answer.headers)
    if theirs is None:
        yield warning("clock", "the coordinator says no time", do="compare it with a clock by NTP")
        return
    ahead_s = (now - theirs).total_seconds()
    found = f"{abs(ahead_s):.0f} s {'ahead of' if ahead_s > 0 else 'behind'} the coordinator's"
    limit = f"at most {CLOCK_AHEAD_S} s ahead, {CLOCK_BEHIND_S} s behind"
    if -CLOCK_BEHIND_S <= ahead_s <= CLOCK_AHEAD_S + _GRAIN_S:
        yield ok("clock", found, limit)
    else:
        do = "set this machine's clock and keep it by NTP; if it is right, tell the coordinator"
        yield no("clock", found, limit=limit, do=do)


def _enrolment(status: int, content: bytes) -> Iterator[Line]:
    if status == http.client.OK:
        yield ok("enrolment", "the gateway knows this site's certificate and key")
        yield _version(content)
    elif status == _NOT_BOUND:
        found = "the gateway knows no such pair of certificate and node key (421)"
        do = "this site is not enrolled with these keys: send the coordinator request.json again, "
        do += "and take in its newest answer with fedrad-site accept"
        yield no("enrolment", found, do=do, code=POLICY)
    elif status == _BAD_CERTIFICATE:
        found = "the gateway refuses this site's certificate (400)"
        do = "it was revoked, expired or is of a former authority: ask the coordinator; a new one "
        do += "begins with fedrad-site join --rotate"
        yield no("enrolment", found, do=do, code=POLICY)
    elif status == _BUSY:
        yield warning("enrolment", "the gateway asks to come later (503)", do="try in a minute")
    else:
        found = f"the gateway answers {status} to a greeting"
        do = "is this the coordinator's gateway? ask it; an older fedrad there knows no greeting"
        yield no("enrolment", found, do=do, code=UNREACHABLE)


def _version(content: bytes) -> Line:
    try:
        theirs = versions.from_text(content)
    except ProtocolError as error:
        do = "ask the coordinator which fedrad it runs"
        return no("version", f"the coordinator's answer cannot be read: {error}", do=do)
    difference = theirs.difference("")
    if difference:
        what, _, do = difference.rpartition("; ")
        return no("version", what, do=do)
    own = versions.ours()
    found = (
        f"wire protocol {own.wire} at both ends; fedrad {own.release} here, {theirs.release} there"
    )
    return ok("version", found)
