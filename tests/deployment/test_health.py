"""What a container's check says while something is missing; the well case is in containers."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from deployed import make_doors

from aggregator.cli import app as aggregator_app
from aggregator.deployment import health as hub_health
from aggregator.deployment.gateway import Gateway
from aggregator.deployment.server import _Server
from aggregator.deployment.state import only_server, read_note
from aggregator.home import read_coordinator
from fedrad.processes import Child, Plan, free_port
from site_client.cli import app as site_app
from site_client.node import health as site_health
from site_client.node.connector import node_folder
from site_client.node.start import _only_one


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_doors(tmp_path_factory.mktemp("homes")).folder


def test_a_site_that_is_not_started_is_sick(homes: Path) -> None:
    site = site_home(homes)
    assert site_health.sick(site) == "the site is not started"
    with pytest.raises(SystemExit) as ended:
        site_app(["health", "--home", str(site)])
    assert ended.value.code == 1


def test_a_started_site_without_its_node_is_sick(homes: Path) -> None:
    site = site_home(homes)
    with _only_one(site):
        assert site_health.sick(site) == "the site's node is being started again"


def test_a_node_counts_only_while_its_port_answers(homes: Path, tmp_path: Path) -> None:
    site, port = site_home(homes), free_port()
    words = ("import time; time.sleep(60)", "site_client.node.connector", str(site), str(port))
    node = Child(Plan(name="node", command=(sys.executable, "-c", *words), log=tmp_path / "log"))
    try:
        with _only_one(site):
            assert site_health.sick(site) == "the site's node does not answer"
            with socket.create_server(("127.0.0.1", port)):
                assert site_health.sick(site) == ""
    finally:
        node.end()


def test_a_coordinator_without_a_server_is_sick(homes: Path) -> None:
    assert hub_health.sick(homes / "hub") == "no server runs"
    with pytest.raises(SystemExit) as ended:
        aggregator_app(["health", "--home", str(homes / "hub")])
    assert ended.value.code == 1


def test_a_lock_alone_is_no_server(homes: Path) -> None:
    with only_server(homes / "hub"):
        assert hub_health.sick(homes / "hub") == "Flower's server does not answer"


def test_a_server_is_open_once_its_gateway_answers(homes: Path) -> None:
    """A port that is taken, or not this user's, ends nginx a moment after it was started."""
    server = object.__new__(_Server)
    server._home, server._open = homes / "hub", False
    server._gateway = Gateway(homes / "hub", read_coordinator(homes / "hub"))
    server._look = lambda: None
    server._link = server._launcher = SimpleNamespace(tend=lambda: None)
    server._door, server._beside = SimpleNamespace(tend=lambda: None, alive=True), []
    host, _, port = server._gateway.settings.gateway.listen.partition(":")
    assert not server.tend()
    with socket.create_server((host, int(port))):
        assert [server.tend(), server.tend()] == [True, False]
    assert read_note(homes / "hub")["state"] == "open"


def site_home(homes: Path) -> Path:
    site = homes / "sites" / "east" / "home"
    node_folder(site).mkdir(parents=True, exist_ok=True)
    return site
