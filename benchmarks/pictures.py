"""Photograph dashboards for docs/screens: the first screen of runs, and a hospital's page.

    python benchmarks/pictures.py --healthy RUN --demo RUN --home HOME --out docs/screens

Needs chromium and playwright. A run with invented rows says so in its banner; without
``--troubled`` such a run is made.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from histories import History, write_history
from playwright.sync_api import Browser, sync_playwright

TROUBLED = History(name="invented", sites=5, rounds=15, windows=14, trouble=True)


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--healthy", type=Path)
    parser.add_argument("--demo", type=Path)
    parser.add_argument("--troubled", type=Path)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/screens"))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        bad = asked.troubled or write_history(Path(folder) / "invented", TROUBLED)
        rootless = ["--no-sandbox"] if os.geteuid() == 0 else []
        found = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=found, args=rootless)
        with shown("aggregator", "--run", str(bad)) as address:
            photograph(browser, address, asked.out / "troubled.png")
            photograph(browser, address, asked.out / "troubled-phone-dark.png", phone=True)
        for name in ("healthy", "demo"):
            run = getattr(asked, name)
            if run is not None:
                with shown("aggregator", "--run", str(run)) as address:
                    photograph(browser, address, asked.out / f"{name}.png")
        if asked.home:
            with shown("site_client", "--home", str(asked.home)) as address:
                photograph(browser, address, asked.out / "hospital.png")
        browser.close()


@contextmanager
def shown(program: str, *options: str) -> Iterator[str]:
    """Run a dashboard's command; yield the operator's address."""
    start = f"from {program}.cli import app; app()"
    command = [sys.executable, "-c", start, "dashboard", "--port", "0", "--by", "Dr A", "--json"]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as process:
        try:
            said = next(iter(process.stdout or ()))
            yield json.loads(said)["operator"]
        finally:
            process.terminate()


def photograph(browser: Browser, address: str, path: Path, *, phone: bool = False) -> None:
    """Write a picture of the first screen, whole on a desk, its top on a phone."""
    size = {"width": 390, "height": 1400} if phone else {"width": 1280, "height": 900}
    context = browser.new_context(viewport=size, color_scheme="dark" if phone else "light")  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(address, timeout=120_000)
    page.locator("#lamp[data-state=on]").wait_for(timeout=120_000)
    page.screenshot(path=path, full_page=not phone)
    context.close()


if __name__ == "__main__":
    main()
