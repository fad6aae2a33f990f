"""The program of Flower's node: ``python -m site_client.node.connector HOME PORT``.

It makes the site's one connection, to the coordinator's gateway, through the hospital's
proxy if there is one. It reads no patient and opens no bundle.
"""

from __future__ import annotations

import secrets
import sys
from pathlib import Path

from fedrad import durable
from fedrad.errors import SettingsError
from fedrad.flower.door import NodeOptions
from fedrad.processes import GIVES_MEMORY_BACK, Plan
from site_client.settings import SiteSettings, read_site

FOLDER = "node"  # in the home's state/
KEYS = ("node.key", "tls.key", "tls.pem", "coordinator-ca.pem")


def node_folder(home: Path) -> Path:
    """Return where the site's programs keep what they share."""
    return home / "state" / FOLDER


def secret_path(home: Path) -> Path:
    """Return the file with what node and launcher share."""
    return node_folder(home) / "superexec.secret"


def new_secret(home: Path) -> bytes:
    """Write and return a new secret; the node reads it when it starts."""
    path, content = secret_path(home), secrets.token_hex(32).encode("ascii")
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    durable.write_bytes(path, content)
    path.chmod(0o600)
    return content


def connector_plan(home: Path, port: int) -> Plan:
    """Return how to start Flower's node; its Runtime API will listen on ``port``."""
    return Plan(
        name="node",
        command=(sys.executable, "-m", "site_client.node.connector", str(home), str(port)),
        log=home / "logs" / "node.log",
        environment={"FLWR_HOME": str(node_folder(home) / "flower"), **GIVES_MEMORY_BACK},
        read=True,
        grace_s=5.0,
        memory=int(read_site(home).resources.memory_gib * 2**30),
        advice="; fedrad-site doctor says why",
    )


def node_options(home: Path, settings: SiteSettings, port: int) -> NodeOptions:
    """Return what Flower's node is to be told.

    Raises:
        SettingsError: The site has joined nobody, or a key or the proxy's password is missing.
    """
    if settings.coordinator is None:
        line = "there is no [coordinator]: fedrad-site join, then fedrad-site accept"
        raise SettingsError(str(home / "site.toml"), (line,))
    keys = {name: home / "keys" / name for name in KEYS}
    missing = [str(path) for path in keys.values() if not path.is_file()]
    if missing:
        line = "is missing: fedrad-site join, then fedrad-site accept"
        raise SettingsError(missing[0], (line,))
    proxy = settings.proxy
    return NodeOptions(
        address=settings.coordinator.address,
        ca=keys["coordinator-ca.pem"],
        certificate=keys["tls.pem"],
        key=keys["tls.key"],
        node_key=keys["node.key"],
        secret=secret_path(home),
        port=port,
        proxy=proxy.url if proxy else "",
        proxy_user=proxy.user if proxy else "",
        proxy_password=proxy.password() if proxy else "",
        most_bytes=int(settings.resources.message_mib * 2**20),
    )


def main(home: Path, port: int) -> None:
    """Be Flower's node."""
    from fedrad.flower.node import run_node  # much of Flower, for this program alone

    run_node(node_options(home, read_site(home), port))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
