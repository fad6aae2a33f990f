"""Make the planted defects importable, and a place in memory to play schedules in."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from simulations.faults.events import Schedule
from simulations.faults.invariants import check
from simulations.faults.play import History, play
from simulations.faults.study import Studies, prepare

sys.path.insert(0, str(Path(__file__).parent))

Play = Callable[[Schedule], History]


@pytest.fixture(scope="session")
def memory() -> Iterator[Path]:
    """A folder in memory, where the machine has one: nothing is synced there."""
    shared = Path("/dev/shm")  # noqa: S108  # a private folder is made in it
    folder = Path(tempfile.mkdtemp(dir=shared if shared.is_dir() else None))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def studies(memory: Path) -> Studies:
    """The studies that schedules are played on."""
    return prepare(memory / "homes")


@pytest.fixture
def playing(memory: Path, studies: Studies) -> Iterator[Play]:
    """Plays schedules, each in a folder of its own."""
    folder = Path(tempfile.mkdtemp(dir=memory))
    played: list[Schedule] = []

    def run(schedule: Schedule) -> History:
        played.append(schedule)
        return play(schedule, studies, folder / str(len(played)))

    yield run
    shutil.rmtree(folder)


@pytest.fixture
def problems(playing: Play) -> Callable[[Schedule], tuple[str, ...]]:
    """Plays a schedule and returns every promise that it broke."""
    return lambda schedule: check(playing(schedule))
