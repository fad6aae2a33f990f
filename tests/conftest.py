"""What holds for every test: one thread, no deadline on a loaded machine, real parts in CI."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")

hypothesis.settings.register_profile("fedrad", deadline=None, print_blob=True)
hypothesis.settings.load_profile("fedrad")

REPOSITORY = Path(__file__).parents[1]


def real_data(name: str) -> Path:
    """Return a folder of real images, or skip: they never go into the repository."""
    root = Path(os.environ.get("FEDRAD_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (root / name).is_dir():
        pytest.skip(f"no real images at {root / name}; set FEDRAD_DATA to the folder that has them")
    return root / name


@pytest.fixture(scope="session")
def lungs() -> Path:
    """Return the published chest radiographs with lung masks."""
    return real_data("cxr_lungs")


@pytest.fixture(scope="session")
def pneumonia() -> Path:
    """Return the published chest radiographs of several sites."""
    return real_data("cxr_multisite")
