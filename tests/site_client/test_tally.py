"""Each patient counts once, by what is their own."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_study import tiny_task

from fedrad.errors import NotReadyError
from fedrad.feasibility.cells import layout, vendor_cell
from fedrad.task import Task
from site_client.patients import split_of
from site_client.settings import Shares, read_site
from site_client.tally import cells_of, tally

TASK = tiny_task()
COLUMNS = ["patient", "slot", "maker", "view", "orientation"]


def images(people: dict[str, list[tuple[str, str]]]) -> pd.DataFrame:
    rows = [
        (name, int(name) % 1000, maker, view, "")
        for name, shots in people.items()
        for maker, view in shots
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


shots = st.tuples(
    st.sampled_from(["SIEMENS", "GE MEDICAL", "", "x"]), st.sampled_from(["PA", "AP", ""])
)
crowds = st.dictionaries(
    st.integers(0, 10**6).map(str), st.lists(shots, min_size=1, max_size=5), min_size=2, max_size=8
)


@given(crowds, st.sets(st.integers(0, 7)))
@settings(max_examples=25)
def test_who_joins_or_leaves_moves_nobody_else(
    people: dict[str, list[tuple[str, str]]], labelled: set[int]
) -> None:
    names = list(people)
    labels = {names[i]: i % 2 for i in labelled if i < len(names)}
    whole = cells_of(images(people), labels, TASK, Shares())
    gone = names[0]
    rest = cells_of(images(people).query("patient != @gone"), labels, TASK, Shares())
    assert whole.drop(index=gone).equals(rest)
    assert len(whole) == len(people)


def test_most_images_decide_and_of_equals_the_first_word() -> None:
    people = {"1": [("SIEMENS", "PA"), ("GE MEDICAL", "AP"), ("SIEMENS", "AP")]}
    found = cells_of(images(people | {"2": [("SIEMENS", ""), ("AGFA", "")]}), {}, TASK, Shares())
    assert list(found["vendors"]) == [vendor_cell("SIEMENS"), vendor_cell("AGFA")]
    assert layout(TASK)["views"][found["views"]["1"]] == "AP"


@pytest.fixture
def task(make_task: Any) -> Task:
    return make_task(privacy={"enabled": True})  # type: ignore[no-any-return]


def test_an_archive_is_counted_as_a_round_would_deal_it(site: Any, task: Task) -> None:
    for number in range(12):
        site.image(f"P{number}", f"{number}.dcm", Manufacturer="FUJI X", ViewPosition="LL")
    site.image("P0", "again.dcm", Manufacturer="FUJI X", ViewPosition="LL")
    site.label({f"AP{number}": "yes" if number < 4 else "no" for number in range(10)})
    found = tally(site.home, read_site(site.home), task)
    patients, vendors, views = (block.values for block in found.blocks)
    by_label = patients.reshape(3, 3).sum(axis=0)
    assert list(by_label) == [6, 4, 2], "no, yes, unlabelled"
    assert found.patients == 12
    assert found.train == patients[:2].sum()
    assert vendors[layout(task)["vendors"].index("FUJIFILM")] == vendors.sum() == 12
    assert views[layout(task)["views"].index("LL")] == views.sum() == 12


def test_splits_are_those_of_the_site(site: Any, site_toml: str, task: Task) -> None:
    site.settings(site_toml + "[splits]\ntrain = 0.0\naudit = 0.0\nwindow = 1.0\ntest = 0.0\n")
    site.image("P1", "1.dcm")
    site.label({"AP1": "yes"})
    said = read_site(site.home)
    found = tally(site.home, said, task)
    assert found.train == 0
    assert list(found.blocks[0].values) == [0] * 7 + [1, 0]
    assert split_of(0, said.splits) == "window"


def test_studies_that_belong_to_nobody_stop_it(site: Any, task: Task) -> None:
    site.image("P1", "1.dcm")
    site.image("", "2.dcm")
    site.label({"AP1": "yes"})
    with pytest.raises(NotReadyError, match="say who they are"):
        tally(site.home, read_site(site.home), task)
