"""One patient counts once in each block, in cells that are public."""

from __future__ import annotations

import math
import tomllib
from importlib import resources

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tiny_study import tiny_task

from fedrad.feasibility.cells import (
    OTHER,
    charged_as,
    layout,
    patient_cell,
    sums,
    vendor_cell,
    view_cell,
)
from fedrad.site_report import FEASIBILITY, shares_of
from fedrad.task import task_hash

TASK = tiny_task()
VOLUMES = tiny_task("data.dimensions=3", "recipe.size=[8,32,32]")
CELLS = layout(TASK)


def patients(least: int = 0) -> st.SearchStrategy[list[tuple[int, ...]]]:
    """Some patients, each with a cell of each block."""
    one = st.tuples(*(st.integers(0, len(names) - 1) for names in CELLS.values()))
    return st.lists(one, min_size=least, max_size=30)


def counted(people: list[tuple[int, ...]]) -> dict[str, np.ndarray]:
    columns = np.array(people, dtype=np.int64).reshape(-1, len(CELLS))
    return dict(zip(CELLS, columns.T, strict=True))


@given(patients(least=1), st.data())
def test_a_patient_moves_all_blocks_together_by_at_most_one(
    people: list[tuple[int, ...]], data: st.DataObject
) -> None:
    """The scale of each block is the root of its share over its sensitivity: site_report."""
    gone = data.draw(st.integers(0, len(people) - 1))
    with_, without = (
        sums(TASK, counted(people)),
        sums(TASK, counted(people[:gone] + people[gone + 1 :])),
    )
    moved = [
        np.linalg.norm(a.values - b.values) / a.sensitivity * math.sqrt(FEASIBILITY[a.name])
        for a, b in zip(with_, without, strict=True)
    ]
    assert math.hypot(*moved) <= 1 + 1e-12


def test_the_shares_of_a_record_sum_to_one_and_are_those_of_its_blocks() -> None:
    assert math.isclose(sum(FEASIBILITY.values()), 1)
    assert shares_of(sums(TASK, counted([]))) is FEASIBILITY


def test_every_split_and_label_has_a_cell_of_its_own() -> None:
    labels = (0, 1, None)
    found = [
        patient_cell(TASK, split, one) for split in ("train", "audit", "window") for one in labels
    ]
    assert found == list(range(9))
    assert CELLS["patients"][5] == "audit unlabelled"
    assert patient_cell(TASK, "test", None) == patient_cell(TASK, "window", None)


def test_where_the_truth_is_drawn_a_patient_has_it_or_not() -> None:
    lungs = tiny_task(
        "task.kind=segmentation", "labels.source=seg", "training.loss=dice", "model.name=unet"
    )
    assert layout(lungs)["patients"][:2] == ("train drawn", "train unlabelled")


def test_makers_and_views_are_found_by_the_public_list_and_nothing_else_is_told() -> None:
    vendors, views = CELLS["vendors"], CELLS["views"]
    assert vendors[vendor_cell(" Siemens Healthineers MAGNETOM")] == "SIEMENS"
    assert (
        vendors[vendor_cell("GE MEDICAL SYSTEMS")] == vendors[vendor_cell("GE Healthcare")] == "GE"
    )
    assert vendors[vendor_cell("Dr. Smith's own scanner")] == vendors[vendor_cell("")] == OTHER
    assert views[view_cell(TASK, "pa ")] == "PA"
    assert views[view_cell(TASK, "JOHN^DOE")] == OTHER
    planes = layout(VOLUMES)["views"]
    assert planes[view_cell(VOLUMES, "coronal")] == "coronal"
    assert planes[view_cell(VOLUMES, "PA")] == OTHER


def test_every_maker_that_a_copy_may_name_has_a_cell() -> None:
    """Two lists, one world: whoever adds a maker to one meets the other here."""
    profile = resources.files("site_client.deidentify").joinpath("profile.toml")
    makers = tomllib.loads(profile.read_text(encoding="utf-8"))["makers"]
    unknown = {maker for maker in makers if CELLS["vendors"][vendor_cell(maker)] == OTHER}
    assert unknown == {"HIGHDICOM"}, "software, no scanner"


def test_a_record_is_charged_as_a_contract_of_its_own() -> None:
    assert charged_as(TASK) not in (task_hash(TASK), charged_as(VOLUMES))
    assert len(charged_as(TASK)) == 64
