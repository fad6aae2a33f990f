"""Peaks of tissues in CT and the commonest level in MR: found, bounded, and seen when they move."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from window_patients import LAYOUT, patients, window

from fedrad.constants import read_constants
from fedrad.errors import DataError
from fedrad.shift.extras import CLIP, describe_more, names_of, patient_extras
from fedrad.shift.reference import reference_of
from fedrad.shift.statistics import readings
from fedrad.shift.windows import Released

CT = replace(LAYOUT, extras=names_of("CT"))
LUNG = read_constants("ct-lung-1")["values"]


def chest(rng: np.random.Generator, *, offset: float = 0.0) -> np.ndarray:
    """A volume of air, fat and soft tissue as a recipe for lungs leaves it."""
    kinds = rng.choice(3, size=(4, 40, 40), p=(0.5, 0.2, 0.3))
    units = np.array([-1000.0, -100.0, 45.0])[kinds] + rng.normal(offset, 12, kinds.shape)
    return np.clip((units - LUNG["low"]) / (LUNG["high"] - LUNG["low"]), 0, 1).astype(np.float32)


def test_tissue_peaks_are_found_in_hounsfield_units() -> None:
    found = describe_more(chest(np.random.default_rng(1)), "CT", constants="ct-lung-1")
    assert found == pytest.approx([-1000, -100, 45], abs=10)
    moved = describe_more(chest(np.random.default_rng(1), offset=20), "CT", constants="ct-lung-1")
    assert moved - found == pytest.approx([20, 20, 20], abs=10)


def test_what_is_not_there_has_no_peak_and_other_scales_none_at_all() -> None:
    air = np.full((50, 50), (-1000 - LUNG["low"]) / (LUNG["high"] - LUNG["low"]), np.float32)
    found = describe_more(air, "CT", constants="ct-lung-1")
    assert np.isfinite(found).tolist() == [True, False, False]
    assert np.isnan(describe_more(air, "CT", constants="dx-unit-1")).all()
    assert np.isnan(describe_more(np.zeros((9, 9), np.float32), "MR", constants="zscore-1")).all()
    assert names_of("DX") == ()


def test_the_commonest_level_of_mr_lies_between_dark_and_bright() -> None:
    rng = np.random.default_rng(2)
    low, high = (
        describe_more(
            rng.normal(centre, 0.3, (64, 64)).astype(np.float32), "MR", constants="zscore-1"
        )
        for centre in (0.0, 2.0)
    )
    assert 0.2 < low[0] < 0.8
    assert high == pytest.approx(low, abs=0.2), "it has no unit"


@given(arrays(np.float64, (2, 3), elements=st.floats(allow_nan=True, allow_infinity=True)))
def test_a_patient_is_bounded(rows: np.ndarray) -> None:
    assert np.linalg.norm(patient_extras(rows, "CT")) <= CLIP * (1 + 1e-12)


def test_a_patient_needs_an_image_with_all_numbers() -> None:
    with pytest.raises(DataError, match="3 numbers an image"):
        patient_extras([[1.0]], "CT")


def test_a_calibration_that_drifts_is_seen_and_unchanged_windows_are_not() -> None:
    rng = np.random.default_rng(3)

    def told(key: int, offset: float = 0.0) -> Released:
        seen, labels = patients(rng)
        peaks = np.array([-1000.0, -100.0, 45.0]) + offset + rng.normal(0, 12, (len(labels), 3))
        rows = np.array([patient_extras([row], "CT") for row in peaks])
        return window(replace(seen, extras=rows), labels, key=key, layout=CT)

    before = reference_of([told(key) for key in range(6)], CT)
    quiet = [readings(told(50 + k), before, CT)["image"].p for k in range(20)]
    assert np.mean(np.array(quiet) < 0.05) <= 0.2
    found = readings(told(99, offset=15.0), before, CT)["image"]
    assert (found.part, found.p < 1e-4) == ("extras", True)
