"""Windows of outlines: what one patient moves, how small a release is, what falls is seen."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from window_patients import LAYOUT as CLASSES
from window_patients import example, patients, together

from fedrad.metrics import boundaries, segmentation
from fedrad.metrics.metric import Metric, method_of
from fedrad.privacy.mechanisms import noise_source
from fedrad.protocol.messages import Block
from fedrad.shift.blocks import Cases, outlines_window
from fedrad.shift.estimates import views
from fedrad.shift.reference import reference_of
from fedrad.shift.report import WindowReport, as_bytes, parse_report, released, report_of
from fedrad.shift.statistics import readings
from fedrad.shift.windows import Released
from fedrad.site_report import WINDOW_OUTLINES, noised, shares_of

EDGES = (0.0, 0.25, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.875, 0.9, 0.92, 0.94, 0.96, 0.98, 1.0)
LAYOUT = replace(CLASSES, edges=EDGES, kind="segmentation")
wild = st.floats(allow_nan=True, allow_infinity=True)


def cases(rng: np.random.Generator, size: int = 200, *, worse: float = 0.0) -> Cases:
    """Patients of whom one in ten has no reference; ``worse`` is taken off Dice and NSD."""
    dice = rng.beta(14, 2, size) - worse
    dice[rng.random(size) < 0.1] = np.nan
    nsd = np.clip(dice + 0.05 * rng.standard_normal(size), 0, 1)
    return Cases(dice, nsd, 20 * (1 - dice) * rng.exponential(1, size), rng.random(size) < 0.5)


def window(rng: np.random.Generator, *, worse: float = 0.0, sigma: float = 1.1) -> Released:
    seen, _ = patients(rng)
    exact = outlines_window(seen, cases(rng, worse=worse), LAYOUT)
    noise = noise_source(rng.bytes(32))
    return Released(("w",), noised(exact, sigma=sigma, rng=noise))


@settings(max_examples=30)
@given(st.lists(st.tuples(wild, wild, wild, st.booleans()), min_size=1, max_size=4))
def test_a_patient_moves_a_release_of_outlines_by_at_most_one(
    people: list[tuple[float, float, float, bool]],
) -> None:
    def told(rows: list[tuple[float, float, float, bool]]) -> tuple[Block, ...]:
        seen, _ = together([example()] * (len(rows) + 1))
        seen = replace(
            seen, **{n: getattr(seen, n)[1:] for n in ("moments", "tags", "population", "scores")}
        )
        dice, nsd, far = (np.array([r[k] for r in rows], dtype=np.float64) for k in range(3))
        empty = np.array([row[3] for row in rows], dtype=bool)
        return outlines_window(seen, Cases(dice, nsd, far, empty), LAYOUT)

    after, before = told(people), told(people[1:])
    shares = shares_of(after)
    parts = [
        np.linalg.norm(a.values - b.values) / a.sensitivity * math.sqrt(shares[a.name])
        for a, b in zip(after, before, strict=True)
    ]
    assert 0 < math.hypot(*parts) <= 1 + 1e-9
    assert all(np.isfinite(block.values).all() for block in after)


def test_shares_of_a_window_of_outlines_make_one_release() -> None:
    assert math.fsum(WINDOW_OUTLINES.values()) == pytest.approx(1)
    blocks = window(np.random.default_rng(0)).blocks
    assert sum(b.sensitivity**2 / b.sigma**2 for b in blocks) ** -0.5 == pytest.approx(1.1)


def test_a_release_of_outlines_is_under_two_kilobytes_and_comes_back_whole() -> None:
    blocks = window(np.random.default_rng(1), sigma=2.0).blocks
    said = WindowReport(
        site="hospital-a", task_hash="a" * 64, model_digest="b" * 64, ledger_line="c" * 64,
        kind="outlines", first="2026-01-01", last="2026-01-30", noise=2.0,
        values=report_of(blocks),
    )  # fmt: skip
    content = as_bytes(said)
    assert len(content) < 2048
    for block, again in zip(blocks, released(parse_report(content), LAYOUT).blocks, strict=True):
        np.testing.assert_array_equal(again.values, block.values)
        assert again.sigma == pytest.approx(block.sigma)


def test_metrics_of_surfaces_are_those_of_the_cases() -> None:
    rng = np.random.default_rng(2)
    own = cases(rng, 20_000)
    exact = (
        *segmentation.blocks(own.dice, own.prediction_empty, edges=EDGES),
        *boundaries.blocks(own.nsd, own.distance),
    )
    found = _measured(exact)
    kept = own.nsd[~np.isnan(own.nsd)]
    assert found["nsd_mean"].value == pytest.approx(kept.mean(), abs=0.01)
    for name, share in boundaries.QUANTILES:
        assert found[name].value == pytest.approx(np.quantile(kept, share), abs=0.02)
    assert found["hd95_p50"].value == pytest.approx(np.nanmedian(own.distance), abs=0.5)


@pytest.mark.parametrize(("place", "estimable"), [(0.801, True), (0.849, True), (0.1, False)])
def test_a_mean_of_surfaces_holds_wherever_in_a_bin_they_lie(place: float, estimable: bool) -> None:
    exact = (
        *segmentation.blocks(np.full(400, place), np.zeros(400, bool), edges=EDGES),
        *boundaries.blocks(np.full(400, place), np.full(400, 1.0)),
    )
    found = _measured(exact)["nsd_mean"]
    assert found.estimable is estimable
    if found.lo is not None and found.hi is not None:
        assert found.lo <= place <= found.hi
        assert found.hi - found.lo < 0.06


def _measured(report: tuple[Block, ...]) -> dict[str, Metric]:
    patients_scored = segmentation.patients_scored(report, EDGES)
    rng = np.random.default_rng(0)
    method = method_of(report)
    return {m.name: m for m in boundaries.measure(report, patients_scored, method=method, rng=rng)}


def test_distances_beyond_all_edges_and_nobody_at_all_have_no_median() -> None:
    far = boundaries.blocks(np.zeros(50), np.full(50, np.inf))
    dice = segmentation.blocks(np.full(50, 0.1), np.zeros(50, bool), edges=EDGES)
    assert not _measured((*dice, *far))["hd95_p50"].estimable
    nobody = boundaries.blocks([], [])
    empty = segmentation.blocks([], np.zeros(0, bool), edges=EDGES)
    assert not any(metric.estimable for metric in _measured((*empty, *nobody)).values())


def test_outlines_that_fit_worse_are_a_reading_of_the_concept_channel_alone() -> None:
    rng = np.random.default_rng(3)
    before = reference_of([window(rng) for _ in range(6)], LAYOUT)
    same, worse = (readings(window(rng, worse=w), before, LAYOUT) for w in (0.0, 0.06))
    assert worse["concept"].p < 1e-3
    assert all(same[channel].p > 0.01 for channel in same)
    assert all(worse[c].p > 0.01 for c in ("image", "acquisition", "label", "population"))


def test_a_window_of_outlines_says_who_has_a_reference_and_how_well_it_fits() -> None:
    found = {(v.channel, v.part): v for v in views(window(np.random.default_rng(4)), LAYOUT)}
    assert found["label", "prevalence"].values[0] == pytest.approx(0.9, abs=0.08)
    assert found["concept", "dice"].values[0] == pytest.approx(14 / 16, abs=0.03)
    assert found["concept", "surface dice"].values[0] == pytest.approx(14 / 16, abs=0.05)
