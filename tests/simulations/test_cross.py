"""Local models everywhere, and the last model without one hospital's part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_study import SITES

from aggregator import checkpoints
from aggregator.store import Store
from simulations.cross import left_out, without_own


@given(st.integers(0, 1000), st.floats(0.05, 0.9))
def test_what_is_left_is_the_mean_of_the_others(seed: int, share: float) -> None:
    """Of two hospitals with shares c and 1 - c the model without one is that of the other."""
    rng = np.random.default_rng(seed)
    before, one, other = ({"a": rng.normal(size=(3, 2)).astype(np.float32)} for _ in range(3))
    whole = {"a": before["a"] + share * one["a"] + (1 - share) * other["a"], "still": before["a"]}
    found = left_out(whole, before, one, share=share)
    assert found["a"] == pytest.approx(before["a"] + other["a"], abs=1e-4 / (1 - share))
    assert found["a"].dtype == np.float32
    assert found["still"] is whole["still"]


def test_the_last_model_is_that_of_the_run_and_who_trained_it_has_a_part(finished: Path) -> None:
    last, whole, rest = without_own(finished, list(SITES))
    with Store(finished / "run.sqlite") as store:
        replies = store.rows("replies", round=last, phase="train")
    trained = {row["site"] for row in replies if row["outcome"] == "done"}
    assert set(rest) == trained
    assert all(
        np.array_equal(whole[k], v) for k, v in checkpoints.read_round(finished, last)[1].items()
    )
    assert all(
        any(not np.array_equal(model[k], whole[k]) for k in whole) for model in rest.values()
    )


def test_every_local_model_is_scored_at_every_hospital(finished: Path) -> None:
    with Store(finished / "run.sqlite") as store:
        rows = store.rows("metrics", model="alone", split="test")
        parts = store.rows("metrics", model="global", split="without-own")
    assert {(row["site"], row["data_site"]) for row in rows} == {
        (a, b) for a in SITES for b in SITES
    }
    assert {row["method"] for row in rows} == {"exact"}
    assert all(0 <= row["value"] <= 1 for row in rows)
    assert {row["site"] for row in parts} == {row["data_site"] for row in parts} <= set(SITES)
    assert "Whose model works where" in (finished / "report.html").read_text()
