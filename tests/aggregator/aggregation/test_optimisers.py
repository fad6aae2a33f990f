"""Server steps against their formulas, written out a second time."""

from __future__ import annotations

import numpy as np
import pytest

from aggregator.aggregation.optimisers import server_optimiser
from fedrad.errors import ParametersError
from fedrad.federation import ServerStrategy
from fedrad.parameters import Parameters, digest

ADAM = ServerStrategy(name="fedadam", rate=0.1, beta_1=0.9, beta_2=0.99, tau=1e-3)


def model() -> Parameters:
    return {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array(2.0)}


def update(seed: int) -> Parameters:
    rng = np.random.default_rng(seed)
    return {"a": rng.normal(size=(2, 3)).astype(np.float32), "b": np.array(rng.normal())}


@pytest.mark.parametrize("name", ["fedavg", "fedprox"])
def test_a_step_of_rate_one_adds_the_mean_update(name: str) -> None:
    stepped = server_optimiser(ServerStrategy(name=name)).step(model(), update(0))
    np.testing.assert_allclose(stepped["a"], model()["a"] + update(0)["a"], rtol=1e-6)


def test_the_rate_scales_the_step() -> None:
    stepped = server_optimiser(ServerStrategy(rate=0.5)).step(model(), update(0))
    np.testing.assert_allclose(stepped["b"], 2.0 + 0.5 * update(0)["b"])


def test_fedadam_is_the_printed_algorithm_over_three_rounds() -> None:
    """Reddi et al. 2021, algorithm 2, in plain float64 for one number."""
    optimiser, got = server_optimiser(ADAM), model()
    first, second, wanted = 0.0, 1e-6, 2.0
    for seed in range(3):
        delta = float(update(seed)["b"])
        first = 0.9 * first + 0.1 * delta
        second = 0.99 * second + 0.01 * delta**2
        wanted += 0.1 * first / (second**0.5 + 1e-3)
        got = optimiser.step(got, update(seed))
    np.testing.assert_allclose(got["b"], wanted, rtol=1e-12)


@pytest.mark.parametrize("strategy", [ServerStrategy(), ADAM])
def test_dtypes_survive_and_the_model_is_left_alone(strategy: ServerStrategy) -> None:
    before = model()
    stepped = server_optimiser(strategy).step(before, update(0))
    assert [tensor.dtype for tensor in stepped.values()] == [np.float32, np.float64]
    assert digest(before) == digest(model())


def test_an_update_in_any_memory_layout_is_taken_in_full() -> None:
    turned = {"a": np.asfortranarray(update(0)["a"]), "b": update(0)["b"]}
    turned["a"].flags.writeable = False
    stepped = server_optimiser(ServerStrategy()).step(model(), turned)
    np.testing.assert_allclose(stepped["a"], model()["a"] + update(0)["a"], rtol=1e-6)


def test_an_update_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ParametersError, match="do not fit the model"):
        server_optimiser(ServerStrategy()).step(model(), {"a": update(0)["a"]})
