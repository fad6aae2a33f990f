"""Where things lie in the folder of a simulated run, besides what a real run has."""

from __future__ import annotations

from pathlib import Path

SITES, HOME = "sites", "home"


def site_folder(run: Path, site: str) -> Path:
    """Return the folder of one hospital: its archive, its labels, its site home."""
    return run / SITES / site


def home_of(run: Path, site: str) -> Path:
    """Return the site home of one hospital."""
    return site_folder(run, site) / HOME
