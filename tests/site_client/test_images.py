"""One image: what is dense is bright, whatever the file calls it."""

from typing import Any

import numpy as np
import pytest

from site_client.archive.instances import UnusableFileError
from site_client.images import read_image


@pytest.mark.parametrize(
    ("photometric", "slope", "expected"),
    [
        ("MONOCHROME2", 1, 0.25),
        ("MONOCHROME1", 1, 0.75),
        ("MONOCHROME2", -2, 0.75),
        ("MONOCHROME1", -2, 0.25),
    ],
)
def test_both_photometrics_and_both_signs_of_the_slope_come_out_alike(
    site: Any, photometric: str, slope: int, expected: float
) -> None:
    site.image("P1", "x.dcm", 1024, PhotometricInterpretation=photometric, RescaleSlope=slope)
    pixels = read_image(site.archive / "x.dcm").pixels
    assert pixels.dtype == np.float32
    assert pixels.min() == pixels.max() == pytest.approx(expected, abs=1e-3)


def test_signed_values_are_scaled_by_their_own_range(site: Any, write_image: Any) -> None:
    values = np.array([[-2048, 2047]] * 16, np.int16).repeat(8, axis=1)
    path = site.add(write_image(values, "P1"), "x.dcm")
    assert np.unique(read_image(path).pixels).tolist() == [0.0, 1.0]


def test_ct_becomes_hounsfield_units(site: Any) -> None:
    site.image("P1", "x.dcm", 100, Modality="CT", RescaleSlope=2, RescaleIntercept=-1024)
    assert np.unique(read_image(site.archive / "x.dcm").pixels).tolist() == [-824.0]


@pytest.mark.parametrize(
    "elements", [{"RescaleSlope": 0}, {"PhotometricInterpretation": "PALETTE COLOR"}]
)
def test_a_grey_scale_that_is_not_known_is_refused(site: Any, elements: dict[str, Any]) -> None:
    site.image("P1", "x.dcm", **elements)
    with pytest.raises(UnusableFileError, match="grey-scale-unknown"):
        read_image(site.archive / "x.dcm")


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({"PixelSpacing": [0.5, 0.4]}, (0.5, 0.4)),
        ({"PixelSpacing": [0.5, 0.4], "ImagerPixelSpacing": [0.6, 0.6]}, (0.5, 0.4)),
        ({"PixelSpacing": [0.6, 0.6], "ImagerPixelSpacing": [0.6, 0.6]}, ()),
        (
            {"PixelSpacing": [0.6, 0.6], "ImagerPixelSpacing": [0.6, 0.6],
             "PixelSpacingCalibrationType": "FIDUCIAL"},
            (0.6, 0.6),
        ),
        (
            {"PixelSpacing": None, "ImagerPixelSpacing": [0.6, 0.3],
             "EstimatedRadiographicMagnificationFactor": 1.5},
            (0.4, 0.2),
        ),
        ({"PixelSpacing": None, "ImagerPixelSpacing": [0.6, 0.6]}, ()),
        ({"PixelSpacing": [0, 0.4]}, ()),
        ({"PixelSpacing": None}, ()),
    ],
)  # fmt: skip
def test_the_detectors_spacing_is_never_taken_for_the_patients(
    site: Any, elements: dict[str, Any], expected: tuple[float, ...]
) -> None:
    site.image("P1", "a.dcm", **elements)
    assert read_image(site.archive / "a.dcm").spacing_mm == pytest.approx(expected)
