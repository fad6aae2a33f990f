"""The average of the rounds' models, against its formula and across a restart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.aggregation.averaging import RunningAverage
from fedrad.parameters import Parameters, digest

DECAYS = st.floats(0.01, 0.999)
ROUNDS = st.lists(st.lists(st.floats(-100, 100, width=32), min_size=3, max_size=3), min_size=1)


def models_of(rounds: list[list[float]]) -> list[Parameters]:
    return [{"a": np.array(v, np.float32), "b": np.array(v[0])} for v in rounds]


@given(rounds=ROUNDS, decay=DECAYS)
def test_the_average_is_the_printed_weighted_mean(rounds: list[list[float]], decay: float) -> None:
    average = RunningAverage(decay)
    for model in models_of(rounds):
        average.take(model)
    weights = decay ** np.arange(len(rounds) - 1, -1, -1, dtype=np.float64)
    wanted = weights @ np.array(rounds) / weights.sum()
    np.testing.assert_allclose(average.model["a"], wanted, rtol=1e-4, atol=1e-3)
    assert average.model["a"].dtype == np.float32


@given(rounds=ROUNDS, decay=DECAYS, stop=st.integers(0, 5))
def test_a_run_that_goes_on_from_a_checkpoint_has_the_same_bits(
    rounds: list[list[float]], decay: float, stop: int
) -> None:
    through, before = RunningAverage(decay), RunningAverage(decay)
    for number, model in enumerate(models_of(rounds)):
        through.take(model)
        if number == stop:
            before = RunningAverage(decay, taken=number, average=before.model)
        before.take(model)
    assert digest(before.model) == digest(through.model)


def test_the_first_model_is_the_first_average_and_is_left_alone() -> None:
    model = models_of([[1.0, 2.0, 3.0]])[0]
    average = RunningAverage(0.9)
    assert average.model == {}
    average.take(model)
    average.take({name: tensor * 0 for name, tensor in model.items()})
    assert model["a"].tolist() == [1.0, 2.0, 3.0]
    assert average.model["a"] == pytest.approx(np.array([0.9, 1.8, 2.7]) / 1.9)
