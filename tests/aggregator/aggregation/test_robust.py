"""Rules that a minority of sites cannot move far, on updates in files."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from aggregator.aggregation import factors, robust, updates
from aggregator.aggregation.robust import Measured
from fedrad.errors import SettingsError
from fedrad.federation import Rule
from fedrad.parameters import Parameters, digest, write_safetensors

NAMES = ("mean", "geometric-median", "median", "trimmed-mean", "centred-clipping")
LOOSE = {"clip": 1e6, "ceiling": 1e6}


def measured(folder: Path, rows: np.ndarray, rule: Rule) -> Measured:
    """Write one update a row, of two tensors, and measure them."""
    files = {f"s{place}": folder / f"{place}.safetensors" for place in range(len(rows))}
    for path, row in zip(files.values(), rows, strict=True):
        write_safetensors(path, {"w": row[1:].reshape(-1, 1).copy(), "b": row[:1].copy()})
    return robust.measure(files, rule)


def flat(update: Parameters) -> np.ndarray:
    return np.concatenate([update["b"], update["w"].reshape(-1)])


def fold(
    folder: Path, rows: np.ndarray, rule: Rule, shares: np.ndarray | None = None
) -> np.ndarray:
    found = measured(folder, rows, rule)
    weights = np.full(len(rows), 1 / len(rows)) if shares is None else shares
    return flat(robust.aggregate(found, dict(zip(found.files, weights, strict=True)), rule))


def some(sites: int = 7, values: int = 5, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(sites, values))


@pytest.mark.parametrize("name", NAMES)
def test_updates_that_agree_are_their_own_aggregate(tmp_path: Path, name: str) -> None:
    rows = np.repeat(some(1), 6, axis=0)
    np.testing.assert_allclose(fold(tmp_path, rows, Rule(name=name)), rows[0], rtol=1e-9)


def test_the_mean_without_a_clip_is_the_weighted_mean(tmp_path: Path) -> None:
    shares = np.array([0.1, 0.2, 0.3, 0.4])
    rows = some(4)
    got = fold(tmp_path, rows, Rule(name="mean", **LOOSE), shares)
    np.testing.assert_allclose(got, shares @ rows, rtol=1e-9)


def test_clipping_shortens_to_a_multiple_of_the_median_norm(tmp_path: Path) -> None:
    rows = np.eye(5)[:, :5] * np.array([[1.0], [1.0], [1.0], [1.0], [8.0]])
    got = fold(tmp_path, rows, Rule(name="mean", clip=2.0))
    np.testing.assert_allclose(got, [0.2, 0.2, 0.2, 0.2, 0.4])


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(3, 12), st.integers(0, 1000))
def test_the_geometric_median_has_the_least_sum_of_distances(
    tmp_path: Path, sites: int, seed: int
) -> None:
    rows = some(sites, seed=seed)
    shares = np.random.default_rng(seed).dirichlet(np.full(sites, 5.0))
    got = fold(tmp_path, rows, Rule(name="geometric-median", **LOOSE), shares)

    def cost(point: np.ndarray) -> float:
        return float(shares @ np.linalg.norm(rows - point, axis=1))

    best = minimize(cost, rows.mean(axis=0), method="Nelder-Mead", options={"maxiter": 20_000})
    assert cost(got) <= best.fun * (1 + 1e-5)


def test_the_median_of_equal_shares_is_numpys(tmp_path: Path) -> None:
    for sites in (4, 5):
        rows = some(sites)
        got = fold(tmp_path, rows, Rule(name="median", **LOOSE))
        np.testing.assert_allclose(got, np.median(rows, axis=0), rtol=1e-12)


def test_a_share_counts_as_so_many_equal_sites(tmp_path: Path) -> None:
    rows, counts = some(3), [2, 1, 4]
    many = np.repeat(rows, counts, axis=0)
    for rule in (Rule(name="median", **LOOSE), Rule(name="geometric-median", **LOOSE)):
        got = fold(tmp_path, rows, rule, np.array(counts) / 7)
        np.testing.assert_allclose(got, fold(tmp_path, many, rule), atol=1e-7)


def test_the_trimmed_mean_drops_both_ends(tmp_path: Path) -> None:
    rows = some(10)
    got = fold(tmp_path, rows, Rule(name="trimmed-mean", trim=0.2, **LOOSE))
    np.testing.assert_allclose(got, np.sort(rows, axis=0)[2:8].mean(axis=0), rtol=1e-9)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "mean"])
def test_two_of_ten_move_the_aggregate_less_than_they_move_the_mean(
    tmp_path: Path, name: str
) -> None:
    rows = some(10, 40) * 0.1 + 1.0
    spoiled = rows.copy()
    spoiled[:2] *= -4
    wanted = rows[2:].mean(axis=0)
    far = np.linalg.norm(fold(tmp_path, spoiled, Rule(name=name)) - wanted)
    naive = np.linalg.norm(fold(tmp_path, spoiled, Rule(name="mean", **LOOSE)) - wanted)
    assert far < naive / 3


def test_an_update_far_over_the_others_is_set_aside_by_name(tmp_path: Path) -> None:
    rows = some(5)
    rows[3] *= 1000
    rule = Rule()
    found = measured(tmp_path, rows, rule)
    assert robust.too_large(found, rule) == ("s3",)
    kept = found.without(("s3",))
    assert sorted(kept.files) == ["s0", "s1", "s2", "s4"]
    lengths = np.linalg.norm(rows[[0, 1, 2, 4]], axis=1)
    np.testing.assert_allclose(factors.norms(kept.products), lengths, rtol=1e-9)


def test_a_minority_that_is_not_finite_is_set_aside(tmp_path: Path) -> None:
    rows = some(5)
    rows[1, 2] = np.nan
    rule = Rule(name="geometric-median")
    assert robust.too_large(measured(tmp_path, rows, rule), rule) == ("s1",)


def test_updates_that_are_all_nought_stay_nought(tmp_path: Path) -> None:
    for name in NAMES:
        got = fold(tmp_path, np.zeros((5, 4)), Rule(name=name))
        np.testing.assert_array_equal(got, np.zeros(4))


@pytest.mark.parametrize("name", NAMES)
def test_pieces_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    rows, rule = some(6, 50), Rule(name=name)
    whole = fold(tmp_path, rows, rule)
    monkeypatch.setattr(updates, "PIECE", 7)
    np.testing.assert_allclose(fold(tmp_path, rows, rule), whole, rtol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_files_give_the_same_bits(tmp_path: Path, name: str) -> None:
    found = measured(tmp_path, some(6, 50), Rule(name=name))
    weights = dict.fromkeys(found.files, 1 / 6)
    first, second = (robust.aggregate(found, weights, Rule(name=name)) for _ in range(2))
    assert digest(first) == digest(second)


@pytest.mark.parametrize("name", ["geometric-median", "median"])
def test_memory_is_the_model_and_a_piece_of_every_site(tmp_path: Path, name: str) -> None:
    rows = np.ones((12, 1_000_001), np.float64)
    found = measured(tmp_path, rows, Rule(name=name))
    tracemalloc.start()
    robust.aggregate(found, dict.fromkeys(found.files, 1 / 12), Rule(name=name))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * rows[0].nbytes + 6 * 12 * updates.PIECE * 8


def test_the_default_is_the_mean_for_few_and_the_geometric_median_for_five() -> None:
    assert [Rule().chosen(sites) for sites in (3, 4, 5)] == ["mean", "mean", "geometric-median"]


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"clip": 0.0}, "clip must be"),
        ({"ceiling": 1.5}, "ceiling must be"),
        ({"trim": 0.5}, "trim must"),
    ],
)
def test_settings_that_cannot_be_are_refused(values: dict[str, float], problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        Rule(**values)  # type: ignore[arg-type]
