"""What images show: bounded for a patient, blind to gain, and seen where anatomy changes."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from window_patients import LAYOUT, patients, window

from fedrad import seeds
from fedrad.errors import DataError
from fedrad.shift.blocks import Layout, Seen, sizes, whole_window
from fedrad.shift.contents import CLIP, LENGTH, patient_contents
from fedrad.shift.encoder import encode
from fedrad.shift.extras import names_of, patient_extras
from fedrad.shift.reference import reference_of
from fedrad.shift.report import WindowReport, as_bytes, parse_report, released, report_of
from fedrad.shift.statistics import readings
from fedrad.shift.windows import Released
from fedrad.site_report import CONTENTS, KINDS, deviation, shares_of
from simulations.phantoms import radiograph

SHOWN = replace(LAYOUT, encoder="encoder-1")


@lru_cache(maxsize=1)
def encoded() -> tuple[np.ndarray, np.ndarray]:
    """Phantoms as they are, and with a device on the chest."""
    plain, carried = [], []
    for index in range(150):
        rng = seeds.stream(1, "", index, "encoded phantom")
        image = radiograph(rng, size=48, positive=index % 3 == 0).image
        device = image.copy()
        device[8:13, 32:38] = 0.95
        plain.append(encode(image))
        carried.append(encode(device))
    return np.array(plain), np.array(carried)


def window_of(rng: np.random.Generator, key: int, devices: float = 0.0) -> Released:
    seen, labels = patients(rng)
    plain, carried = encoded()
    which = rng.integers(0, len(plain), len(labels))
    rows = np.where(
        (rng.uniform(size=len(labels)) < devices)[:, None], carried[which], plain[which]
    )
    shown = np.array([patient_contents([row]) for row in rows])
    return window(replace(seen, contents=shown), labels, key=key, layout=SHOWN)


@given(arrays(np.float64, (3, LENGTH), elements=st.floats(allow_nan=True, allow_infinity=True)))
def test_a_patient_is_bounded_whatever_the_images(rows: np.ndarray) -> None:
    assert np.linalg.norm(patient_contents(rows)) <= CLIP * (1 + 1e-12)


def test_gain_and_offset_change_nothing_and_a_device_does() -> None:
    image = radiograph(np.random.default_rng(1), size=64, positive=False).image
    assert encode(image * 0.7 + 0.1) == pytest.approx(encode(image), abs=1e-3)
    device = image.copy()
    device[10:17, 42:50] = 0.95
    assert np.linalg.norm(encode(device) - encode(image)) > 0.3


def test_a_volume_is_the_mean_of_its_slices_and_an_empty_one_is_refused() -> None:
    image = radiograph(np.random.default_rng(1), size=64, positive=False).image
    assert encode(np.stack([image, image])) == pytest.approx(encode(image), abs=1e-6)
    with pytest.raises(DataError, match="needs an image or a volume"):
        encode(np.zeros((0, 4), np.float32))
    with pytest.raises(DataError, match="16 contents an image"):
        patient_contents([])


@pytest.mark.parametrize(
    "layout",
    [
        LAYOUT,
        SHOWN,
        replace(LAYOUT, strata=("sex",)),
        replace(SHOWN, strata=("sex", "age"), extras=names_of("CT")),
    ],
)
def test_one_patient_moves_all_blocks_together_by_at_most_one(layout: Layout) -> None:
    rng = np.random.default_rng(4)
    seen, labels = patients(rng, size=30)
    rows = np.array([patient_contents([row]) for row in 9 * rng.standard_normal((30, LENGTH))])
    peaks = np.array([patient_extras([row], "CT") for row in rng.normal(0, 900, (30, 3))])
    seen = replace(seen, contents=rows, extras=peaks)
    fewer = Seen(**{name: getattr(seen, name)[1:] for name in Seen.__dataclass_fields__})
    after, before = whole_window(seen, labels, layout), whole_window(fewer, labels[1:], layout)
    shares = shares_of(after)
    moved = [
        (a.values - b.values) / deviation(a, sigma=1.0, share=shares[a.name])
        for a, b in zip(after, before, strict=True)
    ]
    assert np.linalg.norm(np.concatenate(moved)) <= 1 + 1e-9
    assert ("contents" in shares) == bool(layout.encoder)
    assert ("extras" in shares) == bool(layout.extras)
    assert ("strata" in shares) == bool(layout.strata)


def test_shares_of_every_kind_of_release_add_up_to_one() -> None:
    assert all(sum(kind.values()) == pytest.approx(1.0) for kind in KINDS)
    assert sum(CONTENTS.values()) < 0.2


def test_devices_in_some_patients_are_seen_where_grey_levels_are_as_before() -> None:
    rng = np.random.default_rng(2)
    before = reference_of([window_of(rng, key) for key in range(6)], SHOWN)
    quiet = [readings(window_of(rng, 50 + k), before, SHOWN)["image"].p for k in range(20)]
    assert np.mean(np.array(quiet) < 0.05) <= 0.2
    found = readings(window_of(rng, 99, devices=0.4), before, SHOWN)["image"]
    assert (found.part, found.p < 1e-4) == ("contents", True)


def test_a_release_with_contents_is_under_two_kilobytes_and_read_again() -> None:
    blocks = window_of(np.random.default_rng(3), 1).blocks
    report = WindowReport(
        site="north", task_hash="0" * 64, model_digest="1" * 64, kind="whole",
        first="2026-01-01", last="2026-01-30", noise=2.0, values=report_of(blocks),
        ledger_line="2" * 64,
    )  # fmt: skip
    content = as_bytes(report)
    assert len(content) < 2048
    again = released(parse_report(content), SHOWN)
    kept = {block.name: block for block in again.blocks}
    assert {name: len(one.values) for name, one in kept.items()} == {
        name: sizes(SHOWN)[name] for name in kept
    }
    assert kept["contents"].sigma == pytest.approx(
        next(block.sigma for block in blocks if block.name == "contents")
    )
