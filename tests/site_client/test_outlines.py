"""Windows of outlines: cases measured as MONAI and scipy say, told in one noised release."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_study import EXACT, TinyStudy
from watched_outlines import watched_outlines
from watched_study import site_on

from fedrad.metrics.boundaries import CELLS
from fedrad.protocol.messages import Block, Reply
from fedrad.shift.agreed import check_window
from site_client.outlines import surfaces

Masks = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]


def square(left: int, size: int = 40) -> Masks:
    mask = np.zeros((1, 64, 64), dtype=bool)
    mask[0, 10 : 10 + size, left : left + size] = True
    return mask


def ask(study: TinyStudy, number: int) -> Reply:
    return site_on(study, "2025-01-01").answer(study.ask("window", number), study.model)


def blocks(reply: Reply) -> dict[str, Block]:
    return {block.name: block for block in reply.blocks}


def test_a_moved_square_is_as_far_off_as_it_was_moved() -> None:
    assert surfaces(square(10), square(10), (1.0, 1.0)) == (1.0, 0.0)
    near, far = surfaces(square(10), square(15), (1.0, 1.0))
    assert far == pytest.approx(5.0)
    assert 0.4 < near < 0.8  # the upright sides are 5 off, most of the others lie on each other
    assert surfaces(square(10), square(15), (2.0, 2.0))[1] == pytest.approx(10.0)


def test_empty_predictions_are_as_bad_as_can_be_and_empty_references_say_nothing() -> None:
    empty = np.zeros((1, 64, 64), dtype=bool)
    assert surfaces(square(10), empty, (1.0, 1.0)) == (0.0, np.inf)
    assert np.isnan(surfaces(empty, square(10), (1.0, 1.0))).all()
    both = np.concatenate([square(10), empty])
    assert surfaces(both, np.concatenate([square(10)] * 2), (1.0, 1.0)) == (1.0, 0.0)


def test_a_window_of_outlines_counts_every_patient_once(tmp_path: Path) -> None:
    study = watched_outlines(tmp_path / "run", *EXACT)
    found = blocks(ask(study, 1))
    assert found["n"].values == [12]
    assert found["dice_histogram"].values.sum() == 12
    scored = found["dice_histogram"].values[:-2].sum()
    for name in CELLS:
        assert found[name].values.sum() == scored
    assert 0 <= found["dice_sum"].values[0] <= scored
    assert found["tags"].values.sum() > 0


def test_a_window_of_outlines_is_noised_as_agreed(tmp_path: Path) -> None:
    study = watched_outlines(tmp_path / "run")
    reply = ask(study, 1)
    assert reply.outcome == "done"
    sigma = study.contract.sites["east"].window_sigma
    check_window(reply.blocks, study.task, "window", window_sigma=sigma)
