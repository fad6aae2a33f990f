"""What the coordinator's grid still knows of questions after it is asked anew."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from flwr.app import RecordDict

from fedrad.flower.grid import PolledGrid, _Question


@pytest.fixture
def grid() -> PolledGrid:
    """Return a grid with three questions out, of which one was answered; it has no server."""
    grid = object.__new__(PolledGrid)
    grid._kept, grid._here = set(), {"b": ("metadata", "tree")}
    packed = RecordDict()
    grid._out = {key: _Question(SimpleNamespace(), packed, 1.0, 30.0, [key]) for key in ("a", "c")}
    grid._first = {"a": "a", "a again": "a", "b": "b", "c": "c"}
    return grid


def test_whatever_is_not_kept_is_forgotten(grid: PolledGrid) -> None:
    grid._forget()
    assert (grid._out, grid._here, grid._first) == ({}, {}, {})


def test_a_kept_question_may_still_be_answered_and_is_not_asked_again(grid: PolledGrid) -> None:
    grid.keep(["a", "b"])
    grid._forget()
    assert set(grid._out) == {"a"}
    assert set(grid._here) == {"b"}
    assert grid._first == {"a": "a", "a again": "a"}
    assert grid._out["a"].next_s == float("inf")
