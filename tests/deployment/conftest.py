"""One open coordinator for all tests that only knock at its door."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from deployed import Federation, make_doors, need_nginx

from fedrad.errors import FedradError
from site_client.node.connector import node_options
from site_client.node.greeting import greet
from site_client.settings import read_site


@pytest.fixture(scope="session")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """Open a coordinator with three enrolled hospitals; none is started, none is changed."""
    need_nginx()
    running = Federation(make_doors(tmp_path_factory.mktemp("door")))
    running.start("hub", "aggregator", running.hub)
    running.until(lambda: _answers(running))
    yield running
    running.close()


def _answers(door: Federation) -> bool:
    home = door.homes.home("south")
    try:
        greet(home, node_options(home, read_site(home), port=1))
    except (FedradError, httpx.HTTPError):
        return False
    return True
