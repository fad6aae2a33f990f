"""One real round of a real site, asked and answered through its app, to look at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from tiny_study import TinyStudy, copy_study

from fedrad.clock import SystemClock
from fedrad.screens.access import KeyDoor
from site_client import correspondence
from site_client.dashboard.site_map import SitePages


def answered(study: TinyStudy, site: str = "east") -> Path:
    """Let a site train and measure once, its letters noted as its app notes them."""
    program, home = study.site(site), study.home(site)
    for phase in ("train", "evaluate"):
        request = study.ask(phase)  # type: ignore[arg-type]
        correspondence.received(home, request, 9_000)
        correspondence.sent(home, program.answer(request, study.model), 11_000)
    return home


@pytest.fixture(scope="session")
def worked(hospitals: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the home of a site that answered two questions today; read-only."""
    return answered(copy_study(hospitals, tmp_path_factory.mktemp("worked") / "run"))


@pytest.fixture
def look() -> Callable[..., TestClient]:
    """Return what opens a home's pages in the role of a viewer or an operator."""

    def opened(home: Path, role: str = "operator") -> TestClient:
        door = KeyDoor(8601, operator="Dr A")
        client = TestClient(
            SitePages(home, SystemClock()).behind(door)[0], base_url="http://127.0.0.1"
        )
        client.get(f"/enter?key={door.keys[role]}")  # type: ignore[index]
        return client

    return opened
