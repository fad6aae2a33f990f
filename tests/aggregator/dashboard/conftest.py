"""Runs with invented rows, to look at (benchmarks/histories.py)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from histories import History, write_history
from starlette.testclient import TestClient

from aggregator.dashboard.places import places
from aggregator.dashboard.presence import Presence
from aggregator.dashboard.site_map import Dashboard
from fedrad.clock import SystemClock
from fedrad.screens.access import KeyDoor
from fedrad.screens.guarding import LOOPBACK

TROUBLED = History(name="troubled", sites=5, rounds=8, windows=12, trouble=True)


@pytest.fixture
def troubled(tmp_path: Path) -> Path:
    """Return a run with another scanner, a refusal and a quarantine."""
    return write_history(tmp_path / "troubled", TROUBLED)


@pytest.fixture
def healthy(tmp_path: Path) -> Path:
    """Return a run that goes well."""
    return write_history(tmp_path / "healthy", History(name="healthy", rounds=4))


Browse = Callable[..., TestClient]


@pytest.fixture
def browse() -> Browse:
    """Return what opens runs in the role of a viewer or an operator."""

    def opened(*folders: Path, role: str = "operator") -> TestClient:
        door = KeyDoor(8600, operator="Dr A")
        dashboard = Dashboard(places(None, folders), Presence(None), SystemClock())
        client = TestClient(dashboard.behind(door, LOOPBACK)[0], base_url="http://127.0.0.1")
        client.get(f"/enter?key={door.keys[role]}")
        return client

    return opened
