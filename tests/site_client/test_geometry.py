"""Eleven series as archives have them: right to the voxel or refused with numbers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from geometry_cases import AXIAL, CASES, Case, save, slices_of, verdict
from hypothesis import given, settings
from hypothesis import strategies as st

from site_client.archive.instances import UnusableFileError
from site_client.catalogue import update_catalogue
from site_client.gate import admit
from site_client.geometry import stack_of
from site_client.volumes import SeriesVolume, read_volume

REFUSED = {
    "two slices missing": ("slices-missing", "2 missing; 2 of 9 gaps are not 2.5 mm: 5 to 5 mm"),
    "gantry tilt of 15 degrees": ("gantry-tilt", "15.0 degrees; slices lie up to 7.12 mm aside"),
    "MONOCHROME1": ("grey-scale-unknown", "a slice that is not MONOCHROME2"),
    "a slice twice": ("slices-doubled", "1 of 13 slices lie where another one lies"),
    "the last file cut off": ("series-incomplete", "1 files of the series were set aside"),
}


def affine_of(volume: SeriesVolume) -> Any:
    """Where the voxels lie that the site would train on."""
    return volume.frame.to_patient_orientation("HPL").affine


def read_as_a_site(site: Any, task: Any) -> tuple[list[SeriesVolume], list[tuple[str, str]]]:
    """Catalogue, gate and volume of everything in the archive."""
    admitted = admit(update_catalogue(site.home), task)
    refused = list(admitted.refused[["reason", "detail"]].itertuples(index=False, name=None))
    volumes = []
    for _, rows in admitted.images.groupby("series"):
        try:
            volumes.append(read_volume([site.archive / file for file in rows["file"]]))
        except UnusableFileError as error:
            refused.append((error.reason, error.detail))
    return volumes, refused


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_is_right_to_the_voxel_or_refused_with_its_numbers(
    site: Any, make_task: Any, case: Case
) -> None:
    truths = case.write(site.archive)
    task = make_task(data={"modality": "CT", "dimensions": 3}, recipe={"size": [16, 16, 16]})
    volumes, refused = read_as_a_site(site, task)
    if case.name in REFUSED:
        code, text = REFUSED[case.name]
        assert not volumes
        assert {found for found, _ in refused} == {code}
        assert all(detail.startswith(text) for _, detail in refused)
    else:
        assert len(volumes) == len(truths)
        assert {verdict(v.voxels, affine_of(v), truths) for v in volumes} == {"right"}
    assert [code for code, _ in refused if code == "localizer"] == (
        ["localizer"] if "localizer" in case.name else []
    )


def test_a_file_of_all_series_at_once_is_refused_too(tmp_path: Path) -> None:
    """Where a caller skips the gate."""
    for case in CASES:
        if case.name in ("two series in the folder", "a localizer in the series"):
            case.write(tmp_path / case.name)
            with pytest.raises(UnusableFileError, match=r"slices-doubled|orientation-mixed"):
                read_volume(sorted((tmp_path / case.name).iterdir()))


def series(count: int = 8, **step: Any) -> list[Any]:
    voxels = np.zeros((count, 4, 4), np.int16)
    return slices_of(voxels, cosines=AXIAL, step=step.get("step", (0, 0, 2.0)))[0]


@pytest.mark.parametrize(("shift_mm", "fine"), [(0.04, True), (0.06, False)])
def test_a_tilt_that_highdicom_lets_pass_is_refused_once_it_moves_a_voxel(
    shift_mm: float, fine: bool
) -> None:
    """0.06 mm a slice is 1.7 degrees, and 0.42 mm after eight slices of 0.7 mm pixels."""
    slices = series(step=(shift_mm, 0, 2.0))
    if fine:
        assert stack_of(slices).distance_mm == pytest.approx(2.0)
        return
    with pytest.raises(UnusableFileError, match="gantry-tilt") as caught:
        stack_of(slices)
    assert caught.value.detail == "1.7 degrees; slices lie up to 0.42 mm aside, limit 0.35 mm"


@pytest.mark.parametrize(
    ("change", "reason", "detail"),
    [
        ({"ImageOrientationPatient": [2, 0, 0, 0, 1, 0]}, "orientation-invalid", "off by 1"),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}, "orientation-mixed", "90.0 degrees"),
        ({"ImagePositionPatient": [0, 0, float("nan")]}, "position-missing", "1 of 8"),
        ({"ImagePositionPatient": [-15, -11, 46]}, "slices-shifted", "1.00 mm aside"),
        ({"ImagePositionPatient": [-16, -11, 46.5]}, "spacing-uneven", "1.5 to 2.5 mm"),
        ({"Rows": 8}, "series-mixed", "4x4 (7), 8x4 (1)"),
        ({"PixelSpacing": [0.8, 0.8]}, "series-mixed", "0.7x0.7 (7), 0.8x0.8 (1)"),
        ({"PixelSpacing": [0, 0.7]}, "spacing-unknown", "0x0.7 (1)"),
        ({"FrameOfReferenceUID": "1.2.3"}, "series-mixed", "2 different values"),
        ({"Modality": "MR"}, "series-mixed", "2 different values of Modality"),
    ],
)
def test_one_odd_slice_is_refused_with_its_numbers(
    change: dict[str, Any], reason: str, detail: str
) -> None:
    slices = series()
    for name, value in change.items():
        setattr(slices[3], name, value)
    with pytest.raises(UnusableFileError, match=reason) as caught:
        stack_of(slices)
    assert detail in caught.value.detail


def test_every_second_slice_is_missed_where_the_distance_is_stated() -> None:
    slices = series()
    for one in slices:
        one.SpacingBetweenSlices = 1.0
    with pytest.raises(UnusableFileError, match="slices-missing") as caught:
        stack_of(slices)
    assert caught.value.detail == "every gap is 2 mm, SpacingBetweenSlices is 1 mm"


@settings(max_examples=20)
@given(st.permutations(range(8)), st.data())
def test_any_order_gives_the_same_stack_and_any_gap_none(order: list[int], data: Any) -> None:
    slices = series()
    shuffled = [slices[index] for index in order]
    assert [order[index] for index in stack_of(shuffled).order] == list(range(7, -1, -1))
    gap = data.draw(st.integers(1, 6))
    with pytest.raises(UnusableFileError, match="slices-missing"):
        stack_of([one for one in shuffled if one is not slices[gap]])


def test_slices_of_a_case_are_saved_under_the_names_given(tmp_path: Path) -> None:
    """The cases of the benchmark are what they say."""
    save(tmp_path, series(2), ["b", "a"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
