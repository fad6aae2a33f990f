"""Calibration and precision read off sums are what scikit-learn says of the patients."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from fedrad.metrics.calibration import (
    Scored,
    brier,
    calibration_error,
    observed_to_expected,
    slope,
    temperature,
)
from fedrad.metrics.classification import blocks, measure
from fedrad.metrics.fusion import Estimate
from fedrad.metrics.metric import Metric
from fedrad.metrics.precision import average_precision
from fedrad.metrics.within import Places, places, wins
from fedrad.protocol.messages import Block
from fedrad.shift.blocks import window_edges
from fedrad.site_report import noised

EDGES = window_edges(500, 0.5)
MIDDLE = (np.asarray(EDGES[1:]) + np.asarray(EDGES[:-1])) / 2
Records = tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]


def patients(n: int, seed: int, *, share: float = 0.3, extreme: float = 1.0) -> Records:
    """Patients whose scores are their true chances, or more extreme than those."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < share).astype(np.int64)
    said = 1.4 * (rng.normal(size=n) + 1.4 * labels) - 1.4**2 / 2
    return expit(extreme * (logit(share) + said)), labels


def counted(records: Records) -> tuple[Block, ...]:
    return blocks(*records, edges=EDGES, operating_point=0.5)


def measured(report: tuple[Block, ...]) -> dict[str, Metric]:
    rng = np.random.default_rng(0)
    return {m.name: m for m in measure(report, edges=EDGES, operating_point=0.5, rng=rng)}


def middles(edges: tuple[float, ...]) -> Places:
    """One part for each bin, its middle: what a table of rounded scores says."""
    middle = (np.asarray(edges[1:]) + np.asarray(edges[:-1])) / 2
    return Places(logit(middle), np.eye(2 * len(middle)))


def rounded(records: Records) -> tuple[Scored, Records]:
    """The table of patients whose scores are the middles of their bins, and those patients."""
    scores, labels = records
    binned = MIDDLE[np.digitize(scores, EDGES[1:-1])]
    counts = counted((binned, labels))[3].values
    return Scored(Estimate(counts, 1e-12 * np.eye(len(counts))), middles(EDGES)), (binned, labels)


@pytest.mark.parametrize("seed", range(3))
def test_binned_scores_are_calibrated_as_scikit_learn_says(seed: int) -> None:
    table, (scores, labels) = rounded(patients(400, seed, extreme=1.5))
    logits = logit(scores)[:, None]
    cox = LogisticRegression(C=np.inf, tol=1e-9).fit(logits, labels)
    warm = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-9).fit(logits, labels)
    assert slope(table).value == pytest.approx(cox.coef_[0, 0], abs=1e-4)
    assert temperature(table).value == pytest.approx(1 / warm.coef_[0, 0], abs=1e-4)
    assert brier(table).value == pytest.approx(brier_score_loss(labels, scores))
    assert observed_to_expected(table).value == pytest.approx(labels.sum() / scores.sum())


def test_average_precision_of_many_bins_is_scikit_learns() -> None:
    edges = tuple(np.linspace(0, 1, 401))
    scores, labels = patients(60, seed=1)
    table = blocks(scores, labels, edges=edges, operating_point=0.5)[3].values
    found = float(average_precision(table, middles(edges)))
    assert found == pytest.approx(average_precision_score(labels, scores), abs=0.02)


@pytest.mark.parametrize("share", [0.3, 0.05])
def test_scores_in_few_bins_cost_little(share: float) -> None:
    """With 5 % positives middles of bins would say a quarter more patients than expected."""
    scores, labels = patients(60_000, seed=2, share=share)
    found = measured(counted((scores, labels)))
    exact = {
        "auroc": roc_auc_score(labels, scores),
        "auprc": average_precision_score(labels, scores),
        "brier": brier_score_loss(labels, scores),
        "oe_ratio": labels.sum() / scores.sum(),
    }
    for name, value in exact.items():
        assert found[name].value == pytest.approx(value, rel=0.03), name


@given(arrays(np.float64, 24, elements=st.floats(-50, 500)))
def test_every_patient_of_a_cell_lies_in_its_own_bin(counts: npt.NDArray[np.float64]) -> None:
    found = places(counts, EDGES)
    assert found.spread.sum(axis=1) == pytest.approx(1)
    assert (found.spread >= 0).all()
    per_bin = found.spread.reshape(24, 24, -1).sum(axis=2)
    assert per_bin == pytest.approx(np.eye(24), abs=1e-9)
    assert (np.diff(found.logits) > 0).all()
    won = wins(counts, EDGES)
    assert ((won >= 0) & (won <= 1)).all()


def test_the_error_of_calibration_has_its_bias_subtracted() -> None:
    """A calibrated model: the plain sum says 4 points of error, most of which is chance."""
    rng = np.random.default_rng(4)
    plain, said, zeros = [], [], []
    for seed in range(40):
        report = noised(counted(patients(400, seed)), sigma=1.2, rng=rng)
        metric = measured(report)["ece"]
        assert metric.value is not None
        assert metric.lo is not None
        said.append(metric.value)
        zeros.append(metric.lo == 0)
        table = report[3].values.reshape(2, -1)
        plain.append(np.abs(table[1] - table.sum(axis=0) * MIDDLE).sum() / 400)
    assert np.mean(plain) > 0.035
    assert np.mean(said) < 0.02
    assert np.mean(zeros) > 0.85


def test_a_large_error_of_calibration_is_found() -> None:
    scores, labels = patients(20_000, seed=5, extreme=2.5)
    bins = np.digitize(scores, EDGES[1:-1])
    exact = sum(abs(float((labels - scores)[bins == k].sum())) for k in range(12)) / 20_000
    found = calibration_error(_exactly(scores, labels), np.random.default_rng(0))
    assert found.value == pytest.approx(exact, abs=0.01)
    assert found.lo < exact < found.hi


def _exactly(scores: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]) -> Scored:
    counts = counted((scores, labels))[3].values
    return Scored(Estimate(counts, 1e-12 * np.eye(len(counts))), places(counts, EDGES))


def test_noise_widens_every_interval_of_calibration() -> None:
    exact = counted(patients(400, seed=6))
    rng = np.random.default_rng(6)
    without, with_noise = measured(exact), measured(noised(exact, sigma=2.5, rng=rng))
    for name in ("auprc", "oe_ratio", "calibration_slope", "brier"):
        widths = []
        for one in (without[name], with_noise[name]):
            assert one.lo is not None, name
            assert one.hi is not None, name
            widths.append(one.hi - one.lo)
        assert widths[1] > widths[0], name


@pytest.mark.parametrize("positives", [0, 14])
def test_fewer_than_fifteen_of_a_class_have_no_metric_of_both(positives: int) -> None:
    labels = np.arange(200) < positives
    found = measured(counted((np.linspace(0.1, 0.6, 200), labels.astype(np.int64))))
    both = {"auroc", "auprc", "oe_ratio", "calibration_slope", "temperature", "ece"}
    assert [name for name in both if found[name].estimable] == []
    assert found["brier"].estimable
    assert found["prevalence"].estimable


@pytest.mark.parametrize("value", [-40.0, np.nan, 0.0])
def test_sums_that_mean_nothing_give_no_number(value: float) -> None:
    report = [
        Block(name=b.name, values=np.full_like(b.values, value), sigma=1.0, sensitivity=1.0)
        for b in counted(patients(50, seed=7))
    ]
    found = measured(tuple(report))
    assert {name for name, metric in found.items() if metric.estimable} <= {"n"}
    assert not np.isnan(value) or not found["n"].estimable
