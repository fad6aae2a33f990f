"""What the aggregator reads off sums is what a statistician with the patients would say."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from fedrad.errors import DataError, ProtocolError
from fedrad.metrics.classification import auroc, blocks, exact_block, measure, table_auroc
from fedrad.metrics.metric import Metric, pooled
from fedrad.protocol.messages import Block
from fedrad.site_report import noised, shares_of

EDGES = tuple(float(edge) for edge in np.round(np.linspace(0, 1, 13), 10))
POINT = EDGES[6]
Records = tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]


def patients(n: int, seed: int, *, apart: float = 1.2, share: float = 0.4) -> Records:
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < share).astype(np.int64)
    scores = 1 / (1 + np.exp(-1.5 * (rng.normal(size=n) + apart * (labels - 0.5))))
    return scores, labels


def counted(records: Records) -> tuple[Block, ...]:
    return blocks(*records, edges=EDGES, operating_point=POINT)


def measured(report: tuple[Block, ...], seed: int = 0) -> dict[str, Metric]:
    rng = np.random.default_rng(seed)
    return {m.name: m for m in measure(report, edges=EDGES, operating_point=POINT, rng=rng)}


def test_blocks_count_every_patient_once() -> None:
    scores, labels = patients(200, seed=1)
    n, positives, operating, table = (block.values for block in counted((scores, labels)))
    called = scores >= POINT
    assert (n, positives) == ([200], [labels.sum()])
    assert operating.tolist() == [
        (called & (labels == 1)).sum(),
        (called & (labels == 0)).sum(),
        (~called & (labels == 1)).sum(),
        (~called & (labels == 0)).sum(),
    ]
    assert table.reshape(2, 12).sum(axis=1).tolist() == [(labels == 0).sum(), labels.sum()]


def test_edges_belong_to_the_bin_above_and_one_to_the_last() -> None:
    table = counted((np.array([0.0, EDGES[6], 1.0]), np.array([0, 1, 1])))[3].values.reshape(2, 12)
    assert np.argwhere(table).tolist() == [[0, 0], [1, 6], [1, 11]]


@given(
    st.lists(st.tuples(st.floats(-1, 2), st.integers(0, 1)), max_size=12),
    st.tuples(st.floats(-1, 2), st.integers(0, 1)),
)
def test_one_patient_more_moves_the_scaled_report_by_at_most_one(
    people: list[tuple[float, int]], newcomer: tuple[float, int]
) -> None:
    """The one line that the guarantee of a site report rests on."""
    before, after = (
        counted((np.array([s for s, _ in who]), np.array([y for _, y in who], dtype=np.int64)))
        for who in (people, [*people, newcomer])
    )
    shares = shares_of(before)
    moved = sum(
        shares[a.name] * float(((a.values - b.values) ** 2).sum()) / a.sensitivity**2
        for a, b in zip(after, before, strict=True)
    )
    assert 0 < moved <= 1 + 1e-12
    for a, b in zip(after, before, strict=True):
        assert np.linalg.norm(a.values - b.values) <= a.sensitivity


@pytest.mark.parametrize("seed", range(5))
def test_the_binned_area_is_within_a_point_of_scikit_learns(seed: int) -> None:
    scores, labels = patients(300, seed)
    found = measured(counted((scores, labels)))["auroc"]
    assert found.value == pytest.approx(roc_auc_score(labels, scores), abs=0.01)
    assert found.method == "exact"


@given(st.integers(0, 10_000), st.integers(1, 6))
def test_the_exact_area_is_scikit_learns_ties_included(seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    scores, labels = rng.integers(0, levels + 1, 40) / levels, np.arange(40) % 3 == 0
    assert auroc(scores, labels.astype(int)) == pytest.approx(roc_auc_score(labels, scores))


def test_the_exact_block_gives_the_value_and_the_sums_its_interval() -> None:
    records = patients(150, seed=3)
    found = measured((*counted(records), exact_block(*records)))["auroc"]
    assert found.value == pytest.approx(roc_auc_score(records[1], records[0]), abs=1e-12)
    assert found.lo is not None
    assert found.hi is not None
    assert 0.03 < found.hi - found.lo < 0.25


def test_rates_and_counts_are_those_of_the_patients() -> None:
    scores, labels = patients(400, seed=4)
    found = measured(counted((scores, labels)))
    assert found["sensitivity"].value == pytest.approx((scores[labels == 1] >= POINT).mean())
    assert found["specificity"].value == pytest.approx((scores[labels == 0] < POINT).mean())
    assert found["prevalence"].value == pytest.approx(labels.mean())
    assert found["n"].value == pytest.approx(400)
    assert found["sensitivity"].n == pytest.approx(labels.sum())


def test_an_exact_rate_has_wilsons_interval() -> None:
    """9 of 10: (0.596, 0.982), Newcombe 1998's method 3."""
    scores = np.array([0.9] * 9 + [0.1] + [0.2] * 10)
    found = measured(counted((scores, np.array([1] * 10 + [0] * 10))))["sensitivity"]
    assert (found.value, found.lo, found.hi) == pytest.approx((0.9, 0.596, 0.982), abs=1e-3)


