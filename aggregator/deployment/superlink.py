"""The program of Flower's server: ``python -m aggregator.deployment.superlink HOME``.

Also where its files are and how to speak to it from this machine.
"""

from __future__ import annotations

import sys
from pathlib import Path

from aggregator.authority import CA, LOOPBACK, LOOPBACK_KEY
from aggregator.home import key_path, read_coordinator
from fedrad.flower.control import Control
from fedrad.flower.tasks import Runtime
from fedrad.processes import GIVES_MEMORY_BACK, Plan

FOLDER, DATABASE, SECRET = "superlink", "state.db", "superexec.secret"


def link_plan(home: Path) -> Plan:
    """Return how to start Flower's server."""
    return Plan(
        name="superlink",
        command=(sys.executable, "-m", "aggregator.deployment.superlink", str(home)),
        log=home / FOLDER / "superlink.log",
        environment={"FLWR_HOME": str(home / FOLDER / "flower"), **GIVES_MEMORY_BACK},
        grace_s=5.0,
    )


def runtime(home: Path) -> Runtime:
    """Return where its tasks are taken."""
    ports = read_coordinator(home).ports
    return Runtime(f"127.0.0.1:{ports.superlink}", key_path(home, CA).read_bytes())


def control(home: Path) -> Control:
    """Return a connection to its Control API; to be closed."""
    found = runtime(home)
    return Control(found.address, found.ca or b"")


def secret(home: Path) -> bytes:
    """Return what the launcher and the server share."""
    return key_path(home, SECRET).read_bytes().strip()


def main(home: Path) -> None:
    """Be Flower's server."""
    from fedrad.flower.link import LinkOptions, run_link  # much of Flower, for this program alone

    ports = read_coordinator(home).ports
    run_link(
        LinkOptions(
            port=ports.superlink,
            health_port=ports.health,
            ca=key_path(home, CA),
            certificate=key_path(home, LOOPBACK),
            key=key_path(home, LOOPBACK_KEY),
            secret=key_path(home, SECRET),
            database=home / FOLDER / DATABASE,
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
