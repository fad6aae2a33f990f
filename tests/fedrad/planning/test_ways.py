"""The way into the table names what would have to change, and no number that is not in it."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from invented_outcomes import EPSILONS, PATIENTS, TASK, a_table, a_trial, at, with_private

from fedrad.planning.readings import Situation
from fedrad.planning.verdict import verdict
from fedrad.planning.ways import ways_in
from fedrad.task import Task

SMALL = replace(TASK, recipe=replace(TASK.recipe, size=(32, 32)))
WIDE = replace(TASK, model=replace(TASK.model, parameters={"width": 32}))


def changed(situation: Situation, **fields: object) -> Situation:
    return replace(situation, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("situation", "way"),
    [
        (at(49, 150), "50 to 400 patients at the site (on invented)"),
        (at(150, 401, 1.0), "a mean of 50 to 400 patients a site, epsilon 2 to 8 (on invented)"),
        (changed(at(50, 400), sites=2), "3 sites (on invented)"),
        (changed(at(50, 400), sites=4), "at most 3 sites of this mean (on invented)"),
        (changed(at(50, 500), sites=4), "a mean of 50 to 400 patients a site of 3 sites"),
        (at(150, 150, task=SMALL), "images of 64 × 64 (on invented)"),
        (at(150, 150, task=WIDE), "network filter_bank_cnn with its default parameters"),
    ],
)
def test_what_is_missing_is_named(situation: Situation, way: str) -> None:
    (said,) = ways_in(a_table(), situation)
    assert said.startswith(way)


def test_the_nearest_trials_are_named_and_the_same_way_once() -> None:
    far = a_trial("far", size=(32, 32), parameters=a_trial().parameters | {"width": 8})
    table = a_table(a_trial(), far, a_trial("other", data="others"))
    assert list(ways_in(table, at(49, 150))) == [
        "50 to 400 patients at the site (on invented; others)"
    ]


def test_of_another_kind_of_task_no_way_leads_in() -> None:
    masks = a_trial(kind="segmentation", network="filter_bank_pixel", parameters={})
    assert list(ways_in(a_table(masks), at(150, 150))) == []


@given(st.integers(1, 900), st.floats(1, 900), st.floats(0.5, 20.0), st.sampled_from([TASK, SMALL]))
def test_every_number_stands_in_the_table_and_inside_is_measured(
    patients: int, mean: float, epsilon: float, task: Task
) -> None:
    table = a_table(with_private(a_trial(), 0.7))
    for way in ways_in(table, at(patients, mean, epsilon, task=task)):
        assert set(map(float, re.findall(r"[\d.]+", way))) <= {*PATIENTS, *EPSILONS, 64.0}
    inside = at(min(max(patients, 50), 400), min(max(mean, 50), 400), min(max(epsilon, 2.0), 8.0))
    assert verdict(inside, table).answer != "not measured"
