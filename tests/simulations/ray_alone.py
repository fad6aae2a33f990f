"""Run the tiny federation on Ray and write what left the sites; started by a test.

Ray listens on every address of the machine, so the test starts this in a network of its own
that has nothing but loopback.
"""

from __future__ import annotations

import fcntl
import json
import socket
import struct
import sys
from pathlib import Path

from tiny_federation import SITES, TinySites, tiny_setup, tiny_task

from aggregator.app import server_app
from simulations.engines import run_ray

SET_FLAGS, UP_AND_RUNNING = 0x8914, 0x1 | 0x40  # netdevice(7)


def main(folder: Path) -> None:
    """Bring loopback up, run two rounds, write ``seen.json`` beside the run."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        fcntl.ioctl(handle, SET_FLAGS, struct.pack("16sh", b"lo", UP_AND_RUNNING))
    seen: list[tuple[str, str, int]] = []

    def note(site: str, phase: str, number: int, _: bytes) -> None:
        seen.append((site, phase, number))

    setup = tiny_setup(folder, tiny_task(rounds=2, deadline_s=100.0))
    run_ray(server_app(setup), SITES, TinySites(), workers=2, observer=note)
    (folder / "seen.json").write_text(json.dumps(seen), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
