"""Post-processing keeps what it says, and only where the task names it."""

from __future__ import annotations

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.measure import label

from fedrad.errors import SettingsError
from fedrad.output import Output
from fedrad.task import parse_task, task_hash
from site_client.predict.clean import cleaned, largest, said

MASKS = arrays.arrays(np.bool_, arrays.array_shapes(min_dims=2, max_dims=3, max_side=7))


@given(MASKS, st.integers(1, 4))
def test_the_largest_components_stay_as_they_were(mask: np.ndarray, count: int) -> None:
    """Components counted by another library."""
    parts = label(mask, connectivity=mask.ndim)
    sizes = sorted(np.bincount(parts.ravel())[1:].tolist(), reverse=True)
    kept = largest(mask, count)
    assert int(kept.sum()) == sum(sizes[:count])
    assert not (kept & ~mask).any()
    assert len(np.unique(parts[kept])) == min(count, len(sizes))


@given(MASKS)
def test_holes_are_what_no_border_reaches(mask: np.ndarray) -> None:
    filled = cleaned(mask, Output(fill_holes=True))
    padded = np.pad(~mask, 1, constant_values=True)
    parts = label(padded, connectivity=1)
    outside = (parts == parts.flat[0])[(slice(1, -1),) * mask.ndim]
    assert np.array_equal(filled, ~outside)


def test_a_ring_without_its_speck_becomes_a_disc() -> None:
    mask = np.zeros((9, 9), np.bool_)
    mask[1:6, 1:6] = True
    mask[3, 3] = False
    mask[8, 8] = True
    found = cleaned(mask, Output(components=1, fill_holes=True))
    assert found.sum() == 25
    assert found[3, 3]


@given(MASKS)
def test_a_task_that_names_nothing_changes_nothing(mask: np.ndarray) -> None:
    assert cleaned(mask, None) is mask
    assert cleaned(mask, Output()) is mask


def test_the_steps_are_said_in_order() -> None:
    steps = said(Output(components=2, fill_holes=True))
    assert steps == ("the 2 largest connected components", "holes filled")


@pytest.mark.parametrize(
    "table", [{"components": -1}, {"type": ["39607008", "SCT"]}, {"category": ["", "SCT", "x"]}]
)
def test_what_cannot_be_meant_is_refused(table: dict[str, object]) -> None:
    from tiny_study import tiny_task

    from fedrad.settings import as_table

    with pytest.raises(SettingsError, match="output"):
        parse_task(as_table(tiny_task()) | {"output": table})


def test_only_a_task_that_names_it_has_another_hash() -> None:
    from tiny_study import tiny_task

    from fedrad.settings import as_table

    task = tiny_task()
    assert "output" not in as_table(task)
    other = parse_task(as_table(task) | {"output": {"components": 1}})
    assert task_hash(other) != task_hash(task)
    assert parse_task(as_table(other)) == other
