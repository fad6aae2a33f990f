"""What each hospital last said of the fedrad that it runs, from the gateway's log of greetings.

A site greets the gateway when it starts and now and then; the gateway notes who it was, by
its certificate, and what it said. Nothing here decides who may come in: it lets a person
see, before a round, that two ends cannot work together.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from aggregator.deployment.gateway import GREETINGS
from fedrad import durable
from fedrad.errors import ProtocolError
from fedrad.protocol.versions import Speaker, from_table

_SUBJECT = "CN="
_LONGEST = 1 << 16  # bytes of a line that are read


@dataclass(frozen=True, slots=True)
class Greeting:
    """The last that one hospital said."""

    site: str
    time: str  # UTC, to the second
    speaker: Speaker


def read_greetings(home: Path) -> dict[str, Greeting]:
    """Return the last greeting of every hospital that ever greeted, by name."""
    return {greeting.site: greeting for greeting in _all(home)}


def differences(home: Path, sites: Iterable[str]) -> dict[str, str]:
    """Return, for each of these hospitals that cannot work with this coordinator, why."""
    heard = read_greetings(home)
    found = {site: heard[site].speaker.difference(site) for site in sites if site in heard}
    return {site: why for site, why in found.items() if why}


def trim(home: Path) -> None:
    """Keep the last greeting of each hospital; call it while no gateway writes."""
    path = _path(home)
    if path.exists():
        lines = [json.dumps(_line(greeting)) for greeting in read_greetings(home).values()]
        durable.write_bytes(path, "".join(f"{line}\n" for line in lines).encode())


def _all(home: Path) -> Iterator[Greeting]:
    try:
        content = _path(home).read_bytes()
    except FileNotFoundError:
        return
    for line in content.splitlines():
        try:
            table = json.loads(line[:_LONGEST])
            when = datetime.fromtimestamp(float(table["time"]), UTC)
            name = str(table["site"]).removeprefix(_SUBJECT)
            yield Greeting(name, f"{when:%Y-%m-%dT%H:%M:%SZ}", from_table(table))
        except (ValueError, KeyError, TypeError, OverflowError, ProtocolError):
            continue  # a hospital may say anything


def _line(greeting: Greeting) -> dict[str, str]:
    when = datetime.fromisoformat(greeting.time).timestamp()
    said = {"wire": str(greeting.speaker.wire), "release": greeting.speaker.release}
    return {"site": f"{_SUBJECT}{greeting.site}", "time": f"{when:.3f}", **said}


def _path(home: Path) -> Path:
    return home / "gateway" / GREETINGS
