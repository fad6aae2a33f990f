"""Two machines on one: network namespaces joined by a cable, and a listener on all of one's lines.

Needs root and iproute2; everything is gone at the end.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from fedrad.processes import Child, Plan

HUB, SITE = "10.213.77.1", "10.213.77.2"
_LISTEN = """
import json, socket, struct, sys
everything = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.ntohs(3))
print(json.dumps("ready"), flush=True)
seen = set()
while True:
    data, (interface, protocol, kind, *_) = everything.recvfrom(65535)
    if protocol == 0x0800:
        family, start = 4, (data[0] & 15) * 4
        number, source, to = data[9], socket.inet_ntoa(data[12:16]), socket.inet_ntoa(data[16:20])
    elif protocol == 0x86DD:
        family, start, number = 6, 40, data[6]
        source = socket.inet_ntop(socket.AF_INET6, data[8:24])
        to = socket.inet_ntop(socket.AF_INET6, data[24:40])
    else:
        continue
    if number not in (6, 17):
        continue
    ports = struct.unpack("!HH", data[start:start + 4])
    begins = number == 6 and data[start + 13] & 0x12 == 0x02
    packet = (interface, kind == 4, {6: "tcp", 17: "udp"}[number], source, to, ports[1], begins)
    if packet not in seen:
        seen.add(packet)
        print(json.dumps(packet), flush=True)
"""


@dataclass(frozen=True)
class Packet:
    """One kind of packet that was seen in a namespace."""

    interface: str
    outgoing: bool
    protocol: str
    source: str
    to: str
    port: int  # at ``to``
    begins: bool  # a connection


class Cable:
    """A hub's and a site's machine; ``run`` starts programs on either."""

    def __init__(self, folder: Path) -> None:
        if os.geteuid() or shutil.which("ip") is None:
            pytest.skip("missing: root and iproute2, to make network namespaces")
        self.folder, mark = folder, f"{os.getpid() % 100_000}"
        self.hub, self.site = f"fedrad-h{mark}", f"fedrad-s{mark}"
        self._ends = (f"fh{mark}", f"fs{mark}")
        self._ip("netns", "add", self.hub)
        self._ip("netns", "add", self.site)
        self._ip("link", "add", self._ends[0], "type", "veth", "peer", "name", self._ends[1])
        for name, end, address in zip((self.hub, self.site), self._ends, (HUB, SITE), strict=True):
            self._ip("link", "set", end, "netns", name)
            self._ip("-n", name, "addr", "add", f"{address}/24", "dev", end)
            self._ip("-n", name, "link", "set", end, "up")
            self._ip("-n", name, "link", "set", "lo", "up")
        self._ip("-n", self.site, "route", "add", "default", "via", HUB)

    def start(self, machine: str, name: str, *command: str) -> Child:
        """Start a program on one of the machines."""
        line = ("ip", "netns", "exec", machine, *command)
        return Child(Plan(name=name, command=line, log=self.folder / f"{name}.log", grace_s=40.0))

    def ask(self, machine: str, *command: str) -> str:
        """Run a program on one of the machines and return what it prints."""
        line = ["ip", "netns", "exec", machine, *command]
        return subprocess.run(line, capture_output=True, text=True, check=False).stdout

    def listen(self, machine: str) -> Child:
        """Begin to note every packet that a machine sends or gets; returns once it does."""
        child = self.start(machine, "packets", sys.executable, "-c", _LISTEN)
        while not child.plan.log.exists() or not child.plan.log.read_text():
            assert child.alive
            time.sleep(0.05)
        return child

    def packets(self) -> set[Packet]:
        """Return what was noted."""
        lines: Sequence[str] = (self.folder / "packets.log").read_text().splitlines()[1:]
        return {Packet(*json.loads(line)) for line in lines}

    def close(self) -> None:
        """Take both machines away."""
        for name in (self.hub, self.site):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)

    def _ip(self, *words: str) -> None:
        done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
        if done.returncode:
            self.close()
            pytest.skip(f"missing: network namespaces ({done.stderr.strip()})")
