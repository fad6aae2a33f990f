"""Mean, quantiles and failures of Dice come out of sums as from the cases themselves."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrad.errors import DataError, ProtocolError
from fedrad.metrics.metric import Metric
from fedrad.metrics.segmentation import blocks, exact_block, measure
from fedrad.protocol.messages import Block
from fedrad.site_report import noised, shares_of

EDGES = (0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.875, 0.9, 0.925, 0.95, 0.975, 1)
Floats = npt.NDArray[np.float64]


def cases(n: int, seed: int) -> Floats:
    return np.random.default_rng(seed).beta(6, 1.5, n)


def counted(dice: Floats, empty: npt.ArrayLike | None = None) -> tuple[Block, ...]:
    return blocks(dice, np.zeros(len(dice), dtype=bool) if empty is None else empty, edges=EDGES)


def measured(report: tuple[Block, ...], seed: int = 0) -> dict[str, Metric]:
    return {m.name: m for m in measure(report, edges=EDGES, rng=np.random.default_rng(seed))}


def test_blocks_count_scored_and_empty_cases_apart() -> None:
    dice = np.array([0.95, 1.0, 0.45, np.nan, np.nan, np.nan])
    n, histogram, total = (b.values for b in counted(dice, [False, False, True, True, True, False]))
    assert n.tolist() == [6]
    assert np.flatnonzero(histogram[:-2]).tolist() == [2, 12, 13]
    assert histogram[-2:].tolist() == [2, 1]
    assert total == pytest.approx([2.4])


@given(
    st.lists(st.tuples(st.floats(0, 1) | st.just(np.nan), st.booleans()), max_size=12),
    st.tuples(st.floats(0, 1) | st.just(np.nan), st.booleans()),
)
def test_one_patient_more_moves_the_scaled_report_by_at_most_one(
    people: list[tuple[float, bool]], newcomer: tuple[float, bool]
) -> None:
    before, after = (
        counted(np.array([d for d, _ in who]), np.array([e for _, e in who], dtype=bool))
        for who in (people, [*people, newcomer])
    )
    shares = shares_of(before)
    moved = sum(
        shares[a.name] * float(((a.values - b.values) ** 2).sum()) / a.sensitivity**2
        for a, b in zip(after, before, strict=True)
    )
    assert 0 < moved <= 1 + 1e-12


@pytest.mark.parametrize("seed", range(4))
def test_exact_sums_give_the_mean_exactly_and_quantiles_to_a_bin(seed: int) -> None:
    dice = cases(120, seed)
    found = measured(counted(dice))
    assert found["dice_mean"].value == pytest.approx(dice.mean(), abs=1e-6)
    assert found["failure_rate"].value == pytest.approx((dice < 0.5).mean(), abs=1e-9)
    for name, share in (("dice_p10", 0.1), ("dice_p50", 0.5)):
        truth = float(np.quantile(dice, share))
        width = float(np.diff(EDGES)[np.searchsorted(EDGES, truth, side="right") - 1])
        assert found[name].value == pytest.approx(truth, abs=width)


def test_the_exact_block_says_the_mean_and_how_many_have_one() -> None:
    block = exact_block(np.array([0.5, np.nan, 0.9]))
    assert block.values == pytest.approx([0.7, 2])
    assert np.isnan(exact_block(np.array([np.nan])).values[0])


def test_empty_references_take_no_part_in_the_mean() -> None:
    dice = np.concatenate([cases(60, 1), np.full(30, np.nan)])
    found = measured(counted(dice))
    assert found["dice_mean"].value == pytest.approx(np.nanmean(dice), abs=1e-6)
    assert (found["dice_mean"].n, found["n"].value) == pytest.approx((60, 90))


@pytest.mark.parametrize(("n", "sigma"), [(100, 0.0), (100, 1.2), (300, 3.0)])
def test_intervals_hold_the_truth_as_often_as_they_say(n: int, sigma: float) -> None:
    """95 % of new samples with new noise, to what 200 draws can tell: 90 to 99.5 %."""
    many = cases(400_000, seed=99)
    truth = {
        "dice_mean": float(many.mean()),
        "dice_p10": float(np.quantile(many, 0.1)),
        "dice_p50": float(np.quantile(many, 0.5)),
        "failure_rate": float((many < 0.5).mean()),
    }
    held: dict[str, list[bool]] = {name: [] for name in truth}
    rng = np.random.default_rng(7)
    for seed in range(200):
        report = counted(cases(n, seed))
        found = measured(noised(report, sigma=sigma, rng=rng) if sigma else report, seed)
        for name, value in truth.items():
            lo, hi = found[name].lo, found[name].hi
            if lo is not None and hi is not None:
                held[name].append(lo <= value <= hi)
    for name, hits in held.items():
        assert len(hits) > 160, name
        assert 0.90 <= np.mean(hits) <= 0.995, name


def test_dice_that_crowd_at_one_end_of_wide_bins_have_an_unbiased_mean() -> None:
    """Every patient is off its bin's middle the same way: the sum knows it, the middles do not."""
    edges, found, held = (0.0, 0.2, 0.5, 0.6, 0.8, 1.0), [], []
    for draw in range(60):
        rng = np.random.default_rng(draw)
        dice = np.clip(0.93 + 0.03 * rng.standard_normal(500), 0, 1)
        exact = blocks(dice, np.zeros(500, dtype=bool), edges=edges)
        report = noised(exact, sigma=1.1, rng=rng)
        mean = measure(report, edges=edges, rng=rng)[0]
        assert mean.value is not None
        assert mean.lo is not None
        assert mean.hi is not None
        found.append(mean.value)
        held.append(mean.lo <= 0.93 <= mean.hi)
    assert np.mean(found) == pytest.approx(0.93, abs=0.003)
    assert np.mean(held) > 0.9


def test_bin_centres_make_a_noisy_mean_better_than_the_ratio_of_its_sums() -> None:
    rng = np.random.default_rng(3)
    errors, ratios = [], []
    for seed in range(150):
        dice = cases(60, seed)
        report = noised(counted(dice), sigma=1.5, rng=rng)
        value = measured(report)["dice_mean"].value
        if value is not None:
            errors.append(value - dice.mean())
            ratios.append(report[2].values[0] / report[0].values[0] - dice.mean())
    assert len(errors) > 110
    assert np.std(errors) < 0.9 * np.std(ratios)
    assert abs(np.mean(errors)) < 0.01


def test_a_site_without_a_scored_case_has_no_dice() -> None:
    found = measured(counted(np.full(5, np.nan)))
    assert [m.name for m in found.values() if m.estimable] == ["n"]


def test_cases_that_cannot_be_counted_are_refused() -> None:
    with pytest.raises(DataError, match="one Dice and one flag a patient"):
        blocks([0.5], [True, False], edges=EDGES)


def test_an_infinite_dice_counts_as_zero() -> None:
    spoilt, zero = (blocks([value, 0.7], [False] * 2, edges=EDGES) for value in (np.inf, 0.0))
    for block, same in zip(spoilt, zero, strict=True):
        np.testing.assert_array_equal(block.values, same.values)


def test_a_report_of_another_kind_is_refused() -> None:
    with pytest.raises(ProtocolError, match="block 'dice_histogram'"):
        measured(counted(cases(10, 1))[:1])