def test_noise_does_not_bias_the_area_though_cells_turn_negative() -> None:
    records = patients(300, seed=5)
    exact = counted(records)
    rng = np.random.default_rng(5)
    tables = [noised(exact, sigma=4.0, rng=rng)[3].values.reshape(2, 12) for _ in range(400)]
    assert min(table.min() for table in tables) < 0
    areas = [float(table_auroc(table)) for table in tables]
    standard_error = np.std(areas) / 20
    assert np.mean(areas) == pytest.approx(
        float(table_auroc(exact[3].values.reshape(2, 12))), abs=4 * standard_error + 0.01
    )


@pytest.mark.parametrize(
    ("n", "sigma", "apart"),
    [
        (60, 0.0, 2.5),
        (200, 1.2, 1.2),
        pytest.param(200, 0.0, 1.2, marks=pytest.mark.long),
        pytest.param(200, 3.0, 1.2, marks=pytest.mark.long),
    ],
)
def test_intervals_hold_the_truth_as_often_as_they_say(n: int, sigma: float, apart: float) -> None:
    """95 % of new samples with new noise, to what 120 draws can tell: 90 to 99.5 %."""
    scores, labels = patients(400_000, seed=99, apart=apart)
    truth = {
        "auroc": auroc(scores, labels),
        "sensitivity": float((scores[labels == 1] >= POINT).mean()),
        "specificity": float((scores[labels == 0] < POINT).mean()),
        "prevalence": 0.4,
    }
    held: dict[str, list[bool]] = {name: [] for name in truth}
    rng = np.random.default_rng(7)
    for seed in range(120):
        report = counted(patients(n, seed, apart=apart))
        found = measured(noised(report, sigma=sigma, rng=rng) if sigma else report, seed)
        for name, value in truth.items():
            lo, hi = found[name].lo, found[name].hi
            if lo is not None and hi is not None:
                held[name].append(lo <= value <= hi)
    for name, hits in held.items():
        assert len(hits) > 96, name
        assert 0.90 <= np.mean(hits) <= 0.995, name


def test_more_noise_makes_wider_intervals_and_then_none() -> None:
    records, rng = patients(150, seed=8), np.random.default_rng(8)
    exact = counted(records)
    widths = []
    for sigma in (0.5, 2.0, 4.0):
        found = measured(noised(exact, sigma=sigma, rng=rng))["auroc"]
        assert found.lo is not None
        assert found.hi is not None
        assert found.method == "private"
        widths.append(found.hi - found.lo)
    assert widths == sorted(widths)
    assert measured(noised(exact, sigma=60.0, rng=rng))["auroc"].value is None


def test_a_missing_class_has_no_area_and_no_rate() -> None:
    found = measured(counted((np.array([0.2, 0.7, 0.9]), np.zeros(3, dtype=np.int64))))
    assert found["auroc"].value is None
    assert found["sensitivity"].value is None
    assert found["n"].value == pytest.approx(3)


def test_no_patient_at_all_is_measured_as_nothing() -> None:
    found = measured(counted((np.array([]), np.array([], dtype=np.int64))))
    assert [m.name for m in found.values() if m.estimable] == ["n"]


def test_pooled_sites_are_measured_as_one_population() -> None:
    sites = [patients(150, seed) for seed in (1, 2, 3)]
    everybody = tuple(np.concatenate(part) for part in zip(*sites, strict=True))
    together = measured(pooled([counted(site) for site in sites]))
    assert together["auroc"] == measured(counted(everybody))["auroc"]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("scores", "labels", "text"),
    [
        ([0.5, 0.6], [0, 2], "neither 0 nor 1"),
        ([0.5], [0, 1], "one score and one label a patient"),
    ],
)
def test_patients_that_cannot_be_counted_are_refused(
    scores: list[float], labels: list[int], text: str
) -> None:
    with pytest.raises(DataError, match=text):
        blocks(scores, labels, edges=EDGES, operating_point=POINT)


def test_a_score_that_is_not_finite_counts_as_undecided() -> None:
    """A model that fails on one patient must not change the outcome, only the sums."""
    spoilt = blocks([np.nan, np.inf, -np.inf], [0, 1, 1], edges=EDGES, operating_point=POINT)
    counted = blocks([0.5, 0.5, 0.5], [0, 1, 1], edges=EDGES, operating_point=POINT)
    for block, same in zip(spoilt, counted, strict=True):
        np.testing.assert_array_equal(block.values, same.values)
    with pytest.raises(DataError, match="not finite"):
        auroc([np.nan, 0.5], [0, 1])


def test_a_report_without_its_table_is_refused() -> None:
    with pytest.raises(ProtocolError, match="24 values in block 'table'"):
        measured(counted(patients(20, seed=1))[:3])
