"""What holds for every test: one thread, no deadline on a loaded machine, real parts in CI."""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from tiny_study import TinyStudy

os.environ.setdefault("OMP_NUM_THREADS", "1")

hypothesis.settings.register_profile("fedrad", deadline=None, print_blob=True)
hypothesis.settings.load_profile("fedrad")

MISSING = "missing: "  # how the reason of a skip for a missing real part begins


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail instead of skipping where FEDRAD_REQUIRE_REAL=1 asks for every real part."""
    report = yield
    required = os.environ.get("FEDRAD_REQUIRE_REAL") == "1"
    if report.skipped and required and MISSING in str(report.longrepr):
        report.outcome = "failed"
        report.longrepr = f"FEDRAD_REQUIRE_REAL=1 and {report.longrepr}"
    return report


REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(Path(__file__).parent / "studies"))  # tiny_study, for every test
sys.path.insert(0, str(Path(__file__).parent / "audits"))
sys.path.append(str(REPOSITORY / "benchmarks"))


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


@pytest.fixture(scope="session")
def dicom_files() -> Path:
    """Return 286 published DICOM files of many makers, some of them broken."""
    return real_data("dicom") / "files"


@pytest.fixture(scope="session")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write four phantom hospitals' archives, once a session; read-only."""
    from tiny_study import write_hospitals

    return made_once(tmp_path_factory, "hospitals", write_hospitals)


@pytest.fixture
def study(hospitals: Path, tmp_path: Path) -> TinyStudy:
    """Return a signed private study over fresh copies of the hospitals."""
    from tiny_study import copy_study

    return copy_study(hospitals, tmp_path / "run")


@pytest.fixture
def exact_study(hospitals: Path, tmp_path: Path) -> TinyStudy:
    """Return the same without privacy, with exact metrics."""
    from tiny_study import EXACT, copy_study

    return copy_study(hospitals, tmp_path / "run", *EXACT)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the tiny scenario once, baselines and report included; read-only.

    ``west`` allows little, so that it refuses; ``north`` has broken files; ``idle`` has none
    of its patients' labels and sits out.
    """
    from tiny_study import finish_run

    return made_once(tmp_path_factory, "finished", finish_run)


def made_once(folders: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Let one of the processes that share a test run make a folder; return it, whole."""
    base = folders.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    shared.mkdir(exist_ok=True)
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "made").exists():
            make(shared / "run")
            (shared / "made").touch()
    return shared / "run"
