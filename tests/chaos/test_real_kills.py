"""Whole studies under SIGKILL at random instants, in real processes on real files."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest

from simulations.faults.events import Schedule
from simulations.faults.history import read
from simulations.faults.invariants import check
from simulations.faults.killed import play_killed

pytestmark = pytest.mark.long


def test_a_study_that_is_killed_again_and_again_breaks_no_promise(memory: Path, studies) -> None:
    folder = Path(tempfile.mkdtemp(dir=memory))
    history, kills = play_killed(studies.of(0), folder, np.random.default_rng(3))
    assert kills > 0
    assert history.lives[-1] == "done"
    assert not check(history)


def test_two_hundred_kills_of_whole_studies_break_no_promise(memory: Path, studies) -> None:
    rng, kills = np.random.default_rng(4), 0
    while kills < 200:
        folder = Path(tempfile.mkdtemp(dir=memory))
        history, more = play_killed(studies.of(kills), folder, rng)
        assert not check(history), history.lives[-1]
        kills += more


def test_a_study_that_nobody_killed_is_the_quiet_one(memory: Path, studies, playing) -> None:
    """The same bits, but for a study that was never disturbed: the stand-ins are the same."""
    quiet = read(playing(Schedule(0)))

    class Never:
        def uniform(self, *_: float) -> float:
            return 30.0

    folder = Path(tempfile.mkdtemp(dir=memory))
    history, kills = play_killed(studies.of(0), folder, Never())
    assert kills == 0
    assert [row["model_digest"] for row in read(history).changing] == [
        row["model_digest"] for row in quiet.changing
    ]
