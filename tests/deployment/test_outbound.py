"""A started site seen from outside: nothing listens, one destination, not a packet elsewhere.

The site has a machine of its own (a network namespace) whose way to everywhere leads over
one cable; every packet on that cable and on its loopback is noted.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from deployed import PROGRAM, Homes, need_nginx
from joined import CLOCK, STUDY
from namespaces import HUB, SITE, Cable, Packet
from tiny_study import tiny_task

from aggregator.enrol import Wishes, enrol
from aggregator.home import Coordinator
from aggregator.opening import open_home
from fedrad.contract import Conditions
from fedrad.processes import Child
from fedrad.task import write_task

pytestmark = pytest.mark.slow
PORT = 8443


@dataclass(frozen=True)
class Started:
    """A hub and one of its sites, each on a machine of its own."""

    cable: Cable
    homes: Homes
    site: Child

    def online(self) -> bool:
        said = self.cable.ask(
            self.cable.hub, *command("aggregator", "status", "--json"), str(self.homes.hub)
        )
        rows = json.loads(said)["sites"] if said else []
        return any(row["site"] == "east" and row["node"] == "online" for row in rows)


def command(module: str, *words: str) -> tuple[str, ...]:
    return (sys.executable, "-c", PROGRAM.format(module=module), *words, "--home")


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    need_nginx()
    folder = tmp_path_factory.mktemp("outbound")
    cable = Cable(folder)
    homes = enrolled(folder)
    children = [
        cable.start(cable.hub, "hub", *command("aggregator", "start"), str(homes.hub)),
        cable.listen(cable.site),
        cable.start(cable.site, "east", *command("site_client", "start"), str(homes.home("east"))),
    ]
    found = Started(cable, homes, children[-1])
    try:
        until(found.online)
        time.sleep(3)  # the worker's libraries are loaded meanwhile
        yield found
    finally:
        for child in reversed(children):
            child.end()
        cable.close()


def until(holds: object, wait_s: float = 150.0) -> None:
    end_s = time.monotonic() + wait_s
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < end_s
        time.sleep(0.5)


def enrolled(folder: Path) -> Homes:
    """Make a hub that hospitals reach at an address without a name, so that nothing is resolved."""
    homes = Homes(folder)
    for name in ("east", "north", "south"):
        homes.join(name)
    who = Coordinator(name="The hub", address=f"{HUB}:{PORT}")
    open_home(homes.hub, who, CLOCK, listen=f"{HUB}:{PORT}")
    write_task(folder / "task.toml", tiny_task())
    conditions = Conditions(expires="2099-12-31", recipients=("the sites",))
    wishes = Wishes(study=STUDY, task=folder / "task.toml", conditions=conditions)
    enrol(homes.hub, [homes.request(name) for name in ("east", "north", "south")], wishes, CLOCK)
    homes.accept("east")
    homes.approve("east")
    return homes


def test_nothing_of_a_site_can_be_reached_from_outside(started: Started) -> None:
    """The tables of the kernel, of the site's own machine: 0A is LISTEN, addresses hexadecimal."""
    assert started.site.alive
    rows = []
    for table in ("tcp", "tcp6", "udp", "udp6"):
        path = f"/proc/{started.site.process.pid}/net/{table}"
        rows += [(table, line.split()) for line in Path(path).read_text().splitlines()[1:]]
    listening = {
        row[1].split(":")[0] for table, row in rows if row[3] == "0A" or table.startswith("udp")
    }
    assert listening  # Flower's node has its port on the loopback
    assert listening <= {"0100007F", "0000000000000000FFFF00000100007F"}


def test_a_site_connects_to_one_destination_and_sends_nothing_anywhere_else(
    started: Started,
) -> None:
    """No telemetry, no update check, no name that is looked up."""
    outside = {one for one in started.cable.packets() if one.interface != "lo"}
    assert {(one.protocol, one.to, one.port) for one in outside if one.outgoing} == {
        ("tcp", HUB, PORT)
    }
    assert {one.source for one in outside if not one.outgoing} == {HUB}
    assert not [one for one in outside if one.begins and not one.outgoing]
    assert [one for one in outside if one.begins]


def test_on_its_own_machine_only_its_own_parts_talk(started: Started) -> None:
    inside: set[Packet] = {one for one in started.cable.packets() if one.interface == "lo"}
    assert {one.protocol for one in inside} <= {"tcp"}
    assert {one.to for one in inside} <= {"127.0.0.1"}


def test_the_listener_would_have_seen_a_packet_elsewhere(started: Started) -> None:
    """A test of the test: a name is asked for and a page fetched, as telemetry would."""
    code = "import socket\nfor kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):\n"
    code += "    door = socket.socket(socket.AF_INET, kind)\n    door.settimeout(0.2)\n"
    code += "    try:\n        door.connect(('192.0.2.7', 53)); door.send(b'x')\n"
    code += "    except OSError:\n        pass\n"
    started.cable.ask(started.cable.site, sys.executable, "-c", code)
    until(lambda: {"udp", "tcp"} == {p.protocol for p in elsewhere(started)}, 20)
    assert {one.source for one in elsewhere(started)} == {SITE}


def elsewhere(started: Started) -> list[Packet]:
    return [one for one in started.cable.packets() if re.fullmatch(r"192\.0\.2\.\d+", one.to)]
