"""One browser for all tests of screens, and both dashboards as they run for people."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from histories import History, write_history, write_site_home
from playwright.sync_api import Browser, sync_playwright

SCRIPT = "<script>document.title='taken'</script>"
TROUBLED = History(name="troubled", sites=5, rounds=8, windows=12, trouble=True, odd_name=SCRIPT)

HEALTHY = History(name="healthy", rounds=4)


@dataclass(frozen=True)
class Shown:
    """A dashboard that answers: its folders and, by role, its addresses."""

    folder: Path
    addresses: dict[str, str]

    @property
    def base(self) -> str:
        """The address of its first page."""
        return self.addresses["viewer"].partition("/enter")[0]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start Debian's browser."""
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("missing: chromium")
    rootless = ["--no-sandbox"] if os.geteuid() == 0 else []  # it refuses its sandbox to root
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=rootless)
        yield started
        started.close()


@contextmanager
def shown(program: str, folder: Path, *options: str) -> Iterator[Shown]:
    """Run a dashboard's command until the test ends."""
    start = f"from {program}.cli import app; app()"
    command = [sys.executable, "-c", start, "dashboard", "--port", "0", "--by", "Dr A", "--json"]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield Shown(folder, json.loads(process.stdout.readline()))
        finally:
            process.terminate()
            process.wait(20)


@pytest.fixture(scope="module")
def coordinator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """Show a troubled run, whose first site has a script for a name, and a healthy one."""
    folder = tmp_path_factory.mktemp("runs")
    healthy = write_history(folder / "healthy", HEALTHY)
    troubled = write_history(folder / "troubled", TROUBLED)
    with shown("aggregator", folder, "--run", str(healthy), "--run", str(troubled)) as found:
        yield found


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """Show a site's home that answered, and was asked by a study with a script for a name."""
    home = write_site_home(tmp_path_factory.mktemp("site") / "home", odd_study=SCRIPT)
    with shown("site_client", home, "--home", str(home)) as found:
        yield found
